/* Ways to end. */
#ifndef APPLIANCE_PANIC_H
#define APPLIANCE_PANIC_H

/* Something that cannot be has happened: says so, tells the monitor where there is one, and
   halts. The format is text_of()'s. */
_Noreturn void panic(const char *format, ...);

/* Resets the machine. */
_Noreturn void reset(void);

#endif
