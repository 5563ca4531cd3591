/* tests/unit/lockmgr/test_range_right.c - byte-range locks of two nodes and
 * their master: what programs see, and what it costs in messages.  A network
 * that delivers at once; test_range_model.c has the others.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

#include <string.h>

enum { NODES = 2, QUEUE = 1024, LOCKS = 32, MAX = 600 };

struct packet {
    bool to_master;
    struct lm_range_request request;
    struct lm_range locks[LOCKS];
    struct lm_range_answer answer;
};

struct node {
    struct lm_range_client_sink sink;
    struct desk *desk;
    struct lm_range_client *client;
    struct lm_range_call *ended; /* the last one */
    enum err error;
    struct lm_range other;
};

struct desk {
    struct lm_range_sink sink;
    struct lm_range_master *master;
    struct node nodes[NODES];
    struct packet queue[QUEUE];
    unsigned first, last;
    unsigned messages; /* in both directions */
};

static void from_master(struct lm_range_sink *sink,
                        const struct lm_range_answer *a)
{
    struct desk *d = container_of(sink, struct desk, sink);

    d->messages++;
    d->queue[d->last++ % QUEUE] = (struct packet){.answer = *a};
}

static void from_client(struct lm_range_client_sink *sink,
                        const struct lm_range_client_effect *effect)
{
    struct node *n = container_of(sink, struct node, sink);
    struct packet *p = &n->desk->queue[n->desk->last % QUEUE];

    switch (effect->type) {
    case LM_RANGE_SEND:
        n->desk->messages++;
        n->desk->last++;
        *p = (struct packet){.to_master = true, .request = *effect->request};
        CU_ASSERT_FATAL(p->request.lock_count <= LOCKS);
        for (size_t i = 0; i < p->request.lock_count; i++)
            p->locks[i] = p->request.locks[i];
        return;
    case LM_RANGE_TELL:
        CHECK_OK(lm_range_master_step(
            n->desk->master,
            &(struct lm_range_event){.type = LM_RANGE_REPORT,
                                     .report = effect->report},
            &n->desk->sink, NULL));
        return;
    case LM_RANGE_RESULT:
        n->ended = effect->call;
        n->error = effect->error;
        if (effect->other)
            n->other = *effect->other;
        return;
    }
}

/* Deliver the packet that is behind `skip` others. */
static void deliver(struct desk *d, unsigned skip)
{
    struct packet p = d->queue[(d->first + skip) % QUEUE];

    CU_ASSERT_FATAL(d->first + skip < d->last);
    for (; skip > 0; skip--)
        d->queue[(d->first + skip) % QUEUE] =
            d->queue[(d->first + skip - 1) % QUEUE];
    d->first++;
    p.request.locks = p.locks;
    if (p.to_master)
        CHECK_OK(lm_range_master_step(
            d->master,
            &(struct lm_range_event){.type = LM_RANGE_REQUEST,
                                     .request = &p.request},
            &d->sink, NULL));
    else
        CHECK_OK(lm_range_client_step(
            d->nodes[p.answer.to.node].client,
            &(struct lm_range_client_event){.type = LM_RANGE_ANSWER,
                                            .answer = &p.answer},
            &d->nodes[p.answer.to.node].sink, NULL));
}

static void settle(struct desk *d)
{
    while (d->first != d->last)
        deliver(d, 0);
}

static void step(struct desk *d, unsigned node,
                 struct lm_range_client_event event)
{
    CHECK_OK(lm_range_client_step(d->nodes[node].client, &event,
                                  &d->nodes[node].sink, NULL));
    settle(d);
}

static void master_step(struct desk *d, struct lm_range_event event)
{
    CHECK_OK(lm_range_master_step(d->master, &event, &d->sink, NULL));
    settle(d);
}

static struct desk *desk_new(void)
{
    struct desk *d = calloc(1, sizeof *d);

