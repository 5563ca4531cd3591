/* fs/client_transfer.c - from positions in a file to requests on the LUN.
 * One pass over [pos, end): find out what the next stretch is, hand it down,
 * go on; requests of one io run side by side.  Decides no order between ios:
 * whoever calls holds the range.
 *
 *   what is there       READ          WRITE                    ZERO
 *   hole, INVALID       zeros         whole blocks, filled up  nothing to do
 *                                     with zeros (I3)
 *   data, LUN blocks    direct        direct                   bounced
 *   data, less          bounced       read, change, write      read, change …
 *   not known, or not   ask for a layout, look again
 *   ours to write
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

#include <string.h>
#include <sys/mman.h>

enum { BLOCK = FS_BLOCK_BYTES };

/* -- pieces ---------------------------------------------------------------- */

enum err fs_pieces_init(struct fs_client *client, unsigned pieces)
{
    size_t bytes = (size_t)pieces * BLOCK;
    void *bounce;

    pthread_mutex_init(&client->pieces_mutex, NULL);
    list_init(&client->pieces);
    list_init(&client->pieces_waiting);
    client->piece_memory = calloc(pieces, sizeof *client->piece_memory);
    if (!client->piece_memory || posix_memalign(&bounce, BLOCK, bytes))
        return E_NOMEM;
    memset(bounce, 0, bytes);
    client->bounce_memory = bounce;
    for (unsigned i = 0; i < pieces; i++) {
        client->piece_memory[i].bounce =
            client->bounce_memory + (size_t)i * BLOCK;
        list_push_back(&client->pieces, &client->piece_memory[i].link);
    }
    return E_OK;
}

void fs_pieces_fini(struct fs_client *client)
{
    free(client->piece_memory);
    free(client->bounce_memory);
    pthread_mutex_destroy(&client->pieces_mutex);
}

static void transfer_more(struct fs_io *io);

static void piece_free(struct fs_io *io)
{
    io->queued = false;
    transfer_more(io);
}

/* NULL: there is none now.  The io goes on when one of its own is done, or
 * when it is woken: whoever holds a piece has handed it to the LUN, so none is
 * held by one who waits. */
static struct fs_piece *piece_get(struct fs_io *io)
{
    struct fs_client *c = io->client;
    struct list *first;

    pthread_mutex_lock(&c->pieces_mutex);
    first = list_pop_front(&c->pieces);
    io->stalled = !first && io->inflight;
    io->queued = !first && !io->inflight;
    if (io->queued) {
        io->next = piece_free;
        list_push_back(&c->pieces_waiting, &io->link);
    }
    pthread_mutex_unlock(&c->pieces_mutex);
    return first ? container_of(first, struct fs_piece, link) : NULL;
}

static void piece_put(struct fs_client *c, struct fs_piece *p)
{
    struct list *first;

    pthread_mutex_lock(&c->pieces_mutex);
    list_push_front(&c->pieces, &p->link);
    first = list_pop_front(&c->pieces_waiting);
    pthread_mutex_unlock(&c->pieces_mutex);
    if (first)
        fs_io_wake(container_of(first, struct fs_io, link));
}

/* -- completion ------------------------------------------------------------ */

/* Before anybody is told: what was INVALID_DATA is written.
 * lock: f->mutex */
static void enter_ledger(struct fs_file *f, uint64_t block, uint64_t count)
{
    while (count) {
        struct map_run run = fs_map_find(&f->map, block, count);

        if (run.state == MAP_INVALID)
            ledger_add(f->client->ledger, &f->ledger,
                       &(struct ledger_entry){.ino = f->ino,
                                              .file_block = block,
                                              .lun_block = run.lun,
                                              .count = run.count});
        block += run.count;
        count -= run.count;
    }
}

static void mark_written(struct fs_file *f, uint64_t block, uint64_t count)
{
    pthread_mutex_lock(&f->mutex);
    if (f->client->ledger)
        enter_ledger(f, block, count);
    fs_map_written(&f->map, block, count);
    f->dirty_writes++;
    pthread_mutex_unlock(&f->mutex);
    fs_file_dirty(f);
}

static void part_done(struct fs_io *io, enum err e)
{
    if (e && !io->error)
        io->error = e;
    io->inflight--;
    if (io->inflight && !io->stalled)
        return;
    io->stalled = false;
    transfer_more(io);
}

static void direct_done(struct store_io *s, enum err e)
{
    struct fs_io *io = container_of(s, struct fs_io, direct);

    if (!e && io->fresh)
        mark_written(io->file, io->off_bytes / BLOCK, io->len_bytes / BLOCK);
    part_done(io, e);
}

static void piece_done(struct store_io *s, enum err e)
{
    struct fs_piece *p = container_of(s, struct fs_piece, io);
    struct fs_io *io = p->owner;

    if (!e && p->fresh)
        mark_written(io->file, p->block, p->blocks);
    piece_put(io->client, p);
    part_done(io, e);
}

