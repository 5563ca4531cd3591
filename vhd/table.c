/* vhd/table.c - the block table in RAM: states, dirt, sanity.  Does no I/O.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/table.h"

#include "base/endian.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* -- memory: zeroed address space, pages come when they are touched -------- */

struct array {
    void **at;
    size_t unit_bytes; /* for each block, or for each page of the table */
    bool of_pages;
};

enum { ARRAYS_READ = 3, ARRAYS_MAX = 9 };

/* The arrays of a table; the first ARRAYS_READ are all that a reader needs. */
static void list_arrays(struct vhd_table *t, struct array out[ARRAYS_MAX])
{
    const struct array all[ARRAYS_MAX] = {
        {(void **)&t->entries,       VHD_ENTRY_BYTES,  false},
        {(void **)&t->states,        1,                false},
        {(void **)&t->bitmaps,       VHD_BITMAP_BYTES, false},
        {(void **)&t->image,         VHD_PAGE_BYTES,   true },
        {(void **)&t->bitmap_images, VHD_BITMAP_BYTES, false},
        {(void **)&t->page_dirt,     1,                true },
        {(void **)&t->bitmap_dirt,   1,                false},
        {(void **)&t->dirty_blocks,  sizeof(uint32_t), false},
        {(void **)&t->round_blocks,  sizeof(uint32_t), false},
    };

    memcpy(out, all, sizeof all);
}

static size_t array_bytes(const struct array *a, size_t blocks)
{
    size_t units =
        a->of_pages ? div_round_up(blocks, VHD_PAGE_ENTRIES) : blocks;

    return align_up(max_u64(units, 1) * a->unit_bytes, VHD_PAGE_BYTES);
}

static enum err array_resize(struct array *a, size_t from, size_t to)
{
    void *at;

    if (*a->at)
        at = mremap(*a->at, array_bytes(a, from), array_bytes(a, to),
                    MREMAP_MAYMOVE);
    else
        at = mmap(NULL, array_bytes(a, to), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return E_NOMEM;
    *a->at = at;
    return E_OK;
}

/* Make the first n arrays hold `blocks`, or leave all as they are. */
static enum err reserve(struct vhd_table *t, size_t n, size_t blocks)
{
    struct array arrays[ARRAYS_MAX];

    list_arrays(t, arrays);
    for (size_t i = 0; i < n; i++) {
        if (!array_resize(&arrays[i], t->room, blocks))
            continue;
        while (i--)
            (void)array_resize(&arrays[i], blocks, t->room); /* shrinks */
        return E_NOMEM;
    }
    t->room = blocks;
    return E_OK;
}

static void append_absent(struct vhd_table *t, uint32_t count)
{
    uint64_t padded = align_up(count, VHD_PAGE_ENTRIES);

    for (uint32_t b = t->count; b < count; b++)
        t->entries[b] = VHD_ENTRY_ABSENT;
    if (t->image)
        memset(t->image + (size_t)t->count * VHD_ENTRY_BYTES, 0xff,
               (padded - t->count) * VHD_ENTRY_BYTES);
    t->count = count;
}

enum err vhd_table_init(struct vhd_table *t, uint32_t count,
                        uint32_t block_bytes, bool writable)
{
    enum err e;

    *t = (struct vhd_table){.block_bytes = block_bytes};
    e = reserve(t, writable ? ARRAYS_MAX : ARRAYS_READ, count);
    if (e) {
        vhd_table_fini(t);
        return e;
    }
    append_absent(t, count);
    return E_OK;
}

void vhd_table_fini(struct vhd_table *t)
{
    struct array arrays[ARRAYS_MAX];

    list_arrays(t, arrays);
    for (size_t i = 0; i < ARRAYS_MAX; i++)
        if (*arrays[i].at)
            munmap(*arrays[i].at, array_bytes(&arrays[i], t->room));
    *t = (struct vhd_table){.count = 0};
}

enum err vhd_table_grow(struct vhd_table *t, uint32_t count)
{
    ASSERT(count >= t->count && t->image);
    if (count > t->room) {
        enum err e = reserve(t, ARRAYS_MAX, count);

        if (e)
            return e;
    }
    append_absent(t, count);
    return E_OK;
}

/* -- from disk ------------------------------------------------------------- */

void vhd_table_decode(struct vhd_table *t, uint32_t first, uint32_t n,
                      const uint8_t *disk)
{
    ASSERT(range_ok(first, n, t->count));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t entry = be32_load(disk + (size_t)i * VHD_ENTRY_BYTES);

        if (entry == VHD_ENTRY_ABSENT)
            continue;
        t->entries[first + i] = entry;
        t->states[first + i] = VHD_BLOCK_UNREAD;
        t->allocated++;
    }
    if (t->image)
        memcpy(t->image + (size_t)first * VHD_ENTRY_BYTES, disk,
               (size_t)n * VHD_ENTRY_BYTES);
}

