/* Shows core/guest_insn.c guest memory that changes, a line each on stdin:
 *   store GPA VALUE     8 bytes
 *   cr3 VALUE, cr4 VALUE, rip VALUE
 *   ask
 * and prints for each `ask`: the instruction at RIP, the same as fetched and decoded anew, and how
 * many reads of memory the first took. Guest memory is where the guest has it, from MEMORY on. */
#include "arch/msr_index.h"
#include "core/code_mode.h"
#include "core/guest_insn.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY 0x10000000ULL
#define SIZE   0x10000ULL

static u64 cr3, cr4 = CR4_PAE;
static unsigned int reads;

u64 hv_read_cr0(void)
{
    return CR0_PG | CR0_PE | CR0_WP;
}

u64 hv_read_cr3(void)
{
    return cr3;
}

u64 hv_read_cr4(void)
{
    return cr4;
}

u64 hv_read_efer(void)
{
    return EFER_LME | EFER_LMA | EFER_NXE;
}

unsigned int hv_cpl(void)
{
    return 0;
}

u32 hv_segment_access(enum segment_index index)
{
    return index == SEG_CS ? ACCESS_LONG : 0;
}

u64 hv_segment_base(enum segment_index index)
{
    (void)index;
    return 0;
}

bool guest_memory_plain(u64 gpa, u64 len)
{
    return gpa >= MEMORY && gpa - MEMORY <= SIZE - len;
}

int guest_memory_read(u64 gpa, void *buf, u64 len)
{
    reads++;
    if (!guest_memory_plain(gpa, len))
        return ERR_FAULT;
    memcpy(buf, (const void *)gpa, len);
    return 0;
}

static void print(const struct insn *insn)
{
    if (insn == NULL)
        printf("none;");
    else
        printf("%u %u %u %u %" PRIx64 ";", insn->length, insn->operation, insn->reg, insn->size,
               insn->immediate);
}

static void ask(const struct vcpu *vcpu)
{
    u8 bytes[INSN_MAX_LENGTH];
    struct insn anew;
    unsigned int taken;

    reads = 0;
    print(guest_insn(vcpu));
    taken = reads;
    print(decode(bytes, guest_fetch(vcpu, bytes, sizeof(bytes)), code_mode(), &anew) < 0 ? NULL
                                                                                         : &anew);
    printf("%u\n", taken);
}

int main(void)
{
    struct vcpu vcpu = {0};
    char word[8];
    u64 gpa, value;

    if (mmap((void *)MEMORY, SIZE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)MEMORY)
        return 2;
    while (scanf("%7s", word) == 1) {
        if (strcmp(word, "ask") == 0)
            ask(&vcpu);
        else if (scanf("%" SCNx64, &value) != 1)
            return 2;
        else if (strcmp(word, "cr3") == 0)
            cr3 = value;
        else if (strcmp(word, "cr4") == 0)
            cr4 = value;
        else if (strcmp(word, "rip") == 0)
            vcpu.regs.rip = value;
        else if (strcmp(word, "store") == 0) {
            gpa = value;
            if (scanf("%" SCNx64, &value) != 1 || !guest_memory_plain(gpa, sizeof(value)))
                return 2;
            memcpy((void *)gpa, &value, sizeof(value));
        } else
            return 2;
    }
    return 0;
}
