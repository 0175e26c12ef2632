/* The monitor's end of the debug link over a machine of memory, counters and text.
 *
 * Reads commands from stdin: one byte, the length of what follows (u32), and that; answers each on
 * stdout with a length (u32) and that many bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/link.h"

#define MEMORY_BASE  0x10000
#define MEMORY_SIZE  0x4000
#define LOG_SIZE     10000
#define CONSOLE_SIZE 1000
#define CONSOLE_END  2500
#define QUERY_SIZE   9000
#define BREAKPOINTS  4
#define REGISTERS    (LINK_REGISTER_DS_BASE + 1)

enum command {
    COMMAND_LINE,    /* bytes for the link; answer: what it sends */
    COMMAND_RECEIVE, /* bytes for a bare receiver; answer: size (u32), channel, sequence, payload */
    COMMAND_ENCODE,  /* channel, sequence, payload; answer: the frame */
    COMMAND_RESET,   /* the monitor starts again, the machine too */
    COMMAND_MESSAGE, /* text; answer: what the link sends */
    COMMAND_STOP,    /* the guest stops; answer: what the link sends */
    COMMAND_PROBE,   /* answer: struct machine's counters */
};

static struct link monitor_link;
static struct frame_receiver bare;

static struct {
    u8 memory[MEMORY_SIZE];
    u8 fpu[2696];
    u32 fpu_size;
    u64 registers[REGISTERS];
    u32 breakpoint[BREAKPOINTS]; /* length; 0: free */
    struct link_status status;
    u64 steps, writes, resumes, resets; /* how often each was carried out */
    u64 watched;                        /* bytes, by all breakpoints together */
} machine;

static u8 *output;
static size_t output_size, output_room;

static void put(void *context, u8 byte)
{
    (void)context;
    if (output_size == output_room) {
        output_room = 2 * output_room + 4096;
        output = realloc(output, output_room);
        if (output == NULL)
            abort();
    }
    output[output_size++] = byte;
}

static void put_all(const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        put(NULL, ((const u8 *)data)[i]);
}

/* What the console, the log and a query's text hold at an offset. */
static u8 content(u64 offset, u8 salt)
{
    return (u8)('a' + (offset * 7 + offset / 26 + salt) % 26);
}

static void reply_content(struct link_exchange *exchange, u64 offset, u64 end, u32 length, u8 salt)
{
    while (offset < end && exchange->reply_size < length &&
           exchange->reply_size < exchange->reply_room)
        exchange->reply_data[exchange->reply_size++] = content(offset++, salt);
}

static u8 hello(void *context, struct link_exchange *exchange)
{
    struct link_hello_reply *reply = exchange->reply;

    (void)context;
    reply->mode = LINK_MODE_REPLAY;
    memcpy(reply->board, "host", 4);
    memcpy(reply->monitor, "driver", 6);
    return LINK_RESULT_OK;
}

static u8 status(void *context, struct link_exchange *exchange)
{
    (void)context;
    memcpy(exchange->reply, &machine.status, sizeof(machine.status));
    return LINK_RESULT_OK;
}

static u8 resume(void *context, struct link_exchange *exchange)
{
    machine.resumes++;
    machine.status.state = LINK_RUN_STATE_RUNNING;
    return status(context, exchange);
}

static void stop(u8 reason)
{
    machine.status.state = LINK_RUN_STATE_STOPPED;
    machine.status.reason = reason;
    machine.status.stop_count++;
}

static u8 interrupt(void *context, struct link_exchange *exchange)
{
    if (machine.status.state == LINK_RUN_STATE_RUNNING)
        stop(LINK_STOP_REASON_INTERRUPT);
    return status(context, exchange);
}

static u8 step(void *context, struct link_exchange *exchange)
{
    machine.steps++;
    stop(LINK_STOP_REASON_STEP);
    return status(context, exchange);
}

static u8 reset(void *context, struct link_exchange *exchange)
{
    (void)context;
    (void)exchange;
    machine.resets++;
    return LINK_RESULT_OK;
}

static u8 read_registers(void *context, struct link_exchange *exchange)
{
    struct link_registers *reply = exchange->reply;

    (void)context;
    if (machine.status.state == LINK_RUN_STATE_RUNNING)
        return LINK_RESULT_BUSY;
    for (u32 i = 0; i < GPR_COUNT; i++)
        reply->gpr[i] = machine.registers[i];
    reply->rip = machine.registers[LINK_REGISTER_RIP];
    reply->rflags = machine.registers[LINK_REGISTER_RFLAGS];
    reply->dr7 = machine.registers[LINK_REGISTER_DR7];
    return LINK_RESULT_OK;
}

static u8 write_register(void *context, struct link_exchange *exchange)
{
    const struct link_write_register_request *request = exchange->request;

    (void)context;
    if (!(request->flags & LINK_WRITE_FLAG_FORCE)) {
        link_reply_text(exchange, "this would alter the replay");
        return LINK_RESULT_REFUSED;
    }
    if (request->id >= REGISTERS)
        return LINK_RESULT_BAD_REQUEST;
    machine.registers[request->id] = request->value;
    machine.writes++;
    return LINK_RESULT_OK;
}

