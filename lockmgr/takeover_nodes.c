/* lockmgr/takeover_nodes.c - what follows from views and from what the other
 * nodes say.  Asks the LUN nothing by itself.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/takeover_private.h"

/* -- the other nodes ------------------------------------------------------- */

/* A run that is new: it owes a report, too, though it has nothing yet; before
 * the database is open it is told who claims. */
static void greet_joiners(struct takeover *t, struct takeover_effects *fx)
{
    for (struct lm_run run = peer_owing(t, 1); run.node;
         run = peer_owing(t, run.node + 1)) {
        struct takeover_effect *effect =
            takeover_tell(t, fx, TAKEOVER_DO_ANNOUNCE);

        effect->run = run;
        effect->opened = t->opened;
    }
}

static void view_while_serving(struct takeover *t, struct takeover_effects *fx,
                               bool left)
{
    if (view_has_me(t) && !view_has_my_path(t))
        takeover_give_up(t, fx, 0); /* to one that has a path */
    else if (left || !view_has_me(t) || t->state != TAKEOVER_SERVING)
        takeover_hold(t, fx);
    else
        takeover_tell(t, fx, TAKEOVER_DO_CONFIRM);
    if (takeover_coordinates(t))
        greet_joiners(t, fx);
}

static void view_while_taking_over(struct takeover *t,
                                   struct takeover_effects *fx)
{
    if (!view_has_my_path(t)) {
        takeover_give_up(t, fx, 0);
        return;
    }
    if (t->state == TAKEOVER_CLAIM_READ &&
        takeover_elected(t) != t->args.me.node) {
        if (t->claimed) /* in an earlier round of claiming */
            takeover_give_up(t, fx, 0);
        else
            takeover_wait_in(t, TAKEOVER_FOLLOW);
        return;
    }
    if (takeover_awaits_release(t))
        takeover_check_again(t, fx);
    if (t->state >= TAKEOVER_FENCING)
        takeover_send_fences(t, fx);
    if (t->state == TAKEOVER_STRANGERS && peer_owing(t, 1).node)
        takeover_ask_reports(t, fx); /* else its key would be a stranger's */
    else if (t->state >= TAKEOVER_CLAIM_CHECK)
        greet_joiners(t, fx);
    takeover_advance(t, fx);
}

/* The coordinator was sure of itself in a view not older than my last doubt. */
static void hear_confirm(struct takeover *t, struct takeover_effects *fx)
{
    struct takeover_effect *effect;

    if (t->confirm_epoch != t->closed || t->confirm_view > t->view.id ||
        t->confirm_view < t->unsure_view || !view_has_me(t) ||
        takeover_coordinates(t) || !takeover_has_coordinator(t))
        return;
    t->may_cache = true;
    effect = takeover_tell(t, fx, TAKEOVER_DO_ANSWER_CONFIRM);
    effect->run = t->coordinator;
    effect->epoch = t->closed;
    effect->view_id = t->confirm_view;
}

void takeover_on_confirm(struct takeover *t, const struct takeover_event *ev,
                         struct takeover_effects *fx)
{
    if (!lm_run_eq(ev->run, t->coordinator))
        return;
    t->confirm_epoch = ev->epoch;
    t->confirm_view = ev->view_id;
    hear_confirm(t, fx);
}

void takeover_on_view(struct takeover *t, const struct takeover_event *ev,
                      struct takeover_effects *fx)
{
    bool left;

    if (ev->view->id <= t->view.id)
        return;
    left = peers_take_view(t, ev->view);
    t->heir = 0;
    if (left)
        t->left_view = t->view.id;
    if (left || !view_has_me(t)) {
        t->unsure_view = t->view.id;
        t->may_cache = false; /* I14, until the coordinator confirms */
    }
    if (takeover_coordinates(t) && view_has_me(t))
        takeover_tell_fenced(t, fx);
    if (!takeover_coordinates(t)) {
        takeover_fall_back(t);
        takeover_try(t, fx);
        hear_confirm(t, fx);
    } else if (t->state >= TAKEOVER_SERVING) {
        view_while_serving(t, fx, left);
    } else {
        view_while_taking_over(t, fx);
    }
}

void takeover_on_arbiter_won(struct takeover *t,
                             const struct takeover_event *ev,
                             struct takeover_effects *fx)
{
    t->won_view = max_u64(t->won_view, ev->view_id);
    takeover_try(t, fx);
    if (takeover_coordinates(t) && t->state >= TAKEOVER_FENCING) {
        takeover_send_fences(t, fx);
        takeover_advance(t, fx);
    }
}

