/* What is where in the guest's physical memory, and access to it for the monitor.
 *
 * Guest RAM is [0, size) at the same physical address. Firmware pages (BIOS data, ROM, ACPI tables)
 * are copied and logged at the guest's first touch. The rest of the machine's RAM, the monitor
 * included, is hidden; everything else is devices. */
#ifndef LVMM_CORE_GUEST_MEMORY_H
#define LVMM_CORE_GUEST_MEMORY_H

#include "boot/multiboot2.h"
#include "core/vcpu.h"
#include "log_format.h"

enum gpa_kind {
    GPA_RAM,
    GPA_FIRMWARE, /* not touched yet */
    GPA_ROM,      /* a touched firmware page that is read-only */
    GPA_HIDDEN,
    GPA_DEVICE,
};

#define GUEST_E820_MAX 32

/* Lays out the guest's memory by the machine's map. ERR_NO_SPACE, told, where that has no RAM for
 * `size` bytes of guest memory, for the monitor or for the log region. */
int guest_memory_init(u64 size, const struct memory_range *map, unsigned int count);
/* Replay: the guest's map as it was recorded, whatever this machine's is. */
int guest_memory_use_map(const struct log_e820_entry *entries, unsigned int count);
/* Where the RAM that begins at address 0 ends. */
u64 guest_memory_low_end(void);
/* Takes the RAM from `base` to there out of the guest's map, before the guest runs: from then on it
 * is the firmware's. */
int guest_memory_reserve_low(u64 base);
/* Maps RAM for the guest. */
int guest_memory_map(void);
u64 guest_memory_size(void);
/* The memory map for the guest; returns the number of ranges. */
unsigned int guest_memory_e820(const struct memory_range **map);

enum gpa_kind guest_memory_kind(u64 gpa);
/* A firmware page is touched for the first time: copies (record) or takes it from the log. */
int guest_memory_touch(struct vcpu *vcpu, u64 gpa);

/* The page's content where it is RAM or a touched firmware page, else NULL. */
const void *guest_memory_page(u64 gpa);
/* The same page's content becomes this, without anything else that a write does. */
void guest_memory_put_back(u64 gpa, const void *page);
/* The i-th touched firmware page; NULL: there are no more. */
const void *guest_memory_firmware(unsigned int i, u64 *gpa);
/* Whether the page is the firmware's, touched or not. */
bool guest_memory_is_firmware(u64 gpa);
/* Only the first `count` firmware pages have been touched: the others come again. */
void guest_memory_forget_firmware(unsigned int count);
unsigned int guest_memory_firmware_count(void);
/* Where a recording begins: makes `page` the content of RAM or of a touched firmware page at `gpa`,
 * a page's address. ERR_INVALID or ERR_NO_SPACE where the guest cannot have that. */
int guest_memory_restore(u64 gpa, const void *page);

/* Numbers for the pages that can be written, each below guest_memory_indexes(): false for others.
 * And back: false where there is no such page now. */
u32 guest_memory_indexes(void);
bool guest_memory_index(u64 gpa, u32 *index);
bool guest_memory_of_index(u32 index, u64 *gpa);
/* Shows guest memory to the guest page by page, for which EPT needs so many tables. */
u64 guest_memory_page_tables(void);
int guest_memory_map_by_page(void);

/* Whether all of that is RAM above the first MiB: there the monitor finds it at the same address.
 */
bool guest_memory_plain(u64 gpa, u64 len);
/* RAM and touched firmware pages only: 0, or ERR_FAULT with nothing done. */
int guest_memory_read(u64 gpa, void *buf, u64 len);
int guest_memory_write(u64 gpa, const void *buf, u64 len);
/* As much as there is: how many bytes. */
u32 guest_memory_read_part(u64 gpa, void *buf, u32 len);

/* The part of an access of `len` bytes that lies in its first page. */
static inline u32 guest_page_part(u64 address, u32 len)
{
    u32 room = (u32)(PAGE_SIZE - (address & PAGE_MASK));

    return len < room ? len : room;
}

/* Whether the machine has RAM there, the guest's, the monitor's or the firmware's. */
bool guest_memory_is_machine_ram(u64 address);
/* Whether that page is RAM or a touched firmware page. */
bool guest_memory_backed(u64 gpa);
/* Maps such a page for the guest as it is by itself, but with no more than these permissions. */
int guest_memory_show(u64 gpa, unsigned int permissions);

#endif
