/* tests/unit/fs/test_names.c - what POSIX says of link counts, times, owners,
 * ACLs, attributes, allocation and handles.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/acl.h"
#include "tests/unit/fs/volume.h"

#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

static int64_t ns(fs_time t)
{
    return (int64_t)t.s * 1000000000 + t.ns;
}

static void a_directory_counts_its_subdirectories(void)
{
    struct volume v;
    fs_attr a, b, root;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "a", S_IFDIR | 0755, &a));
    CHECK_OK(v_create(&v, ROOT, "b", S_IFDIR | 0755, &b));
    CHECK_OK(v_create(&v, a.ino, "x", S_IFDIR | 0755, NULL));
    CHECK_OK(v_getattr(&v, ROOT, &root));
    CHECK_EQ(root.nlink, 4);
    CHECK_OK(v_rename(&v, a.ino, "x", b.ino, "y", 0));
    CHECK_OK(v_getattr(&v, a.ino, &a));
    CHECK_OK(v_getattr(&v, b.ino, &b));
    CHECK_EQ(a.nlink, 2);
    CHECK_EQ(b.nlink, 3);
    CHECK_OK(v_rmdir(&v, ROOT, "a"));
    CHECK_ERR(v_rmdir(&v, ROOT, "b"), E_NOTEMPTY);
    CHECK_OK(v_getattr(&v, ROOT, &root));
    CHECK_EQ(root.nlink, 3);
    volume_fini(&v);
}

static void a_name_changes_times_of_its_directory(void)
{
    struct volume v;
    fs_attr before, after, f;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_getattr(&v, ROOT, &before));
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &f));
    CHECK_OK(v_getattr(&v, ROOT, &after));
    CU_ASSERT_TRUE(ns(after.mtime) > ns(before.mtime));
    CHECK_EQ(ns(after.mtime), ns(after.ctime));
    CHECK_EQ(ns(after.atime), ns(before.atime));
    CHECK_OK(v_rename(&v, ROOT, "f", ROOT, "g", 0));
    CHECK_OK(v_getattr(&v, f.ino, &after));
    CU_ASSERT_TRUE(ns(after.ctime) > ns(f.ctime));
    CHECK_EQ(ns(after.mtime), ns(f.mtime));
    volume_fini(&v);
}

static void names_have_limits(void)
{
    char name[FS_NAME_MAX + 2];
    struct volume v;

    memset(name, 'n', sizeof name);
    name[FS_NAME_MAX + 1] = 0;
    volume_init(&v, 64 * MIB);
    CHECK_ERR(v_create(&v, ROOT, name, S_IFREG, NULL), E_NAME_TOO_LONG);
    CHECK_ERR(v_lookup(&v, ROOT, name, NULL), E_NAME_TOO_LONG);
    name[FS_NAME_MAX] = 0;
    CHECK_OK(v_create(&v, ROOT, name, S_IFREG, NULL));
    CHECK_ERR(v_create(&v, ROOT, name, S_IFREG, NULL), E_EXIST);
    CHECK_ERR(v_create(&v, ROOT, "a/b", S_IFREG, NULL), E_INVAL);
    CHECK_ERR(v_create(&v, ROOT, ".", S_IFDIR, NULL), E_EXIST);
    CHECK_ERR(v_create(&v, ROOT, "", S_IFREG, NULL), E_NOENT);
    CHECK_ERR(v_lookup(&v, 4711, "x", NULL), E_STALE);
    volume_fini(&v);
}

static void a_directory_is_not_moved_into_itself(void)
{
    struct volume v;
    fs_attr a, b;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "a", S_IFDIR | 0755, &a));
    CHECK_OK(v_create(&v, a.ino, "b", S_IFDIR | 0755, &b));
    CHECK_ERR(v_rename(&v, ROOT, "a", b.ino, "c", 0), E_INVAL);
    CHECK_ERR(v_rename(&v, ROOT, "a", a.ino, "c", 0), E_INVAL);
    CHECK_ERR(v_rename(&v, ROOT, "a", a.ino, "b", FS_RENAME_EXCHANGE), E_INVAL);
    volume_fini(&v);
}

static void a_removed_directory_takes_no_names(void)
{
    struct volume v;
    fs_attr d;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "d", S_IFDIR | 0755, &d));
    CHECK_OK(v_open(&v, d.ino, false));
    CHECK_OK(v_rmdir(&v, ROOT, "d"));
    CHECK_ERR(v_create(&v, d.ino, "x", S_IFREG, NULL), E_NOENT);
    CHECK_OK(v_close(&v, d.ino));
    CHECK_ERR(v_getattr(&v, d.ino, &d), E_STALE);
    volume_fini(&v);
}

/* -- ACLs ------------------------------------------------------------------ */

