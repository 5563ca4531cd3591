/* base/store.c - the contract of a store, checked at its one entrance; the
 * blocking forms; copying to and from iovec arrays.  Holds no bytes itself.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/store.h"

#include "base/loop.h"

#include <string.h>

/* What an op needs from the io and from the store. */
/* clang-format off */
static const struct store_op_row {
    const char *name;
    bool has_range, has_memory, writes;
    uint32_t caps; /* all of these, or E_UNSUPPORTED */
} store_op_rows[STORE_OP_COUNT] = {
    [STORE_READ]         = {"read",         true,  true,  false, 0},
    [STORE_WRITE]        = {"write",        true,  true,  true,  0},
    [STORE_FLUSH]        = {"flush",        false, false, false, 0},
    [STORE_DISCARD]      = {"discard",      true,  false, true,
                            STORE_CAN_DISCARD},
    [STORE_WRITE_ZEROES] = {"write zeroes", true,  false, true,  0},
    [STORE_RESIZE]       = {"resize",       false, false, true,
                            STORE_CAN_RESIZE},
};
/* clang-format on */

const char *store_op_name(enum store_op op)
{
    return (unsigned)op < STORE_OP_COUNT ? store_op_rows[op].name : "op?";
}

static enum err io_check(const struct store *s, const struct store_io *io)
{
    const struct store_op_row *row = &store_op_rows[io->op];

    if (row->writes && (s->caps & STORE_READ_ONLY))
        return E_READ_ONLY;
    if ((s->caps & row->caps) != row->caps)
        return E_UNSUPPORTED;
    if (row->has_range) {
        if (!range_ok(io->off_bytes, io->len_bytes, store_size(s)))
            return E_RANGE;
        if (!is_aligned(io->off_bytes | io->len_bytes, s->block_bytes))
            return E_ALIGN;
    }
    if (io->op == STORE_RESIZE && !is_aligned(io->off_bytes, s->block_bytes))
        return E_ALIGN;
    if (row->has_memory)
        DEBUG_ASSERT(iov_bytes(io->iov, io->iov_count) == io->len_bytes);
    return E_OK;
}

enum err store_submit(struct store *s, struct store_io *io)
{
    enum err e;

    ASSERT((unsigned)io->op < STORE_OP_COUNT);
    ASSERT(io->done);
    DEBUG_ASSERT(loop_self());
    e = io_check(s, io);
    if (e)
        return e;
    if (store_op_rows[io->op].has_range && !io->len_bytes) {
        store_done_later(io, E_OK);
        return E_OK;
    }
    return s->ops->submit(s, io);
}

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

/* -- done, later ----------------------------------------------------------- */

struct later {
    struct task task;
    struct store_io *io;
    enum err result;
};
static_assert(sizeof(struct later) <= STORE_ROOM_BYTES, "lives in io->room");

static void later_run(struct task *t)
{
    struct later *later = container_of(t, struct later, task);

    later->io->done(later->io, later->result);
}

void store_done_later(struct store_io *io, enum err e)
{
    struct later *later = (struct later *)(void *)io->room;

    *later = (struct later){{.run = later_run}, io, e};
    loop_post(loop_self(), &later->task);
}

/* -- blocking forms -------------------------------------------------------- */

struct sync_io {
    struct store_io io;
    bool done;
    enum err result;
};

static void sync_done(struct store_io *io, enum err e)
{
    struct sync_io *sync = container_of(io, struct sync_io, io);

    sync->result = e;
    sync->done = true;
}

static enum err run_sync(struct store *s, enum store_op op, uint64_t off_bytes,
                         const struct iovec *iov, uint64_t len_bytes)
{
    struct sync_io sync = {
        .io = {.op = op,
               .off_bytes = off_bytes,
               .len_bytes = len_bytes,
               .iov = iov,
               .iov_count = iov ? 1 : 0,
               .done = sync_done},
    };
    enum err e;

    ASSERT(loop_self());
    e = store_submit(s, &sync.io);
    if (e)
        return e;
    loop_run_until(loop_self(), &sync.done);
    return sync.result;
}

