/* fs/fuse_file.c - open files as the kernel sees them: open and release, data,
 * space, copying.  Data goes between the request's own memory and the LUN.
 *
 * O_DIRECT goes past the page cache, several writes at a time.  Everything
 * else is cached and stays cached over close and open: whatever changes a
 * file passes the kernel, or is told to it (fuse_notify.c).  A file that is
 * being written past the kernel (a running VM's disk) is not cached at all,
 * and none is where there are other hosts: mappings apart, each read comes
 * here and is done under a layout.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fuse.h"

#include <fcntl.h>
#include <string.h>

/* -- files that the kernel has open ---------------------------------------- */

static struct list *bucket_of(struct fs_fuse *fuse, uint64_t node)
{
    return &fuse->files[node & (FUSE_FILE_BUCKETS - 1)];
}

struct fuse_file *fuse_file_find(struct fs_fuse *fuse, uint64_t node)
{
    list_for_each (at, bucket_of(fuse, node)) {
        struct fuse_file *f = container_of(at, struct fuse_file, link);

        if (f->node == node)
            return f;
    }
    return NULL;
}

enum err fuse_file_enter(struct fuse_volume *v, uint64_t node,
                         struct fs_file *file, uint32_t mode, bool write)
{
    struct fuse_file *f = fuse_file_find(v->fuse, node);

    if (!f) {
        f = calloc(1, sizeof *f);
        if (!f)
            return E_NOMEM;
        f->volume = v;
        f->node = node;
        f->file = file;
        list_init(&f->releases);
        list_init(&f->lockers);
        v->files++;
        list_push_front(bucket_of(v->fuse, node), &f->link);
    }
    f->mode = mode;
    f->readers += !write;
    f->writers += write;
    atomic_fetch_add(&f->file->kernel_opens, 1);
    return E_OK;
}

/* The client's file may end with the close that follows. */
static struct fs_file *file_closed(struct fuse_file *f, bool write)
{
    struct fs_file *file = f->file;

    atomic_fetch_sub(&file->kernel_opens, 1);
    f->readers -= !write;
    f->writers -= write;
    if (!f->readers && !f->writers) {
        fuse_locks_forget(f);
        list_remove(&f->link);
        f->volume->files--;
        free(f);
    }
    return file;
}

/* -- open, create, release ------------------------------------------------- */

static bool opens_to_write(uint32_t flags)
{
    return (flags & O_ACCMODE) != O_RDONLY;
}

static struct fuse_open_out open_reply(const struct fuse_op *op,
                                       const struct fs_file *file, uint64_t fh)
{
    struct fuse_open_out out = {.fh = fh, .open_flags = FOPEN_KEEP_CACHE};

    if (op->flags & O_DIRECT || op->fuse->cache_s <= 0 ||
        atomic_load(&file->foreign))
        out.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
    return out;
}

static void closed_again(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);

    (void)e;
    fuse_op_error(op, op->error);
}

/* Enter it; if that fails, close it and say so.  A volume that leaves has been
 * found without open files, and gets none any more. */
static bool enter(struct fuse_op *op, bool write, uint64_t *ret_fh)
{
    struct fs_file *file = op->io.file;
    struct fuse_handle h = {.node = op->node, .write = write};
    enum err e = op->volume->leaving ? E_STALE : E_OK;

    if (!e)
        e = fuse_kept_open(op->fuse->kept, fuse_op_unique(op), &h);
    if (!e) {
        e = fuse_file_enter(op->volume, op->node, file, op->io.attr.mode,
                            write);
        if (e)
            fuse_kept_close(op->fuse->kept, h.fh, &write);
    }
    if (!e) {
        *ret_fh = h.fh;
        return true;
    }
    op->error = e;
    fuse_op_io(op, FS_IO_CLOSE, file)->write = write;
    fuse_op_submit(op, closed_again);
    return false;
}

