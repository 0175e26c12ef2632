/* What the CPU enters at an exception or an interrupt: 48 entries, which all go on to
   interrupt_dispatch() with a struct interrupt_frame. The .cfi lines let a debugger see through to
   the code that was interrupted. */

#define VECTORS 48

    .cfi_sections .debug_frame
    .text

/* Each is 16 bytes long. It pushes an error code of 0 where the CPU pushes none (SDM vol. 3,
   table 6-1), then the vector. */
    .align 16
    .globl interrupt_entries
interrupt_entries:
    .set vector, 0
    .rept VECTORS
    .align 16
    .if !((vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21))
    push $0
    .endif
    push $vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

    .type interrupt_common, @function
interrupt_common:
    .cfi_startproc simple
    .cfi_signal_frame
    .cfi_def_cfa %esp, 20
    .cfi_offset %eip, -12
    pusha
    .cfi_adjust_cfa_offset 32
    .cfi_offset %eax, -24
    .cfi_offset %ecx, -28
    .cfi_offset %edx, -32
    .cfi_offset %ebx, -36
    .cfi_offset %ebp, -44
    .cfi_offset %esi, -48
    .cfi_offset %edi, -52
    cld
    push %esp
    .cfi_adjust_cfa_offset 4
    call interrupt_dispatch
    add $4, %esp
    .cfi_adjust_cfa_offset -4
    popa
    .cfi_adjust_cfa_offset -32
    add $8, %esp
    .cfi_adjust_cfa_offset -8
    iret
    .cfi_endproc
    .size interrupt_common, . - interrupt_common

    .section .note.GNU-stack, "", @progbits
