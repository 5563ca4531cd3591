/* vhd/space.c - space for new blocks, at the end of the file.
 * Extends the file in batches and before the space runs out, so that writers
 * rarely wait; knows nothing of what is written into it.
 *
 *   … blocks | now: strides still free | ahead: the next batch | footer
 *                                        ^ in its padding an earlier footer
 *
 * A stride is a 4 KiB page, whose last sector is the bitmap, and the data:
 * data lies on 4 KiB, and the file below sees whole pages only.  The space of
 * an extension reads zeros; a footer closes it before it is handed out, so
 * that a crashed file has a footer at both ends.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/disk.h"

#include <string.h>

enum {
    BATCH_MIN_BYTES = 16 << 20,
    BATCH_MAX_BYTES = 64 << 20,
    PAGE_SECTORS = VHD_PAGE_BYTES / VHD_SECTOR_BYTES,
    BITMAP_SECTOR = PAGE_SECTORS - 1 /* in the first page of a stride */
};

static uint32_t blocks_in(const struct vhd_space *s, uint32_t bytes)
{
    return (uint32_t)max_u64(1, bytes / VHD_SECTOR_BYTES / s->stride_sectors);
}

enum err vhd_space_init(struct vhd *v, const struct vhd_open_args *args)
{
    struct vhd_space *s = &v->space;
    struct vhd_layer *top = vhd_top(v);
    uint32_t most = args->ahead_bytes ? args->ahead_bytes : BATCH_MAX_BYTES;

    list_init(&s->waiters);
    s->spare_max = args->queue_depth ? args->queue_depth : VHD_QUEUE_DEPTH;
    s->spare = calloc(s->spare_max, sizeof *s->spare);
    if (!s->spare)
        return E_NOMEM;
    if (vhd_is_fixed(v))
        return E_OK;
    s->stride_sectors = vhd_stride_sectors(top->table.block_bytes);
    s->batch_max = blocks_in(s, most);
    s->batch_blocks = blocks_in(s, (uint32_t)min_u64(BATCH_MIN_BYTES, most));
    s->end_bytes = top->layout.end_bytes;
    return E_OK;
}

void vhd_space_fini(struct vhd *v)
{
    free(v->space.spare);
}

/* -- taking ---------------------------------------------------------------- */

static uint64_t strides_left(const struct vhd_space *s,
                             const struct vhd_area *area)
{
    return (area->end - area->next) / s->stride_sectors;
}

/* Of `count` blocks, those that may still need space and have none. */
static uint64_t blocks_without_space(const struct vhd *v, uint64_t count)
{
    const struct vhd_space *s = &v->space;
    uint64_t have = strides_left(s, &s->now) + strides_left(s, &s->ahead) +
                    s->spare_count + s->filling + vhd_top(v)->table.allocated;

    return have < count ? count - have : 0;
}

/* Strides that the file can still become longer by. */
static uint64_t strides_to_come(const struct vhd *v, uint64_t table_bytes)
{
    uint64_t used =
        (vhd_space_from(v) + table_bytes + VHD_FOOTER_BYTES) / VHD_SECTOR_BYTES;

    return used < VHD_FILE_SECTORS_MAX
               ? (VHD_FILE_SECTORS_MAX - used) / v->space.stride_sectors
               : 0;
}

bool vhd_space_suffices(const struct vhd *v, uint64_t count,
                        uint64_t table_bytes)
{
    return blocks_without_space(v, count) <= strides_to_come(v, table_bytes);
}

static void extend(struct vhd *v);

/* Before the last batch is used up the next one is on its way. */
static bool runs_low(const struct vhd *v)
{
    const struct vhd_space *s = &v->space;

    return !strides_left(s, &s->ahead) &&
           strides_left(s, &s->now) <= s->batch_blocks / 4 &&
           blocks_without_space(v, vhd_top(v)->table.count);
}

enum err vhd_space_take(struct vhd *v, uint32_t *ret_entry, bool *ret_zeros)
{
    struct vhd_space *s = &v->space;

    if (s->spare_count) {
        *ret_entry = s->spare[--s->spare_count];
        *ret_zeros = false;
        return E_OK;
    }
    if (!strides_left(s, &s->now)) {
        s->now = s->ahead;
        s->ahead = (struct vhd_area){0, 0};
    }
    if (!strides_left(s, &s->now)) {
        if (!s->extending && !s->held)
            extend(v);
        return E_AGAIN;
    }
    *ret_entry = (uint32_t)(s->now.next + BITMAP_SECTOR);
    *ret_zeros = true;
    s->now.next += s->stride_sectors;
    s->end_bytes = max_u64(s->end_bytes, s->now.next * VHD_SECTOR_BYTES);
    if (!s->extending && !s->held && runs_low(v))
        extend(v);
    return E_OK;
}

void vhd_space_put(struct vhd *v, uint32_t entry)
{
    struct vhd_space *s = &v->space;

    ASSERT(s->spare_count < s->spare_max);
    s->spare[s->spare_count++] = entry;
}

