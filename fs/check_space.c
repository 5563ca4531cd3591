/* fs/check_space.c - every block of the volume is used exactly once: by a
 * file, by metadata, in quarantine, or free.
 * Mends the two tables of free space, which the others define; takes no block
 * from a file.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/check.h"
#include "fs/extent.h"

#include <inttypes.h>

enum { DATA_FIRST = CHUNK0_AT / FS_BLOCK_BYTES };

enum kind { KIND_FILE, KIND_CHUNK, KIND_PENDING, KIND_FREE };
static const char *const kind_names[] = {"file", "metadata chunk", "quarantine",
                                         "free space"};

struct range {
    uint64_t first, count;
    enum kind kind;
    uint64_t owner; /* a file's inode */
};

#define OWNED                                                                  \
    "SELECT lun_block AS first, count, 0 AS kind, ino AS owner FROM extent "   \
    "UNION ALL SELECT lun_block, count, 1, 0 FROM chunk"
static const char owned[] = OWNED " ORDER BY first, kind";
static const char all[] =
    OWNED " UNION ALL SELECT lun_block, count, 2, 0 FROM pending_free "
          "UNION ALL SELECT lun_block, count, 3, 0 FROM free "
          "ORDER BY first, kind";

struct walk {
    struct check *c;
    uint64_t end;      /* of the data area */
    uint64_t at;       /* blocks below this are accounted for */
    struct range last; /* what ended there */
    bool owners_sound; /* no block belongs to two files or chunks */
    bool free_exact;
    enum err (*visit)(struct walk *w, const struct range *r);
};

/* Call visit for each range of the query, in the order of the LUN. */
static enum err walk_ranges(struct walk *w, const char *query)
{
    sqlite3_stmt *s;
    enum err e = check_prepare(w->c, query, &s);

    w->at = DATA_FIRST;
    if (e)
        return e;
    while (!(e = check_step(w->c, &s))) {
        const struct range r = {
            .first = (uint64_t)sqlite3_column_int64(s, 0),
            .count = (uint64_t)sqlite3_column_int64(s, 1),
            .kind = (enum kind)sqlite3_column_int(s, 2),
            .owner = (uint64_t)sqlite3_column_int64(s, 3),
        };

        e = w->visit(w, &r);
        if (e) {
            check_end(&s);
            return e;
        }
    }
    return e == E_NODATA ? E_OK : e;
}

static bool is_inside(const struct walk *w, const struct range *r)
{
    return r->count && r->first >= DATA_FIRST &&
           range_ok(r->first, r->count, w->end);
}

static void report(struct walk *w, bool mended, const struct range *r,
                   const char *what)
{
    check_found(w->c, mended,
                "blocks %" PRIu64 "+%" PRIu64 " of %s %" PRIu64 " %s", r->first,
                r->count, kind_names[r->kind], r->owner, what);
}

static void advance(struct walk *w, const struct range *r)
{
    if (r->first + r->count > w->at) {
        w->at = r->first + r->count;
        w->last = *r;
    }
}

/* First pass: files and chunks among themselves. */
static enum err visit_owned(struct walk *w, const struct range *r)
{
    w->c->result->extents += r->kind == KIND_FILE;
    w->c->result->used_blocks += r->count;
    if (!is_inside(w, r)) {
        report(w, false, r, "lie outside the data area");
        w->owners_sound = false;
        return E_OK;
    }
    if (r->first < w->at) {
        report(w, false, r, "belong to another file or chunk too");
        report(w, false, &w->last, "is the other");
        w->owners_sound = false;
    }
    advance(w, r);
    return E_OK;
}

/* Second pass: what is free must be exactly the rest. */
static enum err visit_all(struct walk *w, const struct range *r)
{
    bool mends = w->c->args->repair && w->owners_sound;

    if (!is_inside(w, r)) {
        if (r->kind < KIND_PENDING)
            return E_OK; /* reported before */
        report(w, mends, r, "lie outside the data area");
        w->free_exact = false;
        return E_OK;
    }
    if (r->first > w->at) {
        check_found(w->c, mends,
                    "blocks %" PRIu64 "+%" PRIu64 " are neither used nor free",
                    w->at, r->first - w->at);
        w->free_exact = false;
    }
    if (r->first < w->at &&
        (r->kind >= KIND_PENDING || w->last.kind >= KIND_PENDING)) {
        report(w, mends, r, "are both used and free, or free twice");
        w->free_exact = false;
    }
    if (r->kind >= KIND_PENDING)
        w->c->result->free_blocks += r->count;
    advance(w, r);
    return E_OK;
}

