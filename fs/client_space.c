/* fs/client_space.c - what changes the shape of a file: truncate, allocate,
 * punch, zero; and asking for it: seek.  Ragged edges are zeroed on the LUN
 * here, whole blocks are the coordinator's.  I/O in the way is drained by the
 * FREE range; whatever may fail for want of memory does so before the call.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

enum { BLOCK = FS_BLOCK_BYTES };

static uint64_t size_of(struct fs_file *f)
{
    uint64_t size;

    pthread_mutex_lock(&f->mutex);
    size = f->size_bytes;
    pthread_mutex_unlock(&f->mutex);
    return size;
}

/* Up to where what follows the file's end may be other than zeros. */
static uint64_t junk_end_of(struct fs_file *f)
{
    uint64_t end;

    pthread_mutex_lock(&f->mutex);
    end = fs_file_junk_end(f);
    pthread_mutex_unlock(&f->mutex);
    return end;
}

/* The turn's next step, or the end of the io if the last one failed. */
static bool failed(struct fs_io *io)
{
    if (io->error)
        fs_io_finish(io, io->error);
    return io->error != E_OK;
}

/* -- a new size, under FREE from the smaller of the two to the end --------- */

/* What the file knows once the coordinator has agreed on `size`: it freed all
 * beyond, and also where the file grew what was allocated ahead of it. */
static void size_changed(struct fs_file *f, uint64_t size)
{
    uint64_t end = div_round_up(size, BLOCK);

    pthread_mutex_lock(&f->mutex);
    fs_map_drop(&f->map, end, MAP_BLOCKS_MAX, MAP_HOLE);
    f->size_bytes = size;
    f->junk_end = 0;
    f->size_dirty = f->time_dirty = false;
    fs_file_settle(f);
    pthread_mutex_unlock(&f->mutex);
}

static void setattr_replied(struct fs_io *io)
{
    struct fs_file *f = io->file;
    const fs_setattr_args *a = &f->call.request.args.fs_args_u.setattr;
    enum err e = f->call.reply.error;

    if (!e) {
        io->attr = f->call.reply.result.fs_result_u.setattr;
        if (a->mask & FS_SET_SIZE)
            size_changed(f, a->size_bytes);
    } else if (io->took_time) {
        pthread_mutex_lock(&f->mutex);
        f->time_dirty = true;
        pthread_mutex_unlock(&f->mutex);
    }
    fs_call_fini(&f->call);
    if (e == E_TRY_LATER) {
        fs_io_again(io);
        return;
    }
    if (!e)
        fs_client_overlay(io->client, &io->attr);
    if (!e && !io->from_kernel)
        fs_file_tell(f);
    fs_io_finish(io, e);
}

/* An uncommitted time is older than this request. */
static void setattr_send(struct fs_io *io)
{
    struct fs_file *f = io->file;
    const fs_setattr_args *a = &io->setattr;
    struct fs_call *call;
    enum err e = E_OK;

    if (failed(io))
        return;
    pthread_mutex_lock(&f->mutex);
    if (a->mask & FS_SET_SIZE)
        e = fs_map_cut(&f->map, div_round_up(a->size_bytes, BLOCK),
                       MAP_BLOCKS_MAX);
    io->took_time =
        !e && f->time_dirty && (a->mask & (FS_SET_MTIME | FS_SET_MTIME_NOW));
    if (io->took_time) {
        f->time_dirty = false;
        fs_file_settle(f);
    }
    pthread_mutex_unlock(&f->mutex);
    if (e) {
        fs_io_finish(io, e);
        return;
    }
    call = fs_io_call(io, FS_OP_SETATTR);
    call->request.args.fs_args_u.setattr = *a;
    fs_io_send(io, setattr_replied);
}

static void setattr_turn(struct fs_io *io)
{
    if (io->setattr.mask & (FS_SET_SIZE | FS_SET_MTIME | FS_SET_MTIME_NOW))
        fs_io_commit_kept(io, setattr_send);
    else
        setattr_send(io);
}

static void tail_zeroed(struct fs_io *io)
{
    if (failed(io))
        return;
    if (io->edges_only)
        fs_io_finish(io, E_OK);
    else
        fs_io_turn(io, setattr_turn);
}

static void setattr_lock(struct fs_io *io);

/* Under a range: is there leave to change the file?  Else it is asked for, and
 * `next` comes again. */
static bool acquired(struct fs_io *io, void (*next)(struct fs_io *io))
{
    if (failed(io))
        return false;
    if (fs_io_may(io, FS_IOMODE_RW))
        return true;
    fs_io_acquire(io, FS_IOMODE_RW, next);
    return false;
}

