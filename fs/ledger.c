/* fs/ledger.c - the ledger's entries, in a memfd; free lists in our own RAM.
 * Commits nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/ledger.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEDGER_MAGIC UINT64_C(0x3172676472656c4c) /* "Lledrgr1" */

/* Index 0 is not used, so that 0 can say "none". */
struct kept_file {
    _Atomic uint64_t ino; /* 0: free */
    _Atomic uint64_t size_bytes;
    _Atomic int64_t mtime_ns;
};
struct kept_range {
    _Atomic uint64_t count; /* 0: free */
    uint64_t ino, file_block, lun_block;
};
struct kept {
    uint64_t magic;
    struct kept_file files[LEDGER_FILES + 1];
    struct kept_range ranges[LEDGER_RANGES + 1];
};

/* Indices that are free: those given back, and all from `fresh` on. */
struct pool {
    uint32_t free, fresh, end;
    uint32_t *next;
};

struct fs_ledger {
    int fd;
    struct kept *kept;
    pthread_mutex_t mutex; /* of the pools and the ranges' chains */
    struct pool files, ranges;
};

static uint32_t pool_get(struct pool *p)
{
    uint32_t i = p->free;

    if (i)
        p->free = p->next[i];
    else if (p->fresh < p->end)
        i = p->fresh++;
    if (i)
        p->next[i] = 0;
    return i;
}

static void pool_put(struct pool *p, uint32_t i)
{
    p->next[i] = p->free;
    p->free = i;
}

static enum err pool_init(struct pool *p, uint32_t count)
{
    *p = (struct pool){.fresh = 1, .end = count + 1};
    p->next = calloc(p->end, sizeof *p->next);
    return p->next ? E_OK : E_NOMEM;
}

/* -- birth and death ------------------------------------------------------- */

