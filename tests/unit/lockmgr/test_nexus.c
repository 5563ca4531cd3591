/* tests/unit/lockmgr/test_nexus.c - when an I_T nexus may carry I/O (F2, F12).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

#include <string.h>

static const struct lm_run me = {2, 10};
static const struct nexus_args args = {
    {2, 10},
    0, 7, LM_EXCLUSIVE_ACCESS_REGISTRANTS
};

static struct nexus n;
static struct nexus_effects fx;
static struct node_blocks blocks;
static uint64_t listed[4];
static uint32_t listed_count;

static void setup(void)
{
    memset(&blocks, 0, sizeof blocks);
    memset(listed, 0, sizeof listed);
    listed_count = 0;
    nexus_init(&n, &args);
}

/* An event as the target would answer what the nexus asked last. */
static void answer(enum nexus_event_kind kind, enum lun_answer how)
{
    struct nexus_event ev = {
        .kind = kind,
        .ticket = n.ticket,
        .answer = how,
        .blocks = &blocks,
        .keys = {listed, listed_count, listed_count},
        .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS
    };

    nexus_step(&n, &ev, &fx);
}

static void hear(enum nexus_event_kind kind)
{
    answer(kind, LUN_OK);
}

static void consent(uint32_t turn)
{
    struct nexus_event ev = {.kind = NEXUS_EV_CONSENTED, .turn = turn};

    nexus_step(&n, &ev, &fx);
}

static bool does(enum nexus_effect_kind kind)
{
    for (uint32_t i = 0; i < fx.count; i++)
        if (fx.list[i].kind == kind)
            return true;
    return false;
}

static void is_in(enum nexus_state state)
{
    CHECK_STR(nexus_state_name(n.state), nexus_state_name(state));
}

static void name_me(uint32_t by, uint32_t turn, enum fencing_state state)
{
    struct lm_target target = {.run = me, .turn = turn};

    blocks.node[by - 1].node = by;
    blocks.node[by - 1].incarnation = 1;
    node_block_name(&blocks.node[by - 1], &target, state);
}

static void own_block_is_written(void)
{
    node_block_join(&blocks.node[me.node - 1], &n.fenced, me, nexus_key(&n));
}

/* From nothing to OPEN, as on the first mount of a good LUN. */
static void open_nexus(void)
{
    hear(NEXUS_EV_UP);
    hear(NEXUS_EV_REGISTERED);
    hear(NEXUS_EV_BLOCKS_READ);
    if (n.state == NEXUS_WRITING)
        hear(NEXUS_EV_BLOCK_WRITTEN);
    own_block_is_written();
    hear(NEXUS_EV_RESERVATION_READ);
    is_in(NEXUS_OPEN);
}

/* -- the good path --------------------------------------------------------- */

static void a_nexus_is_open_after_register_blocks_and_reservation(void)
{
    static const struct {
        enum nexus_event_kind event;
        enum nexus_state state;
        enum nexus_effect_kind effect;
    } walk[] = {
        {NEXUS_EV_UP,               NEXUS_REGISTERING, NEXUS_DO_REGISTER        },
        {NEXUS_EV_REGISTERED,       NEXUS_READING,     NEXUS_DO_READ_BLOCKS     },
        {NEXUS_EV_BLOCKS_READ,      NEXUS_WRITING,     NEXUS_DO_WRITE_BLOCK     },
        {NEXUS_EV_BLOCK_WRITTEN,    NEXUS_CHECKING,    NEXUS_DO_READ_RESERVATION},
        {NEXUS_EV_RESERVATION_READ, NEXUS_OPEN,        NEXUS_DO_OPEN            },
    };

    setup();
    for (size_t i = 0; i < ARRAY_LEN(walk); i++) {
        CU_ASSERT_FALSE(nexus_may_carry(&n));
        hear(walk[i].event);
        is_in(walk[i].state);
        CU_ASSERT_TRUE(does(walk[i].effect));
    }
    CU_ASSERT_TRUE(nexus_may_carry(&n));
}

