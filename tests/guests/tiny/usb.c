/*
 * Reads a disk on the first port of a UHCI controller with transfers that it polls in memory: from
 * submitting one until it is done the guest touches no register. Prints a digest of each read.
 * Sources: UHCI Design Guide 1.1; USB 1.1, chapter 9; USB Mass Storage Class Bulk-Only Transport 1.0.
 */
#include "runtime.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  0x80000000u
#define CONFIG_COMMAND 0x04 /* I/O space and bus master are bits 0 and 2 */
#define CONFIG_CLASS   0x08
#define CONFIG_BAR4    0x20
#define CLASS_UHCI     0x0c0300u

#define USBCMD    0x00
#define FRNUM     0x06
#define FLBASEADD 0x08
#define PORTSC    0x10

#define COMMAND_RUN     0x01
#define COMMAND_HCRESET 0x02
#define PORT_ENABLED    0x0004
#define PORT_RESET      0x0200

#define LINK_TERMINATE 1u
#define LINK_QUEUE     2u
#define LINK_DEPTH     4u

#define TD_ACTIVE       0x00800000u
#define TD_THREE_ERRORS 0x18000000u
#define TD_FAILED       0x007e0000u
#define PID_SETUP       0x2d
#define PID_IN          0x69
#define PID_OUT         0xe1

#define DEVICE      1 /* the address that the disk gets */
#define PACKET      64
#define TDS         72
#define READ_BYTES  4096
#define READS       6
#define SECTOR_SIZE 512

struct td {
    volatile u32 link, status;
    u32 token, buffer;
} __attribute__((aligned(16)));

struct queue {
    volatile u32 next, element;
} __attribute__((aligned(16)));

struct endpoint {
    u32 device, number, toggle;
};

static u32 frames[1024] __attribute__((aligned(4096)));
static struct queue queue;
static struct td tds[TDS];
static u8 data[READ_BYTES];
static u8 command[31];
static u8 status[13];
static u8 setup[8];
static u16 base;

