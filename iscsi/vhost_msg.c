/* iscsi/vhost_msg.c - what the VMM says, one row per message.
 * Runs on the loop and never waits: a message that needs requests in flight to
 * end stays in the channel until they have.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "iscsi/vhost.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIT(n) (UINT64_C(1) << (n))

/* What may be in flight when a message is carried out. */
enum vhost_quiet {
    QUIET_NONE, /* anything */
    QUIET_RING, /* nothing of a ring that is off: it may start by this */
    QUIET_ALL   /* nothing at all */
};

struct vhost_answer {
    uint8_t payload[VHOST_PAYLOAD_MAX];
    size_t bytes; /* 0: the message has no answer of its own */
    int fd;       /* -1: none; stays ours */
};

typedef enum err vhost_message_fn(struct vhost_scsi *v, const void *payload,
                                  struct vhost_answer *ret_answer,
                                  struct diag *why);

static void answer_u64(struct vhost_answer *a, uint64_t n)
{
    memcpy(a->payload, &n, sizeof n);
    a->bytes = sizeof n;
}

/* -- features -------------------------------------------------------------- */

uint64_t vhost_features(void)
{
    return BIT(VIRTIO_SCSI_F_HOTPLUG) | BIT(VIRTIO_SCSI_F_CHANGE) |
           BIT(VHOST_F_LOG_ALL) | BIT(VIRTIO_F_INDIRECT_DESC) |
           BIT(VIRTIO_F_EVENT_IDX) | BIT(VHOST_F_PROTOCOL_FEATURES) |
           BIT(VIRTIO_F_VERSION_1);
}

enum {
    PROTOCOL_FEATURES = 1 << VHOST_PROTOCOL_MQ | 1 << VHOST_PROTOCOL_LOG_SHMFD |
                        1 << VHOST_PROTOCOL_REPLY_ACK |
                        1 << VHOST_PROTOCOL_INFLIGHT_SHMFD |
                        1 << VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS
};

static enum err get_features(struct vhost_scsi *v, const void *payload,
                             struct vhost_answer *a, struct diag *why)
{
    (void)v;
    (void)payload;
    (void)why;
    answer_u64(a, vhost_features());
    return E_OK;
}

/* QEMU 7.2 lets guests have features that were not offered; those change
 * nothing for us and are dropped. */
static enum err set_features(struct vhost_scsi *v, const void *payload,
                             struct vhost_answer *a, struct diag *why)
{
    uint64_t features;

    (void)a;
    (void)why;
    memcpy(&features, payload, sizeof features);
    v->features = features & vhost_features();
    if (!vhost_has_feature(v, VIRTIO_SCSI_F_HOTPLUG)) {
        /* a driver without events; it looks for its disks itself */
        vhost_events_forget(v);
        scsi_nexus_let_go_all(v->nexus);
    }
    return E_OK;
}

static enum err get_protocol_features(struct vhost_scsi *v, const void *payload,
                                      struct vhost_answer *a, struct diag *why)
{
    (void)v;
    (void)payload;
    (void)why;
    answer_u64(a, PROTOCOL_FEATURES);
    return E_OK;
}

static enum err set_protocol_features(struct vhost_scsi *v, const void *payload,
                                      struct vhost_answer *a, struct diag *why)
{
    uint64_t features;

    (void)a;
    memcpy(&features, payload, sizeof features);
    if (features & ~(uint64_t)PROTOCOL_FEATURES)
        return diag_fail(why, E_PROTOCOL,
                         "protocol features 0x%llx were not offered",
                         (unsigned long long)features);
    v->protocol_features = features;
    return E_OK;
}

static enum err get_queue_num(struct vhost_scsi *v, const void *payload,
                              struct vhost_answer *a, struct diag *why)
{
    (void)payload;
    (void)why;
    answer_u64(a, v->ring_count);
    return E_OK;
}

static enum err get_max_mem_slots(struct vhost_scsi *v, const void *payload,
                                  struct vhost_answer *a, struct diag *why)
{
    (void)v;
    (void)payload;
    (void)why;
    answer_u64(a, VHOST_REGIONS_MAX);
    return E_OK;
}

