/* fs/fuse_kept.h - what the mount must know again after its process was
 * killed, in memory that outlives it (docs/holder.md): which files the kernel
 * has open and locked, and which requests are under way.  All for one loop's
 * thread.
 *
 * The kernel names an open file by the number we gave it: index and generation
 * of an entry here.  An entry says which request opened it, so that the resend
 * of that request finds it and opens nothing twice; one that was released has
 * another generation, so that a resent RELEASE closes nothing twice.
 *
 * A request that must be executed once is noted with the name under which the
 * coordinator stores its outcome (I7).  Each run of the daemon notes its own
 * in the next of FUSE_KEPT_RUNS tables: one that died before it got to a
 * resent request has overwritten nothing about it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_FUSE_KEPT_H
#define LUNAR_FS_FUSE_KEPT_H

#include "fs/call.h"

enum {
    FUSE_KEPT_HANDLES = 1 << 18, /* open files of the whole mount */
    FUSE_KEPT_LOCKS = 1 << 17,   /* pieces of locks, of all volumes */
    FUSE_KEPT_RUNS = 8,
    FUSE_KEPT_REQUESTS = 192,
    FUSE_INIT_BYTES_MAX = 256
};

/* A request that the kernel sent before to a process that is no more. */
#define FUSE_RESENT (UINT64_C(1) << 63)

struct fuse_kept;

/* Of fd, or fresh if it is negative.  Ownership: takes fd, also on errors.
 * Errors: E_NOMEM, E_VERSION. */
MUST_CHECK enum err fuse_kept_new(int fd, uint64_t incarnation,
                                  struct fuse_kept **ret_kept);
void fuse_kept_free(struct fuse_kept *k); /* NULL is fine */
int fuse_kept_fd(const struct fuse_kept *k);

/* The kernel's first request; NULL: it has not been kept yet. */
const void *fuse_kept_init(const struct fuse_kept *k, size_t *ret_bytes);
void fuse_kept_set_init(struct fuse_kept *k, const void *init, size_t bytes);

/* The name of a request, noted before it is used.  `place`: no other request
 * that is under way has it. */
struct fs_once fuse_kept_once(struct fuse_kept *k, uint32_t place,
                              uint64_t unique);

struct fuse_handle {
    uint64_t node, fh;
    bool write;
};
/* Errors: E_NOMEM - too many files are open. */
MUST_CHECK enum err fuse_kept_open(struct fuse_kept *k, uint64_t unique,
                                   struct fuse_handle *handle);
/* Was it opened by this request, in an earlier try? */
bool fuse_kept_opened(const struct fuse_kept *k, uint64_t unique,
                      struct fuse_handle *ret_handle);
/* False: it is closed already. */
bool fuse_kept_close(struct fuse_kept *k, uint64_t fh, bool *ret_write);
/* The next open file from *at on, which is moved behind it. */
bool fuse_kept_next(const struct fuse_kept *k, uint32_t *at,
                    struct fuse_handle *ret_handle);

/* A piece of a lock that the kernel was told of. */
struct fuse_kept_lock {
    uint64_t node, fh; /* through which open */
    uint64_t owner, first, last;
    uint32_t pid;
    uint16_t kind, type; /* enum lm_range_kind, enum lm_range_type */
};
/* Errors: E_NOMEM - too many. */
MUST_CHECK enum err fuse_kept_lock(struct fuse_kept *k,
                                   const struct fuse_kept_lock *lock,
                                   uint32_t *ret_at);
void fuse_kept_unlock(struct fuse_kept *k, uint32_t at);
/* The next lock from *at on, which is moved behind it. */
bool fuse_kept_next_lock(const struct fuse_kept *k, uint32_t *at,
                         struct fuse_kept_lock *ret_lock);

#endif
