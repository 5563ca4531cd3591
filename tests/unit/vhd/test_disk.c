/* tests/unit/vhd/test_disk.c - what a disk costs, refuses and promises.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vhd/disks.h"
#include "vhd/format.h"

#include <string.h>

enum { BLOCK = 16 << 10, SIZE = 32 * BLOCK };

struct rig {
    struct disks d;
    struct store *file, *counter; /* a fault store that only counts */
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
        &(struct disks_spec){type, SIZE, type == VHD_FIXED ? 0 : BLOCK, 0,
                             type == VHD_DIFFERENCING ? "/p.vhd" : NULL});
    CHECK_OK_FATAL(store_fault_new(r->file, &r->counter));
    r->vhd = disks_open(&r->d, "/d.vhd", r->counter);
    r->disk = vhd_store(r->vhd);
}

static void rig_fini(struct rig *r)
{
    CHECK_OK(vhd_close(r->vhd));
    store_close(r->counter);
    disks_fini(&r->d);
}

static void count(struct rig *r, enum store_op op)
{
    store_fault_arm(r->counter, &(struct store_fault_args){.ops = 1U << op});
}

static void write_sectors(struct rig *r, uint64_t off, uint64_t n)
{
    uint8_t buf[BLOCK];

    pattern_fill(buf, n * 512, off, off);
    CHECK_OK(store_write_sync(r->disk, off, buf, n * 512));
}

static const enum vhd_type types[] = {VHD_FIXED, VHD_DYNAMIC, VHD_DIFFERENCING};

static void write_flushes_nothing(void)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct rig r;

        rig_init(&r, types[i]);
        count(&r, STORE_FLUSH);
        for (uint64_t b = 0; b < 20; b++)
            write_sectors(&r, b * BLOCK + b * 512, 3);
        CHECK_EQ(store_fault_count(r.counter), 0);
        rig_fini(&r);
    }
}

/* The process dies, the file below it does not: what is left of `n` writes,
 * each into a block of its own, that were answered and not flushed? */
static uint64_t blocks_left_after_a_death(enum vhd_type type, bool firm,
                                          uint64_t n)
{
    static uint8_t buf[512];
    uint64_t left = 0;
    struct rig r;

    rig_init(&r, type);
    CHECK_OK(vhd_close(r.vhd));
    CHECK_OK_FATAL(vhd_open(r.counter,
                            &(struct vhd_open_args){.path = "/d.vhd",
                                                    .opener = &r.d.opener,
                                                    .firm = firm},
                            NULL, &r.vhd));
    r.disk = vhd_store(r.vhd);
    for (uint64_t b = 0; b < n; b++)
        write_sectors(&r, b * BLOCK + 1024, 1);
    vhd_abandon(r.vhd);
    r.vhd = disks_open(&r.d, "/d.vhd", r.counter);
    r.disk = vhd_store(r.vhd);
    for (uint64_t b = 0; b < n; b++) {
        uint64_t off = b * BLOCK + 1024;

        CHECK_OK(store_read_sync(r.disk, off, buf, sizeof buf));
        left += pattern_check(buf, sizeof buf, off, off) == sizeof buf;
    }
    rig_fini(&r);
    return left;
}

static void firm_answers_outlive_the_process_and_others_need_a_flush(void)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        CHECK_EQ(blocks_left_after_a_death(types[i], true, 20), 20);
    CHECK_EQ(blocks_left_after_a_death(VHD_DYNAMIC, false, 20), 0);
}

static void flush_costs_two_with_new_blocks_one_without_none_if_idle(void)
{
    struct rig r;

    rig_init(&r, VHD_DYNAMIC);
    CHECK_OK(store_flush_sync(r.disk));
    count(&r, STORE_FLUSH);
    for (uint64_t b = 0; b < 20; b++)
        write_sectors(&r, b * BLOCK, 1);
    CHECK_OK(store_flush_sync(r.disk));
    CHECK_EQ(store_fault_count(r.counter), 2);
    write_sectors(&r, 3 * BLOCK, 8);
    CHECK_OK(store_flush_sync(r.disk));
    CHECK_EQ(store_fault_count(r.counter), 3);
    CHECK_OK(store_flush_sync(r.disk));
    CHECK_EQ(store_fault_count(r.counter), 3);
    rig_fini(&r);
}

