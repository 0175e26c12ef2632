#include "core/memory_access.h"
#include "core/device_access.h"
#include "core/guest_memory.h"

/* The page's kind, with a firmware page's content there. */
static int settled_kind(struct vcpu *vcpu, u64 gpa, enum gpa_kind *kind)
{
    int error = 0;

    *kind = guest_memory_kind(gpa);
    if (*kind == GPA_FIRMWARE) {
        error = guest_memory_touch(vcpu, gpa);
        *kind = guest_memory_kind(gpa);
    }
    return error;
}

int memory_access_read(struct vcpu *vcpu, u64 gpa, u8 size, u64 *value)
{
    enum gpa_kind kind;
    int error = settled_kind(vcpu, gpa, &kind);

    *value = 0;
    if (error < 0)
        return error;
    switch (kind) {
    case GPA_RAM:
    case GPA_ROM:
        return guest_memory_read(gpa, value, size);
    case GPA_HIDDEN:
        *value = ~0ULL >> (64 - size * 8);
        return 0;
    default:
        return device_read(vcpu, gpa, size, value);
    }
}

int memory_access_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 value)
{
    enum gpa_kind kind;
    int error = settled_kind(vcpu, gpa, &kind);

    if (error < 0)
        return error;
    switch (kind) {
    case GPA_RAM:
        return guest_memory_write(gpa, &value, size);
    case GPA_DEVICE:
        device_write(vcpu, gpa, size, value);
        return 0;
    default:
        return 0; /* ROM and hidden memory do not take writes */
    }
}
