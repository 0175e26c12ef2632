/* Shows what the firmware left in the interrupt controllers. */
#include "runtime.h"

#define LAPIC_BASE 0xfee00000u

static const struct {
    const char *name;
    u32 offset;
} registers[] = {
    {"task priority", 0x80}, {"spurious", 0xf0},  {"timer", 0x320},
    {"counter", 0x340},      {"lint0", 0x350},    {"lint1", 0x360},
    {"error", 0x370},        {"initial", 0x380},  {"divide", 0x3e0},
};

static const struct {
    const char *name;
    u32 offset;
} sets[] = {{"in service", 0x100}, {"requested", 0x200}};

static u32 lapic(u32 offset) {
    return *(volatile u32 *)(LAPIC_BASE + offset);
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    for (u32 i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
        print("%s %x\n", registers[i].name, lapic(registers[i].offset));
    for (u32 i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        for (u32 word = 0; word < 8; word++)
            print("%s %u %x\n", sets[i].name, word, lapic(sets[i].offset + word * 16));
    print("pics %x %x\n", in8(0x21), in8(0xa1));
    end_reset();
}
