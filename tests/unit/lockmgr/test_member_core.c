/* tests/unit/lockmgr/test_member_core.c - who is in, who is out, and that all
 * agree on it, in a model of cpg (cpg_model.h).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member_core.h"
#include "tests/lib/test.h"
#include "tests/unit/lockmgr/cpg_model.h"

#include <string.h>

static struct model *cluster(unsigned hosts)
{
    struct model *m = model_new(hosts, 1);

    for (uint32_t host = 1; host <= hosts; host++)
        model_start(m, host);
    model_settle(m);
    return m;
}

static void check_and_free(struct model *m)
{
    CU_ASSERT_FALSE(model_failed(m));
    model_free(m);
}

static void all_who_start_are_in_one_view(void)
{
    struct model *m = cluster(3);

    for (uint32_t host = 1; host <= 3; host++)
        CHECK_STR(model_view(m, host), "quorate 1 2 3");
    model_check_converged(m);
    check_and_free(m);
}

static void a_view_without_quorum_says_so(void)
{
    struct model *m = model_new(3, 1);
    const unsigned sides[] = {0, 1, 1};

    model_partition(m, sides);
    model_start(m, 1);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "alone 1");
    model_heal(m);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1");
    check_and_free(m);
}

static void who_dies_is_missing_until_it_is_declared_fenced(void)
{
    struct model *m = cluster(3);
    uint64_t dead = model_incarnation(m, 2);

    model_kill(m, 2);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 3 | missing 2");
    CHECK_STR(model_view(m, 3), "quorate 1 3 | missing 2");
    model_start(m, 2);
    model_settle(m);
    CHECK_STR(model_view(m, 2), "quorate 1 2 3 | missing 2");
    model_ask(m, 3, EVENT_FENCED, 2, dead);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 2 3");
    CHECK_STR(model_view(m, 2), "quorate 1 2 3");
    check_and_free(m);
}

/* The oldest of many are forgotten, which moves what stands behind them. */
static void others_may_die_often(void)
{
    struct model *m = cluster(3);

    for (int deaths = 0; deaths < 12; deaths++) {
        uint32_t host = deaths % 2 ? 3 : 1;
        uint64_t dead = model_incarnation(m, host);

        model_kill(m, host);
        model_settle(m);
        model_ask(m, 2, EVENT_FENCED, host, dead);
        model_settle(m);
        CHECK_EQ(model_core(m, 2)->state, CORE_IN);
        model_start(m, host);
        model_settle(m);
        CHECK_STR(model_view(m, 2), "quorate 1 2 3");
    }
    check_and_free(m);
}

static void who_says_goodbye_is_not_missing(void)
{
    struct model *m = cluster(3);

    model_ask(m, 2, EVENT_LEAVE, 0, 0);
    model_settle(m);
    CHECK_EQ(model_core(m, 2)->state, CORE_ENDED);
    CHECK_EQ(model_core(m, 2)->end, MEMBER_LEFT);
    model_kill(m, 2);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 3");
    check_and_free(m);
}

static void who_leaves_before_it_was_in_is_not_missing(void)
{
    struct model *m = cluster(2);

    model_stop(m, 1);
    model_stop(m, 2);
    model_start(m, 2);
    model_kill(m, 2);
    model_continue(m, 1);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 2");
    check_and_free(m);
}

static void a_side_without_quorum_decides_nothing(void)
{
    struct model *m = cluster(3);
    const unsigned sides[] = {0, 1, 2};

    model_partition(m, sides);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "alone 1 | lost 2 | lost 3");
    CHECK_STR(model_view(m, 3), "alone 3 | lost 1 | lost 2");
    model_heal(m);
    model_settle(m);
    for (uint32_t host = 1; host <= 3; host++)
        CHECK_STR(model_view(m, host), "quorate 1 2 3");
    check_and_free(m);
}

