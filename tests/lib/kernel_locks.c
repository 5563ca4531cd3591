/* tests/lib/kernel_locks.c - see kernel_locks.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/kernel_locks.h"

#include "tests/lib/test.h"

#include <errno.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum lm_range_kind kernel_kind_of(unsigned fd)
{
    return fd == 0 ? LM_POSIX : fd < KERNEL_FDS - 2 ? LM_OFD : LM_FLOCK;
}

struct command {
    unsigned fd;
    bool is_test;
    struct flock lock;
};

/* -- in the child ---------------------------------------------------------- */

static int carry_out(int fd, struct command *c)
{
    static const int flock_ops[] = {
        [F_RDLCK] = LOCK_SH, [F_WRLCK] = LOCK_EX, [F_UNLCK] = LOCK_UN};
    bool is_ofd = kernel_kind_of(c->fd) == LM_OFD;

    if (kernel_kind_of(c->fd) == LM_FLOCK)
        return flock(fd, flock_ops[c->lock.l_type] | LOCK_NB);
    if (c->is_test)
        return fcntl(fd, is_ofd ? F_OFD_GETLK : F_GETLK, &c->lock);
    return fcntl(fd, is_ofd ? F_OFD_SETLK : F_SETLK, &c->lock);
}

static void serve(const char *path, int socket)
{
    struct command c;
    int fds[KERNEL_FDS];

    for (unsigned i = 0; i < KERNEL_FDS; i++)
        fds[i] = open(path, O_RDWR | O_CLOEXEC);
    while (read(socket, &c, sizeof c) == (ssize_t)sizeof c) {
        struct kernel_verdict v = {0};

        v.error = carry_out(fds[c.fd], &c) ? errno : 0;
        v.lock = c.lock;
        if (write(socket, &v, sizeof v) != (ssize_t)sizeof v)
            break;
    }
    _exit(0);
}

void kernel_child_start(struct kernel_child *child, const char *path)
{
    int pair[2];

    CU_ASSERT_FATAL(
        !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    child->pid = fork();
    CU_ASSERT_FATAL(child->pid >= 0);
    if (child->pid == 0) {
        close(pair[0]);
        serve(path, pair[1]);
    }
    close(pair[1]);
    child->socket = pair[0];
}

void kernel_child_stop(struct kernel_child *child)
{
    shutdown(child->socket, SHUT_RDWR); /* later children have a copy */
    close(child->socket);
    waitpid(child->pid, NULL, 0);
}

/* -- asking ---------------------------------------------------------------- */

struct kernel_verdict kernel_ask(const struct kernel_child *child, unsigned fd,
                                 bool is_test, const struct lm_range *r)
{
    static const short types[] = {
        [LM_UNLCK] = F_UNLCK, [LM_RDLCK] = F_RDLCK, [LM_WRLCK] = F_WRLCK};
    const struct command c = {
        .fd = fd,
        .is_test = is_test,
        .lock = {.l_type = types[r->type],
                 .l_whence = SEEK_SET,
                 .l_start = (off_t)r->first,
                 .l_len = r->last == LM_RANGE_LAST
                              ? 0
                              : (off_t)(r->last - r->first + 1)},
    };
    struct kernel_verdict v = {.error = -1};

    if (write(child->socket, &c, sizeof c) != (ssize_t)sizeof c ||
        read(child->socket, &v, sizeof v) != (ssize_t)sizeof v)
        v.error = -1;
    return v;
}

bool kernel_agrees(const struct kernel_verdict *v, const struct lm_range *other)
{
    if (other->type == LM_UNLCK)
        return CHECK_EQ(v->lock.l_type, F_UNLCK);
    return CHECK_EQ(v->lock.l_type,
                    other->type == LM_WRLCK ? F_WRLCK : F_RDLCK) &&
           CHECK_EQ(v->lock.l_start, other->first) &&
           CHECK_EQ(v->lock.l_len, other->last == LM_RANGE_LAST
                                       ? 0
                                       : other->last - other->first + 1) &&
           CHECK_EQ(v->lock.l_pid,
                    other->owner.kind == LM_POSIX ? (pid_t)other->pid : -1);
}

uint64_t kernel_below(uint64_t *seed, uint64_t limit)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (*seed >> 11) % limit;
}

struct lm_range kernel_some_range(uint64_t *seed, unsigned fd, uint64_t bytes)
{
    bool is_flock = kernel_kind_of(fd) == LM_FLOCK;
    uint64_t first = is_flock ? 0 : kernel_below(seed, bytes);

    return (struct lm_range){
        .file = 1,
        .owner = {.kind = kernel_kind_of(fd), .key = fd},
        .type = (enum lm_range_type)kernel_below(seed, 3),
        .first = first,
        .last = is_flock || kernel_below(seed, 10) == 0
                    ? LM_RANGE_LAST
                    : first + kernel_below(seed, bytes / 2),
    };
}
