/*
 * Plays a tone and captures with the first sound card, through the kernel's own interface (ALSA's
 * ioctls), and prints digests of what was captured: once by read, once by looking into the buffer
 * into which the card writes.
 *
 * Arguments: periods to play, to capture by read, and to capture by the mapped buffer.
 */
#include "../linux/common/fail.h"
#include "../linux/common/sha256.h"

#include <fcntl.h>
#include <sound/asound.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHANNELS    2
#define RATE        44100
#define OTHER_RATE  22050
#define FRAME_BYTES (CHANNELS * 2) /* S16_LE */
#define PERIOD      2048           /* frames */
#define BUFFER      (4 * PERIOD)
#define UNWRITTEN   0x5a5a5a5a /* in the mapped buffer before the card writes */

static const char play_device[] = "/dev/snd/pcmC0D0p";
static const char capture_device[] = "/dev/snd/pcmC0D0c";

static void control(int card, unsigned long request, void *argument, const char *what)
{
    if (ioctl(card, request, argument) < 0)
        fail(what);
}

static void choose_mask(struct snd_pcm_hw_params *params, int which, unsigned int value)
{
    struct snd_mask *mask = &params->masks[which - SNDRV_PCM_HW_PARAM_FIRST_MASK];

    memset(mask, 0, sizeof(*mask));
    mask->bits[value / 32] = 1u << value % 32;
}

static void choose_number(struct snd_pcm_hw_params *params, int which, unsigned int value)
{
    struct snd_interval *interval =
        &params->intervals[which - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL];

    interval->min = interval->max = value;
    interval->integer = 1;
}

static int open_card(const char *path, unsigned int access, unsigned int rate)
{
    struct snd_pcm_hw_params hardware;
    struct snd_pcm_sw_params software = {
        .period_step = 1,
        .avail_min = PERIOD,
        .start_threshold = BUFFER,
        .stop_threshold = 2 * BUFFER, /* goes on whatever is lost */
        .boundary = BUFFER,
    };
    int card = open(path, O_RDWR);

    if (card < 0)
        fail(path);
    memset(&hardware, 0, sizeof(hardware));
    memset(hardware.masks, 0xff, sizeof(hardware.masks));
    for (size_t i = 0; i < sizeof(hardware.intervals) / sizeof(hardware.intervals[0]); i++)
        hardware.intervals[i].max = ~0u;
    hardware.rmask = ~0u;
    hardware.info = ~0u;
    choose_mask(&hardware, SNDRV_PCM_HW_PARAM_ACCESS, access);
    choose_mask(&hardware, SNDRV_PCM_HW_PARAM_FORMAT, (unsigned int)SNDRV_PCM_FORMAT_S16_LE);
    choose_number(&hardware, SNDRV_PCM_HW_PARAM_CHANNELS, CHANNELS);
    choose_number(&hardware, SNDRV_PCM_HW_PARAM_RATE, rate);
    choose_number(&hardware, SNDRV_PCM_HW_PARAM_PERIOD_SIZE, PERIOD);
    choose_number(&hardware, SNDRV_PCM_HW_PARAM_BUFFER_SIZE, BUFFER);
    control(card, SNDRV_PCM_IOCTL_HW_PARAMS, &hardware, "hw_params");
    while (software.boundary * 2 <= 0x7fffffffffffffffUL - BUFFER)
        software.boundary *= 2;
    control(card, SNDRV_PCM_IOCTL_SW_PARAMS, &software, "sw_params");
    control(card, SNDRV_PCM_IOCTL_PREPARE, NULL, "prepare");
    return card;
}

/* A triangle of its own pitch in each channel. */
static void make_tone(int16_t *frames, unsigned int count, unsigned int first)
{
    for (unsigned int i = 0; i < count; i++)
        for (unsigned int channel = 0; channel < CHANNELS; channel++)
            frames[CHANNELS * i + channel] =
                (int16_t)(abs((int)((first + i) * (37 + 11 * channel) % 8192) - 4096) * 4);
}

static void play(unsigned int periods)
{
    int card = open_card(play_device, (unsigned int)SNDRV_PCM_ACCESS_RW_INTERLEAVED, RATE);
    int16_t frames[CHANNELS * PERIOD];

    for (unsigned int i = 0; i < periods; i++) {
        struct snd_xferi transfer = {.buf = frames, .frames = PERIOD};

        make_tone(frames, PERIOD, i * PERIOD);
        control(card, SNDRV_PCM_IOCTL_WRITEI_FRAMES, &transfer, "write");
    }
    control(card, SNDRV_PCM_IOCTL_DRAIN, NULL, "drain");
    close(card);
    printf("sound: played %u periods\n", periods);
}

static void print_digest(struct sha256 *hash, const char *how, size_t bytes)
{
    uint8_t digest[32];

    sha256_final(hash, digest);
    printf("sound: captured %zu bytes by %s: ", bytes, how);
    for (unsigned int i = 0; i < sizeof(digest); i++)
        printf("%02x", digest[i]);
    printf("\n");
}

static void capture_by_read(unsigned int periods)
{
    int card = open_card(capture_device, (unsigned int)SNDRV_PCM_ACCESS_RW_INTERLEAVED, RATE);
    static uint8_t data[PERIOD * FRAME_BYTES];
    struct sha256 hash;

    sha256_init(&hash);
    control(card, SNDRV_PCM_IOCTL_START, NULL, "start");
    for (unsigned int i = 0; i < periods; i++) {
        struct snd_xferi transfer = {.buf = data, .frames = PERIOD};

        control(card, SNDRV_PCM_IOCTL_READI_FRAMES, &transfer, "read");
        sha256_update(&hash, data, sizeof(data));
    }
    control(card, SNDRV_PCM_IOCTL_DROP, NULL, "drop");
    close(card);
    print_digest(&hash, "read", (size_t)periods * sizeof(data));
}

/* The guest fills the buffer, then looks at it all the time: what it sees, and when, is only what
 * the card has written and the monitor has made visible. */
static void capture_by_looking(unsigned int periods)
{
    int card = open_card(capture_device, (unsigned int)SNDRV_PCM_ACCESS_MMAP_INTERLEAVED, OTHER_RATE);
    size_t size = BUFFER * FRAME_BYTES, seen = 0;
    volatile uint32_t *buffer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, card,
                                    SNDRV_PCM_MMAP_OFFSET_DATA);
    unsigned long looks = 0;
    struct sha256 hash;

    if (buffer == MAP_FAILED)
        fail("mmap");
    sha256_init(&hash);
    for (size_t i = 0; i < size / FRAME_BYTES; i++)
        buffer[i] = UNWRITTEN;
    control(card, SNDRV_PCM_IOCTL_START, NULL, "start");
    while (seen < (size_t)periods * PERIOD * FRAME_BYTES) {
        uint32_t frame = buffer[seen / FRAME_BYTES]; /* at once: the card may write now */

        if (frame == UNWRITTEN) {
            looks++;
            continue;
        }
        sha256_update(&hash, &frame, FRAME_BYTES);
        seen += FRAME_BYTES;
    }
    control(card, SNDRV_PCM_IOCTL_DROP, NULL, "drop");
    close(card);
    printf("sound: waited %lu looks\n", looks);
    print_digest(&hash, "looking", seen);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    play((unsigned int)atoi(argv[1]));
    capture_by_read((unsigned int)atoi(argv[2]));
    capture_by_looking((unsigned int)atoi(argv[3]));
    return 0;
}
