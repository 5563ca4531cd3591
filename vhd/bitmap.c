/* vhd/bitmap.c - sector bitmaps: set, test, find runs.  Does no I/O.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/bitmap.h"

static uint8_t bit_mask(uint32_t bit)
{
    return (uint8_t)(0x80 >> (bit & 7));
}

bool vhd_bitmap_test(const uint8_t *map, uint32_t bit)
{
    ASSERT(bit < VHD_BITMAP_BITS);
    return map[bit / 8] & bit_mask(bit);
}

bool vhd_bitmap_set(uint8_t *map, uint32_t first, uint32_t count)
{
    uint32_t end = first + count;
    bool changed = false;

    ASSERT(range_ok(first, count, VHD_BITMAP_BITS));
    while (first < end) {
        bool whole = first % 8 == 0 && end - first >= 8;
        uint8_t mask = whole ? 0xff : bit_mask(first);

        changed |= (map[first / 8] & mask) != mask;
        map[first / 8] |= mask;
        first += whole ? 8 : 1;
    }
    return changed;
}

uint32_t vhd_bitmap_run(const uint8_t *map, uint32_t first, uint32_t count)
{
    bool set = vhd_bitmap_test(map, first);
    uint8_t whole = set ? 0xff : 0;
    uint32_t at = first, end = first + count;

    ASSERT(count && range_ok(first, count, VHD_BITMAP_BITS));
    while (at < end) {
        if (at % 8 == 0 && end - at >= 8 && map[at / 8] == whole)
            at += 8;
        else if (vhd_bitmap_test(map, at) == set)
            at++;
        else
            break;
    }
    return at - first;
}

bool vhd_bitmap_full(const uint8_t *map, uint32_t count)
{
    return vhd_bitmap_test(map, 0) && vhd_bitmap_run(map, 0, count) == count;
}
