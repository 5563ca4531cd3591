/* tests/sim/net.c - messages between hosts, over connections or as datagrams.
 * Knows no message; partitions are one way, and corosync sees the same ones.
 *
 * A connection delivers in order.  What it cannot deliver waits, as TCP does,
 * until the way is open again or the connection breaks; then all that was on
 * its way is gone and both ends are told.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/sim.h"

struct connection {         /* of a pair of hosts, a < b */
    uint32_t life;          /* grows when it breaks */
    struct list stalled[2]; /* messages that wait: to b, to a */
    uint64_t arrival_ns[2]; /* of the last one sent, for the order */
    bool limit_runs;
};

struct sim_net {
    struct sim_net_options options;
    uint32_t cut[SIM_SENDERS]; /* by sender: bit per host that is not reached */
    uint32_t powerless;        /* hosts that do not even refuse */
    struct connection connection[SIM_SENDERS][SIM_SENDERS];
};

struct message {
    struct sim_event event;
    struct list stalled;
    uint32_t from, to, life;
    size_t count;
    const void *bytes;
};

struct notice { /* a connection broke, or has stalled too long */
    struct sim_event event;
    uint32_t a, b, life;
};

void sim_net_init(struct sim *s, const struct sim_net_options *options)
{
    s->net = sim_alloc(s, sizeof *s->net);
    s->net->options = *options;
    for (uint32_t a = 0; a < SIM_SENDERS; a++)
        for (uint32_t b = 0; b < SIM_SENDERS; b++)
            for (uint32_t way = 0; way < 2; way++)
                list_init(&s->net->connection[a][b].stalled[way]);
}

static struct connection *connection(struct sim *s, uint32_t a, uint32_t b)
{
    return a < b ? &s->net->connection[a][b] : &s->net->connection[b][a];
}

bool sim_net_reaches(const struct sim *s, uint32_t from, uint32_t to)
{
    return !(s->net->cut[from] >> to & 1);
}

/* -- a connection breaks --------------------------------------------------- */

static void fire_lost(struct sim_event *event)
{
    struct notice *n = container_of(event, struct notice, event);
    struct sim_host *h = &event->sim->host[n->a];

    sim_trace(event->sim, n->a, "connection with h%u broke", n->b);
    if (h->ops->lost)
        h->ops->lost(h, n->b);
}

static void tell_lost(struct sim *s, uint32_t host, uint32_t peer)
{
    struct notice *n;

    if (!s->host[host].up)
        return;
    n = sim_alloc(s, sizeof *n);
    n->a = host;
    n->b = peer;
    sim_post(s, &n->event, sim_between(s, 0, s->net->options.delay_ns), host,
             fire_lost);
}

void sim_net_reset(struct sim *s, uint32_t a, uint32_t b)
{
    struct connection *c = connection(s, a, b);

    c->life++;
    c->limit_runs = false;
    for (uint32_t way = 0; way < 2; way++) {
        c->arrival_ns[way] = 0;
        while (list_pop_front(&c->stalled[way]))
            ;
    }
    tell_lost(s, a, b);
    tell_lost(s, b, a);
}

static void fire_limit(struct sim_event *event)
{
    struct notice *n = container_of(event, struct notice, event);
    struct connection *c = connection(event->sim, n->a, n->b);

    if (c->life != n->life)
        return;
    c->limit_runs = false;
    if (!list_empty(&c->stalled[0]) || !list_empty(&c->stalled[1]))
        sim_net_reset(event->sim, n->a, n->b);
}

static void stall(struct sim *s, struct connection *c, struct message *m)
{
    struct notice *n;

    list_push_back(&c->stalled[m->to < m->from], &m->stalled);
    if (c->limit_runs)
        return;
    c->limit_runs = true;
    n = sim_alloc(s, sizeof *n);
    n->a = m->from;
    n->b = m->to;
    n->life = c->life;
    sim_post(s, &n->event, s->net->options.stall_limit_ns, 0, fire_limit);
}

/* -- messages -------------------------------------------------------------- */

static void fire_receive(struct sim_event *event)
{
    struct message *m = container_of(event, struct message, event);
    struct sim_host *h = &event->sim->host[m->to];

    if (m->life != connection(event->sim, m->from, m->to)->life &&
        !event->sim->net->options.datagrams)
        return;
    if (h->ops->receive)
        h->ops->receive(h, m->from, m->bytes, m->count);
}

