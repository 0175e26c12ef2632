/* What a debugger needs of the CPU beside breakpoints. */
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "core/vcpu.h"
#include "vmx/vmcs.h"

static bool held;

/* An STI shadow (SDM vol. 3, section 24.4.2) keeps interrupts out for one instruction. It is
 * allowed only with RFLAGS.IF set, in the active state, and without an event to deliver; in these
 * cases the guest takes no interrupt before that instruction anyway, or is to take the event. */
bool hv_hold_interrupts(const struct vcpu *vcpu)
{
    u64 blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY);

    held = (vcpu->regs.rflags & RFLAGS_IF) && !vcpu->halted && !vcpu->event.valid &&
           !(blocking & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
    if (held)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, blocking | INTERRUPTIBILITY_STI);
    return held;
}

void hv_release_interrupts(void)
{
    if (held)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY,
                vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~(u64)INTERRUPTIBILITY_STI);
    held = false;
}

void hv_inject_software_breakpoint(struct vcpu *vcpu, u8 length)
{
    vcpu->event = (struct pending_event){
        .valid = true,
        .info = (u32)INTERRUPTION_VALID | TYPE_SOFTWARE_EXCEPTION << 8 | 3,
        .length = length,
    };
}

u64 hv_read_kernel_gs_base(void)
{
    return rdmsr(MSR_KERNEL_GS_BASE);
}

int hv_write_system(enum hv_system_register which, u64 value)
{
    switch (which) {
    case HV_FS_BASE:
        vmwrite(VMCS_GUEST_ES_BASE + SEG_FS * 2, value);
        return 0;
    case HV_GS_BASE:
        vmwrite(VMCS_GUEST_ES_BASE + SEG_GS * 2, value);
        return 0;
    case HV_KERNEL_GS_BASE:
        /* Not canonical: #GP, here and not at the VM entry. */
        return wrmsr_safe(MSR_KERNEL_GS_BASE, value) ? ERR_INVALID : 0;
    case HV_CR2:
        hv_set_cr2(value);
        return 0;
    case HV_CR3:
        vmwrite(VMCS_GUEST_CR3, value);
        hv_flush_guest_tlb();
        return 0;
    default:
        return ERR_UNSUPPORTED;
    }
}
