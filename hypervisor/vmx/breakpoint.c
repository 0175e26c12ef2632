/* The monitor's use of debug register 0 (SDM vol. 3, section 17.2), invisible to the guest: MOV DR
 * exits while it is set, #DB exits, and an exit changes no DR6. */
#include "arch/msr_index.h"
#include "core/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define DR7_ENABLES   0xff
#define DR7_G0        BIT(1)
#define DR7_FIELDS_0  (0xfULL << 16) /* R/W0 and LEN0: 0 is "instruction, 1 byte" */
#define VECTOR_DB_BIT BIT(1)

static struct {
    bool set;
    u64 guest_dr0, guest_dr7;
} breakpoint;

bool hv_breakpoint_usable(const struct vcpu *vcpu)
{
    return !(vmread(VMCS_GUEST_DR7) & DR7_ENABLES) && !(vcpu->regs.rflags & RFLAGS_TF);
}

void hv_set_breakpoint(u64 linear, bool exceptions)
{
    breakpoint.set = true;
    breakpoint.guest_dr7 = vmread(VMCS_GUEST_DR7);
    __asm__ volatile("mov %%dr0, %0" : "=r"(breakpoint.guest_dr0));
    __asm__ volatile("mov %0, %%dr0" : : "r"(linear));
    vmwrite(VMCS_GUEST_DR7, (breakpoint.guest_dr7 & ~DR7_FIELDS_0) | DR7_G0);
    vmwrite(VMCS_EXCEPTION_BITMAP, exceptions ? 0xffffffff : VECTOR_DB_BIT);
    vmx_set_mov_dr_exiting(true);
}

void hv_clear_breakpoint(void)
{
    if (!breakpoint.set)
        return;
    breakpoint.set = false;
    __asm__ volatile("mov %0, %%dr0" : : "r"(breakpoint.guest_dr0));
    vmwrite(VMCS_GUEST_DR7, breakpoint.guest_dr7);
    vmwrite(VMCS_EXCEPTION_BITMAP, 0);
    vmx_set_mov_dr_exiting(false);
}
