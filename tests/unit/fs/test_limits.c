/* tests/unit/fs/test_limits.c - what is full or long: the log, the database,
 * the LUN below.  The volume says so and goes on, or is whole afterwards.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/super.h"
#include "tests/unit/fs/volume.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void expect_online(struct volume *v)
{
    struct fs_coord_info info;

    fs_coord_info(v->coord, &info);
    CHECK_STR(info.reason.text, "");
    CU_ASSERT_FALSE(info.offline);
}

/* A file whose map is so long that the log does not hold all of its rows. */
static fs_ino make_ragged_file(struct volume *v, unsigned rows)
{
    const struct fs_check_args repair = {.repair = true};
    struct fs_check_result r;
    char sql[512];
    fs_attr f;

    volume_init(v, 4 * GIB);
    CHECK_OK(v_create(v, ROOT, "ragged", S_IFREG | 0600, &f));
    volume_stop(v);
    sqlite3_snprintf(
        sizeof sql, sql,
        "INSERT INTO extent WITH n(i) AS (SELECT 0 UNION ALL "
        "SELECT i + 1 FROM n WHERE i < %u) "
        "SELECT (SELECT max(ino) FROM inode), 2 * i, "
        "(SELECT min(lun_block) FROM free) + 1 + 2 * i, 1, 0 FROM n;"
        "UPDATE inode SET size = %u * 8192, blocks = %u WHERE ino <> 1",
        rows - 1, rows, rows);
    volume_sql(v, sql);
    CHECK_OK(fs_check(v->lun, &repair, &r, NULL));
    CHECK_EQ(r.found, r.mended);
    volume_start(v);
    return f.ino;
}

static void a_long_map_is_cut_in_pieces_that_fit_the_log(void)
{
    struct volume v;
    fs_attr f;
    fs_ino ino = make_ragged_file(&v, 300000 / TEST_ONE_IN);

    CHECK_OK(v_truncate(&v, ino, 0));
    expect_online(&v);
    CHECK_OK(v_getattr(&v, ino, &f));
    CHECK_EQ(f.allocated_bytes, 0);
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    volume_fini(&v);
}

static void a_long_map_is_filled_in_pieces_that_fit_the_log(void)
{
    struct volume v;
    fs_attr f;
    const unsigned rows = 20000 / TEST_ONE_IN;
    fs_ino ino = make_ragged_file(&v, rows);

    CHECK_OK(v_fallocate(&v, ino, 0, 0, UINT64_C(8192) * rows, &f));
    expect_online(&v);
    CHECK_EQ(f.allocated_bytes, UINT64_C(8192) * rows);
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    volume_fini(&v);
}

/* Thin LUNs say so only when they are written to. */
static bool grow_on_a_full_lun(unsigned ops, uint64_t nth)
{
    struct store *disk, *faulty;
    struct fs_coord_info info;
    struct fs_check_result r;
    static uint8_t value[60000];
    fs_attr root;
    struct volume v;
    bool struck;

    volume_init(&v, 128 * MIB);
    volume_stop(&v);
    disk = v.lun;
    CHECK_OK_FATAL(store_fault_new(disk, &faulty));
    v.lun = faulty;
    volume_start(&v);
    store_fault_arm(faulty, &(struct store_fault_args){.ops = ops,
                                                       .nth = nth,
                                                       .sticky = true,
                                                       .result = E_VOL_FULL});
    for (int i = 0; i < 150; i++) {
        char name[16];

        snprintf(name, sizeof name, "user.%d", i);
        if (v_xattr_set(&v, ROOT, name, value, sizeof value, 0))
            break;
    }
    for (int i = 0; i < 2; i++) /* it cleans up after an answer */
        (void)!v_getattr(&v, ROOT, &root);
    struck = store_fault_count(faulty) >= nth;
    fs_coord_info(v.coord, &info);
    CHECK_EQ(info.offline, struck);
    if (struck)
        CHECK_CONTAINS(info.reason.text, "no free space");
    store_fault_arm(faulty, &(struct store_fault_args){0});
    volume_stop(&v);
    v.lun = disk;
    store_close(faulty);
    CHECK_EQ(check_lun(disk, &r), 0);
    volume_start(&v);
    CHECK_OK(v_create(&v, ROOT, "more", S_IFREG | 0600, NULL));
    volume_fini(&v);
    return struck;
}

static void a_full_thin_lun_leaves_a_volume_that_opens(void)
{
    CU_ASSERT_TRUE(grow_on_a_full_lun(1u << STORE_WRITE_ZEROES, 1));
    CU_ASSERT_TRUE(grow_on_a_full_lun(1u << STORE_WRITE, 100));
}

/* Renaming takes a little of a database that cannot grow any more: it ends
 * in an error while deleting still works. */
static void longer_names_do_not_fill_the_last_page(void)
{
    enum { FILES = 2500 };
    static uint8_t value[60000];
    enum err e = E_OK;
    char name[256];
    fs_attr big;
    fs_statfs s;
    struct volume v;

    volume_init(&v, 64 * MIB);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%d", i);
        CHECK_OK(v_create(&v, ROOT, name, S_IFREG | 0600, &big));
    }
    CHECK_OK(v_statfs(&v, &s));
    CHECK_OK(v_fallocate(&v, big.ino, 0, 0, s.available_blocks * FS_BLOCK_BYTES,
                         NULL));
    for (int i = 0; !e && i < 300; i++) {
        snprintf(name, sizeof name, "user.%d", i);
        e = v_xattr_set(&v, ROOT + 1 + (fs_ino)i, name, value, sizeof value, 0);
    }
    CHECK_ERR(e, E_VOL_FULL);
    e = E_OK;
    for (int i = 0; !e && i < FILES; i++) {
        char longer[256];

        snprintf(name, sizeof name, "%d", i);
        snprintf(longer, sizeof longer, "%0250d", i);
        e = v_rename(&v, ROOT, name, ROOT, longer, 0);
    }
    CHECK_ERR(e, E_VOL_FULL);
    expect_online(&v);
    snprintf(name, sizeof name, "%d", FILES - 1);
    CHECK_OK(v_unlink(&v, ROOT, name));
    expect_online(&v);
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    volume_fini(&v);
}

static const struct test tests[] = {
    TEST(longer_names_do_not_fill_the_last_page),
    TEST(a_long_map_is_cut_in_pieces_that_fit_the_log),
    TEST(a_long_map_is_filled_in_pieces_that_fit_the_log),
    TEST(a_full_thin_lun_leaves_a_volume_that_opens),
};
TEST_SUITE("fs/limits", tests);
