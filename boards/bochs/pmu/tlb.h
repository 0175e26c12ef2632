// SPDX-License-Identifier: BSD-2-Clause
#ifndef LVMM_TLB_H
#define LVMM_TLB_H

void tlb_initialize(void);

#endif
