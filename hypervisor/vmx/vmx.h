/* Shared by the files of the VT-x back end. */
#ifndef LVMM_VMX_VMX_H
#define LVMM_VMX_VMX_H

#include "core/vcpu.h"
#include "lib/types.h"

bool vmx_has_true_controls(void);
/* The control value nearest to `wanted` that the CPU accepts (SDM vol. 3, section A.2). */
u32 vmx_adjust(u32 true_msr, u32 msr, u64 wanted);

/* Fills the current VMCS's controls and host state. `trap_all`: record and replay. */
void vmx_setup_controls(u64 ept_root, bool trap_all);
void vmx_setup_guest(const struct start_state *start);

void vmx_set_mov_dr_exiting(bool on);
void vmx_set_nmi_window(bool on);
void vmx_set_rdtsc_exiting(bool on);
/* Where the CPU can make the counter stand still for the guest; before the first entry. */
void vmx_setup_guest_tsc(void);
/* After every exit: hv_stop_behind_iret() was for one entry. */
void vmx_end_iret_stop(void);
/* Page faults exit whose page is present: those that a stale TLB entry can cause. */
void vmx_intercept_page_faults(void);
/* Whether this exit is but a hit of the breakpoint that the guest is to pass. */
bool vmx_passes_breakpoint(u32 reason);
/* The guest's DR0 to DR3 and DR6; not while breakpoints are loaded. */
void vmx_write_debug_registers(const u64 dr[4], u64 dr6);

/* An IRET that did not come to its end has unblocked NMIs nevertheless. */
void vmx_block_nmis_again(void);

/* The guest's mode at the next entry, after the monitor has changed its EFER. */
void vmx_enter_mode_of(u64 efer);

/* Turns the exit that just happened into `exit`; the table of all reasons is here. Returns whether
 * that cannot have come while an event was being delivered: it came at an instruction boundary, or
 * an instruction asked for it. */
bool vmx_decode_exit(u32 reason, struct exit *exit);

#endif
