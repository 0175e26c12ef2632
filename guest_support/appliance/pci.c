#include "pci.h"

#define ADDRESS      0xcf8
#define DATA         0xcfc
#define ENABLE       (1u << 31)
#define DEVICE_SHIFT 11
#define DEVICES      32

u32 pci_read(u32 device, u32 offset)
{
    out32(ADDRESS, ENABLE | device << DEVICE_SHIFT | offset);
    return in32(DATA);
}

void pci_write(u32 device, u32 offset, u32 value)
{
    out32(ADDRESS, ENABLE | device << DEVICE_SHIFT | offset);
    out32(DATA, value);
}

u32 pci_find(u32 id)
{
    for (u32 device = 0; device < DEVICES; device++)
        if (pci_read(device, 0) == id)
            return device;
    return PCI_NONE;
}
