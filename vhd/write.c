/* vhd/write.c - what changes the guest's bytes: overwriting, the first write
 * into a block, zeroing, discarding.  Flushes nothing: flush.c.
 *
 * The first write into a block (I12):
 *   space from the end of the file, which reads zeros (or is zeroed first)
 *   -> data, and for a dynamic disk the bitmap, all ones, in the page before
 *      it: once and for all  -> both done: publish in the RAM table
 * Others that write to the block wait meanwhile; readers find it absent.  If
 * a write fails nothing was published, and the space is kept for another try.
 * The table goes to disk with the next flush, after a flush of all this.
 *
 * A differencing disk needs no bitmap for a new block: zeros say "parent".
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/disk.h"

#include <string.h>

/* -- into a block that is there -------------------------------------------- */

static void write_done(struct store_io *io, enum err e)
{
    struct vhd_fragment *f = container_of(io, struct vhd_fragment, io);
    struct vhd *v = f->vhd;

    v->flush.wrote = true;
    if (!e && f->count)
        vhd_table_mark(&vhd_top(v)->table, f->block, f->first, f->count);
    vhd_fragment_end(f, e);
}

/* Write or zero in place.  Zeroing is what a discard does, too: the file
 * below gives back the space and the table stays as it is.  A discard marks
 * no sectors, for an unmarked one has nothing to give back. */
static bool write_in_place(struct vhd_request *r, uint32_t block,
                           uint64_t file_off, uint64_t in, uint64_t len)
{
    struct vhd_fragment *f = vhd_fragment_take(r);

    if (!f)
        return false;
    f->layer = 0;
    f->at_bytes = r->at_bytes;
    f->block = block;
    f->first = (uint32_t)(in / VHD_SECTOR_BYTES);
    f->count = (uint32_t)(len / VHD_SECTOR_BYTES);
    vhd_fragment_aim(f, file_off, len, 0);
    if (r->io->op == STORE_DISCARD)
        f->io.op = STORE_WRITE_ZEROES;
    if (r->io->op == STORE_DISCARD || vhd_is_fixed(r->vhd))
        f->count = 0;
    r->at_bytes += len;
    r->pending++;
    vhd_fragment_start(f, write_done);
    return true;
}

/* clang-format off */
_Alignas(VHD_PAGE_BYTES) uint8_t vhd_ones[VHD_PAGE_BYTES] = {
    [VHD_PAD_BYTES ... VHD_PAGE_BYTES - 1] = 0xff
};
/* clang-format on */

/* -- into a block that is not ---------------------------------------------- */

static void fill_end(struct vhd_fragment *f)
{
    struct vhd *v = f->vhd;
    struct vhd_table *t = &vhd_top(v)->table;
    uint32_t block = f->block;
    enum err e = f->error;

    v->space.filling--;
    v->flush.wrote = true;
    if (e) {
        t->states[block] = VHD_BLOCK_ABSENT;
        vhd_space_put(v, f->entry);
    } else {
        bool differs = vhd_top(v)->footer.type == VHD_DIFFERENCING;

        vhd_table_publish(t, block, f->entry,
                          differs ? VHD_BLOCK_PARTIAL : VHD_BLOCK_FULL);
        vhd_table_mark(t, block, f->first, f->count);
    }
    vhd_fragment_end(f, e);
    vhd_wake_block(v, 0, block, E_OK);
}

static void fill_part_done(struct vhd_fragment *f, enum err e)
{
    if (e && !f->error)
        f->error = e;
    if (--f->pending == 0)
        fill_end(f);
}

static void fill_data_done(struct store_io *io, enum err e)
{
    fill_part_done(container_of(io, struct vhd_fragment, io), e);
}

static void fill_mark_done(struct store_io *io, enum err e)
{
    fill_part_done(container_of(io, struct vhd_fragment, mark), e);
}

/* The page with the bitmap, by itself. */
static void fill_mark(struct vhd_fragment *f)
{
    struct vhd *v = f->vhd;
    enum err e;

    f->mark_iov = (struct iovec){vhd_ones, sizeof vhd_ones};
    f->mark = (struct store_io){
        .op = STORE_WRITE,
        .off_bytes = vhd_bitmap_off(f->entry) - VHD_PAD_BYTES,
        .len_bytes = sizeof vhd_ones,
        .iov = &f->mark_iov,
        .iov_count = 1,
        .done = fill_mark_done,
    };
    f->pending++;
    e = store_submit(vhd_top(v)->file, &f->mark);
    if (e)
        fill_part_done(f, e);
}

