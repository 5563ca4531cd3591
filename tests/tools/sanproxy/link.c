/* tests/tools/sanproxy/link.c - one connection of a host and its far side at
 * the target: PDUs pass, or stay here for as long as a rule says.
 * Knows no commands of the control socket.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/sanproxy/sanproxy.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 1 << 16,
    NO_OPERATION_CODE = 0xff, /* vendor specific, and no vendor here has it */
    BACKLOG_MAX_BYTES = 4 << 20, /* of one direction: then it is not read */
};
#define NEVER UINT64_MAX

/* A command or function without an answer. */
struct command {
    struct list node;
    struct pdu_task what;
    uint32_t itt;
    bool numbered;    /* has a CmdSN of its own */
    uint32_t sent_sn; /* CmdSN with which the target knows it */
    uint64_t came_ns;
    bool held;
    uint64_t due_ns;  /* while held: when it goes on */
    struct buf bytes; /* while held: it, and data that came behind it */
};

struct end {
    struct loop_fd io;
    struct buf in, out;
    size_t sent; /* of out */
};

struct link {
    struct list node;
    struct proxy *proxy;
    struct host *host;
    unsigned number;
    struct end near, far;    /* the initiator's side, the target's */
    bool near_gone, dropped; /* the initiator left; it was made to */
    bool far_shut, over;
    struct list commands;
    uint32_t next_sn;  /* CmdSN of the initiator's next command */
    uint32_t held_sns; /* CmdSNs that the target has not seen */
    size_t held_bytes;
    struct timer timer; /* for what is due next */
    struct task free_task;
};

static uint64_t now_ns(void)
{
    return clock_now_ns(clock_system());
}

/* -- the end --------------------------------------------------------------- */

static void record_command(const struct link *l, const char *event,
                           const struct command *c, const char *more)
{
    AUTO(buf_fini) struct buf text = {0};

    command_to_text(&c->what, l->number, c->itt, &text);
    record(l->proxy, "%s %s %s%s", l->host->name, event, buf_text(&text), more);
}

static void command_free(struct link *l, struct command *c)
{
    list_remove(&c->node);
    l->held_bytes -= c->bytes.count;
    buf_fini(&c->bytes);
    free(c);
}

static void end_fini(struct loop *loop, struct end *e)
{
    if (e->io.fd >= 0) {
        loop_fd_remove(loop, &e->io);
        close(e->io.fd);
    }
    e->io.fd = -1;
    buf_fini(&e->in);
    buf_fini(&e->out);
}

static void free_link(struct task *t)
{
    free(container_of(t, struct link, free_task));
}

/* Both sides end; whoever calls returns at once, for l goes away. */
static void link_end(struct link *l, const char *why)
{
    if (l->over)
        return;
    l->over = true;
    list_for_each (node, &l->commands) {
        struct command *c = container_of(node, struct command, node);

        record_command(l, "lost", c, "");
        command_free(l, c);
    }
    record(l->proxy, "%s close conn=%u: %s", l->host->name, l->number, why);
    loop_timer_cancel(l->proxy->loop, &l->timer);
    end_fini(l->proxy->loop, &l->near);
    end_fini(l->proxy->loop, &l->far);
    list_remove(&l->node);
    l->free_task.run = free_link;
    loop_post(l->proxy->loop, &l->free_task);
}

/* -- bytes out ------------------------------------------------------------- */

static void arm(struct link *l)
{
    struct loop *loop = l->proxy->loop;
    size_t up = l->far.out.count + l->held_bytes, down = l->near.out.count;

    if (l->near.io.fd >= 0)
        loop_fd_set(loop, &l->near.io,
                    (up < BACKLOG_MAX_BYTES ? EPOLLIN : 0) |
                        (down ? EPOLLOUT : 0));
    if (l->far.io.fd >= 0)
        loop_fd_set(loop, &l->far.io,
                    (down < BACKLOG_MAX_BYTES ? EPOLLIN : 0) |
                        (l->far.out.count ? EPOLLOUT : 0));
}

