/* tests/unit/base/test_err.c - codes and their names.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/err.h"
#include "tests/lib/test.h"

static void a_name_leads_back_to_its_code(void)
{
    for (enum err e = E_OK; e < ERR_COUNT; e++)
        CHECK_EQ(err_from_name(err_name(e)), e);
    CHECK_EQ(err_from_name("E_NONE"), E_PROTOCOL);
    CHECK_EQ(err_from_name(""), E_PROTOCOL);
}

static const struct test tests[] = {
    TEST(a_name_leads_back_to_its_code),
};
TEST_SUITE("base/err", tests);
