/* lunard/guard_fence.c - the shell of lockmgr/fence.c: carries its effects out.
 * Measures no time and releases nothing by itself.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/guard_private.h"

#include "base/log.h"
#include "base/trace.h"

#include <inttypes.h>
#include <stdio.h>

static void step(struct fence_job *job, const struct fence_event *event);

/* -- answers of the LUN ---------------------------------------------------- */

static struct fence_job *job_of(const struct guard *g, const struct ask *a)
{
    list_for_each (node, &g->fences)
        if (container_of(node, struct fence_job, node) == a->arg)
            return a->arg;
    return NULL; /* it has ended meanwhile */
}

static void answer(struct ask *a, enum fence_event_kind kind,
                   enum lun_answer answer_is)
{
    struct guard *g = a->guard;
    struct fence_job *job = job_of(g, a);
    struct fence_event event = {
        .kind = kind,
        .ticket = a->ticket,
        .answer = answer_is,
        .own_key = nexus_key(&g->nexus),
    };

    if (kind == FENCE_EV_RESERVATION_READ)
        event.type = (enum lm_reservation)a->pr.type;
    if (kind == FENCE_EV_KEYS_READ)
        event.keys = guard_keys(a);
    if (job)
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

/* -- effects --------------------------------------------------------------- */

static void apply_name(const struct block_change *change,
                       struct node_block *own)
{
    node_block_name(own, &change->target, change->fencing);
}

static void write_block(struct fence_job *job, const struct fence_effect *fx)
{
    guard_change_block(job->guard,
                       &(struct block_change){.apply = apply_name,
                                              .target = fx->target,
                                              .fencing = fx->fencing,
                                              .ticket = fx->ticket,
                                              .answered = on_written,
                                              .arg = job});
}

static void ask(struct fence_job *job, const struct fence_effect *fx,
                enum lun_pr_op op, answered_fn *answered)
{
    struct ask *a = guard_ask_new(job->guard, op, fx->ticket, answered, job);

