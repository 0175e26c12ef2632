#include "core/page_journal.h"
#include "core/guest_memory.h"
#include "debug/pages.h"
#include "lib/string.h"
#include "vmx/ept.h"

#define WORD_BITS 64

static struct {
    page_journal_save *save; /* NULL: the journal is off */
    u64 *protects;           /* a bit for each guest_memory_index() */
    u32 *opened;             /* indexes, in the order of their opening */
    u32 opened_count;
} journal;

static u64 bitmap_size(void)
{
    return ALIGN_UP(ALIGN_UP((u64)guest_memory_indexes(), WORD_BITS) / 8, PAGE_SIZE);
}

static u64 list_size(void)
{
    return ALIGN_UP((u64)guest_memory_indexes() * sizeof(*journal.opened), PAGE_SIZE);
}

u64 page_journal_size(void)
{
    return bitmap_size() + list_size() + guest_memory_page_tables() * PAGE_SIZE;
}

int page_journal_start(void *memory, page_journal_save *save)
{
    u8 *at = memory;

    journal.protects = (u64 *)at;
    memset(at, 0xff, bitmap_size());
    at += bitmap_size();
    journal.opened = (u32 *)at;
    journal.opened_count = 0;
    at += list_size();
    ept_add_tables(at, guest_memory_page_tables());
    journal.save = save;
    return guest_memory_map_by_page();
}

bool page_journal_on(void)
{
    return journal.save != NULL;
}

static bool get(u32 index)
{
    return journal.protects[index / WORD_BITS] >> index % WORD_BITS & 1;
}

void page_journal_protect(void)
{
    u64 gpa;

    for (u32 i = 0; i < journal.opened_count; i++) {
        u32 index = journal.opened[i];

        journal.protects[index / WORD_BITS] |= BIT(index % WORD_BITS);
        if (guest_memory_of_index(index, &gpa))
            pages_update(gpa);
    }
    journal.opened_count = 0;
    hv_flush_guest_tlb();
}

u32 page_journal_opened(void)
{
    return journal.opened_count;
}

bool page_journal_protects(u64 gpa)
{
    u32 index;

    return journal.save != NULL && guest_memory_index(gpa, &index) && get(index);
}

static void open(u32 index)
{
    journal.protects[index / WORD_BITS] &= ~BIT(index % WORD_BITS);
    journal.opened[journal.opened_count++] = index;
}

void page_journal_open(u64 gpa)
{
    u64 page = gpa & ~PAGE_MASK;
    u32 index;

    if (journal.save == NULL || !guest_memory_index(page, &index) || !get(index))
        return;
    journal.save(page, guest_memory_page(page));
    open(index);
    pages_update(page);
}

void page_journal_add(u64 gpa)
{
    u32 index;

    if (journal.save != NULL && guest_memory_index(gpa, &index) && get(index))
        open(index);
}

bool page_journal_handle(const struct exit *exit)
{
    if (exit->kind != EXIT_MEMORY || !exit->u.memory.write ||
        !page_journal_protects(exit->u.memory.gpa))
        return false;
    page_journal_open(exit->u.memory.gpa);
    return true;
}