enum { USER_ACL_BYTES = 4 + 5 * 8 };

/* u::rwx, u:1000:rwx, g::r-x, m::rwx, o::--- */
static void make_acl(uint8_t ret_value[USER_ACL_BYTES])
{
    static const struct acl acl = {
        5,
        {{ACL_USER_OBJ, 7, UINT32_MAX},
          {ACL_USER, 7, 1000},
          {ACL_GROUP_OBJ, 5, UINT32_MAX},
          {ACL_MASK, 7, UINT32_MAX},
          {ACL_OTHER, 0, UINT32_MAX}},
    };

    CHECK_EQ(acl_encode(&acl, ret_value), USER_ACL_BYTES);
}

static void an_access_acl_and_the_mode_follow_each_other(void)
{
    uint8_t value[USER_ACL_BYTES];
    size_t len = sizeof value;
    struct fs_call call;
    struct acl acl;
    struct volume v;
    fs_attr f;

    make_acl(value);
    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &f));
    CHECK_OK(v_xattr_set(&v, f.ino, "system.posix_acl_access", value, len, 0));
    CHECK_OK(v_getattr(&v, f.ino, &f));
    CHECK_EQ(f.mode, S_IFREG | 0770);
    fs_call_init(&call, FS_OP_SETATTR);
    call.request.args.fs_args_u.setattr =
        (fs_setattr_args){.ino = f.ino, .mask = FS_SET_MODE, .mode = 0640};
    CHECK_OK(volume_call(&v, &call));
    fs_call_fini(&call);
    CHECK_OK(v_xattr_get(&v, f.ino, "system.posix_acl_access", value, &len));
    CHECK_OK(acl_decode(value, len, &acl));
    CHECK_EQ(acl.entry[3].tag, ACL_MASK);
    CHECK_EQ(acl.entry[3].perm, 4);
    CHECK_EQ(acl.entry[2].perm, 5);
    volume_fini(&v);
}

static void a_default_acl_is_inherited_and_replaces_the_umask(void)
{
    uint8_t value[USER_ACL_BYTES];
    size_t len = sizeof value;
    struct volume v;
    fs_attr d, f;

    make_acl(value);
    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &f));
    CHECK_ERR(v_xattr_set(&v, f.ino, "system.posix_acl_default", value, len, 0),
              E_ACCESS);
    CHECK_OK(v_create(&v, ROOT, "d", S_IFDIR | 0755, &d));
    CHECK_OK(v_xattr_set(&v, d.ino, "system.posix_acl_default", value, len, 0));
    CHECK_OK(v_create(&v, d.ino, "f", S_IFREG | 0666, &f));
    CHECK_EQ(f.mode, S_IFREG | 0660);
    CHECK_OK(v_xattr_get(&v, f.ino, "system.posix_acl_access", value, &len));
    CHECK_OK(v_create(&v, d.ino, "sub", S_IFDIR | 0777, &f));
    CHECK_EQ(f.mode, S_IFDIR | 0770);
    len = sizeof value;
    CHECK_OK(v_xattr_get(&v, f.ino, "system.posix_acl_default", value, &len));
    volume_fini(&v);
}

static void a_damaged_acl_is_refused(void)
{
    uint8_t value[USER_ACL_BYTES];
    struct volume v;
    fs_attr f;

    make_acl(value);
    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &f));
    for (size_t len = 1; len < sizeof value; len += 2)
        CU_ASSERT_NOT_EQUAL(
            v_xattr_set(&v, f.ino, "system.posix_acl_access", value, len, 0),
            E_OK);
    value[4] = 9; /* a tag that is none */
    CHECK_ERR(v_xattr_set(&v, f.ino, "system.posix_acl_access", value,
                          sizeof value, 0),
              E_INVAL);
    volume_fini(&v);
}

/* -- attributes ------------------------------------------------------------ */

