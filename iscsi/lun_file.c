/* iscsi/lun_file.c - a regular file or block device as a LUN: its I/O.
 * Opening and looking at it is in lun_file_open.c.  Copies nothing unless the
 * memory is not aligned as O_DIRECT wants it.
 *
 *   READ, WRITE  libaio; FUA is RWF_DSYNC.  Misaligned memory, and the rest
 *                after a short transfer, goes through a bounce buffer piece by
 *                piece; with all buffers in use the io waits its turn.
 *                Large ones of a regular file: preadv and pwritev, on a worker
 *   FLUSH        libaio's FDSYNC
 *   the rest     fallocate, ioctl and ftruncate, on a worker
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_file.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    ZEROES_BYTES = 64 << 10, /* written at once where nothing better is */
    LARGE_BYTES = 256 << 10  /* worth a thread switch */
};

/* In io->room. */
struct file_io {
    union {
        struct loop_aio aio;
        struct work work;
        struct bounce_wait wait;
    };
    struct lun_file *file;
    struct bounce *bounce; /* NULL: straight from the caller's memory */
    uint64_t at_bytes;     /* bounced: done so far */
    uint32_t piece_bytes;  /* bounced: in flight */
    long moved;            /* bytes or -errno, of work */
    enum err result;       /* … of other work */
};
static_assert(sizeof(struct file_io) <= STORE_ROOM_BYTES, "lives in room");

static struct file_io *fio_of(struct store_io *io)
{
    return (struct file_io *)(void *)io->room;
}

static struct store_io *io_of(struct file_io *fio)
{
    return container_of((uint8_t(*)[STORE_ROOM_BYTES])(void *)fio,
                        struct store_io, room);
}

static enum err io_failed(struct file_io *fio, int error)
{
    struct store_io *io = io_of(fio);
    enum err e = err_from_errno(error);

    return lun_fault(&fio->file->lun, e, "%s of %llu bytes at %llu: %s",
                     store_op_name(io->op), (unsigned long long)io->len_bytes,
                     (unsigned long long)io->off_bytes, strerror(error));
}

static enum err io_truncated(struct file_io *fio)
{
    struct store_io *io = io_of(fio);

    return lun_fault(&fio->file->lun, E_IO,
                     "the file ends at %llu, before its size of %llu bytes: "
                     "somebody truncated it",
                     (unsigned long long)(io->off_bytes + fio->at_bytes),
                     (unsigned long long)store_size(&fio->file->lun.store));
}

/* -- bounce buffers -------------------------------------------------------- */

static void bounce_step(struct file_io *fio);

static void bounce_granted(struct task *t)
{
    struct bounce_wait *wait = container_of(t, struct bounce_wait, task);

    bounce_step(container_of(wait, struct file_io, wait));
}

/* Hand the buffer to who waits longest, on its own loop, or back. */
static void bounce_put(struct lun_file *file, struct bounce *bounce)
{
    struct bounce_wait *wait = NULL;
    struct list *first;

    pthread_mutex_lock(&file->bounce_mutex);
    first = list_pop_front(&file->bounce_waits);
    if (first) {
        wait = container_of(first, struct bounce_wait, link);
        container_of(wait, struct file_io, wait)->bounce = bounce;
    } else {
        list_push_front(&file->bounce_free, &bounce->link);
    }
    pthread_mutex_unlock(&file->bounce_mutex);
    if (wait)
        loop_post(wait->loop, &wait->task);
}

static void bounce_start(struct file_io *fio)
{
    struct lun_file *file = fio->file;
    struct list *first;

    pthread_mutex_lock(&file->bounce_mutex);
    first = list_pop_front(&file->bounce_free);
    if (first) {
        fio->bounce = container_of(first, struct bounce, link);
    } else {
        fio->wait = (struct bounce_wait){.task.run = bounce_granted,
                                         .loop = loop_self()};
        list_push_back(&file->bounce_waits, &fio->wait.link);
    }
    pthread_mutex_unlock(&file->bounce_mutex);
    if (first)
        bounce_step(fio);
}

static void finish(struct file_io *fio, enum err e)
{
    struct store_io *io = io_of(fio);

    if (fio->bounce)
        bounce_put(fio->file, fio->bounce);
    io->done(io, e);
}

static void to_worker(struct file_io *fio, void (*run)(struct work *),
                      void (*done)(struct work *))
{
    fio->work = (struct work){.run = run, .done = done};
    work_submit(fio->file->workers, &fio->work);
}

/* -- READ, WRITE ----------------------------------------------------------- */

