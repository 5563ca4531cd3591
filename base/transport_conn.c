/* base/transport_conn.c - one connection: TCP, TLS, HELLO, messages.
 * Does not know of others: whom it is met with, and instead of whom, is for
 * transport_tls.c.
 *
 *   CONNECTING ─> TLS ─> HELLO ─> UP
 *        └─────────┴───────┴──────┴──> DEAD, whatever happens
 *
 * A socket that fails to send is read once more: what the peer said last, an
 * alert or a REFUSE, is there.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport_private.h"

#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* A peer that does not acknowledge for so long is lost: longer than a switch
 * needs to find a new path, shorter than corosync's own patience with 16 nodes
 * (27 s), so that queues are empty when membership has decided.  Probes go out
 * where there is nothing to acknowledge; one lost probe proves nothing. */
enum {
    SILENT_MS = 15000,
    KEEPALIVE_IDLE_S = 5,
    KEEPALIVE_EVERY_S = 2,
    KEEPALIVE_PROBES = 5
};

static const char *who(const struct conn *c, char text[DIAG_TEXT_BYTES])
{
    char address[ADDRESS_TEXT_BYTES];

    address_to_text(&c->address, address);
    if (c->judged)
        snprintf(text, DIAG_TEXT_BYTES, "node %u (%s, %s)", c->peer.node,
                 c->peer.host, address);
    else if (c->dialed)
        snprintf(text, DIAG_TEXT_BYTES, "node %u (%s)", c->dialed, address);
    else
        snprintf(text, DIAG_TEXT_BYTES, "%s", address);
    return text;
}

/* -- the end --------------------------------------------------------------- */

static void conn_due(struct conn *c)
{
    if (!list_linked(&c->due_link))
        list_push_back(&c->t->due, &c->due_link);
    transport_turn_post(c->t);
}

static void conn_close(struct conn *c)
{
    if (c->tls)
        tls_flush(c->tls, SIZE_MAX); /* last words, if there is room */
    loop_timer_cancel(c->t->args.loop, &c->limit);
    loop_fd_remove(c->t->args.loop, &c->fd);
    close(c->fd.fd);
    if (c->state != CONN_UP && !c->dialed)
        c->t->pending--;
    c->state = CONN_DEAD;
}

void conn_free(struct conn *c)
{
    if (c->state != CONN_DEAD)
        conn_close(c);
    list_remove(&c->link);
    if (list_linked(&c->due_link))
        list_remove(&c->due_link);
    tls_free(c->tls);
    frame_reader_fini(&c->in);
    free(c);
}

void conn_kill(struct conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    conn_close(c);
    conn_due(c);
}

