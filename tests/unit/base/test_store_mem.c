/* tests/unit/base/test_store_mem.c - a memory store keeps bytes and holes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/stores.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <string.h>

#define HUGE_BYTES (UINT64_C(1) << 37) /* fits beside sanitizers, too */

static void huge_sparse_store_costs_nothing_and_reads_zeros(void)
{
    struct world w;
    struct store *s = NULL;
    uint8_t in[1024], out[1024];

    world_init(&w);
    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = HUGE_BYTES}, &s));
    CHECK_EQ(s->block_bytes, 512);
    CHECK_EQ(s->physical_bytes, 512);
    pattern_fill(in, sizeof in, 1, 0);
    CHECK_OK(store_write_sync(s, HUGE_BYTES - sizeof in, in, sizeof in));
    CHECK_OK(store_read_sync(s, HUGE_BYTES - sizeof in, out, sizeof out));
    CHECK_MEM(out, in, sizeof in);
    CHECK_OK(store_read_sync(s, HUGE_BYTES / 2, out, sizeof out));
    memset(in, 0, sizeof in);
    CHECK_MEM(out, in, sizeof in);
    store_close(s);
    world_fini(&w);
}

static void write_zeroes_clears_exactly_its_range(void)
{
    enum { SIZE = 64 << 10 };
    static const struct {
        uint64_t off, len;
    } rows[] = {
        {512,        512    },
        {0,          4096   },
        {4096 - 512, 1024   },
        {512,        5 << 12},
        {3 << 12,    4 << 12},
        {0,          SIZE   },
    };
    struct world w;
    struct store *s = NULL;
    uint8_t *before = malloc(SIZE), *after = malloc(SIZE);

    world_init(&w);
    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = SIZE}, &s));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        pattern_fill(before, SIZE, i, 0);
        store_mem_poke(s, 0, before, SIZE);
        CHECK_OK(store_range_sync(s, i % 2 ? STORE_DISCARD : STORE_WRITE_ZEROES,
                                  rows[i].off, rows[i].len));
        memset(before + rows[i].off, 0, rows[i].len);
        store_mem_peek(s, 0, after, SIZE);
        CHECK_MEM(after, before, SIZE);
    }
    store_close(s);
    free(before);
    free(after);
    world_fini(&w);
}

static void bytes_cut_off_by_resize_are_zeros_when_it_grows_again(void)
{
    struct world w;
    struct store *s = NULL;
    uint8_t in[8192], out[8192];

    world_init(&w);
    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = 8192}, &s));
    pattern_fill(in, sizeof in, 7, 0);
    CHECK_OK(store_write_sync(s, 0, in, sizeof in));
    CHECK_OK(store_range_sync(s, STORE_RESIZE, 1024, 0));
    CHECK_EQ(s->size_bytes, 1024);
    CHECK_ERR(store_read_sync(s, 1024, out, 512), E_RANGE);
    CHECK_OK(store_range_sync(s, STORE_RESIZE, 1 << 20, 0));
    CHECK_OK(store_read_sync(s, 0, out, sizeof out));
    memset(in + 1024, 0, sizeof in - 1024);
    CHECK_MEM(out, in, sizeof in);
    CHECK_OK(store_range_sync(s, STORE_RESIZE, 0, 0));
    CHECK_ERR(store_range_sync(s, STORE_RESIZE, 100, 0), E_ALIGN);
    store_close(s);
    world_fini(&w);
}

static void nonsense_geometry_is_refused(void)
{
    struct store *s = NULL;

    CHECK_ERR(store_mem_new(&(struct store_mem_args){.size_bytes = 100}, &s),
              E_INVAL);
    CHECK_ERR(
        store_mem_new(
            &(struct store_mem_args){.size_bytes = 0, .block_bytes = 3}, &s),
        E_INVAL);
    CU_ASSERT_PTR_NULL(s);
}

/* Two reactors write and read their own halves of the same store. */
struct half {
    struct task task;
    struct store_io io;
    struct iovec iov;
    struct store *s;
    uint8_t bytes[4096];
    uint64_t off;
    unsigned left;
    struct loop *home;
    bool *done;
};

static void half_finished(struct task *t)
{
    struct half *h = container_of(t, struct half, task);

    *h->done = true;
}

static void half_step(struct store_io *io, enum err e)
{
    struct half *h = container_of(io, struct half, io);

    if (e || !h->left--) {
        h->task.run = half_finished;
        loop_post(h->home, &h->task);
        return;
    }
    io->op = io->op == STORE_READ ? STORE_WRITE : STORE_READ;
    if (store_submit(h->s, io))
        abort();
}

static void half_start(struct task *t)
{
    struct half *h = container_of(t, struct half, task);

    half_step(&h->io, E_OK);
}

static void two_reactors_share_a_memory_store(void)
{
    struct world w;
    struct store *s = NULL;
    struct reactor *r[2];
    struct half *h = calloc(2, sizeof *h);
    bool done[2] = {false, false};

    world_init(&w);
    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = 8192}, &s));
    for (unsigned i = 0; i < 2; i++) {
        h[i].iov = (struct iovec){h[i].bytes, 4096};
        h[i].io = (struct store_io){.op = STORE_READ,
                                    .off_bytes = i * 4096,
                                    .len_bytes = 4096,
                                    .iov = &h[i].iov,
                                    .iov_count = 1,
                                    .done = half_step};
        h[i].task.run = half_start;
        h[i].s = s;
        h[i].left = 2000;
        h[i].home = w.loop;
        h[i].done = &done[i];
        pattern_fill(h[i].bytes, 4096, i, 0);
        CHECK_OK_FATAL(reactor_start(&(struct loop_args){.name = "h"}, &r[i]));
        loop_post(reactor_loop(r[i]), &h[i].task);
    }
    for (unsigned i = 0; i < 2; i++) {
        world_run_until(&w, &done[i]);
        reactor_stop(r[i]);
        CHECK_EQ(pattern_check(h[i].bytes, 4096, i, 0), 4096);
    }
    store_close(s);
    free(h);
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(huge_sparse_store_costs_nothing_and_reads_zeros),
    TEST(write_zeroes_clears_exactly_its_range),
    TEST(bytes_cut_off_by_resize_are_zeros_when_it_grows_again),
    TEST(nonsense_geometry_is_refused),
    TEST(two_reactors_share_a_memory_store),
};
TEST_SUITE("base/store_mem", tests);
