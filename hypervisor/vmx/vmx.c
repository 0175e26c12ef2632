/* Turning VT-x on: what the CPU must have, and VMXON (SDM vol. 3, sections 23.7 and A). */
#include "vmx/vmx.h"
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "core/vcpu.h"
#include "lib/printk.h"
#include "vmx/vmcs.h"

struct control_need {
    u32 true_msr; /* 0: the plain one only */
    u32 msr;
    u64 bits;
    const char *what;
};

static const struct control_need needs[] = {
    {MSR_VMX_TRUE_PINBASED, MSR_VMX_PINBASED_CTLS,
     PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI,
     "external-interrupt and NMI exiting with virtual NMIs"},
    {MSR_VMX_TRUE_PINBASED, MSR_VMX_PINBASED_CTLS, PIN_PREEMPTION_TIMER, "the preemption timer"},
    {MSR_VMX_TRUE_PROCBASED, MSR_VMX_PROCBASED_CTLS, PROC_MTF, "the monitor trap flag"},
    {MSR_VMX_TRUE_PROCBASED, MSR_VMX_PROCBASED_CTLS, PROC_NMI_WINDOW, "NMI-window exiting"},
    {MSR_VMX_TRUE_PROCBASED, MSR_VMX_PROCBASED_CTLS, PROC_MSR_BITMAPS, "MSR bitmaps"},
    {MSR_VMX_TRUE_PROCBASED, MSR_VMX_PROCBASED_CTLS, PROC_SECONDARY, "secondary controls"},
    {0, MSR_VMX_PROCBASED_CTLS2, PROC2_EPT, "EPT"},
    {0, MSR_VMX_PROCBASED_CTLS2, PROC2_UNRESTRICTED, "unrestricted guest"},
    {0, MSR_VMX_PROCBASED_CTLS2, PROC2_VPID, "VPID"},
    {MSR_VMX_TRUE_EXIT, MSR_VMX_EXIT_CTLS, EXIT_CTL_SAVE_EFER | EXIT_CTL_LOAD_EFER,
     "switching of IA32_EFER"},
};

static u8 vmxon_region[PAGE_SIZE] __attribute__((aligned(4096)));

bool vmx_has_true_controls(void)
{
    return rdmsr(MSR_VMX_BASIC) & BIT(55);
}

u32 vmx_adjust(u32 true_msr, u32 msr, u64 wanted)
{
    u64 allowed = rdmsr(true_msr != 0 && vmx_has_true_controls() ? true_msr : msr);

    return ((u32)wanted | (u32)allowed) & (u32)(allowed >> 32);
}

static bool lacks(const struct control_need *need)
{
    return (vmx_adjust(need->true_msr, need->msr, need->bits) & need->bits) != need->bits;
}

int hv_check(void)
{
    int result = 0;
    u64 feature_control;

    if (!(cpuid(1, 0).ecx & BIT(5))) {
        printk("lvmm: this CPU has no VT-x (CPUID.1:ECX.VMX): use an Intel CPU with VT-x\n");
        return ERR_UNSUPPORTED;
    }
    feature_control = rdmsr(MSR_FEATURE_CONTROL);
    if (!(feature_control & FEATURE_CONTROL_LOCK))
        wrmsr(MSR_FEATURE_CONTROL,
              feature_control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE);
    else if (!(feature_control & FEATURE_CONTROL_VMX_OUTSIDE)) {
        printk("lvmm: VT-x is disabled by the firmware: enable it in the BIOS setup\n");
        return ERR_UNSUPPORTED;
    }
    for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
        if (!lacks(&needs[i]))
            continue;
        printk("lvmm: this CPU's VT-x lacks %s\n", needs[i].what);
        result = ERR_UNSUPPORTED;
        if (needs[i].bits == PROC_SECONDARY)
            break; /* IA32_VMX_PROCBASED_CTLS2 exists with them only */
    }
    return result;
}

int hv_enable(void)
{
    u64 region = (u64)vmxon_region;
    u8 failed;

    write_cr0((read_cr0() | rdmsr(MSR_VMX_CR0_FIXED0)) & rdmsr(MSR_VMX_CR0_FIXED1));
    write_cr4((read_cr4() | CR4_VMXE | rdmsr(MSR_VMX_CR4_FIXED0)) & rdmsr(MSR_VMX_CR4_FIXED1));
    *(u32 *)vmxon_region = rdmsr(MSR_VMX_BASIC) & 0x7fffffff;
    __asm__ volatile("vmxon %1\n\tsetna %0" : "=qm"(failed) : "m"(region) : "cc", "memory");
    if (failed) {
        printk("lvmm: VMXON failed: another hypervisor may be active on this CPU\n");
        return ERR_UNSUPPORTED;
    }
    return 0;
}
