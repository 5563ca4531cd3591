/* tests/unit/lockmgr/test_fence.c - what it takes until a fence is done (F2,
 * F4, F12, F24, F27, M3, M5).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

enum { CLUSTER = 7 };

static const struct lm_run victim = {3, 5};
static struct fence f;
static struct fence_effects fx;
static uint64_t mine, theirs;
static uint64_t listed[4];
static uint32_t listed_count;

static void setup(uint32_t turn)
{
    struct fence_args args = {
        .target = {.run = victim, .turn = turn},
        .cluster = CLUSTER,
        .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS
    };

    mine = lm_key_make(CLUSTER, (struct lm_run){1, 9}, 0);
    theirs = lm_key_make(CLUSTER, victim, 0);
    listed[0] = mine;
    listed[1] = theirs;
    listed_count = 2;
    fence_init(&f, &args);
}

static void answer(enum fence_event_kind kind, enum lun_answer how)
{
    struct fence_event ev = {
        .kind = kind,
        .ticket = f.ticket,
        .answer = how,
        .keys = {listed, listed_count, listed_count},
        .own_key = mine,
        .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS,
        .yes = how == LUN_OK
    };

    fence_step(&f, &ev, &fx);
}

static void hear(enum fence_event_kind kind)
{
    answer(kind, LUN_OK);
}

static bool does(enum fence_effect_kind kind)
{
    for (uint32_t i = 0; i < fx.count; i++)
        if (fx.list[i].kind == kind)
            return true;
    return false;
}

static void is_in(enum fence_state state)
{
    CHECK_STR(fence_state_name(f.state), fence_state_name(state));
}

static void come_to_preempt(void)
{
    hear(FENCE_EV_START);
    hear(FENCE_EV_QUORUM);
    hear(FENCE_EV_BLOCK_WRITTEN);
    hear(FENCE_EV_KEYS_READ);
    hear(FENCE_EV_QUORUM);
    is_in(FENCE_PREEMPTING);
}

struct step {
    enum fence_event_kind event;
    enum fence_state state;
    enum fence_effect_kind effect;
};

static void walk(const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hear(steps[i].event);
        is_in(steps[i].state);
        CU_ASSERT_TRUE(does(steps[i].effect));
        if (steps[i].event == FENCE_EV_PREEMPTED)
            listed_count = 1;
    }
}

static void a_fence_is_done_after_all_its_steps_in_order(void)
{
    static const struct step steps[] = {
        {FENCE_EV_START,            FENCE_QUORUM,     FENCE_DO_ASK_QUORUM      },
        {FENCE_EV_QUORUM,           FENCE_NAMING,     FENCE_DO_WRITE_BLOCK     },
        {FENCE_EV_BLOCK_WRITTEN,    FENCE_LISTING,    FENCE_DO_READ_KEYS       },
        {FENCE_EV_KEYS_READ,        FENCE_QUORUM,     FENCE_DO_ASK_QUORUM      },
        {FENCE_EV_QUORUM,           FENCE_PREEMPTING, FENCE_DO_PREEMPT_ABORT   },
        {FENCE_EV_PREEMPTED,        FENCE_LISTING,    FENCE_DO_READ_KEYS       },
        {FENCE_EV_KEYS_READ,        FENCE_CHECKING,   FENCE_DO_READ_RESERVATION},
        {FENCE_EV_RESERVATION_READ, FENCE_FLUSHING,   FENCE_DO_FLUSH           },
        {FENCE_EV_FLUSHED,          FENCE_DRAINING,   FENCE_DO_DRAIN           },
        {FENCE_EV_DRAINED,          FENCE_RECORDING,  FENCE_DO_WRITE_BLOCK     },
        {FENCE_EV_BLOCK_WRITTEN,    FENCE_DONE,       FENCE_DO_TELL_DONE       },
    };

    setup(LM_TURN_ALL);
    walk(steps, ARRAY_LEN(steps));
}

static void m5_a_target_without_abort_is_reset(void)
{
    setup(LM_TURN_ALL);
    come_to_preempt();
    answer(FENCE_EV_PREEMPTED, LUN_UNSUPPORTED);
    hear(FENCE_EV_KEYS_READ);
    hear(FENCE_EV_QUORUM);
    CU_ASSERT_TRUE(does(FENCE_DO_PREEMPT));
    hear(FENCE_EV_PREEMPTED);
    listed_count = 1;
    hear(FENCE_EV_KEYS_READ);
    is_in(FENCE_RESETTING);
    hear(FENCE_EV_WAS_RESET);
    is_in(FENCE_LISTING); /* READ KEYS after all that may take time */
}

static void m5_so_is_one_that_is_known_to_have_none(void)
{
    setup(LM_TURN_ALL);
    f.args.cannot_abort = true;
    come_to_preempt();
    CU_ASSERT_TRUE(does(FENCE_DO_PREEMPT));
    hear(FENCE_EV_PREEMPTED);
    listed_count = 1;
    hear(FENCE_EV_KEYS_READ);
    is_in(FENCE_RESETTING);
}

