/* A boot sector: timer interrupts in real mode, some of them inside REP STOSB, a BIOS service,
   INS and OUTS, protected mode and back. It runs with CS = DS = 0x7c0, so that RIP is no linear
   address. ES and SS are 0. */

#define SECTOR  0x7c00
#define SEGMENT (SECTOR >> 4)

/* RAM that is used, linear. */
#define HITS     0x8000 /* IP, CX and DI at each interrupt */
#define INPUT    0x8800
#define SCRATCH  0x9000
#define HIGH_RAM 0x100000

#define INTERRUPTS    24
#define SCRATCH_BYTES 48
#define INPUT_BYTES   32
#define HIGH_WORDS    1000

#define TIMER_VECTOR 0x20
#define PIC          0x20
#define PIT_COUNTER  0x40
#define COM1         0x3f8
#define UART_LSR     (COM1 + 5)
#define THR_EMPTY    0x20

#define CODE32 8
#define DATA32 16
#define CODE16 24
#define DATA16 32

    .text
    .code16
    .globl _start
_start:
    ljmp $SEGMENT, $1f
1:  cli
    cld
    xor %ax, %ax
    mov %ax, %ss
    mov $SECTOR, %sp
    mov %ax, %es
    mov %cs, %ax
    mov %ax, %ds

    mov $devices, %si
    mov $((devices_end - devices) / 3), %cx
1:  lodsw
    mov %ax, %dx
    lodsb
    outb %al, %dx
    loop 1b

    mov $greeting, %si
    mov $(greeting_end - greeting), %cx
    mov $COM1, %dx
    rep outsb

    int $0x12 /* KiB of memory below the EBDA */
    call put_word
    call end_line

    movw $on_timer, %es:(TIMER_VECTOR * 4)
    movw %cs, %es:(TIMER_VECTOR * 4 + 2)
    sti
    mov $1, %ax
    xor %bx, %bx
spin:
    imul $25173, %ax, %ax
    add $13849, %ax
    test $0x10, %ah
    jz 1f
    inc %bx
1:  mov $SCRATCH, %di
    mov $SCRATCH_BYTES, %cx
    rep stosb
    cmpw $(HITS + 6 * INTERRUPTS), next_hit
    jb spin
    cli
    push %bx

    mov $HITS, %si
1:  mov %es:(%si), %ax
    call put_word
    mov %es:2(%si), %ax
    call put_word
    mov %es:4(%si), %ax
    call put_word
    call end_line
    add $6, %si
    cmp next_hit, %si
    jb 1b
    pop %ax
    call put_word

    mov $PIT_COUNTER, %dx
    mov $INPUT, %di
    mov $INPUT_BYTES, %cx
    rep insb
    mov $INPUT, %si
    mov $INPUT_BYTES, %cx
    xor %bx, %bx
1:  rol $3, %bx
    xor %es:(%si), %bl
    inc %si
    loop 1b
    mov %bx, %ax
    call put_word

    lgdt gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $CODE32, $(SECTOR + protected)
real:
    xor %ax, %ax
    mov %ax, %es
    mov %bx, %ax
    call put_word
    call end_line

    lidt no_idt
    int3

    .code32
protected:
    mov $DATA32, %ax
    mov %ax, %es
    mov $HIGH_RAM, %edi
    mov $HIGH_WORDS, %ecx
    movzwl %bx, %eax
    rep stosl
    mov $HIGH_WORDS, %ecx
1:  sub $4, %edi
    imul $31, %ebx
    add %es:(%edi), %ebx
    loop 1b
    ljmp $CODE16, $leave
    .code16
leave: /* the segments' limits are those of real mode again */
    mov $DATA16, %ax
    mov %ax, %es
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $SEGMENT, $real

on_timer:
    pusha
    mov %sp, %bp
    mov next_hit, %di
    mov 16(%bp), %ax /* IP */
    stosw
    mov 12(%bp), %ax /* CX */
    stosw
    mov (%bp), %ax /* DI */
    stosw
    mov %di, next_hit
    mov $0x20, %al /* end of interrupt */
    outb %al, $PIC
    popa
    iret

#include "put_word.h"

end_line:
    mov $'\n', %al
put:
    mov %al, %ah
    mov $UART_LSR, %dx
1:  inb %dx, %al
    test $THR_EMPTY, %al
    jz 1b
    mov %ah, %al
    mov $COM1, %dx
    outb %al, %dx
    ret

next_hit:
    .word HITS

/* Port and value: the PICs (8259A data sheet), counter 0 in mode 2 at 2 kHz, COM1 at 115200 8N1. */
    .macro device port, value
    .word \port
    .byte \value
    .endm
devices:
    device 0x20, 0x11
    device 0xa0, 0x11
    device 0x21, TIMER_VECTOR
    device 0xa1, TIMER_VECTOR + 8
    device 0x21, 4
    device 0xa1, 2
    device 0x21, 1
    device 0xa1, 1
    device 0x21, 0xfe
    device 0xa1, 0xff
    device 0x43, 0x34
    device PIT_COUNTER, 0x54
    device PIT_COUNTER, 0x02
    device COM1 + 3, 0x80
    device COM1, 1
    device COM1 + 1, 0
    device COM1 + 3, 3
    device COM1 + 2, 7
devices_end:

greeting:
    .ascii "real mode\n"
greeting_end:

gdt:
    .quad 0
    .quad 0x00cf9a000000ffff          /* CODE32 */
    .quad 0x00cf92000000ffff          /* DATA32 */
    .quad 0x00009a000000ffff | SECTOR << 16 /* CODE16 */
    .quad 0x000092000000ffff          /* DATA16 */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long SECTOR + gdt
no_idt:
    .word 0
    .long 0

    .org 510
    .byte 0x55, 0xaa
    .section .note.GNU-stack, "", @progbits
