/* I/O instructions. */
#include "core/device_access.h"
#include "core/handlers.h"
#include "replay/session.h"

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

int handle_io(struct vcpu *vcpu, const struct exit *exit)
{
    if (exit->u.io.string)
        return handle_string_io(vcpu, exit);
    if (exit->u.io.in)
        return handle_in(vcpu, exit);
    port_write(vcpu, exit->u.io.port, exit->u.io.size,
               vcpu->regs.gpr[GPR_RAX] & size_mask(exit->u.io.size));
    if (!session_ended())
        complete(vcpu, exit);
    return 0;
}
