/* Pages of guest memory on which the debugger has breakpoints or watchpoints. An access of the
 * guest's that their EPT permissions forbid exits (SDM vol. 3, section 29.3.2); the instruction is
 * then executed once with all of them as they are by themselves. */
#ifndef LVMM_DEBUG_PAGES_H
#define LVMM_DEBUG_PAGES_H

#include "lib/types.h"

#define DEBUG_PAGES_MAX 32

/* One more use of the page of `gpa`: its number, or ERR_NO_SPACE. */
int pages_use(u64 gpa);
/* One use less. */
void pages_release(u64 gpa);
/* Its number, or -1. */
int pages_find(u64 gpa);
/* Shows a page in use as patches and watchpoints want it now. */
int pages_update(int page);

/* For one entry, and back after it. */
void pages_open(void);
void pages_close(void);

#endif
