/* tests/unit/lockmgr/test_takeover_nodes.c - who comes, goes and comes back.
 * What a takeover makes of that, and of what other nodes say.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/lockmgr/takeover_world.h"

/* -- who has just come ----------------------------------------------------- */

/* I am elected, and node 2 serves, as its block says. */
static void come_while_another_coordinates(void)
{
    setup();
    node_block_claim(&blocks.node[1], CLAIM_HELD, 4);
    sees(7);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_FOLLOW);
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_WRITE_CLAIM));
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_START_TIMER));
}

static void who_comes_follows_whom_it_finds(void)
{
    come_while_another_coordinates();
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 2, 4, true);
    is_in(TAKEOVER_FOLLOW);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_REPORT));
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_STOP_TIMER));
    sees(0xf);
    is_in(TAKEOVER_FOLLOW);
}

static void who_comes_claims_when_the_other_resigns(void)
{
    come_while_another_coordinates();
    node_block_claim(&blocks.node[1], CLAIM_RELEASED, 4);
    hear_epoch(TAKEOVER_EV_RESIGNED, 2, 4, false);
    claim_epoch();
    CHECK_EQ(t.epoch, 5);
}

static void who_comes_reads_again_in_each_view(void)
{
    come_while_another_coordinates();
    node_block_claim(&blocks.node[1], CLAIM_RELEASED, 4); /* told to others */
    sees(0xf);
    claim_epoch();
}

static void who_comes_claims_when_the_other_leaves(void)
{
    come_while_another_coordinates();
    sees(5);
    claim_epoch();
    CHECK_EQ(t.epoch, 5);
}

static void who_comes_does_not_wait_for_a_fenced_claimant(void)
{
    struct lm_target target = {.run = run_of(2), .turn = LM_TURN_ALL};

    setup();
    node_block_claim(&blocks.node[1], CLAIM_HELD, 4);
    node_block_name(&blocks.node[2], &target, FENCING_DONE);
    sees(7); /* membership does not know yet */
    claim_epoch();
}

/* In its view; mine is older. */
static void who_resigned_in_a_view_does_not_try_in_it(void)
{
    struct takeover_event ev;

    setup_as(2);
    sees(3);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 1, 4, false);
    ev = about(TAKEOVER_EV_RESIGNED, 1);
    ev.epoch = 4;
    ev.view_id = view.id + 1;
    takeover_step(&t, &ev, &fx);
    sees(3); /* else node 1 is elected */
    is_in(TAKEOVER_CLAIM_READ);
    hear(TAKEOVER_EV_BLOCKS_READ);
    sees(3);
    is_in(TAKEOVER_CLAIM_WRITE);
}

/* Node 2 has claimed at the same time, under a lower epoch. */
static void claim_beside_another(void)
{
    setup();
    super_epoch = 5;
    sees(7);
    hear(TAKEOVER_EV_BLOCKS_READ);
    hear(TAKEOVER_EV_BLOCK_WRITTEN);
    node_block_claim(&blocks.node[ME - 1], CLAIM_HELD, t.epoch);
    node_block_claim(&blocks.node[1], CLAIM_HELD, t.epoch - 1);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_CLAIM_CHECK);
}

static void of_two_claimants_the_lower_gives_up_and_is_not_fenced(void)
{
    claim_beside_another();
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_READ_BLOCKS));
    node_block_claim(&blocks.node[1], CLAIM_RELEASED, t.epoch - 1);
    hear_epoch(TAKEOVER_EV_RESIGNED, 2, t.epoch - 1, false);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_READ_BLOCKS));
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_RESERVE_READ);
    CU_ASSERT_TRUE(takeover_knows(&t, run_of(2)));
}

