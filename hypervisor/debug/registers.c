#include "debug/registers.h"
#include "arch/cpu.h"
#include "lib/string.h"

_Static_assert((int)LINK_REGISTER_R15 == (int)GPR_R15, "the link numbers them like the CPU");

void registers_read(const struct vcpu *vcpu, struct link_registers *out)
{
    struct system_regs sys;
    u64 dr[4], dr6, dr7;

    hv_read_system(&sys);
    hv_read_debug_registers(dr, &dr6, &dr7);
    memcpy(out->gpr, vcpu->regs.gpr, sizeof(out->gpr));
    out->rip = vcpu->regs.rip;
    out->rflags = vcpu->regs.rflags;
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        out->segments[i] = (struct link_segment){
            .base = sys.seg[i].base,
            .limit = sys.seg[i].limit,
            .attributes = sys.seg[i].access,
            .selector = sys.seg[i].selector,
        };
    out->kernel_gs_base = hv_read_kernel_gs_base();
    out->gdtr_base = sys.gdtr_base;
    out->idtr_base = sys.idtr_base;
    out->gdtr_limit = (u16)sys.gdtr_limit;
    out->idtr_limit = (u16)sys.idtr_limit;
    out->cr0 = sys.cr0;
    out->cr2 = read_cr2();
    out->cr3 = sys.cr3;
    out->cr4 = sys.cr4;
    out->cr8 = vcpu->cr8;
    out->efer = sys.efer;
    memcpy(out->dr, dr, sizeof(out->dr));
    out->dr6 = dr6;
    out->dr7 = dr7;
}

int registers_write(struct vcpu *vcpu, u16 id, u64 value)
{
    if (id < GPR_COUNT) {
        vcpu->regs.gpr[id] = value;
        return 0;
    }
    switch (id) {
    case LINK_REGISTER_RIP:
        vcpu->regs.rip = value;
        return 0;
    case LINK_REGISTER_RFLAGS:
        vcpu->regs.rflags = (value & 0x3f7fd5) | 2; /* reserved bits: SDM vol. 1, section 3.4.3 */
        return 0;
    case LINK_REGISTER_FS_BASE:
        return hv_write_system(HV_FS_BASE, value);
    case LINK_REGISTER_GS_BASE:
        return hv_write_system(HV_GS_BASE, value);
    case LINK_REGISTER_KERNEL_GS_BASE:
        return hv_write_system(HV_KERNEL_GS_BASE, value);
    case LINK_REGISTER_CR2:
        return hv_write_system(HV_CR2, value);
    case LINK_REGISTER_CR3:
        return hv_write_system(HV_CR3, value);
    default:
        return ERR_UNSUPPORTED;
    }
}
