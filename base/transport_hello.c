/* base/transport_hello.c - HELLO and REFUSE as bytes, and who is taken.
 * Keeps no state; what is known of a node is handed in.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport_hello.h"

#include "base/endian.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HELLO_MAGIC = 0x4c4e5257 }; /* LNRW */

struct hello_wire {
    be32 magic;
    be16 version_lowest, version_highest;
    be64 features;
    uint8_t cluster[HELLO_CLUSTER_BYTES];
    be32 node;
    be64 incarnation;
    uint8_t host_bytes;
};
_Static_assert(sizeof(struct hello_wire) == 61, "on the wire");
_Static_assert(offsetof(struct hello_wire, node) == 48, "on the wire");
_Static_assert(sizeof(struct hello_wire) + HELLO_HOST_BYTES <=
                   HELLO_BODY_BYTES_MAX,
               "a HELLO fits");

size_t hello_encode(const struct hello *h, uint8_t out[HELLO_BODY_BYTES_MAX])
{
    size_t host_bytes = strlen(h->host);
    struct hello_wire w = {
        .magic = be32_make(HELLO_MAGIC),
        .version_lowest = be16_make(h->version_lowest),
        .version_highest = be16_make(h->version_highest),
        .features = be64_make(h->features),
        .node = be32_make(h->node),
        .incarnation = be64_make(h->incarnation),
        .host_bytes = (uint8_t)host_bytes,
    };

    ASSERT(host_bytes < HELLO_HOST_BYTES);
    memcpy(w.cluster, h->cluster, sizeof w.cluster);
    memcpy(out, &w, sizeof w);
    memcpy(out + sizeof w, h->host, host_bytes);
    return sizeof w + host_bytes;
}

static enum err host_decode(const uint8_t *bytes, size_t count,
                            char ret_host[HELLO_HOST_BYTES], struct diag *why)
{
    if (count == 0 || count >= HELLO_HOST_BYTES)
        return diag_fail(why, E_PROTOCOL, "HELLO with a host name of %zu bytes",
                         count);
    for (size_t i = 0; i < count; i++)
        if (bytes[i] <= ' ' || bytes[i] == 0x7f)
            return diag_fail(why, E_PROTOCOL,
                             "HELLO with byte 0x%02x in the host name",
                             bytes[i]);
    memcpy(ret_host, bytes, count);
    ret_host[count] = '\0';
    return E_OK;
}

enum err hello_decode(const uint8_t *bytes, size_t count,
                      struct hello *ret_hello, struct diag *why)
{
    struct hello h = {0};
    struct hello_wire w;
    enum err e;

    if (count < sizeof w)
        return diag_fail(why, E_PROTOCOL, "HELLO of %zu bytes", count);
    memcpy(&w, bytes, sizeof w);
    if (be32_get(w.magic) != HELLO_MAGIC)
        return diag_fail(why, E_PROTOCOL, "HELLO with magic 0x%08x",
                         be32_get(w.magic));
    if (!range_ok(sizeof w, w.host_bytes, count))
        return diag_fail(why, E_PROTOCOL,
                         "HELLO of %zu bytes with a host name of %u", count,
                         w.host_bytes);
    e = host_decode(bytes + sizeof w, w.host_bytes, h.host, why);
    if (e)
        return e;
    h.version_lowest = be16_get(w.version_lowest);
    h.version_highest = be16_get(w.version_highest);
    if (h.version_lowest > h.version_highest)
        return diag_fail(why, E_PROTOCOL, "HELLO with versions %u to %u",
                         h.version_lowest, h.version_highest);
    h.features = be64_get(w.features);
    memcpy(h.cluster, w.cluster, sizeof h.cluster);
    h.node = be32_get(w.node);
    h.incarnation = be64_get(w.incarnation);
    *ret_hello = h;
    return E_OK;
}

/* -- the rules ------------------------------------------------------------- */

/* Record the sentence and return the refusal. */
#define refuse(why, refusal, ...)                                              \
    (diag_fail((why), E_ACCESS, __VA_ARGS__), (refusal))

