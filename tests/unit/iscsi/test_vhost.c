/* tests/unit/iscsi/test_vhost.c - the vhost-user-scsi front end against a VMM
 * and a driver that do what they should, and that do not.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/vmm.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define CDB(...)                                                               \
    (const uint8_t[]){__VA_ARGS__}, sizeof(uint8_t[])                          \
    {                                                                          \
        __VA_ARGS__                                                            \
    }
#define READ_1  CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0)
#define WRITE_1 CDB(0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0)
#define TUR     CDB(0, 0, 0, 0, 0, 0)

enum { Q = VHOST_FIRST_REQUEST_QUEUE, RESPONSE_BYTES = 108 };

/* Set up, and take the power-on attention. */
static void ready(struct vmm *m)
{
    vmm_init(m);
    vmm_setup(m);
    vmm_request(m, TUR, 0, 0);
    CU_ASSERT(vmm_used(m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(m)->status, SCSI_CHECK_CONDITION);
    CHECK_EQ(le32_get(vmm_response(m)->sense_bytes), 18);
    CHECK_EQ(vmm_response(m)->sense[12], 0x29);
}

static struct vhost_scsi_status status_of(struct vmm *m)
{
    struct vhost_scsi_status s;

    vhost_scsi_status(m->vhost, &s);
    return s;
}

static void a_write_and_a_read_reach_the_disk(void)
{
    struct vmm m;
    uint32_t head, len;
    uint8_t block[512];

    ready(&m);
    pattern_fill(m.guest + VMM_BUFFER, 512, 5, 0);
    vmm_request(&m, WRITE_1, 512, 0);
    CU_ASSERT(vmm_used(&m, Q, &head, &len));
    CHECK_EQ(head, 0);
    CHECK_EQ(len, RESPONSE_BYTES);
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    CHECK_EQ(vmm_response(&m)->response, VIRTIO_SCSI_OK);
    store_mem_peek(m.memory, 512, block, 512);
    CHECK_EQ(pattern_check(block, 512, 5, 0), 512);
    memset(m.guest + VMM_BUFFER, 0, 512);
    vmm_request(&m, READ_1, 0, 512);
    CU_ASSERT(vmm_used(&m, Q, &head, &len));
    CHECK_EQ(len, RESPONSE_BYTES + 512);
    CHECK_EQ(pattern_check(m.guest + VMM_BUFFER, 512, 5, 0), 512);
    CHECK_EQ(status_of(&m).running, 1);
    vmm_fini(&m);
}

static void residuals_are_told(void)
{
    struct vmm m;

    ready(&m);
    vmm_request(&m, READ_1, 0, 2048);
    CHECK_EQ(le32_get(vmm_response(&m)->residual), 1536);
    CHECK_EQ(vmm_response(&m)->response, VIRTIO_SCSI_OK);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    vmm_request(&m, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 4, 0), 0, 512);
    CHECK_EQ(vmm_response(&m)->response, VIRTIO_SCSI_OVERRUN);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    vmm_fini(&m);
}

/* virtio 2.6.4: a device makes no assumption on how a message is cut. */
static void headers_may_be_cut_anywhere(void)
{
    struct vmm m;
    uint32_t len;

    ready(&m);
    vmm_put_request(&m, WRITE_1);
    pattern_fill(m.guest + VMM_BUFFER, 512, 5, 0);
    memmove(m.guest + VMM_HEADER + 51, m.guest + VMM_BUFFER, 512);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 7, VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_HEADER + 7), 44 + 100, VRING_DESC_NEXT, 2);
    vmm_desc(&m, Q, 2, vmm_addr(VMM_HEADER + 151), 412, VRING_DESC_NEXT, 3);
    vmm_desc(&m, Q, 3, vmm_addr(VMM_RESPONSE), 1,
             VRING_DESC_WRITE | VRING_DESC_NEXT, 4);
    vmm_desc(&m, Q, 4, vmm_addr(VMM_RESPONSE + 1), 107, VRING_DESC_WRITE, 0);
    vmm_offer(&m, Q, 0);
    CU_ASSERT(vmm_used(&m, Q, NULL, &len));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    /* read: response and data in one descriptor */
    vmm_put_request(&m, READ_1);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 51, VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_RESPONSE), 108 + 512, VRING_DESC_WRITE, 0);
    vmm_offer(&m, Q, 0);
    CU_ASSERT(vmm_used(&m, Q, NULL, &len));
    CHECK_EQ(len, 108 + 512);
    CHECK_EQ(pattern_check(m.guest + VMM_RESPONSE + 108, 512, 5, 0), 512);
    vmm_fini(&m);
}