    CU_ASSERT_FATAL(d != NULL);
    d->sink.put = from_master;
    CHECK_OK_FATAL(lm_range_master_new(1, MAX, &d->master));
    master_step(d, (struct lm_range_event){.type = LM_RANGE_SERVE});
    for (unsigned i = 0; i < NODES; i++) {
        d->nodes[i].desk = d;
        d->nodes[i].sink.put = from_client;
        CHECK_OK_FATAL(lm_range_client_new(&(struct lm_peer){i, 100}, MAX,
                                           &d->nodes[i].client));
        step(
            d, i,
            (struct lm_range_client_event){.type = LM_RANGE_EPOCH, .epoch = 1});
        step(d, i, (struct lm_range_client_event){.type = LM_RANGE_CONFIRM});
    }
    return d;
}

static void desk_free(struct desk *d)
{
    for (unsigned i = 0; i < NODES; i++)
        lm_range_client_free(d->nodes[i].client);
    lm_range_master_free(d->master);
    free(d);
}

static struct lm_range_call set_call(enum lm_range_kind kind, uint64_t key,
                                     uint64_t file, enum lm_range_type type,
                                     uint64_t byte)
{
    return (struct lm_range_call){
        .op = LM_RANGE_CALL_SET,
        .range = {.file = file,
                  .owner = {.kind = kind, .key = key},
                  .type = type,
                  .first = byte,
                  .last = byte,
                  .pid = 4711}
    };
}

/* E_TIMEOUT: it has not ended. */
static enum err call(struct desk *d, unsigned node, struct lm_range_call *c)
{
    d->nodes[node].ended = NULL;
    step(d, node,
         (struct lm_range_client_event){.type = LM_RANGE_CALL, .call = c});
    return d->nodes[node].ended == c ? d->nodes[node].error : E_TIMEOUT;
}

static enum err ofd(struct desk *d, unsigned node, enum lm_range_type type,
                    uint64_t byte)
{
    struct lm_range_call c = set_call(LM_OFD, 1, 1, type, byte);

    return call(d, node, &c);
}

/* F_OFD_GETLK of an exclusive lock: the node in the way, or NODES. */
static unsigned ofd_test(struct desk *d, unsigned node, uint64_t byte)
{
    struct lm_range_call c = set_call(LM_OFD, 1, 1, LM_WRLCK, byte);

    c.op = LM_RANGE_CALL_TEST;
    CHECK_OK(call(d, node, &c));
    return d->nodes[node].other.type == LM_UNLCK
               ? NODES
               : d->nodes[node].other.owner.peer.node;
}

/* block/file-posix.c: a shared lock on byte 100 + n for each permission that
 * is held, on 200 + n for each that is not shared; a conflict is an exclusive
 * lock that could not be had on the other byte.  Permissions: 0 read, 1 write,
 * 3 resize. */
static enum err qemu_open(struct desk *d, unsigned node)
{
    static const uint64_t held[] = {0, 1, 3}, unshared[] = {1, 3};

    for (unsigned i = 0; i < ARRAY_LEN(held); i++)
        if (ofd(d, node, LM_RDLCK, 100 + held[i]))
            return E_AGAIN;
    for (unsigned i = 0; i < ARRAY_LEN(unshared); i++)
        if (ofd(d, node, LM_RDLCK, 200 + unshared[i]))
            return E_AGAIN;
    for (unsigned i = 0; i < ARRAY_LEN(held); i++)
        if (ofd_test(d, node, 200 + held[i]) != NODES)
            return E_BUSY;
    for (unsigned i = 0; i < ARRAY_LEN(unshared); i++)
        if (ofd_test(d, node, 100 + unshared[i]) != NODES)
            return E_BUSY;
    return E_OK;
}

static void qemu_close(struct desk *d, unsigned node)
{
    struct lm_range_call c = {
        .op = LM_RANGE_CALL_DROP,
        .range = {.file = 1, .owner = {.kind = LM_OFD, .key = 1}}
    };

    CHECK_OK(call(d, node, &c));
}

