/* tests/unit/fs/test_fault.c - the LUN fails at the first, second, third …
 * operation.  Nobody is told of success after a failed write (F14); what was
 * acknowledged before is there afterwards.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/super.h"
#include "tests/unit/fs/volume.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    OPS = 4,
    WRITES = 1u << STORE_WRITE | 1u << STORE_FLUSH,
    READS = 1u << STORE_READ
};

/* Operation i makes name i.  Returns how many were acknowledged; none may be
 * after the first that was not. */
static int run_ops(struct volume *v)
{
    int acked = 0;
    bool failed = false;

    for (int i = 0; i < OPS; i++) {
        char name[16];
        enum err e;

        snprintf(name, sizeof name, "n%d", i);
        e = v_create(v, ROOT, name, S_IFREG | 0600, NULL);
        if (!e)
            acked++;
        if (failed)
            CHECK_ERR(e, E_VOL_OFFLINE);
        failed |= e != E_OK;
    }
    return acked;
}

static int count_names(struct volume *v)
{
    int names = 0;

    for (int i = 0; i < OPS; i++) {
        char name[16];

        snprintf(name, sizeof name, "n%d", i);
        if (!v_lookup(v, ROOT, name, NULL))
            names++;
    }
    return names;
}

/* Returns whether the fault struck. */
static bool fail_at(uint64_t nth, bool sticky, bool after_effect)
{
    struct store_fault_args fault = {.ops = WRITES,
                                     .nth = nth,
                                     .sticky = sticky,
                                     .after_effect = after_effect,
                                     .result = E_IO};
    struct fs_check_result result;
    struct store *disk, *faulty;
    struct fs_coord_info info;
    struct volume v;
    int acked, there;
    bool struck;

    volume_init(&v, 64 * MIB);
    volume_stop(&v);
    disk = v.lun;
    CHECK_OK_FATAL(store_fault_new(disk, &faulty));
    v.lun = faulty;
    volume_start(&v);
    store_fault_arm(faulty, &fault);
    acked = run_ops(&v);
    struck = store_fault_count(faulty) >= nth;
    fs_coord_info(v.coord, &info);
    CHECK_EQ(info.offline, acked < OPS);
    if (info.offline)
        CU_ASSERT_TRUE(info.reason.text[0] != 0);
    volume_stop(&v);
    v.lun = disk;
    store_close(faulty);
    CHECK_EQ(check_lun(disk, &result), 0);
    volume_start(&v);
    there = count_names(&v);
    CU_ASSERT_TRUE(there == acked || there == acked + 1);
    volume_fini(&v);
    return struck;
}

static void a_failed_write_ends_all_answers(void)
{
    for (uint64_t nth = 1; fail_at(nth, false, false); nth++)
        ;
}

static void a_write_that_failed_only_by_report_does_too(void)
{
    for (uint64_t nth = 1; fail_at(nth, true, true); nth++)
        ;
}

/* Opening: an error, and the next try works. */
static void a_failure_while_opening_is_reported(void)
{
    struct store *faulty;
    struct volume v;
    bool struck = true;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0600, NULL));
    volume_stop(&v);
    CHECK_OK_FATAL(store_fault_new(v.lun, &faulty));
    for (uint64_t nth = 1; struck; nth++) {
        const struct store_fault_args fault = {
            .ops = WRITES | READS, .nth = nth, .result = E_IO};
        const struct fs_coord_args args = {
            .node = 1, .incarnation = 1000 + nth, .sole = true};
        struct fs_coord *coord;
        struct diag why = {{0}};
        enum err e;

        store_fault_arm(faulty, &fault);
        e = fs_coord_start(faulty, &args, &why, &coord);
        struck = store_fault_count(faulty) >= nth;
        store_fault_arm(faulty, &(struct store_fault_args){0});
        /* One bad copy of the superblock is what the others are for. */
        CHECK_ERR(e, struck && nth > SUPER_COPIES ? E_IO : E_OK);
        if (e)
            CHECK_CONTAINS(why.text, ":");
        if (!e)
            fs_coord_stop(coord);
    }
    store_close(faulty);
    volume_start(&v);
    CHECK_OK(v_lookup(&v, ROOT, "f", NULL));
    volume_fini(&v);
}

static const struct test tests[] = {
    TEST(a_failed_write_ends_all_answers),
    TEST(a_write_that_failed_only_by_report_does_too),
    TEST(a_failure_while_opening_is_reported),
};
TEST_SUITE("fs/fault", tests);
