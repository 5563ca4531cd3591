/* iscsi/vhost_mem.h - the guest's memory as it is mapped here.
 * Translates and checks addresses, and marks what was written for a
 * migration.  Knows no ring.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_VHOST_MEM_H
#define LUNAR_ISCSI_VHOST_MEM_H

#include "base/err.h"
#include "iscsi/vhost_wire.h"

#include <sys/uio.h>

enum { VHOST_REGIONS_MAX = 32 }; /* memory slots of the VMM; few have 5 */

struct vhost_region {
    struct vhost_region_msg at; /* where it is for guest and VMM */
    uint8_t *host;              /* … and for us */
    void *map;
    size_t map_bytes;
    int fd; /* kept for a successor of this process */
};

struct vhost_mem {
    struct vhost_region regions[VHOST_REGIONS_MAX];
    unsigned count, last; /* last: where the previous look-up was */
    uint8_t *log;         /* one bit per guest page; NULL: not logging */
    void *log_map;
    size_t log_map_bytes;
    uint64_t log_bytes;
    int log_fd;
    struct vhost_log_msg log_at;
};

enum { VHOST_LOG_PAGE_BYTES = 4096 };

void vhost_mem_init(struct vhost_mem *mem);
/* Unmap everything.  Context: nothing of it is in use. */
void vhost_mem_fini(struct vhost_mem *mem);

/* Map one more region.
 * Ownership: takes fd, also on failure.
 * Errors: E_PROTOCOL (overlaps, beyond the file …), E_BUSY (too many),
 * E_NOMEM; `why` says. */
MUST_CHECK enum err vhost_mem_add(struct vhost_mem *mem,
                                  const struct vhost_region_msg *at, int fd,
                                  struct diag *why);
/* Errors: E_NOENT. */
MUST_CHECK enum err vhost_mem_remove(struct vhost_mem *mem,
                                     const struct vhost_region_msg *at);
void vhost_mem_remove_all(struct vhost_mem *mem);

/* The log of dirty pages; fd -1: none any more.  Takes fd, also on failure.
 * Errors: E_PROTOCOL, E_NOMEM. */
MUST_CHECK enum err vhost_mem_set_log(struct vhost_mem *mem,
                                      const struct vhost_log_msg *at, int fd,
                                      struct diag *why);

/* A flat piece of guest memory, by guest physical or by the VMM's address;
 * NULL: it is not all inside one region. */
void *vhost_mem_flat(struct vhost_mem *mem, uint64_t guest_addr,
                     uint64_t len_bytes);
void *vhost_mem_user(struct vhost_mem *mem, uint64_t user_addr,
                     uint64_t len_bytes);

/* Append [guest_addr, +len) to iov[*count]; it may cross regions.  False: not
 * all of it is guest memory, or `max` entries do not hold it. */
MUST_CHECK bool vhost_mem_iov(struct vhost_mem *mem, uint64_t guest_addr,
                              uint64_t len_bytes, struct iovec *iov,
                              uint32_t max, uint32_t *count);
/* Copy out of guest memory.  False: not all of it is there. */
MUST_CHECK bool vhost_mem_read(struct vhost_mem *mem, uint64_t guest_addr,
                               void *buf, size_t len_bytes);

/* We wrote there: mark it, if pages are logged. */
void vhost_mem_dirty(struct vhost_mem *mem, uint64_t guest_addr,
                     uint64_t len_bytes);
void vhost_mem_dirty_iov(struct vhost_mem *mem, const struct iovec *iov,
                         uint32_t count);

#endif
