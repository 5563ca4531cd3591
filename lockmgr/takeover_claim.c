/* lockmgr/takeover_claim.c - from the claim of an epoch to serving under it:
 * what follows from what the LUN answers.  Hears no other node.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/takeover_private.h"

/* -- claiming (F10) -------------------------------------------------------- */

/* Who holds a claim, lives, is not fenced by anybody, and has not resigned it,
 * coordinates as long as its block says so.  node 0: nobody but me, perhaps. */
static struct lm_run other_claimant(const struct takeover *t,
                                    const struct node_blocks *blocks)
{
    for (uint32_t node = 1; node <= LM_NODES_MAX; node++) {
        const struct node_block *b = &blocks->node[node - 1];
        struct lm_run run = {node, b->incarnation};

        if (node != t->args.me.node && b->claim == CLAIM_HELD &&
            b->epoch > t->peer[node - 1].resigned && peer_is_live(t, run) &&
            b->incarnation > t->fenced.incarnation[node - 1])
            return run;
    }
    return (struct lm_run){0, 0};
}

static void await_word(struct takeover *t, struct takeover_effects *fx,
                       struct lm_run run)
{
    takeover_wait_in(t, TAKEOVER_FOLLOW);
    if (t->overdue)
        takeover_tell(t, fx, TAKEOVER_DO_ACCUSE)->run = run;
    t->overdue = false;
    if (!t->timer)
        takeover_start_timer(t, fx);
}

/* Where half of the votes are quorum: who was never in a view of mine, may be
 * at work on the LUN, and is not fenced.  node 0: nobody. */
static struct lm_run unmet_run(const struct takeover *t,
                               const struct node_blocks *blocks)
{
    for (uint32_t node = 1; t->view.tie && node <= LM_NODES_MAX; node++) {
        const struct node_block *b = &blocks->node[node - 1];

        if (node != t->args.me.node && b->node &&
            (b->claim == CLAIM_HELD || b->reservation_key) &&
            b->incarnation > t->peer[node - 1].met &&
            b->incarnation > t->fenced.incarnation[node - 1])
            return (struct lm_run){node, b->incarnation};
    }
    return (struct lm_run){0, 0};
}

static void await_operator(struct takeover *t, struct takeover_effects *fx,
                           struct lm_run run)
{
    takeover_wait_in(t, TAKEOVER_FOLLOW);
    t->unmet = run;
    if (t->overdue) { /* they may be about to meet */
        takeover_tell(t, fx, TAKEOVER_DO_ALARM)->run = run;
        fx->list[fx->count - 1].why =
            "the LUN is in use by a run that this one never met: is it off?";
    }
    t->overdue = false;
    if (!t->timer)
        takeover_start_timer(t, fx);
}

static void on_claim_read(struct takeover *t, const struct takeover_event *ev,
                          struct takeover_effects *fx)
{
    struct lm_run other = other_claimant(t, ev->blocks);
    struct lm_run unmet = unmet_run(t, ev->blocks);

    if (unmet.node && !t->claimed) {
        await_operator(t, fx, unmet);
        return;
    }
    t->unmet = (struct lm_run){0, 0};

    if (other.node && !t->claimed) {
        await_word(t, fx, other);
        return;
    }
    takeover_stop_timer(t, fx);
    t->overdue = false;
    t->epoch = max_u64(node_blocks_epoch(ev->blocks), ev->super_epoch) + 1;
    t->claimed = true; /* from now on it may be there */
    takeover_ask(t, fx, TAKEOVER_CLAIM_WRITE, TAKEOVER_DO_WRITE_CLAIM);
}

void takeover_on_claim_written(struct takeover *t,
                               const struct takeover_event *ev,
                               struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK) {
        takeover_lun_failed(t, fx, ev->answer);
        return;
    }
    t->announced = t->epoch;
    t->heir = 0;
    t->coordinator = t->args.me;
    t->coordinator_view = t->view.id;
    takeover_tell(t, fx, TAKEOVER_DO_ANNOUNCE);
    takeover_check_again(t, fx);
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

void takeover_check_again(struct takeover *t, struct takeover_effects *fx)
{
    t->rival = (struct lm_run){0, 0};
    takeover_ask(t, fx, TAKEOVER_CLAIM_CHECK, TAKEOVER_DO_READ_BLOCKS);
}

