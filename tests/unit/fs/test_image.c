/* tests/unit/fs/test_image.c - a volume written by the first release opens for
 * ever: tests/images/volume-format-1/.
 *
 * The image was taken while the volume was in use: its log is not empty, a
 * claim is held, and an unlinked file was open.  LUNAR_WRITE_IMAGE=FILE makes
 * one anew, for a new format; the committed one is never replaced.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/volume.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static const char image[] = "tests/images/volume-format-1/lun.gz";
static const char data[] = "written by format 1";

enum { PIECE = 1 << 20 };

static void make(struct volume *v)
{
    uint8_t block[4096] = {0};
    uint64_t generation = 0;
    fs_layout layout;
    fs_attr d, f;

    CHECK_OK(v_create(v, ROOT, "dir", S_IFDIR | 0750, &d));
    CHECK_OK(v_create(v, d.ino, "file", S_IFREG | 0640, &f));
    CHECK_OK(v_open(v, f.ino, true));
    CHECK_OK(v_layout(v, f.ino, FS_IOMODE_RW, 0, 8192, &layout));
    memcpy(block, data, sizeof data);
    CHECK_OK(store_write_sync(
        v->lun, layout.extents.extents_val[0].lun_block * 4096, block, 4096));
    free(layout.extents.extents_val);
    CHECK_OK(v_write(v, f.ino, 0, 8192));
    CHECK_OK(v_close(v, f.ino));
    CHECK_OK(v_link(v, f.ino, ROOT, "second name"));
    CHECK_OK(v_create(v, ROOT, "symlink", S_IFLNK | 0777, NULL));
    CHECK_OK(v_create(v, ROOT, "fifo", S_IFIFO | 0600, NULL));
    CHECK_OK(v_xattr_set(v, d.ino, "user.colour", "blue", 4, 0));
    CHECK_OK(
        v_handle(v, FS_OP_HANDLE_GET, f.ino, "vm1", FS_HANDLE_EX, &generation));
    CHECK_OK(v_create(v, ROOT, "gone", S_IFREG | 0600, &f));
    CHECK_OK(v_open(v, f.ino, true));
    CHECK_OK(v_write(v, f.ino, 0, 100000));
    CHECK_OK(v_unlink(v, ROOT, "gone"));
}

static void write_image(struct volume *v, const char *path)
{
    uint8_t *piece = malloc(PIECE);
    gzFile out = gzopen(path, "wb9");

    for (uint64_t at = 0; at < 64 * MIB; at += PIECE) {
        store_mem_peek(v->lun, at, piece, PIECE);
        CHECK_EQ(gzwrite(out, piece, PIECE), PIECE);
    }
    CHECK_EQ(gzclose(out), Z_OK);
    free(piece);
}

static void read_image(struct volume *v, gzFile in)
{
    uint8_t *piece = malloc(PIECE);

    for (uint64_t at = 0; at < 64 * MIB; at += PIECE) {
        CHECK_EQ(gzread(in, piece, PIECE), PIECE);
        store_mem_poke(v->lun, at, piece, PIECE);
    }
    CHECK_EQ(gzclose(in), Z_OK);
    free(piece);
}

static void verify(struct volume *v)
{
    uint64_t generation = 0;
    uint8_t block[4096];
    size_t len = sizeof block;
    fs_layout layout;
    fs_attr d, f;

    CHECK_OK(v_lookup(v, ROOT, "dir", &d));
    CHECK_EQ(d.mode, S_IFDIR | 0750);
    CHECK_OK(v_lookup(v, d.ino, "file", &f));
    CHECK_EQ(f.nlink, 2);
    CHECK_EQ(f.size_bytes, 8192);
    CHECK_OK(v_open(v, f.ino, false));
    CHECK_OK(v_layout(v, f.ino, FS_IOMODE_READ, 0, 8192, &layout));
    CHECK_EQ(layout.extents.extents_val[0].state, FS_READ_WRITE_DATA);
    CHECK_OK(store_read_sync(
        v->lun, layout.extents.extents_val[0].lun_block * 4096, block, 4096));
    CHECK_STR((const char *)block, data);
    free(layout.extents.extents_val);
    CHECK_OK(v_close(v, f.ino));
    CHECK_OK(v_lookup(v, ROOT, "second name", &d));
    CHECK_EQ(d.ino, f.ino);
    CHECK_OK(v_lookup(v, ROOT, "symlink", NULL));
    CHECK_OK(v_lookup(v, ROOT, "fifo", NULL));
    CHECK_ERR(v_lookup(v, ROOT, "gone", NULL), E_NOENT);
    CHECK_OK(v_lookup(v, ROOT, "dir", &d));
    CHECK_OK(v_xattr_get(v, d.ino, "user.colour", block, &len));
    CHECK_EQ(len, 4);
    /* Its run is over: the disk is free, and the generation goes on. */
    CHECK_OK(
        v_handle(v, FS_OP_HANDLE_GET, f.ino, "vm1", FS_HANDLE_EX, &generation));
    CHECK_EQ(generation, 2);
}

static void the_first_format_opens_for_ever(void)
{
    const char *path = getenv("LUNAR_WRITE_IMAGE");
    struct fs_check_result result;
    struct volume v;
    gzFile in;

    volume_init(&v, 64 * MIB);
    if (path) {
        make(&v);
        write_image(&v, path);
    }
    volume_stop(&v);
    in = gzopen(path ? path : image, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(in);
    read_image(&v, in);
    CHECK_EQ(check_lun(v.lun, &result), 0);
    v.incarnation = 1000;
    volume_start(&v);
    verify(&v);
    volume_stop(&v);
    volume_check_clean(&v);
    volume_start(&v);
    volume_fini(&v);
}

static const struct test tests[] = {
    TEST(the_first_format_opens_for_ever),
};
TEST_SUITE("fs/image", tests);
