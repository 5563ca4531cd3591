/* base/store_mem.c - a store in memory: sparse, zero-filled, resizable.
 * Keeps nothing beyond its life.
 *
 * The bytes are one private mapping without reserve, so the kernel keeps the
 * holes: discarding is madvise(), resizing is mremap().
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/stores.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct store_mem {
    struct store base;
    pthread_mutex_t mutex;
    /* lock: mutex */
    uint8_t *bytes;
    size_t mapped_bytes; /* >= size, whole pages */
};

static struct store_mem *mem_of(struct store *s)
{
    return container_of(s, struct store_mem, base);
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* At least one page: a mapping of none does not exist. */
static size_t bytes_to_map(uint64_t size_bytes)
{
    return align_up(max_u64(size_bytes, 1), page_bytes());
}

/* Zero a range; whole pages go back to the kernel. */
static void zero(struct store_mem *m, uint64_t off, uint64_t len)
{
    uint64_t first = align_up(off, page_bytes());
    uint64_t end = align_down(off + len, page_bytes());

    if (first >= end) {
        memset(m->bytes + off, 0, len);
        return;
    }
    memset(m->bytes + off, 0, first - off);
    memset(m->bytes + end, 0, off + len - end);
    ASSERT(madvise(m->bytes + first, end - first, MADV_DONTNEED) == 0);
}

static enum err resize(struct store_mem *m, uint64_t size_bytes)
{
    size_t want = bytes_to_map(size_bytes);
    void *at;

    if (size_bytes < m->base.size_bytes)
        zero(m, size_bytes, m->base.size_bytes - size_bytes);
    at = mremap(m->bytes, m->mapped_bytes, want, MREMAP_MAYMOVE);
    if (at == MAP_FAILED)
        return E_NOMEM;
    m->bytes = at;
    m->mapped_bytes = want;
    store_size_set(&m->base, size_bytes);
    return E_OK;
}

static enum err carry_out(struct store_mem *m, struct store_io *io)
{
    size_t len = io->len_bytes;

    /* Another thread may have made it smaller since store_submit() looked. */
    if (io->op != STORE_FLUSH && io->op != STORE_RESIZE &&
        !range_ok(io->off_bytes, len, m->base.size_bytes))
        return E_RANGE;
    switch (io->op) {
    case STORE_READ:
        iov_from_buf(io->iov, io->iov_count, 0, m->bytes + io->off_bytes, len);
        return E_OK;
    case STORE_WRITE:
        iov_to_buf(io->iov, io->iov_count, 0, m->bytes + io->off_bytes, len);
        return E_OK;
    case STORE_FLUSH: return E_OK;
    case STORE_DISCARD:
    case STORE_WRITE_ZEROES: zero(m, io->off_bytes, len); return E_OK;
    case STORE_RESIZE: return resize(m, io->off_bytes);
    case STORE_OP_COUNT: break;
    }
    return E_INVAL;
}

static enum err mem_submit(struct store *s, struct store_io *io)
{
    struct store_mem *m = mem_of(s);
    enum err e;

    pthread_mutex_lock(&m->mutex);
    e = carry_out(m, io);
    pthread_mutex_unlock(&m->mutex);
    store_done_later(io, e);
    return E_OK;
}

static void mem_close(struct store *s)
{
    struct store_mem *m = mem_of(s);

    munmap(m->bytes, m->mapped_bytes);
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

static const struct store_ops mem_ops = {"memory", mem_submit, mem_close};

enum err store_mem_new(const struct store_mem_args *args,
                       struct store **ret_store)
{
    uint32_t block = args->block_bytes ? args->block_bytes : 512;
    uint32_t physical = args->physical_bytes ? args->physical_bytes : block;
    AUTO(freep) struct store_mem *m = calloc(1, sizeof *m);

    if (!m)
        return E_NOMEM;
    if (!is_power_of_two(block) || !is_power_of_two(physical) ||
        !is_aligned(args->size_bytes, block))
        return E_INVAL;
    m->base = (struct store){
        .ops = &mem_ops,
        .size_bytes = args->size_bytes,
        .block_bytes = block,
        .physical_bytes = physical,
        .caps = STORE_CAN_DISCARD | STORE_DISCARD_ZEROES | STORE_CAN_RESIZE,
    };
    m->mapped_bytes = bytes_to_map(args->size_bytes);
    m->bytes = mmap(NULL, m->mapped_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->bytes == MAP_FAILED)
        return E_NOMEM;
    pthread_mutex_init(&m->mutex, NULL);
    *ret_store = &TAKE(m)->base;
    return E_OK;
}

void store_mem_peek(struct store *s, uint64_t off_bytes, void *buf,
                    size_t len_bytes)
{
    struct store_mem *m = mem_of(s);

    ASSERT(s->ops == &mem_ops);
    pthread_mutex_lock(&m->mutex);
    ASSERT(range_ok(off_bytes, len_bytes, s->size_bytes));
    memcpy(buf, m->bytes + off_bytes, len_bytes);
    pthread_mutex_unlock(&m->mutex);
}

void store_mem_poke(struct store *s, uint64_t off_bytes, const void *buf,
                    size_t len_bytes)
{
    struct store_mem *m = mem_of(s);

    ASSERT(s->ops == &mem_ops);
    pthread_mutex_lock(&m->mutex);
    ASSERT(range_ok(off_bytes, len_bytes, s->size_bytes));
    memcpy(m->bytes + off_bytes, buf, len_bytes);
    pthread_mutex_unlock(&m->mutex);
}