/* It lives and has heard of a higher epoch, or will: it gives up. */
static void await_release(struct takeover *t, struct takeover_effects *fx,
                          struct lm_run rival)
{
    takeover_wait_in(t, TAKEOVER_CLAIM_CHECK);
    t->rival = rival;
    if (!t->timer)
        takeover_start_timer(t, fx);
}

static void go_on_checked(struct takeover *t, const struct takeover_event *ev,
                          struct takeover_effects *fx)
{
    takeover_stop_timer(t, fx);
    peers_take_blocks(t, ev->blocks);
    takeover_tell_fenced(t, fx);
    takeover_ask(t, fx, TAKEOVER_RESERVE_READ, TAKEOVER_DO_READ_RESERVATION);
}

static void on_claim_checked(struct takeover *t,
                             const struct takeover_event *ev,
                             struct takeover_effects *fx, bool is_new)
{
    struct lm_run rival = other_claimant(t, ev->blocks);

    switch (judge_claim(t, ev)) {
    case CLAIM_YIELDS: takeover_give_up(t, fx, 0); break;
    case CLAIM_ANEW: takeover_claim(t, fx); break;
    case CLAIM_STANDS:
        if (is_new)
            takeover_check_again(t, fx);
        else if (rival.node)
            await_release(t, fx, rival);
        else
            go_on_checked(t, ev, fx);
        break;
    }
}

void takeover_on_blocks(struct takeover *t, const struct takeover_event *ev,
                        struct takeover_effects *fx)
{
    bool is_new;

    if (ev->answer != LUN_OK) {
        takeover_lun_failed(t, fx, ev->answer);
        return;
    }
    is_new = node_blocks_learn(ev->blocks, &t->fenced);
    if (t->state == TAKEOVER_CLAIM_READ)
        on_claim_read(t, ev, fx);
    else
        on_claim_checked(t, ev, fx, is_new);
}

/* -- steps that several states lead to ------------------------------------- */

static void after_reservation(struct takeover *t, struct takeover_effects *fx);

static bool is_writing_dead(const struct takeover *t)
{
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        if (t->peer[i].confirm_dead)
            return true;
    return false;
}

/* The missing of this view are fenced here; on the arbiter that is the race. */
static void win_race(struct takeover *t, struct takeover_effects *fx,
                     uint64_t up_to)
{
    if (!t->view.arbiter || t->won_view >= up_to)
        return;
    t->won_view = t->view.id;
    takeover_tell(t, fx, TAKEOVER_DO_TELL_ARBITER);
}

static void serve(struct takeover *t, struct takeover_effects *fx)
{
    /* Others may have seen somebody leave before I came. */
    win_race(t, fx, t->view.id);
    takeover_stop_timer(t, fx);
    takeover_wait_in(t, TAKEOVER_SERVING);
    t->served = t->may_cache = true;
    takeover_tell(t, fx, TAKEOVER_DO_SERVE);
    takeover_tell(t, fx, TAKEOVER_DO_CONFIRM);
}

void takeover_ask_reports(struct takeover *t, struct takeover_effects *fx)
{
    takeover_wait_in(t, TAKEOVER_REPORTING);
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        t->peer[i].reported = false;
    t->closed = t->epoch;
    t->closed_by = t->args.me;
    takeover_tell(t, fx, TAKEOVER_DO_ANNOUNCE)->opened = true;
    takeover_start_timer(t, fx);
}

static void ask_confirmation(struct takeover *t, struct takeover_effects *fx)
{
    takeover_wait_in(t, TAKEOVER_HELD_CONFIRM);
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        t->peer[i].confirmed = false;
    takeover_tell(t, fx, TAKEOVER_DO_CONFIRM);
    takeover_start_timer(t, fx);
}

void takeover_advance(struct takeover *t, struct takeover_effects *fx)
{
    bool owing = peer_owing(t, 1).node != 0;

    if (t->state == TAKEOVER_AWAIT_DEAD) {
        if (!peer_undead(t).node && !is_writing_dead(t))
            after_reservation(t, fx); /* later runs of theirs are here */
        return;
    }
    if (!view_has_my_path(t) || !race_is_won(t) || peers_are_condemned(t) ||
        t->foreign)
        return;
    if (t->state == TAKEOVER_FENCING) {
        win_race(t, fx, t->left_view);
        takeover_ask(t, fx, TAKEOVER_SUPER, TAKEOVER_DO_WRITE_SUPER);
    } else if (t->state == TAKEOVER_REPORTING && !owing) {
        win_race(t, fx, t->left_view);
        takeover_stop_timer(t, fx);
        takeover_ask(t, fx, TAKEOVER_STRANGERS, TAKEOVER_DO_READ_KEYS);
    } else if (t->state == TAKEOVER_HELD) {
        win_race(t, fx, t->left_view);
        takeover_ask(t, fx, TAKEOVER_HELD_KEYS, TAKEOVER_DO_READ_KEYS);
    } else if (t->state == TAKEOVER_HELD_CONFIRM && !owing) {
        serve(t, fx);
    }
}

