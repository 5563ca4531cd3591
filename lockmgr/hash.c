/* lockmgr/hash.c - intrusive hash table that grows.
 * Never shrinks: what was needed once is needed again.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/hash.h"

enum { CHAINS_FIRST = 64 };

enum err lm_hash_init(struct lm_hash *h)
{
    h->chains = calloc(CHAINS_FIRST, sizeof(struct lm_hash_node *));
    h->chain_count = CHAINS_FIRST;
    h->count = 0;
    return h->chains ? E_OK : E_NOMEM;
}

void lm_hash_fini(struct lm_hash *h)
{
    free(h->chains);
}

static void push(struct lm_hash_node **chains, size_t count,
                 struct lm_hash_node *node)
{
    struct lm_hash_node **chain = &chains[node->hash & (count - 1)];

    node->next = *chain;
    *chain = node;
}

/* Without memory for it the chains stay longer. */
static void grow(struct lm_hash *h)
{
    size_t count = h->chain_count * 2;
    struct lm_hash_node **chains = calloc(count, sizeof *chains);

    if (!chains)
        return;
    lm_hash_for_each (node, h)
        push(chains, count, node);
    free(h->chains);
    h->chains = chains;
    h->chain_count = count;
}

void lm_hash_add(struct lm_hash *h, struct lm_hash_node *node, uint64_t hash)
{
    if (h->count >= h->chain_count)
        grow(h);
    node->hash = hash;
    push(h->chains, h->chain_count, node);
    h->count++;
}

void lm_hash_remove(struct lm_hash *h, struct lm_hash_node *node)
{
    struct lm_hash_node **at = &h->chains[node->hash & (h->chain_count - 1)];

    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    h->count--;
}