static void out16(u16 port, u16 value) {
    __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static u16 in16(u16 port) {
    u16 value;

    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static u32 read_config(u32 bdf, u32 offset) {
    out32(CONFIG_ADDRESS, CONFIG_ENABLE | bdf << 8 | offset);
    return in32(CONFIG_DATA);
}

static int find_controller(void) {
    for (u32 bdf = 0; bdf < 256; bdf++)
        if (read_config(bdf, CONFIG_CLASS) >> 8 == CLASS_UHCI) {
            base = read_config(bdf, CONFIG_BAR4) & 0xffe0;
            read_config(bdf, CONFIG_COMMAND);
            out8(CONFIG_DATA, 5);
            return base != 0;
        }
    return 0;
}

static void wait_frames(u32 count) {
    for (u16 last = in16(base + FRNUM); count != 0;) {
        u16 now = in16(base + FRNUM);

        count -= now != last;
        last = now;
    }
}

static void start(void) {
    out16(base + USBCMD, COMMAND_HCRESET);
    while (in16(base + USBCMD) & COMMAND_HCRESET)
        ;
    queue.next = LINK_TERMINATE;
    queue.element = LINK_TERMINATE;
    for (u32 i = 0; i < 1024; i++)
        frames[i] = (u32)&queue | LINK_QUEUE;
    out32(base + FLBASEADD, (u32)frames);
    out16(base + USBCMD, COMMAND_RUN);
    out16(base + PORTSC, PORT_RESET);
    wait_frames(10);
    out16(base + PORTSC, 0);
    wait_frames(1);
    out16(base + PORTSC, PORT_ENABLED);
    wait_frames(10);
}

/* Appends packets of `length` bytes to those of the queue so far; returns how many there are. */
static u32 append(u32 count, u32 pid, struct endpoint *endpoint, void *buffer, u32 length) {
    u32 done = 0;

    do {
        u32 part = length - done < PACKET ? length - done : PACKET;

        tds[count].link = (u32)&tds[count + 1] | LINK_DEPTH;
        tds[count].status = TD_ACTIVE | TD_THREE_ERRORS;
        tds[count].token = ((part - 1) & 0x7ff) << 21 | endpoint->toggle << 19 |
                           endpoint->number << 15 | endpoint->device << 8 | pid;
        tds[count].buffer = (u32)buffer + done;
        endpoint->toggle ^= 1;
        done += part;
        count++;
    } while (done < length);
    return count;
}

/* Lets the controller do them, and polls; returns whether all went well. */
static int run(u32 count) {
    u32 i;

    tds[count - 1].link = LINK_TERMINATE;
    __asm__ volatile("" ::: "memory");
    queue.element = (u32)tds;
    for (i = 0; i < count; i++) {
        while (tds[i].status & TD_ACTIVE)
            ;
        if (tds[i].status & TD_FAILED)
            break;
    }
    queue.element = LINK_TERMINATE;
    __asm__ volatile("" ::: "memory");
    return i == count;
}

/* A control transfer; with data, it is from the device. */
static int control(u32 device, u8 type, u8 request, u16 value, u16 length) {
    struct endpoint endpoint = {device, 0, 0};
    u32 count;

    setup[0] = type;
    setup[1] = request;
    setup[2] = (u8)value;
    setup[3] = (u8)(value >> 8);
    setup[6] = (u8)length;
    count = append(0, PID_SETUP, &endpoint, setup, sizeof(setup));
    if (length != 0)
        count = append(count, PID_IN, &endpoint, data, length);
    endpoint.toggle = 1;
    count = append(count, length != 0 ? PID_OUT : PID_IN, &endpoint, setup, 0);
    return run(count);
}

/* The disk's endpoints, from its configuration. */
static int find_endpoints(struct endpoint *in, struct endpoint *out) {
    u32 total;

    if (!control(DEVICE, 0x80, 6, 0x200, 32))
        return 0;
    total = data[2] < 32 ? data[2] : 32;
    for (u32 at = 0; at + 7 <= total && data[at] != 0; at += data[at])
        if (data[at + 1] == 5)
            *(data[at + 2] & 0x80 ? in : out) = (struct endpoint){DEVICE, data[at + 2] & 0xf, 0};
    return in->number != 0 && out->number != 0;
}

/* READ(10) of READ_BYTES. */
static int read_disk(struct endpoint *in, struct endpoint *out, u32 sector) {
    static const u8 begin[] = {'U', 'S', 'B', 'C', 1, 2, 3, 4, 0, READ_BYTES >> 8, 0, 0, 0x80, 0, 10};

    for (u32 i = 0; i < sizeof(command); i++)
        command[i] = i < sizeof(begin) ? begin[i] : 0;
    command[15] = 0x28;
    command[19] = (u8)(sector >> 8);
    command[20] = (u8)sector;
    command[23] = READ_BYTES / SECTOR_SIZE;
    return run(append(0, PID_OUT, out, command, sizeof(command))) &&
           run(append(0, PID_IN, in, data, READ_BYTES)) &&
           run(append(0, PID_IN, in, status, sizeof(status))) && status[12] == 0;
}

static u64 digest(void) {
    u64 value = 0xcbf29ce484222325u; /* FNV-1a */

    for (u32 i = 0; i < READ_BYTES; i++)
        value = (value ^ data[i]) * 0x100000001b3u;
    return value;
}

void guest_main(u32 magic, u32 info) {
    struct endpoint in = {0, 0, 0}, out = {0, 0, 0};

    (void)magic;
    (void)info;
    if (!find_controller()) {
        print("usb: no controller\n");
        end_reset();
    }
    start();
    if (!control(0, 0, 5, DEVICE, 0) || !find_endpoints(&in, &out) || !control(DEVICE, 0, 9, 1, 0))
        print("usb: no disk\n");
    for (u32 i = 0; in.number != 0 && i < READS; i++)
        if (read_disk(&in, &out, i * (READ_BYTES / SECTOR_SIZE)))
            print("usb: read %X\n", digest());
        else
            print("usb: failed, transfer %x\n", tds[0].status);
    end_reset();
}
