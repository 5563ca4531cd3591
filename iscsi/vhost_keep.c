/* iscsi/vhost_keep.c - a connection that outlives this process.
 * QEMU cannot reconnect this device.  So after each message that changes
 * something a snapshot is made: a memfd that describes the connection, and
 * every descriptor of it, kept under one name by the holder (base/keep.h).  A
 * successor takes them, carries on with the rings, and does again what the
 * inflight region says was not answered.  Knows no message.
 *
 * Not kept: events under way (the successor tells the guest to look at every
 * LUN again), reservations and mode pages.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/vhost.h"

#include "base/log.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

enum kept_flags {
    KEPT_CONNECTION = 1,
    KEPT_LOG = 2,
    KEPT_INFLIGHT = 4,
    KEPT_GUEST_KNOWS = 8,
    KEPT_MESSAGE = 16 /* one waits for what is in flight */
};

enum kept_ring_flags {
    KEPT_ADDR = 1,
    KEPT_ENABLED = 2,
    KEPT_KICK = 4,
    KEPT_CALL = 8,
    KEPT_ERR = 16,
    KEPT_RUNNING = 32
};

struct kept_ring {
    struct vhost_addr_msg addr;
    uint32_t num, last_avail, flags, padding;
};

/* Between processes of one machine; VERSION changes with any field. */
struct kept {
    char magic[8];
    uint32_t version, bytes, flags, ring_count, region_count, message_fds;
    uint64_t features, protocol_features;
    struct vhost_log_msg log;
    struct vhost_inflight_msg inflight;
    struct vhost_region_msg regions[VHOST_REGIONS_MAX];
    struct kept_ring rings[VHOST_RINGS_MAX];
    struct vhost_header header;
    uint32_t padding;
    uint8_t payload[VHOST_PAYLOAD_MAX];
};

static const char kept_magic[8] = "lnrvhost";
enum { KEPT_VERSION = 1 };

/* -- keeping -----------------------------------------------------------------
 */

/* Descriptors in their one order; beyond the room they are only counted. */
struct fd_row {
    int fds[KEEP_FDS_MAX];
    unsigned count;
};

static bool row_add(struct fd_row *row, int fd)
{
    if (fd < 0)
        return false;
    if (row->count < KEEP_FDS_MAX)
        row->fds[row->count] = fd;
    row->count++;
    return true;
}

static void describe_rings(const struct vhost_scsi *v, struct kept *k,
                           struct fd_row *row)
{
    for (unsigned i = 0; i < v->ring_count; i++) {
        const struct vhost_queue *q = &v->queues[i];
        struct kept_ring *r = &k->rings[i];

        r->addr = q->ring.addr;
        r->num = q->ring.num;
        r->last_avail = q->ring.last_avail;
        r->flags = (q->has_addr ? KEPT_ADDR : 0) |
                   (q->enabled ? KEPT_ENABLED : 0) |
                   (q->running ? KEPT_RUNNING : 0);
        if (row_add(row, q->kick_fd))
            r->flags |= KEPT_KICK;
        if (row_add(row, q->call_fd))
            r->flags |= KEPT_CALL;
        if (row_add(row, q->err_fd))
            r->flags |= KEPT_ERR;
    }
}

static void describe_message(const struct vhost_scsi *v, struct kept *k,
                             struct fd_row *row)
{
    if (!v->message_waits)
        return;
    k->flags |= KEPT_MESSAGE;
    k->header = v->channel.header;
    memcpy(k->payload, v->channel.payload, sizeof k->payload);
    for (unsigned i = 0; i < v->channel.fd_count; i++)
        k->message_fds += row_add(row, v->channel.fds[i]);
}

