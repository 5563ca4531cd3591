/* tests/lib/main.c - runs the suites of one unit test program and reports.
 * Knows nothing of what is tested; fixtures are in world.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    NAME_BYTES = 200,   /* of "suite: sentence" */
    TEST_LIMIT_S = 120, /* a test that takes longer hangs */
};

static struct test_suite *suites;
static char running[NAME_BYTES]; /* the test at hand, for the signal handler */
static unsigned passed, failed;

void test_suite_add(struct test_suite *suite)
{
    struct test_suite **at = &suites;

    while (*at && strcmp((*at)->name, suite->name) < 0)
        at = &(*at)->next;
    suite->next = *at;
    *at = suite;
}

/* "vhd/bat: entry past the end is refused", from the function's name. */
static void sentence(char out[NAME_BYTES], const char *suite, const char *test)
{
    size_t from;

    if (strncmp(test, "test_", 5) == 0)
        test += 5;
    snprintf(out, NAME_BYTES, "%s: %s", suite, test);
    from = strlen(suite);
    for (char *c = out + min_u64(from, NAME_BYTES - 1); *c; c++)
        if (*c == '_')
            *c = ' ';
}

static bool matches(const char *suite, const char *test, const char *part)
{
    char name[NAME_BYTES];

    sentence(name, suite, test);
    return strstr(name, part) || strstr(test, part);
}

/* What PART chose, or all if none was given, without what -x PART excludes. */
static bool chosen(const char *suite, const char *test, char **argv)
{
    bool any = false, yes = false, no = false;

    for (; *argv; argv++) {
        if (strcmp(*argv, "-x") == 0 && argv[1]) {
            no |= matches(suite, test, *++argv);
        } else {
            any = true;
            yes |= matches(suite, test, *argv);
        }
    }
    return !no && (yes || !any);
}

static void on_test_start(const CU_pTest test, const CU_pSuite suite)
{
    sentence(running, suite->pName, test->pName);
    alarm(TEST_LIMIT_S);
}

static void on_test_complete(const CU_pTest test, const CU_pSuite suite,
                             const CU_pFailureRecord first)
{
    (void)test;
    (void)suite;
    alarm(0);
    if (!first) {
        passed++;
        printf("ok    %s\n", running);
        return;
    }
    failed++;
    printf("FAIL  %s\n", running);
    for (const CU_FailureRecord *f = first; f; f = f->pNext)
        printf("      %s:%u: %s\n", f->strFileName, f->uiLineNumber,
               f->strCondition);
}

/* The test died or hangs: say which one it was, then die as it would have. */
static void on_signal(int number)
{
    static const char died[] = "\nFAIL  (crashed) ",
                      hung[] = "\nFAIL  (hangs) ";
    ssize_t ignored;

    ignored = number == SIGALRM ? write(STDOUT_FILENO, hung, sizeof hung - 1)
                                : write(STDOUT_FILENO, died, sizeof died - 1);
    ignored = write(STDOUT_FILENO, running, strlen(running));
    ignored = write(STDOUT_FILENO, "\n", 1);
    (void)ignored;
    signal(number, SIG_DFL);
    raise(number);
}

/* Sanitizers have better handlers of their own for wild accesses. */
static void catch_signals(void)
{
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
#endif
}

static bool add_chosen(const struct test_suite *s, char **argv)
{
    CU_pSuite suite = NULL;

    for (size_t i = 0; i < s->count; i++) {
        if (!chosen(s->name, s->tests[i].name, argv))
            continue;
        if (!suite)
            suite = CU_add_suite(s->name, NULL, NULL);
        if (!suite || !CU_add_test(suite, s->tests[i].name, s->tests[i].run))
            return false;
    }
    return true;
}

static int list_tests(void)
{
    char name[NAME_BYTES];

    for (const struct test_suite *s = suites; s; s = s->next) {
        for (size_t i = 0; i < s->count; i++) {
            sentence(name, s->name, s->tests[i].name);
            puts(name);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "-l") == 0)
        return list_tests();
    setvbuf(stdout, NULL, _IOLBF, 0);
    catch_signals();
    if (CU_initialize_registry())
        return 2;
    for (const struct test_suite *s = suites; s; s = s->next) {
        if (!add_chosen(s, argv + 1)) {
            fprintf(stderr, "%s: %s\n", s->name, CU_get_error_msg());
            return 2;
        }
    }
    CU_set_test_start_handler(on_test_start);
    CU_set_test_complete_handler(on_test_complete);
    CU_run_all_tests();
    CU_cleanup_registry();
    printf("%u passed, %u failed\n", passed, failed);
    /* A name that chooses nothing is a mistake; leaving out all is not. */
    return failed || (!passed && !(argc > 1 && strcmp(argv[1], "-x") == 0));
}
