// SPDX-License-Identifier: BSD-2-Clause
// Architectural performance monitoring, counter 0 only, counting retired conditional branches.
#ifndef LVMM_PMU_H
#define LVMM_PMU_H

// MSR numbers (SDM vol. 4, table 2-2).
enum {
  MSR_PMC0 = 0xc1,
  MSR_PERFEVTSEL0 = 0x186,
  MSR_PERF_GLOBAL_STATUS = 0x38e,
  MSR_PERF_GLOBAL_CTRL = 0x38f,
  MSR_PERF_GLOBAL_STATUS_RESET = 0x390,
  MSR_PERF_GLOBAL_STATUS_SET = 0x391,
  MSR_A_PMC0 = 0x4c1,
};

void pmu_initialize(void);
void pmu_reset(void);
void pmu_wrmsr(unsigned index, Bit64u value);

// Branches counted since power-on.
Bit64u pmu_branches(void);

#endif
