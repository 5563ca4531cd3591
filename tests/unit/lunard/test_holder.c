/* tests/unit/lunard/test_holder.c - what the holder does when its child ends.
 * The "daemon" is this test program itself, started with HOLDER_OPTION; it
 * counts its starts in a memory file that it keeps at the holder.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/holder.h"

#include "base/keep.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* -- the daemon ------------------------------------------------------------ */

/* How often this daemon was started so far, by what the holder has kept. */
static unsigned count_start(struct keep *k)
{
    int fds[KEEP_FDS_MAX];
    unsigned starts = 0;

    if (!keep_take(k, "starts", fds)) {
        fds[0] = memfd_create("starts", 0);
        if (keep_put(k, "starts", fds, 1))
            _exit(90);
    }
    if (pread(fds[0], &starts, sizeof starts, 0) < 0)
        _exit(91);
    starts++;
    if (pwrite(fds[0], &starts, sizeof starts, 0) != sizeof starts)
        _exit(92);
    return starts;
}

NORETURN static void die(int signal_no)
{
    signal(signal_no, SIG_DFL);
    raise(signal_no);
    _exit(93);
}

/* What the daemon does is the word in argv[1]. */
NORETURN static void daemon_main(const char *plan, int keep_fd)
{
    struct keep *k;
    unsigned starts;

    if (keep_connect(keep_fd, &k))
        _exit(94);
    starts = count_start(k);
    if (!strcmp(plan, "crash-twice"))
        starts <= 2 ? die(SIGKILL) : _exit((int)starts);
    if (!strcmp(plan, "again-thrice"))
        _exit(starts <= 3 ? HOLDER_AGAIN : (int)starts);
    if (!strcmp(plan, "crash-always"))
        die(SIGKILL);
    if (!strcmp(plan, "wait")) {
        int signal_no;
        sigset_t term;

        sigemptyset(&term);
        sigaddset(&term, SIGTERM);
        sigprocmask(SIG_BLOCK, &term, NULL);
        /* first an upgrade: killed, started again; then the end */
        kill(getppid(), starts == 1 ? SIGHUP : SIGTERM);
        sigwait(&term, &signal_no);
        _exit(40 + (int)starts);
    }
    _exit(7);
}

/* Before main(): are we the daemon?  argv: program, plan, option, number. */
__attribute__((constructor)) static void maybe_daemon(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[2], HOLDER_OPTION))
        daemon_main(argv[1], (int)strtol(argv[3], NULL, 10));
}

/* -- the tests ------------------------------------------------------------- */

/* The holder's verdict over a daemon with that plan.  In a child of its own,
 * since the holder wants a process with one thread and quiet signals. */
static int hold(const char *plan)
{
    char name[] = "daemon", word[32], program[] = "/proc/self/exe";
    char *argv[] = {name, word, NULL};
    struct holder_args args = {.program = program, .argv = argv};
    int status;
    pid_t pid;

    snprintf(word, sizeof word, "%s", plan);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(holder_run(&args));
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CU_ASSERT_TRUE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void daemon_killed_twice_is_started_thrice_and_keeps_its_memory(void)
{
    CHECK_EQ(hold("crash-twice"), 3);
}

static void daemon_that_asks_for_it_is_started_again(void)
{
    CHECK_EQ(hold("again-thrice"), 4);
}

static void daemon_that_always_dies_is_given_up(void)
{
    CHECK_EQ(hold("crash-always"), 1);
}

static void exit_status_of_an_orderly_end_is_passed_on(void)
{
    CHECK_EQ(hold("leave"), 7);
}

static void hangup_restarts_and_terminate_waits_for_the_daemons_own_end(void)
{
    CHECK_EQ(hold("wait"), 42);
}

static const struct test tests[] = {
    TEST(daemon_killed_twice_is_started_thrice_and_keeps_its_memory),
    TEST(daemon_that_asks_for_it_is_started_again),
    TEST(daemon_that_always_dies_is_given_up),
    TEST(exit_status_of_an_orderly_end_is_passed_on),
    TEST(hangup_restarts_and_terminate_waits_for_the_daemons_own_end),
};
TEST_SUITE("lunard/holder", tests);
