#include "replay/epoch.h"
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "core/cpu_state.h"
#include "core/page_journal.h"
#include "debug/debugger.h"
#include "lib/page.h"
#include "lib/printk.h"
#include "replay/session.h"

/* The ring keeps this many epochs, but for the one that is being overwritten. */
#define EPOCHS_IN_RING 8

static u8 state[CPU_STATE_MAX] __attribute__((aligned(8)));

static struct {
    struct vcpu *vcpu; /* NULL: no epochs */
    void *memory;      /* the journal's */
    struct epoch_limits limits;
    u64 bytes;                  /* that an epoch's log has at most */
    struct session_status from; /* where the present epoch began */
    u64 from_tsc;
} epoch;

static void save(u64 gpa, const void *page)
{
    struct log_event e = {.kind = LOG_EVENT_UNDO_PAGE, .payload.undo_page.gpa = gpa};

    if (session_ended())
        return;
    if (!page_is_zero(page)) {
        e.data = page;
        e.data_len = PAGE_SIZE;
    }
    session_note(epoch.vcpu, &e); /* where that fails, the run has ended */
}

int epoch_init(struct vcpu *vcpu, void *memory, const struct epoch_limits *limits)
{
    const struct log_region_header *region = session_region();
    struct output_state output = session_output_state();

    if (cpu_state_save(vcpu, &output, state) == 0) {
        printk("lvmm: this CPU has more vector state than the log can hold, and a ring needs it: "
               "record without ring=\n");
        return ERR_UNSUPPORTED;
    }
    epoch.vcpu = vcpu;
    epoch.memory = memory;
    epoch.limits = *limits;
    epoch.bytes = region->chunks_size / EPOCHS_IN_RING;
    session_read_status(&epoch.from);
    epoch.from_tsc = rdtsc();
    return 0;
}

int epoch_begin(struct vcpu *vcpu)
{
    struct output_state output = session_output_state();
    struct log_event e = {.kind = LOG_EVENT_EPOCH, .data = state};
    int error;

    e.data_len = cpu_state_save(vcpu, &output, state);
    error = session_note_in_new_chunk(vcpu, &e);
    if (error < 0)
        return error;
    session_read_status(&epoch.from);
    epoch.from_tsc = rdtsc();
    if (page_journal_on())
        page_journal_protect();
    else
        error = page_journal_start(epoch.memory, save);
    if (error < 0) {
        printk("lvmm: EPT has no tables left for the pages of guest memory\n");
        session_end(vcpu, LOG_END_REASON_MONITOR_ERROR, true);
    }
    return error;
}

/* The guest may set the counter back: then an epoch is as long as it takes from there. */
static bool due(void)
{
    struct session_status now;

    session_read_status(&now);
    if (now.log_bytes - epoch.from.log_bytes >= epoch.bytes ||
        (epoch.limits.events != 0 && now.events - epoch.from.events >= epoch.limits.events))
        return true;
    if (epoch.limits.ticks == 0)
        return false;
    if (rdtsc() < epoch.from_tsc)
        epoch.from_tsc = rdtsc();
    return rdtsc() - epoch.from_tsc >= epoch.limits.ticks;
}

/* RF is no part of the state that the log holds. */
static bool can_begin(const struct vcpu *vcpu)
{
    return !vcpu->event.valid && !vcpu->halted && !(vcpu->regs.rflags & RFLAGS_RF) &&
           !debugger_stepping();
}

int epoch_boundary(struct vcpu *vcpu)
{
    if (epoch.vcpu == NULL || session_paused() || !due() || !can_begin(vcpu))
        return 0;
    return epoch_begin(vcpu);
}

bool epoch_on(void)
{
    return epoch.vcpu != NULL;
}
