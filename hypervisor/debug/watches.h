/* Watchpoints by EPT permission, for when the debug registers are used up or cannot express one. */
#ifndef LVMM_DEBUG_WATCHES_H
#define LVMM_DEBUG_WATCHES_H

#include "core/vcpu.h"

#define WATCH_LENGTH_MAX 255 /* bytes: what a u8 holds */

/* `kind` is an enum link_breakpoint_kind for data. ERR_FAULT where no RAM is mapped; ERR_NO_SPACE;
 * ERR_UNSUPPORTED where it crosses a page. */
int watch_set(const struct vcpu *vcpu, u32 id, u8 kind, u64 linear, u8 length);
void watch_clear(u32 id);

/* What EPT may allow on a page. */
unsigned int watches_permissions(u64 gpa);

/* Before the instruction that made this access is executed with the page open. */
void watches_before(const struct vcpu *vcpu, const struct exit *exit);
/* After it: the number of the watchpoint that it hit, or 0. A write that changes nothing is none.
 */
u32 watches_after(void);

#endif
