/* base/assert.c - the end of the process when our own logic is wrong.
 * Prints what is known and aborts; repairs nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/trace.h"

#include <stdio.h>

void assert_fail(const char *cond, const char *file, int line)
{
    struct buf events = {0};

    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, cond);
    trace_to_text(&events, TRACE_ON_ASSERT);
    fputs(buf_text(&events), stderr);
    fflush(stderr);
    abort();
}
