/* fs/meta_rename.c - RENAME, with NOREPLACE and EXCHANGE, as renameat2(2).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/meta.h"

#include <string.h>
#include <sys/stat.h>

/* One of the two names. */
struct rename_side {
    struct inode dir;
    struct dentry dentry;
    struct inode inode;
    bool there;
};

struct rename {
    struct op *op;
    const fs_rename_args *args;
    struct rename_side from, to;
    bool same_dir;
};

static bool is_dot_or_dotdot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static enum err load_side(struct meta *m, fs_ino parent, const char *name,
                          struct rename_side *ret_side)
{
    enum err e = inode_get_dir(m, parent, &ret_side->dir);

    if (!e)
        e = dentry_get(m, parent, name, &ret_side->dentry);
    if (e)
        return e;
    e = inode_get(m, ret_side->dentry.ino, &ret_side->inode);
    ret_side->there = e == E_OK;
    return e == E_STALE ? E_CORRUPT : e;
}

/* E_INVAL: `ino` is `dir` itself or one of its ancestors. */
static enum err check_not_inside(struct meta *m, fs_ino dir, fs_ino ino)
{
    struct inode at;

    /* A damaged tree could be a ring: no tree is deeper than its inodes. */
    for (uint64_t depth = 0; depth <= m->counts.inodes; depth++) {
        enum err e;

        if (dir == ino)
            return E_INVAL;
        if (dir == FS_INO_ROOT)
            return E_OK;
        e = inode_get_dir(m, dir, &at);
        if (e)
            return e;
        dir = at.parent;
    }
    return E_CORRUPT;
}

/* The name of a disk in use stays: by it the VM finds its disk again, and a
 * child its parent. */
static enum err check_held(struct rename *r, const struct inode *inode)
{
    return inode_is(inode, S_IFDIR) ? E_OK
                                    : handle_allows(r->op, inode->attr.ino, 0);
}

static enum err check_replace(struct rename *r)
{
    const struct inode *from = &r->from.inode, *to = &r->to.inode;

    if (r->args->flags & FS_RENAME_NOREPLACE)
        return E_EXIST;
    if (inode_is(from, S_IFDIR) && !inode_is(to, S_IFDIR))
        return E_NOTDIR;
    if (!inode_is(from, S_IFDIR) && inode_is(to, S_IFDIR))
        return E_ISDIR;
    if (inode_is(to, S_IFDIR))
        return dir_empty(r->op->m, to->attr.ino);
    return check_held(r, to);
}

static enum err load(struct rename *r)
{
    const fs_rename_args *a = r->args;
    struct meta *m = r->op->m;
    enum err e;

    if (a->flags & ~(unsigned)(FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE) ||
        a->flags == (FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE))
        return E_INVAL;
    if (is_dot_or_dotdot(a->name) || is_dot_or_dotdot(a->new_name))
        return E_BUSY;
    e = load_side(m, a->parent, a->name, &r->from);
    if (e)
        return e;
    e = load_side(m, a->new_parent, a->new_name, &r->to);
    if (e && e != E_NOENT)
        return e;
    if (!a->new_name[0] || !r->to.dir.attr.nlink)
        return E_NOENT;
    if (e == E_NOENT && a->flags & FS_RENAME_EXCHANGE)
        return e;
    r->same_dir = a->parent == a->new_parent;
    return E_OK;
}

static enum err check(struct rename *r)
{
    struct meta *m = r->op->m;
    enum err e = check_held(r, &r->from.inode);

    if (e)
        return e;
    if (inode_is(&r->from.inode, S_IFDIR) && !r->same_dir)
        e = check_not_inside(m, r->args->new_parent, r->from.inode.attr.ino);
    if (!e && r->args->flags & FS_RENAME_EXCHANGE) {
        if (inode_is(&r->to.inode, S_IFDIR) && !r->same_dir)
            e = check_not_inside(m, r->args->parent, r->to.inode.attr.ino);
        return e ? e : check_held(r, &r->to.inode);
    }
    return e || !r->to.there ? e : check_replace(r);
}

/* A directory that changes its parent takes its ".." link along. */
static void move_links(struct rename *r, struct inode *moved,
                       struct rename_side *from, struct rename_side *to)
{
    if (!inode_is(moved, S_IFDIR))
        return;
    moved->parent = to->dir.attr.ino;
    from->dir.attr.nlink--;
    if (r->same_dir)
        from->dir.attr.nlink++;
    else
        to->dir.attr.nlink++;
}

/* Put the directories: one or two of them. */
static enum err put_dirs(struct rename *r)
{
    struct meta *m = r->op->m;
    enum err e;

    inode_modified(r->op, &r->from.dir);
    e = inode_put(m, &r->from.dir);
    if (e || r->same_dir)
        return e;
    inode_modified(r->op, &r->to.dir);
    return inode_put(m, &r->to.dir);
}

static enum err point(struct meta *m, const struct rename_side *side, fs_ino to)
{
    return db_run(m->db, SQL_DENTRY_POINT, DB_INT(to),
                  DB_INT(side->dir.attr.ino), DB_INT(side->dentry.cookie));
}

static enum err exchange(struct rename *r)
{
    struct meta *m = r->op->m;
    enum err e = point(m, &r->from, r->to.inode.attr.ino);

    if (!e)
        e = point(m, &r->to, r->from.inode.attr.ino);
    if (e)
        return e;
    move_links(r, &r->from.inode, &r->from, &r->to);
    move_links(r, &r->to.inode, &r->to, &r->from);
    inode_changed(r->op, &r->from.inode);
    inode_changed(r->op, &r->to.inode);
    e = inode_put(m, &r->from.inode);
    if (!e)
        e = inode_put(m, &r->to.inode);
    return e ? e : put_dirs(r);
}

/* The name `to` now means what `from` meant. */
static enum err enter(struct rename *r)
{
    struct meta *m = r->op->m;

    if (r->to.there)
        return point(m, &r->to, r->from.inode.attr.ino);
    return dentry_new(m, r->args->new_parent, r->args->new_name,
                      r->from.inode.attr.ino);
}

static enum err move(struct rename *r)
{
    struct meta *m = r->op->m;
    enum err e = dentry_drop(m, r->args->parent, r->from.dentry.cookie);

    if (!e)
        e = enter(r);
    if (e)
        return e;
    move_links(r, &r->from.inode, &r->from, &r->to);
    if (r->to.there && inode_is(&r->to.inode, S_IFDIR)) {
        if (r->same_dir)
            r->from.dir.attr.nlink--;
        else
            r->to.dir.attr.nlink--;
    }
    inode_changed(r->op, &r->from.inode);
    e = inode_put(m, &r->from.inode);
    if (!e)
        e = put_dirs(r);
    return e || !r->to.there ? e : inode_unlink(r->op, &r->to.inode);
}

enum err op_rename(struct op *op)
{
    struct rename r = {.op = op, .args = OP_ARGS(op, rename)};
    enum err e = load(&r);

    if (e)
        return e;
    if (r.to.there && r.to.dentry.ino == r.from.dentry.ino)
        /* Two names of one file, or one name: nothing to do (POSIX). */
        return r.args->flags & FS_RENAME_NOREPLACE ? E_EXIST : E_OK;
    e = check(&r);
    if (e)
        return e;
    return r.args->flags & FS_RENAME_EXCHANGE ? exchange(&r) : move(&r);
}
