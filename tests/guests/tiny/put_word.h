/* 16-bit code, for guests that have put: it prints the character in AL. */

/* Prints AX in hexadecimal, and a space. */
put_word:
    pusha
    mov $4, %cx
1:  rol $4, %ax
    push %ax
    and $0xf, %al
    cmp $10, %al
    jb 2f
    add $('a' - '0' - 10), %al
2:  add $'0', %al
    call put
    pop %ax
    loop 1b
    mov $' ', %al
    call put
    popa
    ret
