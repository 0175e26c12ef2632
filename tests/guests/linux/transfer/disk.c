/* O_DIRECT: each read or write is a command of its own. */
#define _GNU_SOURCE
#include "transfer.h"

#include "../common/fail.h"
#include "../common/mark.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DISK      "/dev/sda"
#define ALIGNMENT 4096

static void use(unsigned count, size_t size, int flags)
{
    void *buffer;
    int fd = open(DISK, flags | O_DIRECT);
    if (fd < 0 || posix_memalign(&buffer, ALIGNMENT, size) != 0)
        fail(DISK);
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)buffer)[i] = (unsigned char)(i ^ i >> 8);
    mark(MARK_BEGIN);
    for (unsigned i = 0; i < count; i++) {
        off_t at = (off_t)i * (off_t)size;
        ssize_t done =
            flags == O_RDONLY ? pread(fd, buffer, size, at) : pwrite(fd, buffer, size, at);
        if (done != (ssize_t)size)
            fail("a block");
    }
    mark(MARK_END);
    free(buffer);
    close(fd);
}

void transfer_disk_read(unsigned count, size_t size)
{
    use(count, size, O_RDONLY);
}

void transfer_disk_write(unsigned count, size_t size)
{
    use(count, size, O_WRONLY);
}
