#include "arch/pmu.h"
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/msr_index.h"
#include "lib/printk.h"

#define COUNTER_BITS 48
#define COUNTER_MASK (BIT(COUNTER_BITS) - 1)

#define EVENT_SELECT_MASK     0xffff
#define EVENT_USR             BIT(16)
#define EVENT_OS              BIT(17)
#define EVENT_INT             BIT(20)
#define EVENT_EN              BIT(22)
#define CAPABILITY_FULL_WIDTH BIT(13)

struct pmu_model {
    u8 family, first_model, last_model;
    u16 event; /* umask << 8 | event select */
    u8 skid_margin;
    const char *name;
};

/* Event and margin by CPU model: docs/how-recording-works.md names the source. First match wins. */
static const struct pmu_model models[] = {
    {6, 0x1a, 0x1a, 0x01c4, 100, "Nehalem"},
    {6, 0x1e, 0x1f, 0x01c4, 100, "Nehalem"},
    {6, 0x2e, 0x2e, 0x01c4, 100, "Nehalem-EX"},
    {6, 0x25, 0x25, 0x01c4, 100, "Westmere"},
    {6, 0x2c, 0x2c, 0x01c4, 100, "Westmere-EP"},
    {6, 0x2f, 0x2f, 0x01c4, 100, "Westmere-EX"},
    {6, 0x2a, 0x2a, 0x01c4, 100, "Sandy Bridge"},
    {6, 0x2d, 0x2d, 0x01c4, 100, "Sandy Bridge-EP"},
    {6, 0x3a, 0x3a, 0x01c4, 100, "Ivy Bridge"},
    {6, 0x3e, 0x3e, 0x01c4, 100, "Ivy Bridge-EP"},
    {6, 0x3c, 0x3c, 0x01c4, 100, "Haswell"},
    {6, 0x3f, 0x3f, 0x01c4, 100, "Haswell-EP"},
    {6, 0x45, 0x46, 0x01c4, 100, "Haswell"},
    {6, 0x3d, 0x3d, 0x01c4, 100, "Broadwell"},
    {6, 0x47, 0x47, 0x01c4, 100, "Broadwell"},
    {6, 0x4f, 0x4f, 0x01c4, 100, "Broadwell-EP"},
    {6, 0x56, 0x56, 0x01c4, 100, "Broadwell-DE"},
    {6, 0x4e, 0x4e, 0x01c4, 100, "Skylake"},
    {6, 0x5e, 0x5e, 0x01c4, 100, "Skylake"},
    {6, 0x55, 0x55, 0x01c4, 100, "Skylake-X or Cascade Lake"},
    {6, 0x8e, 0x8e, 0x01c4, 100, "Kaby Lake"},
    {6, 0x9e, 0x9e, 0x01c4, 100, "Coffee Lake"},
    {6, 0xa5, 0xa6, 0x01c4, 100, "Comet Lake"},
    {6, 0x6a, 0x6a, 0x11c4, 100, "Ice Lake-SP"},
    {6, 0x6c, 0x6c, 0x11c4, 100, "Ice Lake-D"},
    {6, 0x7d, 0x7e, 0x11c4, 100, "Ice Lake"},
    {6, 0x8c, 0x8d, 0x11c4, 100, "Tiger Lake"},
    {6, 0xa7, 0xa7, 0x11c4, 100, "Rocket Lake"},
    {6, 0x97, 0x97, 0x11c4, 125, "Alder Lake"},
    {6, 0x9a, 0x9a, 0x11c4, 125, "Alder Lake"},
    {6, 0xb7, 0xb7, 0x11c4, 125, "Raptor Lake"},
    {6, 0x8f, 0x8f, 0x11c4, 125, "Sapphire Rapids"},
    {6, 0xcf, 0xcf, 0x11c4, 125, "Emerald Rapids"},
};

static u64 counted_before; /* up to the last write of the counter */
static u64 written;        /* what was written then */
static u32 counter_msr = MSR_PMC0;

static const struct pmu_model *find_model(u32 signature)
{
    u8 family = signature >> 8 & 15;
    u8 model = (u8)((signature >> 4 & 15) | (signature >> 12 & 0xf0));

    for (size_t i = 0; i < ARRAY_SIZE(models); i++)
        if (family == models[i].family && model >= models[i].first_model &&
            model <= models[i].last_model)
            return &models[i];
    return NULL;
}

int pmu_init(struct pmu_info *out)
{
    const struct pmu_model *model = find_model(cpuid(1, 0).eax);
    u64 capabilities;

    if (cpuid(0, 0).eax < 10 || (cpuid(10, 0).eax & 0xff) == 0) {
        printk("lvmm: this CPU has no architectural performance monitoring (CPUID leaf 0xA): "
               "recording needs it\n");
        return ERR_UNSUPPORTED;
    }
    if (model == NULL) {
        printk("lvmm: CPU signature %x is not in the table of exact branch counters "
               "(hypervisor/arch/pmu.c)\n",
               cpuid(1, 0).eax);
        return ERR_UNSUPPORTED;
    }
    if (rdmsr_safe(MSR_PERF_CAPABILITIES, &capabilities) == 0 &&
        (capabilities & CAPABILITY_FULL_WIDTH))
        counter_msr = MSR_A_PMC0;
    out->cpu = model->name;
    out->event = model->event | EVENT_USR | EVENT_OS | EVENT_EN | EVENT_INT;
    out->skid_margin = model->skid_margin;
    wrmsr(MSR_PERF_GLOBAL_CTRL, 0);
    wrmsr(MSR_PERFEVTSEL0, out->event);
    pmu_restart(0);
    /* SMIs must not be counted: SDM vol. 3, section 17.4.1. */
    wrmsr_safe(MSR_DEBUGCTL, DEBUGCTL_FREEZE_WHILE_SMM);
    return 0;
}

static u64 read_counter(void)
{
    return rdmsr(counter_msr) & COUNTER_MASK;
}

static void write_counter(u64 value)
{
    written = value & COUNTER_MASK;
    wrmsr(counter_msr, counter_msr == MSR_A_PMC0 ? written : (u32)value);
}

u64 pmu_count(void)
{
    return counted_before + ((read_counter() - written) & COUNTER_MASK);
}

void pmu_restart(u64 count)
{
    counted_before = count;
    write_counter(0);
}

void pmu_arm(u64 branches)
{
    counted_before = pmu_count();
    write_counter(-branches);
}

void pmu_acknowledge(void)
{
    wrmsr(MSR_PERF_GLOBAL_OVF_CTRL, PMU_GLOBAL_ENABLE);
    lapic_unmask_counter_nmi();
}
