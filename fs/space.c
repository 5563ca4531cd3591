/* fs/space.c - the free table: taking runs, giving them back, quarantine.
 * Submits no DISCARD (coord.c does) and knows no metadata chunk (chunk.c).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/space.h"
#include "fs/extent.h"

/* From this size on a run starts on its own multiple: 1 MiB. */
enum { ALIGNED_RUN_BLOCKS = 256 };

uint64_t space_available(const struct meta *m)
{
    uint64_t all = m->counts.free_blocks + m->counts.pending_blocks;

    return all > m->reserve_blocks ? all - m->reserve_blocks : 0;
}

/* The row at the statement. */
static struct lun_run read_run(struct meta *m, enum sql sql)
{
    struct lun_run run = {db_u64(m->db, sql, 0), db_u64(m->db, sql, 1)};

    db_end(m->db, sql);
    return run;
}

/* The free run that begins at, or holds, `goal`. */
static enum err run_at_goal(struct meta *m, uint64_t goal,
                            struct lun_run *ret_run)
{
    struct lun_run run;
    enum err e = db_first(m->db, SQL_FREE_BEFORE, DB_INT(goal));

    if (e)
        return e;
    run = read_run(m, SQL_FREE_BEFORE);
    if (goal - run.lun_block >= run.count)
        return E_NODATA;
    *ret_run = run;
    return E_OK;
}

static enum err run_that_fits(struct meta *m, uint64_t count,
                              struct lun_run *ret_run)
{
    enum err e = db_first(m->db, SQL_FREE_FIT, DB_INT(count));

    if (e)
        return e;
    *ret_run = read_run(m, SQL_FREE_FIT);
    return E_OK;
}

static enum err run_largest(struct meta *m, struct lun_run *ret_run)
{
    enum err e = db_first(m->db, SQL_FREE_LARGEST);

    if (e)
        return e == E_NODATA ? E_VOL_FULL : e;
    *ret_run = read_run(m, SQL_FREE_LARGEST);
    return E_OK;
}

/* Cut [first, first + count) out of a row of the free table. */
static enum err cut_run(struct meta *m, const struct lun_run *row,
                        uint64_t first, uint64_t count)
{
    uint64_t before = first - row->lun_block;
    uint64_t after = row->count - before - count;
    enum err e = E_OK;

    if (before)
        e = db_run(m->db, SQL_FREE_PUT, DB_INT(row->lun_block), DB_INT(before));
    else
        e = db_run(m->db, SQL_FREE_DROP, DB_INT(row->lun_block));
    if (!e && after)
        e = db_run(m->db, SQL_FREE_PUT, DB_INT(first + count), DB_INT(after));
    return e;
}

/* Which row to cut, and where. */
static enum err choose_run(struct meta *m, const struct space_wish *wish,
                           uint64_t count, struct lun_run *ret_row,
                           uint64_t *ret_first)
{
    bool aligned = count >= ALIGNED_RUN_BLOCKS;
    uint64_t pad = aligned ? ALIGNED_RUN_BLOCKS - 1 : 0;
    enum err e = E_NODATA;

    if (wish->goal) {
        e = run_at_goal(m, wish->goal, ret_row);
        if (e != E_NODATA) {
            *ret_first = wish->goal;
            return e;
        }
    }
    e = run_that_fits(m, count + pad, ret_row);
    if (!e && aligned) {
        *ret_first = align_up(ret_row->lun_block, ALIGNED_RUN_BLOCKS);
        return E_OK;
    }
    if (e == E_NODATA && aligned)
        e = run_that_fits(m, count, ret_row);
    if (e == E_NODATA)
        e = run_largest(m, ret_row);
    if (!e)
        *ret_first = ret_row->lun_block;
    return e;
}

enum err space_take(struct meta *m, const struct space_wish *wish,
                    struct lun_run *ret_run)
{
    uint64_t count = wish->count, first;
    struct lun_run row;
    enum err e;