static enum err ignore(struct vhost_scsi *v, const void *payload,
                       struct vhost_answer *a, struct diag *why)
{
    (void)v;
    (void)payload;
    (void)a;
    (void)why;
    return E_OK;
}

/* -- memory ---------------------------------------------------------------- */

/* Addresses changed: find the rings again.  One that is gone cannot be served.
 */
static enum err map_rings(struct vhost_scsi *v, struct diag *why)
{
    enum err e = E_OK;

    for (unsigned i = 0; i < v->ring_count; i++) {
        struct vhost_queue *q = &v->queues[i];
        enum err one = E_OK;

        if (!q->ring.desc)
            continue;
        one = vring_map(&q->ring, &v->mem, why);
        if (one && q->running) {
            vhost_queue_stop(q);
            e = one;
        }
    }
    return e;
}

static enum err set_mem_table(struct vhost_scsi *v, const void *payload,
                              struct vhost_answer *a, struct diag *why)
{
    struct vhost_mem_table_msg m;
    struct diag more = {""};
    enum err e = E_OK, gone;

    (void)a;
    memcpy(&m, payload, sizeof m);
    if (m.count > VHOST_TABLE_REGIONS_MAX || m.count != v->channel.fd_count)
        return diag_fail(why, E_PROTOCOL,
                         "memory table of %u regions and %u descriptors",
                         m.count, v->channel.fd_count);
    vhost_mem_remove_all(&v->mem);
    for (unsigned i = 0; i < m.count && !e; i++)
        e = vhost_mem_add(&v->mem, &m.regions[i],
                          channel_take_fd(&v->channel, i), why);
    if (e)
        vhost_mem_remove_all(&v->mem);
    gone = map_rings(v, e ? &more : why); /* the old addresses are no more */
    return e ? e : gone;
}

static enum err add_mem_reg(struct vhost_scsi *v, const void *payload,
                            struct vhost_answer *a, struct diag *why)
{
    struct vhost_mem_reg_msg m;

    (void)a;
    memcpy(&m, payload, sizeof m);
    return vhost_mem_add(&v->mem, &m.region, channel_take_fd(&v->channel, 0),
                         why);
}

static enum err rem_mem_reg(struct vhost_scsi *v, const void *payload,
                            struct vhost_answer *a, struct diag *why)
{
    struct vhost_mem_reg_msg m;

    (void)a;
    memcpy(&m, payload, sizeof m);
    if (vhost_mem_remove(&v->mem, &m.region))
        return diag_fail(why, E_PROTOCOL,
                         "removal of a memory region that is not there");
    return map_rings(v, why);
}

static enum err set_log_base(struct vhost_scsi *v, const void *payload,
                             struct vhost_answer *a, struct diag *why)
{
    struct vhost_log_msg m;
    enum err e;

    memcpy(&m, payload, sizeof m);
    e = vhost_mem_set_log(&v->mem, &m, channel_take_fd(&v->channel, 0), why);
    if (!e)
        answer_u64(a, 0);
    return e;
}

/* -- rings ----------------------------------------------------------------- */

static struct vhost_queue *queue_at(struct vhost_scsi *v, uint32_t index,
                                    struct diag *why)
{
    if (index < v->ring_count)
        return &v->queues[index];
    diag_fail(why, E_PROTOCOL, "ring %u of %u", index, v->ring_count);
    return NULL;
}

static struct vhost_queue *stopped_queue(struct vhost_scsi *v, uint32_t index,
                                         struct diag *why)
{
    struct vhost_queue *q = queue_at(v, index, why);

    if (!q || !q->running)
        return q;
    diag_fail(why, E_PROTOCOL, "ring %u is set while it runs", index);
    return NULL;
}

static enum err set_vring_num(struct vhost_scsi *v, const void *payload,
                              struct vhost_answer *a, struct diag *why)
{
    struct vhost_state_msg m;
    struct vhost_queue *q;

