/* The guest's memory, little-endian numbers in it, and the device's registers, for the parts of the
 * engine. */
#ifndef LVMM_DMA_GUEST_H
#define LVMM_DMA_GUEST_H

#include "dma/dma.h"

/* 0, or ERR_FAULT, counted: the range is not RAM or wraps. */
int dma_read_guest(struct dma_device *device, u64 gpa, void *buf, u32 len);
/* The same; what was written is logged. */
int dma_write_guest(struct dma_device *device, u8 stream, u64 gpa, const void *data, u32 len);

/* Whether the range does not wrap. */
bool dma_guest_range_is_sane(u64 gpa, u32 len);

/* The part of `len` bytes from `gpa` on that lies in the first page. */
u32 dma_page_part(u64 gpa, u32 len);

/* The device owns a buffer from now on, or no more. */
void dma_own(struct dma_device *device, u8 stream, u64 gpa, u32 len, bool owned);

/* The engine's own write to a register. */
void dma_write_register(struct dma_device *device, u32 reg, u8 size, u64 value);
/* The guest's write does not reach the device; counted. */
void dma_refuse(struct dma_device *device, bool *forward);

/* Notes a text for dma_take_error(), if there is none yet. */
void dma_note_error(struct dma_device *device, const char *text);

/* A little-endian number in a descriptor. */
u64 dma_get_field(const u8 *descriptor, struct dma_field field);
void dma_put_field(u8 *descriptor, struct dma_field field, u64 value);

#endif
