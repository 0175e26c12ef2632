// SPDX-License-Identifier: BSD-2-Clause
// The callbacks of instrument.h, handed to the parts of this module.
#include "bochs.h"
#include "cpu/cpu.h"

#include "clock.h"
#include "line.h"
#include "nic.h"
#include "pmu.h"
#include "ram.h"
#include "random.h"
#include "stats.h"
#include "tlb.h"

void lvmm_initialize(void)
{
  ram_initialize();
  clock_initialize();
  random_initialize();
  pmu_initialize();
  stats_initialize();
  line_initialize();
  nic_initialize();
  tlb_initialize();
}

// Also called when Bochs gives up before there is a machine.
void lvmm_exit(void)
{
  if (lvmm_pmu.counter)
    stats_update();
}

void lvmm_reset(unsigned type)
{
  // INIT leaves the PMU alone.
  if (type != BX_RESET_HARDWARE)
    return;
  pmu_reset();
  lvmm_stats->resets++;
}

void lvmm_wrmsr(unsigned index, Bit64u value)
{
  pmu_wrmsr(index, value);
}

void lvmm_vmexit(Bit32u reason)
{
  stats_vmexit(reason & 0xffff);
}

void lvmm_context_switch(void)
{
  stats_context_switch();
}

void lvmm_prefetch(Bit64u address)
{
  if (address - MARK_ADDRESS < 256)
    stats_mark(address - MARK_ADDRESS);
}

void lvmm_page_tables(void)
{
  stats_first_mark(MARK_PAGING);
}
