/* Areas of memory that drivers declare: what the engine keeps of them (dma/areas.h). */
#ifndef LVMM_DMA_AREA_H
#define LVMM_DMA_AREA_H

#include "lib/types.h"

/* Who uses an area: one after the other, or both at once. */
enum dma_area_kind {
    DMA_AREA_TO_DEVICE = 1,
    DMA_AREA_FROM_DEVICE = 2,
    DMA_AREA_BOTH = 3,
    DMA_AREA_SHARED = 4,
};

struct dma_area {
    u64 gpa, length; /* bytes */
    u32 page;        /* the first of its shadow */
    u32 owner;
    u8 kind; /* enum dma_area_kind */
    u8 stream;
};

/* All that is declared. An area's shadow is in pages of its own, at the same offset in the first.
 */
struct dma_areas {
    struct dma_area *list; /* by the number of the first page */
    u32 *first_page;       /* of the area that a page belongs to, and 1; 0: free */
    u32 page_count, next_page;
    u32 *shared; /* first pages of those that are */
    u32 shared_count;
    u8 *image; /* what the device writes and reads */
    u64 image_phys;
    u8 *before; /* the image as the guest's memory is */
};

#endif
