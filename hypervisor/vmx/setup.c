/* The VMCS: controls, host state, the guest's first state (SDM vol. 3, chapter 24). */
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "arch/pmu.h"
#include "arch/traps.h"
#include "lib/string.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

struct msr_entry {
    u32 index, reserved;
    u64 value;
} __attribute__((packed, aligned(16)));

/* The counter runs in the guest only (SDM vol. 3, section 24.8.2). */
static struct msr_entry entry_load[] = {{MSR_PERF_GLOBAL_CTRL, 0, PMU_GLOBAL_ENABLE}};
static struct msr_entry exit_load[] = {{MSR_PERF_GLOBAL_CTRL, 0, 0}};

static u8 msr_bitmap[PAGE_SIZE] __attribute__((aligned(4096)));

/* State that belongs to the guest alone and is exact: no exit in any mode. */
static const u32 guest_owned_msrs[] = {
    MSR_SYSENTER_CS, MSR_SYSENTER_ESP,   MSR_SYSENTER_EIP, MSR_PAT,   MSR_EFER,
    MSR_STAR,        MSR_LSTAR,          MSR_CSTAR,        MSR_FMASK, MSR_FS_BASE,
    MSR_GS_BASE,     MSR_KERNEL_GS_BASE, MSR_TSC_AUX,
};

extern u8 vmx_exit_point[];

static void pass_through_msr(u32 index)
{
    u32 bit = index & 0x1fff;
    u32 base = index >= 0xc0000000 ? 1024 : 0;

    msr_bitmap[base + bit / 8] &= (u8) ~(1 << bit % 8);
    msr_bitmap[base + 2048 + bit / 8] &= (u8) ~(1 << bit % 8);
}

static void setup_host(void)
{
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_CS_SELECTOR, MONITOR_CS);
    vmwrite(VMCS_HOST_SS_SELECTOR, MONITOR_DS);
    vmwrite(VMCS_HOST_DS_SELECTOR, MONITOR_DS);
    vmwrite(VMCS_HOST_ES_SELECTOR, MONITOR_DS);
    vmwrite(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite(VMCS_HOST_TR_SELECTOR, MONITOR_TSS);
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_GS_BASE, 0);
    vmwrite(VMCS_HOST_TR_BASE, traps_tss_base());
    vmwrite(VMCS_HOST_GDTR_BASE, traps_gdt_base());
    vmwrite(VMCS_HOST_IDTR_BASE, traps_idt_base());
    vmwrite(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
    vmwrite(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmwrite(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    vmwrite(VMCS_HOST_RIP, (u64)vmx_exit_point);
}

void vmx_setup_controls(u64 ept_root, bool trap_all)
{
    u64 pin = PIN_NMI | PIN_VIRTUAL_NMI | PIN_PREEMPTION_TIMER;
    u64 proc = PROC_HLT | PROC_MWAIT | PROC_MONITOR | PROC_RDPMC | PROC_UNCONDITIONAL_IO |
               PROC_MSR_BITMAPS | PROC_SECONDARY;
    u64 proc2 = PROC2_EPT | PROC2_RDTSCP | PROC2_VPID | PROC2_UNRESTRICTED | PROC2_INVPCID;
    u64 exit_ctl = EXIT_CTL_SAVE_DEBUG | EXIT_CTL_HOST_64 | EXIT_CTL_SAVE_PAT | EXIT_CTL_LOAD_PAT |
                   EXIT_CTL_SAVE_EFER | EXIT_CTL_LOAD_EFER;

    if (trap_all) {
        pin |= PIN_EXTERNAL_INTERRUPT;
        proc |= PROC_RDTSC | PROC_TSC_OFFSETTING | PROC_CR8_LOAD | PROC_CR8_STORE;
        proc2 |= PROC2_RDRAND | PROC2_RDSEED | PROC2_TSC_SCALING | PROC2_PAUSE_LOOP;
    }
    vmwrite(VMCS_PIN_CONTROLS, vmx_adjust(MSR_VMX_TRUE_PINBASED, MSR_VMX_PINBASED_CTLS, pin));
    vmwrite(VMCS_PROC_CONTROLS, vmx_adjust(MSR_VMX_TRUE_PROCBASED, MSR_VMX_PROCBASED_CTLS, proc));
    vmwrite(VMCS_PROC_CONTROLS2, vmx_adjust(0, MSR_VMX_PROCBASED_CTLS2, proc2));
    vmwrite(VMCS_EXIT_CONTROLS, vmx_adjust(MSR_VMX_TRUE_EXIT, MSR_VMX_EXIT_CTLS, exit_ctl));
    vmwrite(VMCS_ENTRY_CONTROLS,
            vmx_adjust(MSR_VMX_TRUE_ENTRY, MSR_VMX_ENTRY_CTLS,
                       ENTRY_CTL_LOAD_DEBUG | ENTRY_CTL_LOAD_PAT | ENTRY_CTL_LOAD_EFER));
    vmwrite(VMCS_EXCEPTION_BITMAP, 0);
    vmwrite(VMCS_PF_ERROR_MASK, 0);
    vmwrite(VMCS_PF_ERROR_MATCH, 0);
    vmwrite(VMCS_CR3_TARGET_COUNT, 0);
    vmx_setup_guest_tsc();
    vmwrite(VMCS_VPID, 1);
    vmwrite(VMCS_EPT_POINTER, ept_root);
    vmwrite(VMCS_LINK_POINTER, ~0ULL);

    memset(msr_bitmap, 0xff, sizeof(msr_bitmap));
    for (size_t i = 0; i < ARRAY_SIZE(guest_owned_msrs); i++)
        pass_through_msr(guest_owned_msrs[i]);
    vmwrite(VMCS_MSR_BITMAP, (u64)msr_bitmap);

    vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite(VMCS_ENTRY_MSR_LOAD, (u64)entry_load);
    vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, trap_all ? ARRAY_SIZE(entry_load) : 0);
    vmwrite(VMCS_EXIT_MSR_LOAD, (u64)exit_load);
    vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, trap_all ? ARRAY_SIZE(exit_load) : 0);
    setup_host();
    if (trap_all)
        vmx_intercept_page_faults();
}

