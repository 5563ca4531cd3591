/* iscsi/vring.c - taking chains from a guest that cannot be trusted.
 * Each descriptor is read once, into our memory, and then checked; the guest
 * may rewrite it meanwhile.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/vring.h"

#include <inttypes.h>

/* -- memory order: what the other side reads or writes meanwhile ----------- */

static uint16_t load_acquire(const void *p)
{
    const uint16_t *raw = p; /* aligned: vring_map() checked */

    return le16toh(__atomic_load_n(raw, __ATOMIC_ACQUIRE));
}

static void store_release(void *p, uint16_t n)
{
    uint16_t *raw = p;

    __atomic_store_n(raw, htole16(n), __ATOMIC_RELEASE);
}

static void full_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* -- mapping --------------------------------------------------------------- */

static uint64_t used_bytes(const struct vring *r)
{
    return sizeof *r->used + r->num * sizeof r->used->ring[0] + sizeof(le16);
}

enum err vring_map(struct vring *r, struct vhost_mem *mem, struct diag *why)
{
    uint64_t avail = sizeof *r->avail + (r->num + 1) * sizeof(le16);

    if (!is_aligned(r->addr.desc, 16) || !is_aligned(r->addr.avail, 2) ||
        !is_aligned(r->addr.used, 4))
        return diag_fail(why, E_PROTOCOL, "ring is not aligned");
    r->desc = vhost_mem_user(mem, r->addr.desc, r->num * sizeof *r->desc);
    r->avail = vhost_mem_user(mem, r->addr.avail, avail);
    r->used = vhost_mem_user(mem, r->addr.used, used_bytes(r));
    if (r->desc && r->avail && r->used)
        return E_OK;
    r->desc = NULL;
    return diag_fail(why, E_PROTOCOL,
                     "ring of %u at 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64
                     " is not in guest memory",
                     r->num, r->addr.desc, r->addr.avail, r->addr.used);
}

void vring_start(struct vring *r)
{
    r->used_next = r->used_shown = load_acquire(&r->used->idx);
    r->notify_off = false;
}

/* -- taking ---------------------------------------------------------------- */

enum err vring_available(const struct vring *r, uint16_t from,
                         uint16_t *ret_count, struct diag *why)
{
    uint16_t count = (uint16_t)(load_acquire(&r->avail->idx) - from);

    if (count > r->num)
        return diag_fail(why, E_PROTOCOL,
                         "avail index is %u ahead in a ring of %u", count,
                         r->num);
    *ret_count = count;
    return E_OK;
}

enum err vring_head(const struct vring *r, uint16_t at, uint16_t *ret_head,
                    struct diag *why)
{
    uint16_t head = load_acquire(&r->avail->ring[at % r->num]);

    if (head >= r->num)
        return diag_fail(why, E_PROTOCOL,
                         "avail entry %u names descriptor %u of %u", at, head,
                         r->num);
    *ret_head = head;
    return E_OK;
}

void vring_take(struct vring *r, uint16_t head)
{
    r->last_avail++;
    if (!r->inflight)
        return;
    r->inflight->desc[head].counter = r->inflight_counter++;
    __atomic_store_n(&r->inflight->desc[head].inflight, 1, __ATOMIC_RELEASE);
}

static enum err chain_add(struct vring_chain *c, struct vhost_mem *mem,
                          const struct vring_desc *d, struct diag *why)
{
    uint32_t count = c->out_count + c->in_count, before = count;
    uint64_t addr = le64_get(d->addr_bytes);
    uint32_t len = le32_get(d->len_bytes);
    bool in = le16_get(d->flags) & VRING_DESC_WRITE;

    if (!in && c->in_count)
        return diag_fail(why, E_PROTOCOL,
                         "a readable descriptor follows a writable one");
    if (!vhost_mem_iov(mem, addr, len, c->iov, c->max, &count))
        return diag_fail(why, E_PROTOCOL,
                         "descriptor: 0x%x bytes at 0x%" PRIx64
                         " are not guest memory",
                         len, addr);
    *(in ? &c->in_count : &c->out_count) += count - before;
    *(in ? &c->in_bytes : &c->out_bytes) += len;
    if (c->out_bytes + c->in_bytes > UINT32_MAX)
        return diag_fail(why, E_PROTOCOL, "a chain of 4 GiB");
    return E_OK;
}

/* Where descriptors come from: the ring itself or an indirect table. */
struct desc_table {
    const struct vring_desc *flat; /* NULL: read piece by piece */
    uint64_t guest_addr;
    uint32_t count;
    bool indirect;
};

