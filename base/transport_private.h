/* base/transport_private.h - the inside of the TLS transport, for
 * transport_tls.c and transport_conn.c only.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_TRANSPORT_PRIVATE_H
#define LUNAR_BASE_TRANSPORT_PRIVATE_H

#include "base/tls.h"
#include "base/transport_frame.h"
#include "base/transport_hello.h"
#include "base/transport_say.h"
#include "base/transport_tls.h"

enum {
    /* Connections that came in and are not `met`: as many as nodes could ever
     * dial at once.  Each may cost 0.3 MB: OpenSSL's buffers and a ClientHello,
     * which has a limit of 128 KiB. */
    TRANSPORT_PENDING_MAX = 64,
    /* A peer's share of a turn, each way, before the others have theirs. */
    TRANSPORT_TURN_BYTES = 1 << 20
};

enum conn_state {
    CONN_CONNECTING, /* TCP */
    CONN_TLS,        /* the handshake that proves the key */
    CONN_HELLO,      /* HELLO is sent; theirs or their WELCOME is missing */
    CONN_UP,         /* met */
    CONN_DEAD        /* closed; to be told and freed */
};

struct transport_tls;

struct conn {
    struct list link;     /* transport_tls.conns */
    struct list due_link; /* transport_tls.due */
    struct transport_tls *t;
    enum conn_state state;
    uint32_t dialed; /* the node; 0: they dialed */
    struct address address;
    struct loop_fd fd;
    struct timer limit; /* of all before CONN_UP */
    struct tls *tls;
    struct frame_reader in;
    struct hello peer; /* once judged */
    bool judged;       /* they are taken, and were told WELCOME */
    bool unread;       /* there may be bytes that no event tells of */
    bool full;         /* a send got E_AGAIN */
};

struct peer {
    struct transport_tls *t;
    uint32_t node;
    struct conn *up;      /* met */
    struct conn *dialing; /* not yet */
    bool announced;       /* the address is there */
    struct address address;
    struct timer redial;
    unsigned redial_ms; /* the next pause */
    struct hello_known known;
};

struct transport_tls {
    struct transport base;
    struct transport_tls_args args; /* its pointers are the caller's: unused */
    struct hello me;
    struct tls_context *context;
    struct loop_fd listener;
    struct timer listen_again; /* after the process ran out of descriptors */
    struct list conns;         /* oldest first */
    unsigned pending;          /* of them: came in and are not up */
    struct peer peers[TRANSPORT_TLS_NODES_MAX + 1];
    struct said said;

    struct list due;     /* connections with something to do in the next turn */
    struct list to_self; /* messages */
    size_t to_self_bytes;
    bool to_self_full;
    struct task turn;
    bool turn_posted;
    bool closed; /* freed by the turn that is posted */
    bool in_ear; /* of transport_close() there */
};

/* What a line is about, beside the refusals. */
enum {
    TOPIC_KEY = REFUSAL_COUNT + 1,
    TOPIC_GARBAGE,
    TOPIC_SLOW,
    TOPIC_GONE,
    TOPIC_CROWD,
    TOPIC_LOST,
    TOPIC_REFUSED, /* and so many more: one for each refusal of the peer */
    TOPIC_LISTEN = TOPIC_REFUSED + REFUSAL_COUNT + 1
};

/* -- transport_tls.c ------------------------------------------------------- */

/* Say it, unless it was said of that address. */
void transport_say(struct transport_tls *t, unsigned topic,
                   const struct address *address, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Run the turn soon. */
void transport_turn_post(struct transport_tls *t);
/* The connection is dead: tell `lost`, if it was met, and free it. */
void transport_conn_over(struct conn *c);
/* Both ends have taken each other: tell `met`. */
void transport_conn_up(struct conn *c);

/* -- transport_conn.c ------------------------------------------------------ */

/* Take over a connected or connecting socket; `dialed`: the node, or 0.
 * Errors: the socket is closed then. */
MUST_CHECK enum err conn_new(struct transport_tls *t, int fd,
                             const struct address *address, uint32_t dialed,
                             struct conn **ret_conn);
/* Frees at once, says nothing; sends what the socket takes. */
void conn_free(struct conn *c);
/* Close; the rest is for the next turn. */
void conn_kill(struct conn *c);
/* Say the sentence of that peer, and kill. */
void conn_fail(struct conn *c, unsigned topic, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* As transport_sendv(). */
MUST_CHECK enum err conn_send(struct conn *c, const struct iovec *iov,
                              int iov_count, size_t count);
/* What the turn is for: send what waits, read what no event tells. */
void conn_turn(struct conn *c);

#endif
