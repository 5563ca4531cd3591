/* fs/meta_layout.c - layouts: what a client may read and write on the LUN.
 * Space is in a layout only after it was allocated durably (I2: the answer
 * leaves after the commit), and reads as zeros until its data is (I3).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/extent.h"
#include "fs/space.h"

#include <sys/stat.h>

/* How far ahead of a growing file's end space is taken: as much again as the
 * file has, so that small files stay small and large ones need few calls. */
#define AHEAD_BLOCKS_MIN (UINT64_C(64 << 10) / FS_BLOCK_BYTES)
#define AHEAD_BLOCKS_MAX (UINT64_C(64 << 20) / FS_BLOCK_BYTES)

static uint64_t ahead_blocks(const struct meta *m, const struct inode *inode,
                             uint64_t end_block)
{
    uint64_t size_blocks = blocks_of(inode->attr.size_bytes);
    uint64_t ahead = max_u64(size_blocks, AHEAD_BLOCKS_MIN);

    if (end_block < size_blocks)
        return 0; /* a hole inside the file: no more than was asked for */
    ahead = min_u64(ahead, AHEAD_BLOCKS_MAX);
    /* Little space left: do not hoard it. */
    return min_u64(ahead, space_available(m) / 16);
}

/* Allocate the holes; what lies beyond [.., must) is welcome, not needed. */
static enum err allocate(struct op *op, struct inode *inode,
                         struct block_range want, uint64_t must_end)
{
    const struct block_range must = {want.first, must_end};
    uint64_t before = inode->attr.allocated_bytes;
    uint64_t ahead = ahead_blocks(op->m, inode, want.end);
    unsigned budget = FS_EXTENTS_MAX;
    enum err e = extent_fill(op->m, inode, want, ahead, &budget);

    if (e == E_VOL_FULL)
        e = extent_fill(op->m, inode, must, 0, &budget);
    if (e || inode->attr.allocated_bytes == before)
        return e;
    inode_changed(op, inode);
    return inode_put(op->m, inode);
}

/* Blocks beyond the file's end may have been taken: note it durably, so that
 * CLOSE or the next start gives them back. */
static enum err note_ahead(struct meta *m, struct file *file)
{
    enum err e;

    if (file->ahead)
        return E_OK;
    e = db_run(m->db, SQL_AHEAD_NEW, DB_INT(file->ino));
    if (!e)
        file->ahead = true;
    return e;
}

/* List what is at [first, end), at most FS_EXTENTS_MAX pieces, and past the
 * end to the end of an allocated last piece. */
static enum err list_extents(struct op *op, fs_ino ino,
                             struct block_range range)
{
    fs_layout *layout = OP_RESULT(op, layoutget);
    fs_extent *list = calloc(FS_EXTENTS_MAX, sizeof *list);
    uint64_t at = range.first;
    u_int n = 0;

    if (!list)
        return E_NOMEM;
    layout->extents.extents_val = list;
    while (at < range.end && n < FS_EXTENTS_MAX) {
        fs_extent x;
        uint64_t skip;
        enum err e = extent_at(op->m, ino, at, &x);

        if (e)
            return e;
        skip = at - x.file_block;
        x.file_block = at;
        x.count -= skip;
        if (x.state == FS_NONE_DATA)
            x.count = min_u64(x.count, range.end - at);
        else
            x.lun_block += skip;
        list[n++] = x;
        layout->extents.extents_len = n;
        at += x.count;
    }
    return E_OK;
}

static enum err layoutget_allocate(struct op *op, struct inode *inode,
                                   struct file *file)
{
    const fs_layoutget_args *args = OP_ARGS(op, layoutget);
    struct block_range want = {
        args->off_bytes / FS_BLOCK_BYTES,
        blocks_of(args->off_bytes + args->len_bytes),
    };
    uint64_t must_end = blocks_of(args->off_bytes + args->min_bytes);
    enum err e = allocate(op, inode, want, must_end);

    if (!e)
        e = list_extents(op, inode->attr.ino, want);
    return e ? e : note_ahead(op->m, file);
}

static enum err layoutget_list(struct op *op, const struct inode *inode)
{
    const fs_layoutget_args *args = OP_ARGS(op, layoutget);

    return list_extents(op, inode->attr.ino,
                        (struct block_range){
                            args->off_bytes / FS_BLOCK_BYTES,
                            blocks_of(args->off_bytes + args->len_bytes),
                        });
}

enum err op_layoutget(struct op *op)
{
    const fs_layoutget_args *args = OP_ARGS(op, layoutget);
    struct inode inode;
    struct file *file;
    struct hold *hold;
    enum err e = inode_get(op->m, args->ino, &inode);

