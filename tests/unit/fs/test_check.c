/* tests/unit/fs/test_check.c - damage that check finds, and what it mends.
 * Each test changes one thing behind the coordinator's back, in SQL.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/super.h"
#include "tests/unit/fs/volume.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A few files and directories, then offline. */
static void fill_and_stop(struct volume *v)
{
    fs_attr d, f;

    volume_init(v, 64 * MIB);
    CHECK_OK(v_create(v, ROOT, "d", S_IFDIR | 0755, &d));
    CHECK_OK(v_create(v, d.ino, "sub", S_IFDIR | 0755, NULL));
    CHECK_OK(v_create(v, d.ino, "f", S_IFREG | 0644, &f));
    CHECK_OK(v_open(v, f.ino, true));
    CHECK_OK(v_write(v, f.ino, 0, MIB));
    CHECK_OK(v_close(v, f.ino));
    CHECK_OK(v_link(v, f.ino, ROOT, "g"));
    CHECK_OK(v_create(v, ROOT, "s", S_IFLNK | 0777, NULL));
    volume_stop(v);
}

static void quiet(void *arg, const char *text, bool mended)
{
    (void)mended;
    snprintf(arg, 512, "%s", text);
}

/* Damage, see that it is found in these words, mend, see that it is sound. */
static void expect_mended(const char *sql, const char *words)
{
    char text[512] = "";
    struct fs_check_args args = {.report = quiet, .arg = text};
    struct fs_check_result r;
    struct volume v;

    fill_and_stop(&v);
    volume_sql(&v, sql);
    CHECK_OK(fs_check(v.lun, &args, &r, NULL));
    CU_ASSERT_TRUE(r.found > 0);
    CHECK_EQ(r.mended, 0);
    CHECK_CONTAINS(text, words);
    args.repair = true;
    CHECK_OK(fs_check(v.lun, &args, &r, NULL));
    CU_ASSERT_TRUE(r.found > 0);
    CHECK_EQ(r.mended, r.found);
    CHECK_EQ(check_lun(v.lun, &r), 0);
    volume_start(&v);
    volume_fini(&v);
}

static void expect_found(const char *sql, const char *words)
{
    char text[512] = "";
    struct fs_check_args args = {.report = quiet, .arg = text, .repair = true};
    struct fs_check_result r;
    struct volume v;

    fill_and_stop(&v);
    volume_sql(&v, sql);
    CHECK_OK(fs_check(v.lun, &args, &r, NULL));
    CU_ASSERT_TRUE(r.found > r.mended);
    CHECK_CONTAINS(text, words);
    volume_start(&v);
    volume_fini(&v);
}

static void a_sound_volume_is_clean(void)
{
    struct volume v;
    struct fs_check_result r;

    fill_and_stop(&v);
    CHECK_EQ(check_lun(v.lun, &r), 0);
    CHECK_EQ(r.inodes, 5);
    CHECK_EQ(r.dirs, 3);
    CHECK_EQ(r.files, 1);
    CHECK_EQ(r.extents, 1);
    volume_start(&v);
    volume_fini(&v);
}

static void check_without_repair_writes_nothing(void)
{
    struct volume v;
    struct store *recorder, *lun;
    struct fs_check_result r;

    fill_and_stop(&v);
    volume_sql(&v, "DELETE FROM free");
    lun = v.lun;
    CHECK_OK_FATAL(store_record_new(lun, &recorder));
    CU_ASSERT_TRUE(check_lun(recorder, &r) > 0);
    CHECK_EQ(store_record_count(recorder), 0);
    store_close(recorder);
    volume_start(&v);
    volume_fini(&v);
}

static void wrong_link_counts_are_mended(void)
{
    expect_mended("UPDATE inode SET nlink = 9 WHERE nlink = 2 AND "
                  "mode & 61440 = 32768",
                  "counts 9 links");
    expect_mended("UPDATE inode SET nlink = 7 WHERE ino = 1", "counts 7 links");
}

