/* fs/client_range.c - range locks inside one open file.
 * Wakes nobody itself: it says who was granted.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client_range.h"

static const bool together[4][4] = {
  /* clang-format off */
    [RANGE_READ]   = {true,  true,  true,  false},
    [RANGE_WRITE]  = {true,  true,  false, false},
    [RANGE_MODIFY] = {true,  false, false, false},
    [RANGE_FREE]   = {false, false, false, false},
  /* clang-format on */
};

void range_locks_init(struct range_locks *locks)
{
    list_init(&locks->held);
    list_init(&locks->waiting);
    locks->strict = 0;
}

static bool is_strict(const struct fs_range *r)
{
    return r->mode >= RANGE_MODIFY;
}

static bool conflict(const struct fs_range *a, const struct fs_range *b)
{
    return !together[a->mode][b->mode] && a->first < b->end &&
           b->first < a->end;
}

/* Does `r` conflict with a member of the list before `stop`? */
static bool conflicts_in(struct list *head, struct list *stop,
                         const struct fs_range *r)
{
    for (struct list *at = head->next; at != stop; at = at->next)
        if (conflict(container_of(at, struct fs_range, link), r))
            return true;
    return false;
}

static void hold(struct range_locks *locks, struct fs_range *r)
{
    r->held = true;
    locks->strict += is_strict(r);
    list_push_back(&locks->held, &r->link);
}

bool range_lock(struct range_locks *locks, struct fs_range *r)
{
    bool easy = !is_strict(r) && !locks->strict;

    if ((!easy && conflicts_in(&locks->held, &locks->held, r)) ||
        conflicts_in(&locks->waiting, &locks->waiting, r)) {
        list_push_back(&locks->waiting, &r->link);
        return false;
    }
    hold(locks, r);
    return true;
}

void range_unlock(struct range_locks *locks, struct fs_range *r,
                  struct list *granted)
{
    ASSERT(r->held);
    r->held = false;
    locks->strict -= is_strict(r);
    list_remove(&r->link);
    list_for_each (at, &locks->waiting) {
        struct fs_range *w = container_of(at, struct fs_range, link);

        if (conflicts_in(&locks->held, &locks->held, w) ||
            conflicts_in(&locks->waiting, at, w))
            continue;
        list_remove(at);
        hold(locks, w);
        list_push_back(granted, &w->granted);
    }
}
