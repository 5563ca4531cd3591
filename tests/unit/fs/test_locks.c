/* tests/unit/fs/test_locks.c - byte-range locks of many nodes: their clients,
 * the coordinator, and a network between them that breaks.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport.h"
#include "tests/lib/kernel_locks.h"
#include "tests/unit/fs/client_world.h"

#include <string.h>

enum { NODES = 4, FILE_A = 100, FILE_B = 101, STEPS = 3000, BYTES = 30 };

struct node {
    struct fs_net *net;
    struct transport *transport;
    struct fs_link *link;
    struct fs_client *client;
};

struct cluster {
    struct volume v;
    struct transport_hub *hub;
    struct node nodes[NODES + 1]; /* from 1 on; 1 coordinates */
    struct fs_super_info super;
    uint64_t last_file; /* that anybody asked about in passing */
};

/* -- the world ------------------------------------------------------------- */

static struct fs_sender run_of(uint32_t node)
{
    return (struct fs_sender){node, 100 + node};
}

static void node_start(struct cluster *c, uint32_t i)
{
    const struct fs_sender self = run_of(i);
    struct node *n = &c->nodes[i];

    CHECK_OK_FATAL(fs_net_new(c->v.world.loop, &self, &n->net));
    CHECK_OK_FATAL(transport_hub_join(c->hub, i, self.incarnation,
                                      c->v.world.loop, fs_net_ear(n->net),
                                      &n->transport));
    fs_net_attach(n->net, n->transport);
}

static void client_start(struct cluster *c, struct node *n)
{
    const struct fs_client_args args = {
        .lun = c->v.lun, .link = n->link, .loop = c->v.world.loop};

    CHECK_OK_FATAL(fs_client_new(&args, &n->client));
}

static void cluster_init(struct cluster *c)
{
    memset(c, 0, sizeof *c);
    c->last_file = FILE_B + 1;
    volume_init(&c->v, 256 * MIB);
    CHECK_OK_FATAL(fs_super_probe(c->v.lun, &c->super, NULL));
    CHECK_OK_FATAL(transport_hub_new(&c->hub));
    for (uint32_t i = 1; i <= NODES; i++)
        node_start(c, i);
    CHECK_OK_FATAL(fs_net_serve(c->nodes[1].net, c->super.uuid, c->v.coord));
    c->nodes[1].link = c->v.link;
    for (uint32_t i = 1; i <= NODES; i++) {
        if (i > 1)
            CHECK_OK_FATAL(fs_net_reach(c->nodes[i].net, c->super.uuid, 1,
                                        &c->nodes[i].link));
        client_start(c, &c->nodes[i]);
    }
}

struct flag_task {
    struct task task;
    bool done;
};

static void set_flag(struct task *task)
{
    container_of(task, struct flag_task, task)->done = true;
}

static void leave(struct cluster *c)
{
    struct flag_task left = {.task.run = set_flag};

    fs_net_leave(c->nodes[1].net, c->super.uuid, &left.task);
    world_run_until(&c->v.world, &left.done);
}

static void cluster_fini(struct cluster *c)
{
    for (uint32_t i = 1; i <= NODES; i++)
        fs_client_free(c->nodes[i].client);
    for (uint32_t i = 2; i <= NODES; i++)
        fs_net_forget(c->nodes[i].link);
    leave(c);
    for (uint32_t i = 1; i <= NODES; i++)
        transport_close(c->nodes[i].transport);
    loop_run_ready(c->v.world.loop);
    transport_hub_free(c->hub);
    for (uint32_t i = 1; i <= NODES; i++)
        fs_net_free(c->nodes[i].net);
    volume_stop(&c->v);
    store_close(c->v.lun);
    world_fini(&c->v.world);
}

