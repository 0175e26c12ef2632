/* Decoder for the instructions with which guests access memory-mapped I/O (SDM vol. 2). */
#include "core/decode.h"

struct prefixes {
    u8 rex; /* 0 when there is none */
    u8 rep; /* enum insn_rep: the last of F2 and F3 */
    u8 segment;
    bool operand_size;
    bool address_size;
    bool lock;
};

enum rex_bits {
    REX_B = 1,
    REX_R = 4,
    REX_W = 8,
};

/* The bytes not yet consumed. A failed fetch sets error and yields 0 from then on. */
struct cursor {
    const u8 *bytes;
    size_t n;
    size_t position;
    int error;
};

static u64 fetch(struct cursor *cursor, unsigned size)
{
    u64 value = 0;

    if (cursor->error)
        return 0;
    if (cursor->position + size > INSN_MAX_LENGTH) {
        cursor->error = ERR_INVALID;
        return 0;
    }
    if (cursor->position + size > cursor->n) {
        cursor->error = ERR_TRUNCATED;
        return 0;
    }
    for (unsigned i = 0; i < size; i++)
        value |= (u64)cursor->bytes[cursor->position++] << (8 * i);
    return value;
}

static u64 fetch_signed(struct cursor *cursor, unsigned size)
{
    unsigned unused_bits = 64 - 8 * size;

    return (u64)((s64)(fetch(cursor, size) << unused_bits) >> unused_bits);
}

/* In 64-bit mode the other four overrides are null prefixes (SDM vol. 2, section 2.1.1). */
static bool segment_override(u8 byte, enum decode_mode mode, u8 *segment)
{
    switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
        if (mode != DECODE_64)
            *segment = (byte - 0x26) / 8;
        return true;
    case 0x64:
        *segment = SEGMENT_FS;
        return true;
    case 0x65:
        *segment = SEGMENT_GS;
        return true;
    default:
        return false;
    }
}

static bool legacy_prefix(u8 byte, enum decode_mode mode, struct prefixes *prefixes)
{
    switch (byte) {
    case 0x66:
        prefixes->operand_size = true;
        return true;
    case 0x67:
        prefixes->address_size = true;
        return true;
    case 0xf0:
        prefixes->lock = true;
        return true;
    case 0xf2:
        prefixes->rep = REP_F2;
        return true;
    case 0xf3:
        prefixes->rep = REP_F3;
        return true;
    default:
        return segment_override(byte, mode, &prefixes->segment);
    }
}

/* Returns the first opcode byte. A REX that is not the last prefix has no effect. */
static u8 fetch_prefixes(struct cursor *cursor, enum decode_mode mode, struct prefixes *prefixes)
{
    *prefixes = (struct prefixes){.segment = SEGMENT_NONE};
    for (;;) {
        u8 byte = (u8)fetch(cursor, 1);

        if (mode == DECODE_64 && (byte & 0xf0) == 0x40)
            prefixes->rex = byte;
        else if (legacy_prefix(byte, mode, prefixes))
            prefixes->rex = 0;
        else
            return byte;
        if (cursor->error)
            return 0;
    }
}

static u8 operand_size(enum decode_mode mode, const struct prefixes *prefixes)
{
    if (prefixes->rex & REX_W)
        return 8;
    return (mode == DECODE_16) != prefixes->operand_size ? 2 : 4;
}

static u8 address_size(enum decode_mode mode, const struct prefixes *prefixes)
{
    if (mode == DECODE_64)
        return prefixes->address_size ? 4 : 8;
    return (mode == DECODE_16) != prefixes->address_size ? 2 : 4;
}

struct modrm {
    u8 mod;
    u8 reg; /* without REX.R: also the opcode extension of the group opcodes */
    u8 rm;
};

static unsigned displacement_size(const struct modrm *modrm, u8 sib_base, u8 addr_size)
{
    if (modrm->mod == 1)
        return 1;
    if (addr_size == 2)
        return modrm->mod == 2 || modrm->rm == 6 ? 2 : 0;
    if (modrm->mod == 2)
        return 4;
    return modrm->rm == 5 || (modrm->rm == 4 && sib_base == 5) ? 4 : 0;
}

