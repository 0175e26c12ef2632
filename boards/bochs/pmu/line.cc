// SPDX-License-Identifier: BSD-2-Clause
// What passes the UART of the monitor's line, and when in emulated time: how long a request on the
// debug link takes, with nothing in it of the host's own time. The UART's data register is at the
// port LVMM_LINE_PORT; software reads it only when there is a byte.
#include "bochs.h"
#include "cpu/cpu.h"
#include "pc_system.h"

#include <cstdlib>

#include "line.h"
#include "stats.h"

Bit32u lvmm_line_port = 0x10000; // none

static bool answering = true; // the last byte went out

void lvmm_line_in(void)
{
  lvmm_stats->line_in++;
  if (answering)
    lvmm_stats->line_request_ticks = bx_pc_system.time_ticks();
  answering = false;
}

void lvmm_line_out(void)
{
  lvmm_stats->line_out++;
  lvmm_stats->line_reply_ticks = bx_pc_system.time_ticks();
  answering = true;
}

void line_initialize(void)
{
  const char *port = getenv("LVMM_LINE_PORT");
  if (port)
    lvmm_line_port = (Bit32u)strtoul(port, NULL, 0);
}
