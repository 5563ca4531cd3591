/* tests/unit/base/test_transport_refuse.c - who is not taken, and what both
 * ends say; what strangers can do to a host, which is nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/base/wire.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Both hosts exchange a message: nothing disturbed them. */
static void still_talk(struct wire *w)
{
    unsigned had[3] = {0, w->hosts[1].messages, w->hosts[2].messages};

    wire_say(w, 1, 2, "ping");
    wire_say(w, 2, 1, "pong");
    WIRE_UNTIL(w, w->hosts[1].messages == had[1] + 1 &&
                      w->hosts[2].messages == had[2] + 1);
    CHECK_EQ(w->hosts[1].losts + w->hosts[2].losts, 0);
}

/* -- hosts of ours that are not taken -------------------------------------- */

static void wrong_key_is_said_at_both_ends_once(void)
{
    static const struct cluster_key other = {
        {0x5a, 1, 2, 4}
    };
    struct wire w;

    wire_init(&w, 1);
    wire_args(&w, 2)->key = &other;
    wire_open(&w, 2);
    wire_announce(&w);
    WIRE_UNTIL(&w, w.hosts[1].says && w.hosts[2].says);
    CHECK_CONTAINS(w.hosts[1].said, "node 2 (127.0.0.1:");
    CHECK_CONTAINS(w.hosts[1].said, "has not our cluster key");
    CHECK_CONTAINS(w.hosts[1].said, "copy /etc/lunar/cluster.key");
    CHECK_CONTAINS(w.hosts[2].said, "127.0.0.1:");
    CHECK_CONTAINS(w.hosts[2].said, "has not our cluster key");
    for (int again = 0; again < 5; again++) {
        wire_announce(&w);
        loop_run_ready(w.world.loop);
    }
    CHECK_EQ(w.hosts[1].says, 1);
    CHECK_EQ(w.hosts[2].says, 1);
    CHECK_EQ(w.hosts[1].mets + w.hosts[2].mets, 0);
    CHECK_ERR(transport_send(w.hosts[1].transport, 2, "x", 1), E_CLOSED);
    /* with the right key all is well, and the next trouble is news */
    wire_close(&w, 2);
    wire_args(&w, 2)->key = &wire_key;
    wire_open(&w, 2);
    wire_connect(&w);
    wire_close(&w, 2);
    WIRE_UNTIL(&w, w.hosts[1].losts == 1);
    w.hosts[1].said[0] = '\0';
    wire_args(&w, 2)->key = &other;
    wire_open(&w, 2);
    wire_announce(&w);
    WIRE_UNTIL(&w, strstr(w.hosts[1].said, "has not our cluster key"));
    wire_fini(&w);
}

/* Node 1 dials h2, which was opened with something wrong, as node 2. */
static void refused(struct wire *w, const char *said1, const char *said2)
{
    char address[32];

    wire_open(w, 1);
    wire_open(w, 2);
    snprintf(address, sizeof address, "127.0.0.1:%u",
             transport_tls_port(w->hosts[2].transport));
    CHECK_OK(transport_tls_peer(w->hosts[1].transport, 2, address, NULL));
    WIRE_UNTIL(w, w->hosts[1].says && w->hosts[2].says);
    CHECK_CONTAINS(w->hosts[1].said, said1);
    CHECK_CONTAINS(w->hosts[2].said, said2);
    CHECK_EQ(w->hosts[1].mets + w->hosts[2].mets, 0);
    CHECK_EQ(w->hosts[1].losts + w->hosts[2].losts, 0);
    wire_fini(w);
}

static void another_cluster_with_the_same_key_is_refused(void)
{
    static const char cure[] = "make [cluster] name the same on all hosts";
    struct wire w;

    wire_init(&w, 0);
    wire_args(&w, 2)->cluster = "production";
    refused(&w, cure, cure);
}

static void other_node_at_the_address_is_refused(void)
{
    struct wire w;

    wire_init(&w, 0);
    wire_args(&w, 2)->node = 3;
    refused(&w, "node 3 (h2) answers where node 2 should",
            "node 3 (h2) answers where node 2 should");
}

static void peer_with_our_own_number_is_refused(void)
{
    static const char cure[] = "give each host its own nodeid";
    struct wire w;

    wire_init(&w, 0);
    wire_args(&w, 2)->node = 1;
    refused(&w, cure, cure);
}