/* Consumes ModRM, SIB and displacement of a memory operand (SDM vol. 2, section 2.1.5). */
static int fetch_modrm(struct cursor *cursor, u8 addr_size, struct modrm *modrm)
{
    u8 byte = (u8)fetch(cursor, 1);
    u8 sib_base = 0;

    *modrm = (struct modrm){byte >> 6, (byte >> 3) & 7, byte & 7};
    if (cursor->error)
        return cursor->error;
    if (modrm->mod == 3)
        return ERR_UNSUPPORTED;
    if (addr_size != 2 && modrm->rm == 4)
        sib_base = fetch(cursor, 1) & 7;
    fetch(cursor, displacement_size(modrm, sib_base, addr_size));
    return cursor->error;
}

enum opcode_map {
    MAP_ONE_BYTE,
    MAP_0F,
    MAP_0F38,
};

enum form_flags {
    OPERATION_BY_OPCODE = 1,    /* INSN_ADD.., numbered by bits 5:3 of the opcode */
    OPERATION_BY_EXTENSION = 2, /* INSN_ADD.., numbered by ModRM.reg */
    ABSOLUTE_ADDRESS = 4,       /* the address follows the opcode, there is no ModRM */
    BYTE_IMMEDIATE = 8,         /* whatever the operand size is */
    NEVER_WORD = 16,            /* the operand size is 4 or 8 bytes, in 16-bit code as well */
};

#define ANY_EXTENSION (-1)

/*
 * The opcodes that match opcode under mask, with that ModRM.reg. Where mask leaves bit 0 out,
 * that bit is 0 for a byte in memory.
 */
struct form {
    u8 map;
    u8 opcode;
    u8 mask;
    s8 extension;
    u8 operation;
    u8 operands;
    u8 flags; /* enum form_flags */
};

#define ANY ANY_EXTENSION
static const struct form forms[] = {
    {MAP_ONE_BYTE, 0x00, 0xc6, ANY, INSN_ADD, OPERANDS_MEM_REG, OPERATION_BY_OPCODE},
    {MAP_ONE_BYTE, 0x02, 0xc6, ANY, INSN_ADD, OPERANDS_REG_MEM, OPERATION_BY_OPCODE},
    {MAP_ONE_BYTE, 0x63, 0xff, ANY, INSN_MOVSX, OPERANDS_REG_MEM, 0},
    {MAP_ONE_BYTE, 0x80, 0xfe, ANY, INSN_ADD, OPERANDS_MEM_IMM, OPERATION_BY_EXTENSION},
    {MAP_ONE_BYTE, 0x82, 0xfe, ANY, INSN_ADD, OPERANDS_MEM_IMM,
     OPERATION_BY_EXTENSION | BYTE_IMMEDIATE},
    {MAP_ONE_BYTE, 0x84, 0xfe, ANY, INSN_TEST, OPERANDS_MEM_REG, 0},
    {MAP_ONE_BYTE, 0x86, 0xfe, ANY, INSN_XCHG, OPERANDS_MEM_REG, 0},
    {MAP_ONE_BYTE, 0x88, 0xfe, ANY, INSN_MOV, OPERANDS_MEM_REG, 0},
    {MAP_ONE_BYTE, 0x8a, 0xfe, ANY, INSN_MOV, OPERANDS_REG_MEM, 0},
    {MAP_ONE_BYTE, 0xa0, 0xfe, ANY, INSN_MOV, OPERANDS_REG_MEM, ABSOLUTE_ADDRESS},
    {MAP_ONE_BYTE, 0xa2, 0xfe, ANY, INSN_MOV, OPERANDS_MEM_REG, ABSOLUTE_ADDRESS},
    {MAP_ONE_BYTE, 0xa4, 0xfe, ANY, INSN_MOVS, OPERANDS_STRING, 0},
    {MAP_ONE_BYTE, 0xaa, 0xfe, ANY, INSN_STOS, OPERANDS_STRING, 0},
    {MAP_ONE_BYTE, 0xac, 0xfe, ANY, INSN_LODS, OPERANDS_STRING, 0},
    {MAP_ONE_BYTE, 0xae, 0xfe, ANY, INSN_SCAS, OPERANDS_STRING, 0},
    {MAP_ONE_BYTE, 0xc6, 0xfe, 0, INSN_MOV, OPERANDS_MEM_IMM, 0},
    {MAP_ONE_BYTE, 0xf6, 0xfe, 0, INSN_TEST, OPERANDS_MEM_IMM, 0},
    {MAP_ONE_BYTE, 0xf6, 0xfe, 1, INSN_TEST, OPERANDS_MEM_IMM, 0}, /* undocumented alias */
    {MAP_ONE_BYTE, 0xf6, 0xfe, 2, INSN_NOT, OPERANDS_MEM, 0},
    {MAP_ONE_BYTE, 0xf6, 0xfe, 3, INSN_NEG, OPERANDS_MEM, 0},
    {MAP_ONE_BYTE, 0xfe, 0xfe, 0, INSN_INC, OPERANDS_MEM, 0},
    {MAP_ONE_BYTE, 0xfe, 0xfe, 1, INSN_DEC, OPERANDS_MEM, 0},
    {MAP_0F, 0xa3, 0xff, ANY, INSN_BT, OPERANDS_MEM_REG, 0},
    {MAP_0F, 0xab, 0xff, ANY, INSN_BTS, OPERANDS_MEM_REG, 0},
    {MAP_0F, 0xb0, 0xfe, ANY, INSN_CMPXCHG, OPERANDS_MEM_REG, 0},
    {MAP_0F, 0xb3, 0xff, ANY, INSN_BTR, OPERANDS_MEM_REG, 0},
    {MAP_0F, 0xb6, 0xfe, ANY, INSN_MOVZX, OPERANDS_REG_MEM, 0},
    {MAP_0F, 0xba, 0xff, 4, INSN_BT, OPERANDS_MEM_IMM, BYTE_IMMEDIATE},
    {MAP_0F, 0xba, 0xff, 5, INSN_BTS, OPERANDS_MEM_IMM, BYTE_IMMEDIATE},
    {MAP_0F, 0xba, 0xff, 6, INSN_BTR, OPERANDS_MEM_IMM, BYTE_IMMEDIATE},
    {MAP_0F, 0xba, 0xff, 7, INSN_BTC, OPERANDS_MEM_IMM, BYTE_IMMEDIATE},
    {MAP_0F, 0xbb, 0xff, ANY, INSN_BTC, OPERANDS_MEM_REG, 0},
    {MAP_0F, 0xbe, 0xfe, ANY, INSN_MOVSX, OPERANDS_REG_MEM, 0},
    {MAP_0F, 0xc0, 0xfe, ANY, INSN_XADD, OPERANDS_MEM_REG, 0},
    {MAP_0F, 0xc3, 0xff, ANY, INSN_MOV, OPERANDS_MEM_REG, NEVER_WORD}, /* MOVNTI */
    {MAP_0F38, 0xf0, 0xff, ANY, INSN_MOVBE, OPERANDS_REG_MEM, 0},
    {MAP_0F38, 0xf1, 0xff, ANY, INSN_MOVBE, OPERANDS_MEM_REG, 0},
};
#undef ANY

