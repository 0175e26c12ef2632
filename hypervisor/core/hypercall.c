#include "core/hypercall.h"
#include "core/code_mode.h"
#include "core/guest_linear.h"
#include "core/handlers.h"
#include "core/hints.h"
#include "guest_support/lvmm_abi.h"
#include "lib/printk.h"
#include "replay/segment.h"
#include "replay/session.h"

/* The registers of a call, as wide as the code that makes it. */
struct call {
    u64 magic, function, address, length, number;
};

static struct call read_call(const struct vcpu *vcpu)
{
    const u64 *gpr = vcpu->regs.gpr;
    u64 mask = code_mode() == DECODE_64 ? ~0ULL : 0xffffffff;

    return (struct call){gpr[GPR_RAX] & mask, gpr[GPR_RBX] & mask, gpr[GPR_RCX] & mask,
                         gpr[GPR_RDX] & mask, gpr[GPR_RSI] & mask};
}

static void set_result(struct vcpu *vcpu, s64 result)
{
    vcpu->regs.gpr[GPR_RAX] = code_mode() == DECODE_64 ? (u64)result : (u32)result;
}

static int log_mark(struct vcpu *vcpu, const u8 *text, u32 length)
{
    struct log_event e = {.kind = LOG_EVENT_MARK, .data = text, .data_len = length};

    return session_input(vcpu, &e);
}

/* MARK and TASK: a text, whose place in the log is `event`. */
static int note(struct vcpu *vcpu, const struct call *call, struct log_event *event, s64 *result)
{
    u8 text[LVMM_TEXT_MAX];

    if (call->length > LVMM_TEXT_MAX) {
        *result = LVMM_ERROR_LENGTH;
        return 0;
    }
    if (guest_linear_read(vcpu, call->address, text, (u32)call->length) < call->length) {
        *result = LVMM_ERROR_FAULT;
        return 0;
    }
    event->data = text;
    event->data_len = (u32)call->length;
    return session_input(vcpu, event);
}

/* DMA_*: what the driver is told is an input, as the device's shadow is the monitor's. */
static int declare_dma(struct vcpu *vcpu, const struct call *call, s64 *result)
{
    struct log_event e = {
        .kind = LOG_EVENT_HYPERCALL,
        .payload.hypercall = {.function = (u8)call->function, .number = call->number},
    };
    int error;

    if (!session_replaying())
        e.payload.hypercall.value =
            hints_call(vcpu, call->function, call->address, call->length, call->number);
    error = session_input(vcpu, &e);
    *result = (s64)e.payload.hypercall.value;
    return error;
}

/* The recording begins behind the instruction, which has succeeded there. */
static int start(struct vcpu *vcpu, const struct exit *exit)
{
    int error;

    vcpu->regs.gpr[GPR_RAX] = 0;
    complete(vcpu, exit);
    error = segment_begin(vcpu);
    if (error < 0 && !session_ended())
        set_result(vcpu, error == ERR_INVALID ? LVMM_ERROR_STATE : LVMM_ERROR_ROOM);
    return 0;
}

static void print_panic(const u8 *text, u32 length)
{
    printk("{\"lvmm\":\"guest-panic\",\"text\":\"");
    for (u32 i = 0; i < length; i++) {
        if (text[i] == '"' || text[i] == '\\')
            printk("\\%c", text[i]);
        else if (text[i] < ' ' || text[i] == 0x7f)
            printk("\\u%04x", text[i]);
        else
            printk("%c", text[i]);
    }
    printk("\"}\n");
}

/* Whatever is wrong with its text, a panic is one. */
static int panic_of_guest(struct vcpu *vcpu, const struct call *call)
{
    u32 length = call->length < LVMM_TEXT_MAX ? (u32)call->length : LVMM_TEXT_MAX;
    u8 text[LVMM_TEXT_MAX];
    int error;

    length = guest_linear_read(vcpu, call->address, text, length);
    error = log_mark(vcpu, text, length);
    if (error < 0)
        return error;
    print_panic(text, length);
    session_end(vcpu, LOG_END_REASON_GUEST_PANIC, false);
    return 0;
}

int handle_hypercall(struct vcpu *vcpu, const struct exit *exit)
{
    struct call call = read_call(vcpu);
    struct log_event event = {0};
    s64 result = 0;
    int error = 0;

    if (call.magic != LVMM_MAGIC || hv_cpl() != 0) {
        hv_inject_exception(vcpu, VECTOR_UD, false, 0);
        return 0;
    }
    switch (call.function) {
    case LVMM_CALL_PRESENT:
        result = LVMM_VERSION;
        break;
    case LVMM_CALL_MARK:
        event.kind = LOG_EVENT_MARK;
        error = note(vcpu, &call, &event, &result);
        break;
    case LVMM_CALL_TASK:
        event.kind = LOG_EVENT_TASK;
        event.payload.task.number = call.number;
        error = note(vcpu, &call, &event, &result);
        break;
    case LVMM_CALL_START:
        return start(vcpu, exit);
    case LVMM_CALL_STOP:
        if (segment_end(vcpu) == ERR_INVALID)
            result = LVMM_ERROR_STATE;
        break;
    case LVMM_CALL_PANIC:
        return panic_of_guest(vcpu, &call);
    case LVMM_CALL_DMA_ATTACH:
    case LVMM_CALL_DMA_DETACH:
    case LVMM_CALL_DMA_MAP:
    case LVMM_CALL_DMA_SYNC_FOR_CPU:
    case LVMM_CALL_DMA_SYNC_FOR_DEVICE:
    case LVMM_CALL_DMA_UNMAP:
        error = declare_dma(vcpu, &call, &result);
        break;
    default:
        result = LVMM_ERROR_CALL;
        break;
    }
    if (error < 0)
        return error;
    if (session_ended()) /* a replay of STOP */
        return 0;
    set_result(vcpu, result);
    complete(vcpu, exit);
    return 0;
}
