#include "core/pci_guard.h"
#include "board_config.h"
#include "core/guest_memory.h"
#include "core/pci.h"

#define ADDRESS_ENABLE (1u << 31)

#define CLASS_HOST_BRIDGE  0x0600
#define CLASS_ISA_BRIDGE   0x0601
#define CLASS_OTHER_BRIDGE 0x0680 /* power management of many chipsets */
#define CHIPSET_REGISTERS  0x40
#define PIRQ_FIRST         0x60 /* of ISA bridges: interrupt routing, which the firmware's AML sets */
#define PIRQ_LAST          0x6b

#define BAR_COUNT    6
#define BAR_IO       1
#define BAR_64       4
#define BAR_TYPE     6
#define IO_MASK      0xfffcu
#define IO_ALIGNMENT 256u /* I/O BARs are not larger */
#define ALL_ONES     0xfffffff0u

static bool is_chipset_register(pci_bdf bdf, u32 offset)
{
    u32 class = pci_read(bdf, PCI_CLASS) >> 16;

    if (offset < CHIPSET_REGISTERS)
        return false;
    if (class == CLASS_ISA_BRIDGE)
        return offset < PIRQ_FIRST || offset > PIRQ_LAST;
    return class == CLASS_HOST_BRIDGE || class == CLASS_OTHER_BRIDGE;
}

static bool is_allowed_io(u32 base)
{
    return (base & IO_MASK & ~(IO_ALIGNMENT - 1)) != (MONITOR_SERIAL & ~(IO_ALIGNMENT - 1));
}

/* All ones ask for a BAR's size; 0 is a BAR without an address. */
static bool is_allowed_memory(u32 low, u32 high)
{
    u64 address = (low & ~15u) | (u64)high << 32;

    if ((low & ALL_ONES) == ALL_ONES || address == 0)
        return true;
    return !guest_memory_is_machine_ram(address);
}

/* The BARs as they would be after dword `at` has become `value`. */
static bool are_bars_allowed(pci_bdf bdf, u32 at, u32 value)
{
    u32 bars[BAR_COUNT + 1] = {0};

    for (u32 i = 0; i < BAR_COUNT; i++)
        bars[i] = i == at ? value : pci_read(bdf, (u8)(PCI_BAR0 + 4 * i));
    for (u32 i = 0; i < BAR_COUNT; i++) {
        bool wide = !(bars[i] & BAR_IO) && (bars[i] & BAR_TYPE) == BAR_64;

        if (at == i || (wide && at == i + 1)) {
            if (bars[i] & BAR_IO)
                return is_allowed_io(bars[i]);
            return is_allowed_memory(bars[i], wide ? bars[i + 1] : 0);
        }
        i += wide;
    }
    return true;
}

bool pci_guard_allows(u32 address, u16 port, u8 size, u64 value)
{
    pci_bdf bdf = (pci_bdf)(address >> 8);
    u32 shift = (u32)(port - PCI_CONFIG_DATA) * 8;
    u32 offset = (address & 0xfc) + shift / 8;
    u32 mask = size == 4 ? ~0u : ((1u << size * 8) - 1) << shift;
    u32 dword, at;

    if (!(address & ADDRESS_ENABLE))
        return true;
    if (port < PCI_CONFIG_DATA || shift + size * 8u > 32 || is_chipset_register(bdf, offset))
        return false;
    if ((pci_read(bdf, PCI_HEADER_TYPE) >> 16 & 0x7f) != 0)
        return true;
    at = offset & 0xfc;
    dword = (pci_read(bdf, (u8)at) & ~mask) | ((u32)value << shift & mask);
    if (at == PCI_ROM)
        return is_allowed_memory(dword & ~0x7ffu, 0);
    if (at >= PCI_BAR0 && at < PCI_BAR0 + 4 * BAR_COUNT)
        return are_bars_allowed(bdf, (at - PCI_BAR0) / 4, dword);
    return true;
}
