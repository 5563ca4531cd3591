/* lockmgr/nexus.h - may this I_T nexus carry I/O?  One per session of a LUN.
 * Does not register, read or send by itself: effects ask for it.
 *
 * A nexus is open only after REGISTER was answered, then all node blocks were
 * read, and no block names its key or its run, and the LUN is reserved as it
 * should be.  In this order a fenced node cannot come back (F2): either its
 * REGISTER was before the fencer's block, then PREEMPT removes the key; or it
 * reads its name.  A name whose author is fenced itself is void, but only if it
 * is still there in a second read (node_block.h).  RESERVATION CONFLICT means:
 * stop and look.
 *
 * REGISTER waits until every earlier command on this session was answered: a
 * write that was sent under the old key must not run under the new one (I13),
 * nor an earlier REGISTER after a fence.  A question that was not yet sent when
 * the ticket grew is not sent any more.
 *
 * After a unit attention REGISTER of the key over itself asks whether this
 * nexus is registered still: it creates no registration, so it needs no look at
 * the blocks.  (A fencer that reset the LUN is not stopped by the name that its
 * victim wrote and cannot act upon any more.)
 *
 * The path fence (I13): a node that has I/O out and hears nothing of the LUN
 * gives its key up (RETIRE) and has the coordinator fence it, up to this turn.
 * Only when that is done (PATH_FENCED) can nothing land any more that was sent,
 * and its I/O goes by way of the coordinator (DO_REDIRECT).  The path is back
 * (REPAIRED): a new key, by consent, and all steps anew; with DO_OPEN it ends.
 *
 *            UP              REGISTERED          BLOCKS_READ
 *   DOWN ──────> REGISTERING ─────────> READING ─┬─> (WRITING) ─> CHECKING
 *     ^                ^ listed                  │ named          │     │none
 *     │ LOST     LOOKING ─ gone ─> PEEKING       v                v     v
 *     └ any            ^              └──> ASKING / FENCED      OPEN UNRESERVED
 *                      └─ conflict ─ RECHECKING <── CONFLICT, ATTENTION
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_NEXUS_H
#define LUNAR_LOCKMGR_NEXUS_H

#include "lockmgr/node_block.h"

/* clang-format off */
#define NEXUS_STATES(X)                                                        \
    X(NEXUS_DOWN,        "no session; UP follows")                             \
    X(NEXUS_REGISTERING, "REGISTER is on its way")                             \
    X(NEXUS_READING,     "registered; all node blocks are being read")         \
    X(NEXUS_WRITING,     "admitted; my block gets this run and key")           \
    X(NEXUS_CHECKING,    "admitted; READ RESERVATION is on its way")           \
    X(NEXUS_UNRESERVED,  "the LUN is not reserved: node blocks only")          \
    X(NEXUS_OPEN,        "carries I/O")                                        \
    X(NEXUS_RECHECKING,  "stopped; is this nexus registered still?")           \
    X(NEXUS_LOOKING,     "stopped; READ KEYS is on its way")                   \
    X(NEXUS_PEEKING,     "key gone; node blocks are tried unregistered")       \
    X(NEXUS_ASKING,      "key gone, not named: the coordinator is asked")      \
    X(NEXUS_RETIRED,     "key given up by myself, to go redirected (I13)")     \
    X(NEXUS_FENCED,      "this run is over (I11)")

/* What happens.  With [t]: an answer, only heard under the current ticket. */
#define NEXUS_EVENTS(X)                                                        \
    X(NEXUS_EV_UP,               "a session is logged in; drained (I13)")      \
    X(NEXUS_EV_LOST,             "the session is gone, outcomes unknown")      \
    X(NEXUS_EV_REGISTERED,       "[t] answer")                                 \
    X(NEXUS_EV_BLOCKS_READ,      "[t] answer, blocks")                         \
    X(NEXUS_EV_BLOCK_WRITTEN,    "[t] answer, after the flush")                \
    X(NEXUS_EV_RESERVATION_READ, "[t] answer, type")                           \
    X(NEXUS_EV_KEYS_READ,        "[t] answer, keys")                           \
    X(NEXUS_EV_CONFLICT,         "a command met RESERVATION CONFLICT")         \
    X(NEXUS_EV_ATTENTION,        "unit attention 29/xx or 2A/xx")              \
    X(NEXUS_EV_CONSENTED,        "turn: of the new key, by the coordinator")   \
    X(NEXUS_EV_RESERVED,         "the coordinator has reserved the LUN")       \
    X(NEXUS_EV_RETIRE,           "the LUN is silent: go redirected")           \
    X(NEXUS_EV_PATH_FENCED,      "turn: my keys up to it are fenced")          \
    X(NEXUS_EV_REPAIRED,         "the path proved good; a damaged block too")  \
    X(NEXUS_EV_FENCED_ELSEWHERE, "on another volume; or told so (I11)")

