#include "interrupts.h"
#include <stdbool.h>
#include "panic.h"

/* 8259A data sheet; the registers ELCR1 and ELCR2 are those of the PIIX. */
#define MASTER         0x20
#define SLAVE          0xa0
#define MASTER_DATA    0x21
#define SLAVE_DATA     0xa1
#define ELCR           0x4d0
#define ICW1           0x11 /* edge, cascade, ICW4 follows */
#define ICW4_8086      0x01
#define CASCADE_LINE   2
#define END_OF_SERVICE 0x20

#define LINES         16
#define LINE_VECTOR   0x20 /* of line 0 */
#define VECTORS       (LINE_VECTOR + LINES)
#define CODE_SELECTOR 8
#define GATE_TYPE     0x8e00 /* present, 32-bit interrupt gate */

struct gate {
    u16 offset_low;
    u16 selector;
    u16 type;
    u16 offset_high;
};

struct table_pointer {
    u16 limit;
    u32 base;
} __attribute__((packed));

extern const u8 interrupt_entries[VECTORS][16];

static struct gate idt[VECTORS];
static void (*handlers[LINES])(void);

void interrupt_dispatch(const struct interrupt_frame *frame);

static void start_8259(u16 port, u8 vector, u8 cascade)
{
    out8(port, ICW1);
    out8(port + 1, vector);
    out8(port + 1, cascade);
    out8(port + 1, ICW4_8086);
    out8(port + 1, 0xff);
}

void interrupts_start(void)
{
    struct table_pointer pointer = {sizeof(idt) - 1, (u32)idt};
    for (u32 vector = 0; vector < VECTORS; vector++) {
        u32 entry = (u32)interrupt_entries[vector];
        idt[vector] = (struct gate){(u16)entry, CODE_SELECTOR, GATE_TYPE, (u16)(entry >> 16)};
    }
    __asm__ volatile("lidt %0" ::"m"(pointer));
    start_8259(MASTER, LINE_VECTOR, 1u << CASCADE_LINE);
    start_8259(SLAVE, LINE_VECTOR + 8, CASCADE_LINE);
}

static void set_bit(u16 port, u32 bit)
{
    out8(port, (u8)(in8(port) | 1u << bit));
}

static void clear_bit(u16 port, u32 bit)
{
    out8(port, (u8)(in8(port) & ~(1u << bit)));
}

void interrupts_claim(u32 line, void (*handler)(void))
{
    if (line >= LINES)
        panic("the device has no interrupt line");
    handlers[line] = handler;
    set_bit((u16)(ELCR + line / 8), line % 8);
    if (line >= 8) {
        clear_bit(SLAVE_DATA, line - 8);
        line = CASCADE_LINE;
    }
    clear_bit(MASTER_DATA, line);
}

void interrupt_dispatch(const struct interrupt_frame *frame)
{
    if (frame->vector < LINE_VECTOR)
        panic("exception %u, error code %x, at %x", frame->vector, frame->error, frame->eip);
    u32 line = frame->vector - LINE_VECTOR;
    bool spurious = handlers[line] == 0;
    if (!spurious)
        handlers[line]();
    /* A spurious interrupt (line 7 of an 8259) is in service only at the other one. */
    if (line >= 8 && !spurious)
        out8(SLAVE, END_OF_SERVICE);
    if (line >= 8 || !spurious)
        out8(MASTER, END_OF_SERVICE);
}
