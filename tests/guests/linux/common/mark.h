/*
 * Marks for ./lvmm bench: at each the emulated board notes all its counters
 * (boards/bochs/pmu/stats.h). A prefetch never faults and never leaves the guest, so a mark costs
 * one instruction, with the monitor and without.
 */
#ifndef MARK_H
#define MARK_H

enum { MARK_READY, MARK_BEGIN, MARK_END };

#define MARK_ADDRESS 0xf04c5600ul

static inline void mark(unsigned id)
{
    __asm__ volatile("prefetchnta (%0)" : : "r"(MARK_ADDRESS + id) : "memory");
}

#endif
