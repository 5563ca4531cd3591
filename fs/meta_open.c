/* fs/meta_open.c - OPEN and CLOSE: an unlinked file lives while it is open.
 * Opens are in RAM only (meta_share.c): after a restart nobody has any.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/extent.h"
#include "fs/space.h"

enum err op_open(struct op *op)
{
    const fs_open_args *args = OP_ARGS(op, open);
    struct inode inode;
    enum err e = inode_get(op->m, args->ino, &inode);

    if (!e && args->write)
        e = handle_allows(op, args->ino, 0);
    if (!e)
        e = share_open(op, args->ino, args->write);
    if (!e)
        *OP_RESULT(op, open) = inode.attr;
    return e;
}

/* Nobody uses the file any more: give back what was allocated ahead of its
 * writer, and the whole of it if it has no name. */
static enum err last_close(struct op *op, struct file *file)
{
    struct meta *m = op->m;
    unsigned budget = META_SLICE_EXTENTS;
    struct block_range beyond = {0, FILE_BLOCKS_MAX};
    struct inode inode;
    enum err e = inode_get(m, file->ino, &inode);

    if (e)
        return e == E_STALE ? E_OK : e;
    if (!inode.attr.nlink) {
        m->reap_wanted = true;
        return E_OK;
    }
    if (!file->ahead)
        return E_OK;
    beyond.first = blocks_of(inode.attr.size_bytes);
    if (!(inode.flags & INODE_KEEP)) {
        e = extent_remove(m, &inode, beyond, EXTENT_TO_FREE, &budget);
        if (!e)
            e = inode_put(m, &inode);
    }
    op->more = !e && !budget;
    if (e || op->more)
        return e;
    return db_run(m->db, SQL_AHEAD_DROP, DB_INT(file->ino));
}

/* Of what is not open any more, too: the answer was lost. */
enum err op_close(struct op *op)
{
    const fs_close_args *args = OP_ARGS(op, close);
    struct file *file = file_find(op->m, args->ino);
    struct hold *hold = file ? hold_find(file, op->sender) : NULL;

    if (!hold)
        return E_OK;
    if (args->only_writing) {
        hold->write = false;
        return E_OK;
    }
    if (file_is_alone(file, hold)) {
        enum err e = last_close(op, file);

        if (e || op->more)
            return e;
        file->ahead = false;
    }
    op->m->opens -= hold->open;
    hold->open = hold->write = false;
    share_lower(op->m, file, hold, FS_IOMODE_NONE);
    hold_put(file, hold);
    return E_OK;
}
