/* Ways to end. */
#ifndef APPLIANCE_PANIC_H
#define APPLIANCE_PANIC_H

/* Something that cannot be has happened: says so, and halts. The format is print()'s. */
_Noreturn void panic(const char *format, ...);

/* Resets the machine. */
_Noreturn void reset(void);

#endif
