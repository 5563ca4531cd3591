/* tests/unit/vhd/test_resize.c - resizes after resizes that failed, of disks
 * of other programs, and to sizes that cannot be.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vhd/disks.h"
#include "vhd/format.h"

#include <string.h>

enum { BLOCK = 4096, BLOCKS = 1000, SIZE = BLOCKS * BLOCK };

struct rig {
    struct disks d;
    struct store *file, *fault;
    struct vhd *vhd;
    struct store *disk;
};

static void rig_open(struct rig *r)
{
    r->vhd = disks_open(&r->d, "/d.vhd", r->fault);
    r->disk = vhd_store(r->vhd);
}

/* The table of a sparse one has room for a page of entries, not more. */
static void rig_init(struct rig *r, enum vhd_type type)
{
    disks_init(&r->d);
    r->file = disks_create(&r->d, "/d.vhd",
                           &(struct disks_spec){type, SIZE,
                                                type == VHD_FIXED ? 0 : BLOCK,
                                                1024 * BLOCK, NULL});
    CHECK_OK_FATAL(store_fault_new(r->file, &r->fault));
    rig_open(r);
}

static void rig_fini(struct rig *r)
{
    CHECK_OK(vhd_close(r->vhd));
    disks_check_clean(r->file);
    store_close(r->fault);
    disks_fini(&r->d);
}

static void fail_next(struct rig *r, enum store_op op, uint64_t nth)
{
    store_fault_arm(r->fault, &(struct store_fault_args){.ops = 1U << op,
                                                         .nth = nth,
                                                         .sticky = true,
                                                         .result = E_VOL_FULL});
}

static void fail_none(struct rig *r)
{
    store_fault_arm(r->fault, &(struct store_fault_args){.ops = 0});
}

static enum err grow(struct rig *r, uint64_t blocks)
{
    return store_range_sync(r->disk, STORE_RESIZE, blocks * BLOCK, 0);
}

static void fill(struct rig *r, uint64_t block)
{
    uint8_t buf[BLOCK];

    pattern_fill(buf, sizeof buf, 1, block * BLOCK);
    CHECK_OK(store_write_sync(r->disk, block * BLOCK, buf, sizeof buf));
}

static void expect_filled(struct rig *r, uint64_t block)
{
    uint8_t buf[BLOCK];

    CHECK_OK(store_read_sync(r->disk, block * BLOCK, buf, sizeof buf));
    CHECK_EQ(pattern_check(buf, sizeof buf, 1, block * BLOCK), BLOCK);
}

/* The first wants a longer table and finds no space; the second needs none,
 * and writes no further than the table goes. */
static void smaller_resize_after_a_failed_one_harms_no_block(void)
{
    struct rig r;

    rig_init(&r, VHD_DYNAMIC);
    for (uint64_t b = 0; b < 8; b++)
        fill(&r, b);
    CHECK_OK(store_flush_sync(r.disk));
    fail_next(&r, STORE_RESIZE, 1);
    CHECK_ERR(grow(&r, 9000), E_VOL_FULL);
    fail_none(&r);
    CHECK_EQ(r.disk->size_bytes, SIZE);
    CHECK_OK(grow(&r, BLOCKS + 10));
    fill(&r, BLOCKS + 5);
    for (uint64_t b = 0; b < 8; b++)
        expect_filled(&r, b);
    CHECK_OK(vhd_close(r.vhd));
    rig_open(&r);
    CHECK_EQ(r.disk->size_bytes, (BLOCKS + 10) * BLOCK);
    for (uint64_t b = 0; b < 8; b++)
        expect_filled(&r, b);
    expect_filled(&r, BLOCKS + 5);
    rig_fini(&r);
}