static void f9_one_that_does_not_give_up_is_accused_then_fenced(void)
{
    claim_beside_another();
    hear(TAKEOVER_EV_SUSPECT);
    CHECK_EQ(the(TAKEOVER_DO_ACCUSE).run.node, 2);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_CLAIM_CHECK);
    sees(5);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_RESERVE_READ);
    CU_ASSERT_FALSE(takeover_knows(&t, run_of(2)));
}

static void f9_a_claimant_that_says_nothing_is_accused_not_fenced(void)
{
    come_while_another_coordinates();
    hear(TAKEOVER_EV_SUSPECT);
    is_in(TAKEOVER_CLAIM_READ);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_FOLLOW);
    CHECK_EQ(the(TAKEOVER_DO_ACCUSE).run.node, 2);
    hear(TAKEOVER_EV_SUSPECT); /* it has released meanwhile */
    node_block_claim(&blocks.node[1], CLAIM_RELEASED, 4);
    claim_epoch();
}

static void who_claims_greets_whoever_comes_meanwhile(void)
{
    setup();
    sees(7);
    claim_epoch();
    sees(0xf);
    for (uint32_t i = 0; i < fx.count; i++)
        if (fx.list[i].kind == TAKEOVER_DO_ANNOUNCE &&
            fx.list[i].run.node == 4) {
            CU_ASSERT_FALSE(fx.list[i].opened);
            return;
        }
    CU_FAIL("node 4 is not told");
}

static void a_claim_that_came_to_nothing_hides_no_coordinator(void)
{
    setup_as(4);
    sees(0xf);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 2, 8, true);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 3, 9, false);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 2, 8, true);
    CHECK_EQ(t.coordinator.node, 3);
    hear_epoch(TAKEOVER_EV_RESIGNED, 3, 9, false);
    CHECK_EQ(t.coordinator.node, 2);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 2, 7, true); /* F5 */
    CHECK_EQ(fx.count, 0);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 3, 10, false);
    sees(0xb); /* node 3 leaves, before it opened */
    CHECK_EQ(t.coordinator.node, 2);
    hear_epoch(TAKEOVER_EV_RESIGNED, 2, 8, false);
    CHECK_EQ(t.coordinator.node, 0);
}

static void who_comes_after_a_claim_that_came_to_nothing_follows_too(void)
{
    setup_as(4);
    sees(0xf);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 3, 9, false);
    hear_epoch(TAKEOVER_EV_RESIGNED, 3, 9, false);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 2, 8, true);
    CHECK_EQ(t.coordinator.node, 2);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_REPORT));
}

/* -- condemned, and back --------------------------------------------------- */

static void loses_quorum(uint64_t members)
{
    view.id++;
    view.quorate = false;
    view.members = view.paths = members;
    hear(TAKEOVER_EV_VIEW);
}

static void who_is_back_as_it_was_is_heeded_again(void)
{
    setup_as(4);
    sees(0xf);
    loses_quorum(8);
    CU_ASSERT_FALSE(takeover_knows(&t, run_of(2)));
    sees(0xf);
    CU_ASSERT_TRUE(takeover_knows(&t, run_of(2)));
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 2, 8, true);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_REPORT));
}

static void who_is_back_as_another_run_is_fenced_as_the_one_before(void)
{
    serve_three();
    view.arbiter = false; /* nothing is sent before the race */
    loses_quorum(3);
    sees(3);
    view.id++;
    view.members = view.paths = 7;
    view.incarnation[2]++;
    hear(TAKEOVER_EV_VIEW);
    hear(TAKEOVER_EV_ARBITER_WON);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.incarnation,
             run_of(3).incarnation);
}

static void who_is_back_while_its_fence_runs_is_not_pardoned(void)
{
    serve_three();
    sees(3);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 3);
    sees(7);
    CU_ASSERT_FALSE(takeover_knows(&t, run_of(3)));
    is_in(TAKEOVER_HELD);
}

