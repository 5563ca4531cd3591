/* tests/tools/hostload.c - a load on one host of a cluster that knows what must
 * be there after: a thread each for direct writes, names, and new space.
 * Knows nothing of what is mounted.
 *
 *   hostload DIR SEED [PAUSE_MS]    between a thread's steps; 0
 *
 * DIR is new.  Then on stdin, with answers on stdout:
 *   start       "started"
 *   more N      until each thread has done N operations more, or has ended;
 *               "more ERRORS"
 *   stalls      "stalls DIRECT NAMES SPACE": the longest operations since the
 *               last question, those that go on as well, in ms
 *   stop        "stopped DIRECT NAMES SPACE ERRORS": operations, threads that
 *               met an error
 *   verify DIR  the same directory, seen from any host; "verified N":
 *               differences, each told before
 *
 * direct: 4 KiB with O_DIRECT in place, each slot with a version.  names:
 * create, fsync, rename without replacing, fsync of the directory, unlink; each
 * must succeed, so that an operation that is lost or done twice is an error at
 * once.  space: 1 MiB at the end of a file, fsync after 8, an unlink after 16.
 * A thread ends at its first error; what it was doing then may be done or not,
 * and what it had not synced may be gone.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK = 4096,
    SLOTS = 256,
    KEPT = 8,        /* names that are there at a time, and in all: */
    PIECE = 1 << 20, /* of new space */
    PIECES = 16,     /* in a file */
    SYNC_EVERY = 8   /* pieces */
};

enum kind { DIRECT, NAMES, SPACE, KINDS };
static const char *const kind_names[KINDS] = {"direct", "names", "space"};

struct load {
    enum kind kind;
    pthread_t thread;
    uint64_t random;
    int fd;       /* direct, space: the file; names: the directory */
    uint8_t *buf; /* PIECE, aligned */
    atomic_uint_fast64_t ops;
    atomic_uint_fast64_t since_ns; /* the operation at hand; 0: none */
    atomic_uint_fast64_t longest_ns;
    atomic_int error;
    const char *doing; /* for the message */

    uint32_t tried[SLOTS], done[SLOTS]; /* direct: versions */
    uint64_t next;                      /* names, space: number of the file */
    uint64_t removed;                   /* those below are gone */
    unsigned pieces, synced;            /* of the last file: space */
};

static struct load loads[KINDS];
static const char *dir;
static uint64_t seed;
static unsigned pause_ms;
static atomic_bool ending;

/* -- what is written ------------------------------------------------------- */

struct stamp {
    uint64_t seed, file, block, version;
};

static void fill(uint8_t *buf, size_t bytes, struct stamp s)
{
    for (size_t at = 0; at < bytes; at += sizeof s) {
        s.block += at && at % BLOCK == 0;
        memcpy(buf + at, &s, sizeof s);
    }
}

/* All of it is one version; returns that, or UINT64_MAX. */
static uint64_t version_of(const uint8_t *buf, struct stamp s)
{
    struct stamp first, other;

    memcpy(&first, buf, sizeof first);
    s.version = first.version;
    for (size_t at = 0; at < BLOCK; at += sizeof s) {
        memcpy(&other, buf + at, sizeof other);
        if (memcmp(&other, &s, sizeof s))
            return UINT64_MAX;
    }
    return s.version;
}

/* -- one operation, timed -------------------------------------------------- */

static uint64_t now_ns(void)
{
    return clock_now_ns(clock_system());
}

static void begin(struct load *l, const char *doing)
{
    l->doing = doing;
    atomic_store(&l->since_ns, now_ns());
}

/* Returns whether it went well: rc is what a system call gave. */
static bool end(struct load *l, bool well)
{
    int error = well ? 0 : errno ? errno : EIO;
    uint64_t took_ns = now_ns() - atomic_exchange(&l->since_ns, 0);

    if (took_ns > atomic_load(&l->longest_ns))
        atomic_store(&l->longest_ns, took_ns);
    if (well)
        atomic_fetch_add(&l->ops, 1);
    else
        atomic_store(&l->error, error);
    return well;
}

static void path_of(char *path, size_t size, const char *in, const char *what,
                    uint64_t number)
{
    snprintf(path, size, "%s/%s.%llu", in, what, (unsigned long long)number);
}

static bool step_direct(struct load *l)
{
    unsigned slot;

    l->random = l->random * 6364136223846793005U + 1442695040888963407U;
    slot = (unsigned)(l->random >> 33) % SLOTS;
    l->tried[slot]++;
    fill(l->buf, BLOCK, (struct stamp){seed, DIRECT, slot, l->tried[slot]});
    begin(l, "direct write");
    if (!end(l, pwrite(l->fd, l->buf, BLOCK, (off_t)slot * BLOCK) == BLOCK))
        return false;
    l->done[slot] = l->tried[slot];
    return true;
}

static bool create(struct load *l, const char *path)
{
    int fd;
    bool well;

    begin(l, "create");
    fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    if (!end(l, fd >= 0))
        return false;
    begin(l, "write to a new name");
    well = end(l, pwrite(fd, &l->next, sizeof l->next, 0) == sizeof l->next);
    if (well) {
        begin(l, "fsync of a new name");
        well = end(l, !fsync(fd));
    }
    close(fd);
    return well;
}

