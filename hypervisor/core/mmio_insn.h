/* Completes a decoded instruction whose memory operand is a device: what the CPU would have done.
 */
#ifndef LVMM_CORE_MMIO_INSN_H
#define LVMM_CORE_MMIO_INSN_H

#include "core/decode.h"

/* The device accesses that the instruction (one iteration of it, with REP) needs. */
struct mmio_op {
    bool read;
    bool write; /* after the read where there are both; always done, as CMPXCHG does on a bus */
    u8 size;    /* bytes */
};

/* Of MOVS one side is usually RAM: the caller tells by the addresses below which one it is. */
struct mmio_op mmio_insn_op(const struct insn *insn);

/* Linear addresses of one iteration of a string instruction. */
struct string_addresses {
    bool has_source;      /* [seg:RSI]: MOVS, LODS */
    bool has_destination; /* [ES:RDI]: MOVS, STOS, SCAS */
    u64 source;
    u64 destination;
};

/*
 * gpr[GPR_COUNT] and segment_base[SEGMENT_COUNT] as before the instruction.
 * Returns ERR_INVALID when insn is no string instruction.
 */
int mmio_insn_string_addresses(const struct insn *insn, const u64 *gpr, const u64 *segment_base,
                               struct string_addresses *out);

/* True when this is a REP whose count is 0: nothing is accessed; mmio_insn_complete() skips it. */
bool mmio_insn_is_empty_rep(const struct insn *insn, const u64 *gpr);

/*
 * Executes insn with the value that its memory operand held (the low size bytes of value_read;
 * ignored when nothing is read): updates gpr[GPR_COUNT], rflags and rip, and stores in
 * value_to_write (zero-extended) what goes to memory when mmio_insn_op() says write.
 * One call is one iteration of a REP: rip moves on at the last one only, and between iterations
 * RF is set, as in the image that an interrupt there would push; after a completed instruction
 * RF is clear. The caller still has to end an interrupt shadow and to raise the single-step trap
 * when TF is set. Flags that the SDM leaves undefined become what Intel CPUs make of them: AF is
 * cleared by AND, OR, XOR and TEST; BT, BTS, BTR and BTC change CF alone.
 * Returns 0, or ERR_UNSUPPORTED with nothing changed when insn did not come from decode().
 */
int mmio_insn_complete(const struct insn *insn, u64 *gpr, u64 *rflags, u64 *rip, u64 value_read,
                       u64 *value_to_write);

#endif
