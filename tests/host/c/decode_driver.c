/*
 * Test driver for core/decode.c and core/mmio_insn.c: reads binary records from standard input and
 * writes one binary record for each to standard output; tests/host/insn_driver.py has the layouts.
 *
 *   decode_driver decode    decodes each instruction
 *   decode_driver run       executes each instruction with mmio_insn_complete() on a memory block,
 *                           and, where the record asks for it, on the CPU itself
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/decode.h"
#include "core/mmio_insn.h"

#define MEMORY_SIZE 256

/* Fixed addresses below 2 GiB, so that 32-bit addresses and displacements reach all of it. */
#define STATE_ADDRESS 0x30000000
#define CODE_PAGE     0x20000000UL
#define CODE_ADDRESS  0x20000800UL

struct decode_request {
    u8 mode;
    u8 length;
    u8 bytes[INSN_MAX_LENGTH];
};

struct decode_reply {
    s32 error;
    u64 immediate;
    u8 length, mode, operation, operands, size, reg, reg_size, addr_size, segment, rep;
    u8 reg_high, lock, reads_memory, writes_memory;
};

struct run_request {
    u8 mode;
    u8 native;
    u8 length;
    u8 bytes[INSN_MAX_LENGTH];
    u64 gpr[GPR_COUNT];
    u64 rflags;
    u64 rip;
    u64 address; /* linear, of the memory operand; unused for string instructions */
    u64 segment_base[SEGMENT_COUNT];
    u64 memory_base; /* linear, of the first byte of memory */
    u8 memory[MEMORY_SIZE];
};

struct machine {
    u64 gpr[GPR_COUNT];
    u64 rflags;
    u64 rip;
    u8 memory[MEMORY_SIZE];
};

struct run_reply {
    s32 error;
    struct machine emulated;
    struct machine native;
};

/* run_native below knows these offsets. */
struct native_state {
    u64 gpr[GPR_COUNT];
    u64 rflags;
    u64 host_rsp;
    u64 entry;
    u64 exit;
};

static int decode_exactly(const u8 *bytes, size_t n, enum decode_mode mode, struct insn *insn)
{
    /* A block of its own for the sanitizer to guard: decode() must not look beyond it. */
    u8 *copy = malloc(n ? n : 1);
    int error;

    if (!copy)
        abort();
    memcpy(copy, bytes, n);
    error = decode(copy, n, mode, insn);
    free(copy);
    return error;
}

static void decode_one(const struct decode_request *request, struct decode_reply *reply)
{
    struct insn insn;

    memset(reply, 0, sizeof(*reply));
    reply->error = decode_exactly(request->bytes, request->length, request->mode, &insn);
    if (reply->error)
        return;
    *reply = (struct decode_reply){
        .immediate = insn.immediate,
        .length = insn.length,
        .mode = insn.mode,
        .operation = insn.operation,
        .operands = insn.operands,
        .size = insn.size,
        .reg = insn.reg,
        .reg_size = insn.reg_size,
        .addr_size = insn.addr_size,
        .segment = insn.segment,
        .rep = insn.rep,
        .reg_high = insn.reg_high,
        .lock = insn.lock,
        .reads_memory = insn.reads_memory,
        .writes_memory = insn.writes_memory,
    };
}

static u8 *memory_at(struct machine *machine, u64 base, u64 address, u8 size)
{
    if (address < base || address - base > (u64)MEMORY_SIZE - size)
        return NULL;
    return machine->memory + (address - base);
}

/* One iteration. The device side of MOVS is its source; the destination is found by its address. */
static int emulate_once(const struct run_request *request, const struct insn *insn,
                        struct machine *machine)
{
    struct mmio_op op = mmio_insn_op(insn);
    u64 read_address = request->address;
    u64 write_address = request->address;
    u64 value_read = 0, value_to_write = 0;
    u8 *target = NULL;
    u8 *source;

    if (insn->operands == OPERANDS_STRING) {
        struct string_addresses addresses;
        int error =
            mmio_insn_string_addresses(insn, machine->gpr, request->segment_base, &addresses);

        if (error)
            return error;
        read_address = addresses.has_source ? addresses.source : addresses.destination;
        write_address = addresses.destination;
    }
    if (mmio_insn_is_empty_rep(insn, machine->gpr))
        op.read = op.write = false;
    if (op.read) {
        source = memory_at(machine, request->memory_base, read_address, op.size);
        if (!source)
            return ERR_FAULT;
        memcpy(&value_read, source, op.size);
    }
    if (op.write) {
        target = memory_at(machine, request->memory_base, write_address, op.size);
        if (!target)
            return ERR_FAULT;
    }
    /* Rubbish above the operand, which must not matter. */
    if (op.size < 8)
        value_read |= 0xa5a5a5a5a5a5a5a5ULL << (8 * op.size);
    int error = mmio_insn_complete(insn, machine->gpr, &machine->rflags, &machine->rip, value_read,
                                   &value_to_write);
    if (error)
        return error;
    if (target)
        memcpy(target, &value_to_write, op.size);
    return 0;
}

static int emulate(const struct run_request *request, struct machine *machine)
{
    struct insn insn;
    int error = decode_exactly(request->bytes, request->length, request->mode, &insn);

    while (!error && machine->rip == request->rip)
        error = emulate_once(request, &insn, machine);
    return error;
}

