/* base/transport_tls.h - messages between hosts: TCP, TLS 1.3, the cluster key.
 * One loop, no thread; knows who answers under which number, not who should.
 *
 *   transport_tls.c    listens, dials, keeps one connection for each peer
 *   transport_conn.c   one connection, from the socket to the last message
 *   transport_frame.h  messages in a stream   transport_hello.h  who is taken
 *   transport_say.h    what was said already  tls.h, cluster_key.h, address.h
 *
 * Of two nodes the one with the lower number dials.  So there is one
 * connection for a pair without any rule for duplicates; a second one from
 * there means that the first is dead at that end, and replaces it.
 *
 * A connection is a TCP connection, a handshake in which both prove the key,
 * then HELLO and WELCOME each way: `met` is told when both ends have taken each
 * other.  Who cannot be taken is told why, and both ends write a line with the
 * cure: one for each cause and peer in ten minutes.
 *
 * A peer that is silent for 15 s is lost (and dialed anew).  Nothing else is
 * done about it here, nor may be above: see transport.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_TRANSPORT_TLS_H
#define LUNAR_BASE_TRANSPORT_TLS_H

#include "base/cluster_key.h"
#include "base/transport.h"

enum { TRANSPORT_TLS_NODES_MAX = 64 }; /* node numbers are 1 … 64 */

struct transport_tls_args {
    struct loop *loop;
    struct transport_ear *ear;
    uint32_t node;
    uint64_t incarnation;
    const char *host;    /* our name, for messages; ≤ 63 bytes; copied */
    const char *cluster; /* its name; copied */
    const struct cluster_key *key; /* copied */
    const char *listen;            /* "10.77.0.1:5678", see base/address.h */

    /* One line for people, no newline.  NULL: log_warning(). */
    void (*say)(struct transport_ear *ear, const char *line);

    /* 0: the default */
    unsigned handshake_ms;  /* from the first packet to `met`: 5 s */
    size_t queue_bytes_max; /* to a peer; a send beyond gets E_AGAIN: 8 MiB */
    uint64_t rekey_records; /* see tls_rekey_after() */
};

/* Listen.  The ear hears of peers from then on, whether they were told or not:
 * who has the key is one of the cluster.
 * Errors: E_CONFIG - an argument, with its name; E_IO … - the socket.
 * Context: the loop's thread. */
MUST_CHECK enum err transport_tls_open(const struct transport_tls_args *args,
                                       struct diag *why,
                                       struct transport **ret_transport);

/* The port that is listened on, where the address left it open (":0"). */
uint16_t transport_tls_port(const struct transport *t);

/* A node and its address, as membership announces them: from now on there is a
 * connection with it or the next try within 2 s.  Told again, the try is made
 * now; with a new address, the next one goes there.  A node with a lower number
 * dials us, so its address is not used; ourselves we need not dial.
 * Errors: E_CONFIG - the address or the number, with the reason.
 * Context: the loop's thread. */
MUST_CHECK enum err transport_tls_peer(struct transport *t, uint32_t node,
                                       const char *address, struct diag *why);

/* The node has left: cut the connection, which the ear is told of as of any
 * loss, and do not dial.  If it dials us it is met again.
 * Context: the loop's thread, from inside the ear too. */
void transport_tls_forget(struct transport *t, uint32_t node);

#endif
