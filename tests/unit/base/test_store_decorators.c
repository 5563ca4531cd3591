/* tests/unit/base/test_store_decorators.c - fault, delay and recorder.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/stores.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <string.h>

enum { SIZE = 64 << 10, BLOCK = 512 };

struct stack {
    struct world w;
    struct store *memory, *top;
    uint8_t in[4096], out[4096];
};

static void stack_init(struct stack *k)
{
    *k = (struct stack){.memory = NULL};
    world_init_manual_clock(&k->w);
    CHECK_OK_FATAL(store_mem_new(&(struct store_mem_args){.size_bytes = SIZE},
                                 &k->memory));
    pattern_fill(k->in, sizeof k->in, 1, 0);
}

static void stack_fini(struct stack *k)
{
    store_close(k->top);
    store_close(k->memory);
    world_fini(&k->w);
}

/* -- fault ----------------------------------------------------------------- */

static void unarmed_fault_store_lets_everything_pass(void)
{
    struct stack k;

    stack_init(&k);
    CHECK_OK_FATAL(store_fault_new(k.memory, &k.top));
    CHECK_OK(store_write_sync(k.top, 512, k.in, 4096));
    CHECK_OK(store_read_sync(k.top, 512, k.out, 4096));
    CHECK_MEM(k.out, k.in, 4096);
    CHECK_OK(store_range_sync(k.top, STORE_RESIZE, 2 * SIZE, 0));
    CHECK_EQ(k.top->size_bytes, 2 * SIZE);
    stack_fini(&k);
}

static void third_write_fails_and_only_that_one(void)
{
    struct stack k;
    const struct store_fault_args third_write = {
        .ops = 1 << STORE_WRITE, .nth = 3, .result = E_IO};

    stack_init(&k);
    CHECK_OK_FATAL(store_fault_new(k.memory, &k.top));
    store_fault_arm(k.top, &third_write);
    for (unsigned i = 1; i <= 5; i++) {
        CHECK_ERR(store_write_sync(k.top, 0, k.in + i * BLOCK, BLOCK),
                  i == 3 ? E_IO : E_OK);
        CHECK_OK(store_flush_sync(k.top));
        store_mem_peek(k.memory, 0, k.out, BLOCK);
        CHECK_MEM(k.out, k.in + (i == 3 ? 2 : i) * BLOCK, BLOCK);
    }
    CHECK_EQ(store_fault_count(k.top), 5);
    stack_fini(&k);
}

static void sticky_fault_fails_all_that_follows(void)
{
    struct stack k;
    const struct store_fault_args gone = {
        .ops = ~0U, .nth = 2, .sticky = true, .result = E_LUN_GONE};

    stack_init(&k);
    CHECK_OK_FATAL(store_fault_new(k.memory, &k.top));
    store_fault_arm(k.top, &gone);
    CHECK_OK(store_flush_sync(k.top));
    CHECK_ERR(store_flush_sync(k.top), E_LUN_GONE);
    CHECK_ERR(store_read_sync(k.top, 0, k.out, BLOCK), E_LUN_GONE);
    CHECK_ERR(store_write_sync(k.top, 0, k.in, BLOCK), E_LUN_GONE);
    stack_fini(&k);
}

static void fault_after_effect_reports_an_error_for_a_write_that_landed(void)
{
    struct stack k;
    const struct store_fault_args late = {.ops = 1 << STORE_WRITE,
                                          .nth = 1,
                                          .after_effect = true,
                                          .result = E_TIMEOUT};

    stack_init(&k);
    CHECK_OK_FATAL(store_fault_new(k.memory, &k.top));
    store_fault_arm(k.top, &late);
    CHECK_ERR(store_write_sync(k.top, 0, k.in, BLOCK), E_TIMEOUT);
    store_mem_peek(k.memory, 0, k.out, BLOCK);
    CHECK_MEM(k.out, k.in, BLOCK);
    stack_fini(&k);
}

/* -- delay ----------------------------------------------------------------- */

static void delayed_io_completes_when_its_time_has_passed(void)
{
    struct stack k;
    struct test_io slow, fast;

    stack_init(&k);
    CHECK_OK_FATAL(store_delay_new(k.memory, 30, &k.top));
    CHECK_OK(test_io_submit(&slow, k.top, STORE_WRITE, 0, k.in, BLOCK, 0));
    loop_run_ready(k.w.loop);
    CU_ASSERT_FALSE(slow.done);
    store_delay_set(k.top, 0);
    CHECK_OK(test_io_submit(&fast, k.top, STORE_READ, 0, k.out, BLOCK, 0));
    loop_run_ready(k.w.loop);
    CU_ASSERT_TRUE(fast.done);
    CU_ASSERT_FALSE(slow.done);
    k.w.clock.at_ns += 30 * NS_PER_MS;
    loop_run_ready(k.w.loop);
    CHECK_EQ(slow.done_count, 1);
    CHECK_OK(slow.result);
    CHECK_MEM(k.out, k.in, BLOCK);
    stack_fini(&k);
}

