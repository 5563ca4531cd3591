/* lockmgr/takeover.h - who coordinates a volume.  One per volume and node.
 * Elects, claims, has others fenced, opens, serves; or follows who does.
 * Does no I/O, knows no table of the volume and measures no time.
 *
 *   FOLLOW ─ elected ─> (ARBITER) ─> CLAIM_READ ─> CLAIM_WRITE ─> CLAIM_CHECK
 *     ^                                                               │
 *     │            RESERVE_READ ─> (RESERVING) ─> (AWAIT_DEAD) <──────┘
 *     │                 └─> LISTING ─> FENCING ─> SUPER ─> OPENING ─> REPORTING
 *     │                                                                  │
 *     └─ RELEASING <─ CLOSING <─ lost, moved, no path    SERVING <─ STRANGERS
 *                                                 │ a member left, no quorum,
 *                                HELD ─> HELD_KEYS ─> HELD_CONFIRM ─> SERVING
 *
 * Election says who tries; claim and fence say who is (I4, F10).  Epochs are
 * distinct: who sees a claim as high as its own claims anew or yields.
 *
 * Who is elected may not know that somebody coordinates: it has just come, and
 * the announcement is on its way.  To claim would fence a healthy coordinator.
 * But a coordinator's claim is in its node block.  So nobody claims beside a
 * claim that a live run holds and has not resigned: it waits in FOLLOW for
 * that run to announce itself (a view makes it do so), to resign or to leave.
 * Each view, and the timer, make it read again; a run that says nothing for so
 * long is accused (F9).  Where nobody has claimed nobody is waited for.
 *
 * Of two that claim at once the one with the lower epoch hears of the other's,
 * gives up and releases.  The other waits for that, and fences it only if it
 * says nothing for too long: it is a healthy host.
 *
 * Of two hosts that do not hear each other both have quorum (view.tie).  A run
 * that began after they lost each other would fence the one that won, whose
 * VMs run.  So where there is a tie nobody claims beside a run that it never
 * met in a view, and that holds a claim or a key: it waits until they meet, or
 * until the operator says that the other is off.  One that was in a view with
 * the other when it died takes over at once.
 *
 * Who left the view and is back, as the same run, in one with quorum, is
 * pardoned, unless it was to be fenced for another reason or its fence was
 * begun here: nothing of it was released.  It reports again.
 *
 * Who loses its path to the LUN keeps its run: the coordinator fences its key
 * alone (I13) and takes its I/O.  A coordinator in that state closes, cannot
 * release its claim, and resigns all the same: then who claims after it fences
 * its key, not its run.  It releases when it is admitted again.
 * Splits: only the arbiter volume races; the others wait for it (F8).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_TAKEOVER_H
#define LUNAR_LOCKMGR_TAKEOVER_H

#include "lockmgr/node_block.h"

/* clang-format off */
#define TAKEOVER_STATES(X)                                                     \
    X(TAKEOVER_FOLLOW,       "another coordinates, or nobody can")             \
    X(TAKEOVER_ARBITER,      "elected; the arbiter volume decides first")      \
    X(TAKEOVER_CLAIM_READ,   "node blocks and superblocks are being read")     \
    X(TAKEOVER_CLAIM_WRITE,  "my block is to claim the next epoch")            \
    X(TAKEOVER_CLAIM_CHECK,  "all are being read again; a rival gives up")     \
    X(TAKEOVER_RESERVE_READ, "READ RESERVATION is on its way")                 \
    X(TAKEOVER_RESERVING,    "RESERVE is on its way")                          \
    X(TAKEOVER_AWAIT_DEAD,   "it was gone: the fenced must be confirmed dead") \
    X(TAKEOVER_LISTING,      "READ KEYS, to see who is to be fenced")          \
    X(TAKEOVER_FENCING,      "claimants and missing runs are being fenced")    \
    X(TAKEOVER_SUPER,        "the superblock gets the epoch")                  \
    X(TAKEOVER_OPENING,      "the database is being opened")                   \
    X(TAKEOVER_REPORTING,    "announced; reports are awaited")                 \
    X(TAKEOVER_STRANGERS,    "keys of nobody who reported are fenced")         \
    X(TAKEOVER_SERVING,      "coordinates")                                    \
    X(TAKEOVER_HELD,         "I14: quorum, arbiter, fences are awaited")       \
    X(TAKEOVER_HELD_KEYS,    "I14: my key is being read back")                 \
    X(TAKEOVER_HELD_CONFIRM, "I14: clients are being confirmed")               \
    X(TAKEOVER_CLOSING,      "gives up: what it does ends")                    \
    X(TAKEOVER_RELEASING,    "my block is to say: claim released")             \
    X(TAKEOVER_FENCED,       "this run is over (I11)")

