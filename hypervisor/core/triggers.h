/* What begins and ends a recording by itself: a text on the guest's console, or bytes in a packet
 * that a device has received. */
#ifndef LVMM_CORE_TRIGGERS_H
#define LVMM_CORE_TRIGGERS_H

#include "core/vcpu.h"

/* Reads the words of the monitor's command line; says what is wrong with one, ERR_INVALID. */
int triggers_init(const char *line);
/* Whether a trigger is to begin the recording. */
bool triggers_start(void);

/* A byte of the guest's console output. */
void triggers_console(u8 byte);
/* What a device has received, before the guest can see it: the recording may begin right here. */
void triggers_packet(struct vcpu *vcpu, const u8 *data, u32 size);
/* Does what is due, between two instructions of the guest. */
void triggers_boundary(struct vcpu *vcpu);

#endif