static bool step_names(struct load *l)
{
    char from[512], to[512];

    path_of(from, sizeof from, dir, "names/new", l->next);
    path_of(to, sizeof to, dir, "names/old", l->next);
    if (!create(l, from))
        return false;
    begin(l, "rename");
    if (!end(l, !renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE)))
        return false;
    begin(l, "fsync of a directory");
    if (!end(l, !fsync(l->fd)))
        return false;
    l->next++;
    if (l->next - l->removed <= KEPT)
        return true;
    path_of(to, sizeof to, dir, "names/old", l->removed);
    begin(l, "unlink");
    if (!end(l, !unlink(to)))
        return false;
    l->removed++;
    return true;
}

/* Begin the next file, and remove the one before. */
static bool next_file(struct load *l)
{
    char path[512];

    if (l->fd >= 0)
        close(l->fd);
    l->pieces = l->synced = 0;
    l->next++;
    path_of(path, sizeof path, dir, "space", l->next);
    begin(l, "create");
    l->fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    if (!end(l, l->fd >= 0))
        return false;
    if (l->next == 1)
        return true;
    path_of(path, sizeof path, dir, "space", l->next - 1);
    begin(l, "unlink");
    if (!end(l, !unlink(path)))
        return false;
    l->removed = l->next;
    return true;
}

static bool step_space(struct load *l)
{
    if ((l->fd < 0 || l->pieces == PIECES) && !next_file(l))
        return false;
    fill(l->buf, PIECE,
         (struct stamp){seed, l->next, (uint64_t)l->pieces * (PIECE / BLOCK),
                        1});
    begin(l, "write of new space");
    if (!end(l,
             pwrite(l->fd, l->buf, PIECE, (off_t)l->pieces * PIECE) == PIECE))
        return false;
    l->pieces++;
    if (l->pieces % SYNC_EVERY)
        return true;
    begin(l, "fsync of new space");
    if (!end(l, !fsync(l->fd)))
        return false;
    l->synced = l->pieces;
    return true;
}

static void *load_main(void *arg)
{
    static bool (*const step[KINDS])(struct load *) = {step_direct, step_names,
                                                       step_space};
    struct load *l = arg;

    while (!atomic_load(&ending)) {
        if (!step[l->kind](l)) {
            fprintf(stderr, "hostload: %s: %s: %s\n", kind_names[l->kind],
                    l->doing, strerror(atomic_load(&l->error)));
            break;
        }
        if (pause_ms)
            usleep(pause_ms * 1000);
    }
    return NULL;
}

/* -- what is there --------------------------------------------------------- */

static unsigned differs(const char *path, unsigned long long at,
                        const char *what)
{
    printf("  %s: %llu: %s\n", path, at, what);
    return 1;
}

static unsigned verify_direct(const struct load *l, const char *in)
{
    char path[512];
    unsigned bad = 0;
    int fd;

    snprintf(path, sizeof path, "%s/direct", in);
    fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        return differs(path, 0, strerror(errno));
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        struct stamp s = {seed, DIRECT, slot, 0};
        uint64_t v;

        if (pread(fd, l->buf, BLOCK, (off_t)slot * BLOCK) != BLOCK) {
            bad += differs(path, slot, "cannot be read");
            continue;
        }
        v = version_of(l->buf, s);
        if (v == UINT64_MAX)
            bad += differs(path, slot, "not what anybody wrote");
        else if (v < l->done[slot])
            bad += differs(path, slot, "an old version");
        else if (v > l->tried[slot])
            bad += differs(path, slot, "a version of the future");
    }
    close(fd);
    return bad;
}

static unsigned verify_name(const char *in, uint64_t number)
{
    char path[512];
    uint64_t found = 0;
    int fd;

    path_of(path, sizeof path, in, "names/old", number);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return differs(path, number, strerror(errno));
    if (pread(fd, &found, sizeof found, 0) != sizeof found || found != number) {
        close(fd);
        return differs(path, number, "holds something else");
    }
    close(fd);
    return 0;
}

/* After an error the last name may be new, old or not there, and the oldest
 * one removed. */
static unsigned verify_names(const struct load *l, const char *in)
{
    bool firm = !atomic_load(&l->error);
    char path[512];
    unsigned bad = 0;
    struct dirent *e;
    DIR *d;

    for (uint64_t n = l->removed + !firm; n < l->next; n++)
        bad += verify_name(in, n);
    snprintf(path, sizeof path, "%s/names", in);
    d = opendir(path);
    if (!d)
        return bad + differs(path, 0, strerror(errno));
    while ((e = readdir(d))) {
        const char *dot = strchr(e->d_name, '.');
        uint64_t n = dot ? strtoull(dot + 1, NULL, 10) : 0;

        if (*e->d_name == '.' || (!firm && n == l->next))
            continue;
        if (strncmp(e->d_name, "old.", 4) || n < l->removed || n >= l->next)
            bad += differs(path, n, e->d_name);
    }
    closedir(d);
    return bad;
}

