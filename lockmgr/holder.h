/* lockmgr/holder.h - a node's locks: granted ones stay cached until somebody
 * else wants them.  A pure core between the users of locks on this node (the
 * layer above) and the lock master.
 *
 * A user acquires a resource in a mode and releases it.  Users of one node obey
 * the mode matrix among themselves; towards the others the node has one lock,
 * in a mode that covers its users.  After the last release the lock stays: the
 * next acquisition costs no message.
 *
 * When another node is in need (BAST), the lock is given up in two steps:
 *
 *   1. the users who must go finish; later ones queue, but for LM_HOLD_MIN
 *      acquisitions since the grant, so that two busy nodes do not play
 *      ping-pong.  A count, no time: safety never waits for a clock.
 *   2. LM_HOLDER_REVOKE tells the layer above to drop what it cached under the
 *      lock.  Its answer LM_HOLDER_REVOKED lets the lock go.  Until then the
 *      lock is held: a user with LM_WHILE_REVOKED is still served, for reads
 *      that the dropping itself waits for (F11).
 *
 * A new epoch closes the old one (F5): all that is held is reported, and a
 * message of an earlier epoch is dropped.  Between FREEZE or EPOCH and CONFIRM
 * nothing is served from what is cached (I14) and nothing is asked for; users
 * who have the lock keep it, and what is given up is told after CONFIRM.
 *
 * A user who holds a resource and wants more of it releases it first: he would
 * wait for himself.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_HOLDER_H
#define LUNAR_LOCKMGR_HOLDER_H

#include "base/err.h"
#include "base/list.h"
#include "lockmgr/lockmgr.h"

enum { LM_HOLD_MIN = 4 }; /* acquisitions that a grant is good for, at least */

enum lm_user_flags {
    /* LM_NOQUEUE, LM_NOQUEUEBAST: fail with E_AGAIN rather than wait */
    LM_WHILE_REVOKED = 4 /* also served between REVOKE and REVOKED */
};

/* One acquisition.  The caller's memory, from ACQUIRE until RELEASE or until
 * LM_HOLDER_DONE says that it failed. */
struct lm_user {
    struct lm_resource resource;
    enum lm_mode mode; /* not LM_NL */
    uint32_t flags;
    struct list in_lock; /* private from here on: linked while it waits */
    struct lm_cached *lock;
};

enum lm_holder_event_type {
    LM_HOLDER_ACQUIRE, /* .user; answered with LM_HOLDER_DONE, often at once */
    LM_HOLDER_RELEASE, /* .user, who has it */
    LM_HOLDER_CANCEL,  /* .user: fails with E_CANCELED if he waits; otherwise
                          he has the lock, and has been told */
    LM_HOLDER_REVOKED, /* .resource: the layer above has dropped its cache */
    LM_HOLDER_ANSWER,  /* .answer came from the master */
    LM_HOLDER_RESEND,  /* what was sent may be lost: a new connection */
    LM_HOLDER_FREEZE,  /* a bad view, or no quorum */
    LM_HOLDER_EPOCH,   /* .epoch has begun, of this or another coordinator */
    LM_HOLDER_CONFIRM  /* the coordinator serves, and we are in its view */
};

struct lm_holder_event {
    enum lm_holder_event_type type;
    union {
        struct lm_user *user;
        struct lm_resource resource;
        const struct lm_answer *answer;
        uint64_t epoch;
    };
};

enum lm_holder_effect_type {
    LM_HOLDER_SEND,   /* .request to the master */
    LM_HOLDER_REPORT, /* .report to the master; the step of EPOCH emits all */
    LM_HOLDER_DONE,   /* .user has the lock (E_OK), or .error and never will:
                         E_AGAIN, E_CANCELED, E_NOLCK, E_NOMEM */
    LM_HOLDER_REVOKE  /* .resource: drop what .mode does not allow to cache */
};

struct lm_holder_effect {
    enum lm_holder_effect_type type;
    const struct lm_request *request;
    const struct lm_report *report;
    struct lm_user *user;
    enum err error;
    struct lm_resource resource;
    enum lm_mode mode;
};

/* Takes the effects of a step, in order.  It only notes them: it must not
 * step. */
struct lm_holder_sink {
    void (*put)(struct lm_holder_sink *sink,
                const struct lm_holder_effect *effect);
};

struct lm_holder;

/* Frozen until the first EPOCH and CONFIRM.  Up to `locks_max` locks are
 * cached; then the one that was idle for the longest time goes, and if none is
 * idle an acquisition of another resource fails with E_NOLCK.
 * Errors: E_NOMEM. */
MUST_CHECK enum err lm_holder_new(const struct lm_peer *self, size_t locks_max,
                                  struct lm_holder **ret_holder);
void lm_holder_free(struct lm_holder *h); /* NULL is fine */

/* One event.  Does not block; a cached acquisition allocates nothing.
 * Errors, with nothing changed, of LM_HOLDER_ANSWER only: E_EPOCH - of another
 * epoch; E_FENCED - for another incarnation; E_PROTOCOL - an answer that no
 * master gives: `why` says which. */
MUST_CHECK enum err lm_holder_step(struct lm_holder *h,
                                   const struct lm_holder_event *event,
                                   struct lm_holder_sink *sink,
                                   struct diag *why);

/* In which mode the node holds it now, with or without users; LM_NL: not.
 * What is cached under it is good in this mode. */
enum lm_mode lm_holder_mode(const struct lm_holder *h,
                            const struct lm_resource *resource);

#endif
