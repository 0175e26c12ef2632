/*
 * hypervisor/core/profiled_devices.c with a PCI bus of the test's, for
 * tests/host/test_profiled_devices.py.
 *
 * Arguments: bytes of shadow memory, then VENDOR:DEVICE:CLASS of each function, in hexadecimal,
 * which are functions 0 to 7 of devices 0 and on, bus after bus. Prints of each whether it lacks
 * something and its room; then of each device that is served its first and last byte in the shadow
 * memory and the numbers of its streams; then what is used.
 */
#include "core/profiled_devices.h"
#include "lib/printk.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static struct {
    unsigned int vendor, device, class_code;
} functions[256];
static s32 function_count;

bool pci_next_function(s32 *at)
{
    return ++*at < function_count;
}

u32 pci_read(pci_bdf bdf, u8 offset)
{
    switch (offset) {
    case PCI_VENDOR_ID:
        return functions[bdf].device << 16 | functions[bdf].vendor;
    case PCI_CLASS:
        return functions[bdf].class_code << 8;
    default:
        return 0; /* decodes nothing */
    }
}

void printk(const char *format, ...)
{
    (void)format;
    abort();
}

static void print_device(const struct profiled_device *d, const u8 *shadow, u64 size)
{
    u8 numbers[DMA_DEVICE_STREAMS];
    u32 count = dma_streams_of(d->dma.profile, numbers);

    printf("device %x %s %lx %lx", d->bdf, d->dma.profile->name,
           (unsigned long)((const u8 *)d - shadow), (unsigned long)size);
    for (u32 i = 0; i < count; i++)
        printf(" %u", d->streams[numbers[i]]);
    printf("\n");
}

int main(int argc, char **argv)
{
    static const struct dma_env env;
    u64 size = strtoul(argv[1], NULL, 16);
    /* Where devices with 32-bit addresses reach it. */
    u8 *shadow =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    struct profiled_device *d;
    const char *lacks;

    for (int i = 2; i < argc; i++, function_count++)
        if (sscanf(argv[i], "%x:%x:%x", &functions[function_count].vendor,
                   &functions[function_count].device, &functions[function_count].class_code) != 3)
            return 1;
    profiled_devices_plan(size);
    for (s32 i = 0; i < function_count; i++) {
        u64 room = profiled_room((pci_bdf)i, &lacks);

        printf("plan %x %lx %s\n", i, (unsigned long)room, lacks != NULL ? lacks : "-");
    }
    s64 used = profiled_devices_init(shadow, &env);
    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++) {
        if (profiled_device_at(d->bdf) != d || d->dma.env.ctx != d)
            abort();
        print_device(d, shadow, profiled_room(d->bdf, &lacks));
    }
    printf("used %lx\n", (unsigned long)used);
    munmap(shadow, size);
    return 0;
}
