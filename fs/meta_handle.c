/* fs/meta_handle.c - handles: which VM owns which disk (I8).
 * The rules are lockmgr's; this stores their outcome in the same transaction.
 * A row stays when its handle is given up, so that generations only grow.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/meta.h"
#include "lockmgr/lockmgr.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { HANDLE_ROWS_MAX = 4096 }; /* VMs of one parent disk */

static enum err read_row(struct meta *m, struct lm_handle *ret_row)
{
    const char *vm;
    size_t len;

    vm = db_bytes(m->db, SQL_HANDLE_LIST, 0, &len);
    if (len == 0 || len >= sizeof ret_row->vm)
        return E_CORRUPT;
    memset(ret_row, 0, sizeof *ret_row);
    memcpy(ret_row->vm, vm, len);
    ret_row->mode = (enum lm_mode)db_u64(m->db, SQL_HANDLE_LIST, 1);
    ret_row->node = (uint32_t)db_u64(m->db, SQL_HANDLE_LIST, 2);
    ret_row->incarnation = db_u64(m->db, SQL_HANDLE_LIST, 3);
    ret_row->generation = db_u64(m->db, SQL_HANDLE_LIST, 4);
    return lm_mode_is_valid(ret_row->mode) ? E_OK : E_CORRUPT;
}

/* All rows of a file. */
static enum err load_rows(struct meta *m, fs_ino ino,
                          struct lm_handle **ret_rows, size_t *ret_count)
{
    AUTO(freep) struct lm_handle *rows = NULL;
    size_t n = 0, room = 0;
    enum err e = db_first(m->db, SQL_HANDLE_LIST, DB_INT(ino));

    while (!e) {
        if (n == room) {
            struct lm_handle *more;

            room = room ? 2 * room : 4;
            more = realloc(rows, room * sizeof *rows);
            if (more)
                rows = more;
            else
                e = E_NOMEM;
        }
        if (!e && n == HANDLE_ROWS_MAX)
            e = E_CORRUPT;
        if (!e)
            e = read_row(m, &rows[n]);
        if (e) {
            db_end(m->db, SQL_HANDLE_LIST);
            return e;
        }
        n++;
        e = db_next(m->db, SQL_HANDLE_LIST);
    }
    if (e != E_NODATA)
        return e;
    *ret_rows = TAKE(rows);
    *ret_count = n;
    return E_OK;
}

static enum err held_by(const struct op *op, const struct lm_handle *holder)
{
    if (!op->reply->owner)
        op->reply->owner = strdup(holder->vm);
    return E_HANDLE_HELD;
}

enum err handle_allows(const struct op *op, fs_ino ino,
                       uint64_t under_generation)
{
    AUTO(freep) struct lm_handle *rows = NULL;
    const struct lm_handle *holder;
    size_t count;
    enum err e = load_rows(op->m, ino, &rows, &count);

    if (e)
        return e;
    holder = lm_handle_guard(rows, count,
                             &(struct lm_handle){
                                 .node = op->sender->node,
                                 .incarnation = op->sender->incarnation,
                                 .generation = under_generation,
                             });
    return holder ? held_by(op, holder) : E_OK;
}

enum err handle_text(struct meta *m, fs_ino ino, char *buf, size_t buf_bytes)
{
    AUTO(freep) struct lm_handle *rows = NULL;
    size_t count, used = 0;
    enum err e = load_rows(m, ino, &rows, &count);

    if (e)
        return e;
    for (size_t i = 0; i < count; i++) {
        int n;

        if (rows[i].mode == LM_NL)
            continue;
        n = snprintf(buf + used, buf_bytes - used,
                     "%s%s %s node=%u "
                     "generation=%llu",
                     used ? "\n" : "", rows[i].vm, lm_mode_name(rows[i].mode),
                     rows[i].node, (unsigned long long)rows[i].generation);
        if (n < 0 || (size_t)n >= buf_bytes - used)
            break; /* as many as fit */
        used += (size_t)n;
    }
    return used ? E_OK : E_NODATA;
}

static enum err check_handle(const struct op *op, const fs_handle_args *args)
{
    struct inode inode;
    size_t len = strlen(args->vm);
    enum err e = inode_get(op->m, args->ino, &inode);

    if (e)
        return e;
    if (!inode_is(&inode, S_IFREG) || !len || len > FS_OWNER_MAX)
        return E_INVAL;
    return E_OK;
}

static enum err put_row(struct meta *m, fs_ino ino, const struct lm_handle *row)
{
    return db_run(m->db, SQL_HANDLE_PUT, DB_INT(ino), DB_TEXT(row->vm),
                  DB_INT(row->mode), DB_INT(row->node),
                  DB_INT(row->incarnation), DB_INT(row->generation));
}

static struct lm_handle wanted(const struct op *op, const fs_handle_args *args)
{
    struct lm_handle h = {
        .mode = args->mode == FS_HANDLE_EX ? LM_EX : LM_PR,
        .node = op->sender->node,
        .incarnation = op->sender->incarnation,
        .generation = args->generation,
    };

    snprintf(h.vm, sizeof h.vm, "%s", args->vm);
    return h;
}

enum err op_handle_get(struct op *op)
{
    const fs_handle_args *args = OP_ARGS(op, handle_get);
    AUTO(freep) struct lm_handle *rows = NULL;
    const struct lm_handle *holder;
    struct lm_handle want = wanted(op, args);
    const struct file *file = file_find(op->m, args->ino);
    size_t count;
    enum err e;

    if (args->mode != FS_HANDLE_EX && args->mode != FS_HANDLE_PR)
        return E_INVAL;
    e = check_handle(op, args);
    if (!e)
        e = load_rows(op->m, args->ino, &rows, &count);
    if (e)
        return e;
    if (want.mode == LM_EX && file && file_has_writer(file))
        return E_BUSY; /* somebody has it open for writing */
    holder = lm_handle_get(rows, count, &want, &want.generation);
    if (holder)
        return held_by(op, holder);
    e = put_row(op->m, args->ino, &want);
    if (!e)
        *OP_RESULT(op, generation) = want.generation;
    return e;
}

enum err op_handle_put(struct op *op)
{
    const fs_handle_args *args = OP_ARGS(op, handle_put);
    AUTO(freep) struct lm_handle *rows = NULL;
    struct lm_handle want = wanted(op, args);
    size_t count;
    enum err e = check_handle(op, args);

    if (!e)
        e = load_rows(op->m, args->ino, &rows, &count);
    if (e)
        return e;
    if (!lm_handle_is_held(rows, count, &want))
        return E_STALE;
    want.mode = LM_NL;
    return put_row(op->m, args->ino, &want);
}
