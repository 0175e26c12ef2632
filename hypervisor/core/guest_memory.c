#include "core/guest_memory.h"
#include "arch/cpu.h"
#include "arch/paging.h"
#include "board_config.h"
#include "boot/page0.h"
#include "core/memory_map.h"
#include "core/page_journal.h"
#include "debug/debugger.h"
#include "debug/patches.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "replay/session.h"
#include "vmx/ept.h"

#define FIRMWARE_PAGES_MAX 512

#define LOW_RAM_END    0xa0000ULL
#define LEGACY_ROM     0xc0000ULL
#define LOW_MEMORY_END 0x100000ULL
#define FLASH_START    0xffc00000ULL
#define FLASH_END      0x100000000ULL

static u64 ram_size;
static struct memory_range guest_map[GUEST_E820_MAX];
static unsigned int guest_count;

static struct log_firmware_copy firmware[FIRMWARE_PAGES_MAX];
static unsigned int firmware_count;
static u8 firmware_data[FIRMWARE_PAGES_MAX][PAGE_SIZE] __attribute__((aligned(4096)));

/* Pages that are known to be devices', by their number: the guest's map does not change while it
 * runs. 0: none, for page 0 is the firmware's. */
#define DEVICE_PAGES 32
static u64 device_pages[DEVICE_PAGES];

/* Nearly all that is asked for. */
bool guest_memory_plain(u64 gpa, u64 len)
{
    return gpa >= LOW_MEMORY_END && gpa < ram_size && len <= ram_size - gpa;
}

static u32 guest_type(u64 address)
{
    for (unsigned int i = 0; i < guest_count; i++)
        if (address - guest_map[i].base < guest_map[i].length)
            return guest_map[i].type;
    return 0;
}

static bool add_guest_range(u64 base, u64 end, u32 type)
{
    if (base >= end)
        return true;
    if (guest_count == GUEST_E820_MAX)
        return false;
    guest_map[guest_count++] = (struct memory_range){base, end - base, type};
    return true;
}

static int build_guest_map(const struct memory_range *map, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        u64 base = map[i].base, end = base + map[i].length;
        u64 split = end < ram_size ? end : ram_size;
        bool ok;

        if (map[i].type != MEMORY_RAM) {
            ok = add_guest_range(base, end, map[i].type);
        } else {
            if (split < base)
                split = base;
            ok = add_guest_range(base, split, MEMORY_RAM) &&
                 add_guest_range(split, end, MEMORY_HIDDEN);
        }
        if (!ok)
            return ERR_NO_SPACE;
    }
    return 0;
}

