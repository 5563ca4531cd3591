/* tests/unit/iscsi/test_vhost_events.c - what the guest is told of disks.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/vmm.h"

/* -- events ---------------------------------------------------------------- */

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

    vmm_ready(&m);
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

    vmm_ready(&m);
    for (unsigned i = 0; i < 20; i++) {
        CHECK_OK(
            scsi_lu_new(&(struct scsi_lu_args){.store = m.memory}, &lus[i]));
        CHECK_OK(scsi_bus_attach(m.bus, 10 + i, lus[i]));
    }
    CHECK_EQ(vmm_status(&m).events_waiting, 20);
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

    vmm_ready(&m);
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

static const struct test tests[] = {
    TEST(hot_removal_waits_for_its_own_buffer),
    TEST(events_wait_for_buffers_and_come_in_order),
    TEST(capacity_change_is_an_event),
    TEST(a_driver_without_events_times_out),
};
TEST_SUITE("iscsi/vhost_events", tests);
