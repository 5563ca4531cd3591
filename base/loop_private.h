/* base/loop_private.h - the inside of a loop, for loop.c and loop_aio.c only.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_LOOP_PRIVATE_H
#define LUNAR_BASE_LOOP_PRIVATE_H

#include "base/loop.h"

#include <stdatomic.h>
#include <sys/epoll.h>

enum {
    LOOP_NAME_BYTES = 16,   /* the kernel's limit for thread names */
    LOOP_EVENTS_MAX = 32,   /* fds handled per epoll_wait() */
    LOOP_AIO_BATCH_MAX = 64 /* requests per io_submit() */
};

struct aio_ring;

struct loop {
    char name[LOOP_NAME_BYTES];
    struct clock *clock;

    /* any thread, atomic: tasks newest first */
    _Atomic(struct task *) posted;
    atomic_bool asleep;   /* any thread, atomic: wake me by wake_fd */
    atomic_bool stopping; /* any thread, atomic */
    atomic_uint posters;  /* any thread, atomic: in loop_post() just now */

    /* the loop's thread only, from here on */
    struct task *ready, **ready_tail; /* oldest first */
    size_t ready_count;
    struct list timers; /* by at_ns, equals in order of setting */
    struct list due;    /* their time has come, they fire in this turn */
    struct list pollers, *poller_next;

    int epoll_fd, wake_fd;
    struct epoll_event events[LOOP_EVENTS_MAX];
    int event_next, event_count; /* reported, not yet handed out */

    io_context_t aio;
    struct aio_ring *aio_ring; /* shared with the kernel */
    unsigned aio_depth, aio_in_flight;
    struct loop_aio *aio_queue, **aio_queue_tail;   /* for the next batch */
    struct loop_aio *aio_failed, **aio_failed_tail; /* refused by the kernel */

    uint64_t spin_max_ns, spin_ns; /* the limit; what pays at present */
    uint64_t idle_since_ns;        /* 0: the last turn had work */

    struct loop_stats stats;
};

MUST_CHECK enum err loop_aio_init(struct loop *loop, unsigned depth);
void loop_aio_fini(struct loop *loop);
/* Hand finished requests to their owners; true if there was one. */
bool loop_aio_reap(struct loop *loop);
/* Give what is queued to the kernel; true if anything changed. */
bool loop_aio_submit(struct loop *loop);
/* Is there a completion to reap? */
bool loop_aio_ready(const struct loop *loop);
/* Requests are queued, the kernel had no room, and no completion will come. */
bool loop_aio_starved(const struct loop *loop);

#endif
