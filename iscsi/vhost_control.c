/* iscsi/vhost_control.c - control queue and event queue of virtio-scsi.
 * Events are never lost: what cannot be told now waits here, in order, until
 * the guest returns buffers.  EVENTS_MISSED goes in an event of its own, as
 * Windows ignores an event that carries the flag.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/vhost.h"

/* -- control: task management ---------------------------------------------- */

static const struct {
    uint32_t subtype;
    enum scsi_tmf_kind kind;
} tmf_kinds[] = {
    {0, SCSI_ABORT_TASK    },
    {1, SCSI_ABORT_TASK_SET},
    {3, SCSI_CLEAR_TASK_SET},
    {4, SCSI_NEXUS_RESET   },
    {5, SCSI_LU_RESET      },
    {6, SCSI_QUERY_TASK    },
    {7, SCSI_QUERY_TASK_SET},
};

static void tmf_respond(struct vhost_req *rq, enum virtio_scsi_answer code)
{
    uint8_t response = (uint8_t)code;

    vhost_complete(rq, &response, sizeof response, 0);
}

static void tmf_done(struct scsi_tmf *tmf)
{
    static const enum virtio_scsi_answer answers[] = {
        [SCSI_TMF_COMPLETE] = VIRTIO_SCSI_OK,
        [SCSI_TMF_SUCCEEDED] = VIRTIO_SCSI_FUNCTION_SUCCEEDED,
        [SCSI_TMF_BAD_LUN] = VIRTIO_SCSI_INCORRECT_LUN,
    };

    tmf_respond(container_of(tmf, struct vhost_req, tmf), answers[tmf->answer]);
}

static void start_tmf(struct vhost_req *rq, const struct virtio_scsi_tmf *m)
{
    struct vhost_scsi *v = rq->queue->v;
    uint32_t subtype = le32_get(m->subtype), lun;

    if (!vhost_decode_lun(m->lun, &lun)) {
        tmf_respond(rq, VIRTIO_SCSI_BAD_TARGET);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(tmf_kinds); i++) {
        if (tmf_kinds[i].subtype != subtype)
            continue;
        rq->tmf = (struct scsi_tmf){.nexus = v->nexus,
                                    .kind = tmf_kinds[i].kind,
                                    .lun = lun,
                                    .tag = le64_get(m->tag),
                                    .done = tmf_done};
        scsi_tmf(v->bus, &rq->tmf);
        return;
    }
    tmf_respond(rq, VIRTIO_SCSI_FUNCTION_REJECTED); /* CLEAR ACA, unknown */
}

enum err vhost_start_control(struct vhost_req *rq, struct diag *why)
{
    struct vhost_queue *q = rq->queue;
    struct vring_chain c = {.iov = rq->iov, .max = vhost_iov_max(&q->ring) - 1};
    struct virtio_scsi_an_answer none = {.response = VIRTIO_SCSI_OK};
    struct virtio_scsi_tmf m = {0};
    enum err e = vring_chain(&q->ring, &q->v->mem, rq->head, &c, why);
    size_t need = sizeof none;

    if (e)
        return e;
    iov_to_buf(c.iov, c.out_count, 0, &m, min_u64(sizeof m, c.out_bytes));
    if (le32_get(m.type) == VIRTIO_SCSI_TMF)
        need = 1;
    if (c.out_bytes < sizeof(struct virtio_scsi_an) ||
        (need == 1 && c.out_bytes < sizeof m) || !vhost_split(rq, &c, need))
        return diag_fail(why, E_PROTOCOL, "a control request of %llu bytes",
                         (unsigned long long)c.out_bytes);
    if (need == 1)
        start_tmf(rq, &m);
    else /* asynchronous notifications: no such event is ever reported */
        vhost_complete(rq, &none, sizeof none, 0);
    return E_OK;
}

/* -- events: what waits ---------------------------------------------------- */

static struct vhost_event *event_at(struct vhost_scsi *v, unsigned i)
{
    return &v->events[(v->events_first + i) % VHOST_EVENTS_MAX];
}

static void event_delete(struct vhost_scsi *v, unsigned i)
{
    for (; i + 1 < v->events_count; i++)
        *event_at(v, i) = *event_at(v, i + 1);
    v->events_count--;
}

/* The last event of this LUN that waits; -1: none. */
static int last_of_lun(struct vhost_scsi *v, unsigned lun)
{
    for (int i = (int)v->events_count - 1; i >= 0; i--)
        if (event_at(v, (unsigned)i)->lun == lun)
            return i;
    return -1;
}

static void event_append(struct vhost_scsi *v, enum scsi_event ev, unsigned lun)
{
    if (v->events_count == VHOST_EVENTS_MAX) {
        v->events_missed = true;
        return;
    }
    *event_at(v, v->events_count++) =
        (struct vhost_event){(uint8_t)lun, (uint8_t)ev};
}

static void event_add(struct vhost_scsi *v, enum scsi_event ev, unsigned lun)
{
    int last = last_of_lun(v, lun);
    enum scsi_event before =
        last < 0 ? ev : (enum scsi_event)event_at(v, (unsigned)last)->what;

    if (last >= 0 && before == ev)
        return; /* it says the same */
    if (ev == SCSI_EVENT_ADDED)
        v->removed[lun].sent = false;
    if (last >= 0 && ev == SCSI_EVENT_ADDED && before == SCSI_EVENT_REMOVED) {
        event_delete(v, (unsigned)last); /* never told: nothing happened */
        return;
    }
    event_append(v, ev, lun);
}

