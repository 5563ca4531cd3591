/* tests/sim/cpg.c - membership as corosync gives it to its clients.
 * Knows what cpg promises, and what it does not; no message's meaning.
 *
 * Hosts whose networks reach each other both ways form a ring.  What is sent
 * in a ring, messages and changes of the group alike, has one order at all
 * its members (AGREED).  When a ring breaks, members that stay together have
 * seen the same part of that order, perhaps more than others did: delivery
 * here proves nothing of delivery there (it is not SAFE).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/sim.h"

enum item_kind { ITEM_CONFCHG, ITEM_MESSAGE, ITEM_QUORUM };

struct item {
    struct list node;
    enum item_kind kind;
    uint64_t number; /* in the order of its ring */
    uint32_t from;
    size_t count;
    const void *bytes;
    struct sim_view view;
    uint32_t ghosts; /* of the members */
    bool quorate, tie;
};

struct inbox { /* of a host; its process takes one item after the other */
    struct list items;
    uint64_t delivered; /* number of the last one, in this ring */
    bool taking;
    uint32_t told; /* members of the last view queued here */
    uint32_t told_run[SIM_SENDERS];
};

struct sim_cpg {
    struct sim_cpg_options options;
    uint32_t ring[SIM_SENDERS];   /* bit per host that is in h's ring */
    uint32_t powered;             /* corosync runs there */
    uint32_t joined;              /* a process of the host is in the group */
    uint32_t run[SIM_SENDERS];    /* which */
    uint32_t ghosts[SIM_SENDERS]; /* dead, but listed in the ring of h */
    uint64_t number;
    bool all_were_there;
    uint32_t reforms; /* on their way */
    struct inbox inbox[SIM_SENDERS];
    uint64_t sent_ns[SIM_SENDERS]; /* a sender's messages keep their order */
};

struct taking {
    struct sim_event event;
    struct item *item;
};

struct sending {
    struct sim_event event;
    uint32_t from, run;
    size_t count;
    const void *bytes;
};

void sim_cpg_init(struct sim *s, const struct sim_cpg_options *options)
{
    s->cpg = sim_alloc(s, sizeof *s->cpg);
    s->cpg->options = *options;
    for (uint32_t i = 0; i < SIM_SENDERS; i++)
        list_init(&s->cpg->inbox[i].items);
}

/* -- to a process ---------------------------------------------------------- */

static void take_next(struct sim *s, uint32_t host);

static void fire_take(struct sim_event *event)
{
    struct sim *s = event->sim;
    uint32_t host = event->host;
    struct sim_host *h = &s->host[host];
    struct item *item = container_of(event, struct taking, event)->item;

    s->cpg->inbox[host].taking = false;
    h->place = item->number;
    switch (item->kind) {
    case ITEM_CONFCHG:
        sim_trace(s, host, "confchg: members %#x joined %#x left %#x",
                  item->view.members, item->view.joined, item->view.left);
        if (h->ops->confchg)
            h->ops->confchg(h, &item->view);
        break;
    case ITEM_MESSAGE:
        if (h->ops->deliver)
            h->ops->deliver(h, item->from, item->bytes, item->count);
        break;
    case ITEM_QUORUM:
        sim_trace(s, host, "quorum: %s", item->quorate ? "yes" : "no");
        if (h->ops->quorum)
            h->ops->quorum(h, item->quorate, item->tie);
        break;
    }
    take_next(s, host);
}

static void take_next(struct sim *s, uint32_t host)
{
    struct inbox *in = &s->cpg->inbox[host];
    struct list *node;
    struct taking *t;

    if (in->taking || !(node = list_pop_front(&in->items)))
        return;
    in->taking = true;
    t = sim_alloc(s, sizeof *t);
    t->item = container_of(node, struct item, node);
    in->delivered = t->item->number;
    sim_post(s, &t->event, sim_delay(s, SIM_MS, 30 * SIM_MS, 30), host,
             fire_take);
}

/* With what was queued before: a new process joins, a ghost does not. */
static void compare(struct inbox *in, struct item *item)
{
    struct sim_view *view = &item->view;

    view->joined = view->members & ~in->told;
    view->left |= in->told & ~view->members;
    for (uint32_t h = 1; h < SIM_SENDERS; h++) {
        if (in->told >> h & 1 & item->ghosts >> h)
            view->run[h] = in->told_run[h];
        if ((view->members >> h & 1) && view->run[h] != in->told_run[h])
            view->joined |= 1U << h;
    }
    in->told = view->members;
    memcpy(in->told_run, view->run, sizeof in->told_run);
}

