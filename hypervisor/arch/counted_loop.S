/* void counted_loop(u64 n): n conditional branches with the counter on, and no other. Between the
 * two labels the loop is under way. */
#define PERF_GLOBAL_CTRL  0x38f /* IA32_PERF_GLOBAL_CTRL (SDM vol. 4) */
#define PMU_GLOBAL_ENABLE 1     /* arch/pmu.h */

    .text
    .code64
    .globl counted_loop, counted_loop_start, counted_loop_end
counted_loop:
    mov $PERF_GLOBAL_CTRL, %ecx
    mov $PMU_GLOBAL_ENABLE, %eax
    xor %edx, %edx
    wrmsr
counted_loop_start:
    dec %rdi
    jnz counted_loop_start
counted_loop_end:
    xor %eax, %eax
    wrmsr
    ret
    .section .note.GNU-stack, "", @progbits