enum scsi_heard vhost_event(void *arg, enum scsi_event ev, unsigned lun)
{
    struct vhost_scsi *v = arg;
    unsigned needs = ev == SCSI_EVENT_CAPACITY ? VIRTIO_SCSI_F_CHANGE
                                               : VIRTIO_SCSI_F_HOTPLUG;

    if (!v->guest_knows)
        return SCSI_NO_GUEST;
    if (!vhost_has_feature(v, needs))
        return SCSI_NOT_HEARD;
    event_add(v, ev, lun);
    return SCSI_WILL_HEAR;
}

void vhost_events_forget(struct vhost_scsi *v)
{
    v->events_count = 0;
    v->events_missed = false;
    memset(v->removed, 0, sizeof v->removed);
}

void vhost_events_restart(struct vhost_scsi *v)
{
    v->events_seen = v->queues[VHOST_EVENT_QUEUE].ring.last_avail;
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++) {
        if (!v->removed[lun].sent)
            continue;
        v->removed[lun].sent = false;
        event_add(v, SCSI_EVENT_REMOVED, lun);
    }
}

/* -- events: telling ------------------------------------------------------- */

/* The guest returns the buffer of an event when it has dealt with it: Linux
 * after the disk is gone.  Buffers are known by their address. */
static void buffer_returned(struct vhost_scsi *v, uint64_t addr)
{
    for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++) {
        if (!v->removed[lun].sent || v->removed[lun].buffer != addr)
            continue;
        v->removed[lun].sent = false;
        scsi_nexus_let_go(v->nexus, lun);
    }
}

static enum err look_at_buffers(struct vhost_queue *q, bool *any,
                                struct diag *why)
{
    struct vhost_scsi *v = q->v;
    uint16_t count, head;
    uint64_t addr;
    enum err e = vring_available(&q->ring, v->events_seen, &count, why);

    for (; !e && count; count--) {
        e = vring_head(&q->ring, v->events_seen, &head, why);
        if (!e)
            e = vring_first_in(&q->ring, &v->mem, head, &addr, why);
        if (e)
            break;
        v->events_seen++;
        buffer_returned(v, addr);
        *any = true;
    }
    return e;
}

/* An event in the words of virtio 5.6.6.3.  The LUN is encoded as in REPORT
 * LUNS: byte 2 is 0, which Linux wants. */
static struct virtio_scsi_event event_encode(const struct vhost_event *ev)
{
    static const struct {
        uint32_t event, reason;
    } words[] = {
        [SCSI_EVENT_ADDED] = {VIRTIO_SCSI_T_TRANSPORT_RESET,
                              VIRTIO_SCSI_RESET_RESCAN },
        [SCSI_EVENT_REMOVED] = {VIRTIO_SCSI_T_TRANSPORT_RESET,
                              VIRTIO_SCSI_RESET_REMOVED},
        [SCSI_EVENT_CAPACITY] = {VIRTIO_SCSI_T_PARAM_CHANGE,
                              0x2a | 0x09 << 8         }, /* ASC, ASCQ */
    };

    if (!ev)
        return (struct virtio_scsi_event){
            .event = le32_make(VIRTIO_SCSI_T_NO_EVENT |
                               VIRTIO_SCSI_T_EVENTS_MISSED)};
    return (struct virtio_scsi_event){
        .event = le32_make(words[ev->what].event),
        .lun = {1, 0, 0, ev->lun},
        .reason = le32_make(words[ev->what].reason),
    };
}

static enum err tell(struct vhost_req *rq, const struct vhost_event *ev,
                     struct diag *why)
{
    struct vhost_queue *q = rq->queue;
    struct vhost_scsi *v = q->v;
    struct vring_chain c = {.iov = rq->iov, .max = vhost_iov_max(&q->ring) - 1};
    struct virtio_scsi_event words = event_encode(ev);
    uint64_t buffer;
    enum err e = vring_first_in(&q->ring, &v->mem, rq->head, &buffer, why);

    if (!e)
        e = vring_chain(&q->ring, &v->mem, rq->head, &c, why);
    if (!e && !vhost_split(rq, &c, sizeof words))
        e = diag_fail(why, E_PROTOCOL, "an event buffer of %llu bytes",
                      (unsigned long long)c.in_bytes);
    if (e)
        return e;
    if (ev && ev->what == SCSI_EVENT_REMOVED)
        v->removed[ev->lun] = (struct vhost_removed){true, buffer};
    v->stats.events++;
    vhost_complete(rq, &words, sizeof words, 0);
    return E_OK;
}

static bool event_waits(const struct vhost_scsi *v)
{
    return v->events_count || v->events_missed;
}

/* Fill a buffer with the next event; with "missed", if there is none. */
enum err vhost_start_event(struct vhost_req *rq, struct diag *why)
{
    struct vhost_scsi *v = rq->queue->v;
    struct vhost_event ev;

    if (!v->events_count) {
        v->events_missed = false;
        return tell(rq, NULL, why);
    }
    ev = *event_at(v, 0);
    event_delete(v, 0);
    return tell(rq, &ev, why);
}

bool vhost_serve_events(struct vhost_queue *q)
{
    struct vhost_scsi *v = q->v;
    struct diag why = {""};
    bool any = false;
    enum err e = look_at_buffers(q, &any, &why);

    while (!e && event_waits(v) && q->ring.last_avail != v->events_seen) {
        struct vhost_req *rq = vhost_take(q);

        if (!rq)
            return true;
        any = true;
        e = vhost_start_event(rq, &why);
        if (e)
            vhost_complete(rq, NULL, 0, 0);
    }
    if (e)
        vhost_break(v, q->index, &why);
    return any;
}
