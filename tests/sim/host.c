/* tests/sim/host.c - runs of hosts: start, crash, pause, continue.
 * What a host does is its ops'; what it had in flight goes its own way.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/target.h"

void sim_hosts_init(struct sim *s, uint32_t count,
                    const struct sim_host_ops *ops)
{
    ASSERT(count <= SIM_HOSTS_MAX);
    s->host_count = count;
    for (uint32_t i = 0; i <= count; i++) {
        s->host[i].sim = s;
        s->host[i].ops = ops;
        s->host[i].number = i;
        list_init(&s->host[i].held);
    }
}

void sim_host_start(struct sim_host *h)
{
    ASSERT(!h->up);
    if (h->sim->net)
        sim_net_host_up(h->sim, h->number);
    h->run++;
    h->up = true;
    h->state = NULL;
    sim_trace(h->sim, h->number, "starts, run %u", h->run);
    if (h->ops->start)
        h->ops->start(h);
}

void sim_host_crash(struct sim_host *h, bool power)
{
    struct sim *s = h->sim;

    if (!h->up)
        return;
    sim_trace(s, h->number, power ? "loses power" : "its process is killed");
    h->up = h->paused = false;
    while (list_pop_front(&h->held))
        ;
    if (h->ops->crashed)
        h->ops->crashed(h);
    sim_target_host_down(s, h->number);
    if (s->net)
        sim_net_host_down(s, h->number, power);
    if (s->cpg)
        sim_cpg_host_down(s, h->number, power);
}

void sim_host_pause(struct sim_host *h)
{
    if (!h->up || h->paused)
        return;
    sim_trace(h->sim, h->number, "stops taking steps");
    h->paused = true;
}

void sim_host_continue(struct sim_host *h)
{
    struct list *node;

    if (!h->up || !h->paused)
        return;
    sim_trace(h->sim, h->number, "takes steps again");
    h->paused = false;
    while ((node = list_pop_front(&h->held))) {
        struct sim_event *event = container_of(node, struct sim_event, node);

        sim_repost(h->sim, event);
    }
}