static void bounced_read_done(struct store_io *s, enum err e)
{
    struct fs_piece *p = container_of(s, struct fs_piece, io);
    struct fs_io *io = p->owner;

    if (!e)
        iov_from_buf(io->iov, io->iov_count, p->skip, p->bounce + p->low,
                     p->high - p->low);
    piece_done(s, e);
}

/* -- handing down ---------------------------------------------------------- */

static void submit_piece(struct fs_io *io, struct fs_piece *p)
{
    enum err e;

    p->owner = io;
    io->inflight++;
    e = store_submit(io->client->lun, &p->io);
    if (!e)
        return;
    piece_put(io->client, p);
    io->inflight--;
    if (!io->error)
        io->error = e;
}

static void bounce_io(struct fs_piece *p, enum store_op op, uint64_t lun_bytes,
                      void (*done)(struct store_io *, enum err))
{
    p->iov[0] = (struct iovec){.iov_base = p->bounce, .iov_len = BLOCK};
    p->io.op = op;
    p->io.flags = 0;
    p->io.off_bytes = lun_bytes;
    p->io.len_bytes = BLOCK;
    p->io.iov = p->iov;
    p->io.iov_count = 1;
    p->io.done = done;
}

/* What the caller wants in [low, high) of the bounced block. */
static void bounce_fill(struct fs_io *io, struct fs_piece *p)
{
    if (io->transfer == TRANSFER_ZERO)
        memset(p->bounce + p->low, 0, p->high - p->low);
    else
        iov_to_buf(io->iov, io->iov_count, p->skip, p->bounce + p->low,
                   p->high - p->low);
}

static void bounced_change(struct store_io *s, enum err e)
{
    struct fs_piece *p = container_of(s, struct fs_piece, io);
    struct fs_io *io = p->owner;

    if (e) {
        piece_done(s, e);
        return;
    }
    bounce_fill(io, p);
    bounce_io(p, STORE_WRITE, p->io.off_bytes, piece_done);
    e = store_submit(io->client->lun, &p->io);
    if (e)
        piece_done(&p->io, e);
}

/* One block by way of the bounce buffer, bytes [pos, pos + len) of it.  False:
 * no piece, the io will come back. */
static bool bounce(struct fs_io *io, const struct map_run *run, uint64_t len)
{
    struct fs_piece *p = piece_get(io);
    uint64_t lun_bytes = run->lun * BLOCK;

    if (!p)
        return false;
    p->low = (uint32_t)(io->pos % BLOCK);
    p->high = (uint32_t)(p->low + len);
    p->skip = io->pos - io->off_bytes;
    p->fresh = false;
    if (io->transfer == TRANSFER_READ) {
        bounce_io(p, STORE_READ, lun_bytes, bounced_read_done);
    } else if (run->state == MAP_INVALID) {
        p->fresh = true;
        p->block = io->pos / BLOCK;
        p->blocks = 1;
        memset(p->bounce, 0, BLOCK);
        bounce_fill(io, p);
        bounce_io(p, STORE_WRITE, lun_bytes, piece_done);
    } else {
        bounce_io(p, STORE_READ, lun_bytes, bounced_change);
    }
    submit_piece(io, p);
    io->pos += len;
    return true;
}

static uint64_t rest_of_block(const struct fs_io *io)
{
    return min_u64(io->end - io->pos, BLOCK - io->pos % BLOCK);
}

/* Writing a part of a block needs the range to itself. */
static bool bounce_exclusive(struct fs_io *io, const struct map_run *run)
{
    io->modify = io->range.mode == RANGE_WRITE;
    return !io->modify && bounce(io, run, rest_of_block(io));
}

/* The whole io is one request with the caller's own array. */
static void submit_whole(struct fs_io *io, uint64_t lun_bytes, bool fresh)
{
    struct store_io *s = &io->direct;
    enum err e;

    s->op = io->transfer == TRANSFER_READ ? STORE_READ : STORE_WRITE;
    s->flags = 0;
    s->off_bytes = lun_bytes;
    s->len_bytes = io->len_bytes;
    s->iov = io->iov;
    s->iov_count = io->iov_count;
    s->done = direct_done;
    io->fresh = fresh;
    io->pos = io->end;
    io->inflight++;
    e = store_submit(io->client->lun, s);
    if (!e)
        return;
    io->inflight--;
    io->error = e;
}

/* As much of the io's memory, at most *len, as the piece's array describes, up
 * to the end of a block.  0: not even one. */
static uint32_t slice(struct fs_io *io, struct fs_piece *p, uint64_t *len)
{
    uint64_t skip = io->pos - io->off_bytes, end = io->pos + *len;
    uint32_t n = 0;

    while (!n && end > io->pos) {
        *len = end - io->pos;
        n = iov_slice(io->iov, io->iov_count, skip, *len, p->iov, PIECE_IOVS);
        end = align_down(io->pos + *len / 2, BLOCK);
    }
    return n;
}

