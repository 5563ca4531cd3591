/* tests/unit/iscsi/vmm.c - see vmm.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/vmm.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { RING_STRIDE = 0x4000, AVAIL_AT = 0x1000, USED_AT = 0x2000 };

void vmm_init(struct vmm *m)
{
    const struct store_mem_args memory = {.size_bytes = VMM_DISK_BYTES};
    struct scsi_lu_args lu = {.uuid = {1}, .thin = true};
    struct vhost_scsi_args vhost = {.name = "vm,0", .queues_max = 1};
    struct diag why = {""};

    *m = (struct vmm){.fd = -1, .log_fd = -1};
    world_init_manual_clock(&m->world);
    snprintf(m->socket_path, sizeof m->socket_path, "%s/s", m->world.dir);
    ASSERT(!store_mem_new(&memory, &m->memory));
    ASSERT(!store_delay_new(m->memory, 0, &m->delay));
    lu.store = m->delay;
    ASSERT(!scsi_lu_new(&lu, &m->lu));
    ASSERT(!scsi_bus_new(m->world.loop, &m->bus));
    ASSERT(!scsi_bus_attach(m->bus, VMM_LUN, m->lu));
    vhost.loop = m->world.loop;
    vhost.bus = m->bus;
    vhost.socket_path = m->socket_path;
    CHECK_OK_FATAL(vhost_scsi_new(&vhost, &why, &m->vhost));
    m->memory_fd = memfd_create("guest", MFD_CLOEXEC);
    ASSERT(!ftruncate(m->memory_fd, VMM_MEMORY_BYTES));
    m->guest = mmap(NULL, VMM_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                    m->memory_fd, 0);
    ASSERT(m->guest != MAP_FAILED);
    m->features = vhost_features() & ~(UINT64_C(1) << VHOST_F_LOG_ALL);
    for (unsigned i = 0; i < VMM_QUEUES; i++) {
        struct vmm_ring *r = &m->rings[i];

        r->kick = r->call = r->err = -1;
        r->desc = (void *)(m->guest + i * RING_STRIDE);
        r->avail = (void *)(m->guest + i * RING_STRIDE + AVAIL_AT);
        r->used = (void *)(m->guest + i * RING_STRIDE + USED_AT);
    }
}

static void set_true(void *flag)
{
    *(bool *)flag = true;
}

static void ignore_end(struct scsi_detach *d, enum err e)
{
    (void)d;
    (void)e;
}

static void close_rings(struct vmm *m)
{
    for (unsigned i = 0; i < VMM_QUEUES; i++) {
        int *fds[] = {&m->rings[i].kick, &m->rings[i].call, &m->rings[i].err};

        for (size_t k = 0; k < ARRAY_LEN(fds); k++) {
            if (*fds[k] >= 0)
                close(*fds[k]);
            *fds[k] = -1;
        }
    }
}

void vmm_fini(struct vmm *m)
{
    struct scsi_detach d = {.force = true, .done = ignore_end};
    bool closed = false;

    vhost_scsi_close(m->vhost, set_true, &closed);
    for (unsigned i = 0; i < 100; i++) { /* what was delayed ends */
        vmm_run(m);
        m->world.clock.at_ns += NS_PER_S;
    }
    ASSERT(closed);
    if (m->fd >= 0)
        close(m->fd);
    close_rings(m);
    if (scsi_bus_lu(m->bus, VMM_LUN))
        ASSERT(!scsi_bus_detach(m->bus, VMM_LUN, &d));
    while (scsi_bus_lu(m->bus, VMM_LUN)) {
        vmm_run(m);
        m->world.clock.at_ns += NS_PER_S;
    }
    vmm_run(m);
    scsi_bus_free(m->bus);
    scsi_lu_free(m->lu);
    store_close(m->delay);
    store_close(m->memory);
    munmap(m->guest, VMM_MEMORY_BYTES);
    close(m->memory_fd);
    if (m->log)
        munmap(m->log, 4096);
    if (m->log_fd >= 0)
        close(m->log_fd);
    world_fini(&m->world);
}

void vmm_run(struct vmm *m)
{
    loop_run_ready(m->world.loop);
}

/* -- messages
 * ------------------------------------------------------------------ */

void vmm_connect(struct vmm *m)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    snprintf(at.sun_path, sizeof at.sun_path, "%s", m->socket_path);
    m->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(!connect(m->fd, (struct sockaddr *)&at, sizeof at));
    vmm_run(m);
}

void vmm_disconnect(struct vmm *m)
{
    close(m->fd);
    m->fd = -1;
    vmm_run(m);
}

