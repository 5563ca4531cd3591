/* fs/client_locks.h - a node's byte-range locks of one volume: POSIX, OFD and
 * flock, shared with all other nodes.  The shell of lockmgr/range_client.h:
 * any thread may call, answers come from any thread.
 *
 * Nothing is decided here before the coordinator has confirmed that it serves
 * and knows of us (CONFIRM), and again after each moment in which it was not
 * reached (I14).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_CLIENT_LOCKS_H
#define LUNAR_FS_CLIENT_LOCKS_H

#include "fs/call.h"
#include "lockmgr/lockmgr.h"

struct fs_locks;

/* One fcntl(2) or flock(2).  Zero it, fill in core.op, .range (without its
 * peer) and .waits.  Ownership: the caller's memory until `done`. */
struct fs_lock_call {
    struct lm_range_call core;
    /* Exactly once, on the loop that submitted; perhaps before
     * fs_locks_submit() or fs_locks_cancel() returns. */
    void (*done)(struct fs_lock_call *call);
    enum err error; /* as LM_RANGE_RESULT; E_FENCED …: this node was given up */
    struct lm_range other; /* TEST: in the way, or UNLCK */
    /* private */
    struct loop *loop;
    struct task task;
    struct list link;
    bool has_ended;
};

/* `loop`: where the end is told.  Ownership: the link outlives it.
 * Errors: E_NOMEM. */
MUST_CHECK enum err fs_locks_new(struct fs_link *link, struct loop *loop,
                                 struct fs_locks **ret_locks);
/* Every call has ended; post `task` when nothing is under way any more.
 * Any thread. */
void fs_locks_leave(struct fs_locks *l, struct task *task);
void fs_locks_free(struct fs_locks *l); /* NULL is fine */

/* A thread with a loop. */
void fs_locks_submit(struct fs_locks *l, struct fs_lock_call *call);
/* If it waits it ends: E_CANCELED, or with the lock.  It has not ended yet.
 * Context: the loop that submitted. */
void fs_locks_cancel(struct fs_locks *l, struct fs_lock_call *call);
/* Nobody here has the file open: the right to decide about it goes back. */
void fs_locks_forget(struct fs_locks *l, fs_ino ino);

/* Each lock of the file (0: of all) that this node holds.  `fn` calls nothing
 * here.  Any thread. */
void fs_locks_each(struct fs_locks *l, fs_ino ino, lm_ranges_fn *fn, void *arg);
/* Is this a process of this run of this node? */
bool fs_locks_is_own(const struct fs_locks *l, const struct lm_peer *peer);

/* Nothing is decided here until it is false again (I14). */
void fs_locks_hold(struct fs_locks *l, bool held);

/* -- for fs_link: see there ------------------------------------------------ */

/* A new epoch: what is to be reported is noted.  Errors: E_NOMEM. */
MUST_CHECK enum err fs_locks_epoch(struct fs_locks *l, uint64_t epoch);
/* Take of what is noted as much as one report has room for; *ret_last: that
 * was all.  Errors: E_NOMEM. */
MUST_CHECK enum err fs_locks_report(struct fs_locks *l, fs_report_args *report,
                                    bool *ret_last);
void fs_locks_answered(struct fs_locks *l, const fs_lock_answer *answer);
void fs_locks_ready(struct fs_locks *l);
void fs_locks_lost(struct fs_locks *l, enum err e);

#endif