/* Another coordinator, who knows only that 2, 3 and 4 live. */
static void takeover(struct cluster *c)
{
    const struct fs_sender others[] = {run_of(2), run_of(3), run_of(4)};
    const struct fs_coord_args args = {.node = 1,
                                       .host = "h1",
                                       .incarnation = ++c->v.incarnation,
                                       .sole = true,
                                       .others = others,
                                       .other_count = ARRAY_LEN(others)};

    fs_client_free(TAKE(c->nodes[1].client));
    leave(c);
    fs_coord_stop(c->v.coord);
    CHECK_OK_FATAL(fs_coord_start(c->v.lun, &args, NULL, &c->v.coord));
    c->v.link = c->nodes[1].link = fs_coord_link(c->v.coord);
    CHECK_OK_FATAL(fs_net_serve(c->nodes[1].net, c->super.uuid, c->v.coord));
    for (uint32_t i = 2; i <= NODES; i++)
        fs_net_aim(c->nodes[i].link, 1);
}

static void blink(struct cluster *c, uint32_t node)
{
    transport_hub_cut(c->hub, 1, node);
    transport_hub_heal(c->hub, 1, node);
}

/* -- locks ----------------------------------------------------------------- */

struct asked {
    struct fs_lock_call call;
    struct cluster *c;
    uint32_t node;
    bool done;
};

static void lock_done(struct fs_lock_call *call)
{
    container_of(call, struct asked, call)->done = true;
}

static void submit(struct cluster *c, uint32_t node, struct asked *a,
                   enum lm_range_call_op op, const struct lm_range *r,
                   bool waits)
{
    *a = (struct asked){.c = c, .node = node};
    a->call.core.op = op;
    a->call.core.range = *r;
    a->call.core.waits = waits;
    a->call.done = lock_done;
    fs_locks_submit(c->nodes[node].client->locks, &a->call);
}

static enum err wait_for(struct asked *a)
{
    world_run_until(&a->c->v.world, &a->done);
    return a->call.error;
}

/* Bytes 0 to 9, by the one owner that a node has in most tests. */
static struct lm_range range(uint64_t file, enum lm_range_type type)
{
    return (struct lm_range){
        .file = file,
        .owner = {.kind = LM_POSIX, .key = 1},
        .type = type,
        .last = 9,
        .pid = 1234
    };
}

static enum err set(struct cluster *c, uint32_t node, uint64_t file,
                    enum lm_range_type type)
{
    const struct lm_range r = range(file, type);
    struct asked a;

    submit(c, node, &a, LM_RANGE_CALL_SET, &r, false);
    return wait_for(&a);
}

static void set_waiting(struct cluster *c, uint32_t node, uint64_t file,
                        enum lm_range_type type, struct asked *a)
{
    const struct lm_range r = range(file, type);

    submit(c, node, a, LM_RANGE_CALL_SET, &r, true);
}

/* What the node sent before has arrived: of each new file somebody has to ask.
 */
static void knock(struct cluster *c, uint32_t node)
{
    uint64_t file = c->last_file++;

    CHECK_OK(set(c, node, file, LM_RDLCK));
    CHECK_OK(set(c, node, file, LM_UNLCK));
    fs_locks_forget(c->nodes[node].client->locks, file);
}

/* The file is closed everywhere. */
static void close_file(struct cluster *c, uint64_t file)
{
    for (uint32_t i = 1; i <= NODES; i++)
        if (c->nodes[i].client) {
            (void)!set(c, i, file, LM_UNLCK);
            fs_locks_forget(c->nodes[i].client->locks, file);
        }
}

static void one_has_it_and_the_others_see_who(void)
{
    const struct lm_range want = range(FILE_A, LM_RDLCK);
    struct cluster c;
    struct asked a;

    cluster_init(&c);
    for (uint32_t i = 1; i <= NODES; i++) {
        CHECK_OK(set(&c, i, FILE_A, LM_WRLCK));
        for (uint32_t other = 1; other <= NODES; other++) {
            if (other == i)
                continue;
            CHECK_ERR(set(&c, other, FILE_A, LM_RDLCK), E_AGAIN);
            submit(&c, other, &a, LM_RANGE_CALL_TEST, &want, false);
            CHECK_OK(wait_for(&a));
            CHECK_EQ(a.call.other.type, LM_WRLCK);
            CHECK_EQ(a.call.other.last, 9);
            CHECK_EQ(a.call.other.owner.peer.node, i);
            CHECK_EQ(fs_locks_is_own(c.nodes[other].client->locks,
                                     &a.call.other.owner.peer),
                     false);
        }
        CHECK_OK(set(&c, i, FILE_A, LM_UNLCK));
    }
    close_file(&c, FILE_A);
    cluster_fini(&c);
}

