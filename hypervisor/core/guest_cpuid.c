#include "core/guest_cpuid.h"
#include "arch/msr_index.h"
#include "core/vcpu.h"
#include "guest_support/lvmm_abi.h"
#include "lib/printk.h"

#define TABLE_MAX 192

#define LEAF_FEATURES     1
#define LEAF_TOPOLOGY     0xb
#define LEAF_XSAVE        0xd
#define LEAF_EXTENDED_MAX 0x80000000

static struct log_cpuid_entry table[TABLE_MAX];
static u32 table_count;

struct bits {
    u32 leaf, subleaf;
    u32 eax, ebx, ecx, edx;
};

/* Features that the guest must not use. */
static const struct bits masks[] = {
    /* MONITOR, DTES64, DS-CPL, VMX, SMX, EST, TM2, PDCM, x2APIC, hypervisor; DS, ACPI, TM */
    {1, 0, 0, 0, 0x0020817c & ~(1u << 4), (1u << 21) | (1u << 22) | (1u << 29)},
    {1, 0, 0, 0, (1u << 3) | (1u << 31), 0},
    /* HLE, RTM, PQM, PQE, PT, SGX; WAITPKG, PKU, CET_SS, bus-lock detect, ENQCMD, KL, SGX_LC;
     * UINTR, TSX_FORCE_ABORT, PCONFIG, LBR, CET_IBT, hybrid */
    {7, 0, 0, (1u << 2) | (1u << 4) | (1u << 11) | (1u << 12) | (1u << 15) | (1u << 25),
     (1u << 3) | (1u << 4) | (1u << 5) | (1u << 7) | (1u << 23) | (1u << 24) | (1u << 29) |
         (1u << 30) | (1u << 31),
     (1u << 5) | (1u << 13) | (1u << 15) | (1u << 18) | (1u << 19) | (1u << 20)},
    /* XSAVEOPT, XSAVEC, XGETBV(1), XSAVES, XFD */
    {0xd, 1, 0x1f, 0xffffffff, 0xffffffff, 0xffffffff},
};

/* Instructions and state that the guest may use without asking the monitor: where a recording was
 * made with them, this CPU must have them. OSXSAVE and HTT say nothing of that. */
static const struct bits needed[] = {
    {1, 0, 0, 0, ~(1u << 27), ~(1u << 28)},
    {7, 0, 0, ~0u, ~0u, ~0u},
    {7, 1, ~0u, 0, 0, ~0u},
    {0xd, 0, ~0u, 0, 0, ~0u},
    {0x80000001, 0, 0, 0, ~0u, ~0u},
};

/* What changes the x87 state that FXSAVE and XSAVE store, and cannot be switched: FDP only with
 * exceptions, FCS and FDS deprecated (SDM vol. 1, section 8.1.8). */
static const struct bits alike = {7, 0, 0, (1u << 6) | (1u << 13), 0, 0};

/* Leaves that answer zeros: MONITOR, power and thermal, performance monitoring, resource
 * monitoring and allocation, SGX, PT, and the marker of a hypervisor. */
static const u32 empty_leaves[] = {5, 6, 0xa, 0xf, 0x10, 0x12, 0x14, 0x19, 0x1b, 0x1c, 0x23, 0x24};

static bool is_empty(u32 leaf)
{
    for (size_t i = 0; i < ARRAY_SIZE(empty_leaves); i++)
        if (leaf == empty_leaves[i])
            return true;
    return false;
}

static int add(u32 leaf, u32 subleaf)
{
    struct cpuid_regs r = {0};

    if (table_count == TABLE_MAX)
        return ERR_NO_SPACE;
    if (!is_empty(leaf))
        r = cpuid(leaf, subleaf);
    for (size_t i = 0; i < ARRAY_SIZE(masks); i++)
        if (masks[i].leaf == leaf && masks[i].subleaf == subleaf) {
            r.eax &= ~masks[i].eax;
            r.ebx &= ~masks[i].ebx;
            r.ecx &= ~masks[i].ecx;
            r.edx &= ~masks[i].edx;
        }
    table[table_count++] = (struct log_cpuid_entry){leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx};
    return 0;
}

/* Tells software that knows lvmm that it may make hypercalls; to all other software the machine is
 * a bare one. In the table, so that a replay answers as its recording did. */
static int add_own(void)
{
    if (table_count == TABLE_MAX)
        return ERR_NO_SPACE;
    table[table_count++] = (struct log_cpuid_entry){
        LVMM_CPUID_LEAF, 0, LVMM_CPUID_LEAF, LVMM_CPUID_NAME, LVMM_CPUID_NAME, LVMM_CPUID_NAME,
    };
    return 0;
}

/* Leaves that look at ECX, and how many subleaves of each the guest is told of at most. */
static const struct {
    u32 leaf, max;
} subleaves[] = {{4, 5},    {7, 3},    {0xb, 3},  {0xd, 20}, {0x17, 4},
                 {0x18, 8}, {0x1d, 2}, {0x1e, 2}, {0x1f, 3}};

static u32 subleaves_max(u32 leaf)
{
    for (size_t i = 0; i < ARRAY_SIZE(subleaves); i++)
        if (subleaves[i].leaf == leaf)
            return subleaves[i].max;
    return 1;
}

static u32 subleaf_count(u32 leaf)
{
    u32 max = subleaves_max(leaf), last;

    if (leaf != 7 && leaf != 0x17 && leaf != 0x18 && leaf != 0x1d)
        return max;
    last = cpuid(leaf, 0).eax; /* these say which is the last one */
    return last < max ? last + 1 : max;
}