/* What happens.  With [t]: an answer, only heard under the current ticket. */
#define TAKEOVER_EVENTS(X)                                                     \
    X(TAKEOVER_EV_VIEW,             "view: from membership, or paths changed") \
    X(TAKEOVER_EV_ARBITER_WON,      "view_id: its missing are fenced there")   \
    X(TAKEOVER_EV_ANNOUNCED,        "run has epoch, in view_id; opened")       \
    X(TAKEOVER_EV_RESIGNED,         "run released epoch, view_id, for `to`")   \
    X(TAKEOVER_EV_BLOCKS_READ,      "[t] answer, blocks, super_epoch")         \
    X(TAKEOVER_EV_BLOCK_WRITTEN,    "[t] answer, after the flush")             \
    X(TAKEOVER_EV_RESERVATION_READ, "[t] answer, type, key of the holder")     \
    X(TAKEOVER_EV_RESERVED,         "[t] answer")                              \
    X(TAKEOVER_EV_KEYS_READ,        "[t] answer, keys, key: mine")             \
    X(TAKEOVER_EV_TARGET_FENCED,    "target, done")                            \
    X(TAKEOVER_EV_FENCE_ABANDONED,  "target, not by this node")                \
    X(TAKEOVER_EV_SUPER_WRITTEN,    "[t] answer: two copies are durable")      \
    X(TAKEOVER_EV_OPENED,           "[t] answer")                              \
    X(TAKEOVER_EV_REPORTED,         "run, epoch, view_id, key: closes epoch")  \
    X(TAKEOVER_EV_CONFIRMED,        "run, epoch, view_id: a client's answer")  \
    X(TAKEOVER_EV_CLOSED,           "[t] nothing of mine is in flight")        \
    X(TAKEOVER_EV_SUSPECT,          "the timer: a word is owed too long")      \
    X(TAKEOVER_EV_MOVE,             "to: hand over, planned; 0: anybody")      \
    X(TAKEOVER_EV_CONFIRM,          "run, epoch, view_id: of my coordinator")  \
    X(TAKEOVER_EV_CONSENT_ASKED,    "run, turn: wants a new key")              \
    X(TAKEOVER_EV_FENCE_ASKED,      "run, turn: has no path, gave its key up") \
    X(TAKEOVER_EV_ADMITTED,         "my nexus is admitted (again)")            \
    X(TAKEOVER_EV_UNRESERVED,       "a nexus or a fence found no reservation") \
    X(TAKEOVER_EV_CONFIRMED_DEAD,   "run: lunar confirm-dead")                 \
    X(TAKEOVER_EV_FAILED,           "a write of metadata failed: give up")     \
    X(TAKEOVER_EV_NEXUS_FENCED,     "fenced, here or elsewhere")

/* What the shell must do, in this order.  With [t]: answer under the ticket; a
 * question of the LUN waits in the shell until a nexus is admitted (nexus.h).
 * Messages are sent again after a connection broke. */
