/* Drives the monitor's log writer and reader.
 *
 * write OUT SIZE  reads operations from stdin, applies them to a region of SIZE bytes, prints the
 *                 result of each and saves the region in OUT.
 * ring OUT SIZE   likewise; the region is a ring.
 * read            reads logs from stdin, each after its length (u32); prints their events.
 * find MEMORY     prints the log that the monitor finds in a region at its start.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/crc32c.h"
#include "replay/log_reader.h"
#include "replay/log_writer.h"

#define PAYLOAD_FIELDS 5

enum operation {
    OP_EVENT,
    OP_FLUSH,
    OP_CONSOLE,
    OP_SEAL,
    OP_HEADER,
    OP_TAKE,
};

/* An operation as tests/host/log_driver.py packs it; `data_len` bytes follow. */
struct request {
    u8 operation;
    u8 kind;
    u8 async;
    u8 same_position;
    u8 full;
    u8 has_check;
    u8 place;
    u8 reserved;
    u32 out_crc;
    u32 data_len;
    u64 branches;
    struct log_regs regs;
    u64 fields[PAYLOAD_FIELDS];
};

static struct log_writer writer;
static struct log_reader reader;

static bool read_exactly(void *to, size_t size)
{
    return fread(to, 1, size, stdin) == size;
}

/* The payload's fields in the order of the description. */
static void set_payload(struct log_event *event, const u64 *fields)
{
    union log_payload *payload = &event->payload;

    switch (event->kind) {
    case LOG_EVENT_IN:
        payload->in = (struct log_in){fields[0], (u8)fields[1], fields[2]};
        break;
    case LOG_EVENT_MMIO_READ:
        payload->mmio_read = (struct log_mmio_read){fields[0], (u8)fields[1], fields[2]};
        break;
    case LOG_EVENT_RDMSR:
        payload->rdmsr = (struct log_rdmsr){fields[0], (u8)fields[1], fields[2]};
        break;
    case LOG_EVENT_RDTSC:
        payload->rdtsc.tsc = fields[0];
        break;
    case LOG_EVENT_RDRAND:
        payload->rdrand = (struct log_rdrand){(u8)fields[0], (u8)fields[1], fields[2]};
        break;
    case LOG_EVENT_RDSEED:
        payload->rdseed = (struct log_rdseed){(u8)fields[0], (u8)fields[1], fields[2]};
        break;
    case LOG_EVENT_INTERRUPT:
        payload->interrupt.vector = (u8)fields[0];
        break;
    case LOG_EVENT_DMA:
        payload->dma = (struct log_dma){(u8)fields[0], fields[1]};
        break;
    case LOG_EVENT_FIRMWARE_PAGE:
        payload->firmware_page.gpa = fields[0];
        break;
    case LOG_EVENT_RDPMC:
        payload->rdpmc = (struct log_rdpmc){fields[0], fields[1]};
        break;
    case LOG_EVENT_END:
        payload->end.reason = (u8)fields[0];
        break;
    case LOG_EVENT_RDTSCP:
        payload->rdtscp.tsc = fields[0];
        break;
    case LOG_EVENT_SENT:
        payload->sent = (struct log_sent){(u8)fields[0], (u8)fields[1], fields[2]};
        break;
    case LOG_EVENT_TIME:
        payload->time.tsc = fields[0];
        break;
    case LOG_EVENT_CLOCK:
        payload->clock.tsc = fields[0];
        break;
    case LOG_EVENT_RAM_PAGE:
        payload->ram_page.gpa = fields[0];
        break;
    case LOG_EVENT_CONTENT:
        payload->content = (struct log_content){(u32)fields[0], fields[1]};
        break;
    case LOG_EVENT_TASK:
        payload->task.number = fields[0];
        break;
    case LOG_EVENT_CONSOLE_LINE:
        payload->console_line.end = fields[0];
        break;
    case LOG_EVENT_UNDO_PAGE:
        payload->undo_page.gpa = fields[0];
        break;
    case LOG_EVENT_IN_STRING:
        payload->in_string = (struct log_in_string){fields[0], (u8)fields[1]};
        break;
    case LOG_EVENT_HYPERCALL:
        payload->hypercall = (struct log_hypercall){(u8)fields[0], fields[1], fields[2]};
        break;
    case LOG_EVENT_EARLY_READ:
        payload->early_read = (struct log_early_read){(u8)fields[0], (u8)fields[1], fields[2]};
        break;
    case LOG_EVENT_FENCE:
        payload->fence =
            (struct log_fence){fields[0], fields[1], fields[2], fields[3], (u8)fields[4]};
        break;
    default:
        break;
    }
}

