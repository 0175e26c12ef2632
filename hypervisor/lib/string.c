#include "lib/string.h"

/* Without this the compiler may turn a loop below into a call of the function it is in. */
#define NO_LOOP_IDIOMS __attribute__((optimize("no-tree-loop-distribute-patterns")))

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    void *end = to;

    /* One instruction is fast on CPUs with ERMS, and in emulators. */
    __asm__ volatile("rep movsb" : "+D"(end), "+S"(from), "+c"(size) : : "memory");
    return to;
}

NO_LOOP_IDIOMS void *memmove(void *to, const void *from, size_t size)
{
    if ((uintptr_t)to - (uintptr_t)from >= size)
        return memcpy(to, from, size);

    /* `to` lies inside `from`: copy from the end. */
    u8 *target = to;
    const u8 *source = from;

    while (size--)
        target[size] = source[size];
    return to;
}

void *memset(void *to, int value, size_t size)
{
    void *end = to;

    __asm__ volatile("rep stosb" : "+D"(end), "+c"(size) : "a"(value) : "memory");
    return to;
}

NO_LOOP_IDIOMS int memcmp(const void *left, const void *right, size_t size)
{
    const u8 *a = left;
    const u8 *b = right;
    u64 word, other;

    for (; size >= sizeof(word); size -= sizeof(word), a += sizeof(word), b += sizeof(word)) {
        __builtin_memcpy(&word, a, sizeof(word));
        __builtin_memcpy(&other, b, sizeof(other));
        if (word != other)
            break;
    }
    for (; size; size--, a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}

NO_LOOP_IDIOMS size_t strlen(const char *text)
{
    size_t length = 0;

    while (text[length])
        length++;
    return length;
}

NO_LOOP_IDIOMS int strncmp(const char *left, const char *right, size_t size)
{
    for (; size; size--, left++, right++) {
        if (*left != *right)
            return (u8)*left - (u8)*right;
        if (!*left)
            break;
    }
    return 0;
}
