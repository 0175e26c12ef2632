/* Instructions that a guest has no business with: each must fault, or do no harm. */
#include "hostile.h"

#define UD 6
#define GP 13

static u64 operand[64] __attribute__((aligned(64)));

struct trial {
    const char *name;
    u8 code[12];
    u32 vector; /* that must come, or... */
    bool any;   /* ...whatever comes */
};

/* RDI points to memory; RAX, RCX, RDX are random. The breakpoint behind each ends it. */
static const struct trial trials[] = {
    {"vmcall", {0x0f, 0x01, 0xc1}, UD, false},
    {"vmlaunch", {0x0f, 0x01, 0xc2}, UD, false},
    {"vmresume", {0x0f, 0x01, 0xc3}, UD, false},
    {"vmxoff", {0x0f, 0x01, 0xc4}, UD, false},
    {"vmfunc", {0x0f, 0x01, 0xd4}, UD, false},
    {"vmread", {0x0f, 0x78, 0x07}, UD, false},
    {"vmwrite", {0x0f, 0x79, 0x07}, UD, false},
    {"vmptrld", {0x0f, 0xc7, 0x37}, UD, false},
    {"vmptrst", {0x0f, 0xc7, 0x3f}, UD, false},
    {"vmclear", {0x66, 0x0f, 0xc7, 0x37}, UD, false},
    {"vmxon", {0xf3, 0x0f, 0xc7, 0x37}, UD, false},
    {"invept", {0x66, 0x0f, 0x38, 0x80, 0x07}, UD, false},
    {"invvpid", {0x66, 0x0f, 0x38, 0x81, 0x07}, UD, false},
    {"getsec", {0x0f, 0x37}, UD, false},
    {"rsm", {0x0f, 0xaa}, UD, false},
    {"monitor", {0x0f, 0x01, 0xc8}, UD, false},
    {"mwait", {0x0f, 0x01, 0xc9}, UD, false},
    {"xsetbv", {0x0f, 0x01, 0xd1}, UD, false}, /* CR4.OSXSAVE is clear */
    {"rdpmc", {0x0f, 0x33}, GP, false},
    {"vmrun", {0x0f, 0x01, 0xd8}, UD, false},
    {"clgi", {0x0f, 0x01, 0xdd}, UD, false},
    {"invd", {0x0f, 0x08}, 0, true},
    {"wbinvd", {0x0f, 0x09}, 0, true},
    {"invlpg", {0x0f, 0x01, 0x3f}, 0, true},
    {"invpcid", {0x66, 0x0f, 0x38, 0x82, 0x07}, 0, true},
    {"xsave", {0x0f, 0xae, 0x27}, 0, true},
    {"xsaves", {0x0f, 0xc7, 0x2f}, 0, true},
    {"int1", {0xf1}, 0, true},
    {"into", {0xce}, 0, true},
    {"ud2", {0x0f, 0x0b}, UD, false},
};

static struct entry entry;
static u8 code[16];

static void run_code(void *unused)
{
    (void)unused;
    enter(&entry);
}

static void run_trials(void)
{
    for (u32 i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        const struct trial *trial = &trials[i];
        int vector;
        for (u32 k = 0; k < sizeof(code); k++)
            code[k] = k < sizeof(trial->code) && trial->code[k] ? trial->code[k] : 0xcc;
        entry = (struct entry){.rax = random(),
                               .rcx = random(),
                               .rdx = random(),
                               .rdi = (u64)operand,
                               .rip = (u64)code,
                               .cs = CODE64,
                               .rflags = 2,
                               .rsp = (u64)&operand[64],
                               .ss = DATA};
        vector = attempt(run_code, 0) - 1;
        if (trial->any || vector == (int)trial->vector)
            continue;
        put("wrong trap: ");
        put(trial->name);
        put_number(" ", (u64)vector);
    }
}

static void set_xcr0(void *argument)
{
    u64 value = *(u64 *)argument;
    u64 cr4;
    __asm__ volatile("mov %%cr4, %0; bts $18, %0; mov %0, %%cr4" : "=r"(cr4));
    __asm__ volatile("xsetbv" ::"c"((u32)(value >> 60)), "a"((u32)value), "d"(value >> 32));
}

static void set_cr0(void *argument)
{
    __asm__ volatile("mov %0, %%cr0" ::"r"(*(u64 *)argument) : "memory");
}

static void set_cr4(void *argument)
{
    __asm__ volatile("mov %0, %%cr4" ::"r"(*(u64 *)argument) : "memory");
}

static void set_cr8(void *argument)
{
    __asm__ volatile("mov %0, %%cr8" ::"r"(*(u64 *)argument) : "memory");
}

static void set_dr(void *argument)
{
    u64 value = *(u64 *)argument;
    __asm__ volatile("mov %0, %%dr0; mov %0, %%dr3" ::"r"(value));
    __asm__ volatile("mov %0, %%dr6" ::"r"(value));
    __asm__ volatile("mov %0, %%dr7" ::"r"(value & ~0xffull));
}

/* Control registers with random bits, those apart without which this code cannot go on. */
static void run_control_registers(void)
{
    for (u32 i = 0; i < 400; i++) {
        u64 value = random();
        u64 cr0 = (value & 0x7ffeffffull) | 0x80000001;
        u64 cr4 = (value & 0x00fbf7ffull) | 0x20;
        u64 small = value >> (value >> 58);
        current = i;
        attempt(set_xcr0, &small);
        attempt(set_cr0, i % 4 ? &cr0 : &value);
        attempt(set_cr4, i % 4 ? &cr4 : &value);
        attempt(set_cr8, &small);
        attempt(set_dr, i % 2 ? &small : &value);
        attempt(run_code, 0); /* a trap puts the registers back */
    }
}

void mode_instructions(void)
{
    run_trials();
    run_control_registers();
    put("instructions run\n");
}
