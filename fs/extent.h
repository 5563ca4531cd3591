/* fs/extent.h - the map of a file: file block -> LUN block and state.
 * Rows of one file never overlap, and neighbours that could be one row are.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_EXTENT_H
#define LUNAR_FS_EXTENT_H

#include "fs/meta.h"

#define FILE_BLOCKS_MAX (FS_FILE_BYTES_MAX / FS_BLOCK_BYTES)

/* Blocks [first, end) of a file. */
struct block_range {
    uint64_t first, end;
};

/* What is at `block`: the row that covers it, or the hole up to the next row
 * (FS_NONE_DATA, lun_block 0, starting at `block`). */
MUST_CHECK enum err extent_at(struct meta *m, fs_ino ino, uint64_t block,
                              fs_extent *ret_extent);

/* Enter a row where there is a hole; joins it with its neighbours.  Counts the
 * inode's allocated bytes; the caller puts the inode. */
MUST_CHECK enum err extent_add(struct meta *m, struct inode *inode,
                               const fs_extent *extent);

/* What becomes of the blocks of removed rows. */
enum extent_fate {
    EXTENT_TO_PENDING, /* a layout or the LUN's cache may still know them */
    EXTENT_TO_FREE     /* never written: nobody has seen them */
};
/* Make [first, end) a hole, at most `*budget` rows of it; counts the budget
 * down, and 0 says that there may be more. */
MUST_CHECK enum err extent_remove(struct meta *m, struct inode *inode,
                                  struct block_range range,
                                  enum extent_fate fate, unsigned *budget);

/* Give [first, end) a state, where it has the state `from` and, unless 0,
 * where file block `range.first` is at LUN block `lun_block`. */
struct extent_mark {
    struct block_range range;
    fs_extent_state from, to;
    uint64_t lun_block;
};
MUST_CHECK enum err extent_mark(struct meta *m, fs_ino ino,
                                const struct extent_mark *mark,
                                unsigned *budget);

/* Allocate the holes in [first, end) as FS_INVALID_DATA, as far as `*budget`
 * rows go.  `want` blocks and more in one piece if there are, the file's last
 * piece being longer by `ahead` blocks.
 * Errors: E_VOL_FULL. */
MUST_CHECK enum err extent_fill(struct meta *m, struct inode *inode,
                                struct block_range range, uint64_t ahead,
                                unsigned *budget);

/* Make `range` a hole for an operation that may need more than one
 * transaction for it (sets op->more). */
MUST_CHECK enum err extent_cut(struct op *op, struct inode *inode,
                               struct block_range range);

static inline uint64_t blocks_of(uint64_t bytes)
{
    return div_round_up(bytes, FS_BLOCK_BYTES);
}

#endif
