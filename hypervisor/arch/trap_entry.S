/* Entry stubs of the monitor's own IDT: one a vector, all to trap_handler(struct trap_frame *). */
    .text
    .code64

    .macro stub vector, has_error
    .balign 16
trap_\vector:
    .if \has_error == 0
    push $0
    .endif
    push $\vector
    jmp trap_common
    .endm

    .irp v, 0,1,2,3,4,5,6,7,9,15,16,18,19,20,22,23,24,25,26,27,28,31
    stub \v, 0
    .endr
    .irp v, 8,10,11,12,13,14,17,21,29,30
    stub \v, 1
    .endr

trap_common:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov %rsp, %rdi
    call trap_handler
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

    /* traps_take_interrupt(): one stub a vector, 16 bytes each. They note the vector and return with
     * interrupts off. */
    .balign 16
    .globl take_stubs, taken_vector
take_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    movl $vector, taken_vector
    jmp take_common
    .set vector, vector + 1
    .endr
take_common:
    andq $~0x200, 16(%rsp)
    iretq

    .set LAPIC_EOI, 0xfee000b0

    /* Of the vector that traps_count_interrupts() names: counts it and tells the LAPIC its end,
     * without a conditional branch. */
    .balign 16
    .globl counted_stub, counted_interrupts
counted_stub:
    push %rax
    incq counted_interrupts(%rip)
    mov $LAPIC_EOI, %eax
    movl $0, (%rax)
    pop %rax
    iretq

    .section .bss
    .balign 8
counted_interrupts:
    .skip 8
taken_vector:
    .skip 4

    .section .rodata
    .balign 8
    .globl trap_stubs
trap_stubs:
    .irp v, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    .quad trap_\v
    .endr
    .section .note.GNU-stack, "", @progbits
