/* Entering the guest and coming back; the hv_* functions that the rest of the monitor calls. */
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "arch/pmu.h"
#include "core/handlers.h"
#include "core/vcpu.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

/* Between two looks at the clock and the debug link. */
#define PASSES_MAX 1000

int vmx_switch(u64 *gpr, bool launched);

static u8 vmcs_region[PAGE_SIZE] __attribute__((aligned(4096)));
static u32 pin_controls, proc_controls;
static u32 timer_shift;
static u32 timer_value, timer_limit = ~0U;
static bool launched;

/* What these fields of the VMCS hold: an access to the VMCS takes as long as some ten others. An
 * entry reloads the timer from its field, and no exit stores it there (SDM vol. 3, 26.6.4). */
static struct {
    u64 rip, rsp, rflags, timer;
    bool halted;
} held;

static void load_controls(void)
{
    pin_controls = (u32)vmread(VMCS_PIN_CONTROLS);
    proc_controls = (u32)vmread(VMCS_PROC_CONTROLS);
    timer_shift = rdmsr(MSR_VMX_MISC) & 31;
    held.rip = vmread(VMCS_GUEST_RIP);
    held.rsp = vmread(VMCS_GUEST_RSP);
    held.rflags = vmread(VMCS_GUEST_RFLAGS);
    held.timer = vmread(VMCS_PREEMPTION_TIMER);
    held.halted = vmread(VMCS_GUEST_ACTIVITY) == ACTIVITY_HLT;
}

int hv_setup(struct vcpu *vcpu, const struct start_state *start, u64 ept_root, bool trap_all)
{
    u64 region = (u64)vmcs_region;
    u8 failed;

    *(u32 *)vmcs_region = rdmsr(MSR_VMX_BASIC) & 0x7fffffff;
    __asm__ volatile("vmclear %1\n\tsetna %0" : "=qm"(failed) : "m"(region) : "cc", "memory");
    if (!failed)
        __asm__ volatile("vmptrld %1\n\tsetna %0" : "=qm"(failed) : "m"(region) : "cc", "memory");
    if (failed)
        return ERR_INVALID;
    vmx_setup_controls(ept_root, trap_all);
    vmx_setup_guest(start);
    load_controls();

    memset(vcpu, 0, sizeof(*vcpu));
    vcpu->regs.gpr[GPR_RAX] = start->rax;
    vcpu->regs.gpr[GPR_RBX] = start->rbx;
    vcpu->regs.gpr[GPR_RDX] = start->rdx;
    vcpu->regs.gpr[GPR_RSI] = start->rsi;
    vcpu->regs.gpr[GPR_RSP] = start->rsp;
    vcpu->regs.rip = start->rip;
    vcpu->regs.rflags = 2;
    launched = false;
    return 0;
}

static void set_control(u32 *cached, u64 field, u32 bit, bool on)
{
    u32 value = on ? *cached | bit : *cached & ~bit;

    if (value != *cached) {
        *cached = value;
        vmwrite(field, value);
    }
}

void hv_set_single_step(bool on)
{
    set_control(&proc_controls, VMCS_PROC_CONTROLS, PROC_MTF, on);
}

void hv_set_interrupt_window(bool on)
{
    set_control(&proc_controls, VMCS_PROC_CONTROLS, PROC_INTERRUPT_WINDOW, on);
}

void vmx_set_nmi_window(bool on)
{
    set_control(&proc_controls, VMCS_PROC_CONTROLS, PROC_NMI_WINDOW, on);
}

void vmx_set_rdtsc_exiting(bool on)
{
    set_control(&proc_controls, VMCS_PROC_CONTROLS, PROC_RDTSC, on);
}

void vmx_set_mov_dr_exiting(bool on)
{
    set_control(&proc_controls, VMCS_PROC_CONTROLS, PROC_MOV_DR, on);
}

void hv_set_interrupt_exiting(bool on)
{
    set_control(&pin_controls, VMCS_PIN_CONTROLS, PIN_EXTERNAL_INTERRUPT, on);
}

static u32 timer_ticks(u64 tsc_ticks)
{
    u64 value = tsc_ticks >> timer_shift;

    return value > 0xffffffff ? 0xffffffff : (u32)value;
}

