/* tests/unit/sim/test_world.c - the world keeps its own rules: one order per
 * ring, nothing volatile after a crash, the same run from the same seed.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/test.h"
#include "tests/sim/sim.h"

enum { HOSTS = 4, NOTES = 4000 };

/* What each host was told, in order. */
static struct {
    uint32_t count, view, views, lost;
    bool quorate;
    uint32_t note[NOTES];
} heard[HOSTS + 1];
static struct sim sim;

static void note(uint32_t host, uint32_t what)
{
    ASSERT(heard[host].count < NOTES);
    heard[host].note[heard[host].count++] = what;
}

static void join(struct sim_host *h)
{
    memset(&heard[h->number], 0, sizeof heard[0]);
    sim_cpg_join(h);
}

static void on_deliver(struct sim_host *h, uint32_t from, const void *bytes,
                       size_t count)
{
    uint32_t what;

    ASSERT(count == sizeof what);
    memcpy(&what, bytes, count);
    note(h->number, from << 16 | what);
}

static void on_receive(struct sim_host *h, uint32_t from, const void *bytes,
                       size_t count)
{
    on_deliver(h, from, bytes, count);
}

static void on_lost(struct sim_host *h, uint32_t peer)
{
    (void)peer;
    heard[h->number].lost++;
}

static void on_confchg(struct sim_host *h, const struct sim_view *view)
{
    heard[h->number].view = view->members;
    heard[h->number].views++;
}

static void on_quorum(struct sim_host *h, bool quorate, bool tie)
{
    (void)tie;
    heard[h->number].quorate = quorate;
}

static const struct sim_host_ops ops = {
    .start = join,
    .receive = on_receive,
    .lost = on_lost,
    .confchg = on_confchg,
    .deliver = on_deliver,
    .quorum = on_quorum,
};

static void pass(uint64_t ns)
{
    sim_run_until(&sim, sim_now(&sim) + ns);
}

static void begin(uint64_t seed, uint32_t hosts)
{
    sim_init(&sim, seed);
    sim_hosts_init(&sim, hosts, &ops);
    sim_net_init(&sim, &(struct sim_net_options){.delay_ns = SIM_MS,
                                                 .long_delay_ns = 20 * SIM_MS,
                                                 .long_permille = 100,
                                                 .stall_limit_ns = 20 * SIM_S});
    sim_cpg_init(&sim, &(struct sim_cpg_options){.token_ns = SIM_S,
                                                 .two_node = hosts == 2});
    for (uint32_t h = 1; h <= hosts; h++)
        sim_host_start(&sim.host[h]);
    pass(10 * SIM_S);
}

static void say(uint32_t host, uint32_t what)
{
    sim_cpg_send(&sim.host[host], &what, sizeof what);
}

static void tell(uint32_t from, uint32_t to, uint32_t what)
{
    sim_send(&sim.host[from], to, &what, sizeof what);
}

static bool same(uint32_t a, uint32_t b)
{
    return heard[a].count == heard[b].count &&
           memcmp(heard[a].note, heard[b].note,
                  heard[a].count * sizeof heard[a].note[0]) == 0;
}

static void all_see_one_order(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        begin(seed, HOSTS);
        for (uint32_t i = 0; i < 50; i++) {
            say(1 + i % HOSTS, i);
            pass(sim_below(&sim, 3) * SIM_MS);
        }
        pass(SIM_S);
        CHECK_EQ(heard[1].count, 50);
        for (uint32_t h = 2; h <= HOSTS; h++)
            CU_ASSERT(same(1, h));
        sim_fini(&sim);
    }
}

/* Those who stay together see the same, also at the moment of the split; a
 * message that one half saw is not always seen by the other (not SAFE). */
static void a_split_is_agreed_on_by_each_half(void)
{
    uint32_t differ = 0;

    for (uint64_t seed = 1; seed <= 60; seed++) {
        begin(seed, HOSTS);
        sim_net_split(&sim, 1U << 1 | 1U << 2);
        for (uint32_t i = 0; i < 1500; i++) {
            say(1 + i % HOSTS, i);
            pass(2 * SIM_MS);
        }
        pass(5 * SIM_S);
        CU_ASSERT(same(1, 2));
        CU_ASSERT(same(3, 4));
        differ += !same(1, 3);
        CHECK_EQ(heard[1].view, 1U << 1 | 1U << 2);
        CHECK_EQ(heard[3].view, 1U << 3 | 1U << 4);
        CHECK_EQ(heard[1].quorate, false);
        sim_fini(&sim);
    }
    CHECK_EQ(differ, 60);
}

static void of_two_nodes_both_stay_quorate_in_a_split(void)
{
    begin(1, 2);
    sim_net_split(&sim, 1U << 1);
    pass(5 * SIM_S);
    CHECK_EQ(heard[1].view, 1U << 1);
    CHECK_EQ(heard[1].quorate, true);
    CHECK_EQ(heard[2].quorate, true);
    sim_fini(&sim);
}