#define ACCESS_DATA16   0x0093
#define ACCESS_CODE16   0x009b
#define ACCESS_DATA32   0xc093
#define ACCESS_CODE32   0xc09b
#define ACCESS_TSS32    0x008b
#define ACCESS_LDT      0x0082
#define ACCESS_UNUSABLE 0x10000

/* The selectors that the Linux boot protocol and Multiboot ask for. */
#define FLAT_CS 0x10
#define FLAT_DS 0x18

static void set_segment(unsigned int i, u16 selector, u64 base, u32 limit, u32 access)
{
    vmwrite(VMCS_GUEST_ES_SELECTOR + i * 2, selector);
    vmwrite(VMCS_GUEST_ES_BASE + i * 2, base);
    vmwrite(VMCS_GUEST_ES_LIMIT + i * 2, limit);
    vmwrite(VMCS_GUEST_ES_ACCESS + i * 2, access);
}

void vmx_setup_guest(const struct start_state *s)
{
    u64 cr0 = 0x10 | (s->real_mode ? 0 : CR0_PE);
    u64 cr4 = 0;

    for (unsigned int i = SEG_ES; i <= SEG_GS; i++) {
        bool code = i == SEG_CS;

        u16 selector = s->real_mode && code ? s->cs : 0;

        if (s->real_mode)
            set_segment(i, selector, (u64)selector << 4, 0xffff,
                        code ? ACCESS_CODE16 : ACCESS_DATA16);
        else
            set_segment(i, code ? FLAT_CS : FLAT_DS, 0, 0xffffffff,
                        code ? ACCESS_CODE32 : ACCESS_DATA32);
    }
    set_segment(SEG_LDTR, 0, 0, 0xffff, ACCESS_LDT);
    set_segment(SEG_TR, 0, 0, 0xffff, ACCESS_TSS32);
    vmwrite(VMCS_GUEST_GDTR_BASE, 0);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, 0);
    vmwrite(VMCS_GUEST_IDTR_BASE, 0);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, s->real_mode ? 0x3ff : 0);

    vmwrite(VMCS_CR0_MASK, CR0_NE);
    vmwrite(VMCS_CR0_SHADOW, cr0);
    vmwrite(VMCS_GUEST_CR0, cr0 | CR0_NE);
    vmwrite(VMCS_GUEST_CR3, 0);
    vmwrite(VMCS_CR4_MASK, CR4_VMXE);
    vmwrite(VMCS_CR4_SHADOW, cr4);
    vmwrite(VMCS_GUEST_CR4, cr4 | CR4_VMXE);
    vmwrite(VMCS_GUEST_DR7, 0x400);
    vmwrite(VMCS_GUEST_DEBUGCTL, 0);
    vmwrite(VMCS_GUEST_EFER, 0);
    vmwrite(VMCS_GUEST_PAT, 0x0007040600070406ULL);
    vmwrite(VMCS_GUEST_SYSENTER_CS, 0);
    vmwrite(VMCS_GUEST_SYSENTER_ESP, 0);
    vmwrite(VMCS_GUEST_SYSENTER_EIP, 0);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY, 0);
    vmwrite(VMCS_GUEST_RIP, s->rip);
    vmwrite(VMCS_GUEST_RSP, s->rsp);
    vmwrite(VMCS_GUEST_RFLAGS, 2);
    vmwrite(VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
    vmwrite(VMCS_PREEMPTION_TIMER, 0);
    vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
    vmwrite(VMCS_ENTRY_INTERRUPTION_INFO, 0);
}