    if (op == LUN_PR_PREEMPT || op == LUN_PR_PREEMPT_ABORT)
        a->pr.new_key = fx->key;
    guard_ask(job->guard, a);
}

static bool ask_agent(const struct fence_job *job)
{
    struct guard *g = job->guard;
    struct lm_run run = job->core.args.target.run;

    return g->args.ops->agent(g->args.user, run, g->hosts[run.node - 1]);
}

/* An answer that needs no LUN, but later: not from inside the question. */
static void run_agent_ended(struct task *task)
{
    struct fence_job *job = container_of(task, struct fence_job, task);

    step(job, &(struct fence_event){.kind = FENCE_EV_AGENT_ENDED,
                                    .ticket = job->ticket,
                                    .yes = false});
}

static void run_drained(struct task *task)
{
    struct fence_job *job = container_of(task, struct fence_job, task);

    step(job, &(struct fence_event){.kind = FENCE_EV_DRAINED,
                                    .ticket = job->ticket});
}

static void later(struct fence_job *job, const struct fence_effect *fx,
                  void (*run)(struct task *))
{
    job->ticket = fx->ticket;
    job->task = (struct task){.run = run};
    loop_post(job->guard->args.loop, &job->task);
}

static void run_agent(struct fence_job *job, const struct fence_effect *fx)
{
    job->agent_asked = ask_agent(job);
    if (!job->agent_asked)
        later(job, fx, run_agent_ended);
}

static void raise_alarm(struct fence_job *job)
{
    struct guard *g = job->guard;
    struct lm_run run = job->core.args.target.run;
    char text[160];

    snprintf(text, sizeof text,
             "node %u cannot be fenced by the LUN%s: switch it off, then say "
             "\"lunar confirm-dead %u\"",
             run.node, job->agent_asked ? ", nor by the fence agent" : "",
             run.node);
    g->alarmed = true;
    g->args.ops->alarm(g->args.user, text);
}

static void end(struct fence_job *job, enum takeover_event_kind kind)
{
    struct guard *g = job->guard;
    struct lm_target target = job->core.args.target;

    list_remove(&job->node);
    free(job);
    if (kind == TAKEOVER_EV_TARGET_FENCED && !target.foreign &&
        target.turn != LM_TURN_ALL)
        log_info("%s: node %u goes by way of this host: its key is preempted",
                 lun_name(g->lun), target.run.node);
    if (kind == TAKEOVER_EV_TARGET_FENCED && !target.foreign &&
        target.turn == LM_TURN_ALL) {
        log_warning("%s: node %u, incarnation %" PRIu64 " is fenced",
                    lun_name(g->lun), target.run.node, target.run.incarnation);
        g->args.ops->accuse(g->args.user, target.run); /* it may live (I11) */
    }
    guard_takeover(g, &(struct takeover_event){.kind = kind, .target = target});
    if (kind == TAKEOVER_EV_TARGET_FENCED && !target.foreign &&
        target.turn == LM_TURN_ALL)
        g->args.ops->release(g->args.user, target.run);
}

static void carry_out(struct fence_job *job, const struct fence_effect *fx)
{
    struct guard *g = job->guard;

    switch (fx->kind) {
    case FENCE_DO_WRITE_BLOCK: write_block(job, fx); break;
    case FENCE_DO_READ_KEYS:
        guard_ask(g, guard_ask_keys(g, fx->room, fx->ticket, on_keys, job));
        break;
    case FENCE_DO_ASK_QUORUM:
        step(job, &(struct fence_event){.kind = FENCE_EV_QUORUM,
                                        .yes = g->view.quorate});
        break;
    case FENCE_DO_PREEMPT: ask(job, fx, LUN_PR_PREEMPT, on_preempted); break;
    case FENCE_DO_PREEMPT_ABORT:
        ask(job, fx, LUN_PR_PREEMPT_ABORT, on_preempted);
        break;
    case FENCE_DO_RESET: ask(job, fx, LUN_PR_RESET, on_reset); break;
    case FENCE_DO_READ_RESERVATION:
        ask(job, fx, LUN_PR_READ_RESERVATION, on_reservation);
        break;
    case FENCE_DO_FLUSH: ask(job, fx, LUN_PR_FLUSH, on_flushed); break;
    case FENCE_DO_DRAIN: later(job, fx, run_drained); break;
    case FENCE_DO_LOOK: guard_look(g); break;
    case FENCE_DO_TELL_UNRESERVED:
        guard_takeover(
            g, &(struct takeover_event){.kind = TAKEOVER_EV_UNRESERVED});
        break;
    case FENCE_DO_RUN_AGENT: run_agent(job, fx); break;
    case FENCE_DO_ALARM: raise_alarm(job); break;
    case FENCE_DO_TELL_DONE: end(job, TAKEOVER_EV_TARGET_FENCED); break;
    case FENCE_DO_TELL_ABANDONED: end(job, TAKEOVER_EV_FENCE_ABANDONED); break;
    case FENCE_EFFECT_COUNT: ASSERT(false); break;
    }
}

static void step(struct fence_job *job, const struct fence_event *event)
{
    struct guard *g = job->guard;
    enum fence_state before = job->core.state;
    struct fence_effects fx;

    if (g->over)
        return;
    fence_step(&job->core, event, &fx);
    if (before != job->core.state)
        TRACE(guard_fence, "node=%u %s -> %s by %s",
              job->core.args.target.run.node, fence_state_name(before),
              fence_state_name(job->core.state), fence_event_name(event->kind));
    /* The last effect may end the job: nothing of it is looked at after. */
    for (uint32_t i = 0; i < fx.count && !g->over; i++)
        carry_out(job, &fx.list[i]);
}

/* -- jobs ------------------------------------------------------------------ */

static bool same_target(const struct lm_target *a, const struct lm_target *b)
{
    return lm_run_eq(a->run, b->run) && a->turn == b->turn &&
           a->foreign == b->foreign;
}

void guard_fence_begin(struct guard *g, const struct lm_target *target)
{
    struct fence_job *job;

    list_for_each (node, &g->fences) {
        job = container_of(node, struct fence_job, node);
        if (same_target(&job->core.args.target, target))
            return;
    }
    job = calloc(1, sizeof *job);
    ASSERT(job);
    job->guard = g;
    if (target->foreign)
        log_warning("%s: key 0x%" PRIx64 " of nobody in this cluster is "
                    "preempted",
                    lun_name(g->lun), target->foreign);
    else if (target->turn == LM_TURN_ALL)
        log_warning("%s: fencing node %u, incarnation %" PRIu64,
                    lun_name(g->lun), target->run.node,
                    target->run.incarnation);
    list_push_back(&g->fences, &job->node);
    fence_init(&job->core, &(struct fence_args){
                               .target = *target,
                               .cluster = g->args.cluster,
                               .type = g->nexus.args.type,
                           });
    step(job, &(struct fence_event){.kind = FENCE_EV_START});
}

/* Tell each job; one may end, and none begins, by what it is told. */
static void tell_all(struct guard *g, const struct fence_event *event,
                     bool (*wants)(const struct fence_job *job,
                                   const void *arg),
                     const void *arg)
{
    struct list *node = g->fences.next;

    while (node != &g->fences && !g->over) {
        struct fence_job *job = container_of(node, struct fence_job, node);

        node = node->next;
        if (!wants || wants(job, arg))
            step(job, event);
    }
}

void guard_fence_tell(struct guard *g, enum fence_event_kind kind)
{
    tell_all(g,
             &(struct fence_event){.kind = kind,
                                   .own_key = nexus_key(&g->nexus),
                                   .yes = g->view.quorate},
             NULL, NULL);
}

static bool is_of(const struct fence_job *job, const void *arg)
{
    const struct lm_run *run = arg;

    return !job->core.args.target.foreign &&
           job->core.args.target.run.node == run->node &&
           job->core.args.target.run.incarnation <= run->incarnation;
}

void guard_fence_confirm_dead(struct guard *g, struct lm_run run)
{
    tell_all(g, &(struct fence_event){.kind = FENCE_EV_CONFIRMED_DEAD}, is_of,
             &run);
}

static bool is_unreserved(const struct fence_job *job, const void *arg)
{
    (void)arg;
    return job->core.state == FENCE_UNRESERVED;
}

static bool is_with_agent(const struct fence_job *job, const void *arg)
{
    return job->core.state == FENCE_AGENT && is_of(job, arg);
}

void guard_fence_on_agent(struct guard *g, struct lm_run run, bool off)
{
    struct list *node = g->fences.next;

    if (off) {
        guard_fence_confirm_dead(g, run);
        return;
    }
    while (node != &g->fences && !g->over) {
        struct fence_job *job = container_of(node, struct fence_job, node);

        node = node->next;
        if (is_with_agent(job, &run))
            step(job, &(struct fence_event){.kind = FENCE_EV_AGENT_ENDED,
                                            .ticket = job->core.ticket});
    }
}

/* A fence that found the LUN unreserved looks again now and then: it may have
 * been reserved by the time that the coordinator looked.  And an agent that
 * failed may be luckier. */
void guard_fence_beat(struct guard *g)
{
    list_for_each (node, &g->fences) {
        struct fence_job *job = container_of(node, struct fence_job, node);

        if (job->core.state == FENCE_STUCK)
            (void)ask_agent(job);
    }
    tell_all(g, &(struct fence_event){.kind = FENCE_EV_RESERVED}, is_unreserved,
             NULL);
}

void guard_fences_end(struct guard *g)
{
    struct list *node;

    while ((node = list_pop_front(&g->fences)))
        free(container_of(node, struct fence_job, node));
}
