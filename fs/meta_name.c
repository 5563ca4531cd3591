/* fs/meta_name.c - names: lookup, create, link, unlink, rmdir, readlink.
 * Permissions are the kernel's (default_permissions); ownership, link counts
 * and times of what is made and dropped are decided here.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/meta.h"

#include <string.h>
#include <sys/stat.h>

static bool is_dot_or_dotdot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

enum err op_lookup(struct op *op)
{
    const fs_name_args *args = OP_ARGS(op, lookup);
    struct inode dir, inode;
    struct dentry dentry = {0};
    enum err e = inode_get_dir(op->m, args->parent, &dir);

    if (e)
        return e;
    if (strcmp(args->name, ".") == 0)
        dentry.ino = args->parent;
    else if (strcmp(args->name, "..") == 0)
        dentry.ino = dir.parent;
    else
        e = dentry_get(op->m, args->parent, args->name, &dentry);
    if (!e)
        e = share_claim(op, dentry.ino, FS_IOMODE_READ);
    if (!e)
        e = inode_get(op->m, dentry.ino, &inode);
    if (e)
        return e == E_STALE ? E_CORRUPT : e; /* an entry that leads nowhere */
    *OP_RESULT(op, lookup) = inode.attr;
    return E_OK;
}

/* -- CREATE ---------------------------------------------------------------- */

static bool is_type(uint32_t type)
{
    return type == S_IFREG || type == S_IFDIR || type == S_IFLNK ||
           type == S_IFCHR || type == S_IFBLK || type == S_IFIFO ||
           type == S_IFSOCK;
}

/* May a name be entered here?  Gives the directory. */
static enum err check_new_name(struct meta *m, fs_ino parent, const char *name,
                               struct inode *ret_dir)
{
    struct dentry dentry;
    enum err e = inode_get_dir(m, parent, ret_dir);

    if (e)
        return e;
    if (is_dot_or_dotdot(name))
        return E_EXIST;
    e = dentry_get(m, parent, name, &dentry);
    if (e == E_NOENT && name[0] && ret_dir->attr.nlink)
        return E_OK; /* it is free, and the directory is not removed */
    return e ? e : E_EXIST;
}

/* Owner, group and mode of what is made in `dir` (open(2), mkdir(2)). */
static void new_owner(const fs_create_args *args, const struct inode *dir,
                      struct inode *inode)
{
    bool inherit = dir->attr.mode & S_ISGID;

    inode->attr.uid = args->cred.uid;
    inode->attr.gid = inherit ? dir->attr.gid : args->cred.gid;
    inode->attr.mode = args->mode & (S_IFMT | 07777);
    if (inherit && inode_is(inode, S_IFDIR))
        inode->attr.mode |= S_ISGID;
    if (inode_is(inode, S_IFLNK))
        inode->attr.mode = S_IFLNK | 0777;
}

static enum err make_inode(const struct op *op, const struct inode *dir,
                           struct inode *inode)
{
    const fs_create_args *args = OP_ARGS(op, create);
    const fs_time now = time_from_ns(op->now_ns);
    enum err e;

    *inode = (struct inode){
        .attr = {.nlink = 1,
                 .change = 1,
                 .atime = now,
                 .mtime = now,
                 .ctime = now,
                 .btime = now},
    };
    new_owner(args, dir, inode);
    if (inode_is(inode, S_IFCHR) || inode_is(inode, S_IFBLK))
        inode->attr.rdev = args->rdev;
    if (inode_is(inode, S_IFDIR)) {
        inode->attr.nlink = 2;
        inode->parent = dir->attr.ino;
    }
    if (inode_is(inode, S_IFLNK))
        inode->attr.size_bytes = strlen(args->target);
    e = inode_new(op->m, inode);
    if (!e && inode_is(inode, S_IFLNK))
        return db_run(op->m->db, SQL_TARGET_PUT,
                      DB_BYTES(args->target, strlen(args->target)),
                      DB_INT(inode->attr.ino));
    return e ? e : acl_inherit(op->m, dir->attr.ino, args->cred.umask, inode);
}

static enum err check_create(const fs_create_args *args)
{
    uint32_t type = args->mode & S_IFMT;

    if (!is_type(type))
        return E_INVAL;
    if (type != S_IFLNK)
        return E_OK;
    if (!args->target || !args->target[0])
        return E_NOENT;
    return strlen(args->target) > FS_SYMLINK_MAX ? E_NAME_TOO_LONG : E_OK;
}

enum err op_create(struct op *op)
{
    const fs_create_args *args = OP_ARGS(op, create);
    struct meta *m = op->m;
    struct inode dir, inode;
    enum err e = check_create(args);