static void who_comes_back_a_little_later_is_waited_for(void)
{
    struct model *m = cluster(3);
    const unsigned apart[] = {0, 1, 2};
    const unsigned two[] = {0, 0, 1};

    model_partition(m, apart);
    model_settle(m);
    model_partition(m, two);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 2 | lost 3");
    model_heal(m);
    model_settle(m);
    CHECK_STR(model_view(m, 3), "quorate 1 2 3");

    model_partition(m, apart);
    model_settle(m);
    model_partition(m, two);
    model_beats(m, MODEL_SUSPECT_TICKS + 1);
    CHECK_STR(model_view(m, 1), "quorate 1 2 | missing 3");
    check_and_free(m);
}

static void who_was_cut_off_from_quorum_comes_back_as_another(void)
{
    struct model *m = cluster(3);
    const unsigned sides[] = {0, 1, 1};

    model_partition(m, sides);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "alone 1 | lost 2 | lost 3");
    CHECK_STR(model_view(m, 2), "quorate 2 3 | missing 1");
    model_heal(m);
    model_settle(m);
    CHECK_EQ(model_core(m, 1)->end, MEMBER_EXPELLED);
    CHECK_STR(model_view(m, 1), "outside");
    CHECK_STR(model_view(m, 2), "quorate 2 3 | missing 1");
    model_kill(m, 1);
    model_start(m, 1);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 2 3 | missing 1");
    check_and_free(m);
}

static void of_two_that_condemned_each_other_one_goes_on(void)
{
    struct model *m = model_new(2, 1);
    const unsigned sides[] = {0, 1};
    unsigned expelled = 0;

    model_two_node(m);
    model_start(m, 1);
    model_start(m, 2);
    model_settle(m);
    model_partition(m, sides);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 | missing 2");
    CHECK_STR(model_view(m, 2), "quorate 2 | missing 1");
    model_heal(m);
    model_settle(m);
    for (uint32_t host = 1; host <= 2; host++)
        expelled += model_core(m, host)->state == CORE_ENDED;
    CHECK_EQ(expelled, 1);
    check_and_free(m);
}

static void who_was_fenced_does_not_win_by_speaking_first(void)
{
    const unsigned sides[] = {0, 1};

    for (uint64_t seed = 0; seed < 10; seed++) {
        struct model *m = model_new(2, seed);

        model_two_node(m);
        model_start(m, 1);
        model_start(m, 2);
        model_settle(m);
        model_partition(m, sides);
        model_settle(m);
        model_ask(m, 2, EVENT_FENCED, 1, model_incarnation(m, 1));
        model_settle(m);
        model_heal(m);
        model_settle(m);
        CHECK_EQ(model_core(m, 1)->state, CORE_ENDED);
        CHECK_STR(model_view(m, 2), "quorate 2");
        check_and_free(m);
    }
}

static void who_is_stopped_is_accused(void)
{
    struct model *m = cluster(3);

    model_stop(m, 2);
    model_beats(m, MODEL_SUSPECT_TICKS - 1);
    CHECK_STR(model_view(m, 1), "quorate 1 2 3");
    model_beats(m, 2);
    CHECK_STR(model_view(m, 1), "quorate 1 3 | missing 2");
    model_continue(m, 2);
    model_settle(m);
    CHECK_EQ(model_core(m, 2)->end, MEMBER_EXPELLED);
    CHECK_STR(model_view(m, 3), "quorate 1 3 | missing 2");
    check_and_free(m);
}

static void of_two_that_accuse_each_other_one_goes(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct model *m = model_new(3, seed);
        unsigned expelled = 0;

        for (uint32_t host = 1; host <= 3; host++)
            model_start(m, host);
        model_settle(m);
        model_ask(m, 1, EVENT_ACCUSE, 2, model_incarnation(m, 2));
        model_ask(m, 2, EVENT_ACCUSE, 1, model_incarnation(m, 1));
        model_settle(m);
        for (uint32_t host = 1; host <= 3; host++)
            expelled += model_core(m, host)->state == CORE_ENDED;
        CHECK_EQ(expelled, 1);
        CHECK_EQ(model_core(m, 3)->view.member_count, 2);
        check_and_free(m);
    }
}

