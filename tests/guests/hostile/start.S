/* Multiboot entry, the way to long mode, and traps that come back whatever the trapped code did: each
   uses a stack of its own (IST) and loads everything anew that a stray instruction may have changed. */

#define MULTIBOOT_MAGIC 0x1badb002

#define CODE64 0x08
#define DATA   0x10
#define TSS    0x30

#define CR0_LONG 0x80010033 /* PG, WP, NE, ET, MP, PE */
#define CR4_LONG 0x00000620 /* PAE, OSFXSR, OSXMMEXCPT */
#define EFER_LONG 0x100
#define MSR_EFER 0xc0000080

    .section .multiboot, "a"
    .align 4
    .long MULTIBOOT_MAGIC
    .long 0
    .long -MULTIBOOT_MAGIC

    .text
    .code32
    .globl start
start:
    cli
    cld
    mov %eax, boot_magic
    mov %ebx, boot_info
    mov $stack_top, %esp
    mov $CR4_LONG, %eax
    mov %eax, %cr4
    mov $pml4, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    mov $EFER_LONG, %eax
    xor %edx, %edx
    wrmsr
    mov $CR0_LONG & ~0x10000, %eax      /* without WP: all is writable */
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $CODE64, $1f
    .code64
1:  mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    mov $tss, %eax
    mov %ax, gdt + TSS + 2
    shr $16, %eax
    mov %al, gdt + TSS + 4
    mov %ah, gdt + TSS + 7
    mov $TSS, %eax
    ltr %ax
    mov boot_magic, %edi
    mov boot_info, %esi
    call hostile_main
2:  cli
    hlt
    jmp 2b

/* int attempt(void (*what)(void *), void *argument): 0, or the vector of the trap that ended it + 1.
   What it changes of the CPU's state is put back. */
    .globl attempt
attempt:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, resume_rsp
    movb $1, attempting
    mov %rdi, %rax
    mov %rsi, %rdi
    call *%rax
    xor %eax, %eax
    jmp 3f
    .globl resume
resume:
    mov resume_rsp, %rsp
    mov trap_vector, %eax
    inc %eax
3:  movb $0, attempting
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

/* void enter(const struct entry *): loads all registers and goes there; only a trap comes back. */
    .globl enter
enter:
    mov $CR0_LONG, %rax                 /* from here on what is protected stays so */
    mov %rax, %cr0
    mov %rdi, %rsp
    pop %rax
    pop %rcx
    pop %rdx
    pop %rbx
    pop %rbp
    pop %rsi
    pop %rdi
    pop %r8
    pop %r9
    pop %r10
    pop %r11
    pop %r12
    pop %r13
    pop %r14
    pop %r15
    iretq

/* Out of long mode to 32-bit code without paging; EDI says what then: 0 a task switch, else a set of
   control-register bits that do not go together. CR0.NE changes with each, so that it exits. */
    .globl leave_long_mode
leave_long_mode:
    pushq $0x18
    pushq $1f
    lretq
    .code32
1:  mov %cr0, %eax
    and $0x7fffffff, %eax
    mov %eax, %cr0
    mov $MSR_EFER, %ecx
    xor %eax, %eax
    xor %edx, %edx
    wrmsr
    cmp $1, %edi
    je 2f
    cmp $2, %edi
    je 3f
    cmp $3, %edi
    je 4f
    cmp $4, %edi
    je 5f
    ljmp $0x28, $0                      /* 0: a TSS */
2:  mov $EFER_LONG, %eax                /* 1: long mode without PAE */
    wrmsr
    xor %eax, %eax
    mov %eax, %cr4
    mov $0x80000011, %eax
    mov %eax, %cr0
    jmp 6f
3:  mov $0x20, %eax                     /* 2: PAE paging with page-directory pointers of ones */
    mov %eax, %cr4
    mov $ones, %eax
    mov %eax, %cr3
    mov $0x80000011, %eax
    mov %eax, %cr0
    jmp 6f