/* Without a layout nobody knows the size: all of the file. */
static uint64_t range_first(struct fs_io *io, uint64_t wanted)
{
    return fs_io_may(io, FS_IOMODE_RW) ? min_u64(wanted, size_of(io->file)) : 0;
}

/* Zero what a smaller size cuts off in its last block, and what a larger one
 * takes in (see fs_io_write). */
static void setattr_locked(struct fs_io *io)
{
    uint64_t new = io->setattr.size_bytes, old, from, edge, to;

    if (!acquired(io, setattr_locked))
        return;
    old = size_of(io->file);
    from = min_u64(old, new);
    edge = new > old ? junk_end_of(io->file) : align_up(new, BLOCK);
    to = min_u64(edge, max_u64(old, new));
    if (from < io->range.first) {
        fs_io_unlock(io);
        setattr_lock(io);
        return;
    }
    fs_io_transfer(io, TRANSFER_ZERO, from, to, tail_zeroed);
}

static void setattr_lock(struct fs_io *io)
{
    uint64_t from = range_first(io, io->setattr.size_bytes);

    fs_io_lock(io, RANGE_FREE, from, FILE_BYTES_MAX, setattr_locked);
}

void fs_io_setattr(struct fs_io *io)
{
    io->setattr.ino = io->file->ino;
    if (!(io->setattr.mask & FS_SET_SIZE))
        fs_io_turn(io, setattr_turn);
    else if (io->setattr.size_bytes > FILE_BYTES_MAX)
        fs_io_finish(io, E_TOO_BIG);
    else if (fs_io_goes_redirected(io))
        fs_redirect_edges(io, tail_zeroed);
    else
        setattr_lock(io);
}

/* -- allocate, punch, zero ------------------------------------------------- */

static uint64_t end_of(const struct fs_io *io)
{
    return io->off_bytes + io->len_bytes;
}

static bool takes_away(const struct fs_io *io)
{
    return io->mode & (FS_FALLOC_PUNCH_HOLE | FS_FALLOC_ZERO_RANGE);
}

static bool grows(const struct fs_io *io, uint64_t size)
{
    return !(io->mode & FS_FALLOC_KEEP_SIZE) && end_of(io) > size;
}

/* The blocks that the coordinator frees, or allocates. */
static void whole_blocks(const struct fs_io *io, uint64_t *ret_first,
                         uint64_t *ret_count)
{
    uint64_t first = io->off_bytes / BLOCK, end = end_of(io) / BLOCK;

    if (takes_away(io))
        first = div_round_up(io->off_bytes, BLOCK);
    else
        end = div_round_up(end_of(io), BLOCK);
    *ret_first = first;
    *ret_count = end > first ? end - first : 0;
}

static void allocated(struct fs_io *io)
{
    struct fs_file *f = io->file;
    uint64_t first, count;

    whole_blocks(io, &first, &count);
    pthread_mutex_lock(&f->mutex);
    if (takes_away(io))
        fs_map_drop(&f->map, first, count,
                    io->mode & FS_FALLOC_PUNCH_HOLE ? MAP_HOLE : MAP_UNKNOWN);
    else
        fs_map_forget(&f->map, first, count);
    if (grows(io, f->size_bytes))
        f->size_bytes = end_of(io);
    f->time_dirty = false;
    fs_file_settle(f);
    pthread_mutex_unlock(&f->mutex);
}

static void allocate_replied(struct fs_io *io)
{
    struct fs_file *f = io->file;
    enum err e = f->call.reply.error;

    fs_call_fini(&f->call);
    if (e == E_TRY_LATER) {
        fs_io_again(io);
        return;
    }
    if (!e)
        allocated(io);
    if (!e && !io->from_kernel)
        fs_file_tell(f);
    fs_io_finish(io, e);
}

static void allocate_send(struct fs_io *io)
{
    struct fs_file *f = io->file;
    uint64_t first, count;
    struct fs_call *call;
    enum err e;

    if (failed(io))
        return;
    whole_blocks(io, &first, &count);
    pthread_mutex_lock(&f->mutex);
    e = fs_map_cut(&f->map, first, count);
    pthread_mutex_unlock(&f->mutex);
    if (e) {
        fs_io_finish(io, e);
        return;
    }
    call = fs_io_call(io, FS_OP_FALLOCATE);
    call->request.args.fs_args_u.fallocate =
        (fs_fallocate_args){.ino = f->ino,
                            .mode = io->mode,
                            .off_bytes = io->off_bytes,
                            .len_bytes = io->len_bytes};
    fs_io_send(io, allocate_replied);
}

