/* The monitor's use of the debug registers (SDM vol. 3, section 17.2), invisible to the guest: they
 * are loaded for an entry and the guest's are back after it, MOV DR exits meanwhile, #DB exits, and
 * an exit changes no DR6. Register 0 is for positions, 1 to 3 are the debugger's. */
#include "arch/msr_index.h"
#include "arch/pmu.h"
#include "arch/vectors.h"
#include "core/guest_paging.h"
#include "core/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define DR7_ENABLES     0xff
#define DR7_GLOBAL(i)   BIT((i)*2 + 1)
#define DR7_SHIFT(i)    (16 + (i)*4)
#define DR6_CAUSES      0xfULL
#define DR6_BS          BIT(14)
#define VECTOR_DB_BIT   BIT(VECTOR_DB)
#define DEBUG_EXCEPTION ((u32)INTERRUPTION_VALID | TYPE_HARDWARE_EXCEPTION << 8 | VECTOR_DB)
#define VECTOR_BP_BIT   BIT(VECTOR_BP)
#define VECTOR_PF_BIT   BIT(VECTOR_PF)

static struct {
    bool loaded;
    unsigned int own; /* bit i: register i is the monitor's for this entry */
    u64 guest_dr[4], guest_dr7;
    unsigned int points_set; /* bit i: points[i] is used */
    struct {
        u64 address;
        u32 fields; /* R/W and LEN as in DR7 */
    } points[HV_DEBUG_POINTS];
    u32 exceptions; /* that exit in any case; of page faults those with PF_PRESENT */
    bool all_exceptions;
    u64 pass; /* hits of register 0 with fewer branches are passed */
} debug;

static u64 read_dr(unsigned int i)
{
    u64 value = 0;

    switch (i) {
    case 0:
        __asm__ volatile("mov %%dr0, %0" : "=r"(value));
        break;
    case 1:
        __asm__ volatile("mov %%dr1, %0" : "=r"(value));
        break;
    case 2:
        __asm__ volatile("mov %%dr2, %0" : "=r"(value));
        break;
    case 3:
        __asm__ volatile("mov %%dr3, %0" : "=r"(value));
        break;
    case 6:
        __asm__ volatile("mov %%dr6, %0" : "=r"(value));
        break;
    default:
        break;
    }
    return value;
}

static void write_dr(unsigned int i, u64 value)
{
    switch (i) {
    case 0:
        __asm__ volatile("mov %0, %%dr0" : : "r"(value));
        break;
    case 1:
        __asm__ volatile("mov %0, %%dr1" : : "r"(value));
        break;
    case 2:
        __asm__ volatile("mov %0, %%dr2" : : "r"(value));
        break;
    case 3:
        __asm__ volatile("mov %0, %%dr3" : : "r"(value));
        break;
    case 6:
        __asm__ volatile("mov %0, %%dr6" : : "r"(value));
        break;
    default:
        break;
    }
}

static u64 guest_dr7(void)
{
    return debug.loaded ? debug.guest_dr7 : vmread(VMCS_GUEST_DR7);
}

bool hv_breakpoint_usable(const struct vcpu *vcpu)
{
    return !(guest_dr7() & DR7_ENABLES) && !(vcpu->regs.rflags & RFLAGS_TF);
}

static void load(unsigned int i, u64 address, u64 fields)
{
    u64 dr7;

    if (!debug.loaded) {
        debug.loaded = true;
        debug.own = 0;
        debug.guest_dr7 = vmread(VMCS_GUEST_DR7);
        for (unsigned int k = 0; k < 4; k++)
            debug.guest_dr[k] = read_dr(k);
        vmx_set_mov_dr_exiting(true);
    }
    debug.own |= BIT(i);
    write_dr(i, address);
    dr7 = vmread(VMCS_GUEST_DR7) & ~(0xfULL << DR7_SHIFT(i));
    vmwrite(VMCS_GUEST_DR7, dr7 | DR7_GLOBAL(i) | fields << DR7_SHIFT(i));
}

/* With bit 14 in the exception bitmap those faults exit whose error code has these bits, 0: all. */
static void set_page_faults(u32 error)
{
    vmwrite(VMCS_PF_ERROR_MASK, error);
    vmwrite(VMCS_PF_ERROR_MATCH, error);
}

