/* Copies the log region as it stands from a machine's memory to a disk, and reads it back.
 *
 *     save_log [-a] MEMORY BASE SIZE DISK
 *
 * MEMORY is /dev/mem, or a file; the region of SIZE bytes starts at BASE in it. Only as much as the
 * log uses is copied; all of it where the region's header is damaged and chunks are found, or, with
 * -a, in any case.
 * The disk must carry the mark (disk.h). tools/extract_log.py takes the disk as it is.
 *
 * Exit codes: 0 saved, 1 memory or disk cannot be read or written, 2 usage, 4 no log there. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "replay/log_region.h"

#define BLOCK         ((u64)1 << 20)
#define PROGRESS_STEP (64 * BLOCK)

/* Behind the last chunk that the header counts there may be one that was just closed. */
#define LAST_CHUNK_MAX (sizeof(struct log_chunk_header) + LOG_CHUNK_PAYLOAD_MAX + LOG_CHUNK_ALIGN)

struct memory {
    int fd;
    const char *name;
    u64 base, size; /* of the region */
};

enum outcome { SAVED = 0, TROUBLE = 1, USAGE = 2, NO_LOG = 4 };

static int read_memory(const struct memory *memory, u64 offset, void *data, u64 size)
{
    for (u64 done = 0; done < size;) {
        u64 at = memory->base + offset + done;
        ssize_t n = pread(memory->fd, (u8 *)data + done, size - done, (off_t)at);

        if (n <= 0) {
            fprintf(stderr,
                    "%s cannot be read at %#" PRIx64 ": %s; is the region reserved by "
                    "memmap= on the kernel's command line?\n",
                    memory->name, at, n < 0 ? strerror(errno) : "it ends there");
            return -1;
        }
        done += (u64)n;
    }
    return 0;
}

/* All bytes of a region whose header is damaged, if there are chunks in it; else 0. */
static u64 remaining_bytes(const struct memory *memory)
{
    struct log_region_found found;
    u8 *region = malloc(memory->size);
    u64 size = 0;

    if (region && read_memory(memory, 0, region, memory->size) == 0 &&
        log_region_holds_any(region, memory->size, &found)) {
        printf("parts of a log, recording %016" PRIx64 "; the region's header is damaged: all of "
               "it is saved\n",
               found.recording_id);
        size = memory->size;
    }
    free(region);
    return size;
}

/* Bytes of the region that hold something; 0: nothing was recorded. */
static u64 used_bytes(const struct memory *memory, const u8 *page)
{
    const struct log_region_header *header = (const void *)page;
    struct log_region_found found;
    u64 used;

    if (!log_region_holds_log(page, &found))
        return remaining_bytes(memory);
    if (found.format_version != LOG_FORMAT_VERSION) {
        printf("a log of format version %u, which only its own lvmm can read\n",
               found.format_version);
        return memory->size;
    }
    printf("recording %016" PRIx64 ": %" PRIu64 " events, %" PRIu64 " bytes\n", found.recording_id,
           found.events, found.bytes);
    used = ALIGN_UP(header->chunks_offset + log_region_used(page) + LAST_CHUNK_MAX, PAGE_SIZE);
    if (header->chunks_offset >= memory->size || log_region_used(page) >= memory->size ||
        used > memory->size)
        used = memory->size;
    return used;
}

static int copy(const struct memory *memory, const struct disk *disk, u64 size)
{
    static u8 block[BLOCK];

    for (u64 at = 0; at < size; at += BLOCK) {
        u64 length = size - at < BLOCK ? size - at : BLOCK;

        if (read_memory(memory, at, block, length) < 0 || disk_write(disk, at, block, length) < 0)
            return -1;
        if (at % PROGRESS_STEP == 0 && at != 0)
            printf("%" PRIu64 " of %" PRIu64 " MiB written\n", at / BLOCK, size / BLOCK);
    }
    return disk_flush(disk);
}

static int compare(const struct memory *memory, const struct disk *disk, u64 size)
{
    static u8 here[BLOCK], there[BLOCK];

    for (u64 at = 0; at < size; at += BLOCK) {
        u64 length = size - at < BLOCK ? size - at : BLOCK;

        if (read_memory(memory, at, here, length) < 0 || disk_read(disk, at, there, length) < 0)
            return -1;
        if (memcmp(here, there, length) != 0) {
            fprintf(stderr, "the disk does not hold what was written to it: take another one\n");
            return -1;
        }
    }
    return 0;
}

static enum outcome save(const struct memory *memory, const char *disk_name, bool all)
{
    static u8 page[PAGE_SIZE] __attribute__((aligned(8)));
    struct disk disk;
    u64 size;

    if (read_memory(memory, 0, page, sizeof(page)) < 0)
        return TROUBLE;
    size = used_bytes(memory, page);
    if (all)
        size = memory->size;
    if (size == 0) {
        fprintf(stderr,
                "no log at %#" PRIx64 ": the memory did not survive, or nothing was "
                "recorded\n",
                memory->base);
        return NO_LOG;
    }
    if (disk_open(&disk, disk_name) < 0)
        return TROUBLE;
    if (size > disk.room) {
        fprintf(stderr, "%s is too small: %" PRIu64 " MiB are needed\n", disk_name,
                (size + DISK_DATA_OFFSET + BLOCK - 1) / BLOCK);
        return TROUBLE;
    }
    if (copy(memory, &disk, size) < 0 || compare(memory, &disk, size) < 0 || disk_finish(&disk) < 0)
        return TROUBLE;
    printf("saved on %s: %" PRIu64 " bytes, read back and compared\n", disk_name, size);
    return SAVED;
}

static bool number(const char *text, u64 *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == 0;
}

int main(int argc, char **argv)
{
    bool all = argc > 1 && strcmp(argv[1], "-a") == 0;
    char **words = argv + (all ? 2 : 1);
    struct memory memory;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc - (all ? 2 : 1) != 4 || !number(words[1], &memory.base) ||
        !number(words[2], &memory.size) || memory.size < PAGE_SIZE) {
        fprintf(stderr, "usage: save_log [-a] MEMORY BASE SIZE DISK\n");
        return USAGE;
    }
    memory.name = words[0];
    memory.fd = open(words[0], O_RDONLY | O_CLOEXEC);
    if (memory.fd < 0) {
        fprintf(stderr, "%s cannot be opened: %s\n", words[0], strerror(errno));
        return TROUBLE;
    }
    return (int)save(&memory, words[3], all);
}