static void get_payload(const struct log_event *event, u64 *fields)
{
    const union log_payload *payload = &event->payload;

    switch (event->kind) {
    case LOG_EVENT_IN:
        fields[0] = payload->in.port;
        fields[1] = payload->in.size;
        fields[2] = payload->in.value;
        break;
    case LOG_EVENT_MMIO_READ:
        fields[0] = payload->mmio_read.gpa;
        fields[1] = payload->mmio_read.size;
        fields[2] = payload->mmio_read.value;
        break;
    case LOG_EVENT_RDMSR:
        fields[0] = payload->rdmsr.index;
        fields[1] = payload->rdmsr.faulted;
        fields[2] = payload->rdmsr.value;
        break;
    case LOG_EVENT_RDTSC:
        fields[0] = payload->rdtsc.tsc;
        break;
    case LOG_EVENT_RDRAND:
        fields[0] = payload->rdrand.size;
        fields[1] = payload->rdrand.carry;
        fields[2] = payload->rdrand.value;
        break;
    case LOG_EVENT_RDSEED:
        fields[0] = payload->rdseed.size;
        fields[1] = payload->rdseed.carry;
        fields[2] = payload->rdseed.value;
        break;
    case LOG_EVENT_INTERRUPT:
        fields[0] = payload->interrupt.vector;
        break;
    case LOG_EVENT_DMA:
        fields[0] = payload->dma.stream;
        fields[1] = payload->dma.gpa;
        break;
    case LOG_EVENT_FIRMWARE_PAGE:
        fields[0] = payload->firmware_page.gpa;
        break;
    case LOG_EVENT_RDPMC:
        fields[0] = payload->rdpmc.index;
        fields[1] = payload->rdpmc.value;
        break;
    case LOG_EVENT_END:
        fields[0] = payload->end.reason;
        break;
    case LOG_EVENT_RDTSCP:
        fields[0] = payload->rdtscp.tsc;
        break;
    case LOG_EVENT_SENT:
        fields[0] = payload->sent.stream;
        fields[1] = payload->sent.flags;
        fields[2] = payload->sent.length;
        break;
    case LOG_EVENT_TIME:
        fields[0] = payload->time.tsc;
        break;
    case LOG_EVENT_CLOCK:
        fields[0] = payload->clock.tsc;
        break;
    case LOG_EVENT_RAM_PAGE:
        fields[0] = payload->ram_page.gpa;
        break;
    case LOG_EVENT_CONTENT:
        fields[0] = payload->content.memory_crc32c;
        fields[1] = payload->content.console_bytes;
        break;
    case LOG_EVENT_TASK:
        fields[0] = payload->task.number;
        break;
    case LOG_EVENT_CONSOLE_LINE:
        fields[0] = payload->console_line.end;
        break;
    case LOG_EVENT_UNDO_PAGE:
        fields[0] = payload->undo_page.gpa;
        break;
    case LOG_EVENT_IN_STRING:
        fields[0] = payload->in_string.port;
        fields[1] = payload->in_string.size;
        break;
    case LOG_EVENT_HYPERCALL:
        fields[0] = payload->hypercall.function;
        fields[1] = payload->hypercall.number;
        fields[2] = payload->hypercall.value;
        break;
    case LOG_EVENT_EARLY_READ:
        fields[0] = payload->early_read.stream;
        fields[1] = payload->early_read.size;
        fields[2] = payload->early_read.gpa;
        break;
    case LOG_EVENT_FENCE:
        fields[0] = payload->fence.function;
        fields[1] = payload->fence.vendor;
        fields[2] = payload->fence.device;
        fields[3] = payload->fence.class_code;
        fields[4] = payload->fence.allowed;
        break;
    default:
        break;
    }
}

static struct log_text text(const char *value)
{
    return (struct log_text){value, (u32)strlen(value)};
}

