/*
 * Test driver for core/memory_map.c. Standard input: maps, each a line with the number of ranges,
 * base and end of a query, then a line "base length type" for each range (all hexadecimal).
 * Standard output: a line with the answer to each.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/memory_map.h"

int main(void)
{
    struct memory_range map[BOOT_MMAP_MAX];
    u64 base, end;
    unsigned int count;

    while (scanf("%x %" SCNx64 " %" SCNx64, &count, &base, &end) == 3) {
        if (count > BOOT_MMAP_MAX)
            return 1;
        for (unsigned int i = 0; i < count; i++)
            if (scanf("%" SCNx64 " %" SCNx64 " %x", &map[i].base, &map[i].length, &map[i].type) !=
                3)
                return 1;
        printf("%" PRIx64 "\n", memory_map_ram_end(map, count, base, end));
    }
    return 0;
}
