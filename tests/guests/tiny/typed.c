/* Prints each line that is typed at its serial port; "end" ends it. Sleeps meanwhile. */
#include "runtime.h"

#define SERIAL 0x3f8
#define LSR    (SERIAL + 5)
#define MOST   60

static void on_timer(struct frame *frame) {
    (void)frame;
    acknowledge_timer();
}

static u8 read_key(void) {
    while (!(in8(LSR) & 1))
        halt();
    return in8(SERIAL);
}

static void read_line(char *line) {
    u32 length = 0;
    for (u8 key; (key = read_key()) != '\n' && key != '\r';)
        if (length < MOST)
            line[length++] = (char)key;
    line[length] = 0;
}

void guest_main(u32 magic, u32 info) {
    static char line[MOST + 1];
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    start_timer(100);
    enable_interrupts();
    print("type here\n");
    do {
        read_line(line);
        print("typed: %s, tsc %X\n", line, rdtsc());
    } while (line[0] != 'e' || line[1] != 'n' || line[2] != 'd' || line[3] != 0);
    end_halted();
}
