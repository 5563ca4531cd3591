/* tests/unit/iscsi/test_vhost_hostile.c - drivers and VMMs that do what they
 * should not.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/vmm.h"

#include <sys/socket.h>
#include <unistd.h>

/* -- hostile drivers ------------------------------------------------------- */

/* The device is marked broken, the VMM stays, a new start repairs it. */
static void check_broken(struct vmm *m, const char *reason)
{
    struct vhost_scsi_status s = vmm_status(m);
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
    CHECK_STR(vmm_status(m).fault, "");
    vmm_request(m, TUR, 0, 0);
    CU_ASSERT(vmm_used(m, Q, NULL, NULL));
    vmm_fini(m);
}

static void a_loop_of_descriptors_breaks_the_device(void)
{
    struct vmm m;

    vmm_ready(&m);
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

        vmm_ready(&m);
        vmm_desc(&m, Q, 0, bad[i].addr, bad[i].len, 0, 0);
        vmm_offer(&m, Q, 0);
        check_broken(&m, "not guest memory");
    }
}

static void wrong_direction_or_size_breaks_the_device(void)
{
    struct vmm m;

    vmm_ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_RESPONSE), 108,
             VRING_DESC_WRITE | VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_HEADER), 51, 0, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "follows a writable");
    vmm_ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 50, VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_RESPONSE), 108, VRING_DESC_WRITE, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "a request of 50");
    vmm_ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 51, VRING_DESC_NEXT, 1);
    vmm_desc(&m, Q, 1, vmm_addr(VMM_RESPONSE), 107, VRING_DESC_WRITE, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "room for 107");
}

static void indices_out_of_range_break_the_device(void)
{
    struct vmm m;

    vmm_ready(&m);
    vmm_offer(&m, Q, VMM_RING);
    check_broken(&m, "names descriptor 16");
    vmm_ready(&m);
    m.rings[Q].avail->idx = le16_make(500);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "ahead");
    vmm_ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_HEADER), 51, VRING_DESC_NEXT, 999);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "next is descriptor 999");
}

static void bad_indirect_tables_break_the_device(void)
{
    struct vmm m;
    struct vring_desc *table;

    vmm_ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_DATA), 17, VRING_DESC_INDIRECT, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "indirect table of 17");
    vmm_ready(&m);
    vmm_desc(&m, Q, 0, vmm_addr(VMM_DATA), 16 * 4096, VRING_DESC_INDIRECT, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "indirect table of 65536");
    vmm_ready(&m);
    vmm_desc(&m, Q, 0, 16, 16, VRING_DESC_INDIRECT, 0);
    vmm_offer(&m, Q, 0);
    check_broken(&m, "not guest memory");
    vmm_ready(&m);
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

    vmm_ready(&m);
    store_delay_set(m.delay, 10);
    vmm_request(&m, WRITE_1, 512, 0);
    vmm_offer(&m, Q, 0);
    store_delay_set(m.delay, 0);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    vmm_run(&m);
    check_broken(&m, "in use");
}

/* -- hostile VMMs ---------------------------------------------------------- */

static void check_cut_off(struct vmm *m)
{
    char byte;

    vmm_run(m);
    CHECK_EQ(vmm_status(m).connected, 0);
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

    vmm_ready(&m);
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

    vmm_ready(&m);
    first = m.fd;
    vmm_connect(&m);
    CHECK_EQ(recv(m.fd, &byte, 1, MSG_DONTWAIT), 0);
    close(m.fd);
    m.fd = first;
    CHECK_EQ(vmm_status(&m).running, 1);
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

    vmm_ready(&m);
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

/* Whatever the VMM does with the news, nobody looks at memory that is gone. */
static void a_bad_memory_table_stops_the_rings(void)
{
    struct vmm m;
    const struct vhost_mem_table_msg table = {
        .count = 1,
        .regions = {{VMM_GUEST_BASE, VMM_MEMORY_BYTES + 4096, 0, 0}}};
    uint64_t ack = 0;

    vmm_ready(&m);
    vmm_send(&m, VHOST_SET_MEM_TABLE, VHOST_NEED_REPLY, &table, sizeof table,
             &m.memory_fd, 1);
    CHECK_EQ(vmm_receive(&m, &ack, NULL), 8);
    CHECK_EQ(ack, 1);
    vmm_request(&m, TUR, 0, 0);
    CHECK_EQ(vmm_status(&m).running, 0);
    (void)vmm_stop_rings(&m);
    vmm_fini(&m);
}

static const struct test tests[] = {
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
    TEST(a_bad_memory_table_stops_the_rings),
};
TEST_SUITE("iscsi/vhost_hostile", tests);