/* The answer is there when submit returns, so no message was sent for it. */
static void who_is_alone_asks_nobody(void)
{
    const struct lm_range r = range(FILE_A, LM_WRLCK);
    struct cluster c;
    struct asked a;

    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_RDLCK));
    submit(&c, 2, &a, LM_RANGE_CALL_SET, &r, false);
    CU_ASSERT(a.done);
    CHECK_OK(a.call.error);
    CHECK_ERR(set(&c, 3, FILE_A, LM_WRLCK), E_AGAIN); /* takes the right */
    submit(&c, 2, &a, LM_RANGE_CALL_SET, &r, false);
    CU_ASSERT(!a.done);
    CHECK_OK(wait_for(&a));
    close_file(&c, FILE_A);
    cluster_fini(&c);
}

static void who_waits_gets_it_when_it_is_free(void)
{
    struct cluster c;
    struct asked a[NODES + 1];

    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_WRLCK));
    for (uint32_t i = 3; i <= NODES; i++) {
        set_waiting(&c, i, FILE_A, LM_WRLCK, &a[i]);
        knock(&c, i);
    }
    set_waiting(&c, 1, FILE_A, LM_WRLCK, &a[1]);
    knock(&c, 1);
    CU_ASSERT(!a[3].done && !a[4].done && !a[1].done);
    fs_locks_cancel(c.nodes[4].client->locks, &a[4].call);
    CHECK_ERR(wait_for(&a[4]), E_CANCELED);
    CHECK_OK(set(&c, 2, FILE_A, LM_UNLCK));
    CHECK_OK(wait_for(&a[3]));
    knock(&c, 1);
    CU_ASSERT(!a[1].done);
    CHECK_OK(set(&c, 3, FILE_A, LM_UNLCK));
    CHECK_OK(wait_for(&a[1]));
    close_file(&c, FILE_A);
    cluster_fini(&c);
}

static void a_deadlock_over_nodes_and_files_is_found(void)
{
    struct cluster c;
    struct asked two, three;

    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_WRLCK));
    CHECK_OK(set(&c, 3, FILE_B, LM_WRLCK));
    set_waiting(&c, 2, FILE_B, LM_WRLCK, &two);
    knock(&c, 2);
    CU_ASSERT(!two.done);
    set_waiting(&c, 3, FILE_A, LM_WRLCK, &three);
    CHECK_ERR(wait_for(&three), E_DEADLOCK);
    CHECK_OK(set(&c, 3, FILE_B, LM_UNLCK));
    CHECK_OK(wait_for(&two));
    close_file(&c, FILE_A);
    close_file(&c, FILE_B);
    cluster_fini(&c);
}

/* -- who is away, who is gone, who comes after ----------------------------- */

/* Its right is good for nothing while it may have been given up for dead. */
static void who_is_cut_off_decides_nothing(void)
{
    const struct lm_range r = range(FILE_A, LM_WRLCK);
    struct cluster c;
    struct asked mine, other;

    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_RDLCK));
    transport_hub_cut(c.hub, 1, 2);
    loop_run_ready(c.v.world.loop);
    submit(&c, 2, &mine, LM_RANGE_CALL_SET, &r, false);
    submit(&c, 3, &other, LM_RANGE_CALL_SET, &r, false);
    knock(&c, 3);
    CU_ASSERT(!mine.done && !other.done); /* no time frees a lock (I10) */
    transport_hub_heal(c.hub, 1, 2);
    CHECK_OK(wait_for(&mine));
    CHECK_ERR(wait_for(&other), E_AGAIN);
    close_file(&c, FILE_A);
    cluster_fini(&c);
}

