/* fs/meta_attr.c - GETATTR, SETATTR (truncation too), STATFS.
 * Who may change what is the kernel's; what else changes with it is ours.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/extent.h"
#include "fs/space.h"

#include <sys/stat.h>

enum err op_getattr(struct op *op)
{
    struct inode inode;
    enum err e = share_claim(op, *OP_ARGS(op, getattr), FS_IOMODE_READ);

    if (!e)
        e = inode_get(op->m, *OP_ARGS(op, getattr), &inode);
    if (!e)
        *OP_RESULT(op, getattr) = inode.attr;
    return e;
}

enum err op_statfs(struct op *op)
{
    const struct meta *m = op->m;

    *OP_RESULT(op, statfs) = (fs_statfs){
        .blocks = m->size_blocks,
        .free_blocks = m->counts.free_blocks + m->counts.pending_blocks,
        .available_blocks = space_available(m),
        .inodes = m->counts.inodes,
    };
    return E_OK;
}

/* As a write or chown does: no set-user-ID program changes hands or content. */
static void kill_priv(struct inode *inode)
{
    if (inode_is(inode, S_IFDIR))
        return;
    inode->attr.mode &= ~(uint32_t)S_ISUID;
    if (inode->attr.mode & S_IXGRP)
        inode->attr.mode &= ~(uint32_t)S_ISGID;
}

static enum err set_mode(const struct op *op, struct inode *inode)
{
    const fs_setattr_args *args = OP_ARGS(op, setattr);

    inode->attr.mode = (inode->attr.mode & S_IFMT) | (args->mode & 07777);
    return acl_chmod(op->m, inode);
}

static void set_owner(const fs_setattr_args *args, struct inode *inode)
{
    if (args->mask & FS_SET_UID)
        inode->attr.uid = args->uid;
    if (args->mask & FS_SET_GID)
        inode->attr.gid = args->gid;
    if (args->mask & (FS_SET_UID | FS_SET_GID) && !(args->mask & FS_SET_MODE))
        kill_priv(inode);
}

static void set_times(const struct op *op, struct inode *inode)
{
    const fs_setattr_args *args = OP_ARGS(op, setattr);
    const fs_time now = time_from_ns(op->now_ns);

    if (args->mask & FS_SET_ATIME)
        inode->attr.atime = args->atime;
    if (args->mask & FS_SET_ATIME_NOW)
        inode->attr.atime = now;
    if (args->mask & FS_SET_MTIME)
        inode->attr.mtime = args->mtime;
    if (args->mask & FS_SET_MTIME_NOW)
        inode->attr.mtime = now;
    if (args->mask & FS_SET_CTIME)
        inode->attr.ctime = args->ctime;
}

static enum err check_size(const struct op *op, const struct inode *inode)
{
    const fs_setattr_args *args = OP_ARGS(op, setattr);

    if (inode_is(inode, S_IFDIR))
        return E_ISDIR;
    if (!inode_is(inode, S_IFREG))
        return E_INVAL;
    if (args->size_bytes > FS_FILE_BYTES_MAX)
        return E_TOO_BIG;
    return handle_allows(op, inode->attr.ino, args->handle);
}

/* The new size, and nothing allocated beyond it. */
static enum err set_size(struct op *op, struct inode *inode)
{
    const fs_setattr_args *args = OP_ARGS(op, setattr);
    const struct block_range cut = {blocks_of(args->size_bytes),
                                    FILE_BLOCKS_MAX};
    enum err e = check_size(op, inode);

    if (e)
        return e;
    inode->attr.size_bytes = args->size_bytes;
    inode->flags &= ~(uint32_t)INODE_KEEP;
    inode_modified(op, inode);
    return extent_cut(op, inode, cut);
}

enum err op_setattr(struct op *op)
{
    const fs_setattr_args *args = OP_ARGS(op, setattr);
    struct inode inode;
    enum err e =
        share_claim(op, args->ino,
                    args->mask & FS_SET_SIZE ? FS_IOMODE_NONE : FS_IOMODE_READ);

    if (!e)
        e = inode_get(op->m, args->ino, &inode);
    if (e)
        return e;
    inode_changed(op, &inode);
    if (args->mask & FS_SET_MODE)
        e = set_mode(op, &inode);
    if (e)
        return e;
    set_owner(args, &inode);
    if (args->mask & FS_SET_KILL_PRIV)
        kill_priv(&inode);
    if (args->mask & FS_SET_SIZE)
        e = set_size(op, &inode);
    if (e)
        return e;
    set_times(op, &inode);
    e = inode_put(op->m, &inode);
    if (!e)
        *OP_RESULT(op, setattr) = inode.attr;
    return e;
}
