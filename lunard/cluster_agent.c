/* lunard/cluster_agent.c - the fence agent, run for whom the LUN cannot keep
 * out: on a thread of its own, one for a node at a time, whatever the number of
 * volumes that wait for it.
 * Decides not who is to be fenced.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cluster_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "lunard/agent.h"

#include <stdio.h>
#include <string.h>

enum { AGENT_THREADS = 4 }; /* hosts that are switched off at a time */

struct agent_work {
    struct work work;
    struct cluster *c;
    struct lm_run run;
    char *input;
    char label[MEMBER_NAME_BYTES + 32];
    enum err e;
    struct diag why;
};

static uint64_t now_ns(const struct cluster *c)
{
    return clock_now_ns(loop_clock(c->args.loop));
}

static void tell_guards(struct cluster *c, struct lm_run run, bool off)
{
    list_for_each (at, &c->seats) {
        struct guard *g = seat_guard(container_of(at, struct seat, node));

        if (g)
            guard_on_agent(g, run, off);
    }
}

/* It is known already, and told later: not from inside the question. */
static void run_nothing(struct work *work)
{
    container_of(work, struct agent_work, work)->e = E_OK;
}

static void run_agent(struct work *work)
{
    struct agent_work *a = container_of(work, struct agent_work, work);
    const struct agent_args args = {
        .program = a->c->args.config->fence_agent,
        .input = a->input,
        .label = a->label,
        .limit_ms = AGENT_MS,
        .stop = &a->c->agents_stop,
    };

    a->e = agent_run(&args, &a->why);
}

static void agent_ended(struct work *work)
{
    struct agent_work *a = container_of(work, struct agent_work, work);
    struct cluster *c = a->c;
    struct lm_run run = a->run;
    bool off = !a->e;

    c->agent[run.node].running = false;
    c->agent[run.node].not_before_ns = now_ns(c) + AGENT_PAUSE_MS * NS_PER_MS;
    if (off)
        log_warning("%s is off, says %s", a->label,
                    a->input ? "the fence agent" : "a later run of its host");
    else
        log_error("%s is not known to be off: fence agent: %s", a->label,
                  diag_text(&a->why, a->e));
    free(a->input);
    free(a);
    tell_guards(c, run, off);
}

/* input: NULL, if it need not be asked. */
static enum err begin(struct cluster *c, struct lm_run run, const char *host,
                      char *input)
{
    struct agent_work *a = calloc(1, sizeof *a);

    if (!a) {
        free(input);
        return E_NOMEM;
    }
    a->work = (struct work){.run = input ? run_agent : run_nothing,
                            .done = agent_ended};
    a->c = c;
    a->run = run;
    a->input = input;
    snprintf(a->label, sizeof a->label, "node %u%s%s%s", run.node,
             *host ? " (" : "", host, *host ? ")" : "");
    if (input)
        log_warning("%s: the fence agent is to switch it off", a->label);
    c->agent[run.node].running = true;
    work_submit(c->agents, &a->work);
    return E_OK;
}

static enum err shoot(struct cluster *c, struct lm_run run, const char *host,
                      struct diag *why)
{
    AUTO(buf_fini) struct buf input = {0};
    enum err e = agent_input(c->args.config, run.node, host, &input, why);

    return e ? e : begin(c, run, host, buf_take(&input));
}

/* Of a run that is missed: who it was; NULL: not known. */
static const struct member_id *find_gone(const struct cluster *c,
                                         struct lm_run run)
{
    for (unsigned i = 0; i < c->view.gone_count; i++)
        if (c->view.gone[i].id.node == run.node &&
            c->view.gone[i].id.incarnation == run.incarnation)
            return &c->view.gone[i].id;
    return NULL;
}

/* Two runs of an installation do not live at once (claim_state() in daemon.c):
 * a later one that is a member proves that this one is over; and a host that
 * works again is not switched off for what it was. */
static bool is_followed(const struct cluster *c, struct lm_run run)
{
    const struct member_id *now = member_view_find(&c->view, run.node);
    const struct member_id *was = find_gone(c, run);

    return now && was && now->incarnation > run.incarnation &&
           !memcmp(now->host, was->host, sizeof now->host);
}

static bool may_shoot(struct cluster *c, struct lm_run run)
{
    return c->agents && c->view.quorate && run.node != c->me.node &&
           now_ns(c) >= c->agent[run.node].not_before_ns;
}

/* A host without quorum shoots nobody.  A run that is a member still is first
 * to leave. */
bool cluster_run_agent(struct cluster *c, struct lm_run run, const char *host)
{
    const struct member_id *id = member_view_find(&c->view, run.node);
    struct diag why = {0};
    enum err e;

    if (!may_shoot(c, run))
        return false;
    if (c->agent[run.node].running)
        return true;
    if (is_followed(c, run))
        return !begin(c, run, host, NULL);
    if (id && id->incarnation == run.incarnation)
        (void)!member_accuse(c->member, run.node, run.incarnation);
    if (id)
        return false;
    id = find_gone(c, run);
    e = shoot(c, run, !*host && id ? id->name : host, &why);
    if (!e)
        return true;
    c->agent[run.node].not_before_ns = now_ns(c) + AGENT_PAUSE_MS * NS_PER_MS;
    log_error("node %u: fence agent: %s", run.node, diag_text(&why, e));
    return false;
}

enum err cluster_agents_start(struct cluster *c)
{
    static const struct workers_args args = {.name = "agents",
                                             .threads = AGENT_THREADS};

    return *c->args.config->fence_agent ? workers_start(&args, &c->agents)
                                        : E_OK;
}

struct stopping {
    struct cluster *c;
    struct workers *agents;
};

static void take_agents(void *arg)
{
    struct stopping *stopping = arg;

    stopping->agents = TAKE(stopping->c->agents);
}

void cluster_agents_stop(struct cluster *c)
{
    struct stopping stopping = {.c = c};

    atomic_store(&c->agents_stop, true);
    cluster_run(c, take_agents, &stopping);
    workers_stop(stopping.agents);
}
