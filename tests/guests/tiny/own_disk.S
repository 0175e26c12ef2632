/* A disk that a BIOS boots, and that knows no device: disk, screen, clock, serial line and memory
   are asked for by the BIOS's services. The first sector reads the others behind itself. It runs
   with CS = DS = 0x7c0, ES = 0. */

#define SECTOR_SIZE 512
#define SECTOR      0x7c00
#define SEGMENT     (SECTOR >> 4)
#define SECTORS     4 /* of this program */

#define SCRATCH_SECTOR 1000
#define BUFFER         0x8f01 /* a word lies in two pages */
#define ENTRY          0xa000
#define SMAP           0x534d4150
#define TICKS          3

    .text
    .code16
    .globl _start
_start:
    ljmp $SEGMENT, $1f
1:  mov %cs, %ax
    mov %ax, %ds
    xor %ax, %ax
    mov %ax, %es
    mov %dl, drive
    mov $(0x0200 + SECTORS - 1), %ax /* read, by cylinder, head and sector */
    mov $(SECTOR + SECTOR_SIZE), %bx
    mov $0x0002, %cx
    xor %dh, %dh
    int $0x13
    jc 2f
    jmp main
2:  cli
    hlt

drive:
    .byte 0

    .org 446 /* one partition, so that tools take it for a disk */
    .byte 0x80, 0, 2, 0, 0xda, 0, 10, 0
    .long 1, SCRATCH_SECTOR + 1
    .org 510
    .byte 0x55, 0xaa

main:
    mov $0x00e3, %ax /* COM1 at 9600 8N1 */
    xor %dx, %dx
    int $0x14
    mov $greeting, %si
    call put_text
    movzbw drive, %ax
    call put_word
    int $0x12
    call put_word
    mov $0x88, %ah
    int $0x15
    call put_word
    mov $0xe801, %ax
    int $0x15
    call put_word
    mov %bx, %ax
    call put_word
    mov $0xe881, %ax
    int $0x15
    call put_carry
    call end_line

    call show_map
    call write_and_read
    call wait_for_ticks
    call use_screen
    mov $farewell, %si
    call put_text
    cli
    hlt

show_map:
    xor %ebx, %ebx
1:  mov $0xe820, %eax
    mov $SMAP, %edx
    mov $20, %ecx
    mov $ENTRY, %di
    int $0x15
    jc 2f
    mov $ENTRY, %si
    mov $10, %cx
3:  mov %es:(%si), %ax
    call put_word
    add $2, %si
    loop 3b
    call end_line
    test %ebx, %ebx
    jnz 1b
2:  ret

/* INT 13h extensions: a sector from the end of this program, read, changed, written, read back. */
write_and_read:
    mov $0x42, %ah
    call transfer
    mov $BUFFER, %di
    mov $(SECTOR_SIZE / 2), %cx
    xor %bx, %bx
1:  add %es:(%di), %bx
    movw $0xbeef, %es:(%di)
    add $2, %di
    loop 1b
    mov %bx, %ax
    call put_word
    mov $0x4300, %ax
    call transfer
    mov $BUFFER, %di
    mov $(SECTOR_SIZE / 2), %cx
    xor %ax, %ax
    cld
    rep stosw
    mov $0x42, %ah
    call transfer
    mov %es:(BUFFER + SECTOR_SIZE - 2), %ax
    call put_word
    call end_line
    ret

transfer:
    mov $packet, %si
    mov drive, %dl
    int $0x13
    call put_carry
    ret

wait_for_ticks:
    mov $TICKS, %si
1:  xor %ah, %ah
    int $0x1a
    mov %dx, %bx
2:  sti
    hlt
    xor %ah, %ah
    int $0x1a
    cmp %dx, %bx
    je 2b
    dec %si
    jnz 1b
    mov $0x0200, %ax /* the real-time clock's time, another in each run */
    int $0x1a
    mov %cx, %ax
    call put_word
    call end_line
    ret

/* Teletype, then the same character back from the screen's memory; and a scroll. */
use_screen:
    mov $0x0e, %ah
    mov $'L', %al
    mov $0x0007, %bx
    int $0x10
    mov $0x0e08, %ax
    int $0x10
    mov $0x08, %ah
    xor %bh, %bh
    int $0x10
    call put_word
    mov $0x0601, %ax
    mov $0x07, %bh
    xor %cx, %cx
    mov $0x184f, %dx
    int $0x10
    call end_line
    ret

put_carry:
    push %ax
    mov $'-', %al
    jnc 1f
    mov $'C', %al
1:  call put
    mov $' ', %al
    call put
    pop %ax
    ret

#include "put_word.h"

put_text:
    lodsb
    test %al, %al
    jz 1f
    call put
    jmp put_text
1:  ret

end_line:
    mov $'\n', %al
put:
    pusha
    mov $0x01, %ah
    xor %dx, %dx
    int $0x14
    popa
    ret

packet:
    .byte 16, 0
    .word 1
    .word BUFFER, 0
    .quad SCRATCH_SECTOR

greeting:
    .asciz "own disk\n"
farewell:
    .asciz "done\n"

    .org SECTORS * SECTOR_SIZE
    .section .note.GNU-stack, "", @progbits
