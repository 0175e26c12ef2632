// SPDX-License-Identifier: BSD-2-Clause
// The callbacks that Bochs compiles into its CPU. This header is included from Bochs's cpu.h before
// the CPU class is declared; the macros expand inside the class's methods. Callbacks that lvmm does
// not use expand to nothing, so that they cost nothing.
#if BX_INSTRUMENTATION

// Counter 0 as the inlined branch callback sees it. See pmu.h for the rest.
struct lvmm_pmu_fast {
  Bit64u *counter;   // Bochs's own storage of MSR 0xC1, so that RDMSR always reads the live value
  Bit64u next_event; // counter value at which lvmm_pmu_event() is due
  bool counting[2];  // index: CPL == 3
};
extern lvmm_pmu_fast lvmm_pmu;

void lvmm_pmu_event(void);
void lvmm_pmu_interrupt(bool user);
void lvmm_initialize(void);
void lvmm_exit(void);
void lvmm_reset(unsigned type);
void lvmm_wrmsr(unsigned index, Bit64u value);
void lvmm_vmexit(Bit32u reason);
void lvmm_context_switch(void);
void lvmm_prefetch(Bit64u address);
void lvmm_page_tables(void);
void lvmm_line_in(void);
void lvmm_line_out(void);

extern Bit32u lvmm_line_port; // of the monitor's UART

static inline void lvmm_count_branch(bool user)
{
  if (lvmm_pmu.counting[user] && ++*lvmm_pmu.counter == lvmm_pmu.next_event)
    lvmm_pmu_event();
}

#define BX_INSTR_INITIALIZE(cpu_id) lvmm_initialize()
#define BX_INSTR_EXIT_ENV() lvmm_exit()
#define BX_INSTR_RESET(cpu_id, type) lvmm_reset(type)
#define BX_INSTR_CNEAR_BRANCH_TAKEN(cpu_id, branch_eip, new_eip) \
  lvmm_count_branch(BX_CPU_THIS_PTR user_pl)
#define BX_INSTR_CNEAR_BRANCH_NOT_TAKEN(cpu_id, branch_eip) \
  lvmm_count_branch(BX_CPU_THIS_PTR user_pl)
#define BX_INSTR_WRMSR(cpu_id, addr, value) lvmm_wrmsr(addr, value)
#define BX_INSTR_VMEXIT(cpu_id, reason, qualification) lvmm_vmexit(reason)
#define BX_INSTR_HWINTERRUPT(cpu_id, vector, cs, eip) \
  lvmm_pmu_interrupt(BX_CPU_THIS_PTR user_pl)
#define BX_INSTR_PREFETCH_HINT(cpu_id, what, seg, offset) lvmm_prefetch(offset)
#define BX_INSTR_TLB_CNTRL(cpu_id, what, new_cr3)                                       \
  do {                                                                                  \
    if ((what) == BX_INSTR_CONTEXT_SWITCH)                                              \
      lvmm_context_switch();                                                            \
    else if ((what) == BX_INSTR_MOV_CR3)                                                \
      lvmm_page_tables();                                                               \
  } while (0)

#define BX_INSTR_INP2(addr, len, val)                                                   \
  do {                                                                                  \
    if ((addr) == lvmm_line_port)                                                       \
      lvmm_line_in();                                                                   \
  } while (0)
#define BX_INSTR_OUTP(addr, len, val)                                                   \
  do {                                                                                  \
    if ((addr) == lvmm_line_port)                                                       \
      lvmm_line_out();                                                                  \
  } while (0)

#else

#define BX_INSTR_INITIALIZE(cpu_id)
#define BX_INSTR_EXIT_ENV()
#define BX_INSTR_RESET(cpu_id, type)
#define BX_INSTR_CNEAR_BRANCH_TAKEN(cpu_id, branch_eip, new_eip)
#define BX_INSTR_CNEAR_BRANCH_NOT_TAKEN(cpu_id, branch_eip)
#define BX_INSTR_WRMSR(cpu_id, addr, value)
#define BX_INSTR_VMEXIT(cpu_id, reason, qualification)
#define BX_INSTR_HWINTERRUPT(cpu_id, vector, cs, eip)
#define BX_INSTR_TLB_CNTRL(cpu_id, what, new_cr3)
#define BX_INSTR_INP2(addr, len, val)
#define BX_INSTR_OUTP(addr, len, val)
#define BX_INSTR_PREFETCH_HINT(cpu_id, what, seg, offset)

#endif

#define BX_INSTR_INIT_ENV()
#define BX_INSTR_EXIT(cpu_id)
#define BX_INSTR_HLT(cpu_id)
#define BX_INSTR_MWAIT(cpu_id, addr, len, flags)
#define BX_INSTR_DEBUG_PROMPT()
#define BX_INSTR_DEBUG_CMD(cmd)
#define BX_INSTR_UCNEAR_BRANCH(cpu_id, what, branch_eip, new_eip)
#define BX_INSTR_FAR_BRANCH(cpu_id, what, prev_cs, prev_eip, new_cs, new_eip)
#define BX_INSTR_OPCODE(cpu_id, i, opcode, len, is32, is64)
#define BX_INSTR_EXCEPTION(cpu_id, vector, error_code)
#define BX_INSTR_INTERRUPT(cpu_id, vector)
#define BX_INSTR_CLFLUSH(cpu_id, laddr, paddr)
#define BX_INSTR_CACHE_CNTRL(cpu_id, what)
#define BX_INSTR_BEFORE_EXECUTION(cpu_id, i)
#define BX_INSTR_AFTER_EXECUTION(cpu_id, i)
#define BX_INSTR_REPEAT_ITERATION(cpu_id, i)
#define BX_INSTR_LIN_ACCESS(cpu_id, lin, phy, len, memtype, rw)
#define BX_INSTR_PHY_ACCESS(cpu_id, phy, len, memtype, rw)
#define BX_INSTR_INP(addr, len)
