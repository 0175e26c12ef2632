/* What the guest's RDTSC gives (SDM vol. 3, sections 24.6.5 and 25.3): the machine's counter, times
 * a multiplier, over 2^48, plus an offset. With the smallest multiplier that is the offset, and a
 * count of the days that the machine is on. */
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define MULTIPLIER_SHIFT 48

/* More ticks than the guest ever runs without an exit. */
#define ENTRY_MAX BIT(30)

static struct {
    bool available;
    u64 offset;
} guest_tsc;

void vmx_setup_guest_tsc(void)
{
    guest_tsc.available = vmread(VMCS_PROC_CONTROLS2) & PROC2_TSC_SCALING;
    if (guest_tsc.available)
        vmwrite(VMCS_TSC_MULTIPLIER, 1);
    guest_tsc.offset = 0;
    vmwrite(VMCS_TSC_OFFSET, 0);
}

void hv_fix_tsc(bool fixed, u64 value)
{
    u64 now = rdtsc(), scaled = now >> MULTIPLIER_SHIFT;

    fixed = fixed && guest_tsc.available && (now + ENTRY_MAX) >> MULTIPLIER_SHIFT == scaled;
    vmx_set_rdtsc_exiting(!fixed);
    if (!fixed || value - scaled == guest_tsc.offset)
        return;
    guest_tsc.offset = value - scaled;
    vmwrite(VMCS_TSC_OFFSET, guest_tsc.offset);
}
