/* tests/unit/vhd/test_crash.c - I12: a crash at any point loses nothing that
 * was flushed, and leaves a file that is sound or repaired without loss.
 *
 * A run of random work is recorded below the disk.  Then, for every moment of
 * it, images are made of what may be on the medium: all that a flush has
 * covered, and of the rest - done or in flight - a subset: none, all, random
 * ones, and with the last write torn at a sector.  Each image is checked,
 * repaired, opened, compared sector by sector with what may be there, written
 * and closed.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vhd/work.h"

#include <string.h>

enum {
    ROUNDS = 30,
    SUBSETS = 5, /* per crash point: none, all, and random ones */
    SEEDS = 1,
    FAILURES = 1, /* runs in which a request fails, for each kind of failure */
    ALL_OPS = (1 << STORE_OP_COUNT) - 1
};

struct run {
    struct work *work;
    struct store *record, *fault, *shuffled;
    uint8_t *at_start; /* the file when the recording began */
    uint64_t at_start_bytes;
};

/* -- images ---------------------------------------------------------------- */

/* Is entry i on the medium for sure when the machine stops after the first
 * `moment` entries were done? */
static bool is_durable(struct run *r, size_t moment, size_t i)
{
    const struct store_record_entry *entry = store_record_at(r->record, i);

    if (i >= moment)
        return false;
    if (entry->flags & STORE_FUA)
        return true;
    for (size_t f = i + 1; f < moment; f++) {
        const struct store_record_entry *flush = store_record_at(r->record, f);

        if (flush->op == STORE_FLUSH && flush->submit_seq > entry->done_seq)
            return true;
    }
    return false;
}

static bool was_submitted(struct run *r, size_t moment, size_t i)
{
    uint64_t now =
        moment ? store_record_at(r->record, moment - 1)->done_seq : 0;

    return store_record_at(r->record, i)->submit_seq <= now;
}

/* What lies beyond the end of a file that did not grow is not there. */
static void replay(struct run *r, size_t i, struct store *image, bool torn)
{
    const struct store_record_entry *entry = store_record_at(r->record, i);
    uint64_t tear = 0;

    if (entry->op != STORE_RESIZE &&
        !range_ok(entry->off_bytes, entry->len_bytes, image->size_bytes))
        return;
    if (torn && entry->op == STORE_WRITE && entry->len_bytes > SECTOR)
        tear = (1 + dice_roll(&r->work->dice, entry->len_bytes / SECTOR - 1)) *
               SECTOR;
    CHECK_OK(store_record_replay(r->record, i, image, tear));
}

/* `subset` 0: nothing that need not be there; 1: everything; else random. */
static struct store *make_image(struct run *r, size_t moment, int subset)
{
    size_t count = store_record_count(r->record), last = 0;
    bool *keep = calloc(count + 1, sizeof *keep);
    struct store *image = NULL;

    CHECK_OK_FATAL(store_mem_new(
        &(struct store_mem_args){.size_bytes = r->at_start_bytes}, &image));
    store_mem_poke(image, 0, r->at_start, r->at_start_bytes);
    for (size_t i = 0; i < count; i++) {
        keep[i] = is_durable(r, moment, i);
        if (!keep[i] && was_submitted(r, moment, i))
            keep[i] =
                subset == 1 || (subset > 1 && dice_roll(&r->work->dice, 2));
        if (keep[i])
            last = i;
    }
    for (size_t i = 0; i < count; i++)
        if (keep[i])
            replay(r, i, image,
                   i == last && subset > 1 && !is_durable(r, moment, i));
    free(keep);
    return image;
}

/* -- the verdict ----------------------------------------------------------- */

static void check_image(struct store *image)
{
    struct vhd_check_result result;
    struct diag why = {""};
    enum err e = vhd_check(image, &(struct vhd_check_args){.repair = false},
                           &why, &result);

    CHECK_EQ(result.lost, 0);
    if (!e)
        return;
    CHECK_ERR(e, E_CORRUPT);
    CHECK_OK(vhd_check(image, &(struct vhd_check_args){.repair = true}, &why,
                       &result));
    CHECK_EQ(result.repaired, result.repairable + result.leftovers);
    disks_check_clean(image);
}

