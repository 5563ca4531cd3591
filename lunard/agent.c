/* lunard/agent.c - run a fence agent: its input, its words, its end.
 * Knows no node and no cluster.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/agent.h"

#include "base/clock.h"
#include "base/log.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LOOK_MS = 100,  /* is it to stop? */
    LINES_MAX = 200 /* that are logged of one run */
};

/* -- input ----------------------------------------------------------------- */

struct target {
    const struct config *config;
    const char *host;
    char number[16];
};

static bool is_of_node(const struct target *t, const struct config_fence *o)
{
    return *o->node &&
           (!strcmp(o->node, t->number) || !strcmp(o->node, t->host));
}

/* Is there such an option of this very node? */
static bool has_own(const struct target *t, const char *name)
{
    for (unsigned i = 0; i < t->config->fence_count; i++)
        if (is_of_node(t, &t->config->fence[i]) &&
            !strcmp(t->config->fence[i].name, name))
            return true;
    return false;
}

enum err agent_input(const struct config *config, uint32_t node,
                     const char *host, struct buf *ret_input, struct diag *why)
{
    struct target t = {.config = config, .host = host};
    bool plugged;

    snprintf(t.number, sizeof t.number, "%u", node);
    plugged = has_own(&t, "plug") || has_own(&t, "port");
    if (!plugged && !*host)
        return diag_fail(why, E_CONFIG,
                         "the name of node %u is not known: give it a section "
                         "[fence %u] with its plug in lunar.conf",
                         node, node);
    buf_add_text(ret_input, "action=off\n");
    for (unsigned i = 0; i < config->fence_count; i++) {
        const struct config_fence *o = &config->fence[i];

        if (is_of_node(&t, o) || (!*o->node && !has_own(&t, o->name)))
            buf_printf(ret_input, "%s=%s\n", o->name, o->value);
    }
    if (!plugged)
        buf_printf(ret_input, "plug=%s\n", host);
    return buf_ok(ret_input) ? E_OK : diag_fail(why, E_NOMEM, "out of memory");
}

/* -- the process ----------------------------------------------------------- */

struct agent {
    const struct agent_args *args;
    pid_t pid;
    int fd;         /* its words, and its input */
    char line[256]; /* of them, as far as it has come */
    size_t bytes;
    unsigned lines;
};

/* In the child: nothing of ours is its, and it dies with us: a host that is
 * fenced itself is not to go on shooting. */
NORETURN static void child(const struct agent_args *args, int fd)
{
    union { /* execv(3) writes to none of them */
        const char *in;
        char *out;
    } program = {.in = args->program};
    char *const argv[] = {program.out, NULL};
    sigset_t none;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (dup2(fd, 0) == 0 && dup2(fd, 1) == 1 && dup2(fd, 2) == 2 &&
        !close_range(3, ~0u, 0))
        execv(args->program, argv);
    _exit(127);
}

static enum err start(struct agent *a, struct diag *why)
{
    const char *input = a->args->input;
    size_t len = strlen(input);
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return diag_fail(why, err_from_errno(errno), "socketpair: %s",
                         strerror(errno));
    a->fd = fds[0];
    a->pid = fork();
    if (a->pid == 0)
        child(a->args, fds[1]);
    close(fds[1]);
    if (a->pid < 0) {
        close(a->fd);
        return diag_fail(why, E_AGAIN, "fork: %s", strerror(errno));
    }
    setpgid(a->pid, a->pid); /* whoever of us comes first */
    /* As much as there may be fits into the socket; who does not read it says
     * so by its exit status. */
    if (send(a->fd, input, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
        log_warning("fence agent, %s: does not take its options",
                    a->args->label);
    shutdown(a->fd, SHUT_WR);
    return E_OK;
}

static void end_line(struct agent *a)
{
    a->line[a->bytes] = '\0';
    if (a->bytes && a->lines++ < LINES_MAX)
        log_info("fence agent, %s: %s", a->args->label, a->line);
    a->bytes = 0;
}

/* False: it has closed its end. */
static bool hear(struct agent *a)
{
    char words[512];
    ssize_t n = recv(a->fd, words, sizeof words, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    for (ssize_t i = 0; i < n; i++) {
        if (words[i] == '\n' || a->bytes == sizeof a->line - 1)
            end_line(a);
        if (words[i] != '\n')
            a->line[a->bytes++] =
                (unsigned char)words[i] < ' ' ? ' ' : words[i];
    }
    return n > 0;
}

static enum err verdict(const struct agent *a, int status, struct diag *why)
{
    const char *program = a->args->program;

    if (WIFSIGNALED(status))
        return diag_fail(why, E_IO, "%s: was killed by signal %d", program,
                         WTERMSIG(status));
    if (WEXITSTATUS(status) == 127)
        return diag_fail(why, E_NOENT, "%s: cannot be run", program);
    if (WEXITSTATUS(status))
        return diag_fail(why, E_IO, "%s: failed, exit status %d", program,
                         WEXITSTATUS(status));
    return E_OK;
}

/* Until it has exited; it may have left children that hold the socket. */
static enum err wait_for(struct agent *a, struct diag *why)
{
    uint64_t end_ns =
        clock_now_ns(clock_system()) + a->args->limit_ms * NS_PER_MS;
    struct pollfd fd = {.fd = a->fd, .events = POLLIN};
    enum err e = E_OK;
    int status = 0;
    pid_t ended;

    while ((ended = waitpid(a->pid, &status, WNOHANG)) == 0) {
        if (a->args->stop && atomic_load(a->args->stop))
            e = diag_fail(why, E_CANCELED, "%s: is ended with this daemon",
                          a->args->program);
        else if (clock_now_ns(clock_system()) >= end_ns)
            e = diag_fail(why, E_TIMEOUT, "%s: has not ended after %u s",
                          a->args->program, a->args->limit_ms / 1000);
        if (e) {
            kill(-a->pid, SIGKILL);
            waitpid(a->pid, &status, 0);
            return e;
        }
        if (poll(&fd, 1, LOOK_MS) > 0 && !hear(a))
            fd.fd = -1; /* only its end is awaited still */
    }
    while (hear(a) && poll(&fd, 1, 0) > 0)
        ;
    if (ended != a->pid) /* what is not known is not off */
        return diag_fail(why, E_IO, "%s: has ended, nobody knows how",
                         a->args->program);
    return verdict(a, status, why);
}

enum err agent_run(const struct agent_args *args, struct diag *why)
{
    struct agent a = {.args = args};
    enum err e = start(&a, why);

    if (e)
        return e;
    e = wait_for(&a, why);
    end_line(&a);
    close(a.fd);
    return e;
}
