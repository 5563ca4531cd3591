/* tests/unit/lockmgr/test_takeover.c - who coordinates, from when, until when
 * (F5, F8, F9, F10, F12, I14).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/lockmgr/takeover_world.h"

#include <string.h>

/* -- the good path --------------------------------------------------------- */

static void a_takeover_goes_through_its_steps_in_order(void)
{
    /* clang-format off */
    static const struct {
        enum takeover_event_kind event;
        enum takeover_state state;
        enum takeover_effect_kind effect;
    } walk[] = {
        {TAKEOVER_EV_BLOCKS_READ, TAKEOVER_CLAIM_WRITE, TAKEOVER_DO_WRITE_CLAIM},
        {TAKEOVER_EV_BLOCK_WRITTEN, TAKEOVER_CLAIM_CHECK, TAKEOVER_DO_READ_BLOCKS},
        {TAKEOVER_EV_BLOCKS_READ, TAKEOVER_RESERVE_READ, TAKEOVER_DO_READ_RESERVATION},
        {TAKEOVER_EV_RESERVATION_READ, TAKEOVER_LISTING, TAKEOVER_DO_READ_KEYS},
        {TAKEOVER_EV_KEYS_READ, TAKEOVER_SUPER, TAKEOVER_DO_WRITE_SUPER},
        {TAKEOVER_EV_SUPER_WRITTEN, TAKEOVER_OPENING, TAKEOVER_DO_OPEN},
        {TAKEOVER_EV_OPENED, TAKEOVER_REPORTING, TAKEOVER_DO_ANNOUNCE},
    };
    /* clang-format on */

    setup();
    sees(7);
    for (size_t i = 0; i < ARRAY_LEN(walk); i++) {
        hear(walk[i].event);
        is_in(walk[i].state);
        CU_ASSERT_PTR_NOT_NULL(does(walk[i].effect));
        CU_ASSERT_FALSE(takeover_may_grant(&t));
    }
    hear_of(TAKEOVER_EV_REPORTED, 2);
    is_in(TAKEOVER_REPORTING);
    hear_of(TAKEOVER_EV_REPORTED, 3);
    is_in(TAKEOVER_STRANGERS);
    hear(TAKEOVER_EV_KEYS_READ);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_SERVE));
    CU_ASSERT_TRUE(takeover_may_grant(&t));
    CU_ASSERT_TRUE(takeover_may_answer(&t));
}

static void the_missing_are_fenced_before_the_superblock(void)
{
    setup();
    sees(3); /* node 3 has a key and is not there */
    claim_epoch();
    hear(TAKEOVER_EV_BLOCKS_READ);
    hear(TAKEOVER_EV_RESERVATION_READ);
    hear(TAKEOVER_EV_KEYS_READ);
    is_in(TAKEOVER_FENCING);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 3);
    hear_of(TAKEOVER_EV_TARGET_FENCED, 3);
    is_in(TAKEOVER_SUPER);
}

/* -- F10 ------------------------------------------------------------------- */

static void f10_an_unreleased_claimant_is_fenced_live_or_not(void)
{
    setup();
    sees(7);
    node_block_claim(&blocks.node[1], CLAIM_HELD, 4);
    hear_epoch(TAKEOVER_EV_RESIGNED, 2, 4, false); /* but it is written */
    claim_epoch();
    CHECK_EQ(t.epoch, 5);
    hear(TAKEOVER_EV_BLOCKS_READ);
    hear(TAKEOVER_EV_RESERVATION_READ);
    hear(TAKEOVER_EV_KEYS_READ);
    is_in(TAKEOVER_FENCING);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 2);
}

static void f10_a_released_claim_is_not_fenced(void)
{
    setup();
    sees(7);
    node_block_claim(&blocks.node[1], CLAIM_RELEASED, 4);
    come_to_reports();
    CHECK_EQ(t.epoch, 5);
}

static void f10_a_higher_claim_of_a_live_node_makes_me_yield(void)
{
    setup();
    sees(7);
    claim_epoch();
    node_block_claim(&blocks.node[1], CLAIM_HELD, t.epoch + 1);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_CLOSING);
    hear(TAKEOVER_EV_CLOSED);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_WRITE_RELEASE));
}

