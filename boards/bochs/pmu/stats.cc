// SPDX-License-Identifier: BSD-2-Clause
#include "bochs.h"
#include "cpu/cpu.h"
#include "pc_system.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pmu.h"
#include "stats.h"

// Emulated microseconds between two updates when no VM exit does it.
static const Bit32u UPDATE_PERIOD = 10000;

static lvmm_stats_file unshared;
lvmm_stats_file *lvmm_stats = &unshared;

static bool in_guest;
static bool exiting; // between the VM exit and its load of the host state
static Bit64u entry_instructions;
static Bit64u guest_instructions; // up to the last VM exit

void stats_update(void)
{
  Bit64u now = BX_CPU(0)->icount;
  lvmm_stats->instructions = now;
  lvmm_stats->guest_instructions = guest_instructions + (in_guest ? now - entry_instructions : 0);
  lvmm_stats->branches = pmu_branches();
  lvmm_stats->ticks = bx_pc_system.time_ticks();
}

// The tool that started this emulator; without it the machine is of no use to anybody. (A parent
// death signal would do the same for the parent's thread only.)
static pid_t parent;

static void update_timer(void *)
{
  stats_update();
  if (parent && getppid() != parent)
    exit(1);
}

void stats_vmexit(unsigned reason)
{
  if (in_guest)
    guest_instructions += BX_CPU(0)->icount - entry_instructions;
  in_guest = false;
  exiting = true;
  lvmm_stats->exits[reason & 127]++;
  stats_update();
}

static Bit64u nanoseconds(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (Bit64u)now.tv_sec * 1000000000 + (Bit64u)now.tv_nsec;
}

void stats_mark(Bit64u id)
{
  stats_update();
  if (lvmm_stats->marks_made < MARKS_MAX) {
    lvmm_stats_mark *mark = &lvmm_stats->marks[lvmm_stats->marks_made];
    mark->id = id;
    mark->instructions = lvmm_stats->instructions;
    mark->guest_instructions = lvmm_stats->guest_instructions;
    mark->branches = lvmm_stats->branches;
    mark->ticks = lvmm_stats->ticks;
    mark->wall_ns = nanoseconds(CLOCK_MONOTONIC);
    mark->cpu_ns = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    memcpy(mark->exits, lvmm_stats->exits, sizeof(mark->exits));
  }
  lvmm_stats->marks_made++;
}

void stats_first_mark(Bit64u id)
{
  static bool made[256];

  if (!made[id])
    stats_mark(id);
  made[id] = true;
}

// Called at VM entry (guest state loaded) and in every VM exit (host state loaded).
void stats_context_switch(void)
{
  if (exiting) {
    exiting = false;
    return;
  }
  // Entering and leaving SMM is reported too.
  if (!BX_CPU(0)->in_vmx || BX_CPU(0)->in_smm)
    return;
  in_guest = true;
  entry_instructions = BX_CPU(0)->icount;
  stats_first_mark(MARK_ENTRY);
}

void stats_initialize(void)
{
  const char *path = getenv("LVMM_STATS_FILE");
  if (path) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    void *map = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof(lvmm_stats_file)) == 0)
      map = mmap(NULL, sizeof(lvmm_stats_file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
      fprintf(stderr, "lvmm: cannot map %s: %s\n", path, strerror(errno));
      exit(1);
    }
    close(fd);
    lvmm_stats = (lvmm_stats_file *)map;
  }
  lvmm_stats->version = 3;
  lvmm_stats->size = sizeof(lvmm_stats_file);
  memcpy(lvmm_stats->magic, "LVMMSTAT", sizeof(lvmm_stats->magic));
  if (getenv("LVMM_PARENT"))
    parent = (pid_t)strtol(getenv("LVMM_PARENT"), NULL, 10);
  bx_pc_system.register_timer(NULL, update_timer, UPDATE_PERIOD, 1, 1, "lvmm.stats");
}