/* It may be the others who go on, and they fence whom they find named. */
static void f27_without_quorum_nobody_is_fenced(void)
{
    serve_three();
    loses_quorum(1);
    is_in(TAKEOVER_HELD);
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_FENCE));
    sees(3);
    CHECK_EQ(fx.count, 2); /* that, and HELD_KEYS waits for it */
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 3);
    CU_ASSERT_TRUE(takeover_knows(&t, run_of(2)));
}

/* -- two hosts that do not hear each other --------------------------------- */

/* Node 1, alone; node 2 has the LUN open and coordinates. */
static void begin_alone(bool tie)
{
    setup();
    node_block_claim(&blocks.node[1], CLAIM_HELD, 6);
    view.tie = tie;
    sees(1);
    hear(TAKEOVER_EV_BLOCKS_READ);
}

static void in_a_tie_nobody_claims_beside_a_run_it_never_met(void)
{
    begin_alone(true);
    is_in(TAKEOVER_FOLLOW);
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_ALARM)); /* they may meet yet */
    hear(TAKEOVER_EV_SUSPECT);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_FOLLOW);
    CHECK_EQ(the(TAKEOVER_DO_ALARM).run.node, 2);
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_ACCUSE));
    view.tie = false;
    sees(3);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 2, 6, true);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_REPORT));
    CHECK_EQ(t.coordinator.node, 2);
}

static void nor_beside_one_that_only_has_a_key(void)
{
    setup();
    view.tie = true;
    sees(1);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_FOLLOW);
    CHECK_EQ(t.unmet.node, 2);
}

static void the_operator_may_say_that_it_is_off(void)
{
    begin_alone(true);
    hear_of(TAKEOVER_EV_CONFIRMED_DEAD, 3); /* of whom nobody asked */
    is_in(TAKEOVER_FOLLOW);
    hear_of(TAKEOVER_EV_CONFIRMED_DEAD, 2);
    is_in(TAKEOVER_CLAIM_READ);
    hear(TAKEOVER_EV_BLOCKS_READ);
    CHECK_EQ(t.unmet.node, 3);
    hear_of(TAKEOVER_EV_CONFIRMED_DEAD, 3);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_CLAIM_WRITE);
}

static void with_more_than_half_of_the_votes_it_claims(void)
{
    begin_alone(false);
    is_in(TAKEOVER_CLAIM_WRITE);
}

static void who_was_in_a_view_with_the_other_takes_over_at_once(void)
{
    setup();
    node_block_claim(&blocks.node[1], CLAIM_HELD, 6);
    sees(7);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 2, 6, true);
    view.tie = true;
    sees(1);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_CLAIM_WRITE);
}

static void a_claimant_is_not_pardoned(void)
{
    setup();
    view.arbiter = false;
    sees(7);
    hear(TAKEOVER_EV_BLOCKS_READ);
    sees(3); /* node 3 has gone, and */
    hear(TAKEOVER_EV_BLOCK_WRITTEN);
    node_block_claim(&blocks.node[2], CLAIM_HELD, t.epoch - 1);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_RESERVE_READ);
    sees(7);
    CU_ASSERT_FALSE(takeover_knows(&t, run_of(3)));
}

static void i11_who_is_in_the_view_and_fenced_is_told(void)
{
    struct lm_target target = {.run = run_of(3), .turn = LM_TURN_ALL};

    setup();
    node_block_name(&blocks.node[1], &target, FENCING_DONE);
    sees(7);
    claim_epoch();
    hear(TAKEOVER_EV_BLOCKS_READ);
    CHECK_EQ(the(TAKEOVER_DO_TELL_FENCED).run.node, 3);
    sees(3);
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_TELL_FENCED));
    sees(7);
    CHECK_EQ(the(TAKEOVER_DO_TELL_FENCED).run.node, 3);
}