void vmm_send(struct vmm *m, uint32_t request, uint32_t flags,
              const void *payload, uint32_t bytes, const int *fds,
              unsigned fd_count)
{
    struct vhost_header h = {request, VHOST_VERSION | flags, bytes};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control = {0};
    uint8_t copy[4096];
    struct iovec iov[2] = {
        {&h,   sizeof h},
        {copy, bytes   }
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    if (bytes)
        memcpy(copy, payload, bytes);
    if (fd_count) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
        CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
        CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, fd_count * sizeof(int));
    }
    (void)!sendmsg(m->fd, &msg, MSG_NOSIGNAL);
    vmm_run(m);
}

int vmm_receive(struct vmm *m, void *payload, int *ret_fd)
{
    struct vhost_header h;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    uint8_t copy[512];
    struct iovec iov[2] = {
        {&h,   sizeof h   },
        {copy, sizeof copy}
    };
    struct msghdr msg = {.msg_iov = iov,
                         .msg_iovlen = 2,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    ssize_t n;

    vmm_run(m);
    n = recvmsg(m->fd, &msg, MSG_DONTWAIT);
    if (n < (ssize_t)sizeof h)
        return -1;
    CHECK_EQ(h.flags, VHOST_VERSION | VHOST_IS_REPLY);
    CHECK_EQ(n, sizeof h + h.size);
    if (payload)
        memcpy(payload, copy, h.size);
    if (ret_fd) {
        *ret_fd = -1;
        if (CMSG_FIRSTHDR(&msg))
            memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof *ret_fd);
    }
    return (int)h.size;
}

static void send_u64(struct vmm *m, uint32_t request, uint64_t n)
{
    vmm_send(m, request, 0, &n, sizeof n, NULL, 0);
}

static void send_fd(struct vmm *m, uint32_t request, uint64_t ring, int fd)
{
    vmm_send(m, request, 0, &ring, sizeof ring, &fd, 1);
}

static void send_state(struct vmm *m, uint32_t request, uint32_t ring,
                       uint32_t num)
{
    struct vhost_state_msg s = {ring, num};

    vmm_send(m, request, 0, &s, sizeof s, NULL, 0);
}

/* Two regions that touch for the guest, and lie apart for us. */
void vmm_memory(struct vmm *m)
{
    for (unsigned i = 0; i < 2; i++) {
        struct vhost_mem_reg_msg r = {
            .region = {.guest_phys_addr =
                           VMM_GUEST_BASE + (uint64_t)i * VMM_REGION_BYTES,
                       .size_bytes = VMM_REGION_BYTES,
                       .user_addr =
                           VMM_USER_BASE + (uint64_t)i * VMM_REGION_BYTES,
                       .mmap_offset = (uint64_t)i * VMM_REGION_BYTES}
        };
        uint64_t ack = 1;

        vmm_send(m, VHOST_ADD_MEM_REG, VHOST_NEED_REPLY, &r, sizeof r,
                 &m->memory_fd, 1);
        CHECK_EQ(vmm_receive(m, &ack, NULL), 8);
        CHECK_EQ(ack, 0);
    }
}

void vmm_start_rings(struct vmm *m)
{
    send_u64(m, VHOST_SET_FEATURES, m->features);
    for (unsigned i = 0; i < VMM_QUEUES; i++) {
        uint64_t at = VMM_USER_BASE + i * RING_STRIDE;
        struct vhost_addr_msg a = {.index = i,
                                   .desc = at,
                                   .avail = at + AVAIL_AT,
                                   .used = at + USED_AT,
                                   .log = vmm_addr(i * RING_STRIDE + USED_AT)};
        struct vmm_ring *r = &m->rings[i];

        send_state(m, VHOST_SET_VRING_NUM, i, VMM_RING);
        send_state(m, VHOST_SET_VRING_BASE, i, r->used_seen);
        vmm_send(m, VHOST_SET_VRING_ADDR, 0, &a, sizeof a, NULL, 0);
        r->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        r->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        r->err = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        send_fd(m, VHOST_SET_VRING_KICK, i, r->kick);
        send_fd(m, VHOST_SET_VRING_ERR, i, r->err);
    }
    for (unsigned i = 0; i < VMM_QUEUES; i++)
        send_state(m, VHOST_SET_VRING_ENABLE, i, 1);
    for (unsigned i = 0; i < VMM_QUEUES; i++)
        send_fd(m, VHOST_SET_VRING_CALL, i, m->rings[i].call);
}

uint16_t vmm_stop_rings(struct vmm *m)
{
    struct vhost_state_msg s = {0};

    for (unsigned i = 0; i < VMM_QUEUES; i++)
        send_state(m, VHOST_SET_VRING_ENABLE, i, 0);
    for (unsigned i = 0; i < VMM_QUEUES; i++) {
        send_state(m, VHOST_GET_VRING_BASE, i, 0);
        CHECK_EQ(vmm_receive(m, &s, NULL), sizeof s);
        CHECK_EQ(s.index, i);
    }
    close_rings(m);
    return (uint16_t)s.num;
}

