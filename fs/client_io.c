/* fs/client_io.c - reads and writes of an open file: which range, how firmly,
 * and what has changed afterwards.  client_transfer.c moves the bytes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

enum { BLOCK = FS_BLOCK_BYTES };

/* -- read ------------------------------------------------------------------ */

static void io_done(struct fs_io *io)
{
    fs_io_finish(io, io->error);
}

static void read_done(struct fs_io *io)
{
    if (!io->error)
        fs_io_count_direct(io);
    fs_io_finish(io, io->error);
}

/* The layout that is wanted, or the end of the io if there was none to have. */
static void acquire(struct fs_io *io, fs_iomode mode,
                    void (*next)(struct fs_io *io))
{
    if (io->error)
        fs_io_finish(io, io->error);
    else
        fs_io_acquire(io, mode, next);
}

/* Up to the end of the file; the LUN is read in whole blocks if the caller's
 * memory takes them. */
static void read_locked(struct fs_io *io)
{
    struct fs_file *f = io->file;
    uint64_t end = io->off_bytes + io->len_bytes, size;

    if (io->error || !fs_io_may(io, FS_IOMODE_READ)) {
        acquire(io, FS_IOMODE_READ, read_locked);
        return;
    }
    pthread_mutex_lock(&f->mutex);
    size = f->size_bytes;
    pthread_mutex_unlock(&f->mutex);
    io->count_bytes =
        size > io->off_bytes ? min_u64(end, size) - io->off_bytes : 0;
    if (!io->count_bytes)
        end = io->off_bytes;
    else if (size < end)
        end = min_u64(end, align_up(size, io->client->lun->block_bytes));
    fs_io_transfer(io, TRANSFER_READ, io->off_bytes, end, read_done);
}

/* Where no file can have bytes there are none: that is no error. */
void fs_io_read(struct fs_io *io)
{
    uint64_t off = io->off_bytes;

    io->count_bytes = 0;
    if (off >= FILE_BYTES_MAX)
        fs_io_finish(io, E_OK);
    else if (fs_io_goes_redirected(io))
        fs_redirect_data(io);
    else
        fs_io_lock(io, RANGE_READ, off,
                   off + min_u64(io->len_bytes, FILE_BYTES_MAX - off),
                   read_locked);
}

/* -- write ----------------------------------------------------------------- */

void fs_file_tell(struct fs_file *file)
{
    struct fs_client *c = file->client;
    bool first = !atomic_exchange(&file->foreign, true);

    /* Pages of earlier opens go with the first word; those of present ones
     * with every word. */
    if (c->changed && (first || atomic_load(&file->kernel_opens)))
        c->changed(c->changed_arg, file);
}

/* lock: f->mutex */
static void touch(struct fs_file *f)
{
    uint64_t now_ns = clock_wall_ns(f->client->clock);

    f->mtime.s = (int64_t)(now_ns / NS_PER_S);
    f->mtime.ns = (uint32_t)(now_ns % NS_PER_S);
    f->time_dirty = true;
}

/* True: it is all in the ledger.  lock: f->mutex */
static bool note(struct fs_file *f)
{
    if (!f->client->ledger)
        return true;
    ledger_note(f->client->ledger, &f->ledger, f->ino,
                f->size_dirty ? f->size_bytes : 0,
                f->mtime.s * (int64_t)NS_PER_S + f->mtime.ns);
    return !f->ledger.lacking;
}

static void write_failed(struct fs_io *io)
{
    uint64_t end = align_up(io->off_bytes + io->len_bytes, BLOCK);
    struct fs_file *f = io->file;

    pthread_mutex_lock(&f->mutex);
    if (end > f->size_bytes)
        f->junk_end = max_u64(f->junk_end, end);
    pthread_mutex_unlock(&f->mutex);
    fs_io_finish(io, io->error);
}

static void write_turn(struct fs_io *io)
{
    fs_io_commit(io, io_done);
}

static void write_done(struct fs_io *io)
{
    struct fs_file *f = io->file;
    uint64_t end = io->off_bytes + io->len_bytes;
    bool noted;

    if (io->error) {
        write_failed(io);
        return;
    }
    pthread_mutex_lock(&f->mutex);
    if (end > f->size_bytes) {
        f->size_bytes = end;
        f->size_dirty = true;
    }
    touch(f);
    noted = note(f);
    pthread_mutex_unlock(&f->mutex);
    fs_file_dirty(f);
    if (!io->from_kernel)
        fs_file_tell(f);
    io->count_bytes = io->len_bytes;
    fs_io_count_direct(io);
    if (noted)
        fs_io_finish(io, E_OK);
    else
        fs_io_turn(io, write_turn); /* the ledger is full */
}

static void write_transfer(struct fs_io *io)
{
    fs_io_transfer(io, TRANSFER_WRITE, io->off_bytes,
                   io->off_bytes + io->len_bytes, write_done);
}

/* The layout went while we waited for the range. */
static bool is_too_late(struct fs_io *io)
{
    bool late = !fs_io_may(io, FS_IOMODE_RW);

    if (late)
        fs_io_again(io);
    return late;
}

static void write_locked(struct fs_io *io)
{
    if (!is_too_late(io))
        write_transfer(io);
}

