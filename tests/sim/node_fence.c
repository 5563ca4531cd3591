/* tests/sim/node_fence.c - the shell of lockmgr/fence.c.
 * Carries effects out; the fence agent and the operator are played here, and
 * do not lie: a host is off before they say so.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/node.h"

#include <inttypes.h>

static void step(struct fence_job *job, const struct fence_event *event);

static void answer(struct ask *a, enum fence_event_kind kind,
                   enum lun_answer answer_is)
{
    struct fence_job *job = a->arg;
    struct fence_event event = {
        .kind = kind,
        .ticket = a->ticket,
        .answer = answer_is,
        .type = a->command.reserved_type,
        .own_key = nexus_key(&a->volume->nexus),
        .keys = lun_keys(a, job->core.room),
    };

    step(job, &event);
}

static void on_written(struct ask *a, enum lun_answer answer_is)
{
    answer(a, FENCE_EV_BLOCK_WRITTEN, answer_is);
}

static void on_keys(struct ask *a, enum lun_answer answer_is)
{
    answer(a, FENCE_EV_KEYS_READ, answer_is);
}

static void on_preempted(struct ask *a, enum lun_answer answer_is)
{
    answer(a, FENCE_EV_PREEMPTED, answer_is);
}

static void on_reset(struct ask *a, enum lun_answer answer_is)
{
    answer(a, FENCE_EV_WAS_RESET, answer_is);
}

static void on_reservation(struct ask *a, enum lun_answer answer_is)
{
    answer(a, FENCE_EV_RESERVATION_READ, answer_is);
}

static void on_flushed(struct ask *a, enum lun_answer answer_is)
{
    answer(a, FENCE_EV_FLUSHED, answer_is);
}

static void apply_name(struct block_change *change, struct node_block *own)
{
    node_block_name(own, &change->target, change->fencing);
}

/* Off, if it still is the run that is meant. */
static void power_off(struct sim *s, struct lm_run run)
{
    struct sim_host *h = &s->host[run.node];

    if (h->up && h->run <= run.incarnation)
        sim_host_crash(h, true);
}

static void fire_agent(struct sim_event *event)
{
    struct fence_job *job = container_of(event, struct fence_job, timer);
    bool yes = sim_chance(event->sim, 500);

    if (yes)
        power_off(event->sim, job->core.args.target.run);
    step(job, &(struct fence_event){.kind = FENCE_EV_AGENT_ENDED,
                                    .ticket = job->ticket,
                                    .yes = yes});
}

static void fire_operator(struct sim_event *event)
{
    struct fence_job *job = container_of(event, struct fence_job, timer);

    power_off(event->sim, job->core.args.target.run);
    step(job, &(struct fence_event){.kind = FENCE_EV_CONFIRMED_DEAD});
}

static void fire_drained(struct sim_event *event)
{
    struct fence_job *job = container_of(event, struct fence_job, timer);

    if (!redirect_refuse(job->volume, job->core.args.target.run)) {
        sim_post(event->sim, &job->timer, SIM_MS, job->volume->node->me.node,
                 fire_drained);
        return;
    }
    step(job, &(struct fence_event){.kind = FENCE_EV_DRAINED,
                                    .ticket = job->ticket});
}

static void done(struct fence_job *job, const struct fence_effect *fx)
{
    struct volume *v = job->volume;
    struct sim *s = v->node->host->sim;
    const struct lm_target *t = &fx->target;

    sim_trace(s, v->node->me.node,
              "lun %u: h%u, incarnation %" PRIu64 ", turn %u is fenced", v->lun,
              t->run.node, t->run.incarnation, t->turn);
    job->used = false;
    if (!t->foreign && t->turn == LM_TURN_ALL) /* it may live; it must know */
        node_declare_fenced(v->node, t->run);
    shell_takeover(v, &(struct takeover_event){
                          .kind = TAKEOVER_EV_TARGET_FENCED, .target = *t});
}

static void preempt(struct fence_job *job, const struct fence_effect *fx,
                    enum sim_op op)
{
    struct ask *a = lun_ask_new(job->volume, op, fx->ticket, on_preempted, job);

    a->command.service_key = fx->key;
    lun_ask(job->volume, a);
}

static void ask(struct fence_job *job, const struct fence_effect *fx,
                enum sim_op op, answered_fn *answered)
{
    lun_ask(job->volume,
            lun_ask_new(job->volume, op, fx->ticket, answered, job));
}

static void later(struct fence_job *job, const struct fence_effect *fx,
                  uint64_t delay_ns, void (*fire)(struct sim_event *))
{
    struct node *n = job->volume->node;

    job->ticket = fx->ticket;
    sim_post(n->host->sim, &job->timer, delay_ns, n->me.node, fire);
}

static void say_quorum(struct fence_job *job)
{
    step(job, &(struct fence_event){.kind = FENCE_EV_QUORUM,
                                    .yes = job->volume->node->quorate});
}

