/* tests/unit/fs/test_locks.c - byte-range locks of many nodes: their clients,
 * the coordinator, and a network between them that breaks.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/kernel_locks.h"
#include "tests/unit/fs/nodes_world.h"

enum { FILE_A = 1000, FILE_B, FILE_C, FILES, STEPS = 3000, BYTES = 30 };

/* -- the world ------------------------------------------------------------- */

/* Another coordinates; it knows only who lives. */
static void takeover(struct cluster *c)
{
    uint32_t next = c->coordinator % NODES + 1;

    cluster_leave(c);
    cluster_takeover(c, next);
}

static void blink(struct cluster *c, uint32_t node)
{
    transport_hub_cut(c->hub, c->coordinator, node);
    transport_hub_heal(c->hub, c->coordinator, node);
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
    static uint64_t last = FILES;
    uint64_t file = ++last;

    CHECK_OK(set(c, node, file, LM_RDLCK));
    CHECK_OK(set(c, node, file, LM_UNLCK));
    fs_locks_forget(c->nodes[node].client->locks, file);
}

/* The file is closed everywhere. */
static void close_file(struct cluster *c, uint64_t file)
{
    for (uint32_t i = 1; i <= NODES; i++) {
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
    struct lm_range other = range(FILE_A, LM_WRLCK);
    struct cluster c;
    struct asked one, three, four;

    other.owner.key = 4;
    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_WRLCK));
    set_waiting(&c, 3, FILE_A, LM_WRLCK, &three);
    submit(&c, 3, &four, LM_RANGE_CALL_SET, &other, true);
    knock(&c, 3);
    set_waiting(&c, 1, FILE_A, LM_WRLCK, &one);
    knock(&c, 1);
    CU_ASSERT(!one.done && !three.done && !four.done);
    fs_locks_cancel(c.nodes[3].client->locks, &four.call);
    CHECK_ERR(wait_for(&four), E_CANCELED);
    CHECK_OK(set(&c, 2, FILE_A, LM_UNLCK));
    CHECK_OK(wait_for(&three));
    knock(&c, 1);
    CU_ASSERT(!one.done);
    CHECK_OK(set(&c, 3, FILE_A, LM_UNLCK));
    CHECK_OK(wait_for(&one));
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
    const struct fs_sender two = cluster_run_of(2);
    struct cluster c;
    struct asked a, b, mine;

    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_WRLCK));
    CHECK_OK(set(&c, 2, FILE_B, LM_WRLCK));
    CHECK_ERR(set(&c, 3, FILE_B, LM_WRLCK), E_AGAIN);
    CHECK_OK(set(&c, 1, FILE_C, LM_RDLCK));
    set_waiting(&c, 2, FILE_C, LM_WRLCK, &mine);
    knock(&c, 2);
    transport_hub_cut(c.hub, 1, 2);
    set_waiting(&c, 3, FILE_A, LM_WRLCK, &a);
    set_waiting(&c, 3, FILE_B, LM_WRLCK, &b);
    knock(&c, 3);
    CU_ASSERT(!a.done && !b.done);
    CHECK_OK(fs_coord_forget(c.v.coord, &two));
    CHECK_OK(wait_for(&a));
    CHECK_OK(wait_for(&b));
    transport_hub_heal(c.hub, 1, 2);
    CHECK_ERR(wait_for(&mine), E_FENCED);
    CHECK_ERR(set(&c, 2, FILE_A, LM_UNLCK), E_FENCED);
    for (uint64_t file = FILE_A; file < FILES; file++)
        close_file(&c, file);
    cluster_fini(&c);
}

