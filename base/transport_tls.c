/* base/transport_tls.c - the transport of real hosts: listens, dials, knows
 * which connection is a node's.  What goes over one is transport_conn.c.
 *
 * Connections die wherever something fails, also below the owner's own call;
 * they are buried, and `lost` is told, by the turn: a task of its own.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "base/transport_private.h"

#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    HANDSHAKE_MS = 5000, /* a busy host answers in one; more is a stranger */
    /* Two of the largest messages: what waits for 10 Gbit/s is 7 ms, and a
     * recall may stand behind it. */
    QUEUE_BYTES_MAX = 8 << 20,
    REDIAL_MS_MIN = 50,
    REDIAL_MS_MAX = 2000, /* a host that comes back waits at most so long */
    ACCEPTS_PER_TURN = 16,
    LISTEN_BACKLOG = TRANSPORT_PENDING_MAX,
    LISTEN_AGAIN_MS = 1000
};

static struct transport_tls *tls_of(const struct transport *base)
{
    union {
        const struct transport *in;
        struct transport *out;
    } p = {.in = base};

    return container_of(p.out, struct transport_tls, base);
}

void transport_say(struct transport_tls *t, unsigned topic,
                   const struct address *address, const char *fmt, ...)
{
    char line[2 * DIAG_TEXT_BYTES];
    va_list args;

    if (!said_first(&t->said, topic, address,
                    clock_now_ns(loop_clock(t->args.loop))))
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (t->args.say)
        t->args.say(t->args.ear, line);
    else
        log_warning("cluster: %s", line);
}

/* -- dialing --------------------------------------------------------------- */

static void redial_later(struct peer *p)
{
    if (!p->announced || p->up || p->dialing)
        return;
    loop_timer_set(p->t->args.loop, &p->redial, p->redial_ms);
    p->redial_ms = (unsigned)min_u64(2 * p->redial_ms, REDIAL_MS_MAX);
}

static enum err socket_connect(const struct address *address, int *ret_fd)
{
    int fd = socket(address->any.sa_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_from_errno(errno);
    if (connect(fd, &address->any, address->bytes) && errno != EINPROGRESS) {
        enum err e = err_from_errno(errno);

        close(fd);
        return e;
    }
    *ret_fd = fd;
    return E_OK;
}

static void dial(struct peer *p)
{
    int fd = -1;
    enum err e;

    loop_timer_cancel(p->t->args.loop, &p->redial);
    e = socket_connect(&p->address, &fd);
    if (!e)
        e = conn_new(p->t, fd, &p->address, p->node, &p->dialing);
    if (e) {
        transport_say(p->t, TOPIC_GONE, &p->address,
                      "node %u cannot be dialed: %s", p->node, err_text(e));
        redial_later(p);
    }
}

static void redial(struct timer *timer)
{
    dial(container_of(timer, struct peer, redial));
}

enum err transport_tls_peer(struct transport *base, uint32_t node,
                            const char *address, struct diag *why)
{
    struct transport_tls *t = tls_of(base);
    struct address a;
    struct peer *p;
    enum err e;

    if (node == 0 || node > TRANSPORT_TLS_NODES_MAX)
        return diag_fail(why, E_CONFIG, "node %u: numbers are 1 to %d", node,
                         TRANSPORT_TLS_NODES_MAX);
    e = address_parse(address, &a, why);
    if (e)
        return diag_prefix(why, e, "node %u", node);
    if (node <= t->me.node)
        return E_OK; /* it dials us, or is us */
    p = &t->peers[node];
    if (p->dialing && !address_same(&a, &p->address))
        conn_kill(TAKE(p->dialing));
    p->announced = true;
    p->address = a;
    p->redial_ms = REDIAL_MS_MIN;
    if (!p->up && !p->dialing)
        dial(p);
    return E_OK;
}

void transport_tls_forget(struct transport *base, uint32_t node)
{
    struct transport_tls *t = tls_of(base);
    struct peer *p;

    if (node == 0 || node > TRANSPORT_TLS_NODES_MAX)
        return;
    p = &t->peers[node];
    p->announced = false;
    loop_timer_cancel(t->args.loop, &p->redial);
    if (p->dialing)
        conn_kill(TAKE(p->dialing));
    if (p->up)
        conn_kill(p->up);
}

/* -- met and lost ---------------------------------------------------------- */

void transport_conn_over(struct conn *c)
{
    struct transport_tls *t = c->t;
    struct transport_ear *ear = t->args.ear;
    struct peer *p = NULL;
    bool was_up = false;

    if (c->judged)
        p = &t->peers[c->peer.node];
    else if (c->dialed)
        p = &t->peers[c->dialed];
    if (p && p->up == c) {
        p->up = NULL;
        was_up = true;
    }
    if (p && p->dialing == c)
        p->dialing = NULL;
    conn_free(c);
    if (was_up) {
        t->in_ear = true;
        ear->lost(ear, p->node);
        t->in_ear = false;
    }
    if (p)
        redial_later(p);
}

void transport_conn_up(struct conn *c)
{
    struct transport_tls *t = c->t;
    struct transport_ear *ear = t->args.ear;
    struct peer *p = &t->peers[c->peer.node];

    if (p->dialing == c)
        p->dialing = NULL;
    if (p->up) { /* dead at that end, or of an older run */
        conn_kill(p->up);
        transport_conn_over(p->up);
        loop_timer_cancel(t->args.loop, &p->redial);
    }
    p->up = c;
    p->redial_ms = REDIAL_MS_MIN;
    p->known.seen = true;
    p->known.incarnation = c->peer.incarnation;
    memcpy(p->known.host, c->peer.host, sizeof p->known.host);
    said_forget(&t->said, &c->address);
    t->in_ear = true;
    if (ear->met)
        ear->met(ear, p->node, c->peer.incarnation);
    t->in_ear = false;
}

/* -- listening ------------------------------------------------------------- */

/* Strangers may connect as they like: the newest has the best chance to be one
 * of us, for ours need milliseconds. */
static void limit_pending(struct transport_tls *t)
{
    if (t->pending < TRANSPORT_PENDING_MAX)
        return;
    list_for_each (at, &t->conns) {
        struct conn *c = container_of(at, struct conn, link);

        if (!c->dialed && c->state < CONN_UP) {
            conn_fail(c, TOPIC_CROWD,
                      "cut, the oldest of %d that have not said who they are",
                      TRANSPORT_PENDING_MAX);
            return;
        }
    }
}

/* False: there is nobody (any more). */
static bool accept_one(struct transport_tls *t)
{
    struct address a = {.bytes = sizeof a.v6};
    struct conn *c;
    int fd =
        accept4(t->listener.fd, &a.any, &a.bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
        return false;
    if (fd < 0) {
        /* It stays ready and would keep the loop busy: pause. */
        transport_say(t, TOPIC_LISTEN, &a, "cannot accept connections: %s",
                      strerror(errno));
        loop_fd_set(t->args.loop, &t->listener, 0);
        loop_timer_set(t->args.loop, &t->listen_again, LISTEN_AGAIN_MS);
        return false;
    }
    limit_pending(t);
    if (conn_new(t, fd, &a, 0, &c))
        transport_say(t, TOPIC_LISTEN, &a, "cut for want of memory");
    return true;
}

static void listener_ready(struct loop_fd *f, uint32_t events)
{
    struct transport_tls *t = container_of(f, struct transport_tls, listener);

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++)
        if (!accept_one(t))
            return;
}

static void listen_again(struct timer *timer)
{
    struct transport_tls *t =
        container_of(timer, struct transport_tls, listen_again);

    loop_fd_set(t->args.loop, &t->listener, EPOLLIN);
}

static enum err socket_listen(const char *text, int *ret_fd, struct diag *why)
{
    const int one = 1;
    struct address a;
    enum err e = address_parse(text, &a, why);
    int fd;

