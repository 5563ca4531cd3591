/* bench/wire.c - two hosts in one process, each on a thread of its own, that
 * talk over loopback: by the transport of real hosts, or by plain TCP with the
 * same frames and no encryption.  Prints one figure.
 *
 *   wire tls|plain trips|stream BYTES MS
 *
 *   trips    round trips per second of messages of BYTES, one at a time
 *   stream   MB per second of such messages in one direction
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport_frame.h"
#include "base/transport_tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SPIN_US = 50,
    WARM_UP_MS = 100,
    WARM_UP_BYTES = 32 << 20,
    TURN_BYTES = 1 << 20
};

struct end {
    struct transport_ear ear;
    struct transport *transport;
    struct reactor *reactor;
    uint32_t node; /* 1 begins, 2 answers */
    struct task task;
    atomic_bool done; /* the task */
};

static struct end ends[3]; /* by their node */
static bool streaming;
static size_t bytes_each;
static uint8_t payload[TRANSPORT_MESSAGE_BYTES_MAX];
static atomic_uint_fast64_t messages; /* that arrived */

NORETURN static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static void check(enum err e, const char *what)
{
    if (!e)
        return;
    fprintf(stderr, "wire: %s: %s\n", what, err_text(e));
    exit(1);
}

/* -- the game -------------------------------------------------------------- */

static void stream_on(struct transport_ear *ear, uint32_t peer)
{
    struct end *end = container_of(ear, struct end, ear);
    enum err e;

    do
        e = transport_send(end->transport, peer, payload, bytes_each);
    while (!e);
    if (e != E_AGAIN)
        check(e, "send");
}

static void arrived(struct transport_ear *ear, uint32_t peer, const void *bytes,
                    size_t count)
{
    struct end *end = container_of(ear, struct end, ear);

    atomic_fetch_add_explicit(&messages, end->node == 2, memory_order_relaxed);
    if (!streaming)
        check(transport_send(end->transport, peer, bytes, count), "send");
}

static void begin(struct transport_ear *ear, uint32_t peer,
                  uint64_t incarnation)
{
    struct end *end = container_of(ear, struct end, ear);

    (void)incarnation;
    if (end->node == 1 && streaming)
        stream_on(ear, peer);
    else if (end->node == 1)
        check(transport_send(end->transport, peer, payload, bytes_each),
              "send");
}

static void lost(struct transport_ear *ear, uint32_t peer)
{
    (void)ear;
    (void)peer; /* the other end is closed already */
}

/* -- plain TCP as a transport ---------------------------------------------- */

struct plain {
    struct transport base;
    struct transport_ear *ear;
    struct loop *loop;
    uint32_t peer;
    struct loop_fd fd;
    struct frame_reader in;
    bool full;
    size_t rest_from, rest_end; /* of a message that the socket did not take */
    uint8_t rest[FRAME_HEAD_BYTES + TRANSPORT_MESSAGE_BYTES_MAX];
};

static enum err plain_send(struct transport *t, uint32_t host,
                           const struct iovec *iov, int iov_count, size_t count)
{
    struct plain *p = container_of(t, struct plain, base);
    uint8_t head[FRAME_HEAD_BYTES];
    const struct iovec all[2] = {
        {head, sizeof head},
        iov[0]
    };
    ssize_t n;
    size_t sent;

    (void)host;
    ASSERT(iov_count == 1);
    if (p->rest_from < p->rest_end) {
        p->full = true;
        return E_AGAIN;
    }
    frame_head_encode(head, FRAME_MESSAGE, count);
    n = writev(p->fd.fd, all, 2);
    if (n < 0 && errno != EAGAIN)
        return E_CLOSED;
    sent = n < 0 ? 0 : (size_t)n;
    if (sent == sizeof head + count)
        return E_OK;
    memcpy(p->rest, head, sizeof head);
    memcpy(p->rest + sizeof head, iov[0].iov_base, count);
    p->rest_from = sent;
    p->rest_end = sizeof head + count;
    loop_fd_set(p->loop, &p->fd, EPOLLIN | EPOLLOUT);
    return E_OK;
}

static void plain_write_rest(struct plain *p)
{
    ssize_t n = send(p->fd.fd, p->rest + p->rest_from,
                     p->rest_end - p->rest_from, MSG_NOSIGNAL);

    if (n > 0)
        p->rest_from += (size_t)n;
    if (p->rest_from < p->rest_end)
        return;
    loop_fd_set(p->loop, &p->fd, EPOLLIN);
    if (p->full) {
        p->full = false;
        p->ear->writable(p->ear, p->peer);
    }
}

static void plain_read(struct plain *p)
{
    for (size_t taken = 0; taken < TURN_BYTES;) {
        struct frame f;
        uint8_t *at;
        size_t room;
        ssize_t n;

        check(frame_reader_room(&p->in, &at, &room), "memory");
        n = recv(p->fd.fd, at, room, 0);
        if (n <= 0)
            return;
        taken += (size_t)n;
        frame_reader_filled(&p->in, (size_t)n);
        while (!frame_reader_next(&p->in, &f, NULL))
            p->ear->receive(p->ear, p->peer, f.bytes, f.count);
    }
}

