/* vhd/flush.c - rounds that make writes durable.  Nothing else flushes while
 * a disk is in use; a write costs no flush at all.
 *
 *   IDLE ── a request joins ──> DATA   flush the file: data, the bitmaps of
 *    ^                           |     new dynamic blocks, the file's length
 *    |                           v
 *    |                          META   write what was dirty when the round
 *    |                           |     began: table pages, sector bitmaps
 *    |                           v
 *    +────── answer all ────── COMMIT  flush the file
 *
 * So on disk a table entry or a bit is never ahead of its data (I12).  With
 * nothing dirty a round is one flush; with nothing written it is none.  There
 * is one round at a time; who comes during one waits for the next, together.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/disk.h"

#include <string.h>

_Alignas(VHD_PAGE_BYTES) uint8_t vhd_zeros[VHD_PAGE_BYTES];

static void round_begin(struct vhd *v);

void vhd_flush_init(struct vhd *v)
{
    struct vhd_flush *f = &v->flush;

    list_init(&f->waiting);
    list_init(&f->joined);
    f->wrote = true; /* by whoever had the file before */
    for (size_t i = 0; i < VHD_META_WRITES; i++)
        f->meta[i].vhd = v;
}

bool vhd_flush_owed(const struct vhd *v)
{
    return v->flush.step != VHD_FLUSH_IDLE || v->flush.header_owed ||
           vhd_table_dirty(&vhd_top(v)->table);
}

/* -- the end of a round ---------------------------------------------------- */

static void answer_joined(struct vhd *v)
{
    struct vhd_flush *f = &v->flush;
    enum err e = f->error;
    struct list now;
    struct list *node;

    list_init(&now);
    while ((node = list_pop_front(&f->joined)))
        list_push_back(&now, node);
    while ((node = list_pop_front(&now)))
        vhd_answer(container_of(node, struct vhd_request, link), e);
}

/* A flush also ends what the disk does on its own, so that whoever has the
 * answer to his last one can close it. */
static void round_finish(struct vhd *v)
{
    struct vhd_flush *f = &v->flush;

    if (v->space.extending) {
        f->step = VHD_FLUSH_SPACE;
        return;
    }
    f->step = VHD_FLUSH_IDLE;
    answer_joined(v);
    vhd_resize_kick(v);
    vhd_flush_kick(v);
}

static void round_end(struct vhd *v, enum err e)
{
    struct vhd_flush *f = &v->flush;

    vhd_round_end(&vhd_top(v)->table, !e);
    if (e)
        f->wrote = true;
    f->error = e;
    round_finish(v);
}

void vhd_flush_kick(struct vhd *v)
{
    struct vhd_flush *f = &v->flush;

    if (f->step == VHD_FLUSH_SPACE)
        round_finish(v);
    else if (f->step == VHD_FLUSH_IDLE && !f->held && !list_empty(&f->waiting))
        round_begin(v);
}

/* -- its steps ------------------------------------------------------------- */

static void flush_below(struct vhd *v, enum vhd_flush_step step,
                        void (*done)(struct store_io *, enum err))
{
    struct vhd_flush *f = &v->flush;
    enum err e;

    f->step = step;
    f->io = (struct store_io){.op = STORE_FLUSH, .done = done};
    e = store_submit(vhd_top(v)->file, &f->io);
    if (e)
        store_done_later(&f->io, e);
}

static void commit_done(struct store_io *io, enum err e)
{
    struct vhd *v = container_of(io, struct vhd, flush.io);

    if (!e)
        v->flush.header_owed = false;
    round_end(v, e);
}

static void meta_continue(struct vhd *v);

static void meta_write_done(struct store_io *io, enum err e)
{
    struct vhd_meta_write *w = container_of(io, struct vhd_meta_write, io);
    struct vhd_flush *f = &w->vhd->flush;

    w->busy = false;
    f->writes--;
    if (e && !f->error)
        f->error = e;
    meta_continue(w->vhd);
}

/* Where a piece goes.  Table: no further than the table's own sectors.
 * Bitmap: the page that it ends, if the rest of that is nobody else's. */
