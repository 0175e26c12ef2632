// SPDX-License-Identifier: BSD-2-Clause
// A real CPU may drop any TLB entry at any time. With LVMM_TLB_FLUSH the emulated TLB is emptied at
// random instruction boundaries, that many ticks apart on average, so that software that leans on an
// entry which no longer agrees with the page tables meets both.
#include "bochs.h"
#include "cpu/cpu.h"
#include "pc_system.h"

#include "random.h"
#include "tlb.h"

static Bit64u average; // ticks
static int timer;

static void again(void)
{
  bx_pc_system.activate_timer_ticks(timer, 1 + random_next() % (2 * average - 1), false);
}

static void flush(void *)
{
  BX_CPU(0)->TLB_flush();
  again();
}

void tlb_initialize(void)
{
  average = environment_number("LVMM_TLB_FLUSH", 0);
  if (average == 0)
    return;
  timer = bx_pc_system.register_timer_ticks(NULL, flush, 1, false, false, "lvmm.tlb");
  again();
}