/* -- recorder -------------------------------------------------------------- */

static void recorder_replays_what_was_done_onto_another_store(void)
{
    struct stack k;
    struct store *copy = NULL;

    stack_init(&k);
    CHECK_OK_FATAL(store_record_new(k.memory, &k.top));
    CU_ASSERT_TRUE(k.top->caps & STORE_VOLATILE);
    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = SIZE}, &copy));
    CHECK_OK(store_write_sync(k.top, 0, k.in, 4096));
    CHECK_OK(store_read_sync(k.top, 0, k.out, 4096));
    CHECK_OK(store_flush_sync(k.top));
    CHECK_OK(store_range_sync(k.top, STORE_WRITE_ZEROES, 512, 1024));
    CHECK_OK(store_range_sync(k.top, STORE_RESIZE, 2 * SIZE, 0));
    CHECK_OK(store_write_sync(k.top, 2 * SIZE - 512, k.in, 512));
    CHECK_EQ(store_record_count(k.top), 5);
    for (size_t i = 0; i < 5; i++)
        CHECK_OK(store_record_replay(k.top, i, copy, 0));
    CHECK_EQ(copy->size_bytes, 2 * SIZE);
    for (unsigned at = 0; at < 2 * SIZE; at += 4096) {
        uint8_t ours[4096];

        store_mem_peek(k.memory, at, ours, 4096);
        store_mem_peek(copy, at, k.out, 4096);
        CHECK_MEM(k.out, ours, 4096);
    }
    store_close(copy);
    stack_fini(&k);
}

static void torn_replay_writes_only_the_front(void)
{
    struct stack k;
    struct store *copy = NULL;

    stack_init(&k);
    CHECK_OK_FATAL(store_record_new(k.memory, &k.top));
    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = SIZE}, &copy));
    CHECK_OK(store_write_sync(k.top, 0, k.in, 4096));
    CHECK_OK(store_record_replay(k.top, 0, copy, 1536));
    memset(k.in + 1536, 0, 4096 - 1536);
    store_mem_peek(copy, 0, k.out, 4096);
    CHECK_MEM(k.out, k.in, 4096);
    store_close(copy);
    stack_fini(&k);
}

static void flush_covers_what_was_done_before_it_was_submitted(void)
{
    struct stack k;
    struct test_io before, during, flush;
    const struct store_record_entry *e;

    stack_init(&k);
    CHECK_OK_FATAL(store_record_new(k.memory, &k.top));
    CHECK_OK(test_io_submit(&before, k.top, STORE_WRITE, 0, k.in, 512, 0));
    loop_run_ready(k.w.loop);
    CHECK_OK(
        test_io_submit(&during, k.top, STORE_WRITE, 512, k.in, 512, STORE_FUA));
    CHECK_OK(test_io_submit(&flush, k.top, STORE_FLUSH, 0, NULL, 0, 0));
    loop_run_ready(k.w.loop);
    CHECK_EQ(store_record_count(k.top), 3);
    e = store_record_at(k.top, 2);
    CHECK_EQ(e->op, STORE_FLUSH);
    CU_ASSERT_TRUE(store_record_at(k.top, 0)->done_seq < e->submit_seq);
    CU_ASSERT_TRUE(store_record_at(k.top, 1)->done_seq > e->submit_seq);
    CHECK_EQ(store_record_at(k.top, 1)->flags, STORE_FUA);
    stack_fini(&k);
}

static void failed_write_is_not_recorded(void)
{
    struct stack k;
    struct store *fault = NULL;

    stack_init(&k);
    CHECK_OK_FATAL(store_fault_new(k.memory, &fault));
    CHECK_OK_FATAL(store_record_new(fault, &k.top));
    store_fault_arm(fault, &(struct store_fault_args){
                               .ops = ~0U, .nth = 1, .result = E_IO});
    CHECK_ERR(store_write_sync(k.top, 0, k.in, 512), E_IO);
    CHECK_OK(store_write_sync(k.top, 512, k.in, 512));
    CHECK_EQ(store_record_count(k.top), 1);
    CHECK_EQ(store_record_at(k.top, 0)->off_bytes, 512);
    CHECK_MEM(store_record_at(k.top, 0)->data, k.in, 512);
    store_close(k.top);
    k.top = fault;
    stack_fini(&k);
}

static const struct test tests[] = {
    TEST(unarmed_fault_store_lets_everything_pass),
    TEST(third_write_fails_and_only_that_one),
    TEST(sticky_fault_fails_all_that_follows),
    TEST(fault_after_effect_reports_an_error_for_a_write_that_landed),
    TEST(delayed_io_completes_when_its_time_has_passed),
    TEST(recorder_replays_what_was_done_onto_another_store),
    TEST(torn_replay_writes_only_the_front),
    TEST(flush_covers_what_was_done_before_it_was_submitted),
    TEST(failed_write_is_not_recorded),
};
TEST_SUITE("base/store_decorators", tests);
