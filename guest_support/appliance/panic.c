#include "panic.h"
#include "console.h"
#include "cpu.h"
#include "lvmm.h"
#include "text.h"

/* The keyboard controller's command that pulses the reset line. */
#define KEYBOARD_COMMAND 0x64
#define PULSE_RESET      0xfe

static _Noreturn void halt(void)
{
    for (;;) {
        interrupts_off();
        __asm__ volatile("hlt");
    }
}

void panic(const char *format, ...)
{
    va_list arguments;
    interrupts_off();
    va_start(arguments, format);
    struct text text = text_of(format, arguments);
    va_end(arguments);
    print("appliance: panic: %s\n", text.characters);
    lvmm_panic(text.characters);
    halt();
}

void reset(void)
{
    interrupts_off();
    out8(KEYBOARD_COMMAND, PULSE_RESET);
    halt();
}
