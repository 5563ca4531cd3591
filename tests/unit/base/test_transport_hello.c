/* tests/unit/base/test_transport_hello.c - HELLO and REFUSE as bytes, and the
 * rules by which a peer is taken.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport_hello.h"
#include "tests/lib/test.h"

#include <string.h>

/* Node 2 of the cluster; it is dialed by node 1. */
static const struct hello me = {
    .version_lowest = 3,
    .version_highest = 5,
    .features = 0xf0,
    .cluster = {1, 2, 3},
    .node = 2,
    .incarnation = 77,
    .host = "h2"
};
static const struct hello node1 = {
    .version_lowest = 3,
    .version_highest = 5,
    .cluster = {1, 2, 3},
    .node = 1,
    .incarnation = 50,
    .host = "h1"
};

/* -- bytes ----------------------------------------------------------------- */

static void hello_comes_back_as_it_went(void)
{
    uint8_t body[HELLO_BODY_BYTES_MAX];
    size_t count = hello_encode(&me, body);
    struct hello h;

    CHECK_OK(hello_decode(body, count, &h, NULL));
    CHECK_EQ(h.version_lowest, 3);
    CHECK_EQ(h.version_highest, 5);
    CHECK_EQ(h.features, 0xf0);
    CHECK_MEM(h.cluster, me.cluster, sizeof h.cluster);
    CHECK_EQ(h.node, 2);
    CHECK_EQ(h.incarnation, 77);
    CHECK_STR(h.host, "h2");
    /* a later one has more: what we know is still at its place */
    memset(body + count, 0xff, sizeof body - count);
    CHECK_OK(hello_decode(body, sizeof body, &h, NULL));
    CHECK_STR(h.host, "h2");
}

/* The bytes are the protocol: a host of yesterday must read them. */
static void hello_of_version_1_has_these_bytes(void)
{
    static const uint8_t expected[] = {
        'L', 'N', 'R', 'W', 0, 3, 0, 5, 0, 0, 0, 0,  0, 0,   0,  0xf0, /* */
        1,   2,   3,   0,   0, 0, 0, 0, 0, 0, 0, 0,  0, 0,   0,  0,    /* */
        0,   0,   0,   0,   0, 0, 0, 0, 0, 0, 0, 0,  0, 0,   0,  0,    /* */
        0,   0,   0,   2,   0, 0, 0, 0, 0, 0, 0, 77, 2, 'h', '2'};
    uint8_t body[HELLO_BODY_BYTES_MAX];

    CHECK_EQ(hello_encode(&me, body), sizeof expected);
    CHECK_MEM(body, expected, sizeof expected);
}

static void damaged_hello_is_refused_with_its_field(void)
{
    static const struct {
        size_t at;
        uint8_t byte;
        size_t count;
        const char *said;
    } rows[] = {
        {0,  'X',  63,  "HELLO with magic 0x584e5257"            },
        {5,  9,    63,  "HELLO with versions 9 to 5"             },
        {60, 0,    63,  "a host name of 0 bytes"                 },
        {60, 3,    63,  "HELLO of 63 bytes with a host name of 3"},
        {60, 64,   512, "a host name of 64 bytes"                },
        {62, '\n', 63,  "byte 0x0a in the host name"             },
        {61, 0,    63,  "byte 0x00 in the host name"             },
        {0,  'L',  60,  "HELLO of 60 bytes"                      },
        {0,  'L',  0,   "HELLO of 0 bytes"                       },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t body[HELLO_BODY_BYTES_MAX] = {0};
        struct hello h;
        struct diag why;

        hello_encode(&me, body);
        body[rows[i].at] = rows[i].byte;
        CHECK_ERR(hello_decode(body, rows[i].count, &h, &why), E_PROTOCOL);
        CHECK_CONTAINS(why.text, rows[i].said);
    }
}

static void refusal_comes_back_printable(void)
{
    uint8_t body[HELLO_BODY_BYTES_MAX];
    char sentence[1000];
    enum refusal refusal;
    struct diag why;
    size_t count = refusal_encode(REFUSAL_OLDER, "too\nold", body);

    CHECK_OK(refusal_decode(body, count, &refusal, &why));
    CHECK_EQ(refusal, REFUSAL_OLDER);
    CHECK_STR(why.text, "too?old");
    body[0] = 1; /* a later lunard has more reasons */
    CHECK_OK(refusal_decode(body, count, &refusal, &why));
    CHECK_EQ(refusal, REFUSAL_COUNT);
    memset(sentence, 'x', sizeof sentence - 1);
    sentence[sizeof sentence - 1] = '\0';
    CHECK_EQ(refusal_encode(REFUSAL_NODE, sentence, body), sizeof body);
    CHECK_OK(refusal_decode(body, sizeof body, &refusal, &why));
    CHECK_ERR(refusal_decode(body, 3, &refusal, &why), E_PROTOCOL);
    memset(body, 0, 4);
    CHECK_ERR(refusal_decode(body, 4, &refusal, &why), E_PROTOCOL);
}