static void xattr_flags_are_those_of_setxattr(void)
{
    char buf[8];
    size_t len = sizeof buf;
    struct volume v;

    volume_init(&v, 64 * MIB);
    CHECK_ERR(v_xattr_set(&v, ROOT, "user.a", "1", 1, FS_XATTR_REPLACE),
              E_NODATA);
    CHECK_OK(v_xattr_set(&v, ROOT, "user.a", "1", 1, FS_XATTR_CREATE));
    CHECK_ERR(v_xattr_set(&v, ROOT, "user.a", "2", 1, FS_XATTR_CREATE),
              E_EXIST);
    CHECK_OK(v_xattr_set(&v, ROOT, "user.a", "", 0, FS_XATTR_REPLACE));
    CHECK_OK(v_xattr_get(&v, ROOT, "user.a", buf, &len));
    CHECK_EQ(len, 0);
    CHECK_ERR(v_xattr_get(&v, ROOT, "user.b", buf, &len), E_NODATA);
    CHECK_ERR(v_xattr_set(&v, ROOT, "other.a", "1", 1, 0), E_UNSUPPORTED);
    CHECK_ERR(v_xattr_set(&v, ROOT, "user.lunar.handle", "1", 1, 0), E_PERM);
    volume_fini(&v);
}

/* -- allocation ------------------------------------------------------------ */

static void punched_and_allocated_ranges_are_holes_to_seek(void)
{
    struct volume v;
    fs_attr f;
    uint64_t at;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &f));
    CHECK_OK(v_open(&v, f.ino, true));
    CHECK_OK(v_write(&v, f.ino, 0, MIB));
    CHECK_OK(v_fallocate(&v, f.ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         4096 - 1, 8192 + 2, &f));
    CHECK_EQ(f.size_bytes, MIB);
    CHECK_OK(v_seek(&v, f.ino, 0, true, &at));
    CHECK_EQ(at, 4096); /* whole blocks only */
    CHECK_OK(v_seek(&v, f.ino, at, false, &at));
    CHECK_EQ(at, 12288);
    CHECK_OK(v_seek(&v, f.ino, at, true, &at));
    CHECK_EQ(at, MIB);
    CHECK_ERR(v_seek(&v, f.ino, MIB, true, &at), E_NXIO);
    CHECK_OK(v_fallocate(&v, f.ino, 0, 0, 2 * MIB, &f));
    CHECK_EQ(f.size_bytes, 2 * MIB);
    CHECK_OK(v_seek(&v, f.ino, 5000, true, &at));
    CHECK_EQ(at, 5000);
    CHECK_OK(v_fallocate(&v, f.ino, FALLOC_FL_ZERO_RANGE, 0, 2 * MIB, &f));
    CHECK_ERR(v_seek(&v, f.ino, 0, false, &at), E_NXIO);
    CHECK_OK(v_close(&v, f.ino));
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    volume_fini(&v);
}

static void kept_preallocation_outlives_the_last_close(void)
{
    struct volume v;
    fs_attr f;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &f));
    CHECK_OK(v_open(&v, f.ino, true));
    CHECK_OK(v_fallocate(&v, f.ino, FALLOC_FL_KEEP_SIZE, 0, MIB, &f));
    CHECK_EQ(f.size_bytes, 0);
    CHECK_OK(v_write(&v, f.ino, 0, 4096));
    CHECK_OK(v_close(&v, f.ino));
    CHECK_OK(v_getattr(&v, f.ino, &f));
    CHECK_EQ(f.allocated_bytes, MIB);
    CHECK_OK(v_truncate(&v, f.ino, 4096));
    CHECK_OK(v_getattr(&v, f.ino, &f));
    CHECK_EQ(f.allocated_bytes, 4096);
    volume_fini(&v);
}

/* A file of many pieces goes in slices: more rows than one transaction takes.
 */
static void a_file_of_many_pieces_is_cut_and_deleted(void)
{
    enum { PIECES = 1500 };
    struct volume v;
    fs_statfs before, after;
    fs_attr f;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_statfs(&v, &before));
    CHECK_OK(v_create(&v, ROOT, "f", S_IFREG | 0644, &f));
    CHECK_OK(v_open(&v, f.ino, true));
    CHECK_OK(v_truncate(&v, f.ino, 2 * PIECES * 4096));
    for (uint64_t i = 0; i < PIECES; i++)
        CHECK_OK(v_write(&v, f.ino, i * 8192, 4096));
    CHECK_OK(v_getattr(&v, f.ino, &f));
    CHECK_EQ(f.allocated_bytes, PIECES * 4096);
    CHECK_OK(v_truncate(&v, f.ino, 100 * 8192));
    CHECK_OK(v_getattr(&v, f.ino, &f));
    CHECK_EQ(f.allocated_bytes, 100 * 4096);
    CHECK_OK(v_close(&v, f.ino));
    CHECK_OK(v_unlink(&v, ROOT, "f"));
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    CHECK_OK(v_statfs(&v, &after));
    CHECK_EQ(after.free_blocks, before.free_blocks);
    volume_fini(&v);
}

