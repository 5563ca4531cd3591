/* tests/unit/base/test_transport_tls.c - hosts that talk over loopback: what
 * arrives, what is lost, what is told.  Who is refused, and what strangers can
 * do, is in test_transport_refuse.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/base/wire.h"

#include <string.h>

/* -- what arrives ---------------------------------------------------------- */

static void hosts_meet_and_talk_in_order(void)
{
    struct wire w;

    wire_init(&w, 2);
    wire_connect(&w);
    CHECK_STR(w.hosts[1].heard, "met2.102 ");
    CHECK_STR(w.hosts[2].heard, "met1.101 ");
    wire_say(&w, 1, 2, "a");
    wire_say(&w, 1, 2, "b");
    wire_say(&w, 1, 2, "");
    wire_say(&w, 2, 1, "c");
    CHECK_STR(w.hosts[2].heard, "met1.101 ");
    WIRE_UNTIL(&w, w.hosts[2].messages == 3 && w.hosts[1].messages == 1);
    CHECK_STR(w.hosts[2].heard, "met1.101 1:a 1:b 1: ");
    CHECK_STR(w.hosts[1].heard, "met2.102 2:c ");
    CHECK_STR(w.hosts[1].said, "");
    wire_fini(&w);
}

static void three_hosts_are_three_pairs(void)
{
    struct wire w;

    wire_init(&w, 3);
    wire_connect(&w);
    for (uint32_t from = 1; from <= 3; from++)
        for (uint32_t to = 1; to <= 3; to++)
            wire_say(&w, from, to, "x");
    WIRE_UNTIL(&w, w.hosts[1].messages == 3 && w.hosts[2].messages == 3 &&
                       w.hosts[3].messages == 3);
    CHECK_EQ(w.hosts[1].mets, 2);
    CHECK_EQ(w.hosts[2].mets, 2);
    CHECK_EQ(w.hosts[3].mets, 2);
    wire_fini(&w);
}

static void host_reaches_itself_but_never_inside_the_send(void)
{
    struct wire w;

    wire_init(&w, 1);
    wire_say(&w, 1, 1, "a");
    wire_say(&w, 1, 1, "b");
    CHECK_STR(w.hosts[1].heard, "");
    loop_run_ready(w.world.loop);
    CHECK_STR(w.hosts[1].heard, "1:a 1:b ");
    wire_say(&w, 1, 1, "never heard");
    wire_fini(&w);
}

static void largest_message_arrives_whole_among_small_ones(void)
{
    static uint8_t bulk[TRANSPORT_MESSAGE_BYTES_MAX];
    struct iovec iov[3] = {
        {bulk,       100              },
        {bulk + 100, 0                },
        {bulk + 100, sizeof bulk - 100},
    };
    struct wire w;

    wire_init(&w, 2);
    wire_connect(&w);
    pattern_fill(bulk, sizeof bulk, 7, 0);
    w.hosts[2].pattern_seed = 7;
    for (int i = 0; i < 3; i++) {
        wire_say(&w, 1, 2, "small");
        CHECK_OK(transport_sendv(w.hosts[1].transport, 2, iov, 3));
    }
    WIRE_UNTIL(&w, w.hosts[2].messages == 6);
    CHECK_STR(w.hosts[2].heard,
              "met1.101 1:small 1:4194304 good 1:small 1:4194304 good "
              "1:small 1:4194304 good ");
    iov[1].iov_len = 1;
    CHECK_ERR(transport_sendv(w.hosts[1].transport, 2, iov, 3), E_TOO_BIG);
    wire_fini(&w);
}

