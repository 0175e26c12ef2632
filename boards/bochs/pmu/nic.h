// SPDX-License-Identifier: BSD-2-Clause
#ifndef LVMM_NIC_H
#define LVMM_NIC_H

void nic_initialize(void);

#endif
