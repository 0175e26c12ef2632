#include "boot/probe.h"
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/paging.h"
#include "arch/pmu.h"
#include "boot/unsaved_log.h"
#include "core/ecam.h"
#include "core/guest_memory.h"
#include "core/pci_capabilities.h"
#include "core/profiled_devices.h"
#include "lib/printk.h"
#include "lib/string.h"

static const struct boot_info *firmware;

/* The firmware's tables are where its memory map has something, whatever that is. */
static const void *firmware_memory(u64 address, u64 length)
{
    for (unsigned int i = 0; i < firmware->mmap_count; i++) {
        u64 offset = address - firmware->mmap[i].base, size = firmware->mmap[i].length;

        if (offset < size && length <= size - offset && address + length <= paging_mapped_end())
            return address != 0 ? (const void *)address : NULL;
    }
    return NULL;
}

int probe_configuration_space(const struct boot_info *boot)
{
    firmware = boot;
    if (ecam_init(boot->rsdp, boot->rsdp_size, firmware_memory) == 0)
        return 0;
    printk(
        "lvmm: the firmware's table MCFG, where PCI's configuration space is in memory, makes no "
        "sense, or has more than %u entries: a guest could let devices write unseen\n",
        ECAM_WINDOWS_MAX);
    return ERR_INVALID;
}

static void tell(const char *what, bool ok)
{
    printk("{\"lvmm\":\"probe\",\"what\":\"%s\",\"ok\":%s}\n", what, ok ? "true" : "false");
}

static void tell_cpu(void)
{
    char brand[49] = {0};

    for (u32 i = 0; i < 3; i++) {
        struct cpuid_regs r = cpuid(0x80000002 + i, 0);

        memcpy(brand + i * 16, &r, sizeof(r));
    }
    printk("{\"lvmm\":\"cpu\",\"brand\":\"%s\",\"signature\":\"%x\"}\n", brand, cpuid(1, 0).eax);
}

static bool counter_is_exact(void)
{
    struct pmu_info pmu;

    lapic_enable();
    lapic_quiesce();
    return pmu_init(&pmu) == 0 && pmu_self_test(&pmu) == 0;
}

/* Each firmware with tables has the one that describes the machine's fixed hardware. */
static bool has_tables(const struct boot_info *boot)
{
    u32 length;

    return acpi_find(boot->rsdp, boot->rsdp_size, firmware_memory, "FACP", &length) != NULL;
}

static void tell_windows(void)
{
    const struct ecam_window *w;

    for (unsigned int i = 0; (w = ecam_window(i)) != NULL; i++)
        printk("{\"lvmm\":\"ecam\",\"base\":\"%lx\",\"size\":%lu,\"segment\":%u,"
               "\"first_bus\":%u}\n",
               w->base, w->size, w->segment, w->first_bus);
}

static void tell_capabilities(const struct pci_capability *list, unsigned int count, bool hidden)
{
    const char *separator = "";

    for (unsigned int i = 0; i < count; i++)
        if (list[i].hidden == hidden) {
            printk("%s%u", separator, list[i].id);
            separator = ",";
        }
}

static void tell_function(pci_bdf bdf)
{
    struct pci_capability list[PCI_CAPABILITIES_MAX];
    unsigned int count = pci_capabilities(bdf, list);
    u32 id = pci_read(bdf, PCI_VENDOR_ID), class = pci_read(bdf, PCI_CLASS) >> 8;
    const struct dma_profile *profile = dma_profile_by_id((u16)id, (u16)(id >> 16), class);
    const char *lacks;
    u64 room = profiled_room(bdf, &lacks);

    printk("{\"lvmm\":\"pci\",\"address\":\"%02x:%02x.%u\",\"vendor\":\"%04x\","
           "\"device\":\"%04x\",\"class\":\"%06x\",\"profile\":\"%s\",\"room\":%lu,\"lacks\":\"%"
           "s\",\"shown\":[",
           bdf >> 8, bdf >> 3 & 31, bdf & 7, id & 0xffff, id >> 16, class,
           profile != NULL ? profile->name : "", room, lacks != NULL ? lacks : "");
    tell_capabilities(list, count, false);
    printk("],\"hidden\":[");
    tell_capabilities(list, count, true);
    printk("]}\n");
}

void probe_machine(const struct boot_info *boot, u64 guest_memory, u64 shadow_size)
{
    s32 function = -1;

    tell_cpu();
    tell("vtx", hv_check() == 0);
    tell("memory", guest_memory_init(guest_memory, boot->mmap, boot->mmap_count) == 0);
    tell("log", unsaved_log_region_is_free(boot));
    tell("counter", counter_is_exact());
    tell("ecam", probe_configuration_space(boot) == 0);
    tell("acpi", has_tables(boot));
    tell_windows();
    profiled_devices_plan(shadow_size);
    while (pci_next_function(&function))
        tell_function((pci_bdf)function);
    tell("pci", true);
}