/* not fuse_reply_open(): libfuse has no word for parallel writes */
static void answer_open(struct fuse_op *op, const struct fs_file *file,
                        uint64_t fh)
{
    struct fuse_open_out out = open_reply(op, file, fh);

    fuse_reply_buf(op->req, (const char *)&out, sizeof out);
    fuse_op_end(op);
}

static void opened(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);
    uint64_t fh;

    if (e)
        fuse_op_error(op, e);
    else if (enter(op, opens_to_write(op->flags), &fh))
        answer_open(op, io->file, fh);
}

/* This request has opened it before, for a process that is no more. */
static struct fuse_file *opened_before(const struct fuse_op *op,
                                       struct fuse_handle *ret_handle)
{
    return fuse_kept_opened(op->fuse->kept, fuse_op_unique(op), ret_handle)
               ? fuse_file_find(op->fuse, ret_handle->node)
               : NULL;
}

static void handle_open(fuse_req_t req, fuse_ino_t node,
                        struct fuse_file_info *fi)
{
    struct fuse_op *op = fuse_op_begin(req, node);
    struct fuse_handle h;
    struct fuse_file *before;

    if (!op)
        return;
    op->flags = (uint32_t)fi->flags;
    before = opened_before(op, &h);
    if (before) {
        answer_open(op, before->file, h.fh);
        return;
    }
    fuse_op_io(op, FS_IO_OPEN, NULL)->ino = ino_of(node);
    op->io.write = opens_to_write(op->flags);
    fuse_op_submit(op, opened);
}

static struct fuse_attr attr_out(const struct stat *st)
{
    return (struct fuse_attr){.ino = st->st_ino,
                              .size = (uint64_t)st->st_size,
                              .blocks = (uint64_t)st->st_blocks,
                              .atime = (uint64_t)st->st_atim.tv_sec,
                              .mtime = (uint64_t)st->st_mtim.tv_sec,
                              .ctime = (uint64_t)st->st_ctim.tv_sec,
                              .atimensec = (uint32_t)st->st_atim.tv_nsec,
                              .mtimensec = (uint32_t)st->st_mtim.tv_nsec,
                              .ctimensec = (uint32_t)st->st_ctim.tv_nsec,
                              .mode = st->st_mode,
                              .nlink = (uint32_t)st->st_nlink,
                              .uid = st->st_uid,
                              .gid = st->st_gid,
                              .rdev = (uint32_t)st->st_rdev,
                              .blksize = (uint32_t)st->st_blksize};
}

static void answer_create(struct fuse_op *op, const struct fs_file *file,
                          uint64_t fh)
{
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    struct fuse_entry_param e;

    fuse_entry_fill(op->volume, &op->io.attr, &e);
    memset(&out, 0, sizeof out);
    out.entry =
        (struct fuse_entry_out){.nodeid = e.ino,
                                .generation = e.generation,
                                .entry_valid = (uint64_t)e.entry_timeout,
                                .attr_valid = (uint64_t)e.attr_timeout,
                                .attr = attr_out(&e.attr)};
    out.open = open_reply(op, file, fh);
    fuse_reply_buf(op->req, (const char *)&out, sizeof out);
    fuse_op_end(op);
}

void fuse_create_reply(struct fuse_op *op)
{
    uint64_t fh;

    if (enter(op, true, &fh)) /* whatever it asked for: who creates may write */
        answer_create(op, op->io.file, fh);
}

bool fuse_create_again(struct fuse_op *op)
{
    struct fuse_handle h;
    struct fuse_file *before = opened_before(op, &h);

    if (before)
        answer_create(op, before->file, h.fh);
    return before != NULL;
}

static void released(struct fs_io *io, enum err e)
{
    fuse_op_error(fuse_op_of_io(io), e);
}

static void release(struct fuse_op *op)
{
    struct fs_file *file = file_closed(op->file, op->write);

    fuse_op_io(op, FS_IO_CLOSE, file)->write = op->write;
    fuse_op_submit(op, released);
}

