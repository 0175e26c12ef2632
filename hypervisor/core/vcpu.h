/* The one virtual CPU and the seam between vendor code (vmx/) and everything above it.
 *
 * Vendor code turns an exit into `struct exit` and implements the hv_* functions; nothing above
 * this header knows the VMCS. */
#ifndef LVMM_CORE_VCPU_H
#define LVMM_CORE_VCPU_H

#include "lib/types.h"
#include "log_format.h"
#include "replay/log_writer.h" /* struct log_regs */

enum exit_kind {
    EXIT_NONE,               /* nothing to do: re-enter */
    EXIT_EXTERNAL_INTERRUPT, /* one is pending; it is not acknowledged yet */
    EXIT_NMI,
    EXIT_EXCEPTION,
    EXIT_INTERRUPT_WINDOW,
    EXIT_STEP,  /* one instruction (or one iteration of a REP) done */
    EXIT_IRET,  /* an IRET done: hv_stop_behind_iret() */
    EXIT_TIMER, /* the monitor's own time slice is over */
    EXIT_CPUID,
    EXIT_HLT,
    EXIT_RDTSC,
    EXIT_RDTSCP,
    EXIT_RDPMC,
    EXIT_RDRAND,
    EXIT_RDSEED,
    EXIT_PAUSE, /* in a loop; the instruction has not been executed */
    EXIT_IO,
    EXIT_RDMSR,
    EXIT_WRMSR,
    EXIT_MEMORY,         /* access to memory that is not mapped for the guest */
    EXIT_DEBUG_REGISTER, /* MOV DR while a breakpoint is set */
    EXIT_CR8,
    EXIT_CR0,
    EXIT_CR4,
    EXIT_XSETBV,
    EXIT_INVD,
    EXIT_HYPERCALL,
    EXIT_UNDEFINED, /* an instruction that the guest's CPU does not have: #UD */
    EXIT_TRIPLE_FAULT,
    EXIT_UNHANDLED, /* the monitor cannot go on with this guest */
};

struct exit {
    enum exit_kind kind;
    u32 reason;        /* the vendor's number, for statistics and messages */
    u8 length;         /* of the instruction, bytes, where it caused the exit */
    u32 passed;        /* hits of the breakpoint before this exit: hv_pass_breakpoint() */
    u64 qualification; /* the vendor's details, for messages */
    union {
        struct {
            u8 vector;
            bool has_error;
            u32 error;
            u64 address; /* #PF: linear address */
        } event;
        struct {
            u16 port;
            u8 size; /* bytes */
            bool in, string, rep;
            u64 linear; /* INS/OUTS: address of the element */
            u8 address_size;
            u8 segment; /* enum segment_index: of the element */
        } io;
        struct {
            u64 gpa;
            bool read, write, fetch;
            bool walk; /* of the guest's page tables, not what the instruction asked for */
        } memory;
        struct {
            u8 gpr;
            bool write;
        } cr; /* CR0, CR4 and CR8 by MOV; other forms are resolved to a value */
        struct {
            u8 gpr;
            u8 size; /* operand size, bytes */
        } random;
    } u;
};

/* An event to be delivered to the guest at the next entry. */
struct pending_event {
    bool valid;
    u32 info; /* vendor format */
    u32 error;
    u32 length;
};

struct vcpu {
    struct log_regs regs; /* at the last exit; what is changed here is entered with */
    u64 branches;         /* conditional branches retired by the guest since its start */
    bool halted;          /* in the HLT activity state */
    struct pending_event event;
    u64 cr8;
};

struct segment_state {
    u16 selector;
    u32 limit;
    u32 access; /* access rights, VMCS format (SDM vol. 3, table 24-2) */
    u64 base;
};

enum segment_index {
    SEG_ES,
    SEG_CS,
    SEG_SS,
    SEG_DS,
    SEG_FS,
    SEG_GS,
    SEG_LDTR,
    SEG_TR,
    SEG_COUNT,
};

/* Control and system registers as the guest sees them. */
struct system_regs {
    u64 cr0, cr3, cr4, efer, dr7;
    struct segment_state seg[SEG_COUNT];
    u64 gdtr_base, idtr_base;
    u32 gdtr_limit, idtr_limit;
};

/* How the guest starts. */
struct start_state {
    bool real_mode; /* else 32-bit protected mode, flat, no paging */
    u16 cs;         /* in real mode */
    u64 rip, rsp, rax, rbx, rsi, rdx;
};

/* Whether the CPU has what the monitor needs: 0 or ERR_UNSUPPORTED. Prints what is missing. */
int hv_check(void);
/* Turns virtualization on: 0 or ERR_UNSUPPORTED. */
int hv_enable(void);
int hv_setup(struct vcpu *vcpu, const struct start_state *start, u64 ept_root, bool trap_all);
/* Enters the guest until its next exit. 0, or ERR_INVALID where the CPU refused the entry. */
int hv_run(struct vcpu *vcpu, struct exit *exit);

void hv_set_single_step(bool on);
void hv_set_interrupt_window(bool on);
/* Off: a pending interrupt waits while the guest has interrupts disabled. */
void hv_set_interrupt_exiting(bool on);
void hv_set_timer(u64 tsc_ticks);
/* The same for the next entry only, where that is sooner. */
void hv_limit_timer(u64 tsc_ticks);
/* The guest's RDTSC and RDTSCP give `value` at the next entry, without an exit, where `fixed` and
 * the CPU can do that; else they exit. */