/* -- handles --------------------------------------------------------------- */

static void a_held_disk_is_safe_from_others(void)
{
    uint64_t generation = 0, other = 0;
    struct volume v;
    char text[256];
    size_t len = sizeof text;
    fs_attr f;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "d.vhd", S_IFREG | 0644, &f));
    CHECK_OK(v_create(&v, ROOT, "x", S_IFREG | 0644, NULL));
    CHECK_OK(v_handle(&v, FS_OP_HANDLE_GET, f.ino, "vm1", FS_HANDLE_EX,
                      &generation));
    CHECK_EQ(generation, 1);
    CHECK_ERR(
        v_handle(&v, FS_OP_HANDLE_GET, f.ino, "vm2", FS_HANDLE_EX, &other),
        E_HANDLE_HELD);
    CHECK_ERR(v_open(&v, f.ino, true), E_HANDLE_HELD);
    CHECK_OK(v_open(&v, f.ino, false));
    CHECK_ERR(v_truncate(&v, f.ino, 0), E_HANDLE_HELD);
    CHECK_ERR(v_unlink(&v, ROOT, "d.vhd"), E_HANDLE_HELD);
    CHECK_ERR(v_rename(&v, ROOT, "x", ROOT, "d.vhd", 0), E_HANDLE_HELD);
    CHECK_ERR(v_rename(&v, ROOT, "d.vhd", ROOT, "y", 0), E_HANDLE_HELD);
    CHECK_ERR(v_rename(&v, ROOT, "x", ROOT, "d.vhd", FS_RENAME_EXCHANGE),
              E_HANDLE_HELD);
    CHECK_OK(v_xattr_get(&v, f.ino, "user.lunar.handle", text, &len));
    text[len] = 0;
    CHECK_CONTAINS(text, "vm1 EX node=1 generation=1");
    CHECK_OK(v_handle(&v, FS_OP_HANDLE_PUT, f.ino, "vm1", FS_HANDLE_EX,
                      &generation));
    CHECK_OK(v_truncate(&v, f.ino, 0));
    CHECK_OK(v_handle(&v, FS_OP_HANDLE_GET, f.ino, "vm1", FS_HANDLE_EX,
                      &generation));
    CHECK_EQ(generation, 2);
    /* An earlier run of the only node is dead: its handles are free. */
    CHECK_OK(v_close(&v, f.ino));
    volume_stop(&v);
    volume_start(&v);
    CHECK_OK(
        v_handle(&v, FS_OP_HANDLE_GET, f.ino, "vm2", FS_HANDLE_EX, &other));
    volume_fini(&v);
}

static void a_file_open_for_writing_is_no_disk(void)
{
    uint64_t generation = 0;
    struct volume v;
    fs_attr f;

    volume_init(&v, 64 * MIB);
    CHECK_OK(v_create(&v, ROOT, "d.vhd", S_IFREG | 0644, &f));
    CHECK_OK(v_open(&v, f.ino, true));
    CHECK_ERR(
        v_handle(&v, FS_OP_HANDLE_GET, f.ino, "vm1", FS_HANDLE_EX, &generation),
        E_BUSY);
    CHECK_OK(v_close(&v, f.ino));
    CHECK_OK(v_handle(&v, FS_OP_HANDLE_GET, f.ino, "vm1", FS_HANDLE_EX,
                      &generation));
    volume_fini(&v);
}

static const struct test tests[] = {
    TEST(a_directory_counts_its_subdirectories),
    TEST(a_name_changes_times_of_its_directory),
    TEST(names_have_limits),
    TEST(a_directory_is_not_moved_into_itself),
    TEST(a_removed_directory_takes_no_names),
    TEST(an_access_acl_and_the_mode_follow_each_other),
    TEST(a_default_acl_is_inherited_and_replaces_the_umask),
    TEST(a_damaged_acl_is_refused),
    TEST(xattr_flags_are_those_of_setxattr),
    TEST(punched_and_allocated_ranges_are_holes_to_seek),
    TEST(kept_preallocation_outlives_the_last_close),
    TEST(a_file_of_many_pieces_is_cut_and_deleted),
    TEST(a_held_disk_is_safe_from_others),
    TEST(a_file_open_for_writing_is_no_disk),
};
TEST_SUITE("fs/names", tests);