/* A fixed header; the test knows its content. */
static int write_header(void)
{
    static const struct log_image images[] = {{1234567, LOG_IMAGE_ROLE_KERNEL, 0xdeadbeef},
                                              {765, LOG_IMAGE_ROLE_INITRD, 0x12345678}};
    static const struct log_cpuid_entry cpuid[] = {{1, 0, 2, 3, 4, 5}, {7, 1, 8, 9, 10, 11}};
    static const struct log_e820_entry e820[] = {{0, 0x9fc00, 1, 0}, {0x100000, 0xff00000, 1, 0}};
    static const struct log_dma_stream streams[] = {{.profile = "e1000",
                                                     .ring = "rx",
                                                     .stream = 1,
                                                     .content = LOG_STREAM_CONTENT_DESCRIPTORS,
                                                     .direction = LOG_DMA_DIRECTION_RX,
                                                     .pci_address = 0x18,
                                                     .vendor = 0x8086,
                                                     .device = 0x100e,
                                                     .descriptor_size = 16}};
    const struct log_recording_header header = {
        .machine = {.guest_memory_bytes = 256 << 20,
                    .tsc_hz = 50000000,
                    .cpu_family = 6,
                    .cpu_model = 0x55,
                    .cpu_stepping = 4,
                    .counter_event = 0x5101c4,
                    .flags =
                        LOG_MACHINE_FLAG_UNSOUND |
                        (log_region_overwrites(writer.region) ? LOG_MACHINE_FLAG_OVERWRITES : 0),
                    .guest_kind = LOG_GUEST_KIND_LINUX,
                    .start_time = 1800000000,
                    .start_tsc = 987654400},
        .monitor_version = text("lvmm 0.1"),
        .board = text("bochs-vtx"),
        .cpu_brand = text("A brand"),
        .command_line = text("console=ttyS0 quiet"),
        .images = images,
        .images_count = ARRAY_SIZE(images),
        .cpuid = cpuid,
        .cpuid_count = ARRAY_SIZE(cpuid),
        .e820 = e820,
        .e820_count = ARRAY_SIZE(e820),
        .dma_streams = streams,
        .dma_streams_count = ARRAY_SIZE(streams),
    };

    return log_write_header(&writer, &header);
}

static int apply(const struct request *request, const u8 *data, void *region)
{
    struct log_event event = {
        .kind = request->kind,
        .async = request->async,
        .same_position = request->same_position,
        .full = request->full,
        .has_check = request->has_check,
        .place = request->place,
        .out_crc = request->out_crc,
        .branches = request->branches,
        .regs = request->regs,
        .data = data,
        .data_len = request->data_len,
    };

    switch (request->operation) {
    case OP_EVENT:
        set_payload(&event, request->fields);
        return log_write(&writer, &event);
    case OP_FLUSH:
        return log_flush(&writer);
    case OP_CONSOLE:
        for (u32 i = 0; i < request->data_len; i++)
            log_console_put(region, data[i]);
        return 0;
    case OP_SEAL:
        return log_writer_seal(&writer, request->kind);
    case OP_HEADER:
        return write_header();
    case OP_TAKE:
        log_writer_taken(&writer, log_writer_completed(&writer) - request->fields[0]);
        return 0;
    default:
        return ERR_UNSUPPORTED;
    }
}

static int write_log(const char *path, u64 size, bool overwrites)
{
    /* One page each side that only the sanitizer can reach would need mmap; its redzones do. */
    u8 *region = aligned_alloc(PAGE_SIZE, ALIGN_UP(size, PAGE_SIZE));
    struct log_region_params params = {
        .recording_id = 0x1122334455667788,
        .mode = LOG_MODE_RECORD,
        .console_size = PAGE_SIZE,
        .overwrites = overwrites,
    };
    struct request request;

    if (!region)
        return 1;
    memset(region, 0xa5, size);
    printf("%d\n", log_region_format(region, size, &params));
    printf("%d\n", log_writer_open(&writer, region));
    while (read_exactly(&request, sizeof(request))) {
        u8 *data = malloc(request.data_len);

        if (!read_exactly(data, request.data_len))
            return 1;
        printf("%d\n", apply(&request, data, region));
        free(data);
    }

    FILE *out = fopen(path, "wb");
    bool written = out && fwrite(region, 1, size, out) == size && !fclose(out);

    free(region);
    return written ? 0 : 1;
}

