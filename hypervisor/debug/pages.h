/* Pages of guest memory on which the debugger has breakpoints or watchpoints, or that have a buffer
 * of a device's whose early reads are to be found (core/early_reads.h). An access of the
 * guest's that their EPT permissions forbid exits (SDM vol. 3, section 29.3.2); the instruction is
 * then executed once with the pages that it needs open. */
#ifndef LVMM_DEBUG_PAGES_H
#define LVMM_DEBUG_PAGES_H

#include "lib/types.h"

/* Whether something of this is on the page. */
bool pages_ours(u64 gpa);
/* Shows a page as all these want it now; hv_flush_guest_tlb() must follow.
 * ERR_NO_SPACE where there are no EPT tables left for it. */
int pages_update(u64 gpa);

/* The next instruction needs the page: without patches, so that it can be executed; or altogether,
 * so that it can be read and written. False where it was open already. */
bool pages_need(u64 gpa, bool access);
/* A needed page as it was when an access first needed it; NULL: no access did. */
const u8 *pages_before(u64 gpa);
/* The monitor writes to memory itself: the page is to look as if it had been so before. */
void pages_memory_written(u64 gpa, const u8 *data, u64 size);
/* The instruction is done. */
void pages_forget(void);

/* Opens what is needed for one entry, and closes it after that. */
void pages_open(void);
void pages_close(void);

#endif
