/* tests/unit/fs/test_client_map.c - where a client thinks the blocks are.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client_map.h"
#include "tests/lib/test.h"

enum { LUN_BLOCKS = 1 << 20 };

static fs_extent extent(uint64_t file, uint64_t lun, uint64_t count,
                        fs_extent_state state)
{
    return (fs_extent){
        .file_block = file, .lun_block = lun, .count = count, .state = state};
}

static enum err learn(struct fs_map *map, fs_extent x, bool rw)
{
    return fs_map_insert(map, &x, 1, rw, LUN_BLOCKS);
}

static void check_run(const struct fs_map *map, uint64_t block,
                      enum map_state state, uint64_t lun, uint64_t count)
{
    struct map_run run = fs_map_find(map, block, 1 << 20);

    CHECK_EQ(run.state, state);
    CHECK_EQ(run.count, count);
    if (state != MAP_UNKNOWN && state != MAP_HOLE)
        CHECK_EQ(run.lun, lun);
}

static void an_empty_map_knows_nothing(void)
{
    struct fs_map map = {0};

    check_run(&map, 7, MAP_UNKNOWN, 0, 1 << 20);
}

static void a_read_layout_is_not_ours_to_write(void)
{
    struct fs_map map = {0};

    CHECK_OK(learn(&map, extent(0, 100, 10, FS_READ_WRITE_DATA), false));
    check_run(&map, 3, MAP_READ, 103, 7);
    CHECK_OK(learn(&map, extent(2, 102, 4, FS_READ_WRITE_DATA), true));
    check_run(&map, 0, MAP_READ, 100, 2);
    check_run(&map, 2, MAP_DATA, 102, 4);
    check_run(&map, 6, MAP_READ, 106, 4);
    fs_map_fini(&map);
}

static void a_written_block_is_data_among_invalid_ones(void)
{
    struct fs_map map = {0};

    CHECK_OK(learn(&map, extent(0, 1000, 100, FS_INVALID_DATA), true));
    CHECK_OK(fs_map_prepare(&map, 10, 3));
    check_run(&map, 10, MAP_INVALID, 1010, 90);
    fs_map_written(&map, 10, 3);
    check_run(&map, 5, MAP_INVALID, 1005, 5);
    check_run(&map, 10, MAP_DATA, 1010, 3);
    check_run(&map, 13, MAP_INVALID, 1013, 87);
    CHECK_EQ(map.dirty_blocks, 3);
    fs_map_fini(&map);
}

/* The coordinator still thinks that they are INVALID_DATA. */
static void a_later_layout_does_not_undo_what_was_written(void)
{
    struct fs_map map = {0};

    CHECK_OK(learn(&map, extent(0, 1000, 100, FS_INVALID_DATA), true));
    CHECK_OK(fs_map_prepare(&map, 10, 1));
    fs_map_written(&map, 10, 1);
    CHECK_OK(learn(&map, extent(0, 1000, 200, FS_INVALID_DATA), true));
    check_run(&map, 10, MAP_DATA, 1010, 1);
    check_run(&map, 100, MAP_INVALID, 1100, 100);
    fs_map_fini(&map);
}

static void collecting_takes_each_dirty_range_once(void)
{
    struct fs_map map = {0};
    fs_extent out[2];
    uint64_t cursor = 0;

    CHECK_OK(learn(&map, extent(0, 1000, 100, FS_INVALID_DATA), true));
    CHECK_OK(fs_map_prepare(&map, 0, 100));
    fs_map_written(&map, 3, 2);
    fs_map_written(&map, 70, 5);
    fs_map_written(&map, 99, 1);
    CHECK_EQ(fs_map_collect(&map, &cursor, out, 2), 2);
    CHECK_EQ(out[0].file_block, 3);
    CHECK_EQ(out[0].lun_block, 1003);
    CHECK_EQ(out[0].count, 2);
    CHECK_EQ(out[1].file_block, 70);
    CHECK_EQ(map.dirty_blocks, 1);
    CHECK_EQ(fs_map_collect(&map, &cursor, out, 2), 1);
    CHECK_EQ(out[0].file_block, 99);
    CHECK_EQ(fs_map_collect(&map, &cursor, out, 2), 0);
    fs_map_fini(&map);
}

static void what_was_not_committed_is_dirty_again(void)
{
    struct fs_map map = {0};
    fs_extent out[4];
    uint64_t cursor = 0;
    size_t n;

    CHECK_OK(learn(&map, extent(0, 1000, 100, FS_INVALID_DATA), true));
    CHECK_OK(fs_map_prepare(&map, 0, 100));
    fs_map_written(&map, 3, 2);
    n = fs_map_collect(&map, &cursor, out, 4);
    fs_map_redirty(&map, out, n);
    CHECK_EQ(map.dirty_blocks, 2);
    cursor = 0;
    CHECK_EQ(fs_map_collect(&map, &cursor, out, 4), 1);
    fs_map_fini(&map);
}

