/* From GRUB to the running guest. */
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/msr_index.h"
#include "arch/mtrr.h"
#include "arch/paging.h"
#include "arch/pmu.h"
#include "arch/rtc.h"
#include "arch/serial.h"
#include "arch/traps.h"
#include "arch/tsc.h"
#include "board_config.h"
#include "boot/dma_streams.h"
#include "boot/guest_loader.h"
#include "boot/multiboot2.h"
#include "boot/page0.h"
#include "boot/probe.h"
#include "boot/settings.h"
#include "boot/unsaved_log.h"
#include "core/early_reads.h"
#include "core/fence.h"
#include "core/guest_cpuid.h"
#include "core/guest_memory.h"
#include "core/machine_power.h"
#include "core/memory_map.h"
#include "core/passthrough.h"
#include "core/run.h"
#include "core/triggers.h"
#include "core/watchdog.h"
#include "debug/debugger.h"
#include "lib/crc32c.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "lib/text.h"
#include "replay/checkpoint.h"
#include "replay/position.h"
#include "replay/segment.h"
#include "replay/session.h"
#include "replay/snapshot.h"
#include "vmx/ept.h"

#define MIB 0x100000ULL

/* At the end of RAM: what the boot loader may use there would be lost with kept checkpoints. */
#define BOOT_LOADER_ROOM (128 * MIB)

extern u8 image_end[];

static struct boot_info boot;
static struct settings settings;
static struct pmu_info pmu;
static struct vcpu vcpu;
static struct log_image images[BOOT_MODULES_MAX];
static u64 staging_top = LOG_BASE + LOG_SIZE;

__attribute__((noreturn)) static void halt(const char *reason)
{
    printk("{\"lvmm\":\"halted\",\"reason\":\"%s\",\"branches\":0,\"events\":0,\"rip\":0}\n",
           reason);
    cpu_halt_forever();
}

__attribute__((noreturn)) static void stop(void)
{
    halt("error");
}

static void read_fence(void)
{
    char text[FENCE_EXCEPTIONS_MAX * 8 + 1];
    bool open = text_option(boot.cmdline, "unfenced", text, sizeof(text)) >= 0;

    if (fence_init(open ? text : NULL) < 0)
        stop();
}

static void read_settings(void)
{
    if (!settings_read(boot.cmdline, &settings))
        stop();
    read_fence();
    if (settings.mode == LOG_MODE_RECORD && triggers_init(boot.cmdline) < 0)
        stop();
    settings.on_demand |= triggers_start();
}

/* Moves the modules to the end of the log region, where neither guest memory nor the log's
 * beginning is, so that guest RAM can be cleared before they are put in place. */
static void stage_modules(void)
{
    for (unsigned int i = 0; i < boot.module_count; i++) {
        struct boot_module *m = &boot.modules[i];
        u64 to = (staging_top - m->size) & ~PAGE_MASK;

        if (m->size > staging_top - LOG_BASE || to < LOG_BASE + LOG_SIZE / 4) {
            printk("lvmm: the boot modules do not fit into the log region\n");
            stop();
        }
        memmove((void *)to, (const void *)m->start, m->size);
        m->start = to;
        staging_top = to;
    }
}

static void clear_guest_memory(void)
{
    memset((void *)MIB, 0, settings.guest_memory - MIB);
    /* Below 1 MiB only what the guest will see as RAM, but not page 0 and the EBDA. */
    for (u64 page = PAGE_SIZE; page < 0xa0000; page += PAGE_SIZE)
        if (guest_memory_kind(page) == GPA_RAM)
            memset((void *)page, 0, PAGE_SIZE);
}

static u32 image_role(const char *role)
{
    if (text_equal(role, "linux") || text_equal(role, "multiboot") || text_equal(role, "sector"))
        return LOG_IMAGE_ROLE_KERNEL;
    return text_equal(role, "initrd") ? LOG_IMAGE_ROLE_INITRD : LOG_IMAGE_ROLE_MODULE;
}

static u32 describe_images(void)
{
    u32 n = 0;

    for (unsigned int i = 0; i < boot.module_count; i++) {
        const struct boot_module *m = &boot.modules[i];

        if (!text_equal(m->role, "log"))
            images[n++] = (struct log_image){m->size, image_role(m->role),
                                             crc32c(0, (const void *)m->start, m->size)};
    }
    return n;
}

static struct log_text log_text(const char *s)
{
    return (struct log_text){s, (u32)strlen(s)};
}

