/* lockmgr/takeover_peers.c - what a takeover knows of the nodes: who is in, who
 * is to be fenced, who tries.  Tells nobody anything and asks nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/takeover_private.h"

#include <string.h>

/* -- who is in ------------------------------------------------------------- */

static bool view_has(const struct lm_view *view, struct lm_run run)
{
    return view->members & node_bit(run.node) &&
           view->incarnation[run.node - 1] == run.incarnation;
}

static bool is_recorded(const struct takeover_peer *p, struct lm_run run,
                        uint32_t turn)
{
    struct lm_target fence = {.run = p->recorded.run, .turn = p->recorded.turn};

    return p->recorded.run.node && p->recorded.state != FENCING_NAMED &&
           lm_target_covers(&fence, run, turn);
}

bool peer_is_live(const struct takeover *t, struct lm_run run)
{
    const struct takeover_peer *p = &t->peer[run.node - 1];

    return view_has(&t->view, run) && !is_recorded(p, run, LM_TURN_ALL) &&
           !lm_target_covers(&p->fence, run, LM_TURN_ALL);
}

bool peer_is_fenced(const struct takeover *t, struct lm_run run)
{
    return is_recorded(&t->peer[run.node - 1], run, LM_TURN_ALL);
}

bool peer_is_path_fenced(const struct takeover *t, struct lm_run run,
                         uint32_t turn)
{
    return is_recorded(&t->peer[run.node - 1], run, turn);
}

struct lm_run peer_fenced_run(const struct takeover *t, uint32_t node)
{
    struct lm_run run = {node, t->view.incarnation[node - 1]};

    return view_has(&t->view, run) && peer_is_fenced(t, run)
               ? run
               : (struct lm_run){0, 0};
}

struct lm_run peer_live_run(const struct takeover *t, uint32_t node)
{
    struct lm_run run = {node, t->view.incarnation[node - 1]};

    return peer_is_live(t, run) ? run : (struct lm_run){0, 0};
}

bool takeover_knows(const struct takeover *takeover, struct lm_run run)
{
    return run.node >= 1 && run.node <= LM_NODES_MAX &&
           peer_is_live(takeover, run);
}

bool view_has_me(const struct takeover *t)
{
    return t->view.quorate && view_has(&t->view, t->args.me);
}

bool view_has_my_path(const struct takeover *t)
{
    return view_has_me(t) &&
           t->view.paths & ~t->view.barred & node_bit(t->args.me.node);
}

bool race_is_won(const struct takeover *t)
{
    return t->view.arbiter || t->won_view >= t->left_view;
}

/* -- who is to be fenced --------------------------------------------------- */

/* My own earlier runs and keys are strangers, too; my present key is not. */
static bool is_mine(const struct takeover *t, const struct lm_target *target)
{
    struct lm_run me = t->args.me;
    uint32_t turn = 0;

    if (!lm_key_read(t->peer[me.node - 1].key, t->args.cluster, &me, &turn))
        return lm_target_covers(target, t->args.me, 0);
    return lm_target_covers(target, me, turn);
}

void peer_condemn(struct takeover *t, struct lm_run run, uint32_t turn,
                  bool away)
{
    struct takeover_peer *p = peer_of(t, run.node);
    struct lm_target target = {.run = run, .turn = turn};

    if (is_mine(t, &target))
        return;
    if (lm_target_covers(&p->fence, run, turn)) {
        p->away = p->away && away;
        return;
    }
    p->fence = target;
    p->fence_sent = false;
    p->away = away;
}

/* It is back as it was, and nobody had decided. */
static void pardon(struct takeover *t)
{
    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        struct takeover_peer *p = &t->peer[i];

        if (p->fence.run.node && p->away && view_has(&t->view, p->fence.run))
            p->fence = (struct lm_target){0};
    }
}

bool peers_are_condemned(const struct takeover *t)
{
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        if (t->peer[i].fence.run.node)
            return true;
    return false;
}

void peer_fenced(struct takeover *t, const struct lm_target *target)
{
    struct takeover_peer *p = peer_of(t, target->run.node);

    if (!is_recorded(p, target->run, target->turn))
        p->recorded =
            (struct node_fencing){target->run, target->turn, FENCING_DONE};
    if (lm_target_covers(target, p->fence.run, p->fence.turn))
        p->fence = (struct lm_target){0};
}

bool peers_take_view(struct takeover *t, const struct lm_view *view)
{
    const struct lm_view old = t->view;
    bool left = false;

    t->view = *view;
    for (uint32_t node = 1; node <= LM_NODES_MAX; node++) {
        struct lm_run run = {node, old.incarnation[node - 1]};
        bool was = view_has(&old, run), is = was && view_has(view, run);
        uint64_t now = view->incarnation[node - 1];

        if (view_has_me(t) && view_has(view, (struct lm_run){node, now}))
            peer_of(t, node)->met = max_u64(peer_of(t, node)->met, now);

        peer_of(t, node)->confirmed = false;
        if (!is) {
            peer_of(t, node)->reported = peer_of(t, node)->timed = false;
            peer_of(t, node)->since_view = view->id;
        }
        if (!was || is)
            continue;
        left = true;
        peer_condemn(t, run, LM_TURN_ALL, true);
    }
    if (view_has_me(t))
        pardon(t);
    return left;
}

/* It resigned, for it has closed, and could not release: so its LUN was out of
 * reach.  What it had in flight went out under the key in its block. */
