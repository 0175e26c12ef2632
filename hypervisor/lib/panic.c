#include "lib/panic.h"
#include "arch/cpu.h"
#include "debug/debugger.h"
#include "lib/printk.h"
#include "replay/session.h"

void panic(const char *format, ...)
{
    static bool panicking;
    va_list args;

    __asm__ volatile("cli");
    printk("lvmm: panic: ");
    va_start(args, format);
    vprintk(format, args);
    va_end(args);
    printk("\n");
    if (panicking)
        cpu_halt_forever();
    panicking = true;
    session_abort();
    printk("{\"lvmm\":\"halted\",\"reason\":\"panic\",\"branches\":0,\"events\":0,\"rip\":0}\n");
    debugger_panicked();
}