static void a_second_session_does_not_write_the_block_again(void)
{
    setup();
    own_block_is_written();
    hear(NEXUS_EV_UP);
    hear(NEXUS_EV_REGISTERED);
    hear(NEXUS_EV_BLOCKS_READ);
    is_in(NEXUS_CHECKING);
}

/* -- F2 -------------------------------------------------------------------- */

static void f2_a_paused_victim_cannot_unfence(void)
{
    /* It pauses before each of its steps; the fencer is done by then. */
    for (int pause = 0; pause < 3; pause++) {
        setup();
        open_nexus();
        hear(NEXUS_EV_LOST);
        listed[0] = nexus_key(&n);
        listed_count = pause > 0; /* it looked before the PREEMPT */
        if (pause == 0)
            name_me(1, LM_TURN_ALL, FENCING_DONE);
        hear(NEXUS_EV_UP);
        hear(NEXUS_EV_KEYS_READ);
        if (pause == 0) {
            is_in(NEXUS_PEEKING);
            answer(NEXUS_EV_BLOCKS_READ, LUN_CONFLICT);
            is_in(NEXUS_ASKING);
            consent(1);
        }
        if (pause == 1)
            name_me(1, LM_TURN_ALL, FENCING_DONE);
        hear(NEXUS_EV_REGISTERED); /* M2: the target lets it */
        if (pause == 2)
            name_me(1, LM_TURN_ALL, FENCING_DONE);
        hear(NEXUS_EV_BLOCKS_READ);
        is_in(NEXUS_FENCED);
        CU_ASSERT_TRUE(does(NEXUS_DO_FAIL));
    }
}

static void f2_an_answer_from_before_the_pause_is_not_heard(void)
{
    struct nexus_event late = {.kind = NEXUS_EV_BLOCKS_READ, .blocks = &blocks};

    setup();
    hear(NEXUS_EV_UP);
    hear(NEXUS_EV_REGISTERED);
    late.ticket = n.ticket;
    hear(NEXUS_EV_LOST);
    hear(NEXUS_EV_UP);
    listed[0] = nexus_key(&n);
    listed_count = 1;
    hear(NEXUS_EV_KEYS_READ);
    hear(NEXUS_EV_REGISTERED);
    nexus_step(&n, &late, &fx); /* read before the second REGISTER */
    is_in(NEXUS_READING);
}

static void f2_a_conflict_is_no_proof_of_a_fence(void)
{
    setup();
    open_nexus();
    hear(NEXUS_EV_CONFLICT);
    CU_ASSERT_TRUE(does(NEXUS_DO_STOP));
    answer(NEXUS_EV_REGISTERED, LUN_CONFLICT);
    is_in(NEXUS_LOOKING);
    listed[0] = nexus_key(&n); /* M1: on the dead nexus */
    listed_count = 1;
    hear(NEXUS_EV_KEYS_READ);
    is_in(NEXUS_REGISTERING);
    hear(NEXUS_EV_REGISTERED);
    hear(NEXUS_EV_BLOCKS_READ);
    hear(NEXUS_EV_RESERVATION_READ);
    is_in(NEXUS_OPEN);
}

static void f2_a_later_run_of_the_node_ends_the_earlier(void)
{
    setup();
    blocks.node[me.node - 1].node = me.node;
    blocks.node[me.node - 1].incarnation = me.incarnation + 1;
    hear(NEXUS_EV_UP);
    hear(NEXUS_EV_REGISTERED);
    hear(NEXUS_EV_BLOCKS_READ);
    is_in(NEXUS_FENCED);
}

/* Node 1 named me; node 3 says that the fence of node 1 is done. */
static void read_a_name_of_a_fenced_run(void)
{
    struct lm_target author = {
        .run = {1, 1},
          .turn = LM_TURN_ALL
    };

    setup();
    hear(NEXUS_EV_UP);
    hear(NEXUS_EV_REGISTERED);
    name_me(1, LM_TURN_ALL, FENCING_NAMED);
    node_block_name(&blocks.node[2], &author, FENCING_DONE);
    hear(NEXUS_EV_BLOCKS_READ);
    is_in(NEXUS_READING);
    CU_ASSERT_TRUE(does(NEXUS_DO_READ_BLOCKS));
}

