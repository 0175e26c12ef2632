/* Where the boot loader enters (Multiboot specification 0.6.96, 3.1 and 3.2): 32-bit protected mode,
   flat segments of the loader's, no paging, interrupts off. */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 2 /* memory information, and with it the command line */
#define STACK_BYTES     16384

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
    xor %ebp, %ebp
    push %ebx /* address of the loader's information */
    push %eax /* its magic number */
    lgdt gdt_pointer
    ljmp $8, $1f
1:  mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    call appliance
2:  cli
    hlt
    jmp 2b

    .section .rodata
    .align 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff /* 0x08: flat code */
    .quad 0x00cf92000000ffff /* 0x10: flat data */
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    .bss
    .align 16
    .skip STACK_BYTES
stack_top:

    .section .note.GNU-stack, "", @progbits
