// SPDX-License-Identifier: BSD-2-Clause
#ifndef LVMM_LINE_H
#define LVMM_LINE_H

void line_initialize(void);

#endif
