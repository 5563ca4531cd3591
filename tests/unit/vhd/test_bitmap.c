/* tests/unit/vhd/test_bitmap.c - sector bitmaps against a plain array.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vhd/disks.h"
#include "vhd/bitmap.h"

#include <string.h>

static void first_sector_is_the_highest_bit(void)
{
    uint8_t map[VHD_BITMAP_BYTES] = {0};

    CU_ASSERT_TRUE(vhd_bitmap_set(map, 0, 1));
    CHECK_EQ(map[0], 0x80);
    CU_ASSERT_TRUE(vhd_bitmap_set(map, 7, 2));
    CHECK_EQ(map[0], 0x81);
    CHECK_EQ(map[1], 0x80);
    CU_ASSERT_FALSE(vhd_bitmap_set(map, 7, 2));
}

static void runs_and_bits_are_those_of_a_plain_array(void)
{
    struct dice dice = {11};

    for (int round = 0; round < 300; round++) {
        uint8_t map[VHD_BITMAP_BYTES] = {0};
        bool plain[VHD_BITMAP_BITS] = {false};
        uint32_t at, count, run;

        for (int i = 0; i < 4; i++) {
            at = (uint32_t)dice_roll(&dice, VHD_BITMAP_BITS);
            count = 1 + (uint32_t)dice_roll(&dice, VHD_BITMAP_BITS - at);
            memset(plain + at, true, count);
            (void)vhd_bitmap_set(map, at, count);
            (void)dice_roll(&dice, 3);
        }
        at = (uint32_t)dice_roll(&dice, VHD_BITMAP_BITS);
        count = 1 + (uint32_t)dice_roll(&dice, VHD_BITMAP_BITS - at);
        for (run = 1; run < count && plain[at + run] == plain[at]; run++)
            CHECK_EQ(vhd_bitmap_test(map, at + run), plain[at]);
        CHECK_EQ(vhd_bitmap_run(map, at, count), run);
    }
}

static void full_is_of_the_sectors_of_the_block_only(void)
{
    uint8_t map[VHD_BITMAP_BYTES] = {0};

    CU_ASSERT_FALSE(vhd_bitmap_full(map, 1));
    (void)vhd_bitmap_set(map, 0, 9);
    CU_ASSERT_TRUE(vhd_bitmap_full(map, 9));
    CU_ASSERT_FALSE(vhd_bitmap_full(map, 10));
    (void)vhd_bitmap_set(map, 9, VHD_BITMAP_BITS - 9);
    CU_ASSERT_TRUE(vhd_bitmap_full(map, VHD_BITMAP_BITS));
}

static const struct test tests[] = {
    TEST(first_sector_is_the_highest_bit),
    TEST(runs_and_bits_are_those_of_a_plain_array),
    TEST(full_is_of_the_sectors_of_the_block_only),
};
TEST_SUITE("vhd/bitmap", tests);