static void of_three_the_majority_stays_quorate(void)
{
    begin(1, 3);
    sim_net_cut(&sim, 3, 1); /* one way is enough */
    sim_net_cut(&sim, 3, 2);
    pass(5 * SIM_S);
    CHECK_EQ(heard[1].quorate, true);
    CHECK_EQ(heard[3].quorate, false);
    sim_net_heal_all(&sim);
    pass(5 * SIM_S);
    CHECK_EQ(heard[3].quorate, true);
    CHECK_EQ(heard[3].view, 1U << 1 | 1U << 2 | 1U << 3);
    sim_fini(&sim);
}

static void a_ghost_stays_listed_until_it_is_back(void)
{
    begin(1, 3);
    sim.cpg = NULL;
    sim_cpg_init(&sim, &(struct sim_cpg_options){.token_ns = SIM_S,
                                                 .ghost_permille = 1000});
    for (uint32_t h = 1; h <= 3; h++)
        sim_cpg_join(&sim.host[h]);
    pass(10 * SIM_S);
    sim_host_crash(&sim.host[3], true);
    pass(10 * SIM_S);
    CHECK_EQ(heard[1].view, 1U << 1 | 1U << 2 | 1U << 3);
    sim_host_start(&sim.host[3]);
    pass(10 * SIM_S);
    sim_host_crash(&sim.host[3], false);
    pass(10 * SIM_S);
    CHECK_EQ(heard[1].view, 1U << 1 | 1U << 2);
    sim_fini(&sim);
}

static void messages_come_in_order_until_the_connection_breaks(void)
{
    begin(3, 2);
    for (uint32_t i = 0; i < 100; i++)
        tell(1, 2, i);
    pass(SIM_S);
    CHECK_EQ(heard[2].count, 100);
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQ(heard[2].note[i], 1U << 16 | i);
    tell(1, 2, 100);
    sim_net_reset(&sim, 1, 2);
    tell(1, 2, 101);
    pass(SIM_S);
    CHECK_EQ(heard[2].count, 101);
    CHECK_EQ(heard[2].note[100], 1U << 16 | 101);
    CHECK_EQ(heard[1].lost, 1);
    CHECK_EQ(heard[2].lost, 1);
    sim_fini(&sim);
}

static void a_cut_stalls_and_a_long_one_breaks(void)
{
    begin(3, 2);
    sim_net_cut(&sim, 1, 2);
    tell(1, 2, 1);
    tell(2, 1, 2); /* the other way is open */
    pass(SIM_S);
    CHECK_EQ(heard[2].count, 0);
    CHECK_EQ(heard[1].count, 1);
    sim_net_heal(&sim, 1, 2);
    pass(SIM_S);
    CHECK_EQ(heard[2].count, 1);
    sim_net_cut(&sim, 1, 2);
    tell(1, 2, 3);
    pass(30 * SIM_S);
    sim_net_heal(&sim, 1, 2);
    pass(SIM_S);
    CHECK_EQ(heard[2].count, 1);
    CHECK_EQ(heard[1].lost, 1);
    sim_fini(&sim);
}

static void a_paused_host_hears_all_of_it_later(void)
{
    begin(3, 2);
    sim_host_pause(&sim.host[2]);
    for (uint32_t i = 0; i < 10; i++)
        tell(1, 2, i);
    pass(60 * SIM_S);
    CHECK_EQ(heard[2].count, 0);
    sim_host_continue(&sim.host[2]);
    pass(SIM_S);
    CHECK_EQ(heard[2].count, 10);
    CHECK_EQ(heard[2].note[9], 1U << 16 | 9);
    sim_fini(&sim);
}

static void a_crash_loses_what_was_to_come(void)
{
    begin(3, 2);
    sim_host_pause(&sim.host[2]);
    tell(1, 2, 1);
    pass(SIM_S);
    sim_host_crash(&sim.host[2], false);
    sim_host_start(&sim.host[2]);
    pass(SIM_S);
    CHECK_EQ(heard[2].count, 0);
    CHECK_EQ(heard[1].view, 1U << 1 | 1U << 2);
    sim_fini(&sim);
}

static void a_seed_is_a_run(void)
{
    uint64_t step[3], order[3];

    for (uint32_t i = 0; i < 3; i++) {
        begin(i == 2 ? 8 : 7, HOSTS);
        sim_net_split(&sim, 1U << 2);
        for (uint32_t k = 0; k < 100; k++)
            say(1 + k % HOSTS, k);
        pass(20 * SIM_S);
        step[i] = sim.step;
        order[i] = sim_random(&sim);
        sim_fini(&sim);
    }
    CHECK_EQ(step[0], step[1]);
    CHECK_EQ(order[0], order[1]);
    CU_ASSERT(order[0] != order[2]);
}

static const struct test tests[] = {
    TEST(all_see_one_order),
    TEST(a_split_is_agreed_on_by_each_half),
    TEST(of_two_nodes_both_stay_quorate_in_a_split),
    TEST(of_three_the_majority_stays_quorate),
    TEST(a_ghost_stays_listed_until_it_is_back),
    TEST(messages_come_in_order_until_the_connection_breaks),
    TEST(a_cut_stalls_and_a_long_one_breaks),
    TEST(a_paused_host_hears_all_of_it_later),
    TEST(a_crash_loses_what_was_to_come),
    TEST(a_seed_is_a_run),
};
TEST_SUITE("sim/world", tests);