/* With ANY_EXTENSION for extension: the first form of that opcode. NULL where there is none. */
static const struct form *find_form(u8 map, u8 opcode, int extension)
{
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        const struct form *form = &forms[i];

        if (form->map == map && (opcode & form->mask) == form->opcode &&
            (extension == ANY_EXTENSION || form->extension == ANY_EXTENSION ||
             form->extension == extension))
            return form;
    }
    return NULL;
}

static u8 fetch_opcode(struct cursor *cursor, u8 first_byte, u8 *map)
{
    u8 opcode = first_byte;

    *map = MAP_ONE_BYTE;
    if (opcode == 0x0f) {
        *map = MAP_0F;
        opcode = (u8)fetch(cursor, 1);
        if (opcode == 0x38) {
            *map = MAP_0F38;
            opcode = (u8)fetch(cursor, 1);
        }
    }
    return opcode;
}

/* Forms that are another instruction, or none, in this mode or with these prefixes. */
static int check_form(const struct form *form, u8 opcode, enum decode_mode mode,
                      const struct prefixes *prefixes)
{
    if (form->map == MAP_ONE_BYTE && opcode == 0x63) {
        /* ARPL outside 64-bit mode; with 66 Intel and AMD differ in how much it reads. */
        if (mode != DECODE_64 || operand_size(mode, prefixes) == 2)
            return ERR_UNSUPPORTED;
    }
    if (form->map == MAP_ONE_BYTE && opcode == 0x82 && mode == DECODE_64)
        return ERR_INVALID;
    if (form->map == MAP_0F && opcode == 0xc3 &&
        (prefixes->rep != REP_NONE || prefixes->operand_size))
        return ERR_UNSUPPORTED;
    if (form->map == MAP_0F38 && prefixes->rep != REP_NONE)
        return ERR_UNSUPPORTED; /* CRC32 */
    return 0;
}

static void set_operation(struct insn *insn, const struct form *form, u8 opcode, u8 extension)
{
    insn->operation = form->operation;
    if (form->flags & OPERATION_BY_OPCODE)
        insn->operation += (opcode >> 3) & 7;
    else if (form->flags & OPERATION_BY_EXTENSION)
        insn->operation += extension;
    insn->operands = form->operands;
}