static void qemu_image_locking_keeps_a_second_host_out(void)
{
    struct desk *d = desk_new();

    CHECK_OK(qemu_open(d, 0));
    CHECK_ERR(qemu_open(d, 1), E_BUSY);
    CHECK_EQ(d->nodes[1].other.owner.peer.node, 0);
    CHECK_EQ(d->nodes[1].other.pid, 4711);
    CHECK_EQ(d->nodes[1].other.type, LM_RDLCK);
    CHECK_EQ(d->nodes[1].other.first, 201);
    qemu_close(d, 1);
    qemu_close(d, 0);
    CHECK_OK(qemu_open(d, 1));
    desk_free(d);
}

static void qemu_opens_an_image_with_one_request(void)
{
    struct desk *d = desk_new();

    CHECK_OK(qemu_open(d, 0)); /* ten calls */
    CHECK_EQ(d->messages, 2);  /* the request and its answer */
    qemu_close(d, 0);
    CHECK_EQ(d->messages, 2);
    desk_free(d);
}

static void getlk_of_another_node_calls_the_locks_back(void)
{
    struct desk *d = desk_new();

    CHECK_OK(ofd(d, 0, LM_WRLCK, 5));
    CHECK_EQ(ofd_test(d, 1, 5), 0);
    CHECK_EQ(ofd_test(d, 1, 6), NODES);
    CHECK_ERR(ofd(d, 1, LM_RDLCK, 5), E_AGAIN);
    CHECK_OK(ofd(d, 0, LM_UNLCK, 5)); /* at the master now */
    CHECK_OK(ofd(d, 1, LM_RDLCK, 5));
    desk_free(d);
}

static void a_node_that_is_alone_again_decides_alone_again(void)
{
    struct desk *d = desk_new();

    CHECK_OK(ofd(d, 0, LM_WRLCK, 5));
    CHECK_EQ(ofd_test(d, 1, 5), 0);
    CHECK_OK(ofd(d, 0, LM_UNLCK, 5));
    CHECK_OK(ofd(d, 1, LM_WRLCK, 5));
    d->messages = 0;
    for (int i = 0; i < 100; i++) {
        CHECK_OK(ofd(d, 1, LM_UNLCK, 5));
        CHECK_OK(ofd(d, 1, LM_WRLCK, 5));
    }
    CHECK_EQ(d->messages, 0);
    desk_free(d);
}

/* A call of which nothing is delivered yet. */
static void begin(struct desk *d, unsigned node, struct lm_range_call *c)
{
    d->nodes[node].ended = NULL;
    CHECK_OK(lm_range_client_step(
        d->nodes[node].client,
        &(struct lm_range_client_event){.type = LM_RANGE_CALL, .call = c},
        &d->nodes[node].sink, NULL));
}

static void a_recall_may_overtake_the_right_itself(void)
{
    struct lm_range_call a = set_call(LM_OFD, 1, 1, LM_WRLCK, 5), b = a;
    struct desk *d = desk_new();

    begin(d, 0, &a);
    begin(d, 1, &b);
    deliver(d, 0); /* a's request; the right sets out */
    deliver(d, 0); /* b's; the recall sets out */
    deliver(d, 1); /* the recall comes first */
    settle(d);
    CU_ASSERT_PTR_EQUAL(d->nodes[0].ended, &a);
    CHECK_OK(d->nodes[0].error);
    CU_ASSERT_PTR_EQUAL(d->nodes[1].ended, &b);
    CHECK_ERR(d->nodes[1].error, E_AGAIN);
    desk_free(d);
}