    if (!e)
        e = check_new_name(m, args->parent, args->name, &dir);
    if (!e)
        e = make_inode(op, &dir, &inode);
    if (!e)
        e = dentry_new(m, args->parent, args->name, inode.attr.ino);
    if (e)
        return e;
    if (inode_is(&inode, S_IFDIR))
        dir.attr.nlink++;
    inode_modified(op, &dir);
    e = inode_put(m, &dir);
    if (!e && args->open)                         /* last: it is not undone */
        e = share_open(op, inode.attr.ino, true); /* who creates may write */
    if (!e)
        *OP_RESULT(op, create) = inode.attr;
    return e;
}

/* -- LINK, READLINK -------------------------------------------------------- */

enum err op_link(struct op *op)
{
    const fs_link_args *args = OP_ARGS(op, link);
    struct meta *m = op->m;
    struct inode dir, inode;
    enum err e = share_claim(op, args->ino, FS_IOMODE_READ);

    if (!e)
        e = inode_get(m, args->ino, &inode);
    if (e)
        return e;
    if (inode_is(&inode, S_IFDIR))
        return E_PERM;
    if (!inode.attr.nlink)
        return E_NOENT;
    if (inode.attr.nlink >= META_LINKS_MAX)
        return E_LINKS;
    e = check_new_name(m, args->parent, args->name, &dir);
    if (!e)
        e = dentry_new(m, args->parent, args->name, args->ino);
    if (e)
        return e;
    inode.attr.nlink++;
    inode_changed(op, &inode);
    inode_modified(op, &dir);
    e = inode_put(m, &inode);
    if (!e)
        e = inode_put(m, &dir);
    if (!e)
        *OP_RESULT(op, link) = inode.attr;
    return e;
}

enum err op_readlink(struct op *op)
{
    fs_ino ino = *OP_ARGS(op, readlink);
    struct db *db = op->m->db;
    struct inode inode;
    const char *target;
    size_t len;
    enum err e = inode_get(op->m, ino, &inode);

    if (!e && !inode_is(&inode, S_IFLNK))
        e = E_INVAL;
    if (!e)
        e = db_first(db, SQL_TARGET_GET, DB_INT(ino));
    if (e)
        return e;
    target = db_bytes(db, SQL_TARGET_GET, 0, &len);
    if (len == 0 || len > FS_SYMLINK_MAX || memchr(target, 0, len)) {
        db_end(db, SQL_TARGET_GET);
        return E_CORRUPT;
    }
    *OP_RESULT(op, target) = strndup(target, len);
    db_end(db, SQL_TARGET_GET);
    return *OP_RESULT(op, target) ? E_OK : E_NOMEM;
}

/* -- UNLINK, RMDIR --------------------------------------------------------- */

/* Find the entry and what it names. */
static enum err find_entry(struct meta *m, const fs_name_args *args,
                           struct inode *ret_dir, struct dentry *ret_dentry,
                           struct inode *ret_inode)
{
    enum err e = inode_get_dir(m, args->parent, ret_dir);

    if (!e)
        e = dentry_get(m, args->parent, args->name, ret_dentry);
    if (e)
        return e;
    e = inode_get(m, ret_dentry->ino, ret_inode);
    return e == E_STALE ? E_CORRUPT : e;
}

enum err op_unlink(struct op *op)
{
    const fs_name_args *args = OP_ARGS(op, unlink);
    struct meta *m = op->m;
    struct inode dir, inode;
    struct dentry dentry;
    enum err e;

    if (is_dot_or_dotdot(args->name))
        return E_ISDIR;
    e = find_entry(m, args, &dir, &dentry, &inode);
    if (!e && inode_is(&inode, S_IFDIR))
        e = E_ISDIR;
    if (!e)
        e = handle_allows(op, inode.attr.ino, 0);
    if (!e)
        e = dentry_drop(m, args->parent, dentry.cookie);
    if (e)
        return e;
    inode_modified(op, &dir);
    e = inode_put(m, &dir);
    if (!e)
        e = inode_unlink(op, &inode);
    if (!e)
        *OP_RESULT(op, unlink) = inode.attr;
    return e;
}

enum err op_rmdir(struct op *op)
{
    const fs_name_args *args = OP_ARGS(op, rmdir);
    struct meta *m = op->m;
    struct inode dir, inode;
    struct dentry dentry;
    enum err e;

    if (strcmp(args->name, ".") == 0)
        return E_INVAL;
    if (strcmp(args->name, "..") == 0)
        return E_NOTEMPTY;
    e = find_entry(m, args, &dir, &dentry, &inode);
    if (!e && !inode_is(&inode, S_IFDIR))
        e = E_NOTDIR;
    if (!e)
        e = dir_empty(m, inode.attr.ino);
    if (!e)
        e = dentry_drop(m, args->parent, dentry.cookie);
    if (e)
        return e;
    dir.attr.nlink--;
    inode_modified(op, &dir);
    e = inode_put(m, &dir);
    return e ? e : inode_unlink(op, &inode);
}
