/* tests/unit/base/test_trace.c - the ring of events.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/trace.h"
#include "tests/lib/test.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void every_conversion_is_printed(void)
{
    AUTO(buf_fini) struct buf b = {0};
    int here;

    TRACE(plain, "100%% of nothing");
    TRACE(numbers, "d=%d lld=%lld u=%u llx=%llx", -5, -6LL, 7U, ~0ULL);
    TRACE(words, "s=%s c=%c zu=%zu.", "word", 'x', sizeof here);
    TRACE(pointer, "p=%p", (void *)&here);
    trace_to_text(&b, 4);
    CHECK_CONTAINS(buf_text(&b), " plain 100% of nothing\n");
    CHECK_CONTAINS(buf_text(&b),
                   " numbers d=-5 lld=-6 u=7 llx=ffffffffffffffff\n");
    CHECK_CONTAINS(buf_text(&b), " words s=word c=x zu=4.\n");
    CHECK_CONTAINS(buf_text(&b), " pointer p=7f");
}

static size_t lines_in(const char *text)
{
    size_t lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void ring_keeps_the_last_events_in_order(void)
{
    AUTO(buf_fini) struct buf b = {0};
    const char *at;

    for (unsigned i = 0; i < 3 * TRACE_ENTRIES; i++)
        TRACE(counted, "i=%u", i);
    trace_to_text(&b, SIZE_MAX);
    CHECK_EQ(lines_in(buf_text(&b)), TRACE_ENTRIES);
    at = buf_text(&b);
    for (unsigned i = 2 * TRACE_ENTRIES; i < 3 * TRACE_ENTRIES; i++) {
        char expect[32];

        snprintf(expect, sizeof expect, "counted i=%u\n", i);
        at = strstr(at, expect);
        CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    }
}

enum { WRITERS = 3, EVENTS_EACH = 20000 };

static void *writer(void *arg)
{
    for (uint64_t i = 0; i < EVENTS_EACH; i++)
        TRACE(pair, "a=%llu b=%llu", (unsigned long long)i,
              (unsigned long long)(i * 3));
    return arg;
}

static void reader_beside_writers_sees_no_torn_event(void)
{
    pthread_t threads[WRITERS];

    for (int i = 0; i < WRITERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, writer, NULL), 0);
    for (int round = 0; round < 20; round++) {
        AUTO(buf_fini) struct buf b = {0};
        const char *at;

        trace_to_text(&b, 500);
        at = buf_text(&b);
        while ((at = strstr(at, "pair a="))) {
            char *end;
            uint64_t first = strtoull(at + strlen("pair a="), &end, 10);

            CHECK_EQ(strncmp(end, " b=", 3), 0);
            CHECK_EQ(strtoull(end + 3, NULL, 10), first * 3);
            at++;
        }
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
}

static void failed_assertion_prints_the_last_events(void)
{
    static char said[16384];
    int fds[2], status;
    size_t have = 0;
    ssize_t n;
    pid_t child;

    CHECK_EQ(pipe(fds), 0);
    child = fork();
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[1]);
        signal(SIGABRT, SIG_DFL); /* not the runner's */
        TRACE(before, "the end=%u", 42U);
        ASSERT(1 + 1 == 3);
        _exit(0);
    }
    close(fds[1]);
    while (have < sizeof said - 1 &&
           (n = read(fds[0], said + have, sizeof said - 1 - have)) > 0)
        have += (size_t)n;
    close(fds[0]);
    waitpid(child, &status, 0);
    CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK_CONTAINS(said, "assertion failed: 1 + 1 == 3\n");
    said[have] = '\0';
    CU_ASSERT_PTR_NOT_NULL(
        memmem(said, have, "before the end=42", strlen("before the end=42")));
}

static const struct test tests[] = {
    TEST(every_conversion_is_printed),
    TEST(ring_keeps_the_last_events_in_order),
    TEST(reader_beside_writers_sees_no_torn_event),
    TEST(failed_assertion_prints_the_last_events),
};
TEST_SUITE("base/trace", tests);
