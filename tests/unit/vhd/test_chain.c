/* tests/unit/vhd/test_chain.c - parents: found, mistaken, missing, in a loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vhd/disks.h"
#include "vhd/format.h"

#include <string.h>

enum { BLOCK = 16 << 10, SIZE = 8 * BLOCK };

static struct store *create(struct disks *d, const char *path,
                            const char *parent, uint64_t size)
{
    return disks_create(
        d, path,
        &(struct disks_spec){parent ? VHD_DIFFERENCING : VHD_DYNAMIC, size,
                             BLOCK, 0, parent});
}

static enum err open_chain(struct disks *d, const char *path, struct diag *why,
                           struct vhd **ret_vhd)
{
    return vhd_open(disks_find(d, path),
                    &(struct vhd_open_args){
                        .path = path, .opener = &d->opener, .queue_depth = 4},
                    why, ret_vhd);
}

static void write_to(struct disks *d, const char *path, uint64_t off,
                     uint8_t byte)
{
    struct vhd *vhd = disks_open(d, path, disks_find(d, path));
    uint8_t buf[1024];

    memset(buf, byte, sizeof buf);
    CHECK_OK(store_write_sync(vhd_store(vhd), off, buf, sizeof buf));
    CHECK_OK(vhd_close(vhd));
}

static uint8_t byte_at(struct vhd *vhd, uint64_t off)
{
    uint8_t buf[512];

    CHECK_OK(store_read_sync(vhd_store(vhd), off, buf, sizeof buf));
    return buf[0];
}

static void sector_comes_from_the_youngest_file_that_has_it(void)
{
    struct vhd *vhd = NULL;
    struct vhd_info info;
    struct diag why;
    struct disks d;

    disks_init(&d);
    create(&d, "/v/a.vhd", NULL, SIZE);
    write_to(&d, "/v/a.vhd", 0, 1);
    write_to(&d, "/v/a.vhd", 2048, 1);
    create(&d, "/v/b.vhd", "/v/a.vhd", 0);
    write_to(&d, "/v/b.vhd", 512, 2);
    create(&d, "/w/c.vhd", "/v/b.vhd", 0);
    write_to(&d, "/w/c.vhd", 1024, 3);
    CHECK_OK_FATAL(open_chain(&d, "/w/c.vhd", &why, &vhd));
    CHECK_EQ(byte_at(vhd, 0), 1);
    CHECK_EQ(byte_at(vhd, 512), 2);
    CHECK_EQ(byte_at(vhd, 1024), 3);
    CHECK_EQ(byte_at(vhd, 1536), 3);
    CHECK_EQ(byte_at(vhd, 2048), 1);
    CHECK_EQ(byte_at(vhd, 3072), 0);
    CHECK_EQ(byte_at(vhd, 4 * BLOCK), 0);
    vhd_info(vhd, &info);
    CHECK_EQ(info.chain_files, 3);
    CHECK_STR(info.parent, "/v/b.vhd");
    CHECK_OK(vhd_close(vhd));
    disks_fini(&d);
}

static void zeroes_in_a_child_hide_its_parent(void)
{
    struct vhd *vhd = NULL;
    struct diag why;
    struct disks d;

    disks_init(&d);
    create(&d, "/a.vhd", NULL, SIZE);
    write_to(&d, "/a.vhd", 0, 1);
    create(&d, "/b.vhd", "/a.vhd", 0);
    CHECK_OK_FATAL(open_chain(&d, "/b.vhd", &why, &vhd));
    CHECK_OK(store_range_sync(vhd_store(vhd), STORE_WRITE_ZEROES, 0, 512));
    CHECK_OK(vhd_close(vhd));
    CHECK_OK_FATAL(open_chain(&d, "/b.vhd", &why, &vhd));
    CHECK_EQ(byte_at(vhd, 0), 0);
    CHECK_EQ(byte_at(vhd, 512), 1);
    CHECK_OK(vhd_close(vhd));
    disks_fini(&d);
}

static void child_larger_than_its_parent_reads_zeros_beyond_it(void)
{
    struct vhd *vhd = NULL;
    struct diag why;
    struct disks d;

    disks_init(&d);
    create(&d, "/a.vhd", NULL, BLOCK + 512);
    write_to(&d, "/a.vhd", BLOCK - 512, 1);
    create(&d, "/b.vhd", "/a.vhd", SIZE);
    CHECK_OK_FATAL(open_chain(&d, "/b.vhd", &why, &vhd));
    CHECK_EQ(byte_at(vhd, BLOCK), 1);
    CHECK_EQ(byte_at(vhd, BLOCK + 512), 0);
    CHECK_EQ(byte_at(vhd, SIZE - 512), 0);
    CHECK_OK(vhd_close(vhd));
    disks_fini(&d);
}

static void child_smaller_than_its_parent_is_not_made(void)
{
    struct vhd_create_args args = {.type = VHD_DIFFERENCING,
                                   .size_bytes = SIZE - 512,
                                   .uuid = {1},
                                   .path = "/b.vhd",
                                   .parent_path = "/a.vhd"};
    struct vhd_info parent;
    struct diag why;
    struct disks d;

    disks_init(&d);
    CHECK_OK(vhd_probe(create(&d, "/a.vhd", NULL, SIZE), &why, &parent));
    args.parent = &parent;
    CHECK_ERR(vhd_create(disks_file(&d, "/b.vhd"), &args, &why), E_INVAL);
    CHECK_CONTAINS(why.text, "smaller than its parent");
    disks_fini(&d);
}

static void parent_beside_a_moved_child_is_found(void)
{
    struct vhd *vhd = NULL;
    struct diag why;
    struct disks d;

    disks_init(&d);
    create(&d, "/v/a.vhd", NULL, SIZE);
    write_to(&d, "/v/a.vhd", 0, 1);
    create(&d, "/v/b.vhd", "/v/a.vhd", 0);
    d.files[0].path = "/new/a.vhd";
    d.files[1].path = "/new/b.vhd";
    CHECK_OK_FATAL(open_chain(&d, "/new/b.vhd", &why, &vhd));
    CHECK_EQ(byte_at(vhd, 0), 1);
    CHECK_OK(vhd_close(vhd));
    disks_fini(&d);
}

/* Set a file's identity, in both of its footers. */
static void set_uuid(struct store *file, const uint8_t uuid[VHD_UUID_BYTES])
{
    uint64_t at[2] = {0, file->size_bytes - VHD_FOOTER_BYTES};

    for (size_t i = 0; i < 2; i++) {
        struct vhd_disk_footer disk;
        struct vhd_footer f;
        struct diag why;

        store_mem_peek(file, at[i], &disk, sizeof disk);
        CHECK_OK(vhd_footer_decode(&disk, at[i], &why, &f));
        memcpy(f.uuid, uuid, VHD_UUID_BYTES);
        vhd_footer_encode(&f, &disk);
        store_mem_poke(file, at[i], &disk, sizeof disk);
    }
}