static void condemn_claimant(struct takeover *t, const struct node_block *b)
{
    struct lm_run run = {b->node, b->incarnation}, of;
    uint32_t turn;

    if (!view_has(&t->view, run) || b->epoch > peer_of(t, b->node)->resigned ||
        !lm_key_read(b->reservation_key, t->args.cluster, &of, &turn) ||
        !lm_run_eq(of, run))
        turn = LM_TURN_ALL;
    if (!is_recorded(peer_of(t, b->node), run, turn))
        peer_condemn(t, run, turn, false);
}

void peers_take_blocks(struct takeover *t, const struct node_blocks *blocks)
{
    for (uint32_t node = 1; node <= LM_NODES_MAX; node++) {
        const struct node_block *b = &blocks->node[node - 1];
        struct lm_run run = {node, b->incarnation};
        struct takeover_peer *p = peer_of(t, node);

        p->recorded = node_blocks_fencing(blocks, &t->fenced, node);
        p->block_incarnation = b->incarnation;
        if (is_recorded(p, p->fence.run, p->fence.turn))
            p->fence = (struct lm_target){0};
        if (p->recorded.run.node && p->recorded.state == FENCING_NAMED)
            peer_condemn(t, p->recorded.run, p->recorded.turn, false);
        if (!b->node || is_recorded(p, run, LM_TURN_ALL))
            continue;
        if (b->claim == CLAIM_HELD)
            condemn_claimant(t, b);
        else if (b->reservation_key && !view_has(&t->view, run))
            peer_condemn(t, run, LM_TURN_ALL, true);
    }
}

static void take_key(struct takeover *t, struct lm_run run, uint32_t turn,
                     uint64_t key, bool strangers)
{
    struct takeover_peer *p = peer_of(t, run.node);
    struct lm_run reported;
    uint32_t reported_turn = 0;

    if (!peer_is_live(t, run)) {
        bool is_dead = is_recorded(p, run, LM_TURN_ALL) &&
                       p->recorded.state == FENCING_DEAD;

        /* A key whose run is recorded as fenced was registered to look; it
         * opens no nexus and is taken away at the end. */
        if (!is_dead && (strangers || !is_recorded(p, run, LM_TURN_ALL)))
            peer_condemn(t, run, LM_TURN_ALL, true);
        return;
    }
    if (!strangers || key == p->key)
        return;
    if (!lm_key_read(p->key, t->args.cluster, &reported, &reported_turn) ||
        turn < reported_turn)
        peer_condemn(t, run, turn, false);
}

uint64_t peers_take_keys(struct takeover *t, const struct lm_keys *keys,
                         uint64_t own_key, bool strangers)
{
    uint64_t foreign = 0;
    struct lm_run run;
    uint32_t turn;

    peer_of(t, t->args.me.node)->key = own_key;
    for (uint32_t i = 0; i < keys->count; i++) {
        uint64_t key = keys->list[i];

        if (key == own_key)
            continue;
        if (lm_key_read(key, t->args.cluster, &run, &turn))
            take_key(t, run, turn, key, strangers);
        else
            foreign = key;
    }
    return foreign;
}

struct lm_run peer_owing(const struct takeover *t, uint32_t node)
{
    for (; node <= LM_NODES_MAX; node++) {
        const struct takeover_peer *p = &t->peer[node - 1];
        struct lm_run run = peer_live_run(t, node);
        bool owes = !p->reported ||
                    (t->state == TAKEOVER_HELD_CONFIRM && !p->confirmed);

        if (run.node && run.node != t->args.me.node && owes)
            return run;
    }
    return (struct lm_run){0, 0};
}

struct lm_run peer_undead(const struct takeover *t)
{
    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        const struct takeover_peer *p = &t->peer[i];
        struct lm_run live = peer_live_run(t, i + 1);

        if (p->recorded.run.node && p->recorded.turn == LM_TURN_ALL &&
            p->recorded.state == FENCING_DONE &&
            p->block_incarnation <= p->recorded.run.incarnation &&
            live.incarnation <= p->recorded.run.incarnation)
            return p->recorded.run;
    }
    return (struct lm_run){0, 0};
}

/* -- who tries ------------------------------------------------------------- */

/* FNV-1a of volume and node, then mixed: its last byte alone moves little. */
static uint64_t weight(const uint8_t volume[16], uint32_t node)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (int i = 0; i < 16; i++)
        h = (h ^ volume[i]) * UINT64_C(0x100000001b3);
    h = (h ^ node) * UINT64_C(0x100000001b3);
    h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
    return h ^ h >> 31;
}

uint32_t takeover_elect(const struct lm_view *view, const uint8_t volume[16],
                        uint32_t present)
{
    uint64_t able = view->members & view->paths & ~view->barred;
    uint32_t best = 0;

    if (able & node_bit(present))
        return present;
    for (uint32_t node = 1; node <= LM_NODES_MAX; node++)
        if (able & node_bit(node) &&
            (!best || weight(volume, node) > weight(volume, best)))
            best = node;
    return best;
}

int takeover_arbiter(const struct takeover_volume *volumes, size_t count,
                     uint64_t members)
{
    int arbiter = -1;

    for (size_t i = 0; i < count; i++) {
        if ((volumes[i].paths & members) != members)
            continue;
        if (arbiter < 0 || memcmp(volumes[i].uuid, volumes[arbiter].uuid,
                                  sizeof volumes[i].uuid) < 0)
            arbiter = (int)i;
    }
    return arbiter;
}
