/* A boot sector: hypercalls in real mode, from a segment whose base is not 0, and in 64-bit code,
   which ends by a panic. */
#include "lvmm_abi.h"

#define SECTOR  0x7c00
#define SEGMENT (SECTOR >> 4)
#define TABLES  0x10000 /* page tables: PML4, PDPT */

#define MSR_EFER 0xc0000080

    .macro vmcall_at function, text, length
    mov $LVMM_MAGIC, %eax
    mov $\function, %ebx
    mov $(SECTOR + \text), %ecx
    mov $\length, %edx
    vmcall
    .endm

    .text
    .code16
    .globl _start
_start:
    ljmp $SEGMENT, $1f
1:  cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    mov $(TABLES >> 4), %ax
    mov %ax, %es

    vmcall_at LVMM_CALL_MARK, first, first_end-first
    mov %eax, result

    /* Linear = physical, the first 1 GiB in one page. */
    xor %di, %di
    xor %eax, %eax
    mov $(2 * 4096 / 4), %cx
    rep stosl
    movl $(TABLES + 4096 + 3), %es:0
    movl $0x83, %es:4096
    mov $TABLES, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x20, %al /* PAE */
    mov %eax, %cr4
    mov $MSR_EFER, %ecx
    rdmsr
    or $0x100, %ax /* LME */
    wrmsr
    lgdtl gdt_pointer
    mov %cr0, %eax
    or $0x80000001, %eax
    mov %eax, %cr0
    ljmpl $8, $(SECTOR + long_mode)

    .code64
long_mode:
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $SECTOR, %rsp
    mov $(SECTOR + result), %edi
    cmpl $0, (%rdi)
    jne 1f
    vmcall_at LVMM_CALL_MARK, second, second_end-second
    test %rax, %rax
    jnz 1f
    /* An address that is not canonical. */
    mov $LVMM_MAGIC, %eax
    mov $LVMM_CALL_MARK, %ebx
    mov $1, %rcx
    shl $63, %rcx
    mov $1, %edx
    vmcall
    cmp $LVMM_ERROR_FAULT, %rax
    jne 1f
    vmcall_at LVMM_CALL_PANIC, third, third_end-third
1:  hlt
    jmp 1b

result:
    .long -1
first:
    .ascii "16-bit"
first_end:
second:
    .ascii "64-bit"
second_end:
third:
    .ascii "the end"
third_end:

    .balign 8
gdt:
    .quad 0
    .quad 0x00209a0000000000
gdt_pointer:
    .word . - gdt - 1
    .long SECTOR + gdt

    .org 510
    .byte 0x55, 0xaa
    .section .note.GNU-stack, "", @progbits
