/* tests/unit/vhd/test_table.c - sanity of entries, and what a round writes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "tests/lib/test.h"
#include "vhd/table.h"

#include <string.h>

enum { COUNT = 2500, BLOCK = 4096, LIMIT = 1 << 20 };

static struct vhd_table new_table(uint32_t count)
{
    struct vhd_table t;

    CHECK_OK_FATAL(vhd_table_init(&t, count, BLOCK, true));
    return t;
}

static void put_entry(struct vhd_table *t, uint32_t block, uint32_t entry)
{
    uint8_t disk[VHD_ENTRY_BYTES];

    be32_store(disk, entry);
    vhd_table_decode(t, block, 1, disk);
}

static const struct vhd_extent head[] = {
    {0,    512,  "copy of the footer"},
    {512,  1024, "dynamic header"    },
    {4096, 4096, "block table"       },
};

static enum err check(const struct vhd_table *t, struct diag *why,
                      struct vhd_layout *layout)
{
    return vhd_table_check(t, head, ARRAY_LEN(head), LIMIT, NULL, NULL, why,
                           layout);
}

static void entries_that_cannot_be_are_found(void)
{
    static const struct {
        uint32_t entries[3];
        const char *part; /* NULL: it is sound */
    } rows[] = {
        {{23, 39, 55},             NULL                  },
        {{55, 23, 39},             NULL                  },
        {{16, 25, 34},             NULL                  },
        {{23, 31, 55},             "blocks 0 and 1 share"},
        {{23, 55, 23},             "blocks 0 and 2 share"},
        {{0, 23, 39},              "copy of the footer"  },
        {{2, 23, 39},              "dynamic header"      },
        {{23, 15, 55},             "block table"         },
        {{23, 39, 2047},           "block 2 is at"       },
        {{23, 39, UINT32_MAX - 1}, "beyond 1048576"      },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct vhd_table t = new_table(3);
        struct vhd_layout layout;
        struct diag why = {""};

        for (uint32_t b = 0; b < 3; b++)
            put_entry(&t, b, rows[i].entries[b]);
        CHECK_ERR(check(&t, &why, &layout), rows[i].part ? E_VHD_BAT : E_OK);
        if (rows[i].part)
            CHECK_CONTAINS(why.text, rows[i].part);
        vhd_table_fini(&t);
    }
}

static void layout_knows_the_end_and_the_padding(void)
{
    struct vhd_table t = new_table(3);
    struct vhd_layout layout;
    struct diag why;

    CHECK_OK(check(&t, &why, &layout));
    CHECK_EQ(layout.end_bytes, 8192);
    put_entry(&t, 2, 23);
    put_entry(&t, 0, 39);
    CHECK_OK(check(&t, &why, &layout));
    CHECK_EQ(layout.end_bytes, 40 * 512 + BLOCK);
    CU_ASSERT_TRUE(layout.padded);
    put_entry(&t, 1, 48); /* at once behind the block before */
    CHECK_OK(check(&t, &why, &layout));
    CU_ASSERT_FALSE(layout.padded);
    vhd_table_fini(&t);
}

static void publish(struct vhd_table *t, uint32_t block, uint32_t entry)
{
    t->states[block] = VHD_BLOCK_FILLING;
    vhd_table_publish(t, block, entry, VHD_BLOCK_PARTIAL);
    vhd_table_mark(t, block, 1, 2);
}

static void round_writes_what_was_dirty_when_it_began(void)
{
    struct vhd_table t = new_table(COUNT);
    struct vhd_round_piece p;

    publish(&t, 0, 100);
    publish(&t, 2400, 200);
    vhd_round_begin(&t);
    CU_ASSERT_FALSE(vhd_table_dirty(&t));
    publish(&t, 1, 300);
    vhd_table_mark(&t, 0, 9, 1);

    CU_ASSERT_TRUE(vhd_round_next(&t, &p));
    CHECK_EQ(p.table_off, 0);
    CHECK_EQ(p.byte_count, VHD_PAGE_BYTES);
    CHECK_EQ(be32_load(p.bytes), 100);
    CHECK_EQ(be32_load(p.bytes + 4), VHD_ENTRY_ABSENT);
    CU_ASSERT_TRUE(vhd_round_next(&t, &p));
    CHECK_EQ(p.table_off, 2 * VHD_PAGE_BYTES);
    CHECK_EQ(be32_load(p.bytes + VHD_PAGE_BYTES - 4), VHD_ENTRY_ABSENT);
    CU_ASSERT_TRUE(vhd_round_next(&t, &p));
    CU_ASSERT_TRUE(p.is_bitmap && p.block == 0);
    CHECK_EQ(p.bytes[0], 0x60);
    CHECK_EQ(p.bytes[1], 0);
    CU_ASSERT_TRUE(vhd_round_next(&t, &p));
    CU_ASSERT_TRUE(p.is_bitmap && p.block == 2400);
    CU_ASSERT_FALSE(vhd_round_next(&t, &p));
    vhd_round_end(&t, true);

    CU_ASSERT_TRUE(vhd_table_dirty(&t));
    vhd_round_begin(&t);
    CU_ASSERT_TRUE(vhd_round_next(&t, &p));
    CHECK_EQ(be32_load(p.bytes + 4), 300);
    vhd_round_end(&t, true);
    CU_ASSERT_FALSE(vhd_table_dirty(&t));
    vhd_table_fini(&t);
}

static void round_that_failed_is_dirty_again(void)
{
    struct vhd_table t = new_table(COUNT);
    struct vhd_round_piece p;

    publish(&t, 7, 100);
    vhd_round_begin(&t);
    vhd_round_end(&t, false);
    CU_ASSERT_TRUE(vhd_table_dirty(&t));
    vhd_round_begin(&t);
    CU_ASSERT_TRUE(vhd_round_next(&t, &p));
    CU_ASSERT_TRUE(vhd_round_next(&t, &p));
    CU_ASSERT_TRUE(p.is_bitmap && p.block == 7);
    CU_ASSERT_FALSE(vhd_round_next(&t, &p));
    vhd_round_end(&t, true);
    CU_ASSERT_FALSE(vhd_table_dirty(&t));
    vhd_table_fini(&t);
}

static void grown_table_keeps_what_it_had(void)
{
    struct vhd_table t = new_table(3);

    publish(&t, 2, 77);
    CHECK_OK(vhd_table_grow(&t, COUNT));
    CHECK_EQ(t.entries[2], 77);
    CHECK_EQ(t.entries[3], VHD_ENTRY_ABSENT);
    CHECK_EQ(t.entries[COUNT - 1], VHD_ENTRY_ABSENT);
    CU_ASSERT_TRUE(vhd_bitmap_test(vhd_table_bitmap(&t, 2), 1));
    for (uint32_t b = 3; b < 3 * VHD_PAGE_ENTRIES; b++)
        CHECK_EQ(be32_load(t.image + b * VHD_ENTRY_BYTES), VHD_ENTRY_ABSENT);
    vhd_table_fini(&t);
}

static const struct test tests[] = {
    TEST(entries_that_cannot_be_are_found),
    TEST(layout_knows_the_end_and_the_padding),
    TEST(round_writes_what_was_dirty_when_it_began),
    TEST(round_that_failed_is_dirty_again),
    TEST(grown_table_keeps_what_it_had),
};
TEST_SUITE("vhd/table", tests);
