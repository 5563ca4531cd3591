/* base/loop_aio.c - libaio for a loop: one io_submit() for all requests of a
 * turn, completions taken from the ring that the kernel shares with us.
 * Does not know what the requests are for.
 *
 * Each iocb carries the loop's eventfd (RESFD), but it is only there to wake a
 * sleeping loop: the kernel writes the completion, then signals, and the loop
 * looks at the ring in every turn and once more before it sleeps.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/loop_private.h"

/* The head of the page that io_setup() maps (Linux: fs/aio.c).  The kernel
 * produces at tail, we consume at head.  Stable since 2.6; the magic and the
 * feature words say when it is not. */
struct aio_ring {
    unsigned id, nr, head, tail;
    unsigned magic, compat_features, incompat_features, header_length;
    struct io_event events[];
};
static_assert(sizeof(struct aio_ring) == 32, "header of the kernel's aio ring");

enum { AIO_RING_MAGIC = 0xa10a10a1 };

enum err loop_aio_init(struct loop *loop, unsigned depth)
{
    struct aio_ring *ring;
    int rc;

    loop->aio_queue_tail = &loop->aio_queue;
    loop->aio_failed_tail = &loop->aio_failed;
    if (!depth)
        return E_OK;
    rc = io_setup((int)depth, &loop->aio);
    if (rc) {
        errno = -rc;
        return E_IO;
    }
    loop->aio_depth = depth;
    ring = (struct aio_ring *)loop->aio;
    if (ring->magic != (unsigned)AIO_RING_MAGIC || ring->incompat_features)
        return E_UNSUPPORTED;
    loop->aio_ring = ring;
    return E_OK;
}

void loop_aio_fini(struct loop *loop)
{
    ASSERT(loop->aio_in_flight == 0);
    if (loop->aio)
        io_destroy(loop->aio);
}

void loop_aio_queue(struct loop *loop, struct loop_aio *aio)
{
    ASSERT(loop->aio_ring);
    DEBUG_ASSERT(loop_self() == loop);
    io_set_eventfd(&aio->cb, loop->wake_fd);
    aio->next = NULL;
    *loop->aio_queue_tail = aio;
    loop->aio_queue_tail = &aio->next;
}

static struct loop_aio *pop(struct loop_aio **head, struct loop_aio ***tail)
{
    struct loop_aio *first = *head;

    *head = first->next;
    if (!*head)
        *tail = head;
    return first;
}

/* Take `count` requests off the queue: the kernel has them now. */
static void submitted(struct loop *loop, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pop(&loop->aio_queue, &loop->aio_queue_tail);
    loop->aio_in_flight += count;
    loop->stats.aio_submitted += count;
    loop->stats.aio_batches++;
}

/* The kernel refused the first request: its owner hears of it from
 * loop_aio_reap(), as of any other result. */
static void refused(struct loop *loop, int error)
{
    struct loop_aio *aio = pop(&loop->aio_queue, &loop->aio_queue_tail);

    aio->next = NULL;
    aio->cb.data = (void *)(intptr_t)error;
    *loop->aio_failed_tail = aio;
    loop->aio_failed_tail = &aio->next;
}

bool loop_aio_submit(struct loop *loop)
{
    struct iocb *batch[LOOP_AIO_BATCH_MAX];
    bool any = false;

    while (loop->aio_queue && loop->aio_in_flight < loop->aio_depth) {
        uint64_t room =
            min_u64(loop->aio_depth - loop->aio_in_flight, LOOP_AIO_BATCH_MAX);
        unsigned count = 0;
        int rc;

        for (struct loop_aio *a = loop->aio_queue; a && count < room;
             a = a->next)
            batch[count++] = &a->cb;
        rc = io_submit(loop->aio, count, batch);
        if (rc == -EAGAIN || rc == -EINTR || rc == 0)
            break;
        if (rc > 0)
            submitted(loop, (unsigned)rc);
        else
            refused(loop, rc);
        any = true;
    }
    return any;
}

bool loop_aio_ready(const struct loop *loop)
{
    const struct aio_ring *ring = loop->aio_ring;

    return loop->aio_failed ||
           (loop->aio_in_flight &&
            ring->head != __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE));
}

bool loop_aio_starved(const struct loop *loop)
{
    return loop->aio_queue && !loop->aio_in_flight;
}

#ifdef LUNAR_VALGRIND
#    include <sys/uio.h>
#    include <valgrind/memcheck.h>

/* No system call tells valgrind that a read has filled its memory. */
static void filled(const struct iocb *cb, long bytes)
{
    if (bytes <= 0)
        return;
    if (cb->aio_lio_opcode == IO_CMD_PREAD)
        VALGRIND_MAKE_MEM_DEFINED(cb->u.c.buf, bytes);
    if (cb->aio_lio_opcode != IO_CMD_PREADV)
        return;
    for (unsigned long i = 0; i < cb->u.v.nr; i++)
        VALGRIND_MAKE_MEM_DEFINED(cb->u.v.vec[i].iov_base,
                                  cb->u.v.vec[i].iov_len);
}
#else
static void filled(const struct iocb *cb, long bytes)
{
    (void)cb;
    (void)bytes;
}
#endif

static void finish_one(struct loop *loop)
{
    struct aio_ring *ring = loop->aio_ring;
    struct io_event ev = ring->events[ring->head];
    struct loop_aio *aio = container_of(ev.obj, struct loop_aio, cb);

    __atomic_store_n(&ring->head, (ring->head + 1) % ring->nr,
                     __ATOMIC_RELEASE);
    loop->aio_in_flight--;
    filled(&aio->cb, (long)ev.res);
    aio->done(aio, (long)ev.res);
}

bool loop_aio_reap(struct loop *loop)
{
    bool any = false;
    /* Not more than are in flight now: owners queue new ones meanwhile. */
    unsigned budget = loop->aio_in_flight;

    while (loop->aio_failed) {
        struct loop_aio *aio = pop(&loop->aio_failed, &loop->aio_failed_tail);

        aio->done(aio, (long)(intptr_t)aio->cb.data);
        any = true;
    }
    for (; budget && loop_aio_ready(loop); budget--) {
        finish_one(loop);
        any = true;
    }
    return any;
}