#define TAKEOVER_EFFECTS(X)                                                    \
    X(TAKEOVER_DO_READ_BLOCKS,      "[t] node blocks, epoch of superblocks")   \
    X(TAKEOVER_DO_WRITE_CLAIM,      "[t] node_block_claim(HELD, epoch)")       \
    X(TAKEOVER_DO_WRITE_RELEASE,    "[t] node_block_claim(RELEASED, epoch)")   \
    X(TAKEOVER_DO_WRITE_DEAD,       "[t] node_block_name(target, DEAD)")       \
    X(TAKEOVER_DO_READ_RESERVATION, "[t] READ RESERVATION")                    \
    X(TAKEOVER_DO_RESERVE,          "[t] RESERVE")                             \
    X(TAKEOVER_DO_READ_KEYS,        "[t] READ KEYS, with room for `room`")     \
    X(TAKEOVER_DO_FENCE,            "a fence of target, unless one runs")      \
    X(TAKEOVER_DO_WRITE_SUPER,      "[t] epoch, copy by copy, with flushes")   \
    X(TAKEOVER_DO_OPEN,             "[t] open the database: recovery")         \
    X(TAKEOVER_DO_ANNOUNCE,         "to run or all: epoch; opened: report")    \
    X(TAKEOVER_DO_REPORT,           "to run: all I hold, epoch, view_id (F5)") \
    X(TAKEOVER_DO_CONFIRM,          "to run or all: CONFIRM, epoch, view_id")  \
    X(TAKEOVER_DO_ANSWER_CONFIRM,   "to run: CONFIRMED epoch, view_id")        \
    X(TAKEOVER_DO_CONSENT,          "run: end its redirected I/O, then turn")  \
    X(TAKEOVER_DO_TELL_PATH_FENCED, "to run: its keys up to turn are fenced")  \
    X(TAKEOVER_DO_TELL_FENCED,      "run and membership: the run is fenced")   \
    X(TAKEOVER_DO_TELL_RESERVED,    "to all: RESERVED, look again")            \
    X(TAKEOVER_DO_TELL_ARBITER,     "to all: missing of view_id are fenced")   \
    X(TAKEOVER_DO_SERVE,            "serve; clients may cache")                \
    X(TAKEOVER_DO_HOLD,             "no grant, no answer from memory (I14)")   \
    X(TAKEOVER_DO_CLOSE,            "[t] end what is in flight, close, no I/O")\
    X(TAKEOVER_DO_RESIGN,           "to all: epoch released, for `to`")        \
    X(TAKEOVER_DO_LOOK,             "my nexus must look: key not listed")      \
    X(TAKEOVER_DO_START_TIMER,      "`suspect`, from now: SUSPECT")            \
    X(TAKEOVER_DO_STOP_TIMER,       "none")                                    \
    X(TAKEOVER_DO_ACCUSE,           "run owes an answer (F9)")                 \
    X(TAKEOVER_DO_ALARM,            "say it loudly: why, in this state")       \
    X(TAKEOVER_DO_STOP,             "fenced: drop the database, no I/O")
/* clang-format on */

enum takeover_state {
#define X(state, text) state,
    TAKEOVER_STATES(X)
#undef X
        TAKEOVER_STATE_COUNT
};
enum takeover_event_kind {
#define X(event, text) event,
    TAKEOVER_EVENTS(X)
#undef X
        TAKEOVER_EVENT_COUNT
};
enum takeover_effect_kind {
#define X(effect, text) effect,
    TAKEOVER_EFFECTS(X)
#undef X
        TAKEOVER_EFFECT_COUNT
};

/* Who is in, as membership says it, and who has a path to this LUN. */
struct lm_view {
    uint64_t id; /* grows with each change; the same on all members */
    bool quorate;
    bool tie;         /* by two_node: the other half may have quorum, too */
    bool arbiter;     /* this volume is where the split is raced (F8) */
    uint64_t members; /* bit (node - 1) */
    uint64_t paths;   /* of these, who reaches the LUN */
    uint64_t barred;  /* of these, who is not to coordinate: it is drained */
    uint64_t incarnation[LM_NODES_MAX]; /* [node - 1] */
};

struct takeover_args {
    struct lm_run me;
    uint8_t volume[16]; /* UUID */
    uint32_t cluster;
    enum lm_reservation type;
};

/* What is known of a node. */
struct takeover_peer {
    struct node_fencing recorded; /* the furthest fence that a block records */
    uint64_t block_incarnation;   /* in its node block */
    struct lm_target fence;       /* to be fenced; run.node 0: nothing */
    bool fence_sent;              /* DO_FENCE is out for it */
    bool away;                    /* … only because it is not in the view */
    bool reported;                /* in this epoch */
    uint64_t since_view;          /* it is in the view, without a break */
    uint64_t resigned;            /* the highest epoch that it gave up */
    uint64_t passed_view;         /* up to this view it does not try again */
    bool confirmed;               /* in HELD_CONFIRM */
    bool timed;                   /* it was in when the timer was started */
    bool confirm_dead;            /* the operator's word, not yet written */
    uint64_t met;                 /* the highest in a view of mine; or dead */
    uint64_t key;                 /* as it reported; 0: all redirected */
};

