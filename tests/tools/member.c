/* tests/tools/member.c - joins a cluster and prints what membership says.
 * Holds nothing: what is missing it declares fenced only when told to.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Usage: member [-a ADDRESS] [-b HEARTBEAT_MS] [-s SUSPECT_MS] CLUSTER NAME
 *               INCARNATION
 *   prints   MS view 7 quorate: h1=1.100 …     (see member_view_to_text())
 *            MS message NODE.INCARNATION TEXT
 *            MS left|expelled|refused WHY      and ends with status 0, 3, 4
 *   reads    send TEXT | fenced NODE INCARNATION | accuse NODE INCARNATION
 *            | burst COUNT BYTES (messages; the last own one prints "burst MS")
 *            | leave; the end of the input is none
 * MS is monotonic, in milliseconds, the same clock on the whole machine. */
#include "lockmgr/lockmgr.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { LINE_BYTES = 4096 };

struct tool {
    struct member_ear ear;
    struct member *member;
    struct loop *loop;
    struct loop_fd input;
    char line[LINE_BYTES];
    size_t used;
    struct timer burst;
    unsigned burst_left, burst_heard;
    size_t burst_bytes;
    uint64_t burst_began_ns;
    int status;
};

static unsigned long long now_ms(void)
{
    return clock_now_ns(clock_system()) / NS_PER_MS;
}

static void tell_view(struct member_ear *ear, const struct member_view *view)
{
    AUTO(buf_fini) struct buf b = {0};

    (void)ear;
    member_view_to_text(&b, view);
    printf("%llu %s\n", now_ms(), buf_text(&b));
}

static void tell_message(struct member_ear *ear, uint32_t node,
                         uint64_t incarnation, const void *bytes, size_t count)
{
    struct tool *t = container_of(ear, struct tool, ear);
    const struct member_id *sender =
        member_view_find(member_view(t->member), node);

    ASSERT(sender && sender->incarnation == incarnation);
    if (t->burst_heard && count && *(const char *)bytes == '\0') {
        if (--t->burst_heard == 0)
            printf("%llu burst %llu\n", now_ms(),
                   (unsigned long long)((clock_now_ns(clock_system()) -
                                         t->burst_began_ns) /
                                        NS_PER_US));
        return;
    }
    if (count && *(const char *)bytes)
        printf("%llu message %u.%" PRIu64 " %.*s\n", now_ms(), node,
               incarnation, (int)count, (const char *)bytes);
}

static void tell_end(struct member_ear *ear, enum member_end end,
                     const char *why)
{
    struct tool *t = container_of(ear, struct tool, ear);

    printf("%llu %s %s\n", now_ms(), member_end_name(end), why);
    t->status = end == MEMBER_LEFT ? 0 : end == MEMBER_EXPELLED ? 3 : 4;
    loop_stop(t->loop);
}

/* Sends of a burst as many as are taken, then more. */
static void go_on_sending(struct timer *timer)
{
    static const char zeros[MEMBER_MESSAGE_BYTES_MAX];
    struct tool *t = container_of(timer, struct tool, burst);

    while (t->burst_left &&
           member_send(t->member, zeros, t->burst_bytes) == E_OK)
        t->burst_left--;
    if (t->burst_left)
        loop_timer_set(t->loop, timer, 1);
}

static void begin_burst(struct tool *t, const char *count, const char *bytes)
{
    t->burst_left = t->burst_heard = (unsigned)strtoul(count, NULL, 10);
    t->burst_bytes = strtoul(bytes, NULL, 10);
    t->burst_began_ns = clock_now_ns(clock_system());
    go_on_sending(&t->burst);
}

static void obey(struct tool *t, char *line)
{
    char *rest = NULL;
    const char *word = strtok_r(line, " ", &rest);
    const char *first = word ? strtok_r(NULL, " ", &rest) : NULL;
    const char *second = first ? strtok_r(NULL, " ", &rest) : NULL;
    enum err e = E_OK;

    if (!word)
        return;
    if (!strcmp(word, "leave"))
        member_leave(t->member);
    else if (!strcmp(word, "send") && first)
        e = member_send(t->member, first, strlen(first));
    else if (!strcmp(word, "fenced") && second)
        e = member_fenced(t->member, (uint32_t)strtoul(first, NULL, 10),
                          strtoull(second, NULL, 10));
    else if (!strcmp(word, "accuse") && second)
        e = member_accuse(t->member, (uint32_t)strtoul(first, NULL, 10),
                          strtoull(second, NULL, 10));
    else if (!strcmp(word, "burst") && second)
        begin_burst(t, first, second);
    else
        e = E_INVAL;
    if (e)
        printf("%llu failed %s %s\n", now_ms(), word, err_name(e));
}

static void input_ready(struct loop_fd *f, uint32_t events)
{
    struct tool *t = container_of(f, struct tool, input);
    ssize_t n = read(f->fd, t->line + t->used, sizeof t->line - t->used);
    char *end;

    (void)events;
    if (n <= 0) {
        if (n == 0)
            loop_fd_remove(t->loop, f);
        return;
    }
    t->used += (size_t)n;
    while ((end = memchr(t->line, '\n', t->used))) {
        size_t bytes = (size_t)(end - t->line) + 1;

        *end = '\0';
        obey(t, t->line);
        t->used -= bytes;
        memmove(t->line, t->line + bytes, t->used);
    }
    if (t->used == sizeof t->line)
        t->used = 0;
}

static void usage(void)
{
    fprintf(stderr, "usage: member [-a ADDRESS] [-b HEARTBEAT_MS] "
                    "[-s SUSPECT_MS] CLUSTER NAME INCARNATION\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static struct tool t = {
        .ear = {tell_view,         tell_message, tell_end},
        .input = {.events = EPOLLIN,         .ready = input_ready},
        .burst = {.fire = go_on_sending},
    };
    struct member_args args = {
        .ear = &t.ear,
        .me = {.address = "127.0.0.1:5678", .version_min = 1, .version_max = 1},
    };
    struct diag why = {0};
    enum err e;
    int option;

    while ((option = getopt(argc, argv, "a:b:s:")) != -1) {
        if (option == 'a')
            snprintf(args.me.address, sizeof args.me.address, "%s", optarg);
        else if (option == 'b')
            args.heartbeat_ms = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 's')
            args.suspect_ms = (unsigned)strtoul(optarg, NULL, 10);
        else
            usage();
    }
    if (argc - optind != 3)
        usage();
    args.cluster = argv[optind];
    snprintf(args.me.name, sizeof args.me.name, "%s", argv[optind + 1]);
    snprintf((char *)args.me.host, sizeof args.me.host, "%s", argv[optind + 1]);
    args.me.incarnation = strtoull(argv[optind + 2], NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);
    e = loop_new(&(struct loop_args){.name = "member"}, &args.loop);
    t.loop = args.loop;
    if (!e)
        e = member_open_corosync(&args, &t.member, &why);
    if (e) {
        fprintf(stderr, "member: %s\n", diag_text(&why, e));
        return 1;
    }
    t.input.fd = STDIN_FILENO;
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    (void)!loop_fd_add(t.loop, &t.input);
    loop_run(t.loop);
    member_close(t.member);
    return t.status;
}
