/* Multiboot2 entry: 32-bit protected mode from GRUB to 64-bit monitor_main().
 * The monitor is linked at its physical address (board: monitor_base) and runs identity-mapped. */
    .section .multiboot2, "a"
    .balign 8
mb2_header:
    .long 0xe85250d6                    /* magic */
    .long 0                             /* i386, protected mode */
    .long mb2_end - mb2_header
    .long -(0xe85250d6 + 0 + (mb2_end - mb2_header))
    .balign 8
    .short 6, 0                         /* page-aligned modules */
    .long 8
    .balign 8
    .short 0, 0
    .long 8
mb2_end:

    .section .text.entry, "ax"
    .code32
    .globl entry32
entry32:
    cli
    cld
    mov $boot_stack_top, %esp
    mov %eax, %edi                      /* multiboot2 magic */
    mov %ebx, %esi                      /* multiboot2 information */
    push %edi
    push %esi

    mov $0x80000000, %eax
    cpuid
    cmp $0x80000001, %eax
    jb no_long_mode
    mov $0x80000001, %eax
    cpuid
    test $(1 << 29), %edx
    jz no_long_mode

    /* Temporary tables: 4 GiB identity-mapped with 2 MiB pages. */
    mov $boot_pdpt, %eax
    or $3, %eax
    mov %eax, boot_pml4
    mov $boot_pd, %eax
    or $3, %eax
    mov $boot_pdpt, %edi
    mov $4, %ecx
1:  mov %eax, (%edi)
    add $4096, %eax
    add $8, %edi
    loop 1b
    mov $boot_pd, %edi
    mov $0x83, %eax
    mov $2048, %ecx
2:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 2b

    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $(1 << 5), %eax                  /* PAE */
    mov %eax, %cr4
    mov $0xc0000080, %ecx               /* EFER.LME | NXE */
    rdmsr
    or $((1 << 8) | (1 << 11)), %eax
    wrmsr
    pop %esi
    pop %edi
    mov %cr0, %eax
    or $((1 << 31) | (1 << 16)), %eax   /* PG | WP */
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $0x08, $entry64

no_long_mode:
    mov $message, %esi
3:  lodsb
    test %al, %al
    jz 4f
    mov $MONITOR_SERIAL, %dx
    out %al, %dx
    jmp 3b
4:  cli
    hlt
    jmp 4b

    .code64
entry64:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $monitor_stack_top, %rsp
    xor %ebp, %ebp
    mov %edi, %edi
    mov %esi, %esi
    call monitor_main
5:  cli
    hlt
    jmp 5b

    .section .rodata
message:
    .asciz "lvmm: this CPU has no 64-bit mode\r\n"
    .balign 8
    .globl gdt
    /* Writable at run time: LTR sets the TSS's busy bit. */
    .section .data
    .balign 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff            /* 0x08 64-bit code */
    .quad 0x00cf93000000ffff            /* 0x10 data */
    .quad 0, 0                          /* 0x18 TSS, filled in by traps_init() */
gdt_end:
    .globl gdt_pointer
gdt_pointer:
    .short gdt_end - gdt - 1
    .quad gdt

    .section .bss.boot, "aw", @nobits
    .balign 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd:   .skip 4096 * 4
    .skip 4096
boot_stack_top:

    /* The page below each stack is left unmapped (arch/paging.c). */
    .section .bss.stacks, "aw", @nobits
    .balign 4096
    .globl monitor_stack_guard, nmi_stack_guard, nmi_stack_top, monitor_stack_top
    .globl fault_stack_guard, fault_stack_top
monitor_stack_guard:
    .skip 4096
    .skip 32768
monitor_stack_top:
nmi_stack_guard:
    .skip 4096
    .skip 8192
nmi_stack_top:
fault_stack_guard:
    .skip 4096
    .skip 8192
fault_stack_top:
    .section .note.GNU-stack, "", @progbits
