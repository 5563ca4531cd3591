/* tests/sim/sim.c - virtual time, chance, the trace and the verdict.
 * Knows nothing of what it simulates: events have an order, that is all.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { CHUNK_BYTES = 256 * 1024 };

struct sim_chunk {
    struct sim_chunk *next;
    char bytes[CHUNK_BYTES];
};

/* -- memory ---------------------------------------------------------------- */

void *sim_alloc(struct sim *s, size_t bytes)
{
    struct sim_chunk *chunk;
    void *at;

    bytes = align_up(bytes, 16);
    ASSERT(bytes <= CHUNK_BYTES);
    if (!s->chunks || s->chunk_used + bytes > CHUNK_BYTES) {
        chunk = malloc(sizeof *chunk);
        ASSERT(chunk);
        chunk->next = s->chunks;
        s->chunks = chunk;
        s->chunk_used = 0;
    }
    at = s->chunks->bytes + s->chunk_used;
    s->chunk_used += bytes;
    memset(at, 0, bytes);
    return at;
}

void *sim_copy(struct sim *s, const void *bytes, size_t count)
{
    void *copy = sim_alloc(s, count + !count);

    if (count)
        memcpy(copy, bytes, count);
    return copy;
}

/* -- chance: xorshift128+, seeded by splitmix64 ---------------------------- */

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_random(struct sim *s)
{
    uint64_t x = s->chance[0], y = s->chance[1];

    s->chance[0] = y;
    x ^= x << 23;
    s->chance[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
    return s->chance[1] + y;
}

uint32_t sim_below(struct sim *s, uint32_t limit)
{
    ASSERT(limit);
    return (uint32_t)((sim_random(s) >> 32) * limit >> 32);
}

uint64_t sim_between(struct sim *s, uint64_t low, uint64_t high)
{
    ASSERT(low <= high);
    return low + sim_random(s) % (high - low + 1);
}

bool sim_chance(struct sim *s, uint32_t permille)
{
    return sim_below(s, 1000) < permille;
}

uint64_t sim_delay(struct sim *s, uint64_t usual_ns, uint64_t long_ns,
                   uint32_t long_permille)
{
    if (sim_chance(s, long_permille))
        return sim_between(s, usual_ns, max_u64(usual_ns, long_ns));
    return sim_between(s, usual_ns / 4, usual_ns);
}

/* -- a run ----------------------------------------------------------------- */

void sim_init(struct sim *s, uint64_t seed)
{
    uint64_t x = seed;

    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->chance[0] = splitmix(&x);
    s->chance[1] = splitmix(&x);
    clock_manual_init(&s->clock, 0);
}

void sim_fini(struct sim *s)
{
    while (s->chunks) {
        struct sim_chunk *next = s->chunks->next;

        free(s->chunks);
        s->chunks = next;
    }
    free(s->heap);
    free(s->trace);
    memset(s, 0, sizeof *s);
}

/* -- events: a binary heap by time, then by order of posting --------------- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_push(struct sim *s, struct sim_event *event)
{
    size_t at = s->heap_count++;

    if (at == s->heap_max) {
        s->heap_max = at ? 2 * at : 256;
        s->heap = realloc(s->heap, s->heap_max * sizeof(struct sim_event *));
        ASSERT(s->heap);
    }
    while (at && is_before(event, s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = event;
}

static struct sim_event *heap_pop(struct sim *s)
{
    struct sim_event *first = s->heap[0], *last = s->heap[--s->heap_count];
    size_t at = 0, child;

    while ((child = 2 * at + 1) < s->heap_count) {
        if (child + 1 < s->heap_count &&
            is_before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!is_before(s->heap[child], last))
            break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return first;
}

void sim_post(struct sim *s, struct sim_event *event, uint64_t delay_ns,
              uint32_t host, void (*fire)(struct sim_event *))
{
    event->sim = s;
    event->at_ns = sim_now(s) + delay_ns;
    event->order = s->order++;
    event->host = host;
    event->run = host ? s->host[host].run : 0;
    event->fire = fire;
    heap_push(s, event);
}

void sim_repost(struct sim *s, struct sim_event *event)
{
    heap_push(s, event);
}

/* In its host's run, if that still is there and takes steps. */
static void fire(struct sim *s, struct sim_event *event)
{
    struct sim_host *h = &s->host[event->host];

    if (event->host && (!h->up || h->run != event->run))
        return;
    if (event->host && h->paused) {
        list_push_back(&h->held, &event->node);
        return;
    }
    s->step++;
    event->fire(event);
    if (s->check && !s->verdict.failed)
        s->check(s);
}

void sim_run_until(struct sim *s, uint64_t until_ns)
{
    while (s->heap_count && !s->verdict.failed) {
        if (s->heap[0]->at_ns > until_ns)
            break;
        if (s->step >= SIM_STEPS_MAX) {
            sim_fail(s, "progress", "still busy after %d steps", SIM_STEPS_MAX);
            return;
        }
        s->clock.at_ns = max_u64(s->clock.at_ns, s->heap[0]->at_ns);
        fire(s, heap_pop(s));
    }
    if (!s->verdict.failed)
        s->clock.at_ns = max_u64(s->clock.at_ns, until_ns);
}

/* -- trace and verdict ----------------------------------------------------- */

void sim_trace_on(struct sim *s, size_t lines, bool loud)
{
    s->trace = calloc(lines, sizeof *s->trace);
    ASSERT(s->trace);
    s->trace_max = lines;
    s->tracing = true;
    s->loud = loud;
}

static void PRINTF_LIKE(3, 0)
    trace_line(struct sim *s, uint32_t host, const char *fmt, va_list args)
{
    char *line = s->trace[s->trace_count++ % s->trace_max];
    char who[8] = "--";
    int at;

    if (host)
        snprintf(who, sizeof who, "h%u", host);
    at = snprintf(line, SIM_TRACE_LINE, "%6" PRIu64 " %10.3f ms %-3s ", s->step,
                  (double)sim_now(s) / 1e6, who);
    vsnprintf(line + at, SIM_TRACE_LINE - (size_t)at, fmt, args);
    if (s->loud)
        puts(line);
}

void sim_trace(struct sim *s, uint32_t host, const char *fmt, ...)
{
    va_list args;

    if (!s->tracing)
        return;
    va_start(args, fmt);
    trace_line(s, host, fmt, args);
    va_end(args);
}

void sim_fail(struct sim *s, const char *invariant, const char *fmt, ...)
{
    struct sim_verdict *v = &s->verdict;
    va_list args;

    if (v->failed)
        return;
    v->failed = true;
    v->step = s->step;
    v->at_ns = sim_now(s);
    snprintf(v->invariant, sizeof v->invariant, "%s", invariant);
    va_start(args, fmt);
    vsnprintf(v->why, sizeof v->why, fmt, args);
    va_end(args);
    sim_trace(s, 0, "BROKEN %s: %s", v->invariant, v->why);
}

void sim_trace_print(const struct sim *s)
{
    size_t first = 0;

    if (s->trace_count > s->trace_max)
        first = s->trace_count - s->trace_max;
    for (size_t i = first; i < s->trace_count; i++)
        puts(s->trace[i % s->trace_max]);
}
