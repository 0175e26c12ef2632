/* Software breakpoints: INT3 in a copy of the page, which the guest can execute but neither read
 * nor write. */
#ifndef LVMM_DEBUG_PATCHES_H
#define LVMM_DEBUG_PATCHES_H

#include "core/vcpu.h"

/* At a linear address, through the guest's page tables as they are now. 0; ERR_FAULT where no RAM
 * is mapped; ERR_NO_SPACE; ERR_UNSUPPORTED where the CPU has no execute-only pages. */
int patch_set(const struct vcpu *vcpu, u64 linear);
void patch_clear(u64 linear);

/* Whether a patch is what the guest executes at this linear address. */
bool patch_at(const struct vcpu *vcpu, u64 linear);

/* Whether the page has patches. */
bool patches_on(u64 gpa);
/* The copy of a page as the page is now, with its patches; NULL when it has none. */
const u8 *patches_copy(u64 gpa);
/* The monitor wrote there: the copies follow. */
void patches_memory_written(u64 gpa, u64 size);

#endif
