#include "arch/mtrr.h"
#include "arch/cpu.h"
#include "arch/msr_index.h"

#define VARIABLE_MAX 32

#define CAP_FIXED     BIT(8)
#define DEF_ENABLE    BIT(11)
#define DEF_FIXED     BIT(10)
#define MASK_VALID    BIT(11)
#define FIXED_END     0x100000ULL
#define VARIABLE_ADDR 0x000ffffffffff000ULL

struct variable_range {
    u64 base, mask;
    u8 type;
};

static struct variable_range ranges[VARIABLE_MAX];
static unsigned int range_count;
static bool enabled, fixed;
static u8 default_type;

void mtrr_init(void)
{
    u64 def, cap, count;

    if (!(cpuid(1, 0).edx & BIT(12)))
        return;
    cap = rdmsr(MSR_MTRRCAP);
    def = rdmsr(MSR_MTRR_DEF_TYPE);
    count = cap & 0xff;
    enabled = def & DEF_ENABLE;
    fixed = (cap & CAP_FIXED) && (def & DEF_FIXED);
    default_type = def & 0xff;
    for (u32 i = 0; i < count && i < VARIABLE_MAX; i++) {
        u64 base = rdmsr(MSR_MTRR_PHYSBASE0 + 2 * i);
        u64 mask = rdmsr(MSR_MTRR_PHYSMASK0 + 2 * i);

        if (mask & MASK_VALID)
            ranges[range_count++] =
                (struct variable_range){base & VARIABLE_ADDR, mask & VARIABLE_ADDR, base & 0xff};
    }
}

static u8 fixed_type(u64 hpa)
{
    u64 value;
    u64 at;

    if (hpa < 0x80000) {
        value = rdmsr(MSR_MTRR_FIX64K_00000);
        at = hpa / 0x10000;
    } else if (hpa < 0xc0000) {
        value = rdmsr(MSR_MTRR_FIX16K_80000 + (u32)((hpa - 0x80000) / 0x20000));
        at = (hpa - 0x80000) / 0x4000 % 8;
    } else {
        value = rdmsr(MSR_MTRR_FIX4K_C0000 + (u32)((hpa - 0xc0000) / 0x8000));
        at = (hpa - 0xc0000) / 0x1000 % 8;
    }
    return (u8)(value >> at * 8);
}

u8 mtrr_type(u64 hpa)
{
    int type = -1;

    if (!enabled)
        return CACHE_UC;
    if (fixed && hpa < FIXED_END)
        return fixed_type(hpa);
    for (unsigned int i = 0; i < range_count; i++) {
        u8 t = ranges[i].type;

        if ((hpa & ranges[i].mask) != (ranges[i].base & ranges[i].mask))
            continue;
        /* Overlaps: UC wins, WT wins over WB (SDM vol. 3, section 12.11.4.1). */
        if (type < 0 || t == CACHE_UC || (t == CACHE_WT && type == CACHE_WB))
            type = t;
    }
    return type < 0 ? default_type : (u8)type;
}

bool mtrr_uniform(u64 hpa, u64 size)
{
    if (fixed && hpa < FIXED_END)
        return false;
    for (unsigned int i = 0; i < range_count; i++) {
        u64 inside = ranges[i].mask & (size - 1);

        if (inside != 0 &&
            (hpa & ranges[i].mask & ~(size - 1)) == (ranges[i].base & ranges[i].mask & ~(size - 1)))
            return false;
    }
    return true;
}
