/* tests/unit/lockmgr/test_takeover_path.c - who loses its path to the LUN keeps
 * its run: the path fence (I13), as the coordinator and its successor see it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/lockmgr/takeover_world.h"

static void asks_fence(uint32_t node, uint32_t turn)
{
    struct takeover_event ev = about(TAKEOVER_EV_FENCE_ASKED, node);

    ev.turn = turn;
    takeover_step(&t, &ev, &fx);
}

static void path_is_fenced(uint32_t node, uint32_t turn)
{
    struct takeover_event ev = about(TAKEOVER_EV_TARGET_FENCED, node);

    ev.target.turn = turn;
    takeover_step(&t, &ev, &fx);
}

/* -- asked for ------------------------------------------------------------- */

static void i13_the_key_is_fenced_the_run_goes_on(void)
{
    serve_three();
    asks_fence(2, 0);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 2);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.turn, 0);
    CU_ASSERT_FALSE(does(TAKEOVER_DO_TELL_PATH_FENCED));
    is_in(TAKEOVER_SERVING);
    CU_ASSERT_TRUE(takeover_knows(&t, run_of(2)));
    path_is_fenced(2, 0);
    CHECK_EQ(the(TAKEOVER_DO_TELL_PATH_FENCED).run.node, 2);
    CHECK_EQ(the(TAKEOVER_DO_TELL_PATH_FENCED).turn, 0);
    CU_ASSERT_TRUE(takeover_knows(&t, run_of(2)));
    is_in(TAKEOVER_SERVING);
}

static void asked_twice_it_is_fenced_once_and_told_again(void)
{
    serve_three();
    asks_fence(2, 0);
    asks_fence(2, 0);
    CHECK_EQ(fx.count, 0); /* it runs */
    path_is_fenced(2, 0);
    asks_fence(2, 0);
    CU_ASSERT_FALSE(does(TAKEOVER_DO_FENCE));
    CHECK_EQ(the(TAKEOVER_DO_TELL_PATH_FENCED).run.node, 2);
}

static void an_earlier_run_a_stranger_and_nonsense_get_no_fence(void)
{
    struct takeover_event ev;

    serve_three();
    ev = about(TAKEOVER_EV_FENCE_ASKED, 2);
    ev.run.incarnation--;
    takeover_step(&t, &ev, &fx);
    CHECK_EQ(fx.count, 0);
    asks_fence(4, 0); /* not in the view */
    CHECK_EQ(fx.count, 0);
    asks_fence(2, LM_TURN_ALL);
    CHECK_EQ(fx.count, 0);
    ev.run.node = 77;
    takeover_step(&t, &ev, &fx);
    CHECK_EQ(fx.count, 0);
    asks_fence(ME, 0);
    CHECK_EQ(fx.count, 0);
}

static void who_is_fenced_and_asks_for_a_path_fence_is_told(void)
{
    serve_three();
    hear_of(TAKEOVER_EV_TARGET_FENCED, 2);
    asks_fence(2, 0);
    CHECK_EQ(the(TAKEOVER_DO_TELL_FENCED).run.node, 2);
}

static void who_asks_and_leaves_is_fenced_as_a_run(void)
{
    serve_three();
    asks_fence(2, 0);
    sees(5);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.turn, LM_TURN_ALL);
    path_is_fenced(2, 0); /* not enough any more */
    CU_ASSERT_FALSE(does(TAKEOVER_DO_TELL_PATH_FENCED));
    is_in(TAKEOVER_HELD);
    hear_of(TAKEOVER_EV_TARGET_FENCED, 2);
    is_in(TAKEOVER_HELD_KEYS);
}

static void while_held_nobody_is_path_fenced(void)
{
    serve_three();
    sees(5);
    asks_fence(3, 0);
    CU_ASSERT_FALSE(does(TAKEOVER_DO_FENCE));
}

static void the_new_key_waits_for_the_fence_of_the_old_one(void)
{
    serve_three();
    asks_fence(2, 0);
    hear_of(TAKEOVER_EV_CONSENT_ASKED, 2); /* the path is back */
    CHECK_EQ(fx.count, 0);
    path_is_fenced(2, 0);
    hear_of(TAKEOVER_EV_CONSENT_ASKED, 2);
    CHECK_EQ(the(TAKEOVER_DO_CONSENT).turn, 1);
}

/* -- the next coordinator -------------------------------------------------- */