void takeover_hold(struct takeover *t, struct takeover_effects *fx)
{
    if (t->state == TAKEOVER_SERVING)
        takeover_tell(t, fx, TAKEOVER_DO_HOLD);
    takeover_stop_timer(t, fx);
    t->may_cache = false;
    takeover_wait_in(t, TAKEOVER_HELD);
    takeover_send_fences(t, fx);
    takeover_advance(t, fx);
}

/* -- the reservation (F12) ------------------------------------------------- */

static void fence_foreign(struct takeover *t, struct takeover_effects *fx,
                          uint64_t key)
{
    t->foreign = key;
    takeover_tell(t, fx, TAKEOVER_DO_FENCE)->target =
        (struct lm_target){.foreign = key};
}

static void ask_operator(struct takeover *t, struct takeover_effects *fx)
{
    struct lm_run undead = peer_undead(t);

    if (!undead.node)
        return;
    takeover_tell(t, fx, TAKEOVER_DO_ALARM)->run = undead;
    fx->list[fx->count - 1].why =
        "the LUN was not reserved for a while: is this run off?";
}

static void reports_again(struct takeover *t, struct takeover_effects *fx)
{
    takeover_ask_reports(t, fx);
    takeover_advance(t, fx); /* I may be alone */
}

static void after_reservation(struct takeover *t, struct takeover_effects *fx)
{
    if (t->unreserved && peer_undead(t).node) {
        takeover_wait_in(t, TAKEOVER_AWAIT_DEAD);
        ask_operator(t, fx);
        return;
    }
    if (t->unreserved)
        takeover_tell(t, fx, TAKEOVER_DO_TELL_RESERVED);
    t->unreserved = false;
    if (t->served)
        takeover_hold(t, fx);
    else if (t->opened)
        reports_again(t, fx);
    else
        takeover_ask(t, fx, TAKEOVER_LISTING, TAKEOVER_DO_READ_KEYS);
}

void takeover_on_reservation(struct takeover *t,
                             const struct takeover_event *ev,
                             struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK) {
        takeover_lun_failed(t, fx, ev->answer);
    } else if (ev->type == t->args.type) {
        after_reservation(t, fx);
    } else if (ev->type == LM_RESERVATION_NONE) {
        t->unreserved = true;
        takeover_ask(t, fx, TAKEOVER_RESERVING, TAKEOVER_DO_RESERVE);
    } else if (ev->key) {
        fence_foreign(t, fx, ev->key); /* which reserves for us */
    } else {
        takeover_lun_failed(t, fx, LUN_FAILED);
    }
}

void takeover_on_reserved(struct takeover *t, const struct takeover_event *ev,
                          struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK)
        takeover_lun_failed(t, fx, ev->answer);
    else
        after_reservation(t, fx);
}

void takeover_on_unreserved(struct takeover *t, const struct takeover_event *ev,
                            struct takeover_effects *fx)
{
    (void)ev;
    if (t->state <= TAKEOVER_AWAIT_DEAD || t->state >= TAKEOVER_CLOSING)
        return; /* looked at on the way */
    if (t->state == TAKEOVER_SUPER || t->state == TAKEOVER_OPENING) {
        takeover_give_up(t, fx, 0);
        return;
    }
    if (t->state == TAKEOVER_SERVING)
        takeover_tell(t, fx, TAKEOVER_DO_HOLD);
    takeover_stop_timer(t, fx);
    t->may_cache = false;
    takeover_ask(t, fx, TAKEOVER_RESERVE_READ, TAKEOVER_DO_READ_RESERVATION);
}

/* The operator's word, one after the other into my block.  False: none is to
 * be written. */
