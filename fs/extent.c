/* fs/extent.c - rows of the extent table: find, add, remove, mark, fill.
 * Knows layouts and their holders not at all.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/extent.h"
#include "fs/space.h"

static fs_extent read_row(struct meta *m, enum sql sql)
{
    return (fs_extent){
        .file_block = db_u64(m->db, sql, 0),
        .lun_block = db_u64(m->db, sql, 1),
        .count = db_u64(m->db, sql, 2),
        .state = (fs_extent_state)db_u64(m->db, sql, 3),
    };
}

/* A row as the file system wrote it, or the volume is damaged. */
static enum err check_row(const struct meta *m, const fs_extent *x)
{
    if (!x->count || !range_ok(x->file_block, x->count, FILE_BLOCKS_MAX) ||
        !range_ok(x->lun_block, x->count, m->size_blocks) ||
        x->lun_block < CHUNK0_AT / FS_BLOCK_BYTES ||
        (x->state != FS_READ_WRITE_DATA && x->state != FS_INVALID_DATA))
        return E_CORRUPT;
    return E_OK;
}

static enum err fetch(struct meta *m, enum sql sql, fs_ino ino, uint64_t block,
                      fs_extent *ret_extent)
{
    enum err e = db_first(m->db, sql, DB_INT(ino), DB_INT(block));
    fs_extent x;

    if (e)
        return e;
    x = read_row(m, sql);
    db_end(m->db, sql);
    e = check_row(m, &x);
    if (e)
        return e;
    *ret_extent = x;
    return E_OK;
}

enum err extent_at(struct meta *m, fs_ino ino, uint64_t block,
                   fs_extent *ret_extent)
{
    fs_extent x;
    enum err e = fetch(m, SQL_EXTENT_AT, ino, block, &x);

    if (!e && block - x.file_block < x.count) {
        *ret_extent = x;
        return E_OK;
    }
    if (e && e != E_NODATA)
        return e;
    e = fetch(m, SQL_EXTENT_FROM, ino, block, &x);
    if (e && e != E_NODATA)
        return e;
    *ret_extent = (fs_extent){
        .file_block = block,
        .count = (e ? FILE_BLOCKS_MAX : x.file_block) - block,
        .state = FS_NONE_DATA,
    };
    return E_OK;
}

static enum err put_row(struct meta *m, fs_ino ino, const fs_extent *x)
{
    return db_run(m->db, SQL_EXTENT_PUT, DB_INT(ino), DB_INT(x->file_block),
                  DB_INT(x->lun_block), DB_INT(x->count), DB_INT(x->state));
}

static enum err drop_row(struct meta *m, fs_ino ino, uint64_t file_block)
{
    return db_run(m->db, SQL_EXTENT_DROP, DB_INT(ino), DB_INT(file_block));
}

/* b continues a, in the file and on the LUN. */
static bool continues(const fs_extent *a, const fs_extent *b)
{
    return a->state == b->state && a->file_block + a->count == b->file_block &&
           a->lun_block + a->count == b->lun_block;
}

/* Put a row and make it one with its neighbours where that can be. */
static enum err put_joined(struct meta *m, fs_ino ino, const fs_extent *x)
{
    fs_extent all = *x, other;
    enum err e = E_NODATA;

    if (x->file_block)
        e = fetch(m, SQL_EXTENT_AT, ino, x->file_block - 1, &other);
    if (!e && continues(&other, x)) {
        all.file_block = other.file_block;
        all.lun_block = other.lun_block;
        all.count += other.count;
    } else if (e && e != E_NODATA) {
        return e;
    }
    e = fetch(m, SQL_EXTENT_FROM, ino, x->file_block + x->count, &other);
    if (!e && continues(&all, &other)) {
        all.count += other.count;
        e = drop_row(m, ino, other.file_block);
    }
    if (e && e != E_NODATA)
        return e;
    return put_row(m, ino, &all);
}

enum err extent_add(struct meta *m, struct inode *inode,
                    const fs_extent *extent)
{
    inode->attr.allocated_bytes += extent->count * FS_BLOCK_BYTES;
    return put_joined(m, inode->attr.ino, extent);
}

/* The part of x inside the range. */
static fs_extent clip(const fs_extent *x, struct block_range range)
{
    uint64_t first = max_u64(x->file_block, range.first);
    uint64_t end = min_u64(x->file_block + x->count, range.end);

    return (fs_extent){
        .file_block = first,
        .lun_block =
            x->state == FS_NONE_DATA ? 0 : x->lun_block + first - x->file_block,
        .count = end - first,
        .state = x->state,
    };
}