/* False: nobody is there any more. */
static bool flush(struct end *e)
{
    while (e->io.fd >= 0 && e->sent < e->out.count) {
        ssize_t n = send(e->io.fd, e->out.bytes + e->sent,
                         e->out.count - e->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        e->sent += (size_t)n;
    }
    e->out.count = e->sent = 0;
    return true;
}

/* The initiator is gone.  What it sent before still reaches the target, and
 * then the target learns of it; but if the connection was dropped here, only
 * when the target has answered all that it got. */
static void settle(struct link *l)
{
    bool any = false;

    if (!l->near_gone || l->far_shut)
        return;
    list_for_each (node, &l->commands)
        any |= l->dropped || container_of(node, struct command, node)->held;
    if (any || l->far.out.count)
        return;
    l->far_shut = true;
    shutdown(l->far.io.fd, SHUT_WR);
}

static void near_goes(struct link *l, const char *why)
{
    l->near_gone = true;
    end_fini(l->proxy->loop, &l->near);
    record(l->proxy, "%s gone conn=%u: %s", l->host->name, l->number, why);
}

/* Send what can be sent, and see what follows from it. */
static void link_go(struct link *l)
{
    if (l->over)
        return;
    if (!flush(&l->far)) {
        link_end(l, "the target closed it");
        return;
    }
    if (!l->near_gone && !flush(&l->near))
        near_goes(l, "the initiator closed it");
    settle(l);
    arm(l);
}

/* -- from the initiator ---------------------------------------------------- */

static struct command *find_command(struct link *l, uint32_t itt)
{
    list_for_each (node, &l->commands) {
        struct command *c = container_of(node, struct command, node);

        if (c->itt == itt)
            return c;
    }
    return NULL;
}

/* Pass PDUs on.  CmdSN of the first becomes what the target expects. */
static void send_far(struct link *l, const uint8_t *pdu, size_t count)
{
    size_t at = l->far.out.count;

    buf_add(&l->far.out, pdu, count);
    if (buf_ok(&l->far.out) && pdu_has_cmdsn(pdu))
        pdu_add32((uint8_t *)l->far.out.bytes + at, PDU_AT_CMDSN, -l->held_sns);
}

static bool is_refused(const struct link *l, const struct command *c)
{
    return c->what.class != PDU_TMF &&
           (l->host->rules[c->what.class].refuse ||
            l->proxy->hosts[0].rules[c->what.class].refuse);
}

/* A function names another command by the number that the target knows. */
static void send_command(struct link *l, struct command *c, const uint8_t *pdu,
                         size_t count)
{
    size_t at = l->far.out.count;
    struct command *other = find_command(l, be32_load(pdu + PDU_AT_REF_ITT));

    c->sent_sn = be32_load(pdu + PDU_AT_CMDSN) - l->held_sns;
    send_far(l, pdu, count);
    if (is_refused(l, c) && buf_ok(&l->far.out))
        l->far.out.bytes[at + PDU_AT_CDB] = (char)NO_OPERATION_CODE;
    if (c->what.class == PDU_TMF && other && buf_ok(&l->far.out))
        be32_store(l->far.out.bytes + at + PDU_AT_REF_CMDSN, other->sent_sn);
}

/* A command that was held gets the number that is next at the target. */
static void send_held(struct link *l, struct command *c)
{
    be32_store(c->bytes.bytes + PDU_AT_CMDSN, l->next_sn);
    send_command(l, c, (uint8_t *)c->bytes.bytes, c->bytes.count);
    l->held_sns -= c->numbered;
    l->held_bytes -= c->bytes.count;
    c->held = false;
    buf_fini(&c->bytes);
    record_command(l, "sent", c, "");
}

/* Send on what is due.  A function waits for all that came before it. */
static void send_due(struct link *l)
{
    uint64_t now = now_ns(), next = NEVER;
    bool before = false;

    list_for_each (node, &l->commands) {
        struct command *c = container_of(node, struct command, node);

        if (!c->held)
            continue;
        if (c->due_ns <= now && !(before && c->what.class == PDU_TMF)) {
            send_held(l, c);
            continue;
        }
        before = true;
        if (c->due_ns > now)
            next = min_u64(next, c->due_ns);
    }
    if (next == NEVER)
        loop_timer_cancel(l->proxy->loop, &l->timer);
    else
        loop_timer_set(l->proxy->loop, &l->timer,
                       div_round_up(next - now, NS_PER_MS));
}

static void timer_fired(struct timer *t)
{
    struct link *l = container_of(t, struct link, timer);

    send_due(l);
    link_go(l);
}

/* When may it go on?  0: at once. */
static uint64_t due_ns(const struct link *l, const struct command *c)
{
    const struct host *const hosts[] = {l->host, &l->proxy->hosts[0]};
    uint64_t due = 0;

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        const struct rule *r = &hosts[i]->rules[c->what.class];

        if (r->hold)
            return NEVER;
        if (r->delay_ns)
            due = max_u64(due, c->came_ns + r->delay_ns);
    }
    return due;
}

static bool holds_any(const struct link *l)
{
    list_for_each (node, &l->commands)
        if (container_of(node, struct command, node)->held)
            return true;
    return false;
}

