/* Questions to the firmware's memory map. */
#ifndef LVMM_CORE_MEMORY_MAP_H
#define LVMM_CORE_MEMORY_MAP_H

#include "boot/multiboot2.h"

/* How far memory is RAM from `base` on: the first address below `end` that the map does not call
 * RAM, or gives to something else too; `end` where there is none. */
u64 memory_map_ram_end(const struct memory_range *map, unsigned int count, u64 base, u64 end);

#endif
