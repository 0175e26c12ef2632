#include "core/triggers.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "lib/text.h"
#include "replay/segment.h"
#include "replay/session.h"

#define PATTERN_MAX 64 /* bytes */

struct pattern {
    u8 bytes[PATTERN_MAX];
    u32 length; /* 0: there is none */
};

enum { START_CONSOLE, STOP_CONSOLE, START_PACKET, STOP_PACKET, PATTERNS };

static const char *const words[PATTERNS] = {"start-console", "stop-console", "start-packet",
                                            "stop-packet"};
static struct pattern patterns[PATTERNS];

static u8 console[PATTERN_MAX]; /* the last bytes of the guest's output */
static u32 console_length;

static bool start_due, stop_due;

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_pattern(const char *hex, struct pattern *pattern)
{
    for (; *hex != 0; hex += 2) {
        int high = digit(hex[0]), low = high < 0 ? -1 : digit(hex[1]);

        if (low < 0 || pattern->length == PATTERN_MAX)
            return ERR_INVALID;
        pattern->bytes[pattern->length++] = (u8)(high << 4 | low);
    }
    return pattern->length != 0 ? 0 : ERR_INVALID;
}

int triggers_init(const char *line)
{
    char text[2 * PATTERN_MAX + 2];

    for (unsigned int i = 0; i < PATTERNS; i++) {
        int length = text_option(line, words[i], text, sizeof(text));

        if (length == -1)
            continue;
        if (length < 0 || read_pattern(text, &patterns[i]) < 0) {
            printk("lvmm: %s=: 1 to %u bytes are needed, as hexadecimal digits\n", words[i],
                   PATTERN_MAX);
            return ERR_INVALID;
        }
    }
    return 0;
}

bool triggers_start(void)
{
    return patterns[START_CONSOLE].length != 0 || patterns[START_PACKET].length != 0;
}

/* Whether the output so far ends with a text. */
static bool console_ends_with(const struct pattern *pattern)
{
    u32 n = pattern->length;

    return n != 0 && n <= console_length &&
           memcmp(console + console_length - n, pattern->bytes, n) == 0;
}

static bool contains(const u8 *data, u32 size, const struct pattern *pattern)
{
    u32 n = pattern->length;

    for (u32 at = 0; n != 0 && at + n <= size; at++)
        if (data[at] == pattern->bytes[0] && memcmp(data + at, pattern->bytes, n) == 0)
            return true;
    return false;
}

/* One trigger ends what another has begun: both may be the same text. */
static bool waits_for_start(void)
{
    return session_recording() && session_paused() && !session_ended();
}

static bool waits_for_stop(void)
{
    return session_recording() && !session_paused() && !session_ended();
}

void triggers_console(u8 byte)
{
    if (console_length == PATTERN_MAX)
        memmove(console, console + 1, --console_length);
    console[console_length++] = byte;
    if (waits_for_start())
        start_due |= console_ends_with(&patterns[START_CONSOLE]);
    else if (waits_for_stop())
        stop_due |= console_ends_with(&patterns[STOP_CONSOLE]);
}

static void begin(struct vcpu *vcpu)
{
    int error = segment_begin(vcpu);

    start_due = false;
    if (error == 0)
        printk("{\"lvmm\":\"recording\",\"branches\":%lu}\n", vcpu->branches);
    else if (error == ERR_NO_SPACE)
        printk("lvmm: the trigger came, but the log is too small for the guest's memory\n");
    else if (error != ERR_INVALID) /* that is a second one */
        printk("lvmm: the trigger came, but the recording cannot begin (error %d)\n", error);
}

void triggers_packet(struct vcpu *vcpu, const u8 *data, u32 size)
{
    if (waits_for_start() && contains(data, size, &patterns[START_PACKET])) {
        if (segment_can_begin(vcpu))
            begin(vcpu);
        else
            start_due = true;
    } else if (waits_for_stop()) {
        stop_due |= contains(data, size, &patterns[STOP_PACKET]);
    }
}

void triggers_boundary(struct vcpu *vcpu)
{
    if (start_due && segment_can_begin(vcpu))
        begin(vcpu);
    if (stop_due && waits_for_stop() && !vcpu->event.valid)
        session_end(vcpu, LOG_END_REASON_STOPPED, true);
}
