/* lockmgr/takeover.c - who coordinates a volume: the rules of takeover.h.
 * Does no I/O, knows no table of the volume and measures no time.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/takeover_private.h"

const char *takeover_state_name(enum takeover_state state)
{
    static const char *const names[] = {
#define X(s, text) #s,
        TAKEOVER_STATES(X)
#undef X
    };

    return names[state];
}

const char *takeover_event_name(enum takeover_event_kind kind)
{
    static const char *const names[] = {
#define X(event, text) #event,
        TAKEOVER_EVENTS(X)
#undef X
    };

    return names[kind];
}

const char *takeover_effect_name(enum takeover_effect_kind kind)
{
    static const char *const names[] = {
#define X(effect, text) #effect,
        TAKEOVER_EFFECTS(X)
#undef X
    };

    return names[kind];
}

void takeover_init(struct takeover *takeover, const struct takeover_args *args)
{
    *takeover = (struct takeover){
        .state = TAKEOVER_FOLLOW, .args = *args, .room = LM_KEYS_ROOM};
}

/* -- what the layers above ask (I14) --------------------------------------- */

bool takeover_may_grant(const struct takeover *takeover)
{
    return takeover->state == TAKEOVER_SERVING;
}

bool takeover_may_answer(const struct takeover *takeover)
{
    return takeover->state == TAKEOVER_SERVING;
}

bool takeover_may_cache(const struct takeover *takeover)
{
    return takeover->may_cache;
}

bool takeover_may_hear(const struct takeover *takeover, uint64_t epoch)
{
    return epoch >= takeover->closed;
}

/* -- effects --------------------------------------------------------------- */

struct takeover_effect *takeover_tell(struct takeover *t,
                                      struct takeover_effects *fx,
                                      enum takeover_effect_kind kind)
{
    struct takeover_effect *effect = &fx->list[fx->count];

    ASSERT(fx->count < TAKEOVER_EFFECTS_MAX);
    fx->count++;
    *effect = (struct takeover_effect){.kind = kind,
                                       .ticket = t->ticket,
                                       .epoch = t->epoch,
                                       .view_id = t->view.id,
                                       .room = t->room};
    return effect;
}

struct takeover_effect *takeover_ask(struct takeover *t,
                                     struct takeover_effects *fx,
                                     enum takeover_state state,
                                     enum takeover_effect_kind question)
{
    t->state = state;
    t->ticket++;
    return takeover_tell(t, fx, question);
}

void takeover_wait_in(struct takeover *t, enum takeover_state state)
{
    t->state = state;
    t->ticket++;
}

void takeover_start_timer(struct takeover *t, struct takeover_effects *fx)
{
    t->timer = true;
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        t->peer[i].timed = peer_live_run(t, i + 1).node != 0;
    takeover_tell(t, fx, TAKEOVER_DO_START_TIMER);
}

void takeover_stop_timer(struct takeover *t, struct takeover_effects *fx)
{
    if (t->timer)
        takeover_tell(t, fx, TAKEOVER_DO_STOP_TIMER);
    t->timer = false;
}

void takeover_send_fences(struct takeover *t, struct takeover_effects *fx)
{
    /* Who is on the side that stops, or loses the race (F8), must not have
     * named anybody: those who go on fence whom they find named. */
    if (!view_has_me(t) || !race_is_won(t))
        return;
    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        struct takeover_peer *p = &t->peer[i];

        if (!p->fence.run.node || p->fence_sent)
            continue;
        p->fence_sent = true;
        p->away = false; /* it may read its name from now on */
        takeover_tell(t, fx, TAKEOVER_DO_FENCE)->target = p->fence;
    }
}

void takeover_tell_fenced(struct takeover *t, struct takeover_effects *fx)
{
    for (uint32_t node = 1; node <= LM_NODES_MAX; node++) {
        struct lm_run run = peer_fenced_run(t, node);

        if (run.node && node != t->args.me.node)
            takeover_tell(t, fx, TAKEOVER_DO_TELL_FENCED)->run = run;
    }
}

void takeover_alarm(struct takeover *t, struct takeover_effects *fx,
                    const char *why)
{
    takeover_tell(t, fx, TAKEOVER_DO_ALARM)->why = why;
}

/* -- giving up, and following ---------------------------------------------- */

bool takeover_coordinates(const struct takeover *t)
{
    return t->state > TAKEOVER_ARBITER && t->state < TAKEOVER_CLOSING;
}

bool takeover_awaits_release(const struct takeover *t)
{
    return t->state == TAKEOVER_CLAIM_CHECK && t->rival.node;
}

void takeover_give_up(struct takeover *t, struct takeover_effects *fx,
                      uint32_t to)
{
    peer_of(t, t->args.me.node)->passed_view = t->view.id;
    t->resign_to = to;
    t->may_cache = false;
    t->foreign = 0;
    takeover_stop_timer(t, fx);
    takeover_ask(t, fx, TAKEOVER_CLOSING, TAKEOVER_DO_CLOSE);
}

