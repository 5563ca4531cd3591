/* tests/unit/base/wire.h - hosts on one loop that talk over loopback, and a
 * raw peer that says what it likes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_BASE_WIRE_H
#define LUNAR_TESTS_UNIT_BASE_WIRE_H

#include "base/tls.h"
#include "base/transport_frame.h"
#include "base/transport_hello.h"
#include "base/transport_tls.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <stdio.h>

enum { WIRE_HOSTS = 4 }; /* numbered from 1 */

struct wire;

/* Node N is host hN, incarnation 100 + N. */
struct wire_host {
    struct transport_ear ear;
    struct wire *wire;
    struct transport_tls_args args;
    struct transport *transport;
    char heard[4096]; /* "met2.102 2:text 2:4096 good lost2 " */
    char said[4096];  /* lines, each with its newline */
    unsigned mets, losts, messages, writables, says;
    uint64_t bytes, expected_bytes;
    unsigned bad;               /* messages that are not what was sent */
    uint64_t pattern_seed;      /* of messages above 1000 bytes */
    bool numbers;               /* they begin with their number */
    bool quiet;                 /* messages are not put into heard */
    uint32_t to, next, refused; /* for tests that send from here */
    void (*on_writable)(struct wire_host *h);
    void (*on_message)(struct wire_host *h);
};

struct wire {
    struct world world;
    struct wire_host hosts[WIRE_HOSTS + 1];
    bool changed; /* something was heard or said */
};

extern const struct cluster_key wire_key;

/* The first `hosts` of them listen; nobody knows of the others. */
void wire_init(struct wire *w, uint32_t hosts);
void wire_fini(struct wire *w);
/* What a host is opened with; change it before. */
struct transport_tls_args *wire_args(struct wire *w, uint32_t node);
void wire_open(struct wire *w, uint32_t node);
void wire_close(struct wire *w, uint32_t node);
/* Tell one host of another, under the number that it was opened with. */
void wire_tell(struct wire *w, uint32_t whom, uint32_t of);
/* Tell all that are open of all that are open. */
void wire_announce(struct wire *w);
/* The same, and wait until each has met the others. */
void wire_connect(struct wire *w);
void wire_say(struct wire *w, uint32_t from, uint32_t to, const char *text);

/* Run until `condition`, which only what is heard or said changes. */
#define WIRE_UNTIL(w, condition)                                               \
    do {                                                                       \
        while (!(condition)) {                                                 \
            (w)->changed = false;                                              \
            world_run_until(&(w)->world, &(w)->changed);                       \
        }                                                                      \
    } while (0)

/* -- a peer without a transport -------------------------------------------- */
struct raw {
    int fd;
    struct tls_context *context;
    struct tls *tls;
};

/* TCP to a host, as bytes. */
void raw_dial(struct wire *w, struct raw *r, uint32_t to);
/* TLS with a key; returns what the handshake came to. */
enum err raw_handshake(struct wire *w, struct raw *r,
                       const struct cluster_key *key, struct diag *why);
/* All of it, until the host has met `node` in its run 100 + more. */
void raw_meet(struct wire *w, struct raw *r, uint32_t to, uint32_t node,
              uint64_t more);
struct hello raw_hello(const struct wire *w, uint32_t node, uint64_t more);
void raw_send(struct raw *r, const void *bytes, size_t count);
void raw_send_frame(struct raw *r, enum frame_kind kind, const void *bytes,
                    size_t count);
void raw_send_hello(struct raw *r, const struct hello *h);
/* Let the hosts run until there is something to read, or the end. */
void raw_wait(struct wire *w, const struct raw *r);
/* Run until the host has closed, and return the refusal that it sent. */
enum refusal raw_until_closed(struct wire *w, struct raw *r, struct diag *why);
void raw_close(struct raw *r);

#endif
