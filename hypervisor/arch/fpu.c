#include "arch/fpu.h"
#include "arch/cpu.h"
#include "lib/string.h"

#define FXSAVE_SIZE  512
#define XSAVE_HEADER 64
#define CPUID_XSAVE  0xd
#define MXCSR_OFFSET 24
#define MXCSR_MASK   0xffffu
#define XSTATE_BV    512
#define XCOMP_BV     520

static u8 area[FPU_IMAGE_MAX] __attribute__((aligned(64)));

static u64 xcr0(void)
{
    u32 low = 0, high = 0;

    if (!(cpuid(1, 0).ecx & BIT(26)))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    /* Without AVX and the like FXSAVE has all there is, SSE included. */
    return low == XCR0_X87 ? 0 : (u64)high << 32 | low;
}

static u32 image_size(u64 components)
{
    u32 size = components == 0 ? FXSAVE_SIZE : cpuid(CPUID_XSAVE, 0).ebx;

    return size <= sizeof(area) ? size : 0;
}

u32 fpu_read(u8 *image, u32 room, u64 *components)
{
    u32 size;

    *components = xcr0();
    size = image_size(*components);
    if (size == 0 || size > room)
        return 0;
    memset(area, 0, sizeof(area));
    if (*components == 0)
        __asm__ volatile("fxsave64 %0" : "=m"(area) : : "memory");
    else
        __asm__ volatile("xsave64 %0" : "+m"(area) : "a"(~0u), "d"(~0u) : "memory");
    memcpy(image, area, size);
    return size;
}

static u64 read_u64(const u8 *at)
{
    u64 value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* What XRSTOR would fault on (SDM vol. 1, section 13.8). */
static bool acceptable(const u8 *image, u64 components)
{
    u32 mxcsr;

    memcpy(&mxcsr, image + MXCSR_OFFSET, sizeof(mxcsr));
    if (mxcsr & ~MXCSR_MASK)
        return false;
    if (components == 0)
        return true;
    if (read_u64(image + XSTATE_BV) & ~components)
        return false;
    for (u32 i = XCOMP_BV; i < FXSAVE_SIZE + XSAVE_HEADER; i++)
        if (image[i] != 0)
            return false;
    return true;
}

int fpu_write(const u8 *image, u32 size)
{
    u64 components = xcr0();

    if (size == 0 || size != image_size(components) || !acceptable(image, components))
        return ERR_INVALID;
    memcpy(area, image, size);
    if (components == 0)
        __asm__ volatile("fxrstor64 %0" : : "m"(area) : "memory");
    else
        __asm__ volatile("xrstor64 %0" : : "m"(area), "a"(~0u), "d"(~0u) : "memory");
    return 0;
}