static void ledger_freep(struct fs_ledger **at)
{
    struct fs_ledger *l = *at;

    if (!l)
        return;
    if (l->kept)
        munmap(l->kept, sizeof *l->kept);
    if (l->fd >= 0)
        close(l->fd);
    free(l->files.next);
    free(l->ranges.next);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

/* An empty descriptor becomes a ledger; one of another layout is refused. */
static enum err map(struct fs_ledger *l)
{
    struct stat st;
    void *at;

    if (fstat(l->fd, &st))
        return err_from_errno(errno);
    if (st.st_size && st.st_size != (off_t)sizeof *l->kept)
        return E_VERSION;
    if (!st.st_size && ftruncate(l->fd, (off_t)sizeof *l->kept))
        return err_from_errno(errno);
    at = mmap(NULL, sizeof *l->kept, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd,
              0);
    if (at == MAP_FAILED)
        return err_from_errno(errno);
    l->kept = at;
    if (!st.st_size || !l->kept->magic)
        l->kept->magic = LEDGER_MAGIC;
    return l->kept->magic == LEDGER_MAGIC ? E_OK : E_VERSION;
}

enum err fs_ledger_new(int fd, struct fs_ledger **ret_ledger)
{
    AUTO(ledger_freep) struct fs_ledger *l = calloc(1, sizeof *l);
    enum err e;

    if (!l) {
        if (fd >= 0)
            close(fd);
        return E_NOMEM;
    }
    pthread_mutex_init(&l->mutex, NULL);
    l->fd = fd >= 0 ? fd : memfd_create("lunar-ledger", MFD_CLOEXEC);
    if (l->fd < 0)
        return err_from_errno(errno);
    e = map(l);
    if (!e)
        e = pool_init(&l->files, LEDGER_FILES);
    if (!e)
        e = pool_init(&l->ranges, LEDGER_RANGES);
    if (e)
        return e;
    *ret_ledger = TAKE(l);
    return E_OK;
}

void fs_ledger_free(struct fs_ledger *ledger)
{
    ledger_freep(&ledger);
}

int fs_ledger_fd(const struct fs_ledger *ledger)
{
    return ledger->fd;
}

/* -- while the files are open ---------------------------------------------- */

/* The last range goes on with the entry.  lock: l->mutex */
static bool extends(struct fs_ledger *l, const struct ledger_file *f,
                    const struct ledger_entry *x)
{
    struct kept_range *r = &l->kept->ranges[f->last];
    uint64_t count;

    if (!f->last)
        return false;
    count = atomic_load_explicit(&r->count, memory_order_relaxed);
    if (r->file_block + count != x->file_block ||
        r->lun_block + count != x->lun_block)
        return false;
    atomic_store_explicit(&r->count, count + x->count, memory_order_release);
    return true;
}

void ledger_add(struct fs_ledger *l, struct ledger_file *f,
                const struct ledger_entry *entry)
{
    struct kept_range *r;
    uint32_t i;

    pthread_mutex_lock(&l->mutex);
    if (!extends(l, f, entry)) {
        i = pool_get(&l->ranges);
        if (i) {
            r = &l->kept->ranges[i];
            r->ino = entry->ino;
            r->file_block = entry->file_block;
            r->lun_block = entry->lun_block;
            atomic_store_explicit(&r->count, entry->count,
                                  memory_order_release);
            if (f->last)
                l->ranges.next[f->last] = i;
            else
                f->first = i;
            f->last = i;
        }
        f->lacking |= !i;
    }
    pthread_mutex_unlock(&l->mutex);
}

static void take_slot(struct fs_ledger *l, struct ledger_file *f, fs_ino ino)
{
    uint32_t i;

    pthread_mutex_lock(&l->mutex);
    i = pool_get(&l->files);
    pthread_mutex_unlock(&l->mutex);
    f->slot = i;
    f->lacking |= !i;
    if (i)
        atomic_store_explicit(&l->kept->files[i].ino, ino,
                              memory_order_release);
}

void ledger_note(struct fs_ledger *l, struct ledger_file *f, fs_ino ino,
                 uint64_t size_bytes, int64_t mtime_ns)
{
    struct kept_file *k;

    if (!f->slot)
        take_slot(l, f, ino);
    if (!f->slot)
        return;
    k = &l->kept->files[f->slot];
    if (size_bytes)
        atomic_store_explicit(&k->size_bytes, size_bytes, memory_order_release);
    if (mtime_ns)
        atomic_store_explicit(&k->mtime_ns, mtime_ns, memory_order_release);
}

void ledger_settle(struct fs_ledger *l, struct ledger_file *f,
                   uint64_t size_bytes, int64_t mtime_ns)
{
    struct kept_file *k = &l->kept->files[f->slot];

    if (!f->slot)
        return;
    atomic_store_explicit(&k->size_bytes, size_bytes, memory_order_release);
    atomic_store_explicit(&k->mtime_ns, mtime_ns, memory_order_release);
}

void ledger_take(struct fs_ledger *l, struct ledger_file *f)
{
    ASSERT(!f->taken);
    pthread_mutex_lock(&l->mutex);
    f->taken = f->first;
    f->taken_last = f->last;
    f->first = f->last = 0;
    f->lacking = false;
    pthread_mutex_unlock(&l->mutex);
}

void ledger_give_back(struct fs_ledger *l, struct ledger_file *f)
{
    pthread_mutex_lock(&l->mutex);
    if (f->taken) {
        l->ranges.next[f->taken_last] = f->first;
        f->first = f->taken;
        if (!f->last)
            f->last = f->taken_last;
    }
    f->taken = f->taken_last = 0;
    /* what was taken may have had no entry */
    f->lacking = true;
    pthread_mutex_unlock(&l->mutex);
}

/* lock: l->mutex */
static void free_chain(struct fs_ledger *l, uint32_t i)
{
    while (i) {
        uint32_t next = l->ranges.next[i];

        atomic_store_explicit(&l->kept->ranges[i].count, 0,
                              memory_order_release);
        pool_put(&l->ranges, i);
        i = next;
    }
}

void ledger_committed(struct fs_ledger *l, struct ledger_file *f)
{
    pthread_mutex_lock(&l->mutex);
    free_chain(l, f->taken);
    f->taken = f->taken_last = 0;
    pthread_mutex_unlock(&l->mutex);
}

void ledger_drop(struct fs_ledger *l, struct ledger_file *f)
{
    struct kept_file *k = &l->kept->files[f->slot];

    pthread_mutex_lock(&l->mutex);
    free_chain(l, f->taken);
    free_chain(l, f->first);
    if (f->slot) {
        atomic_store_explicit(&k->ino, 0, memory_order_release);
        atomic_store_explicit(&k->size_bytes, 0, memory_order_release);
        atomic_store_explicit(&k->mtime_ns, 0, memory_order_release);
        pool_put(&l->files, f->slot);
    }
    *f = (struct ledger_file){0};
    pthread_mutex_unlock(&l->mutex);
}

/* -- for the successor ----------------------------------------------------- */

static int by_ino_and_block(const void *a, const void *b)
{
    const struct ledger_entry *x = a, *y = b;

    if (x->ino != y->ino)
        return x->ino < y->ino ? -1 : 1;
    if (x->file_block != y->file_block)
        return x->file_block < y->file_block ? -1 : 1;
    return 0;
}

static size_t list_files(const struct kept *k, struct ledger_entry *out)
{
    size_t n = 0;

    for (uint32_t i = 1; i <= LEDGER_FILES; i++) {
        fs_ino ino =
            atomic_load_explicit(&k->files[i].ino, memory_order_acquire);

        if (ino)
            out[n++] = (struct ledger_entry){
                .ino = ino,
                .size_bytes = atomic_load(&k->files[i].size_bytes),
                .mtime_ns = atomic_load(&k->files[i].mtime_ns)};
    }
    return n;
}

static size_t list_ranges(const struct kept *k, struct ledger_entry *out)
{
    size_t n = 0;

    for (uint32_t i = 1; i <= LEDGER_RANGES; i++) {
        const struct kept_range *r = &k->ranges[i];
        uint64_t count = atomic_load_explicit(&r->count, memory_order_acquire);

        if (count)
            out[n++] = (struct ledger_entry){.ino = r->ino,
                                             .file_block = r->file_block,
                                             .lun_block = r->lun_block,
                                             .count = count};
    }
    return n;
}

enum err ledger_list(struct fs_ledger *l, struct ledger_entry **ret_entries,
                     size_t *ret_count)
{
    struct ledger_entry *all =
        calloc(LEDGER_FILES + LEDGER_RANGES, sizeof *all);
    size_t n;

    if (!all)
        return E_NOMEM;
    n = list_files(l->kept, all);
    n += list_ranges(l->kept, all + n);
    qsort(all, n, sizeof *all, by_ino_and_block);
    *ret_entries = all;
    *ret_count = n;
    return E_OK;
}

void ledger_clear(struct fs_ledger *l)
{
    for (uint32_t i = 1; i <= LEDGER_RANGES; i++)
        atomic_store(&l->kept->ranges[i].count, 0);
    for (uint32_t i = 1; i <= LEDGER_FILES; i++)
        atomic_store(&l->kept->files[i].ino, 0);
    memset(l->kept->files, 0, sizeof l->kept->files);
}