/* h3 says that it is node 1, as h1 does. */
static void open_twin(struct wire *w, const char *name, uint64_t incarnation)
{
    wire_args(w, 3)->node = 1;
    wire_args(w, 3)->host = name;
    wire_args(w, 3)->incarnation = incarnation;
    wire_open(w, 3);
    wire_tell(w, 3, 2);
}

static void newer_run_replaces_the_older_which_stays_out(void)
{
    struct wire w;

    wire_init(&w, 2);
    wire_connect(&w);
    open_twin(&w, "h1", 201);
    WIRE_UNTIL(&w, w.hosts[3].mets && w.hosts[1].losts && w.hosts[1].says > 1);
    CHECK_STR(w.hosts[2].heard, "met1.101 lost1 met1.201 ");
    CHECK_CONTAINS(w.hosts[1].said, "refuses us: incarnation 101 of node 1 "
                                    "(h1) is older than 201");
    CHECK_CONTAINS(w.hosts[2].said, "incarnation 101 of node 1 (h1) is older");
    CHECK_STR(w.hosts[3].said, "");
    /* nor does it come in when the newer one has ended */
    wire_close(&w, 3);
    WIRE_UNTIL(&w, w.hosts[2].losts == 2);
    w.hosts[2].says = 0;
    wire_tell(&w, 1, 2);
    loop_run_ready(w.world.loop);
    CHECK_EQ(w.hosts[2].mets, 2);
    wire_fini(&w);
}

static void second_host_under_a_number_is_refused_while_the_first_is_here(void)
{
    struct wire w;

    wire_init(&w, 2);
    wire_connect(&w);
    open_twin(&w, "h3", 201);
    WIRE_UNTIL(&w, w.hosts[3].says && w.hosts[2].says);
    CHECK_CONTAINS(w.hosts[3].said, "refuses us: node 1 is h1, and h3 says so");
    CHECK_CONTAINS(w.hosts[2].said, "node 1 is h1, and h3 says so, too");
    still_talk(&w);
    CHECK_EQ(w.hosts[3].mets, 0);
    wire_close(&w, 1); /* it was a rename, or a new machine */
    WIRE_UNTIL(&w, w.hosts[3].mets == 1 && w.hosts[2].mets == 2);
    CHECK_STR(w.hosts[2].heard, "met1.101 1:ping lost1 met1.201 ");
    wire_fini(&w);
}

static void same_run_that_dials_again_replaces_its_connection(void)
{
    struct wire w;
    struct raw first, second;

    wire_init(&w, 2);
    raw_meet(&w, &first, 2, 1, 1);
    raw_meet(&w, &second, 2, 1, 1);
    CHECK_STR(w.hosts[2].heard, "met1.101 lost1 met1.101 ");
    CHECK_EQ(raw_until_closed(&w, &first, NULL), REFUSAL_NONE);
    raw_send_frame(&second, FRAME_MESSAGE, "x", 1);
    WIRE_UNTIL(&w, w.hosts[2].messages == 1);
    raw_close(&first);
    raw_close(&second);
    wire_fini(&w);
}

/* Two runs are taken before either is met: the older one must not win by
 * saying WELCOME last. */
static void older_run_is_refused_even_at_the_last_moment(void)
{
    struct wire w;
    struct raw older, newer;
    struct hello h;
    struct diag why;

    wire_init(&w, 2);
    h = raw_hello(&w, 1, 1);
    raw_dial(&w, &older, 2);
    CHECK_OK(raw_handshake(&w, &older, &wire_key, NULL));
    raw_send_hello(&older, &h);
    loop_run_ready(w.world.loop);
    raw_meet(&w, &newer, 2, 1, 2);
    raw_send_frame(&older, FRAME_WELCOME, NULL, 0);
    CHECK_EQ(raw_until_closed(&w, &older, &why), REFUSAL_OLDER);
    CHECK_STR(w.hosts[2].heard, "met1.102 ");
    raw_close(&older);
    raw_close(&newer);
    wire_fini(&w);
}