static void indirect_tables_and_region_borders_are_followed(void)
{
    struct vmm m;
    struct vring_desc *table;
    uint32_t border = VMM_REGION_BYTES - 200;

    ready(&m);
    pattern_fill(m.guest + border, 512, 8, 0);
    vmm_put_request(&m, WRITE_1);
    /* the table itself lies across the border of the regions, too */
    table = (void *)(m.guest + VMM_DATA + 0x4000);
    table[0] = (struct vring_desc){le64_make(vmm_addr(VMM_HEADER)),
                                   le32_make(51), le16_make(1), le16_make(1)};
    table[1] = (struct vring_desc){le64_make(vmm_addr(border)), le32_make(512),
                                   le16_make(1), le16_make(2)};
    table[2] = (struct vring_desc){le64_make(vmm_addr(VMM_RESPONSE)),
                                   le32_make(108), le16_make(2), le16_make(0)};
    vmm_desc(&m, Q, 0, vmm_addr(VMM_DATA + 0x4000), 48, VRING_DESC_INDIRECT, 0);
    vmm_offer(&m, Q, 0);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    store_mem_peek(m.memory, 512, m.guest + VMM_BUFFER, 512);
    CHECK_EQ(pattern_check(m.guest + VMM_BUFFER, 512, 8, 0), 512);
    memmove(m.guest + VMM_REGION_BYTES - 24, table, 48);
    vmm_put_request(&m, READ_1);
    table = (void *)(m.guest + VMM_REGION_BYTES - 24);
    table[1].flags = le16_make(VRING_DESC_WRITE | VRING_DESC_NEXT);
    table[1].addr_bytes = le64_make(vmm_addr(VMM_RESPONSE));
    table[1].len_bytes = le32_make(108);
    table[2].addr_bytes = le64_make(vmm_addr(VMM_BUFFER));
    table[2].len_bytes = le32_make(512);
    memset(m.guest + VMM_BUFFER, 0, 512);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_REGION_BYTES - 24), 48, VRING_DESC_INDIRECT,
             0);
    vmm_offer(&m, Q, 0);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    CHECK_EQ(pattern_check(m.guest + VMM_BUFFER, 512, 8, 0), 512);
    vmm_fini(&m);
}

static void lun_addresses_are_told_apart(void)
{
    static const uint8_t bad[][8] = {
        {0,  0,       0,       VMM_LUN},
        { 1, 1,       0, VMM_LUN       },
        { 1, 0, 0,       VMM_LUN,        1}
    };
    struct vmm m;

    ready(&m);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        vmm_put_request(&m, TUR);
        memcpy(m.guest + VMM_HEADER, bad[i], 8);
        vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 51, VRING_DESC_NEXT, 1);
        vmm_desc(&m, Q, 1, vmm_addr(VMM_RESPONSE), 108, VRING_DESC_WRITE, 0);
        vmm_offer(&m, Q, 0);
        CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
        CHECK_EQ(vmm_response(&m)->response, VIRTIO_SCSI_BAD_TARGET);
    }
    vmm_fini(&m);
}

static void a_request_without_a_kick_is_found_at_the_start(void)
{
    struct vmm m;

    vmm_init(&m);
    vmm_put_request(&m, TUR);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 51, VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_RESPONSE), 108, VRING_DESC_WRITE, 0);
    vmm_offer(&m, Q, 0);
    vmm_setup(&m);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    vmm_fini(&m);
}

static void stopping_waits_for_what_is_in_flight(void)
{
    struct vmm m;
    struct vhost_state_msg s = {Q, 0};

    ready(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    vmm_send(&m, VHOST_GET_VRING_BASE, 0, &s, sizeof s, NULL, 0);
    CHECK_EQ(vmm_receive(&m, &s, NULL), -1);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    CHECK_EQ(vmm_receive(&m, &s, NULL), sizeof s);
    CHECK_EQ(s.num, 2);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL)); /* shown before the answer */
    vmm_fini(&m);
}

