/* lockmgr/fence.h - one fence: one target, one LUN, one fencer.
 * Does no I/O, measures no time and releases nothing: effects say when others
 * may.  Nothing here ends because time passed (I10).
 *
 *   QUORUM ─> NAMING ─> LISTING ─ listed ─> QUORUM ─> PREEMPTING ─> LISTING …
 *                │ not listed, and what was in flight was aborted
 *                │ (else RESETTING ─> LISTING)
 *                └─> CHECKING ─> FLUSHING ─> DRAINING ─> RECORDING ─> DONE
 *
 * The fencer may die after any step; another begins at the start, and finds
 * by READ KEYS what is left to do.  A key that it did not preempt and abort
 * itself it takes for one whose commands are still in flight: LOGICAL UNIT
 * RESET.  A target that cannot: the fence agent, then the operator.
 *
 * The questions go out on a nexus of mine that is admitted (nexus.h), and wait
 * in the shell until there is one.  The victim may be fencing me: LUN order of
 * the two PREEMPTs decides, and who lost finds its key gone, then its name.
 *
 * A path fence (I13) is the same for the keys up to a turn: the run lives on,
 * and what is redirected is not dropped.  If it fails it becomes a whole one.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_FENCE_H
#define LUNAR_LOCKMGR_FENCE_H

#include "lockmgr/node_block.h"

/* clang-format off */
#define FENCE_STATES(X)                                                        \
    X(FENCE_NEW,        "not begun")                                           \
    X(FENCE_NAMING,     "my block is to say whom I fence")                     \
    X(FENCE_LISTING,    "READ KEYS is on its way")                             \
    X(FENCE_QUORUM,     "before naming, and PREEMPT: is there any? (F27)")     \
    X(FENCE_PREEMPTING, "PREEMPT (AND ABORT) is on its way")                   \
    X(FENCE_RESETTING,  "LOGICAL UNIT RESET is on its way")                    \
    X(FENCE_CHECKING,   "READ RESERVATION is on its way")                      \
    X(FENCE_FLUSHING,   "SYNCHRONIZE CACHE is on its way")                     \
    X(FENCE_DRAINING,   "its redirected I/O ends, and is refused")             \
    X(FENCE_RECORDING,  "my block is to say that it is done")                  \
    X(FENCE_LOST,       "my own nexus must be admitted again")                 \
    X(FENCE_UNRESERVED, "the LUN must be reserved again (F12)")                \
    X(FENCE_AGENT,      "the LUN cannot: the fence agent runs")                \
    X(FENCE_STUCK,      "nor can the agent: waits for confirm-dead")           \
    X(FENCE_DONE,       "fenced")                                              \
    X(FENCE_ABANDONED,  "this fencer cannot go on; another repeats it")

/* What happens.  With [t]: an answer, only heard under the current ticket. */
#define FENCE_EVENTS(X)                                                        \
    X(FENCE_EV_START,            "begin")                                      \
    X(FENCE_EV_BLOCK_WRITTEN,    "[t] answer, after the flush")                \
    X(FENCE_EV_KEYS_READ,        "[t] answer, keys, own_key")                  \
    X(FENCE_EV_QUORUM,           "yes; also heard unasked")                    \
    X(FENCE_EV_PREEMPTED,        "[t] answer")                                 \
    X(FENCE_EV_WAS_RESET,        "[t] answer")                                 \
    X(FENCE_EV_RESERVATION_READ, "[t] answer, type")                           \
    X(FENCE_EV_FLUSHED,          "[t] answer")                                 \
    X(FENCE_EV_DRAINED,          "[t] its redirected I/O has ended")           \
    X(FENCE_EV_ADMITTED,         "my nexus is admitted, with own_key")         \
    X(FENCE_EV_RESERVED,         "the LUN is reserved again")                  \
    X(FENCE_EV_AGENT_ENDED,      "[t] yes: it is off")                         \
    X(FENCE_EV_CONFIRMED_DEAD,   "lunar confirm-dead: the operator's word")    \
    X(FENCE_EV_ABANDON,          "I am fenced, or another fences")

