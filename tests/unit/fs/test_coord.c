/* tests/unit/fs/test_coord.c - a volume in memory: format, serve, stop, serve.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/volume.h"

#include <string.h>
#include <sys/stat.h>

static void fresh_volume_has_an_empty_root(void)
{
    struct volume v;
    fs_attr root;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_getattr(&v, ROOT, &root));
    CHECK_EQ(root.mode, S_IFDIR | 0755);
    CHECK_EQ(root.nlink, 2);
    CHECK_ERR(v_lookup(&v, ROOT, "x", NULL), E_NOENT);
    volume_fini(&v);
}

static void what_was_made_is_there_after_a_restart(void)
{
    struct volume v;
    fs_attr made, found;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &made));
    CHECK_OK(v_create(&v, ROOT, "d", S_IFDIR | 0755, NULL));
    volume_stop(&v);
    volume_start(&v);
    CHECK_OK(v_lookup(&v, ROOT, "f", &found));
    CHECK_EQ(found.ino, made.ino);
    CHECK_EQ(found.mode, S_IFREG | 0644);
    CHECK_OK(v_create(&v, ROOT, "g", S_IFREG | 0644, &made));
    CU_ASSERT_NOT_EQUAL(found.ino, made.ino);
    volume_fini(&v);
}

static void a_layout_for_writing_covers_what_was_asked(void)
{
    struct volume v;
    fs_attr made;
    fs_layout layout;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &made));
    CHECK_OK(v_open(&v, made.ino, true));
    CHECK_OK(v_layout(&v, made.ino, FS_IOMODE_RW, 0, MIB, &layout));
    CHECK_EQ(layout.extents.extents_len, 1);
    CHECK_EQ(layout.extents.extents_val[0].state, FS_INVALID_DATA);
    CU_ASSERT_TRUE(layout.extents.extents_val[0].count >= 256);
    free(layout.extents.extents_val);
    CHECK_OK(v_write(&v, made.ino, 0, MIB));
    CHECK_OK(v_getattr(&v, made.ino, &made));
    CHECK_EQ(made.size_bytes, MIB);
    CHECK_OK(v_close(&v, made.ino, true));
    CHECK_OK(v_getattr(&v, made.ino, &made));
    CHECK_EQ(made.allocated_bytes, MIB);
    volume_fini(&v);
}

static void space_of_a_deleted_file_comes_back(void)
{
    struct volume v;
    fs_attr made;
    fs_statfs before, after;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_statfs(&v, &before));
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &made));
    CHECK_OK(v_open(&v, made.ino, true));
    CHECK_OK(v_write(&v, made.ino, 0, 8 * MIB));
    CHECK_OK(v_unlink(&v, ROOT, "f"));
    CHECK_OK(v_getattr(&v, made.ino, &made));
    CHECK_EQ(made.nlink, 0);
    CHECK_OK(v_close(&v, made.ino, true));
    volume_stop(&v);
    volume_start(&v);
    CHECK_ERR(v_getattr(&v, made.ino, &made), E_STALE);
    CHECK_OK(v_statfs(&v, &after));
    CHECK_EQ(after.free_blocks, before.free_blocks);
    volume_fini(&v);
}

static void a_full_volume_says_so_and_can_be_emptied(void)
{
    struct volume v;
    fs_attr made;
    fs_statfs s;
    enum err e = E_OK;
    int files = 0;

    volume_init(&v, 64 * MIB);
    for (; !e; files++) {
        char name[16];

        snprintf(name, sizeof name, "f%d", files);
        CHECK_OK_FATAL(v_create(&v, ROOT, name, S_IFREG | 0644, &made));
        CHECK_OK(v_open(&v, made.ino, true));
        e = v_write(&v, made.ino, 0, 4 * MIB);
        CHECK_OK(v_close(&v, made.ino, true));
    }
    CHECK_ERR(e, E_VOL_FULL);
    CU_ASSERT_TRUE(files > 8);
    while (files--) {
        char name[16];

        snprintf(name, sizeof name, "f%d", files);
        CHECK_OK(v_unlink(&v, ROOT, name));
    }
    /* Space on its way counts: this waits for it, and gets it. */
    CHECK_OK(v_create(&v, ROOT, "g", S_IFREG | 0644, &made));
    CHECK_OK(v_statfs(&v, &s));
    CHECK_OK(v_fallocate(&v, made.ino, 0, 0,
                         s.available_blocks * FS_BLOCK_BYTES, &made));
    volume_fini(&v);
}

static const struct test tests[] = {
    TEST(fresh_volume_has_an_empty_root),
    TEST(what_was_made_is_there_after_a_restart),
    TEST(a_layout_for_writing_covers_what_was_asked),
    TEST(space_of_a_deleted_file_comes_back),
    TEST(a_full_volume_says_so_and_can_be_emptied),
};
TEST_SUITE("fs/coord", tests);