void hv_set_timer(u64 tsc_ticks)
{
    timer_value = timer_ticks(tsc_ticks);
    set_control(&pin_controls, VMCS_PIN_CONTROLS, PIN_PREEMPTION_TIMER, tsc_ticks != 0);
}

void hv_limit_timer(u64 tsc_ticks)
{
    timer_limit = timer_ticks(tsc_ticks);
}

/* The guest's mode at the next entry is that of its EFER. It keeps the control that says so up to
 * date itself while it runs (SDM vol. 3, section 27.3.1). */
void vmx_enter_mode_of(u64 efer)
{
    u64 controls = vmread(VMCS_ENTRY_CONTROLS) & ~(u64)ENTRY_CTL_IA32E;

    vmwrite(VMCS_ENTRY_CONTROLS, controls | (efer & EFER_LMA ? ENTRY_CTL_IA32E : 0));
}

static void put_field(u64 field, u64 *in_field, u64 value)
{
    if (*in_field == value)
        return;
    *in_field = value;
    vmwrite(field, value);
}

static void enter_state(struct vcpu *vcpu)
{
    put_field(VMCS_GUEST_RIP, &held.rip, vcpu->regs.rip);
    put_field(VMCS_GUEST_RSP, &held.rsp, vcpu->regs.gpr[GPR_RSP]);
    put_field(VMCS_GUEST_RFLAGS, &held.rflags, vcpu->regs.rflags);
    if (held.halted != vcpu->halted) {
        held.halted = vcpu->halted;
        vmwrite(VMCS_GUEST_ACTIVITY, vcpu->halted ? ACTIVITY_HLT : ACTIVITY_ACTIVE);
    }
    if (pin_controls & PIN_PREEMPTION_TIMER)
        put_field(VMCS_PREEMPTION_TIMER, &held.timer,
                  timer_value < timer_limit ? timer_value : timer_limit);
    timer_limit = ~0U;
    if (vcpu->event.valid) {
        vmwrite(VMCS_ENTRY_INTERRUPTION_INFO, vcpu->event.info);
        vmwrite(VMCS_ENTRY_EXCEPTION_ERROR, vcpu->event.error);
        vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, vcpu->event.length);
        vcpu->event.valid = false;
    }
}

/* An event whose delivery was interrupted by the exit is delivered again at the next entry (SDM
 * vol. 3, section 28.2.4). */