void takeover_lun_failed(struct takeover *t, struct takeover_effects *fx,
                         enum lun_answer answer)
{
    if (answer == LUN_CONFLICT)
        takeover_tell(t, fx, TAKEOVER_DO_LOOK);
    else
        takeover_alarm(t, fx, "the LUN fails: handing over");
    takeover_give_up(t, fx, 0);
}

bool takeover_has_coordinator(const struct takeover *t)
{
    if (!t->coordinator.node)
        return false;
    return t->coordinator_view > t->view.id || peer_is_live(t, t->coordinator);
}

void takeover_fall_back(struct takeover *t)
{
    struct lm_run before = t->closed_by;

    if (takeover_has_coordinator(t) || !before.node ||
        lm_run_eq(before, t->args.me) || !peer_is_live(t, before) ||
        peer_of(t, before.node)->resigned >= t->closed)
        return;
    t->coordinator = before;
    t->announced = t->closed;
}

/* Named by the administrator: who resigned before does not pass again. */
void takeover_name_heir(struct takeover *t, uint32_t node)
{
    t->heir = node;
    if (node >= 1 && node <= LM_NODES_MAX)
        peer_of(t, node)->passed_view = 0;
}

uint32_t takeover_elected(const struct takeover *t)
{
    struct lm_view view = t->view;

    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        if (t->peer[i].passed_view >= view.id)
            view.members &= ~node_bit(i + 1);
    return takeover_elect(&view, t->args.volume, t->heir);
}

void takeover_claim(struct takeover *t, struct takeover_effects *fx)
{
    t->opened = t->served = t->unreserved = false;
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        t->peer[i].confirm_dead = false;
    takeover_ask(t, fx, TAKEOVER_CLAIM_READ, TAKEOVER_DO_READ_BLOCKS);
}

void takeover_try(struct takeover *t, struct takeover_effects *fx)
{
    if (t->state != TAKEOVER_FOLLOW && t->state != TAKEOVER_ARBITER)
        return;
    if (takeover_has_coordinator(t) || !view_has_my_path(t) ||
        takeover_elected(t) != t->args.me.node)
        takeover_wait_in(t, TAKEOVER_FOLLOW);
    else if (race_is_won(t))
        takeover_claim(t, fx);
    else
        takeover_wait_in(t, TAKEOVER_ARBITER);
}

/* -- the end --------------------------------------------------------------- */

static void follow(struct takeover *t, struct takeover_effects *fx)
{
    t->opened = t->served = false;
    takeover_wait_in(t, TAKEOVER_FOLLOW);
    takeover_try(t, fx);
}

static void on_closed(struct takeover *t, const struct takeover_event *ev,
                      struct takeover_effects *fx)
{
    (void)ev;
    if (t->claimed)
        takeover_ask(t, fx, TAKEOVER_RELEASING, TAKEOVER_DO_WRITE_RELEASE);
    else
        follow(t, fx);
}

static void on_released(struct takeover *t, const struct takeover_event *ev,
                        struct takeover_effects *fx)
{
    t->claimed = false;
    t->owes_release = ev->answer != LUN_OK;
    /* Also then: who does not hear of it waits for me for ever.  Who claims
     * next fences my key for it. */
    takeover_tell(t, fx, TAKEOVER_DO_RESIGN)->to = t->resign_to;
    takeover_name_heir(t, t->resign_to);
    if (lm_run_eq(t->coordinator, t->args.me))
        t->coordinator = (struct lm_run){0, 0};
    follow(t, fx);
}

static void on_admitted(struct takeover *t, const struct takeover_event *ev,
                        struct takeover_effects *fx)
{
    (void)ev;
    if (!t->owes_release || t->state > TAKEOVER_ARBITER)
        return;
    t->resign_to = 0;
    takeover_ask(t, fx, TAKEOVER_RELEASING, TAKEOVER_DO_WRITE_RELEASE);
}

static void on_written(struct takeover *t, const struct takeover_event *ev,
                       struct takeover_effects *fx)
{
    if (t->state == TAKEOVER_CLAIM_WRITE)
        takeover_on_claim_written(t, ev, fx);
    else if (t->state == TAKEOVER_RELEASING)
        on_released(t, ev, fx);
    else
        takeover_on_dead_written(t, ev, fx);
}

static void on_nexus_fenced(struct takeover *t, const struct takeover_event *ev,
                            struct takeover_effects *fx)
{
    (void)ev;
    takeover_stop_timer(t, fx);
    takeover_wait_in(t, TAKEOVER_FENCED);
    t->may_cache = false;
    takeover_tell(t, fx, TAKEOVER_DO_STOP);
}

static void on_abandoned(struct takeover *t, const struct takeover_event *ev,
                         struct takeover_effects *fx)
{
    if (!ev->target.foreign)
        peer_of(t, ev->target.run.node)->fence_sent = false;
    if (takeover_coordinates(t)) {
        takeover_alarm(t, fx, "a fence was abandoned: handing over");
        takeover_give_up(t, fx, 0);
    }
}

/* What was sent under those keys can land no more: whose they are hears it. */
static void on_target_fenced(struct takeover *t,
                             const struct takeover_event *ev,
                             struct takeover_effects *fx)
{
    struct lm_run run = ev->target.run;

