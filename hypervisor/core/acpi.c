#include "core/acpi.h"
#include "lib/string.h"

#define RSDP_SIZE_1   20
#define RSDP_REVISION 15
#define RSDP_RSDT     16
#define RSDP_XSDT     24

#define HEADER_SIZE   36
#define HEADER_LENGTH 4
#define TABLE_MAX     0x100000u /* no table that is looked for is as large */

static u32 read32(const u8 *p)
{
    u32 value;

    memcpy(&value, p, sizeof(value));
    return value;
}

static u64 read64(const u8 *p)
{
    return read32(p) | (u64)read32(p + 4) << 32;
}

static bool sums_to_zero(const u8 *p, u32 length)
{
    u8 sum = 0;

    for (u32 i = 0; i < length; i++)
        sum = (u8)(sum + p[i]);
    return sum == 0;
}

static bool has_signature(const u8 *table, const char *signature)
{
    return memcmp(table, signature, 4) == 0;
}

/* A whole table with this signature; NULL if there is something else. */
static const u8 *open_table(u64 address, acpi_memory memory, const char *signature, u32 *length)
{
    const u8 *table = memory(address, HEADER_SIZE);

    if (table == NULL || !has_signature(table, signature))
        return NULL;
    *length = read32(table + HEADER_LENGTH);
    if (*length < HEADER_SIZE || *length > TABLE_MAX)
        return NULL;
    table = memory(address, *length);
    return table != NULL && sums_to_zero(table, *length) ? table : NULL;
}

/* The table that lists the others, and the size of its entries. */
static const u8 *open_root(const u8 *rsdp, u32 size, acpi_memory memory, u32 *length, u32 *entry)
{
    if (size < RSDP_SIZE_1 || memcmp(rsdp, "RSD PTR ", 8) != 0 || !sums_to_zero(rsdp, RSDP_SIZE_1))
        return NULL;
    if (size >= ACPI_RSDP_SIZE && rsdp[RSDP_REVISION] >= 2 && read64(rsdp + RSDP_XSDT) != 0) {
        *entry = 8;
        return open_table(read64(rsdp + RSDP_XSDT), memory, "XSDT", length);
    }
    *entry = 4;
    return open_table(read32(rsdp + RSDP_RSDT), memory, "RSDT", length);
}

const u8 *acpi_find(const u8 *rsdp, u32 rsdp_size, acpi_memory memory, const char *signature,
                    u32 *length)
{
    u32 root_length, entry;
    const u8 *root = open_root(rsdp, rsdp_size, memory, &root_length, &entry);

    for (u32 at = HEADER_SIZE; root != NULL && at + entry <= root_length; at += entry) {
        u64 address = entry == 8 ? read64(root + at) : read32(root + at);
        const u8 *table = open_table(address, memory, signature, length);

        if (table != NULL)
            return table;
    }
    return NULL;
}
