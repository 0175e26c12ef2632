#ifndef FAIL_H
#define FAIL_H

/* Ends the program with its name, this and errno's message. */
void fail(const char *what) __attribute__((noreturn));

#endif