static void peer_without_a_common_version_is_refused(void)
{
    struct wire w;
    struct raw raw;
    struct hello h;
    struct diag why;

    wire_init(&w, 2);
    h = raw_hello(&w, 1, 1);
    h.version_lowest = HELLO_VERSION + 1;
    h.version_highest = HELLO_VERSION + 3;
    raw_dial(&w, &raw, 2);
    CHECK_OK(raw_handshake(&w, &raw, &wire_key, NULL));
    raw_send_hello(&raw, &h);
    CHECK_EQ(raw_until_closed(&w, &raw, &why), REFUSAL_VERSION);
    CHECK_CONTAINS(why.text,
                   "h1 speaks versions 2 to 4 of the wire, h2 1 to 1");
    CHECK_CONTAINS(w.hosts[2].said, "upgrade the older one");
    raw_close(&raw);
    wire_fini(&w);
}

/* -- strangers ------------------------------------------------------------- */

/* Until the host has closed a connection without TLS. */
static void plain_until_closed(struct wire *w, const struct raw *r)
{
    char bytes[100];
    ssize_t n;

    do {
        raw_wait(w, r);
        n = recv(r->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    } while (n > 0 || (n < 0 && errno == EAGAIN));
}

static void plain_bytes_are_cut(void)
{
    static const char *const garbage[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\xff\xff\x01\xff\xff\xff\x03\x03",
        "\x15\x03\x03\x00\x02\x02\x28",
        "LNRW",
    };
    struct wire w;
    struct raw raw;

    wire_init(&w, 0);
    wire_args(&w, 2)->handshake_ms = 100; /* for what looks like a beginning */
    wire_open(&w, 1);
    wire_open(&w, 2);
    wire_connect(&w);
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        raw_dial(&w, &raw, 2);
        CU_ASSERT(send(raw.fd, garbage[i], strlen(garbage[i]), 0) > 0);
        plain_until_closed(&w, &raw);
        raw_close(&raw);
        still_talk(&w);
    }
    CHECK_CONTAINS(w.hosts[2].said, "127.0.0.1:");
    CHECK_CONTAINS(w.hosts[2].said, "is no lunard (TLS: ");
    wire_fini(&w);
}

static void port_scanner_is_named(void)
{
    struct wire w;
    struct raw raw;

    wire_init(&w, 2);
    wire_connect(&w);
    for (int i = 0; i < 3; i++) {
        raw_dial(&w, &raw, 2);
        raw_close(&raw);
    }
    WIRE_UNTIL(&w, w.hosts[2].says == 1);
    CHECK_CONTAINS(w.hosts[2].said, "127.0.0.1:");
    CHECK_CONTAINS(w.hosts[2].said, "before it said who it is");
    still_talk(&w);
    CHECK_EQ(w.hosts[2].says, 1);
    wire_fini(&w);
}

/* TLS 1.3 as others speak it: with a certificate, without our key. */
static SSL_CTX *certified_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *x = X509_new();

    X509_gmtime_adj(X509_getm_notBefore(x), -1000);
    X509_gmtime_adj(X509_getm_notAfter(x), 1000);
    X509_set_pubkey(x, pkey);
    if (!ctx || !X509_sign(x, pkey, EVP_sha256()) ||
        !SSL_CTX_use_certificate(ctx, x) || !SSL_CTX_use_PrivateKey(ctx, pkey))
        abort();
    X509_free(x);
    EVP_PKEY_free(pkey);
    return ctx;
}

/* Go on until one of them gives up.  True if the handshake was done first. */
static bool certified_talk(struct wire *w, SSL *ssl)
{
    const struct raw r = {.fd = SSL_get_fd(ssl)};
    int rc;

    while ((rc = SSL_do_handshake(ssl)) != 1 &&
           SSL_get_error(ssl, rc) == SSL_ERROR_WANT_READ)
        raw_wait(w, &r);
    ERR_clear_error();
    return rc == 1;
}

static void client_without_the_key_is_refused(void)
{
    SSL_CTX *ctx = certified_context();
    SSL *ssl = SSL_new(ctx);
    struct wire w;
    struct raw raw;

    wire_init(&w, 2);
    raw_dial(&w, &raw, 2);
    SSL_set_fd(ssl, raw.fd);
    SSL_set_connect_state(ssl);
    CU_ASSERT_FALSE(certified_talk(&w, ssl));
    WIRE_UNTIL(&w, w.hosts[2].says);
    CHECK_CONTAINS(w.hosts[2].said, "has not our cluster key");
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    raw_close(&raw);
    wire_fini(&w);
}