static void a_vmm_that_leaves_with_requests_in_flight_is_forgotten(void)
{
    struct vmm m;

    ready(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    vmm_disconnect(&m);
    CHECK_EQ(status_of(&m).connected, 0);
    CHECK_EQ(status_of(&m).inflight, 1);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    vmm_run(&m);
    CHECK_EQ(status_of(&m).inflight, 0);
    memset(m.guest, 0, VMM_DATA);
    for (unsigned i = 0; i < VMM_QUEUES; i++)
        m.rings[i].used_seen = 0;
    vmm_setup(&m); /* another may come */
    CHECK_EQ(status_of(&m).connections, 2);
    vmm_fini(&m);
}

static void rings_stop_and_start_again(void)
{
    struct vmm m;

    ready(&m);
    CHECK_EQ(vmm_stop_rings(&m), 1);
    CHECK_EQ(status_of(&m).running, 0);
    vmm_request(&m, TUR, 0, 0);
    CU_ASSERT(!vmm_used(&m, Q, NULL, NULL));
    vmm_start_rings(&m);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    vmm_fini(&m);
}

/* -- migration ---------------------------------------------------------------
 */

static bool dirty(const struct vmm *m, uint32_t offset)
{
    uint64_t page = vmm_addr(offset) / 4096;

    return m->log[page / 8] >> (page % 8) & 1;
}

static void start_logging(struct vmm *m, size_t bytes)
{
    struct vhost_log_msg log = {.mmap_size = bytes};
    uint64_t n;

    m->log_fd = memfd_create("log", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(m->log_fd, (off_t)bytes), 0);
    m->log = mmap(NULL, bytes, PROT_READ, MAP_SHARED, m->log_fd, 0);
    vmm_send(m, VHOST_SET_LOG_BASE, 0, &log, sizeof log, &m->log_fd, 1);
    CHECK_EQ(vmm_receive(m, &n, NULL), 8);
    n = m->features | UINT64_C(1) << VHOST_F_LOG_ALL;
    vmm_send(m, VHOST_SET_FEATURES, VHOST_NEED_REPLY, &n, sizeof n, NULL, 0);
    CHECK_EQ(vmm_receive(m, &n, NULL), 8);
    for (unsigned i = 0; i < VMM_QUEUES; i++) {
        uint64_t at = VMM_USER_BASE + i * 0x4000;
        struct vhost_addr_msg a = {.index = i,
                                   .flags = VHOST_VRING_F_LOG,
                                   .desc = at,
                                   .avail = at + 0x1000,
                                   .used = at + 0x2000,
                                   .log = vmm_addr(i * 0x4000 + 0x2000)};

        vmm_send(m, VHOST_SET_VRING_ADDR, 0, &a, sizeof a, NULL, 0);
    }
}

static void every_page_written_is_logged(void)
{
    struct vmm m;

    ready(&m);
    start_logging(&m, 0x10000);
    CU_ASSERT(status_of(&m).logging);
    vmm_request(&m, READ_1, 0, 512);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CU_ASSERT(dirty(&m, VMM_BUFFER));
    CU_ASSERT(dirty(&m, VMM_RESPONSE));
    CU_ASSERT(dirty(&m, Q * 0x4000 + 0x2000));
    CU_ASSERT(!dirty(&m, VMM_HEADER));
    CU_ASSERT(!dirty(&m, VMM_BUFFER + 4096));
    munmap(TAKE(m.log), 0x10000);
    vmm_fini(&m);
}

static void a_log_that_is_too_short_is_not_written_beyond(void)
{
    struct vmm m;

    ready(&m);
    start_logging(&m, 16);
    vmm_request(&m, READ_1, 0, 512);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    munmap(TAKE(m.log), 16);
    vmm_fini(&m);
}

static void inflight_region_is_made_and_taken(void)
{
    struct vmm m;
    struct vhost_inflight_msg i = {.num_queues = VMM_QUEUES,
                                   .queue_size = VMM_RING};
    struct vhost_inflight_queue *q;
    uint8_t *map;
    int fd;

    vmm_init(&m);
    vmm_connect(&m);
    vmm_send(&m, VHOST_GET_INFLIGHT_FD, 0, &i, sizeof i, NULL, 0);
    CHECK_EQ(vmm_receive(&m, &i, &fd), sizeof i);
    CU_ASSERT(fd >= 0);
    map = mmap(NULL, i.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    vmm_send(&m, VHOST_SET_INFLIGHT_FD, 0, &i, sizeof i, &fd, 1);
    vmm_disconnect(&m);
    /* again, now for a setup that uses it */
    vmm_connect(&m);
    vmm_send(&m, VHOST_SET_INFLIGHT_FD, 0, &i, sizeof i, &fd, 1);
    vmm_send(&m, VHOST_SET_PROTOCOL_FEATURES, 0,
             &(uint64_t){1 << VHOST_PROTOCOL_REPLY_ACK}, 8, NULL, 0);
    vmm_memory(&m);
    vmm_start_rings(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    vmm_request(&m, WRITE_1, 512, 0);
    q = (void *)(map + Q * (i.mmap_size / VMM_QUEUES));
    CHECK_EQ(q->version, 1);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    vmm_run(&m);
    CHECK_EQ(q->desc[0].inflight, 0);
    munmap(map, i.mmap_size);
    close(fd);
    vmm_fini(&m);
}

/* -- events -------------------------------------------------------------------
 */

enum { EVENTS_AT = VMM_DATA + 0x8000 };

static void post_event_buffer(struct vmm *m, unsigned i)
{
    vmm_desc(m, VHOST_EVENT_QUEUE, i, vmm_addr(EVENTS_AT + i * 64), 16,
             VRING_DESC_WRITE, 0);
    vmm_offer(m, VHOST_EVENT_QUEUE, (uint16_t)i);
}

static const struct virtio_scsi_event *event_in(struct vmm *m, unsigned i)
{
    return (const void *)(m->guest + EVENTS_AT + i * 64);
}

struct ended {
    struct scsi_detach detach;
    unsigned done;
    enum err result;
};

static void ended_done(struct scsi_detach *d, enum err e)
{
    struct ended *x = container_of(d, struct ended, detach);

    x->done++;
    x->result = e;
}

static void hot_removal_waits_for_its_own_buffer(void)
{
    struct vmm m;
    struct ended x = {.detach = {.done = ended_done}};

    ready(&m);
    post_event_buffer(&m, 0);
    CHECK_OK(scsi_bus_detach(m.bus, VMM_LUN, &x.detach));
    vmm_run(&m);
    CU_ASSERT(vmm_used(&m, VHOST_EVENT_QUEUE, NULL, NULL));
    CHECK_EQ(le32_get(event_in(&m, 0)->event), VIRTIO_SCSI_T_TRANSPORT_RESET);
    CHECK_EQ(le32_get(event_in(&m, 0)->reason), VIRTIO_SCSI_RESET_REMOVED);
    CHECK_EQ(event_in(&m, 0)->lun[3], VMM_LUN);
    CHECK_EQ(event_in(&m, 0)->lun[2], 0);
    post_event_buffer(&m, 1); /* another one says nothing */
    m.world.clock.at_ns += 2 * NS_PER_S;
    vmm_run(&m);
    CHECK_EQ(x.done, 0);
    post_event_buffer(&m, 0);
    m.world.clock.at_ns += 2 * NS_PER_S;
    vmm_run(&m);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_OK);
    CHECK_OK(scsi_bus_attach(m.bus, VMM_LUN, m.lu));
    vmm_run(&m);
    CU_ASSERT(vmm_used(&m, VHOST_EVENT_QUEUE, NULL, NULL));
    CHECK_EQ(le32_get(event_in(&m, 1)->reason), VIRTIO_SCSI_RESET_RESCAN);
    vmm_fini(&m);
}

static void events_wait_for_buffers_and_come_in_order(void)
{
    struct vmm m;
    struct scsi_lu *lus[20];
    struct ended x[20] = {0};

    ready(&m);
    for (unsigned i = 0; i < 20; i++) {
        CHECK_OK(
            scsi_lu_new(&(struct scsi_lu_args){.store = m.memory}, &lus[i]));
        CHECK_OK(scsi_bus_attach(m.bus, 10 + i, lus[i]));
    }
    CHECK_EQ(status_of(&m).events_waiting, 20);
    for (unsigned i = 0; i < 20; i++) {
        post_event_buffer(&m, i % 8);
        CU_ASSERT(vmm_used(&m, VHOST_EVENT_QUEUE, NULL, NULL));
        CHECK_EQ(event_in(&m, i % 8)->lun[3], 10 + i);
        CHECK_EQ(le32_get(event_in(&m, i % 8)->event),
                 VIRTIO_SCSI_T_TRANSPORT_RESET); /* no flag on it */
    }
    vmm_disconnect(&m);
    for (unsigned i = 0; i < 20; i++) {
        x[i].detach.done = ended_done;
        CHECK_OK(scsi_bus_detach(m.bus, 10 + i, &x[i].detach));
        vmm_run(&m);
        CHECK_EQ(x[i].done, 1);
        scsi_lu_free(lus[i]);
    }
    vmm_fini(&m);
}

static void capacity_change_is_an_event(void)
{
    struct vmm m;

    ready(&m);
    post_event_buffer(&m, 2);
    scsi_bus_capacity_changed(m.bus, VMM_LUN);
    vmm_run(&m);
    CHECK_EQ(le32_get(event_in(&m, 2)->event), VIRTIO_SCSI_T_PARAM_CHANGE);
    CHECK_EQ(le32_get(event_in(&m, 2)->reason), 0x092a);
    vmm_fini(&m);
}

static void a_driver_without_events_times_out(void)
{
    struct vmm m;
    struct ended x = {.detach = {.done = ended_done}};

    vmm_init(&m);
    m.features &= ~(UINT64_C(1) << VIRTIO_SCSI_F_HOTPLUG);
    vmm_setup(&m);
    CHECK_OK(scsi_bus_detach(m.bus, VMM_LUN, &x.detach));
    m.world.clock.at_ns += 11 * NS_PER_S;
    vmm_run(&m);
    CHECK_EQ(x.done, 1);
    CHECK_ERR(x.result, E_TIMEOUT);
    vmm_fini(&m);
}

/* -- control
 * ------------------------------------------------------------------- */

static void a_reset_is_answered_when_the_write_has_ended(void)
{
    struct virtio_scsi_tmf t = {
        .subtype = le32_make(5), .lun = {1, 0, 0x40, VMM_LUN}
    };
    const uint32_t at = VMM_DATA + 0x9000;
    struct vmm m;

    ready(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    memcpy(m.guest + at, &t, sizeof t);
    m.guest[at + 64] = 0xee;
    vmm_desc(&m, 0, 0, vmm_addr(at), sizeof t, VRING_DESC_NEXT, 1);
    vmm_desc(&m, 0, 1, vmm_addr(at + 64), 1, VRING_DESC_WRITE, 0);
    vmm_offer(&m, 0, 0);
    CU_ASSERT(!vmm_used(&m, 0, NULL, NULL));
    m.world.clock.at_ns += 11 * NS_PER_MS;
    vmm_run(&m);
    CU_ASSERT(vmm_used(&m, 0, NULL, NULL));
    CHECK_EQ(m.guest[at + 64], VIRTIO_SCSI_OK);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->response, VIRTIO_SCSI_ABORTED);
    vmm_fini(&m);
}

/* -- hostile drivers
 * -------------------------------------------------------------- */

/* The device is marked broken, the VMM stays, a new start repairs it. */
static void check_broken(struct vmm *m, const char *reason)
{
    struct vhost_scsi_status s = status_of(m);
    uint64_t n = 0;

    CHECK_EQ(s.connected, 1);
    CHECK_EQ(s.running, 0);
    CHECK_CONTAINS(s.fault, reason);
    CHECK_EQ(read(m->rings[Q].err, &n, sizeof n), 8);
    (void)vmm_stop_rings(m);
    memset(m->guest, 0, VMM_DATA);
    for (unsigned i = 0; i < VMM_QUEUES; i++)
        m->rings[i].used_seen = 0;
    vmm_start_rings(m);
    CHECK_STR(status_of(m).fault, "");
    vmm_request(m, TUR, 0, 0);
    CU_ASSERT(vmm_used(m, Q, NULL, NULL));
    vmm_fini(m);
}

static void a_loop_of_descriptors_breaks_the_device(void)
{
    struct vmm m;

    ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 0, VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_HEADER), 0, VRING_DESC_NEXT, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "loop");
}

