/* tests/unit/iscsi/test_vhost_keep.c - a connection that outlives its process.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/iscsi/vmm.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* -- a successor ----------------------------------------------------------- */

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

/* A guest whose rings run with an inflight region; *ret_queue: that of Q. */
static uint8_t *setup_with_inflight(struct vmm *m, struct vhost_inflight_msg *i,
                                    struct vhost_inflight_queue **ret_queue)
{
    uint8_t *map;
    int fd;

    *i = (struct vhost_inflight_msg){.num_queues = VMM_QUEUES,
                                     .queue_size = VMM_RING};
    vmm_connect(m);
    vmm_send(m, VHOST_GET_INFLIGHT_FD, 0, i, sizeof *i, NULL, 0);
    CHECK_EQ(vmm_receive(m, i, &fd), sizeof *i);
    vmm_send(m, VHOST_SET_INFLIGHT_FD, 0, i, sizeof *i, &fd, 1);
    vmm_send(m, VHOST_SET_PROTOCOL_FEATURES, 0,
             &(uint64_t){1 << VHOST_PROTOCOL_REPLY_ACK}, 8, NULL, 0);
    vmm_memory(m);
    vmm_start_rings(m);
    vmm_request(m, TUR, 0, 0);
    CU_ASSERT(vmm_used(m, Q, NULL, NULL));
    map = mmap(NULL, i->mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    *ret_queue = (void *)(map + Q * (i->mmap_size / VMM_QUEUES));
    return map;
}

static void what_was_in_flight_is_done_by_the_successor(void)
{
    struct vhost_inflight_msg i;
    struct vhost_inflight_queue *q;
    struct holder h;
    struct vmm m;
    uint8_t *map, block[512];

    kept_init(&m, &h);
    map = setup_with_inflight(&m, &i, &q);
    crash(&m, &h);
    /* as if it had taken these two, answered neither, and met its end */
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
    kept_fini(&m, &h);
}

/* The VMM stops the rings, and the process ends before the last request has:
 * the successor ends that, and only then answers. */
static void a_stop_that_waits_is_answered_by_the_successor(void)
{
    struct vhost_state_msg off = {Q, 0}, s = {0};
    struct vhost_inflight_msg i;
    struct vhost_inflight_queue *q;
    struct holder h;
    struct vmm m;
    uint8_t *map;

    kept_init(&m, &h);
    map = setup_with_inflight(&m, &i, &q);
    store_delay_set(m.delay, 10);
    vmm_request(&m, READ_1, 0, 512);
    vmm_send(&m, VHOST_SET_VRING_ENABLE, 0, &off, sizeof off, NULL, 0);
    vmm_send(&m, VHOST_GET_VRING_BASE, 0, &off, sizeof off, NULL, 0);
    CHECK_EQ(vmm_receive(&m, &s, NULL), -1);
    m.world.clock.at_ns += 11 * NS_PER_MS;
    store_delay_set(m.delay, 0);
    crash(&m, &h);
    /* as if the crash had come first */
    CHECK_EQ(le16_get(m.rings[Q].used->idx), 2);
    m.rings[Q].used->idx = le16_make(1);
    q->desc[0].inflight = 1;
    q->used_idx = 1;
    memset(m.guest + VMM_RESPONSE, 0xee, 108);
    holder_tell(&h);
    start_kept(&m, &h);
    CHECK_EQ(vmm_receive(&m, &s, NULL), sizeof s);
    CHECK_EQ(s.num, 2);
    CU_ASSERT(vmm_used(&m, Q, NULL, NULL));
    CHECK_EQ(vmm_response(&m)->status, SCSI_GOOD);
    CHECK_EQ(q->desc[0].inflight, 0);
    munmap(map, i.mmap_size);
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
    CHECK_EQ(vmm_status(&m).connected, 0);
    kept_fini(&m, &h);
}

static const struct test tests[] = {
    TEST(a_successor_serves_the_running_guest),
    TEST(what_was_in_flight_is_done_by_the_successor),
    TEST(a_stop_that_waits_is_answered_by_the_successor),
    TEST(a_successor_without_a_vmm_listens_on),
};
TEST_SUITE("iscsi/vhost_keep", tests);
