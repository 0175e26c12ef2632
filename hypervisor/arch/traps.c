#include "arch/traps.h"
#include "arch/cpu.h"
#include "arch/vectors.h"
#include "lib/printk.h"
#include "lib/panic.h"

struct idt_gate {
    u16 offset_0;
    u16 selector;
    u8 ist;
    u8 type;
    u16 offset_16;
    u32 offset_32;
    u32 reserved;
} __attribute__((packed));

struct tss64 {
    u32 reserved0;
    u64 rsp[3];
    u64 reserved1;
    u64 ist[7];
    u64 reserved2;
    u16 reserved3;
    u16 iomap_base;
} __attribute__((packed));

struct table_register {
    u16 limit;
    u64 base;
} __attribute__((packed));

extern const u64 trap_stubs[32];
extern u64 gdt[];
extern u8 nmi_stack_top[], fault_stack_top[];
extern u8 rdmsr_safe_insn[], wrmsr_safe_insn[], msr_safe_fixup[];

extern const u8 take_stubs[], counted_stub[];
extern volatile int taken_vector;
extern volatile u64 counted_interrupts;

#define TAKE_STUB_SIZE 16

/* External interrupts may use any vector, those of exceptions too, and push no error code: they are
 * taken under a table of their own. */
static struct idt_gate take_idt[256] __attribute__((aligned(16)));
static struct idt_gate idt[32] __attribute__((aligned(16)));
static struct tss64 tss __attribute__((aligned(16)));
static u64 nmi_count, nmi_rip;
static u8 counted_vector;

#define GATE_INTERRUPT 0x8e
#define IST_NMI        1
#define IST_FAULT      2

static void set_gate(struct idt_gate *gate, u64 address, u8 ist)
{
    *gate = (struct idt_gate){
        .offset_0 = (u16)address,
        .selector = MONITOR_CS,
        .ist = ist,
        .type = GATE_INTERRUPT,
        .offset_16 = (u16)(address >> 16),
        .offset_32 = (u32)(address >> 32),
    };
}

static void load_idt(const struct idt_gate *table, size_t size)
{
    struct table_register idtr = {(u16)(size - 1), (u64)table};

    __asm__ volatile("lidt %0" : : "m"(idtr));
}

static void set_take_gate(u8 vector)
{
    set_gate(&take_idt[vector], (u64)take_stubs + vector * TAKE_STUB_SIZE, 0);
}

void traps_init(void)
{
    u64 base = (u64)&tss;

    for (unsigned int v = 0; v < ARRAY_SIZE(idt); v++) {
        bool fault = v == VECTOR_DF || v == VECTOR_GP || v == VECTOR_PF;

        set_gate(&idt[v], trap_stubs[v], v == VECTOR_NMI ? IST_NMI : fault ? IST_FAULT : 0);
    }
    for (unsigned int v = 0; v < ARRAY_SIZE(take_idt); v++)
        set_take_gate((u8)v);
    take_idt[VECTOR_NMI] = idt[VECTOR_NMI];
    tss.ist[IST_NMI - 1] = (u64)nmi_stack_top;
    tss.ist[IST_FAULT - 1] = (u64)fault_stack_top;
    tss.iomap_base = sizeof(tss);

    gdt[MONITOR_TSS / 8] =
        (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ULL << 40 | (base >> 24 & 0xff) << 56;
    gdt[MONITOR_TSS / 8 + 1] = base >> 32;
    load_idt(idt, sizeof(idt));
    __asm__ volatile("ltr %w0" : : "r"(MONITOR_TSS));
}

u64 traps_gdt_base(void)
{
    return (u64)gdt;
}

u64 traps_idt_base(void)
{
    return (u64)idt;
}

u64 traps_tss_base(void)
{
    return (u64)&tss;
}

u64 traps_nmi_count(void)
{
    return *(volatile u64 *)&nmi_count;
}

u64 traps_nmi_rip(void)
{
    return *(volatile u64 *)&nmi_rip;
}

int traps_take_interrupt(void)
{
    taken_vector = -1;
    load_idt(take_idt, sizeof(take_idt));
    __asm__ volatile("sti\n\tnop\n\tnop\n\tcli" : : : "memory");
    load_idt(idt, sizeof(idt));
    return taken_vector;
}

void traps_count_interrupts(u8 vector)
{
    counted_vector = vector;
    counted_interrupts = 0;
    set_gate(&take_idt[vector], (u64)counted_stub, 0);
    load_idt(take_idt, sizeof(take_idt));
}

u64 traps_interrupts_counted(void)
{
    return counted_interrupts;
}

void traps_stop_counting(void)
{
    load_idt(idt, sizeof(idt));
    set_take_gate(counted_vector);
}

void trap_handler(struct trap_frame *f)
{
    if (f->vector == VECTOR_NMI) {
        nmi_count++;
        nmi_rip = f->rip;
        return;
    }
    if (f->vector == VECTOR_GP &&
        (f->rip == (u64)rdmsr_safe_insn || f->rip == (u64)wrmsr_safe_insn)) {
        f->rip = (u64)msr_safe_fixup;
        return;
    }
    panic("exception %u error %lx in the monitor at rip %lx rsp %lx cr2 %lx rdi %lx rsi %lx",
          (unsigned int)f->vector, f->error, f->rip, f->rsp, read_cr2(), f->rdi, f->rsi);
}
