/* lockmgr/takeover.c - who coordinates a volume: the rules of takeover.h.
 * Does no I/O, knows no table of the volume and measures no time.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/takeover_peers.h"

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

static struct takeover_effect *tell(struct takeover *t,
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

/* Ask, and hear no answer of an earlier question any more. */
static struct takeover_effect *ask(struct takeover *t,
                                   struct takeover_effects *fx,
                                   enum takeover_state state,
                                   enum takeover_effect_kind question)
{
    t->state = state;
    t->ticket++;
    return tell(t, fx, question);
}

static void wait_in(struct takeover *t, enum takeover_state state)
{
    t->state = state;
    t->ticket++;
}

static void start_timer(struct takeover *t, struct takeover_effects *fx)
{
    t->timer = true;
    tell(t, fx, TAKEOVER_DO_START_TIMER);
}

static void stop_timer(struct takeover *t, struct takeover_effects *fx)
{
    if (t->timer)
        tell(t, fx, TAKEOVER_DO_STOP_TIMER);
    t->timer = false;
}

static void send_fences(struct takeover *t, struct takeover_effects *fx)
{
    if (!race_is_won(t))
        return; /* F8: who loses the race must not have fenced anybody */
    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        struct takeover_peer *p = &t->peer[i];

        if (!p->fence.run.node || p->fence_sent)
            continue;
        p->fence_sent = true;
        tell(t, fx, TAKEOVER_DO_FENCE)->target = p->fence;
    }
}

static void fence_foreign(struct takeover *t, struct takeover_effects *fx,
                          uint64_t key)
{
    t->foreign = key;
    tell(t, fx, TAKEOVER_DO_FENCE)->target = (struct lm_target){.foreign = key};
}

static void alarm(struct takeover *t, struct takeover_effects *fx,
                  const char *why)
{
    tell(t, fx, TAKEOVER_DO_ALARM)->why = why;
}

/* -- giving up, and following ---------------------------------------------- */

static bool coordinates(const struct takeover *t)
{
    return t->state > TAKEOVER_ARBITER && t->state < TAKEOVER_CLOSING;
}

/* Hand over to `to`, or to whom the others elect.  Not tried again in this
 * view: what made me give up would do so again. */
static void give_up(struct takeover *t, struct takeover_effects *fx,
                    uint32_t to)
{
    t->passed |= node_bit(t->args.me.node);
    t->resign_to = to;
    t->may_cache = false;
    t->foreign = 0;
    stop_timer(t, fx);
    ask(t, fx, TAKEOVER_CLOSING, TAKEOVER_DO_CLOSE);
}

/* A question about the LUN was not answered as it should. */
static void lun_failed(struct takeover *t, struct takeover_effects *fx,
                       enum lun_answer answer)
{
    if (answer == LUN_CONFLICT)
        tell(t, fx, TAKEOVER_DO_LOOK);
    else
        alarm(t, fx, "the LUN fails: handing over");
    give_up(t, fx, 0);
}

static bool coordinator_is_there(const struct takeover *t)
{
    if (!t->coordinator.node)
        return false;
    return t->coordinator_view > t->view.id || peer_is_live(t, t->coordinator);
}

static uint32_t elect(const struct takeover *t)
{
    struct lm_view view = t->view;

    view.members &= ~t->passed;
    return takeover_elect(&view, t->args.volume, t->heir);
}

static void claim(struct takeover *t, struct takeover_effects *fx)
{
    t->opened = t->served = t->unreserved = false;
    ask(t, fx, TAKEOVER_CLAIM_READ, TAKEOVER_DO_READ_BLOCKS);
}

static void try_to_take_over(struct takeover *t, struct takeover_effects *fx)
{
    if (t->state != TAKEOVER_FOLLOW && t->state != TAKEOVER_ARBITER)
        return;
    if (coordinator_is_there(t) || !view_has_my_path(t) ||
        elect(t) != t->args.me.node)
        wait_in(t, TAKEOVER_FOLLOW);
    else if (race_is_won(t))
        claim(t, fx);
    else
        wait_in(t, TAKEOVER_ARBITER);
}

