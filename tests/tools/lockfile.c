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
    const char *kind, *type, *more; /* of the line */
    long long first, count;
};

/* KIND TYPE FIRST COUNT [MORE]; cuts the line into words. */
static bool parse(char *line, struct command *ret_command)
{
    char *words[5] = {NULL}, *rest = NULL;

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        words[i] = strtok_r(i ? NULL : line, " \n", &rest);
    if (!words[3])
        return false;
    *ret_command = (struct command){
        .kind = words[0],
        .type = words[1],
        .first = strtoll(words[2], NULL, 10),
        .count = strtoll(words[3], NULL, 10),
        .more = words[4] ? words[4] : "",
    };
    return true;
}

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

static void run(int fd, const char *path, char *line)
{
    static const char tests[] = "test ";
    struct command c;
    bool asks = !strncmp(line, tests, sizeof tests - 1);
    int other;

    if (!strncmp(line, "close", 5)) {
        other = open(path, O_RDWR);
        answer(other < 0 ? -1 : close(other));
    } else if (!parse(asks ? line + sizeof tests - 1 : line, &c)) {
        puts("what?");
    } else if (asks) {
        test(fd, &c);
    } else {
        answer(set(fd, &c));
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
