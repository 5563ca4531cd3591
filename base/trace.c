/* base/trace.c - a ring of events.  Formats only when asked.
 *
 * A writer takes a number; the number's slot is its own until the ring has
 * gone round.  It marks the slot as being written (0), fills it, and publishes
 * it with the number; a reader takes a slot only if it shows the same number
 * before and after.  All fields are atomic, so that a reader that loses the
 * race reads nonsense it will throw away, not undefined behaviour.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/trace.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

struct entry {
    atomic_uint_least64_t number; /* 0: being written */
    atomic_uint_least64_t at_ns, thread;
    _Atomic(const char *) event, fmt;
    atomic_uint_least64_t values[TRACE_ARGS_MAX];
};

/* What the slot held, as plain values. */
struct event {
    uint64_t at_ns, thread;
    const char *event, *fmt;
    uint64_t values[TRACE_ARGS_MAX];
};

static struct entry ring[TRACE_ENTRIES];
static atomic_uint_least64_t last_number;

static struct entry *slot_of(uint64_t number)
{
    return &ring[number % TRACE_ENTRIES];
}

static uint64_t thread_id(void)
{
    static _Thread_local uint64_t id;

    if (!id)
        id = (uint64_t)gettid();
    return id;
}

#define PUT(field, value)                                                      \
    atomic_store_explicit(&(field), (value), memory_order_relaxed)
#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

void trace_record(const char *event, const char *fmt,
                  const uint64_t values[TRACE_ARGS_MAX])
{
    uint64_t number =
        atomic_fetch_add_explicit(&last_number, 1, memory_order_relaxed) + 1;
    struct entry *e = slot_of(number);

    /* Not relaxed: what follows must not be seen before the mark. */
    atomic_exchange_explicit(&e->number, 0, memory_order_acq_rel);
    PUT(e->at_ns, clock_now_ns(clock_system()));
    PUT(e->thread, thread_id());
    PUT(e->event, event);
    PUT(e->fmt, fmt);
    for (int i = 0; i < TRACE_ARGS_MAX; i++)
        PUT(e->values[i], values[i]);
    atomic_store_explicit(&e->number, number, memory_order_release);
}

static bool read_event(uint64_t number, struct event *ret_event)
{
    struct entry *e = slot_of(number);

    if (atomic_load_explicit(&e->number, memory_order_acquire) != number)
        return false;
    ret_event->at_ns = GET(e->at_ns);
    ret_event->thread = GET(e->thread);
    ret_event->event = GET(e->event);
    ret_event->fmt = GET(e->fmt);
    for (int i = 0; i < TRACE_ARGS_MAX; i++)
        ret_event->values[i] = GET(e->values[i]);
    /* A read-modify-write that changes nothing: ordered after the loads. */
    return atomic_fetch_add_explicit(&e->number, 0, memory_order_acq_rel) ==
           number;
}

/* -- to text --------------------------------------------------------------- */

static void value_to_text(struct buf *out, char conversion, uint64_t value)
{
    if (conversion == 'd' || conversion == 'i')
        buf_printf(out, "%lld", (long long)value);
    else if (conversion == 'x' || conversion == 'p')
        buf_printf(out, "%llx", (unsigned long long)value);
    else if (conversion == 'c')
        buf_printf(out, "%c", (int)value);
    else if (conversion == 's')
        buf_add_text(out, value ? (const char *)(uintptr_t)value : "(null)");
    else
        buf_printf(out, "%llu", (unsigned long long)value);
}

static void values_to_text(struct buf *out, const struct event *ev)
{
    const char *at = ev->fmt;
    unsigned next = 0;

    while (*at) {
        size_t plain = strcspn(at, "%");

        buf_add(out, at, plain);
        at += plain;
        if (at[0] == '%' && at[1] == '%') {
            buf_add(out, "%", 1);
            at += 2;
        } else if (at[0] == '%') {
            at++;
            at += strspn(at, "hljzt");
            if (next < TRACE_ARGS_MAX)
                value_to_text(out, *at, ev->values[next++]);
            at += *at != '\0';
        }
    }
}

void trace_to_text(struct buf *out, size_t max)
{
    uint64_t last = atomic_load(&last_number);
    uint64_t count = min_u64(min_u64(max, TRACE_ENTRIES), last);
    struct event ev;

    for (uint64_t number = last - count + 1; number <= last; number++) {
        if (!read_event(number, &ev))
            continue;
        buf_printf(out, "[%llu.%06llu] %llu %s ",
                   (unsigned long long)(ev.at_ns / NS_PER_S),
                   (unsigned long long)(ev.at_ns % NS_PER_S / NS_PER_US),
                   (unsigned long long)ev.thread, ev.event);
        values_to_text(out, &ev);
        buf_add(out, "\n", 1);
    }
}
