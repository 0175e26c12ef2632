/* Completes a decoded instruction whose memory operand is a device. */
#include "core/mmio_insn.h"

/* RFLAGS (SDM vol. 1, section 3.4.3). */
enum flag {
    FLAG_CF = 1 << 0,
    FLAG_PF = 1 << 2,
    FLAG_AF = 1 << 4,
    FLAG_ZF = 1 << 6,
    FLAG_SF = 1 << 7,
    FLAG_DF = 1 << 10,
    FLAG_OF = 1 << 11,
    FLAG_RF = 1 << 16,
};

#define FLAGS_STATUS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

static u64 size_mask(unsigned size)
{
    return size == 8 ? ~0ULL : BIT(8 * size) - 1;
}

static u64 sign_bit(unsigned size)
{
    return BIT(8 * size - 1);
}

static u64 sign_extend(u64 value, unsigned size)
{
    return ((value & size_mask(size)) ^ sign_bit(size)) - sign_bit(size);
}

static u64 byte_swap(u64 value, unsigned size)
{
    u64 swapped = 0;

    for (unsigned i = 0; i < size; i++)
        swapped |= (value >> (8 * i) & 0xff) << (8 * (size - 1 - i));
    return swapped;
}

/* SDM vol. 1, section 3.4.1.1: 32-bit results are zero-extended, smaller ones merged. */
static void write_gpr(u64 *gpr, unsigned size, u64 value)
{
    u64 mask = size_mask(size);

    *gpr = (size == 4 ? 0 : *gpr & ~mask) | (value & mask);
}

static u64 read_register(const struct insn *insn, const u64 *gpr)
{
    return gpr[insn->reg] >> (insn->reg_high ? 8 : 0) & size_mask(insn->reg_size);
}

static void write_register(const struct insn *insn, u64 *gpr, u64 value)
{
    if (insn->reg_high)
        gpr[insn->reg] = (gpr[insn->reg] & ~0xff00ULL) | (value & 0xff) << 8;
    else
        write_gpr(&gpr[insn->reg], insn->reg_size, value);
}

static void set_flag(u64 *rflags, u64 flag, bool on)
{
    *rflags = on ? *rflags | flag : *rflags & ~flag;
}

static bool even_parity(u8 byte)
{
    byte ^= byte >> 4;
    byte ^= byte >> 2;
    byte ^= byte >> 1;
    return !(byte & 1);
}

static void set_result_flags(u64 *rflags, unsigned size, u64 result)
{
    set_flag(rflags, FLAG_ZF, (result & size_mask(size)) == 0);
    set_flag(rflags, FLAG_SF, result & sign_bit(size));
    set_flag(rflags, FLAG_PF, even_parity((u8)result));
}

/* a + b + carry. Bit n of carries is the carry out of bit n. */
static u64 add(u64 *rflags, unsigned size, u64 a, u64 b, bool carry)
{
    u64 result = a + b + carry;
    u64 carries = (a & b) | ((a | b) & ~result);

    set_flag(rflags, FLAG_CF, carries & sign_bit(size));
    set_flag(rflags, FLAG_AF, carries & 8);
    set_flag(rflags, FLAG_OF, (a ^ result) & (b ^ result) & sign_bit(size));
    set_result_flags(rflags, size, result);
    return result;
}

/* a - b - borrow */
static u64 subtract(u64 *rflags, unsigned size, u64 a, u64 b, bool borrow)
{
    u64 result = a - b - borrow;
    u64 borrows = (~a & b) | (~(a ^ b) & result);

    set_flag(rflags, FLAG_CF, borrows & sign_bit(size));
    set_flag(rflags, FLAG_AF, borrows & 8);
    set_flag(rflags, FLAG_OF, (a ^ b) & (a ^ result) & sign_bit(size));
    set_result_flags(rflags, size, result);
    return result;
}

static u64 logical(u64 *rflags, unsigned size, u64 result)
{
    *rflags &= ~(u64)(FLAG_CF | FLAG_AF | FLAG_OF);
    set_result_flags(rflags, size, result);
    return result;
}

/* INC and DEC leave CF alone. */
static u64 step(u64 *rflags, unsigned size, u64 value, bool down)
{
    u64 carry = *rflags & FLAG_CF;
    u64 result =
        down ? subtract(rflags, size, value, 1, false) : add(rflags, size, value, 1, false);

    set_flag(rflags, FLAG_CF, carry);
    return result;
}