/* Every size around the borders of records, chunks and buffers. */
static void messages_of_all_sizes_arrive_whole(void)
{
    enum { SENT_AT_ONCE = 16 }; /* the queue has room for the largest */
    static const size_t edges[] = {1 << 14, 1 << 15, 1 << 16, 1 << 18};
    static uint8_t bytes[(1 << 18) + 64];
    unsigned sent = 0;
    struct wire w;

    wire_init(&w, 2);
    wire_connect(&w);
    pattern_fill(bytes, sizeof bytes, 3, 0);
    w.hosts[2].pattern_seed = 3;
    w.hosts[2].quiet = true;
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        for (size_t n = edges[i] - 24; n < edges[i] + 24; n++) {
            CHECK_OK(transport_send(w.hosts[1].transport, 2, bytes, n));
            w.hosts[2].expected_bytes += n;
            if (++sent % SENT_AT_ONCE == 0)
                WIRE_UNTIL(&w, w.hosts[2].messages == sent);
        }
    }
    CHECK_EQ(w.hosts[2].bad, 0);
    CHECK_EQ(w.hosts[2].bytes, w.hosts[2].expected_bytes);
    wire_fini(&w);
}

/* -- flow control ---------------------------------------------------------- */

enum { NUMBERS = 50000 / TEST_ONE_IN };

/* Send numbers until there is no room. */
static void send_numbers(struct wire_host *h)
{
    while (h->next < NUMBERS) {
        enum err e =
            transport_send(h->transport, h->to, &h->next, sizeof h->next);

        if (e) {
            CHECK_ERR(e, E_AGAIN);
            h->refused++;
            return;
        }
        h->next++;
    }
}

static void thousands_arrive_in_order_through_a_bounded_queue(void)
{
    struct wire w;

    wire_init(&w, 0);
    for (uint32_t node = 1; node <= 2; node++) {
        wire_args(&w, node)->queue_bytes_max = 20000;
        wire_open(&w, node);
        w.hosts[node].to = 3 - node;
        w.hosts[node].on_writable = send_numbers;
        w.hosts[node].numbers = w.hosts[node].quiet = true;
    }
    wire_connect(&w);
    send_numbers(&w.hosts[1]);
    send_numbers(&w.hosts[2]);
    WIRE_UNTIL(&w, w.hosts[1].messages == NUMBERS &&
                       w.hosts[2].messages == NUMBERS);
    CHECK_EQ(w.hosts[1].bad, 0);
    CHECK_EQ(w.hosts[2].bad, 0);
    CU_ASSERT(w.hosts[1].refused > 0);
    /* one answer for each refusal */
    CHECK_EQ(w.hosts[1].writables, w.hosts[1].refused);
    CHECK_EQ(w.hosts[2].writables, w.hosts[2].refused);
    wire_fini(&w);
}

static void queue_to_oneself_is_bounded_too(void)
{
    struct wire w;

    wire_init(&w, 0);
    wire_args(&w, 1)->queue_bytes_max = 1000;
    wire_open(&w, 1);
    w.hosts[1].to = 1;
    w.hosts[1].on_writable = send_numbers;
    w.hosts[1].numbers = w.hosts[1].quiet = true;
    send_numbers(&w.hosts[1]);
    CHECK_EQ(w.hosts[1].refused, 1);
    WIRE_UNTIL(&w, w.hosts[1].messages == NUMBERS);
    CHECK_EQ(w.hosts[1].bad, 0);
    CHECK_EQ(w.hosts[1].writables, w.hosts[1].refused);
    wire_fini(&w);
}

/* A peer that does not read: the queue stays in its bound, others go on. */
static void peer_that_does_not_read_fills_only_its_own_queue(void)
{
    static uint8_t bulk[1 << 20];
    struct wire w;
    struct raw raw;
    unsigned sent = 0;
    enum err e;

    wire_init(&w, 2);
    wire_connect(&w);
    raw_meet(&w, &raw, 2, 1, 100); /* node 1's newest run, that sleeps */
    do {
        e = transport_send(w.hosts[2].transport, 1, bulk, sizeof bulk);
        sent += !e;
        loop_run_ready(w.world.loop);
    } while (!e && sent < 1000);
    CHECK_ERR(e, E_AGAIN);
    CU_ASSERT(sent >= 8 && sent < 100);
    raw_close(&raw);
    WIRE_UNTIL(&w, w.hosts[2].losts == 2);
    CHECK_EQ(w.hosts[2].writables, 0);
    wire_fini(&w);
}

