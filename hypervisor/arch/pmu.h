/* The counter of retired conditional branches (SDM vol. 3, chapter 19). One general counter, PMC0,
 * counts in the guest only: the VM-entry and VM-exit MSR lists switch IA32_PERF_GLOBAL_CTRL. */
#ifndef LVMM_ARCH_PMU_H
#define LVMM_ARCH_PMU_H

#include "lib/types.h"

struct pmu_info {
    const char *cpu; /* the family the event was chosen for */
    u64 event;       /* IA32_PERFEVTSELx */
    u32 skid_margin; /* branches by which the overflow interrupt may come late */
};

/* Chooses the event by CPU model and programs the stopped counter. Prints what is missing;
 * 0 or ERR_UNSUPPORTED. */
int pmu_init(struct pmu_info *out);
/* Counts known loops, undisturbed and under interrupts of the LAPIC's timer, and checks that the
 * overflow NMI arrives within the margin. Everything else must be quiet: lapic_quiesce(). Prints
 * what it found; 0 or ERR_UNSUPPORTED. */
int pmu_self_test(const struct pmu_info *info);

/* Conditional branches counted since pmu_init(); the counter must be stopped. */
u64 pmu_count(void);
/* Starts the count of the run with `count`. */
void pmu_restart(u64 count);
/* Makes the counter overflow (NMI) once `branches` more are counted; > 0 and < 2^31. */
void pmu_arm(u64 branches);
/* Acknowledges an overflow: status and the LAPIC's LVT mask bit. */
void pmu_acknowledge(void);

/* Value of IA32_PERF_GLOBAL_CTRL that lets PMC0 count, for the VM-entry MSR list. */
#define PMU_GLOBAL_ENABLE 1

#endif