/* It may have been deposed: what it grants might be another's already (I14). */
static void a_held_coordinator_grants_nothing(void)
{
    const struct fs_sender three = cluster_run_of(3);
    struct cluster c;
    struct asked a, b;

    cluster_init(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_WRLCK));
    CHECK_OK(set(&c, 3, FILE_B, LM_WRLCK));
    set_waiting(&c, 2, FILE_B, LM_WRLCK, &b);
    knock(&c, 2);
    transport_hub_cut(c.hub, 1, 2);
    fs_coord_hold(c.v.coord, true);
    set_waiting(&c, 1, FILE_A, LM_WRLCK, &a);
    CHECK_OK(fs_coord_forget(c.v.coord, &three));
    transport_hub_heal(c.hub, 1, 2); /* says HELLO: is told of no recall */
    loop_run_ready(c.v.world.loop);
    CU_ASSERT(!a.done && !b.done);
    fs_coord_hold(c.v.coord, false);
    CHECK_OK(wait_for(&b));
    CHECK_ERR(set(&c, 3, FILE_B, LM_UNLCK), E_FENCED); /* and is told so */
    CHECK_OK(set(&c, 2, FILE_A, LM_UNLCK));
    CHECK_OK(wait_for(&a));
    close_file(&c, FILE_A);
    close_file(&c, FILE_B);
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
    CHECK_OK(set(&c, 1, FILE_B, LM_RDLCK));
    set_waiting(&c, 2, FILE_B, LM_WRLCK, &b);
    knock(&c, 2);
    takeover(&c);
    CHECK_ERR(set(&c, 3, FILE_A, LM_RDLCK), E_AGAIN);
    CHECK_ERR(set(&c, 3, FILE_B, LM_WRLCK), E_AGAIN);
    submit(&c, 1, &a, LM_RANGE_CALL_SET, &r, true);
    knock(&c, 1);
    CU_ASSERT(!a.done && !b.done);
    takeover(&c);
    CHECK_OK(set(&c, 2, FILE_A, LM_UNLCK));
    CHECK_OK(wait_for(&a));
    CHECK_OK(set(&c, 3, FILE_B, LM_UNLCK));
    CHECK_OK(set(&c, 1, FILE_B, LM_UNLCK));
    CHECK_OK(wait_for(&b));
    r.type = LM_UNLCK;
    submit(&c, 1, &a, LM_RANGE_CALL_SET, &r, false);
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
    CHECK_OK(set(&c, 3, FILE_A, LM_WRLCK));
    CHECK_OK(set(&c, 1, FILE_B, LM_WRLCK));
    transport_hub_cut(c.hub, 2, 3);
    takeover(&c);
    set_waiting(&c, 1, FILE_A, LM_WRLCK, &a);
    set_waiting(&c, 2, FILE_B, LM_RDLCK, &b);
    blink(&c, 1); /* it reports and asks once more */
    loop_run_ready(c.v.world.loop);
    CU_ASSERT(!a.done && !b.done);
    transport_hub_heal(c.hub, 2, 3);
    CHECK_OK(set(&c, 1, FILE_B, LM_UNLCK));
    CHECK_OK(wait_for(&b));
    CU_ASSERT(!a.done);
    CHECK_OK(set(&c, 3, FILE_A, LM_UNLCK));
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
    case 1:
        blink(c,
              (c->coordinator + (uint32_t)kernel_below(seed, 2)) % NODES + 1);
        break;
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
    for (uint32_t i = 1; i <= NODES; i++)
        kernel_child_start(&children[i], path);
    for (unsigned i = 0; is_same && i < STEPS / TEST_ONE_IN; i++) {
        uint32_t node = 1 + (uint32_t)kernel_below(&seed, NODES);
        unsigned fd = (unsigned)kernel_below(&seed, KERNEL_FDS);
        struct lm_range r = kernel_some_range(&seed, fd, BYTES);
        bool is_test =
            i % 3 == 0 && r.owner.kind != LM_FLOCK && r.type != LM_UNLCK;

        if (i % 8 == 0)
            mishap(&c, &seed);
        is_same = ask_both(&c, node, fd, is_test, &children[node], &r);
    }
    for (uint32_t i = 1; i <= NODES; i++)
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
    TEST(a_held_coordinator_grants_nothing),
    TEST(a_new_coordinator_learns_who_has_what),
    TEST(nothing_is_decided_before_all_have_reported),
    TEST(all_nodes_together_decide_as_one_kernel),
};
TEST_SUITE("fs/locks", tests);
