/* tests/unit/lockmgr/test_handle.c - who gets a handle, and whom it stops (I8).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

static const struct lm_handle vm1_ex = {"vm1", LM_EX, 1, 100, 7};
static const struct lm_handle vm1_given_up = {"vm1", LM_NL, 1, 100, 7};
static const struct lm_handle vm1_pr = {"vm1", LM_PR, 1, 100, 3};

static void first_handle_has_generation_1(void)
{
    const struct lm_handle want = {"vm1", LM_EX, 1, 100, 0};
    uint64_t generation = 0;

    CU_ASSERT_PTR_NULL(lm_handle_get(NULL, 0, &want, &generation));
    CHECK_EQ(generation, 1);
}

static void another_vm_is_told_who_holds_the_disk(void)
{
    const struct lm_handle want = {"vm2", LM_EX, 1, 100, 0};
    uint64_t generation = 99;

    CU_ASSERT_PTR_EQUAL(lm_handle_get(&vm1_ex, 1, &want, &generation), &vm1_ex);
    CHECK_EQ(generation, 99);
}

static void the_same_vm_elsewhere_is_refused_too(void)
{
    const struct lm_handle other_node = {"vm1", LM_EX, 2, 100, 0};
    const struct lm_handle other_run = {"vm1", LM_EX, 1, 101, 0};
    uint64_t generation;

    CU_ASSERT_PTR_NOT_NULL(lm_handle_get(&vm1_ex, 1, &other_node, &generation));
    CU_ASSERT_PTR_NOT_NULL(lm_handle_get(&vm1_ex, 1, &other_run, &generation));
}

static void asking_again_gives_the_same_generation(void)
{
    const struct lm_handle want = {"vm1", LM_EX, 1, 100, 0};
    uint64_t generation = 0;

    CU_ASSERT_PTR_NULL(lm_handle_get(&vm1_ex, 1, &want, &generation));
    CHECK_EQ(generation, 7);
}

static void generation_grows_when_taken_again(void)
{
    const struct lm_handle want = {"vm1", LM_EX, 2, 200, 0};
    uint64_t generation = 0;

    CU_ASSERT_PTR_NULL(lm_handle_get(&vm1_given_up, 1, &want, &generation));
    CHECK_EQ(generation, 8);
}

static void many_may_share_a_parent(void)
{
    const struct lm_handle share = {"vm2", LM_PR, 2, 200, 0};
    const struct lm_handle own = {"vm2", LM_EX, 2, 200, 0};
    uint64_t generation = 0;

    CU_ASSERT_PTR_NULL(lm_handle_get(&vm1_pr, 1, &share, &generation));
    CHECK_EQ(generation, 1);
    CU_ASSERT_PTR_EQUAL(lm_handle_get(&vm1_pr, 1, &own, &generation), &vm1_pr);
}

static void a_held_disk_is_changed_by_its_holder_only(void)
{
    const struct lm_handle holder = {"", LM_NL, 1, 100, 7};
    const struct lm_handle older = {"", LM_NL, 1, 100, 6};
    const struct lm_handle nobody = {"", LM_NL, 1, 100, 0};

    CU_ASSERT_PTR_NULL(lm_handle_guard(&vm1_ex, 1, &holder));
    CU_ASSERT_PTR_EQUAL(lm_handle_guard(&vm1_ex, 1, &older), &vm1_ex);
    CU_ASSERT_PTR_EQUAL(lm_handle_guard(&vm1_ex, 1, &nobody), &vm1_ex);
    CU_ASSERT_PTR_NULL(lm_handle_guard(&vm1_given_up, 1, &nobody));
}

static void a_shared_parent_is_changed_by_nobody(void)
{
    const struct lm_handle holder = {"", LM_NL, 1, 100, 3};

    CU_ASSERT_PTR_EQUAL(lm_handle_guard(&vm1_pr, 1, &holder), &vm1_pr);
}

static void a_handle_is_held_in_its_generation_only(void)
{
    struct lm_handle h = vm1_ex;

    CU_ASSERT_TRUE(lm_handle_is_held(&vm1_ex, 1, &h));
    h.generation++;
    CU_ASSERT_FALSE(lm_handle_is_held(&vm1_ex, 1, &h));
    CU_ASSERT_FALSE(lm_handle_is_held(&vm1_given_up, 1, &vm1_given_up));
}

static const struct test tests[] = {
    TEST(first_handle_has_generation_1),
    TEST(another_vm_is_told_who_holds_the_disk),
    TEST(the_same_vm_elsewhere_is_refused_too),
    TEST(asking_again_gives_the_same_generation),
    TEST(generation_grows_when_taken_again),
    TEST(many_may_share_a_parent),
    TEST(a_held_disk_is_changed_by_its_holder_only),
    TEST(a_shared_parent_is_changed_by_nobody),
    TEST(a_handle_is_held_in_its_generation_only),
};
TEST_SUITE("lockmgr/handle", tests);
