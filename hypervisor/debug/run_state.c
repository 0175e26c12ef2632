#include "debug/run_state.h"
#include "arch/cpu.h"
#include "arch/serial.h"
#include "arch/tsc.h"
#include "core/machine_power.h"
#include "lib/printk.h"
#include "link/requests.h"
#include "replay/session.h"

/* How long the line is listened to after the last byte: requests that come one after the other
 * find the monitor there, since its UART keeps 16 bytes only. */
#define LISTEN_PER_SECOND 20

struct run_flags run_flags;

static struct {
    struct vcpu *vcpu;
    struct link link;
    bool altered, reset;

    /* The last stop. */
    u8 reason; /* enum link_stop_reason */
    u32 stop_count, breakpoint;
    u64 address;
} r;

static void put(void *context, u8 byte)
{
    (void)context;
    serial_put_raw(byte);
}

static void say(const char *text, size_t size)
{
    link_message(&r.link, text, size);
}

void run_state_init(struct vcpu *vcpu, bool break_in)
{
    r.vcpu = vcpu;
    run_flags.break_in = break_in;
    link_init(&r.link, link_requests, put, vcpu);
    printk_to(say);
}

void run_state_poll(void)
{
    bool running = run_flags.state == LINK_RUN_STATE_RUNNING;
    u64 until = 0;
    int byte;

    do {
        while ((byte = serial_get()) >= 0) {
            link_receive(&r.link, (u8)byte);
            until = rdtsc() + tsc_frequency() / LISTEN_PER_SECOND;
        }
        if (r.reset)
            machine_power_reset();
    } while (running && !run_flags.break_in && rdtsc() < until);
}

void run_state_status(struct link_status *status)
{
    struct session_status session;

    session_read_status(&session);
    *status = (struct link_status){
        .state = (u8)run_flags.state,
        .mode = (u8)session_mode(),
        .flags = r.altered ? LINK_STATUS_FLAG_ALTERED : 0,
        .reason = r.reason,
        .end_reason = session.end_reason,
        .stop_count = r.stop_count,
        .breakpoint = r.breakpoint,
        .address = r.address,
        .branches = r.vcpu->branches,
        .events = session.events,
        .rip = r.vcpu->regs.rip,
        .console_end = ((const struct log_region_header *)session_region())->console_head,
        .log_bytes = session.log_bytes,
    };
}

void run_state_go(void)
{
    run_flags.state = LINK_RUN_STATE_RUNNING;
}

void run_state_stop(enum link_run_state state, u8 reason, u64 address, u32 breakpoint)
{
    struct link_status status;

    run_flags.state = state;
    r.reason = reason;
    r.address = address;
    r.breakpoint = breakpoint;
    r.stop_count++;
    run_flags.break_in = false;
    run_state_status(&status);
    link_notify(&r.link, &status);
}

void run_state_break_in(void)
{
    if (run_flags.state == LINK_RUN_STATE_RUNNING)
        run_flags.break_in = true;
}

void run_state_altered(void)
{
    r.altered = true;
}

void run_state_reset_after_reply(void)
{
    r.reset = true;
}
