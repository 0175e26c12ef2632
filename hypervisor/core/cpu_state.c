#include "core/cpu_state.h"
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "arch/pmu.h"
#include "core/console.h"
#include "core/device_access.h"
#include "core/guest_cpuid.h"
#include "core/guest_time.h"
#include "core/machine_power.h"
#include "lib/string.h"

void cpu_state_final(const struct vcpu *vcpu, struct log_final_state *out)
{
    struct system_regs sys;

    hv_read_system(&sys);
    memset(out, 0, sizeof(*out));
    memcpy(out->gpr, vcpu->regs.gpr, sizeof(out->gpr));
    out->rip = vcpu->regs.rip;
    out->rflags = vcpu->regs.rflags & ~(u64)LOG_RFLAGS_UNCHECKED;
    out->cr0 = sys.cr0;
    out->cr2 = read_cr2();
    out->cr3 = sys.cr3;
    out->cr4 = sys.cr4;
    out->cr8 = vcpu->cr8;
    out->efer = sys.efer;
    out->dr7 = sys.dr7;
    out->branches = vcpu->branches;
    for (unsigned int i = 0; i < SEG_COUNT; i++)
        out->segments[i] = (struct log_segment){.base = sys.seg[i].base,
                                                .limit = sys.seg[i].limit,
                                                .attributes = sys.seg[i].access,
                                                .selector = sys.seg[i].selector};
    out->gdtr_base = sys.gdtr_base;
    out->idtr_base = sys.idtr_base;
    out->gdtr_limit = sys.gdtr_limit;
    out->idtr_limit = sys.idtr_limit;
}

u32 cpu_state_save(const struct vcpu *vcpu, const struct output_state *output, u8 *out)
{
    struct log_cpu_state state = {.console_bytes = output->console_bytes, .out_crc = output->crc};
    u32 image = fpu_read(out + sizeof(state), FPU_IMAGE_MAX, &state.xcr0);

    if (image == 0)
        return 0;
    cpu_state_final(vcpu, &state.state);
    hv_save_state(&state);
    console_save(&state);
    machine_power_save(&state);
    device_access_save(&state);
    guest_time_save(&state);
    memcpy(out, &state, sizeof(state));
    return (u32)sizeof(state) + image;
}

static int restore_fpu(u64 xcr0, const u8 *image, u32 size)
{
    if (xcr0 != 0 && !guest_xcr0_valid(xcr0))
        return ERR_INVALID;
    /* An image of FXSAVE's is from before the guest chose components. */
    if (cpuid(1, 0).ecx & BIT(26))
        xsetbv(0, xcr0 != 0 ? xcr0 : XCR0_X87);
    return fpu_write(image, size);
}

int cpu_state_restore(struct vcpu *vcpu, const u8 *from, u32 size, struct output_state *output)
{
    struct log_cpu_state state;

    if (size < sizeof(state))
        return ERR_INVALID;
    memcpy(&state, from, sizeof(state));
    if (restore_fpu(state.xcr0, from + sizeof(state), size - (u32)sizeof(state)) < 0 ||
        hv_restore_state(vcpu, &state) < 0)
        return ERR_INVALID;
    console_restore(&state);
    machine_power_restore(&state);
    device_access_restore(&state);
    pmu_restart(vcpu->branches);
    guest_time_restore(&state);
    *output = (struct output_state){state.console_bytes, state.out_crc};
    return 0;
}
