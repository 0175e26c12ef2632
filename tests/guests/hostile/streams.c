/* Random instructions, in 64-, 32- and 16-bit code at privilege level 0. A trap, at the latest the
   watchdog's NMI, goes on with the next seed; what one of them cannot recover from ends the guest.
 */
#include "hostile.h"

#define STREAM_BYTES 512
#define SCRATCH_BASE 0x800000ull
#define SCRATCH_SIZE 0x400000ull
#define STREAM16     0x8000ull /* where 16-bit code reaches */
#define MAPPED_PDES  8         /* 16 MiB */
#define BREAKPOINT   0xcc

#define WATCHDOG_EVERY 16 /* streams: they may write to its ports, too */

extern u8 open_start[];

/* What does more to the CPU than most instructions; random bytes follow. */
static const u8 special[][3] = {
    {0x0f, 0x01},
    {0x0f, 0x00},
    {0x0f, 0x20},
    {0x0f, 0x21},
    {0x0f, 0x22},
    {0x0f, 0x23},
    {0x0f, 0x30},
    {0x0f, 0x32},
    {0x0f, 0xc7},
    {0x0f, 0xae},
    {0x0f, 0x78},
    {0x0f, 0x79},
    {0x0f, 0x06},
    {0x0f, 0x05},
    {0x0f, 0x34},
    {0x0f, 0x35},
    {0x0f, 0xa2},
    {0x0f, 0x08},
    {0x0f, 0x09},
    {0x0f, 0x31},
    {0x0f, 0x33},
    {0x0f, 0x37},
    {0x0f, 0xaa},
    {0x0f, 0x07},
    {0xcf},
    {0xcb},
    {0xff},
    {0x8e},
    {0x9d},
    {0xcd},
    {0xec},
    {0xee},
    {0xed},
    {0xef},
    {0xe6},
    {0x6c},
    {0x6e},
    {0xf3, 0x6d},
    {0xf3, 0xa4},
    {0xf3, 0xab},
    {0xfb},
    {0x17},
    {0x66, 0x0f, 0x38},
    {0x0f, 0x01, 0xc1},
    {0x0f, 0x01, 0xd1},
    {0x0f, 0x01, 0xc3},
};

static void make_stream(u8 *at)
{
    for (u32 i = 0; i < STREAM_BYTES;) {
        u64 value = random();
        const u8 *opcode = special[(value >> 8) % (sizeof(special) / sizeof(special[0]))];
        if ((value & 3) == 0)
            for (u32 k = 0; k < 3 && opcode[k] && i < STREAM_BYTES; k++)
                at[i++] = opcode[k];
        for (u32 k = 0; k < 4 && i < STREAM_BYTES; k++)
            at[i++] = (u8)(value >> (32 + 8 * k));
    }
    for (u32 i = STREAM_BYTES; i < 4096; i++)
        at[i] = BREAKPOINT;
}

/* Half of the registers point to memory that is there. */
static u64 random_register(void)
{
    u64 value = random();
    return value & 1 ? SCRATCH_BASE + (value >> 8) % SCRATCH_SIZE : value >> (value >> 58);
}

static struct entry entry;

static void prepare(u32 seed)
{
    random_seed(seed);
    u32 kind = (u32)(random() % 4);
    u64 at = kind == 3 ? STREAM16 : SCRATCH_BASE;
    make_stream((u8 *)at);
    for (u64 *reg = &entry.rax; reg <= &entry.r15; reg++)
        *reg = random_register();
    entry.rip = at;
    entry.cs = kind == 3 ? CODE16 : kind == 2 ? CODE32 : CODE64;
    entry.rflags = 2;
    entry.rsp = (SCRATCH_BASE + SCRATCH_SIZE / 2) & ~15ull;
    entry.ss = DATA;
}

static void run_stream(void *unused)
{
    (void)unused;
    enter(&entry);
}

static void run_streams(void)
{
    u32 first = (u32)option("seed", 1), count = (u32)option("count", 100);
    for (u64 page = 0x100000; page < (u64)open_start; page += 4096)
        first_table[page / 4096] &= ~2ull;
    for (u32 seed = first; seed < first + count; seed++) {
        if ((seed - first) % WATCHDOG_EVERY == 0)
            start_watchdog(2000, true);
        current = seed;
        prepare(seed);
        attempt(run_stream, 0);
    }
    current = first + count;
    put_number("streams ", count);
}

void mode_streams(void)
{
    for (u32 i = MAPPED_PDES; i < 2048; i++)
        if (i != LAPIC >> 21 && i != IOAPIC >> 21)
            directories[i] = 0;
    run_streams();
}

/* With all 4 GiB within reach: devices, firmware, and where the monitor and its log are. */
void mode_wild_streams(void)
{
    run_streams();
}