static void new_keys_on_the_way_are_not_noticed(void)
{
    struct wire w;

    wire_init(&w, 0);
    for (uint32_t node = 1; node <= 2; node++) {
        wire_args(&w, node)->rekey_records = 2;
        wire_open(&w, node);
        w.hosts[node].numbers = w.hosts[node].quiet = true;
        w.hosts[node].to = 3 - node;
    }
    wire_connect(&w);
    for (unsigned i = 1; i <= 100; i++) {
        for (uint32_t node = 1; node <= 2; node++) {
            CHECK_OK(transport_send(w.hosts[node].transport, 3 - node,
                                    &w.hosts[node].next, 4));
            w.hosts[node].next++;
        }
        WIRE_UNTIL(&w, w.hosts[1].messages == i && w.hosts[2].messages == i);
    }
    CHECK_EQ(w.hosts[1].bad, 0);
    CHECK_EQ(w.hosts[2].bad, 0);
    CHECK_EQ(w.hosts[1].losts, 0);
    wire_fini(&w);
}

/* -- lost ------------------------------------------------------------------ */

static void host_that_ends_is_lost_once_and_met_again(void)
{
    struct wire w;

    wire_init(&w, 2);
    wire_connect(&w);
    for (uint32_t node = 1; node <= 2; node++) { /* who dials, who answers */
        struct wire_host *ends = &w.hosts[node], *stays = &w.hosts[3 - node];

        stays->losts = stays->mets = ends->mets = 0;
        wire_close(&w, node);
        WIRE_UNTIL(&w, stays->losts == 1);
        CHECK_ERR(transport_send(stays->transport, node, "x", 1), E_CLOSED);
        wire_args(&w, node)->incarnation += 100;
        wire_open(&w, node);
        wire_announce(&w);
        WIRE_UNTIL(&w, stays->mets == 1 && ends->mets == 1);
        wire_say(&w, 3 - node, node, "again");
        WIRE_UNTIL(&w, ends->messages == 1);
        CHECK_EQ(stays->losts, 1);
    }
    CHECK_STR(w.hosts[1].heard, "met2.102 met2.102 2:again lost2 met2.202 ");
    wire_fini(&w);
}

static void dialer_goes_on_until_there_is_somebody(void)
{
    struct wire w;
    char address[32];

    wire_init(&w, 2);
    snprintf(address, sizeof address, "127.0.0.1:%u",
             transport_tls_port(w.hosts[2].transport));
    wire_close(&w, 2);
    CHECK_OK(transport_tls_peer(w.hosts[1].transport, 2, address, NULL));
    WIRE_UNTIL(&w, w.hosts[1].says > 0);
    CHECK_CONTAINS(w.hosts[1].said, "node 2 (127.0.0.1:");
    CHECK_CONTAINS(w.hosts[1].said, "cannot be reached: Connection refused");
    wire_args(&w, 2)->listen = address;
    wire_open(&w, 2);
    WIRE_UNTIL(&w, w.hosts[1].mets == 1 && w.hosts[2].mets == 1);
    CHECK_EQ(w.hosts[1].says, 1);
    wire_fini(&w);
}

static void new_address_is_dialed_instead_of_the_old_one(void)
{
    struct wire w;

    wire_init(&w, 2);
    /* nobody answers there: a listener that is full, or none at all */
    CHECK_OK(transport_tls_peer(w.hosts[1].transport, 2, "127.0.0.1:1", NULL));
    wire_announce(&w);
    WIRE_UNTIL(&w, w.hosts[1].mets == 1);
    wire_fini(&w);
}

static void forgotten_peer_is_lost_and_not_dialed(void)
{
    struct wire w;

    wire_init(&w, 3);
    wire_connect(&w);
    transport_tls_forget(w.hosts[1].transport, 2);
    CHECK_ERR(transport_send(w.hosts[1].transport, 2, "x", 1), E_CLOSED);
    CHECK_EQ(w.hosts[1].losts, 0); /* later, never inside the call */
    WIRE_UNTIL(&w, w.hosts[1].losts == 1 && w.hosts[2].losts == 1);
    wire_say(&w, 1, 3, "x");
    wire_say(&w, 3, 2, "x");
    WIRE_UNTIL(&w, w.hosts[3].messages == 1 && w.hosts[2].messages == 1);
    CHECK_EQ(w.hosts[1].mets, 2);
    wire_announce(&w);
    WIRE_UNTIL(&w, w.hosts[1].mets == 3 && w.hosts[2].mets == 3);
    CHECK_EQ(w.hosts[1].losts, 1);
    wire_fini(&w);
}

