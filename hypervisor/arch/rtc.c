#include "arch/rtc.h"
#include "arch/cpu.h"

#define CMOS_INDEX 0x70
#define CMOS_DATA  0x71

/* Registers of the MC146818 and its successors. */
enum {
    SECONDS = 0,
    MINUTES = 2,
    HOURS = 4,
    DAY = 7,
    MONTH = 8,
    YEAR = 9, /* of the century, which has no register of its own everywhere: this is the 21st */
    STATUS_A = 10,
    UPDATING = 0x80,
    STATUS_B = 11,
    HOURS_24 = 2,
    BINARY = 4,
    HOURS_PM = 0x80,
};

#define READS_MAX 100000 /* an update takes 2 ms at most */

struct time {
    u32 second, minute, hour, day, month, year;
};

static u8 read_register(u8 index)
{
    outb(CMOS_INDEX, index);
    return inb(CMOS_DATA);
}

static u32 from_bcd(u32 value)
{
    return (value >> 4) * 10 + (value & 15);
}

static struct time read_once(void)
{
    u8 format = read_register(STATUS_B);
    u8 hour = read_register(HOURS);
    bool afternoon = !(format & HOURS_24) && (hour & HOURS_PM);
    struct time t = {read_register(SECONDS), read_register(MINUTES), hour & 0x7f,
                     read_register(DAY),     read_register(MONTH),   read_register(YEAR)};

    if (!(format & BINARY))
        t = (struct time){from_bcd(t.second), from_bcd(t.minute), from_bcd(t.hour),
                          from_bcd(t.day),    from_bcd(t.month),  from_bcd(t.year)};
    if (!(format & HOURS_24))
        t.hour = t.hour % 12 + (afternoon ? 12 : 0);
    t.year += 2000;
    return t;
}

static bool is_sane(const struct time *t)
{
    return t->second < 60 && t->minute < 60 && t->hour < 24 && t->day >= 1 && t->day <= 31 &&
           t->month >= 1 && t->month <= 12;
}

/* Days from 1970-01-01, by the Gregorian calendar; years begin in March, so that the leap day is
 * their last. */
static u64 days(const struct time *t)
{
    u64 year = t->year - (t->month <= 2);
    u64 month = (t->month + 9) % 12;

    return year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + t->day - 1 -
           719468;
}

u64 rtc_read(void)
{
    struct time t;
    u8 second;

    for (u32 i = 0; i < READS_MAX; i++) {
        if (read_register(STATUS_A) & UPDATING)
            continue;
        second = read_register(SECONDS);
        t = read_once();
        if (read_register(STATUS_A) & UPDATING || read_register(SECONDS) != second)
            continue;
        return is_sane(&t) ? ((days(&t) * 24 + t.hour) * 60 + t.minute) * 60 + t.second : 0;
    }
    return 0;
}