void hv_fix_tsc(bool fixed, u64 value);
/* A loop with PAUSE at CPL 0 exits when it has taken so many ticks, where the CPU can do that; 0:
 * not. */
void hv_exit_from_pause_loop(u32 ticks);

/* Stops the guest before it executes the instruction at this linear address, and at exceptions of
 * its own if `exceptions`; leaves no trace once cleared. Not while the guest uses breakpoints or
 * single-steps itself: then hv_breakpoint_usable() says no. Resume from there with RFLAGS.RF. */
bool hv_breakpoint_usable(const struct vcpu *vcpu);
void hv_set_breakpoint(u64 linear, bool exceptions);
/* The guest passes that breakpoint by itself while it has retired fewer branches than that: such an
 * exit ends no hv_run(), but for a thousand in one entry. For the breakpoint that is set now. */
void hv_pass_breakpoint(u64 branches);
/* Stops the guest behind the next IRET that it executes, whose RFLAGS.RF would hide a breakpoint:
 * EXIT_IRET. For one entry. False where that cannot be had, with an NMI to deliver. */
bool hv_stop_behind_iret(const struct vcpu *vcpu);
/* Both that and the debugger's points; after every exit. */
void hv_clear_breakpoint(void);

/* The debugger's breakpoints and watchpoints in debug registers, loaded for one entry. `length` is
 * 1, 2, 4 or 8 bytes and `address` a multiple of it, else ERR_INVALID. */
#define HV_DEBUG_POINTS 3
enum hv_debug_kind {
    HV_DEBUG_EXECUTE = 0,
    HV_DEBUG_WRITE = 1,
    HV_DEBUG_ACCESS = 3,
};
int hv_set_debug_point(unsigned int i, enum hv_debug_kind kind, u64 address, u8 length);
void hv_clear_debug_point(unsigned int i);
void hv_load_debug_points(const struct vcpu *vcpu);
/* Which of the monitor's debug registers caused a #DB exit: bit 0 the position's, bit i + 1 that of
 * point i. 0: the guest's own, to be reflected. */
unsigned int hv_debug_causes(const struct exit *exit);
void hv_reflect_debug_exception(struct vcpu *vcpu, const struct exit *exit);
/* The guest's own values, whatever is loaded. */
void hv_read_debug_registers(u64 dr[4], u64 *dr6, u64 *dr7);

/* Whether INT3 exits. One that is the guest's own is injected again. */
void hv_intercept_breakpoints(bool on);
void hv_inject_software_breakpoint(struct vcpu *vcpu, u8 length);

/* No interrupt is delivered before the next instruction: false where that cannot be had, as with an
 * event to deliver. Released after the exit. */
bool hv_hold_interrupts(const struct vcpu *vcpu);
void hv_release_interrupts(void);

/* Whether an external interrupt can be delivered at this very boundary. */
bool hv_can_inject(const struct vcpu *vcpu);
/* The same for an NMI: not while the guest handles one. */
bool hv_can_inject_nmi(const struct vcpu *vcpu);
void hv_inject_interrupt(struct vcpu *vcpu, u8 vector);
void hv_inject_nmi(struct vcpu *vcpu);
void hv_inject_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error);
/* The access that has caused a page-fault exit is made again, with an empty TLB. */
void hv_retry_page_fault(void);
/* A page fault that has exited, even where it came while an event was being delivered. ERR_FAULT
 * where the CPU would shut down. */
int hv_inject_page_fault(struct vcpu *vcpu, u64 address, u32 error);
/* Completes the instruction that caused the exit: RIP, interrupt shadow, trap flag. */
void hv_complete_instruction(struct vcpu *vcpu, u64 next_rip);

void hv_read_system(struct system_regs *out);
/* All of the CPU's state that is not in struct log_final_state. */
void hv_save_state(struct log_cpu_state *out);
/* Makes this the guest's CPU. ERR_INVALID where the machine's does not take it. */
int hv_restore_state(struct vcpu *vcpu, const struct log_cpu_state *from);
u64 hv_read_kernel_gs_base(void);
enum hv_system_register {
    HV_FS_BASE,
    HV_GS_BASE,
    HV_KERNEL_GS_BASE,
    HV_CR2,
    HV_CR3,
};
int hv_write_system(enum hv_system_register which, u64 value);
u64 hv_segment_base(enum segment_index index);
u32 hv_segment_access(enum segment_index index);
u32 hv_segment_limit(enum segment_index index);
unsigned int hv_cpl(void);
void hv_write_cr0(u64 value);
u64 hv_read_cr0(void);
/* The four of PAE paging, which the CPU keeps. */
void hv_write_pdptes(const u64 pdptes[4]);
u64 hv_read_cr3(void);
u64 hv_read_cr4(void);
u64 hv_read_efer(void);
void hv_flush_guest_tlb(void);
/* CR2 of the guest, for a page fault that is about to be injected. */
void hv_set_cr2(u64 address);
const char *hv_reason_name(u32 reason);

#define HV_REASON_COUNT     76
#define HV_REASON_EXCEPTION 0

#endif