static void meta_aim(struct vhd *v, struct vhd_meta_write *w,
                     const struct vhd_round_piece *piece)
{
    const struct vhd_layer *top = vhd_top(v);
    uint64_t bytes = piece->byte_count;
    uint64_t off;
    uint32_t pad = 0;

    if (piece->is_bitmap) {
        off = vhd_bitmap_off(top->table.entries[piece->block]);
        pad = top->layout.padded ? VHD_PAD_BYTES : 0;
    } else {
        uint64_t end =
            align_up((uint64_t)top->header.max_entries * VHD_ENTRY_BYTES,
                     VHD_SECTOR_BYTES);

        off = top->header.table_off_bytes + piece->table_off;
        bytes = min_u64(bytes, end - piece->table_off);
    }
    w->iov[0] = (struct iovec){vhd_zeros, pad};
    w->iov[1] = (struct iovec){piece->bytes, bytes};
    w->io = (struct store_io){
        .op = STORE_WRITE,
        .off_bytes = off - pad,
        .len_bytes = pad + bytes,
        .iov = pad ? w->iov : w->iov + 1,
        .iov_count = pad ? 2 : 1,
        .done = meta_write_done,
    };
}

/* The first sector of the header, as it is in RAM.  The tables of before and
 * after a failed resize hold the same entries until this round commits. */
static void meta_aim_header(struct vhd *v, struct vhd_meta_write *w)
{
    const struct vhd_layer *top = vhd_top(v);
    struct vhd_disk_header disk;

    vhd_header_encode(&top->header, &disk);
    memcpy(v->flush.header, &disk, sizeof v->flush.header);
    w->iov[0] = (struct iovec){v->flush.header, sizeof v->flush.header};
    w->io = (struct store_io){
        .op = STORE_WRITE,
        .off_bytes = top->footer.data_offset,
        .len_bytes = sizeof v->flush.header,
        .iov = w->iov,
        .iov_count = 1,
        .done = meta_write_done,
    };
}

/* Aim at the next thing to write; false: there is nothing more. */
static bool meta_next(struct vhd *v, struct vhd_meta_write *w)
{
    struct vhd_round_piece piece;

    if (v->flush.header_due) {
        v->flush.header_due = false;
        meta_aim_header(v, w);
        return true;
    }
    if (!vhd_round_next(&vhd_top(v)->table, &piece))
        return false;
    meta_aim(v, w, &piece);
    return true;
}

static struct vhd_meta_write *meta_idle(struct vhd_flush *f)
{
    for (size_t i = 0; i < VHD_META_WRITES; i++)
        if (!f->meta[i].busy)
            return &f->meta[i];
    return NULL;
}

/* Keep the writes going; after the last one, commit. */
static void meta_continue(struct vhd *v)
{
    struct vhd_flush *f = &v->flush;
    struct vhd_meta_write *w;

    while (!f->error && (w = meta_idle(f)) && meta_next(v, w)) {
        enum err e;

        w->busy = true;
        f->writes++;
        e = store_submit(vhd_top(v)->file, &w->io);
        if (e)
            store_done_later(&w->io, e);
    }
    if (f->writes)
        return;
    if (f->error)
        round_end(v, f->error);
    else
        flush_below(v, VHD_FLUSH_COMMIT, commit_done);
}

static void data_done(struct store_io *io, enum err e)
{
    struct vhd *v = container_of(io, struct vhd, flush.io);

    if (e || !(v->flush.header_due || vhd_round_any(&vhd_top(v)->table))) {
        round_end(v, e);
        return;
    }
    v->flush.step = VHD_FLUSH_META;
    meta_continue(v);
}

static void round_begin(struct vhd *v)
{
    struct vhd_flush *f = &v->flush;
    struct list *node;

    while ((node = list_pop_front(&f->waiting)))
        list_push_back(&f->joined, node);
    f->error = E_OK;
    f->wrote = false;
    f->header_due = f->header_owed;
    vhd_round_begin(&vhd_top(v)->table);
    flush_below(v, VHD_FLUSH_DATA, data_done);
}

void vhd_flush_join(struct vhd_request *r)
{
    struct vhd *v = r->vhd;
    struct vhd_flush *f = &v->flush;
    bool nothing = !f->wrote && !vhd_flush_owed(v) && !v->space.extending;

    if (v->read_only || nothing) {
        vhd_answer(r, E_OK);
        return;
    }
    list_push_back(&f->waiting, &r->link);
    vhd_flush_kick(v);
}
