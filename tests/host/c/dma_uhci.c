#include "dma_uhci.h"

#include <string.h>

#define USBCMD    0x0
#define USBSTS    0x2
#define FRNUM     0x6
#define FLBASEADD 0x8

#define COMMAND_RUN     0x0001
#define COMMAND_HCRESET 0x0002
#define STATUS_HALTED   0x0020
#define FRAME_MASK      0x07ff

#define LINK_TERMINATE 0x1U
#define LINK_QUEUE     0x2U
#define LINK_DEPTH     0x4U
#define LINK_ADDRESS   0xfffffff0U
#define LINKS_MAX      2048 /* that a frame has time for */

#define TD_ACTIVE       0x00800000U
#define TD_STALLED      0x00400000U
#define TD_BABBLE       0x00100000U
#define TD_NAK          0x00080000U
#define TD_TIMEOUT      0x00040000U
#define TD_RESULT       0x00fe0000U
#define TD_ERRORS_SHIFT 27
#define TD_ERRORS       (3U << TD_ERRORS_SHIFT)
#define TD_SPD          0x20000000U
#define TD_LENGTH       0x7ffU
#define PID_IN          0x69

struct td {
    u32 link, status, token, buffer;
};

struct qh {
    u32 head, element;
};

void uhci_init(struct uhci *uhci, const struct uhci_bus *bus)
{
    memset(uhci, 0, sizeof(*uhci));
    uhci->bus = *bus;
    uhci->status = STATUS_HALTED;
}

void uhci_set_results(struct uhci *uhci, const u8 *results, u32 count)
{
    uhci->result_count = count < UHCI_RESULTS_MAX ? count : UHCI_RESULTS_MAX;
    memcpy(uhci->results, results, uhci->result_count);
    uhci->next_result = 0;
}

u32 uhci_read_register(const struct uhci *uhci, u32 reg, u8 size)
{
    u8 registers[32] = {0};
    u32 value = 0;

    memcpy(registers + USBCMD, &uhci->command, 2);
    memcpy(registers + USBSTS, &uhci->status, 2);
    memcpy(registers + FRNUM, &uhci->frame, 2);
    memcpy(registers + FLBASEADD, &uhci->list, 4);
    if (reg + size <= sizeof(registers) && size <= 4) {
        memcpy(&value, registers + reg, size);
    }
    return value;
}

static void write_command(struct uhci *uhci, u16 value)
{
    uhci->command = value;
    if (value & COMMAND_HCRESET) {
        uhci->command = 0;
        uhci->frame = 0;
        uhci->list = 0;
        uhci->status = STATUS_HALTED;
    } else if (value & COMMAND_RUN) {
        uhci->status &= (u16)~STATUS_HALTED;
    }
}

void uhci_write_register(struct uhci *uhci, u32 reg, u8 size, u32 value)
{
    if (reg == USBCMD && size >= 2) {
        write_command(uhci, (u16)value);
        value >>= 16;
        reg = size == 4 ? USBSTS : 0x20;
    }
    if (reg == USBSTS) {
        uhci->status &= (u16) ~(value & ~STATUS_HALTED & 0xffff);
    } else if (reg == FRNUM && size == 2 && (uhci->status & STATUS_HALTED)) {
        uhci->frame = value & FRAME_MASK;
    } else if (reg == FLBASEADD && size == 4) {
        uhci->list = value & ~0xfffU;
    }
}

static void fold(struct uhci *uhci, const void *data, u32 len)
{
    const u8 *bytes = data;

    for (u32 i = 0; i < len; i++) {
        uhci->digest = (uhci->digest ^ bytes[i]) * 0x100000001b3ULL;
    }
}

static u32 max_length(const struct td *td)
{
    return ((td->token >> 21) + 1) & TD_LENGTH;
}

/* Moves `length` bytes, page by page, as the addresses of a bus that has holes. */
static void move(struct uhci *uhci, const struct td *td, u32 length)
{
    bool in = (td->token & 0xff) == PID_IN;
    u8 data[TD_LENGTH];

    for (u32 i = 0; i < length; i++) {
        data[i] = (u8)(uhci->transactions * 29 + i * 7 + 1);
    }
    for (u32 done = 0, part; done < length; done += part) {
        u32 address = td->buffer + done;

        part = 4096 - address % 4096;
        part = part < length - done ? part : length - done;
        if (in) {
            uhci->bus.write(uhci->bus.ctx, address, data + done, part);
        } else {
            uhci->bus.read(uhci->bus.ctx, address, data + done, part);
        }
    }
    if (!in) {
        fold(uhci, data, length);
    }
}