/* Give the disk a creator whose size is the geometry. */
static void set_creator(struct rig *r, const char creator[4])
{
    uint64_t ends[] = {r->file->size_bytes - VHD_FOOTER_BYTES, 0};
    bool fixed = false;

    for (size_t i = 0; i < ARRAY_LEN(ends) && !fixed; i++) {
        struct vhd_disk_footer disk;
        struct vhd_footer f;
        struct diag why;

        store_mem_peek(r->file, ends[i], &disk, sizeof disk);
        CHECK_OK_FATAL(vhd_footer_decode(&disk, ends[i], &why, &f));
        memcpy(f.creator, creator, sizeof f.creator);
        fixed = f.type == VHD_FIXED;
        vhd_footer_encode(&f, &disk);
        store_mem_poke(r->file, ends[i], &disk, sizeof disk);
    }
}

/* What the guest was told it still has the next day. */
static void disk_sized_by_geometry_keeps_the_size_it_grew_to(void)
{
    static const enum vhd_type types[] = {VHD_FIXED, VHD_DYNAMIC};
    static const char *const creators[] = {"vpc ", "qemu"};

    for (size_t i = 0; i < ARRAY_LEN(types) * ARRAY_LEN(creators); i++) {
        struct rig r;

        rig_init(&r, types[i / 2]);
        CHECK_OK(vhd_close(r.vhd));
        set_creator(&r, creators[i % 2]);
        rig_open(&r);
        CU_ASSERT_TRUE(r.disk->size_bytes < SIZE);
        CHECK_OK(grow(&r, BLOCKS + 21));
        fill(&r, BLOCKS + 20);
        CHECK_OK(vhd_close(r.vhd));
        rig_open(&r);
        CHECK_EQ(r.disk->size_bytes, (BLOCKS + 21) * BLOCK);
        if (r.disk->size_bytes == (BLOCKS + 21) * BLOCK)
            expect_filled(&r, BLOCKS + 20);
        rig_fini(&r);
    }
}

static void fixed_disk_does_not_grow_beyond_what_a_footer_can_say(void)
{
    struct rig r;

    rig_init(&r, VHD_FIXED);
    CHECK_ERR(store_range_sync(r.disk, STORE_RESIZE, UINT64_MAX - 511, 0),
              E_TOO_BIG);
    CHECK_ERR(store_range_sync(r.disk, STORE_RESIZE, UINT64_C(1) << 63, 0),
              E_TOO_BIG);
    CHECK_EQ(r.disk->size_bytes, SIZE);
    CHECK_OK(vhd_close(r.vhd));
    rig_open(&r);
    rig_fini(&r);
}

/* With its padding a block of 512 KiB is 516: 2040 GiB of them are more than
 * 2 TiB, which 32 bits of sectors can say. */
static void disk_whose_file_could_not_hold_it_is_not_made(void)
{
    const uint64_t half = VHD_SIZE_MAX_BYTES / 2;
    struct vhd_create_args args = {.type = VHD_DYNAMIC,
                                   .size_bytes = VHD_SIZE_MAX_BYTES,
                                   .block_bytes = 512 << 10,
                                   .uuid = {1}};
    struct vhd *vhd;
    struct store *file;
    struct disks d;
    struct diag why;

    disks_init(&d);
    file = disks_file(&d, "/d.vhd");
    CHECK_ERR(vhd_create(file, &args, &why), E_TOO_BIG);
    CHECK_CONTAINS(why.text, "use larger blocks");
    args.block_bytes = 1 << 20;
    CHECK_OK(vhd_create(file, &args, &why));
    args.block_bytes = 512 << 10;
    args.size_bytes = half;
    CHECK_OK(vhd_create(file, &args, &why));
    vhd = disks_open(&d, "/d.vhd", file);
    CHECK_ERR(vhd_resize_check(vhd, 2 * half, &why), E_TOO_BIG);
    CHECK_CONTAINS(why.text, "2 TiB");
    CHECK_OK(vhd_resize_check(vhd, half / 100 * 195 / 512 * 512, &why));
    CHECK_OK(vhd_close(vhd));
    disks_fini(&d);
}

static const struct test tests[] = {
    TEST(smaller_resize_after_a_failed_one_harms_no_block),
    TEST(disk_sized_by_geometry_keeps_the_size_it_grew_to),
    TEST(disk_whose_file_could_not_hold_it_is_not_made),
    TEST(fixed_disk_does_not_grow_beyond_what_a_footer_can_say),
};
TEST_SUITE("vhd/resize", tests);
