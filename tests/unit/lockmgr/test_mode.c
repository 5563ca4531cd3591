/* tests/unit/lockmgr/test_mode.c - modes against the DLM's published matrix.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

static void compatibility_is_symmetric(void)
{
    for (enum lm_mode a = LM_NL; a < LM_MODE_COUNT; a++)
        for (enum lm_mode b = LM_NL; b < LM_MODE_COUNT; b++)
            CHECK_EQ(lm_compatible(a, b), lm_compatible(b, a));
}

static void null_goes_with_everything(void)
{
    for (enum lm_mode a = LM_NL; a < LM_MODE_COUNT; a++)
        CU_ASSERT_TRUE(lm_compatible(LM_NL, a));
}

static void exclusive_goes_with_null_only(void)
{
    for (enum lm_mode a = LM_CR; a < LM_MODE_COUNT; a++)
        CU_ASSERT_FALSE(lm_compatible(LM_EX, a));
}

static void what_a_stronger_mode_allows_a_weaker_one_allows_too(void)
{
    /* CW and PR are not ordered; every other pair in the list is. */
    static const enum lm_mode chains[][5] = {
        {LM_NL, LM_CR, LM_CW, LM_PW, LM_EX},
        {LM_NL, LM_CR, LM_PR, LM_PW, LM_EX},
    };

    for (int c = 0; c < 2; c++)
        for (int i = 1; i < 5; i++)
            for (enum lm_mode m = LM_NL; m < LM_MODE_COUNT; m++)
                if (lm_compatible(chains[c][i], m))
                    CU_ASSERT_TRUE(lm_compatible(chains[c][i - 1], m));
}

static void readers_share_and_writers_share_but_not_both(void)
{
    CU_ASSERT_TRUE(lm_compatible(LM_PR, LM_PR));
    CU_ASSERT_TRUE(lm_compatible(LM_CW, LM_CW));
    CU_ASSERT_FALSE(lm_compatible(LM_PR, LM_CW));
    CU_ASSERT_FALSE(lm_compatible(LM_PW, LM_PW));
    CU_ASSERT_TRUE(lm_compatible(LM_PW, LM_CR));
}

static void numbers_are_those_of_the_dlm(void)
{
    CHECK_EQ(LM_NL, 0);
    CHECK_EQ(LM_PR, 3);
    CHECK_EQ(LM_EX, 5);
    CHECK_STR(lm_mode_name(LM_PW), "PW");
    CHECK_STR(lm_mode_name((enum lm_mode)6), "?");
}

static void a_mode_covers_what_goes_together_with_more(void)
{
    for (enum lm_mode a = LM_NL; a < LM_MODE_COUNT; a++)
        for (enum lm_mode b = LM_NL; b < LM_MODE_COUNT; b++) {
            bool covers = true;

            for (enum lm_mode m = LM_NL; m < LM_MODE_COUNT; m++)
                covers &= !lm_compatible(a, m) || lm_compatible(b, m);
            CHECK_EQ(lm_covers(a, b), covers);
        }
    CU_ASSERT_FALSE(lm_covers(LM_PR, LM_CW));
    CU_ASSERT_FALSE(lm_covers(LM_CW, LM_PR));
}

static void who_gives_way_keeps_as_much_as_he_can(void)
{
    for (enum lm_mode from = LM_NL; from < LM_MODE_COUNT; from++)
        for (lm_modes wanted = 0; wanted < 1u << LM_MODE_COUNT; wanted++) {
            enum lm_mode to = lm_demoted(from, wanted);

            CU_ASSERT_TRUE(lm_covers(from, to));
            CU_ASSERT_TRUE(lm_compatible_with_all(to, wanted));
            for (enum lm_mode m = LM_NL; m < LM_MODE_COUNT; m++)
                if (m != to && lm_covers(from, m) && lm_covers(m, to))
                    CU_ASSERT_FALSE(lm_compatible_with_all(m, wanted));
        }
    CHECK_EQ(lm_demoted(LM_EX, 1u << LM_PR), LM_PR);
    CHECK_EQ(lm_demoted(LM_EX, 1u << LM_PR | 1u << LM_CW), LM_CR);
}

static const struct test tests[] = {
    TEST(compatibility_is_symmetric),
    TEST(null_goes_with_everything),
    TEST(exclusive_goes_with_null_only),
    TEST(what_a_stronger_mode_allows_a_weaker_one_allows_too),
    TEST(readers_share_and_writers_share_but_not_both),
    TEST(numbers_are_those_of_the_dlm),
    TEST(a_mode_covers_what_goes_together_with_more),
    TEST(who_gives_way_keeps_as_much_as_he_can),
};
TEST_SUITE("lockmgr/mode", tests);
