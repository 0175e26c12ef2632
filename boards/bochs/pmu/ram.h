// SPDX-License-Identifier: BSD-2-Clause
// Guest RAM as a shared file: offset N of the file is physical address N.
#ifndef LVMM_RAM_H
#define LVMM_RAM_H

void ram_initialize(void);

#endif