static void carry_out(struct fence_job *job, const struct fence_effect *fx)
{
    struct volume *v = job->volume;
    struct sim *s = v->node->host->sim;

    switch (fx->kind) {
    case FENCE_DO_WRITE_BLOCK:
        lun_change_block(v, &(struct block_change){.apply = apply_name,
                                                   .target = fx->target,
                                                   .fencing = fx->fencing,
                                                   .ticket = fx->ticket,
                                                   .answered = on_written,
                                                   .arg = job});
        break;
    case FENCE_DO_READ_KEYS: ask(job, fx, SIM_READ_KEYS, on_keys); break;
    case FENCE_DO_ASK_QUORUM: say_quorum(job); break;
    case FENCE_DO_PREEMPT: preempt(job, fx, SIM_PREEMPT); break;
    case FENCE_DO_PREEMPT_ABORT: preempt(job, fx, SIM_PREEMPT_ABORT); break;
    case FENCE_DO_RESET: ask(job, fx, SIM_LU_RESET, on_reset); break;
    case FENCE_DO_READ_RESERVATION:
        ask(job, fx, SIM_READ_RESERVATION, on_reservation);
        break;
    case FENCE_DO_FLUSH: ask(job, fx, SIM_SYNC_CACHE, on_flushed); break;
    case FENCE_DO_DRAIN: later(job, fx, SIM_MS, fire_drained); break;
    case FENCE_DO_LOOK: lun_look(v); break;
    case FENCE_DO_TELL_UNRESERVED:
        shell_takeover(
            v, &(struct takeover_event){.kind = TAKEOVER_EV_UNRESERVED});
        break;
    case FENCE_DO_RUN_AGENT:
        later(job, fx, sim_between(s, SIM_S, 3 * SIM_S), fire_agent);
        break;
    case FENCE_DO_ALARM:
        sim_trace(s, v->node->me.node, "lun %u: ALARM: fence h%u by hand",
                  v->lun, fx->target.run.node);
        later(job, fx, NODE_OPERATOR_S * SIM_S, fire_operator);
        break;
    case FENCE_DO_TELL_DONE: done(job, fx); break;
    case FENCE_DO_TELL_ABANDONED:
        job->used = false;
        shell_takeover(
            v, &(struct takeover_event){.kind = TAKEOVER_EV_FENCE_ABANDONED,
                                        .target = fx->target});
        break;
    case FENCE_EFFECT_COUNT: break;
    }
}

static void step(struct fence_job *job, const struct fence_event *event)
{
    struct node *n = job->volume->node;
    enum fence_state before = job->core.state;
    struct fence_effects fx;

    if (n->over || !job->used)
        return;
    fence_step(&job->core, event, &fx);
    if (before != job->core.state)
        sim_trace(n->host->sim, n->me.node, "lun %u: fence of h%u %s -> %s",
                  job->volume->lun, job->core.args.target.run.node,
                  fence_state_name(before), fence_state_name(job->core.state));
    for (uint32_t i = 0; i < fx.count && !n->over; i++)
        carry_out(job, &fx.list[i]);
}

static bool same_target(const struct lm_target *a, const struct lm_target *b)
{
    return lm_run_eq(a->run, b->run) && a->turn == b->turn &&
           a->foreign == b->foreign;
}

void fence_begin(struct volume *v, const struct lm_target *target)
{
    struct sim *s = v->node->host->sim;
    struct fence_job *job = NULL;

    for (uint32_t i = 0; i < NODE_FENCES_MAX; i++) {
        if (v->fence[i] && v->fence[i]->used &&
            same_target(&v->fence[i]->core.args.target, target))
            return;
        if (!job && (!v->fence[i] || !v->fence[i]->used))
            job = v->fence[i] = sim_alloc(s, sizeof *job);
    }
    ASSERT(job);
    job->volume = v;
    job->used = true;
    sim_trace(s, v->node->me.node,
              "lun %u: begins to fence h%u, incarnation %" PRIu64 ", turn %u",
              v->lun, target->run.node, target->run.incarnation, target->turn);
    fence_init(&job->core, &(struct fence_args){
                               .target = *target,
                               .cluster = NODE_CLUSTER,
                               .type = v->nexus.args.type,
                           });
    step(job, &(struct fence_event){.kind = FENCE_EV_START});
}

void fence_tell(struct volume *v, enum fence_event_kind kind)
{
    for (uint32_t i = 0; i < NODE_FENCES_MAX && !v->node->over; i++)
        if (v->fence[i] && v->fence[i]->used)
            step(v->fence[i],
                 &(struct fence_event){.kind = kind,
                                       .own_key = nexus_key(&v->nexus),
                                       .yes = v->node->quorate});
}

/* A fence that found the LUN unreserved looks again now and then: it may have
 * been reserved by the time that the coordinator looked. */
void fence_beat(struct volume *v)
{
    for (uint32_t i = 0; i < NODE_FENCES_MAX && !v->node->over; i++)
        if (v->fence[i] && v->fence[i]->used &&
            v->fence[i]->core.state == FENCE_UNRESERVED)
            step(v->fence[i], &(struct fence_event){.kind = FENCE_EV_RESERVED});
}
