/* Software breakpoints: INT3 in a copy of the page, which the guest executes but can neither read
 * nor write (EPT, SDM vol. 3, section 29.3.2). An access of its own to such a page exits; it is then
 * executed once with the real page in place. */
#ifndef LVMM_DEBUG_PATCHES_H
#define LVMM_DEBUG_PATCHES_H

#include "core/vcpu.h"

/* At a linear address, through the guest's page tables as they are now. 0; ERR_FAULT where no RAM
 * is mapped; ERR_NO_SPACE; ERR_UNSUPPORTED where the CPU has no execute-only pages. */
int patch_set(const struct vcpu *vcpu, u64 linear);
void patch_clear(u64 linear);

/* Whether a patch is what the guest executes at this linear address. */
bool patch_at(const struct vcpu *vcpu, u64 linear);
/* Whether an access to `gpa` exits because of a patch. */
bool patch_page(u64 gpa);

/* The real pages, for one entry; after it the copies again, brought up to date. */
void patches_open(void);
void patches_close(void);
/* The monitor wrote there. */
void patches_memory_written(u64 gpa, u64 size);

#endif
