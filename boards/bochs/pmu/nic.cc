// SPDX-License-Identifier: BSD-2-Clause
// Bochs's NIC looks for a frame in its UDP socket once a millisecond of emulated time. With
// LVMM_NIC_POLL that becomes another number of microseconds: 12 is a gigabit line's time for a frame
// of 1,514 bytes.
#include "bochs.h"
#include "cpu/cpu.h"
#include "pc_system.h"

#include "nic.h"
#include "random.h"

// The interval is a constant of the socket's driver, and its timer's number is known to that alone.
// A timer's name is found in a private table; an explicit instantiation may name private members
// ([temp.explicit] in the C++ standard), so Bochs stays as it is.
template <auto Member> struct reveal {
  friend const auto &timers_of(const bx_pc_system_c &system) { return system.*Member; }
};
template struct reveal<&bx_pc_system_c::timer>;
const auto &timers_of(const bx_pc_system_c &system);

static void set_interval(void *)
{
  const auto &timers = timers_of(bx_pc_system);
  unsigned index = 0;

  for (const auto &timer : timers) {
    if (timer.inUse && !strcmp(timer.id, "eth_socket"))
      bx_pc_system.activate_timer(index, (Bit32u)environment_number("LVMM_NIC_POLL", 0), true);
    index++;
  }
}

// The devices, and their timers, are made after this: it is done when the machine runs.
void nic_initialize(void)
{
  if (environment_number("LVMM_NIC_POLL", 0))
    bx_pc_system.register_timer_ticks(NULL, set_interval, 1, false, true, "lvmm.nic");
}
