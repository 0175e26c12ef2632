/* Decoder for the instructions with which guests access memory-mapped I/O (SDM vol. 2). */
#ifndef LVMM_CORE_DECODE_H
#define LVMM_CORE_DECODE_H

#include "lib/types.h"

/* SDM vol. 2, section 2.3.11: a longer instruction raises #GP. */
#define INSN_MAX_LENGTH 15

/* Default operand and address size: CS.L = 1 is DECODE_64, else CS.D selects 32 or 16. */
enum decode_mode {
    DECODE_16,
    DECODE_32,
    DECODE_64,
};

enum insn_operation {
    INSN_MOV, /* also MOVNTI */
    INSN_MOVZX,
    INSN_MOVSX, /* also MOVSXD */
    INSN_MOVBE,
    INSN_ADD,
    INSN_OR,
    INSN_ADC,
    INSN_SBB,
    INSN_AND,
    INSN_SUB,
    INSN_XOR,
    INSN_CMP,
    INSN_TEST,
    INSN_NOT,
    INSN_NEG,
    INSN_INC,
    INSN_DEC,
    INSN_XCHG,
    INSN_XADD,
    INSN_CMPXCHG,
    INSN_BT,
    INSN_BTS,
    INSN_BTR,
    INSN_BTC,
    INSN_MOVS,
    INSN_STOS,
    INSN_LODS,
    INSN_SCAS,
};

/* Destination first, as in the manual. */
enum insn_operands {
    OPERANDS_MEM,     /* NOT, NEG, INC, DEC */
    OPERANDS_MEM_REG, /* memory is the destination (or the first operand of CMP, TEST, BT) */
    OPERANDS_REG_MEM,
    OPERANDS_MEM_IMM,
    OPERANDS_STRING, /* the operands are [RSI], [RDI] and the accumulator, by operation */
};

enum insn_rep {
    REP_NONE,
    REP_F3, /* REP, REPE */
    REP_F2, /* REPNE; plain REP for MOVS, STOS and LODS */
};

/* In the order of their encoding (SDM vol. 2, table B-8); SEGMENT_NONE is "no override". */
enum segment {
    SEGMENT_ES,
    SEGMENT_CS,
    SEGMENT_SS,
    SEGMENT_DS,
    SEGMENT_FS,
    SEGMENT_GS,
    SEGMENT_COUNT,
    SEGMENT_NONE = SEGMENT_COUNT,
};

struct insn {
    u64 immediate; /* sign-extended to 64 bits; a bit number for 0F BA */
    u8 length;     /* bytes, 1..15 */
    u8 mode;       /* enum decode_mode */
    u8 operation;  /* enum insn_operation */
    u8 operands;   /* enum insn_operands */
    u8 size;       /* bytes of one memory access: 1, 2, 4 or 8 */
    u8 reg;        /* enum gpr: the register operand, where there is one */
    u8 reg_size;   /* bytes of the register operand; above size for MOVZX, MOVSX, MOVSXD */
    u8 addr_size;  /* bytes of an address: 2, 4 or 8 */
    u8 segment;    /* enum segment: the override that is in effect */
    u8 rep;        /* enum insn_rep; REP_NONE for all but string operations */
    bool reg_high; /* reg 0..3 means AH, CH, DH, BH */
    bool lock;     /* LOCK prefix, or XCHG */
    bool reads_memory;
    bool writes_memory;
};

/*
 * Decodes the instruction at bytes, of which n are valid.
 * Returns 0, ERR_TRUNCATED (more bytes are needed), ERR_INVALID (the CPU raises an exception:
 * too long, LOCK where it is not allowed) or ERR_UNSUPPORTED (anything not listed above, and
 * the listed ones without a memory operand). out is defined only after 0.
 */
int decode(const u8 *bytes, size_t n, enum decode_mode mode, struct insn *out);

#endif
