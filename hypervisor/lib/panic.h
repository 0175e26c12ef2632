/* panic() is for the monitor's own faults only, never for what a guest does. */
#ifndef LVMM_LIB_PANIC_H
#define LVMM_LIB_PANIC_H

/* Prints the message on the monitor's serial line, seals the log and halts the machine. */
__attribute__((noreturn, format(printf, 1, 2))) void panic(const char *format, ...);

#endif
