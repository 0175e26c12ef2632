/* I/O instructions. */
#include "core/device_access.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"
#include "core/guest_paging.h"
#include "core/handlers.h"
#include "replay/session.h"

#define RFLAGS_DF (1 << 10)

static u64 size_mask(u8 size)
{
    return ~0ULL >> (64 - size * 8);
}

static int handle_in(struct vcpu *vcpu, const struct exit *exit)
{
    u64 *rax = &vcpu->regs.gpr[GPR_RAX];
    u64 mask = size_mask(exit->u.io.size), value;
    int error = port_read(vcpu, exit->u.io.port, exit->u.io.size, &value);

    if (error < 0)
        return error;
    *rax = exit->u.io.size == 4 ? (u32)value : (*rax & ~mask) | (value & mask);
    complete(vcpu, exit);
    return 0;
}

static u64 address_mask(const struct exit *exit)
{
    return ~0ULL >> (64 - exit->u.io.address_size * 8);
}

static void advance(u64 *reg, u64 mask, s64 by)
{
    if (mask == 0xffffffff)
        *reg = (u32)(*reg + (u64)by);
    else
        *reg = (*reg & ~mask) | ((*reg + (u64)by) & mask);
}

/* One element of INS or OUTS; REP comes back here for the next one. */
static int handle_string(struct vcpu *vcpu, const struct exit *exit)
{
    u64 *gpr = vcpu->regs.gpr;
    u64 mask = address_mask(exit), value = 0, gpa;
    unsigned int access = exit->u.io.in ? GUEST_ACCESS_WRITE : GUEST_ACCESS_READ;
    s64 step = vcpu->regs.rflags & RFLAGS_DF ? -(s64)exit->u.io.size : exit->u.io.size;
    u32 pf_error = 0;
    int error;

    if (exit->u.io.rep && (gpr[GPR_RCX] & mask) == 0) {
        complete(vcpu, exit);
        return 0;
    }
    error = guest_linear_to_gpa(vcpu, exit->u.io.linear, access, &gpa, &pf_error);
    if (error == ERR_FAULT) {
        hv_set_cr2(exit->u.io.linear);
        hv_inject_exception(vcpu, VECTOR_PF, true, pf_error);
        return 0;
    }
    if (error < 0)
        return error;
    if (exit->u.io.in) {
        error = port_read(vcpu, exit->u.io.port, exit->u.io.size, &value);
        if (error == 0)
            error = guest_memory_write(gpa, &value, exit->u.io.size);
    } else {
        error = guest_memory_read(gpa, &value, exit->u.io.size);
        if (error == 0)
            port_write(vcpu, exit->u.io.port, exit->u.io.size, value);
    }
    if (error < 0)
        return error;
    advance(&gpr[exit->u.io.in ? GPR_RDI : GPR_RSI], mask, step);
    if (!exit->u.io.rep) {
        complete(vcpu, exit);
        return 0;
    }
    advance(&gpr[GPR_RCX], mask, -1);
    if ((gpr[GPR_RCX] & mask) == 0)
        complete(vcpu, exit);
    return 0;
}

int handle_io(struct vcpu *vcpu, const struct exit *exit)
{
    if (exit->u.io.string)
        return handle_string(vcpu, exit);
    if (exit->u.io.in)
        return handle_in(vcpu, exit);
    port_write(vcpu, exit->u.io.port, exit->u.io.size,
               vcpu->regs.gpr[GPR_RAX] & size_mask(exit->u.io.size));
    if (!session_ended())
        complete(vcpu, exit);
    return 0;
}