    (void)a;
    memcpy(&m, payload, sizeof m);
    q = stopped_queue(v, m.index, why);
    if (!q)
        return E_PROTOCOL;
    if (!is_power_of_two(m.num) || m.num > VRING_NUM_MAX)
        return diag_fail(why, E_PROTOCOL, "ring %u: %u entries", m.index,
                         m.num);
    q->ring.num = m.num;
    q->ring.desc = NULL; /* found again by its new size when it starts */
    q->ring.inflight = NULL;
    return E_OK;
}

static enum err set_vring_base(struct vhost_scsi *v, const void *payload,
                               struct vhost_answer *a, struct diag *why)
{
    struct vhost_state_msg m;
    struct vhost_queue *q;

    (void)a;
    memcpy(&m, payload, sizeof m);
    q = stopped_queue(v, m.index, why);
    if (!q)
        return E_PROTOCOL;
    q->ring.last_avail = (uint16_t)m.num;
    return E_OK;
}

/* Sent for a running ring too, when logging goes on or off. */
static enum err set_vring_addr(struct vhost_scsi *v, const void *payload,
                               struct vhost_answer *a, struct diag *why)
{
    struct vhost_addr_msg m;
    struct vhost_queue *q;

    (void)a;
    memcpy(&m, payload, sizeof m);
    q = queue_at(v, m.index, why);
    if (!q)
        return E_PROTOCOL;
    if (!q->running) {
        q->ring.addr = m;
        q->has_addr = true;
        q->ring.desc = NULL;
        return vhost_queue_start(q, why);
    }
    if (m.desc != q->ring.addr.desc || m.avail != q->ring.addr.avail ||
        m.used != q->ring.addr.used)
        return diag_fail(why, E_PROTOCOL, "ring %u moves while it runs",
                         m.index);
    q->ring.addr = m;
    return E_OK;
}

/* The descriptor of a SET_VRING_{KICK,CALL,ERR}; *ret_fd -1: none is meant. */
static enum err vring_fd(struct vhost_scsi *v, const void *payload,
                         struct vhost_queue **ret_queue, int *ret_fd,
                         struct diag *why)
{
    uint64_t m;
    struct vhost_queue *q;
    int fd;

    memcpy(&m, payload, sizeof m);
    q = queue_at(v, m & VHOST_FD_INDEX_MASK, why);
    if (!q)
        return E_PROTOCOL;
    fd = channel_take_fd(&v->channel, 0);
    if ((fd < 0) != !!(m & VHOST_FD_NONE)) {
        if (fd >= 0)
            close(fd);
        return diag_fail(why, E_PROTOCOL, "ring %u: no descriptor came",
                         q->index);
    }
    if (fd >= 0) /* nobody makes the loop wait */
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    *ret_queue = q;
    *ret_fd = fd;
    return E_OK;
}

static enum err replace_fd(struct vhost_scsi *v, const void *payload,
                           size_t field, struct vhost_queue **ret_queue,
                           struct diag *why)
{
    struct vhost_queue *q;
    int fd, *place;
    enum err e = vring_fd(v, payload, &q, &fd, why);

    if (e)
        return e;
    place = (int *)(void *)((char *)q + field);
    if (*place >= 0)
        close(*place);
    *place = fd;
    *ret_queue = q;
    return E_OK;
}

static enum err set_vring_kick(struct vhost_scsi *v, const void *payload,
                               struct vhost_answer *a, struct diag *why)
{
    struct vhost_queue *q;
    uint64_t m;
    enum err e;

    (void)a;
    memcpy(&m, payload, sizeof m);
    if (!stopped_queue(v, m & VHOST_FD_INDEX_MASK, why))
        return E_PROTOCOL;
    if (m & VHOST_FD_NONE)
        return diag_fail(why, E_PROTOCOL, "a ring without kicks");
    e = replace_fd(v, payload, offsetof(struct vhost_queue, kick_fd), &q, why);
    if (e)
        return e;
    /* rst, "Ring states": without protocol features rings start enabled */
    if (!vhost_has_feature(v, VHOST_F_PROTOCOL_FEATURES))
        q->enabled = true;
    return vhost_queue_start(q, why);
}

