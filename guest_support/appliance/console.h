/* Text on COM1, 115,200 baud, 8N1. */
#ifndef APPLIANCE_CONSOLE_H
#define APPLIANCE_CONSOLE_H

void console_start(void);

void console_write(const char *text);

/* The format is text_of()'s. */
void print(const char *format, ...);

#endif
