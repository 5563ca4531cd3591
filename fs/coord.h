/* fs/coord.h - the inside of a coordinator: batches on one metadata thread.
 *
 *   fs_link_send ──> inbox ──> batch: BEGIN, each call in a savepoint, COMMIT
 *                                └──> answers, all after the commit (I1)
 *   after each batch: checkpoint, another metadata chunk, one slice of an
 *   orphan, freed space through its discards        (coord_clean.c)
 *
 * Beside them, between any two tasks of the thread: locks, which are in memory
 * only (coord_locks.c).
 *
 * A metadata write or flush that fails takes the coordinator offline: nobody is
 * told anything but E_VOL_OFFLINE any more, and the claim is not released; who
 * opens the volume next finds out what happened (F14).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_COORD_H
#define LUNAR_FS_COORD_H

#include "fs/chunk.h"
#include "fs/meta.h"
#include "fs/redirect.h"
#include "fs/space.h"

#include "base/loop.h"
#include "lockmgr/lockmgr.h"

#include <pthread.h>

enum { DISCARDS_MAX = 32 }; /* in flight */

struct discard {
    struct fs_coord *coord;
    struct lun_run run;
    struct store_io io;
};

/* Something to do on the metadata thread between two batches. */
struct coord_job {
    struct list link;
    struct task task;
    struct fs_coord *coord;
    enum err (*run)(struct fs_coord *coord, struct coord_job *job);
    void *args;
    struct diag *why;
    enum err result;
    bool done; /* lock: coord->lock */
};

/* One run of a node that sends calls; the link is its end here. */
struct coord_session {
    struct fs_link link;
    struct fs_coord *coord;
    struct fs_sender who;
    bool local; /* this process: we fill its headers */
    bool proxy; /* so is the proxy, but of no node */
    bool cut;   /* what it sends is refused; lock: coord->lock to set */
    struct task cut_task, leave_task;
    struct list at;
};

struct fs_coord {
    struct coord_session local, proxy;
    struct fs_redirect *redirect; /* NULL: there is no loop for it */
    struct store *lun;
    struct fs_coord_args args;
    char host[FS_HOST_NAME_MAX + 1];
    struct reactor *reactor; /* NULL: the loop is args.metadata */
    struct loop *loop;
    /* The metadata thread only. */
    struct super super;
    struct claim_args claim;
    struct vfs *vfs;
    struct db *db;
    struct meta *meta;
    struct list inbox;  /* calls not looked at */
    struct list parked; /* calls that wait for space on its way to free */
    struct list early;  /* calls that wait for reports, or while held */
    struct list jobs;
    struct task work;
    bool work_posted, working;
    struct lm_range_master *ranges; /* byte-range locks */
    bool ranges_served, ranges_complained;
    struct list lock_notes; /* struct fs_lock_note, early as those below */
    uint64_t seq[META_SLOTS];
    struct discard discard[DISCARDS_MAX];
    unsigned discards, discards_busy; /* of one round; unanswered ones */
    bool discards_idle;               /* none is unanswered */
    _Atomic uint64_t calls;           /* any thread */
    uint64_t commits;
    bool cannot_grow; /* no space for another metadata chunk */
    bool offline;
    bool serving; /* it was opened, and is not being stopped */
    struct diag reason;
    struct task release_task, lun_failed_task;
    bool lun_failed; /* args.loop */
    enum err lun_error;
    /* lock: */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct fs_coord_info info;
    bool held, releasing; /* I14; release_task is posted */
    struct list kept;     /* answered calls, while held */
    struct list sessions; /* of nodes */
    struct db *reader;    /* of a live check: its snapshot pins the log */
};

/* The chunk functions' view. */
struct chunk_world coord_world(struct fs_coord *c);
/* Have coord_work() run soon.  Metadata thread. */
void coord_wake(struct fs_coord *c);
/* Make fs_coord_info() say how things are now. */
void coord_publish(struct fs_coord *c);
/* Take the volume offline; returns e. */
enum err coord_fail(struct fs_coord *c, enum err e, const char *what);