/* Data and bitmap; in one write where they touch. */
static void fill_start(struct vhd_fragment *f)
{
    struct vhd *v = f->vhd;
    bool marks = vhd_top(v)->footer.type == VHD_DYNAMIC;
    bool touch = marks && !f->first && f->request->io->op == STORE_WRITE;
    uint64_t off =
        vhd_data_off(f->entry) + (uint64_t)f->first * VHD_SECTOR_BYTES;
    uint64_t len = (uint64_t)f->count * VHD_SECTOR_BYTES;

    f->pending = 1;
    if (touch)
        f->iov[0] = (struct iovec){vhd_ones, sizeof vhd_ones};
    vhd_fragment_aim(f, off, len, touch);
    if (marks && !touch)
        fill_mark(f);
    vhd_fragment_start(f, fill_data_done);
}

/* The space was used before: zeros first, then as if it were new. */
static void fill_zeroed(struct store_io *io, enum err e)
{
    struct vhd_fragment *f = container_of(io, struct vhd_fragment, io);

    f->error = e;
    if (e)
        fill_end(f);
    else
        fill_start(f);
}

static void fill_zero_first(struct vhd_fragment *f)
{
    struct vhd *v = f->vhd;
    struct vhd_table *t = &vhd_top(v)->table;

    f->io = (struct store_io){
        .op = STORE_WRITE_ZEROES,
        .off_bytes = vhd_bitmap_off(f->entry) - VHD_PAD_BYTES,
        .len_bytes = VHD_PAGE_BYTES + t->block_bytes,
    };
    vhd_fragment_start(f, fill_zeroed);
}

static bool fill_block(struct vhd_request *r, uint32_t block, uint64_t in,
                       uint64_t len)
{
    struct vhd *v = r->vhd;
    struct vhd_fragment *f = vhd_fragment_take(r);
    bool zeros;
    enum err e;

    if (!f)
        return false;
    e = vhd_space_take(v, &f->entry, &zeros);
    if (e) {
        vhd_fragment_return(f);
        if (e == E_AGAIN)
            vhd_wait(&v->space.waiters, r);
        else
            r->error = e;
        return e != E_AGAIN;
    }
    vhd_top(v)->table.states[block] = VHD_BLOCK_FILLING;
    v->space.filling++;
    f->layer = 0;
    f->at_bytes = r->at_bytes;
    f->block = block;
    f->first = (uint32_t)(in / VHD_SECTOR_BYTES);
    f->count = (uint32_t)(len / VHD_SECTOR_BYTES);
    r->at_bytes += len;
    r->pending++;
    if (zeros)
        fill_start(f);
    else
        fill_zero_first(f);
    return true;
}

/* -- what to do with a block that is not there ----------------------------- */

/* Zeros where there is nothing need a block only if a parent has bytes. */
static bool zero_absent(struct vhd_request *r, uint32_t block, uint64_t in,
                        uint64_t len)
{
    struct vhd_run run = vhd_map(r->vhd, 1, r->at_bytes, len);

    switch (run.kind) {
    case VHD_RUN_UNREAD: return vhd_need_bitmap(r, run.layer, run.block);
    case VHD_RUN_DATA: return fill_block(r, block, in, len);
    case VHD_RUN_ZERO: break;
    }
    r->at_bytes += run.len_bytes;
    return true;
}

static bool write_absent(struct vhd_request *r, uint32_t block, uint64_t in,
                         uint64_t len)
{
    if (r->io->op == STORE_WRITE)
        return fill_block(r, block, in, len);
    if (r->io->op == STORE_WRITE_ZEROES)
        return zero_absent(r, block, in, len);
    r->at_bytes += len; /* DISCARD: there is nothing to give back */
    return true;
}

bool vhd_write_step(struct vhd_request *r)
{
    struct vhd *v = r->vhd;
    struct vhd_table *t = &vhd_top(v)->table;
    uint64_t len = r->end_bytes - r->at_bytes, in;
    uint32_t block;

    if (vhd_is_fixed(v))
        return write_in_place(r, 0, r->at_bytes, 0, len);
    block = (uint32_t)(r->at_bytes / t->block_bytes);
    in = r->at_bytes % t->block_bytes;
    len = min_u64(len, t->block_bytes - in);
    switch ((enum vhd_block_state)t->states[block]) {
    case VHD_BLOCK_ABSENT: return write_absent(r, block, in, len);
    case VHD_BLOCK_FILLING: vhd_wait_block(r, 0, block); return false;
    case VHD_BLOCK_UNREAD:
    case VHD_BLOCK_LOADING: return vhd_need_bitmap(r, 0, block);
    case VHD_BLOCK_PARTIAL:
    case VHD_BLOCK_FULL: break;
    }
    return write_in_place(r, block, vhd_data_off(t->entries[block]) + in, in,
                          len);
}
