/* fs/meta_alloc.c - FALLOCATE and SEEK.  Whole blocks only: the client zeroes
 * ragged edges on the LUN first, and has no I/O in flight in the range.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/extent.h"
#include "fs/space.h"

#include <linux/falloc.h>
#include <sys/stat.h>

/* A range of rows goes in slices.  What was begun is in table `trim`: should
 * the coordinator die between two slices, the next one ends the work before
 * it serves, and nobody sees a half. */
enum err extent_cut(struct op *op, struct inode *inode,
                    struct block_range range)
{
    unsigned budget = META_SLICE_EXTENTS;
    struct meta *m = op->m;
    enum err e = extent_remove(m, inode, range, EXTENT_TO_PENDING, &budget);

    if (e)
        return e;
    op->more = !budget;
    if (op->more)
        return db_run(m->db, SQL_TRIM_NEW, DB_INT(inode->attr.ino),
                      DB_INT(range.first), DB_INT(range.end));
    return db_run(m->db, SQL_TRIM_DROP, DB_INT(inode->attr.ino));
}

/* -- FALLOCATE ------------------------------------------------------------- */

/* The blocks that lie in the range as a whole. */
static struct block_range inner_blocks(const fs_fallocate_args *args)
{
    uint64_t first = blocks_of(args->off_bytes);
    uint64_t end = (args->off_bytes + args->len_bytes) / FS_BLOCK_BYTES;

    return (struct block_range){first, max_u64(first, end)};
}

static struct block_range touched_blocks(const fs_fallocate_args *args)
{
    return (struct block_range){
        args->off_bytes / FS_BLOCK_BYTES,
        blocks_of(args->off_bytes + args->len_bytes),
    };
}

/* Allocate every hole of the range, all or nothing. */
static enum err allocate(struct op *op, struct inode *inode,
                         struct block_range range)
{
    unsigned budget = META_SLICE_EXTENTS;
    uint64_t bytes = (range.end - range.first) * FS_BLOCK_BYTES;
    enum err e;

    if (inode->attr.allocated_bytes == 0 &&
        bytes / FS_BLOCK_BYTES > space_available(op->m))
        return E_VOL_FULL; /* at once, not after hours */
    e = extent_fill(op->m, inode, range, 0, &budget);
    op->more = !e && !budget;
    return e;
}

/* Whatever is there reads as zeros from now on, and stays allocated. */
static enum err zero(struct op *op, struct inode *inode,
                     struct block_range range)
{
    struct extent_mark mark = {
        .range = range,
        .from = FS_READ_WRITE_DATA,
        .to = FS_INVALID_DATA,
    };
    unsigned budget = META_SLICE_EXTENTS;
    enum err e = extent_mark(op->m, inode->attr.ino, &mark, &budget);

    op->more = !e && !budget;
    return e;
}

static enum err check_fallocate(const struct op *op, const struct inode *inode)
{
    const fs_fallocate_args *args = OP_ARGS(op, fallocate);
    unsigned mode = args->mode & ~(unsigned)FALLOC_FL_KEEP_SIZE;

    if (inode_is(inode, S_IFDIR))
        return E_ISDIR;
    if (!inode_is(inode, S_IFREG))
        return E_NXIO;
    if (mode != 0 && mode != FALLOC_FL_PUNCH_HOLE &&
        mode != FALLOC_FL_ZERO_RANGE)
        return E_UNSUPPORTED;
    if (mode == FALLOC_FL_PUNCH_HOLE && !(args->mode & FALLOC_FL_KEEP_SIZE))
        return E_UNSUPPORTED;
    if (!args->len_bytes)
        return E_INVAL;
    return range_ok(args->off_bytes, args->len_bytes, FS_FILE_BYTES_MAX)
               ? E_OK
               : E_TOO_BIG;
}

static enum err fallocate_blocks(struct op *op, struct inode *inode)
{
    const fs_fallocate_args *args = OP_ARGS(op, fallocate);
    enum err e = E_OK;

    if (args->mode & FALLOC_FL_PUNCH_HOLE)
        return extent_cut(op, inode, inner_blocks(args));
    if (args->mode & FALLOC_FL_ZERO_RANGE)
        e = zero(op, inode, inner_blocks(args));
    if (!e && !op->more)
        e = allocate(op, inode, touched_blocks(args));
    return e;
}

enum err op_fallocate(struct op *op)
{
    const fs_fallocate_args *args = OP_ARGS(op, fallocate);
    uint64_t end = args->off_bytes + args->len_bytes;
    struct inode inode;
    enum err e = share_claim(op, args->ino, FS_IOMODE_NONE);

    if (!e)
        e = inode_get(op->m, args->ino, &inode);
    if (!e)
        e = check_fallocate(op, &inode);
    if (!e)
        e = fallocate_blocks(op, &inode);
    if (e)
        return e;
    if (!(args->mode & FALLOC_FL_PUNCH_HOLE) && end > inode.attr.size_bytes) {
        if (args->mode & FALLOC_FL_KEEP_SIZE)
            inode.flags |= INODE_KEEP;
        else if (!op->more)
            inode.attr.size_bytes = end;
    }
    inode_modified(op, &inode);
    e = inode_put(op->m, &inode);
    if (!e)
        *OP_RESULT(op, fallocate) = inode.attr;
    return e;
}

/* -- SEEK ------------------------------------------------------------------ */

enum err op_seek(struct op *op)
{
    const fs_seek_args *args = OP_ARGS(op, seek);
    uint64_t at = args->off_bytes / FS_BLOCK_BYTES, size;
    struct inode inode;
    fs_extent x;
    enum err e = share_claim(op, args->ino, FS_IOMODE_READ);

    if (!e)
        e = inode_get(op->m, args->ino, &inode);
    if (e)
        return e;
    size = inode.attr.size_bytes;
    if (args->off_bytes >= size)
        return E_NXIO;
    for (; at * FS_BLOCK_BYTES < size; at = x.file_block + x.count) {
        e = extent_at(op->m, args->ino, at, &x);
        if (e)
            return e;
        if ((x.state != FS_READ_WRITE_DATA) == args->hole)
            break;
    }
    if (at * FS_BLOCK_BYTES >= size && !args->hole)
        return E_NXIO;
    *OP_RESULT(op, seek_off_bytes) =
        min_u64(max_u64(at * FS_BLOCK_BYTES, args->off_bytes), size);
    return E_OK;
}