/* `len` bytes, whole LUN blocks, straight between LUN and memory. */
static bool direct(struct fs_io *io, const struct map_run *run, uint64_t len,
                   bool fresh)
{
    uint64_t lun_bytes = run->lun * BLOCK + io->pos % BLOCK;
    struct fs_piece *p;

    if (io->pos == io->off_bytes && len == io->len_bytes) {
        submit_whole(io, lun_bytes, fresh);
        return true;
    }
    p = piece_get(io);
    if (!p)
        return false;
    p->io.iov_count = slice(io, p, &len);
    if (!p->io.iov_count) {
        piece_put(io->client, p);
        return bounce_exclusive(io, run);
    }
    p->io.op = io->transfer == TRANSFER_READ ? STORE_READ : STORE_WRITE;
    p->io.flags = 0;
    p->io.off_bytes = lun_bytes;
    p->io.len_bytes = len;
    p->io.iov = p->iov;
    p->io.done = piece_done;
    p->fresh = fresh;
    p->block = io->pos / BLOCK;
    p->blocks = len / BLOCK;
    submit_piece(io, p);
    io->pos += len;
    return true;
}

/* -- the pass -------------------------------------------------------------- */

/* What is at io->pos; makes sure that a first write can be recorded. */
static enum err look(struct fs_io *io, struct map_run *ret_run)
{
    struct fs_file *f = io->file;
    uint64_t block = io->pos / BLOCK;
    uint64_t max = div_round_up(io->end, BLOCK) - block;
    enum err e = E_OK;

    pthread_mutex_lock(&f->mutex);
    *ret_run = fs_map_find(&f->map, block, max);
    if (io->transfer == TRANSFER_WRITE && ret_run->state == MAP_INVALID)
        e = fs_map_prepare(&f->map, block, ret_run->count);
    pthread_mutex_unlock(&f->mutex);
    return e;
}

/* Bytes of the run that the io wants. */
static uint64_t wanted(const struct fs_io *io, const struct map_run *run)
{
    return min_u64(io->end - io->pos, run->count * BLOCK - io->pos % BLOCK);
}

static bool step_read(struct fs_io *io, const struct map_run *run)
{
    uint64_t len = wanted(io, run);
    uint64_t whole = align_down(len, io->client->lun->block_bytes);

    if (run->state == MAP_HOLE || run->state == MAP_INVALID) {
        iov_zero(io->iov, io->iov_count, io->pos - io->off_bytes, len);
        io->pos += len;
        return true;
    }
    if (is_aligned(io->pos, io->client->lun->block_bytes) && whole)
        return direct(io, run, whole, false);
    return bounce(io, run, rest_of_block(io));
}

/* A block goes one way as a whole: what was read for its ragged end would
 * otherwise be written back over what went directly. */
static bool step_write(struct fs_io *io, const struct map_run *run)
{
    uint32_t unit = run->state == MAP_INVALID ? (uint32_t)BLOCK
                                              : io->client->lun->block_bytes;
    uint64_t whole = wanted(io, run), end = io->pos + whole;

    if (!is_aligned(end, unit))
        whole = max_u64(align_down(end, BLOCK), io->pos) - io->pos;

    if (is_aligned(io->pos, unit) && whole)
        return direct(io, run, whole, run->state == MAP_INVALID);
    return bounce_exclusive(io, run);
}

static bool step_zero(struct fs_io *io, const struct map_run *run)
{
    if (run->state == MAP_DATA)
        return bounce(io, run, rest_of_block(io));
    io->pos += wanted(io, run);
    return true;
}

/* Hand down the next stretch.  False: not now. */
static bool step(struct fs_io *io)
{
    struct map_run run;
    bool ask;

    io->error = io->may && !io->may(io) ? E_FENCED : look(io, &run);
    if (io->error)
        return true;
    if (io->transfer == TRANSFER_READ)
        ask = !map_is_readable(run.state);
    else if (io->transfer == TRANSFER_WRITE)
        ask = !map_is_writable(run.state);
    else
        ask = run.state == MAP_UNKNOWN || run.state == MAP_READ;
    if (ask) {
        io->ask = true;
        return false;
    }
    switch (io->transfer) {
    case TRANSFER_READ: return step_read(io, &run);
    case TRANSFER_WRITE: return step_write(io, &run);
    }
    return step_zero(io, &run);
}

/* The range was locked for whole blocks, and now there is a part of one: a
 * block that was data has become a hole while we waited for the lock. */
static void lock_harder(struct fs_io *io)
{
    uint64_t first = io->range.first, end = io->range.end;

    fs_io_unlock(io);
    fs_io_lock(io, RANGE_MODIFY, first, end, transfer_more);
}

/* Entered at the start and whenever what it waited for has come. */
static void transfer_more(struct fs_io *io)
{
    io->ask = io->modify = false;
    while (io->pos < io->end && !io->error && step(io))
        ;
    if (io->inflight || io->queued)
        return;
    if (io->ask)
        fs_io_learn(io, transfer_more);
    else if (io->modify)
        lock_harder(io);
    else
        io->then(io);
}

void fs_io_transfer(struct fs_io *io, uint8_t what, uint64_t pos, uint64_t end,
                    void (*then)(struct fs_io *io))
{
    io->transfer = what;
    io->pos = pos;
    io->end = max_u64(pos, end);
    io->then = then;
    transfer_more(io);
}
