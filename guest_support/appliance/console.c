#include "console.h"
#include "cpu.h"
#include "text.h"

/* Registers of the 16550 UART. */
#define COM1          0x3f8
#define THR           0
#define IER           1
#define FCR           2
#define LCR           3
#define LSR           5
#define LCR_8N1       0x03
#define LCR_DLAB      0x80
#define FCR_ON_EMPTY  0x07
#define LSR_THR_EMPTY 0x20
#define FIFO_BYTES    16

void console_start(void)
{
    out8(COM1 + IER, 0);
    out8(COM1 + LCR, LCR_DLAB);
    out8(COM1 + THR, 1); /* the divisor: 115,200 baud */
    out8(COM1 + IER, 0);
    out8(COM1 + LCR, LCR_8N1);
    out8(COM1 + FCR, FCR_ON_EMPTY);
}

static void put_character(char character)
{
    static u32 room;
    if (room == 0) {
        while (!(in8(COM1 + LSR) & LSR_THR_EMPTY))
            __asm__ volatile("pause");
        room = FIFO_BYTES;
    }
    room--;
    out8(COM1 + THR, (u8)character);
}

void console_write(const char *text)
{
    while (*text)
        put_character(*text++);
}

void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct text text = text_of(format, arguments);
    va_end(arguments);
    console_write(text.characters);
}