void vmx_intercept_page_faults(void)
{
    debug.exceptions |= VECTOR_PF_BIT;
    vmwrite(VMCS_EXCEPTION_BITMAP, debug.exceptions);
    set_page_faults(PF_PRESENT);
}

void hv_set_breakpoint(u64 linear, bool exceptions)
{
    load(0, linear, 0); /* fields 0: instruction, 1 byte */
    vmwrite(VMCS_EXCEPTION_BITMAP, exceptions ? 0xffffffff : VECTOR_DB_BIT | debug.exceptions);
    if (exceptions)
        set_page_faults(0);
    debug.all_exceptions = exceptions;
    debug.pass = 0;
}

void hv_pass_breakpoint(u64 branches)
{
    debug.pass = branches;
}

bool vmx_passes_breakpoint(u32 reason)
{
    return debug.pass != 0 && reason == REASON_EXCEPTION_NMI &&
           (u32)vmread(VMCS_EXIT_INTERRUPTION_INFO) == DEBUG_EXCEPTION &&
           vmread(VMCS_EXIT_QUALIFICATION) == BIT(0) && pmu_count() < debug.pass;
}

void hv_load_debug_points(const struct vcpu *vcpu)
{
    if (debug.points_set == 0)
        return;
    for (unsigned int i = 0; i < HV_DEBUG_POINTS; i++) {
        if (!(debug.points_set & BIT(i)) || !hv_breakpoint_usable(vcpu))
            continue;
        load(i + 1, debug.points[i].address, debug.points[i].fields);
        vmwrite(VMCS_EXCEPTION_BITMAP, vmread(VMCS_EXCEPTION_BITMAP) | VECTOR_DB_BIT);
    }
}

void hv_clear_breakpoint(void)
{
    if (!debug.loaded)
        return;
    debug.loaded = false;
    debug.pass = 0;
    for (unsigned int i = 0; i < 4; i++)
        write_dr(i, debug.guest_dr[i]);
    vmwrite(VMCS_GUEST_DR7, debug.guest_dr7);
    vmwrite(VMCS_EXCEPTION_BITMAP, debug.exceptions);
    if (debug.all_exceptions && (debug.exceptions & VECTOR_PF_BIT))
        set_page_faults(PF_PRESENT);
    debug.all_exceptions = false;
    vmx_set_mov_dr_exiting(false);
}

unsigned int hv_debug_causes(const struct exit *exit)
{
    return (unsigned int)(exit->qualification & debug.own);
}

void hv_reflect_debug_exception(struct vcpu *vcpu, const struct exit *exit)
{
    write_dr(6, (read_dr(6) & ~DR6_CAUSES) | (exit->qualification & (DR6_CAUSES | DR6_BS)));
    hv_inject_exception(vcpu, VECTOR_DB, false, 0);
}

int hv_set_debug_point(unsigned int i, enum hv_debug_kind kind, u64 address, u8 length)
{
    static const u8 lengths[] = {0, 0, 1, 0, 3, 0, 0, 0, 2};

    if (kind == HV_DEBUG_EXECUTE)
        length = 1;
    if (length == 0 || length > 8 || (length & (length - 1)) || (address & (length - 1U)))
        return ERR_INVALID;
    debug.points_set |= BIT(i);
    debug.points[i].address = address;
    debug.points[i].fields = (u32)kind | (u32)lengths[length] << 2;
    return 0;
}

void hv_clear_debug_point(unsigned int i)
{
    debug.points_set &= ~(unsigned int)BIT(i);
}

void hv_intercept_breakpoints(bool on)
{
    debug.exceptions = (debug.exceptions & ~(u32)VECTOR_BP_BIT) | (on ? VECTOR_BP_BIT : 0);
    vmwrite(VMCS_EXCEPTION_BITMAP, debug.exceptions);
}

void hv_read_debug_registers(u64 dr[4], u64 *dr6, u64 *dr7)
{
    for (unsigned int i = 0; i < 4; i++)
        dr[i] = debug.loaded ? debug.guest_dr[i] : read_dr(i);
    *dr6 = read_dr(6);
    *dr7 = guest_dr7();
}

void vmx_write_debug_registers(const u64 dr[4], u64 dr6)
{
    for (unsigned int i = 0; i < 4; i++)
        write_dr(i, dr[i]);
    write_dr(6, dr6);
}
