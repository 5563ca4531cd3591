/* tests/unit/lockmgr/test_range_model.c - a range master and its clients over
 * a network that loses, doubles, delays and reorders, with crashes and
 * takeovers.  What programs hold is judged at the clients, byte by byte.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

enum {
    NODES = 3,
    OWNERS = 3, /* of each node: two processes, one open file */
    FILES = 2,
    BYTES = 12,
    CALLS = 4, /* of each node, at a time */
    PACKETS = 1024,
    LOCKS = FILES * OWNERS * BYTES, /* of a RETURN */
    MAX = 400,
    CHAOS_STEPS = 6000,
    HEAL_ROUNDS = 300,
    SEEDS = 200 / TEST_ONE_IN
};

struct packet {
    bool to_master;
    struct lm_range_request request;
    struct lm_range locks[LOCKS];
    struct lm_range_answer answer;
};

struct sim_call {
    struct lm_range_call call;
    bool is_used;
};

/* enum lm_range_type by file, owner and byte */
struct bytes {
    uint8_t type[FILES][OWNERS][BYTES];
};

struct sim_node {
    struct lm_range_client_sink sink;
    struct sim *sim;
    struct lm_peer peer;
    struct lm_range_client *client; /* NULL: crashed */
    struct sim_call calls[CALLS];
    struct bytes ghost; /* of a crashed run that is not fenced (I10) */
    struct lm_peer ghost_peer;
    bool has_ghost;
};

struct sim {
    struct lm_range_sink sink;
    struct lm_range_master *master;
    uint64_t epoch, seed;
    struct sim_node nodes[NODES];
    struct packet *packets;
    unsigned packet_count;
    bool is_lossy;
    unsigned granted, refused, local, deadlocks, violations;
};

static uint64_t below(struct sim *s, uint64_t n)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return (s->seed >> 11) % n;
}

/* -- the network ----------------------------------------------------------- */

static void post(struct sim *s, const struct packet *p)
{
    unsigned copies = 1;

    if (s->is_lossy)
        copies = below(s, 30) == 0 ? 0 : below(s, 10) == 0 ? 2 : 1;
    while (copies-- && s->packet_count < PACKETS)
        s->packets[s->packet_count++] = *p;
}

static void from_master(struct lm_range_sink *sink,
                        const struct lm_range_answer *a)
{
    struct sim *s = container_of(sink, struct sim, sink);

    s->local += a->op == LM_RANGE_LOCAL;
    post(s, &(struct packet){.answer = *a});
}

static void from_client(struct lm_range_client_sink *sink,
                        const struct lm_range_client_effect *effect)
{
    struct sim_node *n = container_of(sink, struct sim_node, sink);
    struct sim *s = n->sim;
    struct packet p = {.to_master = true};

    switch (effect->type) {
    case LM_RANGE_SEND:
        p.request = *effect->request;
        CU_ASSERT_FATAL(p.request.lock_count <= LOCKS);
        for (size_t i = 0; i < p.request.lock_count; i++)
            p.locks[i] = p.request.locks[i];
        post(s, &p);
        return;
    case LM_RANGE_TELL:
        CHECK_OK(lm_range_master_step(
            s->master,
            &(struct lm_range_event){.type = LM_RANGE_REPORT,
                                     .report = effect->report},
            &s->sink, NULL));
        return;
    case LM_RANGE_RESULT:
        container_of(effect->call, struct sim_call, call)->is_used = false;
        s->granted += !effect->error;
        s->refused += effect->error != E_OK;
        s->deadlocks += effect->error == E_DEADLOCK;
        return;
    }
}

static void node_step(struct sim_node *n, struct lm_range_client_event event)
{
    enum err e = lm_range_client_step(n->client, &event, &n->sink, NULL);

    if (e != E_EPOCH && e != E_FENCED)
        CHECK_OK(e);
}

static void master_step(struct sim *s, struct lm_range_event event)
{
    enum err e = lm_range_master_step(s->master, &event, &s->sink, NULL);

    if (e != E_EPOCH && e != E_FENCED && e != E_AGAIN)
        CHECK_OK(e);
}