static void who_is_held_decides_nothing(void)
{
    const struct lm_range r = range(FILE_A, LM_WRLCK);
    struct cluster c;
    struct asked a;

    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_RDLCK));
    fs_client_hold(c.nodes[2].client, true);
    submit(&c, 2, &a, LM_RANGE_CALL_SET, &r, false);
    blink(&c, 2); /* that the coordinator is there says nothing */
    knock(&c, 3);
    CU_ASSERT(!a.done);
    fs_client_hold(c.nodes[2].client, false);
    CHECK_OK(wait_for(&a));
    close_file(&c, FILE_A);
    cluster_fini(&c);
}

/* With the right to a file, and with a lock that the master knows. */
static void a_forgotten_nodes_locks_go_to_who_waits(void)
{
    const struct fs_sender two = run_of(2);
    struct cluster c;
    struct asked a, b, mine;

    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_WRLCK));
    CHECK_OK(set(&c, 2, FILE_B, LM_WRLCK));
    CHECK_ERR(set(&c, 3, FILE_B, LM_WRLCK), E_AGAIN);
    CHECK_OK(set(&c, 1, FILE_B + 1000, LM_WRLCK));
    set_waiting(&c, 2, FILE_B + 1000, LM_WRLCK, &mine);
    knock(&c, 2);
    transport_hub_cut(c.hub, 1, 2);
    set_waiting(&c, 3, FILE_A, LM_WRLCK, &a);
    set_waiting(&c, 4, FILE_B, LM_WRLCK, &b);
    knock(&c, 3);
    knock(&c, 4);
    CU_ASSERT(!a.done && !b.done);
    CHECK_OK(fs_coord_forget(c.v.coord, &two));
    CHECK_OK(wait_for(&a));
    CHECK_OK(wait_for(&b));
    transport_hub_heal(c.hub, 1, 2);
    CHECK_ERR(wait_for(&mine), E_FENCED);
    CHECK_ERR(set(&c, 2, FILE_A, LM_UNLCK), E_FENCED);
    close_file(&c, FILE_A);
    close_file(&c, FILE_B);
    close_file(&c, FILE_B + 1000);
    cluster_fini(&c);
}

/* Rights, locks and those who wait. */
static void a_new_coordinator_learns_who_has_what(void)
{
    struct lm_range r = range(FILE_A, LM_WRLCK);
    struct cluster c;
    struct asked a, b;

    r.owner.key = 2; /* whom nobody waits for */
    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_WRLCK)); /* by a right */
    CHECK_OK(set(&c, 3, FILE_B, LM_RDLCK)); /* known to the master */
    CHECK_OK(set(&c, 4, FILE_B, LM_RDLCK));
    set_waiting(&c, 2, FILE_B, LM_WRLCK, &b);
    knock(&c, 2);
    takeover(&c);
    CHECK_ERR(set(&c, 3, FILE_A, LM_RDLCK), E_AGAIN);
    CHECK_ERR(set(&c, 3, FILE_B, LM_WRLCK), E_AGAIN);
    submit(&c, 4, &a, LM_RANGE_CALL_SET, &r, true);
    knock(&c, 4);
    CU_ASSERT(!a.done && !b.done);
    takeover(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_UNLCK));
    CHECK_OK(wait_for(&a));
    CHECK_OK(set(&c, 3, FILE_B, LM_UNLCK));
    CHECK_OK(set(&c, 4, FILE_B, LM_UNLCK));
    CHECK_OK(wait_for(&b));
    r.type = LM_UNLCK;
    submit(&c, 4, &a, LM_RANGE_CALL_SET, &r, false);
    CHECK_OK(wait_for(&a));
    close_file(&c, FILE_A);
    close_file(&c, FILE_B);
    cluster_fini(&c);
}

