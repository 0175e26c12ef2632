/* Multiboot entry (Multiboot specification 0.6.96, 3.1 and 3.2) and the interrupt entries. */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 2 /* memory information wanted */

    .section .multiboot, "a"
    .align 4
    .long MULTIBOOT_MAGIC
    .long MULTIBOOT_FLAGS
    .long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

    .text
    .globl start
start:
    cli
    cld
    mov $stack_top, %esp
    push $0
    popf
    push %ebx
    push %eax
    lgdt gdt_pointer
    ljmp $8, $1f
1:  mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    call runtime_main
2:  cli
    hlt
    jmp 2b

/* One 16-byte entry for each vector: pushes an error code of 0 where the CPU pushes none
   (SDM vol. 3, table 6-1), then the vector. */
    .align 16
    .globl interrupt_entries
interrupt_entries:
    .set vector, 0
    .rept 256
    .align 16
    .if !((vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21))
    push $0
    .endif
    push $vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

interrupt_common:
    pusha
    cld
    push %esp
    call runtime_interrupt
    add $4, %esp
    popa
    add $8, %esp
    iret

    .data
    .align 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff /* flat code */
    .quad 0x00cf92000000ffff /* flat data */
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    .bss
    .align 16
    .skip 16384
stack_top:

    .section .note.GNU-stack, "", @progbits