void vmm_setup(struct vmm *m)
{
    uint64_t n = 0;

    vmm_connect(m);
    vmm_send(m, VHOST_GET_FEATURES, 0, NULL, 0, NULL, 0);
    CHECK_EQ(vmm_receive(m, &n, NULL), 8);
    CHECK_EQ(n, vhost_features());
    vmm_send(m, VHOST_GET_PROTOCOL_FEATURES, 0, NULL, 0, NULL, 0);
    CHECK_EQ(vmm_receive(m, &n, NULL), 8);
    send_u64(m, VHOST_SET_PROTOCOL_FEATURES, n);
    vmm_send(m, VHOST_GET_QUEUE_NUM, 0, NULL, 0, NULL, 0);
    CHECK_EQ(vmm_receive(m, &n, NULL), 8);
    CHECK_EQ(n, VMM_QUEUES);
    vmm_send(m, VHOST_SET_OWNER, 0, NULL, 0, NULL, 0);
    vmm_memory(m);
    vmm_start_rings(m);
}

/* -- the driver
 * ------------------------------------------------------------------ */

void vmm_desc(struct vmm *m, unsigned ring, unsigned i, uint64_t addr,
              uint32_t len, uint16_t flags, uint16_t next)
{
    m->rings[ring].desc[i] = (struct vring_desc){
        le64_make(addr), le32_make(len), le16_make(flags), le16_make(next)};
}

void vmm_offer(struct vmm *m, unsigned ring, uint16_t head)
{
    struct vmm_ring *r = &m->rings[ring];
    uint16_t at = le16_get(r->avail->idx);
    const uint64_t one = 1;

    r->avail->ring[at % VMM_RING] = le16_make(head);
    r->avail->idx = le16_make((uint16_t)(at + 1));
    if (r->kick >= 0)
        (void)!write(r->kick, &one, sizeof one);
    vmm_run(m);
}

bool vmm_used(struct vmm *m, unsigned ring, uint32_t *ret_head,
              uint32_t *ret_len)
{
    struct vmm_ring *r = &m->rings[ring];
    const struct vring_used_elem *e = &r->used->ring[r->used_seen % VMM_RING];

    if (le16_get(r->used->idx) == r->used_seen)
        return false;
    r->used_seen++;
    if (ret_head)
        *ret_head = le32_get(e->id);
    if (ret_len)
        *ret_len = le32_get(e->len_bytes);
    /* used_event: an interrupt for the next one, please */
    r->avail->ring[VMM_RING] = le16_make(r->used_seen);
    return true;
}

void vmm_put_request(struct vmm *m, const uint8_t *cdb, size_t cdb_bytes)
{
    struct virtio_scsi_request h = {
        .lun = {1, 0, 0x40, VMM_LUN}
    };

    memcpy(h.cdb, cdb, cdb_bytes);
    memcpy(m->guest + VMM_HEADER, &h, sizeof h);
    memset(m->guest + VMM_RESPONSE, 0xee, sizeof(struct virtio_scsi_response));
}

void vmm_request(struct vmm *m, const uint8_t *cdb, size_t cdb_bytes,
                 uint32_t out_bytes, uint32_t in_bytes)
{
    const unsigned q = VHOST_FIRST_REQUEST_QUEUE;
    uint16_t more = in_bytes ? VRING_DESC_NEXT : 0;

    vmm_put_request(m, cdb, cdb_bytes);
    vmm_desc(m, q, 0, vmm_addr(VMM_HEADER), sizeof(struct virtio_scsi_request),
             VRING_DESC_NEXT, out_bytes ? 1 : 2);
    vmm_desc(m, q, 1, vmm_addr(VMM_BUFFER), out_bytes, VRING_DESC_NEXT, 2);
    vmm_desc(m, q, 2, vmm_addr(VMM_RESPONSE),
             sizeof(struct virtio_scsi_response), VRING_DESC_WRITE | more, 3);
    vmm_desc(m, q, 3, vmm_addr(VMM_BUFFER), in_bytes, VRING_DESC_WRITE, 0);
    vmm_offer(m, q, 0);
}

const struct virtio_scsi_response *vmm_response(struct vmm *m)
{
    return (const void *)(m->guest + VMM_RESPONSE);
}

void vmm_ready(struct vmm *m)
{
    vmm_init(m);
    vmm_setup(m);
    vmm_request(m, TUR, 0, 0);
    CU_ASSERT(vmm_used(m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(m)->status, SCSI_CHECK_CONDITION);
    CHECK_EQ(le32_get(vmm_response(m)->sense_bytes), 18);
    CHECK_EQ(vmm_response(m)->sense[12], 0x29);
}

struct vhost_scsi_status vmm_status(struct vmm *m)
{
    struct vhost_scsi_status s;

    vhost_scsi_status(m->vhost, &s);
    return s;
}
