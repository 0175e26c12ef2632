/* Guest memory by linear address, through the guest's page tables as they are now. */
#ifndef LVMM_CORE_GUEST_LINEAR_H
#define LVMM_CORE_GUEST_LINEAR_H

#include "core/vcpu.h"

/* The entries of page tables that translate an address, from the top. */
struct guest_walk {
    struct walked_entry {
        u64 gpa, value;
    } entries[5];
    unsigned int count;
};

/* As the guest's current code would access it (a mask of enum guest_access). ERR_FAULT with
 * *pf_error, or ERR_INVALID / ERR_UNSUPPORTED as guest_translate() says. */
int guest_linear_to_gpa(const struct vcpu *vcpu, u64 linear, unsigned int access, u64 *gpa,
                        u32 *pf_error);
/* The same for an access that is known to be a user-mode access or none. */
int guest_linear_to_gpa_as(const struct vcpu *vcpu, u64 linear, unsigned int access, bool user,
                           u64 *gpa, u32 *pf_error);
/* As the page tables map it, whatever their permissions: 0, or negative where nothing is mapped. */
int guest_linear_to_gpa_any(const struct vcpu *vcpu, u64 linear, u64 *gpa);
/* The part of an access of `len` bytes that lies in its first page: its size and where it is; 0
 * where nothing is mapped. */
u32 guest_linear_part(const struct vcpu *vcpu, u64 linear, u32 len, u64 *gpa);

/* What is mapped, whatever its permissions; returns how many bytes there were. Nothing is touched
 * that a replay would not find the same: RAM, and firmware pages that the guest has touched. */
u32 guest_linear_read(const struct vcpu *vcpu, u64 linear, void *buf, u32 len);

/* Where the guest's code is: RIP with the base of its segment. */
u64 guest_linear_rip(const struct vcpu *vcpu);
/* How RIP is translated for a fetch: 0, or as guest_linear_to_gpa(). */
int guest_linear_walk_code(const struct vcpu *vcpu, u64 *gpa, struct guest_walk *walk);
/* Up to `len` code bytes at RIP; returns how many could be read. */
u32 guest_fetch(const struct vcpu *vcpu, u8 *buf, u32 len);

#endif