int guest_memory_init(u64 size, const struct memory_range *map, unsigned int count)
{
    const struct {
        const char *what;
        u64 base, end;
    } needed[] = {
        {"guest memory", LOW_MEMORY_END, size},
        {"the monitor", MONITOR_BASE, MONITOR_BASE + MONITOR_SIZE},
        {"the log region", LOG_BASE, LOG_BASE + LOG_SIZE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
        u64 end = memory_map_ram_end(map, count, needed[i].base, needed[i].end);

        if (end < needed[i].end) {
            printk("lvmm: %s is to be at %lx-%lx, but the machine has no RAM at %lx\n",
                   needed[i].what, needed[i].base, needed[i].end - 1, end);
            return ERR_NO_SPACE;
        }
    }
    ram_size = size;
    if (build_guest_map(map, count) < 0) {
        printk("lvmm: the machine's memory map has too many ranges\n");
        return ERR_NO_SPACE;
    }
    return 0;
}

int guest_memory_use_map(const struct log_e820_entry *entries, unsigned int count)
{
    guest_count = 0;
    memset(device_pages, 0, sizeof(device_pages));
    for (unsigned int i = 0; i < count; i++)
        if (!add_guest_range(entries[i].base, entries[i].base + entries[i].length, entries[i].type))
            return ERR_NO_SPACE;
    return 0;
}

static struct memory_range *low_range(void)
{
    for (unsigned int i = 0; i < guest_count; i++)
        if (guest_map[i].base == 0 && guest_map[i].type == MEMORY_RAM)
            return &guest_map[i];
    return NULL;
}

u64 guest_memory_low_end(void)
{
    const struct memory_range *low = low_range();

    return low != NULL ? low->length : 0;
}

int guest_memory_reserve_low(u64 base)
{
    struct memory_range *low = low_range();
    u64 end = guest_memory_low_end();

    if (base >= end || guest_count == GUEST_E820_MAX)
        return ERR_NO_SPACE;
    memmove(low + 2, low + 1, (size_t)(guest_map + guest_count - (low + 1)) * sizeof(*low));
    guest_count++;
    low[0].length = base;
    low[1] = (struct memory_range){base, end - base, MEMORY_RESERVED};
    return 0;
}

u64 guest_memory_size(void)
{
    return ram_size;
}

unsigned int guest_memory_e820(const struct memory_range **map)
{
    *map = guest_map;
    return guest_count;
}

/* BIOS data area and EBDA are RAM with content; the legacy ROM area and the flash are not. */
static bool is_firmware(u64 gpa, bool *writable)
{
    u32 type = guest_type(gpa);

    *writable = true;
    if (gpa < PAGE_SIZE)
        return true;
    if (gpa < LOW_RAM_END)
        return type != MEMORY_RAM || guest_type(gpa + PAGE_SIZE - 1) != MEMORY_RAM;
    if (gpa >= LEGACY_ROM && gpa < LOW_MEMORY_END) {
        *writable = false;
        return true;
    }
    if (gpa >= FLASH_START && gpa < FLASH_END) {
        *writable = false;
        return true;
    }
    return type == MEMORY_ACPI || type == MEMORY_NVS;
}

static int find_firmware(u64 page)
{
    for (unsigned int i = 0; i < firmware_count; i++)
        if (firmware[i].gpa == page)
            return (int)i;
    return -1;
}

static enum gpa_kind kind_of(u64 page)
{
    bool writable;

    if (page >= LOW_MEMORY_END && page < ram_size)
        return GPA_RAM;
    if (is_firmware(page, &writable)) {
        if (find_firmware(page) < 0)
            return GPA_FIRMWARE;
        return writable ? GPA_RAM : GPA_ROM;
    }
    if (page < LOW_RAM_END)
        return GPA_RAM;
    if (page >= paging_mapped_end()) /* nothing that the monitor could reach */
        return GPA_HIDDEN;
    return guest_type(page) == MEMORY_HIDDEN ? GPA_HIDDEN : GPA_DEVICE;
}

enum gpa_kind guest_memory_kind(u64 gpa)
{
    u64 page = gpa & ~PAGE_MASK;
    u64 *known = &device_pages[page * 0x9e3779b97f4a7c15ULL >> 59];
    enum gpa_kind kind;

    if (*known == page && page != 0)
        return GPA_DEVICE;
    kind = kind_of(page);
    if (kind == GPA_DEVICE)
        *known = page;
    return kind;
}

int guest_memory_map(void)
{
    for (u64 page = 0; page < LOW_RAM_END; page += PAGE_SIZE)
        if (guest_memory_kind(page) == GPA_RAM && ept_map(page, page, PAGE_SIZE, EPT_ALL) < 0)
            return ERR_NO_SPACE;
    return ept_map(LOW_MEMORY_END, LOW_MEMORY_END, ram_size - LOW_MEMORY_END, EPT_ALL);
}

/* Makes `data` the content of a firmware page from now on. */
static int add_firmware(u64 page, const void *data)
{
    bool writable;
    int error;

    if (firmware_count == FIRMWARE_PAGES_MAX) {
        printk("lvmm: the guest touches more than %u firmware pages\n", FIRMWARE_PAGES_MAX);
        return ERR_NO_SPACE;
    }
    memcpy(firmware_data[firmware_count], data, PAGE_SIZE);
    is_firmware(page, &writable);
    firmware[firmware_count] = (struct log_firmware_copy){
        .gpa = page, .data = (u64)firmware_data[firmware_count], .writable = writable};
    session_show_firmware(firmware, ++firmware_count);
    page_journal_add(page);
    error = guest_memory_show(page, EPT_ALL);
    hv_flush_guest_tlb();
    return error;
}

int guest_memory_touch(struct vcpu *vcpu, u64 gpa)
{
    u64 page = gpa & ~PAGE_MASK;
    struct log_event e = {
        .kind = LOG_EVENT_FIRMWARE_PAGE,
        .payload.firmware_page.gpa = page,
        .data = (const void *)page,
        .data_len = PAGE_SIZE,
    };
    int error;

    /* Page 0 is unmapped in the monitor: its copy was taken at boot. */
    if (page == 0)
        e.data = boot_page0();
    error = session_input(vcpu, &e);
    return error < 0 ? error : add_firmware(page, e.data);
}

/* Where the monitor finds a page of guest memory; NULL if it is no RAM or not touched yet. */
static u8 *page_pointer(u64 page, bool write)
{
    bool writable;
    int i;

    if (page >= LOW_MEMORY_END)
        if (page < ram_size)
            return (u8 *)page;
    if (is_firmware(page, &writable)) {
        i = find_firmware(page);
        return i < 0 || (write && !writable) ? NULL : firmware_data[i];
    }
    return page < LOW_RAM_END ? (u8 *)page : NULL;
}

static bool accessible(u64 gpa, u64 len, bool write)
{
    if (guest_memory_plain(gpa, len))
        return true;
    if (gpa + len < gpa)
        return false;
    for (u64 page = gpa & ~PAGE_MASK; page < gpa + len; page += PAGE_SIZE)
        if (page_pointer(page, write) == NULL)
            return false;
    return true;
}

static void copy(u64 gpa, u8 *buf, u64 len, bool write)
{
    while (len > 0) {
        u64 offset = gpa & PAGE_MASK;
        u64 n = guest_memory_plain(gpa, len) || len < PAGE_SIZE - offset ? len : PAGE_SIZE - offset;
        u8 *p = page_pointer(gpa - offset, write) + offset;

        if (write)
            memcpy(p, buf, n);
        else
            memcpy(buf, p, n);
        gpa += n;
        buf += n;
        len -= n;
    }
}

const void *guest_memory_page(u64 gpa)
{
    return page_pointer(gpa & ~PAGE_MASK, false);
}

const void *guest_memory_firmware(unsigned int i, u64 *gpa)
{
    if (i >= firmware_count)
        return NULL;
    *gpa = firmware[i].gpa;
    return firmware_data[i];
}

unsigned int guest_memory_firmware_count(void)
{
    return firmware_count;
}

void guest_memory_forget_firmware(unsigned int count)
{
    while (firmware_count > count) {
        u64 page = firmware[--firmware_count].gpa;

        ept_map(page, page, PAGE_SIZE, 0);
    }
}

void guest_memory_put_back(u64 gpa, const void *page)
{
    u8 *to = page_pointer(gpa, true);

    if (to == NULL)
        return;
    memcpy(to, page, PAGE_SIZE);
    patches_memory_written(gpa, PAGE_SIZE);
}

bool guest_memory_is_firmware(u64 gpa)
{
    bool writable;

    return (gpa < LOW_MEMORY_END || gpa >= ram_size) && is_firmware(gpa & ~PAGE_MASK, &writable);
}

int guest_memory_restore(u64 gpa, const void *page)
{
    if (gpa & PAGE_MASK)
        return ERR_INVALID;
    if (guest_memory_kind(gpa) == GPA_FIRMWARE)
        return add_firmware(gpa, page);
    return guest_memory_kind(gpa) == GPA_RAM ? guest_memory_write(gpa, page, PAGE_SIZE)
                                             : ERR_INVALID;
}

int guest_memory_read(u64 gpa, void *buf, u64 len)
{
    if (guest_memory_plain(gpa, len)) {
        memcpy(buf, (const void *)gpa, len);
        return 0;
    }
    if (!accessible(gpa, len, false))
        return ERR_FAULT;
    copy(gpa, buf, len, false);
    return 0;
}

int guest_memory_write(u64 gpa, const void *buf, u64 len)
{
    if (!accessible(gpa, len, true))
        return ERR_FAULT;
    if (page_journal_on())
        for (u64 page = gpa & ~PAGE_MASK; page < gpa + len; page += PAGE_SIZE)
            page_journal_open(page);
    debugger_memory_write(gpa, buf, len);
    if (guest_memory_plain(gpa, len))
        memcpy((void *)gpa, buf, len);
    else
        copy(gpa, (u8 *)(u64)buf, len, true);
    patches_memory_written(gpa, len);
    return 0;
}

u32 guest_memory_read_part(u64 gpa, void *buf, u32 len)
{
    u32 done = 0, part;

    for (; done < len; done += part) {
        part = guest_page_part(gpa + done, len - done);
        if (guest_memory_read(gpa + done, (u8 *)buf + done, part) < 0)
            break;
    }
    return done;
}

bool guest_memory_is_machine_ram(u64 address)
{
    u32 type = guest_type(address);

    return type == MEMORY_RAM || type == MEMORY_HIDDEN || type == MEMORY_ACPI || type == MEMORY_NVS;
}

bool guest_memory_backed(u64 gpa)
{
    return page_pointer(gpa & ~PAGE_MASK, false) != NULL;
}

u32 guest_memory_indexes(void)
{
    return (u32)(ram_size / PAGE_SIZE) + FIRMWARE_PAGES_MAX;
}

bool guest_memory_index(u64 gpa, u32 *index)
{
    u64 page = gpa & ~PAGE_MASK;

    if (page_pointer(page, true) == NULL)
        return false;
    *index =
        (u32)(page < ram_size ? page / PAGE_SIZE : ram_size / PAGE_SIZE + (u64)find_firmware(page));
    return true;
}

bool guest_memory_of_index(u32 index, u64 *gpa)
{
    u64 ram_pages = ram_size / PAGE_SIZE;

    if (index >= ram_pages && index - ram_pages >= firmware_count)
        return false;
    *gpa = index < ram_pages ? index * PAGE_SIZE : firmware[index - ram_pages].gpa;
    return page_pointer(*gpa, true) != NULL;
}

u64 guest_memory_page_tables(void)
{
    return ram_size / EPT_LARGE_PAGE + 1;
}

int guest_memory_map_by_page(void)
{
    u64 gpa;

    for (u32 i = 0; i < guest_memory_indexes(); i++)
        if (guest_memory_of_index(i, &gpa) && guest_memory_show(gpa, EPT_ALL) < 0)
            return ERR_NO_SPACE;
    hv_flush_guest_tlb();
    return 0;
}

int guest_memory_show(u64 gpa, unsigned int permissions)
{
    u64 page = gpa & ~PAGE_MASK;
    bool writable = page_pointer(page, true) != NULL && !page_journal_protects(page);

    return ept_map(page, (u64)page_pointer(page, false), PAGE_SIZE,
                   permissions & (unsigned int)(writable ? EPT_ALL : EPT_READ | EPT_EXECUTE));
}