static enum err set_vring_call(struct vhost_scsi *v, const void *payload,
                               struct vhost_answer *a, struct diag *why)
{
    struct vhost_queue *q;
    enum err e;

    (void)a;
    e = replace_fd(v, payload, offsetof(struct vhost_queue, call_fd), &q, why);
    if (!e && q->running)
        vhost_queue_call(q);
    return e;
}

static enum err set_vring_err(struct vhost_scsi *v, const void *payload,
                              struct vhost_answer *a, struct diag *why)
{
    struct vhost_queue *q;

    (void)a;
    return replace_fd(v, payload, offsetof(struct vhost_queue, err_fd), &q,
                      why);
}

static enum err set_vring_enable(struct vhost_scsi *v, const void *payload,
                                 struct vhost_answer *a, struct diag *why)
{
    struct vhost_state_msg m;
    struct vhost_queue *q;

    (void)a;
    memcpy(&m, payload, sizeof m);
    q = queue_at(v, m.index, why);
    if (!q)
        return E_PROTOCOL;
    q->enabled = m.num;
    if (m.num)
        return vhost_queue_start(q, why);
    if (q->running)
        vhost_queue_stop(q);
    return E_OK;
}

static bool any_kick(const struct vhost_scsi *v)
{
    for (unsigned i = 0; i < v->ring_count; i++)
        if (v->queues[i].kick_fd >= 0)
            return true;
    return false;
}

/* Nothing of this ring is in flight any more (QUIET_RING). */
static enum err get_vring_base(struct vhost_scsi *v, const void *payload,
                               struct vhost_answer *a, struct diag *why)
{
    struct vhost_state_msg m;
    struct vhost_queue *q;

    memcpy(&m, payload, sizeof m);
    q = queue_at(v, m.index, why);
    if (!q)
        return E_PROTOCOL;
    if (q->kick_fd >= 0)
        close(q->kick_fd);
    q->kick_fd = -1;
    if (v->broken && !any_kick(v)) { /* its driver starts anew */
        v->broken = false;
        v->fault.text[0] = '\0';
    }
    m.num = q->ring.last_avail;
    memcpy(a->payload, &m, sizeof m);
    a->bytes = sizeof m;
    return E_OK;
}

/* -- the record of what is in flight --------------------------------------- */

void vhost_inflight_drop(struct vhost_scsi *v)
{
    for (unsigned i = 0; i < v->ring_count; i++)
        v->queues[i].ring.inflight = NULL;
    if (v->inflight_map)
        munmap(v->inflight_map, v->inflight_map_bytes);
    if (v->inflight_fd >= 0)
        close(v->inflight_fd);
    v->inflight_map = NULL;
    v->inflight_fd = -1;
}

static enum err inflight_check(const struct vhost_scsi *v,
                               const struct vhost_inflight_msg *m,
                               struct diag *why)
{
    if (m->num_queues && m->num_queues <= v->ring_count && m->queue_size &&
        m->queue_size <= VRING_NUM_MAX)
        return E_OK;
    return diag_fail(why, E_PROTOCOL, "inflight region for %u rings of %u",
                     m->num_queues, m->queue_size);
}

static enum err get_inflight_fd(struct vhost_scsi *v, const void *payload,
                                struct vhost_answer *a, struct diag *why)
{
    struct vhost_inflight_msg m = {0};
    enum err e;
    int fd;

    memcpy(&m, payload, sizeof m);
    e = inflight_check(v, &m, why);
    if (e)
        return e;
    m.mmap_size = m.num_queues * vring_inflight_bytes(m.queue_size);
    m.mmap_offset = 0;
    fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)m.mmap_size)) {
        e = err_from_errno(errno);
        if (fd >= 0)
            close(fd);
        return diag_fail(why, e, "inflight region of %llu bytes",
                         (unsigned long long)m.mmap_size);
    }
    /* We map it too: nobody shortens it under us. */
    (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    memcpy(a->payload, &m, sizeof m);
    a->bytes = v->channel.header.size; /* with the VMM's padding, if any */
    a->fd = fd;
    return E_OK;
}

