#include "debug/memory.h"
#include "core/guest_memory.h"
#include "core/guest_paging.h"
#include "replay/session.h"

int debug_translate(const struct vcpu *vcpu, u64 linear, u64 *gpa)
{
    u32 error;

    return guest_linear_to_gpa_any(vcpu, linear, gpa, &error);
}

/* The next part of an access that one page holds: its size, or 0 where nothing is. */
static u32 next_part(const struct vcpu *vcpu, enum debug_space space, u64 address, u32 size,
                     u64 *gpa)
{
    u32 room = (u32)(PAGE_SIZE - (address & PAGE_MASK));

    *gpa = address;
    if (space == DEBUG_VIRTUAL && debug_translate(vcpu, address, gpa) < 0)
        return 0;
    return size < room ? size : room;
}

u32 debug_read(const struct vcpu *vcpu, enum debug_space space, u64 address, void *to, u32 size)
{
    u32 done = 0, part;
    u64 gpa;

    for (; done < size; done += part) {
        part = next_part(vcpu, space, address + done, size - done, &gpa);
        if (part == 0 || guest_memory_read(gpa, (u8 *)to + done, part) < 0)
            break;
    }
    return done;
}

u32 debug_write(struct vcpu *vcpu, enum debug_space space, u64 address, const void *from, u32 size)
{
    u32 done = 0, part;
    u64 gpa;

    for (; done < size; done += part) {
        part = next_part(vcpu, space, address + done, size - done, &gpa);
        if (part == 0 || guest_memory_write(gpa, (const u8 *)from + done, part) < 0)
            break;
        if (session_recording() && session_record_dma(vcpu, SESSION_DEBUGGER_STREAM, gpa,
                                                      (const u8 *)from + done, part) < 0)
            break;
    }
    return done;
}