static void memory_that_is_not_the_guests_breaks_the_device(void)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
    } bad[] = {
        {0,                                 51        },
        {VMM_GUEST_BASE - 1,                51        },
        {VMM_GUEST_BASE + VMM_MEMORY_BYTES, 1         },
        {VMM_GUEST_BASE,                    0xffffffff},
        {UINT64_MAX - 8,                    51        },
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct vmm m;

        ready(&m);
        vmm_desc(&m, Q, 0, bad[i].addr, bad[i].len, 0, 0);
        vmm_offer(&m, Q, 0);
        check_broken(&m, "not guest memory");
    }
}

static void wrong_direction_or_size_breaks_the_device(void)
{
    struct vmm m;

    ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_RESPONSE), 108,
             VRING_DESC_WRITE | VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_HEADER), 51, 0, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "follows a writable");
    ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 50, VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_RESPONSE), 108, VRING_DESC_WRITE, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "a request of 50");
    ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 51, VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_RESPONSE), 107, VRING_DESC_WRITE, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "room for 107");
}

static void indices_out_of_range_break_the_device(void)
{
    struct vmm m;

    ready(&m);
    vmm_offer(&m, Q, VMM_RING);
    check_broken(&m, "names descriptor 16");
    ready(&m);
    m.rings[Q].avail->idx = le16_make(500);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "ahead");
    ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 51, VRING_DESC_NEXT, 999);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "next is descriptor 999");
}