static void a_ring_that_stands_still_accuses_nobody(void)
{
    struct model *m = cluster(3);

    for (unsigned i = 0; i < 5 * MODEL_SUSPECT_TICKS; i++)
        model_tick(m); /* and nothing is delivered */
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 2 3");
    check_and_free(m);
}

/* Its heartbeat comes round when it is in no view. */
static void who_met_the_others_amid_a_heartbeat_goes_on_beating(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct model *m = model_new(3, seed);
        const unsigned sides[] = {0, 0, 1};

        model_partition(m, sides);
        for (uint32_t host = 1; host <= 3; host++)
            model_start(m, host);
        model_settle(m);
        CHECK_STR(model_view(m, 3), "alone 3");
        model_tick(m);
        model_heal(m);
        model_settle(m);
        model_beats(m, 2 * MODEL_SUSPECT_TICKS);
        CHECK_STR(model_view(m, 1), "quorate 1 2 3");
        check_and_free(m);
    }
}

static void a_newer_incarnation_replaces_the_older(void)
{
    struct model *m = cluster(2);
    uint64_t older = model_incarnation(m, 2);

    model_start(m, 2); /* the older process is still listed */
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 2 | missing 2");
    CHECK_EQ(model_core(m, 1)->view.gone[0].id.incarnation, older);
    check_and_free(m);
}

static void a_node_number_belongs_to_one_host(void)
{
    struct model *m = cluster(2);

    model_start_as(m, 2, 900, 77);
    model_settle(m);
    CHECK_EQ(model_core(m, 2)->end, MEMBER_REFUSED);
    CHECK_CONTAINS(model_why(m, 2), "node 2 is host h2 already");
    CHECK_STR(model_view(m, 1), "quorate 1 2");
    check_and_free(m);
}

/* It would take those for silent with whom it cannot speak. */
static void who_has_another_key_stays_out(void)
{
    struct model *m = cluster(2);

    model_kill(m, 2);
    model_settle(m);
    model_set_key(m, 7);
    model_start(m, 2);
    model_settle(m);
    CHECK_EQ(model_core(m, 2)->end, MEMBER_REFUSED);
    CHECK_CONTAINS(model_why(m, 2), "its cluster key is not that of host h1");
    CHECK_STR(model_view(m, 1), "quorate 1 | missing 2");
    check_and_free(m);
}

static void an_incarnation_is_not_used_twice(void)
{
    struct model *m = cluster(2);
    uint64_t used = model_incarnation(m, 2);

    model_kill(m, 2);
    model_settle(m);
    model_start_as(m, 2, used - 1, 2);
    model_settle(m);
    CHECK_EQ(model_core(m, 2)->end, MEMBER_REFUSED);
    CHECK_CONTAINS(model_why(m, 2), "later incarnation");
    CHECK_STR(model_view(m, 1), "quorate 1 | missing 2");
    check_and_free(m);
}

static void a_ghost_is_no_member_and_stops_nobody(void)
{
    struct model *m = cluster(2);

    model_ghost(m, 2);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1 2");
    model_kill(m, 2);
    model_start(m, 2);
    model_settle(m);
    model_beats(m, MODEL_SUSPECT_TICKS + 1);
    CHECK_STR(model_view(m, 1), "quorate 1 2 | missing 2");
    CHECK_STR(model_view(m, 2), "quorate 1 2 | missing 2");
    check_and_free(m);
}

static void a_cluster_starts_beside_a_ghost(void)
{
    struct model *m = model_new(3, 1);

    model_ghost(m, 3);
    model_start(m, 1);
    model_start(m, 2);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "outside");
    model_beats(m, MODEL_SUSPECT_TICKS + 1);
    CHECK_STR(model_view(m, 1), "quorate 1 2");
    check_and_free(m);
}

static void corosync_gone_is_no_membership(void)
{
    struct model *m = cluster(3);
    uint64_t number = model_core(m, 1)->view.number;

    model_cut(m, 1);
    CHECK_STR(model_view(m, 1), "outside | lost 2 | lost 3");
    model_settle(m);
    CHECK_STR(model_view(m, 2), "quorate 2 3 | missing 1");
    model_uncut(m, 1);
    model_settle(m);
    CHECK_EQ(model_core(m, 1)->end, MEMBER_EXPELLED);
    CU_ASSERT_TRUE(model_core(m, 1)->view.number >= number);
    check_and_free(m);
}

