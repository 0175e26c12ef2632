/* What the streams of DMA and SENT events are, for the recording header. */
#ifndef LVMM_BOOT_DMA_STREAMS_H
#define LVMM_BOOT_DMA_STREAMS_H

#include "lib/types.h"
#include "log_format.h"

/* All streams of the devices that profiled_devices_init() set up. Returns their number and sets
 * *streams. */
u32 dma_streams_describe(const struct log_dma_stream **streams);

#endif