static void queue(struct file_io *fio, void (*done)(struct loop_aio *, long))
{
    const struct store_io *io = io_of(fio);

    if (io->op == STORE_WRITE && (io->flags & STORE_FUA))
        fio->aio.cb.aio_rw_flags = RWF_DSYNC;
    fio->aio.done = done;
    loop_aio_queue(loop_self(), &fio->aio);
}

static void bounce_done(struct loop_aio *aio, long result)
{
    struct file_io *fio = container_of(aio, struct file_io, aio);
    struct store_io *io = io_of(fio);
    uint64_t whole;

    if (result < 0) {
        finish(fio, io_failed(fio, (int)-result));
        return;
    }
    whole = align_down((uint64_t)result, fio->file->lun.store.block_bytes);
    if (!whole) {
        finish(fio, io->op == STORE_READ ? io_truncated(fio)
                                         : io_failed(fio, ENOSPC));
        return;
    }
    if (io->op == STORE_READ)
        iov_from_buf(io->iov, io->iov_count, fio->at_bytes, fio->bounce->bytes,
                     whole);
    fio->at_bytes += whole;
    if (fio->at_bytes < io->len_bytes)
        bounce_step(fio);
    else
        finish(fio, E_OK);
}

static void bounce_step(struct file_io *fio)
{
    const struct store_io *io = io_of(fio);
    void *bytes = fio->bounce->bytes;
    uint64_t piece = min_u64(io->len_bytes - fio->at_bytes, BOUNCE_BYTES);
    long long at = (long long)(io->off_bytes + fio->at_bytes);

    if (io->op == STORE_READ) {
        io_prep_pread(&fio->aio.cb, fio->file->fd, bytes, piece, at);
    } else {
        iov_to_buf(io->iov, io->iov_count, fio->at_bytes, bytes, piece);
        io_prep_pwrite(&fio->aio.cb, fio->file->fd, bytes, piece, at);
    }
    queue(fio, bounce_done);
}

static void moved(struct file_io *fio, long result)
{
    struct store_io *io = io_of(fio);

    if (result == (long)io->len_bytes) {
        io->done(io, E_OK);
    } else if (result == -EINVAL || result >= 0) {
        /* Stricter than it said, or short: the rest piece by piece. */
        fio->at_bytes = result < 0
                            ? 0
                            : align_down((uint64_t)result,
                                         fio->file->lun.store.block_bytes);
        bounce_start(fio);
    } else {
        io->done(io, io_failed(fio, (int)-result));
    }
}

static void direct_done(struct loop_aio *aio, long result)
{
    moved(container_of(aio, struct file_io, aio), result);
}

/* Can the kernel take the caller's memory as it is? */
static bool memory_fits(const struct lun_file *file, const struct store_io *io)
{
    uint64_t bits = 0;

    if (io->iov_count > IOV_MAX || io->len_bytes > INT_MAX)
        return false;
    if (!file->direct)
        return true;
    for (uint32_t i = 0; i < io->iov_count; i++) {
        bits |= (uintptr_t)io->iov[i].iov_base & (file->memory_align - 1);
        bits |= io->iov[i].iov_len & (file->lun.store.block_bytes - 1);
    }
    return bits == 0;
}

static void start_direct(struct file_io *fio)
{
    const struct store_io *io = io_of(fio);
    struct iocb *cb = &fio->aio.cb;
    int fd = fio->file->fd;
    long long off = (long long)io->off_bytes;

    if (io->iov_count == 1 && io->op == STORE_READ)
        io_prep_pread(cb, fd, io->iov->iov_base, io->iov->iov_len, off);
    else if (io->iov_count == 1)
        io_prep_pwrite(cb, fd, io->iov->iov_base, io->iov->iov_len, off);
    else if (io->op == STORE_READ)
        io_prep_preadv(cb, fd, io->iov, (int)io->iov_count, off);
    else
        io_prep_pwritev(cb, fd, io->iov, (int)io->iov_count, off);
    queue(fio, direct_done);
}

/* -- large transfers of a regular file --------------------------------------
 * Its system calls copy, allocate or wait inside of io_submit(), and other
 * ios of the loop would wait as long. */

static void transfer_run(struct work *work)
{
    struct file_io *fio = container_of(work, struct file_io, work);
    const struct store_io *io = io_of(fio);
    int fd = fio->file->fd, count = (int)io->iov_count;
    off_t off = (off_t)io->off_bytes;
    int flags = io->flags & STORE_FUA ? RWF_DSYNC : 0;
    ssize_t n;

    do
        n = io->op == STORE_READ ? preadv(fd, io->iov, count, off)
                                 : pwritev2(fd, io->iov, count, off, flags);
    while (n < 0 && errno == EINTR);
    fio->moved = n < 0 ? -errno : n;
}

