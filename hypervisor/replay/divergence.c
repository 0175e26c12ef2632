#include "replay/divergence.h"
#include "core/guest_linear.h"
#include "lib/printk.h"

#define CODE_BYTES 15

static void print_regs(const char *name, const struct log_regs *regs)
{
    printk(",\"%s\":[", name);
    for (unsigned int i = 0; i < GPR_COUNT; i++)
        printk("%lu,", regs->gpr[i]);
    printk("%lu,%lu]", regs->rip, regs->rflags);
}

static void print_identity(const char *name, const struct log_event *e)
{
    printk(",\"%s\":\"%s\"", name, log_event_name(e->kind));
    if (e->kind == LOG_EVENT_IN)
        printk(",\"%s_address\":%lu,\"%s_size\":%u", name, e->payload.in.port, name,
               e->payload.in.size);
    else if (e->kind == LOG_EVENT_IN_STRING)
        printk(",\"%s_address\":%lu,\"%s_size\":%u", name, e->payload.in_string.port, name,
               e->payload.in_string.size);
    else if (e->kind == LOG_EVENT_MMIO_READ)
        printk(",\"%s_address\":%lu,\"%s_size\":%u", name, e->payload.mmio_read.gpa, name,
               e->payload.mmio_read.size);
    else if (e->kind == LOG_EVENT_RDMSR)
        printk(",\"%s_address\":%lu", name, e->payload.rdmsr.index);
    else if (e->kind == LOG_EVENT_INTERRUPT)
        printk(",\"%s_vector\":%u", name, e->payload.interrupt.vector);
    else if (e->kind == LOG_EVENT_END)
        printk(",\"%s_reason\":%u", name, e->payload.end.reason);
}

void divergence_print(const struct vcpu *vcpu, const struct divergence *d)
{
    u8 code[CODE_BYTES];
    u32 n = guest_fetch(vcpu, code, sizeof(code));

    printk("{\"lvmm\":\"divergence\",\"why\":\"%s\",\"event\":%lu,\"branches\":%lu", d->why,
           d->event, d->branches);
    print_regs("regs", &d->regs);
    if (d->actual_kind != 0)
        print_identity("actual", d->actual);
    if (d->expected != NULL) {
        print_identity("expected", d->expected);
        printk(",\"expected_branches\":%lu,\"expected_rip\":%lu,\"expected_async\":%u,"
               "\"check\":%u",
               d->expected->branches, d->expected->regs.rip, d->expected->async,
               log_position_check(&d->regs, d->out_crc));
        if (d->expected->has_check)
            printk(",\"expected_check\":%u", d->expected->check);
        if (d->expected->has_regs)
            print_regs("expected_regs", &d->expected->regs);
    }
    printk(",\"cr3\":%lu,\"code\":\"", hv_read_cr3());
    for (u32 i = 0; i < n; i++)
        printk("%02x", code[i]);
    printk("\"}\n");
}