/* -- claiming (F10) -------------------------------------------------------- */

static void on_claim_read(struct takeover *t, const struct takeover_event *ev,
                          struct takeover_effects *fx)
{
    t->epoch = max_u64(node_blocks_epoch(ev->blocks), ev->super_epoch) + 1;
    t->claimed = true; /* from now on it may be there */
    ask(t, fx, TAKEOVER_CLAIM_WRITE, TAKEOVER_DO_WRITE_CLAIM);
}

static void on_claim_written(struct takeover *t,
                             const struct takeover_event *ev,
                             struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK) {
        lun_failed(t, fx, ev->answer);
        return;
    }
    t->announced = t->epoch;
    t->heir = 0;
    t->coordinator = t->args.me;
    t->coordinator_view = t->view.id;
    tell(t, fx, TAKEOVER_DO_ANNOUNCE);
    ask(t, fx, TAKEOVER_CLAIM_CHECK, TAKEOVER_DO_READ_BLOCKS);
}

/* Epochs are distinct: mine is only if nobody else ever wrote it, or more. */
enum claim_verdict { CLAIM_STANDS, CLAIM_ANEW, CLAIM_YIELDS };

static enum claim_verdict judge_claim(const struct takeover *t,
                                      const struct takeover_event *ev)
{
    enum claim_verdict verdict =
        ev->super_epoch >= t->epoch ? CLAIM_ANEW : CLAIM_STANDS;

    for (uint32_t node = 1; node <= LM_NODES_MAX; node++) {
        const struct node_block *b = &ev->blocks->node[node - 1];
        struct lm_run run = {node, b->incarnation};

        if (node == t->args.me.node || b->epoch < t->epoch)
            continue;
        verdict = CLAIM_ANEW;
        if (b->claim == CLAIM_HELD && peer_is_live(t, run) &&
            (b->epoch > t->epoch || node < t->args.me.node))
            return CLAIM_YIELDS;
    }
    return verdict;
}

static void on_claim_checked(struct takeover *t,
                             const struct takeover_event *ev,
                             struct takeover_effects *fx)
{
    switch (judge_claim(t, ev)) {
    case CLAIM_YIELDS: give_up(t, fx, 0); break;
    case CLAIM_ANEW: claim(t, fx); break;
    case CLAIM_STANDS:
        peers_take_blocks(t, ev->blocks);
        ask(t, fx, TAKEOVER_RESERVE_READ, TAKEOVER_DO_READ_RESERVATION);
        break;
    }
}

static void on_blocks(struct takeover *t, const struct takeover_event *ev,
                      struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK)
        lun_failed(t, fx, ev->answer);
    else if (t->state == TAKEOVER_CLAIM_READ)
        on_claim_read(t, ev, fx);
    else
        on_claim_checked(t, ev, fx);
}

/* -- steps that several states lead to ------------------------------------- */

/* The missing of this view are fenced here; on the arbiter that is the race. */
static void win_race(struct takeover *t, struct takeover_effects *fx)
{
    if (!t->view.arbiter || t->won_view >= t->left_view)
        return;
    t->won_view = t->view.id;
    tell(t, fx, TAKEOVER_DO_TELL_ARBITER);
}

static void serve(struct takeover *t, struct takeover_effects *fx)
{
    win_race(t, fx);
    stop_timer(t, fx);
    wait_in(t, TAKEOVER_SERVING);
    t->served = t->may_cache = true;
    tell(t, fx, TAKEOVER_DO_SERVE);
    tell(t, fx, TAKEOVER_DO_CONFIRM);
}

