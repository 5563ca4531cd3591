/* tests/unit/lockmgr/test_range_kernel.c - byte-range locks beside the kernel:
 * the same random requests go to a table and, by real processes, to a file.
 * What would wait is not asked for.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 3, FDS = 4, BYTES = 30, STEPS = 6000 };

/* Of a process's descriptors the first is for POSIX locks, two are for OFD
 * locks, the last is for flock. */
static enum lm_range_kind kind_of(unsigned fd)
{
    return fd == 0 ? LM_POSIX : fd < FDS - 1 ? LM_OFD : LM_FLOCK;
}

struct command {
    unsigned fd;
    bool is_test;
    struct flock lock;
};

struct verdict {
    int error;
    struct flock lock; /* of a test */
};

struct child {
    pid_t pid;
    int socket;
};

/* -- in the child ---------------------------------------------------------- */

static int carry_out(int fd, struct command *c)
{
    static const int flock_ops[] = {
        [F_RDLCK] = LOCK_SH, [F_WRLCK] = LOCK_EX, [F_UNLCK] = LOCK_UN};
    bool is_ofd = kind_of(c->fd) == LM_OFD;

    if (kind_of(c->fd) == LM_FLOCK)
        return flock(fd, flock_ops[c->lock.l_type] | LOCK_NB);
    if (c->is_test)
        return fcntl(fd, is_ofd ? F_OFD_GETLK : F_GETLK, &c->lock);
    return fcntl(fd, is_ofd ? F_OFD_SETLK : F_SETLK, &c->lock);
}

static void serve(const char *path, int socket)
{
    struct command c;
    int fds[FDS];

    for (unsigned i = 0; i < FDS; i++)
        fds[i] = open(path, O_RDWR | O_CLOEXEC);
    while (read(socket, &c, sizeof c) == (ssize_t)sizeof c) {
        struct verdict v = {0};

        v.error = carry_out(fds[c.fd], &c) ? errno : 0;
        v.lock = c.lock;
        if (write(socket, &v, sizeof v) != (ssize_t)sizeof v)
            break;
    }
    _exit(0);
}

static void child_start(struct child *child, const char *path)
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

static void child_stop(struct child *child)
{
    shutdown(child->socket, SHUT_RDWR); /* later children have a copy */
    close(child->socket);
    waitpid(child->pid, NULL, 0);
}

/* -- both sides ------------------------------------------------------------ */

static uint64_t below(uint64_t *seed, uint64_t limit)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (*seed >> 11) % limit;
}

static struct lm_range some_range(uint64_t *seed, const struct child *children,
                                  unsigned *ret_process, unsigned *ret_fd)
{
    unsigned process = (unsigned)below(seed, PROCESSES);
    unsigned fd = (unsigned)below(seed, FDS);
    bool is_flock = kind_of(fd) == LM_FLOCK;
    uint64_t first = is_flock ? 0 : below(seed, BYTES);

    *ret_process = process;
    *ret_fd = fd;
    return (struct lm_range){
        .file = 1,
        .owner = {.kind = kind_of(fd), .peer = {process + 1, 1}, .key = fd},
        .type = (enum lm_range_type)below(seed, 3),
        .first = first,
        .last = is_flock || below(seed, 10) == 0
                    ? LM_RANGE_LAST
                    : first + below(seed, BYTES / 2),
        .pid = (uint32_t)children[process].pid,
    };
}

static struct verdict ask_kernel(const struct child *child, unsigned fd,
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
    struct verdict v = {.error = -1};

    if (write(child->socket, &c, sizeof c) != (ssize_t)sizeof c ||
        read(child->socket, &v, sizeof v) != (ssize_t)sizeof v)
        v.error = -1;
    return v;
}

static bool compare_test(struct lm_ranges *t, const struct lm_range *r,
                         const struct verdict *v)
{
    struct lm_range other;

    if (!lm_ranges_test(t, r, &other))
        return CHECK_EQ(v->lock.l_type, F_UNLCK);
    return CHECK_EQ(v->lock.l_type,
                    other.type == LM_WRLCK ? F_WRLCK : F_RDLCK) &&
           CHECK_EQ(v->lock.l_start, other.first) &&
           CHECK_EQ(v->lock.l_len, other.last == LM_RANGE_LAST
                                       ? 0
                                       : other.last - other.first + 1) &&
           CHECK_EQ(v->lock.l_pid,
                    other.owner.kind == LM_POSIX ? (pid_t)other.pid : -1);
}

static void the_kernel_decides_the_same(void)
{
    struct world w;
    struct child children[PROCESSES];
    char path[WORLD_PATH_BYTES];
    uint64_t seed = 77;
    struct lm_ranges *t;
    bool is_same = true;

    world_init(&w);
    world_file(&w, "locked", 4096, path);
    CHECK_OK_FATAL(lm_ranges_new(10000, &t));
    for (unsigned i = 0; i < PROCESSES; i++)
        child_start(&children[i], path);
    for (unsigned i = 0; is_same && i < STEPS / TEST_ONE_IN; i++) {
        unsigned process, fd;
        struct lm_range r = some_range(&seed, children, &process, &fd);
        bool is_test = fd < FDS - 1 && r.type != LM_UNLCK && i % 3 == 0;
        struct verdict v = ask_kernel(&children[process], fd, is_test, &r);

        if (is_test)
            is_same = CHECK_EQ(v.error, 0) && compare_test(t, &r, &v);
        else
            is_same = CHECK_EQ(err_errno(lm_ranges_set(t, &r)), v.error);
    }
    for (unsigned i = 0; i < PROCESSES; i++)
        child_stop(&children[i]);
    lm_ranges_free(t);
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(the_kernel_decides_the_same),
};
TEST_SUITE("lockmgr/range_kernel", tests);
