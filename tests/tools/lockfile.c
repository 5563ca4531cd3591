/* tests/tools/lockfile.c - a program that locks a file as it is told, for tests
 * with several of it.  Knows nothing of Lunar.
 *
 *   lockfile FILE     reads commands, one a line, and answers each with one:
 *
 *   posix|ofd|flock none|read|write FIRST COUNT [wait]    count 0: to the end
 *                     "ok", or the name of the errno
 *   test posix|ofd read|write FIRST COUNT
 *                     "none", or "read|write FIRST COUNT PID" of who is there
 *   close             another descriptor of the file, opened and closed: "ok"
 *   quit
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct command {
    char kind[8], type[8], more[8];
    long long first, count;
};

static void answer(int status)
{
    puts(status ? strerrorname_np(errno) : "ok");
}

static short type_of(const char *type)
{
    return !strcmp(type, "read")    ? F_RDLCK
           : !strcmp(type, "write") ? F_WRLCK
                                    : F_UNLCK;
}

static struct flock range_of(const struct command *c)
{
    return (struct flock){.l_type = type_of(c->type),
                          .l_whence = SEEK_SET,
                          .l_start = c->first,
                          .l_len = c->count};
}

static int set(int fd, const struct command *c)
{
    struct flock range = range_of(c);
    bool waits = !strcmp(c->more, "wait");
    int op = range.l_type == F_RDLCK   ? LOCK_SH
             : range.l_type == F_WRLCK ? LOCK_EX
                                       : LOCK_UN;

    if (!strcmp(c->kind, "flock"))
        return flock(fd, waits ? op : op | LOCK_NB);
    if (!strcmp(c->kind, "ofd"))
        return fcntl(fd, waits ? F_OFD_SETLKW : F_OFD_SETLK, &range);
    return fcntl(fd, waits ? F_SETLKW : F_SETLK, &range);
}

static void test(int fd, const struct command *c)
{
    struct flock range = range_of(c);
    bool ofd = !strcmp(c->kind, "ofd");

    if (fcntl(fd, ofd ? F_OFD_GETLK : F_GETLK, &range))
        answer(-1);
    else if (range.l_type == F_UNLCK)
        puts("none");
    else
        printf("%s %lld %lld %d\n", range.l_type == F_RDLCK ? "read" : "write",
               (long long)range.l_start, (long long)range.l_len, range.l_pid);
}

static void run(int fd, const char *path, const char *line)
{
    struct command c = {.kind = ""};
    int other;

    if (!strncmp(line, "close", 5)) {
        other = open(path, O_RDWR);
        answer(other < 0 ? -1 : close(other));
    } else if (sscanf(line, "test %7s %7s %lld %lld", c.kind, c.type, &c.first,
                      &c.count) == 4) {
        test(fd, &c);
    } else if (sscanf(line, "%7s %7s %lld %lld %7s", c.kind, c.type, &c.first,
                      &c.count, c.more) >= 4) {
        answer(set(fd, &c));
    } else {
        puts("what?");
    }
}

int main(int argc, char **argv)
{
    char line[128];
    int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;

    if (fd < 0) {
        fprintf(stderr, "usage: lockfile FILE\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin) && strncmp(line, "quit", 4))
        run(fd, argv[1], line);
    return 0;
}
