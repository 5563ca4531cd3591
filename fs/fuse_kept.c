/* fs/fuse_kept.c - open files and requests of the mount, in a memfd.
 * Each entry is filled in, then published by one store.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fuse_kept.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_MAGIC UINT64_C(0x3274706b7273754c) /* "Lusrkpt2" */

struct kept_request {
    _Atomic uint64_t unique; /* without FUSE_RESENT; 0: none */
    uint64_t incarnation, seq;
    uint32_t slot, spare;
};
/* Index 0 is not used: it ends lists, and no fh is 0. */
struct kept_handle {
    _Atomic uint64_t node; /* 0: free */
    uint64_t opener;       /* unique of the request */
    uint32_t generation;
    uint32_t write;
};
struct kept_place {
    _Atomic uint64_t taken;
    struct fuse_kept_lock lock;
};
struct kept {
    uint64_t magic;
    uint32_t run;
    uint32_t init_bytes;
    uint8_t init[FUSE_INIT_BYTES_MAX];
    _Atomic uint32_t handles_end; /* no entry from here on was ever used */
    struct kept_request requests[FUSE_KEPT_RUNS][FUSE_KEPT_REQUESTS];
    struct kept_handle handles[FUSE_KEPT_HANDLES];
    _Atomic uint32_t locks_end; /* as handles_end */
    uint32_t spare;
    struct kept_place locks[FUSE_KEPT_LOCKS];
};

struct fuse_kept {
    int fd;
    struct kept *kept;
    uint64_t incarnation;
    uint64_t seq[FUSE_KEPT_REQUESTS];
    uint32_t free; /* list of free handles below handles_end, by `next` */
    uint32_t *next;
    uint32_t free_lock; /* the same of locks; 0 ends it */
    uint32_t *next_lock;
};

/* -- birth and death ------------------------------------------------------- */

static void kept_freep(struct fuse_kept **at)
{
    struct fuse_kept *k = *at;

    if (!k)
        return;
    if (k->kept)
        munmap(k->kept, sizeof *k->kept);
    if (k->fd >= 0)
        close(k->fd);
    free(k->next);
    free(k->next_lock);
    free(k);
}

static enum err map(struct fuse_kept *k)
{
    struct stat st;
    void *at;

    if (fstat(k->fd, &st))
        return err_from_errno(errno);
    if (st.st_size && st.st_size != (off_t)sizeof *k->kept)
        return E_VERSION;
    if (!st.st_size && ftruncate(k->fd, (off_t)sizeof *k->kept))
        return err_from_errno(errno);
    at = mmap(NULL, sizeof *k->kept, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd,
              0);
    if (at == MAP_FAILED)
        return err_from_errno(errno);
    k->kept = at;
    if (!st.st_size) {
        k->kept->magic = KEPT_MAGIC;
        k->kept->handles_end = 1;
        k->kept->locks_end = 1;
    }
    if (k->kept->magic != KEPT_MAGIC ||
        k->kept->handles_end > FUSE_KEPT_HANDLES ||
        k->kept->locks_end > FUSE_KEPT_LOCKS ||
        k->kept->init_bytes > FUSE_INIT_BYTES_MAX)
        return E_VERSION;
    return E_OK;
}

/* This run's table begins empty. */
static void begin_run(struct fuse_kept *k)
{
    struct kept_request *table;

    k->kept->run = (k->kept->run + 1) % FUSE_KEPT_RUNS;
    table = k->kept->requests[k->kept->run];
    for (size_t i = 0; i < FUSE_KEPT_REQUESTS; i++)
        atomic_store(&table[i].unique, 0);
}

enum err fuse_kept_new(int fd, uint64_t incarnation,
                       struct fuse_kept **ret_kept)
{
    AUTO(kept_freep) struct fuse_kept *k = calloc(1, sizeof *k);
    enum err e;

    if (!k) {
        if (fd >= 0)
            close(fd);
        return E_NOMEM;
    }
    k->incarnation = incarnation;
    k->fd = fd >= 0 ? fd : memfd_create("lunar-mount", MFD_CLOEXEC);
    if (k->fd < 0)
        return err_from_errno(errno);
    e = map(k);
    if (e)
        return e;
    k->next = calloc(FUSE_KEPT_HANDLES, sizeof *k->next);
    k->next_lock = calloc(FUSE_KEPT_LOCKS, sizeof *k->next_lock);
    if (!k->next || !k->next_lock)
        return E_NOMEM;
    for (uint32_t i = 1; i < k->kept->handles_end; i++)
        if (!k->kept->handles[i].node) {
            k->next[i] = k->free;
            k->free = i;
        }
    for (uint32_t i = 1; i < k->kept->locks_end; i++)
        if (!k->kept->locks[i].taken) {
            k->next_lock[i] = k->free_lock;
            k->free_lock = i;
        }
    begin_run(k);
    *ret_kept = TAKE(k);
    return E_OK;
}

void fuse_kept_free(struct fuse_kept *k)
{
    kept_freep(&k);
}

int fuse_kept_fd(const struct fuse_kept *k)
{
    return k->fd;
}

const void *fuse_kept_init(const struct fuse_kept *k, size_t *ret_bytes)
{
    *ret_bytes = k->kept->init_bytes;
    return *ret_bytes ? k->kept->init : NULL;
}