/* -- sanity ---------------------------------------------------------------- */

enum { PAD_SECTORS = VHD_PAGE_BYTES / VHD_SECTOR_BYTES - 1 };

struct check {
    const struct vhd_table *table;
    const struct vhd_extent *extents;
    size_t extent_count;
    uint64_t limit_bytes;
    vhd_bad_entry_fn *report;
    void *arg;
    struct diag *why;
    struct vhd_layout layout;
};

static enum err bad_entry(struct check *c, uint32_t block, const char *text)
{
    if (!c->report)
        return diag_fail(c->why, E_VHD_BAT, "%s", text);
    c->report(c->arg, block, text);
    return E_OK;
}

static bool overlaps(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
    return a < b_end && b < a_end;
}

/* One entry by itself: inside the file, and on nothing else's space. */
static enum err check_place(struct check *c, uint32_t block, bool *ret_bad)
{
    uint32_t entry = c->table->entries[block];
    uint64_t at = vhd_bitmap_off(entry);
    uint64_t end = vhd_data_off(entry) + c->table->block_bytes;
    uint64_t pad = min_u64(at, PAD_SECTORS * VHD_SECTOR_BYTES);
    char text[DIAG_TEXT_BYTES];

    *ret_bad = true;
    if (end > c->limit_bytes) {
        snprintf(text, sizeof text,
                 "block table: block %u is at %llu to %llu, beyond %llu where "
                 "the file's data ends",
                 block, (unsigned long long)at, (unsigned long long)end,
                 (unsigned long long)c->limit_bytes);
        return bad_entry(c, block, text);
    }
    for (size_t i = 0; i < c->extent_count; i++) {
        const struct vhd_extent *x = &c->extents[i];
        uint64_t x_end = x->off_bytes + x->len_bytes;

        if (overlaps(at, end, x->off_bytes, x_end)) {
            snprintf(text, sizeof text,
                     "block table: block %u at %llu lies on the %s at %llu",
                     block, (unsigned long long)at, x->what,
                     (unsigned long long)x->off_bytes);
            return bad_entry(c, block, text);
        }
        if (overlaps(at - pad, end, x->off_bytes, x_end))
            c->layout.padded = false;
    }
    if (entry % (PAD_SECTORS + 1) != PAD_SECTORS)
        c->layout.padded = false;
    c->layout.end_bytes = max_u64(c->layout.end_bytes, end);
    *ret_bad = false;
    return E_OK;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Neighbours in the order of the file: `sorted` is entry << 32 | block. */
static enum err check_neighbours(struct check *c, const uint64_t *sorted,
                                 size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t end = vhd_data_off((uint32_t)(sorted[i - 1] >> 32)) +
                       c->table->block_bytes;
        uint64_t at = vhd_bitmap_off((uint32_t)(sorted[i] >> 32));
        char text[DIAG_TEXT_BYTES];
        enum err e;

        if (end + PAD_SECTORS * VHD_SECTOR_BYTES > at)
            c->layout.padded = false;
        if (end <= at)
            continue;
        snprintf(text, sizeof text,
                 "block table: blocks %u and %u share the space at %llu",
                 (uint32_t)sorted[i - 1], (uint32_t)sorted[i],
                 (unsigned long long)at);
        e = bad_entry(c, (uint32_t)sorted[i], text);
        if (e)
            return e;
    }
    return E_OK;
}

