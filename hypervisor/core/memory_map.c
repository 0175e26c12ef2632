#include "core/memory_map.h"

static u64 range_end(const struct memory_range *range)
{
    return range->length > ~range->base ? ~0ULL : range->base + range->length;
}

/* Where the RAM that is at `at` ends, whatever overlaps it; `at` if there is none. */
static u64 ram_range_end(const struct memory_range *map, unsigned int count, u64 at)
{
    u64 end = at;

    for (unsigned int i = 0; i < count; i++)
        if (map[i].type == MEMORY_RAM && map[i].base <= at && range_end(&map[i]) > end)
            end = range_end(&map[i]);
    return end;
}

u64 memory_map_ram_end(const struct memory_range *map, unsigned int count, u64 base, u64 end)
{
    u64 at = base, next;

    for (unsigned int i = 0; i < count; i++)
        if (map[i].type != MEMORY_RAM && map[i].length != 0 && map[i].base < end &&
            range_end(&map[i]) > base)
            end = map[i].base > base ? map[i].base : base;
    while (at < end && (next = ram_range_end(map, count, at)) > at)
        at = next;
    return at < end ? at : end;
}
