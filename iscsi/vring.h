/* iscsi/vring.h - one split virtqueue, seen from the device (virtio 1.1, 2.6).
 * Takes chains from the guest and gives them back; knows nothing of what is in
 * them.  Everything in a ring is hostile.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_VRING_H
#define LUNAR_ISCSI_VRING_H

#include "iscsi/vhost_mem.h"

enum { VRING_NUM_MAX = 1024 }; /* QEMU's own limit */

struct vring {
    /* told by the VMM */
    uint32_t num;
    struct vhost_addr_msg addr;
    uint16_t last_avail; /* the next entry of the avail ring to take */
    bool event_idx;
    /* while it is mapped */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t used_next;  /* the next entry of the used ring to fill */
    uint16_t used_shown; /* what the guest has been shown of it */
    bool notify_off;
    struct vhost_inflight_queue *inflight; /* NULL: not negotiated */
    uint64_t inflight_counter;
};

/* A chain of descriptors: what the device may read, then what it may write. */
struct vring_chain {
    struct iovec *iov;
    uint32_t max; /* entries of iov */
    uint32_t out_count, in_count;
    uint64_t out_bytes, in_bytes;
};

/* Find the three parts of the ring in memory; again after memory changed.
 * Errors: E_PROTOCOL. */
MUST_CHECK enum err vring_map(struct vring *r, struct vhost_mem *mem,
                              struct diag *why);
/* Begin where the guest's used ring stands. */
void vring_start(struct vring *r);

/* How many chains the guest has offered from `from` on.
 * Errors: E_PROTOCOL - more than the ring holds. */
MUST_CHECK enum err vring_available(const struct vring *r, uint16_t from,
                                    uint16_t *ret_count, struct diag *why);
/* The head descriptor of avail entry `at`.  Errors: E_PROTOCOL. */
MUST_CHECK enum err vring_head(const struct vring *r, uint16_t at,
                               uint16_t *ret_head, struct diag *why);
/* Take the next entry: it is in flight until vring_push(). */
void vring_take(struct vring *r, uint16_t head);
/* Collect the chain that begins at `head`.  Errors: E_PROTOCOL. */
MUST_CHECK enum err vring_chain(const struct vring *r, struct vhost_mem *mem,
                                uint16_t head, struct vring_chain *chain,
                                struct diag *why);
/* The guest address of the chain's first descriptor that we may write. */
MUST_CHECK enum err vring_first_in(const struct vring *r, struct vhost_mem *mem,
                                   uint16_t head, uint64_t *ret_addr,
                                   struct diag *why);

/* Give a chain back; the guest sees it with vring_show(). */
void vring_push(struct vring *r, struct vhost_mem *mem, uint16_t head,
                uint32_t written_bytes);
/* Show the guest what was pushed; true: it wants an interrupt. */
bool vring_show(struct vring *r, struct vhost_mem *mem);

/* Ask the guest to kick us for what comes after index `seen`, or not to. */
void vring_notify(struct vring *r, struct vhost_mem *mem, bool on,
                  uint16_t seen);

/* Bytes of one queue in the inflight region. */
size_t vring_inflight_bytes(uint32_t num);
/* After a crash: the heads that were in flight, oldest first, and last_avail
 * and used_next as they must have been. */
uint32_t vring_recover(struct vring *r, uint16_t heads[VRING_NUM_MAX]);

#endif
