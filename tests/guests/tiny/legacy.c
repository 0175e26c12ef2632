/* The PC's devices that do no DMA: the real-time clock and the HPET, both with their interrupts,
   the PS/2 keyboard's controller, and the text screen. Their interrupts hit a busy loop. */
#include "runtime.h"

#define TICKS 12 /* of each clock */
#define KEYS  6
#define CELLS 6 /* of the screen */

#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE       0xa0
#define PIC_SLAVE_MASK  0xa1
#define KEY_VECTOR      (TIMER_VECTOR + 1)
#define CLOCK_VECTOR    (TIMER_VECTOR + 8)

/* MC146818A: registers, periodic interrupt at 2^(16-6) Hz. */
#define RTC_INDEX    0x70
#define RTC_DATA     0x71
#define RTC_A        10
#define RTC_B        11
#define RTC_C        12
#define RTC_RATE     6
#define RTC_UPDATING 0x80
#define RTC_PERIODIC 0x40

/* IA-PC HPET specification 1.0a, 2.3. */
#define HPET               0xfed00000u
#define HPET_PERIOD        0x004 /* femtoseconds */
#define HPET_CONFIG        0x010
#define HPET_COUNTER       0x0f0
#define HPET_TIMER0_CONFIG 0x100
#define HPET_TIMER0_AT     0x108
#define HPET_ON_AT_IRQ0    3
#define HPET_INTERRUPT     4
#define HPET_32_BITS       0x100
#define HPET_STEP          20000 /* periods from one interrupt to the next */

#define KEYBOARD_DATA     0x60
#define KEYBOARD_COMMAND  0x64
#define KEYBOARD_FULL_OUT 1
#define KEYBOARD_FULL_IN  2
#define READ_CONFIG       0x20
#define WRITE_CONFIG      0x60
#define CONFIG_IRQ1       1
#define AS_FROM_KEYBOARD  0xd2 /* the next byte comes back, as if it were a key's */
#define FIRST_KEY         0x10
#define ECHO              0xee

#define SCREEN           0xb8000u
#define CRTC_INDEX       0x3d4
#define CRTC_DATA        0x3d5
#define CRTC_CURSOR_HIGH 14
#define VGA_STATUS       0x3da

struct hit {
    u32 eip, count, value;
};

static struct hit hits[TICKS];
static volatile u32 taken;
static u8 keys[KEYS];
static volatile u32 pressed;

static u32 read_mmio(u32 address) {
    return *(volatile u32 *)address;
}

static void write_mmio(u32 address, u32 value) {
    *(volatile u32 *)address = value;
}

static u8 read_rtc(u8 index) {
    out8(RTC_INDEX, index);
    return in8(RTC_DATA);
}

static void write_rtc(u8 index, u8 value) {
    out8(RTC_INDEX, index);
    out8(RTC_DATA, value);
}

/* Is another one wanted? After the last the device is silenced at once: the monitor may take an
   interrupt while the guest has them disabled, and give it to the guest later. */
static int note(const struct frame *frame, u32 value) {
    hits[taken++] = (struct hit){frame->eip, frame->ecx, value};
    return taken < TICKS;
}

static void on_hpet(struct frame *frame) {
    u32 now = read_mmio(HPET + HPET_COUNTER);
    if (note(frame, now))
        write_mmio(HPET + HPET_TIMER0_AT, now + HPET_STEP);
    else
        write_mmio(HPET + HPET_CONFIG, 0);
    acknowledge_timer();
}

static void on_rtc(struct frame *frame) {
    if (!note(frame, read_rtc(RTC_C)))
        write_rtc(RTC_B, read_rtc(RTC_B) & (u8)~RTC_PERIODIC);
    out8(PIC_SLAVE, 0x20);
    acknowledge_timer();
}

static void on_key(struct frame *frame) {
    (void)frame;
    if (in8(KEYBOARD_COMMAND) & KEYBOARD_FULL_OUT) {
        u8 key = in8(KEYBOARD_DATA);
        if (pressed < KEYS)
            keys[pressed++] = key;
    }
    acknowledge_timer();
}

/* Counts until an interrupt has hit so often, and prints where. */
static void spin_and_print(const char *clock) {
    enable_interrupts();
    u32 count = 0;
    __asm__ volatile("1: inc %0\n\t"
                     "test $0x40, %0\n\t"
                     "jz 2f\n\t"
                     "inc %0\n\t"
                     "2: cmpl %2, %1\n\t"
                     "jb 1b"
                     : "+c"(count)
                     : "m"(taken), "i"(TICKS)
                     : "cc", "memory");
    disable_interrupts();
    for (u32 i = 0; i < TICKS; i++)
        print("%s %x eip %x ecx %x\n", clock, hits[i].value, hits[i].eip, hits[i].count);
    taken = 0;
}