/* A copy of the superblock as the metadata thread has it.  Any thread that may
 * block.  Errors: E_VOL_OFFLINE. */
MUST_CHECK enum err coord_snapshot(struct fs_coord *c, struct super *ret_super,
                                   struct diag *why);

/* coord_batch.c: answer a batch of the inbox. */
void coord_batch(struct fs_coord *c);
/* Answer everything in the list with E_VOL_OFFLINE. */
void coord_refuse(struct fs_coord *c, struct list *calls);
/* Everything that waits, whatever for; of one link, or (NULL) of all. */
void coord_refuse_all(struct fs_coord *c, const struct fs_link *via);
/* The answer is E_VOL_OFFLINE, whatever it was. */
void coord_deny(struct fs_call *call);
/* Those who waited for reports, or for the end of a hold, go on. */
void coord_release_early(struct fs_coord *c);
/* coord.c: one more who sends. */
void coord_session_enter(struct fs_coord *c, struct coord_session *s,
                         const struct fs_sender *who);

/* coord_redirect.c: redirected I/O has an end of its own. */
MUST_CHECK enum err coord_proxy_start(struct fs_coord *c);
void coord_proxy_stop(struct fs_coord *c);
/* What the proxy waits for it does not get: E_VOL_OFFLINE. */
void coord_proxy_cut(struct fs_coord *c);
/* Whether the call is refused where it comes in. */
bool coord_is_cut(const struct fs_call *call);
static inline struct coord_session *coord_session_of(const struct fs_call *call)
{
    return container_of(call->via, struct coord_session, link);
}
/* What has changed for those who share files: tell and answer them.  After the
 * answers of a batch: a recall must not overtake the grant that it takes back.
 */
void coord_share(struct fs_coord *c);
void coord_receive(struct task *task);

/* coord_hold.c: answers go out, or are kept back. */
void coord_answer(struct fs_coord *c, struct fs_call *call);
/* Does the call wait for the end of the hold? */
bool coord_is_held_up(struct fs_coord *c, const struct fs_call *call);
bool coord_is_held(struct fs_coord *c);
/* With E_VOL_OFFLINE instead of what they were to be told. */
void coord_refuse_kept(struct fs_coord *c, const struct fs_link *via);
void coord_release(struct task *task);

/* coord_locks.c: the byte-range locks of all nodes.  Metadata thread. */
MUST_CHECK enum err coord_locks_open(struct fs_coord *c);
void coord_locks_close(struct fs_coord *c);
void coord_locks_receive(struct task *task);
/* If all have reported, and it is not held: those who wait for that go on. */
void coord_locks_serve(struct fs_coord *c);
/* A REPORT, or HELLO, or any other call is about to be carried out.  Errors:
 * of a report; it goes no further. */
MUST_CHECK enum err coord_locks_see(struct fs_coord *c,
                                    const struct fs_call *call);
void coord_locks_forget(struct fs_coord *c, const struct fs_sender *who);

/* coord_clean.c: between two transactions, have room in log and database for
 * the next.  Errors: E_VOL_OFFLINE - and now it is. */
MUST_CHECK enum err coord_make_room(struct fs_coord *c);

/* coord_clean.c: one step of the work that nobody waits for.
 * Returns whether there is more to do at once. */
bool coord_clean(struct fs_coord *c);
/* Freed space is still on its way. */
bool coord_is_reclaiming(const struct fs_coord *c);

/* coord_open.c: claim, recover, mend; and the reverse. */
MUST_CHECK enum err coord_open(struct fs_coord *c, struct diag *why);
void coord_close(struct fs_coord *c);
/* In a transaction: free the handles of a run, drop its answers. */
MUST_CHECK enum err coord_forget(struct fs_coord *c,
                                 const struct fs_sender *who);
MUST_CHECK enum err coord_grow(struct fs_coord *c, struct diag *why);

#endif
