/* tests/tools/sanproxy/control.c - the line protocol on a UNIX socket.
 * Turns words into rules and calls; knows no PDU.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/sanproxy/sanproxy.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE_BYTES = 256, WORDS_MAX = 4 };

struct listener {
    struct proxy *proxy;
    struct loop_fd io;
};

struct client {
    struct proxy *proxy;
    struct loop_fd io;
    char line[LINE_BYTES];
    size_t have;
    struct task free_task;
};

/* The words of a command: its host, its class, its time. */
struct order {
    struct proxy *proxy;
    struct host *host;
    enum pdu_class class; /* PDU_CLASSES: all */
    uint64_t delay_ns;
    struct buf *answer;
};

/* -- commands -------------------------------------------------------------- */

static void set_rule(const struct order *o, struct rule rule)
{
    for (unsigned c = 0; c < PDU_CLASSES; c++)
        if (o->class == PDU_CLASSES || o->class == c)
            o->host->rules[c] = rule;
}

static void do_hold(const struct order *o)
{
    set_rule(o, (struct rule){.hold = true});
}

static void do_delay(const struct order *o)
{
    set_rule(o, (struct rule){.delay_ns = o->delay_ns});
}

static void do_refuse(const struct order *o)
{
    set_rule(o, (struct rule){.refuse = true});
}

static void do_release(const struct order *o)
{
    set_rule(o, (struct rule){0});
    if (o->host == &o->proxy->hosts[0]) /* all: theirs, too */
        for (unsigned i = 1; i < o->proxy->host_count; i++) {
            struct order one = *o;

            one.host = &o->proxy->hosts[i];
            set_rule(&one, (struct rule){0});
        }
    proxy_release(o->proxy, o->host, o->class);
}

static void do_drop(const struct order *o)
{
    proxy_drop(o->proxy, o->host);
}

static void do_pending(const struct order *o)
{
    proxy_list(o->proxy, o->host, o->answer);
}

static const struct verb {
    const char *name, *usage;
    unsigned words_min, words_max; /* behind it */
    bool takes_time;
    void (*run)(const struct order *);
} verbs[] = {
    {"hold",    "hold HOST [CLASS]",       1, 2, false, do_hold   },
    {"delay",   "delay HOST TIME [CLASS]", 2, 3, true,  do_delay  },
    {"refuse",  "refuse HOST [CLASS]",     1, 2, false, do_refuse },
    {"release", "release HOST [CLASS]",    1, 2, false, do_release},
    {"drop",    "drop HOST",               1, 1, false, do_drop   },
    {"pending", "pending [HOST]",          0, 1, false, do_pending},
};

/* -- words ----------------------------------------------------------------- */

static enum err parse_time(const char *text, uint64_t *ret_ns, struct diag *why)
{
    char *unit;
    unsigned long n = strtoul(text, &unit, 10);
    bool ms = !strcmp(unit, "ms");

    if (*text < '0' || *text > '9' || n > 3600000 || (!ms && strcmp(unit, "s")))
        return diag_fail(why, E_INVAL, "\"%s\": a time is like 50ms or 2s",
                         text);
    *ret_ns = n * (ms ? NS_PER_MS : NS_PER_S);
    return E_OK;
}

static enum err parse_class(const char *text, enum pdu_class *ret_class,
                            struct diag *why)
{
    for (unsigned c = 0; c < PDU_CLASSES; c++)
        if (!strcmp(text, pdu_class_name((enum pdu_class)c))) {
            *ret_class = (enum pdu_class)c;
            return E_OK;
        }
    return diag_fail(why, E_INVAL,
                     "\"%s\": a class is read, write, flush, pr, preempt, tmf "
                     "or other",
                     text);
}

static enum err parse_host(struct proxy *p, const char *text,
                           struct host **ret_host, struct diag *why)
{
    size_t digits = strspn(text + 1, "0123456789");

    if (strcmp(text, "all") &&
        (*text != 'h' || !digits || digits > 3 || text[1 + digits]))
        return diag_fail(why, E_INVAL, "\"%s\": a host is h1 … or all", text);
    *ret_host = proxy_host(p, text);
    return *ret_host ? E_OK : diag_fail(why, E_INVAL, "too many hosts");
}

