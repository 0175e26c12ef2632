#include "core/ecam.h"
#include "lib/string.h"

#define MCFG_FIRST  44 /* where the entries begin */
#define BUS_SHIFT   20
#define SHIFT       12
#define OFFSET_MASK 0xfffu
#define ADDRESS_MAX (1ULL << 52)

struct mcfg_entry {
    u64 base; /* of bus 0, whether the window begins with that or not */
    u16 segment;
    u8 first_bus, last_bus;
    u32 reserved;
};

static struct ecam_window windows[ECAM_WINDOWS_MAX];
static unsigned int window_count;

static int add_window(const struct mcfg_entry *entry)
{
    u64 first = (u64)entry->first_bus << BUS_SHIFT;

    if (entry->last_bus < entry->first_bus || entry->base % (1u << BUS_SHIFT) != 0 ||
        entry->base > ADDRESS_MAX || window_count == ECAM_WINDOWS_MAX)
        return ERR_INVALID;
    windows[window_count++] = (struct ecam_window){
        .base = entry->base + first,
        .size = (u64)(entry->last_bus - entry->first_bus + 1) << BUS_SHIFT,
        .segment = entry->segment,
        .first_bus = entry->first_bus,
    };
    return 0;
}

int ecam_init(const u8 *rsdp, u32 rsdp_size, acpi_memory memory)
{
    u32 length;
    const u8 *table = acpi_find(rsdp, rsdp_size, memory, "MCFG", &length);
    int result = 0;

    window_count = 0;
    if (table == NULL)
        return 0;
    for (u32 at = MCFG_FIRST; at + sizeof(struct mcfg_entry) <= length;
         at += sizeof(struct mcfg_entry)) {
        struct mcfg_entry entry;

        memcpy(&entry, table + at, sizeof(entry));
        if (add_window(&entry) < 0)
            result = ERR_INVALID;
    }
    return result;
}

const struct ecam_window *ecam_window(unsigned int i)
{
    return i < window_count ? &windows[i] : NULL;
}

const struct ecam_window *ecam_window_at(u64 gpa)
{
    for (unsigned int i = 0; i < window_count; i++)
        if (gpa - windows[i].base < windows[i].size)
            return &windows[i];
    return NULL;
}

pci_bdf ecam_function(const struct ecam_window *window, u64 gpa, u32 *offset)
{
    u64 at = gpa - window->base + ((u64)window->first_bus << BUS_SHIFT);

    *offset = (u32)at & OFFSET_MASK;
    return (pci_bdf)(at >> SHIFT);
}