static void flushes_at_the_same_time_share_a_round(void)
{
    struct test_io t[16];
    struct rig r;

    rig_init(&r, VHD_DYNAMIC);
    write_sectors(&r, 0, 1);
    count(&r, STORE_FLUSH);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        CHECK_OK(test_io_submit(&t[i], r.disk, STORE_FLUSH, 0, NULL, 0, 0));
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        world_run_until(&r.d.world, &t[i].done);
    CU_ASSERT_TRUE(store_fault_count(r.counter) <= 3);
    rig_fini(&r);
}

static void first_write_at_a_block_start_is_one_request(void)
{
    struct rig r;

    rig_init(&r, VHD_DYNAMIC);
    write_sectors(&r, 0, 1); /* the first extension */
    count(&r, STORE_WRITE);
    write_sectors(&r, BLOCK, 8);
    CHECK_EQ(store_fault_count(r.counter), 1);
    rig_fini(&r);
}

static void read_of_what_was_never_written_reads_nothing(void)
{
    uint8_t buf[BLOCK], zeros[BLOCK] = {0};
    struct rig r;

    rig_init(&r, VHD_DIFFERENCING);
    count(&r, STORE_READ);
    memset(buf, 1, sizeof buf);
    CHECK_OK(store_read_sync(r.disk, BLOCK, buf, sizeof buf));
    CHECK_MEM(buf, zeros, sizeof buf);
    CHECK_EQ(store_fault_count(r.counter), 0);
    rig_fini(&r);
}

static void zeroes_and_discard_of_absent_blocks_allocate_nothing(void)
{
    struct vhd_info info;
    struct rig r;

    rig_init(&r, VHD_DYNAMIC);
    CHECK_OK(store_range_sync(r.disk, STORE_WRITE_ZEROES, 512, SIZE - 512));
    CHECK_OK(store_range_sync(r.disk, STORE_DISCARD, 0, SIZE));
    vhd_info(r.vhd, &info);
    CHECK_EQ(info.blocks_allocated, 0);
    CHECK_EQ(info.blocks, SIZE / BLOCK);
    rig_fini(&r);
}

static void data_lies_on_4_kib(void)
{
    uint8_t sector[512], want[512];
    struct rig r;
    uint64_t off = 0;
    bool found = false;

    rig_init(&r, VHD_DYNAMIC);
    write_sectors(&r, BLOCK, 1);
    pattern_fill(want, sizeof want, BLOCK, BLOCK);
    for (; off < r.file->size_bytes && !found; off += 4096) {
        store_mem_peek(r.file, off, sector, sizeof sector);
        found = !memcmp(sector, want, sizeof want);
    }
    CU_ASSERT_TRUE(found);
    rig_fini(&r);
}

static void closed_file_ends_behind_its_last_block(void)
{
    struct rig r;
    uint64_t before;

    rig_init(&r, VHD_DYNAMIC);
    before = r.file->size_bytes;
    write_sectors(&r, 5 * BLOCK, 1);
    CHECK_OK(vhd_close(r.vhd));
    CHECK_EQ(r.file->size_bytes, before + 4096 + BLOCK);
    disks_check_clean(r.file);
    r.vhd = disks_open(&r.d, "/d.vhd", r.counter);
    r.disk = vhd_store(r.vhd);
    rig_fini(&r);
    /* Opened and closed without a write: as it was. */
}

static void resize_refuses_what_it_cannot(void)
{
    struct rig r;

    rig_init(&r, VHD_DYNAMIC);
    CHECK_ERR(store_range_sync(r.disk, STORE_RESIZE, SIZE - 512, 0),
              E_UNSUPPORTED);
    CHECK_ERR(
        store_range_sync(r.disk, STORE_RESIZE, VHD_SIZE_MAX_BYTES + 512, 0),
        E_TOO_BIG);
    CHECK_OK(store_range_sync(r.disk, STORE_RESIZE, SIZE, 0));
    CHECK_EQ(r.disk->size_bytes, SIZE);
    rig_fini(&r);
}