static void command_came(struct link *l, const uint8_t *pdu, size_t count)
{
    struct command *c = calloc(1, sizeof *c);

    if (!c) {
        link_end(l, "out of memory");
        return;
    }
    c->what = pdu_task(pdu);
    c->itt = be32_load(pdu + PDU_AT_ITT);
    c->numbered = !pdu_immediate(pdu);
    c->came_ns = now_ns();
    c->due_ns = due_ns(l, c);
    c->held = c->due_ns || (c->what.class == PDU_TMF && holds_any(l));
    list_push_back(&l->commands, &c->node);
    if (c->held) {
        buf_add(&c->bytes, pdu, count);
        l->held_bytes += c->bytes.count;
        l->held_sns += c->numbered;
        l->next_sn += c->numbered;
        record_command(l, "held", c, "");
        send_due(l); /* sets the timer */
    } else {
        send_command(l, c, pdu, count);
        l->next_sn += c->numbered;
    }
}

static void pdu_from_initiator(struct link *l, const uint8_t *pdu, size_t count)
{
    enum pdu_opcode opcode = pdu_opcode(pdu);
    struct command *c = find_command(l, be32_load(pdu + PDU_AT_ITT));

    if (pdu_has_cmdsn(pdu))
        l->next_sn = be32_load(pdu + PDU_AT_CMDSN);
    if (opcode == PDU_COMMAND || opcode == PDU_TASK_MANAGEMENT) {
        command_came(l, pdu, count);
        return;
    }
    if (opcode == PDU_DATA_OUT && c && c->held) {
        buf_add(&c->bytes, pdu, count);
        l->held_bytes += count;
        return;
    }
    send_far(l, pdu, count);
    if (pdu_has_cmdsn(pdu) && !pdu_immediate(pdu))
        l->next_sn++;
}

/* -- from the target ------------------------------------------------------- */

static void command_done(struct link *l, const uint8_t *pdu, uint8_t status)
{
    struct command *c = find_command(l, be32_load(pdu + PDU_AT_ITT));
    char more[64];

    if (!c)
        return;
    snprintf(more, sizeof more, " status=%02x ms=%.3f", status,
             (double)(now_ns() - c->came_ns) / (double)NS_PER_MS);
    record_command(l, "done", c, more);
    command_free(l, c);
}

static void pdu_from_target(struct link *l, const uint8_t *pdu, size_t count)
{
    uint8_t status;
    size_t at = l->near.out.count;

    if (!l->near_gone)
        buf_add(&l->near.out, pdu, count);
    if (!l->near_gone && buf_ok(&l->near.out)) {
        uint8_t *header = (uint8_t *)l->near.out.bytes + at;

        pdu_add32(header, PDU_AT_EXPCMDSN, l->held_sns);
        pdu_add32(header, PDU_AT_MAXCMDSN, l->held_sns);
    }
    if (pdu_ends_task(pdu, &status))
        command_done(l, pdu, status);
}

/* -- bytes in -------------------------------------------------------------- */

/* Take whole PDUs off the front of what came. */
static enum err take_pdus(struct link *l, struct end *e, enum pdu_from from,
                          struct diag *why)
{
    size_t at = 0, bytes;
    enum err result;

    for (;;) {
        const uint8_t *pdu = (const uint8_t *)e->in.bytes + at;
        size_t left = e->in.count - at;

        result = pdu_length(pdu, left, from, &bytes, why);
        if (!result && bytes && bytes <= left &&
            pdu_opcode(pdu) == PDU_LOGIN_RESPONSE)
            result = pdu_check_login(pdu, bytes, why);
        if (result || !bytes || bytes > left)
            break;
        if (from == PDU_FROM_INITIATOR)
            pdu_from_initiator(l, pdu, bytes);
        else
            pdu_from_target(l, pdu, bytes);
        if (l->over)
            return E_OK;
        at += bytes;
    }
    if (at) {
        memmove(e->in.bytes, e->in.bytes + at, e->in.count - at);
        e->in.count -= at;
    }
    return result;
}

