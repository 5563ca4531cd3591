/* base/clock.c - the system's clocks and a hand-moved one.
 * The only file that calls clock_gettime().
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"

#include <time.h>

static uint64_t read_ns(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t system_now_ns(struct clock *c)
{
    (void)c;
    return read_ns(CLOCK_MONOTONIC);
}

static uint64_t system_wall_ns(struct clock *c)
{
    (void)c;
    return read_ns(CLOCK_REALTIME);
}

struct clock *clock_system(void)
{
    static struct clock system_clock = {system_now_ns, system_wall_ns};

    return &system_clock;
}

static uint64_t manual_now_ns(struct clock *c)
{
    return container_of(c, struct clock_manual, base)->at_ns;
}

void clock_manual_init(struct clock_manual *c, uint64_t start_ns)
{
    *c = (struct clock_manual){
        .base = {manual_now_ns, manual_now_ns},
        .at_ns = start_ns,
    };
}
