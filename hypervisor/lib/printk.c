#include "lib/printk.h"
#include "arch/serial.h"
#include "lib/format.h"

#define LINE_MAX 240

static printk_sink sink;
static char line[LINE_MAX];
static size_t used;

static void flush(void)
{
    if (used != 0)
        sink(line, used);
    used = 0;
}

static void put(void *context, char c)
{
    (void)context;
    if (sink == NULL) {
        serial_put(c);
        return;
    }
    line[used++] = c;
    if (c == '\n' || used == LINE_MAX)
        flush();
}

void printk_to(printk_sink to)
{
    if (sink != NULL)
        flush();
    sink = to;
}

void vprintk(const char *format, va_list args)
{
    format_text(put, NULL, format, args);
}

void printk(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintk(format, args);
    va_end(args);
}
