/* tests/unit/fs/test_client_model.c - random histories of a file, several ios
 * in flight on a LUN that carries them out in any order, against a flat model.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/client_world.h"

#include <string.h>

enum {
    MODEL_BYTES = 3 << 20,
    MODEL_IO_MAX = 200 << 10,
    MODEL_FLIGHT = 12,
    MODEL_STEPS = 3000,
    MODEL_IOVS = 7
};

struct flight {
    struct waited_io w;
    struct iovec iov[MODEL_IOVS];
    bool used;
    uint64_t first, end; /* what it may change, or reads */
    bool changes;
    uint8_t buf[MODEL_IO_MAX], expect[MODEL_IO_MAX];
};

struct model {
    struct fixture f;
    uint64_t seed, size;
    uint8_t bytes[MODEL_BYTES];
    struct flight flights[MODEL_FLIGHT];
    uint8_t stamp;
};

static uint64_t random_below(struct model *m, uint64_t n)
{
    m->seed = m->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (m->seed >> 20) % n;
}

static void land(struct model *m, struct flight *x)
{
    world_run_until(&m->f.v.world, &x->w.done);
    CHECK_OK(x->w.result);
    x->used = false;
    if (x->w.io.op == FS_IO_READ) {
        CHECK_EQ(x->w.io.count_bytes, x->w.io.len_bytes);
        CHECK_MEM(x->buf, x->expect, x->w.io.len_bytes);
    }
}

/* Wait for those whose bytes meet [first, end): their order would be open. */
static void land_conflicts(struct model *m, uint64_t first, uint64_t end,
                           bool changes)
{
    for (size_t i = 0; i < MODEL_FLIGHT; i++) {
        struct flight *x = &m->flights[i];

        if (x->used && (x->changes || changes) && x->first < end &&
            first < x->end)
            land(m, x);
    }
}

static struct flight *take_off(struct model *m, uint64_t first, uint64_t end,
                               bool changes)
{
    struct flight *x = &m->flights[random_below(m, MODEL_FLIGHT)];

    if (x->used)
        land(m, x);
    land_conflicts(m, first, end, changes);
    x->w = (struct waited_io){0};
    x->used = true;
    x->first = first;
    x->end = end;
    x->changes = changes;
    return x;
}

/* The buffer as a few pieces of any size. */
static void scatter(struct model *m, struct flight *x, uint64_t len)
{
    uint64_t at = 0;
    uint32_t n = 0;

    while (at < len && n < MODEL_IOVS - 1) {
        uint64_t part = 1 + random_below(m, len - at);

        x->iov[n++] = (struct iovec){.iov_base = x->buf + at, .iov_len = part};
        at += part;
    }
    if (at < len)
        x->iov[n++] =
            (struct iovec){.iov_base = x->buf + at, .iov_len = len - at};
    x->w.io.iov = x->iov;
    x->w.io.iov_count = n;
}

/* Bytes, sectors or blocks. */
static uint64_t random_place(struct model *m, uint64_t n)
{
    static const uint64_t units[] = {1, 512, 4096};

    return align_down(random_below(m, n), units[random_below(m, 3)]);
}

static void step_write(struct model *m)
{
    uint64_t first = random_place(m, MODEL_BYTES - MODEL_IO_MAX);
    uint64_t len = 1 + random_place(m, MODEL_IO_MAX - 1), end = first + len;
    bool grows = end > m->size;
    struct flight *x = take_off(m, grows ? min_u64(first, m->size) : first,
                                grows ? MODEL_BYTES : end, true);

    memset(x->buf, ++m->stamp, len);
    x->buf[0] ^= 0x80;
    x->w.io.op = FS_IO_WRITE;
    x->w.io.off_bytes = first;
    x->w.io.len_bytes = len;
    scatter(m, x, len);
    memcpy(m->bytes + first, x->buf, len);
    m->size = max_u64(m->size, end);
    cw_submit(&m->f, &x->w);
}

static void step_read(struct model *m)
{
    uint64_t first, len;
    struct flight *x;

    if (m->size < 2)
        return;
    first = random_place(m, m->size - 1);
    len = min_u64(m->size - first, 1 + random_place(m, MODEL_IO_MAX - 1));
    x = take_off(m, first, first + len, false);
    x->w.io.op = FS_IO_READ;
    x->w.io.off_bytes = first;
    x->w.io.len_bytes = len;
    memset(x->buf, 0x5a, len);
    memcpy(x->expect, m->bytes + first, len);
    scatter(m, x, len);
    cw_submit(&m->f, &x->w);
}