static void f2_who_repeats_a_fence_resets_what_the_first_may_have_left(void)
{
    setup(LM_TURN_ALL);
    listed_count = 1; /* preempted by one that died before its reset */
    hear(FENCE_EV_START);
    hear(FENCE_EV_QUORUM);
    hear(FENCE_EV_BLOCK_WRITTEN);
    hear(FENCE_EV_KEYS_READ);
    is_in(FENCE_RESETTING);
}

static void m3_a_conflict_on_preempt_is_a_look_at_the_keys(void)
{
    setup(LM_TURN_ALL);
    come_to_preempt();
    answer(FENCE_EV_PREEMPTED, LUN_CONFLICT);
    is_in(FENCE_LISTING);
    listed_count = 1; /* another was faster */
    hear(FENCE_EV_KEYS_READ);
    is_in(FENCE_RESETTING); /* and perhaps did not abort */
}

static void f2_a_victim_that_registered_again_is_preempted_again(void)
{
    setup(LM_TURN_ALL);
    come_to_preempt();
    hear(FENCE_EV_PREEMPTED);
    hear(FENCE_EV_KEYS_READ); /* still, or again, listed */
    is_in(FENCE_QUORUM);
}

static void f2_the_later_keys_of_the_run_go_too(void)
{
    setup(LM_TURN_ALL);
    listed[1] = lm_key_make(CLUSTER, victim, 4);
    come_to_preempt();
    CHECK_EQ(fx.list[0].key, listed[1]);
}

static void a_later_run_of_the_node_is_left_alone(void)
{
    setup(LM_TURN_ALL);
    listed[1] = lm_key_make(CLUSTER, (struct lm_run){victim.node, 6}, 0);
    hear(FENCE_EV_START);
    hear(FENCE_EV_QUORUM);
    hear(FENCE_EV_BLOCK_WRITTEN);
    hear(FENCE_EV_KEYS_READ);
    is_in(FENCE_RESETTING);
}

static void f2_a_fencer_without_its_own_key_must_look(void)
{
    setup(LM_TURN_ALL);
    come_to_preempt();
    hear(FENCE_EV_PREEMPTED);
    listed_count = 0;
    hear(FENCE_EV_KEYS_READ);
    is_in(FENCE_LOST);
    CU_ASSERT_TRUE(does(FENCE_DO_LOOK));
    hear(FENCE_EV_ADMITTED);
    is_in(FENCE_LISTING);
    hear(FENCE_EV_ABANDON); /* it was the one */
    CU_ASSERT_TRUE(does(FENCE_DO_TELL_ABANDONED));
}

static void f24_keys_cut_short_prove_nothing(void)
{
    struct fence_event cut = {
        .kind = FENCE_EV_KEYS_READ, .keys = {listed, 1, 100}
    };

    setup(LM_TURN_ALL);
    hear(FENCE_EV_START);
    hear(FENCE_EV_QUORUM);
    hear(FENCE_EV_BLOCK_WRITTEN);
    cut.ticket = f.ticket;
    cut.own_key = mine;
    fence_step(&f, &cut, &fx);
    is_in(FENCE_LISTING);
    CU_ASSERT_TRUE(fx.list[0].room >= 100);
}

static void f27_without_quorum_nobody_is_named(void)
{
    setup(LM_TURN_ALL);
    hear(FENCE_EV_START);
    answer(FENCE_EV_QUORUM, LUN_FAILED); /* no */
    is_in(FENCE_QUORUM);
    CHECK_EQ(fx.count, 0);
    hear(FENCE_EV_QUORUM);
    is_in(FENCE_NAMING);
}

static void f27_without_quorum_nobody_is_preempted(void)
{
    setup(LM_TURN_ALL);
    hear(FENCE_EV_START);
    hear(FENCE_EV_QUORUM);
    hear(FENCE_EV_BLOCK_WRITTEN);
    hear(FENCE_EV_KEYS_READ);
    answer(FENCE_EV_QUORUM, LUN_FAILED); /* no */
    is_in(FENCE_QUORUM);
    CHECK_EQ(fx.count, 0);
    hear(FENCE_EV_QUORUM);
    is_in(FENCE_PREEMPTING);
}

static void f12_a_fence_on_an_unreserved_lun_is_not_done(void)
{
    struct fence_event none = {.kind = FENCE_EV_RESERVATION_READ};

    setup(LM_TURN_ALL);
    come_to_preempt();
    hear(FENCE_EV_PREEMPTED);
    listed_count = 1;
    hear(FENCE_EV_KEYS_READ);
    none.ticket = f.ticket;
    fence_step(&f, &none, &fx);
    is_in(FENCE_UNRESERVED);
    hear(FENCE_EV_RESERVED);
    hear(FENCE_EV_KEYS_READ);
    is_in(FENCE_RESETTING); /* what came in meanwhile */
}

