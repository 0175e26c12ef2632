/* Page faults that come of a stale TLB entry: the guest has given a page more rights and has not
 * invalidated the entry, which is allowed (SDM vol. 3, section 4.10.4.3). Whether the entry is
 * still there is up to the CPU, and differs between a recording and its replay, so no guest sees
 * such a fault: the access is made again. */
#ifndef LVMM_CORE_PAGE_FAULT_H
#define LVMM_CORE_PAGE_FAULT_H

#include "core/vcpu.h"

/* Handles the exit if it is a page fault of a page that is present: it was stale, or goes to the
 * guest. */
bool page_fault_handle(struct vcpu *vcpu, const struct exit *exit);

#endif