static void a_lost_recall_is_sent_again(void)
{
    struct lm_range_call b = set_call(LM_OFD, 1, 1, LM_WRLCK, 5);
    struct desk *d = desk_new();

    CHECK_OK(ofd(d, 0, LM_WRLCK, 5));
    begin(d, 1, &b);
    deliver(d, 0);
    d->first = d->last; /* the recall is lost */
    master_step(d, (struct lm_range_event){
                       .type = LM_RANGE_AGAIN, .peer = {0, 100}
    });
    CU_ASSERT_PTR_EQUAL(d->nodes[1].ended, &b);
    desk_free(d);
}

/* The master gave it to a request of which the node knows nothing any more. */
static void a_right_that_came_with_an_answer_to_nobody_goes_back(void)
{
    struct lm_range_call b = set_call(LM_OFD, 1, 1, LM_WRLCK, 5);
    const struct lm_range_request late = {
        .op = LM_RANGE_SET,
        .from = {0,                                           100},
        .epoch = 1,
        .slot = 200,
        .seq = 1,
        .range = { .file = 1,
                 .owner = {.kind = LM_OFD, .peer = {0, 100}},
                 .type = LM_RDLCK}
    };
    struct desk *d = desk_new();

    master_step(
        d, (struct lm_range_event){.type = LM_RANGE_REQUEST, .request = &late});
    CHECK_OK(call(d, 1, &b));
    desk_free(d);
}

static void who_waits_gets_the_lock_when_it_is_free(void)
{
    struct lm_range_call want = set_call(LM_OFD, 1, 1, LM_WRLCK, 5);
    struct desk *d = desk_new();

    want.waits = true;
    CHECK_OK(ofd(d, 0, LM_RDLCK, 5));
    CHECK_ERR(call(d, 1, &want), E_TIMEOUT);
    qemu_close(d, 0);
    CU_ASSERT_PTR_EQUAL(d->nodes[1].ended, &want);
    CHECK_OK(d->nodes[1].error);
    desk_free(d);
}

static void a_canceled_wait_ends_without_the_lock(void)
{
    struct lm_range_call want = set_call(LM_OFD, 1, 1, LM_WRLCK, 5);
    struct desk *d = desk_new();

    want.waits = true;
    CHECK_OK(ofd(d, 0, LM_RDLCK, 5));
    CHECK_ERR(call(d, 1, &want), E_TIMEOUT);
    step(
        d, 1,
        (struct lm_range_client_event){.type = LM_RANGE_CANCEL, .call = &want});
    CHECK_ERR(d->nodes[1].error, E_CANCELED);
    qemu_close(d, 0);
    CHECK_OK(ofd(d, 0, LM_WRLCK, 5));
    desk_free(d);
}

static void a_close_ends_the_waits_of_its_owner(void)
{
    struct lm_range_call want = set_call(LM_OFD, 1, 1, LM_WRLCK, 5);
    struct desk *d = desk_new();

    want.waits = true;
    CHECK_OK(ofd(d, 0, LM_RDLCK, 5));
    CHECK_ERR(call(d, 1, &want), E_TIMEOUT);
    qemu_close(d, 1);
    qemu_close(d, 0);
    CHECK_OK(ofd(d, 0, LM_WRLCK, 5));
    desk_free(d);
}

static void processes_of_two_nodes_that_wait_in_a_circle_are_told(void)
{
    struct lm_range_call a = set_call(LM_POSIX, 1, 1, LM_WRLCK, 0);
    struct lm_range_call b = set_call(LM_POSIX, 1, 2, LM_WRLCK, 0);
    struct lm_range_call a_wants = b, b_wants = a;
    struct desk *d = desk_new();

    a_wants.waits = b_wants.waits = true;
    CHECK_OK(call(d, 0, &a)); /* each decided alone */
    CHECK_OK(call(d, 1, &b));
    CHECK_ERR(call(d, 0, &a_wants), E_TIMEOUT);
    CHECK_ERR(call(d, 1, &b_wants), E_DEADLOCK);
    b.range.type = LM_UNLCK;
    CHECK_OK(call(d, 1, &b));
    CU_ASSERT_PTR_EQUAL(d->nodes[0].ended, &a_wants);
    CHECK_OK(d->nodes[0].error);
    desk_free(d);
}

