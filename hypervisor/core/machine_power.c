#include "core/machine_power.h"
#include "arch/cpu.h"
#include "lib/string.h"

#define KEYBOARD_DATA    0x60
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET   0xfe
#define KEYBOARD_OUTPUT                                                                            \
    0xd1 /* the next byte goes to the output port: bit 0 is no reset, bit 1 A20 */
#define KEYBOARD_A20_OFF   0xdd
#define KEYBOARD_A20_ON    0xdf
#define RESET_CONTROL      0xcf9 /* PCI chipsets: bit 2 is the reset */
#define RESET_SYSTEM       0x02
#define RESET_CPU          0x04
#define SYSTEM_CONTROL_A   0x92 /* bit 0 is the fast reset */
#define SYSTEM_CONTROL_A20 2
#define SLEEP_ENABLE       0x2000

/* ACPI specification, sections 5.2.5 to 5.2.9. */
struct rsdp {
    char signature[8];
    u8 checksum;
    char oem[6];
    u8 revision;
    u32 rsdt;
} __attribute__((packed));

struct acpi_header {
    char signature[4];
    u32 length;
    u8 rest[28];
} __attribute__((packed));

#define FADT_PM1A_CONTROL 64
#define FADT_PM1B_CONTROL 68
#define FADT_FLAGS        112
#define FADT_RESET_REG    116 /* generic address: space, width, offset, access, u64 address */
#define FADT_RESET_VALUE  128
#define FADT_FLAG_RESET   (1u << 10)
#define SPACE_IO          1

static u16 pm1a_control, pm1b_control, reset_port;
static u8 reset_value;
static u8 keyboard_command; /* the last one */

static u32 read_u32(const u8 *p)
{
    u32 v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static void parse_fadt(const u8 *fadt, u32 length)
{
    pm1a_control = (u16)read_u32(fadt + FADT_PM1A_CONTROL);
    pm1b_control = (u16)read_u32(fadt + FADT_PM1B_CONTROL);
    if (length > FADT_RESET_VALUE && (read_u32(fadt + FADT_FLAGS) & FADT_FLAG_RESET) &&
        fadt[FADT_RESET_REG] == SPACE_IO) {
        reset_port = (u16)read_u32(fadt + FADT_RESET_REG + 4);
        reset_value = fadt[FADT_RESET_VALUE];
    }
}

void machine_power_init(void)
{
    for (u64 a = 0xe0000; a < 0x100000; a += 16) {
        const struct rsdp *rsdp = (const struct rsdp *)a;
        const struct acpi_header *rsdt;

        if (memcmp(rsdp->signature, "RSD PTR ", 8) != 0)
            continue;
        rsdt = (const struct acpi_header *)(u64)rsdp->rsdt;
        for (u32 at = sizeof(*rsdt); at + 4 <= rsdt->length; at += 4) {
            u64 table = read_u32((const u8 *)rsdt + at);
            const struct acpi_header *h = (const struct acpi_header *)table;

            if (memcmp(h->signature, "FACP", 4) == 0)
                parse_fadt((const u8 *)table, h->length);
        }
        return;
    }
}

/* What a write puts into a register of one byte; `missing` where it does not reach it. */
static u8 written(u16 reg, u16 port, u8 size, u64 value, u8 missing)
{
    return reg >= port && reg < port + size ? (u8)(value >> (reg - port) * 8) : missing;
}

static bool sleeps(u16 control, u16 port, u8 size, u64 value)
{
    return control != 0 && (written((u16)(control + 1), port, size, value, 0) & SLEEP_ENABLE >> 8);
}

u8 machine_power_on_write(u16 port, u8 size, u64 value)
{
    if (written(KEYBOARD_COMMAND, port, size, value, 0) == KEYBOARD_RESET)
        return LOG_END_REASON_RESET;
    if (port == KEYBOARD_DATA && keyboard_command == KEYBOARD_OUTPUT && !(value & 1))
        return LOG_END_REASON_RESET;
    if (port == RESET_CONTROL && size == 1 && (value & 4))
        return LOG_END_REASON_RESET;
    if (written(SYSTEM_CONTROL_A, port, size, value, 0) & 1)
        return LOG_END_REASON_RESET;
    if (reset_port != 0 && port == reset_port && (u8)value == reset_value)
        return LOG_END_REASON_RESET;
    if (sleeps(pm1a_control, port, size, value) || sleeps(pm1b_control, port, size, value))
        return LOG_END_REASON_POWER_OFF;
    return 0;
}

u64 machine_power_forward(u16 port, u8 size, u64 value)
{
    u8 command = keyboard_command;

    if (port <= SYSTEM_CONTROL_A && port + size > SYSTEM_CONTROL_A)
        return value | (u64)SYSTEM_CONTROL_A20 << (SYSTEM_CONTROL_A - port) * 8;
    if (size != 1)
        return value;
    if (port == KEYBOARD_DATA || port == KEYBOARD_COMMAND)
        keyboard_command = port == KEYBOARD_COMMAND ? (u8)value : 0;
    if (port == KEYBOARD_DATA && command == KEYBOARD_OUTPUT)
        return value | 2;
    if (port == KEYBOARD_COMMAND && (u8)value == KEYBOARD_A20_OFF)
        return KEYBOARD_A20_ON;
    return value;
}

void machine_power_save(struct log_cpu_state *out)
{
    out->keyboard_command = keyboard_command;
}

void machine_power_restore(const struct log_cpu_state *from)
{
    keyboard_command = from->keyboard_command;
}

void machine_power_reset(void)
{
    outb(RESET_CONTROL, RESET_SYSTEM);
    outb(RESET_CONTROL, RESET_SYSTEM | RESET_CPU);
    outb(KEYBOARD_COMMAND, KEYBOARD_RESET); /* where the chipset has no reset register */
    cpu_halt_forever();
}
