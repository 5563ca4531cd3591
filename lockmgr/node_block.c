/* lockmgr/node_block.c - what follows from the node blocks of a LUN.
 * Does no I/O and knows no bytes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/node_block.h"

/* Does fence `a` go further than `b`, or as far and is further on? */
static bool is_beyond(const struct node_fencing *a,
                      const struct node_fencing *b)
{
    if (a->run.incarnation != b->run.incarnation)
        return a->run.incarnation > b->run.incarnation;
    if (a->turn != b->turn)
        return a->turn > b->turn;
    return a->state > b->state;
}

/* Is the fence of the run that wrote this block recorded as done? */
static bool author_is_fenced(const struct node_blocks *blocks,
                             const struct node_block *author)
{
    struct lm_run run = {author->node, author->incarnation};

    for (uint32_t i = 0; author->node && i < LM_NODES_MAX; i++) {
        const struct node_fencing *f =
            &blocks->node[i].fencing[author->node - 1];
        struct lm_target fence = {.run = f->run, .turn = f->turn};

        if (f->state != FENCING_NAMED &&
            lm_target_covers(&fence, run, LM_TURN_ALL))
            return true;
    }
    return false;
}

struct node_fencing node_blocks_fencing(const struct node_blocks *blocks,
                                        uint32_t node)
{
    struct node_fencing furthest = {0};

    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        const struct node_fencing *f = &blocks->node[i].fencing[node - 1];

        if (!f->run.node || !is_beyond(f, &furthest))
            continue;
        if (f->state == FENCING_NAMED &&
            author_is_fenced(blocks, &blocks->node[i]))
            continue;
        furthest = *f;
    }
    return furthest;
}

enum node_standing node_blocks_standing(const struct node_blocks *blocks,
                                        struct lm_run run, uint32_t turn)
{
    struct node_fencing f = node_blocks_fencing(blocks, run.node);
    struct lm_target fence = {.run = f.run, .turn = f.turn};

    if (blocks->node[run.node - 1].incarnation > run.incarnation)
        return STANDING_FENCED; /* a later run of this node has begun */
    if (!f.run.node || !lm_target_covers(&fence, run, turn))
        return STANDING_GOOD;
    return lm_target_covers(&fence, run, LM_TURN_ALL) ? STANDING_FENCED
                                                      : STANDING_PATH_FENCED;
}

uint64_t node_blocks_incarnation(const struct node_blocks *blocks,
                                 uint32_t node)
{
    struct node_fencing f = node_blocks_fencing(blocks, node);

    return max_u64(f.run.incarnation, blocks->node[node - 1].incarnation);
}

uint64_t node_blocks_epoch(const struct node_blocks *blocks)
{
    uint64_t epoch = 0;

    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        epoch = max_u64(epoch, blocks->node[i].epoch);
    return epoch;
}

void node_block_join(struct node_block *own, const struct node_blocks *blocks,
                     struct lm_run run, uint64_t key)
{
    bool is_void = author_is_fenced(blocks, own);

    if (own->incarnation != run.incarnation) {
        if (own->claim == CLAIM_HELD)
            own->claim = CLAIM_RELEASED;
        for (uint32_t i = 0; is_void && i < LM_NODES_MAX; i++)
            if (own->fencing[i].state == FENCING_NAMED)
                own->fencing[i] = (struct node_fencing){0};
    }
    own->node = run.node;
    own->incarnation = run.incarnation;
    own->reservation_key = key;
}

void node_block_claim(struct node_block *own, enum claim claim, uint64_t epoch)
{
    own->claim = claim;
    own->epoch = epoch;
}

void node_block_name(struct node_block *own, const struct lm_target *target,
                     enum fencing_state state)
{
    struct node_fencing f = {target->run, target->turn, state};
    struct node_fencing *place = &own->fencing[target->run.node - 1];

    ASSERT(!target->foreign);
    if (!place->run.node || is_beyond(&f, place))
        *place = f;
}
