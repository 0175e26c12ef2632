/* All of the guest's CPU that is not in memory, out of the VMCS and the registers that VT-x does
 * not switch, and back (SDM vol. 3, section 24.4). */
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "core/vcpu.h"
#include "lib/string.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define DR6_FIXED    0xfffe0ff0ULL
#define DR6_WRITABLE 0x1e00fULL

#define AT(member) offsetof(struct log_cpu_state, member)

/* Fields of the VMCS that are plain values. */
static const struct {
    u32 field;
    size_t at; /* of a u64 in struct log_cpu_state */
} fields[] = {
    {VMCS_GUEST_CR3, AT(state.cr3)},
    {VMCS_GUEST_DR7, AT(state.dr7)},
    {VMCS_GUEST_EFER, AT(state.efer)},
    {VMCS_GUEST_GDTR_BASE, AT(state.gdtr_base)},
    {VMCS_GUEST_IDTR_BASE, AT(state.idtr_base)},
    {VMCS_GUEST_PAT, AT(pat)},
    {VMCS_GUEST_SYSENTER_CS, AT(sysenter_cs)},
    {VMCS_GUEST_SYSENTER_ESP, AT(sysenter_esp)},
    {VMCS_GUEST_SYSENTER_EIP, AT(sysenter_eip)},
    {VMCS_GUEST_PDPTE0, AT(pdptes[0])},
    {VMCS_GUEST_PDPTE0 + 2, AT(pdptes[1])},
    {VMCS_GUEST_PDPTE0 + 4, AT(pdptes[2])},
    {VMCS_GUEST_PDPTE0 + 6, AT(pdptes[3])},
    {VMCS_GUEST_PENDING_DEBUG, AT(pending_debug)},
};

/* What the guest has in the machine's own registers (vmx/setup.c). */
static const struct {
    u32 index;
    size_t at;
} msrs[] = {
    {MSR_STAR, AT(star)},
    {MSR_LSTAR, AT(lstar)},
    {MSR_CSTAR, AT(cstar)},
    {MSR_FMASK, AT(fmask)},
    {MSR_KERNEL_GS_BASE, AT(kernel_gs_base)},
    {MSR_TSC_AUX, AT(tsc_aux)},
};

void hv_save_state(struct log_cpu_state *out)
{
    u64 dr7;

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        *(u64 *)((u8 *)out + fields[i].at) = vmread(fields[i].field);
    for (size_t i = 0; i < ARRAY_SIZE(msrs); i++)
        rdmsr_safe(msrs[i].index, (u64 *)((u8 *)out + msrs[i].at));
    hv_read_debug_registers(out->dr, &out->dr6, &dr7);
    out->interruptibility = (u32)vmread(VMCS_GUEST_INTERRUPTIBILITY);
}

static void restore_segments(const struct log_final_state *s)
{
    for (unsigned int i = 0; i < SEG_COUNT; i++) {
        vmwrite(VMCS_GUEST_ES_SELECTOR + i * 2, (u16)s->segments[i].selector);
        vmwrite(VMCS_GUEST_ES_BASE + i * 2, s->segments[i].base);
        vmwrite(VMCS_GUEST_ES_LIMIT + i * 2, s->segments[i].limit);
        vmwrite(VMCS_GUEST_ES_ACCESS + i * 2, s->segments[i].attributes);
    }
    vmwrite(VMCS_GUEST_GDTR_LIMIT, s->gdtr_limit);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, s->idtr_limit);
}

int hv_restore_state(struct vcpu *vcpu, const struct log_cpu_state *from)
{
    const struct log_final_state *s = &from->state;

    for (size_t i = 0; i < ARRAY_SIZE(msrs); i++)
        if (wrmsr_safe(msrs[i].index, *(const u64 *)((const u8 *)from + msrs[i].at)) < 0)
            return ERR_INVALID;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        vmwrite(fields[i].field, *(const u64 *)((const u8 *)from + fields[i].at));
    vmx_enter_mode_of(s->efer);
    /* CD and NW are the CPU's own: no VM entry or exit changes them (SDM vol. 3, 27.3.2.1). */
    write_cr0((read_cr0() & ~(u64)(CR0_CD | CR0_NW)) | (s->cr0 & (CR0_CD | CR0_NW)));
    vmwrite(VMCS_CR0_SHADOW, s->cr0);
    vmwrite(VMCS_GUEST_CR0, s->cr0 | CR0_NE);
    vmwrite(VMCS_GUEST_CR4, s->cr4 | CR4_VMXE);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY, from->interruptibility);
    restore_segments(s);
    vmx_write_debug_registers(from->dr, (from->dr6 & DR6_WRITABLE) | DR6_FIXED);
    write_cr2(s->cr2);
    memcpy(vcpu->regs.gpr, s->gpr, sizeof(vcpu->regs.gpr));
    vcpu->regs.rip = s->rip;
    vcpu->regs.rflags = s->rflags;
    vcpu->branches = s->branches;
    vcpu->cr8 = s->cr8;
    vcpu->halted = false;
    vcpu->event.valid = false;
    hv_flush_guest_tlb();
    return 0;
}
