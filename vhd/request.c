/* vhd/request.c - a guest's io: split at blocks, mapped through the chain,
 * handed to the files below, answered once.  Allocates no block: write.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/disk.h"

#include <string.h>

static struct vhd *vhd_of(struct store *s)
{
    return container_of(s, struct vhd, store);
}

/* -- where bytes are ------------------------------------------------------- */

/* What one layer says of [at, at + *len) inside one of its blocks; *len
 * becomes the length of which it says so.  ZERO: "look below me". */
static enum vhd_run_kind map_block(const struct vhd_layer *layer, uint64_t at,
                                   uint64_t *len, uint32_t *ret_block,
                                   uint64_t *ret_off)
{
    const struct vhd_table *t = &layer->table;
    uint32_t block = (uint32_t)(at / t->block_bytes);
    uint64_t in = at % t->block_bytes;
    uint32_t first = (uint32_t)(in / VHD_SECTOR_BYTES), run;

    *len = min_u64(*len, t->block_bytes - in);
    *ret_block = block;
    switch ((enum vhd_block_state)t->states[block]) {
    case VHD_BLOCK_ABSENT:
    case VHD_BLOCK_FILLING: return VHD_RUN_ZERO;
    case VHD_BLOCK_UNREAD:
    case VHD_BLOCK_LOADING: return VHD_RUN_UNREAD;
    case VHD_BLOCK_PARTIAL:
        run = vhd_bitmap_run(vhd_table_bitmap(t, block), first,
                             (uint32_t)(*len / VHD_SECTOR_BYTES));
        *len = (uint64_t)run * VHD_SECTOR_BYTES;
        if (!vhd_bitmap_test(vhd_table_bitmap(t, block), first))
            return VHD_RUN_ZERO;
        break;
    case VHD_BLOCK_FULL: break;
    }
    *ret_off = vhd_data_off(t->entries[block]) + in;
    return VHD_RUN_DATA;
}

struct vhd_run vhd_map(const struct vhd *v, uint32_t from, uint64_t at_bytes,
                       uint64_t len_bytes)
{
    struct vhd_run run = {.kind = VHD_RUN_ZERO, .len_bytes = len_bytes};

    for (uint32_t i = from; i < v->layer_count; i++) {
        const struct vhd_layer *layer = v->layers[i];

        /* A child may be larger than its parent: zeros beyond its end. */
        if (at_bytes >= layer->size_bytes)
            break;
        run.len_bytes = min_u64(run.len_bytes, layer->size_bytes - at_bytes);
        run.layer = i;
        if (layer->footer.type == VHD_FIXED) {
            run.kind = VHD_RUN_DATA;
            run.off_bytes = at_bytes;
            break;
        }
        run.kind = map_block(layer, at_bytes, &run.len_bytes, &run.block,
                             &run.off_bytes);
        if (run.kind != VHD_RUN_ZERO)
            break;
    }
    return run;
}

/* -- answering ------------------------------------------------------------- */

/* Never from inside of store_submit(), of this io or of another. */
void vhd_answer(struct vhd_request *r, enum err e)
{
    if (r->vhd->submitting)
        store_done_later(r->io, e);
    else
        r->io->done(r->io, e);
}

/* The answer waits for what is still to be made durable. */
static bool is_firm(const struct vhd_request *r)
{
    bool writes = r->io->op != STORE_READ;

    return r->io->flags & STORE_FUA || (r->vhd->firm && writes);
}

static void request_end(struct vhd_request *r)
{
    if (is_firm(r) && !r->error && vhd_flush_owed(r->vhd))
        vhd_flush_join(r);
    else
        vhd_answer(r, r->error);
}

static void request_unref(struct vhd_request *r)
{
    ASSERT(r->pending);
    if (--r->pending == 0)
        request_end(r);
}

/* -- fragments ------------------------------------------------------------- */

struct vhd_fragment *vhd_fragment_take(struct vhd_request *r)
{
    struct vhd *v = r->vhd;
    struct list *node = list_pop_front(&v->idle_fragments);
    struct vhd_fragment *f;

