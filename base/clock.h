/* base/clock.h - the seam for time: real in lunard, virtual in the simulator.
 * Nothing else in the tree asks the operating system what time it is.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_CLOCK_H
#define LUNAR_BASE_CLOCK_H

#include "base/base.h"

struct clock {
    /* Monotonic, ns since an arbitrary start.  Any thread. */
    uint64_t (*now_ns)(struct clock *);
    /* Calendar time, ns since 1970 UTC: for file times only, it may jump. */
    uint64_t (*wall_ns)(struct clock *);
};

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

static inline uint64_t clock_now_ns(struct clock *c)
{
    return c->now_ns(c);
}

static inline uint64_t clock_wall_ns(struct clock *c)
{
    return c->wall_ns(c);
}

/* The operating system's clocks. */
struct clock *clock_system(void);

/* A clock that moves only when told to: for tests and the simulator. */
struct clock_manual {
    struct clock base;
    uint64_t at_ns;
};
void clock_manual_init(struct clock_manual *c, uint64_t start_ns);

#endif
