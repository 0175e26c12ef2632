#ifndef WORKLOAD_H
#define WORKLOAD_H

/* Receives so many datagrams and prints their digest; with a path their content is written there,
   too, in the order in which they arrive. */
void receive_datagrams(unsigned count, const char *path);

/* Two processes race for a counter; who wins and what gets lost is up to the timer interrupts. */
void print_race(unsigned long steps);

#endif