/* At the other host's kernel: its process may still be paused. */
static void fire_arrive(struct sim_event *event)
{
    struct message *m = container_of(event, struct message, event);
    struct sim *s = event->sim;
    struct connection *c = connection(s, m->from, m->to);

    if (m->life != c->life && !s->net->options.datagrams)
        return;
    if (!sim_net_reaches(s, m->from, m->to) || s->net->powerless >> m->to & 1 ||
        !list_empty(&c->stalled[m->to < m->from])) {
        if (!s->net->options.datagrams)
            stall(s, c, m);
        return;
    }
    if (!s->host[m->to].up) {
        if (!s->net->options.datagrams)
            sim_net_reset(s, m->from, m->to);
        return;
    }
    sim_post(s, &m->event, 0, m->to, fire_receive);
}

static void post_message(struct sim *s, const struct message *m)
{
    const struct sim_net_options *o = &s->net->options;
    struct connection *c = connection(s, m->from, m->to);
    uint64_t *last = &c->arrival_ns[m->to < m->from];
    uint64_t delay =
        sim_delay(s, o->delay_ns, o->long_delay_ns, o->long_permille);
    struct message *copy = sim_copy(s, m, sizeof *m);

    if (!o->datagrams) {
        *last = max_u64(*last, sim_now(s) + delay);
        delay = *last - sim_now(s);
    }
    copy->life = c->life;
    sim_post(s, &copy->event, delay, 0, fire_arrive);
}

void sim_send(struct sim_host *from, uint32_t to, const void *bytes,
              size_t count)
{
    struct sim *s = from->sim;
    const struct sim_net_options *o = &s->net->options;
    struct message m = {
        .from = from->number,
        .to = to,
        .bytes = sim_copy(s, bytes, count),
        .count = count,
    };

    if (!o->datagrams && sim_chance(s, o->reset_permille)) {
        sim_net_reset(s, from->number, to);
        return;
    }
    if (o->datagrams && sim_chance(s, o->drop_permille))
        return;
    post_message(s, &m);
    if (o->datagrams && sim_chance(s, o->double_permille))
        post_message(s, &m);
}

/* -- partitions ------------------------------------------------------------ */

void sim_net_cut(struct sim *s, uint32_t from, uint32_t to)
{
    if (!sim_net_reaches(s, from, to))
        return;
    sim_trace(s, 0, "network: h%u no longer reaches h%u", from, to);
    s->net->cut[from] |= 1U << to;
    sim_cpg_changed(s);
}

void sim_net_heal(struct sim *s, uint32_t from, uint32_t to)
{
    struct connection *c = connection(s, from, to);
    struct list *node;

    if (sim_net_reaches(s, from, to))
        return;
    sim_trace(s, 0, "network: h%u reaches h%u again", from, to);
    s->net->cut[from] &= ~(1U << to);
    while ((node = list_pop_front(&c->stalled[to < from]))) {
        struct message *m = container_of(node, struct message, stalled);

        sim_post(s, &m->event, 0, to, fire_receive);
    }
    sim_cpg_changed(s);
}

void sim_net_heal_all(struct sim *s)
{
    for (uint32_t a = 1; a <= s->host_count; a++)
        for (uint32_t b = 1; b <= s->host_count; b++)
            sim_net_heal(s, a, b);
}

void sim_net_split(struct sim *s, uint32_t mask)
{
    for (uint32_t a = 1; a <= s->host_count; a++)
        for (uint32_t b = 1; b <= s->host_count; b++)
            if ((mask >> a & 1) != (mask >> b & 1))
                sim_net_cut(s, a, b);
}

void sim_net_host_down(struct sim *s, uint32_t host, bool power)
{
    if (power)
        s->net->powerless |= 1U << host;
    for (uint32_t peer = 1; peer <= s->host_count; peer++) {
        struct connection *c = connection(s, host, peer);

        if (peer == host)
            continue;
        if (!power) /* the kernel says it at once */
            sim_net_reset(s, host, peer);
        else /* nobody does; what it sent may still arrive */
            while (list_pop_front(&c->stalled[peer < host]))
                ;
    }
}

void sim_net_host_up(struct sim *s, uint32_t host)
{
    if (!(s->net->powerless >> host & 1))
        return;
    s->net->powerless &= ~(1U << host);
    for (uint32_t peer = 1; peer <= s->host_count; peer++)
        if (peer != host)
            sim_net_reset(s, host, peer);
}
