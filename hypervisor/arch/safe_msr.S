/* RDMSR and WRMSR that report a #GP instead of dying: the exception handler resumes at the
 * fixup address when the faulting RIP is one of the two labels below (arch/traps.c). */
    .text
    .code64
    .globl rdmsr_safe, rdmsr_safe_insn, wrmsr_safe, wrmsr_safe_insn, msr_safe_fixup

/* int rdmsr_safe(u32 index, u64 *value) */
rdmsr_safe:
    mov %edi, %ecx
rdmsr_safe_insn:
    rdmsr
    shl $32, %rdx
    or %rdx, %rax
    mov %rax, (%rsi)
    xor %eax, %eax
    ret

/* int wrmsr_safe(u32 index, u64 value) */
wrmsr_safe:
    mov %edi, %ecx
    mov %esi, %eax
    mov %rsi, %rdx
    shr $32, %rdx
wrmsr_safe_insn:
    wrmsr
    xor %eax, %eax
    ret

msr_safe_fixup:
    mov $-1, %eax
    ret
    .section .note.GNU-stack, "", @progbits