static void deliver(struct sim *s, unsigned i)
{
    struct packet p = s->packets[i];

    s->packets[i] = s->packets[--s->packet_count];
    if (p.to_master) {
        p.request.locks = p.locks;
        master_step(s, (struct lm_range_event){.type = LM_RANGE_REQUEST,
                                               .request = &p.request});
        return;
    }
    for (unsigned k = 0; k < NODES; k++)
        if (s->nodes[k].client && s->nodes[k].peer.node == p.answer.to.node)
            node_step(&s->nodes[k],
                      (struct lm_range_client_event){.type = LM_RANGE_ANSWER,
                                                     .answer = &p.answer});
}

/* -- what is judged -------------------------------------------------------- */

static void paint(void *arg, const struct lm_range *r)
{
    struct bytes *b = arg;

    for (uint64_t i = r->first; i <= r->last && i < BYTES; i++)
        b->type[r->file - 1][r->owner.key][i] = (uint8_t)r->type;
}

/* What programs of a node believe to hold: what a call under way gives up
 * they do not. */
static void believed(const struct sim_node *n, struct bytes *ret_bytes)
{
    *ret_bytes = (struct bytes){0};
    lm_ranges_each(lm_range_client_table(n->client), 0, paint, ret_bytes);
    for (unsigned k = 0; k < CALLS; k++) {
        const struct lm_range *r = &n->calls[k].call.range;
        uint8_t *type = ret_bytes->type[r->file - 1][r->owner.key];

        if (!n->calls[k].is_used || n->calls[k].call.op == LM_RANGE_CALL_TEST)
            continue;
        for (uint64_t i = r->first; i <= r->last && i < BYTES; i++)
            if (type[i] > r->type)
                type[i] = (uint8_t)r->type;
    }
}

static bool exclude(const struct bytes *a, const struct bytes *b, bool is_same)
{
    for (unsigned f = 0; f < FILES; f++)
        for (unsigned x = 0; x < OWNERS; x++)
            for (unsigned y = is_same ? x + 1 : 0; y < OWNERS; y++)
                for (unsigned i = 0; i < BYTES; i++)
                    if (a->type[f][x][i] + b->type[f][y][i] > 2 &&
                        a->type[f][x][i] && b->type[f][y][i])
                        return true;
    return false;
}

static void judge(struct sim *s)
{
    struct bytes all[NODES * 2];
    unsigned count = 0;

    for (unsigned k = 0; k < NODES; k++) {
        if (s->nodes[k].client)
            believed(&s->nodes[k], &all[count++]);
        if (s->nodes[k].has_ghost)
            all[count++] = s->nodes[k].ghost;
    }
    for (unsigned a = 0; a < count; a++)
        for (unsigned b = 0; b <= a; b++)
            s->violations += exclude(&all[a], &all[b], a == b);
}

/* -- nodes come and go ----------------------------------------------------- */

static void boot(struct sim *s, struct sim_node *n)
{
    n->sim = s;
    n->sink.put = from_client;
    n->peer.incarnation++;
    memset(n->calls, 0, sizeof n->calls);
    CHECK_OK_FATAL(lm_range_client_new(&n->peer, MAX, &n->client));
    node_step(n, (struct lm_range_client_event){.type = LM_RANGE_EPOCH,
                                                .epoch = s->epoch});
}

static void confirm(struct sim_node *n)
{
    node_step(n, (struct lm_range_client_event){.type = LM_RANGE_CONFIRM});
}

static void crash(struct sim_node *n)
{
    believed(n, &n->ghost);
    n->has_ghost = true;
    n->ghost_peer = n->peer;
    lm_range_client_free(n->client);
    n->client = NULL;
    memset(n->calls, 0, sizeof n->calls);
}

static void fence(struct sim *s, struct sim_node *n)
{
    if (!n->has_ghost)
        return;
    n->has_ghost = false;
    master_step(s, (struct lm_range_event){.type = LM_RANGE_GONE,
                                           .peer = n->ghost_peer});
}

static void takeover(struct sim *s)
{
    lm_range_master_free(s->master);
    CHECK_OK_FATAL(lm_range_master_new(++s->epoch, MAX, &s->master));
    for (unsigned k = 0; k < NODES; k++) {
        fence(s, &s->nodes[k]);
        if (s->nodes[k].client)
            node_step(&s->nodes[k],
                      (struct lm_range_client_event){.type = LM_RANGE_EPOCH,
                                                     .epoch = s->epoch});
    }
    master_step(s, (struct lm_range_event){.type = LM_RANGE_SERVE});
    for (unsigned k = 0; k < NODES; k++)
        if (s->nodes[k].client)
            confirm(&s->nodes[k]);
}

