/* base/transport_hello.h - the first words of two hosts, and when to refuse.
 * Pure: bytes to structs and back, and the rules.  Sends nothing.
 *
 *   HELLO    be32 magic  be16 version lowest, highest  be64 features
 *            32 bytes SHA-256 of the cluster's name  be32 node
 *            be64 incarnation  u8 length of the host's name  the name
 *   REFUSE   be32 refusal  a sentence for people
 *
 * A HELLO may have more behind the name: that is how it can grow.  Of versions
 * the highest that both know is spoken, of features what both have.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_TRANSPORT_HELLO_H
#define LUNAR_BASE_TRANSPORT_HELLO_H

#include "base/err.h"

enum {
    HELLO_VERSION = 1,         /* of the wire, that this code speaks */
    HELLO_CLUSTER_BYTES = 32,  /* a SHA-256 */
    HELLO_HOST_BYTES = 64,     /* of a host's name, with its zero */
    HELLO_BODY_BYTES_MAX = 512 /* of HELLO and of REFUSE */
};

struct hello {
    uint16_t version_lowest, version_highest;
    uint64_t features;
    uint8_t cluster[HELLO_CLUSTER_BYTES];
    uint32_t node;
    uint64_t incarnation;
    char host[HELLO_HOST_BYTES];
};

/* Returns the bytes written. */
size_t hello_encode(const struct hello *h, uint8_t out[HELLO_BODY_BYTES_MAX]);
/* Errors: E_PROTOCOL, with the field. */
MUST_CHECK enum err hello_decode(const uint8_t *bytes, size_t count,
                                 struct hello *ret_hello, struct diag *why);

/* -- to refuse ------------------------------------------------------------- */
/* clang-format off */
#define REFUSAL_LIST(X)                                                        \
    X(REFUSAL_CLUSTER, "another cluster")                                      \
    X(REFUSAL_VERSION, "no common version")                                    \
    X(REFUSAL_NODE,    "not the node that is expected there")                  \
    X(REFUSAL_SELF,    "claims our own node number")                           \
    X(REFUSAL_OLDER,   "an older incarnation")                                 \
    X(REFUSAL_TAKEN,   "the node number is taken")
/* clang-format on */

/* The number crosses the wire: append only. */
enum refusal {
    REFUSAL_NONE,
#define X(code, text) code,
    REFUSAL_LIST(X)
#undef X
        REFUSAL_COUNT
};

/* What we know of the node that a peer says it is. */
struct hello_known {
    bool seen; /* it was here in our time: the next two are its last run's */
    bool here; /* there is a connection with it now */
    uint64_t incarnation;
    char host[HELLO_HOST_BYTES];
};

struct hello_rules {
    const struct hello *me;
    uint32_t nodes_max; /* numbers are 1 … nodes_max */
    uint32_t expected;  /* the node that we dialed; 0: they dialed us */
};

/* Whether to take the peer; otherwise `why` is a sentence with the cure.
 *
 * Of one node number the newest incarnation counts; an older one is a run that
 * others took for dead.  Two hosts that are here under one number cannot be
 * told apart by that, so the one that is here stays and the other is refused.
 * The same incarnation again is the same run that dials again. */
enum refusal hello_judge(const struct hello_rules *rules,
                         const struct hello_known *known,
                         const struct hello *peer, struct diag *why);

/* A REFUSE's body; the sentence is cut to fit.  Returns the bytes written. */
size_t refusal_encode(enum refusal refusal, const char *sentence,
                      uint8_t out[HELLO_BODY_BYTES_MAX]);
/* The refusal (REFUSAL_COUNT: one that we do not know) and, in `why`, the
 * peer's sentence, printable.  Errors: E_PROTOCOL. */
MUST_CHECK enum err refusal_decode(const uint8_t *bytes, size_t count,
                                   enum refusal *ret_refusal, struct diag *why);

#endif
