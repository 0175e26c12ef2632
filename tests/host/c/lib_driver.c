/* Checks the monitor's own CRC-32C and string functions against what stdin gives.
 *
 * crc     reads blocks, each after its length (u32) and where to split it (u32); prints the CRCs.
 * string  compares the monitor's functions, renamed by the build, with libc's on random input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/crc32c.h"

void *lvmm_memcpy(void *to, const void *from, size_t size);
void *lvmm_memmove(void *to, const void *from, size_t size);
void *lvmm_memset(void *to, int value, size_t size);
int lvmm_memcmp(const void *left, const void *right, size_t size);
size_t lvmm_strlen(const char *text);
int lvmm_strncmp(const char *left, const char *right, size_t size);

#define BUFFER 200
#define ROUNDS 200000

static int check_crc(void)
{
    u32 size, split;

    while (fread(&size, 4, 1, stdin) == 1 && fread(&split, 4, 1, stdin) == 1) {
        u8 *data = malloc(size ? size : 1);

        if (fread(data, 1, size, stdin) != size)
            return 1;
        printf("%08x\n", crc32c(crc32c(0, data, split), data + split, size - split));
        free(data);
    }
    return 0;
}

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

static size_t below(size_t limit)
{
    return (size_t)rand() % limit;
}

static int check_string(void)
{
    char ours[BUFFER], theirs[BUFFER], left[BUFFER], right[BUFFER];

    srand(1);
    for (int round = 0; round < ROUNDS; round++) {
        size_t size = below(BUFFER / 2), from = below(BUFFER / 2), to = below(BUFFER / 2);

        for (size_t i = 0; i < BUFFER; i++) {
            ours[i] = theirs[i] = (char)rand();
            left[i] = right[i] = (char)below(3);
        }
        if (below(2))
            right[below(BUFFER)] ^= (char)0x80;
        left[BUFFER - 1] = right[BUFFER - 1] = 0;

        if (lvmm_memmove(ours + to, ours + from, size) != ours + to)
            return 1;
        memmove(theirs + to, theirs + from, size);
        lvmm_memset(ours + from, round, size);
        memset(theirs + from, round, size);
        lvmm_memcpy(ours + BUFFER / 2, left, size);
        memcpy(theirs + BUFFER / 2, left, size);
        if (memcmp(ours, theirs, BUFFER))
            return 1;
        if (sign(lvmm_memcmp(left, right, BUFFER)) != sign(memcmp(left, right, BUFFER)) ||
            sign(lvmm_strncmp(left + from, right + from, size)) !=
                sign(strncmp(left + from, right + from, size)) ||
            lvmm_strlen(left + from) != strlen(left + from))
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "crc"))
        return check_crc();
    if (argc == 2 && !strcmp(argv[1], "string"))
        return check_string();
    return 2;
}