static void f10_an_epoch_that_another_wrote_too_is_nobodys(void)
{
    setup();
    sees(7);
    claim_epoch();
    node_block_claim(&blocks.node[1], CLAIM_HELD, t.epoch);
    hear(TAKEOVER_EV_BLOCKS_READ); /* of two, the lower number claims anew */
    claim_epoch();
    CHECK_EQ(t.epoch, 2);
}

static void f10_the_superblock_counts_as_a_claim(void)
{
    setup();
    super_epoch = 41;
    sees(7);
    claim_epoch();
    CHECK_EQ(t.epoch, 42);
}

/* Node 2 named node 3 and was fenced, by node 4: what is left of it?  Seen from
 * the check of a claim; `read_once`: the claim had read it, too. */
static void check_with_a_name_of_a_fenced_run(bool read_once)
{
    struct lm_target author = {.run = run_of(2), .turn = LM_TURN_ALL};
    struct lm_target victim = {.run = run_of(3), .turn = LM_TURN_ALL};

    setup();
    sees(0xd);
    if (!read_once)
        claim_epoch();
    node_block_name(&blocks.node[1], &victim, FENCING_NAMED);
    node_block_name(&blocks.node[3], &author, FENCING_DONE);
    if (read_once)
        claim_epoch();
    hear(TAKEOVER_EV_BLOCKS_READ);
}

static void f10_what_a_fenced_run_named_is_void_when_read_twice(void)
{
    for (int read_once = 0; read_once < 2; read_once++) {
        check_with_a_name_of_a_fenced_run(read_once);
        if (!read_once) {
            is_in(TAKEOVER_CLAIM_CHECK);
            CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_READ_BLOCKS));
            hear(TAKEOVER_EV_BLOCKS_READ);
        }
        is_in(TAKEOVER_RESERVE_READ);
        CU_ASSERT_TRUE(takeover_knows(&t, run_of(3)));
    }
}

static void f10_what_a_fenced_run_had_done_is_found_in_the_second_read(void)
{
    struct lm_target victim = {.run = run_of(3), .turn = LM_TURN_ALL};

    check_with_a_name_of_a_fenced_run(false);
    node_block_name(&blocks.node[1], &victim, FENCING_DONE);
    hear(TAKEOVER_EV_BLOCKS_READ);
    is_in(TAKEOVER_RESERVE_READ);
    CU_ASSERT_FALSE(takeover_knows(&t, run_of(3)));
}

static void f10_a_higher_announcement_ends_it_at_any_step(void)
{
    static const enum takeover_event_kind kinds[] = {
        TAKEOVER_EV_BLOCKS_READ, TAKEOVER_EV_BLOCK_WRITTEN,
        TAKEOVER_EV_BLOCKS_READ, TAKEOVER_EV_RESERVATION_READ,
        TAKEOVER_EV_KEYS_READ,   TAKEOVER_EV_SUPER_WRITTEN,
        TAKEOVER_EV_OPENED};

    for (size_t steps = 1; steps <= ARRAY_LEN(kinds); steps++) {
        struct takeover_event higher;

        setup();
        sees(7);
        hear_all(kinds, steps);
        higher = about(TAKEOVER_EV_ANNOUNCED, 2);
        higher.epoch = t.epoch + 1;
        takeover_step(&t, &higher, &fx);
        is_in(TAKEOVER_CLOSING);
        CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_CLOSE));
    }
}

static void a_fence_at_any_step_ends_it_for_good(void)
{
    setup();
    sees(7);
    claim_epoch();
    hear(TAKEOVER_EV_NEXUS_FENCED);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_STOP));
    for (enum takeover_event_kind k = 0; k < TAKEOVER_EVENT_COUNT; k++) {
        hear(k);
        CHECK_EQ(fx.count, 0);
    }
}

/* -- F5 -------------------------------------------------------------------- */

