#include "lib/text.h"

bool text_equal(const char *a, const char *b)
{
    while (*a != 0 && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

int text_copy(char *to, size_t size, const char *from)
{
    size_t n = 0;

    for (; from[n] != 0; n++) {
        if (n + 1 >= size)
            return ERR_NO_SPACE;
        to[n] = from[n];
    }
    to[n] = 0;
    return (int)n;
}

int text_option(const char *line, const char *key, char *value, size_t size)
{
    while (*line != 0) {
        const char *k = key;
        size_t n = 0;

        while (*line == ' ')
            line++;
        while (*k != 0 && *line == *k) {
            line++;
            k++;
        }
        if (*k == 0 && *line == '=') {
            for (line++; *line != 0 && *line != ' ' && n + 1 < size; line++)
                value[n++] = *line;
            value[n] = 0;
            return (int)n;
        }
        while (*line != 0 && *line != ' ')
            line++;
    }
    return -1;
}

int text_number(const char *s, u64 *value)
{
    unsigned int base = 10;

    *value = 0;
    if (s[0] == '0' && s[1] == 'x') {
        base = 16;
        s += 2;
    }
    if (*s == 0)
        return ERR_INVALID;
    for (; *s != 0; s++) {
        unsigned int digit;

        if (*s >= '0' && *s <= '9')
            digit = (unsigned int)(*s - '0');
        else if (*s >= 'a' && *s <= 'f')
            digit = (unsigned int)(*s - 'a' + 10);
        else
            return ERR_INVALID;
        if (digit >= base)
            return ERR_INVALID;
        *value = *value * base + digit;
    }
    return 0;
}