static void f2_what_a_fenced_run_named_is_void_when_read_twice(void)
{
    read_a_name_of_a_fenced_run();
    hear(NEXUS_EV_BLOCKS_READ);
    is_in(NEXUS_WRITING);
}

/* Its block was read, then it did it, then the block of node 3 was read. */
static void f2_what_a_fenced_run_had_done_is_found_in_the_second_read(void)
{
    read_a_name_of_a_fenced_run();
    name_me(1, LM_TURN_ALL, FENCING_DONE);
    hear(NEXUS_EV_BLOCKS_READ);
    is_in(NEXUS_FENCED);
}

static void f2_another_name_that_becomes_void_is_read_again_too(void)
{
    struct lm_target author = {
        .run = {4, 1},
          .turn = LM_TURN_ALL
    };

    read_a_name_of_a_fenced_run();
    name_me(4, LM_TURN_ALL, FENCING_NAMED);
    node_block_name(&blocks.node[2], &author, FENCING_DONE);
    hear(NEXUS_EV_BLOCKS_READ);
    is_in(NEXUS_READING);
    hear(NEXUS_EV_BLOCKS_READ);
    is_in(NEXUS_WRITING);
}

static void a_run_drops_what_an_earlier_one_named_only_if_it_is_void(void)
{
    struct node_fenced fenced = {{0}};
    struct node_block own = {.node = me.node, .incarnation = 9};
    struct lm_target target = {
        .run = {1, 1},
          .turn = LM_TURN_ALL
    };

    node_block_name(&own, &target, FENCING_NAMED);
    node_block_join(&own, &fenced, (struct lm_run){me.node, 10}, 0);
    CHECK_EQ(own.fencing[0].run.incarnation, 1);
    fenced.incarnation[me.node - 1] = 9; /* not the run that has it now */
    node_block_join(&own, &fenced, (struct lm_run){me.node, 11}, 0);
    CHECK_EQ(own.fencing[0].run.incarnation, 1);
    fenced.incarnation[me.node - 1] = 11;
    node_block_join(&own, &fenced, (struct lm_run){me.node, 12}, 0);
    CHECK_EQ(own.fencing[0].run.incarnation, 0);
}

static void f2_a_fenced_nexus_stays_fenced(void)
{
    setup();
    open_nexus();
    hear(NEXUS_EV_FENCED_ELSEWHERE); /* I11: on one is on all */
    for (enum nexus_event_kind k = 0; k < NEXUS_EVENT_COUNT; k++) {
        hear(k);
        is_in(NEXUS_FENCED);
        CHECK_EQ(fx.count, 0);
    }
}

/* -- others ---------------------------------------------------------------- */

static void m5_after_a_reset_the_registration_is_proved_not_made(void)
{
    setup();
    open_nexus();
    hear(NEXUS_EV_ATTENTION);
    is_in(NEXUS_RECHECKING);
    CU_ASSERT_TRUE(does(NEXUS_DO_STOP));
    CU_ASSERT_TRUE(does(NEXUS_DO_RECHECK));
    name_me(1, LM_TURN_ALL, FENCING_NAMED); /* by the one that I preempted */
    hear(NEXUS_EV_REGISTERED);
    hear(NEXUS_EV_RESERVATION_READ);
    is_in(NEXUS_OPEN);
}

static void f12_without_reservation_no_data_is_written(void)
{
    struct nexus_event none = {.kind = NEXUS_EV_RESERVATION_READ,
                               .type = LM_RESERVATION_NONE};

    setup();
    open_nexus();
    hear(NEXUS_EV_ATTENTION);
    hear(NEXUS_EV_REGISTERED);
    none.ticket = n.ticket;
    nexus_step(&n, &none, &fx);
    is_in(NEXUS_UNRESERVED);
    CU_ASSERT_TRUE(does(NEXUS_DO_TELL_UNRESERVED));
    CU_ASSERT_FALSE(nexus_may_carry(&n));
    CU_ASSERT_TRUE(nexus_is_admitted(&n)); /* to claim and reserve */
    hear(NEXUS_EV_RESERVED);
    hear(NEXUS_EV_RESERVATION_READ);
    is_in(NEXUS_OPEN);
}