static void save_interrupted_event(struct vcpu *vcpu)
{
    u32 info = (u32)vmread(VMCS_IDT_VECTORING_INFO);

    if (!(info & INTERRUPTION_VALID))
        return;
    vcpu->event = (struct pending_event){
        .valid = true,
        .info = info & ~(u32)BIT(12), /* undefined here, reserved at entry */
        .error = (u32)vmread(VMCS_IDT_VECTORING_ERROR),
        .length = (u32)vmread(VMCS_EXIT_INSTRUCTION_LENGTH),
    };
    /* The exit may have set RF, as a fault does; only a fault's delivery stores it so. */
    if (INTERRUPTION_TYPE(info) != TYPE_HARDWARE_EXCEPTION)
        vcpu->regs.rflags &= ~RFLAGS_RF;
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY, vmread(VMCS_GUEST_INTERRUPTIBILITY) &
                                             ~(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
}

static int enter(struct vcpu *vcpu, u32 *reason)
{
    if (vmx_switch(vcpu->regs.gpr, launched) != 0) {
        printk("lvmm: the CPU refused the VM entry (VM-instruction error %lu)\n",
               vmread(VMCS_INSTRUCTION_ERROR));
        return ERR_INVALID;
    }
    *reason = (u32)vmread(VMCS_EXIT_REASON);
    launched = launched || !(*reason & REASON_ENTRY_FAILURE);
    return 0;
}

int hv_run(struct vcpu *vcpu, struct exit *exit)
{
    u32 reason;

    enter_state(vcpu);
    if (enter(vcpu, &reason) < 0)
        return ERR_INVALID;
    /* The guest's state stays in the VMCS. */
    for (exit->passed = 0; exit->passed < PASSES_MAX && vmx_passes_breakpoint(reason);
         exit->passed++) {
        vmwrite(VMCS_GUEST_RFLAGS, vmread(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
        if (enter(vcpu, &reason) < 0)
            return ERR_INVALID;
    }
    held.rip = vcpu->regs.rip = vmread(VMCS_GUEST_RIP);
    held.rsp = vcpu->regs.gpr[GPR_RSP] = vmread(VMCS_GUEST_RSP);
    held.rflags = vcpu->regs.rflags = vmread(VMCS_GUEST_RFLAGS);
    /* The guest does not halt by itself: HLT exits. */
    if (held.halted)
        held.halted = vcpu->halted = vmread(VMCS_GUEST_ACTIVITY) == ACTIVITY_HLT;
    vcpu->branches = pmu_count();
    vmx_end_iret_stop();
    if (!vmx_decode_exit(reason, exit))
        save_interrupted_event(vcpu);
    return 0;
}

bool hv_can_inject(const struct vcpu *vcpu)
{
    return (vcpu->regs.rflags & RFLAGS_IF) && !vcpu->event.valid &&
           !(vmread(VMCS_GUEST_INTERRUPTIBILITY) &
             (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
}

bool hv_can_inject_nmi(const struct vcpu *vcpu)
{
    return !vcpu->event.valid &&
           !(vmread(VMCS_GUEST_INTERRUPTIBILITY) &
             (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS | INTERRUPTIBILITY_NMI));
}

static void inject(struct vcpu *vcpu, u32 type, u8 vector, bool has_error, u32 error)
{
    vcpu->event = (struct pending_event){
        .valid = true,
        .info = (u32)INTERRUPTION_VALID | type << 8 | vector |
                (has_error ? (u32)INTERRUPTION_ERROR_CODE : 0),
        .error = error,
    };
    vcpu->halted = false;
}

void hv_inject_interrupt(struct vcpu *vcpu, u8 vector)
{
    inject(vcpu, TYPE_EXTERNAL, vector, false, 0);
}

void hv_inject_nmi(struct vcpu *vcpu)
{
    inject(vcpu, TYPE_NMI, 2, false, 0);
}

/* A fault stores RFLAGS with RF set (SDM vol. 3, section 18.3.1.1). For an injected one this must
 * be so from the beginning: an exit in the middle of its delivery, as a replay may have one, sets
 * RF. */
static bool is_fault(u8 vector)
{
    return vector != VECTOR_DB && vector != VECTOR_DF;
}

void hv_inject_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error)
{
    if (is_fault(vector))
        vcpu->regs.rflags |= RFLAGS_RF;
    /* In real mode exceptions push no error code (SDM vol. 3, section 26.2.1.3). */
    inject(vcpu, TYPE_HARDWARE_EXCEPTION, vector, has_error && (vmread(VMCS_GUEST_CR0) & CR0_PE),
           error);
}

void hv_retry_page_fault(void)
{
    if (vmread(VMCS_EXIT_INTERRUPTION_INFO) & BIT(12))
        vmx_block_nmis_again();
    hv_flush_guest_tlb();
}

/* SDM vol. 3, table 6-5. An interrupt that was being delivered is gone, as it is on the CPU. */
int hv_inject_page_fault(struct vcpu *vcpu, u64 address, u32 error)
{
    u32 info = vcpu->event.info;

    hv_set_cr2(address);
    if (vcpu->event.valid && INTERRUPTION_TYPE(info) == TYPE_HARDWARE_EXCEPTION) {
        if ((u8)info == VECTOR_DF)
            return ERR_FAULT;
        if ((u8)info == VECTOR_PF) {
            hv_inject_exception(vcpu, VECTOR_DF, true, 0);
            return 0;
        }
    }
    hv_inject_exception(vcpu, VECTOR_PF, true, error);
    return 0;
}

void hv_complete_instruction(struct vcpu *vcpu, u64 next_rip)
{
    u64 blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY);

    /* Only 64-bit code goes beyond 4 GiB. */
    if (next_rip >> 32 && !(vcpu->regs.rip >> 32) &&
        (!(hv_segment_access(SEG_CS) & BIT(13)) || !(vmread(VMCS_GUEST_EFER) & EFER_LMA)))
        next_rip = (u32)next_rip;
    vcpu->regs.rip = next_rip;
    vcpu->regs.rflags &= ~RFLAGS_RF;
    if (blocking & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS))
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY,
                blocking & ~(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
    if (vcpu->regs.rflags & RFLAGS_TF)
        vmwrite(VMCS_GUEST_PENDING_DEBUG, vmread(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
}

u64 hv_segment_base(enum segment_index i)
{
    return vmread(VMCS_GUEST_ES_BASE + i * 2);
}

u32 hv_segment_access(enum segment_index i)
{
    return (u32)vmread(VMCS_GUEST_ES_ACCESS + i * 2);
}

u32 hv_segment_limit(enum segment_index i)
{
    return (u32)vmread(VMCS_GUEST_ES_LIMIT + i * 2);
}

unsigned int hv_cpl(void)
{
    return hv_segment_access(SEG_SS) >> 5 & 3;
}

void hv_read_system(struct system_regs *out)
{
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        out->seg[i] = (struct segment_state){
            .selector = (u16)vmread(VMCS_GUEST_ES_SELECTOR + i * 2),
            .limit = (u32)vmread(VMCS_GUEST_ES_LIMIT + i * 2),
            .access = (u32)vmread(VMCS_GUEST_ES_ACCESS + i * 2),
            .base = vmread(VMCS_GUEST_ES_BASE + i * 2),
        };
    out->cr0 = hv_read_cr0();
    out->cr3 = hv_read_cr3();
    out->cr4 = hv_read_cr4();
    out->efer = hv_read_efer();
    out->dr7 = vmread(VMCS_GUEST_DR7);
    out->gdtr_base = vmread(VMCS_GUEST_GDTR_BASE);
    out->gdtr_limit = (u32)vmread(VMCS_GUEST_GDTR_LIMIT);
    out->idtr_base = vmread(VMCS_GUEST_IDTR_BASE);
    out->idtr_limit = (u32)vmread(VMCS_GUEST_IDTR_LIMIT);
}

/* CD and NW are the CPU's own (vmx/state.c), and before the first exit the VMCS does not know them.
 */
u64 hv_read_cr0(void)
{
    u64 own = CR0_CD | CR0_NW;

    return (vmread(VMCS_GUEST_CR0) & ~(CR0_NE | own)) | (vmread(VMCS_CR0_SHADOW) & CR0_NE) |
           (read_cr0() & own);
}

void hv_write_pdptes(const u64 pdptes[4])
{
    for (unsigned int i = 0; i < 4; i++)
        vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, pdptes[i]);
}

u64 hv_read_cr3(void)
{
    return vmread(VMCS_GUEST_CR3);
}

u64 hv_read_cr4(void)
{
    return vmread(VMCS_GUEST_CR4) & ~CR4_VMXE;
}

u64 hv_read_efer(void)
{
    return vmread(VMCS_GUEST_EFER);
}

void hv_write_cr0(u64 value)
{
    u64 efer = vmread(VMCS_GUEST_EFER);
    bool paging = value & CR0_PG;

    if (paging != !!(vmread(VMCS_GUEST_CR0) & CR0_PG) && (efer & EFER_LME)) {
        efer = paging ? efer | EFER_LMA : efer & ~EFER_LMA;
        vmwrite(VMCS_GUEST_EFER, efer);
        vmx_enter_mode_of(efer);
    }
    vmwrite(VMCS_CR0_SHADOW, value);
    vmwrite(VMCS_GUEST_CR0, value | CR0_NE);
    hv_flush_guest_tlb();
}

/* INVEPT and INVVPID, single context (SDM vol. 3, section 29.4.3). */
void hv_flush_guest_tlb(void)
{
    struct {
        u64 first, second;
    } ept = {vmread(VMCS_EPT_POINTER), 0}, vpid = {vmread(VMCS_VPID), 0};

    __asm__ volatile("invept %0, %1" : : "m"(ept), "r"(1ULL) : "cc", "memory");
    __asm__ volatile("invvpid %0, %1" : : "m"(vpid), "r"(1ULL) : "cc", "memory");
}

/* VT-x switches no CR2: the monitor takes no page fault of its own, so the register is the guest's
 * all the time. */
void hv_set_cr2(u64 address)
{
    write_cr2(address);
}