static bool is_data(const struct fs_file *f, uint64_t off_bytes)
{
    return fs_map_find(&f->map, off_bytes / BLOCK, 1).state == MAP_DATA;
}

/* Whole blocks, and whole LUN blocks of what is data already, may be written
 * side by side.  lock: f->mutex */
static enum range_mode write_mode(const struct fs_io *io)
{
    uint64_t first = io->off_bytes, end = first + io->len_bytes;
    uint32_t unit = io->client->lun->block_bytes;

    if (is_aligned(first, BLOCK) && is_aligned(end, BLOCK))
        return RANGE_WRITE;
    if (is_aligned(first, unit) && is_aligned(end, unit) &&
        is_data(io->file, first) && is_data(io->file, end - 1))
        return RANGE_WRITE;
    return RANGE_MODIFY;
}

static void write_lock(struct fs_io *io)
{
    struct fs_file *f = io->file;
    enum range_mode mode;

    pthread_mutex_lock(&f->mutex);
    f->run_bytes = io->off_bytes == f->run_end ? f->run_bytes + io->len_bytes
                                               : io->len_bytes;
    f->run_end = io->off_bytes + io->len_bytes;
    mode = write_mode(io);
    pthread_mutex_unlock(&f->mutex);
    fs_io_lock(io, mode, io->off_bytes, io->off_bytes + io->len_bytes,
               write_locked);
}

static void gap_zeroed(struct fs_io *io)
{
    if (io->error) {
        fs_io_finish(io, io->error);
        return;
    }
    fs_io_unlock(io);
    write_lock(io);
}

static void gap_locked(struct fs_io *io)
{
    struct fs_file *f = io->file;
    uint64_t size;

    if (is_too_late(io))
        return;
    pthread_mutex_lock(&f->mutex);
    size = f->size_bytes;
    pthread_mutex_unlock(&f->mutex);
    fs_io_transfer(io, TRANSFER_ZERO, size,
                   min_u64(io->off_bytes, io->range.end), gap_zeroed);
}

/* The first write under a layout gets it with all of the file up to its end in
 * hand, so that no recall comes in between; only then is the size known. */
static void first_zeroed(struct fs_io *io)
{
    if (io->error)
        fs_io_finish(io, io->error);
    else
        write_transfer(io);
}

static void first_locked(struct fs_io *io)
{
    struct fs_file *f = io->file;
    uint64_t size, junk_end;

    if (io->error || !fs_io_may(io, FS_IOMODE_RW)) {
        acquire(io, FS_IOMODE_RW, first_locked);
        return;
    }
    pthread_mutex_lock(&f->mutex);
    size = f->size_bytes;
    junk_end = min_u64(fs_file_junk_end(f), io->off_bytes);
    f->run_bytes = io->len_bytes;
    f->run_end = io->off_bytes + io->len_bytes;
    pthread_mutex_unlock(&f->mutex);
    fs_io_transfer(io, TRANSFER_ZERO, size, junk_end, first_zeroed);
}

uint64_t fs_file_junk_end(const struct fs_file *f)
{
    return max_u64(align_up(f->size_bytes, BLOCK), f->junk_end);
}

/* Where the end is, only a layout says; and all of the file is in hand, so that
 * it stays there. */
static void append_locked(struct fs_io *io)
{
    struct fs_file *f = io->file;

    if (io->error || !fs_io_may(io, FS_IOMODE_RW)) {
        acquire(io, FS_IOMODE_RW, append_locked);
        return;
    }
    pthread_mutex_lock(&f->mutex);
    io->off_bytes = f->size_bytes;
    pthread_mutex_unlock(&f->mutex);
    if (range_ok(io->off_bytes, io->len_bytes, FILE_BYTES_MAX))
        write_transfer(io);
    else
        fs_io_finish(io, E_TOO_BIG);
}

/* A write beyond the end makes what lies between part of the file.  There may
 * be bytes that were never part of it: of a write that failed, or, in the
 * block that holds the end, whose size a crash lost.  They must read zeros. */
void fs_io_write(struct fs_io *io)
{
    struct fs_file *f = io->file;
    uint64_t size, junk_end;

    io->count_bytes = 0;
    if (!range_ok(io->off_bytes, io->len_bytes, FILE_BYTES_MAX)) {
        fs_io_finish(io, E_TOO_BIG);
        return;
    }
    if (!io->len_bytes) {
        fs_io_finish(io, E_OK);
        return;
    }
    if (io->append && fs_client_has_path(io->client)) {
        fs_io_lock(io, RANGE_MODIFY, 0, FILE_BYTES_MAX, append_locked);
        return;
    }
    if (fs_io_goes_redirected(io)) {
        fs_redirect_data(io);
        return;
    }
    if (!fs_io_may(io, FS_IOMODE_RW)) {
        fs_io_lock(io, RANGE_MODIFY, 0, io->off_bytes + io->len_bytes,
                   first_locked);
        return;
    }
    pthread_mutex_lock(&f->mutex);
    size = f->size_bytes;
    junk_end = min_u64(fs_file_junk_end(f), io->off_bytes);
    pthread_mutex_unlock(&f->mutex);
    if (junk_end > size)
        fs_io_lock(io, RANGE_MODIFY, size, junk_end, gap_locked);
    else
        write_lock(io);
}
