/* lunard/errand.h - what the administrator of one host asks of another: from
 * daemon to daemon, over the cluster's wire.
 * A question is a line as on the control socket, and so is its answer; which
 * commands there are for others says a table of their own (commands_peer.c).
 * Knows none of them, and sends nothing again: who gets no answer asks anew, or
 * says so.
 *
 *   errands_ask() ── ERRAND_ASK ──> worker: control_answer()
 *       waits     <─ ERRAND_ANSWER ──┘
 *
 * To answer never asks anybody: so no two hosts wait for each other.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_ERRAND_H
#define LUNAR_LUNARD_ERRAND_H

#include "lunard/control.h"
#include "lunard/wire.h"

#include <sys/uio.h>

enum {
    ERRAND_LINE_BYTES = 3 << 20, /* the findings of a check, well escaped */
    ERRANDS_MAX = 64,            /* answered at a time, or in line for it */
    ERRAND_THREADS = 4           /* a check takes one for minutes */
};

struct errands;
struct errands_args {
    struct loop *loop;                  /* of the wire */
    const struct control_args *answers; /* what others may ask; outlives it */
    /* To a node.  On the loop.  Errors: E_CLOSED and others: it is not sent. */
    enum err (*send)(void *user, uint32_t node, const struct iovec *iov,
                     int iov_count);
    void *user;
};

/* Errors: E_NOMEM, E_IO, E_AGAIN (threads). */
MUST_CHECK enum err errands_new(const struct errands_args *args,
                                struct errands **ret_errands);
/* Who waits for an answer waits no more, and nobody is answered any more: what
 * is being answered ends.  Context: blocks; not the loop. */
void errands_quit(struct errands *errands);
/* Behind errands_quit(), or nothing was ever received.  NULL is fine. */
void errands_free(struct errands *errands);

/* -- on the loop ----------------------------------------------------------- */

/* A message of `node`; false: it is none of this version. */
bool errands_receive(struct errands *errands, uint32_t node, const void *bytes,
                     size_t count);
/* The connection broke: what was asked of it may have been done, or not. */
void errands_lost(struct errands *errands, uint32_t node);

/* -- any thread but the loop's --------------------------------------------- */

/* One question.  The caller fills in node, command and args. */
struct errand {
    uint32_t node;
    const char *command;
    json_t *args; /* borrowed; NULL: none */
    /* the answer */
    enum err e;
    struct diag why;
    json_t *result; /* the caller's; NULL: none, or it failed */
    /* private; lock: errands->mutex */
    struct list link;
    uint64_t number;
    bool over;
};

/* Ask them all at once, and wait until each is answered, or limit_ms are over;
 * 0: however long it takes, as long as there is a connection.
 * Errors, each in its errand: what the other host says; E_CLOSED (it is not
 * connected, or was lost: what was asked may be done yet), E_TIMEOUT,
 * E_CANCELED (this daemon ends). */
void errands_ask(struct errands *errands, struct errand *list, unsigned count,
                 unsigned limit_ms);

#endif
