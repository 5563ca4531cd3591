/* bench/lun_random.c - random ios of one size straight on a LUN, no file system
 * between: what the loop and the LUN access cost.  Compare with fio's libaio
 * engine on the same file.
 *
 *   lun_random URL read|write BYTES DEPTH SECONDS
 *
 * Prints "IOPS n us-per-io x cpu-us-per-io y".
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { DEPTH_MAX = 256 };

struct bench {
    struct task start;
    struct store *store;
    enum store_op op;
    uint64_t blocks, random, finished, end_ns;
    uint32_t bytes;
    unsigned depth, running;
    struct loop *home;
    struct task ended;
    bool done;
    enum err failed;
    struct request {
        struct store_io io;
        struct iovec iov;
        struct bench *bench;
    } requests[DEPTH_MAX];
};

static void request_next(struct request *r);

static void bench_ended(struct task *t)
{
    container_of(t, struct bench, ended)->done = true;
}

static void request_done(struct store_io *io, enum err e)
{
    struct request *r = container_of(io, struct request, io);
    struct bench *b = r->bench;

    b->finished++;
    if (e)
        b->failed = e;
    if (e || clock_now_ns(clock_system()) >= b->end_ns) {
        if (--b->running == 0)
            loop_post(b->home, &b->ended);
        return;
    }
    request_next(r);
}

static void request_next(struct request *r)
{
    struct bench *b = r->bench;

    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    r->io.off_bytes = b->random % b->blocks * b->bytes;
    b->failed = store_submit(b->store, &r->io);
    ASSERT(!b->failed);
}

static void bench_start(struct task *t)
{
    struct bench *b = container_of(t, struct bench, start);

    for (unsigned i = 0; i < b->depth; i++) {
        struct request *r = &b->requests[i];
        void *memory = aligned_alloc(4096, align_up(b->bytes, 4096));

        ASSERT(memory);
        memset(memory, (int)i, b->bytes);
        r->bench = b;
        r->iov = (struct iovec){memory, b->bytes};
        r->io = (struct store_io){.op = b->op,
                                  .len_bytes = b->bytes,
                                  .iov = &r->iov,
                                  .iov_count = 1,
                                  .done = request_done};
        request_next(r);
    }
}

static double cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void measure(struct bench *b, struct reactor *r, double seconds)
{
    uint64_t start = clock_now_ns(clock_system());
    double us, cpu = cpu_us();

    b->end_ns = start + (uint64_t)(seconds * (double)NS_PER_S);
    loop_post(reactor_loop(r), &b->start);
    loop_run_until(b->home, &b->done);
    us = (double)(clock_now_ns(clock_system()) - start) / 1e3;
    printf("IOPS %.0f us-per-io %.2f cpu-us-per-io %.2f\n",
           (double)b->finished * 1e6 / us, us / (double)b->finished,
           (cpu_us() - cpu) / (double)b->finished);
}

int main(int argc, char **argv)
{
    static struct bench b = {.random = 88172645463325252};
    struct reactor *r;
    struct loop *loop;
    struct lun *lun;
    struct diag why = {""};
    enum err e;

    if (argc != 6)
        return 2;
    e = loop_new(&(struct loop_args){.aio_depth = 8}, &loop);
    if (!e)
        e = reactor_start(&(struct loop_args){.name = "bench",
                                              .spin_us = 50,
                                              .aio_depth = DEPTH_MAX},
                          &r);
    ASSERT(!e);
    loop_adopt(loop);
    struct loop *loops[] = {reactor_loop(r)};
    e = lun_open(argv[1], &(struct lun_args){.loops = loops, .loop_count = 1},
                 &why, &lun);
    if (e) {
        fprintf(stderr, "lun_random: %s\n", diag_text(&why, e));
        return 1;
    }
    b.start.run = bench_start;
    b.ended.run = bench_ended;
    b.store = lun_store(lun);
    b.op = strcmp(argv[2], "write") ? STORE_READ : STORE_WRITE;
    b.bytes = (uint32_t)strtoul(argv[3], NULL, 10);
    b.depth = b.running =
        (unsigned)min_u64(strtoul(argv[4], NULL, 10), DEPTH_MAX);
    b.blocks = b.store->size_bytes / b.bytes;
    b.home = loop;
    measure(&b, r, strtod(argv[5], NULL));
    lun_close(lun);
    reactor_stop(r);
    loop_adopt(NULL);
    loop_free(loop);
    return b.failed != E_OK;
}
