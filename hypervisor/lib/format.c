#include "lib/format.h"

struct sink {
    format_put put;
    void *context;
};

static void put_char(const struct sink *sink, char c)
{
    sink->put(sink->context, c);
}

static void put_number(const struct sink *sink, u64 value, unsigned int base, unsigned int width,
                       char pad)
{
    char digits[24];
    unsigned int n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    for (; width > n; width--)
        put_char(sink, pad);
    while (n > 0)
        put_char(sink, digits[--n]);
}

static void put_string(const struct sink *sink, const char *s, unsigned int width)
{
    unsigned int n = 0;

    for (; s[n] != 0; n++)
        put_char(sink, s[n]);
    for (; n < width; n++)
        put_char(sink, ' ');
}

void format_text(format_put put, void *context, const char *f, va_list args)
{
    const struct sink chars = {put, context}, *sink = &chars;

    for (; *f != 0; f++) {
        unsigned int width = 0, longs = 0;
        char pad = ' ';

        if (*f != '%') {
            put_char(sink, *f);
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
            put_string(sink, va_arg(args, const char *), width);
            break;
        case 'c':
            put_char(sink, (char)va_arg(args, int));
            break;
        case 'd': {
            s64 v = longs != 0 ? va_arg(args, s64) : va_arg(args, int);

            if (v < 0)
                put_char(sink, '-');
            put_number(sink, v < 0 ? -(u64)v : (u64)v, 10, width, pad);
            break;
        }
        case 'u':
        case 'x': {
            u64 v = longs != 0 ? va_arg(args, u64) : va_arg(args, unsigned int);

            put_number(sink, v, *f == 'x' ? 16 : 10, width, pad);
            break;
        }
        case '%':
            put_char(sink, '%');
            break;
        default:
            put_char(sink, '?');
            break;
        }
    }
}
