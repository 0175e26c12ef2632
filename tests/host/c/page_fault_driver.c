/* Shows core/page_fault.c exits, a line each on stdin:
 *   is_exception vector error address rip permitted shuts_down
 * and prints what it does: "other", "retry", "inject ADDRESS ERROR" or "end". */
#include "core/guest_linear.h"
#include "core/guest_paging.h"
#include "core/page_fault.h"
#include "replay/session.h"

#include <inttypes.h>
#include <stdio.h>

static bool page_permits, shuts_down;
static const char *done;

int guest_linear_to_gpa_as(const struct vcpu *vcpu, u64 linear, unsigned int access, bool user,
                           u64 *gpa, u32 *pf_error)
{
    (void)vcpu;
    (void)access;
    *gpa = linear;
    *pf_error = PF_PRESENT | (user ? PF_USER : 0);
    return page_permits ? 0 : ERR_FAULT;
}

void hv_retry_page_fault(void)
{
    done = "retry";
}

int hv_inject_page_fault(struct vcpu *vcpu, u64 address, u32 error)
{
    (void)vcpu;
    printf("inject %" PRIu64 " %u", address, error);
    done = "";
    return shuts_down ? ERR_FAULT : 0;
}

void session_end(struct vcpu *vcpu, u8 reason, bool async)
{
    (void)vcpu;
    (void)async;
    done = reason == LOG_END_REASON_TRIPLE_FAULT ? " end" : " wrong end";
}

int main(void)
{
    unsigned int is_exception, vector, error, permitted, shutdown;
    u64 address, rip;

    while (scanf("%u %u %u %" SCNu64 " %" SCNu64 " %u %u", &is_exception, &vector, &error, &address,
                 &rip, &permitted, &shutdown) == 7) {
        struct vcpu vcpu = {.regs.rip = rip};
        struct exit exit = {.kind = is_exception ? EXIT_EXCEPTION : EXIT_TIMER};

        exit.u.event.vector = (u8)vector;
        exit.u.event.error = error;
        exit.u.event.address = address;
        page_permits = permitted;
        shuts_down = shutdown;
        done = "other";
        if (!page_fault_handle(&vcpu, &exit))
            done = "other";
        printf("%s\n", done);
    }
    return 0;
}
