/* fs/chunk.c - see chunk.h.  Gives no chunk back: a database that was large
 * once will be again.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/chunk.h"
#include "fs/space.h"

#include <inttypes.h>

enum {
    CHUNK_BLOCKS_MIN = 64,
    CHUNK_BLOCKS_USUAL = 1024,
    CHUNK_BLOCKS_MAX = 65536
};

/* -- opening --------------------------------------------------------------- */

/* Make the chunk readable as zeros, and known. */
static enum err enter_chunk(const struct chunk_world *w,
                            const struct chunk *chunk, struct diag *why)
{
    enum err e;

    if (w->super->chunk_count == SUPER_CHUNKS_MAX)
        return diag_fail(why, E_VOL_FULL,
                         "the superblock has no room for "
                         "another metadata chunk");
    e = lun_zero(w->lun, chunk->lun_block * FS_BLOCK_BYTES,
                 (uint64_t)chunk->blocks * FS_BLOCK_BYTES);
    if (e)
        return diag_fail(why, e, "metadata chunk at block %" PRIu64 ": %s",
                         chunk->lun_block, err_text(e));
    w->super->chunks[w->super->chunk_count++] = *chunk;
    e = super_save(w->lun, w->super, why);
    if (e)
        return e;
    vfs_set_chunks(w->vfs, w->super);
    return db_limit_pages(w->db);
}

static bool same_chunk(const struct chunk *a, const struct chunk *b)
{
    return a->lun_block == b->lun_block && a->blocks == b->blocks &&
           a->kind == b->kind;
}

static enum err load_chunks(struct db *db, struct chunk *ret_chunks,
                            uint32_t *ret_count)
{
    uint32_t n = 0;
    enum err e = db_first(db, SQL_CHUNK_LIST);

    for (; !e && n < SUPER_CHUNKS_MAX; e = db_next(db, SQL_CHUNK_LIST))
        ret_chunks[n++] = (struct chunk){
            .lun_block = db_u64(db, SQL_CHUNK_LIST, 0),
            .blocks = (uint32_t)db_u64(db, SQL_CHUNK_LIST, 1),
            .kind = (enum chunk_kind)db_u64(db, SQL_CHUNK_LIST, 2),
        };
    if (!e)
        db_end(db, SQL_CHUNK_LIST);
    *ret_count = n;
    return e == E_NODATA ? E_OK : e ? e : E_CORRUPT;
}

enum err chunk_reconcile(const struct chunk_world *w, struct diag *why)
{
    AUTO(freep)
    struct chunk *owned = calloc(SUPER_CHUNKS_MAX, sizeof *owned);
    uint32_t count = 0;
    enum err e = owned ? load_chunks(w->db, owned, &count) : E_NOMEM;

    if (e)
        return diag_fail(why, e, "table of metadata chunks: %s", err_text(e));
    for (uint32_t i = 0; i < w->super->chunk_count; i++)
        if (i >= count || !same_chunk(&owned[i], &w->super->chunks[i]))
            return diag_fail(why, E_CORRUPT,
                             "metadata chunk %u of the superblock (block "
                             "%" PRIu64 ") is not the database's",
                             i, w->super->chunks[i].lun_block);
    for (uint32_t i = w->super->chunk_count; i < count; i++) {
        e = enter_chunk(w, &owned[i], why);
        if (e)
            return e;
    }
    return E_OK;
}

/* -- growing --------------------------------------------------------------- */

enum err chunk_pages_left(const struct chunk_world *w, uint64_t *ret_pages)
{
    uint64_t pages, unused = 0, max = vfs_db_pages_max(w->vfs);
    enum err e = db_number(w->db, SQL_PAGES, &pages);

    if (!e && pages + CHUNK_PAGES_LOW > max)
        e = db_number(w->db, SQL_PAGES_UNUSED, &unused);
    if (!e)
        *ret_pages = (max > pages ? max - pages : 0) + unused;
    return e;
}

/* A quarter of what there is, in one piece. */
static enum err take_run(struct meta *m, uint64_t want, struct lun_run *ret_run)
{
    const struct space_wish wish = {.count = want, .from_reserve = true};
    enum err e = space_take(m, &wish, ret_run);

    if (!e && ret_run->count < CHUNK_BLOCKS_MIN)
        return E_VOL_FULL; /* the caller rolls back */
    return e;
}

static enum err own_chunk(const struct chunk_world *w, struct meta *m,
                          struct chunk *ret_chunk)
{
    uint64_t have = vfs_db_pages_max(w->vfs) / 4;
    uint64_t want =
        min_u64(max_u64(have, CHUNK_BLOCKS_USUAL), CHUNK_BLOCKS_MAX);
    struct lun_run run;
    enum err e = take_run(m, want, &run);

    if (e)
        return e;
    *ret_chunk = (struct chunk){
        .lun_block = run.lun_block,
        .blocks = (uint32_t)run.count,
        .kind = CHUNK_DB,
    };
    return db_run(w->db, SQL_CHUNK_NEW, DB_INT(run.lun_block),
                  DB_INT(run.count), DB_INT(CHUNK_DB));
}

enum err chunk_grow(const struct chunk_world *w, struct meta *m,
                    struct diag *why)
{
    const struct meta_counts before = m->counts;
    struct chunk chunk;
    enum err e;

    if (w->super->chunk_count == SUPER_CHUNKS_MAX)
        return E_VOL_FULL;
    e = db_run(w->db, SQL_BEGIN);
    if (!e)
        e = own_chunk(w, m, &chunk);
    if (!e)
        e = db_run(w->db, SQL_COMMIT);
    if (e) {
        m->counts = before;
        if (!sqlite3_get_autocommit(w->db->conn) && db_run(w->db, SQL_ROLLBACK))
            return diag_fail(why, E_IO, "metadata: roll-back failed");
        return e;
    }
    return enter_chunk(w, &chunk, why);
}