static void an_entry_that_leads_nowhere_is_dropped(void)
{
    expect_mended("DELETE FROM inode WHERE mode & 61440 = 40960",
                  "does not exist");
}

static void a_file_without_a_name_goes_to_lost_and_found(void)
{
    expect_mended("DELETE FROM dentry WHERE ino IN (SELECT ino FROM inode "
                  "WHERE mode & 61440 = 32768)",
                  "lost+found");
}

static void lost_space_becomes_free(void)
{
    expect_mended("DELETE FROM free", "neither used nor free");
}

static void free_space_that_is_used_is_mended(void)
{
    expect_mended("INSERT INTO free SELECT lun_block, count FROM extent",
                  "both used and free");
}

static void wrong_block_counts_are_mended(void)
{
    expect_mended("UPDATE inode SET blocks = blocks + 1 WHERE ino = 1",
                  "blocks");
}

/* -- what is made again ---------------------------------------------------- */

/* After the damage and a repair, `dir/name` is there with its data. */
static void repair_keeps(struct volume *v, const char *sql, const char *dir,
                         const char *name, uint32_t type)
{
    const struct fs_check_args args = {.repair = true};
    struct fs_check_result r;
    fs_attr at = {.ino = ROOT};

    volume_sql(v, sql);
    CHECK_OK(fs_check(v->lun, &args, &r, NULL));
    CHECK_EQ(r.mended, r.found);
    CHECK_EQ(check_lun(v->lun, &r), 0);
    CHECK_EQ(r.extents, 1);
    volume_start(v);
    if (dir)
        CHECK_OK(v_lookup(v, ROOT, dir, &at));
    CHECK_OK(v_lookup(v, at.ino, name, &at));
    CHECK_EQ(at.mode & S_IFMT, type);
    if (type == S_IFREG)
        CHECK_EQ(at.size_bytes, MIB);
    volume_fini(v);
}

static void expect_kept(const char *sql, const char *dir, const char *name,
                        uint32_t type)
{
    struct volume v;

    fill_and_stop(&v);
    repair_keeps(&v, sql, dir, name, type);
}

static void data_of_a_lost_inode_is_a_file_again(void)
{
    expect_kept("DELETE FROM inode WHERE mode & 61440 = 32768", NULL, "g",
                S_IFREG);
    expect_kept("UPDATE extent SET ino = 999", "lost+found", "#999", S_IFREG);
}

static void a_lost_directory_keeps_its_entries(void)
{
    expect_kept("DELETE FROM inode WHERE ino = (SELECT ino FROM dentry WHERE "
                "name = CAST('d' AS BLOB))",
                "d", "f", S_IFREG);
    expect_kept("DELETE FROM inode WHERE ino = (SELECT ino FROM dentry WHERE "
                "name = CAST('d' AS BLOB))",
                "d", "sub", S_IFDIR);
}

static void a_lost_root_keeps_its_entries(void)
{
    expect_kept("DELETE FROM inode WHERE ino = 1", "d", "f", S_IFREG);
    expect_kept("UPDATE inode SET mode = 33188 WHERE ino = 1", "d", "f",
                S_IFREG);
}

/* A user's file has the name already. */
static void lost_and_found_is_a_directory(void)
{
    struct volume v;

    fill_and_stop(&v);
    volume_start(&v);
    CHECK_OK(v_create(&v, ROOT, "lost+found", S_IFREG | 0600, NULL));
    volume_stop(&v);
    repair_keeps(&v, "UPDATE extent SET ino = 999", "lost+found.1", "#999",
                 S_IFREG);
}

static void handles_exclude_each_other(void)
{
    expect_mended("INSERT INTO handle VALUES (3, 'a', 5, 1, 1, 1), "
                  "(3, 'b', 3, 1, 1, 1)",
                  "exclude");
}