void fuse_file_hold(struct fuse_file *f)
{
    f->holds++;
}

/* The last of those that waited ends `f`. */
void fuse_file_unhold(struct fuse_file *f)
{
    struct list waiting, *first;

    ASSERT(f->holds > 0);
    if (--f->holds)
        return;
    list_init(&waiting);
    while ((first = list_pop_front(&f->releases)))
        list_push_back(&waiting, first);
    while ((first = list_pop_front(&waiting)))
        release(container_of(first, struct fuse_op, link));
}

static void handle_release(fuse_req_t req, fuse_ino_t node,
                           struct fuse_file_info *fi)
{
    struct fs_fuse *fuse = fuse_req_userdata(req);
    struct fuse_op *op;
    bool write;

    if (!fuse_kept_close(fuse->kept, fi->fh, &write)) {
        fuse_reply_err(req, 0); /* resent: it is closed */
        return;
    }
    op = fuse_op_begin_file(req, node);
    if (!op)
        return;
    op->write = write;
    fuse_locks_release(op->file, fi->fh);
    if (op->file->holds)
        list_push_back(&op->file->releases, &op->link);
    else
        release(op);
}

/* -- closing all, when the mount goes -------------------------------------- */

struct last_close {
    struct fs_io io;
    struct fs_fuse *fuse;
};

static void last_closed(struct fs_io *io, enum err e)
{
    struct last_close *l = container_of(io, struct last_close, io);
    struct fs_fuse *fuse = l->fuse;

    (void)e; /* its writer has been told by fsync, or did not ask */
    free(l);
    fuse->busy--;
    fuse_check_drained(fuse);
}

static void close_one(struct fs_fuse *fuse, struct fuse_file *f, bool write)
{
    struct fs_client *client = f->volume->client;
    struct last_close *l = calloc(1, sizeof *l);

    ASSERT(l != NULL);
    l->fuse = fuse;
    l->io = (struct fs_io){.op = FS_IO_CLOSE,
                           .file = file_closed(f, write),
                           .write = write,
                           .done = last_closed};
    fuse->busy++;
    fs_io_submit(client, &l->io);
}

static void close_all(struct fs_fuse *fuse, struct fuse_file *f)
{
    unsigned readers = f->readers, writers = f->writers;

    while (readers--)
        close_one(fuse, f, false);
    while (writers--)
        close_one(fuse, f, true);
}

bool fuse_files_close(struct fs_fuse *fuse)
{
    ASSERT(!fuse->busy);
    for (size_t i = 0; i < FUSE_FILE_BUCKETS; i++)
        list_for_each (at, &fuse->files[i])
            close_all(fuse, container_of(at, struct fuse_file, link));
    return fuse->busy;
}

/* -- read ------------------------------------------------------------------ */

static void was_read(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);

    if (e) {
        fuse_op_error(op, e);
        return;
    }
    fuse_reply_buf(op->req, (const char *)op->data, io->count_bytes);
    fuse_op_end(op);
}

static struct fs_io *data_io(struct fuse_op *op, enum fs_io_op what, void *at,
                             size_t size, off_t off)
{
    struct fs_io *io = fuse_op_io(op, what, op->file->file);

    op->iov = (struct iovec){.iov_base = at, .iov_len = size};
    io->off_bytes = (uint64_t)off;
    io->len_bytes = size;
    io->iov = &op->iov;
    io->iov_count = 1;
    return io;
}

static void handle_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                        struct fuse_file_info *fi)
{
    struct fuse_op *op = fuse_op_begin_file(req, node);

    (void)fi;
    if (!op)
        return;
    data_io(op, FS_IO_READ, op->data, min_u64(size, FUSE_DATA_BYTES), off);
    fuse_op_submit(op, was_read);
}

/* -- set-id bits ----------------------------------------------------------- */

