/* Checkpoints over a guest memory of a few pages. Requests on stdin, a line each; an answer a line.
 *
 *   pages N        room for N pages in the store; starts
 *   write P V      the guest writes V into page P
 *   touch          the next firmware page is touched: its content is its number
 *   go N           N branches and an event
 *   take           makes a checkpoint: its number
 *   restore ID     goes back: 0, or an error
 *   resume         keeps the checkpoints, and resumes from them as another replay would
 *   state          branches, events, console, CRC of memory, firmware pages
 *   list           numbers and pages of all checkpoints, bytes used and room
 *   changed P      numbers of the checkpoints after which the page was written */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/guest_memory.h"
#include "core/page_journal.h"
#include "debug/pages.h"
#include "lib/crc32c.h"
#include "replay/checkpoint_state.h"
#include "replay/log_region.h"
#include "replay/position.h"
#include "vmx/ept.h"

#define RAM_PAGES      400
#define FIRMWARE_PAGES 4
#define FIRMWARE_BASE  0x100000000ULL
#define CONSOLE_SIZE   (2 * PAGE_SIZE)

static struct vcpu vcpu;
static u64 events, console_bytes;
static u8 ram[RAM_PAGES][PAGE_SIZE] __attribute__((aligned(4096)));
static u8 firmware[FIRMWARE_PAGES][PAGE_SIZE] __attribute__((aligned(4096)));
static unsigned int firmware_count;
static u8 console[CONSOLE_SIZE];

/* ---- what the code under test needs of the monitor */

u32 guest_memory_indexes(void)
{
    return RAM_PAGES + FIRMWARE_PAGES;
}

bool guest_memory_index(u64 gpa, u32 *index)
{
    u64 page = gpa / PAGE_SIZE;

    if (page >= RAM_PAGES) {
        page = (gpa - FIRMWARE_BASE) / PAGE_SIZE;
        if (page >= firmware_count)
            return false;
        page += RAM_PAGES;
    }
    *index = (u32)page;
    return true;
}

bool guest_memory_of_index(u32 index, u64 *gpa)
{
    *gpa = index < RAM_PAGES ? index * PAGE_SIZE : FIRMWARE_BASE + (index - RAM_PAGES) * PAGE_SIZE;
    return index < RAM_PAGES + firmware_count;
}

const void *guest_memory_page(u64 gpa)
{
    u32 index;

    if (!guest_memory_index(gpa, &index))
        return NULL;
    return index < RAM_PAGES ? ram[index] : firmware[index - RAM_PAGES];
}

void guest_memory_put_back(u64 gpa, const void *page)
{
    memcpy((void *)(uintptr_t)guest_memory_page(gpa), page, PAGE_SIZE);
}

int guest_memory_restore(u64 gpa, const void *page)
{
    if (gpa >= FIRMWARE_BASE)
        firmware_count++;
    guest_memory_put_back(gpa, page);
    return 0;
}

const void *guest_memory_firmware(unsigned int i, u64 *gpa)
{
    *gpa = FIRMWARE_BASE + i * PAGE_SIZE;
    return i < firmware_count ? firmware[i] : NULL;
}

unsigned int guest_memory_firmware_count(void)
{
    return firmware_count;
}

void guest_memory_forget_firmware(unsigned int count)
{
    firmware_count = count;
}

bool guest_memory_is_firmware(u64 gpa)
{
    return gpa >= FIRMWARE_BASE;
}

u64 guest_memory_size(void)
{
    return RAM_PAGES * PAGE_SIZE;
}

u64 guest_memory_page_tables(void)
{
    return 1;
}

int guest_memory_map_by_page(void)
{
    return 0;
}

void ept_add_tables(void *tables, u64 count)
{
    memset(tables, 0xee, count * PAGE_SIZE);
}

int pages_update(u64 gpa)
{
    (void)gpa;
    return 0;
}

void hv_flush_guest_tlb(void)
{
}

void position_forget(void)
{
}

u32 cpu_state_save(const struct vcpu *v, const struct output_state *output, u8 *out)
{
    memcpy(out, v, sizeof(*v));
    memcpy(out + sizeof(*v), output, sizeof(*output));
    return (u32)(sizeof(*v) + sizeof(*output));
}

int cpu_state_restore(struct vcpu *v, const u8 *from, u32 size, struct output_state *output)
{
    if (size != sizeof(*v) + sizeof(*output))
        return ERR_INVALID;
    memcpy(v, from, sizeof(*v));
    memcpy(output, from + sizeof(*v), sizeof(*output));
    return 0;
}

u64 session_events(void)
{
    return events;
}

bool session_ended(void)
{
    return false;
}

struct output_state session_output_state(void)
{
    return (struct output_state){.console_bytes = console_bytes};
}

void session_get_mark(struct session_mark *mark)
{
    *mark = (struct session_mark){.events = events};
}