static enum err desc_load(struct vhost_mem *mem, const struct desc_table *t,
                          uint32_t i, struct vring_desc *ret_desc,
                          struct diag *why)
{
    if (i >= t->count)
        return diag_fail(why, E_PROTOCOL, "next is descriptor %u of %u", i,
                         t->count);
    if (t->flat)
        memcpy(ret_desc, &t->flat[i], sizeof *ret_desc);
    else if (!vhost_mem_read(mem, t->guest_addr + i * sizeof *ret_desc,
                             ret_desc, sizeof *ret_desc))
        return diag_fail(why, E_PROTOCOL,
                         "indirect table at 0x%" PRIx64 " is not guest memory",
                         t->guest_addr);
    return E_OK;
}

static enum err table_enter(const struct vring *r, struct vhost_mem *mem,
                            const struct vring_desc *d, struct desc_table *t,
                            struct diag *why)
{
    uint32_t len = le32_get(d->len_bytes);

    if (t->indirect || (le16_get(d->flags) & VRING_DESC_NEXT))
        return diag_fail(why, E_PROTOCOL,
                         "an indirect table inside a table or with a next");
    if (!len || len % sizeof *d || len / sizeof *d > r->num)
        return diag_fail(why, E_PROTOCOL, "an indirect table of %u bytes", len);
    t->guest_addr = le64_get(d->addr_bytes);
    if (!range_ok(t->guest_addr, len, UINT64_MAX))
        return diag_fail(why, E_PROTOCOL, "an indirect table at 0x%" PRIx64,
                         t->guest_addr);
    t->flat = vhost_mem_flat(mem, t->guest_addr, len);
    if (t->flat && !is_aligned((uintptr_t)t->flat, _Alignof(le16)))
        t->flat = NULL;
    t->count = len / (uint32_t)sizeof *d;
    t->indirect = true;
    return E_OK;
}

/* Walk a chain, descriptor by descriptor, until `see` says it has enough
 * (E_OK and *done) or the chain ends. */
static enum err walk(const struct vring *r, struct vhost_mem *mem,
                     uint16_t head,
                     enum err (*see)(void *arg, struct vhost_mem *mem,
                                     const struct vring_desc *d, bool *done,
                                     struct diag *why),
                     void *arg, struct diag *why)
{
    struct desc_table t = {.flat = r->desc, .count = r->num};
    uint32_t i = head, seen = 0;
    struct vring_desc d;
    bool done = false;

    while (!done) {
        enum err e = desc_load(mem, &t, i, &d, why);

        if (!e && ++seen > 2 * r->num)
            e = diag_fail(why, E_PROTOCOL, "descriptor %u: a loop", head);
        if (e)
            return e;
        if (le16_get(d.flags) & VRING_DESC_INDIRECT) {
            e = table_enter(r, mem, &d, &t, why);
            i = 0;
        } else {
            e = see(arg, mem, &d, &done, why);
            i = le16_get(d.next);
            if (!(le16_get(d.flags) & VRING_DESC_NEXT))
                done = true;
        }
        if (e)
            return e;
    }
    return E_OK;
}

static enum err see_for_chain(void *arg, struct vhost_mem *mem,
                              const struct vring_desc *d, bool *done,
                              struct diag *why)
{
    (void)done;
    return chain_add(arg, mem, d, why);
}

enum err vring_chain(const struct vring *r, struct vhost_mem *mem,
                     uint16_t head, struct vring_chain *chain, struct diag *why)
{
    chain->out_count = chain->in_count = 0;
    chain->out_bytes = chain->in_bytes = 0;
    return walk(r, mem, head, see_for_chain, chain, why);
}

static enum err see_for_first_in(void *arg, struct vhost_mem *mem,
                                 const struct vring_desc *d, bool *done,
                                 struct diag *why)
{
    uint64_t *addr = arg;

    (void)mem;
    (void)why;
    if (le16_get(d->flags) & VRING_DESC_WRITE) {
        *addr = le64_get(d->addr_bytes);
        *done = true;
    }
    return E_OK;
}

enum err vring_first_in(const struct vring *r, struct vhost_mem *mem,
                        uint16_t head, uint64_t *ret_addr, struct diag *why)
{
    uint64_t addr = UINT64_MAX;
    enum err e = walk(r, mem, head, see_for_first_in, &addr, why);

    if (!e)
        *ret_addr = addr;
    return e;
}

/* -- giving back ----------------------------------------------------------- */

static void dirty_used(const struct vring *r, struct vhost_mem *mem,
                       uint64_t offset, uint64_t len_bytes)
{
    uint64_t addr;

    if (!(r->addr.flags & VHOST_VRING_F_LOG))
        return;
    if (!__builtin_add_overflow(r->addr.log, offset, &addr) &&
        range_ok(addr, len_bytes, INT64_MAX))
        vhost_mem_dirty(mem, addr, len_bytes);
}