static void cpu_brand(char *text)
{
    for (u32 i = 0; i < 3; i++) {
        struct cpuid_regs r = cpuid(0x80000002 + i, 0);

        memcpy(text + i * 16, &r, sizeof(r));
    }
    text[48] = 0;
}

static void start_session(const char *command_line, u32 guest_kind)
{
    static struct log_e820_entry e820[GUEST_E820_MAX];
    static char brand[49];
    const struct memory_range *map;
    u32 signature = cpuid(1, 0).eax;
    struct log_recording_header header = {
        .machine = {.guest_memory_bytes = settings.guest_memory,
                    .tsc_hz = tsc_frequency(),
                    .cpu_family = signature >> 8 & 15,
                    .cpu_model = (signature >> 4 & 15) | (signature >> 12 & 0xf0),
                    .cpu_stepping = signature & 15,
                    .counter_event = (u32)pmu.event,
                    .flags = (settings.ring.size != 0 ? LOG_MACHINE_FLAG_OVERWRITES : 0) |
                             (fence_is_open() ? LOG_MACHINE_FLAG_UNSOUND : 0),
                    .guest_kind = guest_kind},
        .monitor_version = log_text(LVMM_VERSION),
        .board = log_text(BOARD_NAME),
        .command_line = log_text(command_line),
        .images = images,
        .images_count = describe_images(),
        .e820 = e820,
        .e820_count = guest_memory_e820(&map),
    };

    cpu_brand(brand);
    header.cpu_brand = log_text(brand);
    if (session_recording()) {
        header.machine.start_time = rtc_read();
        header.machine.start_tsc = rdtsc();
    }
    header.dma_streams_count = dma_streams_describe(&header.dma_streams);
    header.cpuid_count = guest_cpuid_table(&header.cpuid);
    for (u32 i = 0; i < header.e820_count; i++)
        e820[i] = (struct log_e820_entry){map[i].base, map[i].length, map[i].type, 0};
    if (session_start(&header) < 0)
        stop();
}

static void load_guest(struct start_state *start)
{
    const struct boot_module *guest = NULL;
    u32 kind;
    int error;

    if (settings.disk) {
        kind = LOG_GUEST_KIND_DISK;
        error = load_disk((u8)settings.drive, start);
    } else if ((guest = boot_module_find(&boot, "linux")) != NULL) {
        kind = LOG_GUEST_KIND_LINUX;
        error = load_linux(&boot, guest, start);
    } else if ((guest = boot_module_find(&boot, "multiboot")) != NULL) {
        kind = LOG_GUEST_KIND_MULTIBOOT;
        error = load_multiboot(&boot, guest, start);
    } else if ((guest = boot_module_find(&boot, "sector")) != NULL) {
        kind = LOG_GUEST_KIND_SECTOR;
        error = load_boot_sector(guest, start);
    } else {
        printk("lvmm: the boot image carries no guest (a module named linux, multiboot or "
               "sector), and no disk=0x80 asks for the machine's own disk\n");
        stop();
    }
    if (error < 0)
        stop();
    start_session(guest != NULL ? guest->args : "", kind);
}

static void open_session(void)
{
    const struct boot_module *log = boot_module_find(&boot, "log");
    u64 size = staging_top - LOG_BASE;

    if (settings.mode == LOG_MODE_REPLAY && log == NULL) {
        printk("lvmm: mode=replay needs a module named log\n");
        stop();
    }
    if (settings.mode == LOG_MODE_RECORD && !ring_read_words(boot.cmdline, &settings.ring))
        stop();
    if (settings.ring.size != 0) {
        settings.log_size = settings.ring.size;
        session_use_ring();
    }
    if (settings.log_size != 0 && settings.log_size < size)
        size = settings.log_size;
    if (session_open(settings.mode, (void *)LOG_BASE, size & ~PAGE_MASK,
                     log != NULL ? (const void *)log->start : NULL,
                     log != NULL ? log->size : 0) < 0)
        stop();
}

/* In replay the guest's machine is the recorded one. */
static void prepare_guest_view(void)
{
    if (guest_cpuid_build() < 0) {
        printk("lvmm: the machine's CPUID table is too large\n");
        stop();
    }
    if (session_replaying()) {
        const struct log_recording_header *h = session_header();

        if (guest_memory_use_map(h->e820, h->e820_count) < 0 ||
            guest_cpuid_use(h->cpuid, h->cpuid_count) < 0)
            stop();
    }
}

static void prepare_counter(void)
{
    struct lapic_state as_found;

    lapic_save(&as_found);
    lapic_enable();
    lapic_quiesce();
    if (pmu_init(&pmu) < 0 || pmu_self_test(&pmu) < 0)
        stop();
    if (!session_replaying()) /* in replay all stays quiet, but for the counter's NMI */
        lapic_restore(&as_found);
    position_init(pmu.skid_margin);
}

