#include "core/guest_linear.h"
#include "arch/msr_index.h"
#include "core/guest_memory.h"
#include "core/guest_paging.h"

/* An entry of a page table. */
static int read_phys(void *ctx, u64 gpa, void *buf, size_t n)
{
    struct guest_walk *walk = ctx;

    if (n == sizeof(u64) && guest_memory_plain(gpa, n))
        *(u64 *)buf = *(const u64 *)gpa;
    else if (guest_memory_read(gpa, buf, n) < 0)
        return ERR_FAULT;
    if (walk != NULL && n == sizeof(u64) && walk->count < ARRAY_SIZE(walk->entries))
        walk->entries[walk->count++] = (struct walked_entry){gpa, *(const u64 *)buf};
    return 0;
}

static int translate(const struct vcpu *vcpu, u64 linear, unsigned int access, u64 cr4, bool user,
                     struct guest_walk *walk, u64 *gpa, u32 *pf_error)
{
    const struct guest_phys_ops ops = {read_phys, walk};
    struct guest_paging paging = {
        .cr0 = hv_read_cr0(),
        .cr3 = hv_read_cr3(),
        .cr4 = cr4,
        .efer = hv_read_efer(),
        .maxphyaddr = 52,
        .user = user,
        /* An implicit supervisor access, of the GDT say, is never excused. */
        .rflags_ac = (vcpu->regs.rflags & BIT(18)) && (user || hv_cpl() != 3),
    };

    return guest_translate(&paging, linear, access, &ops, gpa, pf_error);
}

int guest_linear_to_gpa(const struct vcpu *vcpu, u64 linear, unsigned int access, u64 *gpa,
                        u32 *pf_error)
{
    return translate(vcpu, linear, access, hv_read_cr4() & ~CR4_PKE, hv_cpl() == 3, NULL, gpa,
                     pf_error);
}

int guest_linear_to_gpa_as(const struct vcpu *vcpu, u64 linear, unsigned int access, bool user,
                           u64 *gpa, u32 *pf_error)
{
    return translate(vcpu, linear, access, hv_read_cr4() & ~CR4_PKE, user, NULL, gpa, pf_error);
}

int guest_linear_to_gpa_any(const struct vcpu *vcpu, u64 linear, u64 *gpa)
{
    u32 pf_error;

    return translate(vcpu, linear, GUEST_ACCESS_READ, hv_read_cr4() & ~(CR4_PKE | CR4_SMAP), false,
                     NULL, gpa, &pf_error);
}

u32 guest_linear_part(const struct vcpu *vcpu, u64 linear, u32 len, u64 *gpa)
{
    return guest_linear_to_gpa_any(vcpu, linear, gpa) < 0 ? 0 : guest_page_part(linear, len);
}

static u32 code_part(const struct vcpu *vcpu, u64 linear, u32 len, u64 *gpa)
{
    u32 pf_error;

    return guest_linear_to_gpa(vcpu, linear, GUEST_ACCESS_FETCH, gpa, &pf_error) < 0
               ? 0
               : guest_page_part(linear, len);
}

/* Page by page, as far as `next` finds them. */
static u32 read_parts(const struct vcpu *vcpu, u64 linear, u8 *buf, u32 len,
                      u32 (*next)(const struct vcpu *, u64, u32, u64 *))
{
    u32 done = 0, part;
    u64 gpa;

    for (; done < len; done += part) {
        part = next(vcpu, linear + done, len - done, &gpa);
        if (part == 0 || guest_memory_read(gpa, buf + done, part) < 0)
            break;
    }
    return done;
}

u32 guest_linear_read(const struct vcpu *vcpu, u64 linear, void *buf, u32 len)
{
    return read_parts(vcpu, linear, buf, len, guest_linear_part);
}

u64 guest_linear_rip(const struct vcpu *vcpu)
{
    u64 linear = hv_segment_base(SEG_CS) + vcpu->regs.rip;

    return hv_read_efer() & EFER_LMA ? linear : (u32)linear;
}

u32 guest_fetch(const struct vcpu *vcpu, u8 *buf, u32 len)
{
    return read_parts(vcpu, guest_linear_rip(vcpu), buf, len, code_part);
}

int guest_linear_walk_code(const struct vcpu *vcpu, u64 *gpa, struct guest_walk *walk)
{
    u32 pf_error;

    walk->count = 0;
    return translate(vcpu, guest_linear_rip(vcpu), GUEST_ACCESS_FETCH, hv_read_cr4() & ~CR4_PKE,
                     hv_cpl() == 3, walk, gpa, &pf_error);
}