/* Take `part` out of row x: what is before and after it stays. */
static enum err cut_row(struct meta *m, fs_ino ino, const fs_extent *x,
                        const fs_extent *part)
{
    const fs_extent before =
        clip(x, (struct block_range){x->file_block, part->file_block});
    const uint64_t end = part->file_block + part->count;
    const fs_extent after =
        clip(x, (struct block_range){end, x->file_block + x->count});
    enum err e;

    if (before.count)
        e = put_row(m, ino, &before);
    else
        e = drop_row(m, ino, x->file_block);
    if (!e && after.count)
        e = put_row(m, ino, &after);
    return e;
}

enum err extent_remove(struct meta *m, struct inode *inode,
                       struct block_range range, enum extent_fate fate,
                       unsigned *budget)
{
    /* From the end: what a crash leaves is a shorter file. */
    while (range.first < range.end && *budget) {
        fs_extent x, part;
        struct lun_run run;
        enum err e =
            fetch(m, SQL_EXTENT_AT, inode->attr.ino, range.end - 1, &x);

        if (e == E_NODATA || (!e && x.file_block + x.count <= range.first))
            return E_OK;
        if (e)
            return e;
        part = clip(&x, range);
        e = cut_row(m, inode->attr.ino, &x, &part);
        if (e)
            return e;
        run = (struct lun_run){part.lun_block, part.count};
        e = fate == EXTENT_TO_FREE ? space_give(m, &run)
                                   : space_retire(m, &run);
        if (e)
            return e;
        inode->attr.allocated_bytes -= part.count * FS_BLOCK_BYTES;
        range.end = part.file_block;
        --*budget;
    }
    return E_OK;
}

enum err extent_mark(struct meta *m, fs_ino ino, const struct extent_mark *mark,
                     unsigned *budget)
{
    uint64_t at = mark->range.first;

    while (at < mark->range.end && *budget) {
        fs_extent x, part;
        enum err e = extent_at(m, ino, at, &x);

        if (e)
            return e;
        part = clip(&x, (struct block_range){at, mark->range.end});
        at = part.file_block + part.count;
        if (x.state != mark->from)
            continue;
        if (mark->lun_block && part.lun_block != mark->lun_block +
                                                     part.file_block -
                                                     mark->range.first)
            continue; /* other blocks by now: not what was written */
        e = cut_row(m, ino, &x, &part);
        part.state = mark->to;
        if (!e)
            e = put_joined(m, ino, &part);
        if (e)
            return e;
        --*budget;
    }
    return E_OK;
}

/* Where block `at` would best be: right behind the block before it. */
static enum err fill_goal(struct meta *m, fs_ino ino, uint64_t at,
                          uint64_t *ret_goal)
{
    fs_extent x;
    enum err e;

    *ret_goal = 0;
    if (!at)
        return E_OK;
    e = fetch(m, SQL_EXTENT_AT, ino, at - 1, &x);
    if (e == E_NODATA)
        return E_OK;
    if (!e && x.file_block + x.count == at)
        *ret_goal = x.lun_block + x.count;
    return e;
}

/* Allocate up to `want` blocks of the hole at `at`. */
static enum err fill_hole(struct meta *m, struct inode *inode, uint64_t at,
                          uint64_t want, uint64_t *ret_count)
{
    struct space_wish wish = {.count = want};
    struct lun_run run;
    enum err e = fill_goal(m, inode->attr.ino, at, &wish.goal);

    if (!e)
        e = space_take(m, &wish, &run);
    if (e)
        return e;
    *ret_count = run.count;
    return extent_add(m, inode,
                      &(fs_extent){
                          .file_block = at,
                          .lun_block = run.lun_block,
                          .count = run.count,
                          .state = FS_INVALID_DATA,
                      });
}

enum err extent_fill(struct meta *m, struct inode *inode,
                     struct block_range range, uint64_t ahead, unsigned *budget)
{
    uint64_t at = range.first;

    while (at < range.end && *budget) {
        fs_extent x;
        uint64_t hole_end, want, got;
        enum err e = extent_at(m, inode->attr.ino, at, &x);

        if (e)
            return e;
        hole_end = x.file_block + x.count;
        if (x.state != FS_NONE_DATA) {
            at = hole_end;
            continue;
        }
        want = min_u64(hole_end, range.end) - at;
        if (hole_end > range.end)
            want = min_u64(want + ahead, hole_end - at);
        e = fill_hole(m, inode, at, want, &got);
        if (e)
            return e;
        at += got;
        --*budget;
    }
    return E_OK;
}