static void an_extent_that_is_wholly_written_needs_no_bits(void)
{
    struct fs_map map = {0};
    fs_extent out[4];
    uint64_t cursor = 0;
    size_t n;

    CHECK_OK(learn(&map, extent(0, 1000, 100, FS_INVALID_DATA), true));
    CHECK_OK(fs_map_prepare(&map, 0, 100));
    fs_map_written(&map, 0, 100);
    CHECK_EQ(map.at[0].state, MAP_INVALID);
    n = fs_map_collect(&map, &cursor, out, 4);
    fs_map_committed(&map, out, n);
    CHECK_EQ(map.at[0].state, MAP_DATA);
    CU_ASSERT_PTR_NULL(map.at[0].bits);
    fs_map_fini(&map);
}

static void a_dropped_range_takes_its_dirty_blocks_along(void)
{
    struct fs_map map = {0};

    CHECK_OK(learn(&map, extent(0, 1000, 100, FS_INVALID_DATA), true));
    CHECK_OK(fs_map_prepare(&map, 0, 100));
    fs_map_written(&map, 8, 4);
    CHECK_OK(fs_map_cut(&map, 10, 20));
    fs_map_drop(&map, 10, 20, MAP_HOLE);
    CHECK_EQ(map.dirty_blocks, 2);
    check_run(&map, 8, MAP_DATA, 1008, 2);
    check_run(&map, 10, MAP_HOLE, 0, 20);
    check_run(&map, 30, MAP_INVALID, 1030, 70);
    fs_map_fini(&map);
}

static void neighbours_on_the_lun_become_one_extent(void)
{
    struct fs_map map = {0};

    CHECK_OK(learn(&map, extent(0, 100, 10, FS_READ_WRITE_DATA), true));
    CHECK_OK(learn(&map, extent(10, 110, 10, FS_READ_WRITE_DATA), true));
    CHECK_OK(learn(&map, extent(20, 500, 10, FS_READ_WRITE_DATA), true));
    CHECK_EQ(map.count, 2);
    fs_map_fini(&map);
}

/* Each open asks for all there is, and behind its data there is a hole. */
static void a_hole_to_the_end_of_all_files_is_one_extent(void)
{
    struct fs_map map = {0};
    uint64_t rest = MAP_BLOCKS_MAX - 1;

    CHECK_OK(learn(&map, extent(1, 0, rest, FS_NONE_DATA), false));
    CHECK_EQ(map.count, 1);
    CHECK_EQ(fs_map_find(&map, 1, MAP_BLOCKS_MAX).count, rest);
    CHECK_OK(learn(&map, extent(1000, 50, 10, FS_INVALID_DATA), true));
    CHECK_EQ(map.count, 3);
    check_run(&map, 1000, MAP_INVALID, 50, 10);
    check_run(&map, 1010, MAP_HOLE, 0, 1 << 20);
    fs_map_fini(&map);
}

static void a_reply_outside_the_lun_is_refused(void)
{
    struct fs_map map = {0};

    CHECK_ERR(
        learn(&map, extent(0, LUN_BLOCKS - 1, 2, FS_READ_WRITE_DATA), true),
        E_PROTOCOL);
    CHECK_ERR(learn(&map, extent(0, UINT64_MAX, 2, FS_INVALID_DATA), true),
              E_PROTOCOL);
    CHECK_ERR(learn(&map, extent(MAP_BLOCKS_MAX, 0, 1, FS_NONE_DATA), true),
              E_PROTOCOL);
    CHECK_ERR(learn(&map, extent(0, 0, 0, FS_NONE_DATA), true), E_PROTOCOL);
    CHECK_EQ(map.count, 0);
}

static void a_reply_with_a_gap_is_refused(void)
{
    const fs_extent two[] = {extent(0, 10, 5, FS_READ_WRITE_DATA),
                             extent(6, 16, 5, FS_READ_WRITE_DATA)};
    struct fs_map map = {0};

    CHECK_ERR(fs_map_insert(&map, two, 2, true, LUN_BLOCKS), E_PROTOCOL);
}

/* -- against a flat model -------------------------------------------------- */

enum { MODEL_BLOCKS = 600, MODEL_STEPS = 20000 };

struct model {
    enum map_state state[MODEL_BLOCKS];
    bool dirty[MODEL_BLOCKS];
};

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *seed >> 33;
}

