/* fs/inode.c - inode rows, and the RAM table of open files.
 * Decides nothing about names or permissions.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/extent.h"
#include "fs/meta.h"

#include <string.h>
#include <sys/stat.h>

/* Numbers are handed out from a stored limit, so that a crash loses some but
 * none is ever used twice. */
enum { INO_STEP = 1024 };

enum { NS_IN_S = 1000000000 };

fs_time time_from_ns(int64_t ns)
{
    int64_t s = ns / NS_IN_S, rest = ns % NS_IN_S;

    if (rest < 0) {
        s--;
        rest += NS_IN_S;
    }
    return (fs_time){.s = s, .ns = (uint32_t)rest};
}

/* 1677 … 2262; beyond it the nearest end. */
int64_t time_to_ns(fs_time t)
{
    int64_t ns;

    if (__builtin_mul_overflow((int64_t)t.s, (int64_t)NS_IN_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)t.ns, &ns))
        return t.s < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

void inode_read(struct meta *m, enum sql sql, struct inode *ret_inode)
{
    uint64_t c[15];

    for (int i = 0; i < 15; i++)
        c[i] = db_u64(m->db, sql, i);
    *ret_inode = (struct inode){
        .attr = {.ino = c[0],
                 .generation = m->generation,
                 .mode = (uint32_t)c[1],
                 .nlink = (uint32_t)c[2],
                 .uid = (uint32_t)c[3],
                 .gid = (uint32_t)c[4],
                 .rdev = (uint32_t)c[5],
                 .size_bytes = c[6],
                 .allocated_bytes = c[7] * FS_BLOCK_BYTES,
                 .change = c[8],
                 .atime = time_from_ns((int64_t)c[9]),
                 .mtime = time_from_ns((int64_t)c[10]),
                 .ctime = time_from_ns((int64_t)c[11]),
                 .btime = time_from_ns((int64_t)c[12])},
        .parent = c[13],
        .flags = (uint32_t)c[14],
    };
}

enum err inode_get(struct meta *m, fs_ino ino, struct inode *ret_inode)
{
    enum err e = db_first(m->db, SQL_INODE_GET, DB_INT(ino));

    if (e)
        return e == E_NODATA ? E_STALE : e;
    inode_read(m, SQL_INODE_GET, ret_inode);
    db_end(m->db, SQL_INODE_GET);
    return E_OK;
}

enum err inode_get_dir(struct meta *m, fs_ino ino, struct inode *ret_inode)
{
    struct inode inode;
    enum err e = inode_get(m, ino, &inode);

    if (e)
        return e;
    if (!inode_is(&inode, S_IFDIR))
        return E_NOTDIR;
    *ret_inode = inode;
    return E_OK;
}

static enum err inode_write(struct meta *m, enum sql sql,
                            const struct inode *inode)
{
    const fs_attr *a = &inode->attr;

    return db_run(m->db, sql, DB_INT(a->mode), DB_INT(a->nlink), DB_INT(a->uid),
                  DB_INT(a->gid), DB_INT(a->rdev), DB_INT(a->size_bytes),
                  DB_INT(a->allocated_bytes / FS_BLOCK_BYTES),
                  DB_INT(a->change), DB_INT(time_to_ns(a->atime)),
                  DB_INT(time_to_ns(a->mtime)), DB_INT(time_to_ns(a->ctime)),
                  DB_INT(time_to_ns(a->btime)), DB_INT(inode->parent),
                  DB_INT(inode->flags), DB_INT(a->ino));
}

enum err inode_put(struct meta *m, const struct inode *inode)
{
    return inode_write(m, SQL_INODE_PUT, inode);
}

static enum err inode_number(struct meta *m, fs_ino *ret_ino)
{
    struct meta_counts *c = &m->counts;

    if (c->next_ino == c->ino_limit) {
        enum err e = db_run(m->db, SQL_VOLUME_PUT, DB_TEXT("next_ino"),
                            DB_INT(c->ino_limit + INO_STEP));

        if (e)
            return e;
        c->ino_limit += INO_STEP;
    }
    *ret_ino = c->next_ino++;
    return E_OK;
}

enum err inode_new(struct meta *m, struct inode *inode)
{
    fs_ino ino;
    enum err e = inode_number(m, &ino);

    if (e)
        return e;
    inode->attr.ino = ino;
    inode->attr.generation = m->generation;
    m->counts.inodes++;
    return inode_write(m, SQL_INODE_NEW, inode);
}

enum err inode_drop(struct meta *m, fs_ino ino)
{
    static const enum sql tables[] = {SQL_XATTR_CLEAR, SQL_HANDLE_CLEAR,
                                      SQL_INODE_DROP, SQL_ORPHAN_DROP,
                                      SQL_AHEAD_DROP};
    enum err e = E_OK;

    for (size_t i = 0; i < ARRAY_LEN(tables) && !e; i++)
        e = db_run(m->db, tables[i], DB_INT(ino));
    if (!e)
        m->counts.inodes--;
    return e;
}

void inode_changed(const struct op *op, struct inode *inode)
{
    inode->attr.change++;
    inode->attr.ctime = time_from_ns(op->now_ns);
}

void inode_modified(const struct op *op, struct inode *inode)
{
    inode_changed(op, inode);
    inode->attr.mtime = inode->attr.ctime;
}

/* No name is left, and nobody has it open: end it in this transaction, if it
 * has few extents.  Else, and while it is open, it is an orphan. */
enum err inode_unlink(const struct op *op, struct inode *inode)
{
    const struct block_range all = {0, FILE_BLOCKS_MAX};
    unsigned budget = META_SLICE_EXTENTS;
    struct meta *m = op->m;
    enum err e = E_OK;

    inode->attr.nlink = inode_is(inode, S_IFDIR) ? 0 : inode->attr.nlink - 1;
    inode_changed(op, inode);
    if (inode->attr.nlink)
        return inode_put(m, inode);
    if (!file_find(m, inode->attr.ino)) {
        e = extent_remove(m, inode, all, EXTENT_TO_PENDING, &budget);
        if (!e && budget)
            return inode_drop(m, inode->attr.ino);
        m->reap_wanted = true;
    }
    if (!e)
        e = inode_put(m, inode);
    return e ? e : db_run(m->db, SQL_ORPHAN_NEW, DB_INT(inode->attr.ino));
}