static u8 read_fpu(void *context, struct link_exchange *exchange)
{
    (void)context;
    ((struct link_read_fpu_reply *)exchange->reply)->xcr0 = 7;
    memcpy(exchange->reply_data, machine.fpu, machine.fpu_size);
    exchange->reply_size = machine.fpu_size;
    return LINK_RESULT_OK;
}

static u8 write_fpu(void *context, struct link_exchange *exchange)
{
    (void)context;
    if (exchange->data_size > sizeof(machine.fpu))
        return LINK_RESULT_BAD_REQUEST;
    memcpy(machine.fpu, exchange->data, exchange->data_size);
    machine.fpu_size = exchange->data_size;
    machine.writes++;
    return LINK_RESULT_OK;
}

static u8 set_breakpoint(void *context, struct link_exchange *exchange)
{
    const struct link_set_breakpoint_request *request = exchange->request;
    struct link_set_breakpoint_reply *reply = exchange->reply;

    (void)context;
    if (request->kind > LINK_BREAKPOINT_KIND_WATCH_STORE) {
        char text[2 * LINK_PAYLOAD_MAX];

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        link_reply_text(exchange, text);
        return LINK_RESULT_BAD_REQUEST;
    }
    for (u32 i = 0; i < BREAKPOINTS; i++) {
        if (machine.breakpoint[i] == 0) {
            machine.breakpoint[i] = request->length;
            machine.watched += request->length;
            reply->id = i + 1;
            return LINK_RESULT_OK;
        }
    }
    return LINK_RESULT_NO_SPACE;
}

static u8 clear_breakpoint(void *context, struct link_exchange *exchange)
{
    const struct link_clear_breakpoint_request *request = exchange->request;

    (void)context;
    if (request->id == 0 || request->id > BREAKPOINTS || machine.breakpoint[request->id - 1] == 0)
        return LINK_RESULT_BAD_REQUEST;
    machine.watched -= machine.breakpoint[request->id - 1];
    machine.breakpoint[request->id - 1] = 0;
    return LINK_RESULT_OK;
}

static u8 clear_all(void *context, struct link_exchange *exchange)
{
    (void)context;
    (void)exchange;
    memset(machine.breakpoint, 0, sizeof(machine.breakpoint));
    machine.watched = 0;
    return LINK_RESULT_OK;
}

static u8 query(void *context, struct link_exchange *exchange)
{
    const struct link_query_request *request = exchange->request;

    (void)context;
    ((struct link_query_reply *)exchange->reply)->total = QUERY_SIZE;
    reply_content(exchange, request->offset, QUERY_SIZE, LINK_DATA_MAX,
                  (u8)(request->kind + request->argument));
    return LINK_RESULT_OK;
}

/* Bytes from `address` on that are memory, up to `length`. */
static u32 accessible(u64 address, u32 length)
{
    u64 offset = address - MEMORY_BASE;

    if (offset >= MEMORY_SIZE)
        return 0;
    return MEMORY_SIZE - offset < length ? (u32)(MEMORY_SIZE - offset) : length;
}

static u8 read_memory(void *context, struct link_exchange *exchange)
{
    const struct link_read_memory_request *request = exchange->request;
    u32 size = accessible(request->address, request->length);

    (void)context;
    if (request->length > LINK_DATA_MAX)
        return LINK_RESULT_BAD_REQUEST;
    if (size != 0)
        memcpy(exchange->reply_data, machine.memory + request->address - MEMORY_BASE, size);
    exchange->reply_size = size;
    return size == request->length ? LINK_RESULT_OK : LINK_RESULT_FAULT;
}

static u8 write_memory(void *context, struct link_exchange *exchange)
{
    const struct link_write_memory_request *request = exchange->request;
    u32 size = accessible(request->address, exchange->data_size);

    (void)context;
    if (size != 0)
        memcpy(machine.memory + request->address - MEMORY_BASE, exchange->data, size);
    ((struct link_write_memory_reply *)exchange->reply)->done = (u16)size;
    machine.writes++;
    return size == exchange->data_size ? LINK_RESULT_OK : LINK_RESULT_FAULT;
}

static u8 memory_map(void *context, struct link_exchange *exchange)
{
    const struct link_memory_range ranges[] = {
        {MEMORY_BASE, MEMORY_BASE + MEMORY_SIZE, LINK_MEMORY_KIND_RAM},
        {0xfee00000, 0xfee01000, LINK_MEMORY_KIND_MMIO},
    };

    (void)context;
    memcpy(exchange->reply_data, ranges, sizeof(ranges));
    exchange->reply_size = sizeof(ranges);
    return LINK_RESULT_OK;
}