enum err vhost_inflight_map(struct vhost_scsi *v,
                            const struct vhost_inflight_msg *m, int fd,
                            struct diag *why)
{
    size_t one = vring_inflight_bytes(m->queue_size);
    struct stat st;
    enum err e = inflight_check(v, m, why);
    void *map;

    if (!e && (m->mmap_offset || m->mmap_size != m->num_queues * one ||
               fstat(fd, &st) || (uint64_t)st.st_size < m->mmap_size))
        e = diag_fail(why, E_PROTOCOL, "inflight region of %llu bytes",
                      (unsigned long long)m->mmap_size);
    map =
        e ? MAP_FAILED
          : mmap(NULL, m->mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        close(fd);
        return e ? e : E_NOMEM;
    }
    vhost_inflight_drop(v);
    v->inflight_map = map;
    v->inflight_map_bytes = m->mmap_size;
    v->inflight_fd = fd;
    v->inflight_at = *m;
    return E_OK;
}

static enum err set_inflight_fd(struct vhost_scsi *v, const void *payload,
                                struct vhost_answer *a, struct diag *why)
{
    struct vhost_inflight_msg m = {0};
    int fd = channel_take_fd(&v->channel, 0);

    (void)a;
    memcpy(&m, payload, sizeof m);
    if (fd < 0)
        return diag_fail(why, E_PROTOCOL, "no inflight descriptor");
    return vhost_inflight_map(v, &m, fd, why);
}

/* -- the table ------------------------------------------------------------- */

static const struct vhost_row {
    enum vhost_request request;
    uint32_t least, most;   /* bytes of the payload; the rest is zeros */
    enum vhost_quiet quiet; /* QUIET_RING: of the ring in the first word */
    const char *name;
    vhost_message_fn *run;
} vhost_rows[] = {
#define ROW(name, least, most, quiet, run)                                     \
    {                                                                          \
        VHOST_##name, least, most, quiet, #name, run                           \
    }
    ROW(GET_FEATURES, 0, 0, QUIET_NONE, get_features),
    ROW(SET_FEATURES, 8, 8, QUIET_NONE, set_features),
    ROW(SET_OWNER, 0, 0, QUIET_NONE, ignore),
    ROW(RESET_OWNER, 0, 0, QUIET_NONE, ignore),
    ROW(SET_MEM_TABLE, 8, 264, QUIET_ALL, set_mem_table),
    ROW(SET_LOG_BASE, 16, 16, QUIET_NONE, set_log_base),
    ROW(SET_LOG_FD, 0, 0, QUIET_NONE, ignore),
    ROW(SET_VRING_NUM, 8, 8, QUIET_RING, set_vring_num),
    ROW(SET_VRING_ADDR, 40, 40, QUIET_RING, set_vring_addr),
    ROW(SET_VRING_BASE, 8, 8, QUIET_RING, set_vring_base),
    ROW(GET_VRING_BASE, 8, 8, QUIET_RING, get_vring_base),
    ROW(SET_VRING_KICK, 8, 8, QUIET_RING, set_vring_kick),
    ROW(SET_VRING_CALL, 8, 8, QUIET_NONE, set_vring_call),
    ROW(SET_VRING_ERR, 8, 8, QUIET_NONE, set_vring_err),
    ROW(GET_PROTOCOL_FEATURES, 0, 0, QUIET_NONE, get_protocol_features),
    ROW(SET_PROTOCOL_FEATURES, 8, 8, QUIET_NONE, set_protocol_features),
    ROW(GET_QUEUE_NUM, 0, 0, QUIET_NONE, get_queue_num),
    ROW(SET_VRING_ENABLE, 8, 8, QUIET_RING, set_vring_enable),
    ROW(GET_INFLIGHT_FD, 20, 24, QUIET_NONE, get_inflight_fd),
    ROW(SET_INFLIGHT_FD, 20, 24, QUIET_ALL, set_inflight_fd),
    ROW(GET_MAX_MEM_SLOTS, 0, 0, QUIET_NONE, get_max_mem_slots),
    ROW(ADD_MEM_REG, 40, 40, QUIET_NONE, add_mem_reg),
    ROW(REM_MEM_REG, 40, 40, QUIET_ALL, rem_mem_reg),
#undef ROW
};

