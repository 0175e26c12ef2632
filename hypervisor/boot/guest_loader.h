/* Puts a guest's images into its memory and says how it starts. */
#ifndef LVMM_BOOT_GUEST_LOADER_H
#define LVMM_BOOT_GUEST_LOADER_H

#include "boot/multiboot2.h"
#include "core/vcpu.h"

/* Linux by the 32-bit boot protocol (Documentation/x86/boot.rst of the kernel). 0, or ERR_INVALID,
 * ERR_NO_SPACE, told. */
int load_linux(const struct boot_info *info, const struct boot_module *kernel,
               struct start_state *start);
/* An ELF file by the Multiboot specification 0.6.96, with its modules. */
int load_multiboot(const struct boot_info *info, const struct boot_module *kernel,
                   struct start_state *start);
/* 512 bytes at 0x7c00 in real mode, as a BIOS starts a boot sector. */
int load_boot_sector(const struct boot_module *sector, struct start_state *start);
/* The machine's own disk, by the BIOS's number (INT 13h; 0x80 is the first): real-mode code that
 * reads and starts its boot sector as a BIOS does. ERR_NO_SPACE, told, where conventional memory
 * has no room for it. */
int load_disk(u8 drive, struct start_state *start);

#endif
