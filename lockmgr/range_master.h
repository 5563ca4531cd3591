/* lockmgr/range_master.h - the byte-range locks of all nodes: the master's
 * side, and what it and the nodes say to each other.
 *
 * A node that asks for a lock of a file of which there is none gets the *right*
 * to decide alone: LOCAL is the answer, and the node carries out this request
 * and all later ones by itself, at the cost of no message.  When another node
 * asks, for F_GETLK too, the right is recalled and comes back with the locks
 * that were made under it; what was asked waits for that.  A right has a number
 * that grows, and a recall names it.
 *
 * A request has a slot and a number in it, as in NFSv4.1: the same number again
 * gets the stored answer, a smaller one none.  That stores no right (I7): a
 * lock granted in this epoch is there until its own node ends it.  A request
 * that waits and comes again without `waits` is canceled: granted if it can be
 * granted at this moment, E_AGAIN otherwise.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_RANGE_MASTER_H
#define LUNAR_LOCKMGR_RANGE_MASTER_H

#include "lockmgr/lockmgr.h"

enum { LM_RANGE_SLOTS = 256 }; /* requests under way of a node, waits too */

enum lm_range_op {
    LM_RANGE_SET,   /* F_SETLK, with `waits` F_SETLKW */
    LM_RANGE_TEST,  /* F_GETLK */
    LM_RANGE_RETURN /* a right, and the locks that were made under it */
};

struct lm_range_request {
    enum lm_range_op op;
    struct lm_peer from;
    uint64_t epoch;
    uint32_t slot;
    uint64_t seq;          /* of the slot; grows */
    struct lm_range range; /* RETURN: .file only */
    bool waits;            /* SET */
    uint64_t right;        /* RETURN */
    const struct lm_range *locks;
    size_t lock_count;
};

/* After a takeover: a right that the node has, or one lock of a file of which
 * it has no right. */
struct lm_range_report {
    struct lm_peer from;
    uint64_t epoch;
    uint64_t right;        /* 0: a lock */
    struct lm_range range; /* right: .file only */
};

enum lm_range_answer_op {
    LM_RANGE_DONE,  /* .error; TEST: .other is in the way, or is UNLCK */
    LM_RANGE_LOCAL, /* decide yourself: .right is yours */
    LM_RANGE_RECALL /* give .right back; answers no request */
};

struct lm_range_answer {
    enum lm_range_answer_op op;
    struct lm_peer to;
    uint64_t epoch;
    uint32_t slot;
    uint64_t seq;
    uint64_t file;
    uint64_t right;
    enum err error; /* SET: E_AGAIN, E_DEADLOCK, E_NOLCK, E_NOMEM */
    struct lm_range other;
};

enum lm_range_event_type {
    LM_RANGE_REQUEST, /* .request came */
    LM_RANGE_REPORT,  /* .report came; before SERVE only */
    LM_RANGE_GONE,    /* .peer and its earlier incarnations were fenced, or left
                         cleanly: their locks and rights are free */
    LM_RANGE_AGAIN,   /* what was sent to .peer may be lost: recalls go again */
    LM_RANGE_SERVE,   /* as LM_MASTER_SERVE */
    LM_RANGE_STOP     /* as LM_MASTER_STOP */
};

struct lm_range_event {
    enum lm_range_event_type type;
    union {
        const struct lm_range_request *request;
        const struct lm_range_report *report;
        struct lm_peer peer;
    };
};

/* Takes the answers of a step, in order.  It only notes them. */
struct lm_range_sink {
    void (*put)(struct lm_range_sink *sink, const struct lm_range_answer *a);
};

struct lm_range_master;

/* Of one epoch.  `max`: see lm_ranges_new(); a node may have as many rights.
 * Errors: E_NOMEM. */
MUST_CHECK enum err lm_range_master_new(uint64_t epoch, size_t max,
                                        struct lm_range_master **ret_master);
void lm_range_master_free(struct lm_range_master *m); /* NULL is fine */

/* One event.  Errors, with nothing changed: those of lm_master_step(). */
MUST_CHECK enum err lm_range_master_step(struct lm_range_master *m,
                                         const struct lm_range_event *event,
                                         struct lm_range_sink *sink,
                                         struct diag *why);

/* The locks that the master knows; those made under a right it does not. */
const struct lm_ranges *lm_range_master_table(const struct lm_range_master *m);

#endif
