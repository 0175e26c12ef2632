#include "core/page_fault.h"
#include "core/guest_linear.h"
#include "core/guest_paging.h"
#include "core/handlers.h"
#include "replay/session.h"

/* The access that the last exit had made again: if it faults once more, the TLB was not to blame.
 */
static struct {
    bool valid;
    u64 rip, address;
    u32 error;
} again;

/* Whether the page tables, as they are now, permit what has faulted. */
static bool permitted(const struct vcpu *vcpu, u64 address, u32 error)
{
    unsigned int access = error & PF_WRITE ? GUEST_ACCESS_WRITE : GUEST_ACCESS_READ;
    u32 fault;
    u64 gpa;

    if (error & PF_RESERVED)
        return false;
    if (error & PF_FETCH)
        access = GUEST_ACCESS_FETCH;
    return guest_linear_to_gpa_as(vcpu, address, access, error & PF_USER, &gpa, &fault) == 0;
}

static bool tried(const struct vcpu *vcpu, u64 address, u32 error)
{
    return again.valid && again.rip == vcpu->regs.rip && again.address == address &&
           again.error == error;
}

bool page_fault_handle(struct vcpu *vcpu, const struct exit *exit)
{
    u64 address = exit->u.event.address;
    u32 error = exit->u.event.error;
    bool stale;

    if (exit->kind != EXIT_EXCEPTION || exit->u.event.vector != VECTOR_PF ||
        !(error & PF_PRESENT)) {
        again.valid = false;
        return false;
    }
    stale = !tried(vcpu, address, error) && permitted(vcpu, address, error);
    again.valid = stale;
    again.rip = vcpu->regs.rip;
    again.address = address;
    again.error = error;
    if (stale)
        hv_retry_page_fault();
    else if (hv_inject_page_fault(vcpu, address, error) < 0)
        session_end(vcpu, LOG_END_REASON_TRIPLE_FAULT, false);
    return true;
}
