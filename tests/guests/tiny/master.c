/* Makes every PCI device of bus 0 a bus master that is no bridge, and prints what came of it. */
#include "runtime.h"

#define ADDRESS 0xcf8
#define DATA    0xcfc
#define ENABLE  0x80000000u

#define COMMAND        0x04
#define CLASS          0x08
#define COMMAND_MASTER 4
#define CLASS_BRIDGE   6

static u32 read_config(u32 bdf, u32 offset) {
    out32(ADDRESS, ENABLE | bdf << 8 | offset);
    return in32(DATA);
}

static void write_command(u32 bdf, u8 value) {
    out32(ADDRESS, ENABLE | bdf << 8 | COMMAND);
    out8(DATA, value);
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    for (u32 bdf = 0; bdf < 256; bdf++) {
        u32 id = read_config(bdf, 0);

        if (id == 0xffffffff || read_config(bdf, CLASS) >> 24 == CLASS_BRIDGE)
            continue;
        for (int twice = 0; twice < 2; twice++)
            write_command(bdf, (u8)read_config(bdf, COMMAND) | COMMAND_MASTER);
        print("%x: %x %s\n", bdf, id,
              read_config(bdf, COMMAND) & COMMAND_MASTER ? "is bus master" : "is none");
    }
    end_reset();
}
