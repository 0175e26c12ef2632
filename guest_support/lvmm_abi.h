/* How a guest and the lvmm monitor talk: the numbers that both need, for C and assembly.
 *
 * The guest executes VMCALL with its CPL 0. Registers, of which code that is not 64-bit has the low
 * 32 bits:
 *
 *     RAX  LVMM_MAGIC               out: the result, 0 or more, or a negative LVMM_ERROR_*
 *     RBX  LVMM_CALL_*
 *     RCX  text: linear address     (not an offset in a segment)
 *     RDX  text: length in bytes
 *     RSI  TASK: the task's number
 *
 * for DMA_*:
 *     RCX  physical address, or one that MAP gave
 *     RDX  length in bytes
 *     RSI  device: PCI bus in bits 8-15, device in 3-7, function in 0-2
 *          MAP: and LVMM_DMA_* << LVMM_DMA_KIND_SHIFT
 *
 * No other register changes, nor do the flags. Any other VMCALL raises #UD, as on a CPU without
 * virtualization. */
#ifndef LVMM_ABI_H
#define LVMM_ABI_H

/* CPUID: EAX is the last leaf of this range, EBX, ECX and EDX say "lvmmlvmmlvmm". The hypervisor
 * bit (CPUID.1:ECX[31]) is clear. */
#define LVMM_CPUID_LEAF 0x40000000
#define LVMM_CPUID_NAME 0x6d6d766c

#define LVMM_MAGIC 0x4d4d564c /* "LVMM" */

#define LVMM_VERSION 3

#define LVMM_CALL_PRESENT 0 /* the result is the version of this interface */
#define LVMM_CALL_MARK    1 /* a note in the log */
#define LVMM_CALL_PANIC   2 /* ends the run: does not return */
/* Since version 2: */
#define LVMM_CALL_START 3 /* the recording begins here */
#define LVMM_CALL_STOP  4 /* the recording ends here, the guest runs on */
#define LVMM_CALL_TASK  5 /* which task runs from here on */

/* Since version 3, for devices that lvmm has no DMA profile of: */
#define LVMM_CALL_DMA_ATTACH          6  /* what this device does is declared from here on */
#define LVMM_CALL_DMA_DETACH          7  /* forgets all that was */
#define LVMM_CALL_DMA_MAP             8  /* the result is the memory's address for the device */
#define LVMM_CALL_DMA_SYNC_FOR_CPU    9  /* the driver goes on with a part of that memory */
#define LVMM_CALL_DMA_SYNC_FOR_DEVICE 10 /* the device does */
#define LVMM_CALL_DMA_UNMAP           11 /* the address is no more one of the device's */

#define LVMM_DMA_KIND_SHIFT    16
#define LVMM_DMA_TO_DEVICE     1 /* the device reads it, from MAP or SYNC_FOR_DEVICE on */
#define LVMM_DMA_FROM_DEVICE   2 /* it writes it: seen at SYNC_FOR_CPU and UNMAP */
#define LVMM_DMA_BIDIRECTIONAL 3
#define LVMM_DMA_SHARED        4 /* rings, cyclic buffers: device and driver use it at once */

/* A longer text is refused, but of PANIC it is cut. */
#define LVMM_TEXT_MAX 256

#define LVMM_ERROR_CALL   (-1) /* there is no such call */
#define LVMM_ERROR_LENGTH (-2) /* the text is too long */
#define LVMM_ERROR_FAULT  (-3) /* the text is not all in RAM that is mapped; MAP: not all RAM */
#define LVMM_ERROR_STATE  (-4) /* nothing to be started or stopped now */
#define LVMM_ERROR_ROOM   (-5) /* the log has no room for the guest's memory; MAP: no shadow left */
#define LVMM_ERROR_DEVICE                                                                          \
    (-6)                      /* not attached; ATTACH: no such device, a profile has it, too many */
#define LVMM_ERROR_RANGE (-7) /* no such kind, no length, not in one memory of this device's */

/* Results of MAP from here on, in as many bits as a register has, are errors. */
#define LVMM_DMA_FIRST_ERROR (-4095)

#endif
