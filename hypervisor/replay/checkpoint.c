#include "replay/checkpoint.h"
#include "core/guest_memory.h"
#include "core/page_journal.h"
#include "lib/crc32c.h"
#include "lib/string.h"
#include "replay/checkpoint_state.h"
#include "replay/position.h"

/* With less room for pages than this there is no use in it. */
#define PAGES_MIN 256

struct checkpoints checkpoints;

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
    return i + 1 < checkpoints.count ? checkpoints.list[i + 1].first_page : checkpoints.page_count;
}

static void move_page(u32 to, u32 from)
{
    if (to == from)
        return;
    checkpoints.gpas[to] = checkpoints.gpas[from];
    memcpy(checkpoints.pages[to], checkpoints.pages[from], PAGE_SIZE);
}

/* Whether this address is asked for the first time since `seen` was cleared. */
static bool first_seen(u64 gpa)
{
    u32 index;

    if (!guest_memory_index(gpa, &index))
        return true;
    if (checkpoints.seen[index])
        return false;
    checkpoints.seen[index] = 1;
    return true;
}

void checkpoints_thin_out(void)
{
    unsigned int kept = 0;
    u32 to = 0;

    for (unsigned int i = 0; i < checkpoints.count; i++) {
        bool keep = i % 2 == 0 || (i + 1 == checkpoints.count && checkpoints.count > 2);
        u32 from = checkpoints.list[i].first_page, end = end_of(i);

        if (keep) {
            memset(checkpoints.seen, 0, guest_memory_indexes());
            if (kept != i)
                checkpoints.list[kept] = checkpoints.list[i];
            checkpoints.list[kept++].first_page = to;
        }
        for (; from < end; from++)
            if (first_seen(checkpoints.gpas[from]))
                move_page(to++, from);
    }
    checkpoints.merged = true;
    checkpoints.count = kept;
    checkpoints.page_count = to;
    checkpoints.interval *= 2;
}

static void drop_oldest(void)
{
    u32 gone = end_of(0);

    for (u32 page = gone; page < checkpoints.page_count; page++)
        move_page(page - gone, page);
    checkpoints.page_count -= gone;
    memmove(checkpoints.list, checkpoints.list + 1,
            --checkpoints.count * sizeof(*checkpoints.list));
    for (unsigned int i = 0; i < checkpoints.count; i++)
        checkpoints.list[i].first_page -= gone;
}

void checkpoints_save_page(u64 gpa, const void *page)
{
    if (checkpoints.merged && !first_seen(gpa))
        return;
    while (checkpoints.page_count == checkpoints.pages_max && checkpoints.count > 1)
        checkpoints_thin_out();
    while (checkpoints.page_count == checkpoints.pages_max && checkpoints.count > 0)
        drop_oldest();
    if (checkpoints.count == 0)
        return;
    checkpoints.gpas[checkpoints.page_count] = gpa;
    memcpy(checkpoints.pages[checkpoints.page_count++], page, PAGE_SIZE);
}

int checkpoints_init(void *memory, u64 size, u64 interval)
{
    u64 list = ALIGN_UP(CHECKPOINTS_MAX * sizeof(struct checkpoint), PAGE_SIZE);
    u64 seen = ALIGN_UP((u64)guest_memory_indexes(), PAGE_SIZE);
    u64 fixed = PAGE_SIZE + list + seen + page_journal_size();
    u64 each = PAGE_SIZE + sizeof(*checkpoints.gpas);
    u8 *at = memory;

    if (size < fixed + (PAGES_MIN + 1) * each)
        return ERR_NO_SPACE;
    checkpoints.pages_max = (u32)((size - fixed - PAGE_SIZE) / each);
    checkpoints.interval = interval;
    checkpoints.kept = memory;
    checkpoints.seen = at += PAGE_SIZE;
    checkpoints.journal = at += seen;
    at += page_journal_size();
    checkpoints.list = (struct checkpoint *)at;
    at += list;
    checkpoints.gpas = (u64 *)at;
    at += ALIGN_UP(checkpoints.pages_max * sizeof(*checkpoints.gpas), PAGE_SIZE);
    checkpoints.pages = (u8(*)[PAGE_SIZE])at;
    return 0;
}

