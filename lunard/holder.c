/* lunard/holder.c - keeps lunard's descriptors, restarts it when it dies.
 * Does as little as possible, for nothing restarts the holder.
 *
 * A restart waits for the end of the old process: its libaio requests are
 * then answered, so that no old write lands among the new ones.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/holder.h"

#include "base/clock.h"
#include "base/keep.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGV_MAX = 64 }; /* lunard has a handful of options */

struct holder {
    const struct holder_args *args;
    struct keep_shelf *shelf;
    int signal_fd;
    int socket_fd; /* our end; -1 once the daemon has closed its own */
    pid_t pid;
    sigset_t old_mask;
    uint64_t started_ns;
    unsigned early_deaths;
};

PRINTF_LIKE(2, 3)
static void tell(const struct holder *h, const char *fmt, ...)
{
    char text[256];
    va_list list;

    if (!h->args->event)
        return;
    va_start(list, fmt);
    vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    h->args->event(h->args->arg, text);
}

/* In the child: become the daemon. */
NORETURN static void child(const struct holder *h, int socket_fd, pid_t parent)
{
    char *argv[ARGV_MAX + 3], option[] = HOLDER_OPTION, number[16];
    size_t n = 0;

    while (h->args->argv[n] && n < ARGV_MAX) {
        argv[n] = h->args->argv[n];
        n++;
    }
    snprintf(number, sizeof number, "%d", socket_fd);
    argv[n++] = option;
    argv[n++] = number;
    argv[n] = NULL;
    sigprocmask(SIG_SETMASK, &h->old_mask, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && fcntl(socket_fd, F_SETFD, 0) == 0)
        execv(h->args->program, argv);
    fprintf(stderr, "lunard: cannot start %s: %s\n", h->args->program,
            strerror(errno));
    _exit(1);
}

static enum err start(struct holder *h)
{
    int pair[2];
    pid_t parent = getpid();
    enum err e;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return err_from_errno(errno);
    h->started_ns = clock_now_ns(clock_system());
    h->pid = fork();
    if (h->pid == 0)
        child(h, pair[1], parent);
    close(pair[1]);
    if (h->pid < 0) {
        e = err_from_errno(errno);
        close(pair[0]);
        return e;
    }
    h->socket_fd = pair[0];
    /* It reads this first of all; if it died already, SIGCHLD says so. */
    e = keep_shelf_tell(h->shelf, h->socket_fd);
    return e == E_CLOSED ? E_OK : e;
}

static void hang_up(struct holder *h)
{
    if (h->socket_fd >= 0)
        close(h->socket_fd);
    h->socket_fd = -1;
}

/* Everything the daemon said before it died counts. */
static void drain(struct holder *h)
{
    while (h->socket_fd >= 0 &&
           keep_shelf_receive(h->shelf, h->socket_fd) != E_CLOSED)
        ;
    hang_up(h);
}

/* The daemon ended.  True: started again; false: *ret_status is the verdict. */
static bool revive(struct holder *h, int status, int *ret_status)
{
    uint64_t lived_ms =
        (clock_now_ns(clock_system()) - h->started_ns) / NS_PER_MS;
    bool again = WIFEXITED(status) && WEXITSTATUS(status) == HOLDER_AGAIN;
    enum err e;

    drain(h);
    if (WIFEXITED(status) && !again) {
        *ret_status = WEXITSTATUS(status);
        return false;
    }
    *ret_status = 1;
    h->early_deaths =
        lived_ms < HOLDER_EARLY_MS && !again ? h->early_deaths + 1 : 0;
    if (h->early_deaths >= HOLDER_TRIES) {
        tell(h, "died %u times soon after its start: giving up",
             h->early_deaths);
        return false;
    }
    tell(h, "ended by %s %d after %llu ms: starting it again, %u kept",
         again ? "its own wish, status" : "signal",
         again ? WEXITSTATUS(status) : WTERMSIG(status),
         (unsigned long long)lived_ms, keep_shelf_count(h->shelf));
    e = start(h);
    if (e)
        tell(h, "cannot start it again: %s", err_text(e));
    return e == E_OK;
}

static void pass_on(const struct holder *h, uint32_t signal_no)
{
    kill(h->pid, signal_no == SIGHUP ? SIGKILL : (int)signal_no);
}

static int serve(struct holder *h)
{
    int status;

    for (;;) {
        struct pollfd p[2] = {
            {h->signal_fd, POLLIN, 0},
            {h->socket_fd, POLLIN, 0}
        };
        struct signalfd_siginfo si;
        int verdict;

        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return 1;
        if (p[1].revents &&
            keep_shelf_receive(h->shelf, h->socket_fd) == E_CLOSED)
            hang_up(h);
        if (!(p[0].revents & POLLIN) ||
            read(h->signal_fd, &si, sizeof si) != sizeof si)
            continue;
        if (si.ssi_signo != SIGCHLD) {
            pass_on(h, si.ssi_signo);
            continue;
        }
        if (waitpid(h->pid, &status, WNOHANG) == h->pid &&
            !revive(h, status, &verdict))
            return verdict;
    }
}

int holder_run(const struct holder_args *args)
{
    struct holder h = {.args = args, .socket_fd = -1};
    sigset_t mask;
    int status = 1;

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigprocmask(SIG_BLOCK, &mask, &h.old_mask);
    h.signal_fd = signalfd(-1, &mask, SFD_CLOEXEC);
    if (h.signal_fd >= 0 && keep_shelf_new(&h.shelf) == E_OK) {
        enum err e = start(&h);

        if (e == E_OK)
            status = serve(&h);
        else
            tell(&h, "cannot start it: %s", err_text(e));
    }
    hang_up(&h);
    keep_shelf_free(h.shelf);
    if (h.signal_fd >= 0)
        close(h.signal_fd);
    sigprocmask(SIG_SETMASK, &h.old_mask, NULL);
    return status;
}