static enum err obey(struct proxy *p, char *line, struct buf *answer,
                     struct diag *why)
{
    struct order o = {
        .proxy = p, .host = p->hosts, .class = PDU_CLASSES, .answer = answer};
    const struct verb *verb = NULL;
    char *words[WORDS_MAX + 1], *save;
    unsigned n = 0, at = 1;
    enum err e = E_OK;

    for (char *w = strtok_r(line, " ", &save); w && n <= WORDS_MAX;
         w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    for (size_t i = 0; n && i < ARRAY_LEN(verbs); i++)
        if (!strcmp(verbs[i].name, words[0]))
            verb = &verbs[i];
    if (!verb)
        return diag_fail(why, E_INVAL,
                         "\"%s\": hold, delay, refuse, release, drop or "
                         "pending",
                         n ? words[0] : "");
    if (n - 1 < verb->words_min || n - 1 > verb->words_max)
        return diag_fail(why, E_INVAL, "usage: %s", verb->usage);
    if (at < n)
        e = parse_host(p, words[at++], &o.host, why);
    if (!e && verb->takes_time)
        e = parse_time(words[at++], &o.delay_ns, why);
    if (!e && at < n)
        e = parse_class(words[at], &o.class, why);
    if (!e)
        verb->run(&o);
    return e;
}

/* -- connections ----------------------------------------------------------- */

static void free_client(struct task *t)
{
    free(container_of(t, struct client, free_task));
}

static void client_end(struct client *c)
{
    loop_fd_remove(c->proxy->loop, &c->io);
    close(c->io.fd);
    c->free_task.run = free_client;
    loop_post(c->proxy->loop, &c->free_task);
}

/* Blocks for a moment if need be: an answer is small, and its reader waits. */
static bool answer(struct client *c, char *line)
{
    AUTO(buf_fini) struct buf text = {0};
    struct diag why = {0};
    enum err e = obey(c->proxy, line, &text, &why);
    size_t sent = 0;

    if (e)
        buf_printf(&text, "error: %s\n", diag_text(&why, e));
    else
        buf_add_text(&text, "ok\n");
    while (sent < text.count) {
        ssize_t n =
            send(c->io.fd, text.bytes + sent, text.count - sent, MSG_NOSIGNAL);

        if (n < 0)
            return false;
        sent += (size_t)n;
    }
    return buf_ok(&text);
}

static void client_ready(struct loop_fd *io, uint32_t events)
{
    struct client *c = container_of(io, struct client, io);
    ssize_t n =
        recv(io->fd, c->line + c->have, LINE_BYTES - 1 - c->have, MSG_DONTWAIT);
    char *end;

    (void)events;
    if (n <= 0) { /* also a line without an end, which leaves no room */
        client_end(c);
        return;
    }
    c->have += (size_t)n;
    c->line[c->have] = '\0';
    while ((end = strchr(c->line, '\n'))) {
        size_t bytes = (size_t)(end - c->line) + 1;

        *end = '\0';
        if (!answer(c, c->line)) {
            client_end(c);
            return;
        }
        memmove(c->line, c->line + bytes, c->have - bytes + 1);
        c->have -= bytes;
    }
}

static void listener_ready(struct loop_fd *io, uint32_t events)
{
    struct listener *l = container_of(io, struct listener, io);
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC);
    struct timeval second = {.tv_sec = 1};
    struct client *c;

    (void)events;
    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
    c = calloc(1, sizeof *c);
    if (c) {
        c->proxy = l->proxy;
        c->io = (struct loop_fd){fd, EPOLLIN, client_ready};
    }
    if (!c || loop_fd_add(l->proxy->loop, &c->io)) {
        close(fd);
        free(c);
    }
}

enum err control_open(struct proxy *p, const char *path, struct diag *why)
{
    static struct listener listener;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof at.sun_path)
        return diag_fail(why, E_NAME_TOO_LONG, "%s: too long for a socket",
                         path);
    memcpy(at.sun_path, path, strlen(path));
    unlink(path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) ||
        listen(fd, 16))
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    listener = (struct listener){
        .proxy = p, .io = {fd, EPOLLIN, listener_ready}
    };
    return loop_fd_add(p->loop, &listener.io);
}
