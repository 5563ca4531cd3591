/* fs/check.c - is a volume sound?  From the outside in: superblock copies, the
 * database as SQLite sees it, then its rows as a file system.
 * Mends only what the rest of the volume proves; never guesses at data.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void check_found(struct check *c, bool mended, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    c->result->found++;
    c->result->mended += mended;
    if (c->args->report)
        c->args->report(c->args->arg, text, mended);
}

/* -- statements ------------------------------------------------------------ */

enum err check_prepare(struct check *c, const char *sql,
                       sqlite3_stmt **ret_stmt)
{
    int rc = sqlite3_prepare_v2(c->db->conn, sql, -1, ret_stmt, NULL);

    return rc == SQLITE_OK ? E_OK : db_error(c->db, rc, NULL);
}

void check_end(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
    *stmt = NULL;
}

enum err check_step(struct check *c, sqlite3_stmt **stmt)
{
    int rc = sqlite3_step(*stmt);
    enum err e;

    if (rc == SQLITE_ROW)
        return E_OK;
    e = rc == SQLITE_DONE ? E_NODATA : db_error(c->db, rc, NULL);
    check_end(stmt);
    return e;
}

enum err check_exec(struct check *c, const char *sql)
{
    int rc = sqlite3_exec(c->db->conn, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? E_OK : db_error(c->db, rc, NULL);
}

/* -- superblock ------------------------------------------------------------ */

static enum err check_copies(struct check *c, struct store *lun,
                             const struct super_copies *copies,
                             struct diag *why)
{
    bool bad = false;

    for (int i = 0; i < SUPER_COPIES; i++) {
        if (copies->current[i])
            continue;
        bad = true;
        check_found(c, c->args->repair,
                    "superblock copy at byte %" PRIu64 " is %s", copies->at[i],
                    copies->valid[i] ? "out of date" : "damaged");
    }
    return bad && c->args->repair ? super_save(lun, &c->super, why) : E_OK;
}

/* -- node blocks ----------------------------------------------------------- */

/* A copy that its owner tore says nothing that the other one lacks: what it was
 * to claim, nobody has got.  Blank, it is as good as never used. */
static enum err check_node(struct check *c, struct store *lun,
                           const struct node_area *area, uint32_t node)
{
    static const struct node_disk blank;
    struct diag why = {{0}};
    struct node_block block;
    uint64_t sequence;
    uint32_t torn;
    enum err e = node_area_get(area, c->super.uuid, node, &block, &sequence,
                               &torn, &why);

    if (torn)
        check_found(c, c->args->repair, "node block %u: %s%s", node,
                    e ? "" : "one copy: ", diag_text(&why, E_CORRUPT));
    e = E_OK;
    for (uint32_t copy = 0; copy < NODE_COPIES && !e && c->args->repair; copy++)
        if (torn >> copy & 1)
            e = store_write_sync(lun, node_copy_at(node, copy), &blank,
                                 sizeof blank);
    return e;
}

static enum err check_nodes(struct check *c, struct store *lun,
                            struct diag *why)
{
    AUTO(freep) struct node_area *area = calloc(1, sizeof *area);
    enum err e = area ? E_OK : E_NOMEM;

    if (!e)
        e = store_read_sync(lun, NODE_BLOCKS_AT, area, sizeof *area);
    for (uint32_t i = 1; i <= FS_NODES_MAX && !e; i++)
        e = check_node(c, lun, area, i);
    if (!e && c->args->repair)
        e = store_flush_sync(lun);
    return e ? diag_fail(why, e, "node blocks: %s", err_text(e)) : E_OK;
}

/* -- the database as such ---------------------------------------------------
 */

/* SQLite's own check reads every page, so checksums are compared too.
 * *ret_sound: the rows can be believed. */
static enum err check_integrity(struct check *c, bool *ret_sound)
{
    sqlite3_stmt *s;
    enum err e = check_prepare(c, "PRAGMA integrity_check", &s);

