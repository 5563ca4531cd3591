/* vhd/table.h - the block table of one file in RAM, and its sector bitmaps.
 * Does no I/O: flush.c writes what is dirty, layer.c loads.
 *
 *   state of a block            an entry in the table     its bitmap in RAM
 *   ABSENT                      none                      -
 *   FILLING   first write runs  none (readers: absent)    -
 *   UNREAD                      yes                       not loaded yet
 *   LOADING                     yes                       being loaded
 *   PARTIAL                     yes                       valid
 *   FULL                        yes                       all ones, not kept
 *
 *   ABSENT -> FILLING -> PARTIAL or FULL      (failed: -> ABSENT)
 *   UNREAD -> LOADING -> PARTIAL or FULL      (failed: -> UNREAD)
 *   PARTIAL -> FULL
 *
 * Memory is address space reserved at open and touched on use: 4 bytes for
 * each block, and 1 KiB for each whose bitmap is in RAM.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_VHD_TABLE_H
#define LUNAR_VHD_TABLE_H

#include "vhd/bitmap.h"

#define VHD_ENTRY_ABSENT UINT32_MAX

enum {
    VHD_ENTRY_BYTES = 4,
    VHD_PAGE_BYTES = 4096, /* of the table: written whole, aligned */
    VHD_PAGE_ENTRIES = VHD_PAGE_BYTES / VHD_ENTRY_BYTES,
    VHD_ENTRIES_MAX = 1 << 24 /* 2040 GiB in blocks of 128 KiB */
};

/* An entry is a 32-bit sector and the last value means "absent". */
#define VHD_FILE_SECTORS_MAX ((uint64_t)UINT32_MAX)

/* What a new block takes in the file: a page that ends with its bitmap, and
 * its data in whole pages. */
static inline uint32_t vhd_stride_sectors(uint32_t block_bytes)
{
    return (uint32_t)(VHD_PAGE_BYTES + align_up(block_bytes, VHD_PAGE_BYTES)) /
           VHD_SECTOR_BYTES;
}

enum vhd_dirt { VHD_DIRTY = 1, VHD_IN_ROUND = 2 };

enum vhd_block_state {
    VHD_BLOCK_ABSENT,
    VHD_BLOCK_FILLING,
    VHD_BLOCK_UNREAD,
    VHD_BLOCK_LOADING,
    VHD_BLOCK_PARTIAL,
    VHD_BLOCK_FULL
};

struct vhd_table {
    uint32_t count; /* blocks of the disk */
    uint32_t block_bytes;
    uint32_t allocated; /* blocks with an entry */
    uint32_t *entries;  /* sector of the bitmap; VHD_ENTRY_ABSENT */
    uint8_t *states;    /* enum vhd_block_state */
    uint8_t *bitmaps;   /* VHD_BITMAP_BYTES for each block */
    size_t room;        /* blocks that the arrays have memory for */

    /* What a flush writes.  Only for a table that is written. */
    uint8_t *image;         /* entries as on disk */
    uint8_t *bitmap_images; /* bitmaps as on disk */
    uint8_t *page_dirt;     /* enum vhd_dirt for each VHD_PAGE_ENTRIES */
    uint8_t *bitmap_dirt;   /* enum vhd_dirt for each block */
    uint32_t *dirty_blocks; /* those with VHD_DIRTY; in the round: … */
    uint32_t *round_blocks; /* … those with VHD_IN_ROUND */
    uint32_t dirty_block_count, round_block_count;
    bool any_page_dirty;
    uint32_t round_at; /* next to write: pages, then blocks */
    uint32_t round_page_count;
};

/* A table of `count` absent blocks.  Errors: E_NOMEM. */
MUST_CHECK enum err vhd_table_init(struct vhd_table *t, uint32_t count,
                                   uint32_t block_bytes, bool writable);
void vhd_table_fini(struct vhd_table *t);
/* Append absent blocks.  Arrays move: no write of an image may be in flight.
 * Errors: E_NOMEM; the table is as before. */