static void f5_a_report_closes_the_epoch(void)
{
    struct takeover_event ev;

    setup_as(4);
    sees(0xf);
    ev = about(TAKEOVER_EV_ANNOUNCED, 2);
    ev.epoch = 8;
    takeover_step(&t, &ev, &fx);
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_REPORT)); /* only claims yet */
    CU_ASSERT_TRUE(takeover_may_hear(&t, 7));
    ev.opened = true;
    takeover_step(&t, &ev, &fx);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_REPORT));
    CU_ASSERT_FALSE(takeover_may_hear(&t, 7));
    ev.epoch = 7;
    takeover_step(&t, &ev, &fx); /* a late one */
    CHECK_EQ(fx.count, 0);
}

static void f5_the_key_of_an_earlier_run_is_fenced_before_serving(void)
{
    struct lm_run before = {2, 50};

    setup();
    sees(7);
    come_to_reports();
    hear_of(TAKEOVER_EV_REPORTED, 2);
    hear_of(TAKEOVER_EV_REPORTED, 3);
    listed[listed_count++] = lm_key_make(CLUSTER, before, 0);
    hear(TAKEOVER_EV_KEYS_READ);
    is_in(TAKEOVER_STRANGERS);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.incarnation, 50);
}

static void f5_a_key_of_nobody_is_preempted_before_serving(void)
{
    struct takeover_event done;

    setup();
    sees(7);
    come_to_reports();
    hear_of(TAKEOVER_EV_REPORTED, 2);
    hear_of(TAKEOVER_EV_REPORTED, 3);
    listed[listed_count++] = 0xabcdef;
    hear(TAKEOVER_EV_KEYS_READ);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.foreign, 0xabcdef);
    listed_count--;
    done = about(TAKEOVER_EV_TARGET_FENCED, ME);
    done.target = (struct lm_target){.foreign = 0xabcdef};
    takeover_step(&t, &done, &fx);
    hear(TAKEOVER_EV_KEYS_READ);
    is_in(TAKEOVER_SERVING);
}

/* -- F8 -------------------------------------------------------------------- */

static void f8_who_is_not_the_arbiter_fences_nobody_before_the_race(void)
{
    serve_three();
    view.arbiter = false;
    sees(3);
    is_in(TAKEOVER_HELD);
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_FENCE));
    hear(TAKEOVER_EV_ARBITER_WON);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 3);
}

static void f8_nor_does_it_claim(void)
{
    setup_as(2);
    view.arbiter = false;
    sees(7);
    hear_of(TAKEOVER_EV_ANNOUNCED, 1);
    sees(2); /* of the three only me */
    is_in(TAKEOVER_ARBITER);
    hear(TAKEOVER_EV_ARBITER_WON);
    is_in(TAKEOVER_CLAIM_READ);
}

static void f8_the_arbiter_tells_when_the_missing_are_fenced(void)
{
    serve_three();
    sees(3);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 3);
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_TELL_ARBITER));
    hear_of(TAKEOVER_EV_TARGET_FENCED, 3);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_TELL_ARBITER));
}

static void f8_the_arbiter_is_the_lowest_that_all_reached(void)
{
    static const struct takeover_volume volumes[] = {
        {{1}, 0x3}, /* unseen by node 3 */
        {{9}, 0x7},
        {{4}, 0x7},
    };

    CHECK_EQ(takeover_arbiter(volumes, 3, 0x7), 2);
    CHECK_EQ(takeover_arbiter(volumes, 3, 0x3), 0);
    CU_ASSERT_EQUAL(takeover_arbiter(volumes, 1, 0x7), -1);
}

/* -- I14, F9, F27 ---------------------------------------------------------- */

static void i14_nothing_is_granted_after_a_member_left_until_all_is_sure(void)
{
    serve_three();
    sees(3);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_HOLD));
    CU_ASSERT_FALSE(takeover_may_grant(&t));
    hear_of(TAKEOVER_EV_TARGET_FENCED, 3);
    is_in(TAKEOVER_HELD_KEYS);
    hear(TAKEOVER_EV_KEYS_READ);
    is_in(TAKEOVER_HELD_CONFIRM);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_CONFIRM));
    CU_ASSERT_FALSE(takeover_may_grant(&t));
    hear_of(TAKEOVER_EV_CONFIRMED, 2);
    CU_ASSERT_TRUE(takeover_may_grant(&t));
}