    *ret_sound = true;
    if (e)
        return e;
    while (!(e = check_step(c, &s))) {
        const char *line = (const char *)sqlite3_column_text(s, 0);

        if (!line || strcmp(line, "ok") == 0)
            continue;
        check_found(c, false, "database: %s", line);
        *ret_sound = false;
    }
    return e == E_NODATA ? E_OK : e;
}

/* The superblock knows no chunk that the database does not own; the reverse is
 * a crash that the next open mends. */
static enum err check_chunks(struct check *c)
{
    uint32_t i = 0;
    enum err e = db_first(c->db, SQL_CHUNK_LIST);

    for (; !e && i < c->super.chunk_count; i++) {
        const struct chunk *k = &c->super.chunks[i];

        if (db_u64(c->db, SQL_CHUNK_LIST, 0) != k->lun_block ||
            db_u64(c->db, SQL_CHUNK_LIST, 1) != k->blocks ||
            db_u64(c->db, SQL_CHUNK_LIST, 2) != (uint64_t)k->kind)
            check_found(c, false,
                        "metadata chunk %u of the superblock (block %" PRIu64
                        ") is another in the database",
                        i, k->lun_block);
        e = db_next(c->db, SQL_CHUNK_LIST);
    }
    if (!e)
        db_end(c->db, SQL_CHUNK_LIST);
    if (i < c->super.chunk_count)
        check_found(c, false,
                    "metadata chunk %u of the superblock is unknown "
                    "to the database",
                    i);
    return e == E_NODATA ? E_OK : e;
}

static enum err check_uuid(struct check *c)
{
    const void *uuid;
    size_t len;
    enum err e = db_first(c->db, SQL_VOLUME_GET, DB_TEXT("uuid"));

    if (!e) {
        uuid = db_bytes(c->db, SQL_VOLUME_GET, 0, &len);
        if (len != sizeof c->super.uuid ||
            memcmp(uuid, c->super.uuid, len) != 0)
            e = E_NODATA;
        db_end(c->db, SQL_VOLUME_GET);
    }
    if (e == E_NODATA)
        check_found(c, false,
                    "the database is not this volume's: its UUID is "
                    "missing, or another");
    return e == E_NODATA ? E_OK : e;
}

enum err check_database(struct check *c)
{
    bool sound;
    enum err e = check_exec(c, "BEGIN");

    if (!e)
        e = check_integrity(c, &sound);
    if (!e && sound)
        e = check_uuid(c);
    if (!e && sound)
        e = check_chunks(c);
    if (!e && sound)
        e = check_names(c);
    if (!e && sound)
        e = check_space(c);
    return e ? e : check_exec(c, "COMMIT");
}

static void vfs_freep(struct vfs **v)
{
    vfs_free(*v);
}

static enum err open_and_check(struct check *c, struct store *lun,
                               struct diag *why)
{
    AUTO(vfs_freep) struct vfs *vfs = NULL;
    AUTO(db_closep) struct db *db = NULL;
    enum err e = vfs_new(lun, &c->super, why, &vfs);

    if (!e)
        e = db_open(vfs, why, &db);
    if (e)
        return e;
    if (!c->args->repair)
        db_leave_untouched(db);
    c->db = db;
    e = check_database(c);
    if (e)
        return diag_fail(why, e, "database: %s", sqlite3_errmsg(db->conn));
    return E_OK;
}

enum err fs_check(struct store *lun, const struct fs_check_args *args,
                  struct fs_check_result *ret_result, struct diag *why)
{
    struct fs_check_result result = {0};
    AUTO(freep) struct check *c = calloc(1, sizeof *c);
    struct super_copies copies;
    enum err e;

    if (!c)
        return E_NOMEM;
    c->args = args;
    c->result = &result;
    e = super_load(lun, &c->super, &copies, why);
    if (!e)
        e = check_copies(c, lun, &copies, why);
    if (!e)
        e = check_nodes(c, lun, why);
    if (!e)
        e = open_and_check(c, lun, why);
    if (e)
        return e;
    *ret_result = result;
    return E_OK;
}
