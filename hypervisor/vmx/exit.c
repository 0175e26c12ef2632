/* From a VM exit to the vendor-neutral `struct exit`; every reason is listed here. */
#include "core/vcpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

typedef void (*decode_fn)(struct exit *exit);

struct reason {
    const char *name;
    enum exit_kind kind;
    decode_fn decode; /* NULL: nothing more to know */
};

static void decode_exception(struct exit *e)
{
    u32 info = (u32)vmread(VMCS_EXIT_INTERRUPTION_INFO);

    if (INTERRUPTION_TYPE(info) == TYPE_NMI) {
        e->kind = EXIT_NMI;
        return;
    }
    e->u.event.vector = (u8)info;
    e->u.event.has_error = info & INTERRUPTION_ERROR_CODE;
    e->u.event.error = (u32)vmread(VMCS_EXIT_INTERRUPTION_ERROR);
    e->u.event.address = e->qualification;
}

/* SDM vol. 3, table 28-3. */
static void decode_cr_access(struct exit *e)
{
    unsigned int number = e->qualification & 15;
    unsigned int type = e->qualification >> 4 & 3;

    e->u.cr.gpr = e->qualification >> 8 & 15;
    e->u.cr.write = type == 0;
    if (type == 0 && number == 0)
        e->kind = EXIT_CR0;
    else if (type == 0 && number == 4)
        e->kind = EXIT_CR4;
    else if (type <= 1 && number == 8)
        e->kind = EXIT_CR8;
}

/* SDM vol. 3, tables 28-5 and 28-8. */
static void decode_io(struct exit *e)
{
    static const u8 address_sizes[] = {2, 4, 8, 8};
    u64 q = e->qualification;

    e->u.io.size = (u8)((q & 7) + 1);
    e->u.io.in = q & BIT(3);
    e->u.io.string = q & BIT(4);
    e->u.io.rep = q & BIT(5);
    e->u.io.port = (u16)(q >> 16);
    if (e->u.io.string) {
        u64 info = vmread(VMCS_EXIT_INSTRUCTION_INFO);

        e->u.io.linear = vmread(VMCS_GUEST_LINEAR);
        e->u.io.address_size = address_sizes[info >> 7 & 3];
        e->u.io.segment = e->u.io.in ? SEG_ES : info >> 15 & 7;
    }
}

/* SDM vol. 3, table 28-7. */
static void decode_ept_violation(struct exit *e)
{
    e->u.memory.gpa = vmread(VMCS_GUEST_PHYSICAL);
    e->u.memory.read = e->qualification & BIT(0);
    e->u.memory.write = e->qualification & BIT(1);
    e->u.memory.fetch = e->qualification & BIT(2);
    /* Linear address valid, but not the access to its translation. */
    e->u.memory.walk = (e->qualification & BIT(7)) && !(e->qualification & BIT(8));
    if (e->qualification & BIT(12))
        vmx_block_nmis_again();
}

/* SDM vol. 3, table 28-12. */
static void decode_random(struct exit *e)
{
    static const u8 sizes[] = {2, 4, 8, 8};
    u32 info = (u32)vmread(VMCS_EXIT_INSTRUCTION_INFO);

    e->u.random.gpr = info >> 3 & 15;
    e->u.random.size = sizes[info >> 11 & 3];
}

#define UNHANDLED(text)                                                                            \
    {                                                                                              \
        text, EXIT_UNHANDLED, NULL                                                                 \
    }
#define UNDEFINED(text)                                                                            \
    {                                                                                              \
        text, EXIT_UNDEFINED, NULL                                                                 \
    }

