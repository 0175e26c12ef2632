/* Fixed-width types and small helpers shared by the monitor and its host-built tests. */
#ifndef LVMM_LIB_TYPES_H
#define LVMM_LIB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define ARRAY_SIZE(a)  (sizeof(a) / sizeof((a)[0]))
#define BIT(n)         (1ULL << (n))
#define ALIGN_UP(x, a) (-(-(u64)(x) & -(u64)(a))) /* `a` is a power of two */
#define PAGE_SIZE      4096ULL
#define PAGE_MASK      (PAGE_SIZE - 1)

/* Errors are negative values returned upward; 0 or a positive value is success. */
enum lvmm_error {
    ERR_INVALID = -1,   /* malformed input (instruction, log, header) */
    ERR_TRUNCATED = -2, /* input ends too early */
    ERR_UNSUPPORTED = -3,
    ERR_NO_SPACE = -4,
    ERR_FAULT = -5,    /* guest address not mapped or not RAM */
    ERR_CHECKSUM = -6, /* CRC mismatch */
    ERR_VERSION = -7,  /* format version of another lvmm */
    ERR_END = -8,      /* no more data */
};

/* The general registers in the order of their x86 encoding (SDM vol. 2, table 2-2). */
enum gpr {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_R9,
    GPR_R10,
    GPR_R11,
    GPR_R12,
    GPR_R13,
    GPR_R14,
    GPR_R15,
    GPR_COUNT,
};

#endif
