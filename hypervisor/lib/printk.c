#include "lib/printk.h"
#include "arch/serial.h"

static void put_number(u64 value, unsigned int base, unsigned int width, char pad)
{
    char digits[24];
    unsigned int n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    for (; width > n; width--)
        serial_put(pad);
    while (n > 0)
        serial_put(digits[--n]);
}

static void put_string(const char *s, unsigned int width)
{
    unsigned int n = 0;

    for (; s[n] != 0; n++)
        serial_put(s[n]);
    for (; n < width; n++)
        serial_put(' ');
}

void vprintk(const char *f, va_list args)
{
    for (; *f != 0; f++) {
        unsigned int width = 0, longs = 0;
        char pad = ' ';

        if (*f != '%') {
            serial_put(*f);
            continue;
        }
        f++;
        if (*f == '0')
            pad = *f++;
        while (*f >= '0' && *f <= '9')
            width = width * 10 + (unsigned int)(*f++ - '0');
        while (*f == 'l') {
            longs++;
            f++;
        }
        switch (*f) {
        case 's':
            put_string(va_arg(args, const char *), width);
            break;
        case 'c':
            serial_put((char)va_arg(args, int));
            break;
        case 'd': {
            s64 v = longs != 0 ? va_arg(args, s64) : va_arg(args, int);

            if (v < 0)
                serial_put('-');
            put_number(v < 0 ? -(u64)v : (u64)v, 10, width, pad);
            break;
        }
        case 'u':
        case 'x': {
            u64 v = longs != 0 ? va_arg(args, u64) : va_arg(args, unsigned int);

            put_number(v, *f == 'x' ? 16 : 10, width, pad);
            break;
        }
        case '%':
            serial_put('%');
            break;
        default:
            serial_put('?');
            break;
        }
    }
}

void printk(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintk(format, args);
    va_end(args);
}
