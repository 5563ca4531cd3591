/* iscsi/vhost_queue.c - rings on and off, polling, and the request queues.
 * A request is a scsi_cmd over the guest's own memory; this file moves nothing
 * but headers and responses.
 *
 * While the loop turns, kicks are off and rings are looked at; before it
 * sleeps, kicks go on and the rings are looked at once more (arm), so that no
 * request is lost in between.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/vhost.h"

#include <sys/epoll.h>
#include <unistd.h>

bool vhost_has_feature(const struct vhost_scsi *v, unsigned bit)
{
    return v->features >> bit & 1;
}

/* -- a queue's life -------------------------------------------------------- */

void vhost_queue_init(struct vhost_queue *q, struct vhost_scsi *v, unsigned i)
{
    *q = (struct vhost_queue){
        .v = v, .index = i, .kick_fd = -1, .call_fd = -1, .err_fd = -1};
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void vhost_queue_close_fds(struct vhost_queue *q)
{
    close_fd(&q->kick_fd);
    close_fd(&q->call_fd);
    close_fd(&q->err_fd);
}

void vhost_queue_fini(struct vhost_queue *q)
{
    ASSERT(!q->running && !q->inflight);
    vhost_queue_close_fds(q);
    free(q->reqs);
    free(q->iovs);
    vhost_queue_init(q, q->v, q->index);
}

uint32_t vhost_iov_max(const struct vring *r)
{
    return 2 * r->num + 2;
}

/* The pool stays while the ring keeps its size: QEMU stops and starts rings
 * often, and they always have the same. */
static enum err make_pool(struct vhost_queue *q)
{
    uint32_t num = q->ring.num, iov_max = vhost_iov_max(&q->ring);

    if (q->pool_num == num)
        return E_OK;
    free(q->reqs);
    free(q->iovs);
    q->pool_num = 0;
    q->reqs = calloc(num, sizeof *q->reqs);
    q->iovs = calloc((size_t)num * iov_max, sizeof *q->iovs);
    if (!q->reqs || !q->iovs)
        return E_NOMEM;
    for (uint32_t i = 0; i < num; i++) {
        q->reqs[i].queue = q;
        q->reqs[i].head = (uint16_t)i;
        q->reqs[i].iov = q->iovs + (size_t)i * iov_max;
    }
    q->pool_num = num;
    return E_OK;
}

static void kicked(struct loop_fd *f, uint32_t events)
{
    struct vhost_queue *q = container_of(f, struct vhost_queue, kick);
    uint64_t count;
    ssize_t n = read(q->kick_fd, &count, sizeof count);

    (void)events;
    q->v->stats.kicks++;
    /* What it announces is found by the poller, which runs each turn. */
    if (n == 0 || (n < 0 && errno != EAGAIN)) /* not an eventfd */
        vhost_queue_stop(q);
}

static enum err start(struct vhost_req *rq, struct diag *why)
{
    if (rq->queue->index == VHOST_CONTROL_QUEUE)
        return vhost_start_control(rq, why);
    if (rq->queue->index == VHOST_EVENT_QUEUE)
        return vhost_start_event(rq, why);
    return vhost_start_request(rq, why);
}

static void start_or_break(struct vhost_req *rq)
{
    struct diag why = {""};

    if (!start(rq, &why))
        return;
    vhost_break(rq->queue->v, rq->queue->index, &why);
    vhost_complete(rq, NULL, 0, 0);
}

static void occupy(struct vhost_req *rq)
{
    rq->busy = true;
    rq->response_count = 0;
    rq->data_in_bytes = 0;
    rq->queue->inflight++;
    rq->queue->v->inflight++;
}

/* Find the queue's part of the inflight region.  If it tells of requests that
 * a predecessor of this process left without an answer, carry them out. */
static void attach_inflight(struct vhost_queue *q)
{
    const struct vhost_scsi *v = q->v;
    struct vhost_inflight_queue *record;
    size_t bytes = vring_inflight_bytes(v->inflight_at.queue_size);
    uint16_t heads[VRING_NUM_MAX];
    uint32_t count;

    q->ring.inflight = NULL;
    if (!v->inflight_map || q->index >= v->inflight_at.num_queues ||
        q->ring.num > v->inflight_at.queue_size)
        return;
    record = (void *)((uint8_t *)v->inflight_map + q->index * bytes);
    q->ring.inflight = record;
    if (record->version != VHOST_INFLIGHT_VERSION ||
        record->desc_num != q->ring.num) {
        record->version = VHOST_INFLIGHT_VERSION;
        record->desc_num = (uint16_t)q->ring.num;
        record->used_idx = q->ring.used_next;
        return;
    }
    count = vring_recover(&q->ring, heads);
    for (uint32_t i = 0; i < count; i++) {
        occupy(&q->reqs[heads[i]]);
        start_or_break(&q->reqs[heads[i]]);
    }
}

enum err vhost_queue_start(struct vhost_queue *q, struct diag *why)
{
    enum err e;

    if (q->running || q->v->broken || q->kick_fd < 0 || !q->enabled ||
        !q->has_addr || !q->ring.num)
        return E_OK;
    q->ring.event_idx = vhost_has_feature(q->v, VIRTIO_F_EVENT_IDX);
    e = vring_map(&q->ring, &q->v->mem, why);
    if (!e)
        e = make_pool(q);
    if (e)
        return e;
    q->kick =
        (struct loop_fd){.fd = q->kick_fd, .events = EPOLLIN, .ready = kicked};
    e = loop_fd_add(q->v->loop, &q->kick);
    if (e)
        return diag_fail(why, e, "ring %u: kick is no eventfd", q->index);
    q->kick_watched = true;
    vring_start(&q->ring);
    if (q->adopted) /* unless the inflight region knows better */
        q->ring.last_avail = q->ring.used_next;
    q->adopted = false;
    q->running = true;
    attach_inflight(q);
    if (q->index == VHOST_EVENT_QUEUE)
        vhost_events_restart(q->v);
    if (q->index >= VHOST_FIRST_REQUEST_QUEUE)
        q->v->guest_knows = true;
    vhost_poller_update(q->v);
    /* An interrupt too many is legal; one lost while we were not served would
     * not come again. */
    vhost_queue_call(q);
    return E_OK;
}

enum err vhost_queue_recover(struct vhost_queue *q, struct diag *why)
{
    enum err e;

    if (q->running || !q->has_addr || !q->ring.num || !q->v->inflight_map)
        return E_OK;
    e = vring_map(&q->ring, &q->v->mem, why);
    if (!e)
        e = make_pool(q);
    if (e)
        return e;
    vring_start(&q->ring);
    attach_inflight(q);
    vhost_poller_update(q->v);
    return E_OK;
}

/* No new requests; those in flight still end, and are shown to the guest. */
void vhost_queue_stop(struct vhost_queue *q)
{
    if (q->kick_watched)
        loop_fd_remove(q->v->loop, &q->kick);
    q->kick_watched = false;
    q->running = false;
    (void)vhost_queue_show(q); /* the poller may not come by any more */
    vhost_poller_update(q->v);
}

void vhost_queue_call(struct vhost_queue *q)
{
    const uint64_t one = 1;

    if (q->call_fd < 0)
        return;
    q->v->stats.calls++;
    /* A full counter has interrupted the guest already. */
    if (write(q->call_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        close_fd(&q->call_fd);
}

/* -- polling --------------------------------------------------------------- */

/* Take what the guest has offered; at most a ring full, for others wait. */
static bool serve(struct vhost_queue *q)
{
    bool any = false;

    if (q->index == VHOST_EVENT_QUEUE)
        return vhost_serve_events(q);
    for (uint32_t n = 0; n < q->ring.num && q->running; n++) {
        struct vhost_req *rq = vhost_take(q);

        if (!rq)
            break;
        any = true;
        start_or_break(rq);
    }
    return any;
}

bool vhost_queue_show(struct vhost_queue *q)
{
    if (!q->ring.desc || q->ring.used_shown == q->ring.used_next)
        return false;
    if (vring_show(&q->ring, &q->v->mem))
        vhost_queue_call(q);
    return true;
}

/* Show what has ended, then take what is new; one interrupt per batch. */
static bool poll_rings(struct poller *p)
{
    struct vhost_scsi *v = container_of(p, struct vhost_scsi, poller);
    bool any = false;

    for (unsigned i = 0; i < v->ring_count; i++) {
        struct vhost_queue *q = &v->queues[i];

        any |= vhost_queue_show(q);
        if (q->running && !v->paused)
            any |= serve(q);
    }
    return any;
}

/* Is there a chain that nobody has taken?  The event queue keeps its buffers
 * until there are events, so there "taken" means "looked at". */
/* How far we have looked: event buffers lie in their ring, seen but unused. */
static uint16_t seen(const struct vhost_queue *q)
{
    return q->index == VHOST_EVENT_QUEUE ? q->v->events_seen
                                         : q->ring.last_avail;
}

static bool has_new(struct vhost_queue *q)
{
    uint16_t count;

    if (vring_available(&q->ring, seen(q), &count, NULL))
        return true; /* broken: the poller finds out and says so */
    return count;
}

static bool arm_rings(struct poller *p)
{
    struct vhost_scsi *v = container_of(p, struct vhost_scsi, poller);
    bool any = false;

    for (unsigned i = 0; i < v->ring_count; i++) {
        struct vhost_queue *q = &v->queues[i];

        if (q->ring.desc && q->ring.used_shown != q->ring.used_next)
            any = true;
        if (!q->running || v->paused)
            continue;
        vring_notify(&q->ring, &v->mem, true, seen(q));
        any |= has_new(q);
    }
    return any;
}

static void disarm_rings(struct poller *p)
{
    struct vhost_scsi *v = container_of(p, struct vhost_scsi, poller);

    for (unsigned i = 0; i < v->ring_count; i++)
        if (v->queues[i].running)
            vring_notify(&v->queues[i].ring, &v->mem, false, 0);
}

void vhost_poller_init(struct vhost_scsi *v)
{
    v->poller = (struct poller){
        .poll = poll_rings, .arm = arm_rings, .disarm = disarm_rings};
}

/* Polled as long as a ring runs or something in flight is to be shown. */
void vhost_poller_update(struct vhost_scsi *v)
{
    bool wanted = v->inflight > 0;

    for (unsigned i = 0; i < v->ring_count; i++)
        wanted |= v->queues[i].running;
    if (wanted && !v->polling)
        loop_poller_add(v->loop, &v->poller);
    if (!wanted && v->polling)
        loop_poller_remove(v->loop, &v->poller);
    v->polling = wanted;
}

/* -- requests of any kind -------------------------------------------------- */

struct vhost_req *vhost_take(struct vhost_queue *q)
{
    struct diag why = {""};
    uint16_t count, head;
    enum err e;

    e = vring_available(&q->ring, q->ring.last_avail, &count, &why);
    if (!e && !count)
        return NULL;
    if (!e)
        e = vring_head(&q->ring, q->ring.last_avail, &head, &why);
    if (!e && q->reqs[head].busy)
        e = diag_fail(&why, E_PROTOCOL,
                      "descriptor %u is offered while it is in use", head);
    if (e) {
        vhost_break(q->v, q->index, &why);
        return NULL;
    }
    vring_take(&q->ring, head);
    occupy(&q->reqs[head]);
    return &q->reqs[head];
}

bool vhost_split(struct vhost_req *rq, const struct vring_chain *c,
                 size_t response_bytes)
{
    struct iovec *in = c->iov + c->out_count;
    uint32_t i = 0;
    size_t left = response_bytes;

    if (c->in_bytes < response_bytes)
        return false;
    while (left >= in[i].iov_len) {
        left -= in[i++].iov_len;
        if (!left)
            break;
    }
    rq->response = in;
    rq->response_count = i;
    rq->data_in = in + i;
    rq->data_in_count = c->in_count - i;
    if (left) { /* the border is inside this piece: cut it in two */
        memmove(in + i + 1, in + i, (c->in_count - i) * sizeof *in);
        in[i].iov_len = left;
        in[i + 1].iov_base = (uint8_t *)in[i + 1].iov_base + left;
        in[i + 1].iov_len -= left;
        rq->response_count++;
        rq->data_in++;
    }
    rq->data_in_bytes = c->in_bytes - response_bytes;
    return true;
}

void vhost_complete(struct vhost_req *rq, const void *response, size_t bytes,
                    size_t data_bytes)
{
    struct vhost_queue *q = rq->queue;
    struct vhost_scsi *v = q->v;

    iov_from_buf(rq->response, rq->response_count, 0, response, bytes);
    vhost_mem_dirty_iov(&v->mem, rq->response, rq->response_count);
    if (q->ring.desc && !v->broken)
        vring_push(&q->ring, &v->mem, rq->head, (uint32_t)(bytes + data_bytes));
    rq->busy = false;
    q->inflight--;
    v->inflight--;
    v->stats.requests++;
    if (!q->running)
        (void)vhost_queue_show(q);
    if (!q->running || v->paused || v->leaving)
        vhost_drained(v);
}

/* -- request queues -------------------------------------------------------- */

/* virtio 5.6.6: {1, target, number}, single level; or the well-known unit. */
bool vhost_decode_lun(const uint8_t lun[8], uint32_t *ret_lun)
{
    static const uint8_t well_known[8] = {0xc1, 0x01};

    if (memcmp(lun, well_known, 8) == 0) {
        *ret_lun = SCSI_WLUN_REPORT_LUNS;
        return true;
    }
    if (lun[0] != 1 || lun[1] != 0 || lun[4] || lun[5] || lun[6] || lun[7])
        return false;
    *ret_lun = (uint32_t)(lun[2] & 0x3f) << 8 | lun[3];
    return true;
}

static void answer(struct vhost_req *rq, enum virtio_scsi_answer code)
{
    struct virtio_scsi_response r = {.response = (uint8_t)code};

    vhost_complete(rq, &r, sizeof r, 0);
}

static void request_done(struct scsi_cmd *cmd)
{
    struct vhost_req *rq = container_of(cmd, struct vhost_req, cmd);
    struct vhost_scsi *v = rq->queue->v;
    size_t buffer = rq->data_in_bytes ? rq->data_in_bytes : rq->data_out_bytes;
    struct virtio_scsi_response r = {
        .status = (uint8_t)cmd->status,
        .sense_bytes = le32_make(cmd->sense_bytes),
        .residual = le32_make((uint32_t)(buffer - cmd->moved_bytes)),
    };

    memcpy(r.sense, cmd->sense, cmd->sense_bytes);
    if (cmd->aborted)
        r.response = VIRTIO_SCSI_ABORTED;
    else if (cmd->status == SCSI_GOOD && cmd->asked_bytes > buffer)
        r.response = VIRTIO_SCSI_OVERRUN;
    /* All of the buffer: a read that failed may have filled some of it. */
    if (rq->data_in_bytes)
        vhost_mem_dirty_iov(&v->mem, cmd->in, cmd->in_count);
    vhost_complete(rq, &r, sizeof r, rq->data_in_bytes ? cmd->moved_bytes : 0);
}

static void submit(struct vhost_req *rq, struct vring_chain *c,
                   const struct virtio_scsi_request *header)
{
    struct scsi_cmd *cmd = &rq->cmd;
    struct scsi_bus *bus = rq->queue->v->bus;

    rq->data_out_bytes = c->out_bytes - sizeof *header;
    cmd->nexus = rq->queue->v->nexus;
    cmd->tag = le64_get(header->tag);
    cmd->attr = (enum scsi_attr)min_u64(header->task_attr, SCSI_ACA);
    memcpy(cmd->cdb, header->cdb, sizeof cmd->cdb);
    cmd->cdb_bytes = VIRTIO_CDB_BYTES;
    cmd->out = c->iov;
    cmd->out_count = c->out_count;
    cmd->out_bytes = rq->data_out_bytes;
    cmd->in = rq->data_in;
    cmd->in_count = rq->data_in_count;
    cmd->in_bytes = rq->data_in_bytes;
    cmd->done = request_done;
    scsi_submit(bus, cmd);
}

/* Take header and data apart; they may be cut in any way (virtio 2.6.4.1).
 * Errors: E_PROTOCOL - the guest's driver is not one. */
enum err vhost_start_request(struct vhost_req *rq, struct diag *why)
{
    struct vhost_queue *q = rq->queue;
    struct vring_chain c = {.iov = rq->iov, .max = vhost_iov_max(&q->ring) - 1};
    struct virtio_scsi_request header;
    enum err e = vring_chain(&q->ring, &q->v->mem, rq->head, &c, why);

    if (e)
        return e;
    if (c.out_bytes < sizeof header ||
        !vhost_split(rq, &c, sizeof(struct virtio_scsi_response)))
        return diag_fail(
            why, E_PROTOCOL, "a request of %llu bytes with room for %llu",
            (unsigned long long)c.out_bytes, (unsigned long long)c.in_bytes);
    iov_to_buf(c.iov, c.out_count, 0, &header, sizeof header);
    iov_skip(c.iov, &c.out_count, sizeof header);
    if (!vhost_decode_lun(header.lun, &rq->cmd.lun)) {
        answer(rq, VIRTIO_SCSI_BAD_TARGET);
        return E_OK;
    }
    submit(rq, &c, &header);
    return E_OK;
}
