#include "core/pci.h"
#include "arch/cpu.h"

#define ENABLE         (1u << 31)
#define FUNCTIONS      0x10000
#define FUNCTION_MASK  7
#define MULTI_FUNCTION (0x80u << 16)

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

static bool is_there(pci_bdf bdf)
{
    return (pci_read(bdf, PCI_VENDOR_ID) & 0xffff) != 0xffff;
}

bool pci_next_function(s32 *at)
{
    while (++*at < FUNCTIONS) {
        pci_bdf bdf = (pci_bdf)*at;
        bool first = (bdf & FUNCTION_MASK) == 0;

        if (is_there(bdf) &&
            (first || pci_read(bdf & (pci_bdf)~FUNCTION_MASK, PCI_HEADER_TYPE) & MULTI_FUNCTION))
            return true;
        if (first && !is_there(bdf))
            *at |= FUNCTION_MASK;
    }
    return false;
}
