/* tests/lib/test.h - what a unit test includes: suites, tests, checks.
 * CUnit does the asserting; this adds registration and readable reports.
 *
 *   static void footer_with_bad_checksum_is_refused(void)
 *   {
 *       CHECK_ERR(vhd_footer_check(&footer), E_CHECKSUM);
 *       CU_ASSERT_PTR_NULL(v);
 *   }
 *
 *   static const struct test tests[] = {
 *       TEST(footer_with_bad_checksum_is_refused),
 *   };
 *   TEST_SUITE("vhd/footer", tests);
 *
 * The file is tests/unit/<layer>/test_<file>.c; all files of a folder make
 * one program, build/<variant>/tests/unit_<layer>.  Its arguments choose
 * tests by a part of their name, -x PART leaves some out, -l lists them.
 *
 * Checks go on after a failure; the *_FATAL forms of CUnit leave the test at
 * once, without clean-up: only where the next line would crash.  Check from
 * the test's own thread only.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_LIB_TEST_H
#define LUNAR_TESTS_LIB_TEST_H

#include "base/err.h"

#include <CUnit/CUnit.h>

/* Where everything is slow, a test that goes through many cases goes through
 * one in so many of them. */
#if defined __SANITIZE_THREAD__ || defined LUNAR_VALGRIND
enum { TEST_ONE_IN = 20 };
#else
enum { TEST_ONE_IN = 1 };
#endif

struct test {
    const char *name; /* the function's: a sentence with underscores */
    void (*run)(void);
};

struct test_suite {
    const char *name; /* "<layer>/<file>" */
    const struct test *tests;
    size_t count;
    struct test_suite *next;
};

/* clang-format off */
#define TEST(function) {#function, function}
/* clang-format on */

/* Register an array of struct test; once per file, at its end. */
#define TEST_SUITE(title, array)                                               \
    static struct test_suite suite_of_this_file = {                            \
        .name = (title), .tests = (array), .count = ARRAY_LEN(array)};         \
    __attribute__((constructor)) static void suite_register(void)              \
    {                                                                          \
        test_suite_add(&suite_of_this_file);                                   \
    }                                                                          \
    _Static_assert(sizeof(array) > 0, "a suite has tests")

/* -- checks that show values ----------------------------------------------- */

/* Two integers are equal; a failure shows both, in decimal and hex. */
#define CHECK_EQ(actual, expected)                                             \
    test_check_eq((uint64_t)(actual), (uint64_t)(expected),                    \
                  #actual " == " #expected, __FILE__, __LINE__)
/* A call returns this enum err; a failure shows both names. */
#define CHECK_ERR(call, expected)                                              \
    test_check_err((call), (expected), #call, __FILE__, __LINE__)
#define CHECK_OK(call) CHECK_ERR(call, E_OK)
/* The same, and without it the test cannot go on. */
#define CHECK_OK_FATAL(call)                                                   \
    test_check_ok_fatal((call), #call, __FILE__, __LINE__)
#define CHECK_STR(actual, expected)                                            \
    test_check_str((actual), (expected), #actual, __FILE__, __LINE__)
/* `part` occurs in `text`: for diagnostics, where wording may grow. */
#define CHECK_CONTAINS(text, part)                                             \
    test_check_contains((text), (part), #text, __FILE__, __LINE__)
/* Two memory areas are equal; a failure shows a dump around the first
 * difference. */
#define CHECK_MEM(actual, expected, bytes)                                     \
    test_check_mem((actual), (expected), (bytes), #actual " == " #expected,    \
                   __FILE__, __LINE__)

/* -- behind the macros ----------------------------------------------------- */
void test_suite_add(struct test_suite *suite);
bool test_check_eq(uint64_t actual, uint64_t expected, const char *what,
                   const char *file, int line);
bool test_check_err(enum err actual, enum err expected, const char *what,
                    const char *file, int line);
void test_check_ok_fatal(enum err actual, const char *what, const char *file,
                         int line);
bool test_check_str(const char *actual, const char *expected, const char *what,
                    const char *file, int line);
bool test_check_contains(const char *text, const char *part, const char *what,
                         const char *file, int line);
bool test_check_mem(const void *actual, const void *expected, size_t bytes,
                    const char *what, const char *file, int line);

#endif
