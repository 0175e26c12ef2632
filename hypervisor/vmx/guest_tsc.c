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

/* Ticks between two executions of PAUSE in a loop, at most. */
#define PAUSE_GAP 128

static struct {
    bool available;
    u64 offset;
    u32 pause_loop; /* the control, 0 where there is none */
    u32 pause_window;
} guest_tsc;

void vmx_setup_guest_tsc(void)
{
    guest_tsc.available = vmread(VMCS_PROC_CONTROLS2) & PROC2_TSC_SCALING;
    if (guest_tsc.available)
        vmwrite(VMCS_TSC_MULTIPLIER, 1);
    guest_tsc.offset = 0;
    vmwrite(VMCS_TSC_OFFSET, 0);
    guest_tsc.pause_loop = (u32)vmread(VMCS_PROC_CONTROLS2) & PROC2_PAUSE_LOOP;
    if (guest_tsc.pause_loop != 0)
        vmwrite(VMCS_PLE_GAP, PAUSE_GAP);
    guest_tsc.pause_window = ~0U;
    hv_exit_from_pause_loop(0);
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

void hv_exit_from_pause_loop(u32 ticks)
{
    u64 controls;

    if (guest_tsc.pause_loop == 0 || ticks == guest_tsc.pause_window)
        return;
    guest_tsc.pause_window = ticks;
    controls = vmread(VMCS_PROC_CONTROLS2) & ~(u64)PROC2_PAUSE_LOOP;
    vmwrite(VMCS_PROC_CONTROLS2, controls | (ticks != 0 ? guest_tsc.pause_loop : 0));
    if (ticks != 0)
        vmwrite(VMCS_PLE_WINDOW, ticks);
}