static void ask_reports(struct takeover *t, struct takeover_effects *fx)
{
    wait_in(t, TAKEOVER_REPORTING);
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        t->peer[i].reported = false;
    t->closed = t->epoch;
    tell(t, fx, TAKEOVER_DO_ANNOUNCE)->opened = true;
    start_timer(t, fx);
}

static void ask_confirmation(struct takeover *t, struct takeover_effects *fx)
{
    wait_in(t, TAKEOVER_HELD_CONFIRM);
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        t->peer[i].confirmed = false;
    tell(t, fx, TAKEOVER_DO_CONFIRM);
    start_timer(t, fx);
}

/* Go on where only other nodes' doings were awaited. */
static void advance(struct takeover *t, struct takeover_effects *fx)
{
    bool owing = peer_owing(t, 1).node != 0;

    if (!view_has_my_path(t) || !race_is_won(t) || peers_are_condemned(t) ||
        t->foreign)
        return;
    if (t->state == TAKEOVER_FENCING) {
        win_race(t, fx);
        ask(t, fx, TAKEOVER_SUPER, TAKEOVER_DO_WRITE_SUPER);
    } else if (t->state == TAKEOVER_REPORTING && !owing) {
        win_race(t, fx);
        stop_timer(t, fx);
        ask(t, fx, TAKEOVER_STRANGERS, TAKEOVER_DO_READ_KEYS);
    } else if (t->state == TAKEOVER_HELD) {
        win_race(t, fx);
        ask(t, fx, TAKEOVER_HELD_KEYS, TAKEOVER_DO_READ_KEYS);
    } else if (t->state == TAKEOVER_HELD_CONFIRM && !owing) {
        serve(t, fx);
    }
}

/* I14: nothing is granted or answered from memory until all is sure again. */
static void hold(struct takeover *t, struct takeover_effects *fx)
{
    if (t->state == TAKEOVER_SERVING)
        tell(t, fx, TAKEOVER_DO_HOLD);
    stop_timer(t, fx);
    t->may_cache = false;
    wait_in(t, TAKEOVER_HELD);
    send_fences(t, fx);
    advance(t, fx);
}

/* -- the reservation (F12) ------------------------------------------------- */

static void after_reservation(struct takeover *t, struct takeover_effects *fx)
{
    struct lm_run undead = peer_undead(t);

    if (t->unreserved && undead.node) {
        wait_in(t, TAKEOVER_AWAIT_DEAD);
        tell(t, fx, TAKEOVER_DO_ALARM)->run = undead;
        fx->list[fx->count - 1].why =
            "the LUN was not reserved for a while: is this run off?";
        return;
    }
    if (t->unreserved)
        tell(t, fx, TAKEOVER_DO_TELL_RESERVED);
    t->unreserved = false;
    if (t->served)
        hold(t, fx);
    else if (t->opened)
        ask_reports(t, fx);
    else
        ask(t, fx, TAKEOVER_LISTING, TAKEOVER_DO_READ_KEYS);
}

static void on_reservation(struct takeover *t, const struct takeover_event *ev,
                           struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK) {
        lun_failed(t, fx, ev->answer);
    } else if (ev->type == t->args.type) {
        after_reservation(t, fx);
    } else if (ev->type == LM_RESERVATION_NONE) {
        t->unreserved = true;
        ask(t, fx, TAKEOVER_RESERVING, TAKEOVER_DO_RESERVE);
    } else if (ev->key) {
        fence_foreign(t, fx, ev->key); /* which reserves for us */
    } else {
        lun_failed(t, fx, LUN_FAILED);
    }
}

static void on_reserved(struct takeover *t, const struct takeover_event *ev,
                        struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK)
        lun_failed(t, fx, ev->answer);
    else
        after_reservation(t, fx);
}

