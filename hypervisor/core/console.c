#include "core/console.h"
#include "board_config.h"
#include "replay/session.h"

#define UART_LCR     3
#define UART_MCR     4
#define LCR_DLAB     0x80
#define MCR_LOOPBACK 0x10

static u8 lcr, mcr;

void console_on_write(u16 port, u64 value)
{
    u16 reg = (u16)(port - CONSOLE_SERIAL);

    if (reg == UART_LCR)
        lcr = (u8)value;
    else if (reg == UART_MCR)
        mcr = (u8)value;
    else if (reg == 0 && !(lcr & LCR_DLAB) && !(mcr & MCR_LOOPBACK))
        session_console((u8)value);
}