static const struct vhost_row *row_find(uint32_t request)
{
    for (size_t i = 0; i < ARRAY_LEN(vhost_rows); i++)
        if (vhost_rows[i].request == request)
            return &vhost_rows[i];
    return NULL;
}

/* Is everything quiet that has to be?  If not, it soon will: nothing new is
 * taken, and vhost_drained() comes back here. */
static bool quiet_enough(struct vhost_scsi *v, const struct vhost_row *row,
                         const void *payload)
{
    struct vhost_queue *q;
    uint32_t index;

    if (row->quiet == QUIET_NONE)
        return true;
    if (row->quiet == QUIET_ALL) {
        v->paused = v->inflight > 0;
        return !v->inflight;
    }
    memcpy(&index, payload, sizeof index);
    if (row->request == VHOST_SET_VRING_KICK)
        index &= VHOST_FD_INDEX_MASK;
    if (index >= v->ring_count)
        return true; /* the message will be refused */
    q = &v->queues[index];
    if (row->request == VHOST_GET_VRING_BASE && q->running)
        vhost_queue_stop(q);
    return q->running || !q->inflight;
}

/* The memory table is sent with as many regions as there are; the inflight
 * message with the padding that its C struct has in QEMU, or as it is written
 * in the protocol. */
static enum err payload_check(struct vhost_channel *c,
                              const struct vhost_row *row, struct diag *why)
{
    if (c->header.size < row->least || c->header.size > row->most)
        return diag_fail(why, E_PROTOCOL, "%u bytes where %u belong",
                         c->header.size, row->most);
    memset(c->payload + c->header.size, 0, sizeof c->payload - c->header.size);
    return E_OK;
}

static bool changes_state(const struct vhost_row *row)
{
    return row->request == VHOST_GET_VRING_BASE ||
           strncmp(row->name, "GET_", 4) != 0;
}

static enum err acknowledge(struct vhost_scsi *v, struct vhost_answer *a,
                            enum err result, const struct diag *why)
{
    bool asked = (v->channel.header.flags & VHOST_NEED_REPLY) &&
                 (v->protocol_features >> VHOST_PROTOCOL_REPLY_ACK & 1);

    if (!result && a->bytes)
        return channel_reply(&v->channel, a->payload, a->bytes, a->fd);
    if (!asked)
        return result;
    if (result)
        log_warning("%s: %s", v->name, diag_text(why, result));
    answer_u64(a, result != E_OK);
    return channel_reply(&v->channel, a->payload, a->bytes, -1);
}

void vhost_message(struct vhost_scsi *v)
{
    struct vhost_channel *c = &v->channel;
    const struct vhost_row *row = row_find(c->header.request);
    struct vhost_answer a = {.fd = -1};
    struct diag why = {""};
    enum err e;

    if (!row) {
        e = diag_fail(&why, E_PROTOCOL, "not a message we know");
    } else {
        e = payload_check(c, row, &why);
        if (!e && !quiet_enough(v, row, c->payload)) {
            v->message_waits = true;
            vhost_keep_save(v);
            loop_fd_set(v->loop, &c->watch, EPOLLRDHUP);
            return;
        }
        if (!e)
            e = row->run(v, c->payload, &a, &why);
    }
    v->message_waits = v->paused = false;
    if (e)
        diag_prefix(&why, e, "%s (%u)", row ? row->name : "message",
                    c->header.request);
    if (!e && changes_state(row))
        vhost_keep_save(v);
    e = acknowledge(v, &a, e, &why);
    if (a.fd >= 0)
        close(a.fd);
    if (e) {
        vhost_disconnect(v, &why);
        return;
    }
    channel_next(c);
    loop_fd_set(v->loop, &c->watch, EPOLLIN | EPOLLRDHUP);
}
