/* tests/unit/lockmgr/test_dlm_model.c - a master and many holders over a
 * network that loses, doubles, delays and reorders, with crashes, restarts and
 * takeovers.  Exclusion is judged at the holders; the master is not asked.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

enum {
    NODES = 4,
    USERS = 3, /* of each node */
    FILES = 2,
    PACKETS = 4096,
    REVOKES = FILES * 2,
    CHAOS_STEPS = 10000,
    HEAL_ROUNDS = 400,
    SEEDS = 400 / TEST_ONE_IN,
    LOCKS_MAX = 64
};

struct packet {
    bool to_master;
    struct lm_request request;
    struct lm_answer answer;
};

struct sim_user {
    struct lm_user user;
    enum { USER_IDLE, USER_WAITS, USER_HAS } state;
};

struct sim_node {
    struct lm_holder_sink sink;
    struct sim *sim;
    struct lm_peer peer;
    struct lm_holder *holder; /* NULL: crashed */
    bool is_frozen;
    struct sim_user users[USERS];
    struct lm_resource revokes[REVOKES];
    unsigned revoke_count;
    /* What a crashed incarnation held counts until it is fenced (I10). */
    enum lm_mode ghost[FILES];
    struct lm_peer ghost_peer;
    bool has_ghost;
};

struct sim {
    struct lm_master_sink sink;
    struct lm_master *master;
    uint64_t epoch;
    uint64_t seed;
    struct sim_node nodes[NODES];
    struct packet *packets;
    unsigned packet_count;
    bool is_lossy;
    unsigned served, violations;
};

static uint64_t below(struct sim *s, uint64_t n)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return (s->seed >> 11) % n;
}

