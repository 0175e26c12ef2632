/* A recording that does not begin with the guest's start carries what the guest was then: BEGIN and
 * RAM_PAGE events, in front of all others. */
#ifndef LVMM_REPLAY_SNAPSHOT_H
#define LVMM_REPLAY_SNAPSHOT_H

#include "core/vcpu.h"

/* Bytes that snapshot_record() would log at most. */
u64 snapshot_size(void);
/* Record: logs CPU and memory as they are now. ERR_UNSUPPORTED with nothing logged where this CPU
 * has too much state; after another error the session has ended. */
int snapshot_record(struct vcpu *vcpu);

/* Replay: whether the recording has such a beginning. */
bool snapshot_recorded(void);
/* Replay: makes it the guest's state. Guest RAM is all zeros before. ERR_INVALID, told, where it is
 * damaged or not for this machine. */
int snapshot_restore(struct vcpu *vcpu);

/* CRC-32C of all pages of guest memory, in the order of their addresses; those that the guest has
 * not got count for nothing. */
u32 snapshot_memory_crc(void);

#endif