static void plain_ready(struct loop_fd *f, uint32_t events)
{
    struct plain *p = container_of(f, struct plain, fd);

    if (events & EPOLLOUT)
        plain_write_rest(p);
    if (events & EPOLLIN)
        plain_read(p);
}

static void plain_close(struct transport *t)
{
    struct plain *p = container_of(t, struct plain, base);

    loop_fd_remove(p->loop, &p->fd);
    close(p->fd.fd);
    frame_reader_fini(&p->in);
    free(p);
}

static const struct transport_ops plain_ops = {plain_send, plain_close};
static int plain_fds[3]; /* by node */

static void plain_connect(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    plain_fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&a, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&a, &size) ||
        connect(plain_fds[1], (struct sockaddr *)&a, size))
        give_up("connect");
    plain_fds[2] = accept(listener, NULL, NULL);
    close(listener);
    for (int node = 1; node <= 2; node++) {
        const int one = 1;

        if (fcntl(plain_fds[node], F_SETFL, O_NONBLOCK) ||
            setsockopt(plain_fds[node], IPPROTO_TCP, TCP_NODELAY, &one,
                       sizeof one))
            give_up("socket");
    }
}

static void plain_open(struct end *end)
{
    struct plain *p = calloc(1, sizeof *p);

    if (!p)
        give_up("memory");
    p->base.ops = &plain_ops;
    p->ear = &end->ear;
    p->loop = reactor_loop(end->reactor);
    p->peer = 3 - end->node;
    p->fd = (struct loop_fd){plain_fds[end->node], EPOLLIN, plain_ready};
    frame_reader_init(&p->in, TRANSPORT_MESSAGE_BYTES_MAX);
    check(loop_fd_add(p->loop, &p->fd), "epoll");
    end->transport = &p->base;
}

/* -- tasks on the ends' threads -------------------------------------------- */

static bool with_tls;

static void open_end(struct task *t)
{
    static const struct cluster_key key = {
        {1, 2, 3}
    };
    struct end *end = container_of(t, struct end, task);
    const struct transport_tls_args args = {
        .loop = reactor_loop(end->reactor),
        .ear = &end->ear,
        .node = end->node,
        .incarnation = 1,
        .host = end->node == 1 ? "h1" : "h2",
        .cluster = "bench",
        .key = &key,
        .listen = "127.0.0.1:0",
    };

    if (with_tls)
        check(transport_tls_open(&args, NULL, &end->transport), "open");
    else
        plain_open(end);
    atomic_store(&end->done, true);
}

static void start_end(struct task *t)
{
    struct end *end = container_of(t, struct end, task);
    char address[32];

    snprintf(address, sizeof address, "127.0.0.1:%u",
             with_tls ? transport_tls_port(ends[2].transport) : 0);
    if (with_tls)
        check(transport_tls_peer(end->transport, 2, address, NULL), "dial");
    else
        begin(&end->ear, 2, 1);
    atomic_store(&end->done, true);
}

static void close_end(struct task *t)
{
    struct end *end = container_of(t, struct end, task);

    transport_close(end->transport);
    atomic_store(&end->done, true);
}

static void run_on(struct end *end, void (*run)(struct task *))
{
    atomic_store(&end->done, false);
    end->task.run = run;
    loop_post(reactor_loop(end->reactor), &end->task);
    while (!atomic_load(&end->done))
        usleep(100);
}

/* -- measuring ------------------------------------------------------------- */

static double messages_per_second(unsigned ms)
{
    uint64_t count, start;

    /* until queues are as full as they will be */
    while (atomic_load(&messages) * bytes_each <
           (streaming ? WARM_UP_BYTES : 1))
        usleep(1000);
    usleep(WARM_UP_MS * 1000);
    count = atomic_load(&messages);
    start = clock_now_ns(clock_system());
    usleep(ms * 1000);
    count = atomic_load(&messages) - count;
    return (double)count * 1e9 / (double)(clock_now_ns(clock_system()) - start);
}

static void usage(void)
{
    fputs("usage: wire tls|plain trips|stream BYTES MS\n", stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    double rate;

    if (argc != 5)
        usage();
    with_tls = !strcmp(argv[1], "tls");
    streaming = !strcmp(argv[2], "stream");
    bytes_each = strtoul(argv[3], NULL, 10);
    if (!bytes_each || bytes_each > sizeof payload)
        usage();
    if (!with_tls)
        plain_connect();
    for (uint32_t node = 1; node <= 2; node++) {
        const struct loop_args args = {.name = "wire", .spin_us = SPIN_US};
        struct end *end = &ends[node];

        end->node = node;
        end->ear = (struct transport_ear){arrived, lost, begin, stream_on};
        check(reactor_start(&args, &end->reactor), "reactor");
        run_on(end, open_end);
    }
    run_on(&ends[1], start_end);
    rate = messages_per_second((unsigned)strtoul(argv[4], NULL, 10));
    printf("%.1f\n", streaming ? rate * (double)bytes_each / 1e6 : rate);
    for (uint32_t node = 1; node <= 2; node++)
        run_on(&ends[node], close_end);
    for (uint32_t node = 1; node <= 2; node++)
        reactor_stop(ends[node].reactor);
    return 0;
}