MUST_CHECK enum err vhd_table_grow(struct vhd_table *t, uint32_t count);

/* Take over on-disk entries [first, first + n). */
void vhd_table_decode(struct vhd_table *t, uint32_t first, uint32_t n,
                      const uint8_t *disk);

/* What of a file is in use besides the blocks: headers, table, locators. */
struct vhd_extent {
    uint64_t off_bytes, len_bytes;
    const char *what;
};

struct vhd_layout {
    uint64_t end_bytes; /* behind the last thing in use */
    /* Every block has the seven sectors before its bitmap to itself, and its
     * data on 4 KiB: a bitmap can be written as one 4 KiB page. */
    bool padded;
};

/* Entries that cannot be: beyond `limit_bytes`, inside of one of the extents,
 * or on each other.  `report` gets each; NULL: the first is returned as an
 * error.  Errors: E_VHD_BAT, E_NOMEM. */
typedef void vhd_bad_entry_fn(void *arg, uint32_t block, const char *text);
MUST_CHECK enum err vhd_table_check(const struct vhd_table *t,
                                    const struct vhd_extent *extents,
                                    size_t extent_count, uint64_t limit_bytes,
                                    vhd_bad_entry_fn *report, void *arg,
                                    struct diag *why,
                                    struct vhd_layout *ret_layout);

static inline uint32_t vhd_block_sectors(const struct vhd_table *t)
{
    return t->block_bytes / VHD_SECTOR_BYTES;
}

static inline uint8_t *vhd_table_bitmap(const struct vhd_table *t,
                                        uint32_t block)
{
    return t->bitmaps + (size_t)block * VHD_BITMAP_BYTES;
}

/* Offset of the block's bitmap and of its data in the file. */
static inline uint64_t vhd_bitmap_off(uint32_t entry)
{
    return (uint64_t)entry * VHD_SECTOR_BYTES;
}

static inline uint64_t vhd_data_off(uint32_t entry)
{
    return vhd_bitmap_off(entry) + VHD_BITMAP_BYTES;
}

/* -- changes; each marks what it makes dirty ------------------------------- */

/* The block FILLING is there: PARTIAL with a clear bitmap, or FULL.  The
 * bitmap on disk is what the state says. */
void vhd_table_publish(struct vhd_table *t, uint32_t block, uint32_t entry,
                       enum vhd_block_state state);
/* The block LOADING has this bitmap. */
void vhd_table_loaded(struct vhd_table *t, uint32_t block,
                      const uint8_t *bitmap);
/* Sectors of a PARTIAL or FULL block now hold data. */
void vhd_table_mark(struct vhd_table *t, uint32_t block, uint32_t first,
                    uint32_t count);

static inline bool vhd_table_dirty(const struct vhd_table *t)
{
    return t->any_page_dirty || t->dirty_block_count;
}

/* -- rounds: one flush's worth of dirt -------------------------------------
 * begin copies everything dirty as it is now, for changes go on meanwhile;
 * next hands out what to write, piece by piece; end forgets it, or after a
 * failure makes it dirty again. */
void vhd_round_begin(struct vhd_table *t);
struct vhd_round_piece {
    bool is_bitmap;
    uint32_t block;     /* is_bitmap: whose */
    uint64_t table_off; /* else: bytes from the start of the table */
    uint8_t *bytes;     /* an image: stays until the round's end */
    uint64_t byte_count;
};
static inline bool vhd_round_any(const struct vhd_table *t)
{
    return t->round_page_count || t->round_block_count;
}
bool vhd_round_next(struct vhd_table *t, struct vhd_round_piece *ret_piece);
void vhd_round_end(struct vhd_table *t, bool written);

static inline uint32_t vhd_table_pages(const struct vhd_table *t)
{
    return (uint32_t)div_round_up(t->count, VHD_PAGE_ENTRIES);
}

#endif
