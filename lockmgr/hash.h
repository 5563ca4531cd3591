/* lockmgr/hash.h - intrusive hash table that grows; chains, no order.
 * Compares nothing: whoever looks up walks a chain and knows his key.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_HASH_H
#define LUNAR_LOCKMGR_HASH_H

#include "base/base.h"
#include "base/err.h"

struct lm_hash_node {
    struct lm_hash_node *next;
    uint64_t hash;
};

struct lm_hash {
    struct lm_hash_node **chains; /* a power of two of them */
    size_t chain_count, count;
};

/* splitmix64's finisher: numbers that follow each other spread. */
static inline uint64_t lm_hash_mix(uint64_t a, uint64_t b)
{
    a = a * UINT64_C(0x9e3779b97f4a7c15) + b;
    a = (a ^ (a >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    a = (a ^ (a >> 27)) * UINT64_C(0x94d049bb133111eb);
    return a ^ (a >> 31);
}

/* Errors: E_NOMEM. */
MUST_CHECK enum err lm_hash_init(struct lm_hash *h);
void lm_hash_fini(struct lm_hash *h); /* the nodes are their owners' */
/* Grows the table if it can; never fails. */
void lm_hash_add(struct lm_hash *h, struct lm_hash_node *node, uint64_t hash);
void lm_hash_remove(struct lm_hash *h, struct lm_hash_node *node);

/* The first node of this hash, and the next: NULL at the end. */
static inline struct lm_hash_node *lm_hash_skip(struct lm_hash_node *node,
                                                uint64_t hash)
{
    while (node && node->hash != hash)
        node = node->next;
    return node;
}

static inline struct lm_hash_node *lm_hash_first(const struct lm_hash *h,
                                                 uint64_t hash)
{
    return lm_hash_skip(h->chains[hash & (h->chain_count - 1)], hash);
}

/* All nodes; the one at hand may be removed inside the loop, others not. */
#define lm_hash_for_each(node, h)                                              \
    for (size_t chain_ = 0; chain_ < (h)->chain_count; chain_++)               \
        for (struct lm_hash_node *node = (h)->chains[chain_],                  \
                                 *node##_next = NULL;                          \
             node && ((node##_next = node->next), true); node = node##_next)

#endif
