/* CR0 and CR4. A write of CR0 exits only when it changes NE, one of CR4 only when it sets VMXE;
 * then the checks that the CPU makes otherwise are the monitor's (SDM vol. 2, MOV to control
 * registers). Without them an entry could fail, or use page-directory pointers of another time. */
#include "arch/msr_index.h"
#include "core/guest_memory.h"
#include "core/handlers.h"

#define ACCESS_TYPE  0xf
#define ACCESS_LONG  BIT(13)
#define BUSY_TSS_16  3
#define PDPTE_COUNT  4
#define PDPT_ADDRESS 0xffffffe0ULL

#define PDPTE_P        BIT(0)
#define PDPTE_RESERVED 0xfff00000000001e6ULL /* of those that are present */

static bool long_code_segment(void)
{
    return hv_segment_access(SEG_CS) & ACCESS_LONG;
}

static bool may_enable_paging(u64 efer)
{
    if (!(efer & EFER_LME))
        return true;
    return (hv_read_cr4() & CR4_PAE) && !long_code_segment() &&
           (hv_segment_access(SEG_TR) & ACCESS_TYPE) != BUSY_TSS_16;
}

static bool may_disable_paging(u64 efer)
{
    return !((efer & EFER_LMA) && long_code_segment()) && !(hv_read_cr4() & CR4_PCIDE);
}

static bool valid_combination(u64 value)
{
    return value >> 32 == 0 && !((value & CR0_PG) && !(value & CR0_PE)) &&
           !((value & CR0_NW) && !(value & CR0_CD));
}

/* SDM vol. 3, section 4.4.1. False where one is invalid. */
static bool load_pdptes(void)
{
    u64 pdptes[PDPTE_COUNT];

    if (guest_memory_read(hv_read_cr3() & PDPT_ADDRESS, pdptes, sizeof(pdptes)) < 0)
        return false;
    for (unsigned int i = 0; i < PDPTE_COUNT; i++)
        if ((pdptes[i] & PDPTE_P) && (pdptes[i] & PDPTE_RESERVED))
            return false;
    hv_write_pdptes(pdptes);
    return true;
}

static bool write_cr0_allowed(u64 value)
{
    u64 efer = hv_read_efer();
    bool was = hv_read_cr0() & CR0_PG, paging = value & CR0_PG;

    if (!valid_combination(value))
        return false;
    if (paging && !was && !may_enable_paging(efer))
        return false;
    if (!paging && was && !may_disable_paging(efer))
        return false;
    return !paging || !(hv_read_cr4() & CR4_PAE) || (efer & EFER_LME) || load_pdptes();
}

int handle_cr(struct vcpu *vcpu, const struct exit *exit)
{
    u64 value = vcpu->regs.gpr[exit->u.cr.gpr];

    /* The guest's CPU does not have CR4.VMXE. */
    if (exit->kind == EXIT_CR4 || !write_cr0_allowed(value)) {
        hv_inject_exception(vcpu, VECTOR_GP, true, 0);
        return 0;
    }
    hv_write_cr0(value);
    complete(vcpu, exit);
    return 0;
}