void fuse_kept_set_init(struct fuse_kept *k, const void *init, size_t bytes)
{
    if (bytes > sizeof k->kept->init)
        return;
    memcpy(k->kept->init, init, bytes);
    atomic_thread_fence(memory_order_release);
    k->kept->init_bytes = (uint32_t)bytes;
}

/* -- requests -------------------------------------------------------------- */

/* What an earlier run called it, the last one first. */
static const struct kept_request *noted(const struct fuse_kept *k,
                                        uint64_t unique)
{
    for (uint32_t back = 1; back < FUSE_KEPT_RUNS; back++) {
        uint32_t run = (k->kept->run + FUSE_KEPT_RUNS - back) % FUSE_KEPT_RUNS;

        for (size_t i = 0; i < FUSE_KEPT_REQUESTS; i++)
            if (k->kept->requests[run][i].unique == unique)
                return &k->kept->requests[run][i];
    }
    return NULL;
}

struct fs_once fuse_kept_once(struct fuse_kept *k, uint32_t place,
                              uint64_t unique)
{
    const struct kept_request *before =
        unique & FUSE_RESENT ? noted(k, unique & ~FUSE_RESENT) : NULL;
    struct kept_request *r = &k->kept->requests[k->kept->run][place];
    struct fs_once once = {.incarnation = k->incarnation,
                           .slot = FS_SLOTS_KEPT + place};

    if (before)
        once = (struct fs_once){.incarnation = before->incarnation,
                                .seq = before->seq,
                                .slot = before->slot};
    else
        once.seq = ++k->seq[place];
    atomic_store_explicit(&r->unique, 0, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    r->incarnation = once.incarnation;
    r->seq = once.seq;
    r->slot = once.slot;
    atomic_store_explicit(&r->unique, unique & ~FUSE_RESENT,
                          memory_order_release);
    return once;
}

/* -- open files ------------------------------------------------------------ */

static uint64_t fh_of(const struct kept_handle *h, uint32_t i)
{
    return (uint64_t)h->generation << 32 | i;
}

enum err fuse_kept_open(struct fuse_kept *k, uint64_t unique,
                        struct fuse_handle *handle)
{
    struct kept *kept = k->kept;
    uint32_t i = k->free;
    struct kept_handle *h;

    if (i)
        k->free = k->next[i];
    else if (kept->handles_end < FUSE_KEPT_HANDLES)
        i = kept->handles_end++;
    else
        return E_NOMEM;
    h = &kept->handles[i];
    h->opener = unique & ~FUSE_RESENT;
    h->write = handle->write;
    handle->fh = fh_of(h, i);
    atomic_store_explicit(&h->node, handle->node, memory_order_release);
    return E_OK;
}

bool fuse_kept_next(const struct fuse_kept *k, uint32_t *at,
                    struct fuse_handle *ret_handle)
{
    for (; *at < k->kept->handles_end; ++*at) {
        const struct kept_handle *h = &k->kept->handles[*at];

        if (!h->node)
            continue;
        *ret_handle = (struct fuse_handle){
            .node = h->node, .fh = fh_of(h, *at), .write = h->write};
        ++*at;
        return true;
    }
    return false;
}

bool fuse_kept_opened(const struct fuse_kept *k, uint64_t unique,
                      struct fuse_handle *ret_handle)
{
    uint32_t at = 0;

    if (!(unique & FUSE_RESENT))
        return false;
    while (fuse_kept_next(k, &at, ret_handle))
        if (k->kept->handles[at - 1].opener == (unique & ~FUSE_RESENT))
            return true;
    return false;
}

bool fuse_kept_close(struct fuse_kept *k, uint64_t fh, bool *ret_write)
{
    uint32_t i = (uint32_t)fh;
    struct kept_handle *h;

    if (!i || i >= k->kept->handles_end)
        return false;
    h = &k->kept->handles[i];
    if (!h->node || fh_of(h, i) != fh)
        return false;
    *ret_write = h->write;
    h->generation++;
    atomic_store_explicit(&h->node, 0, memory_order_release);
    k->next[i] = k->free;
    k->free = i;
    return true;
}

/* -- locks ----------------------------------------------------------------- */

enum err fuse_kept_lock(struct fuse_kept *k, const struct fuse_kept_lock *lock,
                        uint32_t *ret_at)
{
    struct kept *kept = k->kept;
    uint32_t i = k->free_lock;

    if (i)
        k->free_lock = k->next_lock[i];
    else if (kept->locks_end < FUSE_KEPT_LOCKS)
        i = kept->locks_end++;
    else
        return E_NOMEM;
    kept->locks[i].lock = *lock;
    atomic_store_explicit(&kept->locks[i].taken, 1, memory_order_release);
    *ret_at = i;
    return E_OK;
}

void fuse_kept_unlock(struct fuse_kept *k, uint32_t at)
{
    atomic_store_explicit(&k->kept->locks[at].taken, 0, memory_order_release);
    k->next_lock[at] = k->free_lock;
    k->free_lock = at;
}

bool fuse_kept_next_lock(const struct fuse_kept *k, uint32_t *at,
                         struct fuse_kept_lock *ret_lock)
{
    for (*at += !*at; *at < k->kept->locks_end; ++*at) {
        if (!k->kept->locks[*at].taken)
            continue;
        *ret_lock = k->kept->locks[*at].lock;
        ++*at;
        return true;
    }
    return false;
}