static void i13_a_path_fence_wants_consent_and_a_new_key(void)
{
    uint64_t before;

    setup();
    open_nexus();
    before = nexus_key(&n);
    name_me(1, 0, FENCING_DONE);
    hear(NEXUS_EV_CONFLICT);
    answer(NEXUS_EV_REGISTERED, LUN_CONFLICT);
    hear(NEXUS_EV_KEYS_READ); /* gone */
    answer(NEXUS_EV_BLOCKS_READ, LUN_CONFLICT);
    is_in(NEXUS_ASKING);
    consent(LM_TURN_ALL); /* no turn of a key */
    is_in(NEXUS_ASKING);
    consent(1);
    is_in(NEXUS_REGISTERING);
    CU_ASSERT_TRUE(nexus_key(&n) != before);
    hear(NEXUS_EV_REGISTERED);
    hear(NEXUS_EV_BLOCKS_READ); /* only turn 0 is named */
    is_in(NEXUS_WRITING);
}

static void i13_the_old_key_does_not_come_back_after_a_path_fence(void)
{
    setup();
    open_nexus();
    hear(NEXUS_EV_LOST);
    hear(NEXUS_EV_UP);
    listed[0] = nexus_key(&n);
    listed_count = 1;
    hear(NEXUS_EV_KEYS_READ); /* listed; then it is preempted */
    name_me(1, 0, FENCING_DONE);
    hear(NEXUS_EV_REGISTERED);
    hear(NEXUS_EV_BLOCKS_READ);
    is_in(NEXUS_ASKING);
}

static void i13_who_went_redirected_never_uses_that_key_again(void)
{
    setup();
    open_nexus();
    hear(NEXUS_EV_RETIRE);
    is_in(NEXUS_RETIRED);
    CU_ASSERT_TRUE(does(NEXUS_DO_STOP));
    hear(NEXUS_EV_LOST);
    hear(NEXUS_EV_UP);
    is_in(NEXUS_RETIRED);
    hear(NEXUS_EV_REPAIRED);
    is_in(NEXUS_ASKING);
}

static void path_fenced(uint32_t turn)
{
    struct nexus_event ev = {.kind = NEXUS_EV_PATH_FENCED, .turn = turn};

    nexus_step(&n, &ev, &fx);
}

static void i13_nobody_is_redirected_before_the_path_fence_is_done(void)
{
    setup();
    open_nexus();
    hear(NEXUS_EV_LOST);
    hear(NEXUS_EV_RETIRE);
    CU_ASSERT_TRUE(does(NEXUS_DO_ASK_FENCE));
    CU_ASSERT_FALSE(does(NEXUS_DO_REDIRECT));
    CU_ASSERT_TRUE(nexus_wants_fence(&n));
    CHECK_EQ(nexus_key_in_use(&n), 0); /* what a report says */
    path_fenced(0);
    CU_ASSERT_TRUE(does(NEXUS_DO_REDIRECT));
    CU_ASSERT_FALSE(nexus_wants_fence(&n));
    is_in(NEXUS_RETIRED);
    path_fenced(0);
    CHECK_EQ(fx.count, 0);
}

static void i13_who_is_redirected_is_until_it_is_open_under_a_new_key(void)
{
    setup();
    open_nexus();
    hear(NEXUS_EV_RETIRE);
    path_fenced(0);
    name_me(1, 0, FENCING_DONE);
    hear(NEXUS_EV_REPAIRED);
    is_in(NEXUS_ASKING);
    consent(1);
    CHECK_EQ(nexus_key_in_use(&n), nexus_key(&n));
    hear(NEXUS_EV_REGISTERED);
    hear(NEXUS_EV_BLOCKS_READ);
    hear(NEXUS_EV_BLOCK_WRITTEN);
    CU_ASSERT_TRUE(n.redirected);
    hear(NEXUS_EV_RESERVATION_READ);
    is_in(NEXUS_OPEN);
    CU_ASSERT_FALSE(n.redirected);
    path_fenced(0); /* late, of the key before */
    CHECK_EQ(fx.count, 0);
    is_in(NEXUS_OPEN);
}

