#include "runtime.h"

#include <stdarg.h>

#define COM1               0x3f8
#define UART_THR           0
#define UART_IER           1
#define UART_FCR           2
#define UART_LCR           3
#define UART_LSR           5
#define UART_LCR_DLAB      0x80
#define UART_LSR_THR_EMPTY 0x20
#define UART_FIFO_BYTES    16

/* Between two looks at the line status: a look is an exit and a log record, a loop is neither. */
#define UART_DELAY_LOOPS 2000

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

#define GATE_INTERRUPT_32 0x8e00
#define CODE_SELECTOR     8

extern u8 interrupt_entries[256][16];

static struct gate idt[256];
static interrupt_handler handlers[256];

void runtime_main(u32 magic, u32 info);
void runtime_interrupt(struct frame *frame);

static void delay(u32 loops) {
    __asm__ volatile("1: dec %0; jnz 1b" : "+r"(loops)::"cc");
}

static void put_character(char character) {
    static u32 room;
    while (room == 0) {
        delay(UART_DELAY_LOOPS);
        if (in8(COM1 + UART_LSR) & UART_LSR_THR_EMPTY)
            room = UART_FIFO_BYTES;
    }
    room--;
    out8(COM1 + UART_THR, (u8)character);
}

static void put_hexadecimal(u64 value, int digits) {
    while (digits-- > 0)
        put_character("0123456789abcdef"[value >> (4 * digits) & 15]);
}

static void put_decimal(u32 value) {
    char digits[10];
    int count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count > 0)
        put_character(digits[--count]);
}

void print(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            put_character(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *text = va_arg(arguments, const char *); *text; text++)
                put_character(*text);
            break;
        case 'u':
            put_decimal(va_arg(arguments, u32));
            break;
        case 'x':
            put_hexadecimal(va_arg(arguments, u32), 8);
            break;
        case 'X':
            put_hexadecimal(va_arg(arguments, u64), 16);
            break;
        default:
            put_character(*format);
            break;
        }
    }
    va_end(arguments);
}

static void start_console(void) {
    out8(COM1 + UART_IER, 0);
    out8(COM1 + UART_LCR, UART_LCR_DLAB);
    out8(COM1 + UART_THR, 1); /* divisor 1: 115200 baud */
    out8(COM1 + UART_IER, 0);
    out8(COM1 + UART_LCR, 3); /* 8 data bits, 1 stop bit */
    out8(COM1 + UART_FCR, 7); /* FIFOs on and empty */
}

void set_handler(u8 vector, interrupt_handler handler) {
    handlers[vector] = handler;
}

void runtime_interrupt(struct frame *frame) {
    interrupt_handler handler = handlers[frame->vector];
    if (handler) {
        handler(frame);
        return;
    }
    print("unexpected vector %u error %x at %x\n", frame->vector, frame->error, frame->eip);
    end_halted();
}

static void load_idt(u16 limit) {
    struct table_pointer pointer = {limit, (u32)idt};
    __asm__ volatile("lidt %0" ::"m"(pointer));
}

void start_timer(u32 hertz) {
    /* PICs: ICW1 to ICW4, then the masks (8259A data sheet). */
    out8(0x20, 0x11);
    out8(0xa0, 0x11);
    out8(0x21, TIMER_VECTOR);
    out8(0xa1, TIMER_VECTOR + 8);
    out8(0x21, 4);
    out8(0xa1, 2);
    out8(0x21, 1);
    out8(0xa1, 1);
    out8(0x21, 0xfe);
    out8(0xa1, 0xff);
    u32 divisor = 1193182 / hertz;
    out8(0x43, 0x34); /* counter 0, low then high byte, mode 2 */
    out8(0x40, (u8)divisor);
    out8(0x40, (u8)(divisor >> 8));
}

void acknowledge_timer(void) {
    out8(0x20, 0x20);
}

_Noreturn void end_halted(void) {
    for (;;) {
        disable_interrupts();
        halt();
    }
}

_Noreturn void end_triple_fault(void) {
    load_idt(0);
    __asm__ volatile("int3");
    end_halted();
}

_Noreturn void end_reset(void) {
    out8(0x64, 0xfe);
    end_halted();
}

void runtime_main(u32 magic, u32 info) {
    for (int vector = 0; vector < 256; vector++) {
        u32 entry = (u32)interrupt_entries[vector];
        idt[vector] =
            (struct gate){(u16)entry, CODE_SELECTOR, GATE_INTERRUPT_32, (u16)(entry >> 16)};
    }
    load_idt(sizeof(idt) - 1);
    start_console();
    guest_main(magic, info);
    end_halted();
}
