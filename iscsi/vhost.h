/* iscsi/vhost.h - what the files of the vhost-user-scsi front end share.
 *
 *   vhost_scsi.c     life: listen, connect, drain, disconnect, close
 *   vhost_channel.c  the socket: whole messages with descriptors
 *   vhost_msg.c      one row per message
 *   vhost_queue.c    rings on and off, polling, request queues
 *   vhost_control.c  control queue (task management) and event queue
 *   vhost_keep.c     what outlives this process
 *   vring.c, vhost_mem.c  below all of these
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_VHOST_H
#define LUNAR_ISCSI_VHOST_H

#include "base/keep.h"
#include "iscsi/iov.h"
#include "iscsi/iscsi.h"
#include "iscsi/vring.h"

enum {
    VHOST_CONTROL_QUEUE = 0,
    VHOST_EVENT_QUEUE = 1,
    VHOST_FIRST_REQUEST_QUEUE = 2,
    VHOST_RINGS_MAX = VHOST_FIRST_REQUEST_QUEUE + VHOST_QUEUES_MAX,
    VHOST_PAYLOAD_MAX = 512,             /* the memory table is 264 */
    VHOST_EVENTS_MAX = 2 * SCSI_LUNS_MAX /* beyond: EVENTS_MISSED */
};

struct vhost_queue;

/* A request that the guest has handed us, on any of the three kinds. */
struct vhost_req {
    struct vhost_queue *queue;
    uint16_t head;
    bool busy;
    struct iovec *iov;      /* the chain, as vring_chain() filled it */
    struct iovec *response; /* the part of it that takes the response */
    uint32_t response_count;
    size_t data_in_bytes, data_out_bytes;
    struct iovec *data_in;
    uint32_t data_in_count;
    union {
        struct scsi_cmd cmd;
        struct scsi_tmf tmf;
    };
};

struct vhost_queue {
    struct vhost_scsi *v;
    unsigned index;
    struct vring ring;
    bool has_addr, enabled, running;
    bool adopted; /* it ran in our predecessor: find out where it stands */
    int kick_fd, call_fd, err_fd; /* -1: none */
    struct loop_fd kick;
    bool kick_watched;
    unsigned inflight;
    /* one request per descriptor, made when the ring starts */
    uint32_t pool_num;
    struct vhost_req *reqs;
    struct iovec *iovs;
};

struct vhost_channel {
    int fd; /* -1: nobody is connected */
    struct loop_fd watch;
    struct vhost_header header;
    uint8_t payload[VHOST_PAYLOAD_MAX];
    size_t have_bytes; /* of header and payload */
    int fds[VHOST_TABLE_REGIONS_MAX];
    unsigned fd_count;
};

struct vhost_event {
    uint8_t lun;
    uint8_t what; /* enum scsi_event */
};

struct vhost_removed { /* sent, and not yet back */
    bool sent;
    uint64_t buffer; /* guest address */
};

struct vhost_scsi {
    struct loop *loop;
    struct scsi_bus *bus;
    struct scsi_nexus *nexus; /* NULL: no VMM is there */
    char *name;               /* for people */
    char *nexus_name, *socket_path;
    unsigned ring_count; /* that we offer */

    struct loop_fd listener;
    struct vhost_channel channel;
    struct vhost_mem mem;
    uint64_t features, protocol_features;
    struct vhost_inflight_msg inflight_at;
    void *inflight_map;
    size_t inflight_map_bytes;
    int inflight_fd;

    struct vhost_queue queues[VHOST_RINGS_MAX];
    struct poller poller;
    bool polling;
    unsigned inflight; /* of all queues */
    bool paused;       /* for a message that needs all of them quiet */
    bool message_waits;
    bool leaving;      /* the VMM is gone; waiting for inflight 0 */
    bool guest_knows;  /* a driver has seen our LUNs */
    struct keep *keep; /* NULL: nothing outlives us */
    char keep_name[KEEP_NAME_BYTES];
    struct task carry_on; /* … from where our predecessor was */
    struct task resume;   /* carry on after the last one ended */
    bool resume_posted;

    /* events: a ring of what is to be told, and what was told */
    struct vhost_event events[VHOST_EVENTS_MAX];
    unsigned events_first, events_count;
    bool events_missed;
    uint16_t events_seen; /* avail entries looked at */
    struct vhost_removed removed[SCSI_LUNS_MAX];

