#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK_SIZE (sizeof(DISK_MARK) - 1)

static int failed(const char *what)
{
    fprintf(stderr, "the disk cannot be %s: %s\n", what, strerror(errno));
    return -1;
}

static int transfer(const struct disk *disk, u64 offset, void *data, u64 size, bool write)
{
    for (u64 done = 0; done < size;) {
        off_t at = (off_t)(offset + done);
        u8 *part = (u8 *)data + done;
        ssize_t n = write ? pwrite(disk->fd, part, size - done, at)
                          : pread(disk->fd, part, size - done, at);

        if (n < 0)
            return failed(write ? "written" : "read");
        if (n == 0) {
            errno = EIO;
            return failed(write ? "written" : "read");
        }
        done += (u64)n;
    }
    return 0;
}

int disk_open(struct disk *disk, const char *name)
{
    char mark[MARK_SIZE];
    struct stat status;
    off_t end;

    disk->fd = open(name, O_RDWR | O_CLOEXEC);
    if (disk->fd < 0 || fstat(disk->fd, &status) < 0) {
        fprintf(stderr, "%s cannot be opened: %s\n", name, strerror(errno));
        return -1;
    }
    end = lseek(disk->fd, 0, SEEK_END);
    disk->room = end > (off_t)DISK_DATA_OFFSET ? (u64)end - DISK_DATA_OFFSET : 0;
    if (disk->room == 0 || transfer(disk, 0, mark, sizeof(mark), false) < 0) {
        fprintf(stderr, "%s is too small to save a log on\n", name);
        return -1;
    }
    if (memcmp(mark, DISK_SAVED, MARK_SIZE) == 0) {
        fprintf(stderr, "%s holds a saved log already: it is left as it is\n", name);
        return -1;
    }
    if (memcmp(mark, DISK_MARK, MARK_SIZE) != 0) {
        fprintf(stderr, "%s is not marked for a log (its first line is to be \"%.*s\")\n", name,
                (int)MARK_SIZE - 1, DISK_MARK);
        return -1;
    }
    return 0;
}

int disk_write(const struct disk *disk, u64 offset, const void *data, u64 size)
{
    return transfer(disk, DISK_DATA_OFFSET + offset, (void *)data, size, true);
}

int disk_flush(const struct disk *disk)
{
    struct stat status;

    if (fsync(disk->fd) < 0)
        return failed("written");
    if (fstat(disk->fd, &status) == 0 && S_ISBLK(status.st_mode) && ioctl(disk->fd, BLKFLSBUF) < 0)
        return failed("read back");
    return 0;
}

int disk_read(const struct disk *disk, u64 offset, void *data, u64 size)
{
    return transfer(disk, DISK_DATA_OFFSET + offset, data, size, false);
}

int disk_finish(const struct disk *disk)
{
    char saved[] = DISK_SAVED;

    if (transfer(disk, 0, saved, sizeof(saved) - 1, true) < 0)
        return -1;
    return disk_flush(disk);
}