int session_go_back(const struct session_mark *mark, const struct output_state *output)
{
    events = mark->events;
    console_bytes = output->console_bytes;
    return 0;
}

u64 session_recording_id(void)
{
    return 77;
}

u64 session_log_size(void)
{
    return 1000;
}

const void *session_region(void)
{
    return NULL;
}

u8 *log_console_ring(const void *region, u64 *size)
{
    (void)region;
    *size = CONSOLE_SIZE;
    return console;
}

/* ---- requests */

static void *area;
static u64 area_size;

static void start(unsigned int pages)
{
    u64 list = ALIGN_UP(CHECKPOINTS_MAX * sizeof(struct checkpoint), PAGE_SIZE);

    area_size = 3 * PAGE_SIZE + list + page_journal_size() + pages * (PAGE_SIZE + sizeof(u64));
    area = aligned_alloc(PAGE_SIZE, ALIGN_UP(area_size, PAGE_SIZE));
    vcpu.regs.rip = 0x1000;
    printf("%d\n", checkpoints_init(area, area_size, 100) == 0 ? checkpoints_start(&vcpu) : -1);
}

static void write_page(unsigned int page, unsigned int value)
{
    page_journal_open(page * PAGE_SIZE);
    memset(ram[page % RAM_PAGES], (int)value, PAGE_SIZE);
    puts("0");
}

static void touch(void)
{
    if (firmware_count < FIRMWARE_PAGES) {
        memset(firmware[firmware_count], (int)firmware_count + 1, PAGE_SIZE);
        firmware_count++;
        page_journal_add(FIRMWARE_BASE + (firmware_count - 1) * PAGE_SIZE);
    }
    puts("0");
}

static void go(unsigned int branches)
{
    vcpu.branches += branches;
    events++;
    console[console_bytes++ % CONSOLE_SIZE] = (u8)branches;
    checkpoints_look(&vcpu);
    puts("0");
}

static u32 console_crc(void)
{
    return crc32c(0, console, console_bytes < CONSOLE_SIZE ? console_bytes : CONSOLE_SIZE);
}

static void resume(void)
{
    struct checkpoint_info last = checkpoint_info(checkpoint_count() - 1);
    u64 size = 0;
    void *kept;
    int error;

    checkpoint_restore(&vcpu, last.id);
    error = checkpoints_keep(&vcpu, &size);
    if (error < 0) {
        printf("%d\n", error);
        return;
    }
    kept = malloc(size);
    memcpy(kept, checkpoints_memory(), size);
    memset(area, 0, area_size);
    memset(ram, 0, sizeof(ram));
    memset(console, 0, sizeof(console));
    memset(&checkpoints, 0, sizeof(checkpoints));
    vcpu = (struct vcpu){.branches = 5};
    memcpy(area, kept, size);
    free(kept);
    checkpoints_init(area, area_size, 100);
    printf("%d\n", checkpoints_resume(&vcpu));
}

static void show_state(void)
{
    printf("%lu %lu %lu %u %u %u\n", vcpu.branches, events, console_bytes,
           crc32c(0, ram, sizeof(ram)), console_crc(), firmware_count);
}

static void show_list(void)
{
    u64 used, room;

    checkpoint_memory(&used, &room);
    for (unsigned int i = 0; i < checkpoint_count(); i++)
        printf("%u:%u ", checkpoint_info(i).id, checkpoint_info(i).pages);
    printf("%lu %lu\n", used, room);
}

static void show_changed(u64 page)
{
    for (unsigned int i = 0; i < checkpoint_count(); i++)
        if (checkpoint_changed(i, page * PAGE_SIZE))
            printf("%u ", checkpoint_info(i).id);
    puts("");
}

int main(void)
{
    char word[16];
    unsigned int a, b;

    setvbuf(stdout, NULL, _IOLBF, 0);
    while (scanf("%15s", word) == 1) {
        if (strcmp(word, "pages") == 0 && scanf("%u", &a) == 1)
            start(a);
        else if (strcmp(word, "write") == 0 && scanf("%u %u", &a, &b) == 2)
            write_page(a, b);
        else if (strcmp(word, "touch") == 0)
            touch();
        else if (strcmp(word, "go") == 0 && scanf("%u", &a) == 1)
            go(a);
        else if (strcmp(word, "take") == 0)
            printf("%d\n", checkpoint_take(&vcpu));
        else if (strcmp(word, "restore") == 0 && scanf("%u", &a) == 1)
            printf("%d\n", checkpoint_restore(&vcpu, a));
        else if (strcmp(word, "resume") == 0)
            resume();
        else if (strcmp(word, "state") == 0)
            show_state();
        else if (strcmp(word, "list") == 0)
            show_list();
        else if (strcmp(word, "changed") == 0 && scanf("%u", &a) == 1)
            show_changed(a);
        else
            return 1;
    }
    free(area);
    return 0;
}