/* In the model block b is always at LUN block 4096 + b. */
static void model_learn(struct fs_map *map, struct model *m, uint64_t first,
                        uint64_t count, fs_extent_state state, bool rw)
{
    CHECK_OK(learn(map, extent(first, 4096 + first, count, state), rw));
    for (uint64_t b = first; b < first + count; b++) {
        if (m->state[b] == MAP_DATA || m->state[b] == MAP_INVALID)
            continue;
        if (state == FS_NONE_DATA)
            m->state[b] = MAP_HOLE;
        else if (state == FS_INVALID_DATA)
            m->state[b] = rw ? MAP_INVALID : MAP_HOLE;
        else
            m->state[b] =
                rw && state == FS_READ_WRITE_DATA ? MAP_DATA : MAP_READ;
    }
}

static void model_write(struct fs_map *map, struct model *m, uint64_t first,
                        uint64_t count)
{
    CHECK_OK(fs_map_prepare(map, first, count));
    fs_map_written(map, first, count);
    for (uint64_t b = first; b < first + count; b++) {
        if (m->state[b] != MAP_INVALID)
            continue;
        m->state[b] = MAP_DATA;
        m->dirty[b] = true;
    }
}

static void model_drop(struct fs_map *map, struct model *m, uint64_t first,
                       uint64_t count, enum map_state state)
{
    CHECK_OK(fs_map_cut(map, first, count));
    fs_map_drop(map, first, count, state);
    for (uint64_t b = first; b < first + count; b++) {
        m->state[b] = state;
        m->dirty[b] = false;
    }
}

static void model_commit(struct fs_map *map, struct model *m, bool works)
{
    fs_extent out[5];
    uint64_t cursor = 0;
    size_t n = fs_map_collect(map, &cursor, out, ARRAY_LEN(out));

    if (!works) {
        fs_map_redirty(map, out, n);
        return;
    }
    fs_map_committed(map, out, n);
    for (size_t i = 0; i < n; i++)
        for (uint64_t b = 0; b < out[i].count; b++) {
            CHECK_EQ(m->dirty[out[i].file_block + b], true);
            m->dirty[out[i].file_block + b] = false;
        }
}

static bool model_agrees(const struct fs_map *map, const struct model *m)
{
    uint64_t dirty = 0;
    bool same = true;

    for (uint64_t b = 0; b < MODEL_BLOCKS; b++) {
        struct map_run run = fs_map_find(map, b, 1);

        dirty += m->dirty[b];
        same &= run.state == m->state[b];
        if (run.state == MAP_DATA || run.state == MAP_INVALID)
            same &= run.lun == 4096 + b;
    }
    return same && dirty == map->dirty_blocks;
}

static void random_histories_agree_with_a_flat_model(void)
{
    static struct model m;
    struct fs_map map = {0};
    uint64_t seed = 42;

    for (int i = 0; i < MODEL_STEPS; i++) {
        uint64_t first = next_random(&seed) % MODEL_BLOCKS;
        uint64_t count = 1 + next_random(&seed) % (MODEL_BLOCKS - first);
        uint64_t what = next_random(&seed) % 16;

        if (what < 6)
            model_learn(&map, &m, first, min_u64(count, 100),
                        (fs_extent_state)(next_random(&seed) % 4), what < 4);
        else if (what < 11)
            model_write(&map, &m, first, min_u64(count, 20));
        else if (what < 13)
            model_drop(&map, &m, first, min_u64(count, 50),
                       what == 11 ? MAP_HOLE : MAP_UNKNOWN);
        else
            model_commit(&map, &m, what != 13);
        if (i % 64 == 0)
            CU_ASSERT_TRUE_FATAL(model_agrees(&map, &m));
    }
    fs_map_fini(&map);
}

static const struct test tests[] = {
    TEST(an_empty_map_knows_nothing),
    TEST(a_read_layout_is_not_ours_to_write),
    TEST(a_written_block_is_data_among_invalid_ones),
    TEST(a_later_layout_does_not_undo_what_was_written),
    TEST(collecting_takes_each_dirty_range_once),
    TEST(what_was_not_committed_is_dirty_again),
    TEST(an_extent_that_is_wholly_written_needs_no_bits),
    TEST(a_dropped_range_takes_its_dirty_blocks_along),
    TEST(neighbours_on_the_lun_become_one_extent),
    TEST(a_hole_to_the_end_of_all_files_is_one_extent),
    TEST(a_reply_outside_the_lun_is_refused),
    TEST(a_reply_with_a_gap_is_refused),
    TEST(random_histories_agree_with_a_flat_model),
};
TEST_SUITE("fs/client_map", tests);