/* A recording that does not begin with the guest's start, to be made or to be replayed. */
static void prepare_segment(void)
{
    if (session_recording() && settings.on_demand)
        segment_wait();
    if (settings.ring.size != 0 && ring_start(&vcpu, &settings.ring) < 0)
        stop();
    if (session_recording() && settings.wait_for_room)
        session_wait_for_room(debugger_poll);
    if (session_replaying() && snapshot_recorded()) {
        clear_guest_memory();
        if (snapshot_restore(&vcpu) < 0)
            stop();
    }
}

/* A replay that can go back: what that takes is kept in the machine's RAM above the log region. */
static void prepare_checkpoints(void)
{
    u64 base = LOG_BASE + LOG_SIZE;
    u64 end = memory_map_ram_end(boot.mmap, boot.mmap_count, base, paging_mapped_end());
    int error;

    if (end > base + 2 * BOOT_LOADER_ROOM)
        end -= BOOT_LOADER_ROOM;
    if (!session_replaying() || settings.checkpoints == 0)
        return;
    error = checkpoints_init((void *)base, (end - base) & ~PAGE_MASK, settings.checkpoints);
    if (error == 0 && settings.resume) {
        clear_guest_memory();
        if (checkpoints_resume(&vcpu) < 0) {
            printk("lvmm: there are no checkpoints of this recording to resume from\n");
            stop();
        }
        return;
    }
    if (error < 0 || checkpoints_start(&vcpu) < 0) {
        printk("lvmm: no room for checkpoints: the machine has %lu MiB of RAM above the log "
               "region\n",
               (u64)((end - base) / MIB));
        stop();
    }
}

void monitor_main(u32 magic, u64 info);

void monitor_main(u32 magic, u64 info)
{
    static const char *const modes[] = {"live", "record", "replay"};
    struct start_state start;
    u8 *shadow = (u8 *)ALIGN_UP((u64)image_end, PAGE_SIZE);
    u64 shadow_size = MONITOR_BASE + MONITOR_SIZE - (u64)shadow;

    serial_init();
    if (magic != MULTIBOOT2_BOOTLOADER_MAGIC || multiboot2_parse(info, &boot) < 0) {
        printk("lvmm: not started by a Multiboot2 boot loader, or too many modules\n");
        stop();
    }
    boot_save_page0();
    traps_init();
    paging_init();
    read_settings();
    printk("{\"lvmm\":\"start\",\"mode\":\"%s\",\"version\":\"%s\",\"board\":\"%s\"}\n",
           modes[settings.mode], LVMM_VERSION, BOARD_NAME);
    if (settings.probe) {
        probe_machine(&boot, settings.guest_memory, shadow_size);
        halt("probe");
    }
    if (hv_check() < 0)
        stop();
    /* For the guest's vector state: without OSFXSR, FXSAVE leaves the XMM registers out. */
    write_cr4(read_cr4() | CR4_OSFXSR | (cpuid(1, 0).ecx & BIT(26) ? CR4_OSXSAVE : 0));
    mtrr_init();
    machine_power_init();
    /* Before anything is written outside of the monitor's own image. */
    if (guest_memory_init(settings.guest_memory, boot.mmap, boot.mmap_count) < 0)
        stop();
    if (watchdog_init(settings.watchdog) < 0)
        stop();
    /* In every mode: modules and the guest's console go into the log region. */
    if (!unsaved_log_region_is_free(&boot))
        stop();
    stage_modules();
    open_session();
    prepare_guest_view();
    clear_guest_memory();
    if (!session_replaying() && probe_configuration_space(&boot) < 0)
        stop();
    early_reads_init(settings.early_reads && session_recording());
    if (passthrough_init(shadow, shadow_size, (u32)settings.sent) < 0)
        stop();
    load_guest(&start);
    if (hv_enable() < 0)
        stop();
    ept_init();
    if (guest_memory_map() < 0 ||
        hv_setup(&vcpu, &start, ept_pointer(), settings.mode != LOG_MODE_LIVE) < 0)
        stop();
    if (settings.mode != LOG_MODE_LIVE)
        prepare_counter();
    prepare_segment();
    prepare_checkpoints();
    debugger_init(&vcpu, settings.wait);
    printk("{\"lvmm\":\"running\"}\n");
    for (;;) {
        run_guest(&vcpu);
        session_report(&vcpu);
        debugger_halted();
    }
}
