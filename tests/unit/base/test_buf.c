/* tests/unit/base/test_buf.c - text that grows.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/buf.h"
#include "tests/lib/test.h"

#include <string.h>

static void empty_buffer_is_an_empty_text(void)
{
    AUTO(buf_fini) struct buf b = {0};
    char *text;

    CHECK_STR(buf_text(&b), "");
    CU_ASSERT_TRUE(buf_ok(&b));
    buf_add_text(&b, "");
    CHECK_STR(buf_text(&b), "");
    text = buf_take(&b);
    CHECK_STR(text, "");
    free(text);
}

static void text_grows_over_every_boundary(void)
{
    AUTO(buf_fini) struct buf b = {0};
    char expect[2001] = "";

    for (int i = 0; i < 1000; i++) {
        buf_printf(&b, "%c%d", 'a' + i % 26, i % 10);
        expect[2 * i] = (char)('a' + i % 26);
        expect[2 * i + 1] = (char)('0' + i % 10);
        expect[2 * i + 2] = '\0';
        CHECK_EQ(b.count, 2 * i + 2);
        CHECK_STR(buf_text(&b), expect);
    }
}

static void bytes_may_be_zeros(void)
{
    AUTO(buf_fini) struct buf b = {0};

    buf_add(&b, "a\0b", 3);
    buf_add_text(&b, "c");
    CHECK_EQ(b.count, 4);
    CHECK_MEM(buf_text(&b), "a\0bc", 5);
}

static void taken_text_leaves_an_empty_buffer(void)
{
    AUTO(buf_fini) struct buf b = {0};
    char *text;

    buf_add_text(&b, "mine");
    text = buf_take(&b);
    CHECK_STR(text, "mine");
    CHECK_STR(buf_text(&b), "");
    buf_add_text(&b, "next");
    CHECK_STR(buf_text(&b), "next");
    free(text);
}

static void impossible_size_is_a_failure_that_stays(void)
{
    AUTO(buf_fini) struct buf b = {0};

    buf_add_text(&b, "kept");
    buf_add(&b, "", SIZE_MAX);
    CU_ASSERT_FALSE(buf_ok(&b));
    buf_add_text(&b, "lost");
    CHECK_STR(buf_text(&b), "kept");
    CU_ASSERT_PTR_NULL(buf_take(&b));
}

static const struct test tests[] = {
    TEST(empty_buffer_is_an_empty_text),
    TEST(text_grows_over_every_boundary),
    TEST(bytes_may_be_zeros),
    TEST(taken_text_leaves_an_empty_buffer),
    TEST(impossible_size_is_a_failure_that_stays),
};
TEST_SUITE("base/buf", tests);
