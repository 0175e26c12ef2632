/* A log that an earlier run left in the log region, and that nobody may have saved yet. */
#ifndef LVMM_BOOT_UNSAVED_LOG_H
#define LVMM_BOOT_UNSAVED_LOG_H

#include "boot/multiboot2.h"

/* Looks before anything is written to the log region: true where there is no log, or where the
 * monitor's command line allows to overwrite this one (`overwrite=ID` or `overwrite=any`). Where
 * not, says what is there and what to do. */
bool unsaved_log_region_is_free(const struct boot_info *boot);

#endif
