/* lockmgr/message.h - what nodes and a lock master say to each other, as
 * plain structs.  How they are encoded is the wire's affair (fs/proto.x).
 *
 * A lock is named by its owner's peer (node, incarnation) and an id that the
 * owner chose and never uses again.  The requests of a lock are numbered: one
 * that comes again, in whatever order, is told the present state and never
 * makes a second lock (I7).  An answer names the request that it answers, so
 * that a node knows a late one.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_MESSAGE_H
#define LUNAR_LOCKMGR_MESSAGE_H

#include "base/err.h"
#include "lockmgr/lockmgr.h"

/* One run of lunard on a host.  A higher incarnation is a later run. */
struct lm_peer {
    uint32_t node;
    uint64_t incarnation;
};

static inline bool lm_same_peer(const struct lm_peer *a,
                                const struct lm_peer *b)
{
    return a->node == b->node && a->incarnation == b->incarnation;
}

/* What is locked: the kind says what the numbers mean. */
struct lm_resource {
    uint32_t kind;
    uint64_t number[2];
};

static inline bool lm_same_resource(const struct lm_resource *a,
                                    const struct lm_resource *b)
{
    return a->kind == b->kind && a->number[0] == b->number[0] &&
           a->number[1] == b->number[1];
}

enum lm_flags {
    LM_NOQUEUE = 1,     /* grant at once or deny with E_AGAIN */
    LM_NOQUEUEBAST = 2, /* … and tell those who are in the way */
};

/* -- node to master -------------------------------------------------------- */

enum lm_request_op {
    LM_LOCK,    /* a new lock */
    LM_CONVERT, /* to another mode: up, down, or the same */
    LM_UNLOCK,  /* the lock ends, whatever its state */
    LM_CANCEL   /* what is not granted yet is not wanted any more */
};

struct lm_request {
    enum lm_request_op op;
    struct lm_peer from;
    uint64_t epoch;
    uint64_t lock; /* its id */
    uint64_t seq;  /* of this lock's requests; grows */
    struct lm_resource resource;
    enum lm_mode mode; /* LOCK, CONVERT */
    uint32_t flags;    /* LOCK, CONVERT: enum lm_flags */
};

/* What a node holds when a new master begins. */
struct lm_report {
    struct lm_peer from;
    uint64_t epoch;
    uint64_t lock;
    uint64_t seq; /* of the request by which it is held */
    struct lm_resource resource;
    enum lm_mode mode;
};

/* -- master to node -------------------------------------------------------- */

enum lm_answer_op {
    LM_GRANT,    /* completion AST: `mode` is held */
    LM_DENY,     /* completion AST: `error`; what was held before still is */
    LM_UNLOCKED, /* completion AST of UNLOCK */
    LM_BAST      /* blocking AST: you are in the way of one who wants `mode` */
};

struct lm_answer {
    enum lm_answer_op op;
    struct lm_peer to;
    uint64_t epoch;
    uint64_t lock;
    uint64_t seq; /* the request's; BAST: of the one that was granted */
    struct lm_resource resource;
    enum lm_mode mode;
    enum err error; /* DENY: E_AGAIN (NOQUEUE), E_DEADLOCK, E_CANCELED,
                       E_NOLCK, E_NOMEM */
};

#endif