/* F5: a report closes the epoch: nothing earlier is heard any more. */
static void report(struct takeover *t, struct takeover_effects *fx)
{
    struct takeover_effect *effect = takeover_tell(t, fx, TAKEOVER_DO_REPORT);

    effect->run = t->coordinator;
    effect->epoch = t->closed;
    effect->view_id = t->coordinator_view;
}

static bool may_coordinate(const struct takeover *t, struct lm_run run)
{
    const struct lm_target *fence;

    if (run.node < 1 || run.node > LM_NODES_MAX || lm_run_eq(run, t->args.me))
        return false;
    fence = &t->peer[run.node - 1].fence;
    return !lm_target_covers(fence, run, LM_TURN_ALL);
}

/* What I may have waited for. */
static void hear_of_claimant(struct takeover *t, struct takeover_effects *fx)
{
    takeover_stop_timer(t, fx);
    if (t->state == TAKEOVER_CLAIM_READ)
        takeover_wait_in(t, TAKEOVER_FOLLOW); /* nothing is written yet */
    else
        takeover_try(t, fx);
}

void takeover_on_announced(struct takeover *t, const struct takeover_event *ev,
                           struct takeover_effects *fx)
{
    bool claims = takeover_coordinates(t) && t->claimed;
    /* A claim that came to nothing hides no coordinator before it. */
    uint64_t least = takeover_has_coordinator(t) ? t->announced : t->closed;

    if (!may_coordinate(t, ev->run) || ev->epoch < least)
        return;
    if (claims && ev->epoch <= t->epoch)
        return; /* lower: it loses.  Equal: the blocks tell */
    if (ev->epoch == t->closed && !lm_run_eq(ev->run, t->closed_by))
        return; /* another has opened under it: this claim will yield */
    t->announced = ev->epoch;
    if (!lm_run_eq(ev->run, t->coordinator))
        t->coordinator_view = 0;
    t->coordinator = ev->run;
    t->coordinator_view = max_u64(t->coordinator_view, ev->view_id);
    t->heir = 0;
    t->may_cache = false;
    if (claims)
        takeover_give_up(t, fx, 0);
    else
        hear_of_claimant(t, fx);
    if (ev->opened) {
        t->closed = ev->epoch;
        t->closed_by = ev->run;
        report(t, fx);
    }
}

void takeover_on_resigned(struct takeover *t, const struct takeover_event *ev,
                          struct takeover_effects *fx)
{
    struct takeover_peer *p;

    if (ev->run.node < 1 || ev->run.node > LM_NODES_MAX)
        return;
    p = peer_of(t, ev->run.node);
    p->resigned = max_u64(p->resigned, ev->epoch);
    if (takeover_awaits_release(t) && t->rival.node == ev->run.node)
        takeover_check_again(t, fx);
    if (ev->epoch < t->announced)
        return; /* of an epoch before the present one */
    p->passed_view = max_u64(t->view.id, ev->view_id);
    if (takeover_has_coordinator(t) && !lm_run_eq(ev->run, t->coordinator))
        return; /* who yielded to another; it does not try, either */
    t->coordinator = (struct lm_run){0, 0};
    t->may_cache = false;
    takeover_name_heir(t, ev->to);
    takeover_fall_back(t);
    takeover_try(t, fx);
    hear_confirm(t, fx);
}

static bool is_asked_for(const struct takeover *t, struct lm_run run,
                         uint64_t epoch, uint64_t view_id)
{
    return t->opened && takeover_coordinates(t) && epoch == t->epoch &&
           takeover_knows(t, run) &&
           view_id >= t->peer[run.node - 1].since_view;
}

bool takeover_wants_report(const struct takeover *takeover, struct lm_run run,
                           uint64_t epoch, uint64_t view_id)
{
    return is_asked_for(takeover, run, epoch, view_id) &&
           !takeover->peer[run.node - 1].reported;
}

void takeover_on_reported(struct takeover *t, const struct takeover_event *ev,
                          struct takeover_effects *fx)
{
    struct takeover_effect *effect;

    if (!is_asked_for(t, ev->run, ev->epoch, ev->view_id))
        return;
    peer_of(t, ev->run.node)->reported = true;
    peer_of(t, ev->run.node)->key = ev->key;
    if (t->state == TAKEOVER_SERVING || t->state == TAKEOVER_HELD_CONFIRM) {
        effect = takeover_tell(t, fx, TAKEOVER_DO_CONFIRM);
        effect->run = ev->run;
    } else {
        takeover_advance(t, fx);
    }
}

