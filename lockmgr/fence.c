/* lockmgr/fence.c - one fence: one target, one LUN, one fencer.  The rules of
 * fence.h.  Does no I/O, measures no time and releases nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/fence.h"

const char *fence_state_name(enum fence_state state)
{
    static const char *const names[] = {
#define X(s, text) #s,
        FENCE_STATES(X)
#undef X
    };

    return names[state];
}

const char *fence_event_name(enum fence_event_kind kind)
{
    static const char *const names[] = {
#define X(event, text) #event,
        FENCE_EVENTS(X)
#undef X
    };

    return names[kind];
}

const char *fence_effect_name(enum fence_effect_kind kind)
{
    static const char *const names[] = {
#define X(effect, text) #effect,
        FENCE_EFFECTS(X)
#undef X
    };

    return names[kind];
}

void fence_init(struct fence *fence, const struct fence_args *args)
{
    *fence = (struct fence){.state = FENCE_NEW,
                            .args = *args,
                            .room = LM_KEYS_ROOM,
                            .reset_owed = true};
}

/* -- steps ----------------------------------------------------------------- */

static bool is_whole(const struct fence *f)
{
    return !f->args.target.foreign && f->args.target.turn == LM_TURN_ALL;
}

static bool is_over(const struct fence *f)
{
    return f->state == FENCE_DONE || f->state == FENCE_ABANDONED;
}

static struct fence_effect *tell(struct fence *f, struct fence_effects *fx,
                                 enum fence_effect_kind kind)
{
    struct fence_effect *effect = &fx->list[fx->count];

    ASSERT(fx->count < FENCE_EFFECTS_MAX);
    fx->count++;
    *effect = (struct fence_effect){.kind = kind,
                                    .ticket = f->ticket,
                                    .target = f->args.target,
                                    .key = f->key,
                                    .room = f->room};
    return effect;
}

/* Ask, and hear no answer of an earlier question any more. */
static struct fence_effect *ask(struct fence *f, struct fence_effects *fx,
                                enum fence_state state,
                                enum fence_effect_kind question)
{
    f->state = state;
    f->ticket++;
    return tell(f, fx, question);
}

static void list_keys(struct fence *f, struct fence_effects *fx)
{
    ask(f, fx, FENCE_LISTING, FENCE_DO_READ_KEYS);
}

static void reset(struct fence *f, struct fence_effects *fx)
{
    ask(f, fx, FENCE_RESETTING, FENCE_DO_RESET);
}

/* F2: said before anything is done, so that the victim can read it. */
static void name_target(struct fence *f, struct fence_effects *fx)
{
    ask(f, fx, FENCE_NAMING, FENCE_DO_WRITE_BLOCK)->fencing = FENCING_NAMED;
}

static void abandon(struct fence *f, struct fence_effects *fx)
{
    ask(f, fx, FENCE_ABANDONED, FENCE_DO_TELL_ABANDONED);
}

static void finish(struct fence *f, struct fence_effects *fx)
{
    ask(f, fx, FENCE_DONE, FENCE_DO_TELL_DONE);
}

/* My own nexus did not get through, or is not registered any more. */
static void lose(struct fence *f, struct fence_effects *fx)
{
    ask(f, fx, FENCE_LOST, FENCE_DO_LOOK);
}

/* The LUN cannot.  A stranger's key can be fenced by nothing else; a path
 * fence becomes one of the whole run. */
static void escalate(struct fence *f, struct fence_effects *fx)
{
    f->failing = true;
    if (f->args.target.foreign) {
        abandon(f, fx);
    } else if (!is_whole(f)) {
        f->args.target.turn = LM_TURN_ALL;
        name_target(f, fx);
    } else if (f->dead) {
        reset(f, fx);
    } else {
        ask(f, fx, FENCE_AGENT, FENCE_DO_RUN_AGENT);
    }
}

/* Of an answer that is not OK. */
static void bad_answer(struct fence *f, struct fence_effects *fx,
                       enum lun_answer answer)
{
    if (answer == LUN_GONE || answer == LUN_CONFLICT)
        lose(f, fx);
    else
        escalate(f, fx);
}

/* What is named is fenced, by whoever comes next: so who has no quorum names
 * nobody. */
static void go_on(struct fence *f, struct fence_effects *fx)
{
    if (!f->named && !f->args.target.foreign)
        ask(f, fx, FENCE_QUORUM, FENCE_DO_ASK_QUORUM);
    else if (f->failing)
        escalate(f, fx);
    else
        list_keys(f, fx);
}

