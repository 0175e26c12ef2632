/* A stop behind the guest's next IRET, which no control intercepts. An IRET ends the blocking of
 * virtual NMIs, and an NMI window exits where they are not blocked (SDM vol. 3, sections 24.6.2 and
 * 25.3): so they are blocked for that entry, and the window is waited for. */
#include "core/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

static struct {
    bool set;
    bool own; /* in the last entry it was not the guest's own NMI that blocked them */
} stop;

static void block_nmis(bool block)
{
    u64 blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~(u64)INTERRUPTIBILITY_NMI;

    vmwrite(VMCS_GUEST_INTERRUPTIBILITY, blocking | (block ? INTERRUPTIBILITY_NMI : 0));
}

bool hv_stop_behind_iret(const struct vcpu *vcpu)
{
    /* An NMI cannot be delivered to a guest in which NMIs are blocked. */
    if (vcpu->event.valid && INTERRUPTION_TYPE(vcpu->event.info) == TYPE_NMI)
        return false;
    stop.set = true;
    stop.own = !(vmread(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_NMI);
    block_nmis(true);
    vmx_set_nmi_window(true);
    return true;
}

void vmx_end_iret_stop(void)
{
    if (!stop.set) {
        stop.own = false;
        return;
    }
    stop.set = false;
    if (stop.own)
        block_nmis(false);
    vmx_set_nmi_window(false);
}

void vmx_block_nmis_again(void)
{
    if (!stop.own && !(vmread(VMCS_IDT_VECTORING_INFO) & INTERRUPTION_VALID))
        block_nmis(true);
}