static void processes_of_one_node_that_wait_in_a_circle_are_told(void)
{
    struct lm_range_call a = set_call(LM_POSIX, 1, 1, LM_WRLCK, 0);
    struct lm_range_call b = set_call(LM_POSIX, 2, 2, LM_WRLCK, 0);
    struct lm_range_call a_wants = set_call(LM_POSIX, 1, 2, LM_WRLCK, 0);
    struct lm_range_call b_wants = set_call(LM_POSIX, 2, 1, LM_WRLCK, 0);
    struct desk *d = desk_new();

    a_wants.waits = b_wants.waits = true;
    CHECK_OK(call(d, 0, &a));
    CHECK_OK(call(d, 0, &b));
    CHECK_ERR(call(d, 0, &a_wants), E_TIMEOUT);
    CHECK_ERR(call(d, 0, &b_wants), E_DEADLOCK);
    desk_free(d);
}

static void what_a_fenced_node_decided_alone_is_free(void)
{
    struct lm_range_call want = set_call(LM_OFD, 1, 1, LM_WRLCK, 5);
    struct desk *d = desk_new();

    CHECK_OK(ofd(d, 0, LM_WRLCK, 5));
    CHECK_OK(lm_range_client_step(
        d->nodes[1].client,
        &(struct lm_range_client_event){.type = LM_RANGE_CALL, .call = &want},
        &d->nodes[1].sink, NULL)); /* the recall is not answered */
    d->nodes[1].ended = NULL;
    master_step(d, (struct lm_range_event){
                       .type = LM_RANGE_GONE, .peer = {0, 100}
    });
    CU_ASSERT_PTR_EQUAL(d->nodes[1].ended, &want);
    CHECK_OK(d->nodes[1].error);
    desk_free(d);
}

static void rights_and_locks_outlive_the_master(void)
{
    struct lm_range_call other = set_call(LM_OFD, 1, 2, LM_RDLCK, 5);
    struct desk *d = desk_new();

    CHECK_OK(ofd(d, 0, LM_WRLCK, 5)); /* alone */
    CHECK_OK(call(d, 0, &other));     /* shared, at the master */
    CHECK_OK(call(d, 1, &other));
    lm_range_master_free(d->master);
    CHECK_OK_FATAL(lm_range_master_new(2, MAX, &d->master));
    for (unsigned i = 0; i < NODES; i++)
        step(
            d, i,
            (struct lm_range_client_event){.type = LM_RANGE_EPOCH, .epoch = 2});
    master_step(d, (struct lm_range_event){.type = LM_RANGE_SERVE});
    for (unsigned i = 0; i < NODES; i++)
        step(d, i, (struct lm_range_client_event){.type = LM_RANGE_CONFIRM});
    d->messages = 0;
    CHECK_OK(ofd(d, 0, LM_WRLCK, 6));
    CHECK_EQ(d->messages, 0);
    other.range.type = LM_WRLCK;
    CHECK_ERR(call(d, 1, &other), E_AGAIN);
    CHECK_ERR(ofd(d, 1, LM_RDLCK, 5), E_AGAIN);
    desk_free(d);
}

static void a_frozen_node_decides_nothing(void)
{
    struct lm_range_call c = set_call(LM_OFD, 1, 1, LM_WRLCK, 6);
    struct desk *d = desk_new();

    CHECK_OK(ofd(d, 0, LM_WRLCK, 5));
    step(d, 0, (struct lm_range_client_event){.type = LM_RANGE_FREEZE});
    CHECK_ERR(call(d, 0, &c), E_TIMEOUT);
    step(d, 0, (struct lm_range_client_event){.type = LM_RANGE_CONFIRM});
    CU_ASSERT_PTR_EQUAL(d->nodes[0].ended, &c);
    desk_free(d);
}