/* The result of destination OP source, and its flags. CMP and TEST only need the flags. */
static u64 arithmetic(enum insn_operation operation, u64 *rflags, unsigned size, u64 destination,
                      u64 source)
{
    bool carry = *rflags & FLAG_CF;

    switch (operation) {
    case INSN_ADD:
    case INSN_XADD:
        return add(rflags, size, destination, source, false);
    case INSN_ADC:
        return add(rflags, size, destination, source, carry);
    case INSN_SBB:
        return subtract(rflags, size, destination, source, carry);
    case INSN_SUB:
    case INSN_CMP:
        return subtract(rflags, size, destination, source, false);
    case INSN_AND:
    case INSN_TEST:
        return logical(rflags, size, destination & source);
    case INSN_OR:
        return logical(rflags, size, destination | source);
    default: /* INSN_XOR */
        return logical(rflags, size, destination ^ source);
    }
}

/*
 * The memory operand of a bit test with a register is the unit that holds the bit, so only the
 * bit number within the unit matters here.
 */
static u64 bit_test(enum insn_operation operation, u64 *rflags, unsigned size, u64 value,
                    u64 offset)
{
    u64 bit = BIT(offset & (8 * size - 1));

    set_flag(rflags, FLAG_CF, value & bit);
    switch (operation) {
    case INSN_BTS:
        return value | bit;
    case INSN_BTR:
        return value & ~bit;
    case INSN_BTC:
        return value ^ bit;
    default: /* INSN_BT */
        return value;
    }
}

static u64 compare_exchange(const struct insn *insn, u64 *gpr, u64 *rflags, u64 memory)
{
    u64 accumulator = gpr[GPR_RAX] & size_mask(insn->size);

    subtract(rflags, insn->size, accumulator, memory, false);
    if (accumulator == memory)
        return read_register(insn, gpr);
    write_gpr(&gpr[GPR_RAX], insn->size, memory);
    return memory;
}

/* Operations with a register or an immediate next to memory; returns what memory becomes. */
static u64 execute_two_operands(const struct insn *insn, u64 *gpr, u64 *rflags, u64 memory)
{
    bool to_register = insn->operands == OPERANDS_REG_MEM;
    bool has_register = insn->operands != OPERANDS_MEM_IMM;
    u64 other = has_register ? read_register(insn, gpr) : insn->immediate & size_mask(insn->size);
    u64 result;

    switch (insn->operation) {
    case INSN_MOV:
        result = to_register ? memory : other;
        break;
    case INSN_MOVZX:
        result = memory;
        break;
    case INSN_MOVSX:
        result = sign_extend(memory, insn->size);
        break;
    case INSN_MOVBE:
        result = byte_swap(to_register ? memory : other, insn->size);
        break;
    case INSN_XCHG:
        write_register(insn, gpr, memory);
        return other;
    case INSN_XADD:
        result = arithmetic(INSN_XADD, rflags, insn->size, memory, other);
        write_register(insn, gpr, memory);
        return result;
    case INSN_CMPXCHG:
        return compare_exchange(insn, gpr, rflags, memory);
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        return bit_test(insn->operation, rflags, insn->size, memory, other);
    default:
        result = to_register ? arithmetic(insn->operation, rflags, insn->size, other, memory)
                             : arithmetic(insn->operation, rflags, insn->size, memory, other);
        if (insn->operation == INSN_CMP || insn->operation == INSN_TEST)
            return memory;
        break;
    }
    if (to_register)
        write_register(insn, gpr, result);
    return result;
}

static u64 execute_one_operand(const struct insn *insn, u64 *rflags, u64 memory)
{
    switch (insn->operation) {
    case INSN_NOT:
        return ~memory;
    case INSN_NEG:
        return subtract(rflags, insn->size, 0, memory, false);
    default: /* INSN_INC, INSN_DEC */
        return step(rflags, insn->size, memory, insn->operation == INSN_DEC);
    }
}

static bool uses_source(const struct insn *insn)
{
    return insn->operation == INSN_MOVS || insn->operation == INSN_LODS;
}