static void f4_nothing_is_released_before_redirected_io_has_ended(void)
{
    setup(LM_TURN_ALL);
    come_to_preempt();
    hear(FENCE_EV_PREEMPTED);
    listed_count = 1;
    hear(FENCE_EV_KEYS_READ);
    hear(FENCE_EV_RESERVATION_READ);
    hear(FENCE_EV_FLUSHED);
    is_in(FENCE_DRAINING);
    CU_ASSERT_FALSE(does(FENCE_DO_TELL_DONE));
}

static void i13_a_path_fence_keeps_the_run_and_its_redirected_io(void)
{
    setup(0);
    come_to_preempt();
    hear(FENCE_EV_PREEMPTED);
    listed[1] = lm_key_make(CLUSTER, victim, 1); /* consented meanwhile */
    hear(FENCE_EV_KEYS_READ);
    is_in(FENCE_CHECKING);
    hear(FENCE_EV_RESERVATION_READ);
    hear(FENCE_EV_FLUSHED);
    is_in(FENCE_RECORDING);
    CHECK_EQ(fx.list[0].target.turn, 0);
}

static void a_lun_that_cannot_fence_takes_the_agent_then_the_operator(void)
{
    setup(LM_TURN_ALL);
    come_to_preempt();
    answer(FENCE_EV_PREEMPTED, LUN_UNSUPPORTED);
    hear(FENCE_EV_KEYS_READ);
    hear(FENCE_EV_QUORUM);
    answer(FENCE_EV_PREEMPTED, LUN_UNSUPPORTED);
    is_in(FENCE_AGENT);
    answer(FENCE_EV_AGENT_ENDED, LUN_FAILED); /* no */
    is_in(FENCE_STUCK);
    CU_ASSERT_TRUE(does(FENCE_DO_ALARM));
    hear(FENCE_EV_CONFIRMED_DEAD);
    is_in(FENCE_RESETTING);
    answer(FENCE_EV_WAS_RESET, LUN_UNSUPPORTED);
    hear(FENCE_EV_FLUSHED);
    hear(FENCE_EV_DRAINED);
    is_in(FENCE_RECORDING);
    CHECK_EQ(fx.list[0].fencing, FENCING_DEAD);
}

static void a_path_fence_that_fails_becomes_a_whole_one(void)
{
    setup(0);
    come_to_preempt();
    f.args.cannot_abort = true;
    answer(FENCE_EV_PREEMPTED, LUN_FAILED);
    is_in(FENCE_NAMING);
    CHECK_EQ(fx.list[0].target.turn, LM_TURN_ALL);
    hear(FENCE_EV_BLOCK_WRITTEN);
    is_in(FENCE_AGENT);
}

static void a_preempt_that_always_conflicts_is_failing(void)
{
    setup(LM_TURN_ALL);
    come_to_preempt();
    for (int i = 0; i < 2 * FENCE_CONFLICTS_MAX + 2; i++) {
        if (f.state == FENCE_AGENT)
            break;
        answer(FENCE_EV_PREEMPTED, LUN_CONFLICT);
        hear(FENCE_EV_KEYS_READ);
        hear(FENCE_EV_ADMITTED);
        hear(FENCE_EV_KEYS_READ);
        hear(FENCE_EV_QUORUM);
    }
    is_in(FENCE_AGENT);
}

static const struct test tests[] = {
    TEST(a_fence_is_done_after_all_its_steps_in_order),
    TEST(m5_a_target_without_abort_is_reset),
    TEST(m5_so_is_one_that_is_known_to_have_none),
    TEST(f2_who_repeats_a_fence_resets_what_the_first_may_have_left),
    TEST(m3_a_conflict_on_preempt_is_a_look_at_the_keys),
    TEST(f2_a_victim_that_registered_again_is_preempted_again),
    TEST(f2_the_later_keys_of_the_run_go_too),
    TEST(a_later_run_of_the_node_is_left_alone),
    TEST(f2_a_fencer_without_its_own_key_must_look),
    TEST(f24_keys_cut_short_prove_nothing),
    TEST(f27_without_quorum_nobody_is_named),
    TEST(f27_without_quorum_nobody_is_preempted),
    TEST(f12_a_fence_on_an_unreserved_lun_is_not_done),
    TEST(f4_nothing_is_released_before_redirected_io_has_ended),
    TEST(i13_a_path_fence_keeps_the_run_and_its_redirected_io),
    TEST(a_lun_that_cannot_fence_takes_the_agent_then_the_operator),
    TEST(a_path_fence_that_fails_becomes_a_whole_one),
    TEST(a_preempt_that_always_conflicts_is_failing),
};
TEST_SUITE("lockmgr/fence", tests);
