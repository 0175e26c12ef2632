/* A network appliance that answers pings and echoes datagrams: small enough to be read in one go,
   and a guest of lvmm's tests. Words on its command line: `race` plants a bug, see pool.h;
   `impatient` another, see e1000.h;
   `on-demand` asks for the recording to begin at the first frame (lvmm record --on-demand). */
#include "console.h"
#include "e1000.h"
#include "interrupts.h"
#include "lvmm.h"
#include "memory.h"
#include "net.h"
#include "panic.h"

#define MULTIBOOT_MAGIC        0x2badb002u /* what a loader leaves in EAX */
#define MULTIBOOT_COMMAND_LINE (1u << 2)

/* Multiboot specification 0.6.96, 3.3; as far as it is used. */
struct multiboot_info {
    u32 flags, memory_lower, memory_upper, boot_device;
    const char *command_line;
};

void appliance(u32 magic, const struct multiboot_info *info);

/* ./lvmm bench counts instructions from one such prefetch to the other (boards/bochs/pmu/stats.h);
   elsewhere it does nothing. */
#define COUNT_BEGIN 0xf04c5601u
#define COUNT_END   0xf04c5602u

static void count_from_here(u32 address)
{
    __asm__ volatile("prefetchnta (%0)" : : "r"(address));
}

/* Is the word one of the line's? */
static bool has_word(const char *line, const char *word, u32 length)
{
    while (*line) {
        u32 end = 0;
        while (line[end] && line[end] != ' ')
            end++;
        if (end == length && memcmp(line, word, length) == 0)
            return true;
        line += end;
        while (*line == ' ')
            line++;
    }
    return false;
}

static void print_counters(void)
{
    struct e1000_counters card = e1000_counters();
    struct net_counters net = net_counters();
    print("appliance: %u interrupts, %u frames received, %u sent, %u damaged, %u dropped\n",
          card.interrupts, card.received, card.sent, card.damaged, card.dropped);
    print("appliance: answered %u ARP, %u ICMP, %u UDP, digest %x; ignored %u\n", net.arp, net.icmp,
          net.udp, net.digest, net.ignored);
}

/* With interrupts off: the next frame. A frame that comes after the look at the queue interrupts
   the wait. */
static struct buffer *wait_for_frame(void)
{
    struct buffer *frame;
    while ((frame = e1000_receive()) == 0)
        wait_for_interrupt();
    return frame;
}

static void serve(bool record)
{
    bool quit = false;
    while (!quit) {
        interrupts_off();
        struct buffer *frame = wait_for_frame();
        interrupts_on();
        if (record)
            lvmm_start_recording();
        record = false;
        quit = net_receive(frame);
        pool_put(frame);
    }
}

void appliance(u32 magic, const struct multiboot_info *info)
{
    console_start();
    interrupts_start();
    if (magic != MULTIBOOT_MAGIC)
        panic("not started by a multiboot loader");
    const char *line = info->flags & MULTIBOOT_COMMAND_LINE ? info->command_line : "";
    pool_start(has_word(line, "race", 4));
    u32 interrupt = e1000_start(has_word(line, "impatient", 9));
    const u8 ip[] = NET_ADDRESS;
    print("appliance: %u.%u.%u.%u, interrupt line %u\n", ip[0], ip[1], ip[2], ip[3], interrupt);
    lvmm_mark("serving");
    count_from_here(COUNT_BEGIN);
    serve(has_word(line, "on-demand", 9));
    count_from_here(COUNT_END);
    print_counters();
    reset();
}
