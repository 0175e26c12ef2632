/* INS and OUTS. With REP as many elements as lie in one page are done at one exit, and are one
 * event: a disk that is read without DMA gives all its data this way. */
#include "arch/msr_index.h"
#include "core/code_mode.h"
#include "core/device_access.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"
#include "core/guest_paging.h"
#include "core/handlers.h"
#include "core/memory_access.h"
#include "lib/string.h"
#include "replay/session.h"

#define RFLAGS_DF (1 << 10)

static u8 elements[PAGE_SIZE];

static u64 address_mask(const struct exit *exit)
{
    return ~0ULL >> (64 - exit->u.io.address_size * 8);
}

static u64 *index_register(struct vcpu *vcpu, const struct exit *exit)
{
    return &vcpu->regs.gpr[exit->u.io.in ? GPR_RDI : GPR_RSI];
}

static void advance(u64 *reg, u64 mask, s64 by)
{
    if (mask == 0xffffffff)
        *reg = (u32)(*reg + (u64)by);
    else
        *reg = (*reg & ~mask) | ((*reg + (u64)by) & mask);
}

/* The CPU has checked the first element's place in its segment, and no other. */
static bool segment_has_all(const struct exit *exit)
{
    return code_mode() == DECODE_64 || hv_segment_limit(exit->u.io.segment) >= address_mask(exit);
}

/* How many elements can be done in one go: upwards, in one page of RAM, without a trap after each
 * of them. In real mode the last ones before the end of a segment are not among them. */
static u64 elements_at_once(struct vcpu *vcpu, const struct exit *exit, u64 gpa)
{
    u64 mask = address_mask(exit), left = vcpu->regs.gpr[GPR_RCX] & mask;
    u64 room = (PAGE_SIZE - (gpa & PAGE_MASK)) / exit->u.io.size;
    u64 before_wrap = (mask - (*index_register(vcpu, exit) & mask)) / exit->u.io.size;

    if (!exit->u.io.rep || (vcpu->regs.rflags & (RFLAGS_DF | RFLAGS_TF)) ||
        !segment_has_all(exit) || guest_memory_kind(gpa) != GPA_RAM)
        return 1;
    if (left > room)
        left = room;
    if (left > before_wrap)
        left = before_wrap;
    return left != 0 ? left : 1;
}

static int one_element(struct vcpu *vcpu, const struct exit *exit, u64 gpa)
{
    u64 value = 0;
    int error;

    if (exit->u.io.in) {
        error = port_read(vcpu, exit->u.io.port, exit->u.io.size, &value);
        return error < 0 ? error : memory_access_write(vcpu, gpa, exit->u.io.size, value);
    }
    error = memory_access_read(vcpu, gpa, exit->u.io.size, &value);
    if (error == 0)
        port_write(vcpu, exit->u.io.port, exit->u.io.size, value);
    return error;
}

static int many_elements(struct vcpu *vcpu, const struct exit *exit, u64 gpa, u32 count)
{
    u8 size = exit->u.io.size;
    int error;

    if (exit->u.io.in) {
        error = port_read_string(vcpu, exit->u.io.port, size, elements, count);
        return error < 0 ? error : guest_memory_write(gpa, elements, (u64)count * size);
    }
    error = guest_memory_read(gpa, elements, (u64)count * size);
    for (u32 i = 0; error == 0 && i < count && !session_ended(); i++) {
        u64 value = 0;

        memcpy(&value, elements + i * size, size);
        port_write(vcpu, exit->u.io.port, size, value);
    }
    return error;
}

/* REP comes back here for what is left. */
int handle_string_io(struct vcpu *vcpu, const struct exit *exit)
{
    u64 mask = address_mask(exit), *rcx = &vcpu->regs.gpr[GPR_RCX], count, gpa;
    unsigned int access = exit->u.io.in ? GUEST_ACCESS_WRITE : GUEST_ACCESS_READ;
    u32 pf_error = 0;
    s64 step;
    int error;

    if (exit->u.io.rep && (*rcx & mask) == 0) {
        complete(vcpu, exit);
        return 0;
    }
    error = guest_linear_to_gpa(vcpu, exit->u.io.linear, access, &gpa, &pf_error);
    if (error == ERR_FAULT) {
        hv_set_cr2(exit->u.io.linear);
        hv_inject_exception(vcpu, VECTOR_PF, true, pf_error);
        return 0;
    }
    if (error == 0 && guest_memory_kind(gpa) == GPA_FIRMWARE)
        error = guest_memory_touch(vcpu, gpa);
    if (error < 0)
        return error;
    count = elements_at_once(vcpu, exit, gpa);
    error = count > 1 ? many_elements(vcpu, exit, gpa, (u32)count) : one_element(vcpu, exit, gpa);
    if (error < 0 || session_ended())
        return error;
    step = (s64)(count * exit->u.io.size);
    advance(index_register(vcpu, exit), mask, vcpu->regs.rflags & RFLAGS_DF ? -step : step);
    if (exit->u.io.rep)
        advance(rcx, mask, -(s64)count);
    if (!exit->u.io.rep || (*rcx & mask) == 0)
        complete(vcpu, exit);
    return 0;
}
