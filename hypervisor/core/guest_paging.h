/* Walks the guest's page tables as the CPU would (SDM vol. 3, chapter 4), without side effects. */
#ifndef LVMM_CORE_GUEST_PAGING_H
#define LVMM_CORE_GUEST_PAGING_H

#include "lib/types.h"

struct guest_paging {
    u64 cr0, cr3, cr4, efer;
    const u64 *pdpte; /* PAE paging: the four PDPTE registers; NULL reads them at CR3 instead */
    u32 pkru;         /* used only when CR4.PKE is set */
    u8 maxphyaddr;    /* physical address bits that CPUID shows the guest, at most 52 */
    bool user;        /* the access is a user-mode access: CPL 3 and not implicit (GDT, TSS, ...) */
    bool rflags_ac;   /* RFLAGS.AC; false for implicit supervisor accesses */
};

/* A bit mask; a read-modify-write is READ | WRITE. */
enum guest_access {
    GUEST_ACCESS_READ = 1,
    GUEST_ACCESS_WRITE = 2,
    GUEST_ACCESS_FETCH = 4,
};

/* Page-fault error code (SDM vol. 3, section 4.7). */
enum page_fault_error {
    PF_PRESENT = 1 << 0,
    PF_WRITE = 1 << 1,
    PF_USER = 1 << 2,
    PF_RESERVED = 1 << 3,
    PF_FETCH = 1 << 4,
    PF_PROTECTION_KEY = 1 << 5,
};

/* Guest-physical memory: read returns 0, or a negative value when [gpa, gpa + n) is not RAM. */
struct guest_phys_ops {
    int (*read)(void *ctx, u64 gpa, void *buf, size_t n);
    void *ctx;
};

/*
 * Translates linear for an access (mask of enum guest_access). The result holds up to the end of
 * the 4 KiB page; an access that crosses pages needs one call for each. Accessed and dirty bits
 * are neither needed nor set.
 * Returns 0 with *gpa set;
 * ERR_FAULT with *pf_error set to what the CPU would push with #PF;
 * ERR_INVALID when linear is not canonical (#GP or #SS on the CPU);
 * ERR_UNSUPPORTED when a page table is not in RAM, or with CR4.PKS set.
 */
int guest_translate(const struct guest_paging *paging, u64 linear, unsigned access,
                    const struct guest_phys_ops *ops, u64 *gpa, u32 *pf_error);

#endif
