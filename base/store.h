/* base/store.h - the one seam for bytes: asynchronous block storage.
 * A LUN, a file on a volume, a VHD, memory, a fault injector, a delay, a
 * write recorder are stores and stack at run time.
 *
 * The contract, everywhere the same:
 *
 *   store_submit() returns E_OK  -> io->done runs exactly once, later, on the
 *                                   loop that submitted, never inside the call
 *   store_submit() returns error -> io->done never runs; the io is yours again
 *
 * From submit to done the io, its iovec array and its memory belong to the
 * store.  Writes become durable by FLUSH (of everything whose done ran before
 * the flush was submitted) or with STORE_FUA.  Ranges of ios in flight at the
 * same time may overlap; their order is then undefined.
 *
 * Why one io with an op code and not a function per op: a decorator is one
 * function, and room for the leaf (an iocb, a list link) travels in the io,
 * so the I/O path allocates nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_STORE_H
#define LUNAR_BASE_STORE_H

#include "base/err.h"

#include <sys/uio.h>

enum store_op {
    STORE_READ,
    STORE_WRITE,
    STORE_FLUSH,        /* range ignored */
    STORE_DISCARD,      /* a hint; reads are undefined (or zero) after it */
    STORE_WRITE_ZEROES, /* reads are zeros after it; may unmap */
    STORE_RESIZE,       /* off_bytes is the new size; new bytes are zeros */
    STORE_OP_COUNT
};

enum store_flags {
    STORE_FUA = 1,     /* WRITE, WRITE_ZEROES: durable when done */
    STORE_NO_UNMAP = 2 /* WRITE_ZEROES: keep the space allocated */
};

struct store;

enum { STORE_ROOM_BYTES = 128 }; /* an iocb, a link and a few words */

struct store_io {
    enum store_op op;
    uint32_t flags; /* enum store_flags */
    uint64_t off_bytes, len_bytes;
    const struct iovec *iov; /* READ, WRITE: holds len_bytes in all */
    uint32_t iov_count;
    void (*done)(struct store_io *io, enum err e);
    /* For the store that has the io now; nobody else looks. */
    _Alignas(16) uint8_t room[STORE_ROOM_BYTES];
};

struct store_ops {
    const char *name; /* "file", "vhd", "fault" … */
    enum err (*submit)(struct store *s, struct store_io *io);
    /* Give up the store and what it holds.  No io is in flight.  A decorator
     * does not close what is below it. */
    void (*close)(struct store *s);
};

enum store_caps {
    STORE_READ_ONLY = 1,      /* WRITE … fail with E_READ_ONLY */
    STORE_CAN_DISCARD = 2,    /* DISCARD frees space */
    STORE_DISCARD_ZEROES = 4, /* … and reads zeros after it */
    STORE_CAN_RESIZE = 8,
    STORE_VOLATILE = 16 /* has a write cache: FLUSH matters */
};

struct store {
    const struct store_ops *ops;
    uint64_t size_bytes;     /* by RESIZE or a grown LUN: store_size_set() */
    uint32_t block_bytes;    /* offsets and lengths are multiples of this */
    uint32_t physical_bytes; /* writes below this are read-modify-write */
    uint32_t caps;           /* enum store_caps */
};

/* Any thread may read the size while it changes. */
static inline uint64_t store_size(const struct store *s)
{
    return __atomic_load_n(&s->size_bytes, __ATOMIC_ACQUIRE);
}

/* For stores. */
static inline void store_size_set(struct store *s, uint64_t size_bytes)
{
    __atomic_store_n(&s->size_bytes, size_bytes, __ATOMIC_RELEASE);
}

/* Check the io against size, block size and caps, then hand it down.
 * Memory may have any alignment: a leaf that needs more bounces.
 * Errors: E_RANGE, E_ALIGN, E_READ_ONLY, E_UNSUPPORTED, or the store's own.
 * Context: a thread with a loop (loop_self() != NULL); does not block. */
MUST_CHECK enum err store_submit(struct store *s, struct store_io *io);

void store_close(struct store *s); /* NULL is fine */
static inline void store_closep(struct store **s)
{
    store_close(*s);
}

const char *store_op_name(enum store_op op);

/* For stores: run io->done(io, e) from this thread's loop, in a later task.
 * Uses the io's room; what the store kept there is gone. */
void store_done_later(struct store_io *io, enum err e);

/* Blocking forms for cold paths: format, open, check, SQLite's thread.
 * Context: a thread with a loop that nothing else depends on; never a reactor.
 * They run that loop's turns until the answer is there. */
MUST_CHECK enum err store_read_sync(struct store *s, uint64_t off_bytes,
                                    void *buf, uint64_t len_bytes);
MUST_CHECK enum err store_write_sync(struct store *s, uint64_t off_bytes,
                                     const void *buf, uint64_t len_bytes);
MUST_CHECK enum err store_flush_sync(struct store *s);
/* DISCARD, WRITE_ZEROES or RESIZE. */
MUST_CHECK enum err store_range_sync(struct store *s, enum store_op op,
                                     uint64_t off_bytes, uint64_t len_bytes);

/* Copy between a flat buffer and an iovec array; `skip` bytes of the vector
 * are passed over first.  Return the bytes copied. */
size_t iov_to_buf(const struct iovec *iov, uint32_t count, size_t skip,
                  void *buf, size_t len_bytes);
size_t iov_from_buf(const struct iovec *iov, uint32_t count, size_t skip,
                    const void *buf, size_t len_bytes);
size_t iov_bytes(const struct iovec *iov, uint32_t count);
size_t iov_zero(const struct iovec *iov, uint32_t count, size_t skip,
                size_t len_bytes);
/* Make out[] describe `len_bytes` of iov from `skip` on; returns the entries
 * used, 0 if `out_max` is too small or iov too short. */
uint32_t iov_slice(const struct iovec *iov, uint32_t count, size_t skip,
                   size_t len_bytes, struct iovec *out, uint32_t out_max);

#endif
