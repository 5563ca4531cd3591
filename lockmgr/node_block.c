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

static bool is_fenced(const struct node_fenced *fenced,
                      const struct node_block *author)
{
    return author->node &&
           author->incarnation <= fenced->incarnation[author->node - 1];
}

static bool names_somebody(const struct node_block *author)
{
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        if (author->fencing[i].run.node &&
            author->fencing[i].state == FENCING_NAMED)
            return true;
    return false;
}

/* Who is fenced, as this read shows it. */
static void add_fenced(const struct node_block *author,
                       struct node_fenced *fenced)
{
    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        const struct node_fencing *f = &author->fencing[i];

        if (f->run.node && f->turn == LM_TURN_ALL && f->state != FENCING_NAMED)
            fenced->incarnation[i] =
                max_u64(fenced->incarnation[i], f->run.incarnation);
    }
}

bool node_blocks_learn(const struct node_blocks *blocks,
                       struct node_fenced *fenced)
{
    struct node_fenced before = *fenced;
    bool is_new = false;

    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        add_fenced(&blocks->node[i], fenced);
    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        const struct node_block *author = &blocks->node[i];

        if (is_fenced(fenced, author) && !is_fenced(&before, author) &&
            names_somebody(author))
            is_new = true;
    }
    return is_new;
}

struct node_fencing node_blocks_fencing(const struct node_blocks *blocks,
                                        const struct node_fenced *fenced,
                                        uint32_t node)
{
    struct node_fencing furthest = {0};

    for (uint32_t i = 0; i < LM_NODES_MAX; i++) {
        const struct node_fencing *f = &blocks->node[i].fencing[node - 1];

        if (!f->run.node || !is_beyond(f, &furthest))
            continue;
        if (f->state == FENCING_NAMED && is_fenced(fenced, &blocks->node[i]))
            continue;
        furthest = *f;
    }
    return furthest;
}

enum node_standing node_blocks_standing(const struct node_blocks *blocks,
                                        const struct node_fenced *fenced,
                                        struct lm_run run, uint32_t turn)
{
    struct node_fencing f = node_blocks_fencing(blocks, fenced, run.node);
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
    static const struct node_fenced nobody;
    struct node_fencing f = node_blocks_fencing(blocks, &nobody, node);

    return max_u64(f.run.incarnation, blocks->node[node - 1].incarnation);
}

uint64_t node_blocks_epoch(const struct node_blocks *blocks)
{
    uint64_t epoch = 0;

    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        epoch = max_u64(epoch, blocks->node[i].epoch);
    return epoch;
}

void node_block_join(struct node_block *own, const struct node_fenced *fenced,
                     struct lm_run run, uint64_t key)
{
    bool is_void = is_fenced(fenced, own);

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
