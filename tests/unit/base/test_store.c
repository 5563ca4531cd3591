/* tests/unit/base/test_store.c - the contract at store_submit(), iovec helpers.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/stores.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <string.h>

enum { SIZE = 1 << 20, BLOCK = 4096 };

static struct store *new_memory(void)
{
    struct store *s = NULL;

    CHECK_OK_FATAL(store_mem_new(
        &(struct store_mem_args){.size_bytes = SIZE, .block_bytes = BLOCK},
        &s));
    return s;
}

static void range_beyond_the_end_is_refused(void)
{
    static const struct {
        uint64_t off, len;
        enum err expect;
    } rows[] = {
        {0,                      SIZE,      E_OK   },
        {SIZE,                   0,         E_OK   },
        {SIZE - BLOCK,           BLOCK,     E_OK   },
        {SIZE,                   BLOCK,     E_RANGE},
        {SIZE - BLOCK,           2 * BLOCK, E_RANGE},
        {UINT64_MAX - BLOCK + 1, BLOCK,     E_RANGE},
        {UINT64_MAX - BLOCK + 1, 2 * BLOCK, E_RANGE},
        {512,                    BLOCK,     E_ALIGN},
        {BLOCK,                  512,       E_ALIGN},
    };
    struct world w;
    struct store *s;
    void *buf = calloc(1, SIZE);

    world_init(&w);
    s = new_memory();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_ERR(store_read_sync(s, rows[i].off, buf, rows[i].len),
                  rows[i].expect);
        CHECK_ERR(
            store_range_sync(s, STORE_WRITE_ZEROES, rows[i].off, rows[i].len),
            rows[i].expect);
    }
    store_close(s);
    free(buf);
    world_fini(&w);
}

static void ops_without_their_capability_are_refused(void)
{
    struct world w;
    struct store *s;
    uint8_t block[BLOCK] = {0};

    world_init(&w);
    s = new_memory();
    s->caps = 0;
    CHECK_ERR(store_range_sync(s, STORE_DISCARD, 0, BLOCK), E_UNSUPPORTED);
    CHECK_ERR(store_range_sync(s, STORE_RESIZE, BLOCK, 0), E_UNSUPPORTED);
    CHECK_OK(store_write_sync(s, 0, block, BLOCK));
    s->caps = STORE_READ_ONLY | STORE_CAN_DISCARD | STORE_CAN_RESIZE;
    CHECK_ERR(store_write_sync(s, 0, block, BLOCK), E_READ_ONLY);
    CHECK_ERR(store_range_sync(s, STORE_WRITE_ZEROES, 0, BLOCK), E_READ_ONLY);
    CHECK_ERR(store_range_sync(s, STORE_DISCARD, 0, BLOCK), E_READ_ONLY);
    CHECK_ERR(store_range_sync(s, STORE_RESIZE, 0, 0), E_READ_ONLY);
    CHECK_OK(store_read_sync(s, 0, block, BLOCK));
    CHECK_OK(store_flush_sync(s));
    store_close(s);
    world_fini(&w);
}

static void done_runs_once_and_never_inside_submit(void)
{
    struct world w;
    struct store *s;
    struct test_io t;
    uint8_t block[BLOCK];

    world_init(&w);
    s = new_memory();
    for (uint64_t len = 0; len <= BLOCK; len += BLOCK) {
        CHECK_OK(test_io_submit(&t, s, STORE_READ, 0, block, len, 0));
        CU_ASSERT_FALSE(t.done);
        loop_run_ready(w.loop);
        CHECK_EQ(t.done_count, 1);
        CHECK_ERR(t.result, E_OK);
    }
    CHECK_ERR(test_io_submit(&t, s, STORE_READ, 1, block, BLOCK, 0), E_ALIGN);
    loop_run_ready(w.loop);
    CHECK_EQ(t.done_count, 0);
    store_close(s);
    world_fini(&w);
}

static void every_op_has_a_name(void)
{
    for (unsigned op = 0; op < STORE_OP_COUNT; op++)
        CU_ASSERT_PTR_NOT_NULL(store_op_name((enum store_op)op));
    CHECK_STR(store_op_name(STORE_WRITE_ZEROES), "write zeroes");
    CHECK_STR(store_op_name(STORE_OP_COUNT), "op?");
}

/* -- iovec ----------------------------------------------------------------- */

static void iov_copies_skip_and_stop_in_the_middle_of_pieces(void)
{
    char a[4] = "abc", b[1], c[5] = "defg", out[16] = "................";
    struct iovec iov[] = {
        {a, 3},
        {b, 0},
        {c, 4}
    };

    CHECK_EQ(iov_bytes(iov, 3), 7);
    CHECK_EQ(iov_to_buf(iov, 3, 1, out, 4), 4);
    CHECK_MEM(out, "bcde....", 8);
    CHECK_EQ(iov_to_buf(iov, 3, 5, out, 16), 2);
    CHECK_MEM(out, "fgde....", 8);
    CHECK_EQ(iov_to_buf(iov, 3, 7, out, 16), 0);
    CHECK_EQ(iov_from_buf(iov, 3, 2, "XYZ", 3), 3);
    CHECK_STR(a, "abX");
    CHECK_STR(c, "YZfg");
    CHECK_EQ(iov_zero(iov, 3, 6, 9), 1);
    CHECK_MEM(c, "YZf\0", 4);
}

static void iov_slice_cuts_both_ends(void)
{
    char bytes[10];
    struct iovec iov[] = {
        {bytes,     4},
        {bytes + 4, 0},
        {bytes + 4, 6}
    };
    struct iovec out[2];

    CHECK_EQ(iov_slice(iov, 3, 1, 7, out, 2), 2);
    CU_ASSERT_PTR_EQUAL(out[0].iov_base, bytes + 1);
    CHECK_EQ(out[0].iov_len, 3);
    CU_ASSERT_PTR_EQUAL(out[1].iov_base, bytes + 4);
    CHECK_EQ(out[1].iov_len, 4);
    CHECK_EQ(iov_slice(iov, 3, 4, 6, out, 1), 1);
    CHECK_EQ(out[0].iov_len, 6);
    CHECK_EQ(iov_slice(iov, 3, 1, 7, out, 1), 0);
    CHECK_EQ(iov_slice(iov, 3, 4, 7, out, 2), 0);
}

static const struct test tests[] = {
    TEST(range_beyond_the_end_is_refused),
    TEST(ops_without_their_capability_are_refused),
    TEST(done_runs_once_and_never_inside_submit),
    TEST(every_op_has_a_name),
    TEST(iov_copies_skip_and_stop_in_the_middle_of_pieces),
    TEST(iov_slice_cuts_both_ends),
};
TEST_SUITE("base/store", tests);