enum err store_read_sync(struct store *s, uint64_t off_bytes, void *buf,
                         uint64_t len_bytes)
{
    return run_sync(s, STORE_READ, off_bytes, &(struct iovec){buf, len_bytes},
                    len_bytes);
}

enum err store_write_sync(struct store *s, uint64_t off_bytes, const void *buf,
                          uint64_t len_bytes)
{
    /* An iovec has no const form; a write only reads through it. */
    union {
        const void *in;
        void *base;
    } memory = {buf};

    return run_sync(s, STORE_WRITE, off_bytes,
                    &(struct iovec){memory.base, len_bytes}, len_bytes);
}

enum err store_flush_sync(struct store *s)
{
    return run_sync(s, STORE_FLUSH, 0, NULL, 0);
}

enum err store_range_sync(struct store *s, enum store_op op, uint64_t off_bytes,
                          uint64_t len_bytes)
{
    ASSERT(!store_op_rows[op].has_memory);
    return run_sync(s, op, off_bytes, NULL, len_bytes);
}

/* -- iovec arrays ---------------------------------------------------------- */

size_t iov_bytes(const struct iovec *iov, uint32_t count)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += iov[i].iov_len;
    return sum;
}

uint32_t iov_slice(const struct iovec *iov, uint32_t count, size_t skip,
                   size_t len_bytes, struct iovec *out, uint32_t out_max)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < count && len_bytes; i++) {
        size_t piece;

        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        if (used == out_max)
            return 0;
        piece = min_u64(iov[i].iov_len - skip, len_bytes);
        out[used++] = (struct iovec){(char *)iov[i].iov_base + skip, piece};
        len_bytes -= piece;
        skip = 0;
    }
    return len_bytes ? 0 : used;
}

/* Call `copy` for each contiguous piece of [skip, skip + len) of the vector;
 * `at` is the piece's offset in the flat buffer.  Returns the bytes passed. */
typedef void piece_fn(void *piece, size_t bytes, void *flat, size_t at);

static size_t for_pieces(const struct iovec *iov, uint32_t count, size_t skip,
                         size_t len_bytes, piece_fn *copy, void *flat)
{
    size_t at = 0;

    for (uint32_t i = 0; i < count && at < len_bytes; i++) {
        size_t piece;

        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        piece = min_u64(iov[i].iov_len - skip, len_bytes - at);
        copy((char *)iov[i].iov_base + skip, piece, flat, at);
        at += piece;
        skip = 0;
    }
    return at;
}

static void piece_to_flat(void *piece, size_t bytes, void *flat, size_t at)
{
    memcpy((char *)flat + at, piece, bytes);
}

static void piece_from_flat(void *piece, size_t bytes, void *flat, size_t at)
{
    memcpy(piece, (const char *)flat + at, bytes);
}

static void piece_zero(void *piece, size_t bytes, void *flat, size_t at)
{
    (void)flat;
    (void)at;
    memset(piece, 0, bytes);
}

size_t iov_to_buf(const struct iovec *iov, uint32_t count, size_t skip,
                  void *buf, size_t len_bytes)
{
    return for_pieces(iov, count, skip, len_bytes, piece_to_flat, buf);
}

size_t iov_from_buf(const struct iovec *iov, uint32_t count, size_t skip,
                    const void *buf, size_t len_bytes)
{
    union {
        const void *in;
        void *base;
    } memory = {buf};

    return for_pieces(iov, count, skip, len_bytes, piece_from_flat,
                      memory.base);
}

size_t iov_zero(const struct iovec *iov, uint32_t count, size_t skip,
                size_t len_bytes)
{
    return for_pieces(iov, count, skip, len_bytes, piece_zero, NULL);
}