static int find_log(const char *path)
{
    FILE *in = fopen(path, "rb");
    struct log_region_found found;
    long size;
    u8 *region;

    if (!in || fseek(in, 0, SEEK_END) || (size = ftell(in)) < 0)
        return 1;
    rewind(in);
    region = aligned_alloc(PAGE_SIZE, ALIGN_UP((u64)size, PAGE_SIZE));
    if (!region || fread(region, 1, (size_t)size, in) != (size_t)size)
        return 1;
    printf("%d ", log_region_holds_any(region, (u64)size, &found));
    printf("%u %" PRIu64 " %" PRIu64 " %" PRIu64 " %d %d\n", found.format_version,
           found.recording_id, found.events, found.bytes, found.taken, found.damaged);
    free(region);
    return fclose(in);
}

static void print_hex(const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        printf("%02x", ((const u8 *)data)[i]);
}

static void print_text(struct log_text value)
{
    printf(" ");
    print_hex(value.text, value.length);
}

static void print_header(const struct log_recording_header *header)
{
    printf("header ");
    print_hex(&header->machine, sizeof(header->machine));
    print_text(header->monitor_version);
    print_text(header->board);
    print_text(header->cpu_brand);
    print_text(header->command_line);
    printf(" ");
    print_hex(header->images, header->images_count * sizeof(*header->images));
    printf(" ");
    print_hex(header->cpuid, header->cpuid_count * sizeof(*header->cpuid));
    printf(" ");
    print_hex(header->e820, header->e820_count * sizeof(*header->e820));
    printf(" ");
    print_hex(header->dma_streams, header->dma_streams_count * sizeof(*header->dma_streams));
    printf("\n");
}

static void print_event(const struct log_event *event)
{
    u64 fields[PAYLOAD_FIELDS] = {0};

    get_payload(event, fields);
    printf("event %" PRIu64 " %s %d %d %" PRIx64 " %" PRIx64, event->index,
           log_event_name(event->kind), event->async, event->same_position, event->branches,
           event->regs.rip);
    printf(event->has_check ? " %x" : " -", event->check);
    if (event->place)
        printf(" %d,%" PRIx64, event->regs.rflags != 0, event->regs.gpr[GPR_RCX]);
    else
        printf(" -");
    for (unsigned i = 0; i < PAYLOAD_FIELDS; i++)
        printf(" %" PRIx64, fields[i]);
    printf(" [");
    print_hex(event->data, event->data_len);
    printf("]");
    if (event->has_regs) {
        for (unsigned i = 0; i < GPR_COUNT; i++)
            printf(" %" PRIx64, event->regs.gpr[i]);
        printf(" %" PRIx64, event->regs.rflags);
    }
    printf("\n");
}

static int read_log(const u8 *log, u64 size)
{
    struct log_event event;
    int result = log_reader_open(&reader, log, size);

    printf("open %d\n", result);
    if (result)
        return result;
    print_header(&reader.header);
    while ((result = log_read(&reader, &event)) == 1)
        print_event(&event);
    printf("end %d\n", result);
    return log_read(&reader, &event) == result ? 0 : 1;
}

static int read_logs(void)
{
    u32 size;

    while (read_exactly(&size, sizeof(size))) {
        /* Exactly as large as the log, so that the sanitizer sees any read beyond it. */
        u8 *log = malloc(size ? size : 1);

        if (!read_exactly(log, size))
            return 1;
        read_log(log, size);
        free(log);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "write"))
        return write_log(argv[2], strtoull(argv[3], NULL, 0), false);
    if (argc == 4 && !strcmp(argv[1], "ring"))
        return write_log(argv[2], strtoull(argv[3], NULL, 0), true);
    if (argc == 2 && !strcmp(argv[1], "read"))
        return read_logs();
    if (argc == 3 && !strcmp(argv[1], "find"))
        return find_log(argv[2]);
    fprintf(stderr, "usage: log_driver write|ring OUT SIZE | read | find MEMORY\n");
    return 2;
}
