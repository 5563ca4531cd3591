/* fs/call.h - one request of a client to a coordinator, and the link it takes.
 * Carries; decides nothing.  The far end is in this process (fs/coord.h) or
 * behind a transport (fs/net.h): the client cannot tell.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_CALL_H
#define LUNAR_FS_CALL_H

#include "base/loop.h"
#include "fs/proto.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

/* Ownership: the caller's, from fs_link_send() to `done`; what request points
 * at stays alive as long.  The reply's arrays are heap; fs_call_fini() frees
 * them.  `done` runs on the loop that sent. */
struct fs_link;

/* Which request this is, for a sender that outlives its process: the same
 * words for every try of it (I7).  Slots from FS_SLOTS_KEPT on are such
 * senders'; those below are the link's. */
enum { FS_SLOTS_KEPT = 256 };
struct fs_once {
    uint64_t incarnation, seq; /* seq 0: none, the link says */
    uint32_t slot;
};

/* The run of a host that sends it. */
struct fs_sender {
    uint32_t node;
    uint64_t incarnation;
};

static inline bool fs_sender_is(const struct fs_sender *a,
                                const struct fs_sender *b)
{
    return a->node == b->node && a->incarnation == b->incarnation;
}

/* The coordinator's own hand in files (redirect.h): of no node. */
#define FS_SENDER_PROXY ((struct fs_sender){0, 1})
static inline bool fs_sender_is_proxy(const struct fs_sender *who)
{
    return who->node == 0;
}

struct fs_redirect;
struct fs_call {
    fs_request request;
    fs_reply reply;
    void (*done)(struct fs_call *);
    struct fs_once once;
    /* READ, WRITE: where the bytes go to, or come from; the caller's, and as
     * long alive.  What they are in begins `skip` bytes in. */
    const struct iovec *iov;
    uint32_t iov_count;
    uint64_t iov_skip_bytes;
    /* private to the link */
    struct fs_sender sender;
    uint64_t tag;
    bool remote, unsent;
    struct fs_link *via;
    struct fs_redirect *carrier;
    struct loop *from;
    struct task task;
    struct list link;
};

/* Zero the call and set the operation. */
void fs_call_init(struct fs_call *call, fs_op op);
/* Free the reply's memory.  The call may be used again after fs_call_init(). */
void fs_call_fini(struct fs_call *call);

/* Move calls behind those in `to`: what came over one link, or (NULL) all. */
void fs_calls_take(struct list *from, const struct fs_link *via,
                   struct list *to);

/* A message about locks on its way; heap. */
struct fs_lock_note {
    fs_lock_request request;
    /* private to the link */
    struct task task;
    void *to;
    struct fs_sender from;
    bool local;
    struct list link;
};
void fs_lock_note_free(struct fs_lock_note *note);

struct fs_link_ops {
    void (*send)(struct fs_link *link, struct fs_call *call);
    /* One way; it may get lost, and then `ready` comes.  Ownership: takes the
     * note.  Context: any thread; does not block. */
    void (*lock)(struct fs_link *link, struct fs_lock_note *note);
};
struct fs_link {
    const struct fs_link_ops *ops;
    struct fs_sender self; /* who sends over it */
    pthread_mutex_t ear;   /* held while one of these runs, or is set */
    /* Set by the client before it sends: the coordinator takes a layout back.
     * Context: any thread; does not block. */
    void (*recall)(struct fs_link *link, const fs_recall *recall);
    /* Add to an empty report what the client has, from *cursor (0 at first)
     * on; report->last: that is all.  Errors: E_NOMEM.  Context: as recall. */
    enum err (*report)(struct fs_link *link, uint64_t epoch, uint64_t *cursor,
                       fs_report_args *report);
    /* The coordinator says something about locks.  Context: as recall. */
    void (*lock_answered)(struct fs_link *link, const fs_lock_answer *answer);
    /* The coordinator is reached, for the first time or again: what was sent
     * about locks may be lost.  And: it is not reached; for good, if `e`.
     * Not told by a link that ends in this process.  Context: as recall. */
    void (*ready)(struct fs_link *link);
    void (*lost)(struct fs_link *link, enum err e);
    void *user;
    atomic_ullong calls; /* that were sent, but for data */
};

/* For those who make links: their side of it.  Who does not listen is not
 * told. */
void fs_link_init(struct fs_link *link, const struct fs_link_ops *ops,
                  const struct fs_sender *self);
void fs_link_fini(struct fs_link *link);
void fs_link_recall(struct fs_link *link, const fs_recall *recall);
/* Who does not listen has nothing. */
MUST_CHECK enum err fs_link_report(struct fs_link *link, uint64_t epoch,
                                   uint64_t *cursor, fs_report_args *report);
void fs_link_lock_answered(struct fs_link *link, const fs_lock_answer *answer);
void fs_link_ready(struct fs_link *link);
void fs_link_lost(struct fs_link *link, enum err e);
/* For the client that ends: nothing is told any more. */
void fs_link_deafen(struct fs_link *link);

/* Send; `done` runs exactly once, later.  A link that is broken answers with
 * reply.error.  The link fills the header of the request (I7).
 * Context: a thread with a loop; does not block. */
void fs_link_send(struct fs_link *link, struct fs_call *call);

#endif
