/* base/transport.h - the seam for messages between hosts.
 * Carries bytes; knows neither what they mean nor who is a member.
 *
 * Between two hosts messages arrive whole, once and in the order of sending,
 * until the peer is lost; then nothing more of what was sent before arrives,
 * and what had arrived is not told.  Protocols above answer for the rest: they
 * number their requests and send again (I7).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_TRANSPORT_H
#define LUNAR_BASE_TRANSPORT_H

#include "base/loop.h"

enum { TRANSPORT_MESSAGE_BYTES_MAX = 4 << 20 }; /* a bulk write and its head */

/* The owner's ear.  Both run on the transport's loop, never inside a send. */
struct transport_ear {
    /* A message of `host`; the bytes are gone after the return. */
    void (*receive)(struct transport_ear *ear, uint32_t host, const void *bytes,
                    size_t count);
    /* The connection with `host` broke.  Sending to it makes a new one. */
    void (*lost)(struct transport_ear *ear, uint32_t host);
};

struct transport;
struct transport_ops {
    enum err (*send)(struct transport *t, uint32_t host, const void *bytes,
                     size_t count);
    void (*close)(struct transport *t);
};
struct transport {
    const struct transport_ops *ops;
};

/* Send a copy of the bytes.  E_OK promises no arrival.
 * Errors: E_CLOSED - no way to that host now; E_TOO_BIG; E_NOMEM.
 * Context: the transport's loop; does not block. */
MUST_CHECK static inline enum err transport_send(struct transport *t,
                                                 uint32_t host,
                                                 const void *bytes,
                                                 size_t count)
{
    if (count > TRANSPORT_MESSAGE_BYTES_MAX)
        return E_TOO_BIG;
    return t->ops->send(t, host, bytes, count);
}

static inline void transport_close(struct transport *t)
{
    if (t)
        t->ops->close(t);
}

/* -- many hosts in one process: for tests and the simulator -----------------
 */
enum { TRANSPORT_HUB_HOSTS_MAX = 64 };
struct transport_hub;

MUST_CHECK enum err transport_hub_new(struct transport_hub **ret_hub);
/* Context: all transports of it are closed and their loops have run. */
void transport_hub_free(struct transport_hub *hub);
/* Errors: E_RANGE (host), E_EXIST, E_NOMEM.  Any thread. */
MUST_CHECK enum err transport_hub_join(struct transport_hub *hub, uint32_t host,
                                       struct loop *loop,
                                       struct transport_ear *ear,
                                       struct transport **ret_transport);
/* Break the connection of two hosts, for both and for what is on its way; and
 * let them reach each other again.  Any thread. */
void transport_hub_cut(struct transport_hub *hub, uint32_t a, uint32_t b);
void transport_hub_heal(struct transport_hub *hub, uint32_t a, uint32_t b);

#endif
