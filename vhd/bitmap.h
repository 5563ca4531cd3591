/* vhd/bitmap.h - the sector bitmap of a block: one sector, one bit for each
 * sector of data, the most significant bit of the first byte first.
 * Knows nothing of what a bit means: that depends on the type of the disk.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_VHD_BITMAP_H
#define LUNAR_VHD_BITMAP_H

#include "vhd/vhd.h"

enum {
    VHD_BITMAP_BYTES = VHD_SECTOR_BYTES,
    VHD_BITMAP_BITS = VHD_BITMAP_BYTES * 8
};
static_assert(VHD_BITMAP_BITS == VHD_BLOCK_BYTES / VHD_SECTOR_BYTES,
              "the largest block's bitmap is one sector");

bool vhd_bitmap_test(const uint8_t *map, uint32_t bit);

/* Set [first, first + count); true if any of them was clear. */
bool vhd_bitmap_set(uint8_t *map, uint32_t first, uint32_t count);

/* How many bits from `first` on, within [first, first + count), are like the
 * first one; at least 1.  count > 0. */
uint32_t vhd_bitmap_run(const uint8_t *map, uint32_t first, uint32_t count);

/* Are the first `count` bits all set? */
bool vhd_bitmap_full(const uint8_t *map, uint32_t count);

#endif