/* What was granted after the report was sent is not in it. */
static void a_report_from_before_the_absence_is_not_taken(void)
{
    struct takeover_event late;

    serve_three();
    late = about(TAKEOVER_EV_REPORTED, 3);
    view.arbiter = false;
    sees(3);
    sees(7);
    CHECK_EQ(the(TAKEOVER_DO_ANNOUNCE).run.node, 3);
    CHECK_EQ(the(TAKEOVER_DO_ANNOUNCE).view_id, view.id);
    CU_ASSERT_FALSE(takeover_wants_report(&t, late.run, t.epoch, late.view_id));
    takeover_step(&t, &late, &fx);
    CU_ASSERT_FALSE(t.peer[2].reported);
    CU_ASSERT_TRUE(takeover_wants_report(&t, late.run, t.epoch, view.id));
    hear_of(TAKEOVER_EV_REPORTED, 3);
    CU_ASSERT_TRUE(t.peer[2].reported);
    CU_ASSERT_FALSE(takeover_wants_report(&t, late.run, t.epoch, view.id));
}

static void a_report_names_the_view_of_the_announcement(void)
{
    struct takeover_event ev;

    setup_as(4);
    sees(0xf);
    ev = about(TAKEOVER_EV_ANNOUNCED, 2);
    ev.epoch = 8;
    ev.opened = true;
    ev.view_id = view.id;
    sees(0xf);
    takeover_step(&t, &ev, &fx);
    CHECK_EQ(the(TAKEOVER_DO_REPORT).view_id, ev.view_id);
}

/* -- moves, consent, election ---------------------------------------------- */

static void a_move_closes_releases_and_names_the_heir(void)
{
    struct takeover_event move;

    serve_three();
    move = about(TAKEOVER_EV_MOVE, ME);
    move.to = 2;
    takeover_step(&t, &move, &fx);
    CU_ASSERT_FALSE(takeover_may_grant(&t));
    hear(TAKEOVER_EV_CLOSED);
    is_in(TAKEOVER_RELEASING);
    hear(TAKEOVER_EV_BLOCK_WRITTEN);
    CHECK_EQ(the(TAKEOVER_DO_RESIGN).to, 2);
    is_in(TAKEOVER_FOLLOW);
}

static void the_heir_of_a_resignation_tries(void)
{
    struct takeover_event ev;

    setup_as(4);
    sees(0xf);
    ev = about(TAKEOVER_EV_ANNOUNCED, 2);
    ev.epoch = 8;
    takeover_step(&t, &ev, &fx);
    ev.kind = TAKEOVER_EV_RESIGNED;
    ev.to = 4;
    takeover_step(&t, &ev, &fx);
    is_in(TAKEOVER_CLAIM_READ);
}

static void a_late_announcement_of_a_claim_that_lost_is_not_heard(void)
{
    struct takeover_event ev;

    setup_as(4);
    sees(0xf);
    ev = about(TAKEOVER_EV_ANNOUNCED, 2);
    ev.epoch = 8;
    ev.opened = true;
    takeover_step(&t, &ev, &fx);
    ev.run = run_of(3);
    ev.opened = false;
    takeover_step(&t, &ev, &fx);
    CHECK_EQ(t.coordinator.node, 2);
}

static void f8_who_serves_the_arbiter_tells_also_what_it_did_not_see(void)
{
    serve_three();
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_TELL_ARBITER));
}

static void consent_gives_the_next_turn_and_tells_who_is_fenced(void)
{
    serve_three();
    hear_of(TAKEOVER_EV_CONSENT_ASKED, 2);
    CHECK_EQ(the(TAKEOVER_DO_CONSENT).turn, 1);
    sees(3);
    hear_of(TAKEOVER_EV_CONSENT_ASKED, 3);
    CHECK_EQ(fx.count, 0);
    hear_of(TAKEOVER_EV_TARGET_FENCED, 3);
    hear(TAKEOVER_EV_KEYS_READ);
    hear_of(TAKEOVER_EV_CONFIRMED, 2);
    hear_of(TAKEOVER_EV_CONSENT_ASKED, 3);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_TELL_FENCED));
}

