// SPDX-License-Identifier: BSD-2-Clause
// The performance monitoring unit: SDM vol. 3B, chapter "Performance Monitoring", counter 0.
//
// The MSRs are declared in msrs.def with all bits "ignored", so that Bochs's own WRMSR leaves them
// alone and pmu_wrmsr(), which sees every write (those of the VM-entry and VM-exit MSR lists
// included), sets their value. A read returns that value without a callback.
#include "bochs.h"
#include "cpu/cpu.h"
#include "cpu/apic.h"

#include <cstdlib>
#include <cstring>

#include "pmu.h"
#include "random.h"
#include "stats.h"

lvmm_pmu_fast lvmm_pmu;

static const Bit64u COUNTER_WRAP = BX_CONST64(1) << 48;

// Bits of IA32_PERFEVTSELx.
static const Bit64u EVTSEL_USR = 1 << 16;
static const Bit64u EVTSEL_OS = 1 << 17;
static const Bit64u EVTSEL_INT = 1 << 20;
static const Bit64u EVTSEL_ENABLE = 1 << 22;

// BR_INST_RETIRED.CONDITIONAL: umask 0x01 up to Cascade Lake, 0x11 since Ice Lake.
static const unsigned EVENT_CONDITIONAL = 0x01c4;
static const unsigned EVENT_CONDITIONAL_ICELAKE = 0x11c4;

static const Bit32u LVT_MASKED = 1 << 16;
static const unsigned DELIVERY_MODE_NMI = 4;

static Bit64u control;       // IA32_PERF_GLOBAL_CTRL
static Bit64u select0;       // IA32_PERFEVTSEL0
static bool nmi_pending;     // overflowed; the interrupt waits for the end of its skid
static unsigned skid_margin; // in counted branches
static bool start_fault;     // counts one too many when counting starts
static bool interrupt_fault; // counts each interrupt
static Bit64u branches_until_write; // counted before the counter's last write
static Bit64u counter_at_write;

static void set_msr(unsigned index, Bit64u value)
{
  BX_CPU(0)->msrs[index]->val64 = value;
}

static Bit64u get_msr(unsigned index)
{
  return BX_CPU(0)->msrs[index]->val64;
}

static void update_counting(void)
{
  unsigned event = select0 & 0xffff;
  bool on = (control & 1) && (select0 & EVTSEL_ENABLE) &&
            (event == EVENT_CONDITIONAL || event == EVENT_CONDITIONAL_ICELAKE);
  lvmm_pmu.counting[0] = on && (select0 & EVTSEL_OS);
  lvmm_pmu.counting[1] = on && (select0 & EVTSEL_USR);
}

static void deliver(void)
{
  nmi_pending = false;
  lvmm_pmu.next_event = COUNTER_WRAP;

  bx_local_apic_c *lapic = BX_CPU(0)->lapic;
  Bit32u lvt = lapic->read_aligned(BX_LAPIC_LVT_PERFMON);
  if ((lvt & LVT_MASKED) || ((lvt >> 8) & 7) != DELIVERY_MODE_NMI)
    return;
  // The processor sets the mask bit as it delivers (SDM vol. 3A, "Local Vector Table").
  lapic->set_lvt_entry(BX_LAPIC_LVT_PERFMON, lvt | LVT_MASKED);
  BX_CPU(0)->deliver_NMI();
  lvmm_stats->overflow_nmis++;
}

void lvmm_pmu_event(void)
{
  if (nmi_pending) {
    deliver();
    return;
  }

  // The counter wrapped.
  branches_until_write += COUNTER_WRAP;
  *lvmm_pmu.counter = 0;
  set_msr(MSR_PERF_GLOBAL_STATUS, get_msr(MSR_PERF_GLOBAL_STATUS) | 1);
  lvmm_stats->overflows++;
  if (!(select0 & EVTSEL_INT))
    return;
  nmi_pending = true;
  lvmm_pmu.next_event = random_next() % (skid_margin + 1);
  if (lvmm_pmu.next_event == 0)
    deliver();
}

void lvmm_pmu_interrupt(bool user)
{
  if (interrupt_fault)
    lvmm_count_branch(user);
}

static void write_counter(Bit64u value)
{
  branches_until_write += *lvmm_pmu.counter - counter_at_write;
  *lvmm_pmu.counter = counter_at_write = value & (COUNTER_WRAP - 1);
}

void pmu_wrmsr(unsigned index, Bit64u value)
{
  // An overflow that is still under way arrives now: counting is about to stop or to restart (at a
  // VM exit the interrupt so arrives in host mode, as on hardware).
  switch (index) {
  case MSR_PMC0:
    if (nmi_pending)
      deliver();
    write_counter((Bit64s)(Bit32s)value); // legacy writes are sign-extended from 32 bits
    break;
  case MSR_A_PMC0:
    if (nmi_pending)
      deliver();
    write_counter(value);
    break;
  case MSR_PERFEVTSEL0:
    if (nmi_pending)
      deliver();
    select0 = value;
    set_msr(index, value);
    update_counting();
    break;
  case MSR_PERF_GLOBAL_CTRL:
    if (nmi_pending)
      deliver();
    control = value;
    set_msr(index, value);
    update_counting();
    if (start_fault)
      lvmm_count_branch(false);
    break;
  case MSR_PERF_GLOBAL_STATUS_RESET:
    set_msr(MSR_PERF_GLOBAL_STATUS, get_msr(MSR_PERF_GLOBAL_STATUS) & ~value);
    break;
  case MSR_PERF_GLOBAL_STATUS_SET:
    set_msr(MSR_PERF_GLOBAL_STATUS, get_msr(MSR_PERF_GLOBAL_STATUS) | value);
    break;
  }
}

Bit64u pmu_branches(void)
{
  return branches_until_write + *lvmm_pmu.counter - counter_at_write;
}

void pmu_reset(void)
{
  nmi_pending = false;
  lvmm_pmu.next_event = COUNTER_WRAP;
  control = select0 = 0;
  write_counter(0);
  update_counting();
}

void pmu_initialize(void)
{
  static const unsigned needed[] = {MSR_PMC0, MSR_A_PMC0, MSR_PERFEVTSEL0, MSR_PERF_GLOBAL_STATUS,
                                    MSR_PERF_GLOBAL_CTRL};
  for (unsigned index : needed) {
    if (!BX_CPU(0)->msrs[index]) {
      fprintf(stderr, "lvmm: MSR 0x%x is missing: give boards/bochs/msrs.def as msrs=\n", index);
      exit(1);
    }
  }
  skid_margin = (unsigned)environment_number("LVMM_PMU_MARGIN", 100);
  const char *fault = getenv("LVMM_PMU_FAULT");
  start_fault = fault && !strcmp(fault, "start");
  interrupt_fault = fault && !strcmp(fault, "interrupts");

  // Two names of one counter.
  delete BX_CPU(0)->msrs[MSR_A_PMC0];
  BX_CPU(0)->msrs[MSR_A_PMC0] = BX_CPU(0)->msrs[MSR_PMC0];
  lvmm_pmu.counter = &BX_CPU(0)->msrs[MSR_PMC0]->val64;
  pmu_reset();
}