/* Collect the blocks whose place is right by itself. */
static enum err check_places(struct check *c, uint64_t *sorted, size_t *ret_n)
{
    size_t n = 0;

    for (uint32_t b = 0; b < c->table->count; b++) {
        bool bad;
        enum err e;

        if (c->table->entries[b] == VHD_ENTRY_ABSENT)
            continue;
        e = check_place(c, b, &bad);
        if (e)
            return e;
        if (!bad)
            sorted[n++] = (uint64_t)c->table->entries[b] << 32 | b;
    }
    *ret_n = n;
    return E_OK;
}

enum err vhd_table_check(const struct vhd_table *t,
                         const struct vhd_extent *extents, size_t extent_count,
                         uint64_t limit_bytes, vhd_bad_entry_fn *report,
                         void *arg, struct diag *why,
                         struct vhd_layout *ret_layout)
{
    struct check c = {.table = t,
                      .extents = extents,
                      .extent_count = extent_count,
                      .limit_bytes = limit_bytes,
                      .report = report,
                      .arg = arg,
                      .why = why,
                      .layout = {.padded = true}};
    AUTO(freep) uint64_t *sorted = calloc((size_t)t->allocated + 1, 8);
    size_t n = 0;
    enum err e;

    if (!sorted)
        return E_NOMEM;
    for (size_t i = 0; i < extent_count; i++)
        c.layout.end_bytes = max_u64(
            c.layout.end_bytes, extents[i].off_bytes + extents[i].len_bytes);
    e = check_places(&c, sorted, &n);
    if (e)
        return e;
    qsort(sorted, n, sizeof *sorted, compare_u64);
    e = check_neighbours(&c, sorted, n);
    if (e)
        return e;
    *ret_layout = c.layout;
    return E_OK;
}

/* -- changes --------------------------------------------------------------- */

static void touch_page(struct vhd_table *t, uint32_t page)
{
    t->page_dirt[page] |= VHD_DIRTY;
    t->any_page_dirty = true;
}

static void touch_bitmap(struct vhd_table *t, uint32_t block)
{
    if (t->bitmap_dirt[block] & VHD_DIRTY)
        return;
    t->bitmap_dirt[block] |= VHD_DIRTY;
    t->dirty_blocks[t->dirty_block_count++] = block;
}

void vhd_table_publish(struct vhd_table *t, uint32_t block, uint32_t entry,
                       enum vhd_block_state state)
{
    ASSERT(t->states[block] == VHD_BLOCK_FILLING);
    ASSERT(state == VHD_BLOCK_PARTIAL || state == VHD_BLOCK_FULL);
    t->entries[block] = entry;
    t->states[block] = (uint8_t)state;
    t->allocated++;
    touch_page(t, block / VHD_PAGE_ENTRIES);
}

void vhd_table_loaded(struct vhd_table *t, uint32_t block,
                      const uint8_t *bitmap)
{
    ASSERT(t->states[block] == VHD_BLOCK_LOADING);
    if (vhd_bitmap_full(bitmap, vhd_block_sectors(t))) {
        t->states[block] = VHD_BLOCK_FULL;
        return;
    }
    memcpy(vhd_table_bitmap(t, block), bitmap, VHD_BITMAP_BYTES);
    t->states[block] = VHD_BLOCK_PARTIAL;
}