int guest_cpuid_build(void)
{
    u32 last = cpuid(0, 0).eax, last_extended = cpuid(LEAF_EXTENDED_MAX, 0).eax;

    table_count = 0;
    for (u32 leaf = 0; leaf <= last; leaf++)
        for (u32 sub = 0; sub < subleaf_count(leaf); sub++)
            if (add(leaf, sub) < 0)
                return ERR_NO_SPACE;
    for (u32 leaf = LEAF_EXTENDED_MAX; leaf <= last_extended; leaf++)
        if (add(leaf, 0) < 0)
            return ERR_NO_SPACE;
    return add_own();
}

static const struct log_cpuid_entry *find(u32 leaf, u32 subleaf)
{
    const struct log_cpuid_entry *first = NULL;

    for (u32 i = 0; i < table_count; i++) {
        if (table[i].leaf != leaf)
            continue;
        if (table[i].subleaf == subleaf)
            return &table[i];
        if (first == NULL)
            first = &table[i];
    }
    /* A leaf without subleaves ignores ECX; beyond the last subleaf the answer is zero. In replay
     * this does not ask the CPU, which is another one. */
    return subleaves_max(leaf) == 1 ? first : NULL;
}

static struct log_cpuid_entry entry_of(const struct log_cpuid_entry *entries, u32 count,
                                       const struct bits *bits)
{
    for (u32 i = 0; i < count; i++)
        if (entries[i].leaf == bits->leaf && entries[i].subleaf == bits->subleaf)
            return entries[i];
    return (struct log_cpuid_entry){0};
}

static bool lacks(const struct bits *bits, const struct log_cpuid_entry *wanted,
                  const struct log_cpuid_entry *own)
{
    return (wanted->eax & ~own->eax & bits->eax) != 0 ||
           (wanted->ebx & ~own->ebx & bits->ebx) != 0 ||
           (wanted->ecx & ~own->ecx & bits->ecx) != 0 || (wanted->edx & ~own->edx & bits->edx) != 0;
}

int guest_cpuid_use(const struct log_cpuid_entry *entries, u32 count)
{
    struct log_cpuid_entry own, wanted;

    if (count > TABLE_MAX)
        return ERR_NO_SPACE;
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
        own = entry_of(table, table_count, &needed[i]);
        wanted = entry_of(entries, count, &needed[i]);
        if (lacks(&needed[i], &wanted, &own)) {
            printk("lvmm: the recorded CPU has features that this one lacks (CPUID leaf %x)\n",
                   needed[i].leaf);
            return ERR_UNSUPPORTED;
        }
    }
    own = entry_of(table, table_count, &alike);
    wanted = entry_of(entries, count, &alike);
    if (lacks(&alike, &wanted, &own) || lacks(&alike, &own, &wanted)) {
        printk("lvmm: this CPU saves x87 state in another way than the recorded one (CPUID leaf 7, "
               "EBX bits 6 and 13)\n");
        return ERR_UNSUPPORTED;
    }
    for (u32 i = 0; i < count; i++)
        table[i] = entries[i];
    table_count = count;
    return 0;
}

u32 guest_cpuid_table(const struct log_cpuid_entry **entries)
{
    *entries = table;
    return table_count;
}

u64 guest_xcr0_allowed(void)
{
    const struct log_cpuid_entry *e = find(LEAF_XSAVE, 0);

    return e != NULL ? e->eax | (u64)e->edx << 32 : 1;
}

bool guest_xcr0_valid(u64 value)
{
    return (value & 1) && !(value & ~guest_xcr0_allowed()) && !((value & 4) && !(value & 2)) &&
           !((value & 0xe0) != 0 && (value & 0xe6) != 0xe6) &&
           !((value & 0x18) != 0 && (value & 0x18) != 0x18) &&
           !((value & 0x60000) != 0 && (value & 0x60000) != 0x60000);
}

/* Size of the XSAVE area for the features that are enabled in XCR0 (SDM vol. 1, section 13.2). */
static u32 xsave_size(u64 xcr0)
{
    u32 size = 576;

    for (u32 i = 2; i < 20; i++) {
        const struct log_cpuid_entry *e = find(LEAF_XSAVE, i);

        if ((xcr0 >> i & 1) && e != NULL && e->ebx + e->eax > size)
            size = e->ebx + e->eax;
    }
    return size;
}

struct cpuid_regs guest_cpuid(u32 leaf, u32 subleaf)
{
    const struct log_cpuid_entry *e = find(leaf, subleaf);
    struct cpuid_regs r = {0};

    if (e == NULL && (leaf < LEAF_EXTENDED_MAX || leaf > find(LEAF_EXTENDED_MAX, 0)->eax) &&
        leaf > find(0, 0)->eax)
        e = find(find(0, 0)->eax, subleaf); /* beyond the last leaf: the last (SDM vol. 2) */
    if (e != NULL)
        r = (struct cpuid_regs){e->eax, e->ebx, e->ecx, e->edx};
    if (leaf == LEAF_FEATURES) {
        r.ecx &= ~(u32)(1 << 27); /* OSXSAVE mirrors CR4 */
        if (hv_read_cr4() & CR4_OSXSAVE)
            r.ecx |= 1 << 27;
    } else if (leaf == LEAF_XSAVE && subleaf == 0 && (hv_read_cr4() & CR4_OSXSAVE)) {
        r.ebx = xsave_size(xgetbv(0));
    } else if (leaf == LEAF_TOPOLOGY && e == NULL) {
        r.ecx = subleaf & 0xff;
    }
    return r;
}
