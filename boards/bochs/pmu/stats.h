// SPDX-License-Identifier: BSD-2-Clause
// What the tools read about a running (or dead) machine: a small shared file, named by the
// environment variable LVMM_STATS_FILE. tools/lvmm/emulator.py reads the same layout.
#ifndef LVMM_STATS_H
#define LVMM_STATS_H

static const unsigned MARKS_MAX = 64;

// The state when software made a mark: it executed a PREFETCH of the address MARK_ADDRESS + id, an
// instruction that no processor stops at, and that needs no memory there.
static const Bit64u MARK_ADDRESS = 0xf04c5600;

// Marks that nobody needs to make: the first load of CR3 since power-on, which neither the firmware
// nor GRUB do, so that it is at the beginning of what was booted; and the first VM entry.
enum { MARK_PAGING = 254, MARK_ENTRY = 255 };

struct lvmm_stats_mark {
  Bit64u id; // below 256
  Bit64u instructions;
  Bit64u guest_instructions;
  Bit64u branches;
  Bit64u ticks;
  Bit64u wall_ns;    // the host's CLOCK_MONOTONIC
  Bit64u cpu_ns;     // processor time that the emulator has taken
  Bit64u exits[128]; // VM exits by basic reason
};

struct lvmm_stats_file {
  char magic[8];  // "LVMMSTAT"
  Bit32u version; // 3
  Bit32u size;    // of this struct, in bytes
  Bit64u instructions;       // retired by the whole machine
  Bit64u guest_instructions; // of these, in VMX non-root operation
  Bit64u branches;           // conditional branches counted by the PMU
  Bit64u overflows;          // of counter 0
  Bit64u overflow_nmis;      // delivered
  Bit64u resets;             // hardware resets, the one at power-on included
  Bit64u ticks;              // emulated time in ticks: the board's ips= make a second
  Bit64u exits[128];         // VM exits by basic reason
  // The monitor's serial line: bytes that the machine read and wrote, and in ticks when it read the
  // first byte since it had written, and when it wrote the last one.
  Bit64u line_in;
  Bit64u line_out;
  Bit64u line_request_ticks;
  Bit64u line_reply_ticks;
  Bit64u marks_made;
  lvmm_stats_mark marks[MARKS_MAX]; // the first ones
};

extern lvmm_stats_file *lvmm_stats;

void stats_initialize(void);
void stats_update(void);
void stats_vmexit(unsigned reason);
void stats_context_switch(void);
void stats_mark(Bit64u id);
void stats_first_mark(Bit64u id);

#endif