static void bad_indirect_tables_break_the_device(void)
{
    struct vmm m;
    struct vring_desc *table;

    ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_DATA), 17, VRING_DESC_INDIRECT, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "indirect table of 17");
    ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_DATA), 16 * 4096, VRING_DESC_INDIRECT, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "indirect table of 65536");
    ready(&m);
    vmm_desc(&m, Q, 0, 16, 16, VRING_DESC_INDIRECT, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "not guest memory");
    ready(&m);
    table = (void *)(m.guest + VMM_DATA);
    table[0] =
        (struct vring_desc){le64_make(vmm_addr(VMM_DATA)), le32_make(16),
                            le16_make(VRING_DESC_INDIRECT), le16_make(0)};
    vmm_desc(&m, Q, 0, vmm_addr(VMM_DATA), 16, VRING_DESC_INDIRECT, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "inside a table");
}

static void a_descriptor_in_use_offered_again_breaks_the_device(void)
{
    struct vmm m;

    ready(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    vmm_offer(&m, Q, 0);
    store_delay_set(m.delay, 0);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    vmm_run(&m);
    check_broken(&m, "in use");
}

/* -- hostile VMMs
 * -------------------------------------------------------------------- */

static void check_cut_off(struct vmm *m)
{
    char byte;

    vmm_run(m);
    CHECK_EQ(status_of(m).connected, 0);
    /* closed, perhaps before all that we sent was read */
    CU_ASSERT(recv(m->fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
    vmm_fini(m);
}

static void messages_out_of_form_end_the_connection(void)
{
    static const struct {
        uint32_t request, flags, bytes;
    } bad[] = {
        {99,                    0, 0   },
        {VHOST_SET_FEATURES,    0, 4   },
        {VHOST_SET_FEATURES,    2, 8   }, /* version 3 */
        {VHOST_SET_VRING_NUM,   0, 4000},
        {VHOST_SET_MEM_TABLE,   0, 4   },
        {VHOST_SET_INFLIGHT_FD, 0, 24  },
    };
    const uint8_t zeros[4096] = {0};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct vmm m;

        vmm_init(&m);
        vmm_connect(&m);
        vmm_send(&m, bad[i].request, bad[i].flags, zeros, bad[i].bytes, NULL,
                 0);
        check_cut_off(&m);
    }
}

static void values_out_of_range_end_the_connection(void)
{
    static const struct {
        uint32_t request;
        uint64_t payload[5];
        uint32_t bytes;
    } bad[] = {
        {VHOST_SET_VRING_NUM,         {UINT64_C(3) << 32 | 2},   8 },
        {VHOST_SET_VRING_NUM,         {UINT64_C(1) << 52 | 2},   8 },
        {VHOST_SET_VRING_NUM,         {UINT64_C(16) << 32 | 77}, 8 },
        {VHOST_GET_VRING_BASE,        {77},                      8 },
        {VHOST_SET_VRING_ENABLE,      {77},                      8 },
        {VHOST_SET_VRING_ADDR,        {77},                      40},
        {VHOST_SET_VRING_KICK,        {77},                      8 },
        {VHOST_SET_VRING_KICK,        {2},                       8 },
        {VHOST_SET_PROTOCOL_FEATURES, {UINT64_C(1) << 13},       8 },
        {VHOST_GET_INFLIGHT_FD,       {0, 0, 0xffff0001},        24},
        {VHOST_REM_MEM_REG,           {0, 1, 2, 3, 4},           40},
        {VHOST_ADD_MEM_REG,           {0, 0, 4096, 0, 0},        40},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct vmm m;

        vmm_init(&m);
        vmm_connect(&m);
        vmm_send(&m, bad[i].request, 0, bad[i].payload, bad[i].bytes, NULL, 0);
        check_cut_off(&m);
    }
}

static void memory_beyond_its_file_is_refused(void)
{
    struct vhost_mem_reg_msg bad[] = {
        {.region = {0, VMM_MEMORY_BYTES + 4096, 0, 0}},
        {.region = {0, 4096, 0, VMM_MEMORY_BYTES}},
        {.region = {0, 0, 0, 0}},
        {.region = {UINT64_MAX - 100, 4096, 0, 0}},
        {.region = {0, 4096, 0, UINT64_MAX - 100}},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct vmm m;

        vmm_init(&m);
        vmm_connect(&m);
        vmm_send(&m, VHOST_ADD_MEM_REG, 0, &bad[i], sizeof bad[i], &m.memory_fd,
                 1);
        check_cut_off(&m);
    }
}

static void rings_outside_of_memory_end_the_connection(void)
{
    struct vmm m;
    struct vhost_addr_msg a = {.index = Q, .desc = 16, .avail = 32, .used = 64};

    ready(&m);
    (void)vmm_stop_rings(&m);
    vmm_send(&m, VHOST_SET_VRING_ADDR, 0, &a, sizeof a, NULL, 0);
    vmm_send(&m, VHOST_SET_VRING_ENABLE, 0, &(uint64_t){1ULL << 32 | Q}, 8,
             NULL, 0);
    m.rings[Q].kick = dup(m.memory_fd);
    vmm_send(&m, VHOST_SET_VRING_KICK, 0, &(uint64_t){Q}, 8, &m.rings[Q].kick,
             1);
    check_cut_off(&m);
}

static void messages_may_come_byte_by_byte(void)
{
    struct vmm m;
    const uint8_t bytes[12] = {VHOST_GET_FEATURES, 0, 0, 0, VHOST_VERSION};
    uint64_t n;

    vmm_init(&m);
    vmm_connect(&m);
    for (size_t i = 0; i < sizeof bytes; i++) {
        CHECK_EQ(write(m.fd, bytes + i, 1), 1);
        vmm_run(&m);
    }
    CHECK_EQ(vmm_receive(&m, &n, NULL), 8);
    vmm_fini(&m);
}

static void a_second_vmm_is_refused(void)
{
    struct vmm m;
    char byte;
    int first;

    ready(&m);
    first = m.fd;
    vmm_connect(&m);
    CHECK_EQ(recv(m.fd, &byte, 1, MSG_DONTWAIT), 0);
    close(m.fd);
    m.fd = first;
    CHECK_EQ(status_of(&m).running, 1);
    vmm_fini(&m);
}

static void memory_may_change_under_running_rings(void)
{
    struct vmm m;
    struct vhost_mem_reg_msg r = {
        .region = {VMM_GUEST_BASE + VMM_REGION_BYTES, VMM_REGION_BYTES,
                   VMM_USER_BASE + VMM_REGION_BYTES, VMM_REGION_BYTES}
    };
    uint64_t ack = 1;

    ready(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    vmm_send(&m, VHOST_REM_MEM_REG, VHOST_NEED_REPLY, &r, sizeof r, NULL, 0);
    CHECK_EQ(vmm_receive(&m, &ack, NULL), -1); /* not under a request */
    m.world.clock.at_ns += 11 * NS_PER_MS;
    CHECK_EQ(vmm_receive(&m, &ack, NULL), 8);
    CHECK_EQ(ack, 0);
    store_delay_set(m.delay, 0);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    vmm_request(&m, WRITE_1, 512, 0);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    vmm_desc(&m, Q, 5, vmm_addr(VMM_REGION_BYTES), 51, 0, 0);
    vmm_offer(&m, Q, 5);
    check_broken(&m, "not guest memory");
}

/* -- a successor
 * ---------------------------------------------------------------- */

struct holder {
    struct keep_shelf *shelf;
    struct keep *keep;
    int ends[2]; /* ours as the daemon, the holder's */
};

static void holder_tell(struct holder *h)
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, h->ends), 0);
    CHECK_OK_FATAL(keep_shelf_tell(h->shelf, h->ends[1]));
    CHECK_OK_FATAL(keep_connect(h->ends[0], &h->keep));
}