static bool write_dead(struct takeover *t, struct takeover_effects *fx)
{
    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        struct takeover_peer *p = &t->peer[i];

        if (!p->confirm_dead)
            continue;
        takeover_tell(t, fx, TAKEOVER_DO_WRITE_DEAD)->target =
            (struct lm_target){.run = p->recorded.run, .turn = LM_TURN_ALL};
        return true;
    }
    return false;
}

void takeover_on_confirmed_dead(struct takeover *t,
                                const struct takeover_event *ev,
                                struct takeover_effects *fx)
{
    bool writing = is_writing_dead(t);

    if (ev->run.node < 1 || ev->run.node > LM_NODES_MAX)
        return;
    if (lm_run_eq(ev->run, t->unmet)) {
        peer_of(t, ev->run.node)->met = ev->run.incarnation;
        t->unmet = (struct lm_run){0, 0};
        takeover_try(t, fx);
    }
    if (t->state != TAKEOVER_AWAIT_DEAD)
        return;
    if (!lm_run_eq(peer_of(t, ev->run.node)->recorded.run, ev->run))
        return;
    peer_of(t, ev->run.node)->confirm_dead = true;
    if (!writing)
        (void)write_dead(t, fx);
}

void takeover_on_dead_written(struct takeover *t,
                              const struct takeover_event *ev,
                              struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK) {
        takeover_lun_failed(t, fx, ev->answer);
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
        takeover_advance(t, fx);
    } else if (t->state == TAKEOVER_LISTING) {
        takeover_wait_in(t, TAKEOVER_FENCING);
        takeover_send_fences(t, fx);
        takeover_advance(t, fx);
    } else if (peers_are_condemned(t)) {
        takeover_send_fences(t, fx);
    } else if (foreign) {
        fence_foreign(t, fx, foreign);
    } else {
        serve(t, fx);
    }
}

void takeover_on_keys(struct takeover *t, const struct takeover_event *ev,
                      struct takeover_effects *fx)
{
    uint64_t foreign = 0;

    if (ev->answer != LUN_OK) {
        takeover_lun_failed(t, fx, ev->answer);
    } else if (!lm_keys_whole(&ev->keys)) {
        if (lm_keys_grow(&ev->keys, &t->room)) /* F24 */
            takeover_ask(t, fx, t->state, TAKEOVER_DO_READ_KEYS);
        else
            takeover_lun_failed(t, fx, LUN_FAILED);
    } else if (!lm_keys_have(&ev->keys, ev->key)) {
        takeover_lun_failed(t, fx,
                            LUN_CONFLICT); /* am I the one who is fenced? */
    } else {
        if (t->state != TAKEOVER_HELD_KEYS)
            foreign = peers_take_keys(t, &ev->keys, ev->key,
                                      t->state == TAKEOVER_STRANGERS);
        after_keys(t, fx, foreign);
    }
}

void takeover_on_fenced(struct takeover *t, const struct takeover_event *ev,
                        struct takeover_effects *fx)
{
    if (ev->target.foreign && ev->target.foreign == t->foreign)
        t->foreign = 0;
    else if (!ev->target.foreign)
        peer_fenced(t, &ev->target);
    else
        return;
    if (t->state == TAKEOVER_RESERVE_READ && ev->target.foreign)
        takeover_ask(t, fx, TAKEOVER_RESERVE_READ,
                     TAKEOVER_DO_READ_RESERVATION);
    else if (t->state == TAKEOVER_STRANGERS && !peers_are_condemned(t))
        takeover_ask(t, fx, TAKEOVER_STRANGERS, TAKEOVER_DO_READ_KEYS);
    else if (t->state == TAKEOVER_AWAIT_DEAD && peer_undead(t).node)
        ask_operator(t, fx); /* who is to be confirmed is a later run now */
    else
        takeover_advance(t, fx);
}

void takeover_on_super_written(struct takeover *t,
                               const struct takeover_event *ev,
                               struct takeover_effects *fx)
{
    if (ev->answer == LUN_OK)
        takeover_ask(t, fx, TAKEOVER_OPENING, TAKEOVER_DO_OPEN);
    else
        takeover_lun_failed(t, fx, ev->answer);
}

void takeover_on_opened(struct takeover *t, const struct takeover_event *ev,
                        struct takeover_effects *fx)
{
    if (ev->answer != LUN_OK) {
        takeover_lun_failed(t, fx, ev->answer);
        return;
    }
    t->opened = true;
    takeover_ask_reports(t, fx);
    takeover_advance(t, fx);
}
