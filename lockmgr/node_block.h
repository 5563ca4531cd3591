/* lockmgr/node_block.h - what a node block says, and what follows from it.
 * Does no I/O and knows no bytes: fs/node.c encodes and decodes.
 *
 * A node block is written by its owner only, so all that a node says there
 * goes through one writer: read my block, apply a change below, write, flush.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_NODE_BLOCK_H
#define LUNAR_LOCKMGR_NODE_BLOCK_H

#include "lockmgr/key.h"

enum claim { CLAIM_NONE = 0, CLAIM_HELD = 1, CLAIM_RELEASED = 2 };

/* How far a fence of somebody is. */
enum fencing_state {
    FENCING_NAMED = 0, /* said first: from here on the victim can know */
    FENCING_DONE = 1,  /* its keys are gone, nothing of it is in flight */
    FENCING_DEAD = 2   /* the agent or the operator says that it is off */
};

/* At most one for each node: all its keys up to (incarnation, turn). */
struct node_fencing {
    struct lm_run run; /* node 0: none */
    uint32_t turn;
    enum fencing_state state;
};

struct node_block {
    uint32_t node; /* 1 … LM_NODES_MAX; 0: the slot was never used */
    char host[LM_HOST_NAME_MAX + 1];
    uint64_t incarnation;
    uint64_t reservation_key; /* 0: none, or it has left this volume */
    uint64_t epoch;           /* claimed or released */
    enum claim claim;
    struct node_fencing fencing[LM_NODES_MAX]; /* [node - 1] */
};

/* All of a LUN; [node - 1]. */
struct node_blocks {
    struct node_block node[LM_NODES_MAX];
};

/* -- questions ------------------------------------------------------------- */

/* Runs whose fence was read as done: of each node those up to this incarnation;
 * [node - 1].  It only grows. */
struct node_fenced {
    uint64_t incarnation[LM_NODES_MAX];
};

/* Two nodes may name each other: then PREEMPT decides, and who lost is fenced.
 * What the loser named and did not finish is void: it can finish no more.
 *
 * But blocks are not read at one instant: what it had named may have been done
 * after its block was read, and before the block was that says that it is
 * fenced.  So void is only what a read shows that was begun after an earlier
 * one had shown the author as fenced (docs/model.md).
 *
 * Learns from a read who is fenced.  True: something in it is void by what was
 * learned only now: read all again, and judge by that.  It ends: each time
 * somebody else must have been fenced meanwhile. */
MUST_CHECK bool node_blocks_learn(const struct node_blocks *blocks,
                                  struct node_fenced *fenced);

/* The furthest fence of `node` that any block speaks of, and of equally far
 * ones the most advanced, without what is void; run.node 0: none. */
struct node_fencing node_blocks_fencing(const struct node_blocks *blocks,
                                        const struct node_fenced *fenced,
                                        uint32_t node);

/* How (run, turn) stands after all blocks were read (F2). */
enum node_standing {
    STANDING_GOOD,
    STANDING_PATH_FENCED, /* this key is; the run lives */
    STANDING_FENCED       /* the run is over: named, or a later one has begun */
};
enum node_standing node_blocks_standing(const struct node_blocks *blocks,
                                        const struct node_fenced *fenced,
                                        struct lm_run run, uint32_t turn);

/* The highest incarnation of `node` that is spoken of, void or not: a new run
 * takes more (F23). */
uint64_t node_blocks_incarnation(const struct node_blocks *blocks,
                                 uint32_t node);
/* The highest epoch claimed or released. */
uint64_t node_blocks_epoch(const struct node_blocks *blocks);

/* -- changes of one's own block -------------------------------------------- */

/* A run begins, or has a new key.  A claim of the run before it is released:
 * that process has ended, and opening the LUN drained it (I13, F20).  What it
 * named and is void, by what the nexus knows (nexus.fenced), goes. */
void node_block_join(struct node_block *own, const struct node_fenced *fenced,
                     struct lm_run run, uint64_t key);
void node_block_claim(struct node_block *own, enum claim claim, uint64_t epoch);
/* Name `target` (not foreign).  Never takes back a fence that goes further. */
void node_block_name(struct node_block *own, const struct lm_target *target,
                     enum fencing_state state);

#endif
