/* tests/unit/base/test_loop_aio.c - libaio through a loop: batches, limits,
 * refusals.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096, MANY = 200 };

struct request {
    struct loop_aio aio;
    unsigned done_count;
    long result;
    unsigned *left;
    bool *all_done;
    struct loop *again; /* queue itself once more from done */
    uint8_t bytes[BLOCK];
};

static void request_done(struct loop_aio *aio, long result)
{
    struct request *r = container_of(aio, struct request, aio);
    struct loop *again = r->again;

    r->done_count++;
    r->result = result;
    r->again = NULL;
    if (again)
        loop_aio_queue(again, aio);
    else if (--*r->left == 0)
        *r->all_done = true;
}

struct fixture {
    struct world w;
    int fd;
    struct request *requests;
    unsigned left;
    bool all_done;
};

static void fixture_init(struct fixture *f, unsigned count)
{
    char path[WORLD_PATH_BYTES];

    memset(f, 0, sizeof *f);
    world_init(&f->w);
    world_file(&f->w, "file", MANY * BLOCK, path);
    f->fd = open(path, O_RDWR);
    f->requests = calloc(count, sizeof *f->requests);
    f->left = count;
    for (unsigned i = 0; i < count; i++) {
        struct request *r = &f->requests[i];

        io_prep_pwrite(&r->aio.cb, f->fd, r->bytes, BLOCK,
                       (long long)i * BLOCK);
        r->aio.done = request_done;
        r->left = &f->left;
        r->all_done = &f->all_done;
        pattern_fill(r->bytes, BLOCK, 1, i * BLOCK);
    }
}

static void fixture_fini(struct fixture *f)
{
    close(f->fd);
    free(f->requests);
    world_fini(&f->w);
}

static void requests_of_a_turn_go_out_in_one_batch(void)
{
    struct fixture f;
    struct loop_stats stats;

    fixture_init(&f, 10);
    for (int i = 0; i < 10; i++)
        loop_aio_queue(f.w.loop, &f.requests[i].aio);
    CHECK_EQ(f.left, 10); /* never from inside the call */
    world_run_until(&f.w, &f.all_done);
    stats = loop_stats(f.w.loop);
    CHECK_EQ(stats.aio_submitted, 10);
    CHECK_EQ(stats.aio_batches, 1);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(f.requests[i].done_count, 1);
        CHECK_EQ(f.requests[i].result, BLOCK);
    }
    fixture_fini(&f);
}

static void more_requests_than_the_depth_wait_their_turn(void)
{
    static_assert(MANY > 2 * WORLD_AIO_DEPTH, "more than the loop takes");
    uint8_t *back = malloc(MANY * BLOCK);
    struct fixture f;

    fixture_init(&f, MANY);
    for (int i = 0; i < MANY; i++)
        loop_aio_queue(f.w.loop, &f.requests[i].aio);
    world_run_until(&f.w, &f.all_done);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(f.requests[i].result, BLOCK);
    CHECK_EQ(pread(f.fd, back, MANY * BLOCK, 0), MANY * BLOCK);
    CHECK_EQ(pattern_check(back, MANY * BLOCK, 1, 0), MANY * BLOCK);
    fixture_fini(&f);
    free(back);
}

/* io_submit() stops at a request it does not take: those behind it go on. */
static void refused_request_fails_alone(void)
{
    struct fixture f;

    fixture_init(&f, 5);
    f.requests[0].aio.cb.aio_fildes = -1;
    f.requests[3].aio.cb.aio_lio_opcode = 99;
    for (int i = 0; i < 5; i++)
        loop_aio_queue(f.w.loop, &f.requests[i].aio);
    world_run_until(&f.w, &f.all_done);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(f.requests[i].done_count, 1);
        CHECK_EQ(f.requests[i].result, i == 0   ? -EBADF
                                       : i == 3 ? -EINVAL
                                                : BLOCK);
    }
    fixture_fini(&f);
}

static void request_may_be_queued_again_from_its_done(void)
{
    struct fixture f;

    fixture_init(&f, 3);
    f.requests[1].aio.cb.aio_fildes = -1;
    for (int i = 0; i < 3; i++) {
        f.requests[i].again = f.w.loop;
        loop_aio_queue(f.w.loop, &f.requests[i].aio);
    }
    world_run_until(&f.w, &f.all_done);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(f.requests[i].done_count, 2);
    fixture_fini(&f);
}

static const struct test tests[] = {
    TEST(requests_of_a_turn_go_out_in_one_batch),
    TEST(more_requests_than_the_depth_wait_their_turn),
    TEST(refused_request_fails_alone),
    TEST(request_may_be_queued_again_from_its_done),
};
TEST_SUITE("base/loop_aio", tests);