4:  mov $EFER_LONG, %eax                /* 3: long mode with a 64-bit code segment before it */
    wrmsr
    mov $CR4_LONG, %eax
    mov %eax, %cr4
    ljmp $0x08, $7f
7:  mov $0x80000011, %eax
    mov %eax, %cr0
    jmp 6f
5:  mov $0x12345678, %eax               /* 4: virtual-8086 mode with selectors of protected mode */
    mov $DATA, %ecx
    pushl %ecx
    pushl %ecx
    pushl %ecx
    pushl %ecx
    pushl %ecx
    pushl $0xffff
    pushl $0x23202
    pushl $0xffff
    pushl $0xffff
    iret
6:  cli
    hlt
    jmp 6b
    .align 32
ones:
    .fill 4, 8, -1
    .code64

    .align 16
    .globl trap_entries
trap_entries:
    .set vector, 0
    .rept 256
    .align 16
    push $vector                        /* a stack of its own, below whatever the CPU pushed */
    jmp trap_common
    .set vector, vector + 1
    .endr

trap_common:
    cld
    cmpb $0, attempting
    jne 4f
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    mov 9*8(%rsp), %edi
    call trap_taken
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    add $8, %rsp
    iretq

4:  pop %rbx                            /* the vector; nobody needs what was in the registers */
    mov $CR0_LONG & ~0x10000, %rax
    mov %rax, %cr0
    mov $CR4_LONG, %rax
    mov %rax, %cr4
    mov $pml4, %rax
    mov %rax, %cr3
    xor %eax, %eax
    mov %rax, %dr7
    lgdt gdt_pointer
    lidt idt_pointer
    lldt %ax
    mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    andb $0xfd, gdt + TSS + 5           /* no longer busy */
    mov $TSS, %eax
    ltr %ax
    mov %ebx, trap_vector
    mov %ebx, %edi
    call trap_taken
    mov $trap_stack_top, %rsp
    mov %ss, %ecx                       /* by IRET: an NMI blocks others until then */
    push %rcx
    push $trap_stack_top
    push $2
    push $CODE64
    push $resume
    iretq

    .data
    .align 16
    .globl gdt
gdt:
    .quad 0
    .quad 0x00af9b000000ffff            /* 08: 64-bit code */
    .quad 0x00cf93000000ffff            /* 10: data */
    .quad 0x00cf9b000000ffff            /* 18: 32-bit code */
    .quad 0x000f9b000000ffff            /* 20: 16-bit code, 1 MiB */
    .quad 0
    .quad 0x0000890000000067            /* 30: TSS */
    .quad 0
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
    .globl idt_pointer
idt_pointer:
    .word 256 * 16 - 1
    .quad idt
    .align 16
tss:
    .long 0
    .quad stack_top, stack_top, stack_top, 0
    .quad trap_stack_top, 0, 0, 0, 0, 0, 0
    .quad 0
    .word 0, 104
resume_rsp:
    .quad 0
    .globl attempting
attempting:
    .quad 0
boot_magic:
    .long 0
boot_info:
    .long 0

/* 4 GiB, each address where it is. The first 2 MiB in pages, so that parts can be made read-only. */
    .section .tables, "aw"
    .align 4096
    .globl pml4, first_table, directories
pml4:
    .quad pdpt + 3
    .fill 511, 8, 0
pdpt:
    .quad directories + 0x0003, directories + 0x1003, directories + 0x2003, directories + 0x3003
    .fill 508, 8, 0
directories:
    .quad first_table + 3
    .set page, 0x200000
    .rept 2047
    .quad page + 0x83
    .set page, page + 0x200000
    .endr
first_table:
    .set page, 0
    .rept 512
    .quad page + 3
    .set page, page + 0x1000
    .endr

    .section .open, "aw", @nobits
    .align 4096
    .skip 8192
stack_top:
    .skip 8192
trap_stack_top:

    .section .note.GNU-stack, "", @progbits