static u64 execute_string(const struct insn *insn, u64 *gpr, u64 *rflags, u64 memory)
{
    u64 stride = *rflags & FLAG_DF ? -(u64)insn->size : insn->size;
    u64 accumulator = gpr[GPR_RAX] & size_mask(insn->size);

    if (insn->operation == INSN_LODS)
        write_gpr(&gpr[GPR_RAX], insn->size, memory);
    if (insn->operation == INSN_SCAS)
        subtract(rflags, insn->size, accumulator, memory, false);
    if (uses_source(insn))
        write_gpr(&gpr[GPR_RSI], insn->addr_size, gpr[GPR_RSI] + stride);
    if (insn->operation != INSN_LODS)
        write_gpr(&gpr[GPR_RDI], insn->addr_size, gpr[GPR_RDI] + stride);
    return insn->operation == INSN_MOVS ? memory : accumulator;
}

static u64 rep_count(const struct insn *insn, const u64 *gpr)
{
    return gpr[GPR_RCX] & size_mask(insn->addr_size);
}

/* Counts an iteration; true when another one follows. */
static bool repeat(const struct insn *insn, u64 *gpr, u64 rflags)
{
    if (insn->rep == REP_NONE)
        return false;
    write_gpr(&gpr[GPR_RCX], insn->addr_size, gpr[GPR_RCX] - 1);
    if (insn->operation == INSN_SCAS && !(rflags & FLAG_ZF) != (insn->rep == REP_F2))
        return false;
    return rep_count(insn, gpr) != 0;
}

/*
 * Outside 64-bit mode the instruction pointer has 32 bits. That holds for 16-bit code as well: an
 * IP above FFFFH is not wrapped but stopped by the segment limit.
 */
static u64 next_rip(const struct insn *insn, u64 rip)
{
    rip += insn->length;
    return insn->mode == DECODE_64 ? rip : rip & size_mask(4);
}

struct mmio_op mmio_insn_op(const struct insn *insn)
{
    return (struct mmio_op){
        .read = insn->reads_memory, .write = insn->writes_memory, .size = insn->size};
}

static u64 linear_address(const struct insn *insn, u64 base, u64 offset)
{
    u64 address = base + (offset & size_mask(insn->addr_size));

    return insn->mode == DECODE_64 ? address : address & size_mask(4);
}

int mmio_insn_string_addresses(const struct insn *insn, const u64 *gpr, const u64 *segment_base,
                               struct string_addresses *out)
{
    u8 segment = insn->segment == SEGMENT_NONE ? SEGMENT_DS : insn->segment;
    bool flat = insn->mode == DECODE_64;

    if (insn->operands != OPERANDS_STRING)
        return ERR_INVALID;
    *out = (struct string_addresses){
        .has_source = uses_source(insn),
        .has_destination = insn->operation != INSN_LODS,
    };
    /* In 64-bit mode only FS and GS have a base (SDM vol. 1, section 3.4.4). */
    if (out->has_source)
        out->source = linear_address(insn, flat && segment < SEGMENT_FS ? 0 : segment_base[segment],
                                     gpr[GPR_RSI]);
    if (out->has_destination)
        out->destination = linear_address(insn, flat ? 0 : segment_base[SEGMENT_ES], gpr[GPR_RDI]);
    return 0;
}

bool mmio_insn_is_empty_rep(const struct insn *insn, const u64 *gpr)
{
    return insn->rep != REP_NONE && rep_count(insn, gpr) == 0;
}

int mmio_insn_complete(const struct insn *insn, u64 *gpr, u64 *rflags, u64 *rip, u64 value_read,
                       u64 *value_to_write)
{
    u64 memory = value_read & size_mask(insn->size);
    u64 result = 0;
    bool again = false;

    switch (insn->operands) {
    case OPERANDS_MEM:
        result = execute_one_operand(insn, rflags, memory);
        break;
    case OPERANDS_MEM_REG:
    case OPERANDS_REG_MEM:
    case OPERANDS_MEM_IMM:
        result = execute_two_operands(insn, gpr, rflags, memory);
        break;
    case OPERANDS_STRING:
        if (!mmio_insn_is_empty_rep(insn, gpr)) {
            result = execute_string(insn, gpr, rflags, memory);
            again = repeat(insn, gpr, *rflags);
        }
        break;
    default:
        return ERR_UNSUPPORTED;
    }
    if (insn->writes_memory)
        *value_to_write = result & size_mask(insn->size);
    set_flag(rflags, FLAG_RF, again);
    if (!again)
        *rip = next_rip(insn, *rip);
    return 0;
}
