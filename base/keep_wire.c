/* base/keep_wire.c - sends and receives one message with descriptors.
 * Keeps nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/keep_wire.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union fd_room {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(KEEP_FDS_MAX * sizeof(int))];
};

bool keep_name_ok(const char *name)
{
    size_t len = strnlen(name, KEEP_NAME_BYTES);

    return len > 0 && len < KEEP_NAME_BYTES;
}

void keep_close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

enum err keep_send(int socket_fd, const struct keep_msg *msg, const int *fds)
{
    union fd_room room = {0};
    struct keep_msg copy = *msg;
    struct iovec iov = {&copy, sizeof copy};
    struct msghdr head = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (msg->count) {
        struct cmsghdr *c;

        head.msg_control = room.bytes;
        head.msg_controllen = CMSG_SPACE(msg->count * sizeof(int));
        c = CMSG_FIRSTHDR(&head);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(msg->count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, msg->count * sizeof(int));
    }
    do
        n = sendmsg(socket_fd, &head, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof copy ? E_OK : E_CLOSED;
}

/* Collect every descriptor that came; returns how many. */
static unsigned take_fds(struct msghdr *head, int fds[KEEP_FDS_MAX])
{
    unsigned count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c; c = CMSG_NXTHDR(head, c)) {
        size_t bytes = c->cmsg_len - CMSG_LEN(0);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        ASSERT(bytes <= (KEEP_FDS_MAX - count) * sizeof(int));
        memcpy(fds + count, CMSG_DATA(c), bytes);
        count += (unsigned)(bytes / sizeof(int));
    }
    return count;
}

static bool msg_ok(const struct keep_msg *msg, unsigned fds_received)
{
    if (msg->count != fds_received)
        return false;
    if (msg->verb == KEEP_TOLD)
        return msg->count == 0;
    if (!keep_name_ok(msg->name))
        return false;
    return (msg->verb == KEEP_PUT && msg->count > 0) ||
           (msg->verb == KEEP_DROP && msg->count == 0);
}

enum err keep_receive(int socket_fd, struct keep_msg *ret_msg,
                      int fds[KEEP_FDS_MAX])
{
    union fd_room room;
    struct keep_msg msg;
    struct iovec iov = {&msg, sizeof msg};
    struct msghdr head = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = room.bytes,
        .msg_controllen = sizeof room.bytes,
    };
    unsigned count;
    ssize_t n;

    do
        n = recvmsg(socket_fd, &head, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return E_CLOSED;
    count = take_fds(&head, fds);
    if (n != (ssize_t)sizeof msg ||
        (head.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !msg_ok(&msg, count)) {
        keep_close_all(fds, count);
        return E_PROTOCOL;
    }
    *ret_msg = msg;
    return E_OK;
}
