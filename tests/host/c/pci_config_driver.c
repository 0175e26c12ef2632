/*
 * The monitor's way to PCI configuration space with a bus that is memory, for
 * tests/host/test_pci_config.py.
 *
 * Commands on stdin, numbers in hexadecimal, bytes as hexadecimal digits:
 *   mem ADDRESS BYTES     memory with the firmware's tables
 *   init BYTES            the tables' root pointer; prints the result, then each window
 *   function BDF MASTER BYTES  a function's 256 bytes; whether it may be bus master
 *   recording FLAG
 *   address VALUE         the guest writes the address register
 *   in PORT SIZE, out PORT SIZE VALUE        the data register; `in` prints what the guest gets
 *   read GPA SIZE, write GPA SIZE VALUE      memory; prints the value, or "other"
 *   dump BDF              prints the function's bytes
 */
#include "core/device_access.h"
#include "core/ecam.h"
#include "core/fence.h"
#include "core/guest_memory.h"
#include "core/passthrough.h"
#include "core/pci_config.h"
#include "core/profiled_devices.h"
#include "replay/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTIONS_MAX 16
#define SPACE         256
#define MEMORY_MAX    0x10000
#define CHUNKS_MAX    16
#define RAM_END       0x40000000ULL

static struct {
    pci_bdf bdf;
    bool may_be_master;
    u8 space[SPACE];
} functions[FUNCTIONS_MAX];
static unsigned int function_count;

static struct {
    u64 address, length;
    u8 *bytes; /* of its own size, so that the sanitizer sees what is read beyond */
} chunks[CHUNKS_MAX];
static unsigned int chunk_count;

static bool is_recording;
static u32 machine_address;

static u8 *space_of(pci_bdf bdf)
{
    for (unsigned int i = 0; i < function_count; i++)
        if (functions[i].bdf == bdf)
            return functions[i].space;
    return NULL;
}

u32 pci_read(pci_bdf bdf, u8 offset)
{
    const u8 *space = space_of(bdf);
    u32 value = ~0u;

    machine_address = 1u << 31 | (u32)bdf << 8 | (offset & 0xfc);
    if (space != NULL)
        memcpy(&value, space + (offset & 0xfc), 4);
    return value;
}

void pci_write(pci_bdf bdf, u8 offset, u32 value)
{
    u8 *space = space_of(bdf);

    machine_address = 1u << 31 | (u32)bdf << 8 | (offset & 0xfc);
    if (space != NULL)
        memcpy(space + (offset & 0xfc), &value, 4);
}

void pci_restore_address(u32 address)
{
    machine_address = address;
}

static u8 *register_at(u16 port)
{
    u8 *space = space_of((pci_bdf)(machine_address >> 8));

    if (!(machine_address & 1u << 31) || space == NULL)
        return NULL;
    return space + (machine_address & 0xfc) + (port - PCI_CONFIG_DATA);
}

u64 raw_port_read(u16 port, u8 size)
{
    const u8 *at = register_at(port);
    u64 value = ~0ULL >> (64 - size * 8);

    if (at != NULL)
        memcpy(&value, at, size);
    return value;
}

void raw_port_write(u16 port, u8 size, u64 value)
{
    u8 *at = register_at(port);

    if (at != NULL)
        memcpy(at, &value, size);
}

u64 raw_memory_read(u64 address, u8 size)
{
    printf("raw read %lx %u\n", (unsigned long)address, size);
    return 0;
}

void raw_memory_write(u64 address, u8 size, u64 value)
{
    printf("raw write %lx %u %lx\n", (unsigned long)address, size, (unsigned long)value);
}

bool session_recording(void)
{
    return is_recording;
}

bool session_ended(void)
{
    return false;
}

int session_note(struct vcpu *vcpu, struct log_event *event)
{
    (void)vcpu;
    (void)event;
    return 0;
}

bool guest_memory_is_machine_ram(u64 address)
{
    return address < RAM_END;
}

bool passthrough_may_be_master(pci_bdf bdf)
{
    for (unsigned int i = 0; i < function_count; i++)
        if (functions[i].bdf == bdf)
            return functions[i].may_be_master;
    return false;
}

u64 profiled_room(pci_bdf bdf, const char **lacks)
{
    (void)bdf;
    *lacks = NULL;
    return 0;
}

