/* The time-stamp counter. */
#ifndef LVMM_ARCH_TSC_H
#define LVMM_ARCH_TSC_H

#include "lib/types.h"

/* Ticks a second as CPUID leaf 0x15, else leaf 0x16, says; 0: not known. */
u64 tsc_frequency(void);

#endif