static void privileges_dropped(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);
    struct fuse_file *f = op->dropping;

    if (e) {
        fuse_op_error(op, e);
        return;
    }
    f->mode = io->attr.mode;
    /* the kernel does not expect the mode to change; -1: attributes only,
     * which never waits */
    fuse_lowlevel_notify_inval_inode(op->fuse->session, f->node, -1, 0);
    op->dropped(op);
}

/* Does a change of content by somebody without CAP_FSETID change the mode?
 * (As FUSE_HANDLE_KILLPRIV_V2 has it.) */
static bool mode_drops(uint32_t mode)
{
    return (mode & S_ISUID) || ((mode & S_ISGID) && (mode & S_IXGRP));
}

/* Then go on with `then`. */
static void drop_privileges(struct fuse_op *op, struct fuse_file *f,
                            void (*then)(struct fuse_op *op))
{
    if (!mode_drops(f->mode)) {
        then(op);
        return;
    }
    op->dropping = f;
    op->dropped = then;
    fuse_op_io(op, FS_IO_SETATTR, f->file)->setattr.mask = FS_SET_KILL_PRIV;
    op->io.done = privileges_dropped;
    fs_io_submit(f->volume->client, &op->io);
}

/* For requests that do not say, as WRITE does, whether the caller has
 * CAP_FSETID: who is not root does not. */
static void drop_unless_root(struct fuse_op *op, struct fuse_file *f,
                             void (*then)(struct fuse_op *op))
{
    if (fuse_req_ctx(op->req)->uid)
        drop_privileges(op, f, then);
    else
        then(op);
}

/* -- write ----------------------------------------------------------------- */

static void was_written(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);

    if (e) {
        fuse_op_error(op, e);
        return;
    }
    fuse_reply_write(op->req, io->count_bytes);
    fuse_op_end(op);
}

static void write_data(struct fuse_op *op)
{
    struct fuse_copy *c = &op->copy;

    data_io(op, FS_IO_WRITE, op->request + FUSE_WRITE_HEADERS, c->len,
            (off_t)c->to_off);
    op->io.append = op->flags & O_APPEND;
    fuse_op_submit(op, was_written);
}

static void handle_write(fuse_req_t req, fuse_ino_t node, const char *data,
                         size_t size, off_t off, struct fuse_file_info *fi)
{
    struct fuse_op *op = fuse_op_begin_file(req, node);
    const struct fuse_write_in *in;

    (void)data; /* it is where the request is */
    if (!op)
        return;
    in = (const void *)(op->request + sizeof(struct fuse_in_header));
    /* Where others append, too, this kernel does not know the end.  What is
     * written through a mapping is in its place. */
    op->flags = op->fuse->cache_s <= 0 && !fi->writepage ? in->flags : 0;
    op->copy.len = size;
    op->copy.to_off = (uint64_t)off;
    if (in->write_flags & FUSE_WRITE_KILL_SUIDGID)
        drop_privileges(op, op->file, write_data);
    else
        write_data(op);
}

/* -- fsync, fallocate, lseek ----------------------------------------------- */

static void answer_error(struct fs_io *io, enum err e)
{
    fuse_op_error(fuse_op_of_io(io), e);
}

static void handle_fsync(fuse_req_t req, fuse_ino_t node, int data_only,
                         struct fuse_file_info *fi)
{
    struct fuse_op *op = fuse_op_begin_file(req, node);

    (void)fi;
    if (!op)
        return;
    fuse_op_io(op, FS_IO_SYNC, op->file->file)->data_only = data_only;
    fuse_op_submit(op, answer_error);
}

static void allocate(struct fuse_op *op)
{
    struct fs_io *io = fuse_op_io(op, FS_IO_ALLOCATE, op->file->file);

    io->mode = op->flags;
    io->off_bytes = op->copy.to_off;
    io->len_bytes = op->copy.len;
    fuse_op_submit(op, answer_error);
}