static void volumes_spread_and_stay_where_they_are(void)
{
    struct lm_view all = {.members = 0xf, .paths = 0xf};
    uint8_t volume[16] = {0};
    int count[5] = {0};

    for (int i = 0; i < 200; i++) {
        volume[15] = (uint8_t)i;
        count[takeover_elect(&all, volume, 0)]++;
        CHECK_EQ(takeover_elect(&all, volume, 3), 3);
    }
    for (int node = 1; node <= 4; node++)
        CU_ASSERT_TRUE(count[node] > 20);
    all.paths = 0x4;
    CHECK_EQ(takeover_elect(&all, volume, 1), 3); /* has the only path */
    all.paths = 0;
    CHECK_EQ(takeover_elect(&all, volume, 1), 0);
}

static void who_is_drained_hands_over_and_is_not_elected(void)
{
    const struct lm_view all = {.members = 7, .paths = 7, .barred = 1};

    setup();
    CU_ASSERT_TRUE(takeover_elect(&all, t.args.volume, ME) > ME);
    serve_three();
    view.barred = 1;
    sees(7);
    CU_ASSERT_FALSE(takeover_may_grant(&t));
    hear(TAKEOVER_EV_CLOSED);
    hear(TAKEOVER_EV_BLOCK_WRITTEN);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_RESIGN));
    sees(1); /* alone, and drained still */
    is_in(TAKEOVER_FOLLOW);
    view.barred = 0;
    sees(1);
    is_in(TAKEOVER_CLAIM_READ);
}

static const struct test tests[] = {
    TEST(who_is_drained_hands_over_and_is_not_elected),
    TEST(who_comes_follows_whom_it_finds),
    TEST(who_comes_claims_when_the_other_resigns),
    TEST(who_comes_reads_again_in_each_view),
    TEST(who_comes_claims_when_the_other_leaves),
    TEST(who_comes_does_not_wait_for_a_fenced_claimant),
    TEST(who_resigned_in_a_view_does_not_try_in_it),
    TEST(of_two_claimants_the_lower_gives_up_and_is_not_fenced),
    TEST(f9_one_that_does_not_give_up_is_accused_then_fenced),
    TEST(f9_a_claimant_that_says_nothing_is_accused_not_fenced),
    TEST(who_claims_greets_whoever_comes_meanwhile),
    TEST(a_claim_that_came_to_nothing_hides_no_coordinator),
    TEST(who_comes_after_a_claim_that_came_to_nothing_follows_too),
    TEST(who_is_back_as_it_was_is_heeded_again),
    TEST(who_is_back_as_another_run_is_fenced_as_the_one_before),
    TEST(who_is_back_while_its_fence_runs_is_not_pardoned),
    TEST(f27_without_quorum_nobody_is_fenced),
    TEST(in_a_tie_nobody_claims_beside_a_run_it_never_met),
    TEST(nor_beside_one_that_only_has_a_key),
    TEST(the_operator_may_say_that_it_is_off),
    TEST(with_more_than_half_of_the_votes_it_claims),
    TEST(who_was_in_a_view_with_the_other_takes_over_at_once),
    TEST(a_claimant_is_not_pardoned),
    TEST(i11_who_is_in_the_view_and_fenced_is_told),
    TEST(a_report_from_before_the_absence_is_not_taken),
    TEST(a_report_names_the_view_of_the_announcement),
    TEST(a_move_closes_releases_and_names_the_heir),
    TEST(the_heir_of_a_resignation_tries),
    TEST(a_late_announcement_of_a_claim_that_lost_is_not_heard),
    TEST(f8_who_serves_the_arbiter_tells_also_what_it_did_not_see),
    TEST(consent_gives_the_next_turn_and_tells_who_is_fenced),
    TEST(volumes_spread_and_stay_where_they_are),
};
TEST_SUITE("lockmgr/takeover_nodes", tests);