static void a_request_that_comes_twice_is_carried_out_once(void)
{
    struct desk *d = desk_new();
    struct packet first;

    CHECK_OK(ofd(d, 0, LM_RDLCK, 5));
    CHECK_EQ(ofd_test(d, 1, 5), 0); /* no rights from here on */
    d->first = d->last;
    CHECK_OK(ofd(d, 1, LM_RDLCK, 5));
    first = d->queue[(d->last - 2) % QUEUE]; /* the request, then its answer */
    CU_ASSERT_TRUE(first.to_master);
    qemu_close(d, 1);
    CHECK_OK(lm_range_master_step(
        d->master,
        &(struct lm_range_event){.type = LM_RANGE_REQUEST,
                                 .request = &first.request},
        &d->sink, NULL));
    settle(d);
    CHECK_OK(ofd(d, 0, LM_WRLCK, 5)); /* nothing is held by node 1 */
    desk_free(d);
}

static void locks_beyond_the_bound_are_refused(void)
{
    struct desk *d = desk_new();
    unsigned i = 0;

    while (i < MAX && ofd(d, 0, LM_RDLCK, 10 * i) == E_OK)
        i++;
    CU_ASSERT_TRUE(i > MAX / 2);
    CU_ASSERT_TRUE(i < MAX);
    CHECK_ERR(ofd(d, 0, LM_RDLCK, 10 * MAX), E_NOLCK);
    CHECK_OK(ofd(d, 0, LM_UNLCK, 0));
    desk_free(d);
}

static void a_return_of_what_is_no_lock_is_refused(void)
{
    struct lm_range bad = {
        .file = 1,
        .owner = {.kind = LM_OFD, .peer = {0, 100}},
        .type = LM_RDLCK,
        .first = 9,
        .last = 3
    };
    const struct lm_range_request q = {
        .op = LM_RANGE_RETURN,
        .from = {0, 100},
        .epoch = 1,
        .slot = 7,
        .seq = 1,
        .range = {.file = 1},
        .right = 1,
        .locks = &bad,
        .lock_count = 1
    };
    const struct lm_range_event e = {.type = LM_RANGE_REQUEST, .request = &q};
    struct desk *d = desk_new();
    struct diag why;

    CHECK_ERR(lm_range_master_step(d->master, &e, &d->sink, &why), E_PROTOCOL);
    CHECK_CONTAINS(why.text, "node 0: returned lock 0: bytes 9 to 3");
    bad.last = 20;
    bad.owner.peer.node = 1;
    CHECK_ERR(lm_range_master_step(d->master, &e, &d->sink, &why), E_PROTOCOL);
    CHECK_CONTAINS(why.text, "another's");
    desk_free(d);
}

static const struct test tests[] = {
    TEST(qemu_image_locking_keeps_a_second_host_out),
    TEST(qemu_opens_an_image_with_one_request),
    TEST(getlk_of_another_node_calls_the_locks_back),
    TEST(a_node_that_is_alone_again_decides_alone_again),
    TEST(a_recall_may_overtake_the_right_itself),
    TEST(a_lost_recall_is_sent_again),
    TEST(a_right_that_came_with_an_answer_to_nobody_goes_back),
    TEST(who_waits_gets_the_lock_when_it_is_free),
    TEST(a_canceled_wait_ends_without_the_lock),
    TEST(a_close_ends_the_waits_of_its_owner),
    TEST(processes_of_two_nodes_that_wait_in_a_circle_are_told),
    TEST(processes_of_one_node_that_wait_in_a_circle_are_told),
    TEST(what_a_fenced_node_decided_alone_is_free),
    TEST(rights_and_locks_outlive_the_master),
    TEST(a_frozen_node_decides_nothing),
    TEST(a_request_that_comes_twice_is_carried_out_once),
    TEST(locks_beyond_the_bound_are_refused),
    TEST(a_return_of_what_is_no_lock_is_refused),
};
TEST_SUITE("lockmgr/range_right", tests);