int checkpoints_start(struct vcpu *vcpu)
{
    if (page_journal_start(checkpoints.journal, checkpoints_save_page) < 0)
        return ERR_NO_SPACE;
    return checkpoint_take(vcpu) < 0 ? ERR_NO_SPACE : 0;
}

bool checkpoints_on(void)
{
    return checkpoints.list != NULL;
}

static bool whole(const struct vcpu *vcpu)
{
    return !vcpu->event.valid && !vcpu->halted && !session_ended();
}

/* RF is no part of the state that is saved. That does not matter: the exits that the journal causes
 * set it, and with a guest that writes to many pages there may be no others for long. */
void checkpoints_look(struct vcpu *vcpu)
{
    if (checkpoints.list == NULL || !whole(vcpu))
        return;
    if (checkpoints.count == 0 ||
        vcpu->branches - checkpoints.list[checkpoints.count - 1].at.branches >=
            checkpoints.interval)
        checkpoint_take(vcpu);
}

int checkpoint_take(struct vcpu *vcpu)
{
    struct output_state output = session_output_state();
    struct checkpoint *new;

    if (checkpoints.list == NULL || !whole(vcpu))
        return ERR_INVALID;
    if (checkpoints.count == CHECKPOINTS_MAX)
        checkpoints_thin_out();
    new = &checkpoints.list[checkpoints.count];
    new->state_size = cpu_state_save(vcpu, &output, new->state);
    if (new->state_size == 0)
        return ERR_INVALID;
    checkpoints.merged = false;
    new->id = ++checkpoints.last_id;
    new->first_page = checkpoints.page_count;
    new->at = run_position(vcpu);
    new->firmware_pages = guest_memory_firmware_count();
    session_get_mark(&new->session);
    checkpoints.count++;
    page_journal_protect();
    return (int)new->id;
}

static struct checkpoint *find(u32 id)
{
    for (unsigned int i = 0; i < checkpoints.count; i++)
        if (checkpoints.list[i].id == id)
            return &checkpoints.list[i];
    return NULL;
}

int checkpoint_restore(struct vcpu *vcpu, u32 id)
{
    struct checkpoint *to = find(id);
    struct output_state output;

    if (to == NULL)
        return ERR_FAULT;
    while (checkpoints.page_count > to->first_page) {
        checkpoints.page_count--;
        guest_memory_put_back(checkpoints.gpas[checkpoints.page_count],
                              checkpoints.pages[checkpoints.page_count]);
    }
    checkpoints.count = (unsigned int)(to - checkpoints.list) + 1;
    checkpoints.merged = false;
    guest_memory_forget_firmware(to->firmware_pages);
    page_journal_protect();
    position_forget();
    if (cpu_state_restore(vcpu, to->state, to->state_size, &output) < 0)
        return ERR_INVALID;
    return session_go_back(&to->session, &output);
}

unsigned int checkpoint_count(void)
{
    return checkpoints.count;
}

struct checkpoint_info checkpoint_info(unsigned int i)
{
    return (struct checkpoint_info){
        checkpoints.list[i].id, end_of(i) - checkpoints.list[i].first_page, checkpoints.list[i].at};
}

bool checkpoint_changed(unsigned int i, u64 gpa)
{
    for (u32 page = checkpoints.list[i].first_page; page < end_of(i); page++)
        if (checkpoints.gpas[page] == (gpa & ~PAGE_MASK))
            return true;
    return false;
}

void checkpoint_memory(u64 *used, u64 *room)
{
    *used = (u64)checkpoints.page_count * (PAGE_SIZE + sizeof(*checkpoints.gpas)) +
            checkpoints.count * sizeof(*checkpoints.list);
    *room = (u64)checkpoints.pages_max * (PAGE_SIZE + sizeof(*checkpoints.gpas)) +
            CHECKPOINTS_MAX * sizeof(*checkpoints.list);
}