static void queue(struct sim *s, uint32_t host, const struct item *item)
{
    struct item *copy;

    if (!(s->cpg->joined >> host & 1))
        return;
    copy = sim_copy(s, item, sizeof *item);
    if (item->kind == ITEM_CONFCHG)
        compare(&s->cpg->inbox[host], copy);
    list_push_back(&s->cpg->inbox[host].items, &copy->node);
    take_next(s, host);
}

/* One item to all of a ring: this is the total order. */
static void order(struct sim *s, uint32_t ring, struct item *item)
{
    item->number = ++s->cpg->number;
    for (uint32_t h = 1; h <= s->host_count; h++)
        if ((ring >> h & 1) && s->cpg->ring[h] == ring)
            queue(s, h, item);
}

/* -- the group ------------------------------------------------------------- */

static void tell_group(struct sim *s, uint32_t ring, uint32_t left)
{
    struct item item = {.kind = ITEM_CONFCHG};
    uint32_t ghosts = 0;

    for (uint32_t h = 1; h <= s->host_count; h++)
        if (ring >> h & 1)
            ghosts |= s->cpg->ghosts[h];
    item.ghosts = ghosts & ~(s->cpg->joined & ring);
    item.view.members = (s->cpg->joined & ring) | ghosts;
    item.view.left = left;
    memcpy(item.view.run, s->cpg->run, sizeof item.view.run);
    order(s, ring, &item);
}

static bool is_quorate(const struct sim *s, uint32_t ring)
{
    uint32_t votes = (uint32_t)__builtin_popcount(ring);

    if (s->cpg->options.two_node)
        return votes && s->cpg->all_were_there;
    return 2 * votes > s->host_count;
}

bool sim_cpg_quorate(const struct sim *s, uint32_t host)
{
    return (s->cpg->powered >> host & 1) && is_quorate(s, s->cpg->ring[host]);
}

static void tell_quorum(struct sim *s, uint32_t ring)
{
    struct item item = {.kind = ITEM_QUORUM,
                        .quorate = is_quorate(s, ring),
                        .tie = s->cpg->options.two_node &&
                               __builtin_popcount(ring) == 1};

    order(s, ring, &item);
}

void sim_cpg_leave(struct sim_host *h)
{
    struct sim_cpg *c = h->sim->cpg;
    uint32_t me = 1U << h->number;

    if (!(c->joined & me))
        return;
    c->joined &= ~me;
    tell_group(h->sim, c->ring[h->number], me);
}

static void fire_send(struct sim_event *event)
{
    struct sending *m = container_of(event, struct sending, event);
    struct sim_cpg *c = event->sim->cpg;
    struct item item = {
        .kind = ITEM_MESSAGE,
        .from = m->from,
        .bytes = m->bytes,
        .count = m->count,
    };

    /* Left with its process before it had a place in the order. */
    if (!(c->joined >> m->from & 1) || c->run[m->from] != m->run)
        return;
    order(event->sim, c->ring[m->from], &item);
}

void sim_cpg_send(struct sim_host *h, const void *bytes, size_t count)
{
    struct sim *s = h->sim;
    struct sending *m = sim_alloc(s, sizeof *m);
    uint64_t *last = &s->cpg->sent_ns[h->number];

    m->from = h->number;
    m->run = h->run;
    m->bytes = sim_copy(s, bytes, count);
    m->count = count;
    *last = max_u64(*last, sim_now(s) + sim_delay(s, SIM_MS, 50 * SIM_MS, 20));
    sim_post(s, &m->event, *last - sim_now(s), 0, fire_send);
}

/* -- rings form anew ------------------------------------------------------- */

static bool reach_each_other(const struct sim *s, uint32_t ring, uint32_t host)
{
    for (uint32_t i = 1; i <= s->host_count; i++)
        if ((ring >> i & 1) && i != host &&
            (!sim_net_reaches(s, i, host) || !sim_net_reaches(s, host, i)))
            return false;
    return true;
}

/* Who comes together from one old ring has seen the same of it: at least what
 * one of them took, and all of what one of them sent. */