static enum refusal judge_number(const struct hello_rules *rules,
                                 const struct hello *peer, struct diag *why)
{
    if (peer->node == 0 || peer->node > rules->nodes_max)
        return refuse(why, REFUSAL_NODE,
                      "node number %u; numbers are 1 to %u: change its nodeid "
                      "in corosync.conf",
                      peer->node, rules->nodes_max);
    if (peer->node == rules->me->node)
        return refuse(why, REFUSAL_SELF,
                      "%s says that it is node %u, as %s is: give each host "
                      "its own nodeid in corosync.conf",
                      peer->host, peer->node, rules->me->host);
    if (rules->expected && peer->node != rules->expected)
        return refuse(why, REFUSAL_NODE,
                      "node %u (%s) answers where node %u should: correct the "
                      "address of one of them in lunar.conf",
                      peer->node, peer->host, rules->expected);
    if (!rules->expected && peer->node > rules->me->node)
        return refuse(why, REFUSAL_NODE,
                      "node %u (%s) dials node %u; it is the lower number "
                      "that dials",
                      peer->node, peer->host, rules->me->node);
    return REFUSAL_NONE;
}

static enum refusal judge_run(const struct hello_known *known,
                              const struct hello *peer, struct diag *why)
{
    bool same_host = known->seen && strcmp(known->host, peer->host) == 0;

    if (!known->seen)
        return REFUSAL_NONE;
    if (!same_host && (known->here || known->incarnation == peer->incarnation))
        return refuse(why, REFUSAL_TAKEN,
                      "node %u is %s, and %s says so, too: give each host its "
                      "own nodeid in corosync.conf",
                      peer->node, known->host, peer->host);
    if (peer->incarnation < known->incarnation)
        return refuse(why, REFUSAL_OLDER,
                      "incarnation %" PRIu64 " of node %u (%s) is older than "
                      "%" PRIu64 ", which was here: restart lunard there, and "
                      "look for a second host with that number",
                      peer->incarnation, peer->node, peer->host,
                      known->incarnation);
    return REFUSAL_NONE;
}

enum refusal hello_judge(const struct hello_rules *rules,
                         const struct hello_known *known,
                         const struct hello *peer, struct diag *why)
{
    const struct hello *me = rules->me;
    enum refusal refusal;

    if (memcmp(peer->cluster, me->cluster, sizeof me->cluster) != 0)
        return refuse(why, REFUSAL_CLUSTER,
                      "%s belongs to a cluster of another name with the same "
                      "key: make [cluster] name the same on all hosts, or "
                      "give each cluster its own key",
                      peer->host);
    if (peer->version_lowest > me->version_highest ||
        peer->version_highest < me->version_lowest)
        return refuse(why, REFUSAL_VERSION,
                      "%s speaks versions %u to %u of the wire, %s %u to %u: "
                      "upgrade the older one",
                      peer->host, peer->version_lowest, peer->version_highest,
                      me->host, me->version_lowest, me->version_highest);
    refusal = judge_number(rules, peer, why);
    return refusal ? refusal : judge_run(known, peer, why);
}

/* -- REFUSE ---------------------------------------------------------------- */

size_t refusal_encode(enum refusal refusal, const char *sentence,
                      uint8_t out[HELLO_BODY_BYTES_MAX])
{
    size_t count =
        min_u64(strlen(sentence), HELLO_BODY_BYTES_MAX - sizeof(be32));

    be32_store(out, (uint32_t)refusal);
    memcpy(out + sizeof(be32), sentence, count);
    return sizeof(be32) + count;
}

enum err refusal_decode(const uint8_t *bytes, size_t count,
                        enum refusal *ret_refusal, struct diag *why)
{
    char sentence[HELLO_BODY_BYTES_MAX + 1];
    uint32_t number;

    if (count < sizeof(be32) || count > HELLO_BODY_BYTES_MAX)
        return diag_fail(why, E_PROTOCOL, "REFUSE of %zu bytes", count);
    number = be32_load(bytes);
    if (number == REFUSAL_NONE)
        return diag_fail(why, E_PROTOCOL, "REFUSE for no reason");
    count -= sizeof(be32);
    memcpy(sentence, bytes + sizeof(be32), count);
    for (size_t i = 0; i < count; i++)
        if (iscntrl((unsigned char)sentence[i]))
            sentence[i] = '?';
    sentence[count] = '\0';
    *ret_refusal =
        number < REFUSAL_COUNT ? (enum refusal)number : REFUSAL_COUNT;
    (void)diag_fail(why, E_ACCESS, "%s", sentence);
    return E_OK;
}
