/* The instruction that the guest is at, decoded. */
#ifndef LVMM_CORE_GUEST_INSN_H
#define LVMM_CORE_GUEST_INSN_H

#include "core/decode.h"
#include "core/vcpu.h"

/* Valid until the next call; NULL where it cannot be fetched or decoded. Drivers access their
 * device from a few places again and again: what was decoded there is used again where the page
 * tables' entries and the instruction's bytes still are what they were. */
const struct insn *guest_insn(const struct vcpu *vcpu);

#endif