struct takeover {
    enum takeover_state state;
    struct takeover_args args;
    struct lm_view view;
    uint64_t left_view;        /* the view in which last somebody left */
    uint64_t unsure_view;      /* …, or there was no quorum */
    uint64_t won_view;         /* up to this one the arbiter's race is won */
    struct lm_run coordinator; /* as far as I know; node 0: nobody */
    uint64_t coordinator_view; /* the view in which it said so */
    uint64_t epoch;            /* claimed by me */
    uint64_t announced;        /* the epoch that it said it has */
    uint64_t closed;           /* epochs below it are not heard any more (F5) */
    struct lm_run closed_by;   /* who opened it */
    uint64_t confirm_epoch;    /* of a CONFIRM that came before its view */
    uint64_t confirm_view;
    struct lm_run rival; /* CLAIM_CHECK waits for its release; node 0: none */
    struct lm_run unmet; /* CLAIM_READ met it: see above; node 0: nobody */
    uint32_t heir;       /* whom a resignation in this view names; 0: none */
    uint32_t resign_to;  /* CLOSING: for whom */
    bool claimed;        /* my block holds a claim */
    bool owes_release;   /* … of an epoch that I have resigned */
    bool opened;         /* the database is open */
    bool served;         /* all have reported in this epoch */
    bool unreserved;     /* it was found without reservation (F12) */
    bool may_cache;      /* as a client (I14) */
    bool timer;          /* runs */
    bool overdue;        /* CLAIM_READ: who claims has said nothing for long */
    uint64_t foreign;    /* a stranger's key that is being fenced; 0: none */
    uint32_t room;       /* for keys */
    uint32_t ticket;     /* of the question that is out */
    struct node_fenced fenced;               /* as read in node blocks so far */
    struct takeover_peer peer[LM_NODES_MAX]; /* [node - 1] */
};

struct takeover_event {
    enum takeover_event_kind kind;
    uint32_t ticket;
    enum lun_answer answer;
    const struct lm_view *view;
    const struct node_blocks *blocks;
    uint64_t super_epoch; /* of the highest valid copy */
    struct lm_keys keys;
    enum lm_reservation type;
    uint64_t key;
    struct lm_target target;
    struct lm_run run;
    uint64_t epoch;
    uint64_t view_id;
    uint32_t turn;
    uint32_t to;
    bool opened; /* ANNOUNCED: and wants reports */
};

struct takeover_effect {
    enum takeover_effect_kind kind;
    uint32_t ticket;
    struct lm_target target;
    struct lm_run run;
    uint64_t epoch;
    uint64_t view_id;
    uint32_t turn;
    uint32_t to;
    uint32_t room;
    bool opened;
    const char *why; /* ALARM */
};

enum { TAKEOVER_EFFECTS_MAX = 2 * LM_NODES_MAX + 8 };
struct takeover_effects {
    uint32_t count;
    struct takeover_effect list[TAKEOVER_EFFECTS_MAX];
};

void takeover_init(struct takeover *takeover, const struct takeover_args *args);
/* Advance by one event.  Never blocks, never allocates, never fails. */
void takeover_step(struct takeover *takeover,
                   const struct takeover_event *event,
                   struct takeover_effects *ret_effects);

/* I14, asked by the layers above before each of these. */
/* The coordinator: grant a lock, a layout, a handle; open, change metadata. */
bool takeover_may_grant(const struct takeover *takeover);
/* The coordinator: answer from memory. */
bool takeover_may_answer(const struct takeover *takeover);
/* A client: serve what it has cached. */
bool takeover_may_cache(const struct takeover *takeover);
/* Anybody: heed a message of this epoch (F5). */
bool takeover_may_hear(const struct takeover *takeover, uint64_t epoch);
/* May a message of `run` be heeded: is it in the view and not to be fenced? */
bool takeover_knows(const struct takeover *takeover, struct lm_run run);
/* Before REPORTED: is this report to be taken, so that what it does not name is
 * released?  Only one that answers an announcement of this epoch, made since
 * the run is in the view, and only the first: one that comes again, or was
 * under way when the run left, knows nothing of what was granted since. */
bool takeover_wants_report(const struct takeover *takeover, struct lm_run run,
                           uint64_t epoch, uint64_t view_id);

/* Who tries: `present` if it is in the view, has a path and is not barred; else
 * by rendezvous hashing among those who may, so that volumes spread.  0:
 * nobody. */
uint32_t takeover_elect(const struct lm_view *view, const uint8_t volume[16],
                        uint32_t present);

/* The volume where a split is raced: of those that every node of the last full
 * view reached, the one with the lowest UUID.  -1: there is none. */
struct takeover_volume {
    uint8_t uuid[16];
    uint64_t paths; /* bit (node - 1), in the last full view */
};
int takeover_arbiter(const struct takeover_volume *volumes, size_t count,
                     uint64_t members);

const char *takeover_state_name(enum takeover_state state);
const char *takeover_event_name(enum takeover_event_kind kind);
const char *takeover_effect_name(enum takeover_effect_kind kind);

#endif