static void alone_one_goes_on_after_its_corosync_came_back(void)
{
    struct model *m = cluster(1);
    uint64_t number = model_core(m, 1)->view.number;

    model_cut(m, 1);
    CHECK_STR(model_view(m, 1), "outside");
    model_uncut(m, 1);
    model_settle(m);
    CHECK_STR(model_view(m, 1), "quorate 1");
    CU_ASSERT_TRUE(model_core(m, 1)->view.number > number);
    check_and_free(m);
}

static void messages_come_to_all_members_in_one_order(void)
{
    struct model *m = cluster(3);

    model_send(m, 1, "a");
    model_send(m, 2, "b");
    model_send(m, 3, "c");
    model_settle(m);
    CHECK_EQ(strlen(model_heard(m, 1)), 6);
    CHECK_STR(model_heard(m, 2), model_heard(m, 1));
    CHECK_STR(model_heard(m, 3), model_heard(m, 1));
    check_and_free(m);
}

static void nothing_is_delivered_of_one_that_is_out(void)
{
    struct model *m = cluster(3);

    model_ask(m, 1, EVENT_ACCUSE, 2, model_incarnation(m, 2));
    model_stop(m, 2);
    model_settle(m);
    model_send(m, 2, "late");
    model_settle(m);
    CHECK_STR(model_heard(m, 1), "");
    CHECK_STR(model_heard(m, 3), "");
    check_and_free(m);
}

/* -- any order of anything ------------------------------------------------- */

static void one_of_the_missing_is_fenced(struct model *m, uint32_t host)
{
    const struct member_view *v = &model_core(m, host)->view;
    const struct member_gone *g;

    if (!v->quorate || !v->gone_count)
        return;
    g = &v->gone[model_random(m, v->gone_count)];
    if (g->state == MEMBER_MISSING)
        model_ask(m, host, EVENT_FENCED, g->id.node, g->id.incarnation);
}

static void someone_is_accused(struct model *m, uint32_t host)
{
    const struct member_view *v = &model_core(m, host)->view;
    const struct member_id *id;

    if (!v->member_count || model_random(m, 4))
        return;
    id = &v->members[model_random(m, v->member_count)];
    if (id->node != host)
        model_ask(m, host, EVENT_ACCUSE, id->node, id->incarnation);
}

struct weather {
    unsigned hosts;
    bool down[MODEL_HOSTS_MAX + 1], stopped[MODEL_HOSTS_MAX + 1];
    unsigned ghosts;
};

static void host_changes(struct model *m, struct weather *w, uint32_t host)
{
    bool runs = model_is_running(m, host);

    switch (model_random(m, 8)) {
    case 0:
        if (runs)
            model_kill(m, host);
        w->stopped[host] = false;
        break;
    case 1:
        if (runs && !w->stopped[host])
            model_stop(m, host), w->stopped[host] = true;
        break;
    case 2:
        if (w->down[host])
            model_uncut(m, host);
        else
            model_cut(m, host);
        w->down[host] = !w->down[host];
        break;
    case 3:
        if (runs && !w->stopped[host] && !model_random(m, 4))
            model_ask(m, host, EVENT_LEAVE, 0, 0);
        break;
    case 4:
        if (!w->down[host] && w->ghosts < 2 && !model_random(m, 8)) {
            model_ghost(m, host);
            w->ghosts++;
        }
        break;
    default:
        if (w->stopped[host]) {
            model_continue(m, host);
            w->stopped[host] = false;
        } else if (!runs || model_core(m, host)->state == CORE_ENDED) {
            if (runs)
                model_kill(m, host);
            model_start(m, host);
        }
    }
}

