/* The PCI devices that have a DMA profile: where they are, their parts of the shadow memory, and
 * the numbers of their streams in the log. Used while recording. */
#ifndef LVMM_CORE_PROFILED_DEVICES_H
#define LVMM_CORE_PROFILED_DEVICES_H

#include "core/pci.h"
#include "dma/dma.h"

/* Instead of a number: the engine says that it has no such stream (dma_streams_of). */
#define PROFILED_NO_STREAM 0xff

struct profiled_device {
    pci_bdf bdf;
    u64 memory_base;                /* of the profile's BAR; 0: not decoded */
    u16 port_base;                  /* likewise */
    u8 streams[DMA_DEVICE_STREAMS]; /* in the log, by the engine's numbers */
    struct dma_device dma;
};

/* Finds them all, and divides `size` bytes of shadow memory among them and what drivers declare
 * themselves. Touches neither the memory nor the devices. */
void profiled_devices_plan(u64 size);

/* Bytes of shadow memory for the device with a profile. 0: it is left out, since *lacks, "memory"
 * or "streams", is used up by those before it; NULL: it has no profile. */
u64 profiled_room(pci_bdf bdf, const char **lacks);

/* Sets them up as planned, with this environment but for `ctx`, which is the device. Returns the
 * bytes of `shadow`, page-aligned, that they use; or a negative error, told. */
s64 profiled_devices_init(u8 *shadow, const struct dma_env *env);

/* Device `i` from 0; NULL after the last. */
struct profiled_device *profiled_device(unsigned int i);
/* NULL: none. */
struct profiled_device *profiled_device_at(pci_bdf bdf);

/* The guest, or the firmware before it, may have put the device's BARs elsewhere. */
void profiled_device_moved(struct profiled_device *d);

#endif
