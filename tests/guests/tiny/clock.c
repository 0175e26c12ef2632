/* Reads the time-stamp counter where readings are hard to tell apart: without a conditional branch
   in between, in loops that wait, in a loop that only an interrupt ends; and sets it. Waits for short
   times as drivers do, with PAUSE. */
#include "runtime.h"

#define MSR_TSC        0x10
#define MSR_TSC_ADJUST 0x3b
#define ROUNDS         200
#define WAIT           300000
#define SHORT_WAIT     100
#define PORT           0x80 /* of nothing: a write takes time */
#define SET_BACK       0x100000

static u32 digest, backwards, waits;
static u64 last;
static volatile u32 ticks;
static volatile u32 caught;

extern u8 endless[], endless_end[];

static void write_msr(u32 index, u64 value) {
    __asm__ volatile("wrmsr" ::"c"(index), "A"(value));
}

static void note(u64 tsc) {
    backwards += tsc < last;
    last = tsc;
    digest = digest * 31 + (u32)tsc + (u32)(tsc >> 32);
}

static void read_on(void) {
    u64 tsc[8];
    tsc[0] = rdtsc();
    tsc[1] = rdtsc();
    tsc[2] = rdtsc();
    tsc[3] = rdtsc();
    tsc[4] = rdtsc();
    tsc[5] = rdtsc();
    tsc[6] = rdtsc();
    tsc[7] = rdtsc();
    for (u32 i = 0; i < 8; i++)
        note(tsc[i]);
}

static void wait(void) {
    u64 start = rdtsc(), now;
    do {
        now = rdtsc();
        waits++;
    } while (now - start < WAIT);
    note(now);
}

static u32 short_wait(void) {
    out8(PORT, 0);
    u64 start = rdtsc();
    u32 readings = 0;
    while (rdtsc() - start < SHORT_WAIT) {
        __asm__ volatile("pause");
        readings++;
    }
    return readings;
}

/* The only way out is on_timer()'s. EAX and EDX, what was read, are noted there. */
static void read_without_end(void) {
    __asm__ volatile("sti\n"
                     "endless: rdtsc\n"
                     "inc %%ecx\n"
                     "jmp endless\n"
                     "endless_end: cli" ::
                         : "eax", "ecx", "edx", "memory");
}

static void on_timer(struct frame *frame) {
    if (frame->eip >= (u32)endless && frame->eip < (u32)endless_end) {
        note(frame->eax);
        frame->eip = (u32)endless_end;
        caught++;
    }
    ticks++;
    acknowledge_timer();
}

static void set_back(u32 index, u64 value) {
    write_msr(index, value);
    u64 tsc = rdtsc();
    print("set: %s\n", tsc >> 32 == 0 ? "taken" : "ignored");
    last = tsc;
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    for (u32 i = 0; i < ROUNDS; i++)
        read_on();
    u32 readings = 0;
    for (u32 i = 0; i < ROUNDS; i++)
        readings += short_wait();
    print("short waits: %u readings each\n", readings / ROUNDS);
    start_timer(100);
    enable_interrupts();
    while (ticks < 4)
        wait();
    disable_interrupts();
    print("backwards %u waits %u\n", backwards, waits);
    while (caught < 4)
        read_without_end();
    set_back(MSR_TSC, SET_BACK);
    for (u32 i = 0; i < ROUNDS; i++)
        read_on();
    wait();
    set_back(MSR_TSC_ADJUST, 0);
    wait();
    print("backwards %u digest %x\n", backwards, digest);
}
