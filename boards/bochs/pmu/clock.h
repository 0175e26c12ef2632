// SPDX-License-Identifier: BSD-2-Clause
// CPUID's account of the time-stamp counter's frequency.
#ifndef LVMM_CLOCK_H
#define LVMM_CLOCK_H

void clock_initialize(void);

#endif
