#define _GNU_SOURCE
#include "fail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fail(const char *what)
{
    printf("%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}