static u8 read_console(void *context, struct link_exchange *exchange)
{
    const struct link_read_console_request *request = exchange->request;
    struct link_read_console_reply *reply = exchange->reply;
    u64 oldest = CONSOLE_END - CONSOLE_SIZE;

    (void)context;
    reply->offset = request->offset < oldest ? oldest : request->offset;
    reply->end = CONSOLE_END;
    reply_content(exchange, reply->offset, CONSOLE_END, request->length, 1);
    return LINK_RESULT_OK;
}

static u8 log_info(void *context, struct link_exchange *exchange)
{
    (void)context;
    *(struct link_log_info_reply *)exchange->reply = (struct link_log_info_reply){LOG_SIZE, 77, 2};
    return LINK_RESULT_OK;
}

static u8 read_log(void *context, struct link_exchange *exchange)
{
    const struct link_read_log_request *request = exchange->request;

    (void)context;
    reply_content(exchange, request->offset, LOG_SIZE, request->length, 2);
    return LINK_RESULT_OK;
}

/* STOP_RUN and WRITE_CONSOLE are not supported. */
static const link_handler handlers[LINK_OPCODES] = {
    [LINK_OPCODE_HELLO] = hello,
    [LINK_OPCODE_STATUS] = status,
    [LINK_OPCODE_INTERRUPT] = interrupt,
    [LINK_OPCODE_RESUME] = resume,
    [LINK_OPCODE_STEP] = step,
    [LINK_OPCODE_READ_REGISTERS] = read_registers,
    [LINK_OPCODE_WRITE_REGISTER] = write_register,
    [LINK_OPCODE_READ_FPU] = read_fpu,
    [LINK_OPCODE_WRITE_FPU] = write_fpu,
    [LINK_OPCODE_SET_BREAKPOINT] = set_breakpoint,
    [LINK_OPCODE_CLEAR_BREAKPOINT] = clear_breakpoint,
    [LINK_OPCODE_CLEAR_ALL] = clear_all,
    [LINK_OPCODE_RESET] = reset,
    [LINK_OPCODE_QUERY] = query,
    [LINK_OPCODE_READ_MEMORY] = read_memory,
    [LINK_OPCODE_WRITE_MEMORY] = write_memory,
    [LINK_OPCODE_MEMORY_MAP] = memory_map,
    [LINK_OPCODE_READ_CONSOLE] = read_console,
    [LINK_OPCODE_LOG_INFO] = log_info,
    [LINK_OPCODE_READ_LOG] = read_log,
};

static void start(void)
{
    memset(&machine, 0, sizeof(machine));
    memset(&bare, 0, sizeof(bare));
    machine.status.state = LINK_RUN_STATE_STOPPED;
    machine.status.mode = LINK_MODE_REPLAY;
    machine.status.console_end = CONSOLE_END;
    link_init(&monitor_link, handlers, put, NULL);
}

static void receive(const u8 *data, u32 size)
{
    struct frame frame;

    for (u32 i = 0; i < size; i++) {
        if (frame_receive(&bare, data[i], &frame)) {
            put_all(&frame.size, sizeof(frame.size));
            put(NULL, frame.channel);
            put(NULL, frame.sequence);
            put_all(frame.payload, frame.size);
        }
    }
}

static void encode(const u8 *data, u32 size)
{
    struct frame_sender sender;

    frame_begin(&sender, put, NULL, data[0], data[1]);
    /* In two parts: where they meet must not matter. */
    frame_add(&sender, data + 2, (size - 2) / 3);
    frame_add(&sender, data + 2 + (size - 2) / 3, size - 2 - (size - 2) / 3);
    frame_end(&sender);
}

static void carry_out(u8 command, const u8 *data, u32 size)
{
    switch (command) {
    case COMMAND_LINE:
        for (u32 i = 0; i < size; i++)
            link_receive(&monitor_link, data[i]);
        break;
    case COMMAND_RECEIVE:
        receive(data, size);
        break;
    case COMMAND_ENCODE:
        encode(data, size);
        break;
    case COMMAND_RESET:
        start();
        break;
    case COMMAND_MESSAGE:
        link_message(&monitor_link, (const char *)data, size);
        break;
    case COMMAND_STOP:
        stop(LINK_STOP_REASON_SOFTWARE_BREAKPOINT);
        link_notify(&monitor_link, &machine.status);
        break;
    case COMMAND_PROBE:
        put_all(&machine.steps, 5 * sizeof(u64));
        break;
    default:
        abort();
    }
}

int main(void)
{
    u8 command;
    u32 size;

    start();
    while (fread(&command, 1, 1, stdin) == 1 && fread(&size, 4, 1, stdin) == 1) {
        u8 *data = malloc(size ? size : 1);
        u32 answer;

        if (data == NULL || fread(data, 1, size, stdin) != size)
            return 1;
        output_size = 0;
        carry_out(command, data, size);
        free(data);
        answer = (u32)output_size;
        fwrite(&answer, 4, 1, stdout);
        if (output_size != 0)
            fwrite(output, 1, output_size, stdout);
        fflush(stdout);
    }
    free(output);
    return 0;
}
