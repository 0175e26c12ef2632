#include "text.h"
#include "cpu.h"

struct writer {
    struct text text;
    u32 length;
};

static void put_character(struct writer *writer, char character)
{
    if (writer->length < TEXT_BYTES - 1)
        writer->text.characters[writer->length++] = character;
}

static void put_text(struct writer *writer, const char *text)
{
    while (*text)
        put_character(writer, *text++);
}

static void put_hexadecimal(struct writer *writer, u32 value, int digits)
{
    while (digits-- > 0)
        put_character(writer, "0123456789abcdef"[value >> (4 * digits) & 15]);
}

static void put_decimal(struct writer *writer, u32 value)
{
    char digits[10];
    int count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count > 0)
        put_character(writer, digits[--count]);
}

struct text text_of(const char *format, va_list arguments)
{
    struct writer writer = {.length = 0};
    for (; *format; format++) {
        if (*format != '%') {
            put_character(&writer, *format);
            continue;
        }
        switch (*++format) {
        case 's':
            put_text(&writer, va_arg(arguments, const char *));
            break;
        case 'u':
            put_decimal(&writer, va_arg(arguments, u32));
            break;
        case 'x':
            put_hexadecimal(&writer, va_arg(arguments, u32), 8);
            break;
        case 'b':
            put_hexadecimal(&writer, va_arg(arguments, u32), 2);
            break;
        default:
            put_character(&writer, *format);
            break;
        }
    }
    return writer.text;
}
