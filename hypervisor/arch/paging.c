#include "arch/paging.h"
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "lib/panic.h"

#define PTE_P    BIT(0)
#define PTE_W    BIT(1)
#define PTE_PS   BIT(7)
#define PTE_NX   BIT(63)
#define PTE_ADDR 0x000ffffffffff000ULL

#define SIZE_2M    0x200000ULL
#define SIZE_1G    0x40000000ULL
#define LOW_GIB    4
#define MAPPED_GIB 512
#define TABLE_POOL 16

extern u8 image_start[], text_start[], text_end[], rodata_end[], image_end[];
extern u8 monitor_stack_guard[], nmi_stack_guard[], fault_stack_guard[];

typedef u64 page_table[512] __attribute__((aligned(4096)));

static page_table pml4, pdpt, pd[LOW_GIB];
static page_table pool[TABLE_POOL];
static unsigned int pool_used;

static bool has_1g;

static u64 *page_table_for(u64 address)
{
    u64 *pde = &pd[address / SIZE_1G][address / SIZE_2M % 512];

    if (*pde & PTE_PS) {
        u64 *pt;

        if (pool_used == TABLE_POOL)
            panic("page-table pool used up at %lx", address);
        pt = pool[pool_used++];
        for (u64 i = 0; i < 512; i++)
            pt[i] = ((address & ~(SIZE_2M - 1)) + i * PAGE_SIZE) | PTE_P | PTE_W | PTE_NX;
        *pde = (u64)pt | PTE_P | PTE_W;
    }
    return (u64 *)(*pde & PTE_ADDR);
}

static void map_range(u8 *start, u8 *end, u64 flags)
{
    for (u64 a = (u64)start; a < (u64)end; a += PAGE_SIZE)
        page_table_for(a)[a / PAGE_SIZE % 512] = flags != 0 ? a | flags : 0;
}

static void unmap_page(u64 a)
{
    page_table_for(a)[a / PAGE_SIZE % 512] = 0;
}

void paging_init(void)
{
    has_1g = cpuid(0x80000001, 0).edx & BIT(26);
    pml4[0] = (u64)pdpt | PTE_P | PTE_W;
    for (u64 g = 0; g < LOW_GIB; g++) {
        pdpt[g] = (u64)pd[g] | PTE_P | PTE_W;
        for (u64 i = 0; i < 512; i++)
            pd[g][i] = (g * SIZE_1G + i * SIZE_2M) | PTE_P | PTE_W | PTE_PS | PTE_NX;
    }
    for (u64 g = LOW_GIB; has_1g && g < MAPPED_GIB; g++)
        pdpt[g] = g * SIZE_1G | PTE_P | PTE_W | PTE_PS | PTE_NX;

    map_range(text_start, text_end, PTE_P);
    map_range(text_end, rodata_end, PTE_P | PTE_NX);
    unmap_page(0);
    unmap_page((u64)monitor_stack_guard);
    unmap_page((u64)nmi_stack_guard);
    unmap_page((u64)fault_stack_guard);

    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    write_cr0(read_cr0() | CR0_WP);
    write_cr3((u64)pml4);
}

u64 paging_mapped_end(void)
{
    return (has_1g ? MAPPED_GIB : LOW_GIB) * SIZE_1G;
}
