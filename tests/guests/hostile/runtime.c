#include "hostile.h"

#define COM1           0x3f8
#define LSR            5
#define LSR_THR_EMPTY  0x20
#define INFO_CMDLINE   4
#define GATE_INTERRUPT 0x8e
#define IST            1

struct gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_middle;
    u32 offset_high, reserved;
};

struct multiboot_info {
    u32 flags, memory_lower, memory_upper, boot_device, command_line;
};

struct mode {
    const char *name;
    void (*run)(void);
};

extern u8 trap_entries[256][16];
extern u8 idt_pointer[];

void hostile_main(u32 magic, const struct multiboot_info *info);
void trap_taken(u32 vector);

struct gate idt[256] __attribute__((aligned(4096)));
volatile u32 trap_vector, current, trap_counts[256], storm_end;

static char command_line[256];
static u64 random_state;

static const struct mode modes[] = {
    {"memory", mode_memory},
    {"msrs", mode_msrs},
    {"ports", mode_ports},
    {"pci", mode_pci},
    {"instructions", mode_instructions},
    {"lapic", mode_lapic},
    {"timer-storm", mode_timer_storm},
    {"ipi-storm", mode_ipi_storm},
    {"nmi-storm", mode_nmi_storm},
    {"init", mode_init},
    {"streams", mode_streams},
    {"wild-streams", mode_wild_streams},
    {"triple-fault", mode_triple_fault},
    {"halt", mode_halt},
    {"spin", mode_spin},
    {"zeros", mode_zeros},
    {"idt", mode_idt},
    {"gdt", mode_gdt},
    {"tables", mode_tables},
    {"cr3", mode_cr3},
    {"cr4", mode_cr4},
    {"efer", mode_efer},
    {"task-switch", mode_task_switch},
    {"entry-state", mode_entry_state},
    {"stack-in-device", mode_stack_in_device},
    {"fetch-hidden", mode_fetch_hidden},
    {"tsc-back", mode_tsc_back},
};

void start_console(void)
{
    static const u8 words[][2] = {{4, 0}, {1, 0}, {3, 0x80}, {0, 1}, {1, 0}, {3, 3}, {2, 7}};
    for (u32 i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        out8((u16)(COM1 + words[i][0]), words[i][1]);
}

void put(const char *text)
{
    for (; *text; text++) {
        for (int i = 0; i < 1000 && !(in8(COM1 + LSR) & LSR_THR_EMPTY); i++)
            ;
        out8(COM1, (u8)*text);
    }
}

void put_number(const char *text, u64 number)
{
    char digits[21];
    int at = 20;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    put(text);
    put(digits + at);
    put("\n");
}

void random_seed(u64 seed)
{
    random_state = (seed + 1) * 0x9e3779b97f4a7c15ull;
}

/* Marsaglia's xorshift64. */
u64 random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static const char *find_word(const char *name)
{
    for (const char *at = command_line; *at; at++) {
        const char *text = at;
        const char *wanted = name;
        if (at != command_line && at[-1] != ' ')
            continue;
        while (*wanted && *text == *wanted) {
            text++;
            wanted++;
        }
        if (!*wanted && *text == '=')
            return text + 1;
    }
    return 0;
}

u64 option(const char *name, u64 missing)
{
    const char *text = find_word(name);
    u64 value = 0;
    if (!text)
        return missing;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (u64)(*text - '0');
    return value;
}

void trap_taken(u32 vector)
{
    trap_counts[vector]++;
    if (vector < 32 && vector != 2 && !attempting) {
        put_number("unexpected trap ", vector);
        __asm__ volatile("cli; hlt");
    }
    if (vector >= 32) {
        write32(LAPIC + 0xb0, 0);
        out8(0x20, 0x20);
        if (trap_counts[32] == storm_end)
            write32(LAPIC + 0x380, 0);
    }
}

void start_watchdog(u32 hertz, bool nmi)
{
    static const u8 words[][2] = {{0x20, 0x11}, {0xa0, 0x11}, {0x21, 32}, {0xa1, 40},
                                  {0x21, 4},    {0xa1, 2},    {0x21, 1},  {0xa1, 1},
                                  {0x21, 0xff}, {0xa1, 0xff}};
    u32 divisor = 1193182 / hertz;
    for (u32 i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        out8(words[i][0], words[i][1]);
    out8(0x43, 0x34); /* counter 0, mode 2 */
    out8(0x40, (u8)divisor);
    out8(0x40, (u8)(divisor >> 8));
    write32(LAPIC + 0xf0, 0x1ff);
    write32(LAPIC + 0x80, 0);
    /* Input 2 is the timer; delivery mode 4 is an NMI (82093AA data sheet, 3.2.4). */
    write32(IOAPIC, 0x10 + 2 * 2 + 1);
    write32(IOAPIC + 0x10, read32(LAPIC + 0x20) & 0xff000000);
    write32(IOAPIC, 0x10 + 2 * 2);
    write32(IOAPIC + 0x10, nmi ? 0x400 : 32);
}

static void make_idt(void)
{
    for (u32 vector = 0; vector < 256; vector++) {
        u64 entry = (u64)trap_entries[vector];
        idt[vector] = (struct gate){.offset_low = (u16)entry,
                                    .selector = CODE64,
                                    .ist = IST,
                                    .type = GATE_INTERRUPT,
                                    .offset_middle = (u16)(entry >> 16)};
    }
    __asm__ volatile("lidt %0" ::"m"(*idt_pointer));
}

static bool next_word(const char **text, const char *word)
{
    const char *at = *text;
    while (*word && *at == *word) {
        at++;
        word++;
    }
    if (*word || (*at && *at != ' ' && *at != ','))
        return false;
    *text = at;
    return true;
}

/* Runs the modes that mode=a,b,c names. */
static void run_modes(const char *names)
{
    while (*names && *names != ' ') {
        bool found = false;
        for (u32 i = 0; !found && i < sizeof(modes) / sizeof(modes[0]); i++) {
            if (!next_word(&names, modes[i].name))
                continue;
            found = true;
            put("begin ");
            put(modes[i].name);
            put("\n");
            random_seed(option("seed", 1));
            modes[i].run();
            put("done ");
            put(modes[i].name);
            put("\n");
        }
        if (!found) {
            put("no such mode\n");
            return;
        }
        if (*names == ',')
            names++;
    }
    put("all done\n");
}

void hostile_main(u32 magic, const struct multiboot_info *info)
{
    const char *names;
    (void)magic;
    if (info->flags & INFO_CMDLINE) {
        const char *text = (const char *)(u64)info->command_line;
        for (u32 i = 0; i < sizeof(command_line) - 1 && text[i]; i++)
            command_line[i] = text[i];
    }
    make_idt();
    start_console();
    names = find_word("mode");
    if (names)
        run_modes(names);
    for (;;) /* stays to be looked at */
        __asm__ volatile("pause");
}