static void step_truncate(struct model *m)
{
    uint64_t size = random_place(m, MODEL_BYTES - MODEL_IO_MAX);
    struct flight *x = take_off(m, min_u64(size, m->size), MODEL_BYTES, true);

    x->w.io.op = FS_IO_SETATTR;
    x->w.io.setattr.mask = FS_SET_SIZE;
    x->w.io.setattr.size_bytes = size;
    if (size < m->size)
        memset(m->bytes + size, 0, m->size - size);
    m->size = size;
    cw_submit(&m->f, &x->w);
}

static void step_allocate(struct model *m)
{
    static const uint32_t modes[] = {
        0, FS_FALLOC_KEEP_SIZE, FS_FALLOC_ZERO_RANGE,
        FS_FALLOC_ZERO_RANGE | FS_FALLOC_KEEP_SIZE,
        FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE};
    uint32_t mode = modes[random_below(m, ARRAY_LEN(modes))];
    uint64_t first = random_place(m, MODEL_BYTES - MODEL_IO_MAX);
    uint64_t len = 1 + random_place(m, MODEL_IO_MAX - 1), end = first + len;
    bool grows = !(mode & FS_FALLOC_KEEP_SIZE) && end > m->size;
    struct flight *x = take_off(m, grows ? min_u64(first, m->size) : first,
                                grows ? MODEL_BYTES : end, true);

    x->w.io.op = FS_IO_ALLOCATE;
    x->w.io.mode = mode;
    x->w.io.off_bytes = first;
    x->w.io.len_bytes = len;
    if (mode & (FS_FALLOC_ZERO_RANGE | FS_FALLOC_PUNCH_HOLE))
        memset(m->bytes + first, 0, len);
    if (grows)
        m->size = end;
    cw_submit(&m->f, &x->w);
}

static void step_sync(struct model *m)
{
    struct flight *x = take_off(m, 0, 0, false);

    x->w.io.op = FS_IO_SYNC;
    x->w.io.data_only = random_below(m, 2);
    cw_submit(&m->f, &x->w);
}

static void step(struct model *m)
{
    uint64_t what = random_below(m, 100);

    if (what < 45)
        step_write(m);
    else if (what < 80)
        step_read(m);
    else if (what < 85)
        step_truncate(m);
    else if (what < 95)
        step_allocate(m);
    else
        step_sync(m);
}

static void check_all(struct model *m)
{
    static uint8_t buf[MODEL_BYTES];

    land_conflicts(m, 0, MODEL_BYTES, true);
    for (size_t i = 0; i < MODEL_FLIGHT; i++)
        if (m->flights[i].used)
            land(m, &m->flights[i]);
    CHECK_EQ(cw_file_size(&m->f), m->size);
    CHECK_OK(cw_data(&m->f, FS_IO_READ, 0, buf, m->size));
    CHECK_MEM(buf, m->bytes, m->size);
}

static void random_history(uint32_t block_bytes, uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);

    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    cw_init_with_blocks(&m->f, block_bytes);
    CHECK_OK(fs_file_close(m->f.file, &cw_create));
    shuffle_init(&m->f.shuffle, m->f.fault);
    m->f.shuffled = true;
    cw_restart(&m->f);
    m->seed = seed;
    for (int i = 0; i < MODEL_STEPS; i++)
        step(m);
    check_all(m);
    CHECK_OK(fs_file_close(m->f.file, &cw_reopen));
    cw_restart(&m->f);
    check_all(m);
    CHECK_OK(fs_file_close(m->f.file, &cw_reopen));
    cw_fini(&m->f);
    free(m);
}

static void random_histories_agree_with_a_flat_model(void)
{
    random_history(512, 1);
    random_history(512, 2);
}

static void random_histories_agree_on_a_lun_of_4k_blocks(void)
{
    random_history(4096, 3);
}

static const struct test tests[] = {
    TEST(random_histories_agree_with_a_flat_model),
    TEST(random_histories_agree_on_a_lun_of_4k_blocks),
};
TEST_SUITE("fs/client_model", tests);
