// SPDX-License-Identifier: BSD-2-Clause
// One sequence for all that the module leaves to chance, from LVMM_PMU_SEED.
#ifndef LVMM_RANDOM_H
#define LVMM_RANDOM_H

void random_initialize(void);
Bit64u random_next(void);

// A number from the environment.
Bit64u environment_number(const char *name, Bit64u otherwise);

#endif
