/* lockmgr/member_table.c - a sorted array of incarnations that merges.
 * Decides nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member_table.h"

#include <string.h>

enum { TOMBSTONES_MAX = 2 }; /* of a node */

const char *record_state_name(enum record_state state)
{
    static const char *const names[] = {
#define X(code, name) [code] = name,
        RECORD_STATES(X)
#undef X
    };

    return (unsigned)state < ARRAY_LEN(names) ? names[state] : "?";
}

/* The first record that is not before (node, incarnation). */
static unsigned place_of(const struct member_table *t, uint32_t node,
                         uint64_t incarnation)
{
    unsigned low = 0, high = t->count;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        const struct member_id *id = &t->records[mid].id;

        if (id->node < node ||
            (id->node == node && id->incarnation < incarnation))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct member_record *table_find(struct member_table *t, uint32_t node,
                                 uint64_t incarnation)
{
    unsigned at = place_of(t, node, incarnation);
    struct member_record *r = &t->records[at];

    return at < t->count && r->id.node == node &&
                   r->id.incarnation == incarnation
               ? r
               : NULL;
}

struct member_record *table_merge(struct member_table *t,
                                  const struct member_record *from)
{
    unsigned at = place_of(t, from->id.node, from->id.incarnation);
    struct member_record *r = &t->records[at];

    if (at < t->count && r->id.node == from->id.node &&
        r->id.incarnation == from->id.incarnation) {
        if (from->state > r->state)
            r->state = from->state;
        return r;
    }
    if (t->count == MEMBER_RECORDS_MAX)
        return NULL;
    memmove(r + 1, r, (t->count - at) * sizeof *r);
    t->count++;
    *r = *from;
    r->member = r->condemn_sent = false;
    r->silent_beats = 0;
    return r;
}

void table_remove(struct member_table *t, struct member_record *r)
{
    unsigned at = (unsigned)(r - t->records);

    ASSERT(at < t->count);
    t->count--;
    memmove(r, r + 1, (t->count - at) * sizeof *r);
}

static bool is_tombstone(const struct member_record *r)
{
    return r->state == RECORD_LEFT || r->state == RECORD_FENCED;
}

void table_prune(struct member_table *t)
{
    unsigned kept = 0;

    for (unsigned at = t->count; at-- > 0;) { /* the latest first */
        struct member_record *r = &t->records[at];

        if (at + 1 < t->count && r[1].id.node != r->id.node)
            kept = 0;
        if (is_tombstone(r) && ++kept > TOMBSTONES_MAX)
            table_remove(t, r);
    }
}