/* A listener on loopback; its address as text. */
static int stranger_listens(char ret_address[32])
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 5) ||
        getsockname(fd, (struct sockaddr *)&a, &size))
        abort();
    snprintf(ret_address, 32, "127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

static void server_with_a_certificate_and_no_key_is_refused(void)
{
    SSL_CTX *ctx = certified_context();
    SSL *ssl = SSL_new(ctx);
    struct raw raw = {.fd = -1};
    char address[32];
    int fd = stranger_listens(address);
    struct wire w;

    wire_init(&w, 1);
    CHECK_OK(transport_tls_peer(w.hosts[1].transport, 2, address, NULL));
    loop_run_ready(w.world.loop);
    raw.fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
    SSL_set_fd(ssl, raw.fd);
    SSL_set_accept_state(ssl);
    CU_ASSERT_FALSE(certified_talk(&w, ssl));
    WIRE_UNTIL(&w, w.hosts[1].says);
    CHECK_CONTAINS(w.hosts[1].said, "node 2 (127.0.0.1:");
    CHECK_CONTAINS(w.hosts[1].said, "has not our cluster key");
    CHECK_EQ(w.hosts[1].mets, 0);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    raw_close(&raw);
    close(fd);
    wire_fini(&w);
}

/* The key alone does not make a lunard: what such a peer may say. */
static void send_unknown_kind(struct raw *r)
{
    raw_send(r, "\0\0\0\0\0\0\0\x63", 8);
}
static void send_endless_hello(struct raw *r)
{
    raw_send(r, "\x40\0\0\0\0\0\0\1", 8);
}
static void send_hello_of_zeros(struct raw *r)
{
    static const uint8_t zeros[100];

    raw_send_frame(r, FRAME_HELLO, zeros, sizeof zeros);
}
static void send_message_first(struct raw *r)
{
    raw_send_frame(r, FRAME_MESSAGE, "x", 1);
}
static void send_welcome_first(struct raw *r)
{
    raw_send_frame(r, FRAME_WELCOME, NULL, 0);
}
static void send_refuse_of_nothing(struct raw *r)
{
    raw_send_frame(r, FRAME_REFUSE, "\0\0\0\0", 4);
}
static void send_plain_bytes(struct raw *r)
{
    CU_ASSERT(send(r->fd, "plain again, please", 19, 0) == 19);
}
static void send_half_a_head_and_end(struct raw *r)
{
    raw_send(r, "\0\0", 2);
    shutdown(r->fd, SHUT_WR);
}

static void (*const misbehave[])(struct raw *r) = {
    send_unknown_kind,  send_endless_hello,       send_hello_of_zeros,
    send_message_first, send_welcome_first,       send_refuse_of_nothing,
    send_plain_bytes,   send_half_a_head_and_end,
};

static void peer_with_the_key_that_talks_nonsense_is_cut(void)
{
    struct wire w;
    struct raw raw;

    wire_init(&w, 2);
    wire_connect(&w);
    for (size_t i = 0; i < ARRAY_LEN(misbehave); i++) {
        raw_dial(&w, &raw, 2);
        CHECK_OK(raw_handshake(&w, &raw, &wire_key, NULL));
        misbehave[i](&raw);
        CHECK_EQ(raw_until_closed(&w, &raw, NULL), REFUSAL_NONE);
        raw_close(&raw);
        still_talk(&w);
    }
    CHECK_CONTAINS(w.hosts[2].said, "breaks the protocol, cut: frame of kind");
    CHECK_EQ(w.hosts[2].mets, 1);
    wire_fini(&w);
}

static void promise_beyond_the_limit_is_cut_before_it_is_kept(void)
{
    struct wire w;
    struct raw raw;

    wire_init(&w, 2);
    raw_dial(&w, &raw, 2);
    CHECK_OK(raw_handshake(&w, &raw, &wire_key, NULL));
    raw_send(&raw, "\0\0\2\1\0\0\0\1", 8);
    raw_until_closed(&w, &raw, NULL);
    CHECK_CONTAINS(w.hosts[2].said,
                   "frame of 513 bytes, where at most 512 are allowed");
    raw_close(&raw);
    wire_fini(&w);
}

static void send_too_large_a_message(struct raw *r)
{
    raw_send(r, "\0\x40\0\1\0\0\0\4", 8); /* 4 MiB and a byte */
}
static void send_part_of_a_message_and_end(struct raw *r)
{
    raw_send(r, "\0\0\0\3\0\0\0\4ab", 10);
    shutdown(r->fd, SHUT_WR);
}
static void send_hello_again(struct raw *r)
{
    struct wire w = {.hosts[1].args.cluster = "demo"};
    struct hello h = raw_hello(&w, 1, 1);

    raw_send_hello(r, &h);
}

static void (*const misbehave_late[])(struct raw *r) = {
    send_unknown_kind,        send_too_large_a_message,       send_hello_again,
    send_welcome_first,       send_refuse_of_nothing,         send_plain_bytes,
    send_half_a_head_and_end, send_part_of_a_message_and_end,
};

static void met_peer_that_talks_nonsense_is_lost_once(void)
{
    struct wire w;
    struct raw raw;

    for (size_t i = 0; i < ARRAY_LEN(misbehave_late); i++) {
        wire_init(&w, 3);
        wire_tell(&w, 2, 3);
        WIRE_UNTIL(&w, w.hosts[2].mets && w.hosts[3].mets);
        raw_meet(&w, &raw, 2, 1, 1);
        raw_send_frame(&raw, FRAME_MESSAGE, "good", 4);
        misbehave_late[i](&raw);
        CHECK_EQ(raw_until_closed(&w, &raw, NULL), REFUSAL_NONE);
        WIRE_UNTIL(&w, w.hosts[2].losts);
        CHECK_STR(w.hosts[2].heard, "met3.103 met1.101 1:good lost1 ");
        CHECK_EQ(w.hosts[2].says, 1);
        wire_say(&w, 3, 2, "x");
        WIRE_UNTIL(&w, w.hosts[2].messages == 2);
        raw_close(&raw);
        wire_fini(&w);
    }
}

/* -- slow ones ------------------------------------------------------------- */

static void stop_after_tcp(struct wire *w, struct raw *r)
{
    raw_dial(w, r, 2);
}
static void stop_after_a_byte(struct wire *w, struct raw *r)
{
    raw_dial(w, r, 2);
    CU_ASSERT(send(r->fd, "\x16", 1, 0) == 1);
}
static void stop_after_tls(struct wire *w, struct raw *r)
{
    raw_dial(w, r, 2);
    CHECK_OK(raw_handshake(w, r, &wire_key, NULL));
}
static void stop_after_hello(struct wire *w, struct raw *r)
{
    struct hello h = raw_hello(w, 1, 1);

    stop_after_tls(w, r);
    raw_send_hello(r, &h);
}

static void who_does_not_finish_its_handshake_is_cut_in_time(void)
{
    static void (*const stops[])(struct wire *, struct raw *) = {
        stop_after_tcp, stop_after_a_byte, stop_after_tls, stop_after_hello};

    for (size_t i = 0; i < ARRAY_LEN(stops); i++) {
        struct wire w;
        struct raw raw;

        wire_init(&w, 0);
        wire_args(&w, 2)->handshake_ms = 50;
        wire_open(&w, 2);
        stops[i](&w, &raw);
        WIRE_UNTIL(&w, w.hosts[2].says);
        CHECK_CONTAINS(w.hosts[2].said, "127.0.0.1:");
        CHECK_CONTAINS(w.hosts[2].said,
                       "has not said who it is within 50 ms: cut");
        plain_until_closed(&w, &raw);
        CHECK_EQ(w.hosts[2].mets, 0);
        raw_close(&raw);
        wire_fini(&w);
    }
}

static void dialed_peer_that_is_silent_is_dialed_again(void)
{
    struct wire w;
    char address[32];
    int fd = stranger_listens(address), first, second;

    wire_init(&w, 0);
    wire_args(&w, 1)->handshake_ms = 50;
    wire_open(&w, 1);
    CHECK_OK(transport_tls_peer(w.hosts[1].transport, 2, address, NULL));
    WIRE_UNTIL(&w, w.hosts[1].says);
    CHECK_CONTAINS(w.hosts[1].said, "node 2 (127.0.0.1:");
    CHECK_CONTAINS(w.hosts[1].said, "within 50 ms");
    first = accept(fd, NULL, NULL);
    raw_wait(&w, &(struct raw){.fd = fd}); /* somebody dials */
    second = accept(fd, NULL, NULL);
    CU_ASSERT(first >= 0 && second >= 0);
    close(first);
    close(second);
    close(fd);
    wire_fini(&w);
}

static void crowd_of_strangers_does_not_keep_us_out(void)
{
    enum { CROWD = 100 };
    static struct raw crowd[CROWD];
    struct wire w;
    unsigned cut = 0;

    wire_init(&w, 2);
    for (int i = 0; i < CROWD; i++) {
        raw_dial(&w, &crowd[i], 2);
        loop_run_ready(w.world.loop);
    }
    wire_connect(&w);
    still_talk(&w);
    for (int i = 0; i < CROWD; i++) {
        char byte;

        cut += recv(crowd[i].fd, &byte, 1, MSG_DONTWAIT) == 0;
        raw_close(&crowd[i]);
    }
    CHECK_EQ(cut, CROWD - 63); /* 64 wait; the last to come is ours */
    CHECK_CONTAINS(w.hosts[2].said, "the oldest of 64");
    wire_fini(&w);
}

/* -- arguments ------------------------------------------------------------- */

static void bad_arguments_are_refused_with_their_name(void)
{
    struct wire w;
    struct diag why;

    wire_init(&w, 2);
    wire_args(&w, 3)->node = 65;
    CHECK_ERR(transport_tls_open(wire_args(&w, 3), &why, &w.hosts[3].transport),
              E_CONFIG);
    CHECK_CONTAINS(why.text, "node 65: numbers are 1 to 64");
    wire_args(&w, 3)->node = 3;
    wire_args(&w, 3)->host = "a b";
    CHECK_ERR(transport_tls_open(wire_args(&w, 3), &why, &w.hosts[3].transport),
              E_CONFIG);
    CHECK_CONTAINS(why.text, "host name");
    wire_args(&w, 3)->host = "h3";
    wire_args(&w, 3)->listen = "localhost:5678";
    CHECK_ERR(transport_tls_open(wire_args(&w, 3), &why, &w.hosts[3].transport),
              E_CONFIG);
    CHECK_CONTAINS(why.text, "listen: \"localhost\": not the numbers");
    wire_args(&w, 3)->listen = "192.0.2.1:5678";
    CU_ASSERT(transport_tls_open(wire_args(&w, 3), &why,
                                 &w.hosts[3].transport) != E_OK);
    CHECK_CONTAINS(why.text, "cannot listen on 192.0.2.1:5678: Cannot assign");
    CHECK_ERR(transport_tls_peer(w.hosts[1].transport, 2, "h2", &why),
              E_CONFIG);
    CHECK_CONTAINS(why.text, "node 2: \"h2\": no port");
    CHECK_ERR(transport_tls_peer(w.hosts[1].transport, 0, "127.0.0.1:1", &why),
              E_CONFIG);
    CHECK_ERR(transport_send(w.hosts[1].transport, 0, "x", 1), E_CLOSED);
    CHECK_ERR(transport_send(w.hosts[1].transport, 65, "x", 1), E_CLOSED);
    CHECK_ERR(transport_send(w.hosts[1].transport, 2, "x", 1), E_CLOSED);
    wire_fini(&w);
}

static const struct test tests[] = {
    TEST(wrong_key_is_said_at_both_ends_once),
    TEST(another_cluster_with_the_same_key_is_refused),
    TEST(other_node_at_the_address_is_refused),
    TEST(peer_with_our_own_number_is_refused),
    TEST(newer_run_replaces_the_older_which_stays_out),
    TEST(second_host_under_a_number_is_refused_while_the_first_is_here),
    TEST(same_run_that_dials_again_replaces_its_connection),
    TEST(older_run_is_refused_even_at_the_last_moment),
    TEST(peer_without_a_common_version_is_refused),
    TEST(plain_bytes_are_cut),
    TEST(port_scanner_is_named),
    TEST(client_without_the_key_is_refused),
    TEST(server_with_a_certificate_and_no_key_is_refused),
    TEST(peer_with_the_key_that_talks_nonsense_is_cut),
    TEST(promise_beyond_the_limit_is_cut_before_it_is_kept),
    TEST(met_peer_that_talks_nonsense_is_lost_once),
    TEST(who_does_not_finish_its_handshake_is_cut_in_time),
    TEST(dialed_peer_that_is_silent_is_dialed_again),
    TEST(crowd_of_strangers_does_not_keep_us_out),
    TEST(bad_arguments_are_refused_with_their_name),
};
TEST_SUITE("base/transport_refuse", tests);