static void use_image(struct run *r, struct vhd *vhd)
{
    struct store *disk = vhd_store(vhd);
    uint64_t off = dice_roll(&r->work->dice, disk->size_bytes / BLOCK) * BLOCK;
    uint8_t in[BLOCK], out[BLOCK];

    pattern_fill(in, BLOCK, 1, off);
    CHECK_OK(store_write_sync(disk, off, in, BLOCK));
    CHECK_OK(store_read_sync(disk, off, out, BLOCK));
    CHECK_MEM(out, in, BLOCK);
}

/* With a repair first, and without: opening copes by itself; but not with a
 * fixed disk that was cut off while it grew, which has no second footer. */
static void crash_at(struct run *r, size_t moment, int subset)
{
    struct store *image = make_image(r, moment, subset);
    struct vhd *vhd;

    if (r->work->type == VHD_FIXED || dice_roll(&r->work->dice, 2))
        check_image(image);
    vhd = disks_open(&r->work->d, "/disk.vhd", image);
    CHECK_EQ(work_wrong_after(r->work, moment, vhd_store(vhd)), 0);
    use_image(r, vhd);
    CHECK_OK(vhd_close(vhd));
    disks_check_clean(image);
    store_close(image);
}

/* -- runs ------------------------------------------------------------------ */

/* With one request that fails, or none. */
static void record_run(struct run *r, enum vhd_type type, uint64_t seed,
                       const struct store_fault_args *failure)
{
    struct work *w = work_new(type, seed);

    *r = (struct run){.work = w, .at_start_bytes = w->file->size_bytes};
    r->at_start = malloc(r->at_start_bytes);
    store_mem_peek(w->file, 0, r->at_start, r->at_start_bytes);
    CHECK_OK_FATAL(store_record_new(w->file, &r->record));
    CHECK_OK_FATAL(store_fault_new(r->record, &r->fault));
    r->shuffled = shuffle_new(r->fault, seed);
    w->record = r->record;
    w->vhd = disks_open(&w->d, "/disk.vhd", r->shuffled);
    store_fault_arm(r->fault, failure);
    work_do(w, ROUNDS);
    store_fault_arm(r->fault, &(struct store_fault_args){.ops = 0});
    for (size_t i = 0; i < w->count && !failure->nth; i++)
        CHECK_OK(w->ops[i].result);
    CHECK_EQ(work_wrong_now(w, vhd_store(w->vhd)), 0);
    CHECK_OK(vhd_close(w->vhd));
}

static void crash_everywhere(enum vhd_type type, uint64_t seed,
                             const struct store_fault_args *failure)
{
    struct run r;
    size_t moments;

    record_run(&r, type, seed, failure);
    moments = store_record_count(r.record);
    for (size_t moment = 0; moment <= moments; moment += TEST_ONE_IN)
        for (int subset = 0; subset < SUBSETS; subset++)
            crash_at(&r, moment, subset);
    store_close(r.shuffled);
    store_close(r.fault);
    store_close(r.record);
    free(r.at_start);
    work_free(r.work);
}

static const struct store_fault_args none = {.ops = 0};

static void fixed_disk_survives_a_crash_at_any_point(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        crash_everywhere(VHD_FIXED, seed, &none);
}

static void dynamic_disk_survives_a_crash_at_any_point(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        crash_everywhere(VHD_DYNAMIC, seed, &none);
}

static void differencing_disk_survives_a_crash_at_any_point(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        crash_everywhere(VHD_DIFFERENCING, seed, &none);
}

/* What a failed request leaves undecided, a later crash may decide: a header
 * that points to a longer table, a footer with the new size, a block without
 * its bitmap. */
static void crash_after_failures(enum vhd_type type)
{
    struct dice dice = {.state = 11 + (uint64_t)type};

    for (int i = 0; i < 2 * FAILURES; i++)
        crash_everywhere(
            type, 1 + dice_roll(&dice, 9),
            &(struct store_fault_args){.ops = ALL_OPS,
                                       .nth = 1 + dice_roll(&dice, 150),
                                       .after_effect = i % 2,
                                       .result = E_IO});
}

static void disk_survives_a_failed_request_and_a_crash(void)
{
    crash_after_failures(VHD_FIXED);
    crash_after_failures(VHD_DYNAMIC);
    crash_after_failures(VHD_DIFFERENCING);
}

static const struct test tests[] = {
    TEST(fixed_disk_survives_a_crash_at_any_point),
    TEST(dynamic_disk_survives_a_crash_at_any_point),
    TEST(differencing_disk_survives_a_crash_at_any_point),
    TEST(disk_survives_a_failed_request_and_a_crash),
};
TEST_SUITE("vhd/crash", tests);