    if (!node) {
        vhd_wait(&v->fragment_waiters, r);
        return NULL;
    }
    f = container_of(node, struct vhd_fragment, link);
    f->request = r;
    f->error = E_OK;
    return f;
}

void vhd_fragment_return(struct vhd_fragment *f)
{
    list_push_front(&f->vhd->idle_fragments, &f->link);
}

/* One that waits may start a whole request's worth of fragments: the others
 * find out by waiting again. */
static void wake_for_fragments(struct vhd *v)
{
    while (!list_empty(&v->idle_fragments) &&
           !list_empty(&v->fragment_waiters)) {
        struct list one;

        list_init(&one);
        list_push_back(&one, list_pop_front(&v->fragment_waiters));
        vhd_wake(&one, E_OK);
    }
}

void vhd_fragment_end(struct vhd_fragment *f, enum err e)
{
    struct vhd *v = f->vhd;
    struct vhd_request *r = f->request;

    vhd_fragment_return(f);
    if (e && !r->error)
        r->error = e;
    request_unref(r);
    wake_for_fragments(v);
}

void vhd_fragment_aim(struct vhd_fragment *f, uint64_t off_bytes,
                      uint64_t len_bytes, uint32_t prefix)
{
    const struct store_io *guest = f->request->io;
    uint64_t skip = f->at_bytes - guest->off_bytes;
    uint64_t prefix_bytes = iov_bytes(f->iov, prefix);

    f->io.op = guest->op;
    f->io.flags = guest->flags;
    f->io.off_bytes = off_bytes - prefix_bytes;
    f->io.len_bytes = len_bytes + prefix_bytes;
    f->io.iov = NULL;
    f->io.iov_count = 0;
    if (!guest->iov)
        return;
    if (!prefix && !skip && len_bytes == guest->len_bytes) {
        f->io.iov = guest->iov;
        f->io.iov_count = guest->iov_count;
        return;
    }
    f->io.iov = f->iov;
    f->io.iov_count =
        prefix + iov_slice(guest->iov, guest->iov_count, skip, len_bytes,
                           f->iov + prefix, VHD_FRAGMENT_IOVS - prefix);
}

void vhd_fragment_start(struct vhd_fragment *f,
                        void (*done)(struct store_io *, enum err))
{
    struct store *file = f->vhd->layers[f->layer]->file;
    enum err e;

    f->io.done = done;
    e = store_submit(file, &f->io);
    if (e)
        done(&f->io, e);
}

/* -- waiting --------------------------------------------------------------- */

void vhd_wait(struct list *waiters, struct vhd_request *r)
{
    list_push_back(waiters, &r->link);
}

static struct list *bucket(struct vhd *v, uint32_t layer, uint32_t block)
{
    return &v->block_waiters[(block ^ layer * 7) & (VHD_WAIT_BUCKETS - 1)];
}

void vhd_wait_block(struct vhd_request *r, uint32_t layer, uint32_t block)
{
    r->wait_layer = layer;
    r->wait_block = block;
    vhd_wait(bucket(r->vhd, layer, block), r);
}

static void request_run(struct vhd_request *r);

void vhd_wake(struct list *waiters, enum err e)
{
    struct list now;
    struct list *node;

    list_init(&now);
    while ((node = list_pop_front(waiters)))
        list_push_back(&now, node);
    while ((node = list_pop_front(&now))) {
        struct vhd_request *r = container_of(node, struct vhd_request, link);

        if (e && !r->error)
            r->error = e;
        request_run(r);
    }
}

void vhd_wake_block(struct vhd *v, uint32_t layer, uint32_t block, enum err e)
{
    struct list now;

    list_init(&now);
    list_for_each (node, bucket(v, layer, block)) {
        struct vhd_request *r = container_of(node, struct vhd_request, link);

        if (r->wait_layer != layer || r->wait_block != block)
            continue;
        list_remove(node);
        list_push_back(&now, node);
    }
    vhd_wake(&now, e);
}

/* -- bitmaps --------------------------------------------------------------- */

