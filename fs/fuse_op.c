/* fs/fuse_op.c - a request of the kernel from its arrival to its answer, and
 * attributes in the kernel's words.  Knows no request in particular.
 *
 * Interrupts need no handling, but for locks (fuse_lock.c): nothing else waits
 * for a person or a peer, so every request is answered as soon as the LUN and
 * the coordinator are done.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fuse.h"

#include "base/log.h"

/* -- begin and end --------------------------------------------------------- */

struct fuse_op *fuse_op_begin(fuse_req_t req, uint64_t node)
{
    struct fs_fuse *fuse = fuse_req_userdata(req);
    struct fuse_volume *v = fuse_volume_find(fuse, node);
    struct fuse_op *op = fuse->current;

    if (!v) {
        fuse_reply_err(req, ESTALE);
        return NULL;
    }
    ASSERT(op != NULL);
    fuse->current = NULL;
    fuse->busy++;
    v->busy++;
    op->volume = v;
    op->req = req;
    op->node = node;
    op->file = NULL;
    op->error = E_OK;
    return op;
}

struct fuse_op *fuse_op_begin_file(fuse_req_t req, uint64_t node)
{
    struct fuse_file *file = fuse_file_find(fuse_req_userdata(req), node);
    struct fuse_op *op;

    if (!file) {
        fuse_reply_err(req, ESTALE);
        return NULL;
    }
    op = fuse_op_begin(req, node);
    if (op)
        op->file = file;
    return op;
}

void fuse_op_end(struct fuse_op *op)
{
    struct fs_fuse *fuse = op->fuse;

    op->req = NULL;
    op->volume->busy--;
    fuse->busy--;
    list_push_front(&fuse->idle, &op->link);
    fuse_check_drained(fuse);
}

void fuse_op_error(struct fuse_op *op, enum err e)
{
    fuse_reply_err(op->req, err_errno(e));
    fuse_op_end(op);
}

/* -- calls and ios --------------------------------------------------------- */

struct fuse_op *fuse_op_of_call(struct fs_call *call)
{
    return container_of(call, struct fuse_op, call);
}

struct fuse_op *fuse_op_of_io(struct fs_io *io)
{
    return container_of(io, struct fuse_op, io);
}

fs_args *fuse_op_call(struct fuse_op *op, fs_op what)
{
    fs_call_init(&op->call, what);
    return &op->call.request.args;
}

void fuse_op_send(struct fuse_op *op, void (*done)(struct fs_call *call))
{
    op->call.done = done;
    fs_link_send(fs_client_link(op->volume->client), &op->call);
}

uint64_t fuse_op_unique(const struct fuse_op *op)
{
    const struct fuse_in_header *in = (const void *)op->request;

    return in->unique;
}

void fuse_op_send_once(struct fuse_op *op, void (*done)(struct fs_call *call))
{
    op->call.once = fuse_kept_once(
        op->fuse->kept, (uint32_t)(op - op->fuse->ops), fuse_op_unique(op));
    fuse_op_send(op, done);
}

struct fs_io *fuse_op_io(struct fuse_op *op, enum fs_io_op what,
                         struct fs_file *file)
{
    op->io = (struct fs_io){.op = what, .file = file, .from_kernel = true};
    return &op->io;
}

void fuse_op_submit(struct fuse_op *op,
                    void (*done)(struct fs_io *io, enum err e))
{
    op->io.done = done;
    fs_io_submit(op->volume->client, &op->io);
}

/* -- attributes ------------------------------------------------------------ */

static struct timespec timespec_of(const fs_time *t)
{
    return (struct timespec){.tv_sec = t->s, .tv_nsec = t->ns};
}

void fuse_stat_fill(const struct fuse_volume *v, const fs_attr *attr,
                    struct stat *ret_stat)
{
    enum { SECTOR_BYTES = 512 }; /* st_blocks counts these */

    *ret_stat = (struct stat){
        .st_ino = node_of(v, attr->ino),
        .st_mode = attr->mode,
        .st_nlink = attr->nlink,
        .st_uid = attr->uid,
        .st_gid = attr->gid,
        .st_rdev = attr->rdev,
        .st_size = (off_t)attr->size_bytes,
        .st_blksize = FS_BLOCK_BYTES,
        .st_blocks = (blkcnt_t)(attr->allocated_bytes / SECTOR_BYTES),
        .st_atim = timespec_of(&attr->atime),
        .st_mtim = timespec_of(&attr->mtime),
        .st_ctim = timespec_of(&attr->ctime),
    };
}

/* Attributes of a file that is written past the kernel are not kept. */
static double attr_timeout(struct fuse_volume *v, fs_ino ino)
{
    struct fs_file *f = fs_file_find(v->client, ino);
    double timeout = v->fuse->cache_s;

    if (!f)
        return timeout;
    if (atomic_load(&f->foreign))
        timeout = 0;
    fs_file_put(f);
    return timeout;
}

void fuse_entry_fill(struct fuse_volume *v, fs_attr *attr,
                     struct fuse_entry_param *ret_entry)
{
    fs_client_overlay(v->client, attr);
    *ret_entry = (struct fuse_entry_param){
        .ino = node_of(v, attr->ino),
        .generation = attr->generation,
        .entry_timeout = v->fuse->cache_s,
        .attr_timeout = attr_timeout(v, attr->ino),
    };
    fuse_stat_fill(v, attr, &ret_entry->attr);
}

void fuse_op_entry(struct fuse_op *op, fs_attr *attr)
{
    struct fuse_entry_param entry;

    if (!attr->mode) { /* made by a request that was resent, gone since */
        fuse_op_error(op, E_STALE);
        return;
    }

    fuse_entry_fill(op->volume, attr, &entry);
    fuse_reply_entry(op->req, &entry);
    fuse_op_end(op);
}

void fuse_op_attr(struct fuse_op *op, fs_attr *attr)
{
    struct stat st;

    fs_client_overlay(op->volume->client, attr);
    fuse_stat_fill(op->volume, attr, &st);
    fuse_reply_attr(op->req, &st, attr_timeout(op->volume, attr->ino));
    fuse_op_end(op);
}