static void wrong_parent_is_not_taken(void)
{
    struct vhd *vhd = NULL;
    struct diag why;
    struct disks d;

    disks_init(&d);
    create(&d, "/a.vhd", NULL, SIZE);
    create(&d, "/b.vhd", "/a.vhd", 0);
    d.files[0].path = "/gone.vhd";
    CHECK_ERR(open_chain(&d, "/b.vhd", &why, &vhd), E_VHD_PARENT);
    CHECK_CONTAINS(why.text, "/a.vhd");
    set_uuid(create(&d, "/a.vhd", NULL, SIZE), (uint8_t[VHD_UUID_BYTES]){1, 2});
    CHECK_ERR(open_chain(&d, "/b.vhd", &why, &vhd), E_VHD_PARENT);
    CHECK_CONTAINS(why.text, "identity");
    disks_fini(&d);
}

static void chain_that_bites_its_tail_is_an_error(void)
{
    static const uint8_t one[VHD_UUID_BYTES] = {1};
    static const uint8_t two[VHD_UUID_BYTES] = {2};
    struct vhd *vhd = NULL;
    struct diag why;
    struct disks d;

    disks_init(&d);
    set_uuid(create(&d, "/a.vhd", NULL, SIZE), one);
    create(&d, "/b.vhd", "/a.vhd", 0); /* parent: one */
    set_uuid(disks_find(&d, "/b.vhd"), two);
    create(&d, "/c.vhd", "/b.vhd", 0); /* parent: two */
    set_uuid(disks_find(&d, "/c.vhd"), one);
    d.files[0].path = "/gone.vhd";
    d.files[2].path = "/a.vhd"; /* b -> "a", which is c -> b */
    CHECK_ERR(open_chain(&d, "/b.vhd", &why, &vhd), E_VHD_PARENT);
    CHECK_CONTAINS(why.text, "loop");
    disks_fini(&d);
}

static void damaged_parent_is_an_error_with_its_name(void)
{
    struct vhd *vhd = NULL;
    struct diag why;
    struct disks d;
    struct store *parent;

    disks_init(&d);
    parent = create(&d, "/a.vhd", NULL, SIZE);
    create(&d, "/b.vhd", "/a.vhd", 0);
    store_mem_poke(parent, VHD_FOOTER_BYTES, "XXXX", 4);
    CHECK_ERR(open_chain(&d, "/b.vhd", &why, &vhd), E_VHD_HEADER);
    CHECK_CONTAINS(why.text, "parent /a.vhd");
    CHECK_CONTAINS(why.text, "dynamic header at 512");
    disks_fini(&d);
}

static const struct test tests[] = {
    TEST(sector_comes_from_the_youngest_file_that_has_it),
    TEST(zeroes_in_a_child_hide_its_parent),
    TEST(child_larger_than_its_parent_reads_zeros_beyond_it),
    TEST(child_smaller_than_its_parent_is_not_made),
    TEST(parent_beside_a_moved_child_is_found),
    TEST(wrong_parent_is_not_taken),
    TEST(chain_that_bites_its_tail_is_an_error),
    TEST(damaged_parent_is_an_error_with_its_name),
};
TEST_SUITE("vhd/chain", tests);