static void on_unreserved(struct takeover *t, const struct takeover_event *ev,
                          struct takeover_effects *fx)
{
    (void)ev;
    if (t->state <= TAKEOVER_AWAIT_DEAD || t->state >= TAKEOVER_CLOSING)
        return; /* looked at on the way */
    if (t->state == TAKEOVER_SUPER || t->state == TAKEOVER_OPENING) {
        give_up(t, fx, 0);
        return;
    }
    if (t->state == TAKEOVER_SERVING)
        tell(t, fx, TAKEOVER_DO_HOLD);
    stop_timer(t, fx);
    t->may_cache = false;
    ask(t, fx, TAKEOVER_RESERVE_READ, TAKEOVER_DO_READ_RESERVATION);
}

/* The operator's word, one after the other into my block.  False: none is to
 * be written. */
static bool write_dead(struct takeover *t, struct takeover_effects *fx)
{
    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        struct takeover_peer *p = &t->peer[i];

        if (!p->confirm_dead)
            continue;
        tell(t, fx, TAKEOVER_DO_WRITE_DEAD)->target =
            (struct lm_target){.run = p->recorded.run, .turn = LM_TURN_ALL};
        return true;
    }
    return false;
}

static void on_confirmed_dead(struct takeover *t,
                              const struct takeover_event *ev,
                              struct takeover_effects *fx)
{
    bool writing = false;

    if (t->state != TAKEOVER_AWAIT_DEAD || ev->run.node < 1 ||
        ev->run.node > LM_NODES_MAX)
        return;
    if (!lm_run_eq(peer_of(t, ev->run.node)->recorded.run, ev->run))
        return;
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        writing = writing || t->peer[i].confirm_dead;
    peer_of(t, ev->run.node)->confirm_dead = true;
    if (!writing)
        (void)write_dead(t, fx);
}

static void on_dead_written(struct takeover *t, const struct takeover_event *ev,
                            struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK) {
        lun_failed(t, fx, ev->answer);
        return;
    }
    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        struct takeover_peer *p = &t->peer[i];

        if (!p->confirm_dead)
            continue;
        p->confirm_dead = false;
        p->recorded.state = FENCING_DEAD;
        break;
    }
    t->ticket++;
    if (!write_dead(t, fx))
        after_reservation(t, fx);
}

/* -- keys ------------------------------------------------------------------ */

static void after_keys(struct takeover *t, struct takeover_effects *fx,
                       uint64_t foreign)
{
    if (t->state == TAKEOVER_HELD_KEYS) {
        ask_confirmation(t, fx);
        advance(t, fx);
    } else if (t->state == TAKEOVER_LISTING) {
        wait_in(t, TAKEOVER_FENCING);
        send_fences(t, fx);
        advance(t, fx);
    } else if (peers_are_condemned(t)) {
        send_fences(t, fx);
    } else if (foreign) {
        fence_foreign(t, fx, foreign);
    } else {
        serve(t, fx);
    }
}

static void on_keys(struct takeover *t, const struct takeover_event *ev,
                    struct takeover_effects *fx)
{
    uint64_t foreign = 0;

    if (ev->answer != LUN_OK) {
        lun_failed(t, fx, ev->answer);
    } else if (!lm_keys_whole(&ev->keys)) {
        if (lm_keys_grow(&ev->keys, &t->room)) /* F24 */
            ask(t, fx, t->state, TAKEOVER_DO_READ_KEYS);
        else
            lun_failed(t, fx, LUN_FAILED);
    } else if (!lm_keys_have(&ev->keys, ev->key)) {
        lun_failed(t, fx, LUN_CONFLICT); /* am I the one who is fenced? */
    } else {
        if (t->state != TAKEOVER_HELD_KEYS)
            foreign = peers_take_keys(t, &ev->keys, ev->key,
                                      t->state == TAKEOVER_STRANGERS);
        after_keys(t, fx, foreign);
    }
}

