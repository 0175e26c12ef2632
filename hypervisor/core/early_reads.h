/* Finds where the guest reads a buffer that a device owns and may be writing to: a bug that shows
 * only sometimes on real hardware. While recording, pages with such buffers cannot be read in EPT;
 * an access to one exits, is looked at, and is carried out as one to a watched page is. */
#ifndef LVMM_CORE_EARLY_READS_H
#define LVMM_CORE_EARLY_READS_H

#include "core/vcpu.h"

/* Before devices are set up: whether early reads are to be found at all. */
void early_reads_init(bool wanted);
bool early_reads_wanted(void);

/* The device with this stream owns a buffer from now on, or no more. */
void early_reads_own(u8 stream, u64 gpa, u32 len, bool owned);

/* Whether a device owns a buffer on the page, and what EPT may allow there. */
bool early_reads_on(u64 gpa);
unsigned int early_reads_permissions(u64 gpa);

/* The guest's access to such a page: logged, if it reads an owned buffer. Each buffer once, until a
 * device owns it again. */
void early_reads_access(struct vcpu *vcpu, const struct exit *exit);

/* Prints what there was on the monitor's line. */
void early_reads_report(void);

#endif
