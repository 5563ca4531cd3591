/* base/log.c - lines on standard error, repetitions counted.
 * Never fails and never blocks for long: what cannot be written is lost.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 1024 };

static struct {
    pthread_mutex_t mutex;
    char last[LINE_BYTES]; /* lock: mutex */
    unsigned repeats;      /* of last, not said yet */
} sink = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void put(enum log_level level, const char *text)
{
    char line[LINE_BYTES + 8];
    int n = isatty(STDERR_FILENO)
                ? snprintf(line, sizeof line, "%s\n", text)
                : snprintf(line, sizeof line, "<%d>%s\n", level, text);

    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* there is nobody to tell */
}

/* Say how often the last line came again, and forget it. */
static void end_repeats(enum log_level level)
{
    char text[64];

    if (sink.repeats) {
        snprintf(text, sizeof text, "(the same %u times more)", sink.repeats);
        put(level, text);
    }
    sink.repeats = 0;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    char text[LINE_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = '?'; /* of a name: it makes no line of its own */
    pthread_mutex_lock(&sink.mutex);
    if (!strcmp(text, sink.last)) {
        sink.repeats++;
    } else {
        end_repeats(level);
        memcpy(sink.last, text, sizeof text);
        put(level, text);
    }
    pthread_mutex_unlock(&sink.mutex);
}