static void on_fenced(struct takeover *t, const struct takeover_event *ev,
                      struct takeover_effects *fx)
{
    if (ev->target.foreign && ev->target.foreign == t->foreign)
        t->foreign = 0;
    else if (!ev->target.foreign)
        peer_fenced(t, &ev->target);
    else
        return;
    if (t->state == TAKEOVER_RESERVE_READ && ev->target.foreign)
        ask(t, fx, TAKEOVER_RESERVE_READ, TAKEOVER_DO_READ_RESERVATION);
    else if (t->state == TAKEOVER_STRANGERS && !peers_are_condemned(t))
        ask(t, fx, TAKEOVER_STRANGERS, TAKEOVER_DO_READ_KEYS);
    else
        advance(t, fx);
}

/* -- the other nodes ------------------------------------------------------- */

/* A run that is new: it owes a report, too, though it has nothing yet. */
static void greet_joiners(struct takeover *t, struct takeover_effects *fx)
{
    for (struct lm_run run = peer_owing(t, 1); run.node;
         run = peer_owing(t, run.node + 1)) {
        struct takeover_effect *effect = tell(t, fx, TAKEOVER_DO_ANNOUNCE);

        effect->run = run;
        effect->opened = true;
    }
}

static void view_while_serving(struct takeover *t, struct takeover_effects *fx,
                               bool left)
{
    if (view_has_me(t) && !view_has_my_path(t))
        give_up(t, fx, 0); /* to one that has a path */
    else if (left || !view_has_me(t) || t->state != TAKEOVER_SERVING)
        hold(t, fx);
    else
        tell(t, fx, TAKEOVER_DO_CONFIRM);
    if (coordinates(t))
        greet_joiners(t, fx);
}

static void view_while_taking_over(struct takeover *t,
                                   struct takeover_effects *fx)
{
    if (!view_has_my_path(t)) {
        give_up(t, fx, 0);
        return;
    }
    if (t->state == TAKEOVER_CLAIM_READ && elect(t) != t->args.me.node) {
        wait_in(t, TAKEOVER_FOLLOW); /* nothing is written yet */
        return;
    }
    if (t->state >= TAKEOVER_FENCING)
        send_fences(t, fx);
    if (t->state == TAKEOVER_STRANGERS && peer_owing(t, 1).node)
        ask_reports(t, fx); /* else its key would be a stranger's */
    else if (t->state == TAKEOVER_REPORTING)
        greet_joiners(t, fx);
    advance(t, fx);
}

/* The coordinator was sure of itself in a view not older than my last doubt. */
static void hear_confirm(struct takeover *t, struct takeover_effects *fx)
{
    struct takeover_effect *effect;

    if (t->confirm_epoch != t->closed || t->confirm_view > t->view.id ||
        t->confirm_view < t->unsure_view || !view_has_me(t) || coordinates(t) ||
        !coordinator_is_there(t))
        return;
    t->may_cache = true;
    effect = tell(t, fx, TAKEOVER_DO_ANSWER_CONFIRM);
    effect->run = t->coordinator;
    effect->epoch = t->closed;
    effect->view_id = t->confirm_view;
}

static void on_confirm(struct takeover *t, const struct takeover_event *ev,
                       struct takeover_effects *fx)
{
    if (!lm_run_eq(ev->run, t->coordinator))
        return;
    t->confirm_epoch = ev->epoch;
    t->confirm_view = ev->view_id;
    hear_confirm(t, fx);
}

static void on_view(struct takeover *t, const struct takeover_event *ev,
                    struct takeover_effects *fx)
{
    bool left;

    if (ev->view->id <= t->view.id)
        return;
    left = peers_take_view(t, ev->view);
    t->passed = 0;
    if (left)
        t->left_view = t->view.id;
    if (left || !view_has_me(t)) {
        t->unsure_view = t->view.id;
        t->may_cache = false; /* I14, until the coordinator confirms */
    }
    if (!coordinates(t)) {
        try_to_take_over(t, fx);
        hear_confirm(t, fx);
    } else if (t->state >= TAKEOVER_SERVING) {
        view_while_serving(t, fx, left);
    } else {
        view_while_taking_over(t, fx);
    }
}

