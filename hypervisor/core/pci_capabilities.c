#include "core/pci_capabilities.h"

#define STATUS_LIST    (1u << 20) /* in the dword of command and status */
#define LIST_POINTER   0x34
#define HEADER_CARDBUS 2 /* has the pointer elsewhere, and no guest that is recorded */
#define FIRST_OFFSET   0x40
#define SPACE_SIZE     0x100u

#define ID_AGP      0x02
#define ID_MSI      0x05
#define ID_HT       0x08
#define ID_AGP_8X   0x0e
#define ID_SECURE   0x0f
#define ID_MSI_X    0x11
#define ID_ENHANCED 0x14

#define MSI_WIDE     (1u << 23)
#define MSI_MASKABLE (1u << 24)
#define MSI_X_SIZE   12u

/* AGP and an IOMMU (the secure device) change where a device's DMA goes, HyperTransport where its
 * interrupts do, and enhanced allocation where its registers are. A message-signalled interrupt is
 * a write to any address that the guest chooses. */
static bool is_hidden(u8 id)
{
    return id == ID_AGP || id == ID_MSI || id == ID_HT || id == ID_AGP_8X || id == ID_SECURE ||
           id == ID_MSI_X || id == ID_ENHANCED;
}

unsigned int pci_capabilities(pci_bdf bdf, struct pci_capability list[PCI_CAPABILITIES_MAX])
{
    unsigned int count = 0;
    u8 offset;

    if (!(pci_read(bdf, PCI_COMMAND) & STATUS_LIST) ||
        (pci_read(bdf, PCI_HEADER_TYPE) >> 16 & 0x7f) >= HEADER_CARDBUS)
        return 0;
    offset = pci_read(bdf, LIST_POINTER) & 0xfc;
    while (offset >= FIRST_OFFSET && count < PCI_CAPABILITIES_MAX) {
        u32 header = pci_read(bdf, offset);

        list[count++] = (struct pci_capability){(u8)header, offset, is_hidden((u8)header)};
        offset = header >> 8 & 0xfc;
    }
    return count;
}

/* To the next one in space, where the length of one is not known. */
static u32 room(const struct pci_capability *list, unsigned int count, u8 offset)
{
    u32 end = SPACE_SIZE;

    for (unsigned int i = 0; i < count; i++)
        if (list[i].offset > offset && list[i].offset < end)
            end = list[i].offset;
    return end - offset;
}

static u32 size_of(pci_bdf bdf, const struct pci_capability *list, unsigned int count, u32 i)
{
    u32 header;

    if (list[i].id == ID_MSI_X)
        return MSI_X_SIZE;
    if (list[i].id != ID_MSI)
        return room(list, count, list[i].offset);
    header = pci_read(bdf, list[i].offset);
    return 12 + (header & MSI_WIDE ? 4 : 0) + (header & MSI_MASKABLE ? 8 : 0);
}

static bool covers(pci_bdf bdf, const struct pci_capability *list, unsigned int count, u8 offset)
{
    for (unsigned int i = 0; i < count; i++)
        if (list[i].hidden && offset >= list[i].offset &&
            (u32)(offset - list[i].offset) < size_of(bdf, list, count, i))
            return true;
    return false;
}

bool pci_capabilities_hide(pci_bdf bdf, u8 offset)
{
    struct pci_capability list[PCI_CAPABILITIES_MAX];

    return offset >= FIRST_OFFSET && covers(bdf, list, pci_capabilities(bdf, list), offset & 0xfc);
}

/* The first from `i` on that the guest sees; 0 ends its list. */
static u32 next_shown(const struct pci_capability *list, unsigned int count, unsigned int i)
{
    while (i < count && list[i].hidden)
        i++;
    return i < count ? list[i].offset : 0;
}

u32 pci_capabilities_show(pci_bdf bdf, u8 offset, u32 value)
{
    struct pci_capability list[PCI_CAPABILITIES_MAX];
    unsigned int count;

    offset &= 0xfc;
    if (offset < FIRST_OFFSET && offset != LIST_POINTER)
        return value;
    count = pci_capabilities(bdf, list);
    if (count != 0 && offset == LIST_POINTER)
        return (value & ~0xffu) | next_shown(list, count, 0);
    if (covers(bdf, list, count, offset))
        return 0;
    for (unsigned int i = 0; i < count; i++)
        if (list[i].offset == offset)
            return (value & ~0xff00u) | next_shown(list, count, i + 1) << 8;
    return value;
}
