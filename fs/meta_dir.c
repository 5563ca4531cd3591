/* fs/meta_dir.c - directory entries: find, add, drop, list.
 * Touches no inode but to list it.
 *
 * An entry's key in its directory is its cookie: 59 bits of the name's hash,
 * times 16, plus the number among names of the same hash.  So one tree serves
 * lookups and listings, and a listing goes on at a cookie whatever was added
 * or dropped meanwhile.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/meta.h"

#include <string.h>
#include <sys/stat.h>

enum { COOKIE_SHIFT = 4 };
static_assert(1 << COOKIE_SHIFT == DENTRY_TWINS, "room for twins");

/* FNV-1a, 64 bits; never 0, so that cookies below 16 are the front end's. */
uint64_t dentry_cookie(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        hash = (hash ^ *c) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 32) & (UINT64_MAX >> (COOKIE_SHIFT + 1));
    return (hash ? hash : 1) << COOKIE_SHIFT;
}

static enum err name_check(const char *name)
{
    size_t len = strlen(name);

    if (len == 0)
        return E_NOENT;
    if (len > FS_NAME_MAX)
        return E_NAME_TOO_LONG;
    return strchr(name, '/') ? E_INVAL : E_OK;
}

enum err dentry_get(struct meta *m, fs_ino parent, const char *name,
                    struct dentry *ret_dentry)
{
    uint64_t cookie = dentry_cookie(name);
    enum err e = name_check(name);

    if (e)
        return e;
    e = db_first(m->db, SQL_DENTRY_GET, DB_INT(parent), DB_INT(cookie),
                 DB_INT(cookie + DENTRY_TWINS - 1),
                 DB_BYTES(name, strlen(name)));
    if (e)
        return e == E_NODATA ? E_NOENT : e;
    ret_dentry->ino = db_u64(m->db, SQL_DENTRY_GET, 0);
    ret_dentry->cookie = db_u64(m->db, SQL_DENTRY_GET, 1);
    db_end(m->db, SQL_DENTRY_GET);
    return E_OK;
}

/* The first cookie of the name's hash that is not taken. */
static enum err free_cookie(struct meta *m, fs_ino parent, const char *name,
                            uint64_t *ret_cookie)
{
    uint64_t cookie = dentry_cookie(name), end = cookie + DENTRY_TWINS;
    enum err e = db_first(m->db, SQL_DENTRY_SLOTS, DB_INT(parent),
                          DB_INT(cookie), DB_INT(end - 1));

    while (!e && db_u64(m->db, SQL_DENTRY_SLOTS, 0) == cookie) {
        cookie++;
        e = db_next(m->db, SQL_DENTRY_SLOTS);
    }
    if (!e)
        db_end(m->db, SQL_DENTRY_SLOTS);
    if (e && e != E_NODATA)
        return e;
    if (cookie == end)
        return E_VOL_FULL; /* seventeen names of one 59-bit hash */
    *ret_cookie = cookie;
    return E_OK;
}

enum err dentry_new(struct meta *m, fs_ino parent, const char *name, fs_ino ino)
{
    uint64_t cookie;
    enum err e = name_check(name);

    if (!e)
        e = free_cookie(m, parent, name, &cookie);
    if (e)
        return e;
    return db_run(m->db, SQL_DENTRY_NEW, DB_INT(parent), DB_INT(cookie),
                  DB_BYTES(name, strlen(name)), DB_INT(ino));
}

enum err dentry_drop(struct meta *m, fs_ino parent, uint64_t cookie)
{
    return db_run(m->db, SQL_DENTRY_DROP, DB_INT(parent), DB_INT(cookie));
}

enum err dir_empty(struct meta *m, fs_ino ino)
{
    enum err e = db_first(m->db, SQL_DENTRY_ANY, DB_INT(ino));

    if (e)
        return e == E_NODATA ? E_OK : e;
    db_end(m->db, SQL_DENTRY_ANY);
    return E_NOTEMPTY;
}

/* -- READDIR --------------------------------------------------------------- */

static enum err read_entry(const struct op *op, fs_dirent *ret_entry)
{
    struct meta *m = op->m;
    enum { COOKIE_COLUMN = 15, NAME_COLUMN = 16 };
    struct inode inode;
    const char *name;
    size_t len;

    name = db_bytes(m->db, SQL_DENTRY_LIST, NAME_COLUMN, &len);
    if (len == 0 || len > FS_NAME_MAX || memchr(name, 0, len))
        return E_CORRUPT;
    ret_entry->name = strndup(name, len);
    if (!ret_entry->name)
        return E_NOMEM;
    inode_read(m, SQL_DENTRY_LIST, &inode);
    ret_entry->ino = inode.attr.ino;
    ret_entry->attr = inode.attr;
    ret_entry->is_written = share_is_written(m, inode.attr.ino, op->sender);
    ret_entry->cookie = db_u64(m->db, SQL_DENTRY_LIST, COOKIE_COLUMN);
    return E_OK;
}

enum err op_readdir(struct op *op)
{
    const fs_readdir_args *args = OP_ARGS(op, readdir);
    fs_readdir_result *result = OP_RESULT(op, readdir);
    uint32_t max = (uint32_t)min_u64(args->max, FS_DIRENTS_MAX);
    struct meta *m = op->m;
    struct inode dir;
    enum err e = inode_get_dir(m, args->ino, &dir);

    if (!e && max == 0)
        e = E_INVAL;
    if (e)
        return e;
    result->entries.entries_val = calloc(max, sizeof(fs_dirent));
    if (!result->entries.entries_val)
        return E_NOMEM;
    e = db_first(m->db, SQL_DENTRY_LIST, DB_INT(args->ino),
                 DB_INT(args->cookie), DB_INT(max));
    while (!e) {
        uint32_t n = result->entries.entries_len;

        e = read_entry(op, &result->entries.entries_val[n]);
        if (e) {
            db_end(m->db, SQL_DENTRY_LIST);
            return e;
        }
        result->entries.entries_len++;
        e = db_next(m->db, SQL_DENTRY_LIST);
    }
    result->eof = result->entries.entries_len < max;
    return e == E_NODATA ? E_OK : e;
}
