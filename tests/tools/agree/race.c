/* tests/tools/agree/race.c - all hosts at once, on the same few files and
 * names. What each saw, and when, is judged after (judge.c).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/agree/race.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { BLOCK = 4096 };

struct host {
    const struct run *run;
    struct racer *racer;
    unsigned number;
    uint64_t seed, last_value;
    int plain, direct, size, append, counters[LOCKS];
    uint64_t *buf; /* a block */
};

/* -- registers ------------------------------------------------------------- */

static int error_of(int64_t rc)
{
    return rc < 0 ? errno : 0;
}

static int sync_if_firm(const struct host *h, int fd)
{
    return h->run->firm ? error_of(fdatasync(fd)) : 0;
}

static int set_block(struct host *h, unsigned block, uint64_t value)
{
    int fd = draw(&h->seed, 2) ? h->plain : h->direct;

    for (size_t i = 0; i < BLOCK / sizeof value; i++)
        h->buf[i] = value;
    if (pwrite(fd, h->buf, BLOCK, block * BLOCK) != BLOCK)
        return errno ? errno : EIO;
    return sync_if_firm(h, fd);
}

static int get_block(struct host *h, unsigned block, struct event *e)
{
    int fd = draw(&h->seed, 2) ? h->plain : h->direct;

    if (pread(fd, h->buf, BLOCK, block * BLOCK) != BLOCK)
        return errno ? errno : EIO;
    e->value = h->buf[0];
    for (size_t i = 1; i < BLOCK / sizeof *h->buf; i++) {
        e->other = h->buf[i];
        if (e->other != e->value)
            return EILSEQ; /* half of two */
    }
    return 0;
}

static int set_target(struct host *h, uint64_t value)
{
    char target[32], new[32];

    snprintf(target, sizeof target, "%llu", (unsigned long long)value);
    snprintf(new, sizeof new, "new.%u", h->number);
    if (symlink(target, new))
        return errno;
    return error_of(rename(new, "target"));
}

static int set(struct host *h, unsigned object, uint64_t value)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                      {.tv_sec = (time_t)value}};
    int error;

    switch (object) {
    case OBJECT_SIZE:
        error = error_of(ftruncate(h->size, (off_t)value));
        return error ? error : sync_if_firm(h, h->size);
    case OBJECT_TIME:
        return error_of(utimensat(AT_FDCWD, "attributes", times, 0));
    case OBJECT_XATTR:
        return error_of(
            setxattr("attributes", "user.v", &value, sizeof value, 0));
    case OBJECT_TARGET: return set_target(h, value);
    default: return set_block(h, object, value);
    }
}

static int get(struct host *h, unsigned object, struct event *e)
{
    char target[32] = "";
    struct stat st;

    switch (object) {
    case OBJECT_SIZE:
        if (fstat(h->size, &st))
            return errno;
        e->value = (uint64_t)st.st_size;
        return 0;
    case OBJECT_TIME:
        if (stat("attributes", &st))
            return errno;
        e->value = (uint64_t)st.st_mtim.tv_sec;
        return 0;
    case OBJECT_XATTR:
        return getxattr("attributes", "user.v", &e->value, sizeof e->value) ==
                       sizeof e->value
                   ? 0
                   : errno;
    case OBJECT_TARGET:
        if (readlink("target", target, sizeof target - 1) < 0)
            return errno;
        e->value = strtoull(target, NULL, 10);
        return 0;
    default: return get_block(h, object, e);
    }
}

static uint64_t now_ns(void)
{
    return clock_now_ns(clock_system());
}

static void use_register(struct host *h, struct event *e)
{
    e->object = (uint8_t)draw(&h->seed, REGISTERS);
    e->kind = draw(&h->seed, 2) ? SET : GET;
    if (e->kind == SET) /* of no other host, and never again */
        e->value = ++h->last_value * HISTORY_HOSTS_MAX + h->number;
    e->begin_ns = now_ns();
    e->error =
        e->kind == SET ? set(h, e->object, e->value) : get(h, e->object, e);
    e->end_ns = now_ns();
}

/* -- names ----------------------------------------------------------------- */

static int create(const char *name, uint64_t *ret_ino)
{
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    struct stat st;
    int error = fd < 0 || fstat(fd, &st) ? errno : 0;

    if (fd >= 0)
        close(fd);
    if (!error)
        *ret_ino = st.st_ino;
    return error;
}

