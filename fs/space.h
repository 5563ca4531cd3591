/* fs/space.h - free space, and the way back to it.
 *
 *   extent removed ──> pending_free ──commit──> DISCARD ──answered──> free
 *        (I2: in one transaction)       (layouts returned)
 *
 * Free space is extents in a table: its size depends on fragmentation, not on
 * the LUN's.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_SPACE_H
#define LUNAR_FS_SPACE_H

#include "fs/meta.h"

struct lun_run {
    uint64_t lun_block, count;
};

struct space_wish {
    uint64_t goal;     /* best right here; 0: anywhere */
    uint64_t count;    /* this many, fewer if there is no such run */
    bool from_reserve; /* metadata may take the last blocks */
};
/* Take one run out of the free table, of 1 … wish->count blocks.
 * Errors: E_VOL_FULL. */
MUST_CHECK enum err space_take(struct meta *m, const struct space_wish *wish,
                               struct lun_run *ret_run);
/* Put a run back, at once. */
MUST_CHECK enum err space_give(struct meta *m, const struct lun_run *run);
/* Put a run into quarantine. */
MUST_CHECK enum err space_retire(struct meta *m, const struct lun_run *run);

/* What files may still take. */
uint64_t space_available(const struct meta *m);

/* The first runs in quarantine; returns how many. */
MUST_CHECK enum err space_pending(struct meta *m, struct lun_run *ret_runs,
                                  size_t max, size_t *ret_count);
/* A run of space_pending() is discarded: quarantine ends. */
MUST_CHECK enum err space_release(struct meta *m, const struct lun_run *run);

/* A slice of an orphan's end: its extents, then the inode itself. */
MUST_CHECK enum err orphan_reap(struct meta *m, fs_ino ino);
/* The first orphan after `after` that nobody uses; E_NODATA: none. */
MUST_CHECK enum err orphan_next(struct meta *m, fs_ino after, fs_ino *ret_ino);

#endif
