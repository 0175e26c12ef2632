/*
 * Loads for a recorded Linux, each made to meet what is hard for replay (docs/determinism.md). A
 * load prints one line with a number that depends on all that it saw.
 */
#ifndef STRESS_H
#define STRESS_H

#include <stddef.h>
#include <stdint.h>

/* Each returns the number of its line; `rounds` is at least 1. */
uint64_t stress_faults(unsigned rounds);
uint64_t stress_fork(unsigned rounds);
uint64_t stress_fpu(unsigned rounds);
uint64_t stress_rep(unsigned rounds);
uint64_t stress_selfmod(unsigned rounds);
uint64_t stress_switch(unsigned rounds);
uint64_t stress_timers(unsigned rounds);
uint64_t stress_tsc(unsigned rounds);

/* FNV-1a, 64 bits: stress_hash(HASH_START, ...), then with the last result. */
#define HASH_START 0xcbf29ce484222325ull
uint64_t stress_hash(uint64_t hash, const void *data, size_t length);

/* A page-aligned mapping of this process's own, readable and writable; `shared` with children. */
void *stress_map(size_t length, int shared);

/* SIGALRM every `microseconds` of real time; 0: no more. */
void stress_alarms(unsigned microseconds);
/* How many there were, and a hash of where they came. */
extern volatile uint64_t stress_alarm_count, stress_alarm_places;

#endif
