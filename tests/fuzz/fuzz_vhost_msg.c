/* tests/fuzz/fuzz_vhost_msg.c - any messages of a VMM, with descriptors.
 * An input is a row of: request, flags, payload size, descriptors (how many,
 * of which kind), payload.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/vhost.h"

#include <sanitizer/common_interface_defs.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GUEST_BYTES = 64 * 1024, HEADER_BYTES = 4, MESSAGES_MAX = 64 };

static struct {
    struct loop *loop;
    struct scsi_bus *bus;
    struct vhost_scsi *vhost;
    struct sockaddr_un at;
    int kinds[4]; /* memory, eventfd, log, something else */
} world;

static void world_make(void)
{
    struct vhost_scsi_args args = {.name = "fuzz,0", .queues_max = 2};
    struct diag why = {""};

    ASSERT(!loop_new(&(struct loop_args){.name = "fuzz"}, &world.loop));
    ASSERT(!scsi_bus_new(world.loop, &world.bus));
    world.at.sun_family = AF_UNIX;
    snprintf(world.at.sun_path, sizeof world.at.sun_path,
             "/tmp/fuzz-vhost-msg.%d", getpid());
    args.loop = world.loop;
    args.bus = world.bus;
    args.socket_path = world.at.sun_path;
    ASSERT(!vhost_scsi_new(&args, &why, &world.vhost));
    (void)unlink(world.at.sun_path);
    world.kinds[0] = memfd_create("guest", MFD_CLOEXEC);
    world.kinds[2] = memfd_create("log", MFD_CLOEXEC);
    ASSERT(!ftruncate(world.kinds[0], GUEST_BYTES));
    ASSERT(!ftruncate(world.kinds[2], 4096));
    world.kinds[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    world.kinds[3] = world.kinds[0];
    /* a line is logged per broken message: only the sanitizer may speak */
    __sanitizer_set_report_fd((void *)(intptr_t)dup(STDERR_FILENO));
    ASSERT(freopen("/dev/null", "w", stderr));
}

static void send_message(int fd, const uint8_t *data, uint32_t bytes)
{
    const uint8_t *payload = data + HEADER_BYTES;
    struct vhost_header h = {data[0] % 48, VHOST_VERSION | (data[1] & 8),
                             bytes};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(10 * sizeof(int))];
    } control = {0};
    uint8_t copy[1024];
    struct iovec iov[2] = {
        {&h,   sizeof h},
        {copy, bytes   }
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    unsigned fds = data[3] % 10, kind = data[3] >> 6;

    memcpy(copy, payload, bytes);
    if (fds) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(fds * sizeof(int));
        CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
        CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
        CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(fds * sizeof(int));
        for (unsigned i = 0; i < fds; i++)
            memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)) + i * sizeof(int),
                   &world.kinds[kind], sizeof(int));
    }
    (void)!sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void drain_answers(int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    uint8_t answer[1024];
    struct iovec iov = {answer, sizeof answer};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    int kept;

    if (recvmsg(fd, &msg, MSG_DONTWAIT) > 0 && CMSG_FIRSTHDR(&msg)) {
        memcpy(&kept, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof kept);
        close(kept);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vhost_scsi_status status;
    int pair[2];

    if (!world.loop)
        world_make();
    loop_adopt(world.loop);
    ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    vhost_connected(world.vhost, pair[1], false);
    ASSERT(world.vhost->channel.fd >= 0);
    for (unsigned i = 0; i < MESSAGES_MAX && size >= HEADER_BYTES; i++) {
        uint32_t bytes = (uint32_t)min_u64(data[2] * 4U, size - HEADER_BYTES);

        send_message(pair[0], data, bytes);
        data += HEADER_BYTES + bytes;
        size -= HEADER_BYTES + bytes;
        loop_run_ready(world.loop);
        drain_answers(pair[0]);
    }
    close(pair[0]);
    loop_run_ready(world.loop);
    vhost_scsi_status(world.vhost, &status);
    ASSERT(!status.connected && !status.inflight);
    return 0;
}