/* The gap before a used range is free. */
static enum err visit_gap(struct walk *w, const struct range *r)
{
    enum err e = E_OK;

    if (r->first > w->at)
        e = db_run(w->c->db, SQL_FREE_PUT, DB_INT(w->at),
                   DB_INT(r->first - w->at));
    advance(w, r);
    return e;
}

static enum err rebuild_free(struct walk *w)
{
    enum err e = check_exec(w->c, "DELETE FROM free; DELETE FROM pending_free");

    w->visit = visit_gap;
    if (!e)
        e = walk_ranges(w, owned);
    if (!e)
        e = visit_gap(w, &(struct range){.first = w->end});
    return e;
}

static enum err check_free(struct walk *w)
{
    const struct range end = {.first = w->end};
    enum err e;

    w->visit = visit_all;
    e = walk_ranges(w, all);
    if (e)
        return e;
    if (w->at < w->end) {
        check_found(w->c, w->c->args->repair && w->owners_sound,
                    "blocks %" PRIu64 "+%" PRIu64 " are neither used nor free",
                    w->at, end.first - w->at);
        w->free_exact = false;
    }
    if (w->free_exact || !w->owners_sound || !w->c->args->repair)
        return E_OK;
    return rebuild_free(w);
}

/* -- the map of each file -------------------------------------------------- */

static enum err check_maps(struct check *c)
{
    uint64_t ino = 0, at = 0;
    sqlite3_stmt *s;
    enum err e = check_prepare(c,
                               "SELECT ino, file_block, count, state FROM "
                               "extent ORDER BY ino, file_block",
                               &s);

    if (e)
        return e;
    while (!(e = check_step(c, &s))) {
        uint64_t owner = (uint64_t)sqlite3_column_int64(s, 0);
        uint64_t first = (uint64_t)sqlite3_column_int64(s, 1);
        uint64_t count = (uint64_t)sqlite3_column_int64(s, 2);
        int state = sqlite3_column_int(s, 3);

        if (owner != ino)
            at = 0;
        if (!range_ok(first, count, FILE_BLOCKS_MAX) || first < at)
            check_found(c, false,
                        "file %" PRIu64 ": extent at block %" PRIu64
                        " overlaps another or lies outside",
                        owner, first);
        else
            at = first + count;
        if (state != FS_READ_WRITE_DATA && state != FS_INVALID_DATA)
            check_found(c, false,
                        "file %" PRIu64 ": extent at block %" PRIu64
                        " has state %d",
                        owner, first, state);
        ino = owner;
    }
    return e == E_NODATA ? E_OK : e;
}

/* Where the data area ends.  A superblock that says more than the tables is a
 * crash while the volume grew, which the next open ends. */
static enum err data_end(struct check *c, uint64_t *ret_end)
{
    uint64_t size = c->super.size_blocks, known;
    enum err e = db_first(c->db, SQL_VOLUME_GET, DB_TEXT("size_blocks"));

    *ret_end = size - 1;
    if (e == E_NODATA) {
        check_found(c, c->args->repair, "the database knows no size");
        return c->args->repair ? db_run(c->db, SQL_VOLUME_PUT,
                                        DB_TEXT("size_blocks"), DB_INT(size))
                               : E_OK;
    }
    if (e)
        return e;
    known = db_u64(c->db, SQL_VOLUME_GET, 0);
    db_end(c->db, SQL_VOLUME_GET);
    if (known > size || known <= DATA_FIRST)
        check_found(c, false,
                    "the volume has %" PRIu64 " blocks, but %" PRIu64
                    " in the database",
                    size, known);
    else
        *ret_end = known - 1;
    return E_OK;
}

enum err check_space(struct check *c)
{
    struct walk w = {
        .c = c,
        .owners_sound = true,
        .free_exact = true,
        .visit = visit_owned,
    };
    enum err e = data_end(c, &w.end);

    if (!e)
        e = walk_ranges(&w, owned);
    if (!e)
        e = check_free(&w);
    return e ? e : check_maps(c);
}
