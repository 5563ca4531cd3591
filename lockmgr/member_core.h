/* lockmgr/member_core.h - the rules of membership as a step function.
 * Reads no clock, socket, disk or random source; allocates nothing.
 *
 * Everybody in one partition of cpg is told the same processes and the same
 * messages in the same order.  From that follows one view for all of them:
 *
 *   base      the set of processes (a hash), and `serial`: how many CONDEMN,
 *             FENCED and GOODBYE came since it changed.  An ANNOUNCE or an
 *             INSTALL counts only where nothing happened since it was sent.
 *             That is seen alike by all, also by who has just joined.
 *   ANNOUNCE  sent by everybody when the set has a process that is not in the
 *             view: who I am, and all incarnations of which I know what became
 *             of them.  Tables merge; nothing in them is ever taken back.
 *   INSTALL   proposed by everybody who has heard all (a process that stays
 *             silent for `suspect` is not waited for).  Carries the view in
 *             full.  The first one in total order that names the view before,
 *             or any if someone has joined since, is the view of those in it.
 *             Others announce anew.
 *
 *   CONDEMN   in a quorate view: those who left without a word, who no longer
 *             send heartbeats, or who are accused, are missing from then on.
 *             It counts in the ring it was sent in, from a member of the view.
 *
 * A member whose process goes is out at once: it is *lost*.  Without quorum it
 * stays so and may come back as it was; with quorum it is condemned, but where
 * quorum was lost only `suspect` after it is back: rings grow together in
 * steps, and who is in the last one has done nothing wrong.  A newer
 * incarnation of a node condemns the older one.  A node that hears of itself
 * that it is condemned is expelled.  If two sides that both had quorum (two
 * nodes) condemned each other, the first one to announce counts.
 *
 * Quorum is not in cpg's order.  So that no side takes an old word for the
 * present: a view that lost a member with its node, or was without quorum once,
 * is quorate again only when it was installed anew in the ring of which
 * corosync says that it has quorum.
 *
 * Time comes in as ticks.  A member is silent when so many of *our* heartbeats
 * came round without one of its: a ring that stands still, or a loop of ours
 * that did, accuses nobody.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_MEMBER_CORE_H
#define LUNAR_LOCKMGR_MEMBER_CORE_H

#include "lockmgr/member_wire.h"

enum { MEMBER_PROCESSES_MAX = 128 }; /* CPG_MEMBERS_MAX */

struct member_process {
    uint32_t node, pid;
};

#define MEMBER_STATES(X)                                                       \
    X(CORE_AWAY, "away")       /* not in the group of processes */             \
    X(CORE_JOINING, "joining") /* in it, but in no view */                     \
    X(CORE_IN, "in")                                                           \
    X(CORE_ENDED, "ended") /* left, expelled, refused */

enum member_core_state {
#define X(state, name) state,
    MEMBER_STATES(X)
#undef X
};
const char *member_core_state_name(enum member_core_state state);

#define MEMBER_EVENTS(X)                                                       \
    X(EVENT_CONFCHG, "confchg") /* cpg's processes */                          \
    X(EVENT_RING, "ring")       /* cpg's totem callback: after the confchg */  \
    X(EVENT_QUORUM, "quorum")   /* libquorum's, in no order with the others */ \
    X(EVENT_MESSAGE, "message")                                                \
    X(EVENT_CUT, "cut")   /* corosync is gone */                               \
    X(EVENT_TICK, "tick") /* every heartbeat interval */                       \
    X(EVENT_SEND, "send")                                                      \
    X(EVENT_ACCUSE, "accuse")                                                  \
    X(EVENT_FENCED, "declare fenced")                                          \
    X(EVENT_LEAVE, "leave")

enum member_event_type {
#define X(event, name) event,
    MEMBER_EVENTS(X)
#undef X
};
const char *member_event_name(enum member_event_type type);

struct member_event {
    enum member_event_type type;
    /* CONFCHG: all there are, in any order.  Who is not named any more has
     * left; `stopped` lists those of them whose node is still there. */
    const struct member_process *processes, *stopped;
    unsigned process_count, stopped_count;
    struct member_ring ring;    /* RING, QUORUM */
    bool quorate, tie;          /* QUORUM */
    struct member_process from; /* MESSAGE */
    const void *bytes;          /* MESSAGE, SEND */
    size_t count;
    struct member_who who; /* ACCUSE, FENCED */
};

enum {
    MEMBER_SENDS_MAX = 8, /* of one step */
    /* of one step: a DATA, two tables, and small ones */
    MEMBER_SEND_BYTES_MAX = 5 * MEMBER_WIRE_BYTES_MAX
};

/* What the shell must do, in this order. */
struct member_effects {
    unsigned send_count;
    struct {
        const uint8_t *bytes; /* in `room` */
        size_t count;
    } sends[MEMBER_SENDS_MAX];
    bool view_changed; /* core->view */
    bool deliver;      /* DATA of `from`, inside the event's bytes */
    struct member_who from;
    const uint8_t *data;
    size_t data_count;
    bool garbage; /* the message was refused; `why` */
    bool ended;   /* core->end; `why` */
    struct diag why;
    size_t room_used;
    uint8_t room[MEMBER_SEND_BYTES_MAX];
};

struct member_core_args {
    struct member_id me;
    uint32_t pid;           /* of our process in cpg */
    unsigned suspect_ticks; /* heartbeats unheard before one is accused */
};

struct member_core_process {
    struct member_process p;
    uint64_t incarnation; /* that it announced; 0: it has not */
    bool heard;           /* announced under the present base */
    bool says_in;         /* then it was in a view */
    bool refused;
    bool silent; /* has not announced for `suspect`: not waited for */
    unsigned quiet_ticks;
};

/* Known alike to all in the partition: processes, base, serial; to all in the
 * view: the table without its local fields, number, origin. */
struct member_core {
    struct member_core_args args;
    enum member_core_state state;
    enum member_end end;
    unsigned process_count;
    struct member_core_process processes[MEMBER_PROCESSES_MAX];
    struct member_table table;
    uint64_t base;
    uint32_t serial;
    bool open;   /* a process joined since the last INSTALL */
    bool spoken; /* one of our view has announced under this base */
    uint64_t number;
    uint64_t number_max; /* heard of anybody */
    struct member_origin origin;
    struct member_ring ring, quorum_ring;
    bool quorum, tie;     /* what corosync said last */
    bool primary;         /* installed in a quorate ring, and whole since */
    unsigned grace_ticks; /* the lost are waited for: quorum is new */
    bool announce_due, announce_flying, install_flying, beat_flying;
    uint32_t judge; /* who condemned us, that we know of; 0: nobody */
    enum condemn_reason reason;
    unsigned patience_ticks; /* spent in JOINING while nothing happened */
    struct member_view view; /* as last told */
    struct member_view next_view;
    struct member_message in, out;
};

/* `me` passed member_id_check(). */
void member_core_init(struct member_core *core,
                      const struct member_core_args *args);
/* Advance by one event; fills *fx with what is to be done. */
void member_step(struct member_core *core, const struct member_event *event,
                 struct member_effects *fx);

#endif