static u8 next_result(struct uhci *uhci)
{
    return uhci->next_result < uhci->result_count ? uhci->results[uhci->next_result++] : UHCI_ALL;
}

/* One transaction; the new status. */
static u32 transact(struct uhci *uhci, const struct td *td)
{
    u32 length = max_length(td), status = td->status & ~(TD_RESULT | TD_LENGTH), moved = length;
    u32 errors = (status & TD_ERRORS) >> TD_ERRORS_SHIFT;

    fold(uhci, &td->token, 4);
    switch (next_result(uhci)) {
    case UHCI_SHORT:
        moved = length / 2;
        break;
    case UHCI_NAK:
        moved = 0;
        status |= TD_ACTIVE | TD_NAK;
        break;
    case UHCI_STALL:
        moved = 0;
        status |= TD_STALLED;
        break;
    case UHCI_BABBLE:
        status |= TD_STALLED | TD_BABBLE;
        break;
    case UHCI_ERROR:
        moved = length / 2;
        status &= ~TD_ERRORS;
        status |= (errors > 1 ? errors - 1 : 0) << TD_ERRORS_SHIFT;
        status |= errors == 1 ? TD_STALLED | TD_TIMEOUT : TD_ACTIVE;
        break;
    default:
        break;
    }
    move(uhci, td, moved);
    uhci->transactions++;
    return status | ((moved - 1) & TD_LENGTH);
}

static void write_word(struct uhci *uhci, u32 address, u32 value)
{
    uhci->bus.write(uhci->bus.ctx, address, &value, sizeof(value));
}

/* A transfer of a queue (0: of none), or of a frame; returns the link to what is next. */
static u32 run_transfer(struct uhci *uhci, u32 link, u32 queue, u32 head, u32 *budget)
{
    u32 after = queue != 0 ? head : 0, before = *budget;
    struct td td;
    bool is_short;

    uhci->bus.read(uhci->bus.ctx, link & LINK_ADDRESS, &td, sizeof(td));
    if (queue == 0) {
        after = td.link;
    }
    if (!(td.status & TD_ACTIVE) || *budget == 0) {
        return *budget == 0 && (td.status & TD_ACTIVE) ? LINK_TERMINATE : after;
    }
    *budget = before - 1;
    td.status = transact(uhci, &td);
    write_word(uhci, (link & LINK_ADDRESS) + 4, td.status);
    is_short = (td.token & 0xff) == PID_IN && ((td.status + 1) & TD_LENGTH) < max_length(&td);
    if ((td.status & (TD_ACTIVE | TD_STALLED)) || (is_short && (td.status & TD_SPD)) ||
        queue == 0) {
        return after;
    }
    write_word(uhci, (queue & LINK_ADDRESS) + 4, td.link);
    return (td.link & LINK_DEPTH) && !(td.link & LINK_TERMINATE) ? td.link : head;
}

void uhci_run_frame(struct uhci *uhci, u32 transactions)
{
    u32 link, queue = 0, head = LINK_TERMINATE;
    struct qh qh;

    if (!(uhci->command & COMMAND_RUN)) {
        uhci->status |= STATUS_HALTED;
        return;
    }
    uhci->bus.read(uhci->bus.ctx, uhci->list + 4ULL * (uhci->frame % 1024), &link, sizeof(link));
    for (u32 links = 0; links < LINKS_MAX && !(link & LINK_TERMINATE); links++) {
        if (link & LINK_QUEUE) {
            uhci->bus.read(uhci->bus.ctx, link & LINK_ADDRESS, &qh, sizeof(qh));
            queue = qh.element & LINK_TERMINATE ? 0 : link;
            head = qh.head;
            link = queue != 0 ? qh.element : qh.head;
            continue;
        }
        link = run_transfer(uhci, link, queue, head, &transactions);
        if (link == head) {
            queue = 0;
        }
    }
    uhci->frame = (uhci->frame + 1) & FRAME_MASK;
}
