#include "boot/disk_start.h"
#include "boot/guest_loader.h"
#include "boot/page0.h"
#include "core/guest_memory.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "replay/session.h"

#define KIB 1024ULL
#define MIB 0x100000ULL

/* In page 0: the vector of INT 15h, and what INT 12h says. */
#define INT15_VECTOR   (0x15 * 4)
#define BDA_MEMORY_KIB 0x413

#define LOW_MAX_KIB      (15 * KIB)
#define BELOW_64M_KIB    (63 * KIB)
#define HIGH_UNITS_MAX   0xffffULL
#define HIGH_UNIT        0x10000ULL
#define CONVENTIONAL_MIN 0x20000ULL /* less, and no boot loader would run */

/* disk_start.S; the second is an offset into the first. */
extern const u8 disk_start_code[DISK_START_MAP];
extern const u16 disk_start_int15;

_Static_assert(DISK_START_MAP + GUEST_E820_MAX * DISK_START_ENTRY_SIZE <= DISK_START_SIZE,
               "the memory map fits");

static void put(u8 *block, u32 at, u64 value, u32 size)
{
    memcpy(block + at, &value, size);
}

/* Bytes of RAM that follow on `base`. */
static u64 ram_at(u64 base)
{
    return guest_memory_size() > base ? guest_memory_size() - base : 0;
}

static u64 at_most(u64 value, u64 limit)
{
    return value < limit ? value : limit;
}

static void put_memory(u8 *block)
{
    const struct memory_range *map;
    unsigned int count = guest_memory_e820(&map);

    for (unsigned int i = 0; i < count; i++) {
        u32 at = DISK_START_MAP + i * DISK_START_ENTRY_SIZE;
        u32 type = map[i].type == MEMORY_HIDDEN ? MEMORY_RESERVED : map[i].type;

        put(block, at, map[i].base, 8);
        put(block, at + 8, map[i].length, 8);
        put(block, at + 16, type, 4);
    }
    put(block, DISK_START_MAP_COUNT, count, 4);
    put(block, DISK_START_LOW_KIB, at_most(ram_at(MIB) / KIB, LOW_MAX_KIB), 2);
    put(block, DISK_START_HIGH_UNITS, at_most(ram_at(16 * MIB) / HIGH_UNIT, HIGH_UNITS_MAX), 2);
    put(block, DISK_START_BELOW_64M, at_most(ram_at(MIB) / KIB, BELOW_64M_KIB), 2);
}

/* The BIOS's conventional memory ends below the block from now on, and INT 15h comes there first.
 */
static void hook(u8 *block, u64 base)
{
    u8 *page0 = boot_page0();

    memcpy(block + DISK_START_OLD_INT15, page0 + INT15_VECTOR, 4);
    put(page0, INT15_VECTOR, disk_start_int15, 2);
    put(page0, INT15_VECTOR + 2, base >> 4, 2);
    put(page0, BDA_MEMORY_KIB, base / KIB, 2);
}

/* Below what the firmware's map and the BIOS data area leave: an option ROM may have taken some. */
static int install(u8 drive, u64 *base)
{
    u16 bios_kib;
    u8 *block;

    memcpy(&bios_kib, (const u8 *)boot_page0() + BDA_MEMORY_KIB, 2);
    *base = at_most(guest_memory_low_end(), bios_kib * KIB) & ~(KIB - 1);
    if (*base < CONVENTIONAL_MIN + DISK_START_SIZE ||
        guest_memory_reserve_low(*base -= DISK_START_SIZE) < 0) {
        printk("lvmm: the BIOS leaves too little conventional memory to boot a disk\n");
        return ERR_NO_SPACE;
    }
    block = (u8 *)*base;
    memset(block, 0, DISK_START_SIZE);
    memcpy(block, disk_start_code, sizeof(disk_start_code));
    block[DISK_START_DRIVE] = drive;
    put_memory(block);
    hook(block, *base);
    return 0;
}

int load_disk(u8 drive, struct start_state *start)
{
    u64 base;

    /* The block and page 0 are the firmware's to the guest: a replay has both from the log. */
    if (session_replaying())
        base = guest_memory_low_end();
    else if (install(drive, &base) < 0)
        return ERR_NO_SPACE;
    *start =
        (struct start_state){.real_mode = true, .cs = (u16)(base >> 4), .rip = DISK_START_CODE};
    return 0;
}