static void i14_a_coordinator_without_its_key_does_not_serve_again(void)
{
    serve_three();
    sees(3);
    hear_of(TAKEOVER_EV_TARGET_FENCED, 3);
    listed[0] = 0; /* mine */
    hear(TAKEOVER_EV_KEYS_READ);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_LOOK));
    CU_ASSERT_FALSE(takeover_may_grant(&t));
}

static void i14_a_client_caches_when_its_coordinator_is_sure(void)
{
    struct takeover_event ev;

    setup_as(4);
    sees(0xf);
    ev = about(TAKEOVER_EV_ANNOUNCED, 2);
    ev.epoch = 8;
    ev.opened = true;
    takeover_step(&t, &ev, &fx);
    CU_ASSERT_FALSE(takeover_may_cache(&t));
    ev.kind = TAKEOVER_EV_CONFIRM;
    takeover_step(&t, &ev, &fx);
    CU_ASSERT_TRUE(takeover_may_cache(&t));
    sees(0xb); /* node 3 left */
    CU_ASSERT_FALSE(takeover_may_cache(&t));
    takeover_step(&t, &ev, &fx); /* of the view before */
    CU_ASSERT_FALSE(takeover_may_cache(&t));
    ev.view_id = view.id;
    takeover_step(&t, &ev, &fx);
    CU_ASSERT_TRUE(takeover_may_cache(&t));
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_ANSWER_CONFIRM));
}

static void f27_without_quorum_nothing_is_served(void)
{
    serve_three();
    view.quorate = false;
    view.id++;
    hear(TAKEOVER_EV_VIEW);
    is_in(TAKEOVER_HELD);
    CU_ASSERT_FALSE(takeover_may_cache(&t));
    sees(7);
    is_in(TAKEOVER_HELD_KEYS); /* confirmed anew, though nobody left */
}

static void f9_who_owes_a_report_is_accused_not_released(void)
{
    setup();
    sees(7);
    come_to_reports();
    hear_of(TAKEOVER_EV_REPORTED, 2);
    hear(TAKEOVER_EV_SUSPECT);
    CHECK_EQ(the(TAKEOVER_DO_ACCUSE).run.node, 3);
    is_in(TAKEOVER_REPORTING);
    sees(3);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 3);
    hear_of(TAKEOVER_EV_TARGET_FENCED, 3);
    is_in(TAKEOVER_STRANGERS);
}

static void f9_who_has_just_come_is_not_accused(void)
{
    setup();
    memset(&blocks.node[2], 0, sizeof blocks.node[2]);
    listed_count--; /* node 3 has not come yet */
    sees(3);
    come_to_reports();
    sees(7);
    hear_of(TAKEOVER_EV_REPORTED, 2);
    hear(TAKEOVER_EV_SUSPECT);
    CU_ASSERT_PTR_NULL(does(TAKEOVER_DO_ACCUSE));
    hear(TAKEOVER_EV_SUSPECT);
    CHECK_EQ(the(TAKEOVER_DO_ACCUSE).run.node, 3);
}

static void f9_a_coordinator_whose_lun_fails_hands_over(void)
{
    serve_three();
    view.paths = 6;
    view.id++;
    hear(TAKEOVER_EV_VIEW);
    is_in(TAKEOVER_CLOSING);
    hear(TAKEOVER_EV_CLOSED);
    hear(TAKEOVER_EV_BLOCK_WRITTEN);
    is_in(TAKEOVER_FOLLOW);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_RESIGN));
}

/* -- F12 ------------------------------------------------------------------- */

static void f12_the_fenced_are_confirmed_dead_after_the_reservation_was_gone(
    void)
{
    struct lm_target dead = {
        .run = {4, 104},
          .turn = LM_TURN_ALL
    };

    setup();
    node_block_name(&blocks.node[1], &dead, FENCING_DONE);
    sees(7);
    claim_epoch();
    hear(TAKEOVER_EV_BLOCKS_READ);
    type = LM_RESERVATION_NONE;
    hear(TAKEOVER_EV_RESERVATION_READ);
    is_in(TAKEOVER_RESERVING);
    hear(TAKEOVER_EV_RESERVED);
    is_in(TAKEOVER_AWAIT_DEAD);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_ALARM));
    hear_of(TAKEOVER_EV_CONFIRMED_DEAD, 4);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_WRITE_DEAD));
    hear(TAKEOVER_EV_BLOCK_WRITTEN);
    is_in(TAKEOVER_LISTING);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_TELL_RESERVED));
}

