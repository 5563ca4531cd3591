/* base/transport.h - the seam for messages between hosts.
 * Carries bytes; knows neither what they mean nor who is a member.
 *
 * A connection of two hosts begins with `met` and ends with `lost`, each told
 * once, at both ends.  Between the two, messages arrive whole, once and in the
 * order of sending.  Where `lost` was told, nothing that was sent to there in
 * that connection is told any more.
 *
 * The two ends do not lose each other at the same moment: who was told `lost`
 * may have sent what the peer is still to be told.  So protocols above number
 * their requests, send again after the next `met`, and know what they have seen
 * (I7).  And a loss says nothing of the peer: it may live, and may have acted
 * upon all that was sent.  Nothing is decided by it; that is membership's
 * (I10).
 *
 *   transport_tls.h   TCP with TLS 1.3 and the cluster's key: real hosts
 *   the hub, below    many hosts in one process: tests and the simulator
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_TRANSPORT_H
#define LUNAR_BASE_TRANSPORT_H

#include "base/loop.h"

#include <sys/uio.h>

enum {
    TRANSPORT_MESSAGE_BYTES_MAX = 4 << 20, /* a bulk write and its head */
    TRANSPORT_PIECES_MAX = 16              /* of one send */
};

/* The owner's ear.  All run on the transport's loop, never inside a send; they
 * may send, but not close the transport. */
struct transport_ear {
    /* A message of `host`; the bytes are gone after the return. */
    void (*receive)(struct transport_ear *ear, uint32_t host, const void *bytes,
                    size_t count);
    /* The connection with `host` broke.  A new one is made without asking,
     * where the transport knows how to reach it. */
    void (*lost)(struct transport_ear *ear, uint32_t host);
    /* There is a connection with that run of `host`: sending works from now on.
     * NULL: not wanted. */
    void (*met)(struct transport_ear *ear, uint32_t host, uint64_t incarnation);
    /* A send to `host` got E_AGAIN, and now there is room.  Told once for any
     * number of refusals; not told if the connection is lost first.
     * NULL: not wanted. */
    void (*writable)(struct transport_ear *ear, uint32_t host);
};

struct transport;
struct transport_ops {
    enum err (*send)(struct transport *t, uint32_t host,
                     const struct iovec *iov, int iov_count, size_t count);
    void (*close)(struct transport *t);
};
struct transport {
    const struct transport_ops *ops;
};

/* Send a copy of the bytes, one message of up to TRANSPORT_PIECES_MAX pieces.
 * E_OK promises no arrival.  A host reaches itself, too, and without `met`.
 * Errors: E_CLOSED - no connection with that host now, `met` will tell;
 * E_AGAIN - too much waits to be sent to it, `writable` will tell: who makes
 * bulk (redirected I/O) stops reading what feeds it, who answers requests
 * bounds these and so never gets here; E_TOO_BIG; E_NOMEM.  Nothing is sent.
 * Context: the transport's loop; does not block. */
MUST_CHECK static inline enum err transport_sendv(struct transport *t,
                                                  uint32_t host,
                                                  const struct iovec *iov,
                                                  int iov_count)
{
    size_t count = 0;

    ASSERT(iov_count <= TRANSPORT_PIECES_MAX);
    for (int i = 0; i < iov_count; i++)
        if (__builtin_add_overflow(count, iov[i].iov_len, &count))
            return E_TOO_BIG;
    if (count > TRANSPORT_MESSAGE_BYTES_MAX)
        return E_TOO_BIG;
    return t->ops->send(t, host, iov, iov_count, count);
}

/* The same for a message in one piece. */
MUST_CHECK static inline enum err transport_send(struct transport *t,
                                                 uint32_t host,
                                                 const void *bytes,
                                                 size_t count)
{
    union { /* an iovec is for reading, too: it knows no const */
        const void *in;
        void *out;
    } p = {.in = bytes};
    const struct iovec iov = {p.out, count};

    return transport_sendv(t, host, &iov, 1);
}

/* End all connections.  What was sent may be lost, the ear is not told.
 * Context: the transport's loop, not from inside the ear. */
static inline void transport_close(struct transport *t)
{
    if (t)
        t->ops->close(t);
}

/* -- many hosts in one process: for tests and the simulator -----------------
 * Hosts that joined are connected.  No send is ever refused for room.
 */
enum { TRANSPORT_HUB_HOSTS_MAX = 64 };
struct transport_hub;

MUST_CHECK enum err transport_hub_new(struct transport_hub **ret_hub);
/* Context: all transports of it are closed and their loops have run. */
void transport_hub_free(struct transport_hub *hub);
/* Errors: E_RANGE (host), E_EXIST, E_NOMEM.  Any thread. */
MUST_CHECK enum err transport_hub_join(struct transport_hub *hub, uint32_t host,
                                       uint64_t incarnation, struct loop *loop,
                                       struct transport_ear *ear,
                                       struct transport **ret_transport);
/* Break the connection of two hosts, for both and for what is on its way; and
 * let them reach each other again.  Any thread. */
void transport_hub_cut(struct transport_hub *hub, uint32_t a, uint32_t b);
void transport_hub_heal(struct transport_hub *hub, uint32_t a, uint32_t b);

#endif
