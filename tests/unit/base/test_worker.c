/* tests/unit/base/test_worker.c - blocking work comes back to its loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/stores.h"
#include "base/worker.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { JOBS = 100 };

struct job {
    struct work work;
    struct store *store;
    struct loop *home;
    unsigned number, *left;
    bool *all_done;
    enum err result;
    bool ran_elsewhere, done_at_home;
};

static void job_run(struct work *work)
{
    struct job *j = container_of(work, struct job, work);
    uint8_t block[512];

    j->ran_elsewhere = loop_self() && loop_self() != j->home;
    memset(block, (int)j->number, sizeof block);
    j->result = store_write_sync(j->store, j->number * 512, block, 512);
}

static void job_done(struct work *work)
{
    struct job *j = container_of(work, struct job, work);

    j->done_at_home = loop_self() == j->home;
    if (--*j->left == 0)
        *j->all_done = true;
}

static void workers_use_stores_and_report_to_the_submitter(void)
{
    struct world w;
    struct workers *workers;
    struct store *s = NULL;
    struct job jobs[JOBS];
    unsigned left = JOBS;
    bool all_done = false;

    world_init(&w);
    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = JOBS * 512}, &s));
    CHECK_OK_FATAL(workers_start(
        &(struct workers_args){.name = "cold", .threads = 3}, &workers));
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = (struct job){
            .work = {.run = job_run, .done = job_done},
            .store = s,
            .home = w.loop,
            .number = i,
            .left = &left,
            .all_done = &all_done
        };
        work_submit(workers, &jobs[i].work);
    }
    world_run_until(&w, &all_done);
    workers_stop(workers);
    for (unsigned i = 0; i < JOBS; i++) {
        uint8_t byte;

        CU_ASSERT_TRUE(jobs[i].ran_elsewhere);
        CU_ASSERT_TRUE(jobs[i].done_at_home);
        CHECK_OK(jobs[i].result);
        store_mem_peek(s, i * 512 + 511, &byte, 1);
        CHECK_EQ(byte, i);
    }
    store_close(s);
    world_fini(&w);
}

static char order[8];

struct named {
    struct work work;
    char name;
};

static void named_run(struct work *work)
{
    usleep(1000);
    order[strlen(order)] = container_of(work, struct named, work)->name;
}

static void named_done(struct work *work)
{
    container_of(work, struct named, work)->name = '.';
}

static void stop_finishes_what_was_submitted_in_order(void)
{
    struct world w;
    struct workers *workers;
    struct named n[4];

    world_init(&w);
    memset(order, 0, sizeof order);
    CHECK_OK_FATAL(
        workers_start(&(struct workers_args){.threads = 1}, &workers));
    for (int i = 0; i < 4; i++) {
        n[i] = (struct named){
            {.run = named_run, .done = named_done},
            (char)('a' + i)
        };
        work_submit(workers, &n[i].work);
    }
    workers_stop(workers);
    CHECK_STR(order, "abcd");
    loop_run_ready(w.loop);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(n[i].name, '.');
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(workers_use_stores_and_report_to_the_submitter),
    TEST(stop_finishes_what_was_submitted_in_order),
};
TEST_SUITE("base/worker", tests);