static void describe(const struct vhost_scsi *v, struct kept *k,
                     struct fd_row *row)
{
    memcpy(k->magic, kept_magic, sizeof k->magic);
    k->version = KEPT_VERSION;
    k->bytes = sizeof *k;
    k->features = v->features;
    k->protocol_features = v->protocol_features;
    k->ring_count = v->ring_count;
    k->region_count = v->mem.count;
    k->log = v->mem.log_at;
    k->inflight = v->inflight_at;
    k->flags = v->guest_knows ? KEPT_GUEST_KNOWS : 0;
    (void)row_add(row, v->listener.fd);
    if (row_add(row, v->channel.fd))
        k->flags |= KEPT_CONNECTION;
    if (row_add(row, v->mem.log_fd))
        k->flags |= KEPT_LOG;
    if (row_add(row, v->inflight_fd))
        k->flags |= KEPT_INFLIGHT;
    for (unsigned i = 0; i < v->mem.count; i++) {
        k->regions[i] = v->mem.regions[i].at;
        (void)row_add(row, v->mem.regions[i].fd);
    }
    describe_rings(v, k, row);
    describe_message(v, k, row);
}

void vhost_keep_save(struct vhost_scsi *v)
{
    struct fd_row row = {.count = 1}; /* the first describes the others */
    struct kept k = {0};
    enum err e = E_IO;
    int fd;

    if (!v->keep)
        return;
    describe(v, &k, &row);
    fd = memfd_create("vhost-state", MFD_CLOEXEC);
    row.fds[0] = fd;
    if (row.count > KEEP_FDS_MAX)
        e = E_TOO_BIG;
    else if (fd >= 0 && pwrite(fd, &k, sizeof k, 0) == (ssize_t)sizeof k)
        e = keep_put(v->keep, v->keep_name, row.fds, row.count);
    if (fd >= 0)
        close(fd);
    if (e)
        log_warning("%s: would not survive a restart: %s", v->name,
                    err_text(e));
}

void vhost_keep_forget(struct vhost_scsi *v)
{
    enum err e = v->keep ? keep_drop(v->keep, v->keep_name) : E_OK;

    if (e)
        log_warning("%s: %s", v->name, err_text(e));
}

/* -- taking ------------------------------------------------------------------
 */

/* Take the next descriptor of the row; -1 if it is too short. */
static int row_take(struct fd_row *row, unsigned *at)
{
    int fd;

    if (*at >= row->count)
        return -1;
    fd = row->fds[*at];
    row->fds[(*at)++] = -1;
    return fd;
}

static int row_take_if(struct fd_row *row, unsigned *at, bool there)
{
    return there ? row_take(row, at) : -1;
}

static enum err kept_check(const struct vhost_scsi *v, const struct kept *k,
                           struct diag *why)
{
    if (memcmp(k->magic, kept_magic, sizeof k->magic) != 0 ||
        k->version != KEPT_VERSION || k->bytes != sizeof *k)
        return diag_fail(why, E_VERSION, "%s: kept by another version",
                         v->name);
    if (k->ring_count > v->ring_count || k->region_count > VHOST_REGIONS_MAX ||
        k->message_fds > VHOST_TABLE_REGIONS_MAX)
        return diag_fail(why, E_PROTOCOL, "%s: kept state is damaged", v->name);
    for (unsigned i = 0; i < k->ring_count; i++)
        if (k->rings[i].num > VRING_NUM_MAX ||
            (k->rings[i].num && !is_power_of_two(k->rings[i].num)))
            return diag_fail(why, E_PROTOCOL, "%s: kept ring %u is damaged",
                             v->name, i);
    return E_OK;
}

static enum err take_memory(struct vhost_scsi *v, const struct kept *k,
                            struct fd_row *row, unsigned *at, struct diag *why)
{
    enum err e = E_OK;

    if (k->flags & KEPT_LOG)
        e = vhost_mem_set_log(&v->mem, &k->log, row_take(row, at), why);
    if (!e && k->flags & KEPT_INFLIGHT)
        e = vhost_inflight_map(v, &k->inflight, row_take(row, at), why);
    for (unsigned i = 0; i < k->region_count && !e; i++)
        e = vhost_mem_add(&v->mem, &k->regions[i], row_take(row, at), why);
    return e;
}

