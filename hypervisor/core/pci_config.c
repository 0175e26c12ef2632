#include "core/pci_config.h"
#include "core/device_access.h"
#include "core/ecam.h"
#include "core/fence.h"
#include "core/passthrough.h"
#include "core/pci_capabilities.h"
#include "core/pci_guard.h"
#include "replay/session.h"

#define ENABLE     (1u << 31)
#define PORTS_SEE  0x100u /* bytes of a function's space; what is behind them has memory only */
#define DWORD      4
#define DATA_PORTS 4

static u32 guest_address; /* as the guest last wrote it */

void pci_config_set_address(u32 address)
{
    guest_address = address;
}

void pci_config_restore_address(void)
{
    pci_restore_address(guest_address);
}

bool pci_config_is_data(u16 port, u8 size)
{
    return port < PCI_CONFIG_DATA + DATA_PORTS && port + size > PCI_CONFIG_DATA;
}

/* What a read at `address` and `port` gave, as the guest is to see it. */
static u64 shown(u32 address, u16 port, u8 size, u64 value)
{
    u32 shift = (u32)(port - PCI_CONFIG_DATA) * 8, dword, seen;
    pci_bdf bdf = (pci_bdf)(address >> 8);

    if (!session_recording() || !(address & ENABLE) || port < PCI_CONFIG_DATA ||
        shift + size * 8u > 32)
        return value;
    dword = pci_read(bdf, (u8)address);
    seen = pci_capabilities_show(bdf, (u8)address, dword);
    pci_restore_address(guest_address);
    return seen == dword ? value : seen >> shift & (u32)(~0ULL >> (64 - size * 8));
}

/* A write to a command register, as the fence lets it through. */
static u64 fenced(u32 address, u16 port, u64 value)
{
    pci_bdf bdf = (pci_bdf)(address >> 8);

    if ((address & 0xfc) + (u32)(port - PCI_CONFIG_DATA) == PCI_COMMAND &&
        !passthrough_may_be_master(bdf))
        return fence_command(bdf, (u32)value);
    return value;
}

static void write(u32 address, u16 port, u8 size, u64 value)
{
    bool forward = pci_guard_allows(address, port, size, value);
    pci_bdf bdf = (pci_bdf)(address >> 8);

    if (session_recording()) {
        value = fenced(address, port, value);
        if (address & ENABLE)
            forward = forward && !pci_capabilities_hide(bdf, (u8)address);
    }
    pci_restore_address(address);
    if (forward)
        raw_port_write(port, size, value);
    passthrough_moved(bdf);
    pci_restore_address(guest_address);
}

u64 pci_config_port_read(u16 port, u8 size, u64 value)
{
    return shown(guest_address, port, size, value);
}

void pci_config_port_write(u16 port, u8 size, u64 value)
{
    write(guest_address, port, size, value);
}

/* The address register and the port that reach the same; false: only memory does. */
static bool by_ports(const struct ecam_window *window, u64 gpa, u8 size, u32 *address, u16 *port)
{
    u32 offset;
    pci_bdf bdf = ecam_function(window, gpa, &offset);

    *address = ENABLE | (u32)bdf << 8 | (offset & 0xfc);
    *port = (u16)(PCI_CONFIG_DATA + offset % DWORD);
    return window->segment == 0 && offset < PORTS_SEE && offset % DWORD + size <= DWORD;
}

bool pci_config_memory_read(u64 gpa, u8 size, u64 *value)
{
    const struct ecam_window *window = ecam_window_at(gpa);
    u32 address;
    u16 port;

    if (window == NULL)
        return false;
    *value = ~0ULL >> (64 - size * 8);
    if (by_ports(window, gpa, size, &address, &port)) {
        pci_restore_address(address);
        *value = raw_port_read(port, size);
        pci_restore_address(guest_address);
        *value = shown(address, port, size, *value);
    } else if (!session_recording()) {
        *value = raw_memory_read(gpa, size);
    }
    return true;
}

bool pci_config_memory_write(u64 gpa, u8 size, u64 value)
{
    const struct ecam_window *window = ecam_window_at(gpa);
    u32 address;
    u16 port;

    if (window == NULL)
        return false;
    if (by_ports(window, gpa, size, &address, &port))
        write(address, port, size, value);
    else if (!session_recording() && (gpa & (PAGE_SIZE - 1)) >= PORTS_SEE)
        raw_memory_write(gpa, size, value);
    return true;
}
