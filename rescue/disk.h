/* The disk, or part of one, that a log is saved on. Its first page is the mark, the copy of the
 * log region follows. Only what somebody has marked for it is ever written to. */
#ifndef LVMM_RESCUE_DISK_H
#define LVMM_RESCUE_DISK_H

#include "lib/types.h"

/* What a disk that may be written to begins with, and what it begins with afterwards. */
#define DISK_MARK  "lvmm: save here\n"
#define DISK_SAVED "lvmm: saved log\n"

#define DISK_DATA_OFFSET ((u64)PAGE_SIZE)

struct disk {
    int fd;
    u64 room; /* bytes behind the first page */
};

/* These return 0, or -1 after a message on stderr that says what to do. */

/* `name` in messages. A disk without the mark is refused. */
int disk_open(struct disk *disk, const char *name);

/* Writes `size` bytes at `offset` behind the first page. */
int disk_write(const struct disk *disk, u64 offset, const void *data, u64 size);

/* From here on reads come from the disk itself, and not from memory. */
int disk_flush(const struct disk *disk);

int disk_read(const struct disk *disk, u64 offset, void *data, u64 size);

/* Takes the mark away: what is on the disk is not overwritten by the next one. */
int disk_finish(const struct disk *disk);

#endif
