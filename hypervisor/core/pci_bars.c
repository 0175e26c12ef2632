#include "core/pci_bars.h"

#define COMMAND_PORTS  1
#define COMMAND_MEMORY 2

#define BAR_PORTS     1
#define BAR_KIND      7
#define BAR_WIDE      4 /* of the kind: memory, with 64 bits of address in two BARs */
#define PORTS_BITS    3
#define MEMORY_BITS   15
#define PORTS_ADDRESS 0xffff

static u8 offset_of(unsigned int bar)
{
    return (u8)(PCI_BAR0 + 4 * bar);
}

/* What a BAR answers to ones: those bits of an address that it keeps. */
static u32 probe(pci_bdf bdf, unsigned int bar)
{
    u32 before = pci_read(bdf, offset_of(bar)), kept;

    pci_write(bdf, offset_of(bar), 0xffffffff);
    kept = pci_read(bdf, offset_of(bar));
    pci_write(bdf, offset_of(bar), before);
    return kept;
}

void pci_size_bars(pci_bdf bdf, struct pci_bar bars[PCI_BAR_COUNT])
{
    u32 command = pci_read(bdf, PCI_COMMAND) & 0xffff;

    pci_write(bdf, PCI_COMMAND, command & ~(u32)(COMMAND_PORTS | COMMAND_MEMORY));
    for (unsigned int i = 0; i < PCI_BAR_COUNT; i++) {
        u32 kept = probe(bdf, i);
        u32 bits = kept & BAR_PORTS ? PORTS_BITS : MEMORY_BITS;
        u64 size = -(kept & ~bits);

        bars[i] = (struct pci_bar){.ports = kept & BAR_PORTS};
        bars[i].wide = (kept & BAR_KIND) == BAR_WIDE && i + 1 < PCI_BAR_COUNT;
        bars[i].size = bars[i].ports ? size & PORTS_ADDRESS : size;
        if (bars[i].wide) {
            bars[i].size = -((u64)probe(bdf, i + 1) << 32 | (kept & ~bits));
            bars[++i] = (struct pci_bar){0};
        }
    }
    pci_write(bdf, PCI_COMMAND, command);
}

void pci_place_bars(pci_bdf bdf, struct pci_bar bars[PCI_BAR_COUNT])
{
    u32 command = pci_read(bdf, PCI_COMMAND);

    for (unsigned int i = 0; i < PCI_BAR_COUNT; i++) {
        struct pci_bar *bar = &bars[i];

        bar->base = 0;
        if (bar->size == 0 || !(command & (bar->ports ? COMMAND_PORTS : COMMAND_MEMORY)))
            continue;
        bar->base = pci_read(bdf, offset_of(i)) & ~(u32)(bar->ports ? PORTS_BITS : MEMORY_BITS);
        if (bar->wide)
            bar->base |= (u64)pci_read(bdf, offset_of(i + 1)) << 32;
    }
}

bool pci_bars_have(const struct pci_bar bars[PCI_BAR_COUNT], bool ports, u64 address)
{
    for (unsigned int i = 0; i < PCI_BAR_COUNT; i++)
        if (bars[i].base != 0 && bars[i].ports == ports && address - bars[i].base < bars[i].size)
            return true;
    return false;
}
