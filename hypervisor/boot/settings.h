/* The monitor's words on the boot loader's command line (docs/getting-started.md). Those of the
 * ring, the fence, the triggers and the unsaved log are read where they are used. */
#ifndef LVMM_BOOT_SETTINGS_H
#define LVMM_BOOT_SETTINGS_H

#include "boot/ring.h"

struct settings {
    u32 mode;
    u64 guest_memory;   /* bytes */
    u64 watchdog;       /* seconds, 0: none */
    u64 sent;           /* bytes to log of each frame that the guest sends */
    bool wait;          /* for the debugger, before the guest's first instruction */
    bool on_demand;     /* record: only what the guest asks for */
    bool early_reads;   /* record: tells where the guest reads what a device owns */
    bool wait_for_room; /* record: a full log does not end it, the guest waits */
    u64 log_size;       /* bytes of the region to be used, 0: all */
    u64 checkpoints;    /* replay: branches from one to the next, 0: none are made */
    bool resume;        /* replay: from the last checkpoint that was kept */
    struct ring_settings ring;
    bool probe; /* no guest: only what the machine has is told */
    bool disk;  /* the guest is the system on the machine's own disk, */
    u64 drive;  /* the BIOS's number of which this is */
};

/* A word that is a number; without it *value stays. False, told: it is wrong, `what` is needed. */
bool settings_number(const char *cmdline, const char *name, u64 min, u64 max, const char *what,
                     u64 *value);
/* False, told: a word is wrong. `ring` is left as it is. */
bool settings_read(const char *cmdline, struct settings *settings);

#endif