    if (!e && !inode_is(&inode, S_IFREG))
        e = E_INVAL;
    if (!e && (!args->len_bytes || args->min_bytes > args->len_bytes ||
               (args->iomode != FS_IOMODE_RW &&
                (args->iomode != FS_IOMODE_READ || args->allocate))))
        e = E_INVAL;
    if (!e && !range_ok(args->off_bytes, args->len_bytes, FS_FILE_BYTES_MAX))
        e = E_TOO_BIG;
    if (!e && args->may_redirect &&
        share_is_redirected(op, args->ino, args->iomode == FS_IOMODE_RW))
        e = E_REDIRECT;
    if (!e)
        e = share_claim_layout(op, args->ino, args->iomode);
    if (!e)
        e = hold_get(op, args->ino, &file, &hold);
    if (e)
        return e;
    if (args->allocate)
        e = layoutget_allocate(op, &inode, file);
    else
        e = layoutget_list(op, &inode);
    if (e) {
        hold_put(file, hold);
        return e;
    }
    if (!hold->grant)
        hold->grant = ++op->m->last_grant;
    if (hold->layout < args->iomode)
        hold->layout = args->iomode;
    OP_RESULT(op, layoutget)->grant = hold->grant;
    OP_RESULT(op, layoutget)->size_bytes = inode.attr.size_bytes;
    return E_OK;
}

/* -- LAYOUTCOMMIT, LAYOUTRETURN -------------------------------------------- */

static enum err check_grant(const struct op *op, fs_ino ino, uint64_t grant,
                            struct file **ret_file, struct hold **ret_hold)
{
    struct file *file = file_find(op->m, ino);
    struct hold *hold = file ? hold_find(file, op->sender) : NULL;

    if (!hold || !hold->grant || hold->grant != grant)
        return E_STALE;
    *ret_file = file;
    *ret_hold = hold;
    return E_OK;
}

static enum err mark_written(struct op *op, unsigned *budget)
{
    const fs_layoutcommit_args *args = OP_ARGS(op, layoutcommit);

    for (u_int i = 0; i < args->written.written_len; i++) {
        const fs_extent *x = &args->written.written_val[i];
        struct extent_mark mark = {
            .range = {x->file_block, x->file_block + x->count},
            .from = FS_INVALID_DATA,
            .to = FS_READ_WRITE_DATA,
            .lun_block = x->lun_block,
        };
        enum err e;

        if (!x->lun_block ||
            !range_ok(x->file_block, x->count, FILE_BLOCKS_MAX))
            return E_INVAL;
        e = extent_mark(op->m, args->ino, &mark, budget);
        if (e)
            return e;
    }
    return E_OK;
}

/* The times are those of the write, as its writer saw them: a commit that comes
 * later moves neither, nor undoes what utimensat(2) has set since. */
static void written_at(struct inode *inode, fs_time mtime)
{
    inode->attr.mtime = mtime;
    if (time_to_ns(mtime) > time_to_ns(inode->attr.ctime))
        inode->attr.ctime = mtime;
}

enum err op_layoutcommit(struct op *op)
{
    const fs_layoutcommit_args *args = OP_ARGS(op, layoutcommit);
    unsigned budget = META_SLICE_EXTENTS;
    struct inode inode;
    struct file *file;
    struct hold *hold;
    enum err e = check_grant(op, args->ino, args->grant, &file, &hold);

    if (!e && hold->layout != FS_IOMODE_RW)
        e = E_STALE;
    if (!e)
        e = inode_get(op->m, args->ino, &inode);
    if (!e && args->size_bytes > FS_FILE_BYTES_MAX)
        e = E_TOO_BIG;
    if (!e)
        e = mark_written(op, &budget);
    if (e)
        return e;
    op->more = !budget;
    inode.attr.size_bytes = max_u64(inode.attr.size_bytes, args->size_bytes);
    if (args->set_mtime)
        written_at(&inode, args->mtime);
    inode.attr.change++;
    e = inode_put(op->m, &inode);
    if (!e)
        *OP_RESULT(op, layoutcommit) = inode.attr;
    return e;
}

enum err op_layoutreturn(struct op *op)
{
    const fs_layoutreturn_args *args = OP_ARGS(op, layoutreturn);
    struct file *file;
    struct hold *hold;
    enum err e = check_grant(op, args->ino, args->grant, &file, &hold);

    if (!e && args->keep >= FS_IOMODE_RW)
        e = E_INVAL;
    if (e)
        return e;
    share_lower(op->m, file, hold,
                args->keep < hold->layout ? args->keep : hold->layout);
    if (!hold->open)
        op->m->reap_wanted = true;
    hold_put(file, hold);
    return E_OK;
}