/* Who waits for the bitmap does not get past a failure: it ends with it. */
static void bitmap_read_done(struct store_io *io, enum err e)
{
    struct vhd_fragment *f = container_of(io, struct vhd_fragment, io);
    struct vhd *v = f->vhd;
    struct vhd_table *t = &v->layers[f->layer]->table;

    if (e)
        t->states[f->block] = VHD_BLOCK_UNREAD;
    else
        vhd_table_loaded(t, f->block, f->bitmap);
    vhd_fragment_return(f);
    vhd_wake_block(v, f->layer, f->block, e);
    wake_for_fragments(v);
}

bool vhd_need_bitmap(struct vhd_request *r, uint32_t layer, uint32_t block)
{
    struct vhd_table *t = &r->vhd->layers[layer]->table;
    struct vhd_fragment *f;

    if (t->states[block] == VHD_BLOCK_UNREAD) {
        enum err e;

        f = vhd_fragment_take(r);
        if (!f)
            return false;
        f->layer = layer;
        f->block = block;
        f->iov[0] = (struct iovec){f->bitmap, VHD_BITMAP_BYTES};
        f->io.op = STORE_READ;
        f->io.flags = 0;
        f->io.off_bytes = vhd_bitmap_off(t->entries[block]);
        f->io.len_bytes = VHD_BITMAP_BYTES;
        f->io.iov = f->iov;
        f->io.iov_count = 1;
        f->io.done = bitmap_read_done;
        e = store_submit(r->vhd->layers[layer]->file, &f->io);
        if (e) {
            vhd_fragment_return(f);
            r->error = e;
            return true;
        }
        t->states[block] = VHD_BLOCK_LOADING;
    }
    vhd_wait_block(r, layer, block);
    return false;
}

/* -- reading --------------------------------------------------------------- */

static void read_done(struct store_io *io, enum err e)
{
    vhd_fragment_end(container_of(io, struct vhd_fragment, io), e);
}

static bool read_step(struct vhd_request *r)
{
    struct vhd *v = r->vhd;
    struct vhd_run run = vhd_map(v, 0, r->at_bytes, r->end_bytes - r->at_bytes);
    struct vhd_fragment *f;

    if (run.kind == VHD_RUN_UNREAD)
        return vhd_need_bitmap(r, run.layer, run.block);
    if (run.kind == VHD_RUN_ZERO) {
        (void)iov_zero(r->io->iov, r->io->iov_count,
                       r->at_bytes - r->io->off_bytes, run.len_bytes);
        r->at_bytes += run.len_bytes;
        return true;
    }
    f = vhd_fragment_take(r);
    if (!f)
        return false;
    f->layer = run.layer;
    f->at_bytes = r->at_bytes;
    vhd_fragment_aim(f, run.off_bytes, run.len_bytes, 0);
    r->at_bytes += run.len_bytes;
    r->pending++;
    vhd_fragment_start(f, read_done);
    return true;
}

/* -- the request ----------------------------------------------------------- */

/* Go on as far as it goes.  Holds one of r->pending, which it gives up at the
 * end, not when the request waits. */
static void request_run(struct vhd_request *r)
{
    bool (*step)(struct vhd_request *) =
        r->io->op == STORE_READ ? read_step : vhd_write_step;

    while (r->at_bytes < r->end_bytes && !r->error)
        if (!step(r))
            return;
    request_unref(r);
}

static enum err start(struct vhd_request *r)
{
    switch (r->io->op) {
    case STORE_READ:
    case STORE_WRITE:
    case STORE_DISCARD:
    case STORE_WRITE_ZEROES: request_run(r); return E_OK;
    case STORE_FLUSH: vhd_flush_join(r); return E_OK;
    case STORE_RESIZE: return vhd_resize_submit(r);
    case STORE_OP_COUNT: break;
    }
    return E_INVAL;
}

enum err vhd_submit(struct store *s, struct store_io *io)
{
    struct vhd *v = vhd_of(s);
    struct vhd_request *r = (struct vhd_request *)(void *)io->room;
    enum err e;

    if (io->iov_count > VHD_IOV_MAX)
        return E_INVAL;
    *r = (struct vhd_request){.io = io,
                              .vhd = v,
                              .at_bytes = io->off_bytes,
                              .end_bytes = io->off_bytes + io->len_bytes,
                              .pending = 1};
    v->submitting = true;
    e = start(r);
    v->submitting = false;
    return e;
}
