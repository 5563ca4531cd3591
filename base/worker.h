/* base/worker.h - a few threads for what blocks: open, format, fallocate.
 * Not for small I/O: a thread switch costs more than 4 KiB.  No work waits for
 * work submitted after it.
 *
 *   reactor          worker
 *   work_submit() -> run()        may block; loop_self() is the worker's own
 *   done()        <-              loop, so store_*_sync() works in it
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_WORKER_H
#define LUNAR_BASE_WORKER_H

#include "base/loop.h"

/* Embedded in its owner, who keeps it alive until done. */
struct work {
    void (*run)(struct work *);  /* on a worker thread */
    void (*done)(struct work *); /* on the loop that submitted */
    /* private */
    struct task task;
    struct loop *from;
};

struct workers_args {
    const char *name;   /* of the threads; ≤ 15 bytes */
    unsigned threads;   /* 0: 1 */
    unsigned aio_depth; /* of each thread's loop; 0: no libaio */
};

struct workers;
/* Errors: E_NOMEM, E_IO, E_AGAIN - no thread, no loop. */
MUST_CHECK enum err workers_start(const struct workers_args *args,
                                  struct workers **ret_workers);
/* Finish what was submitted, join, free; NULL is fine.
 * Context: blocks; not from a worker. */
void workers_stop(struct workers *w);

/* Run work->run on a free worker, in order of submission, then work->done
 * here.  Context: a thread with a loop; does not block. */
void work_submit(struct workers *w, struct work *work);

#endif
