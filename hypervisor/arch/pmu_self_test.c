/* Whether the counter of conditional branches is exact on this machine. */
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/msr_index.h"
#include "arch/pmu.h"
#include "arch/traps.h"
#include "lib/printk.h"

/* Interrupt load: how many interrupts must hit counted loops, in how many loops at most, the
 * timer's period in its own ticks, and the vector. The period has no factor in common with a loop,
 * so that interrupts come at all its places. */
#define LOAD_INTERRUPTS 200
#define LOAD_LOOPS_MAX  1000000
#define LOAD_BRANCHES   12345
#define LOAD_PERIOD     997
#define LOAD_VECTOR     0xf0

void counted_loop(u64 n);
extern const u8 counted_loop_start[], counted_loop_end[];

static int test_loops(void)
{
    static const u64 loops[] = {1, 2, 1000, 12345};

    for (size_t i = 0; i < ARRAY_SIZE(loops); i++) {
        pmu_restart(0);
        counted_loop(loops[i]);
        if (pmu_count() != loops[i]) {
            printk("lvmm: counter self-test: a loop of %lu conditional branches counted %lu: "
                   "this machine's counter is not exact\n",
                   loops[i], pmu_count());
            return ERR_UNSUPPORTED;
        }
    }
    return 0;
}

/* Counts a loop again and again until interrupts enough have hit it; their number, or an error. */
static s64 count_under_load(void)
{
    u64 hits = 0;

    for (u32 i = 0; i < LOAD_LOOPS_MAX && hits < LOAD_INTERRUPTS; i++) {
        u64 before;

        pmu_restart(0);
        before = traps_interrupts_counted();
        counted_loop(LOAD_BRANCHES);
        before = traps_interrupts_counted() - before;
        hits += before;
        if (pmu_count() != LOAD_BRANCHES) {
            printk("lvmm: counter self-test: a loop of %u conditional branches with %lu interrupts "
                   "in it counted %lu: this machine's counter is not exact under interrupts\n",
                   LOAD_BRANCHES, before, pmu_count());
            return ERR_UNSUPPORTED;
        }
    }
    if (hits < LOAD_INTERRUPTS) {
        printk("lvmm: counter self-test: %lu interrupts of the local APIC's timer instead of %u: "
               "the counter cannot be tested under interrupts\n",
               hits, LOAD_INTERRUPTS);
        return ERR_UNSUPPORTED;
    }
    return (s64)hits;
}

static s64 test_under_load(void)
{
    s64 hits;

    traps_count_interrupts(LOAD_VECTOR);
    lapic_start_timer(LOAD_VECTOR, LOAD_PERIOD);
    __asm__ volatile("sti" : : : "memory");
    hits = count_under_load();
    lapic_stop_timer(LOAD_VECTOR);
    __asm__ volatile("cli" : : : "memory");
    traps_stop_counting();
    return hits;
}

static int test_overflow(const struct pmu_info *info)
{
    u64 nmis, rip;

    pmu_acknowledge();
    nmis = traps_nmi_count();
    pmu_restart(0);
    pmu_arm(500);
    counted_loop(500 + info->skid_margin + 1);
    nmis = traps_nmi_count() - nmis;
    rip = traps_nmi_rip();
    /* One that is late comes when the counter stops, after the loop, or later still. */
    if (nmis != 1 || rip < (u64)counted_loop_start || rip >= (u64)counted_loop_end) {
        printk("lvmm: counter self-test: %lu overflow interrupts, the last at %lx, instead of one "
               "within %u branches\n",
               nmis, rip, info->skid_margin);
        return ERR_UNSUPPORTED;
    }
    pmu_acknowledge();
    return 0;
}

int pmu_self_test(const struct pmu_info *info)
{
    u64 smis_before = 0, smis_after = 0;
    bool counts_smis = rdmsr_safe(MSR_SMI_COUNT, &smis_before) == 0;
    s64 interrupts;

    if (test_loops() < 0)
        return ERR_UNSUPPORTED;
    interrupts = test_under_load();
    if (interrupts < 0 || test_overflow(info) < 0)
        return ERR_UNSUPPORTED;
    pmu_restart(0);
    printk("lvmm: counter of conditional branches exact, also in %lu interrupts (%s, event %lx, "
           "margin %u)\n",
           (u64)interrupts, info->cpu, info->event, info->skid_margin);
    if (counts_smis && rdmsr_safe(MSR_SMI_COUNT, &smis_after) == 0 && smis_after != smis_before)
        printk("lvmm: %lu SMIs during the counter self-test\n", smis_after - smis_before);
    return 0;
}