static void bad_view(struct sim *s)
{
    master_step(s, (struct lm_range_event){.type = LM_RANGE_STOP});
    for (unsigned k = 0; k < NODES; k++) {
        fence(s, &s->nodes[k]);
        if (s->nodes[k].client)
            node_step(&s->nodes[k],
                      (struct lm_range_client_event){.type = LM_RANGE_FREEZE});
    }
    for (uint64_t i = below(s, 5); i > 0 && s->packet_count; i--)
        deliver(s, (unsigned)below(s, s->packet_count));
    master_step(s, (struct lm_range_event){.type = LM_RANGE_SERVE});
    for (unsigned k = 0; k < NODES; k++)
        if (s->nodes[k].client)
            confirm(&s->nodes[k]);
}

static void reconnect(struct sim *s, struct sim_node *n)
{
    node_step(n, (struct lm_range_client_event){.type = LM_RANGE_RESEND});
    master_step(
        s, (struct lm_range_event){.type = LM_RANGE_AGAIN, .peer = n->peer});
}

/* -- one history ----------------------------------------------------------- */

static void some_call(struct sim *s, struct sim_node *n)
{
    struct sim_call *c = &n->calls[below(s, CALLS)];
    uint64_t owner = below(s, OWNERS), first = below(s, BYTES);
    uint64_t what = below(s, 12);

    if (c->is_used) {
        if (below(s, 10) == 0)
            node_step(n, (struct lm_range_client_event){.type = LM_RANGE_CANCEL,
                                                        .call = &c->call});
        return;
    }
    for (unsigned k = 0; k < CALLS; k++)
        if (n->calls[k].is_used && n->calls[k].call.range.owner.key == owner)
            return; /* a process does one thing at a time */
    *c = (struct sim_call){
        .is_used = true,
        .call = {.op = what == 0   ? LM_RANGE_CALL_TEST
                       : what == 1 ? LM_RANGE_CALL_DROP
                                   : LM_RANGE_CALL_SET,
                 .waits = below(s, 3) == 0,
                 .range = {.file = 1 + below(s, FILES),
                           .owner = {.kind = owner < 2 ? LM_POSIX : LM_OFD,
                                     .key = owner},
                           .type = (enum lm_range_type)below(s, 3),
                           .first = first,
                           .last = first + below(s, BYTES - first)}}
    };
    node_step(n, (struct lm_range_client_event){.type = LM_RANGE_CALL,
                                                .call = &c->call});
}

static void rare(struct sim *s, struct sim_node *n)
{
    switch (below(s, 6)) {
    case 0:
        if (n->client && !n->has_ghost)
            crash(n);
        return;
    case 1:
    case 2:
        if (n->client)
            return;
        boot(s, n);
        confirm(n);
        return;
    case 3: fence(s, n); return;
    case 4: takeover(s); return;
    default: bad_view(s);
    }
}

static void chaos(struct sim *s)
{
    s->is_lossy = true;
    for (unsigned i = 0; i < CHAOS_STEPS; i++) {
        struct sim_node *n = &s->nodes[below(s, NODES)];
        uint64_t what = below(s, 100);

        if (what < 1)
            rare(s, n);
        else if (what < 4 && n->client)
            reconnect(s, n);
        else if (what < 5 && n->client)
            node_step(n, (struct lm_range_client_event){
                             .type = LM_RANGE_FORGET, .file = 1 + below(s, 2)});
        else if (what < 60 && s->packet_count)
            deliver(s, (unsigned)below(s, s->packet_count));
        else if (n->client)
            some_call(s, n);
        judge(s);
    }
}

static void flush(struct sim *s)
{
    while (s->packet_count)
        deliver(s, (unsigned)below(s, s->packet_count));
}

static unsigned waiting(const struct sim *s)
{
    unsigned count = 0;

    for (unsigned k = 0; k < NODES; k++)
        for (unsigned i = 0; i < CALLS; i++)
            count += s->nodes[k].calls[i].is_used;
    return count;
}