/* A lock that nobody reported may be one of him who has not (I14). */
static void nothing_is_decided_before_all_have_reported(void)
{
    struct cluster c;
    struct asked a, b;

    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_WRLCK));
    CHECK_OK(set(&c, 3, FILE_B, LM_WRLCK));
    transport_hub_cut(c.hub, 1, 2);
    takeover(&c);
    set_waiting(&c, 3, FILE_A, LM_WRLCK, &a);
    set_waiting(&c, 4, FILE_B, LM_RDLCK, &b);
    blink(&c, 3); /* it reports and asks once more */
    loop_run_ready(c.v.world.loop);
    blink(&c, 4);
    loop_run_ready(c.v.world.loop);
    CU_ASSERT(!a.done && !b.done);
    transport_hub_heal(c.hub, 1, 2);
    CHECK_OK(set(&c, 3, FILE_B, LM_UNLCK));
    CHECK_OK(wait_for(&b));
    CU_ASSERT(!a.done);
    CHECK_OK(set(&c, 2, FILE_A, LM_UNLCK));
    CHECK_OK(wait_for(&a));
    close_file(&c, FILE_A);
    close_file(&c, FILE_B);
    cluster_fini(&c);
}

/* -- beside the kernel ----------------------------------------------------- */

/* As the mount has it: it cannot tell OFD locks from a process's. */
static bool ask_both(struct cluster *c, uint32_t node, unsigned fd,
                     bool is_test, const struct kernel_child *child,
                     const struct lm_range *some)
{
    struct kernel_verdict v = kernel_ask(child, fd, is_test, some);
    struct lm_range r = *some;
    struct asked a;

    r.file = FILE_A;
    r.pid = (uint32_t)child->pid;
    submit(c, node, &a, is_test ? LM_RANGE_CALL_TEST : LM_RANGE_CALL_SET, &r,
           false);
    (void)!wait_for(&a);
    if (!is_test)
        return CHECK_EQ(err_errno(a.call.error), v.error);
    /* of several who are in the way, either may name another */
    return CHECK_OK(a.call.error) && CHECK_EQ(v.error, 0) &&
           CHECK_EQ(a.call.other.type == LM_UNLCK, v.lock.l_type == F_UNLCK);
}

/* Every now and then the connection breaks, or another coordinates. */
static void mishap(struct cluster *c, uint64_t *seed)
{
    switch (kernel_below(seed, 12)) {
    case 0:
    case 1: blink(c, 2 + (uint32_t)kernel_below(seed, NODES - 1)); break;
    case 2: takeover(c); break;
    default: break;
    }
}

static void all_nodes_together_decide_as_one_kernel(void)
{
    struct kernel_child children[NODES + 1];
    char path[WORLD_PATH_BYTES];
    uint64_t seed = 5;
    struct cluster c;
    bool is_same = true;

    cluster_init(&c);
    world_file(&c.v.world, "locked", 4096, path);
    for (uint32_t i = 2; i <= NODES; i++)
        kernel_child_start(&children[i], path);
    for (unsigned i = 0; is_same && i < STEPS / TEST_ONE_IN; i++) {
        uint32_t node = 2 + (uint32_t)kernel_below(&seed, NODES - 1);
        unsigned fd = (unsigned)kernel_below(&seed, KERNEL_FDS);
        struct lm_range r = kernel_some_range(&seed, fd, BYTES);
        bool is_test =
            i % 3 == 0 && r.owner.kind != LM_FLOCK && r.type != LM_UNLCK;

        if (i % 8 == 0)
            mishap(&c, &seed);
        is_same = ask_both(&c, node, fd, is_test, &children[node], &r);
    }
    for (uint32_t i = 2; i <= NODES; i++)
        kernel_child_stop(&children[i]);
    cluster_fini(&c);
}

static const struct test tests[] = {
    TEST(one_has_it_and_the_others_see_who),
    TEST(who_is_alone_asks_nobody),
    TEST(who_waits_gets_it_when_it_is_free),
    TEST(a_deadlock_over_nodes_and_files_is_found),
    TEST(who_is_cut_off_decides_nothing),
    TEST(who_is_held_decides_nothing),
    TEST(a_forgotten_nodes_locks_go_to_who_waits),
    TEST(a_new_coordinator_learns_who_has_what),
    TEST(nothing_is_decided_before_all_have_reported),
    TEST(all_nodes_together_decide_as_one_kernel),
};
TEST_SUITE("fs/locks", tests);
