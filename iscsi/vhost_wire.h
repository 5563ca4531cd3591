/* iscsi/vhost_wire.h - what QEMU and the guest's driver send, byte by byte.
 * vhost-user messages: docs/interop/vhost-user.rst of QEMU, in the byte order
 * of the host.  Rings and virtio-scsi: virtio 1.1, 2.6 and 5.6.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_VHOST_WIRE_H
#define LUNAR_ISCSI_VHOST_WIRE_H

#include "base/endian.h"

#include <assert.h>
#include <stddef.h>

/* -- vhost-user ------------------------------------------------------------ */

enum vhost_request {
    VHOST_GET_FEATURES = 1,
    VHOST_SET_FEATURES = 2,
    VHOST_SET_OWNER = 3,
    VHOST_RESET_OWNER = 4,
    VHOST_SET_MEM_TABLE = 5,
    VHOST_SET_LOG_BASE = 6,
    VHOST_SET_LOG_FD = 7,
    VHOST_SET_VRING_NUM = 8,
    VHOST_SET_VRING_ADDR = 9,
    VHOST_SET_VRING_BASE = 10,
    VHOST_GET_VRING_BASE = 11,
    VHOST_SET_VRING_KICK = 12,
    VHOST_SET_VRING_CALL = 13,
    VHOST_SET_VRING_ERR = 14,
    VHOST_GET_PROTOCOL_FEATURES = 15,
    VHOST_SET_PROTOCOL_FEATURES = 16,
    VHOST_GET_QUEUE_NUM = 17,
    VHOST_SET_VRING_ENABLE = 18,
    VHOST_GET_INFLIGHT_FD = 31,
    VHOST_SET_INFLIGHT_FD = 32,
    VHOST_GET_MAX_MEM_SLOTS = 36,
    VHOST_ADD_MEM_REG = 37,
    VHOST_REM_MEM_REG = 38
};

enum vhost_header_flags {
    VHOST_VERSION = 1,
    VHOST_VERSION_MASK = 3,
    VHOST_IS_REPLY = 4,
    VHOST_NEED_REPLY = 8
};

enum vhost_protocol_feature {
    VHOST_PROTOCOL_MQ = 0,
    VHOST_PROTOCOL_LOG_SHMFD = 1,
    VHOST_PROTOCOL_REPLY_ACK = 3,
    VHOST_PROTOCOL_INFLIGHT_SHMFD = 12,
    VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS = 15
};

enum virtio_feature {
    VIRTIO_SCSI_F_INOUT = 0,
    VIRTIO_SCSI_F_HOTPLUG = 1,
    VIRTIO_SCSI_F_CHANGE = 2,
    VHOST_F_LOG_ALL = 26,
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VHOST_F_PROTOCOL_FEATURES = 30,
    VIRTIO_F_VERSION_1 = 32
};

struct vhost_header {
    uint32_t request, flags, size;
};
static_assert(sizeof(struct vhost_header) == 12, "vhost-user header");

struct vhost_region_msg {
    uint64_t guest_phys_addr, size_bytes, user_addr, mmap_offset;
};

enum { VHOST_TABLE_REGIONS_MAX = 8 };

struct vhost_mem_table_msg {
    uint32_t count, padding;
    struct vhost_region_msg regions[VHOST_TABLE_REGIONS_MAX];
};
static_assert(sizeof(struct vhost_mem_table_msg) == 264, "memory table");

struct vhost_mem_reg_msg {
    uint64_t padding;
    struct vhost_region_msg region;
};
static_assert(sizeof(struct vhost_mem_reg_msg) == 40, "single region");

struct vhost_state_msg {
    uint32_t index, num;
};

enum { VHOST_VRING_F_LOG = 1 };

struct vhost_addr_msg {
    uint32_t index, flags;
    uint64_t desc, used, avail; /* in the VMM's address space */
    uint64_t log;               /* guest physical, of the used ring */
};
static_assert(sizeof(struct vhost_addr_msg) == 40, "ring addresses");

struct vhost_log_msg {
    uint64_t mmap_size, mmap_offset;
};

struct vhost_inflight_msg {
    uint64_t mmap_size, mmap_offset;
    uint16_t num_queues, queue_size;
    uint32_t padding; /* QEMU sends it, the protocol's text has 20 bytes */
};
static_assert(sizeof(struct vhost_inflight_msg) == 24, "inflight message");