    if (!ev->target.foreign && ev->target.turn != LM_TURN_ALL &&
        takeover_knows(t, run) && !lm_run_eq(run, t->args.me)) {
        struct takeover_effect *effect =
            takeover_tell(t, fx, TAKEOVER_DO_TELL_PATH_FENCED);

        effect->run = run;
        effect->turn = ev->target.turn;
    }
    takeover_on_fenced(t, ev, fx);
}

static void on_failed(struct takeover *t, const struct takeover_event *ev,
                      struct takeover_effects *fx)
{
    (void)ev;
    if (takeover_coordinates(t))
        takeover_give_up(t, fx, 0);
}

static void on_move(struct takeover *t, const struct takeover_event *ev,
                    struct takeover_effects *fx)
{
    if (takeover_coordinates(t) && t->state >= TAKEOVER_SERVING &&
        ev->to != t->args.me.node)
        takeover_give_up(t, fx, ev->to);
}

/* Of an earlier question, or of none. */
static bool is_stale(const struct takeover *t, const struct takeover_event *ev)
{
    /* clang-format off */
    static const struct {
        enum takeover_event_kind kind;
        enum takeover_state states[3];
    } rows[] = {
        {TAKEOVER_EV_BLOCKS_READ, {TAKEOVER_CLAIM_READ, TAKEOVER_CLAIM_CHECK}},
        {TAKEOVER_EV_BLOCK_WRITTEN,
            {TAKEOVER_CLAIM_WRITE, TAKEOVER_AWAIT_DEAD, TAKEOVER_RELEASING}},
        {TAKEOVER_EV_RESERVATION_READ, {TAKEOVER_RESERVE_READ}},
        {TAKEOVER_EV_RESERVED, {TAKEOVER_RESERVING}},
        {TAKEOVER_EV_KEYS_READ,
            {TAKEOVER_LISTING, TAKEOVER_STRANGERS, TAKEOVER_HELD_KEYS}},
        {TAKEOVER_EV_SUPER_WRITTEN, {TAKEOVER_SUPER}},
        {TAKEOVER_EV_OPENED, {TAKEOVER_OPENING}},
        {TAKEOVER_EV_CLOSED, {TAKEOVER_CLOSING}},
    };
    /* clang-format on */

    if (t->state == TAKEOVER_FENCED)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const enum takeover_state *s = rows[i].states;

        if (rows[i].kind == ev->kind)
            return ev->ticket != t->ticket || t->state == TAKEOVER_FOLLOW ||
                   (t->state != s[0] && t->state != s[1] && t->state != s[2]);
    }
    return false;
}

void takeover_step(struct takeover *takeover,
                   const struct takeover_event *event,
                   struct takeover_effects *ret_effects)
{
    static takeover_on_fn *const rows[] = {
        [TAKEOVER_EV_VIEW] = takeover_on_view,
        [TAKEOVER_EV_ARBITER_WON] = takeover_on_arbiter_won,
        [TAKEOVER_EV_ANNOUNCED] = takeover_on_announced,
        [TAKEOVER_EV_RESIGNED] = takeover_on_resigned,
        [TAKEOVER_EV_BLOCKS_READ] = takeover_on_blocks,
        [TAKEOVER_EV_BLOCK_WRITTEN] = on_written,
        [TAKEOVER_EV_RESERVATION_READ] = takeover_on_reservation,
        [TAKEOVER_EV_RESERVED] = takeover_on_reserved,
        [TAKEOVER_EV_KEYS_READ] = takeover_on_keys,
        [TAKEOVER_EV_TARGET_FENCED] = on_target_fenced,
        [TAKEOVER_EV_FENCE_ABANDONED] = on_abandoned,
        [TAKEOVER_EV_SUPER_WRITTEN] = takeover_on_super_written,
        [TAKEOVER_EV_OPENED] = takeover_on_opened,
        [TAKEOVER_EV_REPORTED] = takeover_on_reported,
        [TAKEOVER_EV_CONFIRMED] = takeover_on_confirmed,
        [TAKEOVER_EV_CLOSED] = on_closed,
        [TAKEOVER_EV_SUSPECT] = takeover_on_suspect,
        [TAKEOVER_EV_MOVE] = on_move,
        [TAKEOVER_EV_CONFIRM] = takeover_on_confirm,
        [TAKEOVER_EV_CONSENT_ASKED] = takeover_on_consent_asked,
        [TAKEOVER_EV_FENCE_ASKED] = takeover_on_fence_asked,
        [TAKEOVER_EV_ADMITTED] = on_admitted,
        [TAKEOVER_EV_UNRESERVED] = takeover_on_unreserved,
        [TAKEOVER_EV_CONFIRMED_DEAD] = takeover_on_confirmed_dead,
        [TAKEOVER_EV_FAILED] = on_failed,
        [TAKEOVER_EV_NEXUS_FENCED] = on_nexus_fenced,
    };
    static_assert(ARRAY_LEN(rows) == TAKEOVER_EVENT_COUNT, "a row each");

    ret_effects->count = 0;
    if (!is_stale(takeover, event))
        rows[event->kind](takeover, event, ret_effects);
}