static void transfer_done(struct work *work)
{
    struct file_io *fio = container_of(work, struct file_io, work);

    moved(fio, fio->moved);
}

static bool is_large(const struct lun_file *file, const struct store_io *io)
{
    return !file->is_block && io->len_bytes >= LARGE_BYTES;
}

/* -- FLUSH ----------------------------------------------------------------- */

static void work_done(struct work *work)
{
    struct file_io *fio = container_of(work, struct file_io, work);

    finish(fio, fio->result);
}

static void flush_run(struct work *work)
{
    struct file_io *fio = container_of(work, struct file_io, work);

    fio->result = fdatasync(fio->file->fd) ? io_failed(fio, errno) : E_OK;
}

static void flush_done(struct loop_aio *aio, long result)
{
    struct file_io *fio = container_of(aio, struct file_io, aio);

    if (result == -EINVAL) /* this file system has no asynchronous one */
        to_worker(fio, flush_run, work_done);
    else
        finish(fio, result < 0 ? io_failed(fio, (int)-result) : E_OK);
}

static void start_flush(struct file_io *fio)
{
    memset(&fio->aio.cb, 0, sizeof fio->aio.cb);
    io_prep_fdsync(&fio->aio.cb, fio->file->fd);
    queue(fio, flush_done);
}

/* -- DISCARD, WRITE_ZEROES, RESIZE ----------------------------------------- */

/* 0 or an errno, like all that follows. */
static int write_zeroes(int fd, uint64_t off, uint64_t len)
{
    static _Alignas(4096) const uint8_t zeroes[ZEROES_BYTES];

    while (len) {
        ssize_t n = pwrite(fd, zeroes, min_u64(len, ZEROES_BYTES), (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? errno : ENOSPC;
        off += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

static int allocate(int fd, int mode, uint64_t off, uint64_t len)
{
    int rc;

    do
        rc = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
    while (rc && errno == EINTR);
    return rc ? errno : 0;
}

/* Ways to make zeros, cheapest first.  On a block device the kernel's own
 * fallocate unmaps, or zeroes by command, or writes. */
static int zero_range(struct lun_file *file, const struct store_io *io)
{
    int error = EOPNOTSUPP;

    if (!(io->flags & STORE_NO_UNMAP))
        error = allocate(file->fd, FALLOC_FL_PUNCH_HOLE, io->off_bytes,
                         io->len_bytes);
    if (error == EOPNOTSUPP)
        error = allocate(file->fd, FALLOC_FL_ZERO_RANGE, io->off_bytes,
                         io->len_bytes);
    if (error == EOPNOTSUPP)
        error = write_zeroes(file->fd, io->off_bytes, io->len_bytes);
    if (!error && (io->flags & STORE_FUA) && fdatasync(file->fd))
        error = errno;
    return error;
}

static int discard_range(struct lun_file *file, const struct store_io *io)
{
    uint64_t range[2] = {io->off_bytes, io->len_bytes};

    if (!file->is_block)
        return allocate(file->fd, FALLOC_FL_PUNCH_HOLE, range[0], range[1]);
    return ioctl(file->fd, BLKDISCARD, range) ? errno : 0;
}

static int resize(struct lun_file *file, const struct store_io *io)
{
    if (ftruncate(file->fd, (off_t)io->off_bytes))
        return errno;
    store_size_set(&file->lun.store, io->off_bytes);
    return 0;
}

static void range_run(struct work *work)
{
    struct file_io *fio = container_of(work, struct file_io, work);
    const struct store_io *io = io_of(fio);
    int error = 0;

    if (io->op == STORE_DISCARD)
        error = discard_range(fio->file, io);
    else if (io->op == STORE_WRITE_ZEROES)
        error = zero_range(fio->file, io);
    else
        error = resize(fio->file, io);
    fio->result = error ? io_failed(fio, error) : E_OK;
}

/* -- the store ------------------------------------------------------------- */

static enum err file_submit(struct store *s, struct store_io *io)
{
    struct file_io *fio = fio_of(io);

    fio->file = lun_file_of(lun_of_store(s));
    fio->bounce = NULL;
    fio->at_bytes = 0;
    if (io->op == STORE_FLUSH)
        start_flush(fio);
    else if (io->op != STORE_READ && io->op != STORE_WRITE)
        to_worker(fio, range_run, work_done);
    else if (!memory_fits(fio->file, io))
        bounce_start(fio);
    else if (is_large(fio->file, io))
        to_worker(fio, transfer_run, transfer_done);
    else
        start_direct(fio);
    return E_OK;
}

static void file_close(struct store *s)
{
    (void)s; /* lun_close() does it */
}

const struct store_ops lun_file_store_ops = {"file", file_submit, file_close};
