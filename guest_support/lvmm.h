/* For the guest of an lvmm monitor: what to record, notes in the recording, and a panic that the
 * debugger sees.
 *
 * Include this one file (and lvmm_abi.h beside it): C99 or C++11, GCC or Clang, 32 or 64 bit, no
 * library. All calls are for CPL 0, at any moment: interrupts on or off, with any stack. Without
 * the monitor lvmm_present() is 0 and the others do nothing. */
#ifndef LVMM_H
#define LVMM_H

#include "lvmm_abi.h"

#if !defined(__i386__) && !defined(__x86_64__)
#error "lvmm is for x86"
#endif

/* One call, without a look whether there is a monitor: #UD where there is none. */
static inline long lvmm_call(unsigned long function, const void *text, unsigned long length,
                             unsigned long number)
{
    unsigned long result;

    __asm__ volatile("vmcall"
                     : "=a"(result)
                     : "0"((unsigned long)LVMM_MAGIC), "b"(function), "c"(text), "d"(length),
                       "S"(number)
                     : "memory");
    return (long)result;
}

/* The version of the monitor's interface, 1 or higher; 0 where there is no lvmm. */
static inline long lvmm_present(void)
{
    unsigned int eax, ebx, ecx, edx;

    __asm__ volatile("cpuid"
                     : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx)
                     : "0"(LVMM_CPUID_LEAF), "2"(0));
    if (ebx != LVMM_CPUID_NAME || ecx != LVMM_CPUID_NAME || edx != LVMM_CPUID_NAME)
        return 0;
    (void)eax;
    return lvmm_call(LVMM_CALL_PRESENT, 0, 0, 0);
}

static inline unsigned long lvmm_length(const char *text)
{
    unsigned long length = 0;

    while (text[length] != 0)
        length++;
    return length;
}

/* Puts a note of up to LVMM_TEXT_MAX bytes into the recording. 0, or a negative LVMM_ERROR_*; 0
 * without the monitor, too. */
static inline long lvmm_mark(const char *text)
{
    return lvmm_present() ? lvmm_call(LVMM_CALL_MARK, text, lvmm_length(text), 0) : 0;
}

/* Says that from here on the task of this number and name runs: for schedulers, at each switch.
 * Returns as lvmm_mark() does. */
static inline long lvmm_task(unsigned long number, const char *name)
{
    return lvmm_present() >= 2 ? lvmm_call(LVMM_CALL_TASK, name, lvmm_length(name), number) : 0;
}

/* Begins the recording here: for a monitor that records on demand, once in a run. The guest's
 * memory goes into the log as it is now, which takes a while. 0, also without the monitor, or:
 * LVMM_ERROR_STATE: it records already, or has done so; LVMM_ERROR_ROOM: the log is too small. */
static inline long lvmm_start_recording(void)
{
    return lvmm_present() >= 2 ? lvmm_call(LVMM_CALL_START, 0, 0, 0) : 0;
}

/* Ends the recording; the guest runs on. 0, or LVMM_ERROR_STATE: nothing is being recorded. */
static inline long lvmm_stop_recording(void)
{
    return lvmm_present() >= 2 ? lvmm_call(LVMM_CALL_STOP, 0, 0, 0) : 0;
}

/* For drivers of devices that lvmm has no DMA profile of: what follows, of a device by its PCI
 * address, LVMM_DEVICE(bus, device, function). What the device writes is then recorded, and it may
 * become bus master. Without the monitor, and where nothing is recorded, memory's address for the
 * device is its physical one. 0, or a negative LVMM_ERROR_*. */
#define LVMM_DEVICE(bus, device, function)                                                         \
    ((unsigned long)((bus) << 8 | ((device)&31) << 3 | ((function)&7)))

static inline long lvmm_dma_call(unsigned long function, unsigned long address,
                                 unsigned long length, unsigned long number)
{
    return lvmm_call(function, (const void *)address, length, number);
}

/* Before the device is made bus master. */
static inline long lvmm_dma_attach(unsigned long device)
{
    return lvmm_present() >= 3 ? lvmm_dma_call(LVMM_CALL_DMA_ATTACH, 0, 0, device) : 0;
}

/* When it is none any more. */
static inline long lvmm_dma_detach(unsigned long device)
{
    return lvmm_present() >= 3 ? lvmm_dma_call(LVMM_CALL_DMA_DETACH, 0, 0, device) : 0;
}

/* The address at which the device finds the memory at physical address `address`, of a kind
 * LVMM_DMA_*; lvmm_dma_failed() tells an error from it. It is below 4 GiB, and at the same place in
 * a page of 4 KiB. */
static inline unsigned long lvmm_dma_map(unsigned long device, unsigned long address,
                                         unsigned long length, unsigned long kind)
{
    return lvmm_present() >= 3 ? (unsigned long)lvmm_dma_call(LVMM_CALL_DMA_MAP, address, length,
                                                              device | kind << LVMM_DMA_KIND_SHIFT)
                               : address;
}

static inline int lvmm_dma_failed(unsigned long device_address)
{
    return device_address >= (unsigned long)LVMM_DMA_FIRST_ERROR;
}

/* The driver goes on with a part of what is mapped, or the device does. */
static inline long lvmm_dma_sync_for_cpu(unsigned long device, unsigned long device_address,
                                         unsigned long length)
{
    return lvmm_present() >= 3
               ? lvmm_dma_call(LVMM_CALL_DMA_SYNC_FOR_CPU, device_address, length, device)
               : 0;
}

static inline long lvmm_dma_sync_for_device(unsigned long device, unsigned long device_address,
                                            unsigned long length)
{
    return lvmm_present() >= 3
               ? lvmm_dma_call(LVMM_CALL_DMA_SYNC_FOR_DEVICE, device_address, length, device)
               : 0;
}

/* The driver has all of the memory back, with what the device wrote. */
static inline long lvmm_dma_unmap(unsigned long device, unsigned long device_address)
{
    return lvmm_present() >= 3 ? lvmm_dma_call(LVMM_CALL_DMA_UNMAP, device_address, 0, device) : 0;
}

/* Ends the run; the debugger shows the text and where the guest is. Returns only where there is no
 * monitor. */
static inline void lvmm_panic(const char *text)
{
    if (lvmm_present())
        lvmm_call(LVMM_CALL_PANIC, text, lvmm_length(text), 0);
}

#endif
