/* tests/tools/agree/history.c - a search for an order of all events that
 * explains their results, depth first; never twice from the same place.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/agree/history.h"

#include <stdlib.h>
#include <string.h>

enum { SEEN_BITS = 22, SEEN = 1 << SEEN_BITS, WAYS = 2 };

/* Where the search is: so many events of each host are done. */
struct place {
    size_t at[HISTORY_HOSTS_MAX];
    struct state state;
    unsigned next; /* host and way to try */
};

struct search {
    const struct history *hosts;
    unsigned count;
    struct place *places;
    size_t depth;
    uint64_t *seen; /* hashes; 0: free */
    size_t seen_count;
};

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15;
    return h ^ h >> 29;
}

/* Was the search here?  Now it was. */
static bool was_here(struct search *s, const struct place *p)
{
    uint64_t h = 1;
    size_t slot;

    for (unsigned i = 0; i < s->count; i++)
        h = mix(h, p->at[i]);
    for (unsigned i = 0; i < STATE_WORDS; i++)
        h = mix(h, p->state.words[i]);
    h |= 1;
    for (slot = h >> (64 - SEEN_BITS); s->seen[slot]; slot = (slot + 1) % SEEN)
        if (s->seen[slot] == h)
            return true;
    if (++s->seen_count == SEEN / 2)
        abort(); /* fewer operations, or a larger table */
    s->seen[slot] = h;
    return false;
}

/* The next event of a host; NULL if there is none, or another's next one was
 * over before it began. */
static const struct event *next_of(const struct search *s,
                                   const struct place *p, unsigned host)
{
    const struct event *e;

    if (p->at[host] == s->hosts[host].count)
        return NULL;
    e = s->hosts[host].events[p->at[host]];
    for (unsigned i = 0; i < s->count; i++)
        if (p->at[i] < s->hosts[i].count &&
            s->hosts[i].events[p->at[i]]->end_ns < e->begin_ns)
            return NULL;
    return e;
}

/* One event further, from the last place; false: all ways were tried. */
static bool go_deeper(struct search *s, apply_fn *apply)
{
    struct place *p = &s->places[s->depth], *q = p + 1;

    while (p->next < s->count * WAYS) {
        unsigned host = p->next / WAYS, way = p->next % WAYS;
        const struct event *e = next_of(s, p, host);

        p->next++;
        *q = *p;
        q->next = 0;
        if (!e || !apply(&q->state, e, (int)way))
            continue;
        q->at[host]++;
        if (!was_here(s, q)) {
            s->depth++;
            return true;
        }
    }
    return false;
}

bool history_holds(const struct history *hosts, unsigned count, apply_fn *apply,
                   size_t *ret_at)
{
    struct search s = {.hosts = hosts, .count = count};
    size_t total = 0, best = 0;
    bool stuck = false;

    for (unsigned i = 0; i < count; i++)
        total += hosts[i].count;
    s.places = calloc(total + 2, sizeof *s.places);
    s.seen = calloc(SEEN, sizeof *s.seen);
    if (!s.places || !s.seen)
        abort();
    while (s.depth < total && !stuck) {
        if (go_deeper(&s, apply)) {
            if (s.depth > best) {
                best = s.depth;
                memcpy(ret_at, s.places[best].at, count * sizeof *ret_at);
            }
        } else {
            stuck = !s.depth;
            s.depth -= !stuck;
        }
    }
    free(s.places);
    free(s.seen);
    return !stuck;
}