/* -- rules ----------------------------------------------------------------- */

static enum refusal judge(const struct hello *peer,
                          const struct hello_known *known, struct diag *why)
{
    const struct hello_rules rules = {.me = &me, .nodes_max = 64};

    return hello_judge(&rules, known, peer, why);
}

static void versions_that_overlap_are_taken(void)
{
    static const struct {
        uint16_t lowest, highest;
        enum refusal refusal;
    } rows[] = {
        {1, 2, REFUSAL_VERSION},
        {1, 3, REFUSAL_NONE   },
        {4, 4, REFUSAL_NONE   },
        {1, 9, REFUSAL_NONE   },
        {5, 9, REFUSAL_NONE   },
        {6, 9, REFUSAL_VERSION},
    };
    const struct hello_known nobody = {.seen = false};
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hello peer = node1;

        peer.version_lowest = rows[i].lowest;
        peer.version_highest = rows[i].highest;
        CHECK_EQ(judge(&peer, &nobody, &why), rows[i].refusal);
    }
}

/* Incarnation, host and presence decide; node 1 was here as h1 in run 50. */
static void of_a_node_the_newest_run_is_taken_and_one_host(void)
{
    static const struct {
        bool here;
        uint64_t incarnation;
        const char *host;
        enum refusal refusal;
    } rows[] = {
        {false, 49, "h1", REFUSAL_OLDER},
        {false, 50, "h1", REFUSAL_NONE },
        {false, 51, "h1", REFUSAL_NONE },
        {true,  49, "h1", REFUSAL_OLDER},
        {true,  50, "h1", REFUSAL_NONE },
        {true,  51, "h1", REFUSAL_NONE },
        {false, 49, "h9", REFUSAL_OLDER},
        {false, 50, "h9", REFUSAL_TAKEN},
        {false, 51, "h9", REFUSAL_NONE },
        {true,  49, "h9", REFUSAL_TAKEN},
        {true,  50, "h9", REFUSAL_TAKEN},
        {true,  51, "h9", REFUSAL_TAKEN},
    };
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hello_known known = {.seen = true,
                                    .here = rows[i].here,
                                    .incarnation = 50,
                                    .host = "h1"};
        struct hello peer = node1;

        peer.incarnation = rows[i].incarnation;
        snprintf(peer.host, sizeof peer.host, "%s", rows[i].host);
        if (!CHECK_EQ(judge(&peer, &known, &why), rows[i].refusal))
            printf("row %zu\n", i);
    }
}

static void only_the_lower_number_dials_and_only_whom_it_means(void)
{
    const struct hello_known nobody = {.seen = false};
    struct hello_rules dialed = {.me = &me, .nodes_max = 64, .expected = 3};
    struct hello peer = node1;
    struct diag why;

    CHECK_EQ(judge(&peer, &nobody, &why), REFUSAL_NONE);
    peer.node = 3;
    CHECK_EQ(judge(&peer, &nobody, &why), REFUSAL_NODE);
    CHECK_EQ(hello_judge(&dialed, &nobody, &peer, &why), REFUSAL_NONE);
    peer.node = 4;
    CHECK_EQ(hello_judge(&dialed, &nobody, &peer, &why), REFUSAL_NODE);
    CHECK_CONTAINS(why.text, "node 4 (h1) answers where node 3 should");
    peer.node = 2;
    CHECK_EQ(judge(&peer, &nobody, &why), REFUSAL_SELF);
    CHECK_EQ(hello_judge(&dialed, &nobody, &peer, &why), REFUSAL_SELF);
    peer.node = 0;
    CHECK_EQ(judge(&peer, &nobody, &why), REFUSAL_NODE);
    peer.node = 65;
    CHECK_EQ(judge(&peer, &nobody, &why), REFUSAL_NODE);
}

static void another_cluster_is_refused_before_all_else(void)
{
    const struct hello_known nobody = {.seen = false};
    struct hello peer = node1;
    struct diag why;

    peer.cluster[31] = 1;
    peer.version_lowest = peer.version_highest = 9;
    peer.node = 2;
    CHECK_EQ(judge(&peer, &nobody, &why), REFUSAL_CLUSTER);
}

static const struct test tests[] = {
    TEST(hello_comes_back_as_it_went),
    TEST(hello_of_version_1_has_these_bytes),
    TEST(damaged_hello_is_refused_with_its_field),
    TEST(refusal_comes_back_printable),
    TEST(versions_that_overlap_are_taken),
    TEST(of_a_node_the_newest_run_is_taken_and_one_host),
    TEST(only_the_lower_number_dials_and_only_whom_it_means),
    TEST(another_cluster_is_refused_before_all_else),
};
TEST_SUITE("base/transport_hello", tests);
