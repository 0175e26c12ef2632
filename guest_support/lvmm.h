/* For the guest of an lvmm monitor: what to record, notes in the recording, and a panic that the
 * debugger sees.
 *
 * Include this one file (and lvmm_abi.h beside it): C99 or C++11, GCC or Clang, 32 or 64 bit, no
 * library. All calls are for CPL 0, at any moment: interrupts on or off, with any stack. Without
 * the monitor lvmm_present() is 0 and the others do nothing. */
#ifndef LVMM_H
#define LVMM_H

#include "lvmm_abi.h"

#if !defined(__i386__) && !defined(__x86_64__)
#error "lvmm is for x86"
#endif

/* One call, without a look whether there is a monitor: #UD where there is none. */
static inline long lvmm_call(unsigned long function, const void *text, unsigned long length,
                             unsigned long number)
{
    unsigned long result;

    __asm__ volatile("vmcall"
                     : "=a"(result)
                     : "0"((unsigned long)LVMM_MAGIC), "b"(function), "c"(text), "d"(length),
                       "S"(number)
                     : "memory");
    return (long)result;
}

/* The version of the monitor's interface, 1 or higher; 0 where there is no lvmm. */
static inline long lvmm_present(void)
{
    unsigned int eax, ebx, ecx, edx;

    __asm__ volatile("cpuid"
                     : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx)
                     : "0"(LVMM_CPUID_LEAF), "2"(0));
    if (ebx != LVMM_CPUID_NAME || ecx != LVMM_CPUID_NAME || edx != LVMM_CPUID_NAME)
        return 0;
    (void)eax;
    return lvmm_call(LVMM_CALL_PRESENT, 0, 0, 0);
}

static inline unsigned long lvmm_length(const char *text)
{
    unsigned long length = 0;

    while (text[length] != 0)
        length++;
    return length;
}

/* Puts a note of up to LVMM_TEXT_MAX bytes into the recording. 0, or a negative LVMM_ERROR_*; 0
 * without the monitor, too. */
static inline long lvmm_mark(const char *text)
{
    return lvmm_present() ? lvmm_call(LVMM_CALL_MARK, text, lvmm_length(text), 0) : 0;
}

/* Says that from here on the task of this number and name runs: for schedulers, at each switch.
 * Returns as lvmm_mark() does. */
static inline long lvmm_task(unsigned long number, const char *name)
{
    return lvmm_present() >= 2 ? lvmm_call(LVMM_CALL_TASK, name, lvmm_length(name), number) : 0;
}

/* Begins the recording here: for a monitor that records on demand, once in a run. The guest's
 * memory goes into the log as it is now, which takes a while. 0, also without the monitor, or:
 * LVMM_ERROR_STATE: it records already, or has done so; LVMM_ERROR_ROOM: the log is too small. */
static inline long lvmm_start_recording(void)
{
    return lvmm_present() >= 2 ? lvmm_call(LVMM_CALL_START, 0, 0, 0) : 0;
}

/* Ends the recording; the guest runs on. 0, or LVMM_ERROR_STATE: nothing is being recorded. */
static inline long lvmm_stop_recording(void)
{
    return lvmm_present() >= 2 ? lvmm_call(LVMM_CALL_STOP, 0, 0, 0) : 0;
}

/* Ends the run; the debugger shows the text and where the guest is. Returns only where there is no
 * monitor. */
static inline void lvmm_panic(const char *text)
{
    if (lvmm_present())
        lvmm_call(LVMM_CALL_PANIC, text, lvmm_length(text), 0);
}

#endif
