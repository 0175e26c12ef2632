/*
 * hypervisor/core/fence.c with a PCI bus of one device, for tests/host/test_fence.py.
 *
 * Arguments: the exceptions ("-": none), then for each attempt the value that the guest writes to
 * the command register, or "boot": the firmware has made it bus master. Prints what the monitor
 * tells and logs, and the register after each attempt.
 */
#include "core/fence.h"
#include "core/profiled_devices.h"
#include "lib/printk.h"
#include "replay/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE 0x20 /* 00:04.0 */
#define STATUS 0x02900000

static u32 command = STATUS;

u32 pci_read(pci_bdf bdf, u8 offset)
{
    if (bdf != DEVICE)
        abort();
    switch (offset) {
    case PCI_VENDOR_ID:
        return 0x50001274;
    case PCI_COMMAND:
        return command;
    case PCI_CLASS:
        return 0x04010000;
    default:
        abort();
    }
}

void pci_write(pci_bdf bdf, u8 offset, u32 value)
{
    if (bdf != DEVICE || offset != PCI_COMMAND || (value & 0xffff0000) != 0)
        abort();
    command = STATUS | value;
}

u64 profiled_room(pci_bdf bdf, const char **lacks)
{
    if (bdf != DEVICE)
        abort();
    *lacks = getenv("FENCE_LACKS");
    return 0;
}

void printk(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

bool session_recording(void)
{
    return true;
}

bool session_ended(void)
{
    return false;
}

int session_note(struct vcpu *vcpu, struct log_event *event)
{
    const struct log_fence *fence = &event->payload.fence;

    if (vcpu != NULL || event->kind != LOG_EVENT_FENCE)
        abort();
    printf("logged %lx %lx:%lx %lx %u\n", (unsigned long)fence->function,
           (unsigned long)fence->vendor, (unsigned long)fence->device,
           (unsigned long)fence->class_code, fence->allowed);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || fence_init(strcmp(argv[1], "-") != 0 ? argv[1] : NULL) < 0)
        return 1;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "boot") == 0) {
            command = STATUS | 7;
            fence_close(DEVICE);
        } else {
            command = STATUS | fence_command(DEVICE, (u32)strtoul(argv[i], NULL, 0));
        }
        fence_log(NULL);
        printf("%#x\n", command & 0xffff);
    }
    printf("open %d\n", fence_is_open());
    return 0;
}
