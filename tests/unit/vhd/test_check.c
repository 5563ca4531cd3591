/* tests/unit/vhd/test_check.c - each damage is found, named, and repaired if
 * that loses nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "tests/unit/vhd/disks.h"
#include "vhd/format.h"

#include <string.h>

enum { BLOCK = 16 << 10, SIZE = 8 * BLOCK, TABLE = 4096 };

static void damage_no_footer_at_the_end(struct store *f)
{
    store_mem_poke(f, f->size_bytes - 512, "????????", 8);
}

static void damage_no_copy(struct store *f)
{
    store_mem_poke(f, 0, "????????", 8);
}

static void damage_both_footers(struct store *f)
{
    damage_no_copy(f);
    damage_no_footer_at_the_end(f);
}

static void damage_header(struct store *f)
{
    store_mem_poke(f, 512 + 100, "?", 1);
}

static void damage_entry_beyond_the_end(struct store *f)
{
    uint8_t entry[4];

    be32_store(entry, 0x7fffffff);
    store_mem_poke(f, TABLE + 4 * 5, entry, 4);
}

static void damage_two_blocks_in_one_place(struct store *f)
{
    uint8_t entry[4];

    store_mem_peek(f, TABLE, entry, 4);
    store_mem_poke(f, TABLE + 4 * 5, entry, 4);
}

static void damage_space_behind(struct store *f)
{
    uint8_t footer[512];

    store_mem_peek(f, f->size_bytes - 512, footer, 512);
    CHECK_OK(store_range_sync(f, STORE_RESIZE, f->size_bytes + (1 << 20), 0));
    store_mem_poke(f, f->size_bytes - 512, footer, 512);
}

/* Entries that nobody uses: the disk would open, and the first flush would
 * write over its header. */
static void damage_header_inside_of_the_table(struct store *f)
{
    uint64_t ends[] = {0, f->size_bytes - VHD_FOOTER_BYTES};
    uint8_t header[VHD_HEADER_BYTES];
    struct diag why;

    store_mem_peek(f, VHD_FOOTER_BYTES, header, sizeof header);
    store_mem_poke(f, TABLE + 2048, header, sizeof header);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct vhd_disk_footer disk;
        struct vhd_footer footer;

        store_mem_peek(f, ends[i], &disk, sizeof disk);
        CHECK_OK(vhd_footer_decode(&disk, ends[i], &why, &footer));
        footer.data_offset = TABLE + 2048;
        vhd_footer_encode(&footer, &disk);
        store_mem_poke(f, ends[i], &disk, sizeof disk);
    }
}

/* clang-format off */
static const struct row {
    void (*damage)(struct store *);
    enum err before, after; /* a repair */
    const char *part;
} rows[] = {
    {damage_no_footer_at_the_end,    E_CORRUPT,    E_OK,         "cookie"},
    {damage_no_copy,                 E_CORRUPT,    E_OK,         "footer at 0"},
    {damage_both_footers,            E_VHD_FOOTER, E_VHD_FOOTER, ""},
    {damage_header,                  E_VHD_HEADER, E_VHD_HEADER, ""},
    {damage_header_inside_of_the_table,
                                     E_VHD_HEADER, E_VHD_HEADER, ""},
    {damage_entry_beyond_the_end,    E_CORRUPT,    E_CORRUPT,    "block 5 is"},
    {damage_two_blocks_in_one_place, E_CORRUPT,    E_CORRUPT,    "share"},
    {damage_space_behind,            E_OK,         E_OK,         "belong to"},
};
/* clang-format on */

static void keep_text(void *arg, const struct vhd_problem *problem)
{
    memcpy(arg, problem->text, sizeof problem->text);
}

static enum err check(struct store *file, bool repair, char text[200])
{
    struct vhd_check_result result;
    struct diag why;

    text[0] = '\0';
    return vhd_check(file,
                     &(struct vhd_check_args){
                         .repair = repair, .report = keep_text, .arg = text},
                     &why, &result);
}

static struct store *some_disk(struct disks *d)
{
    struct store *file = disks_create(
        d, "/d.vhd", &(struct disks_spec){VHD_DYNAMIC, SIZE, BLOCK, 0, NULL});
    struct vhd *vhd = disks_open(d, "/d.vhd", file);

    for (uint64_t b = 0; b < 3; b++)
        CHECK_OK(store_write_sync(vhd_store(vhd), b * BLOCK,
                                  (uint8_t[512]){1, 2, 3}, 512));
    CHECK_OK(vhd_close(vhd));
    return file;
}

static void damage_is_found_and_repaired_if_nothing_is_lost(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct disks d;
        struct store *file;
        struct vhd *vhd;
        char text[200];
        uint8_t sector[512];

        disks_init(&d);
        file = some_disk(&d);
        row->damage(file);
        CHECK_ERR(check(file, false, text), row->before);
        CHECK_CONTAINS(text, row->part);
        CHECK_ERR(check(file, true, text), row->after);
        if (!row->after) {
            CHECK_OK(check(file, false, text));
            CHECK_STR(text, "");
            vhd = disks_open(&d, "/d.vhd", file);
            CHECK_OK(store_read_sync(vhd_store(vhd), BLOCK, sector, 512));
            CHECK_EQ(sector[2], 3);
            CHECK_OK(vhd_close(vhd));
        }
        disks_fini(&d);
    }
}

static void file_cut_short_is_lost_data_and_stays_as_it_is(void)
{
    struct disks d;
    struct store *file;
    char text[200];
    uint64_t cut;

    disks_init(&d);
    file = some_disk(&d);
    cut = file->size_bytes - 2 * BLOCK;
    CHECK_OK(store_range_sync(file, STORE_RESIZE, cut, 0));
    CHECK_ERR(check(file, true, text), E_CORRUPT);
    CHECK_EQ(file->size_bytes, cut);
    disks_fini(&d);
}

static void too_small_or_empty_files_are_no_vhd(void)
{
    static uint8_t zeros[4096];
    struct vhd_info info;
    struct disks d;
    struct diag why;
    struct store *file;
    char text[200];

    disks_init(&d);
    file = disks_file(&d, "/d.vhd");
    CHECK_ERR(vhd_probe(file, &why, &info), E_VHD_FOOTER);
    CHECK_CONTAINS(why.text, "too few");
    CHECK_OK(store_range_sync(file, STORE_RESIZE, sizeof zeros, 0));
    CHECK_ERR(vhd_probe(file, &why, &info), E_VHD_FOOTER);
    CHECK_CONTAINS(why.text, "cookie");
    CHECK_ERR(check(file, true, text), E_VHD_FOOTER);
    disks_fini(&d);
}

static const struct test tests[] = {
    TEST(damage_is_found_and_repaired_if_nothing_is_lost),
    TEST(file_cut_short_is_lost_data_and_stays_as_it_is),
    TEST(too_small_or_empty_files_are_no_vhd),
};
TEST_SUITE("vhd/check", tests);
