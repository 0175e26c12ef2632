#include "debug/memory.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"
#include "replay/session.h"

u32 debug_read(const struct vcpu *vcpu, enum debug_space space, u64 address, void *to, u32 size)
{
    return space == DEBUG_VIRTUAL ? guest_linear_read(vcpu, address, to, size)
                                  : guest_memory_read_part(address, to, size);
}

/* The next part of an access that one page holds: its size, or 0 where nothing is mapped. */
static u32 next_part(const struct vcpu *vcpu, enum debug_space space, u64 address, u32 size,
                     u64 *gpa)
{
    *gpa = address;
    return space == DEBUG_VIRTUAL ? guest_linear_part(vcpu, address, size, gpa)
                                  : guest_page_part(address, size);
}

u32 debug_write(struct vcpu *vcpu, enum debug_space space, u64 address, const void *from, u32 size)
{
    u32 done = 0, part;
    u64 gpa;

    for (; done < size; done += part) {
        part = next_part(vcpu, space, address + done, size - done, &gpa);
        if (part == 0 || guest_memory_write(gpa, (const u8 *)from + done, part) < 0)
            break;
        if (session_recording() &&
            session_record_dma(vcpu, SESSION_BETWEEN_INSTRUCTIONS, SESSION_DEBUGGER_STREAM, gpa,
                               (const u8 *)from + done, part) < 0)
            break;
    }
    return done;
}