static void f12_who_runs_again_need_not_be_confirmed_dead(void)
{
    struct lm_target before = {
        .run = {3, 50},
          .turn = LM_TURN_ALL
    };

    setup();
    node_block_name(&blocks.node[1], &before, FENCING_DONE);
    memset(&blocks.node[2], 0, sizeof blocks.node[2]);
    sees(3);
    claim_epoch();
    hear(TAKEOVER_EV_BLOCKS_READ);
    type = LM_RESERVATION_NONE;
    hear(TAKEOVER_EV_RESERVATION_READ);
    hear(TAKEOVER_EV_RESERVED);
    is_in(TAKEOVER_AWAIT_DEAD);
    sees(7);
    is_in(TAKEOVER_LISTING);
}

static void f12_the_first_reserve_of_a_lun_asks_nobody(void)
{
    setup();
    sees(7);
    claim_epoch();
    hear(TAKEOVER_EV_BLOCKS_READ);
    type = LM_RESERVATION_NONE;
    hear(TAKEOVER_EV_RESERVATION_READ);
    hear(TAKEOVER_EV_RESERVED);
    is_in(TAKEOVER_LISTING);
}

static void f12_a_serving_coordinator_stops_until_it_has_reserved(void)
{
    serve_three();
    hear(TAKEOVER_EV_UNRESERVED);
    CU_ASSERT_FALSE(takeover_may_grant(&t));
    type = LM_RESERVATION_NONE;
    hear(TAKEOVER_EV_RESERVATION_READ);
    hear(TAKEOVER_EV_RESERVED);
    is_in(TAKEOVER_HELD_KEYS);
}

static const struct test tests[] = {
    TEST(a_takeover_goes_through_its_steps_in_order),
    TEST(the_missing_are_fenced_before_the_superblock),
    TEST(f10_an_unreleased_claimant_is_fenced_live_or_not),
    TEST(f10_a_released_claim_is_not_fenced),
    TEST(f10_a_higher_claim_of_a_live_node_makes_me_yield),
    TEST(f10_an_epoch_that_another_wrote_too_is_nobodys),
    TEST(f10_the_superblock_counts_as_a_claim),
    TEST(f10_what_a_fenced_run_named_is_void_when_read_twice),
    TEST(f10_what_a_fenced_run_had_done_is_found_in_the_second_read),
    TEST(f10_a_higher_announcement_ends_it_at_any_step),
    TEST(a_fence_at_any_step_ends_it_for_good),
    TEST(f5_a_report_closes_the_epoch),
    TEST(f5_the_key_of_an_earlier_run_is_fenced_before_serving),
    TEST(f5_a_key_of_nobody_is_preempted_before_serving),
    TEST(f8_who_is_not_the_arbiter_fences_nobody_before_the_race),
    TEST(f8_nor_does_it_claim),
    TEST(f8_the_arbiter_tells_when_the_missing_are_fenced),
    TEST(f8_the_arbiter_is_the_lowest_that_all_reached),
    TEST(i14_nothing_is_granted_after_a_member_left_until_all_is_sure),
    TEST(i14_a_coordinator_without_its_key_does_not_serve_again),
    TEST(i14_a_client_caches_when_its_coordinator_is_sure),
    TEST(f27_without_quorum_nothing_is_served),
    TEST(f9_who_owes_a_report_is_accused_not_released),
    TEST(f9_who_has_just_come_is_not_accused),
    TEST(f9_a_coordinator_whose_lun_fails_hands_over),
    TEST(f12_the_fenced_are_confirmed_dead_after_the_reservation_was_gone),
    TEST(f12_who_runs_again_need_not_be_confirmed_dead),
    TEST(f12_the_first_reserve_of_a_lun_asks_nobody),
    TEST(f12_a_serving_coordinator_stops_until_it_has_reserved),
};
TEST_SUITE("lockmgr/takeover", tests);