static void handle_fallocate(fuse_req_t req, fuse_ino_t node, int mode,
                             off_t off, off_t len, struct fuse_file_info *fi)
{
    struct fuse_op *op = fuse_op_begin_file(req, node);

    (void)fi;
    if (!op)
        return;
    op->flags = (uint32_t)mode;
    op->copy.to_off = (uint64_t)off;
    op->copy.len = (uint64_t)len;
    drop_unless_root(op, op->file, allocate);
}

static void sought(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);

    if (e) {
        fuse_op_error(op, e);
        return;
    }
    fuse_reply_lseek(op->req, (off_t)io->off_bytes);
    fuse_op_end(op);
}

/* The kernel sends SEEK_DATA and SEEK_HOLE only. */
static void handle_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence,
                         struct fuse_file_info *fi)
{
    struct fuse_op *op = fuse_op_begin_file(req, node);
    struct fs_io *io;

    (void)fi;
    if (!op)
        return;
    io = fuse_op_io(op, FS_IO_SEEK, op->file->file);
    io->off_bytes = (uint64_t)off;
    io->hole = whence == SEEK_HOLE;
    fuse_op_submit(op, sought);
}

/* -- copy_file_range -------------------------------------------------------
 * Read and write in turns through the request's memory: small layouts, and no
 * long operation at the coordinator. */

static void copy_next(struct fuse_op *op);

static void copy_end(struct fuse_op *op, enum err e)
{
    if (e && !op->copy.done) {
        fuse_op_error(op, e);
        return;
    }
    fuse_reply_write(op->req, op->copy.done);
    fuse_op_end(op);
}

static void copy_written(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);

    if (e) {
        copy_end(op, e);
        return;
    }
    op->copy.done += io->count_bytes;
    copy_next(op);
}

static void copy_read(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);
    struct fuse_copy *c = &op->copy;
    uint64_t count = io->count_bytes;

    if (e || !count) {
        copy_end(op, e);
        return;
    }
    /* The end, wherever this kernel believes it to be; a copy within the file
     * moves it. */
    if (count < io->len_bytes)
        c->len = c->done + count;
    data_io(op, FS_IO_WRITE, op->data, count, (off_t)(c->to_off + c->done))
        ->file = c->to->file;
    op->io.done = copy_written;
    fs_io_submit(c->to->volume->client, &op->io);
}

static void copy_next(struct fuse_op *op)
{
    struct fuse_copy *c = &op->copy;
    uint64_t count = min_u64(c->len - c->done, FUSE_DATA_BYTES);

    if (!count) {
        copy_end(op, E_OK);
        return;
    }
    data_io(op, FS_IO_READ, op->data, count, (off_t)(c->from_off + c->done));
    fuse_op_submit(op, copy_read);
}

static void handle_copy_file_range(fuse_req_t req, fuse_ino_t from,
                                   off_t from_off,
                                   struct fuse_file_info *from_fi,
                                   fuse_ino_t to, off_t to_off,
                                   struct fuse_file_info *to_fi, size_t len,
                                   int flags)
{
    enum { COPY_BYTES_MAX = 1 << 30 }; /* then the caller asks again */
    struct fuse_op *op = fuse_op_begin_file(req, from);
    struct fuse_file *target;

    (void)from_fi;
    (void)to_fi;
    (void)flags;
    if (!op)
        return;
    target = fuse_file_find(op->fuse, to);
    if (!target) {
        fuse_op_error(op, E_STALE);
        return;
    }
    op->copy = (struct fuse_copy){.to = target,
                                  .from_off = (uint64_t)from_off,
                                  .to_off = (uint64_t)to_off,
                                  .len = min_u64(len, COPY_BYTES_MAX)};
    drop_unless_root(op, target, copy_next);
}

void fuse_file_handlers(struct fuse_lowlevel_ops *ops)
{
    ops->open = handle_open;
    ops->release = handle_release;
    ops->read = handle_read;
    ops->write = handle_write;
    ops->fsync = handle_fsync;
    ops->fallocate = handle_fallocate;
    ops->lseek = handle_lseek;
    ops->copy_file_range = handle_copy_file_range;
}
