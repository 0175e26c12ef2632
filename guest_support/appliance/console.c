#include "console.h"
#include "cpu.h"

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

static void put_hexadecimal(u32 value, int digits)
{
    while (digits-- > 0)
        put_character("0123456789abcdef"[value >> (4 * digits) & 15]);
}

static void put_decimal(u32 value)
{
    char digits[10];
    int count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count > 0)
        put_character(digits[--count]);
}

static void put_text(const char *text)
{
    while (*text)
        put_character(*text++);
}

void print_list(const char *format, va_list arguments)
{
    for (; *format; format++) {
        if (*format != '%') {
            put_character(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            put_text(va_arg(arguments, const char *));
            break;
        case 'u':
            put_decimal(va_arg(arguments, u32));
            break;
        case 'x':
            put_hexadecimal(va_arg(arguments, u32), 8);
            break;
        case 'b':
            put_hexadecimal(va_arg(arguments, u32), 2);
            break;
        default:
            put_character(*format);
            break;
        }
    }
}

void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_list(format, arguments);
    va_end(arguments);
}