static void i13_an_old_consent_does_not_spare_the_path_fence(void)
{
    setup();
    open_nexus();
    hear(NEXUS_EV_LOST);
    hear(NEXUS_EV_RETIRE);
    consent(1); /* a message that is repeated */
    CHECK_EQ(nexus_key_in_use(&n), 0);
    path_fenced(0);
    CU_ASSERT_TRUE(does(NEXUS_DO_REDIRECT));
    hear(NEXUS_EV_REPAIRED);
    is_in(NEXUS_ASKING);
    consent(1);
    is_in(NEXUS_REGISTERING);
}

static void i13_a_path_fence_that_was_not_asked_for_stops_the_nexus(void)
{
    setup();
    open_nexus();
    path_fenced(0);
    CU_ASSERT_TRUE(does(NEXUS_DO_STOP));
    CU_ASSERT_TRUE(does(NEXUS_DO_REDIRECT));
    CU_ASSERT_FALSE(nexus_may_carry(&n));
    hear(NEXUS_EV_LOST);
    CU_ASSERT_TRUE(n.redirected);
    hear(NEXUS_EV_RETIRE); /* nothing is out that another fence must end */
    CU_ASSERT_FALSE(does(NEXUS_DO_ASK_FENCE));
}

static void f24_keys_cut_short_are_not_keys_gone(void)
{
    struct nexus_event cut = {
        .kind = NEXUS_EV_KEYS_READ, .keys = {listed, 1, 200}
    };

    setup();
    open_nexus();
    hear(NEXUS_EV_LOST);
    hear(NEXUS_EV_UP);
    cut.ticket = n.ticket;
    nexus_step(&n, &cut, &fx);
    is_in(NEXUS_LOOKING);
    CU_ASSERT_TRUE(does(NEXUS_DO_READ_KEYS));
    CU_ASSERT_TRUE(fx.list[0].room >= 200);
}

static void a_damaged_block_keeps_the_nexus_shut_and_says_so(void)
{
    setup();
    hear(NEXUS_EV_UP);
    hear(NEXUS_EV_REGISTERED);
    answer(NEXUS_EV_BLOCKS_READ, LUN_FAILED); /* it might name me */
    CU_ASSERT_TRUE(does(NEXUS_DO_ALARM));
    CU_ASSERT_FALSE(nexus_is_admitted(&n));
    hear(NEXUS_EV_REPAIRED);
    is_in(NEXUS_LOOKING);
}

static const struct test tests[] = {
    TEST(a_nexus_is_open_after_register_blocks_and_reservation),
    TEST(a_second_session_does_not_write_the_block_again),
    TEST(f2_a_paused_victim_cannot_unfence),
    TEST(f2_an_answer_from_before_the_pause_is_not_heard),
    TEST(f2_a_conflict_is_no_proof_of_a_fence),
    TEST(f2_a_later_run_of_the_node_ends_the_earlier),
    TEST(f2_what_a_fenced_run_named_is_void_when_read_twice),
    TEST(f2_what_a_fenced_run_had_done_is_found_in_the_second_read),
    TEST(f2_another_name_that_becomes_void_is_read_again_too),
    TEST(a_run_drops_what_an_earlier_one_named_only_if_it_is_void),
    TEST(f2_a_fenced_nexus_stays_fenced),
    TEST(m5_after_a_reset_the_registration_is_proved_not_made),
    TEST(f12_without_reservation_no_data_is_written),
    TEST(i13_a_path_fence_wants_consent_and_a_new_key),
    TEST(i13_the_old_key_does_not_come_back_after_a_path_fence),
    TEST(i13_who_went_redirected_never_uses_that_key_again),
    TEST(i13_nobody_is_redirected_before_the_path_fence_is_done),
    TEST(i13_who_is_redirected_is_until_it_is_open_under_a_new_key),
    TEST(i13_an_old_consent_does_not_spare_the_path_fence),
    TEST(i13_a_path_fence_that_was_not_asked_for_stops_the_nexus),
    TEST(f24_keys_cut_short_are_not_keys_gone),
    TEST(a_damaged_block_keeps_the_nexus_shut_and_says_so),
};
TEST_SUITE("lockmgr/nexus", tests);
