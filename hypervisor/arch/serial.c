#include "arch/serial.h"
#include "arch/cpu.h"
#include "board_config.h"

#define UART_DATA 0
#define UART_IER  1
#define UART_FCR  2
#define UART_LCR  3
#define UART_MCR  4
#define UART_LSR  5

#define LCR_8N1       0x03
#define LCR_DLAB      0x80
#define FCR_ENABLE    0x07
#define MCR_DTR_RTS   0x03
#define LSR_DATA      0x01
#define LSR_THR_EMPTY 0x20

/* A line that never becomes ready (no UART there) must not hang the monitor. */
#define READY_POLLS 100000

void serial_init(void)
{
    outb(MONITOR_SERIAL + UART_IER, 0);
    outb(MONITOR_SERIAL + UART_LCR, LCR_DLAB);
    outb(MONITOR_SERIAL + UART_DATA, 1); /* 115200 baud */
    outb(MONITOR_SERIAL + UART_IER, 0);
    outb(MONITOR_SERIAL + UART_LCR, LCR_8N1);
    outb(MONITOR_SERIAL + UART_FCR, FCR_ENABLE);
    outb(MONITOR_SERIAL + UART_MCR, MCR_DTR_RTS);
}

void serial_put_raw(u8 c)
{
    for (int i = 0; i < READY_POLLS; i++)
        if (inb(MONITOR_SERIAL + UART_LSR) & LSR_THR_EMPTY)
            break;
    outb(MONITOR_SERIAL + UART_DATA, c);
}

void serial_put(char c)
{
    if (c == '\n')
        serial_put_raw('\r');
    serial_put_raw((u8)c);
}

int serial_get(void)
{
    if (!(inb(MONITOR_SERIAL + UART_LSR) & LSR_DATA))
        return -1;
    return inb(MONITOR_SERIAL + UART_DATA);
}