static void something_happens(struct model *m, struct weather *w)
{
    uint32_t host = 1 + (uint32_t)model_random(m, w->hosts);
    bool acts = model_is_running(m, host) && !w->stopped[host];
    unsigned sides[MODEL_HOSTS_MAX];

    switch (model_random(m, 8)) {
    case 0:
        for (unsigned i = 0; i < MODEL_HOSTS_MAX; i++)
            sides[i] = (unsigned)model_random(m, 2 + model_random(m, 2));
        model_partition(m, sides);
        break;
    case 1: model_heal(m); break;
    case 2: model_tick(m); break;
    case 3:
        if (acts)
            one_of_the_missing_is_fenced(m, host);
        break;
    case 4:
        if (acts)
            someone_is_accused(m, host);
        break;
    default: host_changes(m, w, host);
    }
}

/* The storm is over: everything runs that can, and all reach each other. */
static void calm(struct model *m, struct weather *w)
{
    for (uint32_t host = 1; host <= w->hosts; host++) {
        if (w->down[host])
            model_uncut(m, host);
        if (w->stopped[host])
            model_continue(m, host);
    }
    model_heal(m);
    model_settle(m);
    for (uint32_t host = 1; host <= w->hosts; host++) {
        bool runs = model_is_running(m, host);

        if (runs && model_core(m, host)->state == CORE_ENDED) {
            model_kill(m, host);
            runs = false;
        }
        if (!runs)
            model_start(m, host);
    }
    model_settle(m);
    model_beats(m, 4 * MODEL_SUSPECT_TICKS);
}

static bool weather_run(uint64_t seed)
{
    struct weather w = {.hosts = 2 + (unsigned)(seed % 6)};
    struct model *m = model_new(w.hosts, seed);
    bool failed;

    if (w.hosts == 2 && seed % 4)
        model_two_node(m);
    for (uint32_t host = 1; host <= w.hosts; host++)
        model_start(m, host);
    for (unsigned i = 0; i < 150 && !model_failed(m); i++) {
        uint64_t steps = model_random(m, 60);

        something_happens(m, &w);
        if (!model_random(m, 6))
            model_settle(m);
        while (steps-- && model_step(m))
            ;
    }
    calm(m, &w);
    model_check_converged(m);
    failed = model_failed(m);
    model_free(m);
    return !failed;
}

static void in_any_weather_views_agree_and_nobody_is_forgotten(void)
{
    unsigned failed = 0;

    for (uint64_t seed = 0; seed < 400 / TEST_ONE_IN && failed < 3; seed++)
        failed += !weather_run(seed);
    CHECK_EQ(failed, 0);
}

static const struct test tests[] = {
    TEST(all_who_start_are_in_one_view),
    TEST(a_view_without_quorum_says_so),
    TEST(who_dies_is_missing_until_it_is_declared_fenced),
    TEST(others_may_die_often),
    TEST(who_says_goodbye_is_not_missing),
    TEST(who_leaves_before_it_was_in_is_not_missing),
    TEST(a_side_without_quorum_decides_nothing),
    TEST(who_comes_back_a_little_later_is_waited_for),
    TEST(who_was_cut_off_from_quorum_comes_back_as_another),
    TEST(of_two_that_condemned_each_other_one_goes_on),
    TEST(who_was_fenced_does_not_win_by_speaking_first),
    TEST(who_is_stopped_is_accused),
    TEST(of_two_that_accuse_each_other_one_goes),
    TEST(a_ring_that_stands_still_accuses_nobody),
    TEST(who_met_the_others_amid_a_heartbeat_goes_on_beating),
    TEST(a_newer_incarnation_replaces_the_older),
    TEST(a_node_number_belongs_to_one_host),
    TEST(who_has_another_key_stays_out),
    TEST(an_incarnation_is_not_used_twice),
    TEST(a_ghost_is_no_member_and_stops_nobody),
    TEST(a_cluster_starts_beside_a_ghost),
    TEST(corosync_gone_is_no_membership),
    TEST(alone_one_goes_on_after_its_corosync_came_back),
    TEST(messages_come_to_all_members_in_one_order),
    TEST(nothing_is_delivered_of_one_that_is_out),
    TEST(in_any_weather_views_agree_and_nobody_is_forgotten),
};
TEST_SUITE("lockmgr/member_core", tests);
