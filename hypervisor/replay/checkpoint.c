#include "replay/checkpoint.h"
#include "core/cpu_state.h"
#include "core/guest_memory.h"
#include "core/page_journal.h"
#include "lib/crc32c.h"
#include "lib/string.h"
#include "replay/position.h"
#include "replay/session.h"

#define CHECKPOINTS_MAX 256

/* With less room for pages than this there is no use in it. */
#define PAGES_MIN 256

struct checkpoint {
    u32 id;
    u32 first_page; /* in the store; those up to the next one's were saved in between */
    struct run_position at;
    struct session_mark session;
    unsigned int firmware_pages;
    u32 state_size;
    u8 state[CPU_STATE_MAX] __attribute__((aligned(8)));
};

static struct {
    struct checkpoint *list; /* NULL: none are made */
    unsigned int count;
    u32 last_id;
    u64 interval;

    /* The store: contents of pages as they were, and where. */
    u8 (*pages)[PAGE_SIZE];
    u64 *gpas;
    u32 page_count, pages_max;
    u8 *seen; /* scratch: a byte for each guest_memory_index() */
} c;

struct run_position run_position(const struct vcpu *vcpu)
{
    struct log_regs regs = vcpu->regs;

    regs.rflags &= ~(u64)LOG_RFLAGS_UNCHECKED;
    return (struct run_position){session_events(), vcpu->branches, vcpu->regs.rip,
                                 crc32c(0, &regs, sizeof(regs))};
}

/* The first page behind those saved after the i-th checkpoint. */
static u32 end_of(unsigned int i)
{
    return i + 1 < c.count ? c.list[i + 1].first_page : c.page_count;
}

static void move_page(u32 to, u32 from)
{
    if (to == from)
        return;
    c.gpas[to] = c.gpas[from];
    memcpy(c.pages[to], c.pages[from], PAGE_SIZE);
}

/* Whether the page is the first one for its address since `seen` was cleared. */
static bool first_seen(u32 page)
{
    u32 index;

    if (!guest_memory_index(c.gpas[page], &index))
        return true;
    if (c.seen[index])
        return false;
    c.seen[index] = 1;
    return true;
}

/* Forgets every second checkpoint, but neither the first nor the last. What was saved after one
 * that goes belongs to the one before it, whose own pages are older. */
static void thin_out(void)
{
    unsigned int kept = 0;
    u32 to = 0;

    for (unsigned int i = 0; i < c.count; i++) {
        bool keep = i % 2 == 0 || i + 1 == c.count;
        u32 from = c.list[i].first_page, end = end_of(i);

        if (keep) {
            memset(c.seen, 0, guest_memory_indexes());
            if (kept != i)
                c.list[kept] = c.list[i];
            c.list[kept++].first_page = to;
        }
        for (; from < end; from++)
            if (first_seen(from))
                move_page(to++, from);
    }
    c.count = kept;
    c.page_count = to;
    c.interval *= 2;
}

static void drop_oldest(void)
{
    u32 gone = end_of(0);

    for (u32 page = gone; page < c.page_count; page++)
        move_page(page - gone, page);
    c.page_count -= gone;
    memmove(c.list, c.list + 1, --c.count * sizeof(*c.list));
    for (unsigned int i = 0; i < c.count; i++)
        c.list[i].first_page -= gone;
}

static void save(u64 gpa, const void *page)
{
    while (c.page_count == c.pages_max && c.count > 2)
        thin_out();
    while (c.page_count == c.pages_max && c.count > 0)
        drop_oldest();
    if (c.count == 0)
        return;
    c.gpas[c.page_count] = gpa;
    memcpy(c.pages[c.page_count++], page, PAGE_SIZE);
}