    if (!wish->from_reserve)
        count = min_u64(count, space_available(m));
    count = min_u64(count, m->counts.free_blocks);
    if (!count)
        return E_VOL_FULL;
    e = choose_run(m, wish, count, &row, &first);
    if (e)
        return e;
    count = min_u64(count, row.lun_block + row.count - first);
    e = cut_run(m, &row, first, count);
    if (e)
        return e;
    m->counts.free_blocks -= count;
    *ret_run = (struct lun_run){first, count};
    return E_OK;
}

enum err space_give(struct meta *m, const struct lun_run *run)
{
    struct lun_run all = *run, before;
    enum err e;

    if (!run->count)
        return E_OK;
    m->counts.free_blocks += run->count;
    e = db_first(m->db, SQL_FREE_BEFORE, DB_INT(run->lun_block));
    if (!e) {
        before = read_run(m, SQL_FREE_BEFORE);
        if (before.lun_block + before.count > run->lun_block)
            return E_CORRUPT; /* freed twice */
        if (before.lun_block + before.count == run->lun_block) {
            all.lun_block = before.lun_block;
            all.count += before.count;
        }
    } else if (e != E_NODATA) {
        return e;
    }
    e = db_first(m->db, SQL_FREE_GET, DB_INT(run->lun_block + run->count));
    if (!e) {
        all.count += db_u64(m->db, SQL_FREE_GET, 0);
        db_end(m->db, SQL_FREE_GET);
        e = db_run(m->db, SQL_FREE_DROP, DB_INT(run->lun_block + run->count));
    }
    if (e && e != E_NODATA)
        return e;
    return db_run(m->db, SQL_FREE_PUT, DB_INT(all.lun_block),
                  DB_INT(all.count));
}

enum err space_retire(struct meta *m, const struct lun_run *run)
{
    m->counts.pending_blocks += run->count;
    return db_run(m->db, SQL_PENDING_NEW, DB_INT(run->lun_block),
                  DB_INT(run->count));
}

enum err space_pending(struct meta *m, struct lun_run *ret_runs, size_t max,
                       size_t *ret_count)
{
    size_t n = 0;
    enum err e = db_first(m->db, SQL_PENDING_LIST, DB_INT(max));

    while (!e) {
        ASSERT(n < max);
        ret_runs[n].lun_block = db_u64(m->db, SQL_PENDING_LIST, 0);
        ret_runs[n].count = db_u64(m->db, SQL_PENDING_LIST, 1);
        n++;
        e = db_next(m->db, SQL_PENDING_LIST);
    }
    if (e != E_NODATA)
        return e;
    *ret_count = n;
    return E_OK;
}

enum err space_release(struct meta *m, const struct lun_run *run)
{
    enum err e = db_run(m->db, SQL_PENDING_DROP, DB_INT(run->lun_block));

    if (e)
        return e;
    m->counts.pending_blocks -= run->count;
    return space_give(m, run);
}

/* -- orphans --------------------------------------------------------------- */

enum err orphan_reap(struct meta *m, fs_ino ino)
{
    const struct block_range all = {0, FILE_BLOCKS_MAX};
    unsigned budget = META_SLICE_EXTENTS;
    struct inode inode;
    enum err e = inode_get(m, ino, &inode);

    if (!e)
        e = extent_remove(m, &inode, all, EXTENT_TO_PENDING, &budget);
    if (e)
        return e;
    if (budget)
        return inode_drop(m, ino);
    m->reap_wanted = true; /* the rest in the background */
    return inode_put(m, &inode);
}

enum err orphan_next(struct meta *m, fs_ino after, fs_ino *ret_ino)
{
    fs_ino ino = after;
    enum err e;

    do {
        e = db_first(m->db, SQL_ORPHAN_NEXT, DB_INT(ino));
        if (e)
            return e;
        ino = db_u64(m->db, SQL_ORPHAN_NEXT, 0);
        db_end(m->db, SQL_ORPHAN_NEXT);
    } while (file_find(m, ino));
    *ret_ino = ino;
    return E_OK;
}