static void on_arbiter_won(struct takeover *t, const struct takeover_event *ev,
                           struct takeover_effects *fx)
{
    t->won_view = max_u64(t->won_view, ev->view_id);
    try_to_take_over(t, fx);
    if (coordinates(t) && t->state >= TAKEOVER_FENCING) {
        send_fences(t, fx);
        advance(t, fx);
    }
}

/* F5: a report closes the epoch: nothing earlier is heard any more. */
static void report(struct takeover *t, struct takeover_effects *fx)
{
    struct takeover_effect *effect = tell(t, fx, TAKEOVER_DO_REPORT);

    effect->run = t->coordinator;
    effect->epoch = t->closed;
}

static bool may_coordinate(const struct takeover *t, struct lm_run run)
{
    const struct lm_target *fence;

    if (run.node < 1 || run.node > LM_NODES_MAX || lm_run_eq(run, t->args.me))
        return false;
    fence = &t->peer[run.node - 1].fence;
    return !lm_target_covers(fence, run, LM_TURN_ALL);
}

static void on_announced(struct takeover *t, const struct takeover_event *ev,
                         struct takeover_effects *fx)
{
    bool claims = coordinates(t) && t->claimed;

    if (!may_coordinate(t, ev->run) || ev->epoch < t->announced)
        return;
    if (claims && ev->epoch <= t->epoch)
        return; /* lower: it loses.  Equal: the blocks tell */
    t->announced = ev->epoch;
    t->coordinator = ev->run;
    t->coordinator_view = ev->view_id;
    t->heir = 0;
    t->may_cache = false;
    if (claims)
        give_up(t, fx, 0);
    else if (t->state == TAKEOVER_CLAIM_READ)
        wait_in(t, TAKEOVER_FOLLOW); /* nothing is written yet */
    else
        try_to_take_over(t, fx);
    if (ev->opened) {
        t->closed = ev->epoch;
        report(t, fx);
    }
}

static void on_resigned(struct takeover *t, const struct takeover_event *ev,
                        struct takeover_effects *fx)
{
    if (!lm_run_eq(ev->run, t->coordinator))
        return;
    t->coordinator = (struct lm_run){0, 0};
    t->may_cache = false;
    t->passed |= node_bit(ev->run.node);
    t->heir = ev->to;
    try_to_take_over(t, fx);
}

static void on_reported(struct takeover *t, const struct takeover_event *ev,
                        struct takeover_effects *fx)
{
    struct takeover_effect *effect;

    if (ev->epoch != t->epoch || !takeover_knows(t, ev->run) || !t->opened ||
        !coordinates(t))
        return;
    peer_of(t, ev->run.node)->reported = true;
    peer_of(t, ev->run.node)->key = ev->key;
    if (t->state == TAKEOVER_SERVING || t->state == TAKEOVER_HELD_CONFIRM) {
        effect = tell(t, fx, TAKEOVER_DO_CONFIRM);
        effect->run = ev->run;
    } else {
        advance(t, fx);
    }
}

static void on_confirmed(struct takeover *t, const struct takeover_event *ev,
                         struct takeover_effects *fx)
{
    if (t->state != TAKEOVER_HELD_CONFIRM || ev->epoch != t->epoch ||
        ev->view_id != t->view.id || !takeover_knows(t, ev->run))
        return;
    peer_of(t, ev->run.node)->confirmed = true;
    advance(t, fx);
}

/* F9: time may only start a fence: membership takes the accused out of the
 * view, and then it is fenced. */
static void on_suspect(struct takeover *t, const struct takeover_event *ev,
                       struct takeover_effects *fx)
{
    (void)ev;
    if (!t->timer)
        return;
    for (struct lm_run run = peer_owing(t, 1); run.node;
         run = peer_owing(t, run.node + 1))
        tell(t, fx, TAKEOVER_DO_ACCUSE)->run = run;
    start_timer(t, fx);
}