uint64_t vhd_space_from(const struct vhd *v)
{
    return align_up(vhd_top(v)->file->size_bytes - VHD_FOOTER_BYTES,
                    VHD_PAGE_BYTES);
}

/* -- extending ------------------------------------------------------------- */

static void extension_end(struct vhd *v, enum err e)
{
    struct vhd_space *s = &v->space;

    s->extending = false;
    v->flush.wrote = true;
    vhd_flush_kick(v);
    vhd_resize_kick(v);
    vhd_wake(&s->waiters, e);
}

/* Without its footer the new space is not used, but it is there: the next try
 * only writes the footer, or each would make the file longer. */
static void tail_written(struct store_io *io, enum err e)
{
    struct vhd *v = container_of(io, struct vhd, space.io);
    struct vhd_space *s = &v->space;
    uint64_t end = (s->new_bytes - VHD_FOOTER_BYTES) / VHD_SECTOR_BYTES;
    struct vhd_area area = {end - (uint64_t)s->new_blocks * s->stride_sectors,
                            end};

    if (!e && strides_left(s, &s->now))
        s->ahead = area;
    else if (!e)
        s->now = area;
    s->unclosed_bytes = e ? s->new_bytes : 0;
    extension_end(v, e);
}

/* A refusal comes later, too: who caused this has yet to join the waiters. */
static void submit_below(struct vhd *v,
                         void (*done)(struct store_io *, enum err))
{
    struct vhd_space *s = &v->space;
    enum err e;

    s->io.done = done;
    e = store_submit(vhd_top(v)->file, &s->io);
    if (e)
        store_done_later(&s->io, e);
}

static void write_tail(struct vhd *v)
{
    struct vhd_space *s = &v->space;

    vhd_footer_encode(&vhd_top(v)->footer, &s->tail);
    s->iov = (struct iovec){&s->tail, sizeof s->tail};
    s->io = (struct store_io){
        .op = STORE_WRITE,
        .off_bytes = s->new_bytes - VHD_FOOTER_BYTES,
        .len_bytes = VHD_FOOTER_BYTES,
        .iov = &s->iov,
        .iov_count = 1,
    };
    submit_below(v, tail_written);
}

static void extend_by(struct vhd *v, uint32_t blocks);

/* With little space left below, one block is better than none. */
static void file_resized(struct store_io *io, enum err e)
{
    struct vhd *v = container_of(io, struct vhd, space.io);
    struct vhd_space *s = &v->space;

    if (e && s->new_blocks > 1) {
        extend_by(v, 1);
        return;
    }
    if (e)
        extension_end(v, e);
    else
        write_tail(v);
}

static void extend_by(struct vhd *v, uint32_t blocks)
{
    struct vhd_space *s = &v->space;

    s->new_blocks = blocks;
    s->new_bytes = vhd_space_from(v) +
                   (uint64_t)blocks * s->stride_sectors * VHD_SECTOR_BYTES +
                   VHD_FOOTER_BYTES;
    s->io = (struct store_io){.op = STORE_RESIZE, .off_bytes = s->new_bytes};
    submit_below(v, file_resized);
}

static uint32_t blocks_to_extend(const struct vhd *v)
{
    uint64_t want = min_u64(v->space.batch_blocks,
                            blocks_without_space(v, vhd_top(v)->table.count));

    return (uint32_t)min_u64(max_u64(want, 1), strides_to_come(v, 0));
}

static void extension_refused(struct store_io *io, enum err e)
{
    (void)e;
    extension_end(container_of(io, struct vhd, space.io), E_TOO_BIG);
}

static void extend(struct vhd *v)
{
    struct vhd_space *s = &v->space;
    uint32_t blocks = blocks_to_extend(v);

    s->extending = true;
    s->extended = true;
    if (s->unclosed_bytes == vhd_top(v)->file->size_bytes) {
        write_tail(v);
        return;
    }
    if (!blocks) {
        s->io.done = extension_refused;
        store_done_later(&s->io, E_TOO_BIG);
        return;
    }
    s->batch_blocks =
        (uint32_t)min_u64(2 * (uint64_t)s->batch_blocks, s->batch_max);
    extend_by(v, blocks);
}

void vhd_space_release(struct vhd *v)
{
    struct vhd_space *s = &v->space;

    s->held = false;
    if (!list_empty(&s->waiters))
        vhd_wake(&s->waiters, E_OK);
}

/* -- giving back ----------------------------------------------------------- */

/* A file that was not extended keeps the end that it came with. */
bool vhd_space_owed(const struct vhd *v)
{
    return v->space.extended && vhd_top(v)->file->size_bytes !=
                                    vhd_trimmed_bytes(v->space.end_bytes);
}

enum err vhd_space_trim(struct vhd *v)
{
    return vhd_layer_trim(vhd_top(v), v->space.end_bytes);
}