/* What the shell must do, in this order.  With [t]: answer under the ticket. */
#define NEXUS_EFFECTS(X)                                                       \
    X(NEXUS_DO_STOP,             "send nothing more; keep what waits")         \
    X(NEXUS_DO_REGISTER,         "[t] nothing else out: REGISTER AND IGNORE")  \
    X(NEXUS_DO_RECHECK,          "[t] REGISTER key over key: makes none")      \
    X(NEXUS_DO_READ_BLOCKS,      "[t] read all node blocks on this nexus")     \
    X(NEXUS_DO_WRITE_BLOCK,      "[t] node_block_join(mine, …), then flush")   \
    X(NEXUS_DO_READ_RESERVATION, "[t] READ RESERVATION")                       \
    X(NEXUS_DO_READ_KEYS,        "[t] READ KEYS, with room for `room`")        \
    X(NEXUS_DO_ASK_CONSENT,      "whoever coordinates, until CONSENTED")       \
    X(NEXUS_DO_ASK_FENCE,        "whoever coordinates, until PATH_FENCED")     \
    X(NEXUS_DO_REDIRECT,         "what was out lands no more: redirected I/O") \
    X(NEXUS_DO_TELL_UNRESERVED,  "tell the coordinator: reservation gone")     \
    X(NEXUS_DO_OPEN,             "send again what waits (I13), then new I/O")  \
    X(NEXUS_DO_FAIL,             "fail all I/O, stop on all volumes (I11)")    \
    X(NEXUS_DO_ALARM,            "say it loudly: answer of what, in state")
/* clang-format on */

enum nexus_state {
#define X(state, text) state,
    NEXUS_STATES(X)
#undef X
        NEXUS_STATE_COUNT
};
enum nexus_event_kind {
#define X(event, text) event,
    NEXUS_EVENTS(X)
#undef X
        NEXUS_EVENT_COUNT
};
enum nexus_effect_kind {
#define X(effect, text) effect,
    NEXUS_EFFECTS(X)
#undef X
        NEXUS_EFFECT_COUNT
};

struct nexus_args {
    struct lm_run me;
    uint32_t turn; /* of the key that this run has on this LUN now */
    uint32_t cluster;
    enum lm_reservation type;
};

struct nexus {
    enum nexus_state state;
    struct nexus_args args;    /* turn grows by consent */
    bool registered;           /* REGISTER of this turn was once answered */
    bool gave_up_key;          /* RETIRED: only a new one will do */
    bool redirected;           /* until it is open: DO_REDIRECT was said */
    uint32_t room;             /* for keys */
    uint32_t ticket;           /* of the question that is out */
    struct node_fenced fenced; /* as read so far; for node_block_join() */
};

struct nexus_event {
    enum nexus_event_kind kind;
    uint32_t ticket;
    enum lun_answer answer;
    const struct node_blocks *blocks;
    struct lm_keys keys;
    enum lm_reservation type;
    uint32_t turn;
};

struct nexus_effect {
    enum nexus_effect_kind kind;
    uint32_t ticket;
    struct lm_run run;
    uint64_t key;
    uint32_t room;          /* READ_KEYS */
    enum lun_answer answer; /* ALARM */
};

enum { NEXUS_EFFECTS_MAX = 4 };
struct nexus_effects {
    uint32_t count;
    struct nexus_effect list[NEXUS_EFFECTS_MAX];
};

void nexus_init(struct nexus *nexus, const struct nexus_args *args);
/* Advance by one event.  Never blocks, never allocates, never fails. */
void nexus_step(struct nexus *nexus, const struct nexus_event *event,
                struct nexus_effects *ret_effects);

/* May data I/O be sent on it?  Asked before each command. */
bool nexus_may_carry(const struct nexus *nexus);
/* May node blocks and PERSISTENT RESERVE OUT be sent on it, for fencing and
 * takeover? */
bool nexus_is_admitted(const struct nexus *nexus);
uint64_t nexus_key(const struct nexus *nexus);
/* For a report: 0 if it was given up. */
uint64_t nexus_key_in_use(const struct nexus *nexus);
/* Is the path fence still to be asked for?  Repeated until it is not. */
bool nexus_wants_fence(const struct nexus *nexus);

const char *nexus_state_name(enum nexus_state state);
const char *nexus_event_name(enum nexus_event_kind kind);
const char *nexus_effect_name(enum nexus_effect_kind kind);

#endif