/* What the shell must do, in this order.  With [t]: answer under the ticket. */
#define FENCE_EFFECTS(X)                                                       \
    X(FENCE_DO_WRITE_BLOCK,      "[t] node_block_name(mine, target, fencing)") \
    X(FENCE_DO_READ_KEYS,        "[t] READ KEYS, with room for `room`")        \
    X(FENCE_DO_ASK_QUORUM,       "answer with QUORUM")                         \
    X(FENCE_DO_PREEMPT,          "[t] PREEMPT key")                            \
    X(FENCE_DO_PREEMPT_ABORT,    "[t] PREEMPT AND ABORT key")                  \
    X(FENCE_DO_RESET,            "[t] LOGICAL UNIT RESET")                     \
    X(FENCE_DO_READ_RESERVATION, "[t] READ RESERVATION")                       \
    X(FENCE_DO_FLUSH,            "[t] SYNCHRONIZE CACHE")                      \
    X(FENCE_DO_DRAIN,            "[t] end its redirected I/O; refuse it now")  \
    X(FENCE_DO_LOOK,             "my nexus must look; then ADMITTED")          \
    X(FENCE_DO_TELL_UNRESERVED,  "tell the coordinator: reservation gone")     \
    X(FENCE_DO_RUN_AGENT,        "[t] run the fence agent")                    \
    X(FENCE_DO_ALARM,            "say it loudly: waits for confirm-dead")      \
    X(FENCE_DO_TELL_DONE,        "target is fenced: release what was its")     \
    X(FENCE_DO_TELL_ABANDONED,   "target is not fenced by me")
/* clang-format on */

enum fence_state {
#define X(state, text) state,
    FENCE_STATES(X)
#undef X
        FENCE_STATE_COUNT
};
enum fence_event_kind {
#define X(event, text) event,
    FENCE_EVENTS(X)
#undef X
        FENCE_EVENT_COUNT
};
enum fence_effect_kind {
#define X(effect, text) effect,
    FENCE_EFFECTS(X)
#undef X
        FENCE_EFFECT_COUNT
};

struct fence_args {
    struct lm_target target;
    uint32_t cluster;
    enum lm_reservation type;
    bool cannot_abort; /* the target has no PREEMPT AND ABORT: known before */
};

enum {
    FENCE_CONFLICTS_MAX = 4 /* of PREEMPT, my nexus admitted anew between: then
                               it counts as failing */
};

struct fence {
    enum fence_state state;
    struct fence_args args;
    bool named;         /* my block says so, durably */
    bool reset_owed;    /* of what was fenced something may be in flight */
    bool preempted;     /* a key was preempted and aborted, by me */
    bool conflicted;    /* the last PREEMPT met a conflict */
    bool failing;       /* the LUN cannot; agent and operator are left */
    bool dead;          /* agent or operator say so */
    uint64_t key;       /* being preempted */
    uint32_t room;      /* for keys */
    uint32_t conflicts; /* of PREEMPT */
    uint32_t ticket;    /* of the question that is out */
};

struct fence_event {
    enum fence_event_kind kind;
    uint32_t ticket;
    enum lun_answer answer;
    struct lm_keys keys;
    uint64_t own_key;
    enum lm_reservation type;
    bool yes;
};

struct fence_effect {
    enum fence_effect_kind kind;
    uint32_t ticket;
    struct lm_target target;
    enum fencing_state fencing; /* WRITE_BLOCK */
    uint64_t key;               /* PREEMPT */
    uint32_t room;              /* READ_KEYS */
};

enum { FENCE_EFFECTS_MAX = 4 };
struct fence_effects {
    uint32_t count;
    struct fence_effect list[FENCE_EFFECTS_MAX];
};

void fence_init(struct fence *fence, const struct fence_args *args);
/* Advance by one event.  Never blocks, never allocates, never fails. */
void fence_step(struct fence *fence, const struct fence_event *event,
                struct fence_effects *ret_effects);

const char *fence_state_name(enum fence_state state);
const char *fence_event_name(enum fence_event_kind kind);
const char *fence_effect_name(enum fence_effect_kind kind);

#endif
