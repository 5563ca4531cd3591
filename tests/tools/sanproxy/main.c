/* tests/tools/sanproxy/main.c - the options of the proxy, and the client of
 * its control socket.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/sanproxy/sanproxy.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char usage[] =
    "usage: sanproxy LISTEN-PORT TARGET-ADDRESS TARGET-PORT SOCKET RECORD\n"
    "       sanproxy --ask SOCKET WORD...\n";

struct door {
    struct proxy *proxy;
    struct loop_fd io;
};

static int fail(const char *what)
{
    fprintf(stderr, "sanproxy: %s: %s\n", what, strerror(errno));
    return 1;
}

/* -- the client ------------------------------------------------------------ */

/* Prints the answer without its last line, which is the exit status. */
static int show_answer(FILE *f)
{
    char line[512];

    while (fgets(line, sizeof line, f)) {
        if (!strcmp(line, "ok\n"))
            return 0;
        if (!strncmp(line, "error: ", 7)) {
            fprintf(stderr, "sanproxy: %s", line + 7);
            return 1;
        }
        fputs(line, stdout);
    }
    fprintf(stderr, "sanproxy: no answer\n");
    return 1;
}

static int ask(const char *path, char **words)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r+");

    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    if (!f || connect(fd, (const struct sockaddr *)&at, sizeof at))
        return fail(path);
    for (; *words; words++)
        fprintf(f, "%s%s", *words, words[1] ? " " : "\n");
    fflush(f);
    return show_answer(f);
}

/* -- the proxy ------------------------------------------------------------- */

static void door_ready(struct loop_fd *io, uint32_t events)
{
    struct door *d = container_of(io, struct door, io);
    struct sockaddr_in from = {0};
    socklen_t len = sizeof from;
    int fd = accept4(io->fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC);

    (void)events;
    if (fd >= 0)
        link_accept(d->proxy, fd, &from);
}

static uint16_t port(const char *text)
{
    return htons((uint16_t)strtoul(text, NULL, 10));
}

static int open_door(struct proxy *p, const char *listen_port)
{
    static struct door door;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = port(listen_port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&at, sizeof at) || listen(fd, 64))
        return fail(listen_port);
    door = (struct door){
        .proxy = p, .io = {fd, EPOLLIN, door_ready}
    };
    return loop_fd_add(p->loop, &door.io) ? fail("epoll") : 0;
}

static int serve(char **argv)
{
    static struct proxy p;
    struct diag why = {0};
    enum err e;

    p.target.sin_family = AF_INET;
    p.target.sin_port = port(argv[3]);
    p.record_path = argv[5];
    p.start_ns = clock_now_ns(clock_system());
    list_init(&p.links);
    if (inet_pton(AF_INET, argv[2], &p.target.sin_addr) != 1 ||
        !proxy_host(&p, "all")) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    e = loop_new(&(struct loop_args){.name = "sanproxy"}, &p.loop);
    if (!e)
        e = record_open(&p, &why);
    if (!e)
        e = control_open(&p, argv[4], &why);
    if (e) {
        fprintf(stderr, "sanproxy: %s\n", diag_text(&why, e));
        return 1;
    }
    if (open_door(&p, argv[1]))
        return 1;
    loop_run(p.loop);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 4 && !strcmp(argv[1], "--ask"))
        return ask(argv[2], argv + 3);
    if (argc == 6)
        return serve(argv);
    fputs(usage, stderr);
    return 2;
}