static void take_rings(struct vhost_scsi *v, const struct kept *k,
                       struct fd_row *row, unsigned *at)
{
    for (unsigned i = 0; i < k->ring_count; i++) {
        const struct kept_ring *r = &k->rings[i];
        struct vhost_queue *q = &v->queues[i];

        q->ring.addr = r->addr;
        q->ring.num = r->num;
        q->ring.last_avail = (uint16_t)r->last_avail;
        q->has_addr = r->flags & KEPT_ADDR;
        q->enabled = r->flags & KEPT_ENABLED;
        q->adopted = r->flags & KEPT_RUNNING;
        q->kick_fd = row_take_if(row, at, r->flags & KEPT_KICK);
        q->call_fd = row_take_if(row, at, r->flags & KEPT_CALL);
        q->err_fd = row_take_if(row, at, r->flags & KEPT_ERR);
    }
}

static void take_message(struct vhost_scsi *v, const struct kept *k,
                         struct fd_row *row, unsigned *at)
{
    struct vhost_channel *c = &v->channel;

    if (!(k->flags & KEPT_MESSAGE))
        return;
    c->header = k->header;
    memcpy(c->payload, k->payload, sizeof c->payload);
    for (unsigned i = 0; i < k->message_fds; i++)
        c->fds[c->fd_count++] = row_take(row, at);
    v->message_waits = true;
}

static enum err take_all(struct vhost_scsi *v, struct fd_row *row,
                         int *ret_listener, struct diag *why)
{
    struct kept k;
    unsigned at = 1;
    enum err e;

    if (pread(row->fds[0], &k, sizeof k, 0) != (ssize_t)sizeof k)
        return diag_fail(why, E_VERSION, "%s: kept by another version",
                         v->name);
    e = kept_check(v, &k, why);
    if (e)
        return e;
    *ret_listener = row_take(row, &at);
    if (!(k.flags & KEPT_CONNECTION))
        return E_OK;
    vhost_connected(v, row_take(row, &at), true);
    if (v->channel.fd < 0)
        return E_CLOSED;
    v->features = k.features;
    v->protocol_features = k.protocol_features;
    v->guest_knows = k.flags & KEPT_GUEST_KNOWS;
    e = take_memory(v, &k, row, &at, why);
    if (e)
        return e;
    take_rings(v, &k, row, &at);
    take_message(v, &k, row, &at);
    return E_OK;
}

enum err vhost_keep_adopt(struct vhost_scsi *v, int *ret_listener,
                          struct diag *why)
{
    struct fd_row row = {0};
    enum err e;

    *ret_listener = -1;
    if (!v->keep)
        return E_OK;
    row.count = keep_take(v->keep, v->keep_name, row.fds);
    if (!row.count)
        return E_OK;
    e = take_all(v, &row, ret_listener, why);
    for (unsigned i = 0; i < row.count; i++)
        if (row.fds[i] >= 0)
            close(row.fds[i]);
    if (!e && v->channel.fd >= 0)
        loop_post(v->loop, &v->carry_on);
    return e;
}

/* On the loop: serve the rings again, then the message that waited. */
void vhost_keep_carry_on(struct task *t)
{
    struct vhost_scsi *v = container_of(t, struct vhost_scsi, carry_on);
    struct diag why = {""};
    enum err e = E_OK;

    if (v->channel.fd < 0)
        return;
    for (unsigned i = 0; i < v->ring_count && !e; i++) {
        e = vhost_queue_start(&v->queues[i], &why);
        if (!e)
            e = vhost_queue_recover(&v->queues[i], &why);
    }
    if (e) {
        vhost_disconnect(v, &why);
        return;
    }
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++)
        if (scsi_bus_lu(v->bus, lun))
            (void)vhost_event(v, SCSI_EVENT_ADDED, lun);
    log_info("%s: took over a running VMM", v->name);
    if (v->message_waits)
        vhost_message(v);
}