/* Carry out what the daemon has sent. */
static void holder_listen(struct holder *h)
{
    struct pollfd p = {.fd = h->ends[1], .events = POLLIN};

    while (poll(&p, 1, 0) == 1 && !(p.revents & POLLHUP))
        CHECK_OK(keep_shelf_receive(h->shelf, h->ends[1]));
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

/* End the front end as a crash would: the holder hears nothing of it. */
static void crash(struct vmm *m, struct holder *h)
{
    bool closed = false;

    holder_listen(h);
    vhost_scsi_close(m->vhost, set_flag, &closed);
    vmm_run(m);
    CU_ASSERT_FATAL(closed);
    keep_free(h->keep);
    close(h->ends[1]);
}

static void start_kept(struct vmm *m, struct holder *h)
{
    const struct vhost_scsi_args args = {.loop = m->world.loop,
                                         .bus = m->bus,
                                         .socket_path = m->socket_path,
                                         .name = "vm,0",
                                         .queues_max = 1,
                                         .keep = h->keep};
    struct diag why = {""};

    CHECK_OK_FATAL(vhost_scsi_new(&args, &why, &m->vhost));
    vmm_run(m);
}

static void kept_init(struct vmm *m, struct holder *h)
{
    bool closed = false;

    vmm_init(m);
    vhost_scsi_close(m->vhost, set_flag, &closed);
    vmm_run(m);
    CHECK_OK_FATAL(keep_shelf_new(&h->shelf));
    holder_tell(h);
    start_kept(m, h);
}

static void kept_fini(struct vmm *m, struct holder *h)
{
    vmm_fini(m);
    holder_listen(h);
    CHECK_EQ(keep_shelf_count(h->shelf), 0); /* an orderly end keeps nothing */
    keep_free(h->keep);
    close(h->ends[1]);
    keep_shelf_free(h->shelf);
}

static void a_successor_serves_the_running_guest(void)
{
    struct vmm m;
    struct holder h;

    kept_init(&m, &h);
    vmm_setup(&m);
    vmm_request(&m, TUR, 0, 0);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    crash(&m, &h);
    vmm_request(&m, WRITE_1, 512, 0); /* while nobody is there */
    CU_ASSERT(!vmm_used(&m, Q, NULL, NULL));
    holder_tell(&h);
    start_kept(&m, &h);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD); /* and no attention */
    CHECK_EQ(vmm_stop_rings(&m), 2);               /* messages work, too */
    kept_fini(&m, &h);
}