static void forget_sender(struct wire_host *h)
{
    transport_tls_forget(h->transport, h->to);
}

static void ear_may_forget_the_peer_that_it_hears(void)
{
    struct wire w;

    wire_init(&w, 2);
    wire_connect(&w);
    w.hosts[2].to = 1;
    w.hosts[2].on_message = forget_sender;
    wire_say(&w, 1, 2, "first");
    wire_say(&w, 1, 2, "second");
    WIRE_UNTIL(&w, w.hosts[2].losts == 1);
    CHECK_EQ(w.hosts[2].messages, 1);
    wire_fini(&w);
}

static void closing_with_a_full_queue_loses_it_and_nothing_else(void)
{
    static uint8_t bulk[1 << 20];
    unsigned sent = 0;
    struct wire w;

    wire_init(&w, 3);
    wire_connect(&w);
    while (!transport_send(w.hosts[1].transport, 2, bulk, sizeof bulk))
        sent++;
    wire_say(&w, 3, 2, "x");
    wire_close(&w, 1);
    w.hosts[2].quiet = true;
    WIRE_UNTIL(&w, w.hosts[2].losts == 1 && w.hosts[3].losts == 1);
    CU_ASSERT(w.hosts[2].messages >= 1 && w.hosts[2].messages < 1 + sent);
    wire_say(&w, 2, 3, "y");
    WIRE_UNTIL(&w, w.hosts[3].messages == 1);
    wire_fini(&w);
}

/* Connections break at any point of a stream: what arrives between a meeting
 * and its loss is the beginning of what was sent in it. */
static void what_arrives_is_a_beginning_of_what_was_sent(void)
{
    static uint8_t bytes[100000];
    uint64_t random = 1;
    struct wire w;

    wire_init(&w, 2);
    wire_connect(&w);
    w.hosts[2].quiet = true;
    w.hosts[2].numbers = true;
    for (unsigned round = 1; round <= 100 / TEST_ONE_IN + 1; round++) {
        unsigned count;

        w.hosts[2].messages = 0;
        for (count = 0; count < 50; count++) {
            size_t size;

            random = random * 6364136223846793005u + 1442695040888963407u;
            size = 4 + (random >> 33) % (sizeof bytes - 4);
            memcpy(bytes, &count, 4);
            CHECK_OK(transport_send(w.hosts[1].transport, 2, bytes, size));
            if ((random >> 60) == 0)
                loop_run_ready(w.world.loop);
        }
        transport_tls_forget(w.hosts[1 + (round & 1)].transport,
                             2 - (round & 1));
        WIRE_UNTIL(&w, w.hosts[1].losts == round && w.hosts[2].losts == round);
        CU_ASSERT(w.hosts[2].messages <= count);
        wire_announce(&w);
        WIRE_UNTIL(&w, w.hosts[1].mets == round + 1 &&
                           w.hosts[2].mets == round + 1);
    }
    CHECK_EQ(w.hosts[2].bad, 0);
    wire_fini(&w);
}

/* -- two threads ----------------------------------------------------------- */

/* Two reactors, each with its transport, throw a ball. */
struct player {
    struct transport_ear ear;
    struct transport_tls_args args;
    struct transport *transport;
    struct reactor *reactor;
    struct loop *home;
    struct task task, over;
    char address[32]; /* of node 2, once it listens */
    unsigned left;
    bool *over_flag;
};

static void player_over(struct task *t)
{
    *container_of(t, struct player, over)->over_flag = true;
}

static void player_tell_home(struct player *p)
{
    loop_post(p->home, &p->over);
}

