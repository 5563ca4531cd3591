/* vhd/resize.c - make the disk larger while the guest uses it.  Never smaller.
 *
 * A resize is a list of steps, each of which may start one io and is followed
 * by the next when that is done.  While it runs no flush round and no
 * extension of the file does; reads and writes go on.
 *
 * Crash order: at every moment both footers and the header are as before or
 * as after, and what a new footer promises is on disk before it.  A table that
 * has no room is written anew behind everything else, then the header, whose
 * fields that change share one sector, points to it: no block is moved.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/disk.h"

#include <string.h>

static void resize_continue(struct vhd *v);

static void resize_io_done(struct store_io *io, enum err e)
{
    struct vhd *v = container_of(io, struct vhd, resize.io);

    v->resize.error = e;
    resize_continue(v);
}

/* Start r->io; what refuses it ends the resize, later. */
static bool issue(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;
    enum err e;

    r->io.done = resize_io_done;
    e = store_submit(vhd_top(v)->file, &r->io);
    if (e)
        store_done_later(&r->io, e);
    return true;
}

static bool issue_range(struct vhd *v, enum store_op op, uint64_t off,
                        uint64_t len)
{
    v->resize.io =
        (struct store_io){.op = op, .off_bytes = off, .len_bytes = len};
    return issue(v);
}

/* Write what the first `count` entries of r->iov say. */
static bool issue_write(struct vhd *v, uint64_t off, uint32_t count)
{
    struct vhd_resize *r = &v->resize;

    r->io = (struct store_io){
        .op = STORE_WRITE,
        .off_bytes = off,
        .len_bytes = iov_bytes(r->iov, count),
        .iov = r->iov,
        .iov_count = count,
    };
    return issue(v);
}

static bool flush(struct vhd *v)
{
    return issue_range(v, STORE_FLUSH, 0, 0);
}

/* -- footers --------------------------------------------------------------- */

static bool write_footer(struct vhd *v, const struct vhd_footer *footer,
                         uint64_t off)
{
    struct vhd_resize *r = &v->resize;
    struct vhd_disk_footer disk;

    vhd_footer_encode(footer, &disk);
    memcpy(r->page, &disk, sizeof disk);
    r->iov[0] = (struct iovec){r->page, sizeof disk};
    return issue_write(v, off, 1);
}

static uint64_t tail_off(const struct vhd *v)
{
    return vhd_top(v)->file->size_bytes - VHD_FOOTER_BYTES;
}

static bool write_tail_as_before(struct vhd *v)
{
    return write_footer(v, &vhd_top(v)->footer, tail_off(v));
}

static bool write_tail(struct vhd *v)
{
    return write_footer(v, &v->resize.footer, tail_off(v));
}

static bool write_copy(struct vhd *v)
{
    return write_footer(v, &v->resize.footer, 0);
}

static bool publish(struct vhd *v)
{
    struct vhd_layer *top = vhd_top(v);

    top->footer = v->resize.footer;
    top->size_bytes = v->resize.new_bytes;
    store_size_set(&v->store, v->resize.new_bytes);
    return false;
}

/* -- fixed: the footer moves, and what was under it becomes the guest's ---- */

static bool lengthen(struct vhd *v)
{
    uint64_t need = v->resize.new_bytes + VHD_FOOTER_BYTES;

    return need > v->resize.old_end_bytes &&
           issue_range(v, STORE_RESIZE, need, 0);
}

static bool zero_old_tail(struct vhd *v)
{
    const struct vhd_resize *r = &v->resize;
    uint64_t end = min_u64(r->old_end_bytes, r->new_bytes);

    return issue_range(v, STORE_WRITE_ZEROES, r->old_bytes, end - r->old_bytes);
}

static vhd_resize_step *const fixed_steps[] = {
    lengthen, write_tail_as_before, flush, zero_old_tail,
    flush,    write_tail,           flush, publish,
    NULL,
};

/* -- dynamic and differencing ---------------------------------------------- */

/* The last block may reach beyond the old end: what is there must be zeros. */
static bool zero_last_block(struct vhd *v)
{
    const struct vhd_table *t = &vhd_top(v)->table;
    uint64_t old = v->resize.old_bytes, in = old % t->block_bytes;
    uint32_t entry = t->entries[old / t->block_bytes];

    if (!in || entry == VHD_ENTRY_ABSENT)
        return false;
    return issue_range(v, STORE_WRITE_ZEROES, vhd_data_off(entry) + in,
                       t->block_bytes - in);
}

static uint64_t table_bytes(uint64_t entries)
{
    return align_up(entries * VHD_ENTRY_BYTES, VHD_SECTOR_BYTES);
}

/* A table of whole pages, with room to spare, and a footer behind it.  From
 * here on the space is in use, for who knows which header is on disk if a
 * later step fails. */
static bool make_table_space(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;
    uint64_t end =
        r->header.table_off_bytes + table_bytes(r->header.max_entries);

    if (!r->moves_table)
        return false;
    v->space.end_bytes = max_u64(v->space.end_bytes, end);
    v->space.extended = true;
    return issue_range(v, STORE_RESIZE, end + VHD_FOOTER_BYTES, 0);
}