/* A path fence took the key, or the target forgot it.  Who follows asks the
 * coordinator; where there is none, and for the coordinator, the node blocks
 * decide alone. */
static void on_consent_asked(struct takeover *t,
                             const struct takeover_event *ev,
                             struct takeover_effects *fx)
{
    bool mine = lm_run_eq(ev->run, t->args.me);
    struct takeover_effect *effect;
    struct takeover_peer *p;
    uint32_t turn = ev->turn;

    if (mine ? !coordinates(t) && coordinator_is_there(t)
             : t->state != TAKEOVER_SERVING || !takeover_knows(t, ev->run))
        return;
    p = peer_of(t, ev->run.node);
    if (!mine && lm_target_covers(&p->fence, ev->run, turn))
        return; /* first the fence of its keys is ended */
    if (p->recorded.run.incarnation == ev->run.incarnation &&
        p->recorded.run.node && p->recorded.turn > turn)
        turn = p->recorded.turn;
    if (turn >= LM_TURN_MAX)
        return;
    effect = tell(t, fx, TAKEOVER_DO_CONSENT);
    effect->run = ev->run;
    effect->turn = turn + 1;
}

/* -- the end --------------------------------------------------------------- */

static void follow(struct takeover *t, struct takeover_effects *fx)
{
    t->opened = t->served = false;
    wait_in(t, TAKEOVER_FOLLOW);
    try_to_take_over(t, fx);
}

static void on_closed(struct takeover *t, const struct takeover_event *ev,
                      struct takeover_effects *fx)
{
    (void)ev;
    if (t->claimed)
        ask(t, fx, TAKEOVER_RELEASING, TAKEOVER_DO_WRITE_RELEASE);
    else
        follow(t, fx);
}

static void on_released(struct takeover *t, const struct takeover_event *ev,
                        struct takeover_effects *fx)
{
    if (ev->answer == LUN_OK) {
        t->claimed = false;
        tell(t, fx, TAKEOVER_DO_RESIGN)->to = t->resign_to;
        t->heir = t->resign_to;
    } else {
        alarm(t, fx, "the claim is not released: I shall be fenced");
    }
    if (lm_run_eq(t->coordinator, t->args.me))
        t->coordinator = (struct lm_run){0, 0};
    follow(t, fx);
}

static void on_written(struct takeover *t, const struct takeover_event *ev,
                       struct takeover_effects *fx)
{
    if (t->state == TAKEOVER_CLAIM_WRITE)
        on_claim_written(t, ev, fx);
    else if (t->state == TAKEOVER_RELEASING)
        on_released(t, ev, fx);
    else
        on_dead_written(t, ev, fx);
}

static void on_super_written(struct takeover *t,
                             const struct takeover_event *ev,
                             struct takeover_effects *fx)
{
    if (ev->answer == LUN_OK)
        ask(t, fx, TAKEOVER_OPENING, TAKEOVER_DO_OPEN);
    else
        lun_failed(t, fx, ev->answer);
}

static void on_opened(struct takeover *t, const struct takeover_event *ev,
                      struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK) {
        lun_failed(t, fx, ev->answer);
        return;
    }
    t->opened = true;
    ask_reports(t, fx);
    advance(t, fx);
}

static void on_nexus_fenced(struct takeover *t, const struct takeover_event *ev,
                            struct takeover_effects *fx)
{
    (void)ev;
    stop_timer(t, fx);
    wait_in(t, TAKEOVER_FENCED);
    t->may_cache = false;
    tell(t, fx, TAKEOVER_DO_STOP);
}

static void on_abandoned(struct takeover *t, const struct takeover_event *ev,
                         struct takeover_effects *fx)
{
    if (!ev->target.foreign)
        peer_of(t, ev->target.run.node)->fence_sent = false;
    if (coordinates(t)) {
        alarm(t, fx, "a fence was abandoned: handing over");
        give_up(t, fx, 0);
    }
}

