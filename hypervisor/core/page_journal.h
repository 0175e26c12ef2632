/* What pages of guest memory were before they were written. While the journal is on, guest memory
 * is write-protected in EPT; the first write to a page, whoever makes it, saves the page's content
 * and opens the page until the next page_journal_protect().
 *
 * Epochs of a recording and checkpoints of a replay are made with it. */
#ifndef LVMM_CORE_PAGE_JOURNAL_H
#define LVMM_CORE_PAGE_JOURNAL_H

#include "core/vcpu.h"

/* Takes a page's content, which is about to change. */
typedef void page_journal_save(u64 gpa, const void *page);

/* Bytes of memory that the journal needs for this guest's memory. */
u64 page_journal_size(void);
/* Turns the journal on, all pages protected. `memory` is page-aligned and has page_journal_size()
 * bytes. After guest_memory_map(). ERR_NO_SPACE: there are no EPT tables left. */
int page_journal_start(void *memory, page_journal_save *save);
bool page_journal_on(void);

/* All pages are protected again: their next write is a first one. */
void page_journal_protect(void);
/* Pages opened since page_journal_protect(). */
u32 page_journal_opened(void);

/* Whether a write to the page is still to be journalled. */
bool page_journal_protects(u64 gpa);
/* The page is about to be written. */
void page_journal_open(u64 gpa);
/* The page has come into being just now: there is nothing to be saved. */
void page_journal_add(u64 gpa);
/* An EPT violation: true where it was such a first write, so that the guest can go on. */
bool page_journal_handle(const struct exit *exit);

#endif