static struct lm_resource file(uint64_t number)
{
    return (struct lm_resource){
        .kind = 1, .number = {number, 0}
    };
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

static void from_master(struct lm_master_sink *sink, const struct lm_answer *a)
{
    struct sim *s = container_of(sink, struct sim, sink);

    post(s, &(struct packet){.answer = *a});
}

static void from_holder(struct lm_holder_sink *sink,
                        const struct lm_holder_effect *effect)
{
    struct sim_node *n = container_of(sink, struct sim_node, sink);
    struct sim *s = n->sim;
    struct sim_user *u;

    switch (effect->type) {
    case LM_HOLDER_SEND:
        post(s,
             &(struct packet){.to_master = true, .request = *effect->request});
        return;
    case LM_HOLDER_REPORT:
        CHECK_OK(
            lm_master_step(s->master,
                           &(struct lm_master_event){.type = LM_MASTER_REPORT,
                                                     .report = effect->report},
                           &s->sink, NULL));
        return;
    case LM_HOLDER_DONE:
        u = container_of(effect->user, struct sim_user, user);
        u->state = effect->error ? USER_IDLE : USER_HAS;
        if (!effect->error) {
            s->served++;
            if (n->is_frozen)
                s->violations++; /* I14 */
        }
        return;
    case LM_HOLDER_REVOKE:
        CU_ASSERT_FATAL(n->revoke_count < REVOKES);
        n->revokes[n->revoke_count++] = effect->resource;
        return;
    }
}

static void node_step(struct sim_node *n, struct lm_holder_event event)
{
    enum err e = lm_holder_step(n->holder, &event, &n->sink, NULL);

    if (e != E_EPOCH && e != E_FENCED)
        CHECK_OK(e);
}

static void master_step(struct sim *s, struct lm_master_event event)
{
    enum err e = lm_master_step(s->master, &event, &s->sink, NULL);

    if (e != E_EPOCH && e != E_FENCED && e != E_AGAIN)
        CHECK_OK(e);
}

static void deliver(struct sim *s, unsigned i)
{
    struct packet p = s->packets[i];

    s->packets[i] = s->packets[--s->packet_count];
    if (p.to_master) {
        master_step(s, (struct lm_master_event){.type = LM_MASTER_REQUEST,
                                                .request = &p.request});
        return;
    }
    for (unsigned k = 0; k < NODES; k++)
        if (s->nodes[k].holder && s->nodes[k].peer.node == p.answer.to.node)
            node_step(&s->nodes[k],
                      (struct lm_holder_event){.type = LM_HOLDER_ANSWER,
                                               .answer = &p.answer});
}

/* -- nodes come and go ----------------------------------------------------- */

static void boot(struct sim *s, struct sim_node *n)
{
    n->sim = s;
    n->sink.put = from_holder;
    n->peer.incarnation++;
    n->revoke_count = 0;
    n->is_frozen = true;
    memset(n->users, 0, sizeof n->users);
    CHECK_OK_FATAL(lm_holder_new(&n->peer, LOCKS_MAX, &n->holder));
    node_step(n, (struct lm_holder_event){.type = LM_HOLDER_EPOCH,
                                          .epoch = s->epoch});
}

static void confirm(struct sim_node *n)
{
    n->is_frozen = false;
    node_step(n, (struct lm_holder_event){.type = LM_HOLDER_CONFIRM});
}

static void crash(struct sim_node *n)
{
    for (unsigned f = 0; f < FILES; f++)
        n->ghost[f] = lm_holder_mode(n->holder, &(struct lm_resource){
                                                    1, {f, 0}
        });
    n->has_ghost = true;
    n->ghost_peer = n->peer;
    lm_holder_free(n->holder);
    n->holder = NULL;
    memset(n->users, 0, sizeof n->users);
}

/* … of its earlier run: a later one may live. */
static void fence(struct sim *s, struct sim_node *n)
{
    if (!n->has_ghost)
        return;
    n->has_ghost = false;
    master_step(s, (struct lm_master_event){.type = LM_MASTER_DROP,
                                            .peer = n->ghost_peer});
}

static void takeover(struct sim *s)
{
    lm_master_free(s->master);
    CHECK_OK_FATAL(lm_master_new(++s->epoch, LOCKS_MAX, &s->master));
    for (unsigned k = 0; k < NODES; k++) {
        struct sim_node *n = &s->nodes[k];

        fence(s, n);
        if (!n->holder)
            continue;
        n->is_frozen = true;
        node_step(n, (struct lm_holder_event){.type = LM_HOLDER_EPOCH,
                                              .epoch = s->epoch});
    }
    if (below(s, 4) == 0) {
        takeover(s); /* the second during the first */
        return;
    }
    master_step(s, (struct lm_master_event){.type = LM_MASTER_SERVE});
    for (unsigned k = 0; k < NODES; k++)
        if (s->nodes[k].holder)
            confirm(&s->nodes[k]);
}

static void bad_view(struct sim *s)
{
    master_step(s, (struct lm_master_event){.type = LM_MASTER_STOP});
    for (unsigned k = 0; k < NODES; k++) {
        struct sim_node *n = &s->nodes[k];

        fence(s, n);
        if (n->holder && (n->is_frozen = below(s, 2)))
            node_step(n, (struct lm_holder_event){.type = LM_HOLDER_FREEZE});
    }
    for (uint64_t i = below(s, 5); i > 0 && s->packet_count; i--)
        deliver(s, (unsigned)below(s, s->packet_count));
    master_step(s, (struct lm_master_event){.type = LM_MASTER_SERVE});
    for (unsigned k = 0; k < NODES; k++)
        if (s->nodes[k].holder)
            confirm(&s->nodes[k]);
}

/* -- what is judged -------------------------------------------------------- */

/* Users go together, and the node holds what they have. */
static void judge_users(struct sim *s, const struct sim_node *n, uint64_t f,
                        enum lm_mode held)
{
    for (unsigned i = 0; i < USERS; i++) {
        const struct sim_user *a = &n->users[i];

        if (a->state != USER_HAS || a->user.resource.number[0] != f)
            continue;
        if (!lm_covers(held, a->user.mode))
            s->violations++;
        for (unsigned j = 0; j < i; j++) {
            const struct sim_user *b = &n->users[j];

            if (b->state == USER_HAS && b->user.resource.number[0] == f &&
                !lm_compatible(a->user.mode, b->user.mode))
                s->violations++;
        }
    }
}

static void judge(struct sim *s)
{
    for (unsigned f = 0; f < FILES; f++) {
        const struct lm_resource r = file(f);
        enum lm_mode modes[NODES * 2];
        unsigned count = 0;

        for (unsigned k = 0; k < NODES; k++) {
            struct sim_node *n = &s->nodes[k];

            if (n->holder) {
                modes[count] = lm_holder_mode(n->holder, &r);
                judge_users(s, n, f, modes[count++]);
            }
            if (n->has_ghost)
                modes[count++] = n->ghost[f];
        }
        for (unsigned a = 0; a < count; a++)
            for (unsigned b = 0; b < a; b++)
                if (!lm_compatible(modes[a], modes[b]))
                    s->violations++;
    }
}

/* -- one history ----------------------------------------------------------- */

static void some_user(struct sim *s, struct sim_node *n)
{
    struct sim_user *u = &n->users[below(s, USERS)];

    switch (u->state) {
    case USER_IDLE:
        u->user = (struct lm_user){
            .resource = file(below(s, FILES)),
            .mode = (enum lm_mode)(LM_CR + below(s, LM_EX)),
            .flags = below(s, 5) == 0 ? LM_NOQUEUE | LM_NOQUEUEBAST : 0,
        };
        u->state = USER_WAITS;
        node_step(n, (struct lm_holder_event){.type = LM_HOLDER_ACQUIRE,
                                              .user = &u->user});
        return;
    case USER_HAS:
        u->state = USER_IDLE;
        node_step(n, (struct lm_holder_event){.type = LM_HOLDER_RELEASE,
                                              .user = &u->user});
        return;
    case USER_WAITS:
        if (below(s, 30) == 0)
            node_step(n, (struct lm_holder_event){.type = LM_HOLDER_CANCEL,
                                                  .user = &u->user});
        return;
    }
}

static void some_revoked(struct sim *s, struct sim_node *n)
{
    unsigned i;
    struct lm_resource r;

    if (!n->holder || !n->revoke_count)
        return;
    i = (unsigned)below(s, n->revoke_count);
    r = n->revokes[i];
    n->revokes[i] = n->revokes[--n->revoke_count];
    node_step(
        n, (struct lm_holder_event){.type = LM_HOLDER_REVOKED, .resource = r});
}

static void reconnect(struct sim *s, struct sim_node *n)
{
    node_step(n, (struct lm_holder_event){.type = LM_HOLDER_RESEND});
    master_step(
        s, (struct lm_master_event){.type = LM_MASTER_RESEND, .peer = n->peer});
}

static void rare(struct sim *s, struct sim_node *n)
{
    switch (below(s, 5)) {
    case 0:
        if (n->holder && !n->has_ghost)
            crash(n);
        return;
    case 1: /* the next run may start before the last is fenced … */
        if (n->holder)
            return;
        boot(s, n);
        confirm(n);
        return;
    case 2: fence(s, n); return;
    case 3: takeover(s); return;
    case 4: bad_view(s); return;
    default: return;
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
        else if (what < 4 && n->holder)
            reconnect(s, n);
        else if (what < 50 && s->packet_count)
            deliver(s, (unsigned)below(s, s->packet_count));
        else if (n->holder && what < 85)
            some_user(s, n);
        else if (n->holder)
            some_revoked(s, n);
        judge(s);
    }
}

/* The network is whole, users finish and start nothing new. */
static void heal(struct sim *s)
{
    s->is_lossy = false;
    if (s->nodes[0].holder && !s->nodes[0].has_ghost)
        crash(&s->nodes[0]); /* what it sent is still on its way */
    for (unsigned k = 0; k < NODES; k++) {
        struct sim_node *n = &s->nodes[k];

        fence(s, n);
        if (n->holder)
            reconnect(s, n);
    }
    for (unsigned round = 0; round < HEAL_ROUNDS; round++) {
        for (unsigned i = s->packet_count; i > 0 && s->packet_count; i--)
            deliver(s, (unsigned)below(s, s->packet_count));
        for (unsigned k = 0; k < NODES; k++) {
            struct sim_node *n = &s->nodes[k];

            some_revoked(s, n);
            for (unsigned i = 0; n->holder && i < USERS; i++)
                if (n->users[i].state == USER_HAS) {
                    n->users[i].state = USER_IDLE;
                    node_step(
                        n, (struct lm_holder_event){.type = LM_HOLDER_RELEASE,
                                                    .user = &n->users[i].user});
                }
        }
        judge(s);
    }
}

static unsigned waiting(const struct sim *s)
{
    unsigned count = 0;

    for (unsigned k = 0; k < NODES; k++)
        for (unsigned i = 0; i < USERS; i++)
            count += s->nodes[k].users[i].state == USER_WAITS;
    return count;
}

static void sim_init(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.sink.put = from_master,
                      .epoch = 1,
                      .seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
    s->packets = calloc(PACKETS, sizeof *s->packets);
    CU_ASSERT_FATAL(s->packets != NULL);
    CHECK_OK_FATAL(lm_master_new(s->epoch, LOCKS_MAX, &s->master));
    for (unsigned k = 0; k < NODES; k++) {
        s->nodes[k].peer.node = k + 1;
        boot(s, &s->nodes[k]);
    }
    master_step(s, (struct lm_master_event){.type = LM_MASTER_SERVE});
    for (unsigned k = 0; k < NODES; k++)
        confirm(&s->nodes[k]);
}

static void sim_fini(struct sim *s)
{
    for (unsigned k = 0; k < NODES; k++)
        lm_holder_free(s->nodes[k].holder);
    lm_master_free(s->master);
    free(s->packets);
}

static void no_two_nodes_hold_what_excludes_each_other(void)
{
    unsigned served = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim s;

        sim_init(&s, seed);
        chaos(&s);
        heal(&s);
        if (s.violations || waiting(&s))
            printf("seed %llu: %u violations, %u wait\n",
                   (unsigned long long)seed, s.violations, waiting(&s));
        CHECK_EQ(s.violations, 0);
        CHECK_EQ(waiting(&s), 0);
        served += s.served;
        sim_fini(&s);
    }
    CU_ASSERT_TRUE(served > SEEDS * 200); /* it was no empty exercise */
}

static const struct test tests[] = {
    TEST(no_two_nodes_hold_what_excludes_each_other),
};
TEST_SUITE("lockmgr/dlm_model", tests);
