/* The real-time clock in the CMOS memory of a PC. */
#ifndef LVMM_ARCH_RTC_H
#define LVMM_ARCH_RTC_H

#include "lib/types.h"

/* What it shows, taken as UTC: seconds since 1970; 0 when it shows no time. */
u64 rtc_read(void);

#endif