enum { VHOST_INFLIGHT_VERSION = 1 };

enum { VHOST_FD_INDEX_MASK = 0xff, VHOST_FD_NONE = 0x100 };

/* In shared memory, so that a crash leaves a record (rst, "Inflight I/O
 * tracking", split rings). */
struct vhost_inflight_desc {
    uint8_t inflight, padding[5];
    uint16_t next;
    uint64_t counter;
};
static_assert(sizeof(struct vhost_inflight_desc) == 16, "DescStateSplit");

struct vhost_inflight_queue {
    uint64_t features;
    uint16_t version, desc_num, last_batch_head, used_idx;
    struct vhost_inflight_desc desc[];
};
static_assert(sizeof(struct vhost_inflight_queue) == 16, "QueueRegionSplit");

/* -- split rings ----------------------------------------------------------- */

enum vring_desc_flags {
    VRING_DESC_NEXT = 1,
    VRING_DESC_WRITE = 2,
    VRING_DESC_INDIRECT = 4
};
enum { VRING_AVAIL_NO_INTERRUPT = 1, VRING_USED_NO_NOTIFY = 1 };

struct vring_desc {
    le64 addr_bytes;
    le32 len_bytes;
    le16 flags, next;
};
static_assert(sizeof(struct vring_desc) == 16, "virtio 2.6.5");

struct vring_avail {
    le16 flags, idx, ring[]; /* then used_event */
};

struct vring_used_elem {
    le32 id, len_bytes;
};

struct vring_used {
    le16 flags, idx;
    struct vring_used_elem ring[]; /* then avail_event */
};
static_assert(offsetof(struct vring_used, ring) == 4, "virtio 2.6.8");

/* -- virtio-scsi ----------------------------------------------------------- */

enum { VIRTIO_CDB_BYTES = 32, VIRTIO_SENSE_BYTES = 96 };

struct virtio_scsi_request {
    uint8_t lun[8];
    le64 tag;
    uint8_t task_attr, prio, crn, cdb[VIRTIO_CDB_BYTES];
};
static_assert(sizeof(struct virtio_scsi_request) == 51, "virtio 5.6.6.1");

struct virtio_scsi_response {
    le32 sense_bytes, residual;
    le16 status_qualifier;
    uint8_t status, response, sense[VIRTIO_SENSE_BYTES];
};
static_assert(sizeof(struct virtio_scsi_response) == 108, "virtio 5.6.6.1");

enum virtio_scsi_answer {
    VIRTIO_SCSI_OK = 0,
    VIRTIO_SCSI_OVERRUN = 1,
    VIRTIO_SCSI_ABORTED = 2,
    VIRTIO_SCSI_BAD_TARGET = 3,
    VIRTIO_SCSI_FUNCTION_SUCCEEDED = 10,
    VIRTIO_SCSI_FUNCTION_REJECTED = 11,
    VIRTIO_SCSI_INCORRECT_LUN = 12
};

enum {
    VIRTIO_SCSI_TMF = 0,
    VIRTIO_SCSI_AN_QUERY = 1,
    VIRTIO_SCSI_AN_SUBSCRIBE
};

struct virtio_scsi_tmf {
    le32 type, subtype;
    uint8_t lun[8];
    le64 tag;
};
static_assert(sizeof(struct virtio_scsi_tmf) == 24, "virtio 5.6.6.2");

struct virtio_scsi_an {
    le32 type;
    uint8_t lun[8];
    le32 events;
};
static_assert(sizeof(struct virtio_scsi_an) == 16, "virtio 5.6.6.2");

struct virtio_scsi_an_answer {
    le32 events;
    uint8_t response;
};
static_assert(sizeof(struct virtio_scsi_an_answer) == 5, "virtio 5.6.6.2");

struct virtio_scsi_event {
    le32 event;
    uint8_t lun[8];
    le32 reason;
};
static_assert(sizeof(struct virtio_scsi_event) == 16, "virtio 5.6.6.3");

enum {
    VIRTIO_SCSI_T_NO_EVENT = 0,
    VIRTIO_SCSI_T_TRANSPORT_RESET = 1,
    VIRTIO_SCSI_T_PARAM_CHANGE = 3,
    VIRTIO_SCSI_RESET_RESCAN = 1,
    VIRTIO_SCSI_RESET_REMOVED = 2
};
#define VIRTIO_SCSI_T_EVENTS_MISSED 0x80000000U

#endif
