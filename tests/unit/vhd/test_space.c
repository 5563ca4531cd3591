/* tests/unit/vhd/test_space.c - a file below that has no space, for a while.
 * The guest gets the error, and goes on when there is space again; the file
 * does not become longer by trying.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "tests/unit/vhd/disks.h"

enum { BLOCK = 4096, SIZE = 1000 * BLOCK, TRIES = 300 };

struct rig {
    struct disks d;
    struct store *file, *fault;
    struct vhd *vhd;
    struct store *disk;
};

static void rig_init(struct rig *r, enum vhd_type type)
{
    disks_init(&r->d);
    if (type == VHD_DIFFERENCING)
        disks_create(&r->d, "/p.vhd",
                     &(struct disks_spec){VHD_DYNAMIC, SIZE, BLOCK, 0, NULL});
    r->file = disks_create(
        &r->d, "/d.vhd",
        &(struct disks_spec){type, SIZE, BLOCK, 0,
                             type == VHD_DIFFERENCING ? "/p.vhd" : NULL});
    CHECK_OK_FATAL(store_fault_new(r->file, &r->fault));
    r->vhd = disks_open(&r->d, "/d.vhd", r->fault);
    r->disk = vhd_store(r->vhd);
}

static void rig_fini(struct rig *r)
{
    CHECK_OK(vhd_close(r->vhd));
    disks_check_clean(r->file);
    store_close(r->fault);
    disks_fini(&r->d);
}

/* No `ops` from the nth on. */
static void fill_up(struct rig *r, uint32_t ops, uint64_t nth)
{
    store_fault_arm(r->fault, &(struct store_fault_args){.ops = ops,
                                                         .nth = nth,
                                                         .sticky = true,
                                                         .result = E_VOL_FULL});
}

static enum err write_block(struct rig *r, uint64_t block)
{
    uint8_t buf[BLOCK];

    pattern_fill(buf, sizeof buf, 1, block * BLOCK);
    return store_write_sync(r->disk, block * BLOCK, buf, sizeof buf);
}

static void expect_block(struct rig *r, uint64_t block)
{
    uint8_t buf[BLOCK];

    CHECK_OK(store_read_sync(r->disk, block * BLOCK, buf, sizeof buf));
    CHECK_EQ(pattern_check(buf, sizeof buf, 1, block * BLOCK), BLOCK);
}

/* `ops` find no space from the nth on, whatever the guest tries; then there
 * is space. */
static void run_out(enum vhd_type type, uint32_t ops, uint64_t nth)
{
    uint64_t done = 0, full_bytes = 0;
    struct rig r;

    rig_init(&r, type);
    fill_up(&r, ops, nth);
    for (uint64_t i = 0; i < TRIES; i++) {
        enum err e = write_block(&r, done);

        if (!e)
            done++;
        else
            CHECK_ERR(e, E_VOL_FULL);
        if (e && !full_bytes)
            full_bytes = r.file->size_bytes;
    }
    CU_ASSERT_TRUE(done < TRIES);
    CU_ASSERT_TRUE(r.file->size_bytes <= full_bytes + 2 * DISKS_AHEAD_BYTES);
    fill_up(&r, 0, 0);
    for (uint64_t b = done; b < TRIES; b++)
        CHECK_OK(write_block(&r, b));
    CHECK_OK(vhd_close(r.vhd));
    r.vhd = disks_open(&r.d, "/d.vhd", r.fault);
    r.disk = vhd_store(r.vhd);
    for (uint64_t b = 0; b < TRIES; b++)
        expect_block(&r, b);
    rig_fini(&r);
}

static void file_that_cannot_grow_is_an_error_and_no_more(void)
{
    for (uint64_t nth = 1; nth < 6; nth++) {
        run_out(VHD_DYNAMIC, 1 << STORE_RESIZE, nth);
        run_out(VHD_DIFFERENCING, 1 << STORE_RESIZE, nth);
    }
}

static void file_that_grows_but_takes_no_bytes_stays_as_long(void)
{
    for (uint64_t nth = 1; nth < 40; nth++) {
        run_out(VHD_DYNAMIC, 1 << STORE_WRITE, nth);
        run_out(VHD_DIFFERENCING, 1 << STORE_WRITE, nth);
    }
}

/* The process dies while there is no space, and its successor finds none: the
 * file stays longer than it need be. */
static void disk_opens_on_a_volume_that_is_full(void)
{
    for (uint64_t nth = 1; nth < 6; nth++) {
        struct vhd_open_args args = {.path = "/d.vhd"};
        uint64_t done = 0;
        struct diag why;
        struct rig r;

        rig_init(&r, VHD_DYNAMIC);
        fill_up(&r, 1 << STORE_WRITE, nth);
        while (!write_block(&r, done))
            done++;
        fill_up(&r, 0, 0);
        CHECK_OK(store_flush_sync(r.disk));
        vhd_abandon(r.vhd);
        fill_up(&r, 1 << STORE_WRITE, 1);
        CHECK_OK_FATAL(vhd_open(r.fault, &args, &why, &r.vhd));
        r.disk = vhd_store(r.vhd);
        for (uint64_t b = 0; b < done; b++)
            expect_block(&r, b);
        CHECK_ERR(write_block(&r, done), E_VOL_FULL);
        fill_up(&r, 0, 0);
        CHECK_OK(write_block(&r, done));
        expect_block(&r, done);
        rig_fini(&r);
    }
}

/* Block 0 of the disk is placed so that only a few more fit below 2 TiB. */
static void file_ends_below_2_tib(void)
{
    enum { TABLE = 4096, LEFT = 20, STRIDE = 16 };
    uint64_t entry = align_down(UINT32_MAX - LEFT * STRIDE, 8) - 1, done = 1;
    uint64_t end = (entry + 1) * 512 + BLOCK;
    uint8_t footer[512], bytes[4];
    enum err e = E_OK;
    struct rig r;

    rig_init(&r, VHD_DYNAMIC);
    CHECK_OK(vhd_close(r.vhd));
    store_mem_peek(r.file, 0, footer, sizeof footer);
    CHECK_OK(store_range_sync(r.fault, STORE_RESIZE, end + sizeof footer, 0));
    store_mem_poke(r.file, end, footer, sizeof footer);
    be32_store(bytes, (uint32_t)entry);
    store_mem_poke(r.file, TABLE, bytes, sizeof bytes);
    r.vhd = disks_open(&r.d, "/d.vhd", r.fault);
    r.disk = vhd_store(r.vhd);
    CHECK_OK(write_block(&r, 0));
    for (; done < 2 * LEFT && !(e = write_block(&r, done)); done++)
        ;
    CHECK_ERR(e, E_TOO_BIG);
    CU_ASSERT_TRUE(done > LEFT / 2 && done <= LEFT + 1);
    CU_ASSERT_TRUE(r.file->size_bytes <= (uint64_t)UINT32_MAX * 512);
    CHECK_OK(write_block(&r, 0));
    CHECK_OK(vhd_close(r.vhd));
    r.vhd = disks_open(&r.d, "/d.vhd", r.fault);
    r.disk = vhd_store(r.vhd);
    for (uint64_t b = 0; b < done; b++)
        expect_block(&r, b);
    CHECK_ERR(write_block(&r, done), E_TOO_BIG);
    rig_fini(&r);
}

static const struct test tests[] = {
    TEST(file_that_cannot_grow_is_an_error_and_no_more),
    TEST(disk_opens_on_a_volume_that_is_full),
    TEST(file_ends_below_2_tib),
    TEST(file_that_grows_but_takes_no_bytes_stays_as_long),
};
TEST_SUITE("vhd/space", tests);
