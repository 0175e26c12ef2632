#include "core/pci.h"
#include "arch/cpu.h"

#define ENABLE (1u << 31)

u32 pci_read(pci_bdf bdf, u8 offset)
{
    outl(PCI_CONFIG_ADDRESS, ENABLE | (u32)bdf << 8 | (offset & 0xfc));
    return inl(PCI_CONFIG_DATA);
}

void pci_write(pci_bdf bdf, u8 offset, u32 value)
{
    outl(PCI_CONFIG_ADDRESS, ENABLE | (u32)bdf << 8 | (offset & 0xfc));
    outl(PCI_CONFIG_DATA, value);
}

void pci_restore_address(u32 guest_address)
{
    outl(PCI_CONFIG_ADDRESS, guest_address);
}