static void use_rtc(void) {
    while (read_rtc(RTC_A) & RTC_UPDATING) {
    }
    print("rtc time %x %x %x date %x %x %x\n", read_rtc(4), read_rtc(2), read_rtc(0), read_rtc(7),
          read_rtc(8), read_rtc(9));
    u8 rates = read_rtc(RTC_A);
    set_handler(CLOCK_VECTOR, on_rtc);
    out8(PIC_MASTER_MASK, 0xfb);
    out8(PIC_SLAVE_MASK, 0xfe);
    write_rtc(RTC_A, (u8)((rates & 0xf0) | RTC_RATE));
    write_rtc(RTC_B, read_rtc(RTC_B) | RTC_PERIODIC);
    read_rtc(RTC_C);
    spin_and_print("rtc");
    out8(PIC_SLAVE_MASK, 0xff);
}

static void use_hpet(void) {
    print("hpet period %x\n", read_mmio(HPET + HPET_PERIOD));
    set_handler(TIMER_VECTOR, on_hpet);
    out8(PIC_MASTER_MASK, 0xfe);
    write_mmio(HPET + HPET_TIMER0_CONFIG, HPET_INTERRUPT | HPET_32_BITS);
    write_mmio(HPET + HPET_TIMER0_AT, read_mmio(HPET + HPET_COUNTER) + HPET_STEP);
    write_mmio(HPET + HPET_CONFIG, HPET_ON_AT_IRQ0);
    spin_and_print("hpet");
    out8(PIC_MASTER_MASK, 0xff);
}

static void to_keyboard(u16 port, u8 value) {
    while (in8(KEYBOARD_COMMAND) & KEYBOARD_FULL_IN) {
    }
    out8(port, value);
}

static u8 from_keyboard(void) {
    while (!(in8(KEYBOARD_COMMAND) & KEYBOARD_FULL_OUT)) {
    }
    return in8(KEYBOARD_DATA);
}

static void use_keyboard(void) {
    while (in8(KEYBOARD_COMMAND) & KEYBOARD_FULL_OUT)
        in8(KEYBOARD_DATA);
    to_keyboard(KEYBOARD_DATA, ECHO);
    print("keyboard echo %x\n", from_keyboard());
    to_keyboard(KEYBOARD_COMMAND, READ_CONFIG);
    u8 config = from_keyboard();
    print("keyboard config %x\n", config);
    to_keyboard(KEYBOARD_COMMAND, WRITE_CONFIG);
    to_keyboard(KEYBOARD_DATA, config | CONFIG_IRQ1);
    set_handler(KEY_VECTOR, on_key);
    out8(PIC_MASTER_MASK, 0xfd);
    enable_interrupts();
    for (u32 i = 0; i < KEYS; i++) {
        to_keyboard(KEYBOARD_COMMAND, AS_FROM_KEYBOARD);
        to_keyboard(KEYBOARD_DATA, (u8)(FIRST_KEY + i));
        while (pressed <= i) {
        }
    }
    disable_interrupts();
    for (u32 i = 0; i < KEYS; i++)
        print("key %x\n", keys[i]);
    out8(PIC_MASTER_MASK, 0xff);
}

static void use_screen(void) {
    volatile u16 *cells = (volatile u16 *)SCREEN;
    print("screen was %x\n", cells[0]);
    for (u32 i = 0; i < CELLS; i++)
        cells[i] = (u16)(0x1e00 | ('A' + i));
    for (u32 i = 0; i < CELLS; i++)
        print("screen %x\n", cells[i]);
    out8(CRTC_INDEX, CRTC_CURSOR_HIGH);
    u8 high = in8(CRTC_DATA);
    out8(CRTC_INDEX, CRTC_CURSOR_HIGH + 1);
    print("cursor %x\n", (u32)high << 8 | in8(CRTC_DATA));
    u32 set = 0;
    for (u32 i = 0; i < 256; i++)
        set = set << 1 ^ (in8(VGA_STATUS) & 9) ^ set >> 27;
    print("retraces %x\n", set);
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    start_timer(100); /* for the mapping of the interrupts; masked until its device is used */
    out8(PIC_MASTER_MASK, 0xff);
    use_rtc();
    use_hpet();
    use_keyboard();
    use_screen();
    end_halted();
}