static bool close_table_space(struct vhd *v)
{
    return v->resize.moves_table && write_tail_as_before(v);
}

/* Images of all entries, the new ones absent. */
static bool write_moved_table(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;
    struct vhd_table *t = &vhd_top(v)->table;
    uint64_t bytes = (uint64_t)vhd_table_pages(t) * VHD_PAGE_BYTES;

    if (!r->moves_table)
        return false;
    r->iov[0] = (struct iovec){
        t->image, min_u64(bytes, table_bytes(r->header.max_entries))};
    return issue_write(v, r->header.table_off_bytes, 1);
}

static bool write_moved_reserve(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;
    uint64_t from =
        (uint64_t)vhd_table_pages(&vhd_top(v)->table) * VHD_PAGE_BYTES;
    uint64_t left = table_bytes(r->header.max_entries);
    uint32_t n = 0;

    if (!r->moves_table || left <= from)
        return false;
    memset(r->page, 0xff, sizeof r->page);
    for (left -= from; left; left -= r->iov[n++].iov_len)
        r->iov[n] = (struct iovec){r->page, min_u64(left, sizeof r->page)};
    return issue_write(v, r->header.table_off_bytes + from, n);
}

/* Only the first sector of the header changes. */
static bool point_to_moved_table(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;
    struct vhd_disk_header disk;

    if (!r->moves_table)
        return false;
    v->flush.header_owed = true;
    vhd_header_encode(&r->header, &disk);
    memcpy(r->page, &disk, VHD_SECTOR_BYTES);
    r->iov[0] = (struct iovec){r->page, VHD_SECTOR_BYTES};
    return issue_write(v, r->footer.data_offset, 1);
}

/* XenServer looks for its batmap behind the table, if the creator is its own:
 * there is none any more. */
static bool take_moved_table(struct vhd *v)
{
    struct vhd_layer *top = vhd_top(v);

    if (!v->resize.moves_table)
        return false;
    top->header = v->resize.header;
    v->flush.header_owed = false;
    if (top->batmap.off_bytes) {
        top->batmap = (struct vhd_batmap){0};
        vhd_footer_set_creator(&top->footer);
        vhd_footer_set_creator(&v->resize.footer);
    }
    return false;
}

/* Entries that were reserved may hold anything.  The table in RAM may be
 * longer than the one on disk: a larger resize has failed. */
static bool clear_reserved_entries(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;
    struct vhd_table *t = &vhd_top(v)->table;
    uint64_t first = align_down(r->old_bytes / t->block_bytes * VHD_ENTRY_BYTES,
                                VHD_SECTOR_BYTES);
    uint64_t end = table_bytes(div_round_up(r->new_bytes, t->block_bytes));

    if (r->moves_table)
        return false;
    r->iov[0] = (struct iovec){t->image + first, end - first};
    return issue_write(v, r->header.table_off_bytes + first, 1);
}

/* clang-format off */
static vhd_resize_step *const sparse_steps[] = {
    flush, zero_last_block,
    make_table_space, close_table_space, write_moved_table,
    write_moved_reserve, flush,
    point_to_moved_table, clear_reserved_entries, flush, take_moved_table,
    write_tail, flush, write_copy, flush,
    publish, NULL,
};
/* clang-format on */

/* -- running --------------------------------------------------------------- */

static void resize_end(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;
    struct vhd_request *request = r->request;

    r->request = NULL;
    r->running = false;
    r->footers_owed |= r->error != E_OK;
    v->flush.held = false;
    v->flush.wrote = true;
    vhd_answer(request, r->error);
    vhd_space_release(v);
    vhd_flush_kick(v);
}

static void resize_continue(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;

    while (!r->error && *r->next)
        if ((*r->next++)(v))
            return;
    resize_end(v);
}

/* Twice what is needed, so that the next growth is cheap. */
static void plan_moved_table(struct vhd *v, uint32_t count)
{
    struct vhd_resize *r = &v->resize;
    uint32_t block = r->header.block_bytes;
    uint64_t most = max_u64(VHD_SIZE_MAX_BYTES / block, count);
    uint64_t entries = min_u64(2 * (uint64_t)count, most);

    /* One write fills what is reserved: VHD_IOV_MAX pages. */
    entries = min_u64(entries, count + (VHD_IOV_MAX - 1) * VHD_PAGE_ENTRIES);
    r->moves_table = true;
    entries = align_up(entries, VHD_PAGE_ENTRIES);
    r->header.max_entries = (uint32_t)min_u64(entries, VHD_ENTRIES_MAX);
    r->header.table_off_bytes = vhd_space_from(v);
}

/* What the footer will say.  The geometry is less than the size, mostly: a
 * creator that makes it count must not be there any more. */