static void on_written(struct fence *f, const struct fence_event *ev,
                       struct fence_effects *fx)
{
    if (ev->answer == LUN_GONE || ev->answer == LUN_CONFLICT) {
        lose(f, fx);
    } else if (ev->answer != LUN_OK) {
        abandon(f, fx); /* it cannot even be said */
    } else if (f->state == FENCE_RECORDING) {
        finish(f, fx);
    } else {
        f->named = true;
        go_on(f, fx);
    }
}

static void on_keys(struct fence *f, const struct fence_event *ev,
                    struct fence_effects *fx)
{
    uint64_t key = lm_keys_of(&ev->keys, f->args.cluster, &f->args.target);

    if (ev->answer != LUN_OK) {
        bad_answer(f, fx, ev->answer);
    } else if (!lm_keys_whole(&ev->keys)) {
        /* Cut short is not gone (F24). */
        if (lm_keys_grow(&ev->keys, &f->room))
            list_keys(f, fx);
        else
            escalate(f, fx);
    } else if (!lm_keys_have(&ev->keys, ev->own_key)) {
        lose(f, fx); /* then I may be the one who is fenced */
    } else if (key && f->conflicts > FENCE_CONFLICTS_MAX) {
        escalate(f, fx);
    } else if (key && key == f->key && f->conflicted) {
        lose(f, fx); /* listed, and yet a conflict: it is my nexus */
    } else if (key) {
        f->key = key;
        ask(f, fx, FENCE_QUORUM, FENCE_DO_ASK_QUORUM);
    } else if (f->reset_owed) {
        reset(f, fx);
    } else {
        ask(f, fx, FENCE_CHECKING, FENCE_DO_READ_RESERVATION);
    }
}

static void on_quorum(struct fence *f, const struct fence_event *ev,
                      struct fence_effects *fx)
{
    if (f->state != FENCE_QUORUM || !ev->yes)
        return; /* waits until there is (F27) */
    if (!f->named && !f->args.target.foreign)
        name_target(f, fx);
    else
        ask(f, fx, FENCE_PREEMPTING,
            f->args.cannot_abort ? FENCE_DO_PREEMPT : FENCE_DO_PREEMPT_ABORT);
}

static void on_preempted(struct fence *f, const struct fence_event *ev,
                         struct fence_effects *fx)
{
    bool aborted = !f->args.cannot_abort && ev->answer == LUN_OK;

    /* Only what I preempted and aborted, all of it, needs no reset. */
    f->reset_owed = !aborted || (f->preempted && f->reset_owed);
    f->preempted = true;
    f->conflicted = ev->answer == LUN_CONFLICT;
    switch (ev->answer) {
    case LUN_OK: list_keys(f, fx); break;
    case LUN_CONFLICT: /* M3: gone already, perhaps; proof of nothing */
        f->conflicts++;
        list_keys(f, fx);
        break;
    case LUN_UNSUPPORTED:
    case LUN_FAILED:
        if (f->args.cannot_abort) {
            escalate(f, fx);
        } else {
            f->args.cannot_abort = true;
            list_keys(f, fx);
        }
        break;
    case LUN_GONE: lose(f, fx); break;
    }
}

static void on_reset(struct fence *f, const struct fence_event *ev,
                     struct fence_effects *fx)
{
    if (ev->answer == LUN_GONE) {
        lose(f, fx);
    } else if (f->failing) {
        /* It is off; a LUN without reset has ended its commands with it. */
        ask(f, fx, FENCE_FLUSHING, FENCE_DO_FLUSH);
    } else if (ev->answer != LUN_OK) {
        bad_answer(f, fx, ev->answer);
    } else {
        f->reset_owed = false;
        list_keys(f, fx);
    }
}

static void on_reservation(struct fence *f, const struct fence_event *ev,
                           struct fence_effects *fx)
{
    if (ev->answer != LUN_OK) {
        bad_answer(f, fx, ev->answer);
    } else if (ev->type != f->args.type) {
        ask(f, fx, FENCE_UNRESERVED, FENCE_DO_TELL_UNRESERVED);
    } else {
        ask(f, fx, FENCE_FLUSHING, FENCE_DO_FLUSH);
    }
}