static void agree(struct sim *s, uint32_t together)
{
    uint64_t cut = 0;

    for (uint32_t h = 1; h <= s->host_count; h++)
        if (together >> h & 1)
            cut = max_u64(cut, s->cpg->inbox[h].delivered);
    cut = sim_between(s, cut, max_u64(cut, s->cpg->number));
    for (uint32_t h = 1; h <= s->host_count; h++) {
        if (!(together >> h & 1))
            continue;
        list_for_each (node, &s->cpg->inbox[h].items) {
            struct item *item = container_of(node, struct item, node);

            if (item->kind == ITEM_MESSAGE && item->number > cut &&
                !(together >> item->from & 1))
                list_remove(node);
        }
    }
}

static void enter_ring(struct sim *s, uint32_t ring)
{
    uint32_t old[SIM_SENDERS], done = 0, gone = 0;

    memcpy(old, s->cpg->ring, sizeof old);
    for (uint32_t h = 1; h <= s->host_count; h++) {
        if (!(ring >> h & 1))
            continue;
        if (!(done >> h & 1))
            agree(s, ring & old[h]);
        done |= old[h];
        gone |= old[h] & ~ring;
        s->cpg->ring[h] = ring;
    }
    sim_trace(s, 0, "corosync: ring %#x", ring);
    for (uint32_t h = 1; h <= s->host_count; h++)
        if ((gone >> h & 1) && !(s->cpg->powered >> h & 1) &&
            (s->cpg->joined >> h & 1) == 0 && s->cpg->run[h] &&
            sim_chance(s, s->cpg->options.ghost_permille))
            for (uint32_t m = 1; m <= s->host_count; m++)
                if (ring >> m & 1)
                    s->cpg->ghosts[m] |= 1U << h;
    tell_group(s, ring, 0);
    tell_quorum(s, ring);
}

/* A host that lost power and is back before the others have missed it: now
 * they have. */
static void leave_old_ring(struct sim *s, uint32_t host)
{
    for (uint32_t h = 1; h <= s->host_count; h++) {
        uint32_t ring = s->cpg->ring[h];

        if (h != host && (ring >> host & 1))
            enter_ring(s, ring & ~(1U << host));
    }
}

void sim_cpg_join(struct sim_host *h)
{
    struct sim_cpg *c = h->sim->cpg;
    uint32_t me = 1U << h->number;
    struct inbox *in = &c->inbox[h->number];

    if (!(c->powered & me)) { /* corosync starts with its host */
        leave_old_ring(h->sim, h->number);
        c->powered |= me;
        c->ring[h->number] = me;
        sim_cpg_changed(h->sim);
    }
    list_init(&in->items);
    in->taking = false;
    in->told = 0;
    for (uint32_t i = 1; i <= h->sim->host_count; i++)
        c->ghosts[i] &= ~me;
    c->joined |= me;
    c->run[h->number] = h->run;
    tell_group(h->sim, c->ring[h->number], 0);
    tell_quorum(h->sim, c->ring[h->number]);
}

static void fire_reform(struct sim_event *event)
{
    struct sim *s = event->sim;
    struct sim_cpg *c = s->cpg;
    uint32_t left = c->powered, ring;

    if (--c->reforms)
        return; /* a later change starts the token time again */
    while (left) {
        bool changed = false;

        ring = 0;
        for (uint32_t h = 1; h <= s->host_count; h++)
            if ((left >> h & 1) && reach_each_other(s, ring, h))
                ring |= 1U << h;
        left &= ~ring;
        for (uint32_t h = 1; h <= s->host_count; h++)
            changed = changed || ((ring >> h & 1) && c->ring[h] != ring);
        if ((uint32_t)__builtin_popcount(ring) == s->host_count)
            c->all_were_there = true;
        if (changed)
            enter_ring(s, ring);
    }
}

void sim_cpg_changed(struct sim *s)
{
    struct sim_event *event;

    if (!s->cpg)
        return;
    event = sim_alloc(s, sizeof *event);
    s->cpg->reforms++;
    sim_post(
        s, event,
        sim_between(s, s->cpg->options.token_ns, 2 * s->cpg->options.token_ns),
        0, fire_reform);
}

void sim_cpg_host_down(struct sim *s, uint32_t host, bool power)
{
    struct sim_cpg *c = s->cpg;

    list_init(&c->inbox[host].items);
    if (!power) {
        sim_cpg_leave(&s->host[host]);
        return;
    }
    c->joined &= ~(1U << host);
    c->powered &= ~(1U << host);
    sim_cpg_changed(s);
}