static void allocate_turn(struct fs_io *io)
{
    fs_io_commit_kept(io, allocate_send);
}

/* The parts of blocks that are to read zeros: before the first whole block,
 * after the last, and behind the old end of a file that grows. */
static void allocate_edge(const struct fs_io *io, uint64_t edge,
                          uint64_t *ret_from, uint64_t *ret_to)
{
    uint64_t from = io->off_bytes, end = end_of(io);
    uint64_t head = min_u64(align_up(from, BLOCK), end);
    uint64_t size = size_of(io->file);

    *ret_from = *ret_to = 0;
    if (edge == 0 && takes_away(io)) {
        *ret_from = from;
        *ret_to = head;
    } else if (edge == 1 && takes_away(io)) {
        *ret_from = max_u64(head, align_down(end, BLOCK));
        *ret_to = end;
    } else if (edge == 2 && grows(io, size)) {
        *ret_from = size;
        *ret_to = min_u64(junk_end_of(io->file), end);
    }
}

enum { ALLOCATE_EDGES = 3 };

static void edges_zeroed(struct fs_io *io)
{
    if (failed(io))
        return;
    if (io->edges_only)
        fs_io_finish(io, E_OK);
    else
        fs_io_turn(io, allocate_turn);
}

static void allocate_edges(struct fs_io *io)
{
    uint64_t from, to;

    if (failed(io))
        return;
    if (io->cursor == ALLOCATE_EDGES) {
        edges_zeroed(io);
        return;
    }
    allocate_edge(io, io->cursor++, &from, &to);
    fs_io_transfer(io, TRANSFER_ZERO, from, to, allocate_edges);
}

static void allocate_lock(struct fs_io *io);

static void allocate_locked(struct fs_io *io)
{
    uint64_t size;

    if (!acquired(io, allocate_locked))
        return;
    size = size_of(io->file);
    if (grows(io, size) && size < io->range.first) {
        fs_io_unlock(io);
        allocate_lock(io);
        return;
    }
    io->cursor = 0;
    allocate_edges(io);
}

static void allocate_lock(struct fs_io *io)
{
    bool grows_perhaps = !(io->mode & FS_FALLOC_KEEP_SIZE);
    uint64_t first =
        grows_perhaps ? range_first(io, io->off_bytes) : io->off_bytes;
    uint64_t end = grows_perhaps ? FILE_BYTES_MAX : end_of(io);

    fs_io_lock(io, RANGE_FREE, first, end, allocate_locked);
}

void fs_io_allocate(struct fs_io *io)
{
    const uint32_t known =
        FS_FALLOC_KEEP_SIZE | FS_FALLOC_PUNCH_HOLE | FS_FALLOC_ZERO_RANGE;
    enum err e = E_OK;

    if ((io->mode & ~known) || (io->mode & known) == FS_FALLOC_PUNCH_HOLE ||
        (io->mode & FS_FALLOC_PUNCH_HOLE && io->mode & FS_FALLOC_ZERO_RANGE))
        e = E_UNSUPPORTED;
    else if (!io->len_bytes)
        e = E_INVAL;
    else if (!range_ok(io->off_bytes, io->len_bytes, FILE_BYTES_MAX))
        e = E_TOO_BIG;
    if (e)
        fs_io_finish(io, e);
    else if (fs_io_goes_redirected(io))
        fs_redirect_edges(io, edges_zeroed);
    else
        allocate_lock(io);
}

/* -- seek ------------------------------------------------------------------ */

static void seek_replied(struct fs_io *io)
{
    struct fs_file *f = io->file;
    enum err e = f->call.reply.error;

    if (!e)
        io->off_bytes = f->call.reply.result.fs_result_u.seek_off_bytes;
    fs_call_fini(&f->call);
    if (e == E_TRY_LATER)
        fs_io_again(io);
    else
        fs_io_finish(io, e);
}

static void seek_send(struct fs_io *io)
{
    struct fs_call *call;

    if (failed(io))
        return;
    call = fs_io_call(io, FS_OP_SEEK);
    call->request.args.fs_args_u.seek = (fs_seek_args){
        .ino = io->file->ino, .off_bytes = io->off_bytes, .hole = io->hole};
    fs_io_send(io, seek_replied);
}

/* Only the coordinator knows all extents, and it must know ours. */
static void seek_turn(struct fs_io *io)
{
    fs_io_commit(io, seek_send);
}

void fs_io_seek(struct fs_io *io)
{
    io->data_only = true;
    fs_io_turn(io, seek_turn);
}