static void record(struct fence *f, struct fence_effects *fx)
{
    if (f->args.target.foreign)
        finish(f, fx);
    else
        ask(f, fx, FENCE_RECORDING, FENCE_DO_WRITE_BLOCK)->fencing =
            f->dead && is_whole(f) ? FENCING_DEAD : FENCING_DONE;
}

static void on_flushed(struct fence *f, const struct fence_event *ev,
                       struct fence_effects *fx)
{
    if (ev->answer == LUN_GONE || ev->answer == LUN_CONFLICT)
        lose(f, fx);
    else if (ev->answer == LUN_FAILED)
        abandon(f, fx); /* my LUN fails, not the victim */
    else if (is_whole(f))
        ask(f, fx, FENCE_DRAINING, FENCE_DO_DRAIN); /* F4 */
    else
        record(f, fx);
}

/* Off: what it had in flight is ended by a reset if the LUN has one. */
static void on_dead(struct fence *f, bool yes, struct fence_effects *fx)
{
    f->dead = f->dead || yes;
    if (f->state != FENCE_AGENT && f->state != FENCE_STUCK)
        return; /* noted, for when the LUN cannot */
    if (f->dead)
        reset(f, fx);
    else if (f->state == FENCE_AGENT)
        ask(f, fx, FENCE_STUCK, FENCE_DO_ALARM);
}

/* While my nexus was out, or the LUN unreserved, anything may have come in. */
static void resume(struct fence *f, struct fence_effects *fx)
{
    f->reset_owed = true;
    f->conflicted = false;
    go_on(f, fx);
}

/* Of an earlier question, or of none. */
static bool is_stale(const struct fence *f, const struct fence_event *ev)
{
    static const struct {
        enum fence_event_kind kind;
        enum fence_state state, or_state;
    } rows[] = {
        {FENCE_EV_START,            FENCE_NEW,        FENCE_NEW       },
        {FENCE_EV_BLOCK_WRITTEN,    FENCE_NAMING,     FENCE_RECORDING },
        {FENCE_EV_KEYS_READ,        FENCE_LISTING,    FENCE_LISTING   },
        {FENCE_EV_PREEMPTED,        FENCE_PREEMPTING, FENCE_PREEMPTING},
        {FENCE_EV_WAS_RESET,        FENCE_RESETTING,  FENCE_RESETTING },
        {FENCE_EV_RESERVATION_READ, FENCE_CHECKING,   FENCE_CHECKING  },
        {FENCE_EV_FLUSHED,          FENCE_FLUSHING,   FENCE_FLUSHING  },
        {FENCE_EV_DRAINED,          FENCE_DRAINING,   FENCE_DRAINING  },
        {FENCE_EV_AGENT_ENDED,      FENCE_AGENT,      FENCE_AGENT     },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].kind == ev->kind)
            return ev->ticket != f->ticket ||
                   (f->state != rows[i].state && f->state != rows[i].or_state);
    return is_over(f);
}

void fence_step(struct fence *fence, const struct fence_event *event,
                struct fence_effects *ret_effects)
{
    struct fence_effects *fx = ret_effects;

    fx->count = 0;
    if (is_stale(fence, event))
        return;
    switch (event->kind) {
    case FENCE_EV_START: go_on(fence, fx); break;
    case FENCE_EV_BLOCK_WRITTEN: on_written(fence, event, fx); break;
    case FENCE_EV_KEYS_READ: on_keys(fence, event, fx); break;
    case FENCE_EV_QUORUM: on_quorum(fence, event, fx); break;
    case FENCE_EV_PREEMPTED: on_preempted(fence, event, fx); break;
    case FENCE_EV_WAS_RESET: on_reset(fence, event, fx); break;
    case FENCE_EV_RESERVATION_READ: on_reservation(fence, event, fx); break;
    case FENCE_EV_FLUSHED: on_flushed(fence, event, fx); break;
    case FENCE_EV_DRAINED: record(fence, fx); break;
    case FENCE_EV_ADMITTED:
        if (fence->state == FENCE_LOST)
            resume(fence, fx);
        break;
    case FENCE_EV_RESERVED:
        if (fence->state == FENCE_UNRESERVED)
            resume(fence, fx);
        break;
    case FENCE_EV_AGENT_ENDED: on_dead(fence, event->yes, fx); break;
    case FENCE_EV_CONFIRMED_DEAD: on_dead(fence, true, fx); break;
    case FENCE_EV_ABANDON: abandon(fence, fx); break;
    case FENCE_EVENT_COUNT: ASSERT(false); break;
    }
}