static bool is_piece(const struct load *l, unsigned piece)
{
    struct stamp s = {seed, l->next, (uint64_t)piece * (PIECE / BLOCK), 0};

    for (size_t at = 0; at < PIECE; at += BLOCK, s.block++)
        if (version_of(l->buf + at, s) != 1)
            return false;
    return true;
}

static unsigned verify_space(const struct load *l, const char *in)
{
    bool firm = !atomic_load(&l->error);
    unsigned pieces = firm ? l->pieces : l->synced, bad = 0;
    char path[512];
    int fd;

    path_of(path, sizeof path, in, "space", l->next);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return pieces ? differs(path, 0, strerror(errno)) : 0;
    for (unsigned p = 0; p < pieces; p++)
        if (pread(fd, l->buf, PIECE, (off_t)p * PIECE) != PIECE)
            bad += differs(path, p, "cannot be read");
        else
            bad += !is_piece(l, p) && differs(path, p, "not what was written");
    close(fd);
    if (l->next > 1 && l->removed == l->next) {
        path_of(path, sizeof path, in, "space", l->next - 1);
        if (!access(path, F_OK))
            bad += differs(path, l->next - 1, "was removed");
    }
    return bad;
}

/* -- commands -------------------------------------------------------------- */

static void prepare(void)
{
    struct load *l = &loads[DIRECT];
    char path[512];
    bool well;

    snprintf(path, sizeof path, "%s/names", dir);
    well = !mkdir(dir, 0755) && !mkdir(path, 0755);
    loads[NAMES].fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/direct", dir);
    l->fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_DIRECT | O_CLOEXEC, 0644);
    well = well && loads[NAMES].fd >= 0 && l->fd >= 0;
    fill(l->buf, PIECE, (struct stamp){seed, DIRECT, 0, 0});
    if (!well || pwrite(l->fd, l->buf, PIECE, 0) != PIECE || fsync(l->fd)) {
        printf("failed: %s: %s\n", dir, strerror(errno));
        exit(1);
    }
}

static void start(void)
{
    prepare();
    for (unsigned k = 0; k < KINDS; k++)
        if (pthread_create(&loads[k].thread, NULL, load_main, &loads[k]))
            abort();
    printf("started\n");
}

static unsigned errors(void)
{
    unsigned count = 0;

    for (unsigned k = 0; k < KINDS; k++)
        count += atomic_load(&loads[k].error) != 0;
    return count;
}

static void more(uint64_t count)
{
    uint64_t want[KINDS];

    for (unsigned k = 0; k < KINDS; k++)
        want[k] = atomic_load(&loads[k].ops) + count;
    for (unsigned k = 0; k < KINDS; k++)
        while (atomic_load(&loads[k].ops) < want[k] &&
               !atomic_load(&loads[k].error))
            usleep(1000);
    printf("more %u\n", errors());
}

static void stalls(void)
{
    printf("stalls");
    for (unsigned k = 0; k < KINDS; k++) {
        uint64_t since_ns = atomic_load(&loads[k].since_ns);
        uint64_t longest_ns = atomic_exchange(&loads[k].longest_ns, 0);
        uint64_t now = now_ns();

        if (since_ns && now > since_ns && now - since_ns > longest_ns)
            longest_ns = now - since_ns;
        printf(" %llu", (unsigned long long)(longest_ns / NS_PER_MS));
    }
    printf("\n");
}

static void stop(void)
{
    atomic_store(&ending, true);
    for (unsigned k = 0; k < KINDS; k++)
        pthread_join(loads[k].thread, NULL);
    printf("stopped");
    for (unsigned k = 0; k < KINDS; k++)
        printf(" %llu", (unsigned long long)atomic_load(&loads[k].ops));
    printf(" %u\n", errors());
    for (unsigned k = 0; k < KINDS; k++)
        if (loads[k].fd >= 0)
            close(loads[k].fd);
}

static void command(const char *line)
{
    if (!strcmp(line, "start"))
        start();
    else if (!strncmp(line, "more ", 5))
        more(strtoull(line + 5, NULL, 10));
    else if (!strcmp(line, "stalls"))
        stalls();
    else if (!strcmp(line, "stop"))
        stop();
    else if (!strncmp(line, "verify ", 7))
        printf("verified %u\n", verify_direct(&loads[DIRECT], line + 7) +
                                    verify_names(&loads[NAMES], line + 7) +
                                    verify_space(&loads[SPACE], line + 7));
    else
        printf("failed: what is \"%s\"?\n", line);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[512];

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: hostload DIR SEED [PAUSE_MS]\n");
        return 2;
    }
    dir = argv[1];
    seed = strtoull(argv[2], NULL, 10);
    pause_ms = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    for (unsigned k = 0; k < KINDS; k++) {
        loads[k] = (struct load){.kind = (enum kind)k,
                                 .random = seed,
                                 .fd = -1,
                                 .buf = aligned_alloc(BLOCK, PIECE)};
        if (!loads[k].buf)
            abort();
    }
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        command(line);
    }
    return 0;
}
