/* base/loop.h - a reactor: one thread that owns its state and never blocks.
 * It runs tasks, timers, fd events, pollers and libaio completions; it knows
 * nothing of what they do.
 *
 *   turn:  posted tasks -> pollers -> aio completions -> timers
 *          -> submit queued aio in one call -> (nothing done for spin_us?)
 *          -> arm the pollers -> epoll_wait
 *
 * Waking a sleeping thread costs tens of microseconds, so a loop that had
 * work keeps polling for `spin_us` before it sleeps (docs/performance.md).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_LOOP_H
#define LUNAR_BASE_LOOP_H

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"

#include <libaio.h>

struct loop;

/* A piece of work for later.  Embedded in its owner; the owner keeps it alive
 * until it ran.  A posted task must not be posted again before it ran. */
struct task {
    struct task *next;
    void (*run)(struct task *);
};

struct loop_args {
    const char *name;    /* of the thread and in logs; copied, ≤ 15 bytes */
    struct clock *clock; /* NULL: the system's */
    unsigned spin_us;    /* poll this long after the last work; 0: sleep */
    unsigned aio_depth;  /* libaio requests in flight; 0: no libaio */
};

/* Make a loop; it runs on whichever thread calls loop_run*().
 * Errors: E_NOMEM, E_IO (no epoll, eventfd or aio context: see errno). */
MUST_CHECK enum err loop_new(const struct loop_args *args,
                             struct loop **ret_loop);
/* Context: the loop is not running and nothing is in flight on it. */
void loop_free(struct loop *loop);

/* Run until loop_stop().  Makes loop_self() return this loop here. */
void loop_run(struct loop *loop);
/* Leave loop_run() at the end of the turn.  Any thread. */
void loop_stop(struct loop *loop);
/* Run turns until *flag is true; sleeps between.  For worker threads, cold
 * paths and tests: may nest inside a task of the same loop. */
void loop_run_until(struct loop *loop, const bool *flag);
/* Run turns until nothing is ready; never sleeps.  For tests. */
void loop_run_ready(struct loop *loop);

/* The loop that runs on this thread; NULL outside of one. */
struct loop *loop_self(void);
/* Make `loop` this thread's loop outside of loop_run() too: for threads that
 * do blocking work with loop_run_until().  NULL undoes it. */
void loop_adopt(struct loop *loop);
struct clock *loop_clock(struct loop *loop);
const char *loop_name(const struct loop *loop);

/* Run task->run later on `loop`, in order of posting.  Any thread; the loop
 * outlives the call, even if the task has run before it returns. */
void loop_post(struct loop *loop, struct task *task);

/* -- timers: owner's memory, one shot, loop's thread only ------------------ */
struct timer {
    struct list link;
    uint64_t at_ns;
    void (*fire)(struct timer *);
};
/* (Re)arm to fire `in_ms` from now. */
void loop_timer_set(struct loop *loop, struct timer *t, uint64_t in_ms);
void loop_timer_cancel(struct loop *loop, struct timer *t);

/* -- file descriptors: level-triggered epoll, loop's thread only ----------- */
struct loop_fd {
    int fd;
    uint32_t events; /* EPOLLIN … */
    void (*ready)(struct loop_fd *, uint32_t events);
};
MUST_CHECK enum err loop_fd_add(struct loop *loop, struct loop_fd *f);
void loop_fd_set(struct loop *loop, struct loop_fd *f, uint32_t events);
/* After this `ready` is not called any more, not even in this turn. */
void loop_fd_remove(struct loop *loop, struct loop_fd *f);

/* -- pollers: called on every turn, loop's thread only ---------------------
 * `poll` does what there is to do without blocking and returns whether there
 * was anything.  Before the loop sleeps it calls `arm` (may be NULL), which
 * makes an fd of the owner wake the loop (ring notifications on …) and
 * returns true if work came in meanwhile; `disarm` (may be NULL) undoes it,
 * once after each `arm`, whatever that returned. */
struct poller {
    struct list link;
    bool (*poll)(struct poller *);
    bool (*arm)(struct poller *);
    void (*disarm)(struct poller *);
};
void loop_poller_add(struct loop *loop, struct poller *p);
void loop_poller_remove(struct loop *loop, struct poller *p);

/* -- libaio: queued now, submitted together at the end of the turn ---------
 * `done` gets the byte count or -errno, from the loop, never from inside the
 * call.  Fill `cb` with io_prep_*().  Loop's thread only. */
struct loop_aio {
    struct iocb cb;
    struct loop_aio *next;
    void (*done)(struct loop_aio *, long result);
};
void loop_aio_queue(struct loop *loop, struct loop_aio *aio);

/* Counters for `lunar status` and benches.  Loop's thread, or stopped. */
struct loop_stats {
    uint64_t turns, sleeps, tasks, aio_submitted, aio_batches;
};
struct loop_stats loop_stats(const struct loop *loop);

/* -- a loop with a thread of its own --------------------------------------- */
struct reactor;
MUST_CHECK enum err reactor_start(const struct loop_args *args,
                                  struct reactor **ret_reactor);
struct loop *reactor_loop(struct reactor *r);
/* Stop, join, free.  Not from its own thread. */
void reactor_stop(struct reactor *r);

#endif
