/* tests/unit/iscsi/vmm.h - a VMM and a guest's driver in one, for tests of the
 * vhost-user front end: memory, rings and messages, legal or not.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_ISCSI_VMM_H
#define LUNAR_TESTS_UNIT_ISCSI_VMM_H

#include "base/stores.h"
#include "iscsi/vhost.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

enum {
    VMM_RING = 16,              /* descriptors per ring */
    VMM_QUEUES = 3,             /* control, event, one for requests */
    VMM_REGION_BYTES = 1 << 20, /* each of two, which touch in guest space */
    VMM_MEMORY_BYTES = 2 * VMM_REGION_BYTES,
    VMM_GUEST_BASE = 0x10000000, /* where the guest sees them */
    VMM_DISK_BYTES = 1 << 20,
    VMM_LUN = 3,
    VMM_DATA = 0x20000 /* below: rings; free for data from here */
};
#define VMM_USER_BASE UINT64_C(0x7f0000000000)

struct vmm_ring {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    int kick, call, err;
    uint16_t next_desc, used_seen;
};

struct vmm {
    struct world world;
    struct scsi_bus *bus;
    struct store *memory, *delay;
    struct scsi_lu *lu;
    struct vhost_scsi *vhost;
    char socket_path[WORLD_PATH_BYTES];
    int fd; /* -1: not connected */
    int memory_fd;
    uint8_t *guest;    /* VMM_MEMORY_BYTES, flat */
    uint64_t features; /* what the driver acknowledges */
    uint8_t *log;      /* dirty pages; NULL */
    int log_fd;
    struct vmm_ring rings[VMM_QUEUES];
};

void vmm_init(struct vmm *m);
void vmm_fini(struct vmm *m);

void vmm_connect(struct vmm *m);
void vmm_disconnect(struct vmm *m);
/* Send a message; with a reply, wait for it and return the payload's bytes
 * (-1: the connection was closed). */
void vmm_send(struct vmm *m, uint32_t request, uint32_t flags,
              const void *payload, uint32_t bytes, const int *fds,
              unsigned fd_count);
int vmm_receive(struct vmm *m, void *payload, int *ret_fd);
/* The usual sequence up to running rings (as QEMU 7.2 has it). */
void vmm_setup(struct vmm *m);
void vmm_memory(struct vmm *m);
void vmm_start_rings(struct vmm *m);
/* ENABLE 0, GET_VRING_BASE for each; returns that of the request queue. */
uint16_t vmm_stop_rings(struct vmm *m);
/* Run the loop until nothing happens. */
void vmm_run(struct vmm *m);

/* vmm_init(), vmm_setup(), and the power-on attention is taken. */
void vmm_ready(struct vmm *m);
struct vhost_scsi_status vmm_status(struct vmm *m);

/* -- the guest's driver -----------------------------------------------------
 */
static inline uint64_t vmm_addr(uint32_t offset)
{
    return (uint64_t)VMM_GUEST_BASE + offset;
}

/* Fill descriptor i of a ring. */
void vmm_desc(struct vmm *m, unsigned ring, unsigned i, uint64_t addr,
              uint32_t len, uint16_t flags, uint16_t next);
/* Offer a chain and kick. */
void vmm_offer(struct vmm *m, unsigned ring, uint16_t head);
/* Take the next used element; false: there is none. */
bool vmm_used(struct vmm *m, unsigned ring, uint32_t *ret_head,
              uint32_t *ret_len);

/* A request with header at VMM_DATA, response at +0x1000, data at +0x2000. */
enum {
    VMM_HEADER = VMM_DATA,
    VMM_RESPONSE = VMM_DATA + 0x1000,
    VMM_BUFFER = VMM_DATA + 0x2000
};
void vmm_put_request(struct vmm *m, const uint8_t *cdb, size_t cdb_bytes);
/* Offer it with data in one descriptor (in or out or 0) as chain 0,1,2. */
void vmm_request(struct vmm *m, const uint8_t *cdb, size_t cdb_bytes,
                 uint32_t out_bytes, uint32_t in_bytes);
const struct virtio_scsi_response *vmm_response(struct vmm *m);

/* Commands of use everywhere; Q is the ring for them. */
#define CDB(...)                                                               \
    (const uint8_t[]){__VA_ARGS__}, sizeof(uint8_t[])                          \
    {                                                                          \
        __VA_ARGS__                                                            \
    }
#define READ_1  CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0)
#define WRITE_1 CDB(0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0)
#define TUR     CDB(0, 0, 0, 0, 0, 0)
enum { Q = VHOST_FIRST_REQUEST_QUEUE };

#endif