static const struct reason reasons[REASON_COUNT] = {
    [REASON_EXCEPTION_NMI] = {"exception or NMI", EXIT_EXCEPTION, decode_exception},
    [REASON_EXTERNAL_INTERRUPT] = {"external interrupt", EXIT_EXTERNAL_INTERRUPT, NULL},
    [REASON_TRIPLE_FAULT] = {"triple fault", EXIT_TRIPLE_FAULT, NULL},
    [REASON_INIT] = UNHANDLED("INIT"),
    [REASON_SIPI] = UNHANDLED("SIPI"),
    [REASON_IO_SMI] = UNHANDLED("I/O SMI"),
    [REASON_OTHER_SMI] = UNHANDLED("other SMI"),
    [REASON_INTERRUPT_WINDOW] = {"interrupt window", EXIT_INTERRUPT_WINDOW, NULL},
    [REASON_NMI_WINDOW] = {"NMI window", EXIT_IRET, NULL},
    [REASON_TASK_SWITCH] = UNHANDLED("task switch"),
    [REASON_CPUID] = {"CPUID", EXIT_CPUID, NULL},
    [REASON_GETSEC] = UNDEFINED("GETSEC"),
    [REASON_HLT] = {"HLT", EXIT_HLT, NULL},
    [REASON_INVD] = {"INVD", EXIT_INVD, NULL},
    [REASON_INVLPG] = UNHANDLED("INVLPG"),
    [REASON_RDPMC] = {"RDPMC", EXIT_RDPMC, NULL},
    [REASON_RDTSC] = {"RDTSC", EXIT_RDTSC, NULL},
    [REASON_RSM] = UNHANDLED("RSM"),
    [REASON_VMCALL] = {"VMCALL", EXIT_HYPERCALL, NULL},
    [REASON_VMCLEAR] = UNDEFINED("VMCLEAR"),
    [REASON_VMLAUNCH] = UNDEFINED("VMLAUNCH"),
    [REASON_VMPTRLD] = UNDEFINED("VMPTRLD"),
    [REASON_VMPTRST] = UNDEFINED("VMPTRST"),
    [REASON_VMREAD] = UNDEFINED("VMREAD"),
    [REASON_VMRESUME] = UNDEFINED("VMRESUME"),
    [REASON_VMWRITE] = UNDEFINED("VMWRITE"),
    [REASON_VMXOFF] = UNDEFINED("VMXOFF"),
    [REASON_VMXON] = UNDEFINED("VMXON"),
    [REASON_CR_ACCESS] = {"control-register access", EXIT_UNHANDLED, decode_cr_access},
    [REASON_DR_ACCESS] = {"MOV DR", EXIT_DEBUG_REGISTER, NULL},
    [REASON_IO] = {"I/O instruction", EXIT_IO, decode_io},
    [REASON_RDMSR] = {"RDMSR", EXIT_RDMSR, NULL},
    [REASON_WRMSR] = {"WRMSR", EXIT_WRMSR, NULL},
    [REASON_ENTRY_GUEST_STATE] = UNHANDLED("VM-entry failure: guest state"),
    [REASON_ENTRY_MSR_LOAD] = UNHANDLED("VM-entry failure: MSR loading"),
    [REASON_MWAIT] = UNDEFINED("MWAIT"),
    [REASON_MTF] = {"monitor trap flag", EXIT_STEP, NULL},
    [REASON_MONITOR] = UNDEFINED("MONITOR"),
    [REASON_PAUSE] = {"PAUSE", EXIT_PAUSE, NULL},
    [REASON_ENTRY_MACHINE_CHECK] = UNHANDLED("VM-entry failure: machine check"),
    [REASON_TPR_BELOW_THRESHOLD] = UNHANDLED("TPR below threshold"),
    [REASON_APIC_ACCESS] = UNHANDLED("APIC access"),
    [REASON_VIRTUALIZED_EOI] = UNHANDLED("virtualized EOI"),
    [REASON_GDTR_IDTR] = UNHANDLED("access to GDTR or IDTR"),
    [REASON_LDTR_TR] = UNHANDLED("access to LDTR or TR"),
    [REASON_EPT_VIOLATION] = {"EPT violation", EXIT_MEMORY, decode_ept_violation},
    [REASON_EPT_MISCONFIG] = UNHANDLED("EPT misconfiguration"),
    [REASON_INVEPT] = UNDEFINED("INVEPT"),
    [REASON_RDTSCP] = {"RDTSCP", EXIT_RDTSCP, NULL},
    [REASON_PREEMPTION_TIMER] = {"preemption timer", EXIT_TIMER, NULL},
    [REASON_INVVPID] = UNDEFINED("INVVPID"),
    [REASON_WBINVD] = UNHANDLED("WBINVD"),
    [REASON_XSETBV] = {"XSETBV", EXIT_XSETBV, NULL},
    [REASON_APIC_WRITE] = UNHANDLED("APIC write"),
    [REASON_RDRAND] = {"RDRAND", EXIT_RDRAND, decode_random},
    [REASON_INVPCID] = UNHANDLED("INVPCID"),
    [REASON_VMFUNC] = UNDEFINED("VMFUNC"),
    [REASON_ENCLS] = UNDEFINED("ENCLS"),
    [REASON_RDSEED] = {"RDSEED", EXIT_RDSEED, decode_random},
    [REASON_PML_FULL] = UNHANDLED("page-modification log full"),
    [REASON_XSAVES] = UNDEFINED("XSAVES"),
    [REASON_XRSTORS] = UNDEFINED("XRSTORS"),
    [REASON_PCONFIG] = UNDEFINED("PCONFIG"),
    [REASON_SPP] = UNHANDLED("SPP"),
    [REASON_UMWAIT] = UNDEFINED("UMWAIT"),
    [REASON_TPAUSE] = UNDEFINED("TPAUSE"),
    [REASON_LOADIWKEY] = UNDEFINED("LOADIWKEY"),
    [REASON_ENCLV] = UNDEFINED("ENCLV"),
    [REASON_ENQCMD_PASID] = UNHANDLED("ENQCMD PASID translation"),
    [REASON_ENQCMDS_PASID] = UNHANDLED("ENQCMDS PASID translation"),
    [REASON_BUS_LOCK] = UNHANDLED("bus lock"),
    [REASON_NOTIFY] = UNHANDLED("notify"),
};

