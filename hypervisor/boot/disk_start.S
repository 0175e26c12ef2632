/* How a BIOS starts an operating system, in real mode: reads the disk's first sector with INT 13h
 * to 0x7c00 and jumps there, with the disk's number in DL. And the answers to INT 15h that say
 * what memory there is: the guest's, not the machine's, which the BIOS would tell. */
#include "boot/disk_start.h"
#include "guest_support/lvmm_abi.h"

#define SECTOR    0x7c00
#define SIGNATURE 0xaa55 /* at the sector's end */

#define SMAP 0x534d4150 /* ACPI specification, section 15.1 */

#define AH_UNSUPPORTED 0x86

/* The caller's flags above IP and CS, as INT pushed them, with BP below. */
#define FLAGS 6
#define CARRY 1

    .section .rodata
    .balign 16
    .code16
    .globl disk_start_code, disk_start_int15
disk_start_code:
    .org DISK_START_CODE
start:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $SECTOR, %sp
    sti
    cld
    mov $0x0201, %ax /* read one sector */
    mov $SECTOR, %bx
    mov $0x0001, %cx /* cylinder 0, sector 1 */
    xor %dh, %dh
    mov %cs:DISK_START_DRIVE, %dl
    int $0x13
    jc unreadable
    cmpw $SIGNATURE, SECTOR + 510
    jne no_boot_sector
    mov %cs:DISK_START_DRIVE, %dl
    ljmp $0, $SECTOR

unreadable:
    mov %ah, %bl
    mov %ah, %al
    shr $4, %al
    mov $(digits - disk_start_code), %di
    call put_digit
    mov %bl, %al
    and $15, %al
    call put_digit
    mov $(unreadable_text - disk_start_code), %ecx
    mov $(unreadable_end - unreadable_text), %edx
    jmp give_up
no_boot_sector:
    mov $(no_sector_text - disk_start_code), %ecx
    mov $(no_sector_end - no_sector_text), %edx

/* A guest's panic, with the text at CS:CX of EDX bytes. */
give_up:
    xor %eax, %eax
    mov %cs, %ax
    shl $4, %eax
    add %eax, %ecx
    mov $LVMM_MAGIC, %eax
    mov $LVMM_CALL_PANIC, %ebx
    vmcall
1:  hlt
    jmp 1b

/* AL at CS:DI, in hexadecimal. */
put_digit:
    add $'0', %al
    cmp $'9', %al
    jbe 1f
    add $('a' - '0' - 10), %al
1:  mov %al, %cs:(%di)
    inc %di
    ret

unreadable_text:
    .ascii "the BIOS cannot read the disk's first sector: INT 13h, error "
digits:
    .ascii "00"
unreadable_end:
no_sector_text:
    .ascii "the disk has no boot sector: its first one does not end in 55 AA"
no_sector_end:

int15:
    cmp $0xe820, %ax
    je memory_map
    cmp $0xe801, %ax
    je memory_sizes
    cmp $0xe881, %ax /* the same in 32-bit registers: nobody needs it who has the map */
    je unsupported
    cmp $0x88, %ah
    je memory_below_64m
    ljmp *%cs:DISK_START_OLD_INT15

memory_sizes:
    mov %cs:DISK_START_LOW_KIB, %ax
    mov %cs:DISK_START_HIGH_UNITS, %bx
    mov %ax, %cx
    mov %bx, %dx
    jmp success

memory_below_64m:
    mov %cs:DISK_START_BELOW_64M, %ax
    jmp success

/* EBX: number of the entry, 0 first; ES:DI: where to, ECX bytes. */
memory_map:
    cmp $SMAP, %edx
    jne unsupported
    cmp $DISK_START_ENTRY_SIZE, %ecx
    jb unsupported
    cmp %cs:DISK_START_MAP_COUNT, %ebx
    jae unsupported
    push %ds
    push %si
    push %di
    push %cs
    pop %ds
    imul $DISK_START_ENTRY_SIZE, %bx, %si
    add $DISK_START_MAP, %si
    mov $(DISK_START_ENTRY_SIZE / 2), %cx
    cld
    rep movsw
    pop %di
    pop %si
    inc %ebx
    cmp DISK_START_MAP_COUNT, %ebx
    jb 1f
    xor %ebx, %ebx /* that was the last one */
1:  pop %ds
    mov $SMAP, %eax
    mov $DISK_START_ENTRY_SIZE, %ecx

success:
    push %bp
    mov %sp, %bp
    andb $~CARRY, FLAGS(%bp)
    pop %bp
    iretw

unsupported:
    mov $AH_UNSUPPORTED, %ah
    push %bp
    mov %sp, %bp
    orb $CARRY, FLAGS(%bp)
    pop %bp
    iretw
    .org DISK_START_MAP /* which the code must not reach */

disk_start_int15:
    .word int15 - disk_start_code

    .section .note.GNU-stack, "", @progbits
