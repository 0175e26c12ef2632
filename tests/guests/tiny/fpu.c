/* x87 and SSE state under interrupts: the handler looks at the interrupted state, then clobbers and
   restores it. */
#include "runtime.h"

#define INTERRUPTS 24

struct fx_image {
    u8 bytes[512];
} __attribute__((aligned(16)));

static volatile u32 interrupts;
static u64 seen_xmm[INTERRUPTS], seen_x87[INTERRUPTS];
static struct fx_image image;

static void on_timer(struct frame *frame) {
    (void)frame;
    __asm__ volatile("fxsave %0" : "=m"(image));
    if (interrupts < INTERRUPTS) {
        seen_x87[interrupts] = *(u64 *)(image.bytes + 32);
        seen_xmm[interrupts] = *(u64 *)(image.bytes + 160);
        interrupts++;
    }
    __asm__ volatile("fninit; fldpi; pcmpeqd %xmm0, %xmm0; pcmpeqd %xmm1, %xmm1");
    __asm__ volatile("fxrstor %0" ::"m"(image));
    acknowledge_timer();
}

static void enable_sse(void) {
    u32 value;
    __asm__ volatile("mov %%cr0, %0; and $~4, %0; or $2, %0; mov %0, %%cr0" : "=r"(value));
    __asm__ volatile("mov %%cr4, %0; or $0x600, %0; mov %0, %%cr4" : "=r"(value));
    __asm__ volatile("fninit");
}

/* XMM0 counts in steps of XMM1; the x87 stack holds a product which grows by (1 + 2^-20). */
static void spin(u64 *sum, u64 *product) {
    static const u64 step[2] = {0x0123456789abcdefull, 1};
    static const double factor = 1.0 + 1.0 / (1 << 20);
    u64 result[2];
    double grown;
    __asm__ volatile("movdqu %2, %%xmm1\n\t"
                     "pxor %%xmm0, %%xmm0\n\t"
                     "fld1\n\t"
                     "1: paddq %%xmm1, %%xmm0\n\t"
                     "fmull %3\n\t"
                     "cmpl %5, %4\n\t"
                     "jb 1b\n\t"
                     "movdqu %%xmm0, %0\n\t"
                     "fstpl %1"
                     : "=m"(result), "=m"(grown)
                     : "m"(step), "m"(factor), "m"(interrupts), "i"(INTERRUPTS)
                     : "cc", "memory");
    *sum = result[0] ^ result[1];
    union {
        double number;
        u64 bits;
    } both = {.number = grown};
    *product = both.bits;
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    enable_sse();
    set_handler(TIMER_VECTOR, on_timer);
    start_timer(2000);
    enable_interrupts();
    u64 sum, product;
    spin(&sum, &product);
    disable_interrupts();
    for (u32 i = 0; i < INTERRUPTS; i++)
        print("%u xmm %X x87 %X\n", i, seen_xmm[i], seen_x87[i]);
    print("fpu sum %X product %X\n", sum, product);
    end_reset();
}