int checkpoints_start(struct vcpu *vcpu, void *memory, u64 size, u64 interval)
{
    u64 list = ALIGN_UP(CHECKPOINTS_MAX * sizeof(struct checkpoint), PAGE_SIZE);
    u64 seen = ALIGN_UP((u64)guest_memory_indexes(), PAGE_SIZE);
    u64 fixed = list + seen + page_journal_size(), each = PAGE_SIZE + sizeof(*c.gpas);
    u8 *at = memory;

    if (size < fixed + (PAGES_MIN + 1) * each)
        return ERR_NO_SPACE;
    c.list = (struct checkpoint *)at;
    at += list;
    c.seen = at;
    at += seen;
    if (page_journal_start(at, save) < 0)
        return ERR_NO_SPACE;
    at += page_journal_size();
    c.pages_max = (u32)((size - fixed - PAGE_SIZE) / each);
    c.pages = (u8(*)[PAGE_SIZE])at;
    c.gpas = (u64 *)c.pages[c.pages_max];
    c.interval = interval;
    return checkpoint_take(vcpu) < 0 ? ERR_NO_SPACE : 0;
}

bool checkpoints_on(void)
{
    return c.list != NULL;
}

static bool whole(const struct vcpu *vcpu)
{
    return !vcpu->event.valid && !vcpu->halted && !session_ended();
}

void checkpoints_look(struct vcpu *vcpu)
{
    if (c.list == NULL || !whole(vcpu))
        return;
    if (c.count == 0 || vcpu->branches - c.list[c.count - 1].at.branches >= c.interval)
        checkpoint_take(vcpu);
}

int checkpoint_take(struct vcpu *vcpu)
{
    struct output_state output = session_output_state();
    struct checkpoint *new;

    if (c.list == NULL || !whole(vcpu))
        return ERR_INVALID;
    if (c.count == CHECKPOINTS_MAX)
        thin_out();
    new = &c.list[c.count];
    new->state_size = cpu_state_save(vcpu, &output, new->state);
    if (new->state_size == 0)
        return ERR_INVALID;
    new->id = ++c.last_id;
    new->first_page = c.page_count;
    new->at = run_position(vcpu);
    new->firmware_pages = guest_memory_firmware_count();
    session_get_mark(&new->session);
    c.count++;
    page_journal_protect();
    return (int)new->id;
}

static struct checkpoint *find(u32 id)
{
    for (unsigned int i = 0; i < c.count; i++)
        if (c.list[i].id == id)
            return &c.list[i];
    return NULL;
}

int checkpoint_restore(struct vcpu *vcpu, u32 id)
{
    struct checkpoint *to = find(id);
    struct output_state output;

    if (to == NULL)
        return ERR_FAULT;
    while (c.page_count > to->first_page) {
        c.page_count--;
        guest_memory_put_back(c.gpas[c.page_count], c.pages[c.page_count]);
    }
    c.count = (unsigned int)(to - c.list) + 1;
    guest_memory_forget_firmware(to->firmware_pages);
    page_journal_protect();
    position_forget();
    if (cpu_state_restore(vcpu, to->state, to->state_size, &output) < 0)
        return ERR_INVALID;
    return session_go_back(&to->session, &output);
}

unsigned int checkpoint_count(void)
{
    return c.count;
}

struct checkpoint_info checkpoint_info(unsigned int i)
{
    return (struct checkpoint_info){c.list[i].id, end_of(i) - c.list[i].first_page, c.list[i].at};
}

bool checkpoint_changed(unsigned int i, u64 gpa)
{
    for (u32 page = c.list[i].first_page; page < end_of(i); page++)
        if (c.gpas[page] == (gpa & ~PAGE_MASK))
            return true;
    return false;
}

void checkpoint_memory(u64 *used, u64 *room)
{
    *used = (u64)c.page_count * (PAGE_SIZE + sizeof(*c.gpas)) + c.count * sizeof(*c.list);
    *room = (u64)c.pages_max * (PAGE_SIZE + sizeof(*c.gpas)) + CHECKPOINTS_MAX * sizeof(*c.list);
}
