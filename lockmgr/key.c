/* lockmgr/key.c - whose a reservation key is.  Reads and writes no list on a
 * LUN.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/key.h"

/* magic 8 | cluster 8 | node 8 | incarnation 32 | turn 8 */
enum { KEY_MAGIC = 0x4c }; /* 'L' */

bool lm_target_covers(const struct lm_target *fence, struct lm_run run,
                      uint32_t turn)
{
    if (fence->foreign || fence->run.node != run.node)
        return false;
    if (fence->run.incarnation != run.incarnation)
        return run.incarnation < fence->run.incarnation;
    return turn <= fence->turn;
}

uint64_t lm_key_make(uint32_t cluster, struct lm_run run, uint32_t turn)
{
    ASSERT(run.node >= 1 && run.node <= LM_NODES_MAX);
    ASSERT(run.incarnation >= 1 && run.incarnation <= UINT32_MAX);
    ASSERT(turn <= LM_TURN_MAX);
    return (uint64_t)KEY_MAGIC << 56 | (uint64_t)(cluster & 0xff) << 48 |
           (uint64_t)run.node << 40 | run.incarnation << 8 | turn;
}

bool lm_key_read(uint64_t key, uint32_t cluster, struct lm_run *ret_run,
                 uint32_t *ret_turn)
{
    struct lm_run run = {(uint32_t)(key >> 40) & 0xff, key >> 8 & UINT32_MAX};

    if (key >> 56 != KEY_MAGIC || (key >> 48 & 0xff) != (cluster & 0xff) ||
        run.node < 1 || run.node > LM_NODES_MAX || run.incarnation == 0 ||
        (key & 0xff) > LM_TURN_MAX)
        return false;
    *ret_run = run;
    *ret_turn = (uint32_t)key & 0xff;
    return true;
}

bool lm_keys_whole(const struct lm_keys *keys)
{
    return keys->count >= keys->total;
}

bool lm_keys_grow(const struct lm_keys *keys, uint32_t *room)
{
    if (keys->total > LM_KEYS_MAX)
        return false;
    if (keys->total > *room)
        *room = keys->total;
    return true;
}

bool lm_keys_have(const struct lm_keys *keys, uint64_t key)
{
    for (uint32_t i = 0; i < keys->count; i++)
        if (keys->list[i] == key)
            return true;
    return false;
}

uint64_t lm_keys_of(const struct lm_keys *keys, uint32_t cluster,
                    const struct lm_target *target)
{
    struct lm_run run;
    uint32_t turn;

    if (target->foreign)
        return lm_keys_have(keys, target->foreign) ? target->foreign : 0;
    for (uint32_t i = 0; i < keys->count; i++)
        if (lm_key_read(keys->list[i], cluster, &run, &turn) &&
            lm_target_covers(target, run, turn))
            return keys->list[i];
    return 0;
}