_Static_assert(REASON_COUNT == HV_REASON_COUNT, "the seam's statistics cover all reasons");

const char *hv_reason_name(u32 reason)
{
    reason &= 0xffff;
    if (reason >= REASON_COUNT || reasons[reason].name == NULL)
        return "unknown";
    return reasons[reason].name;
}

/* What an instruction of the guest's asked for, and the CPU did not begin. */
static bool by_instruction(enum exit_kind kind)
{
    return kind >= EXIT_CPUID && kind <= EXIT_UNDEFINED && kind != EXIT_MEMORY;
}

bool vmx_decode_exit(u32 reason, struct exit *exit)
{
    static const struct reason unknown = {NULL, EXIT_UNHANDLED, NULL};
    u32 basic = reason & 0xffff;
    bool handled = basic < REASON_COUNT && !(reason & REASON_ENTRY_FAILURE);
    const struct reason *known = handled ? &reasons[basic] : &unknown;
    bool instruction;

    exit->reason = reason;
    exit->kind = known->name != NULL ? known->kind : EXIT_UNHANDLED;
    if (exit->kind == EXIT_UNHANDLED || known->decode != NULL)
        exit->qualification = vmread(VMCS_EXIT_QUALIFICATION);
    if (known->decode != NULL)
        known->decode(exit);
    instruction = by_instruction(exit->kind);
    if (instruction || exit->kind == EXIT_EXCEPTION)
        exit->length = (u8)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
    return instruction || exit->kind == EXIT_EXTERNAL_INTERRUPT ||
           exit->kind == EXIT_INTERRUPT_WINDOW || exit->kind == EXIT_TIMER;
}