/* False: end of file, or an error that is like it. */
static bool receive(struct end *e)
{
    char bytes[CHUNK_BYTES];
    ssize_t n = recv(e->io.fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (n > 0)
        buf_add(&e->in, bytes, (size_t)n);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* One side is ready: read, take what is whole, send. */
static void side_ready(struct link *l, struct end *e, enum pdu_from from)
{
    AUTO(buf_fini) struct buf said = {0};
    struct diag why = {0};
    bool there = receive(e);
    enum err result = take_pdus(l, e, from, &why);

    if (l->over)
        return;
    if (result || !buf_ok(&l->near.in) || !buf_ok(&l->far.in) ||
        !buf_ok(&l->near.out) || !buf_ok(&l->far.out)) {
        buf_printf(&said, "refused: %s", diag_text(&why, result));
        fprintf(stderr, "sanproxy: %s, connection %u: %s\n", l->host->name,
                l->number, buf_text(&said));
        link_end(l, buf_text(&said));
        return;
    }
    if (!there && from == PDU_FROM_TARGET) {
        (void)!flush(&l->near); /* its last words */
        link_end(l, "the target closed it");
        return;
    }
    if (!there)
        near_goes(l, "the initiator closed it");
    link_go(l);
}

static void near_ready(struct loop_fd *io, uint32_t events)
{
    struct link *l = container_of(io, struct link, near.io);

    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        side_ready(l, &l->near, PDU_FROM_INITIATOR);
    else
        link_go(l);
}

static void far_ready(struct loop_fd *io, uint32_t events)
{
    struct link *l = container_of(io, struct link, far.io);

    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        side_ready(l, &l->far, PDU_FROM_TARGET);
    else
        link_go(l);
}

/* -- a new one ------------------------------------------------------------- */

/* The target is in our own network: this does not block. */
static int connect_target(const struct proxy *p)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 &&
        connect(fd, (const struct sockaddr *)&p->target, sizeof p->target)) {
        close(fd);
        return -1;
    }
    return fd;
}

static enum err end_init(struct loop *loop, struct end *e, int fd,
                         void (*ready)(struct loop_fd *, uint32_t))
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    e->io = (struct loop_fd){fd, EPOLLIN, ready};
    return loop_fd_add(loop, &e->io);
}

void link_accept(struct proxy *p, int fd, const struct sockaddr_in *from)
{
    char name[HOST_NAME_BYTES];
    struct link *l = calloc(1, sizeof *l);
    int far = connect_target(p);

    snprintf(name, sizeof name, "h%u", ntohl(from->sin_addr.s_addr) & 0xff);
    if (l)
        l->host = proxy_host(p, name);
    if (!l || far < 0 || !l->host ||
        end_init(p->loop, &l->near, fd, near_ready)) {
        record(p, "%s refused: %s", name,
               far < 0 ? "no target" : "no memory or too many hosts");
        close(fd);
        if (far >= 0)
            close(far);
        free(l);
        return;
    }
    l->proxy = p;
    l->number = ++p->link_count;
    l->timer.fire = timer_fired;
    list_init(&l->commands);
    list_push_back(&p->links, &l->node);
    record(p, "%s open conn=%u", l->host->name, l->number);
    if (end_init(p->loop, &l->far, far, far_ready)) {
        l->far.io.fd = -1;
        close(far);
        link_end(l, "no memory");
    }
}

/* -- what the control socket asks for -------------------------------------- */

struct host *proxy_host(struct proxy *p, const char *name)
{
    struct host *h;

    for (unsigned i = 0; i < p->host_count; i++)
        if (!strcmp(p->hosts[i].name, name))
            return &p->hosts[i];
    if (p->host_count == HOSTS_MAX)
        return NULL;
    h = &p->hosts[p->host_count++];
    snprintf(h->name, sizeof h->name, "%s", name);
    return h;
}

static bool concerns(const struct link *l, const struct host *host)
{
    return host == &l->proxy->hosts[0] || host == l->host;
}

void proxy_release(struct proxy *p, const struct host *host, enum pdu_class c)
{
    list_for_each (node, &p->links) {
        struct link *l = container_of(node, struct link, node);

        if (!concerns(l, host))
            continue;
        list_for_each (at, &l->commands) {
            struct command *k = container_of(at, struct command, node);

            if (k->held && (c == PDU_CLASSES || c == k->what.class))
                k->due_ns = 0;
        }
        send_due(l);
        link_go(l);
    }
}

void proxy_drop(struct proxy *p, const struct host *host)
{
    list_for_each (node, &p->links) {
        struct link *l = container_of(node, struct link, node);

        if (!concerns(l, host) || l->near_gone)
            continue;
        l->dropped = true;
        near_goes(l, "dropped");
        link_go(l);
    }
}

void proxy_list(struct proxy *p, const struct host *host, struct buf *text)
{
    uint64_t now = now_ns();

    list_for_each (node, &p->links) {
        struct link *l = container_of(node, struct link, node);

        if (!concerns(l, host))
            continue;
        list_for_each (at, &l->commands) {
            struct command *c = container_of(at, struct command, node);

            buf_printf(text, "%s %s ", l->host->name,
                       c->held ? "held" : "sent");
            command_to_text(&c->what, l->number, c->itt, text);
            buf_printf(text, " ms=%.0f\n",
                       (double)(now - c->came_ns) / (double)NS_PER_MS);
        }
    }
}
