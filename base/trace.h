/* base/trace.h - what happened last, for machines and for the day after.
 * A ring in memory, written by all threads without a lock and without
 * formatting; printed when an assertion fails.  Tells nobody anything else:
 * what people should read goes to log.h.
 *
 *   TRACE(lun_session, "index=%u state=%s", s->index, state_names[state]);
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_TRACE_H
#define LUNAR_BASE_TRACE_H

#include "base/buf.h"

enum {
    TRACE_ARGS_MAX = 4,
    TRACE_ENTRIES = 4096, /* a power of two; 300 KiB, a second of trouble */
    TRACE_ON_ASSERT = 64  /* lines printed when an assertion fails */
};

/* Record an event: a name, a format, up to four integers, pointers or strings.
 * Strings are kept as pointers: literals and names from tables only.
 * Conversions: %d %i %u %x %c %s %p with any length; no widths, no floats.
 * Context: any thread; about 30 ns. */
#define TRACE(event, fmt, ...)                                                 \
    do {                                                                       \
        static_assert(TRACE_COUNT(fmt, ##__VA_ARGS__) <= TRACE_ARGS_MAX,       \
                      "an event has at most four values");                     \
        (void)sizeof(trace_check_format(fmt, ##__VA_ARGS__));                  \
        TRACE_PROBE(event, TRACE_VALUES(fmt, ##__VA_ARGS__, 0, 0, 0, 0));      \
        trace_record(#event, fmt,                                              \
                     (const uint64_t[TRACE_ARGS_MAX]){                         \
                         TRACE_VALUES(fmt, ##__VA_ARGS__, 0, 0, 0, 0)});       \
    } while (0)

/* The last `max` events, oldest first, one per line. */
void trace_to_text(struct buf *out, size_t max);

/* -- behind the macro ------------------------------------------------------ */
/* Where <sys/sdt.h> is, an event is a static probe lunar:EVENT too: a nop
 * until perf or bpftrace asks for it. */
#if __has_include(<sys/sdt.h>)
#    include <sys/sdt.h>
#    define TRACE_PROBE(event, ...) STAP_PROBE4(lunar, event, __VA_ARGS__)
#else
#    define TRACE_PROBE(event, ...) ((void)0)
#endif
#define TRACE_VALUES(fmt, a, b, c, d, ...)                                     \
    (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d)
#define TRACE_COUNT(...) TRACE_NTH(__VA_ARGS__, 7, 6, 5, 4, 3, 2, 1, 0, 0)

#define TRACE_NTH(fmt, a, b, c, d, e, f, g, n, ...) n

static inline int PRINTF_LIKE(1, 2) trace_check_format(const char *fmt, ...)
{
    (void)fmt;
    return 0;
}

void trace_record(const char *event, const char *fmt,
                  const uint64_t values[TRACE_ARGS_MAX]);

#endif
