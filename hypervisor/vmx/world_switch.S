/* The world switch: guest registers in, VMLAUNCH or VMRESUME, guest registers out.
 * SDM vol. 3, sections 27.3 to 28.5. RSP, RIP and RFLAGS travel in the VMCS. */
    .text
    .code64
    .globl vmx_switch, vmx_exit_point

/* int vmx_switch(u64 *gpr, bool launched): 0 after an exit, 1 where the instruction itself failed. */
vmx_switch:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    cmp %rsp, held_rsp(%rip)
    je 4f
    mov %rsp, held_rsp(%rip)
    mov $0x6c14, %eax                   /* VMCS_HOST_RSP */
    vmwrite %rsp, %rax
4:  test %esi, %esi                     /* the flag stays valid over the loads below */
    mov 0x00(%rdi), %rax
    mov 0x08(%rdi), %rcx
    mov 0x10(%rdi), %rdx
    mov 0x18(%rdi), %rbx
    mov 0x28(%rdi), %rbp
    mov 0x30(%rdi), %rsi
    mov 0x40(%rdi), %r8
    mov 0x48(%rdi), %r9
    mov 0x50(%rdi), %r10
    mov 0x58(%rdi), %r11
    mov 0x60(%rdi), %r12
    mov 0x68(%rdi), %r13
    mov 0x70(%rdi), %r14
    mov 0x78(%rdi), %r15
    mov 0x38(%rdi), %rdi
    jz 1f
    vmresume
    jmp 2f
1:  vmlaunch
2:  pop %rdi                            /* VMfailInvalid or VMfailValid */
    mov $1, %eax
    jmp 3f

vmx_exit_point:
    push %rdi
    mov 8(%rsp), %rdi
    mov %rax, 0x00(%rdi)
    mov %rcx, 0x08(%rdi)
    mov %rdx, 0x10(%rdi)
    mov %rbx, 0x18(%rdi)
    mov %rbp, 0x28(%rdi)
    mov %rsi, 0x30(%rdi)
    mov %r8, 0x40(%rdi)
    mov %r9, 0x48(%rdi)
    mov %r10, 0x50(%rdi)
    mov %r11, 0x58(%rdi)
    mov %r12, 0x60(%rdi)
    mov %r13, 0x68(%rdi)
    mov %r14, 0x70(%rdi)
    mov %r15, 0x78(%rdi)
    pop %rax
    mov %rax, 0x38(%rdi)
    pop %rdi
    xor %eax, %eax
3:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .bss
    .align 8
held_rsp:                               /* what VMCS_HOST_RSP holds */
    .quad 0
    .section .note.GNU-stack, "", @progbits
