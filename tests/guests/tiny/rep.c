/* Long string instructions: an interrupt inside one leaves a position in ECX, ESI and EDI. */
#include "runtime.h"

#define INTERRUPTS 32
#define BYTES      (1u << 15)

struct hit {
    u32 eip, ecx, esi, edi;
};

static struct hit hits[INTERRUPTS];
static volatile u32 interrupts;
static volatile u32 inside;
static u8 source[BYTES], target[BYTES];

static void on_timer(struct frame *frame) {
    u16 opcode = *(const u16 *)frame->eip;
    if ((opcode & 0xff) == 0xf3 && frame->ecx != 0)
        inside++;
    if (interrupts < INTERRUPTS)
        hits[interrupts++] = (struct hit){frame->eip, frame->ecx, frame->esi, frame->edi};
    acknowledge_timer();
}

static void fill(u8 value) {
    void *to = target;
    u32 count = BYTES;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

static void copy_bytes(void) {
    const void *from = source;
    void *to = target;
    u32 count = BYTES;
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count)::"memory");
}

static void copy_words_backwards(void) {
    const void *from = source + BYTES - 4;
    void *to = target + BYTES - 4;
    u32 count = BYTES / 4;
    __asm__ volatile("std; rep movsl; cld" : "+S"(from), "+D"(to), "+c"(count)::"memory");
}

static u32 compare(void) {
    const void *left = source, *right = target;
    u32 count = BYTES;
    __asm__ volatile("repe cmpsb" : "+S"(left), "+D"(right), "+c"(count)::"cc", "memory");
    return count;
}

static u32 scan(u8 value) {
    const void *to = target;
    u32 count = BYTES;
    __asm__ volatile("repne scasb" : "+D"(to), "+c"(count) : "a"(value) : "cc", "memory");
    return count;
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    start_timer(1000);
    enable_interrupts();
    u32 rounds = 0, sum = 0;
    while (interrupts < INTERRUPTS) {
        source[rounds % BYTES] = (u8)interrupts;
        fill((u8)rounds);
        target[(rounds * 7919 + interrupts) % BYTES] = (u8)(rounds + 1);
        sum = sum * 31 + scan((u8)(rounds + 1));
        copy_bytes();
        target[(rounds * 104729 + interrupts) % BYTES] ^= 1;
        sum = sum * 31 + compare();
        copy_words_backwards();
        rounds++;
    }
    disable_interrupts();
    for (u32 i = 0; i < INTERRUPTS; i++)
        print("%u eip %x ecx %x esi %x edi %x\n", i, hits[i].eip, hits[i].ecx, hits[i].esi,
              hits[i].edi);
    print("rep rounds %u inside %u sum %x\n", rounds, inside, sum);
    end_reset();
}
