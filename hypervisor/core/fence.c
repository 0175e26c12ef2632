#include "core/fence.h"
#include "core/profiled_devices.h"
#include "lib/printk.h"
#include "lib/text.h"
#include "replay/session.h"

#define TOLD_MAX       32
#define ADDRESS_LENGTH 7 /* "00:04.0" */

static pci_bdf exceptions[FENCE_EXCEPTIONS_MAX];
static unsigned int exception_count;
static bool except_all;

static struct log_fence told[TOLD_MAX];
static unsigned int told_count, logged_count;

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Two hexadecimal digits; negative where they are none. */
static int hex_byte(const char *text)
{
    int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

    return low < 0 ? -1 : high << 4 | low;
}

static int parse_address(const char *text, pci_bdf *bdf)
{
    int bus = hex_byte(text);
    int device = bus < 0 || text[2] != ':' ? -1 : hex_byte(text + 3);
    int function = device < 0 || text[5] != '.' ? -1 : hex_digit(text[6]);

    if (function < 0 || device > 31 || function > 7)
        return ERR_INVALID;
    *bdf = (pci_bdf)(bus << 8 | device << 3 | function);
    return 0;
}

static int parse_exceptions(const char *text)
{
    while (exception_count < FENCE_EXCEPTIONS_MAX) {
        if (parse_address(text, &exceptions[exception_count]) < 0)
            return ERR_INVALID;
        exception_count++;
        text += ADDRESS_LENGTH;
        if (*text == '\0')
            return 0;
        if (*text++ != ',')
            return ERR_INVALID;
    }
    return ERR_INVALID;
}

int fence_init(const char *text)
{
    exception_count = 0;
    except_all = text != NULL && text_equal(text, "all");
    if (text == NULL || except_all || parse_exceptions(text) == 0)
        return 0;
    printk("lvmm: unfenced=%s: it is all, or up to %u PCI addresses as in 00:04.0,01:00.1\n", text,
           FENCE_EXCEPTIONS_MAX);
    return ERR_INVALID;
}

bool fence_is_open(void)
{
    return except_all || exception_count != 0;
}

static bool is_excepted(pci_bdf bdf)
{
    for (unsigned int i = 0; i < exception_count; i++)
        if (exceptions[i] == bdf)
            return true;
    return except_all;
}

static void tell(pci_bdf bdf, bool allowed)
{
    u32 id = pci_read(bdf, PCI_VENDOR_ID), class = pci_read(bdf, PCI_CLASS) >> 8;
    const char *lacks;

    for (unsigned int i = 0; i < told_count; i++)
        if (told[i].function == bdf)
            return;
    if (told_count < TOLD_MAX)
        told[told_count++] = (struct log_fence){bdf, id & 0xffff, id >> 16, class, allowed};
    profiled_room(bdf, &lacks);
    printk("{\"lvmm\":\"fence\",\"address\":\"%02x:%02x.%u\",\"vendor\":\"%04x\","
           "\"device\":\"%04x\",\"class\":\"%06x\",\"lacks\":\"%s\",\"allowed\":%s}\n",
           bdf >> 8, bdf >> 3 & 31, bdf & 7, id & 0xffff, id >> 16, class,
           lacks != NULL ? lacks : "profile", allowed ? "true" : "false");
}

void fence_log(struct vcpu *vcpu)
{
    while (logged_count < told_count && session_recording() && !session_ended()) {
        struct log_event e = {.kind = LOG_EVENT_FENCE, .payload.fence = told[logged_count++]};

        session_note(vcpu, &e);
    }
}

u32 fence_command(pci_bdf bdf, u32 value)
{
    if (!(value & PCI_COMMAND_MASTER))
        return value;
    tell(bdf, is_excepted(bdf));
    return is_excepted(bdf) ? value : value & ~(u32)PCI_COMMAND_MASTER;
}

void fence_close(pci_bdf bdf)
{
    /* Writing 0 to the status half changes nothing. */
    u32 command = pci_read(bdf, PCI_COMMAND) & 0xffff;

    if (!(command & PCI_COMMAND_MASTER))
        return;
    if (is_excepted(bdf))
        tell(bdf, true);
    else
        pci_write(bdf, PCI_COMMAND, command & ~(u32)PCI_COMMAND_MASTER);
}
