/* tests/unit/lockmgr/test_cluster.c - nexus, fence and takeover of several
 * nodes against a target, in any order, with faults: nothing is broken while
 * it lasts, and all is well when it ends.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/test.h"
#include "tests/unit/lockmgr/cluster.h"

#include <stdio.h>

enum {
    RUNS = 300,
    FAULTY_STEPS = 3000,
    QUIET_STEPS = 60000, /* far more than it takes */
    VIEWS_TO_SETTLE = 12
};

static struct cluster *new_cluster(uint32_t nodes, uint64_t seed)
{
    struct cluster *c = calloc(1, sizeof *c);

    ASSERT(c);
    cluster_init(c, nodes, seed);
    return c;
}

static void end_cluster(struct cluster *c)
{
    cluster_fini(c);
    free(c);
}

static bool all_carry(const struct cluster *c)
{
    for (uint32_t i = 0; i < c->node_count; i++)
        if (!nexus_may_carry(&c->node[i].nexus))
            return false;
    return true;
}

/* No more faults; everybody is started.  Does it come to rest, served? */
static bool settles(struct cluster *c)
{
    c->quiet = true;
    cluster_heal(c);
    for (uint32_t i = 1; i <= c->node_count; i++)
        if (!c->node[i - 1].alive)
            cluster_start(c, i);
    for (int views = 0; views < VIEWS_TO_SETTLE && !c->broken; views++) {
        for (int i = 0; i < QUIET_STEPS && !c->broken; i++)
            if (!cluster_step(c) || (cluster_server(c) && all_carry(c)))
                break;
        if (cluster_server(c) && all_carry(c))
            return true;
        cluster_split(c, c->side); /* paths were looked at again */
    }
    return false;
}

static void show(const struct cluster *c, uint64_t seed)
{
    printf("\n    seed %llu: %s\n", (unsigned long long)seed,
           c->broken ? c->broken : "does not come to rest");
    for (uint32_t i = 0; i < c->node_count; i++) {
        const struct node *n = &c->node[i];

        printf("    node %u.%u%s: %s, %s, epoch %llu, coordinator %u\n",
               n->number, n->life, n->alive ? "" : " (down)",
               nexus_state_name(n->nexus.state),
               takeover_state_name(n->takeover.state),
               (unsigned long long)n->takeover.epoch,
               n->takeover.coordinator.node);
        for (uint32_t k = 0; k < FENCES_MAX; k++)
            if (n->fence_used[k])
                printf(
                    "        fences %u.%llu turn %u: %s\n",
                    n->fence[k].args.target.run.node,
                    (unsigned long long)n->fence[k].args.target.run.incarnation,
                    n->fence[k].args.target.turn,
                    fence_state_name(n->fence[k].state));
    }
}

static void run_seeds(uint32_t nodes)
{
    uint32_t served = 0, fenced = 0, path_fenced = 0, redirected = 0;

    for (uint64_t seed = 1; seed <= RUNS / TEST_ONE_IN; seed++) {
        struct cluster *c = new_cluster(nodes, seed);
        bool good;

        for (int i = 0; i < FAULTY_STEPS && !c->broken; i++)
            (void)cluster_step(c);
        good = settles(c) && !c->broken;
        if (!good)
            show(c, seed);
        CU_ASSERT_TRUE(good);
        served += c->served;
        fenced += c->fenced;
        path_fenced += c->path_fenced;
        redirected += c->redirected;
        end_cluster(c);
        if (!good)
            return;
    }
    /* It was about something. */
    CU_ASSERT_TRUE(served > RUNS / TEST_ONE_IN);
    CU_ASSERT_TRUE(fenced > RUNS / TEST_ONE_IN);
    CU_ASSERT_TRUE(path_fenced > 0);
    CU_ASSERT_TRUE(redirected > 0);
}

static void two_nodes_keep_their_promises_whatever_happens(void)
{
    run_seeds(2);
}

static void three_nodes_keep_their_promises_whatever_happens(void)
{
    run_seeds(3);
}

static void four_nodes_keep_their_promises_whatever_happens(void)
{
    run_seeds(4);
}

static void a_cluster_without_faults_comes_to_serve(void)
{
    struct cluster *c = new_cluster(3, 1);

    c->quiet = true;
    for (int i = 0; i < QUIET_STEPS; i++)
        if (!cluster_step(c) || (cluster_server(c) && all_carry(c)))
            break;
    CU_ASSERT_TRUE(cluster_server(c) != 0);
    CU_ASSERT_TRUE(all_carry(c));
    CHECK_EQ(c->fenced, 0);
    if (!all_carry(c))
        show(c, 1);
    end_cluster(c);
}

static const struct test tests[] = {
    TEST(a_cluster_without_faults_comes_to_serve),
    TEST(two_nodes_keep_their_promises_whatever_happens),
    TEST(three_nodes_keep_their_promises_whatever_happens),
    TEST(four_nodes_keep_their_promises_whatever_happens),
};
TEST_SUITE("lockmgr/cluster", tests);
