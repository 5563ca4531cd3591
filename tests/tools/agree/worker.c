/* tests/tools/agree/worker.c - a process in a directory, which does one
 * operation at a time as it is asked.  It has open files and locks of its own.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/agree/agree.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void serve(const struct worker *w, int fd)
{
    struct hands hands;
    char word;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(w->dir)) {
        fprintf(stderr, "agree: %s: %s\n", w->dir, strerror(errno));
        _exit(1);
    }
    hands_init(&hands);
    while (read(fd, &word, 1) == 1) {
        op_do(&hands, w->op, w->answer);
        if (write(fd, &word, 1) != 1)
            break;
    }
    _exit(0);
}

static void *shared(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        abort();
    return at;
}

void worker_start(struct worker *w, const char *dir)
{
    int ends[2];

    w->dir = dir;
    w->op = shared(sizeof *w->op);
    w->answer = shared(sizeof *w->answer);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        abort();
    w->fd = ends[0];
    w->pid = fork();
    if (w->pid < 0)
        abort();
    if (!w->pid) {
        close(ends[0]);
        serve(w, ends[1]);
    }
    close(ends[1]);
}

void worker_ask(struct worker *w, const struct op *op)
{
    char word = 'x';

    *w->op = *op;
    if (write(w->fd, &word, 1) != 1 || read(w->fd, &word, 1) != 1) {
        fprintf(stderr, "agree: who works in %s has ended\n", w->dir);
        exit(2);
    }
}

void worker_end(struct worker *w)
{
    kill(w->pid, SIGKILL); /* its socket is in its successors, too */
    close(w->fd);
    waitpid(w->pid, NULL, 0);
    munmap(w->op, sizeof *w->op);
    munmap(w->answer, sizeof *w->answer);
}
