/* tests/unit/lunard/test_host.c - a host keeps its UUID, and no run has the
 * number of an earlier one.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/host.h"

#include "base/clock.h"
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct world w;
static struct host host;
static struct diag why;

static void put_file(const char *text)
{
    char path[WORLD_PATH_BYTES + 16];
    FILE *file;

    snprintf(path, sizeof path, "%s/host.json", w.dir);
    file = fopen(path, "w");
    ASSERT(file);
    fputs(text, file);
    fclose(file);
}

static void a_new_host_gets_a_uuid_and_the_time(void)
{
    static const uint8_t none[UUID_BYTES];
    uint64_t now_s = clock_wall_ns(clock_system()) / NS_PER_S;

    world_init(&w);
    CHECK_OK(host_begin(w.dir, &host, &why));
    CU_ASSERT_TRUE(host.incarnation >= now_s && host.incarnation <= now_s + 60);
    CU_ASSERT_TRUE(memcmp(host.uuid, none, sizeof none) != 0);
    world_fini(&w);
}

static void the_next_run_keeps_the_uuid_and_counts_on(void)
{
    struct host first;

    world_init(&w);
    CHECK_OK(host_begin(w.dir, &first, &why));
    for (uint64_t run = 1; run <= 3; run++) {
        CHECK_OK(host_begin(w.dir, &host, &why));
        CHECK_EQ(host.incarnation, first.incarnation + run);
        CHECK_MEM(host.uuid, first.uuid, UUID_BYTES);
    }
    world_fini(&w);
}

static void a_host_of_before_uuids_gets_one_that_stays(void)
{
    struct host first;

    world_init(&w);
    put_file("{\"incarnation\": 41}");
    CHECK_OK(host_begin(w.dir, &first, &why));
    CHECK_EQ(first.incarnation, 42);
    CHECK_OK(host_begin(w.dir, &host, &why));
    CHECK_EQ(host.incarnation, 43);
    CHECK_MEM(host.uuid, first.uuid, UUID_BYTES);
    world_fini(&w);
}

/* The last one that a reservation key can tell, and then no more. */
static void incarnations_end_where_a_key_has_no_room(void)
{
    struct lm_run run = {.node = 3}, back;
    uint32_t turn;

    world_init(&w);
    put_file("{\"incarnation\": 4294967294}");
    CHECK_OK(host_begin(w.dir, &host, &why));
    run.incarnation = host.incarnation;
    CHECK_EQ(lm_key_read(lm_key_make(7, run, 1), 7, &back, &turn), true);
    CHECK_EQ(back.incarnation, UINT32_MAX);
    CHECK_ERR(host_begin(w.dir, &host, &why), E_CORRUPT);
    world_fini(&w);
}

static void garbage_is_refused_with_the_cure_and_left_alone(void)
{
    static const char *const texts[] = {
        "",
        "[1]",
        "{}",
        "{\"incarnation\": 0}",
        "{\"incarnation\": -1}",
        "{\"incarnation\": 4294967296}",
        "{\"incarnation\": \"7\"}",
        "{\"incarnation\": 7, \"uuid\": 7}",
        "{\"incarnation\": 7, \"uuid\": \"\"}",
        "{\"incarnation\": 7, \"uuid\": \"6f1c\"}",
        "{\"uuid\": \"00112233-4455-6677-8899-aabbccddeeff\"}",
    };

    world_init(&w);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        put_file(texts[i]);
        CHECK_ERR(host_begin(w.dir, &host, &why), E_CORRUPT);
        CHECK_CONTAINS(why.text, "host.json");
        CHECK_CONTAINS(why.text, "move it away");
        CHECK_ERR(host_begin(w.dir, &host, &why), E_CORRUPT);
    }
    world_fini(&w);
}

/* A number that the next run would get again must not be used. */
static void what_cannot_be_kept_is_not_begun(void)
{
    char path[WORLD_PATH_BYTES + 16];

    world_init(&w);
    put_file("{\"incarnation\": 41}");
    snprintf(path, sizeof path, "%s/host.json.new", w.dir);
    CHECK_EQ(symlink("/nonexistent/file", path), 0);
    host.incarnation = 0;
    CU_ASSERT_TRUE(host_begin(w.dir, &host, &why) != E_OK);
    CHECK_EQ(host.incarnation, 0);
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(a_new_host_gets_a_uuid_and_the_time),
    TEST(the_next_run_keeps_the_uuid_and_counts_on),
    TEST(a_host_of_before_uuids_gets_one_that_stays),
    TEST(incarnations_end_where_a_key_has_no_room),
    TEST(garbage_is_refused_with_the_cure_and_left_alone),
    TEST(what_cannot_be_kept_is_not_begun),
};
TEST_SUITE("lunard/host", tests);
