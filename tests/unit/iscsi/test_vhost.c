/* tests/unit/iscsi/test_vhost.c - the vhost-user-scsi front end against a VMM
 * and a driver that do what they should.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/vmm.h"

#include <sys/mman.h>
#include <unistd.h>

enum { RESPONSE_BYTES = 108 };

static void a_write_and_a_read_reach_the_disk(void)
{
    struct vmm m;
    uint32_t head, len;
    uint8_t block[512];

    vmm_ready(&m);
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
    CHECK_EQ(vmm_status(&m).running, 1);
    vmm_fini(&m);
}

static void residuals_are_told(void)
{
    struct vmm m;

    vmm_ready(&m);
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

    vmm_ready(&m);
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

    vmm_ready(&m);
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

    vmm_ready(&m);
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

    vmm_ready(&m);
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

    vmm_ready(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    vmm_disconnect(&m);
    CHECK_EQ(vmm_status(&m).connected, 0);
    CHECK_EQ(vmm_status(&m).inflight, 1);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    vmm_run(&m);
    CHECK_EQ(vmm_status(&m).inflight, 0);
    memset(m.guest, 0, VMM_DATA);
    for (unsigned i = 0; i < VMM_QUEUES; i++)
        m.rings[i].used_seen = 0;
    vmm_setup(&m); /* another may come */
    CHECK_EQ(vmm_status(&m).connections, 2);
    vmm_fini(&m);
}

static void what_takes_many_steps_ends_when_the_vmm_leaves(void)
{
    struct vmm m;

    vmm_ready(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, CDB(0x2f, 0, 0, 0, 0, 0, 0, 8, 0, 0), 0, 0);
    vmm_disconnect(&m);
    CHECK_EQ(vmm_status(&m).inflight, 1);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    vmm_run(&m);
    CHECK_EQ(vmm_status(&m).inflight, 0);
    vmm_fini(&m);
}

static void rings_stop_and_start_again(void)
{
    struct vmm m;

    vmm_ready(&m);
    CHECK_EQ(vmm_stop_rings(&m), 1);
    CHECK_EQ(vmm_status(&m).running, 0);
    vmm_request(&m, TUR, 0, 0);
    CU_ASSERT(!vmm_used(&m, Q, NULL, NULL));
    vmm_start_rings(&m);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    vmm_fini(&m);
}

/* ENABLE without GET_VRING_BASE: the ring pauses, what is under way goes on. */
static void a_ring_may_be_switched_off_and_on_under_requests(void)
{
    struct vmm m;
    struct vhost_inflight_msg i = {.num_queues = VMM_QUEUES,
                                   .queue_size = VMM_RING};
    int fd;

    vmm_init(&m);
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
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    vmm_send(&m, VHOST_SET_VRING_ENABLE, 0, &(uint64_t){Q}, 8, NULL, 0);
    vmm_send(&m, VHOST_SET_VRING_ENABLE, 0, &(uint64_t){1ULL << 32 | Q}, 8,
             NULL, 0);
    CHECK_EQ(vmm_status(&m).inflight, 1);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    vmm_run(&m);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CU_ASSERT(!vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    CHECK_EQ(vmm_status(&m).inflight, 0);
    CHECK_EQ(vmm_status(&m).running, 1);
    store_delay_set(m.delay, 0);
    vmm_request(&m, TUR, 0, 0);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    close(fd);
    vmm_fini(&m);
}

static void what_ends_in_a_ring_that_is_off_is_shown(void)
{
    struct vmm m;

    vmm_ready(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    for (uint64_t i = 0; i < VMM_QUEUES; i++)
        vmm_send(&m, VHOST_SET_VRING_ENABLE, 0, &i, 8, NULL, 0);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    vmm_run(&m);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    vmm_fini(&m);
}

/* -- migration ------------------------------------------------------------- */

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

    vmm_ready(&m);
    start_logging(&m, 0x10000);
    CU_ASSERT(vmm_status(&m).logging);
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

    vmm_ready(&m);
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

/* -- control --------------------------------------------------------------- */

static void a_reset_is_answered_when_the_write_has_ended(void)
{
    struct virtio_scsi_tmf t = {
        .subtype = le32_make(5), .lun = {1, 0, 0x40, VMM_LUN}
    };
    const uint32_t at = VMM_DATA + 0x9000;
    struct vmm m;

    vmm_ready(&m);
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

static const struct test tests[] = {
    TEST(a_write_and_a_read_reach_the_disk),
    TEST(residuals_are_told),
    TEST(headers_may_be_cut_anywhere),
    TEST(indirect_tables_and_region_borders_are_followed),
    TEST(lun_addresses_are_told_apart),
    TEST(a_request_without_a_kick_is_found_at_the_start),
    TEST(stopping_waits_for_what_is_in_flight),
    TEST(a_vmm_that_leaves_with_requests_in_flight_is_forgotten),
    TEST(what_takes_many_steps_ends_when_the_vmm_leaves),
    TEST(rings_stop_and_start_again),
    TEST(a_ring_may_be_switched_off_and_on_under_requests),
    TEST(what_ends_in_a_ring_that_is_off_is_shown),
    TEST(every_page_written_is_logged),
    TEST(a_log_that_is_too_short_is_not_written_beyond),
    TEST(inflight_region_is_made_and_taken),
    TEST(a_reset_is_answered_when_the_write_has_ended),
};
TEST_SUITE("iscsi/vhost", tests);