void takeover_on_confirmed(struct takeover *t, const struct takeover_event *ev,
                           struct takeover_effects *fx)
{
    if (t->state != TAKEOVER_HELD_CONFIRM || ev->epoch != t->epoch ||
        ev->view_id != t->view.id || !takeover_knows(t, ev->run))
        return;
    peer_of(t, ev->run.node)->confirmed = true;
    takeover_advance(t, fx);
}

/* Who claims owes me a word: if its block still says that it does, it is
 * accused (takeover_claim.c). */
static void await_no_longer(struct takeover *t, struct takeover_effects *fx)
{
    t->timer = false;
    takeover_try(t, fx);
    t->overdue = t->state == TAKEOVER_CLAIM_READ;
}

/* F9: time may only start a fence: membership takes the accused out of the
 * view, and then it is fenced. */
void takeover_on_suspect(struct takeover *t, const struct takeover_event *ev,
                         struct takeover_effects *fx)
{
    (void)ev;
    if (!t->timer)
        return;
    if (t->state < TAKEOVER_CLAIM_WRITE) {
        await_no_longer(t, fx);
        return;
    }
    if (takeover_awaits_release(t)) {
        takeover_tell(t, fx, TAKEOVER_DO_ACCUSE)->run = t->rival;
        takeover_check_again(t, fx);
        takeover_start_timer(t, fx);
        return;
    }
    for (struct lm_run run = peer_owing(t, 1); run.node;
         run = peer_owing(t, run.node + 1))
        if (peer_of(t, run.node)->timed) /* else it has just come */
            takeover_tell(t, fx, TAKEOVER_DO_ACCUSE)->run = run;
    takeover_start_timer(t, fx);
}

/* A path fence took the key, or the target forgot it.  Who follows asks the
 * coordinator; where there is none, and for the coordinator, the node blocks
 * decide alone. */
void takeover_on_consent_asked(struct takeover *t,
                               const struct takeover_event *ev,
                               struct takeover_effects *fx)
{
    bool mine = lm_run_eq(ev->run, t->args.me);
    struct takeover_effect *effect;
    struct takeover_peer *p;
    uint32_t turn = ev->turn;

    if (ev->run.node < 1 || ev->run.node > LM_NODES_MAX)
        return;
    if (mine
            ? t->coordinator.node != ev->run.node && takeover_has_coordinator(t)
            : t->state != TAKEOVER_SERVING)
        return;
    if (peer_is_fenced(t, ev->run)) {
        takeover_tell(t, fx, TAKEOVER_DO_TELL_FENCED)->run = ev->run;
        return; /* it cannot read its name: it is not registered */
    }
    if (!mine && !takeover_knows(t, ev->run))
        return;
    p = peer_of(t, ev->run.node);
    if (!mine && lm_target_covers(&p->fence, ev->run, turn))
        return; /* first the fence of its keys is ended */
    if (lm_run_eq(p->recorded.run, ev->run) && p->recorded.turn > turn &&
        p->recorded.turn != LM_TURN_ALL)
        turn = p->recorded.turn;
    if (turn >= LM_TURN_MAX)
        return;
    effect = takeover_tell(t, fx, TAKEOVER_DO_CONSENT);
    effect->run = ev->run;
    effect->turn = turn + 1;
}

/* I13: its key alone; run, locks and layouts stay.  Asked until it is done, by
 * one that sends nothing under that key any more. */
void takeover_on_fence_asked(struct takeover *t,
                             const struct takeover_event *ev,
                             struct takeover_effects *fx)
{
    struct takeover_effect *effect;

    if (t->state != TAKEOVER_SERVING || ev->run.node < 1 ||
        ev->run.node > LM_NODES_MAX || ev->turn > LM_TURN_MAX ||
        lm_run_eq(ev->run, t->args.me))
        return;
    if (peer_is_fenced(t, ev->run)) {
        takeover_tell(t, fx, TAKEOVER_DO_TELL_FENCED)->run = ev->run;
    } else if (!takeover_knows(t, ev->run)) {
        return; /* an earlier run, or one that has left */
    } else if (peer_is_path_fenced(t, ev->run, ev->turn)) {
        effect = takeover_tell(t, fx, TAKEOVER_DO_TELL_PATH_FENCED);
        effect->run = ev->run;
        effect->turn = ev->turn;
    } else {
        peer_condemn(t, ev->run, ev->turn, false);
        takeover_send_fences(t, fx);
    }
}
