/* tests/unit/vhd/test_fault.c - every request below fails once; then, all from
 * some moment on.  Nothing that succeeded may be lost, nothing may hang, and
 * the file stays sound.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vhd/work.h"

#include <string.h>

enum { ROUNDS = 12, ALL_OPS = (1 << STORE_OP_COUNT) - 1, SEED = 5 };

struct faulty {
    struct work *work;
    struct store *fault, *shuffled;
};

static void faulty_init(struct faulty *f, enum vhd_type type)
{
    f->work = work_new(type, SEED);
    CHECK_OK_FATAL(store_fault_new(f->work->file, &f->fault));
    f->shuffled = shuffle_new(f->fault, SEED);
}

static void faulty_fini(struct faulty *f)
{
    store_close(f->shuffled);
    store_close(f->fault);
    work_free(f->work);
}

/* Open while requests may fail; if that is what fails, once more without. */
static void faulty_open(struct faulty *f)
{
    struct work *w = f->work;
    enum err e;

    e = vhd_open(f->shuffled,
                 &(struct vhd_open_args){.path = "/disk.vhd",
                                         .opener = &w->d.opener,
                                         .ahead_bytes = DISKS_AHEAD_BYTES},
                 NULL, &w->vhd);
    if (!e)
        return;
    CHECK_ERR(e, E_IO);
    store_fault_arm(f->fault, &(struct store_fault_args){.ops = ALL_OPS});
    w->vhd = disks_open(&w->d, "/disk.vhd", f->shuffled);
}

static void reopen_and_compare(struct faulty *f)
{
    struct work *w = f->work;

    disks_check_clean(w->file);
    w->vhd = disks_open(&w->d, "/disk.vhd", w->file);
    CHECK_EQ(work_wrong_now(w, vhd_store(w->vhd)), 0);
    CHECK_OK(vhd_close(w->vhd));
}

/* Request `nth` fails; the disk goes on.  false: there are fewer. */
static bool one_failure(enum vhd_type type, uint64_t nth, bool after_effect)
{
    struct faulty f;
    struct work *w;
    bool fired;

    faulty_init(&f, type);
    w = f.work;
    store_fault_arm(f.fault,
                    &(struct store_fault_args){.ops = ALL_OPS,
                                               .nth = nth,
                                               .after_effect = after_effect,
                                               .result = E_IO});
    faulty_open(&f);
    work_do(w, ROUNDS);
    fired = store_fault_count(f.fault) >= nth;
    store_fault_arm(f.fault, &(struct store_fault_args){.ops = 0});
    CHECK_EQ(work_wrong_now(w, vhd_store(w->vhd)), 0);
    CHECK_OK(vhd_close(w->vhd));
    reopen_and_compare(&f);
    faulty_fini(&f);
    return fired;
}

static void every_request_fails_once(enum vhd_type type)
{
    for (int after_effect = 0; after_effect < 2; after_effect++)
        for (uint64_t nth = 1; one_failure(type, nth, after_effect); nth++)
            ASSERT(nth < 10000);
}

static void fixed_disk_survives_any_one_failure(void)
{
    every_request_fails_once(VHD_FIXED);
}

static void dynamic_disk_survives_any_one_failure(void)
{
    every_request_fails_once(VHD_DYNAMIC);
}

static void differencing_disk_survives_any_one_failure(void)
{
    every_request_fails_once(VHD_DIFFERENCING);
}

/* The file is gone from request `nth` on, and comes back for the next open. */
static bool gone_for_good(enum vhd_type type, uint64_t nth)
{
    struct vhd_check_result result;
    struct faulty f;
    struct work *w;
    enum err closed;
    bool fired;

    faulty_init(&f, type);
    w = f.work;
    w->vhd = disks_open(&w->d, "/disk.vhd", f.shuffled);
    store_fault_arm(f.fault, &(struct store_fault_args){.ops = ALL_OPS,
                                                        .nth = nth,
                                                        .sticky = true,
                                                        .result = E_LUN_GONE});
    work_do(w, ROUNDS);
    closed = vhd_close(w->vhd);
    fired = store_fault_count(f.fault) >= nth;
    CHECK_ERR(closed, fired ? E_LUN_GONE : E_OK);
    CHECK_OK(vhd_check(w->file, &(struct vhd_check_args){.repair = true}, NULL,
                       &result));
    CHECK_EQ(result.lost, 0);
    w->vhd = disks_open(&w->d, "/disk.vhd", w->file);
    CHECK_EQ(work_wrong_after(w, 0, vhd_store(w->vhd)), 0);
    CHECK_OK(vhd_close(w->vhd));
    faulty_fini(&f);
    return fired;
}

static void fixed_disk_survives_a_file_that_goes_away(void)
{
    for (uint64_t nth = 1; gone_for_good(VHD_FIXED, nth); nth++)
        ASSERT(nth < 10000);
}

static void dynamic_disk_survives_a_file_that_goes_away(void)
{
    for (uint64_t nth = 1; gone_for_good(VHD_DYNAMIC, nth); nth++)
        ASSERT(nth < 10000);
}

static void differencing_disk_survives_a_file_that_goes_away(void)
{
    for (uint64_t nth = 1; gone_for_good(VHD_DIFFERENCING, nth); nth++)
        ASSERT(nth < 10000);
}

static const struct test tests[] = {
    TEST(fixed_disk_survives_any_one_failure),
    TEST(dynamic_disk_survives_any_one_failure),
    TEST(differencing_disk_survives_any_one_failure),
    TEST(fixed_disk_survives_a_file_that_goes_away),
    TEST(dynamic_disk_survives_a_file_that_goes_away),
    TEST(differencing_disk_survives_a_file_that_goes_away),
};
TEST_SUITE("vhd/fault", tests);