void conn_fail(struct conn *c, unsigned topic, const char *fmt, ...)
{
    char name[DIAG_TEXT_BYTES], text[DIAG_TEXT_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    transport_say(c->t, topic, &c->address, "%s: %s", who(c, name), text);
    conn_kill(c);
}

static void too_slow(struct timer *timer)
{
    struct conn *c = container_of(timer, struct conn, limit);

    if (c->state == CONN_CONNECTING)
        conn_fail(c, TOPIC_GONE, "does not answer");
    else
        conn_fail(c, TOPIC_SLOW, "has not said who it is within %u ms: cut",
                  c->t->args.handshake_ms);
}

/* The connection ended or is of no use; E_AGAIN is not for here. */
static void conn_broke(struct conn *c, enum err e, const struct diag *why)
{
    const char *reason = diag_text(why, e);

    if (e == E_NOMEM)
        conn_fail(c, TOPIC_LOST, "cut for want of memory");
    else if (c->state == CONN_UP && e == E_CLOSED)
        conn_fail(c, TOPIC_LOST, "the connection is lost: %s", reason);
    else if (c->state == CONN_TLS && e == E_ACCESS)
        conn_fail(c, TOPIC_KEY,
                  "has not our cluster key (%s): copy " CLUSTER_KEY_PATH
                  " of one host to all",
                  reason);
    else if (c->state == CONN_TLS && e == E_PROTOCOL)
        conn_fail(c, TOPIC_GARBAGE,
                  "is no lunard (TLS: %s): cut; keep other programs from "
                  "this port",
                  reason);
    else if (e == E_CLOSED)
        conn_fail(c, TOPIC_GONE, "%s before it said who it is", reason);
    else
        conn_fail(c, TOPIC_GARBAGE, "breaks the protocol, cut: %s", reason);
}

/* -- sending --------------------------------------------------------------- */

/* Our own frames: small, and before any message. */
static void send_own(struct conn *c, enum frame_kind kind, uint8_t *body,
                     size_t count)
{
    uint8_t head[FRAME_HEAD_BYTES];
    const struct iovec iov[2] = {
        {head, sizeof head},
        {body, count      }
    };

    frame_head_encode(head, kind, count);
    if (tls_write(c->tls, iov, count ? 2 : 1))
        return; /* broken, as the flush that follows finds, too */
}

enum err conn_send(struct conn *c, const struct iovec *iov, int iov_count,
                   size_t count)
{
    struct iovec all[TRANSPORT_PIECES_MAX + 1];
    uint8_t head[FRAME_HEAD_BYTES];

    if (tls_unsent(c->tls) >= c->t->args.queue_bytes_max) {
        c->full = true;
        return E_AGAIN;
    }
    frame_head_encode(head, FRAME_MESSAGE, count);
    all[0] = (struct iovec){head, sizeof head};
    for (int i = 0; i < iov_count; i++)
        all[1 + i] = iov[i];
    if (tls_write(c->tls, all, iov_count + 1)) {
        conn_fail(c, TOPIC_LOST, "cut for want of memory");
        return E_CLOSED;
    }
    conn_due(c);
    return E_OK;
}

/* -- HELLO ----------------------------------------------------------------- */

static void send_hello(struct conn *c)
{
    uint8_t body[HELLO_BODY_BYTES_MAX];

    c->state = CONN_HELLO;
    send_own(c, FRAME_HELLO, body, hello_encode(&c->t->me, body));
}

/* Refused: tell them, say it here, end. */
static bool judge(struct conn *c, const struct hello *peer)
{
    const struct hello_rules rules = {&c->t->me, TRANSPORT_TLS_NODES_MAX,
                                      c->dialed};
    struct hello_known known = {.seen = false};
    uint8_t body[HELLO_BODY_BYTES_MAX];
    enum refusal refusal;
    struct diag why;

    if (peer->node <= TRANSPORT_TLS_NODES_MAX) {
        known = c->t->peers[peer->node].known;
        known.here = c->t->peers[peer->node].up != NULL;
    }
    refusal = hello_judge(&rules, &known, peer, &why);
    if (!refusal)
        return true;
    send_own(c, FRAME_REFUSE, body, refusal_encode(refusal, why.text, body));
    conn_fail(c, refusal, "refused: %s", why.text);
    return false;
}

static void receive_hello(struct conn *c, const struct frame *f)
{
    struct hello peer;
    struct diag why;
    enum err e = hello_decode(f->bytes, f->count, &peer, &why);

    if (c->judged)
        e = diag_fail(&why, E_PROTOCOL, "a second HELLO");
    if (e) {
        conn_broke(c, e, &why);
    } else if (judge(c, &peer)) {
        c->peer = peer;
        c->judged = true;
        send_own(c, FRAME_WELCOME, NULL, 0);
    }
}

/* They have taken us.  Who they are may have become old meanwhile. */
static void receive_welcome(struct conn *c)
{
    if (!judge(c, &c->peer))
        return;
    if (!c->dialed)
        c->t->pending--;
    c->state = CONN_UP;
    c->in.body_max = TRANSPORT_MESSAGE_BYTES_MAX;
    loop_timer_cancel(c->t->args.loop, &c->limit);
    transport_conn_up(c);
}

static void receive_refuse(struct conn *c, const struct frame *f)
{
    enum refusal refusal;
    struct diag why;
    enum err e = refusal_decode(f->bytes, f->count, &refusal, &why);

    if (e)
        conn_broke(c, e, &why);
    else
        conn_fail(c, TOPIC_REFUSED + refusal, "refuses us: %s", why.text);
}

/* -- reading --------------------------------------------------------------- */

static void receive_frame(struct conn *c, const struct frame *f)
{
    struct transport_ear *ear = c->t->args.ear;
    struct diag why;

    if (f->kind == FRAME_MESSAGE && c->state == CONN_UP) {
        c->t->in_ear = true;
        ear->receive(ear, c->peer.node, f->bytes, f->count);
        c->t->in_ear = false;
    } else if (f->kind == FRAME_HELLO && c->state == CONN_HELLO) {
        receive_hello(c, f);
    } else if (f->kind == FRAME_WELCOME && c->state == CONN_HELLO &&
               c->judged && f->count == 0) {
        receive_welcome(c);
    } else if (f->kind == FRAME_REFUSE) {
        receive_refuse(c, f);
    } else {
        conn_broke(c,
                   diag_fail(&why, E_PROTOCOL,
                             "a frame of kind %d that has no place here",
                             f->kind),
                   &why);
    }
}

/* Take all whole frames that are there.  E_AGAIN: the next one is not. */
static enum err receive_frames(struct conn *c, struct diag *why)
{
    struct frame f;
    enum err e;

    for (;;) {
        e = frame_reader_next(&c->in, &f, why);
        if (e)
            return e;
        receive_frame(c, &f);
        if (c->state == CONN_DEAD)
            return E_CANCELED;
    }
}

static enum err read_some(struct conn *c, size_t *ret_count, struct diag *why)
{
    uint8_t *at;
    size_t room;
    enum err e = frame_reader_room(&c->in, &at, &room);

    if (!e)
        e = tls_read(c->tls, at, room, ret_count, why);
    if (!e)
        frame_reader_filled(&c->in, *ret_count);
    return e;
}

static void conn_read(struct conn *c)
{
    struct diag why = {.text = ""};
    size_t count, left = TRANSPORT_TURN_BYTES;
    enum err e;

    c->unread = false;
    while (left) {
        e = read_some(c, &count, &why);
        if (e == E_AGAIN)
            return;
        if (!e)
            e = receive_frames(c, &why);
        if (e == E_CANCELED)
            return;
        if (e != E_AGAIN) {
            conn_broke(c, e, &why);
            return;
        }
        left -= min_u64(left, count);
    }
    c->unread = tls_has_read_ahead(c->tls);
    if (c->unread)
        conn_due(c);
}

/* -- both ways ------------------------------------------------------------- */

static void tell_writable(struct conn *c)
{
    struct transport_ear *ear = c->t->args.ear;

    c->full = false;
    c->t->in_ear = true;
    if (ear->writable)
        ear->writable(ear, c->peer.node);
    c->t->in_ear = false;
}

static void conn_flush(struct conn *c)
{
    enum err e = tls_flush(c->tls, TRANSPORT_TURN_BYTES);

    if (e == E_CLOSED) {
        conn_read(c);
        if (c->state != CONN_DEAD)
            conn_broke(c, e, NULL);
        return;
    }
    loop_fd_set(c->t->args.loop, &c->fd,
                e == E_AGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (c->full && tls_unsent(c->tls) <= c->t->args.queue_bytes_max / 2)
        tell_writable(c);
}

/* -- the beginning --------------------------------------------------------- */

static void conn_handshake(struct conn *c)
{
    struct diag why = {.text = ""};
    enum err e = tls_handshake(c->tls, &why);

    if (!e)
        send_hello(c);
    else if (e != E_AGAIN)
        conn_broke(c, e, &why);
}

static enum err conn_start_tls(struct conn *c)
{
    enum err e = tls_new(c->t->context, c->fd.fd,
                         c->dialed ? TLS_DIALS : TLS_ANSWERS, &c->tls);

    c->state = CONN_TLS;
    if (!e)
        tls_rekey_after(c->tls, c->t->args.rekey_records);
    return e;
}

static void conn_connected(struct conn *c)
{
    socklen_t size = sizeof(int);
    int error = 0;

    getsockopt(c->fd.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        conn_fail(c, TOPIC_GONE, "cannot be reached: %s", strerror(error));
    else if (conn_start_tls(c))
        conn_fail(c, TOPIC_GONE, "cut for want of memory");
}

static void conn_ready(struct loop_fd *f, uint32_t events)
{
    struct conn *c = container_of(f, struct conn, fd);

    if (c->state == CONN_CONNECTING)
        conn_connected(c);
    if (c->state == CONN_TLS)
        conn_handshake(c);
    if (c->state == CONN_HELLO || c->state == CONN_UP) {
        if (events & ~(uint32_t)EPOLLOUT)
            conn_read(c);
    }
    if (c->state != CONN_DEAD)
        conn_flush(c);
}

void conn_turn(struct conn *c)
{
    if (c->state == CONN_DEAD) {
        transport_conn_over(c);
        return;
    }
    if (c->unread)
        conn_read(c);
    if (c->state != CONN_DEAD)
        conn_flush(c);
}

/* One that fails, of a peer that is gone already, is found by the handshake. */
static void set_option(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

static void set_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* we gather ourselves */
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SILENT_MS);
}

enum err conn_new(struct transport_tls *t, int fd,
                  const struct address *address, uint32_t dialed,
                  struct conn **ret_conn)
{
    AUTO(freep) struct conn *c = calloc(1, sizeof *c);
    enum err e = E_NOMEM;

    set_options(fd);
    if (c) {
        *c = (struct conn){
            .t = t,
            .dialed = dialed,
            .address = *address,
            .fd = {fd, dialed ? EPOLLOUT : EPOLLIN, conn_ready},
            .limit.fire = too_slow,
        };
        frame_reader_init(&c->in, HELLO_BODY_BYTES_MAX);
        e = dialed ? E_OK : conn_start_tls(c);
    }
    if (!e)
        e = loop_fd_add(t->args.loop, &c->fd);
    if (e) {
        if (c)
            tls_free(c->tls);
        close(fd);
        return e;
    }
    loop_timer_set(t->args.loop, &c->limit, t->args.handshake_ms);
    list_push_back(&t->conns, &c->link);
    t->pending += !dialed;
    *ret_conn = TAKE(c);
    return E_OK;
}
