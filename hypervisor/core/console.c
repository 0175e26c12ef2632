#include "core/console.h"
#include "board_config.h"
#include "core/triggers.h"
#include "replay/session.h"

#define UART_LCR     3
#define UART_MCR     4
#define LCR_DLAB     0x80
#define MCR_LOOPBACK 0x10

static u8 lcr, mcr;

static void put(struct vcpu *vcpu, u8 byte)
{
    session_console(vcpu, byte);
    triggers_console(byte);
}

void console_on_write(struct vcpu *vcpu, u16 port, u64 value)
{
    u16 reg = (u16)(port - CONSOLE_SERIAL);

    if (reg == UART_LCR)
        lcr = (u8)value;
    else if (reg == UART_MCR)
        mcr = (u8)value;
    else if (reg == 0 && !(lcr & LCR_DLAB) && !(mcr & MCR_LOOPBACK))
        put(vcpu, (u8)value);
}

void console_save(struct log_cpu_state *out)
{
    out->console_lcr = lcr;
    out->console_mcr = mcr;
}

void console_restore(const struct log_cpu_state *from)
{
    lcr = from->console_lcr;
    mcr = from->console_mcr;
}