void vring_push(struct vring *r, struct vhost_mem *mem, uint16_t head,
                uint32_t written_bytes)
{
    uint16_t slot = (uint16_t)(r->used_next % r->num);
    struct vring_used_elem *elem = &r->used->ring[slot];

    elem->id = le32_make(head);
    elem->len_bytes = le32_make(written_bytes);
    dirty_used(r, mem, offsetof(struct vring_used, ring) + slot * sizeof *elem,
               sizeof *elem);
    r->used_next++;
    if (r->inflight) {
        r->inflight->desc[head].next = r->inflight->last_batch_head;
        r->inflight->last_batch_head = head;
    }
}

/* The batch is in the used ring: its heads are not in flight any more. */
static void inflight_settle(struct vring *r, uint16_t from)
{
    struct vhost_inflight_queue *q = r->inflight;
    uint16_t head = q->last_batch_head;

    /* The VMM can write there too: every head is checked. */
    for (uint16_t n = (uint16_t)(r->used_next - from); n && head < r->num;
         n--) {
        __atomic_store_n(&q->desc[head].inflight, 0, __ATOMIC_RELEASE);
        head = q->desc[head].next;
    }
    __atomic_store_n(&q->used_idx, r->used_next, __ATOMIC_RELEASE);
}

static le16 *used_event(const struct vring *r)
{
    return &r->avail->ring[r->num];
}

static le16 *avail_event(const struct vring *r)
{
    return (le16 *)(void *)&r->used->ring[r->num];
}

bool vring_show(struct vring *r, struct vhost_mem *mem)
{
    uint16_t from = r->used_shown, to = r->used_next;

    if (from == to)
        return false;
    store_release(&r->used->idx, to);
    dirty_used(r, mem, offsetof(struct vring_used, idx), sizeof r->used->idx);
    if (r->inflight)
        inflight_settle(r, from);
    r->used_shown = to;
    full_barrier(); /* idx is out before we look whether it was waited for */
    if (!r->event_idx)
        return !(load_acquire(&r->avail->flags) & VRING_AVAIL_NO_INTERRUPT);
    /* virtio 2.6.7.2: did this batch pass used_event? */
    return (uint16_t)(to - load_acquire(used_event(r)) - 1) <
           (uint16_t)(to - from);
}

void vring_notify(struct vring *r, struct vhost_mem *mem, bool on,
                  uint16_t seen)
{
    if (r->event_idx) {
        /* Off: avail_event stays behind, so that no index passes it. */
        if (on) {
            store_release(avail_event(r), seen);
            dirty_used(r, mem, used_bytes(r) - sizeof(le16), sizeof(le16));
        }
    } else if (r->notify_off == on) {
        store_release(&r->used->flags, on ? 0 : VRING_USED_NO_NOTIFY);
        dirty_used(r, mem, offsetof(struct vring_used, flags), sizeof(le16));
    }
    r->notify_off = !on;
    if (on)
        full_barrier(); /* … before the caller looks at the ring again */
}

/* -- the inflight region --------------------------------------------------- */

size_t vring_inflight_bytes(uint32_t num)
{
    return align_up(sizeof(struct vhost_inflight_queue) +
                        num * sizeof(struct vhost_inflight_desc),
                    64);
}

/* What the guest saw before the crash, but the record did not say yet. */
static void recover_last_batch(struct vring *r)
{
    struct vhost_inflight_queue *q = r->inflight;
    uint16_t shown = (uint16_t)(r->used_next - q->used_idx);
    uint16_t head = q->last_batch_head;

    for (uint16_t n = 0; n < shown && n < r->num && head < r->num; n++) {
        q->desc[head].inflight = 0;
        head = q->desc[head].next;
    }
    q->used_idx = r->used_next;
}

uint32_t vring_recover(struct vring *r, uint16_t heads[VRING_NUM_MAX])
{
    struct vhost_inflight_queue *q = r->inflight;
    uint32_t count = 0;

    if (q->used_idx != r->used_next)
        recover_last_batch(r);
    for (uint32_t i = 0; i < r->num; i++) {
        uint32_t at = count;

        if (!q->desc[i].inflight)
            continue;
        for (; at && q->desc[heads[at - 1]].counter > q->desc[i].counter; at--)
            heads[at] = heads[at - 1];
        heads[at] = (uint16_t)i;
        count++;
    }
    r->last_avail = (uint16_t)(r->used_next + count);
    if (count)
        r->inflight_counter = q->desc[heads[count - 1]].counter + 1;
    return count;
}