static void missing_keys_are_found(void)
{
    expect_mended("DELETE FROM volume WHERE key = 'next_ino'", "missing");
    expect_mended("DELETE FROM volume WHERE key = 'size_blocks'", "no size");
}

static void a_ring_of_directories_is_found(void)
{
    expect_found("UPDATE dentry SET parent = (SELECT ino FROM dentry WHERE "
                 "name = CAST('sub' AS BLOB)) WHERE name = CAST('d' AS BLOB)",
                 "cannot be reached");
}

static void a_torn_node_block_is_mended(void)
{
    struct fs_check_args args = {.repair = true};
    struct fs_check_result r;
    uint8_t junk[100];
    struct volume v;

    fill_and_stop(&v);
    pattern_fill(junk, sizeof junk, 1, 0);
    store_mem_poke(v.lun, NODE_BLOCKS_AT + 5 * 4096 + 300, junk, sizeof junk);
    CHECK_OK(fs_check(v.lun, &args, &r, NULL));
    CHECK_EQ(r.found, 1);
    CHECK_EQ(r.mended, 1);
    CHECK_EQ(check_lun(v.lun, &r), 0);
    volume_start(&v);
    volume_fini(&v);
}

static void a_wrong_parent_is_mended(void)
{
    expect_mended("UPDATE inode SET parent = 77 WHERE mode & 61440 = 16384 "
                  "AND ino <> 1",
                  "says that it is in 77");
}

static void inode_numbers_are_not_given_out_twice(void)
{
    expect_mended("UPDATE volume SET value = 2 WHERE key = 'next_ino'",
                  "would be given out");
}

static void two_files_on_one_block_are_found(void)
{
    expect_found("INSERT INTO extent SELECT ino, 10000, lun_block, 1, 0 FROM "
                 "extent; UPDATE inode SET blocks = 257 WHERE blocks = 256",
                 "");
}

static void an_extent_outside_the_volume_is_found(void)
{
    expect_found("UPDATE extent SET lun_block = 99999999", "");
}

static void a_damaged_superblock_copy_is_restored(void)
{
    static const uint64_t at[] = {0, MIB, 64 * MIB - 4096};
    struct fs_check_args args = {.repair = true};
    uint8_t junk[4096];
    struct fs_check_result r;
    struct volume v;

    fill_and_stop(&v);
    pattern_fill(junk, sizeof junk, 1, 0);
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        store_mem_poke(v.lun, at[i], junk, sizeof junk);
        CHECK_OK(fs_check(v.lun, &args, &r, NULL));
        CHECK_EQ(r.found, 1);
        CHECK_EQ(r.mended, 1);
        CHECK_EQ(check_lun(v.lun, &r), 0);
    }
    volume_start(&v);
    volume_fini(&v);
}

static const struct test tests[] = {
    TEST(a_sound_volume_is_clean),
    TEST(check_without_repair_writes_nothing),
    TEST(wrong_link_counts_are_mended),
    TEST(an_entry_that_leads_nowhere_is_dropped),
    TEST(a_file_without_a_name_goes_to_lost_and_found),
    TEST(lost_space_becomes_free),
    TEST(free_space_that_is_used_is_mended),
    TEST(wrong_block_counts_are_mended),
    TEST(data_of_a_lost_inode_is_a_file_again),
    TEST(a_lost_directory_keeps_its_entries),
    TEST(a_lost_root_keeps_its_entries),
    TEST(lost_and_found_is_a_directory),
    TEST(handles_exclude_each_other),
    TEST(missing_keys_are_found),
    TEST(a_ring_of_directories_is_found),
    TEST(a_torn_node_block_is_mended),
    TEST(a_wrong_parent_is_mended),
    TEST(inode_numbers_are_not_given_out_twice),
    TEST(two_files_on_one_block_are_found),
    TEST(an_extent_outside_the_volume_is_found),
    TEST(a_damaged_superblock_copy_is_restored),
};
TEST_SUITE("fs/check", tests);