    if (e)
        return diag_prefix(why, e, "listen");
    fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) &&
        !bind(fd, &a.any, a.bytes) && !listen(fd, LISTEN_BACKLOG)) {
        *ret_fd = fd;
        return E_OK;
    }
    e = err_from_errno(errno);
    e = diag_fail(why, e ? e : E_IO, "cannot listen on %s: %s", text,
                  strerror(errno));
    if (fd >= 0)
        close(fd);
    return e;
}

uint16_t transport_tls_port(const struct transport *base)
{
    struct address a = {.bytes = sizeof a.v6};

    ASSERT(getsockname(tls_of(base)->listener.fd, &a.any, &a.bytes) == 0);
    return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

/* -- sending --------------------------------------------------------------- */

struct own_message {
    struct list link;
    size_t count;
    uint8_t bytes[];
};

static enum err send_to_self(struct transport_tls *t, const struct iovec *iov,
                             int iov_count, size_t count)
{
    struct own_message *m;

    if (t->to_self_bytes >= t->args.queue_bytes_max) {
        t->to_self_full = true;
        return E_AGAIN;
    }
    m = calloc(1, sizeof *m + count);
    if (!m)
        return E_NOMEM;
    for (int i = 0; i < iov_count; i++) {
        memcpy(m->bytes + m->count, iov[i].iov_base, iov[i].iov_len);
        m->count += iov[i].iov_len;
    }
    list_push_back(&t->to_self, &m->link);
    t->to_self_bytes += count;
    transport_turn_post(t);
    return E_OK;
}

static enum err tls_send(struct transport *base, uint32_t host,
                         const struct iovec *iov, int iov_count, size_t count)
{
    struct transport_tls *t = tls_of(base);
    const struct peer *p;

    if (host == t->me.node)
        return send_to_self(t, iov, iov_count, count);
    if (host == 0 || host > TRANSPORT_TLS_NODES_MAX)
        return E_CLOSED;
    p = &t->peers[host];
    if (!p->up || p->up->state == CONN_DEAD)
        return E_CLOSED;
    return conn_send(p->up, iov, iov_count, count);
}

/* What is sent meanwhile waits for the next turn. */
static void receive_own(struct transport_tls *t)
{
    struct transport_ear *ear = t->args.ear;
    struct list now, *first;
    bool was_full = t->to_self_full;

    list_init(&now);
    while ((first = list_pop_front(&t->to_self)))
        list_push_back(&now, first);
    t->to_self_bytes = 0;
    t->to_self_full = false;
    t->in_ear = true;
    while ((first = list_pop_front(&now))) {
        struct own_message *m = container_of(first, struct own_message, link);

        ear->receive(ear, t->me.node, m->bytes, m->count);
        free(m);
    }
    if (was_full && ear->writable)
        ear->writable(ear, t->me.node);
    t->in_ear = false;
}

/* -- the turn -------------------------------------------------------------- */

void transport_turn_post(struct transport_tls *t)
{
    if (!t->turn_posted)
        loop_post(t->args.loop, &t->turn);
    t->turn_posted = true;
}

static void transport_turn(struct task *task)
{
    struct transport_tls *t = container_of(task, struct transport_tls, turn);
    struct list due, *first;

    t->turn_posted = false;
    if (t->closed) {
        free(t);
        return;
    }
    list_init(&due);
    while ((first = list_pop_front(&t->due)))
        list_push_back(&due, first);
    while ((first = list_pop_front(&due)))
        conn_turn(container_of(first, struct conn, due_link));
    if (!list_empty(&t->to_self))
        receive_own(t);
}

/* -- birth and death ------------------------------------------------------- */

static void transport_tls_free(struct transport_tls *t)
{
    struct list *first;

    loop_timer_cancel(t->args.loop, &t->listen_again);
    for (uint32_t node = 1; node <= TRANSPORT_TLS_NODES_MAX; node++)
        loop_timer_cancel(t->args.loop, &t->peers[node].redial);
    while (!list_empty(&t->conns))
        conn_free(container_of(t->conns.next, struct conn, link));
    while ((first = list_pop_front(&t->to_self)))
        free(container_of(first, struct own_message, link));
    if (t->listener.fd >= 0) {
        loop_fd_remove(t->args.loop, &t->listener);
        close(t->listener.fd);
    }
    tls_context_free(t->context);
    t->closed = true;
    if (!t->turn_posted)
        free(t);
}

static void tls_close(struct transport *base)
{
    ASSERT(!tls_of(base)->in_ear);
    transport_tls_free(tls_of(base));
}

static const struct transport_ops tls_ops = {tls_send, tls_close};

static enum err args_check(const struct transport_tls_args *args,
                           struct diag *why)
{
    if (args->node == 0 || args->node > TRANSPORT_TLS_NODES_MAX)
        return diag_fail(why, E_CONFIG, "node %u: numbers are 1 to %d",
                         args->node, TRANSPORT_TLS_NODES_MAX);
    if (!*args->host || strlen(args->host) >= HELLO_HOST_BYTES)
        return diag_fail(why, E_CONFIG, "host name \"%s\": 1 to %d bytes",
                         args->host, HELLO_HOST_BYTES - 1);
    for (const char *c = args->host; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return diag_fail(why, E_CONFIG, "white space in the host name");
    return E_OK;
}

static struct transport_tls *transport_tls_new(
    const struct transport_tls_args *args)
{
    struct transport_tls *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->base.ops = &tls_ops;
    t->args = *args;
    if (!t->args.handshake_ms)
        t->args.handshake_ms = HANDSHAKE_MS;
    if (!t->args.queue_bytes_max)
        t->args.queue_bytes_max = QUEUE_BYTES_MAX;
    t->listener = (struct loop_fd){-1, EPOLLIN, listener_ready};
    t->listen_again.fire = listen_again;
    t->turn.run = transport_turn;
    list_init(&t->conns);
    list_init(&t->due);
    list_init(&t->to_self);
    for (uint32_t node = 1; node <= TRANSPORT_TLS_NODES_MAX; node++) {
        t->peers[node].t = t;
        t->peers[node].node = node;
        t->peers[node].redial.fire = redial;
    }
    t->me = (struct hello){
        .version_lowest = HELLO_VERSION,
        .version_highest = HELLO_VERSION,
        .node = args->node,
        .incarnation = args->incarnation,
    };
    snprintf(t->me.host, sizeof t->me.host, "%s", args->host);
    SHA256((const unsigned char *)args->cluster, strlen(args->cluster),
           t->me.cluster);
    return t;
}

enum err transport_tls_open(const struct transport_tls_args *args,
                            struct diag *why, struct transport **ret_transport)
{
    struct transport_tls *t;
    enum err e = args_check(args, why);
    int fd;

    if (e)
        return e;
    t = transport_tls_new(args);
    if (!t)
        return E_NOMEM;
    e = tls_context_new(args->key, why, &t->context);
    if (!e)
        e = socket_listen(args->listen, &fd, why);
    if (!e) {
        t->listener.fd = fd;
        e = loop_fd_add(args->loop, &t->listener);
    }
    if (e) {
        transport_tls_free(t);
        return e;
    }
    *ret_transport = &t->base;
    return E_OK;
}
