/* iscsi/vhost_channel.c - the vhost-user socket: messages, whole or not.
 * Reads exactly one message at a time, so that descriptors stay with theirs.
 * Understands none of them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/vhost.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

void channel_init(struct vhost_channel *c)
{
    c->fd = -1;
    c->have_bytes = 0;
    c->fd_count = 0;
}

static void drop_fds(struct vhost_channel *c)
{
    for (unsigned i = 0; i < c->fd_count; i++)
        if (c->fds[i] >= 0)
            close(c->fds[i]);
    c->fd_count = 0;
}

void channel_next(struct vhost_channel *c)
{
    drop_fds(c);
    c->have_bytes = 0;
}

void channel_close(struct vhost_channel *c)
{
    channel_next(c);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

int channel_take_fd(struct vhost_channel *c, unsigned i)
{
    int fd;

    if (i >= c->fd_count)
        return -1;
    fd = c->fds[i];
    c->fds[i] = -1;
    return fd;
}

/* Keep what came beside the bytes; false: more than any message has. */
static bool collect_fds(struct vhost_channel *c, struct msghdr *msg)
{
    bool fits = !(msg->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
        size_t count = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(m) + i * sizeof fd, sizeof fd);
            if (c->fd_count < ARRAY_LEN(c->fds)) {
                c->fds[c->fd_count++] = fd;
            } else {
                close(fd);
                fits = false;
            }
        }
    }
    return fits;
}

/* Read up to `want` bytes to `to`. */
static enum channel_result read_some(struct vhost_channel *c, void *to,
                                     size_t want, struct diag *why)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VHOST_TABLE_REGIONS_MAX)];
    } control;
    struct iovec iov = {to, want};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return CHANNEL_MORE;
    if (n <= 0)
        return CHANNEL_CLOSED;
    c->have_bytes += (size_t)n;
    if (!collect_fds(c, &msg)) {
        diag_fail(why, E_PROTOCOL, "a message with more than %d descriptors",
                  VHOST_TABLE_REGIONS_MAX);
        return CHANNEL_CLOSED;
    }
    return (size_t)n == want ? CHANNEL_MESSAGE : CHANNEL_MORE;
}

static bool header_check(const struct vhost_header *h, struct diag *why)
{
    if ((h->flags & VHOST_VERSION_MASK) != VHOST_VERSION) {
        diag_fail(why, E_PROTOCOL, "message %u: version %u", h->request,
                  h->flags & VHOST_VERSION_MASK);
        return false;
    }
    if (h->size > VHOST_PAYLOAD_MAX) {
        diag_fail(why, E_PROTOCOL, "message %u: %u bytes", h->request, h->size);
        return false;
    }
    return true;
}

enum channel_result channel_read(struct vhost_channel *c, struct diag *why)
{
    size_t header = sizeof c->header, have = c->have_bytes;
    enum channel_result result;

    if (have < header) {
        result = read_some(c, (uint8_t *)&c->header + have, header - have, why);
        if (result != CHANNEL_MESSAGE)
            return result;
        if (!header_check(&c->header, why))
            return CHANNEL_CLOSED;
    }
    have = c->have_bytes - header;
    if (have == c->header.size)
        return CHANNEL_MESSAGE;
    return read_some(c, c->payload + have, c->header.size - have, why);
}

enum err channel_reply(struct vhost_channel *c, const void *payload,
                       size_t bytes, int fd)
{
    struct vhost_header h = {c->header.request, VHOST_VERSION | VHOST_IS_REPLY,
                             (uint32_t)bytes};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov[2] = {
        {&h, sizeof h}
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    uint8_t copy[VHOST_PAYLOAD_MAX];
    ssize_t n;

    ASSERT(bytes <= sizeof copy);
    memcpy(copy, payload, bytes);
    iov[1] = (struct iovec){copy, bytes};
    if (fd >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof control;
        CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
        CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
        CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof fd);
    }
    /* One small answer at a time is in the socket: it always has room. */
    n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n == (ssize_t)(sizeof h + bytes) ? E_OK : E_CLOSED;
}
