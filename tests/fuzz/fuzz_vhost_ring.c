/* tests/fuzz/fuzz_vhost_ring.c - a guest's driver that writes anything into
 * its rings.  The input is the guest's memory, from the rings on.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/stores.h"
#include "iscsi/vhost.h"

#include <sanitizer/common_interface_defs.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RING = 8,
    RINGS = 3,
    RING_BYTES = 512, /* descriptors 128, avail at 128, used at 256 */
    AVAIL_AT = 128,
    USED_AT = 256,
    GUEST_BYTES = 64 * 1024,
    GUEST_BASE = 0x1000,
    DISK_BYTES = 64 * 1024
};

static struct {
    struct loop *loop;
    struct scsi_bus *bus;
    struct vhost_scsi *vhost;
    uint8_t *guest;
    int memory_fd;
} world;

static void world_make(void)
{
    struct vhost_scsi_args args = {.name = "fuzz,0", .queues_max = 1};
    const struct store_mem_args memory = {.size_bytes = DISK_BYTES};
    struct scsi_lu_args lu = {.thin = true};
    struct scsi_lu *unit;
    struct diag why = {""};
    char path[64];

    ASSERT(!loop_new(&(struct loop_args){.name = "fuzz"}, &world.loop));
    loop_adopt(world.loop);
    ASSERT(!scsi_bus_new(world.loop, &world.bus));
    ASSERT(!store_mem_new(&memory, &lu.store) && !scsi_lu_new(&lu, &unit));
    ASSERT(!scsi_bus_attach(world.bus, 0, unit));
    snprintf(path, sizeof path, "/tmp/fuzz-vhost-ring.%d", getpid());
    args.loop = world.loop;
    args.bus = world.bus;
    args.socket_path = path;
    ASSERT(!vhost_scsi_new(&args, &why, &world.vhost));
    (void)unlink(path);
    world.memory_fd = memfd_create("guest", MFD_CLOEXEC);
    ASSERT(!ftruncate(world.memory_fd, GUEST_BYTES));
    world.guest = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                       world.memory_fd, 0);
    /* a line is logged per broken ring: only the sanitizer may speak */
    __sanitizer_set_report_fd((void *)(intptr_t)dup(STDERR_FILENO));
    ASSERT(freopen("/dev/null", "w", stderr));
}

/* Rings as they are after SET_VRING_*, without the messages. */
static void start(struct vhost_scsi *v, uint64_t features)
{
    const struct vhost_region_msg region = {GUEST_BASE, GUEST_BYTES, 0, 0};
    struct diag why = {""};

    ASSERT(!vhost_mem_add(&v->mem, &region, dup(world.memory_fd), &why));
    v->features = features;
    for (unsigned i = 0; i < RINGS; i++) {
        struct vhost_queue *q = &v->queues[i];
        uint64_t at = i * RING_BYTES;

        q->ring.num = RING;
        q->ring.last_avail = 0;
        q->ring.addr = (struct vhost_addr_msg){
            .desc = at, .avail = at + AVAIL_AT, .used = at + USED_AT};
        q->has_addr = q->enabled = true;
        ASSERT(!vring_map(&q->ring, &v->mem, &why));
        q->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        ASSERT(!vhost_queue_start(q, &why));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vhost_scsi_status status;
    int pair[2];

    if (!world.loop)
        world_make();
    if (!size)
        return 0;
    ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    vhost_connected(world.vhost, pair[1], false);
    ASSERT(world.vhost->channel.fd >= 0);
    memset(world.guest, 0, GUEST_BYTES);
    memcpy(world.guest, data + 1, min_u64(size - 1, GUEST_BYTES));
    start(world.vhost, data[0] & 1 ? vhost_features()
                                   : vhost_features() &
                                         ~(UINT64_C(1) << VIRTIO_F_EVENT_IDX));
    loop_run_ready(world.loop);
    scsi_bus_capacity_changed(world.bus, 0);
    loop_run_ready(world.loop);
    close(pair[0]);
    loop_run_ready(world.loop);
    vhost_scsi_status(world.vhost, &status);
    ASSERT(!status.connected && !status.inflight);
    return 0;
}
