/* lockmgr/range_client.h - a node's byte-range locks.  A pure core between
 * fcntl(2) and flock(2) on this node and the range master.
 *
 * It knows every lock of its own node: those that it granted by itself, under a
 * right, and those that the master granted.  The first are what a recall hands
 * over, all are what a new master is told.
 *
 * A lock that would have to wait is never waited for here: the right goes back,
 * and the master, who sees all who wait, decides (deadlocks cross files and
 * nodes).
 *
 * What a request under way gives up (F_UNLCK, a write lock for a read lock) is
 * not claimed from a new master.  So a request that gives up here and wants
 * more there, is under way in a takeover, and is refused, has given up.
 *
 * EPOCH, FREEZE, CONFIRM: as for lm_holder, lockmgr/holder.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_RANGE_CLIENT_H
#define LUNAR_LOCKMGR_RANGE_CLIENT_H

#include "base/list.h"
#include "lockmgr/lockmgr.h"

enum lm_range_call_op {
    LM_RANGE_CALL_SET,  /* F_SETLK, F_SETLKW; flock: 0 to LM_RANGE_LAST */
    LM_RANGE_CALL_TEST, /* F_GETLK */
    LM_RANGE_CALL_DROP  /* RELEASE of an OFD owner, death of a process: its
                           locks of the file, and what it waits for */
};

/* One call of a program.  The caller's memory until LM_RANGE_RESULT. */
struct lm_range_call {
    enum lm_range_call_op op;
    struct lm_range range; /* .owner.peer is filled in; DROP: file, owner */
    bool waits;            /* SET: F_SETLKW */
    struct list in_file;   /* private from here on: linked while it queues */
    struct lm_range_file *file;
    bool is_sent, is_canceled;
};

enum lm_range_client_event_type {
    LM_RANGE_CALL,   /* .call; answered with LM_RANGE_RESULT, often at once */
    LM_RANGE_CANCEL, /* .call, under way: if it waits, it ends with E_CANCELED
                        or with the lock */
    LM_RANGE_FORGET, /* .file: nobody here has it open; its right goes back */
    LM_RANGE_ANSWER, /* .answer came from the master */
    LM_RANGE_RESEND,
    LM_RANGE_FREEZE,
    LM_RANGE_EPOCH, /* .epoch */
    LM_RANGE_CONFIRM
};

struct lm_range_client_event {
    enum lm_range_client_event_type type;
    union {
        struct lm_range_call *call;
        uint64_t file;
        const struct lm_range_answer *answer;
        uint64_t epoch;
    };
};

enum lm_range_client_effect_type {
    LM_RANGE_SEND,  /* .request to the master; its locks are gone after put() */
    LM_RANGE_TELL,  /* .report to the master; the step of EPOCH emits all */
    LM_RANGE_RESULT /* .call has ended with .error: E_OK, E_AGAIN, E_DEADLOCK,
                       E_CANCELED, E_NOLCK, E_NOMEM; TEST: .other is in the way,
                       or is UNLCK */
};

struct lm_range_client_effect {
    enum lm_range_client_effect_type type;
    const struct lm_range_request *request;
    const struct lm_range_report *report;
    struct lm_range_call *call;
    enum err error;
    const struct lm_range *other;
};

/* Takes the effects of a step, in order.  It only notes them. */
struct lm_range_client_sink {
    void (*put)(struct lm_range_client_sink *sink,
                const struct lm_range_client_effect *effect);
};

struct lm_range_client;

/* Frozen until the first EPOCH and CONFIRM.  `max` is the master's.
 * Errors: E_NOMEM. */
MUST_CHECK enum err lm_range_client_new(const struct lm_peer *self, size_t max,
                                        struct lm_range_client **ret_client);
void lm_range_client_free(struct lm_range_client *c); /* NULL is fine */

/* One event.  Errors, of LM_RANGE_ANSWER only: those of lm_holder_step(). */
MUST_CHECK enum err lm_range_client_step(
    struct lm_range_client *c, const struct lm_range_client_event *event,
    struct lm_range_client_sink *sink, struct diag *why);

/* How many requests are under way: what they do is not done yet. */
size_t lm_range_client_busy(const struct lm_range_client *c);

/* All locks of this node. */
const struct lm_ranges *lm_range_client_table(const struct lm_range_client *c);

#endif
