/* What GRUB hands over (Multiboot2 specification 2.0, section 3.6). */
#ifndef LVMM_BOOT_MULTIBOOT2_H
#define LVMM_BOOT_MULTIBOOT2_H

#include "lib/types.h"

#define MULTIBOOT2_BOOTLOADER_MAGIC 0x36d76289U

#define BOOT_MODULES_MAX 8
#define BOOT_MMAP_MAX    32
#define BOOT_STRING_MAX  1024
#define BOOT_RSDP_MAX    36

/* Memory types of an e820 map (ACPI specification, section 15). */
enum memory_type {
    MEMORY_RAM = 1,
    MEMORY_RESERVED = 2,
    MEMORY_ACPI = 3,
    MEMORY_NVS = 4,
    MEMORY_HIDDEN = 0xf0, /* ours: RAM that the guest must not use; systems take it as reserved */
};

struct memory_range {
    u64 base, length;
    u32 type; /* enum memory_type */
};

struct boot_module {
    u64 start, size;            /* where GRUB loaded it; later where staged */
    char role[16];              /* first word of the module's string */
    char args[BOOT_STRING_MAX]; /* the rest */
};

struct boot_info {
    char cmdline[BOOT_STRING_MAX];
    struct boot_module modules[BOOT_MODULES_MAX];
    unsigned int module_count;
    struct memory_range mmap[BOOT_MMAP_MAX];
    unsigned int mmap_count;
    u8 rsdp[BOOT_RSDP_MAX]; /* the root pointer of ACPI's tables */
    u32 rsdp_size;          /* 0: none */
};

/* Copies what is needed out of GRUB's structure. 0, or ERR_INVALID / ERR_NO_SPACE. */
int multiboot2_parse(u64 info, struct boot_info *out);
const struct boot_module *boot_module_find(const struct boot_info *info, const char *role);

#endif
