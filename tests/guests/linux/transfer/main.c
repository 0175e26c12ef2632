/* usage: transfer ready | udp COUNT ACKNOWLEDGED | tcp-in BYTES | tcp-out BYTES |
 *        disk-read COUNT SIZE | disk-write COUNT SIZE */
#include "transfer.h"

#include "../common/mark.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    unsigned long first = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    unsigned long second = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    if (strcmp(what, "ready") == 0)
        mark(MARK_READY);
    else if (strcmp(what, "udp") == 0 && first != 0 && second != 0)
        transfer_udp((unsigned)first, (unsigned)second);
    else if (strcmp(what, "tcp-in") == 0)
        transfer_tcp_in(first);
    else if (strcmp(what, "tcp-out") == 0)
        transfer_tcp_out(first);
    else if (strcmp(what, "disk-read") == 0)
        transfer_disk_read((unsigned)first, second);
    else if (strcmp(what, "disk-write") == 0)
        transfer_disk_write((unsigned)first, second);
    else {
        fputs("usage: transfer ready | udp COUNT ACKNOWLEDGED | tcp-in BYTES | tcp-out BYTES | "
              "disk-read COUNT SIZE | disk-write COUNT SIZE\n",
              stderr);
        return 2;
    }
    return 0;
}