/* The network is whole; programs that wait for nothing close their files. */
static void heal(struct sim *s)
{
    s->is_lossy = false;
    if (s->nodes[0].client && !s->nodes[0].has_ghost)
        crash(&s->nodes[0]);
    for (unsigned k = 0; k < NODES; k++) {
        fence(s, &s->nodes[k]);
        if (s->nodes[k].client)
            reconnect(s, &s->nodes[k]);
    }
    for (unsigned round = 0; round < HEAL_ROUNDS && waiting(s); round++) {
        struct sim_node *n = &s->nodes[below(s, NODES)];
        struct sim_call drop = {.is_used = true};
        bool is_idle = true;

        flush(s);
        judge(s);
        drop.call = (struct lm_range_call){
            .op = LM_RANGE_CALL_DROP,
            .range = {.file = 1 + below(s, FILES),
                      .owner = {.kind = LM_POSIX, .key = below(s, OWNERS)}}
        };
        if (drop.call.range.owner.key == 2)
            drop.call.range.owner.kind = LM_OFD;
        for (unsigned k = 0; k < CALLS; k++)
            if (n->calls[k].is_used &&
                n->calls[k].call.range.owner.key == drop.call.range.owner.key &&
                n->calls[k].call.range.owner.kind == LM_POSIX)
                is_idle = false; /* OFD circles are broken by a close */
        if (!n->client || !is_idle)
            continue;
        node_step(n, (struct lm_range_client_event){.type = LM_RANGE_CALL,
                                                    .call = &drop.call});
        flush(s);
        CU_ASSERT_FALSE_FATAL(drop.is_used);
    }
}

struct filter {
    const struct lm_peer *peer;
    struct bytes bytes;
};

static void paint_of_peer(void *arg, const struct lm_range *r)
{
    struct filter *filter = arg;

    if (lm_same_peer(&r->owner.peer, filter->peer))
        paint(&filter->bytes, r);
}

/* At rest, and with all rights given back, the master knows exactly what the
 * clients hold. */
static void compare(struct sim *s)
{
    for (unsigned k = 0; k < NODES; k++) {
        struct sim_node *n = &s->nodes[k];
        struct filter there = {.peer = &n->peer};
        struct bytes here = {0};

        for (uint64_t f = 1; n->client && f <= FILES; f++)
            node_step(n, (struct lm_range_client_event){.type = LM_RANGE_FORGET,
                                                        .file = f});
        flush(s);
        if (n->client)
            lm_ranges_each(lm_range_client_table(n->client), 0, paint, &here);
        lm_ranges_each(lm_range_master_table(s->master), 0, paint_of_peer,
                       &there);
        CHECK_EQ(memcmp(&here, &there.bytes, sizeof here), 0);
    }
}

static void sim_init(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.sink.put = from_master,
                      .epoch = 1,
                      .seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
    s->packets = calloc(PACKETS, sizeof *s->packets);
    CU_ASSERT_FATAL(s->packets != NULL);
    CHECK_OK_FATAL(lm_range_master_new(s->epoch, MAX, &s->master));
    for (unsigned k = 0; k < NODES; k++) {
        s->nodes[k].peer.node = k + 1;
        boot(s, &s->nodes[k]);
    }
    master_step(s, (struct lm_range_event){.type = LM_RANGE_SERVE});
    for (unsigned k = 0; k < NODES; k++)
        confirm(&s->nodes[k]);
}

static void sim_fini(struct sim *s)
{
    for (unsigned k = 0; k < NODES; k++)
        lm_range_client_free(s->nodes[k].client);
    lm_range_master_free(s->master);
    free(s->packets);
}

static void no_two_programs_hold_what_excludes_each_other(void)
{
    unsigned granted = 0, refused = 0, local = 0, deadlocks = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim s;

        sim_init(&s, seed);
        chaos(&s);
        heal(&s);
        if (s.violations || waiting(&s))
            printf("seed %llu: %u violations, %u wait\n",
                   (unsigned long long)seed, s.violations, waiting(&s));
        CHECK_EQ(waiting(&s), 0);
        compare(&s);
        CHECK_EQ(s.violations, 0);
        granted += s.granted;
        refused += s.refused;
        local += s.local;
        deadlocks += s.deadlocks;
        sim_fini(&s);
    }
    /* It was no empty exercise. */
    CU_ASSERT_TRUE(granted > SEEDS * 100);
    CU_ASSERT_TRUE(refused > SEEDS * 20);
    CU_ASSERT_TRUE(local > SEEDS * 5);
    CU_ASSERT_TRUE(deadlocks > SEEDS / 10);
}

static const struct test tests[] = {
    TEST(no_two_programs_hold_what_excludes_each_other),
};
TEST_SUITE("lockmgr/range_model", tests);