static int look(const char *name, uint64_t *ret_ino)
{
    struct stat st;

    if (lstat(name, &st))
        return errno;
    *ret_ino = S_ISDIR(st.st_mode) ? IS_DIR : st.st_ino;
    return 0;
}

static void change_name(struct event *e, const char *a, const char *b)
{
    int64_t rc = 0;

    e->begin_ns = now_ns();
    switch ((unsigned)e->kind) {
    case CREATE: e->error = create(a, &e->value); break;
    case LOOK: e->error = look(a, &e->value); break;
    case MKDIR: rc = mkdir(a, 0755); break;
    case UNLINK: rc = unlink(a); break;
    case RMDIR: rc = rmdir(a); break;
    default:
        rc = renameat2(AT_FDCWD, a, AT_FDCWD, b, (unsigned)e->other);
        break;
    }
    if (rc < 0)
        e->error = errno;
    e->end_ns = now_ns();
}

/* link(2) looks its first name up before: so it is an inode that is linked,
 * whatever has become of the name.  False: there was none. */
static bool link_inode(struct event *e, const char *a, const char *b)
{
    int fd = open(a, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return false;
    if (fstat(fd, &st) || S_ISDIR(st.st_mode)) {
        close(fd);
        return false;
    }
    e->value = st.st_ino;
    e->begin_ns = now_ns();
    e->error = error_of(linkat(fd, "", AT_FDCWD, b, AT_EMPTY_PATH));
    e->end_ns = now_ns();
    close(fd);
    return true;
}

static bool use_names(struct host *h, struct event *e)
{
    static const uint8_t kinds[] = {CREATE, CREATE, CREATE, MKDIR,  UNLINK,
                                    UNLINK, RMDIR,  RENAME, RENAME, RENAME,
                                    LINK,   LINK,   LOOK,   LOOK,   LOOK};
    static const uint8_t flags[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
    char a[32], b[32];

    e->object = OBJECT_NAMES;
    e->kind = kinds[draw(&h->seed, ARRAY_LEN(kinds))];
    e->a = (uint8_t)draw(&h->seed, NAMES);
    e->b = (uint8_t)draw(&h->seed, NAMES);
    e->other = flags[draw(&h->seed, ARRAY_LEN(flags))];
    snprintf(a, sizeof a, "names/%u", e->a);
    snprintf(b, sizeof b, "names/%u", e->b);
    if (e->kind == LINK)
        return link_inode(e, a, b);
    change_name(e, a, b);
    return true;
}

/* -- appending, counting under a lock -------------------------------------- */

static _Noreturn void give_up(const struct host *h, const char *what)
{
    fprintf(stderr, "host %u: %s: %s\n", h->number + 1, what, strerror(errno));
    _exit(1);
}

static void append(struct host *h)
{
    const struct record record = {h->number, h->racer->records++};

    if (write(h->append, &record, sizeof record) != sizeof record)
        give_up(h, "append");
    if (sync_if_firm(h, h->append))
        give_up(h, "fdatasync");
}

static int take_lock(int fd, enum lock kind, bool take)
{
    struct flock whole = {.l_type = take ? F_WRLCK : F_UNLCK,
                          .l_whence = SEEK_SET};

    switch (kind) {
    case LOCK_FLOCK: return flock(fd, take ? LOCK_EX : LOCK_UN);
    case LOCK_OFD: return fcntl(fd, F_OFD_SETLKW, &whole);
    case LOCK_POSIX:
    case LOCKS: break;
    }
    return fcntl(fd, F_SETLKW, &whole);
}

static void count(struct host *h)
{
    enum lock kind = (enum lock)draw(&h->seed, LOCKS);
    int fd = h->counters[kind];
    uint64_t value;

    if (take_lock(fd, kind, true))
        give_up(h, "lock");
    if (pread(fd, &value, sizeof value, 0) != sizeof value)
        give_up(h, "read of a counter");
    value++;
    if (pwrite(fd, &value, sizeof value, 0) != sizeof value)
        give_up(h, "write of a counter");
    if (sync_if_firm(h, fd))
        give_up(h, "fdatasync");
    if (take_lock(fd, kind, false))
        give_up(h, "unlock");
    h->racer->counted[kind]++;
}

/* -- a host ---------------------------------------------------------------- */

static int must_open(const struct host *h, const char *name, int flags)
{
    int fd = open(name, flags | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0)
        give_up(h, name);
    return fd;
}

static void open_all(struct host *h)
{
    if (chdir(h->run->dirs[h->number]))
        give_up(h, "chdir");
    h->plain = must_open(h, "blocks", O_RDWR);
    h->direct = must_open(h, "blocks", O_RDWR | O_DIRECT);
    h->size = must_open(h, "size", O_RDWR);
    h->append = must_open(h, "records", O_RDWR | O_APPEND);
    h->counters[LOCK_FLOCK] = must_open(h, "flock", O_RDWR);
    h->counters[LOCK_OFD] = must_open(h, "ofd", O_RDWR);
    h->counters[LOCK_POSIX] = must_open(h, "posix", O_RDWR);
    h->buf = aligned_alloc(BLOCK, BLOCK);
    if (!h->buf)
        abort();
}

static void act(struct host *h)
{
    struct event *e = &h->racer->events[h->racer->event_count];

    memset(e, 0, sizeof *e);
    switch (draw(&h->seed, 12)) {
    case 0: append(h); break;
    case 1: count(h); break;
    case 2:
    case 3:
    case 4:
    case 5: h->racer->event_count += use_names(h, e); break;
    default:
        use_register(h, e);
        h->racer->event_count++;
        break;
    }
    h->racer->done++;
}

static void race_on(const struct run *run, struct racer *racer, unsigned number)
{
    struct host h = {.run = run,
                     .racer = racer,
                     .number = number,
                     .seed = run->seed * HISTORY_HOSTS_MAX + number};

    open_all(&h);
    for (unsigned long i = 0; i < run->ops / run->hosts; i++)
        act(&h);
}

/* -- all ------------------------------------------------------------------- */

/* Everything is there, and each register holds 0. */
static void prepare(const struct run *run)
{
    struct host h = {.run = run};
    const uint64_t none = 0;

    open_all(&h);
    for (unsigned i = 0; i < BLOCKS; i++)
        if (set_block(&h, i, 0))
            give_up(&h, "blocks");
    for (unsigned i = 0; i < LOCKS; i++)
        if (pwrite(h.counters[i], &none, sizeof none, 0) != sizeof none)
            give_up(&h, "counters");
    close(must_open(&h, "attributes", O_RDWR));
    if (set(&h, OBJECT_TIME, 0) || set(&h, OBJECT_XATTR, 0) ||
        set(&h, OBJECT_TARGET, 0) || mkdir("names", 0755))
        give_up(&h, "prepare");
}

static bool ended_well(pid_t pid)
{
    int status;

    return waitpid(pid, &status, 0) == pid && !status;
}

static struct racer *racer_new(const struct run *run)
{
    size_t bytes = sizeof(struct racer) + (run->ops + 1) * sizeof(struct event);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        abort();
    return at;
}

/* In a process of its own: a host's open files are not another's. */
static pid_t begin(const struct run *run, struct racer *racer, unsigned number)
{
    pid_t pid = fork();

    if (pid < 0)
        abort();
    if (pid)
        return pid;
    if (racer)
        race_on(run, racer, number);
    else
        prepare(run);
    _exit(0);
}

/* For who wants to do something in the middle of it. */
static void say_half(const struct run *run, struct racer *const *racers)
{
    unsigned long done = 0;

    while (done < run->ops / 2 && waitpid(-1, NULL, WNOHANG | WNOWAIT) <= 0) {
        usleep(1000);
        done = 0;
        for (unsigned i = 0; i < run->hosts; i++)
            done += racers[i]->done;
    }
    printf("half\n");
}

int race(const struct run *run)
{
    struct racer *racers[HISTORY_HOSTS_MAX];
    pid_t pids[HISTORY_HOSTS_MAX];
    int bad = 0;

    if (run->hosts > HISTORY_HOSTS_MAX || !ended_well(begin(run, NULL, 0)))
        return 1;
    for (unsigned i = 0; i < run->hosts; i++)
        racers[i] = racer_new(run);
    for (unsigned i = 0; i < run->hosts; i++)
        pids[i] = begin(run, racers[i], i);
    say_half(run, racers);
    for (unsigned i = 0; i < run->hosts; i++)
        bad += !ended_well(pids[i]);
    if (!bad)
        bad = judge(run, racers);
    if (!bad)
        printf("%lu operations at once\n", run->ops);
    return bad != 0;
}
