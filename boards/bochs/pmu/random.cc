// SPDX-License-Identifier: BSD-2-Clause
#include "bochs.h"

#include <cstdlib>

#include "random.h"

static Bit64u state;

Bit64u environment_number(const char *name, Bit64u otherwise)
{
  const char *text = getenv(name);
  return text ? strtoull(text, NULL, 0) : otherwise;
}

// SplitMix64: any seed, zero included, gives a full-quality sequence.
Bit64u random_next(void)
{
  Bit64u z = state += BX_CONST64(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * BX_CONST64(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * BX_CONST64(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void random_initialize(void)
{
  state = environment_number("LVMM_PMU_SEED", 0);
}
