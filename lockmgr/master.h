/* lockmgr/master.h - the lock master of a volume: who holds what, who waits.
 * A pure core: an event in, answers out; the shell brings them to the nodes.
 *
 * Each resource has three queues, as in the DLM of VMS and Linux:
 *
 *   granted ──convert──> converting     waiting
 *      ▲                     │             │
 *      └─────────────────────┴─────────────┘
 *
 * - A conversion to a mode that the present one covers is granted at once.
 * - Other conversions and new locks are served first come, first served; all
 *   conversions before the first new lock.  NL locks wait for nobody.
 * - Whoever holds a lock that is in the way is told so with a BAST: once for
 *   each mode that is in conflict with his, the strongest first, which stands
 *   for those that it covers.  A new grant to him starts this anew.
 * - Two conversions that wait for each other's present mode (two PR holders
 *   that both want EX): the later one is denied with E_DEADLOCK and keeps what
 *   it has.
 * - Nothing is released because time passed (I10): only UNLOCK by the owner, or
 *   DROP, does that.
 * - Until SERVE, and again after STOP, requests are not even looked at and
 *   nobody is told anything (I14): nodes ask again when they are confirmed.
 *
 * Every message may be lost, doubled, late or overtaken by the next.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_MASTER_H
#define LUNAR_LOCKMGR_MASTER_H

#include "base/err.h"
#include "lockmgr/lockmgr.h"

struct lm_master;

enum lm_master_event_type {
    LM_MASTER_REQUEST, /* .request came */
    LM_MASTER_REPORT,  /* .report came; before SERVE only */
    LM_MASTER_DROP,    /* .peer and its earlier incarnations were fenced or
                          left cleanly: all that they had is free, and what
                          they still send is refused for ever */
    LM_MASTER_RESEND,  /* what was sent to .peer may be lost (a new connection):
                          its BASTs are sent again */
    LM_MASTER_SERVE,   /* all live nodes have reported, the others are fenced */
    LM_MASTER_STOP     /* a bad view: back to silence */
};

struct lm_master_event {
    enum lm_master_event_type type;
    union {
        const struct lm_request *request;
        const struct lm_report *report;
        struct lm_peer peer;
    };
};

/* Takes the answers of a step, in order.  It only notes them: it must not
 * step. */
struct lm_master_sink {
    void (*put)(struct lm_master_sink *sink, const struct lm_answer *answer);
};

/* The master of one epoch; a takeover makes a new one.  A node may have up to
 * `locks_max` locks; the next is denied with E_NOLCK.
 * Errors: E_NOMEM. */
MUST_CHECK enum err lm_master_new(uint64_t epoch, size_t locks_max,
                                  struct lm_master **ret_master);
void lm_master_free(struct lm_master *m); /* NULL is fine */

/* One event.  Does not block.
 * Errors: then nothing has changed, and the event came from outside:
 * E_EPOCH - a message of another epoch; E_FENCED - of an incarnation that was
 * dropped; E_AGAIN - a request before SERVE; E_PROTOCOL - a message that no
 * node sends, or a report that contradicts another: `why` says which;
 * E_NOLCK, E_NOMEM - a report for which there is no room. */
MUST_CHECK enum err lm_master_step(struct lm_master *m,
                                   const struct lm_master_event *event,
                                   struct lm_master_sink *sink,
                                   struct diag *why);

/* How many locks there are, for status and tests: of a peer, or of all. */
size_t lm_master_count(const struct lm_master *m, const struct lm_peer *peer);

#endif