static void set_memory_access(struct insn *insn)
{
    bool to_memory = insn->operands != OPERANDS_REG_MEM;

    switch (insn->operation) {
    case INSN_MOV:
    case INSN_MOVBE:
        insn->reads_memory = !to_memory;
        insn->writes_memory = to_memory;
        break;
    case INSN_STOS:
        insn->writes_memory = true;
        break;
    case INSN_MOVZX:
    case INSN_MOVSX:
    case INSN_CMP:
    case INSN_TEST:
    case INSN_BT:
    case INSN_LODS:
    case INSN_SCAS:
        insn->reads_memory = true;
        break;
    default:
        insn->reads_memory = true;
        insn->writes_memory = to_memory;
        break;
    }
}

static void set_sizes(struct insn *insn, const struct form *form, u8 opcode, u8 op_size)
{
    bool byte = !(form->mask & 1) && !(opcode & 1);

    if (form->flags & NEVER_WORD && op_size == 2)
        op_size = 4;
    insn->size = byte ? 1 : op_size;
    insn->reg_size = insn->size;
    if (insn->operation == INSN_MOVZX || insn->operation == INSN_MOVSX) {
        insn->reg_size = op_size;
        if (!byte)
            insn->size = form->map == MAP_0F ? 2 : 4;
    }
}

/* SDM vol. 2, section 2.1.5: without REX the byte registers 4 to 7 are AH, CH, DH and BH. */
static void set_register(struct insn *insn, u8 modrm_reg, u8 rex)
{
    insn->reg = modrm_reg | (rex & REX_R ? 8 : 0);
    if (insn->reg_size == 1 && !rex && modrm_reg >= 4) {
        insn->reg = modrm_reg - 4;
        insn->reg_high = true;
    }
}

static u64 fetch_immediate(struct cursor *cursor, const struct form *form, u8 size)
{
    if (form->flags & BYTE_IMMEDIATE)
        return fetch_signed(cursor, 1);
    return fetch_signed(cursor, size == 8 ? 4 : size);
}

/* SDM vol. 2, LOCK: allowed only where memory is read and written; XCHG always locks. */
static int set_lock(struct insn *insn, bool prefix)
{
    if (prefix &&
        (insn->operands == OPERANDS_STRING || !insn->reads_memory || !insn->writes_memory))
        return ERR_INVALID;
    insn->lock = prefix || insn->operation == INSN_XCHG;
    return 0;
}

int decode(const u8 *bytes, size_t n, enum decode_mode mode, struct insn *out)
{
    struct cursor cursor = {.bytes = bytes, .n = n};
    struct prefixes prefixes;
    struct modrm modrm = {0};
    const struct form *form;
    u8 map, opcode;
    int error;

    opcode = fetch_opcode(&cursor, fetch_prefixes(&cursor, mode, &prefixes), &map);
    if (cursor.error)
        return cursor.error;
    form = find_form(map, opcode, ANY_EXTENSION);
    if (!form)
        return ERR_UNSUPPORTED;

    *out = (struct insn){
        .mode = mode,
        .addr_size = address_size(mode, &prefixes),
        .segment = prefixes.segment,
    };
    if (form->flags & ABSOLUTE_ADDRESS) {
        fetch(&cursor, out->addr_size);
    } else if (form->operands != OPERANDS_STRING) {
        error = fetch_modrm(&cursor, out->addr_size, &modrm);
        if (error)
            return error;
        form = find_form(map, opcode, modrm.reg);
        if (!form)
            return ERR_UNSUPPORTED;
    }
    error = check_form(form, opcode, mode, &prefixes);
    if (error)
        return error;

    set_operation(out, form, opcode, modrm.reg);
    set_memory_access(out);
    set_sizes(out, form, opcode, operand_size(mode, &prefixes));
    if (form->operands == OPERANDS_MEM_REG || form->operands == OPERANDS_REG_MEM) {
        /* With an absolute address it is the accumulator, whatever REX says. */
        set_register(out, modrm.reg, form->flags & ABSOLUTE_ADDRESS ? 0 : prefixes.rex);
    }
    if (form->operands == OPERANDS_MEM_IMM)
        out->immediate = fetch_immediate(&cursor, form, out->size);
    if (form->operands == OPERANDS_STRING)
        out->rep = prefixes.rep;
    if (cursor.error)
        return cursor.error;
    out->length = (u8)cursor.position;
    return set_lock(out, prefixes.lock);
}
