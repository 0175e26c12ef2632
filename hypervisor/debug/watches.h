/* Watchpoints by EPT permission, for when the debug registers are used up or cannot express one. */
#ifndef LVMM_DEBUG_WATCHES_H
#define LVMM_DEBUG_WATCHES_H

#include "core/vcpu.h"

/* A watched range, or what one page holds of it. */
struct watch {
    u32 id;
    u8 kind; /* enum link_breakpoint_kind, for data */
    u32 length;
    u64 linear, gpa; /* of its first byte */
};

struct watch_hit {
    u32 id;      /* 0: none */
    u64 address; /* linear, of the first byte of the range that was accessed */
};

/* ERR_FAULT where not all of the range is mapped RAM; ERR_NO_SPACE; ERR_UNSUPPORTED. */
int watch_set(const struct vcpu *vcpu, u32 id, u8 kind, u64 linear, u32 length);
void watch_clear(u32 id);

/* Bytes that the instruction at RIP accesses, as far as it is one that the monitor knows; else 8.
 */
u8 watch_access_size(const struct vcpu *vcpu);

bool watches_on(u64 gpa);
/* What EPT may allow on a page. */
unsigned int watches_permissions(u64 gpa);

/* An instruction that made this access is to be executed with the page open. */
void watches_access(const struct vcpu *vcpu, const struct exit *exit);
/* After it: what it hit. A write that changes nothing hits only what watches every access. */
struct watch_hit watches_after(void);
/* It is not to be executed now, or it is done. */
void watches_forget(void);

/* What a write of the monitor's, which is not done yet, hits. */
struct watch_hit watch_written(const struct watch *watch, u64 gpa, const u8 *data, u64 size);
struct watch_hit watches_written(u64 gpa, const u8 *data, u64 size);

#endif
