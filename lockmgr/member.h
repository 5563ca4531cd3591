/* lockmgr/member.h - who is in the cluster, and whether it has quorum.
 * Gives a view and joint messages; fences nobody and holds no lock.
 *
 *   member.c           the shell's common half: effects of the core -> calls
 *   member_solo.c      one node, always quorate
 *   member_corosync.c  libcpg, libquorum; their fds on the caller's loop
 *   member_core.c      the rules: a step function over what cpg delivers
 *   member_settle.c    … what follows: announcing, new views, condemning
 *   member_table.c     which incarnations there were, what became of them
 *   member_wire.c      messages, and a decoder that refuses garbage
 *   member_view.c      views as values: find, compare, print
 *
 * Start reading at docs/cluster.md, then member_core.h.
 *
 * cpg delivers in total order (AGREED), which is not SAFE: that a message was
 * delivered here does not prove that it was, or will be, delivered anywhere
 * else.  Whoever acts on a view or a message alone may have acted alone; what
 * must hold is on the LUN before anybody is told (I1, I4, I10).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_MEMBER_H
#define LUNAR_LOCKMGR_MEMBER_H

#include "base/buf.h"
#include "base/loop.h"
#include "base/uuid.h"

enum {
    MEMBER_NODES_MAX = 64,     /* node slots of a volume (design, section 5) */
    MEMBER_RECORDS_MAX = 256,  /* 64 members, their dead and their tombstones */
    MEMBER_NAME_BYTES = 64,    /* of a host, with its zero */
    MEMBER_ADDRESS_BYTES = 64, /* "10.77.0.1:5678", with its zero */
    MEMBER_MESSAGE_BYTES_MAX = 64 << 10 /* of member_send() */
};

/* One run of lunard on one host. */
struct member_id {
    uint32_t node;        /* 1…64: corosync's nodeid */
    uint64_t incarnation; /* of this run; never used before by this node */
    uint8_t host[UUID_BYTES];
    char name[MEMBER_NAME_BYTES];
    char address[MEMBER_ADDRESS_BYTES]; /* where its wire listens */
    uint16_t version_min, version_max;  /* of the protocol between hosts */
    uint64_t key; /* the tag of its cluster key: who has another stays out */
};

/* An incarnation that left without a word. */
#define MEMBER_GONE_STATES(X)                                                  \
    X(MEMBER_LOST, "lost")       /* undecided: may come back as it was */      \
    X(MEMBER_MISSING, "missing") /* decided: it must be fenced */

enum member_gone_state {
#define X(state, name) state,
    MEMBER_GONE_STATES(X)
#undef X
};
const char *member_gone_name(enum member_gone_state state);

struct member_gone {
    struct member_id id;
    enum member_gone_state state;
};

/* What everybody in the view agrees on after the same message; `quorate` is
 * what this node knows of it.  Not in the view (joined false): no members. */
struct member_view {
    uint64_t number; /* grows; quorate comes back with a new one only */
    bool joined;
    bool quorate; /* never without joined; else: wait, decide nothing (I11) */
    bool tie; /* …, but by two_node alone: the other half may have it, too */
    uint16_t version; /* the highest that all members speak */
    unsigned member_count, gone_count;
    struct member_id members[MEMBER_NODES_MAX]; /* by node */
    /* Until this is empty nothing is answered from memory (I14). */
    struct member_gone gone[MEMBER_RECORDS_MAX]; /* by node, incarnation */
};
/* The member with that node; NULL: not in the view. */
const struct member_id *member_view_find(const struct member_view *view,
                                         uint32_t node);
/* "view 7 quorate: h1=1.100 h2=2.7; lost h3=3.4", no newline. */
void member_view_to_text(struct buf *b, const struct member_view *view);

/* Why this incarnation's membership ended; it never comes back. */
#define MEMBER_ENDS(X)                                                         \
    X(MEMBER_LEFT, "left")         /* as asked: the goodbye was delivered */   \
    X(MEMBER_EXPELLED, "expelled") /* accused, missed or replaced: stop now */ \
    X(MEMBER_REFUSED, "refused")   /* never got in */

enum member_end {
#define X(end, name) end,
    MEMBER_ENDS(X)
#undef X
};
const char *member_end_name(enum member_end end);

/* The owner's ear: runs on the loop, never inside a call of the owner's, but
 * may call everything below except member_close(). */
struct member_ear {
    void (*view)(struct member_ear *ear, const struct member_view *view);
    /* A message of a member of the present view; in the same order for all.
     * The bytes are gone after the return. */
    void (*deliver)(struct member_ear *ear, uint32_t node, uint64_t incarnation,
                    const void *bytes, size_t count);
    /* Nothing follows.  After MEMBER_EXPELLED whatever this incarnation still
     * has under way is fenced by others: it stops (I11). */
    void (*ended)(struct member_ear *ear, enum member_end end, const char *why);
};

struct member_args {
    struct loop *loop;
    struct member_ear *ear;
    struct member_id me;   /* corosync: me.node is asked from it */
    const char *cluster;   /* corosync: the group is "lunar:CLUSTER" */
    unsigned heartbeat_ms; /* corosync; 0: 500 */
    unsigned suspect_ms;   /* silent so long: accused.  0: 5000 */
};

struct member;

/* One node, alone and quorate.  Ownership: args are copied, the ear is not.
 * Errors: E_INVAL (me), E_NOMEM.  Context: the loop's thread, as for all of
 * this; does not block. */
MUST_CHECK enum err member_open_solo(const struct member_args *args,
                                     struct member **ret_member,
                                     struct diag *why);
/* Join as soon as corosync is there; it need not be yet, and may go and come.
 * Errors: E_INVAL (me, cluster), E_NOMEM.
 * Context: makes a local connection to corosync, now and again while it is
 * away: a corosync that hangs is waited for. */
MUST_CHECK enum err member_open_corosync(const struct member_args *args,
                                         struct member **ret_member,
                                         struct diag *why);
/* Without a goodbye (member_leave()) others will miss this incarnation. */
void member_close(struct member *m);

const struct member_view *member_view(const struct member *m);

/* Multicast to all members, the sender too, in one order.  E_OK promises no
 * delivery: who falls out of the view first takes its messages along.
 * Errors: E_NO_QUORUM - not in a view (quorate or not); E_AGAIN - too much is
 * waiting; E_TOO_BIG. */
MUST_CHECK enum err member_send(struct member *m, const void *bytes,
                                size_t count);
/* That member owes something for too long: once this is delivered it is out
 * and missing, unless it or another was faster in accusing us.
 * Errors: E_NOENT - not in the view; E_NO_QUORUM. */
MUST_CHECK enum err member_accuse(struct member *m, uint32_t node,
                                  uint64_t incarnation);
/* That missing incarnation is fenced wherever it could write, and recorded as
 * such (I10): once this is delivered all views drop it.
 * Errors: E_NOENT - not missing; E_NO_QUORUM - not in a view. */
MUST_CHECK enum err member_fenced(struct member *m, uint32_t node,
                                  uint64_t incarnation);
/* Say goodbye: everything of ours is given back.  ended(MEMBER_LEFT) follows,
 * at once where there is no view to leave. */
void member_leave(struct member *m);

#endif