static void on_failed(struct takeover *t, const struct takeover_event *ev,
                      struct takeover_effects *fx)
{
    (void)ev;
    if (coordinates(t))
        give_up(t, fx, 0);
}

static void on_move(struct takeover *t, const struct takeover_event *ev,
                    struct takeover_effects *fx)
{
    if (coordinates(t) && t->state >= TAKEOVER_SERVING &&
        ev->to != t->args.me.node)
        give_up(t, fx, ev->to);
}

/* Of an earlier question, or of none. */
static bool is_stale(const struct takeover *t, const struct takeover_event *ev)
{
    static const struct {
        enum takeover_event_kind kind;
        enum takeover_state states[3];
    } rows[] = {
        {TAKEOVER_EV_BLOCKS_READ,      {TAKEOVER_CLAIM_READ, TAKEOVER_CLAIM_CHECK}},
        {TAKEOVER_EV_BLOCK_WRITTEN,
         {TAKEOVER_CLAIM_WRITE, TAKEOVER_AWAIT_DEAD, TAKEOVER_RELEASING}          },
        {TAKEOVER_EV_RESERVATION_READ, {TAKEOVER_RESERVE_READ}                    },
        {TAKEOVER_EV_RESERVED,         {TAKEOVER_RESERVING}                       },
        {TAKEOVER_EV_KEYS_READ,
         {TAKEOVER_LISTING, TAKEOVER_STRANGERS, TAKEOVER_HELD_KEYS}               },
        {TAKEOVER_EV_SUPER_WRITTEN,    {TAKEOVER_SUPER}                           },
        {TAKEOVER_EV_OPENED,           {TAKEOVER_OPENING}                         },
        {TAKEOVER_EV_CLOSED,           {TAKEOVER_CLOSING}                         },
    };

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
    static void (*const rows[])(struct takeover *,
                                const struct takeover_event *,
                                struct takeover_effects *) = {
        [TAKEOVER_EV_VIEW] = on_view,
        [TAKEOVER_EV_ARBITER_WON] = on_arbiter_won,
        [TAKEOVER_EV_ANNOUNCED] = on_announced,
        [TAKEOVER_EV_RESIGNED] = on_resigned,
        [TAKEOVER_EV_BLOCKS_READ] = on_blocks,
        [TAKEOVER_EV_BLOCK_WRITTEN] = on_written,
        [TAKEOVER_EV_RESERVATION_READ] = on_reservation,
        [TAKEOVER_EV_RESERVED] = on_reserved,
        [TAKEOVER_EV_KEYS_READ] = on_keys,
        [TAKEOVER_EV_TARGET_FENCED] = on_fenced,
        [TAKEOVER_EV_FENCE_ABANDONED] = on_abandoned,
        [TAKEOVER_EV_SUPER_WRITTEN] = on_super_written,
        [TAKEOVER_EV_OPENED] = on_opened,
        [TAKEOVER_EV_REPORTED] = on_reported,
        [TAKEOVER_EV_CONFIRMED] = on_confirmed,
        [TAKEOVER_EV_CLOSED] = on_closed,
        [TAKEOVER_EV_SUSPECT] = on_suspect,
        [TAKEOVER_EV_MOVE] = on_move,
        [TAKEOVER_EV_CONFIRM] = on_confirm,
        [TAKEOVER_EV_CONSENT_ASKED] = on_consent_asked,
        [TAKEOVER_EV_UNRESERVED] = on_unreserved,
        [TAKEOVER_EV_CONFIRMED_DEAD] = on_confirmed_dead,
        [TAKEOVER_EV_FAILED] = on_failed,
        [TAKEOVER_EV_NEXUS_FENCED] = on_nexus_fenced,
    };
    static_assert(ARRAY_LEN(rows) == TAKEOVER_EVENT_COUNT, "a row each");

    ret_effects->count = 0;
    if (!is_stale(takeover, event))
        rows[event->kind](takeover, event, ret_effects);
}
