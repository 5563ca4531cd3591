/* tests/tools/agree/history.h - could these results, seen by hosts that work
 * at the same time, come from one host that works alone?
 * (Linearizability: each operation took effect at one moment between its begin
 * and its end.)
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_TOOLS_AGREE_HISTORY_H
#define LUNAR_TESTS_TOOLS_AGREE_HISTORY_H

#include "base/base.h"

enum { HISTORY_HOSTS_MAX = 16, STATE_WORDS = 4 };

struct event {
    uint64_t begin_ns, end_ns; /* of one clock */
    uint64_t value, other;     /* as its kind has it */
    uint8_t object, kind, a, b;
    int32_t error; /* errno */
};

struct state {
    uint64_t words[STATE_WORDS];
};

/* The events of a host, one after another. */
struct history {
    const struct event **events;
    size_t count;
};

/* What that event makes of it; false: its result is none of this state.  Some
 * have two ways to come about: `way` 0 and 1. */
typedef bool apply_fn(struct state *state, const struct event *event, int way);

/* Begins with all words 0.  If not, *ret_at has for each host how many of its
 * events could be explained at most. */
bool history_holds(const struct history *hosts, unsigned count, apply_fn *apply,
                   size_t *ret_at);

#endif