static void too_many_vectors_are_refused(void)
{
    static struct iovec iov[VHD_IOV_MAX + 1];
    static uint8_t byte[512];
    struct test_io t;
    struct rig r;

    rig_init(&r, VHD_DYNAMIC);
    for (size_t i = 0; i < ARRAY_LEN(iov); i++)
        iov[i] = (struct iovec){byte, i < 512 ? 1 : 0};
    CHECK_OK(test_io_submit(&t, r.disk, STORE_READ, 0, byte, 512, 0));
    world_run_until(&r.d.world, &t.done);
    t.io.iov = iov;
    t.io.iov_count = ARRAY_LEN(iov);
    CHECK_ERR(store_submit(r.disk, &t.io), E_INVAL);
    rig_fini(&r);
}

/* Vectors of odd lengths, over the edge of a block. */
static void ragged_vectors_are_put_in_order(void)
{
    uint8_t buf[3 * BLOCK], back[3 * BLOCK];
    struct iovec iov[300];
    struct test_io t;
    struct rig r;
    size_t at = 0, n = 0;

    rig_init(&r, VHD_DYNAMIC);
    pattern_fill(buf, sizeof buf, 1, 0);
    for (; at < sizeof buf; n++) {
        size_t len = min_u64(1 + n * 7 % 500, sizeof buf - at);

        iov[n] = (struct iovec){buf + at, len};
        at += len;
    }
    CHECK_OK(test_io_submit(&t, r.disk, STORE_FLUSH, 0, NULL, 0, 0));
    world_run_until(&r.d.world, &t.done);
    t.done = false;
    t.io = (struct store_io){.op = STORE_WRITE,
                             .off_bytes = BLOCK - 512,
                             .len_bytes = sizeof buf,
                             .iov = iov,
                             .iov_count = (uint32_t)n,
                             .done = t.io.done};
    CHECK_OK(store_submit(r.disk, &t.io));
    world_run_until(&r.d.world, &t.done);
    CHECK_OK(store_read_sync(r.disk, BLOCK - 512, back, sizeof back));
    CHECK_MEM(back, buf, sizeof buf);
    rig_fini(&r);
}

static void disk_of_a_suspended_machine_is_not_written(void)
{
    struct vhd_footer f;
    struct vhd_disk_footer disk;
    struct vhd *vhd = NULL;
    struct disks d;
    struct diag why;
    struct store *file;
    uint8_t bytes[VHD_FOOTER_BYTES];

    disks_init(&d);
    file = disks_create(&d, "/d.vhd",
                        &(struct disks_spec){VHD_FIXED, SIZE, 0, 0, NULL});
    store_mem_peek(file, SIZE, bytes, sizeof bytes);
    CHECK_OK(vhd_footer_decode(bytes, SIZE, &why, &f));
    f.saved_state = 1;
    vhd_footer_encode(&f, &disk);
    store_mem_poke(file, SIZE, &disk, sizeof disk);
    CHECK_ERR(
        vhd_open(file, &(struct vhd_open_args){.path = "/d.vhd"}, &why, &vhd),
        E_BUSY);
    CHECK_CONTAINS(why.text, "saved state");
    CHECK_OK(
        vhd_open(file, &(struct vhd_open_args){.read_only = true}, &why, &vhd));
    CHECK_ERR(store_write_sync(vhd_store(vhd), 0, bytes, 512), E_READ_ONLY);
    CHECK_OK(vhd_close(vhd));
    disks_fini(&d);
}

static const struct test tests[] = {
    TEST(write_flushes_nothing),
    TEST(firm_answers_outlive_the_process_and_others_need_a_flush),
    TEST(flush_costs_two_with_new_blocks_one_without_none_if_idle),
    TEST(flushes_at_the_same_time_share_a_round),
    TEST(first_write_at_a_block_start_is_one_request),
    TEST(read_of_what_was_never_written_reads_nothing),
    TEST(zeroes_and_discard_of_absent_blocks_allocate_nothing),
    TEST(data_lies_on_4_kib),
    TEST(closed_file_ends_behind_its_last_block),
    TEST(resize_refuses_what_it_cannot),
    TEST(too_many_vectors_are_refused),
    TEST(ragged_vectors_are_put_in_order),
    TEST(disk_of_a_suspended_machine_is_not_written),
};
TEST_SUITE("vhd/disk", tests);