static void what_was_in_flight_is_done_by_the_successor(void)
{
    struct vhost_inflight_msg i = {.num_queues = VMM_QUEUES,
                                   .queue_size = VMM_RING};
    struct vhost_inflight_queue *q;
    struct holder h;
    struct vmm m;
    uint8_t *map, block[512];
    int fd;

    kept_init(&m, &h);
    vmm_connect(&m);
    vmm_send(&m, VHOST_GET_INFLIGHT_FD, 0, &i, sizeof i, NULL, 0);
    CHECK_EQ(vmm_receive(&m, &i, &fd), sizeof i);
    vmm_send(&m, VHOST_SET_INFLIGHT_FD, 0, &i, sizeof i, &fd, 1);
    vmm_send(&m, VHOST_SET_PROTOCOL_FEATURES, 0,
             &(uint64_t){1 << VHOST_PROTOCOL_REPLY_ACK}, 8, NULL, 0);
    vmm_memory(&m);
    vmm_start_rings(&m);
    vmm_request(&m, TUR, 0, 0);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    crash(&m, &h);
    /* as if it had taken these two, answered neither, and met its end */
    map = mmap(NULL, i.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    q = (void *)(map + Q * (i.mmap_size / VMM_QUEUES));
    pattern_fill(m.guest + VMM_BUFFER, 512, 3, 0);
    vmm_request(&m, WRITE_1, 512, 0);
    vmm_desc(&m, Q, 8, vmm_addr(VMM_HEADER), 51, VRING_DESC_NEXT, 9);
    vmm_desc(&m, Q, 9, vmm_addr(VMM_BUFFER), 512, VRING_DESC_NEXT, 10);
    vmm_desc(&m, Q, 10, vmm_addr(VMM_RESPONSE), 108, VRING_DESC_WRITE, 0);
    vmm_offer(&m, Q, 8);
    q->desc[0].inflight = 1;
    q->desc[0].counter = 50;
    q->desc[8].inflight = 1;
    q->desc[8].counter = 49;
    holder_tell(&h);
    start_kept(&m, &h);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CU_ASSERT(!vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    CHECK_EQ(q->desc[0].inflight + q->desc[8].inflight, 0);
    store_mem_peek(m.memory, 512, block, 512);
    CHECK_EQ(pattern_check(block, 512, 3, 0), 512);
    vmm_request(&m, WRITE_1, 512, 0); /* and on it goes */
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    munmap(map, i.mmap_size);
    close(fd);
    kept_fini(&m, &h);
}

static void a_successor_without_a_vmm_listens_on(void)
{
    struct vmm m;
    struct holder h;

    kept_init(&m, &h);
    crash(&m, &h);
    holder_tell(&h);
    start_kept(&m, &h);
    CHECK_EQ(status_of(&m).connected, 0);
    kept_fini(&m, &h);
}

static const struct test tests[] = {
    TEST(a_write_and_a_read_reach_the_disk),
    TEST(residuals_are_told),
    TEST(headers_may_be_cut_anywhere),
    TEST(indirect_tables_and_region_borders_are_followed),
    TEST(lun_addresses_are_told_apart),
    TEST(a_request_without_a_kick_is_found_at_the_start),
    TEST(stopping_waits_for_what_is_in_flight),
    TEST(a_vmm_that_leaves_with_requests_in_flight_is_forgotten),
    TEST(rings_stop_and_start_again),
    TEST(every_page_written_is_logged),
    TEST(a_log_that_is_too_short_is_not_written_beyond),
    TEST(inflight_region_is_made_and_taken),
    TEST(hot_removal_waits_for_its_own_buffer),
    TEST(events_wait_for_buffers_and_come_in_order),
    TEST(capacity_change_is_an_event),
    TEST(a_driver_without_events_times_out),
    TEST(a_reset_is_answered_when_the_write_has_ended),
    TEST(a_loop_of_descriptors_breaks_the_device),
    TEST(memory_that_is_not_the_guests_breaks_the_device),
    TEST(wrong_direction_or_size_breaks_the_device),
    TEST(indices_out_of_range_break_the_device),
    TEST(bad_indirect_tables_break_the_device),
    TEST(a_descriptor_in_use_offered_again_breaks_the_device),
    TEST(messages_out_of_form_end_the_connection),
    TEST(values_out_of_range_end_the_connection),
    TEST(memory_beyond_its_file_is_refused),
    TEST(rings_outside_of_memory_end_the_connection),
    TEST(messages_may_come_byte_by_byte),
    TEST(a_second_vmm_is_refused),
    TEST(memory_may_change_under_running_rings),
    TEST(a_successor_serves_the_running_guest),
    TEST(what_was_in_flight_is_done_by_the_successor),
    TEST(a_successor_without_a_vmm_listens_on),
};
TEST_SUITE("iscsi/vhost", tests);
