/* fs/client_map.c - extents of a file, and which of their blocks are written.
 * Does no I/O and takes no lock.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client_map.h"

#include <string.h>

enum {
    /* An INVALID extent is at most this long (64 MiB), so that its bits are
     * 4 KiB and are made where somebody writes only. */
    INVALID_BLOCKS_MAX = 16384,
    WORD_BITS = 64,
    ROOM_MIN = 16
};

static uint64_t end_of(const struct map_extent *x)
{
    return x->first + x->count;
}

/* -- bits of an INVALID extent --------------------------------------------- */

static size_t words_of(const struct map_extent *x)
{
    return div_round_up(x->count, WORD_BITS);
}

static uint64_t *written_bits(const struct map_extent *x)
{
    return x->bits;
}

static uint64_t *dirty_bits(const struct map_extent *x)
{
    return x->bits + words_of(x);
}

static bool bit_get(const uint64_t *bits, uint64_t i)
{
    return bits[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

static void bit_set(uint64_t *bits, uint64_t i)
{
    bits[i / WORD_BITS] |= UINT64_C(1) << (i % WORD_BITS);
}

static void bit_clear(uint64_t *bits, uint64_t i)
{
    bits[i / WORD_BITS] &= ~(UINT64_C(1) << (i % WORD_BITS));
}

/* The first of bits [i, end) that is not `value`. */
static uint64_t bit_run_end(const uint64_t *bits, uint64_t i, uint64_t end,
                            bool value)
{
    while (i < end) {
        uint64_t word = bits[i / WORD_BITS];
        uint64_t differs = (value ? ~word : word) >> (i % WORD_BITS);

        if (differs)
            return min_u64(i + (unsigned)__builtin_ctzll(differs), end);
        i = align_down(i, WORD_BITS) + WORD_BITS;
    }
    return end;
}

static uint64_t bits_count(const uint64_t *bits, size_t words)
{
    uint64_t n = 0;

    for (size_t i = 0; i < words; i++)
        n += (unsigned)__builtin_popcountll(bits[i]);
    return n;
}

static enum err bits_make(struct map_extent *x)
{
    if (x->bits)
        return E_OK;
    x->bits = calloc(2 * words_of(x), sizeof *x->bits);
    return x->bits ? E_OK : E_NOMEM;
}

/* -- the array ------------------------------------------------------------- */

void fs_map_fini(struct fs_map *map)
{
    for (size_t i = 0; i < map->count; i++)
        free(map->at[i].bits);
    free(map->at);
    *map = (struct fs_map){0};
}

/* The first extent that ends after `block`; map->count if there is none. */
static size_t index_of(const struct fs_map *map, uint64_t block)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (end_of(&map->at[mid]) <= block)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static enum err insert_at(struct fs_map *map, size_t i,
                          const struct map_extent *x)
{
    if (map->count == map->room) {
        size_t room = max_u64(ROOM_MIN, 2 * map->room);
        void *at = reallocarray(map->at, room, sizeof *map->at);

        if (!at)
            return E_NOMEM;
        map->at = at;
        map->room = room;
    }
    memmove(&map->at[i + 1], &map->at[i], (map->count - i) * sizeof map->at[0]);
    map->at[i] = *x;
    map->count++;
    return E_OK;
}

static void remove_at(struct fs_map *map, size_t i, size_t n)
{
    if (!n)
        return;
    for (size_t k = i; k < i + n; k++) {
        struct map_extent *x = &map->at[k];

        if (x->bits)
            map->dirty_blocks -= bits_count(dirty_bits(x), words_of(x));
        free(x->bits);
    }
    memmove(&map->at[i], &map->at[i + n],
            (map->count - i - n) * sizeof map->at[0]);
    map->count -= n;
}

/* Bits [from, from+count) of `x` as the bits of an extent of their own. */
static enum err bits_part(const struct map_extent *x, uint64_t from,
                          struct map_extent *part)
{
    enum err e;

    part->bits = NULL;
    if (!x->bits)
        return E_OK;
    e = bits_make(part);
    if (e)
        return e;
    for (uint64_t i = 0; i < part->count; i++) {
        if (bit_get(written_bits(x), from + i))
            bit_set(written_bits(part), i);
        if (bit_get(dirty_bits(x), from + i))
            bit_set(dirty_bits(part), i);
    }
    return E_OK;
}

/* Cut the extent over `block`, if there is one, so that one begins there. */
static enum err split(struct fs_map *map, uint64_t block)
{
    size_t i = index_of(map, block);
    struct map_extent *x = &map->at[i], left, right;
    uint64_t n;
    enum err e;

    if (i == map->count || x->first >= block)
        return E_OK;
    n = block - x->first;
    left = right = *x;
    left.count = n;
    right.count = x->count - n;
    right.first += n;
    right.lun += n;
    e = bits_part(x, 0, &left);
    if (e)
        return e;
    e = bits_part(x, n, &right);
    if (!e)
        e = insert_at(map, i + 1, &right);
    if (e) {
        free(left.bits);
        free(right.bits);
        return e;
    }
    free(map->at[i].bits);
    map->at[i] = left;
    return E_OK;
}

/* -- looking up ------------------------------------------------------------ */

struct map_run fs_map_find(const struct fs_map *map, uint64_t block,
                           uint64_t max)
{
    size_t i = index_of(map, block);
    const struct map_extent *x = &map->at[i];
    struct map_run run = {.state = MAP_UNKNOWN, .count = max};
    uint64_t at;

    if (i == map->count)
        return run;
    if (x->first > block) {
        run.count = min_u64(max, x->first - block);
        return run;
    }
    at = block - x->first;
    run.state = x->state;
    run.lun = x->lun + at;
    run.count = min_u64(max, x->count - at);
    if (x->bits) {
        bool written = bit_get(written_bits(x), at);

        run.state = written ? MAP_DATA : MAP_INVALID;
        run.count =
            bit_run_end(written_bits(x), at, at + run.count, written) - at;
    }
    return run;
}

/* -- learning a layout ----------------------------------------------------- */

static enum err extents_check(const fs_extent *extents, size_t count,
                              uint64_t lun_blocks)
{
    for (size_t i = 0; i < count; i++) {
        const fs_extent *x = &extents[i];

        if (!x->count || !range_ok(x->file_block, x->count, MAP_BLOCKS_MAX))
            return E_PROTOCOL;
        if (i && x->file_block != x[-1].file_block + x[-1].count)
            return E_PROTOCOL;
        if (x->state != FS_NONE_DATA &&
            !range_ok(x->lun_block, x->count, lun_blocks))
            return E_PROTOCOL;
    }
    return E_OK;
}

/* Under a read layout nothing is ours to write. */
static enum map_state state_of(fs_extent_state state, bool rw)
{
    switch (state) {
    case FS_READ_WRITE_DATA: return rw ? MAP_DATA : MAP_READ;
    case FS_READ_DATA: return MAP_READ;
    case FS_INVALID_DATA: return rw ? MAP_INVALID : MAP_HOLE;
    case FS_NONE_DATA: break;
    }
    return MAP_HOLE;
}

/* True if `x` could be the end of `prev`. */
static bool continues(const struct map_extent *prev, const struct map_extent *x)
{
    return end_of(prev) == x->first && prev->state == x->state &&
           x->state != MAP_INVALID &&
           (x->state == MAP_HOLE || prev->lun + prev->count == x->lun);
}

static enum err add(struct fs_map *map, size_t i, const struct map_extent *x)
{
    if (i && continues(&map->at[i - 1], x)) {
        map->at[i - 1].count += x->count;
        return E_OK;
    }
    return insert_at(map, i, x);
}

/* Fill what is not known of [first, end) with one extent of a reply. */
static enum err fill(struct fs_map *map, uint64_t first, uint64_t end,
                     uint64_t lun, enum map_state state)
{
    uint64_t longest = state == MAP_INVALID ? INVALID_BLOCKS_MAX : UINT64_MAX;

    for (uint64_t at = first; at < end;) {
        size_t i = index_of(map, at);
        struct map_extent x = {.first = at, .state = state};
        uint64_t stop = end;
        enum err e;

        if (i < map->count && map->at[i].first <= at) {
            at = end_of(&map->at[i]);
            continue;
        }
        if (i < map->count)
            stop = min_u64(stop, map->at[i].first);
        x.count = min_u64(stop - at, longest);
        x.lun = state == MAP_HOLE ? 0 : lun + (at - first);
        e = add(map, i, &x);
        if (e)
            return e;
        at += x.count;
    }
    return E_OK;
}

enum err fs_map_cut(struct fs_map *map, uint64_t block, uint64_t count)
{
    enum err e = split(map, block);

    return e ? e : split(map, block + min_u64(count, MAP_BLOCKS_MAX - block));
}

static bool is_weak(const struct map_extent *x)
{
    return x->state == MAP_HOLE || x->state == MAP_READ;
}

/* Forget holes and what may only be read in [first, end), which is cut. */
static void drop_weak(struct fs_map *map, uint64_t first, uint64_t end)
{
    for (size_t i = index_of(map, first);
         i < map->count && map->at[i].first < end;) {
        size_t n = 0;

        while (i + n < map->count && map->at[i + n].first < end &&
               is_weak(&map->at[i + n]))
            n++;
        if (n)
            remove_at(map, i, n);
        else
            i++;
    }
}

/* Without memory a hole stays a hole, and who writes there asks. */
void fs_map_forget(struct fs_map *map, uint64_t block, uint64_t count)
{
    if (!fs_map_cut(map, block, count))
        drop_weak(map, block, block + count);
}

enum err fs_map_insert(struct fs_map *map, const fs_extent *extents,
                       size_t count, bool rw, uint64_t lun_blocks)
{
    enum err e = extents_check(extents, count, lun_blocks);
    uint64_t first, end;

    if (e || !count)
        return e;
    first = extents[0].file_block;
    end = extents[count - 1].file_block + extents[count - 1].count;
    e = fs_map_cut(map, first, end - first);
    if (e)
        return e;
    drop_weak(map, first, end);
    for (size_t i = 0; i < count && !e; i++)
        e = fill(map, extents[i].file_block,
                 extents[i].file_block + extents[i].count, extents[i].lun_block,
                 state_of(extents[i].state, rw));
    return e;
}

void fs_map_drop(struct fs_map *map, uint64_t block, uint64_t count,
                 enum map_state state)
{
    uint64_t end = block + min_u64(count, MAP_BLOCKS_MAX - block);
    size_t i = index_of(map, block), n = 0;

    while (i + n < map->count && map->at[i + n].first < end)
        n++;
    if (n) {
        ASSERT(map->at[i].first >= block);
        ASSERT(end_of(&map->at[i + n - 1]) <= end);
    }
    remove_at(map, i, n);
    /* without memory it stays unknown, and who comes there asks */
    if (state == MAP_HOLE)
        (void)!fill(map, block, end, 0, MAP_HOLE);
}

/* -- what was written ------------------------------------------------------ */

enum err fs_map_prepare(struct fs_map *map, uint64_t block, uint64_t count)
{
    uint64_t end = block + count;

    for (size_t i = index_of(map, block);
         i < map->count && map->at[i].first < end; i++) {
        enum err e = E_OK;

        if (map->at[i].state == MAP_INVALID)
            e = bits_make(&map->at[i]);
        if (e)
            return e;
    }
    return E_OK;
}

/* The part of [block, end) that lies in `x`, counted from its start. */
static void clip(const struct map_extent *x, uint64_t block, uint64_t end,
                 uint64_t *ret_from, uint64_t *ret_to)
{
    *ret_from = max_u64(block, x->first) - x->first;
    *ret_to = min_u64(end, end_of(x)) - x->first;
}

void fs_map_written(struct fs_map *map, uint64_t block, uint64_t count)
{
    uint64_t end = block + count, from, to;

    for (size_t k = index_of(map, block);
         k < map->count && map->at[k].first < end; k++) {
        struct map_extent *x = &map->at[k];

        if (x->state != MAP_INVALID)
            continue;
        ASSERT(x->bits != NULL);
        clip(x, block, end, &from, &to);
        for (uint64_t i = from; i < to; i++) {
            if (bit_get(written_bits(x), i))
                continue;
            bit_set(written_bits(x), i);
            bit_set(dirty_bits(x), i);
            map->dirty_blocks++;
        }
    }
}

/* Take dirty ranges of one extent from its bit `i` on. */
static size_t collect_extent(struct fs_map *map, struct map_extent *x,
                             uint64_t i, fs_extent *out, size_t max,
                             uint64_t *ret_cursor)
{
    uint64_t *dirty = dirty_bits(x);
    size_t n = 0;

    for (;;) {
        uint64_t from = bit_run_end(dirty, i, x->count, false), to;

        *ret_cursor = x->first + from;
        if (from == x->count || n == max)
            return n;
        to = bit_run_end(dirty, from, x->count, true);
        for (i = from; i < to; i++)
            bit_clear(dirty, i);
        map->dirty_blocks -= to - from;
        out[n++] = (fs_extent){.file_block = x->first + from,
                               .lun_block = x->lun + from,
                               .count = to - from,
                               .state = FS_READ_WRITE_DATA};
    }
}

size_t fs_map_collect(struct fs_map *map, uint64_t *cursor, fs_extent *out,
                      size_t max)
{
    size_t n = 0;

    for (size_t k = index_of(map, *cursor); k < map->count; k++) {
        struct map_extent *x = &map->at[k];

        if (!map->dirty_blocks || n == max)
            return n;
        if (x->bits)
            n += collect_extent(map, x, max_u64(*cursor, x->first) - x->first,
                                out + n, max - n, cursor);
    }
    return n;
}

/* An extent whose blocks are all written and known as such is plain data. */
static void settle(struct map_extent *x)
{
    if (!x->bits || bits_count(written_bits(x), words_of(x)) != x->count ||
        bits_count(dirty_bits(x), words_of(x)))
        return;
    free(x->bits);
    x->bits = NULL;
    x->state = MAP_DATA;
}

void fs_map_committed(struct fs_map *map, const fs_extent *out, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        uint64_t end = out[k].file_block + out[k].count;

        for (size_t i = index_of(map, out[k].file_block);
             i < map->count && map->at[i].first < end; i++)
            settle(&map->at[i]);
    }
}

void fs_map_redirty(struct fs_map *map, const fs_extent *out, size_t count)
{
    uint64_t from, to;

    for (size_t k = 0; k < count; k++) {
        uint64_t end = out[k].file_block + out[k].count;

        for (size_t i = index_of(map, out[k].file_block);
             i < map->count && map->at[i].first < end; i++) {
            struct map_extent *x = &map->at[i];

            if (!x->bits)
                continue;
            clip(x, out[k].file_block, end, &from, &to);
            for (uint64_t b = from; b < to; b++) {
                map->dirty_blocks += !bit_get(dirty_bits(x), b);
                bit_set(dirty_bits(x), b);
            }
        }
    }
}
