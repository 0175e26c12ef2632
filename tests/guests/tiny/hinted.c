/* Captures with the ES1370 sound card, which lvmm has no DMA profile of, by hints alone: once into
 * shared memory, looking at nothing but that, once into a buffer that is handed over. Before that,
 * calls that are wrong. */
#include "runtime.h"

#include "lvmm.h"

#define CARD    LVMM_DEVICE(0, 4, 0)
#define NIC     LVMM_DEVICE(0, 3, 0) /* has a profile */
#define NOTHING LVMM_DEVICE(0, 9, 0)

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  0x80000000u
#define COMMAND        0x04
#define COMMAND_BITS   5 /* I/O space, bus master */
#define BAR0           0x10

/* The card's registers (ES1370 specification): ports. */
#define CONTROL        0x00
#define CONTROL_ADC    0x10
#define CONTROL_RATE   16 /* shift: 1411200 Hz / (value + 2) */
#define STATUS         0x04
#define STATUS_ADC     1
#define MEMORY_PAGE    0x0c
#define PAGE_OF_ADC    0xd
#define SERIAL         0x20
#define SERIAL_ADC     0x430 /* 16 bits, stereo, interrupt */
#define ADC_SAMPLES    0x2c
#define FRAME_ADDRESS  0x30 /* on its memory page */
#define FRAME_SIZE     0x34
#define RATE_44100     30
#define RATE_22050     62

#define BYTES   4096
#define PATTERN 0x5a5a5a5a

static u32 buffer[BYTES / 4] __attribute__((aligned(4096)));
static u16 ports;

static void select(u32 offset) {
    out32(CONFIG_ADDRESS, CONFIG_ENABLE | CARD << 8 | offset);
}

static void start(u32 address, u32 rate) {
    out32(ports + SERIAL, 0);
    out32(ports + SERIAL, SERIAL_ADC);
    out32(ports + MEMORY_PAGE, PAGE_OF_ADC);
    out32(ports + FRAME_ADDRESS, address);
    out32(ports + FRAME_SIZE, BYTES / 4 - 1);
    out32(ports + ADC_SAMPLES, BYTES / 4 - 1);
    out32(ports + CONTROL, rate << CONTROL_RATE | CONTROL_ADC);
}

static void stop(u32 rate) {
    out32(ports + CONTROL, rate << CONTROL_RATE);
    out32(ports + SERIAL, 0);
}

static void fill(void) {
    for (u32 i = 0; i < BYTES / 4; i++)
        buffer[i] = PATTERN;
}

static void show(const char *how) {
    u32 sum = 0;

    for (u32 i = 0; i < BYTES / 4; i++)
        sum = (sum << 1 | sum >> 31) ^ buffer[i];
    print("%s: %x ... %x, sum %x\n", how, buffer[0], buffer[BYTES / 4 - 1], sum);
}

static void print_errors(void) {
    unsigned long mapped = lvmm_dma_map(CARD, (u32)buffer, BYTES, LVMM_DMA_TO_DEVICE);

    print("not attached: %x\n", (u32)mapped);
    print("no device: %x\n", (u32)lvmm_dma_attach(NOTHING));
    print("with a profile: %x\n", (u32)lvmm_dma_attach(NIC));
    print("attached: %x %x\n", (u32)lvmm_dma_attach(CARD), (u32)lvmm_dma_attach(CARD));
    print("not RAM: %x\n", (u32)lvmm_dma_map(CARD, 0x40000000, 64, LVMM_DMA_SHARED));
    print("nothing: %x\n", (u32)lvmm_dma_map(CARD, (u32)buffer, 0, LVMM_DMA_SHARED));
    print("no kind: %x\n", (u32)lvmm_dma_map(CARD, (u32)buffer, 64, 5));
    print("too much: %x\n", (u32)lvmm_dma_map(CARD, 0, 0x1000000, LVMM_DMA_SHARED));
    mapped = lvmm_dma_map(CARD, (u32)buffer + 4, 64, LVMM_DMA_TO_DEVICE);
    print("beyond: %x\n", (u32)lvmm_dma_sync_for_cpu(CARD, mapped + 1, 64));
    print("twice: %x", (u32)lvmm_dma_unmap(CARD, mapped));
    print(" %x\n", (u32)lvmm_dma_unmap(CARD, mapped));
}

void guest_main(u32 magic, u32 info) {
    unsigned long address;
    u32 looks = 0;

    (void)magic;
    (void)info;
    print_errors();
    select(COMMAND);
    out32(CONFIG_DATA, COMMAND_BITS);
    select(BAR0);
    ports = (u16)(in32(CONFIG_DATA) & ~3u);

    fill();
    address = lvmm_dma_map(CARD, (u32)buffer, BYTES, LVMM_DMA_SHARED);
    start((u32)address, RATE_44100);
    while (*(volatile u32 *)&buffer[BYTES / 4 - 1] == PATTERN)
        looks++;
    stop(RATE_44100);
    show("shared");
    print("after %u looks\n", looks);
    lvmm_dma_unmap(CARD, address);

    fill();
    address = lvmm_dma_map(CARD, (u32)buffer, BYTES, LVMM_DMA_FROM_DEVICE);
    start((u32)address, RATE_22050);
    while (!(in32(ports + STATUS) & STATUS_ADC))
        continue;
    stop(RATE_22050);
    show("before the hand-over");
    lvmm_dma_sync_for_cpu(CARD, address, BYTES);
    show("after it");
    lvmm_dma_unmap(CARD, address);
    print("detached: %x\n", (u32)lvmm_dma_detach(CARD));
    select(COMMAND);
    print("command: %x\n", in32(CONFIG_DATA) & 0xffff);
    end_reset();
}
