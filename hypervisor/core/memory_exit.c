/* Accesses to memory that is not mapped for the guest: devices, firmware, hidden memory. */
#include "arch/lapic.h"
#include "core/ecam.h"
#include "core/guest_insn.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"
#include "core/guest_paging.h"
#include "core/handlers.h"
#include "core/memory_access.h"
#include "core/mmio_insn.h"
#include "lib/printk.h"
#include "replay/session.h"
#include "vmx/ept.h"

/* The RAM (or other device) operand of MOVS. 1 when a fault was injected instead. */
static int other_operand(struct vcpu *vcpu, const struct insn *insn, bool source, u64 *gpa)
{
    u64 bases[SEGMENT_COUNT];
    struct string_addresses addresses;
    u32 pf_error = 0;
    u64 linear;
    int error;

    for (unsigned int i = 0; i < SEGMENT_COUNT; i++)
        bases[i] = hv_segment_base((enum segment_index)i);
    error = mmio_insn_string_addresses(insn, vcpu->regs.gpr, bases, &addresses);
    if (error < 0)
        return error;
    linear = source ? addresses.source : addresses.destination;
    error = guest_linear_to_gpa(vcpu, linear, source ? GUEST_ACCESS_READ : GUEST_ACCESS_WRITE, gpa,
                                &pf_error);
    if (error == ERR_FAULT) {
        hv_set_cr2(linear);
        hv_inject_exception(vcpu, VECTOR_PF, true, pf_error);
        return 1;
    }
    return error;
}

static int emulate(struct vcpu *vcpu, const struct exit *exit, const struct insn *insn)
{
    struct mmio_op op = mmio_insn_op(insn);
    u64 read_gpa = exit->u.memory.gpa, write_gpa = exit->u.memory.gpa;
    u64 rip = vcpu->regs.rip, value = 0, out = 0;
    int error = 0;

    if (insn->operation == INSN_MOVS) {
        bool device_is_source = !exit->u.memory.write;

        error =
            other_operand(vcpu, insn, !device_is_source, device_is_source ? &write_gpa : &read_gpa);
        if (error != 0)
            return error > 0 ? 0 : error;
    }
    if (op.read)
        error = memory_access_read(vcpu, read_gpa, op.size, &value);
    if (error == 0)
        error = mmio_insn_complete(insn, vcpu->regs.gpr, &vcpu->regs.rflags, &rip, value, &out);
    if (error == 0 && op.write)
        error = memory_access_write(vcpu, write_gpa, op.size, out);
    if (error == 0 && rip != vcpu->regs.rip)
        hv_complete_instruction(vcpu, rip);
    return error;
}

/* In a live run a device's page is the guest's from the first access on. Not the local APIC's, and
 * not PCI's configuration space: some of what is written there is kept from the machine. */
static bool map_live(u64 gpa)
{
    u64 page = gpa & ~PAGE_MASK;

    return session_mode() == LOG_MODE_LIVE && page != LAPIC_BASE && ecam_window_at(gpa) == NULL &&
           guest_memory_kind(gpa) == GPA_DEVICE && ept_room(page) &&
           ept_map(page, page, PAGE_SIZE, EPT_READ | EPT_WRITE) == 0;
}

/* What no instruction of the guest's asked for cannot be carried out in its place. */
static const char *not_an_operand(const struct vcpu *vcpu, const struct exit *exit)
{
    if (exit->u.memory.fetch)
        return "the guest executes what is no memory";
    if (exit->u.memory.walk)
        return "the guest's page tables are in what is no memory";
    if (vcpu->event.valid)
        return "an interrupt's or exception's delivery needs what is no memory";
    return NULL;
}

static void tell_not_emulated(const struct vcpu *vcpu, u64 gpa)
{
    u8 bytes[INSN_MAX_LENGTH];
    unsigned int n = guest_fetch(vcpu, bytes, sizeof(bytes));

    printk("{\"lvmm\":\"error\",\"text\":\"instruction at %lx that accesses %lx is not emulated: ",
           vcpu->regs.rip, gpa);
    for (unsigned int i = 0; i < n; i++)
        printk("%02x", bytes[i]);
    printk("\"}\n");
}

int handle_memory(struct vcpu *vcpu, const struct exit *exit)
{
    const char *problem;
    const struct insn *insn;
    int error;

    if (guest_memory_kind(exit->u.memory.gpa) == GPA_FIRMWARE)
        return guest_memory_touch(vcpu, exit->u.memory.gpa);
    problem = not_an_operand(vcpu, exit);
    if (problem != NULL) {
        printk("{\"lvmm\":\"error\",\"text\":\"%s: %lx\"}\n", problem, exit->u.memory.gpa);
        return ERR_UNSUPPORTED;
    }
    if (map_live(exit->u.memory.gpa))
        return 0;
    insn = guest_insn(vcpu);
    error = insn != NULL ? emulate(vcpu, exit, insn) : ERR_UNSUPPORTED;
    if (error < 0 && !session_ended())
        tell_not_emulated(vcpu, exit->u.memory.gpa);
    return error;
}