static void who_reports_no_key_has_its_last_one_fenced(void)
{
    struct takeover_event ev;

    setup();
    sees(7);
    come_to_reports();
    hear_of(TAKEOVER_EV_REPORTED, 3);
    ev = about(TAKEOVER_EV_REPORTED, 2);
    ev.key = 0;
    takeover_step(&t, &ev, &fx);
    is_in(TAKEOVER_STRANGERS);
    hear(TAKEOVER_EV_KEYS_READ);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 2);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.turn, 0);
    path_is_fenced(2, 0);
    CHECK_EQ(the(TAKEOVER_DO_TELL_PATH_FENCED).run.node, 2);
}

/* Node 2 coordinated, and cannot release its claim. */
static void two_is_blind(uint64_t resigned)
{
    setup();
    node_block_claim(&blocks.node[1], CLAIM_HELD, 6);
    hear_epoch(TAKEOVER_EV_ANNOUNCED, 2, 6, true);
    hear_epoch(TAKEOVER_EV_RESIGNED, 2, resigned, false);
    view.id++;
    view.quorate = true;
    view.members = 7;
    view.paths = 5;
    for (uint32_t node = 1; node <= 3; node++)
        view.incarnation[node - 1] = run_of(node).incarnation;
    hear(TAKEOVER_EV_VIEW);
}

static void reads_all_and_fences(void)
{
    static const enum takeover_event_kind kinds[] = {
        TAKEOVER_EV_BLOCKS_READ, TAKEOVER_EV_RESERVATION_READ,
        TAKEOVER_EV_KEYS_READ};

    claim_epoch();
    hear_all(kinds, ARRAY_LEN(kinds));
}

static void i4_of_who_resigned_unreleased_the_key_is_fenced(void)
{
    two_is_blind(6);
    reads_all_and_fences();
    is_in(TAKEOVER_FENCING);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.run.node, 2);
    CHECK_EQ(the(TAKEOVER_DO_FENCE).target.turn, 0);
    path_is_fenced(2, 0);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_TELL_PATH_FENCED));
    is_in(TAKEOVER_SUPER);
    CU_ASSERT_TRUE(takeover_knows(&t, run_of(2)));
}

/* Of this claim nobody knows what it still writes under it. */
static void i4_who_resigned_no_such_claim_is_not_path_fenced(void)
{
    static const enum takeover_event_kind kinds[] = {
        TAKEOVER_EV_BLOCKS_READ, TAKEOVER_EV_RESERVATION_READ,
        TAKEOVER_EV_KEYS_READ};

    two_is_blind(6);
    hear(TAKEOVER_EV_BLOCKS_READ);
    hear(TAKEOVER_EV_BLOCK_WRITTEN);
    is_in(TAKEOVER_CLAIM_CHECK);
    t.peer[1].resigned = 5;
    hear_all(kinds, ARRAY_LEN(kinds));
    CU_ASSERT_FALSE(does(TAKEOVER_DO_FENCE)); /* its word is awaited */
}

/* -- the coordinator itself ------------------------------------------------ */

static void who_cannot_release_resigns_and_releases_later(void)
{
    struct takeover_event gone;

    serve_three();
    view.id++;
    view.paths = 6;
    hear(TAKEOVER_EV_VIEW);
    is_in(TAKEOVER_CLOSING);
    hear(TAKEOVER_EV_CLOSED);
    gone = about(TAKEOVER_EV_BLOCK_WRITTEN, ME);
    gone.answer = LUN_GONE;
    takeover_step(&t, &gone, &fx);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_RESIGN));
    is_in(TAKEOVER_FOLLOW);
    hear(TAKEOVER_EV_ADMITTED);
    CU_ASSERT_PTR_NOT_NULL(does(TAKEOVER_DO_WRITE_RELEASE));
    hear(TAKEOVER_EV_BLOCK_WRITTEN);
    is_in(TAKEOVER_FOLLOW);
    hear(TAKEOVER_EV_ADMITTED);
    CHECK_EQ(fx.count, 0);
}

static const struct test tests[] = {
    TEST(i13_the_key_is_fenced_the_run_goes_on),
    TEST(asked_twice_it_is_fenced_once_and_told_again),
    TEST(an_earlier_run_a_stranger_and_nonsense_get_no_fence),
    TEST(who_is_fenced_and_asks_for_a_path_fence_is_told),
    TEST(who_asks_and_leaves_is_fenced_as_a_run),
    TEST(while_held_nobody_is_path_fenced),
    TEST(the_new_key_waits_for_the_fence_of_the_old_one),
    TEST(who_reports_no_key_has_its_last_one_fenced),
    TEST(i4_of_who_resigned_unreleased_the_key_is_fenced),
    TEST(i4_who_resigned_no_such_claim_is_not_path_fenced),
    TEST(who_cannot_release_resigns_and_releases_later),
};
TEST_SUITE("lockmgr/takeover_path", tests);