static void plan_footer(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;

    r->footer = vhd_top(v)->footer;
    r->footer.current_bytes = r->new_bytes;
    /* "For information only", and what libvhdi takes for the size. */
    r->footer.original_bytes = r->new_bytes;
    r->footer.geometry = vhd_geometry_of(r->new_bytes);
    if (vhd_size_by_rule(&r->footer, VHD_SIZE_BY_CREATOR) != r->new_bytes)
        vhd_footer_set_creator(&r->footer);
}

static enum err plan(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;
    struct vhd_layer *top = vhd_top(v);
    uint32_t count;

    r->error = E_OK;
    r->moves_table = false;
    r->old_bytes = top->size_bytes;
    r->old_end_bytes = top->file->size_bytes;
    plan_footer(v);
    if (vhd_is_fixed(v)) {
        r->next = fixed_steps;
        return E_OK;
    }
    r->next = sparse_steps;
    r->header = top->header;
    count = (uint32_t)div_round_up(r->new_bytes, top->table.block_bytes);
    if (count > top->header.max_entries)
        plan_moved_table(v, count);
    return count > top->table.count ? vhd_table_grow(&top->table, count) : E_OK;
}

void vhd_resize_kick(struct vhd *v)
{
    struct vhd_resize *r = &v->resize;

    if (!r->request || r->running || v->space.extending ||
        v->flush.step != VHD_FLUSH_IDLE)
        return;
    r->running = true;
    v->flush.held = true;
    v->space.held = true;
    r->error = plan(v);
    resize_continue(v);
}

static enum err check_sparse(const struct vhd *v, uint64_t new_bytes,
                             struct diag *why)
{
    const struct vhd_layer *top = vhd_top(v);
    uint64_t blocks = div_round_up(new_bytes, top->table.block_bytes);

    if (new_bytes > VHD_SIZE_MAX_BYTES)
        return diag_fail(
            why, E_TOO_BIG, "%llu bytes: the largest %s VHD has 2040 GiB",
            (unsigned long long)new_bytes, vhd_type_name(top->footer.type));
    if (blocks > VHD_ENTRIES_MAX)
        return diag_fail(why, E_TOO_BIG,
                         "%llu bytes are %llu blocks of %u bytes: %u are the "
                         "most",
                         (unsigned long long)new_bytes,
                         (unsigned long long)blocks, top->table.block_bytes,
                         VHD_ENTRIES_MAX);
    if (!vhd_space_suffices(v, blocks,
                            blocks > top->header.max_entries
                                ? 2 * table_bytes(blocks) + VHD_PAGE_BYTES
                                : 0))
        return diag_fail(why, E_TOO_BIG,
                         "%llu bytes in blocks of %u: its file would have to "
                         "become larger than 2 TiB",
                         (unsigned long long)new_bytes, top->table.block_bytes);
    if (v->layer_count > 1 && v->layers[1]->size_bytes > top->size_bytes)
        return diag_fail(why, E_UNSUPPORTED,
                         "its parent has %llu bytes, more than its own %llu, "
                         "and would show there",
                         (unsigned long long)v->layers[1]->size_bytes,
                         (unsigned long long)top->size_bytes);
    return E_OK;
}

enum err vhd_resize_check(const struct vhd *v, uint64_t new_bytes,
                          struct diag *why)
{
    const struct vhd_layer *top = vhd_top(v);

    if (v->resize.request)
        return diag_fail(why, E_BUSY, "it is being resized");
    if (v->read_only)
        return diag_fail(why, E_READ_ONLY, "it is open read-only");
    if (!(v->store.caps & STORE_CAN_RESIZE))
        return diag_fail(why, E_UNSUPPORTED, "its file cannot grow");
    if (!is_aligned(new_bytes, VHD_SECTOR_BYTES))
        return diag_fail(why, E_ALIGN, "%llu bytes: not a multiple of 512",
                         (unsigned long long)new_bytes);
    if (new_bytes < top->size_bytes)
        return diag_fail(why, E_UNSUPPORTED, "it has %llu bytes and only grows",
                         (unsigned long long)top->size_bytes);
    if (!is_aligned(top->file->size_bytes, VHD_SECTOR_BYTES))
        return diag_fail(why, E_UNSUPPORTED,
                         "its file ends inside of a sector, with a footer of "
                         "511 bytes");
    if (new_bytes > INT64_MAX - VHD_FOOTER_BYTES)
        return diag_fail(why, E_TOO_BIG, "%llu bytes are too many",
                         (unsigned long long)new_bytes);
    return vhd_is_fixed(v) ? E_OK : check_sparse(v, new_bytes, why);
}

enum err vhd_resize_submit(struct vhd_request *r)
{
    struct vhd *v = r->vhd;
    enum err e = vhd_resize_check(v, r->io->off_bytes, NULL);

    if (e)
        return e;
    if (r->io->off_bytes == vhd_top(v)->size_bytes) {
        vhd_answer(r, E_OK);
        return E_OK;
    }
    v->resize.request = r;
    v->resize.new_bytes = r->io->off_bytes;
    vhd_resize_kick(v);
    return E_OK;
}