void passthrough_moved(pci_bdf bdf)
{
    (void)bdf;
}

void printk(const char *format, ...)
{
    (void)format; /* the fence's own test reads what it tells */
}

static const void *memory(u64 address, u64 length)
{
    for (unsigned int i = 0; i < chunk_count; i++)
        if (address - chunks[i].address < chunks[i].length &&
            length <= chunks[i].length - (address - chunks[i].address))
            return chunks[i].bytes + (address - chunks[i].address);
    return NULL;
}

static u32 parse_bytes(const char *text, u8 *bytes, u32 max)
{
    u32 length = (u32)strlen(text) / 2;

    if (length > max)
        abort();
    for (u32 i = 0; i < length; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], 0};

        bytes[i] = (u8)strtoul(digits, NULL, 16);
    }
    return length;
}

static void add_memory(u64 address, const char *text)
{
    u8 *bytes = malloc(strlen(text) / 2 + 1);

    if (chunk_count == CHUNKS_MAX || bytes == NULL)
        abort();
    chunks[chunk_count].address = address;
    chunks[chunk_count].bytes = bytes;
    chunks[chunk_count++].length = parse_bytes(text, bytes, MEMORY_MAX);
}

static void init(const char *text)
{
    u8 rsdp[ACPI_RSDP_SIZE];
    u32 length = parse_bytes(text, rsdp, sizeof(rsdp));
    const struct ecam_window *w;

    printf("%d", ecam_init(rsdp, length, memory));
    for (unsigned int i = 0; (w = ecam_window(i)) != NULL; i++)
        printf(" %lx:%lx:%x:%x", (unsigned long)w->base, (unsigned long)w->size, w->segment,
               w->first_bus);
    printf("\n");
}

static void add_function(pci_bdf bdf, bool may_be_master, const char *text)
{
    if (function_count == FUNCTIONS_MAX)
        abort();
    functions[function_count].bdf = bdf;
    functions[function_count].may_be_master = may_be_master;
    parse_bytes(text, functions[function_count++].space, SPACE);
}

static void dump(pci_bdf bdf)
{
    const u8 *space = space_of(bdf);

    for (u32 i = 0; i < SPACE; i++)
        printf("%02x", space[i]);
    printf("\n");
}

static void access_memory(bool writes, u64 gpa, u8 size, u64 value)
{
    bool ours = writes ? pci_config_memory_write(gpa, size, value)
                       : pci_config_memory_read(gpa, size, &value);

    if (!ours)
        printf("other\n");
    else if (!writes)
        printf("%lx\n", (unsigned long)value);
}

static void command(const char *name, unsigned long a, unsigned long b, unsigned long c,
                    const char *text)
{
    if (strcmp(name, "mem") == 0)
        add_memory(a, text);
    else if (strcmp(name, "init") == 0)
        init(text);
    else if (strcmp(name, "function") == 0)
        add_function((pci_bdf)a, b != 0, text);
    else if (strcmp(name, "recording") == 0)
        is_recording = a != 0;
    else if (strcmp(name, "address") == 0)
        pci_config_set_address(machine_address = (u32)a);
    else if (strcmp(name, "in") == 0)
        printf("%lx\n",
               (unsigned long)pci_config_port_read((u16)a, (u8)b, raw_port_read((u16)a, (u8)b)));
    else if (strcmp(name, "out") == 0)
        pci_config_port_write((u16)a, (u8)b, c);
    else if (strcmp(name, "read") == 0 || strcmp(name, "write") == 0)
        access_memory(name[0] == 'w', a, (u8)b, c);
    else if (strcmp(name, "dump") == 0)
        dump((pci_bdf)a);
    else
        abort();
}

int main(void)
{
    static char line[2 * MEMORY_MAX + 100];
    static char last[2 * MEMORY_MAX + 1];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        char name[16] = "";
        unsigned long n[3] = {0};
        char *at = line, *space = strrchr(line, ' ');

        sscanf(line, "%15s", name);
        at += strlen(name);
        for (int i = 0; i < 3; i++)
            n[i] = strtoul(at, &at, 16);
        last[0] = 0;
        if (space != NULL)
            sscanf(space, "%131072s", last);
        command(name, n[0], n[1], n[2], last);
    }
    for (unsigned int i = 0; i < chunk_count; i++)
        free(chunks[i].bytes);
    return 0;
}