static void player_catch(struct transport_ear *ear, uint32_t from,
                         const void *bytes, size_t count)
{
    struct player *p = container_of(ear, struct player, ear);

    if (p->left-- == 0)
        player_tell_home(p);
    else
        ASSERT(!transport_send(p->transport, from, bytes, count));
}

static void player_alone(struct transport_ear *ear, uint32_t from)
{
    (void)ear;
    (void)from;
}

static void player_throw(struct transport_ear *ear, uint32_t host,
                         uint64_t incarnation)
{
    struct player *p = container_of(ear, struct player, ear);

    (void)incarnation;
    if (p->args.node == 1)
        ASSERT(!transport_send(p->transport, host, "ball", 4));
}

static void player_open(struct task *t)
{
    struct player *p = container_of(t, struct player, task);

    ASSERT(!transport_tls_open(&p->args, NULL, &p->transport));
    snprintf(p->address, sizeof p->address, "127.0.0.1:%u",
             transport_tls_port(p->transport));
    player_tell_home(p);
}

static void player_dial(struct task *t)
{
    struct player *p = container_of(t, struct player, task);

    ASSERT(!transport_tls_peer(p->transport, 2, p->address, NULL));
}

static void player_close(struct task *t)
{
    struct player *p = container_of(t, struct player, task);

    transport_close(p->transport);
    player_tell_home(p);
}

static void player_do(struct world *w, struct player *p,
                      void (*what)(struct task *))
{
    bool done = false;

    p->over_flag = &done;
    p->task.run = what;
    loop_post(reactor_loop(p->reactor), &p->task);
    world_run_until(w, &done);
}

static void hosts_on_two_reactors_talk(void)
{
    static const struct cluster_key key = {
        {1, 2, 3}
    };
    struct player p[2];
    bool game_over = false;
    struct world w;

    world_init(&w);
    for (uint32_t i = 0; i < 2; i++) {
        p[i] = (struct player){
            .ear = {.receive = player_catch,
                    .lost = player_alone,
                    .met = player_throw},
            .home = w.loop,
            .over.run = player_over,
            .left = 500,
        };
        CHECK_OK_FATAL(
            reactor_start(&(struct loop_args){.name = "t"}, &p[i].reactor));
        p[i].args = (struct transport_tls_args){
            .loop = reactor_loop(p[i].reactor),
            .ear = &p[i].ear,
            .node = i + 1,
            .incarnation = 1,
            .host = "h",
            .cluster = "demo",
            .key = &key,
            .listen = "127.0.0.1:0",
        };
        player_do(&w, &p[i], player_open);
    }
    memcpy(p[0].address, p[1].address, sizeof p[0].address);
    p[1].over_flag = p[0].over_flag = &game_over;
    p[0].task.run = player_dial;
    loop_post(reactor_loop(p[0].reactor), &p[0].task);
    world_run_until(&w, &game_over);
    for (int i = 0; i < 2; i++) {
        player_do(&w, &p[i], player_close);
        reactor_stop(p[i].reactor);
    }
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(hosts_meet_and_talk_in_order),
    TEST(three_hosts_are_three_pairs),
    TEST(host_reaches_itself_but_never_inside_the_send),
    TEST(largest_message_arrives_whole_among_small_ones),
    TEST(messages_of_all_sizes_arrive_whole),
    TEST(thousands_arrive_in_order_through_a_bounded_queue),
    TEST(queue_to_oneself_is_bounded_too),
    TEST(peer_that_does_not_read_fills_only_its_own_queue),
    TEST(new_keys_on_the_way_are_not_noticed),
    TEST(host_that_ends_is_lost_once_and_met_again),
    TEST(dialer_goes_on_until_there_is_somebody),
    TEST(new_address_is_dialed_instead_of_the_old_one),
    TEST(forgotten_peer_is_lost_and_not_dialed),
    TEST(ear_may_forget_the_peer_that_it_hears),
    TEST(closing_with_a_full_queue_loses_it_and_nothing_else),
    TEST(what_arrives_is_a_beginning_of_what_was_sent),
    TEST(hosts_on_two_reactors_talk),
};
TEST_SUITE("base/transport_tls", tests);