/* Loads the registers at STATE_ADDRESS, jumps to entry, and comes back through exit. */
__asm__(".text\n"
        ".intel_syntax noprefix\n"
        "run_native:\n"
        "    push rbx\n    push rbp\n    push r12\n    push r13\n    push r14\n    push r15\n"
        "    mov ds:[0x30000088], rsp\n"
        "    lea rax, [rip + native_exit]\n"
        "    mov ds:[0x30000098], rax\n"
        "    push qword ptr ds:[0x30000080]\n"
        "    popfq\n"
        "    mov rax, ds:[0x30000000]\n    mov rcx, ds:[0x30000008]\n"
        "    mov rdx, ds:[0x30000010]\n    mov rbx, ds:[0x30000018]\n"
        "    mov rsp, ds:[0x30000020]\n    mov rbp, ds:[0x30000028]\n"
        "    mov rsi, ds:[0x30000030]\n    mov rdi, ds:[0x30000038]\n"
        "    mov r8,  ds:[0x30000040]\n    mov r9,  ds:[0x30000048]\n"
        "    mov r10, ds:[0x30000050]\n    mov r11, ds:[0x30000058]\n"
        "    mov r12, ds:[0x30000060]\n    mov r13, ds:[0x30000068]\n"
        "    mov r14, ds:[0x30000070]\n    mov r15, ds:[0x30000078]\n"
        "    jmp qword ptr ds:[0x30000090]\n"
        "native_exit:\n"
        "    mov ds:[0x30000000], rax\n    mov ds:[0x30000008], rcx\n"
        "    mov ds:[0x30000010], rdx\n    mov ds:[0x30000018], rbx\n"
        "    mov ds:[0x30000020], rsp\n    mov ds:[0x30000028], rbp\n"
        "    mov ds:[0x30000030], rsi\n    mov ds:[0x30000038], rdi\n"
        "    mov ds:[0x30000040], r8\n    mov ds:[0x30000048], r9\n"
        "    mov ds:[0x30000050], r10\n    mov ds:[0x30000058], r11\n"
        "    mov ds:[0x30000060], r12\n    mov ds:[0x30000068], r13\n"
        "    mov ds:[0x30000070], r14\n    mov ds:[0x30000078], r15\n"
        "    mov rsp, ds:[0x30000088]\n"
        "    pushfq\n"
        "    pop qword ptr ds:[0x30000080]\n"
        "    cld\n"
        "    pop r15\n    pop r14\n    pop r13\n    pop r12\n    pop rbp\n    pop rbx\n"
        "    ret\n"
        ".att_syntax\n");
void run_native(void);

static void map_at(u64 address, int protection)
{
    void *wanted = (void *)address;

    if (mmap(wanted, PAGE_SIZE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
             0) != wanted) {
        perror("mmap");
        exit(2);
    }
}

/* request->memory_base must be in the page at MEMORY_PAGE, and rip be CODE_ADDRESS. */
#define MEMORY_PAGE 0x10000000UL

static void execute_natively(const struct run_request *request, struct machine *machine)
{
    struct native_state *state = (struct native_state *)STATE_ADDRESS;
    u8 *memory = (u8 *)request->memory_base;
    u8 *code = (u8 *)CODE_ADDRESS;
    const u8 jump_to_exit[] = {0xff, 0x24, 0x25, 0x98, 0x00, 0x00, 0x30};

    if ((request->memory_base & ~PAGE_MASK) != MEMORY_PAGE || request->rip != CODE_ADDRESS)
        exit(2);
    memcpy(memory, request->memory, MEMORY_SIZE);
    memcpy(code, request->bytes, request->length);
    memcpy(code + request->length, jump_to_exit, sizeof(jump_to_exit));
    memcpy(state->gpr, request->gpr, sizeof(state->gpr));
    state->rflags = request->rflags;
    state->entry = CODE_ADDRESS;
    run_native();
    memcpy(machine->gpr, state->gpr, sizeof(machine->gpr));
    machine->rflags = state->rflags;
    machine->rip = CODE_ADDRESS + request->length;
    memcpy(machine->memory, memory, MEMORY_SIZE);
}

static void run_one(const struct run_request *request, struct run_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    memcpy(reply->emulated.gpr, request->gpr, sizeof(request->gpr));
    memcpy(reply->emulated.memory, request->memory, MEMORY_SIZE);
    reply->emulated.rflags = request->rflags;
    reply->emulated.rip = request->rip;
    reply->error = emulate(request, &reply->emulated);
    if (request->native)
        execute_natively(request, &reply->native);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "decode") == 0) {
        struct decode_request request;
        struct decode_reply reply;

        while (fread(&request, sizeof(request), 1, stdin) == 1) {
            decode_one(&request, &reply);
            fwrite(&reply, sizeof(reply), 1, stdout);
        }
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "run") == 0) {
        struct run_request request;
        struct run_reply reply;

        map_at(STATE_ADDRESS, PROT_READ | PROT_WRITE);
        map_at(CODE_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
        map_at(MEMORY_PAGE, PROT_READ | PROT_WRITE);
        while (fread(&request, sizeof(request), 1, stdin) == 1) {
            run_one(&request, &reply);
            fwrite(&reply, sizeof(reply), 1, stdout);
        }
        return 0;
    }
    fprintf(stderr, "usage: decode_driver decode|run\n");
    return 2;
}