    bool broken;
    struct diag fault;
    struct vhost_scsi_status stats;

    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* vhost_scsi.c */
/* A VMM is at the other end of this socket; `known`: it was before us.
 * Takes fd, also on failure. */
void vhost_connected(struct vhost_scsi *v, int fd, bool known);
/* The VMM broke the protocol or went: end the connection. */
void vhost_disconnect(struct vhost_scsi *v, const struct diag *why);
/* The guest broke a ring: serve it no more until its driver starts anew. */
void vhost_break(struct vhost_scsi *v, unsigned queue, const struct diag *why);
/* Something ended: see whether somebody waited for that. */
void vhost_drained(struct vhost_scsi *v);

/* vhost_channel.c */
enum channel_result { CHANNEL_MESSAGE, CHANNEL_MORE, CHANNEL_CLOSED };
void channel_init(struct vhost_channel *c);
void channel_close(struct vhost_channel *c);
/* Read on; a message is complete when this says so.
 * CHANNEL_CLOSED with a reason in `why`: a broken message. */
enum channel_result channel_read(struct vhost_channel *c, struct diag *why);
/* The message was dealt with: close what nobody took, begin anew. */
void channel_next(struct vhost_channel *c);
/* Take the i-th descriptor of the message; -1: there is none. */
int channel_take_fd(struct vhost_channel *c, unsigned i);
/* Answer the message.  Errors: E_CLOSED. */
MUST_CHECK enum err channel_reply(struct vhost_channel *c, const void *payload,
                                  size_t bytes, int fd);

/* vhost_msg.c */
/* Carry out the message in the channel, or leave it there until what is in
 * flight has ended (then vhost_drained() calls again). */
void vhost_message(struct vhost_scsi *v);
uint64_t vhost_features(void);
/* The record of what is in flight.  Takes fd, also on failure. */
MUST_CHECK enum err vhost_inflight_map(struct vhost_scsi *v,
                                       const struct vhost_inflight_msg *m,
                                       int fd, struct diag *why);
void vhost_inflight_drop(struct vhost_scsi *v);

/* vhost_queue.c */
void vhost_queue_init(struct vhost_queue *q, struct vhost_scsi *v, unsigned i);
void vhost_queue_fini(struct vhost_queue *q);
/* Start serving if everything for it is there. */
MUST_CHECK enum err vhost_queue_start(struct vhost_queue *q, struct diag *why);
/* The same for a ring that a predecessor switched off: no new requests, but
 * what it left in flight is carried out. */
MUST_CHECK enum err vhost_queue_recover(struct vhost_queue *q,
                                        struct diag *why);
void vhost_queue_stop(struct vhost_queue *q);
void vhost_queue_close_fds(struct vhost_queue *q);
/* Let the guest see what was pushed; true: there was something. */
bool vhost_queue_show(struct vhost_queue *q);
/* Interrupt the guest. */
void vhost_queue_call(struct vhost_queue *q);
bool vhost_has_feature(const struct vhost_scsi *v, unsigned bit);
void vhost_poller_init(struct vhost_scsi *v);
void vhost_poller_update(struct vhost_scsi *v);
/* Take the next chain into its request; NULL: there is none, or the ring is
 * broken. */
struct vhost_req *vhost_take(struct vhost_queue *q);
/* Split what may be written into a response and data; false: it has no room
 * for the response. */
MUST_CHECK bool vhost_split(struct vhost_req *rq, const struct vring_chain *c,
                            size_t response_bytes);
void vhost_complete(struct vhost_req *rq, const void *response, size_t bytes,
                    size_t data_bytes);
/* Room in a request's vector: a chain of the ring's length, each descriptor
 * cut once by a border of regions, and one more for the response. */
uint32_t vhost_iov_max(const struct vring *r);
MUST_CHECK enum err vhost_start_request(struct vhost_req *rq, struct diag *why);
/* The LUN of a virtio-scsi address; false: not one of ours. */
bool vhost_decode_lun(const uint8_t lun[8], uint32_t *ret_lun);

/* vhost_keep.c */
/* Keep what there is now; after each change, before it is answered. */
void vhost_keep_save(struct vhost_scsi *v);
void vhost_keep_forget(struct vhost_scsi *v);
/* Take over what a predecessor kept.  *ret_listener -1: there was nothing.
 * Errors: E_VERSION, E_PROTOCOL, E_CLOSED: the VMM cannot be served. */
MUST_CHECK enum err vhost_keep_adopt(struct vhost_scsi *v, int *ret_listener,
                                     struct diag *why);
void vhost_keep_carry_on(struct task *t);

/* vhost_control.c */
/* Carry out a request that was taken.  Errors: E_PROTOCOL - the guest's driver
 * is not one. */
MUST_CHECK enum err vhost_start_control(struct vhost_req *rq, struct diag *why);
MUST_CHECK enum err vhost_start_event(struct vhost_req *rq, struct diag *why);
bool vhost_serve_events(struct vhost_queue *q);
enum scsi_heard vhost_event(void *arg, enum scsi_event ev, unsigned lun);
/* The event queue begins anew: what was sent and not returned is sent again. */
void vhost_events_restart(struct vhost_scsi *v);
void vhost_events_forget(struct vhost_scsi *v);

#endif