void vhd_table_mark(struct vhd_table *t, uint32_t block, uint32_t first,
                    uint32_t count)
{
    uint8_t *bitmap = vhd_table_bitmap(t, block);

    if (t->states[block] == VHD_BLOCK_FULL)
        return;
    ASSERT(t->states[block] == VHD_BLOCK_PARTIAL);
    if (!vhd_bitmap_set(bitmap, first, count))
        return;
    touch_bitmap(t, block);
    if (vhd_bitmap_full(bitmap, vhd_block_sectors(t)))
        t->states[block] = VHD_BLOCK_FULL;
}

/* -- rounds ---------------------------------------------------------------- */

static void snap_page(struct vhd_table *t, uint32_t page)
{
    uint32_t first = page * VHD_PAGE_ENTRIES;
    uint32_t end = (uint32_t)min_u64(first + VHD_PAGE_ENTRIES, t->count);

    for (uint32_t b = first; b < end; b++)
        be32_store(t->image + (size_t)b * VHD_ENTRY_BYTES, t->entries[b]);
    t->page_dirt[page] = VHD_IN_ROUND;
    t->round_page_count++;
}

static uint8_t *bitmap_image(const struct vhd_table *t, uint32_t block)
{
    return t->bitmap_images + (size_t)block * VHD_BITMAP_BYTES;
}

void vhd_round_begin(struct vhd_table *t)
{
    ASSERT(!vhd_round_any(t));
    for (uint32_t p = 0; t->any_page_dirty && p < vhd_table_pages(t); p++)
        if (t->page_dirt[p])
            snap_page(t, p);
    t->any_page_dirty = false;
    for (uint32_t i = 0; i < t->dirty_block_count; i++) {
        uint32_t block = t->dirty_blocks[i];

        memcpy(bitmap_image(t, block), vhd_table_bitmap(t, block),
               VHD_BITMAP_BYTES);
        t->bitmap_dirt[block] = VHD_IN_ROUND;
        t->round_blocks[i] = block;
    }
    t->round_block_count = t->dirty_block_count;
    t->dirty_block_count = 0;
    t->round_at = 0;
}

/* The run of pages of the round that starts at page `first`. */
static uint32_t page_run(const struct vhd_table *t, uint32_t first)
{
    uint32_t end = first;

    while (end < vhd_table_pages(t) && (t->page_dirt[end] & VHD_IN_ROUND))
        end++;
    return end - first;
}

bool vhd_round_next(struct vhd_table *t, struct vhd_round_piece *ret_piece)
{
    uint32_t pages = vhd_table_pages(t);

    while (t->round_at < pages) {
        uint32_t first = t->round_at, run = page_run(t, first);
        uint64_t off = (uint64_t)first * VHD_PAGE_BYTES;

        t->round_at += run ? run : 1;
        if (!run)
            continue;
        *ret_piece = (struct vhd_round_piece){
            .table_off = off,
            .bytes = t->image + off,
            .byte_count = (uint64_t)run * VHD_PAGE_BYTES,
        };
        return true;
    }
    if (t->round_at - pages == t->round_block_count)
        return false;
    *ret_piece = (struct vhd_round_piece){
        .is_bitmap = true,
        .block = t->round_blocks[t->round_at - pages],
        .byte_count = VHD_BITMAP_BYTES,
    };
    ret_piece->bytes = bitmap_image(t, ret_piece->block);
    t->round_at++;
    return true;
}

void vhd_round_end(struct vhd_table *t, bool written)
{
    for (uint32_t p = 0; t->round_page_count && p < vhd_table_pages(t); p++) {
        bool again = (t->page_dirt[p] & VHD_IN_ROUND) && !written;

        t->page_dirt[p] &= VHD_DIRTY;
        if (again)
            touch_page(t, p);
    }
    for (uint32_t i = 0; i < t->round_block_count; i++) {
        t->bitmap_dirt[t->round_blocks[i]] &= VHD_DIRTY;
        if (!written)
            touch_bitmap(t, t->round_blocks[i]);
    }
    t->round_block_count = 0;
    t->round_page_count = 0;
}
