/* tests/unit/lockmgr/cluster_nodes.c - the shell of each node: carries out the
 * effects of its cores, and brings them the answers.
 * Decides nothing; chance decides when (cluster.c).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/lockmgr/cluster.h"

#include <stdlib.h>

enum { CLUSTER_NUMBER = 7 }; /* of the cluster, in keys */

struct command *nodes_command(struct cluster *c, struct node *n,
                              enum command_kind kind)
{
    for (int i = 0; i < COMMANDS_MAX; i++) {
        struct command *cmd = &c->command[i];
        struct node_blocks *blocks = cmd->blocks;

        if (cmd->state != COMMAND_FREE)
            continue;
        *cmd = (struct command){.kind = kind,
                                .state = COMMAND_HELD,
                                .asker = ASKER_NOBODY,
                                .node = n->number,
                                .life = n->life,
                                .turn = n->nexus.args.turn,
                                .blocks = blocks};
        return cmd;
    }
    abort();
}

static struct message *send(struct cluster *c, struct node *from, uint32_t to)
{
    for (int i = 0; i < MESSAGES_MAX; i++) {
        struct message *m = &c->message[i];

        if (m->used)
            continue;
        *m = (struct message){.used = true,
                              .number = ++c->messages,
                              .from = from->number,
                              .to = to,
                              .from_life = from->life,
                              .to_life = c->node[to - 1].life};
        m->event.run = from->run;
        return m;
    }
    abort();
}

/* -- nexus ----------------------------------------------------------------- */

static void ask_for_nexus(struct cluster *c, struct node *n,
                          const struct nexus_effect *fx, enum command_kind kind)
{
    struct command *cmd = nodes_command(c, n, kind);

    cmd->asker = ASKER_NEXUS;
    cmd->ticket = fx->ticket;
    cmd->key = fx->key;
    if (kind == COMMAND_WRITE_BLOCK) {
        node_block_join(&n->own, &n->nexus.fenced, fx->run, fx->key);
        cmd->block = n->own;
    }
}

static void end_run(struct cluster *c, struct node *n)
{
    struct takeover_event over = {.kind = TAKEOVER_EV_NEXUS_FENCED};
    struct fence_event abandon = {.kind = FENCE_EV_ABANDON};

    nodes_takeover_event(c, n, &over);
    for (uint32_t i = 0; i < FENCES_MAX; i++)
        if (n->fence_used[i])
            nodes_fence_event(c, n, i, &abandon);
}

static void ask_consent(struct cluster *c, struct node *n)
{
    struct takeover *t = &n->takeover;
    struct takeover_event ev = {.kind = TAKEOVER_EV_CONSENT_ASKED,
                                .run = n->run,
                                .turn = n->nexus.args.turn};

    nodes_takeover_event(c, n, &ev);
    if (t->coordinator.node && t->coordinator.node != n->number) {
        struct message *m = send(c, n, t->coordinator.node);

        m->event = ev;
        m->kind = ev.kind;
    }
}

static void ask_path_fence(struct cluster *c, struct node *n)
{
    uint32_t to = n->takeover.coordinator.node;
    struct message *m;

    if (!to || to == n->number)
        return;
    m = send(c, n, to);
    m->kind = TAKEOVER_EV_FENCE_ASKED;
    m->event = (struct takeover_event){
        .kind = m->kind, .run = n->run, .turn = n->nexus.args.turn};
}

/* I13: nothing that was sent under its keys so far can land any more. */
static void check_redirect(struct cluster *c, const struct node *n)
{
    c->redirected++;
    for (int i = 0; i < COMMANDS_MAX; i++) {
        const struct command *cmd = &c->command[i];

        if (cmd->node == n->number && cmd->life == n->life &&
            (cmd->kind == COMMAND_DATA || cmd->kind == COMMAND_META) &&
            cmd->turn <= n->nexus.args.turn && cmd->state == COMMAND_RUNNING)
            c->broken = "redirected while a write of it can land (I13)";
    }
}

static void tell_unreserved(struct cluster *c, struct node *n)
{
    struct takeover_event ev = {.kind = TAKEOVER_EV_UNRESERVED};

    nodes_takeover_event(c, n, &ev);
    for (uint32_t to = 1; to <= c->node_count; to++)
        if (to != n->number)
            send(c, n, to)->kind = TAKEOVER_EV_UNRESERVED;
}

static void carry_out_nexus(struct cluster *c, struct node *n,
                            const struct nexus_effect *fx)
{
    switch (fx->kind) {
    case NEXUS_DO_REGISTER: ask_for_nexus(c, n, fx, COMMAND_REGISTER); break;
    case NEXUS_DO_RECHECK: ask_for_nexus(c, n, fx, COMMAND_RECHECK); break;
    case NEXUS_DO_READ_BLOCKS:
        ask_for_nexus(c, n, fx, COMMAND_READ_BLOCKS);
        break;
    case NEXUS_DO_WRITE_BLOCK:
        ask_for_nexus(c, n, fx, COMMAND_WRITE_BLOCK);
        break;
    case NEXUS_DO_READ_RESERVATION:
        ask_for_nexus(c, n, fx, COMMAND_READ_RESERVATION);
        break;
    case NEXUS_DO_READ_KEYS: ask_for_nexus(c, n, fx, COMMAND_READ_KEYS); break;
    case NEXUS_DO_ASK_CONSENT: ask_consent(c, n); break;
    case NEXUS_DO_ASK_FENCE: ask_path_fence(c, n); break;
    case NEXUS_DO_REDIRECT: check_redirect(c, n); break;
    case NEXUS_DO_TELL_UNRESERVED: tell_unreserved(c, n); break;
    case NEXUS_DO_FAIL: end_run(c, n); break;
    case NEXUS_DO_STOP:
    case NEXUS_DO_OPEN:
    case NEXUS_DO_ALARM:
    case NEXUS_EFFECT_COUNT: break;
    }
}

void nodes_nexus_event(struct cluster *c, struct node *n,
                       const struct nexus_event *ev)
{
    struct fence_event admitted = {.kind = FENCE_EV_ADMITTED};
    struct takeover_event admitted_too = {.kind = TAKEOVER_EV_ADMITTED};
    bool was = nexus_is_admitted(&n->nexus);
    struct nexus_effects fx;

    nexus_step(&n->nexus, ev, &fx);
    for (uint32_t i = 0; i < fx.count; i++)
        carry_out_nexus(c, n, &fx.list[i]);
    for (uint32_t i = 0; i < FENCES_MAX && !was; i++)
        if (nexus_is_admitted(&n->nexus) && n->fence_used[i])
            nodes_fence_event(c, n, i, &admitted);
    if (!was && nexus_is_admitted(&n->nexus))
        nodes_takeover_event(c, n, &admitted_too);
}

/* -- fences ---------------------------------------------------------------- */

static struct command *ask_for_fence(struct cluster *c, struct node *n,
                                     uint32_t fence,
                                     const struct fence_effect *fx,
                                     enum command_kind kind)
{
    struct command *cmd = nodes_command(c, n, kind);

    cmd->asker = ASKER_FENCE;
    cmd->fence = fence;
    cmd->ticket = fx->ticket;
    cmd->key = fx->key;
    return cmd;
}

static void look(struct cluster *c, struct node *n, uint32_t fence)
{
    struct nexus_event conflict = {.kind = NEXUS_EV_CONFLICT};
    struct fence_event admitted = {.kind = FENCE_EV_ADMITTED};

    nodes_nexus_event(c, n, &conflict);
    if (nexus_is_admitted(&n->nexus) && n->fence_used[fence])
        nodes_fence_event(c, n, fence, &admitted);
}

static void fence_is_done(struct cluster *c, struct node *n,
                          const struct lm_target *target)
{
    struct takeover_event ev = {.kind = TAKEOVER_EV_TARGET_FENCED,
                                .target = *target};

    ASSERT(c->done_count < TARGETS_MAX);
    c->done[c->done_count++] = *target;
    if (target->turn == LM_TURN_ALL)
        c->fenced++;
    else
        c->path_fenced++;
    nodes_takeover_event(c, n, &ev);
}

static void fence_is_abandoned(struct cluster *c, struct node *n,
                               const struct lm_target *target)
{
    struct takeover_event ev = {.kind = TAKEOVER_EV_FENCE_ABANDONED,
                                .target = *target};

    nodes_takeover_event(c, n, &ev);
}

static void ask_quorum(struct cluster *c, struct node *n, uint32_t fence)
{
    struct fence_event ev = {.kind = FENCE_EV_QUORUM,
                             .yes = n->takeover.view.quorate};

    nodes_fence_event(c, n, fence, &ev);
}

static void carry_out_fence(struct cluster *c, struct node *n, uint32_t fence,
                            const struct fence_effect *fx)
{
    struct fence_event drained = {.kind = FENCE_EV_DRAINED,
                                  .ticket = fx->ticket};
    struct fence_event agent = {.kind = FENCE_EV_AGENT_ENDED,
                                .ticket = fx->ticket};

    switch (fx->kind) {
    case FENCE_DO_WRITE_BLOCK:
        node_block_name(&n->own, &fx->target, fx->fencing);
        ask_for_fence(c, n, fence, fx, COMMAND_WRITE_BLOCK);
        break;
    case FENCE_DO_READ_KEYS:
        ask_for_fence(c, n, fence, fx, COMMAND_READ_KEYS);
        break;
    case FENCE_DO_PREEMPT:
        ask_for_fence(c, n, fence, fx, COMMAND_PREEMPT);
        break;
    case FENCE_DO_PREEMPT_ABORT:
        ask_for_fence(c, n, fence, fx, COMMAND_PREEMPT_ABORT);
        break;
    case FENCE_DO_RESET: ask_for_fence(c, n, fence, fx, COMMAND_RESET); break;
    case FENCE_DO_READ_RESERVATION:
        ask_for_fence(c, n, fence, fx, COMMAND_READ_RESERVATION);
        break;
    case FENCE_DO_FLUSH: ask_for_fence(c, n, fence, fx, COMMAND_FLUSH); break;
    case FENCE_DO_ASK_QUORUM: ask_quorum(c, n, fence); break;
    case FENCE_DO_DRAIN: nodes_fence_event(c, n, fence, &drained); break;
    case FENCE_DO_LOOK: look(c, n, fence); break;
    case FENCE_DO_TELL_UNRESERVED: tell_unreserved(c, n); break;
    case FENCE_DO_RUN_AGENT: nodes_fence_event(c, n, fence, &agent); break;
    case FENCE_DO_TELL_DONE: fence_is_done(c, n, &fx->target); break;
    case FENCE_DO_TELL_ABANDONED: fence_is_abandoned(c, n, &fx->target); break;
    case FENCE_DO_ALARM:
    case FENCE_EFFECT_COUNT: break;
    }
}

void nodes_fence_event(struct cluster *c, struct node *n, uint32_t fence,
                       const struct fence_event *ev)
{
    struct fence *f = &n->fence[fence];
    struct fence_effects fx;

    fence_step(f, ev, &fx);
    n->fence_used[fence] =
        f->state != FENCE_DONE && f->state != FENCE_ABANDONED;
    for (uint32_t i = 0; i < fx.count; i++)
        carry_out_fence(c, n, fence, &fx.list[i]);
}

void nodes_fence(struct cluster *c, struct node *n, struct lm_target target)
{
    struct fence_args args = {.target = target,
                              .cluster = CLUSTER_NUMBER,
                              .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS,
                              .cannot_abort =
                                  !c->lun.can_abort && cluster_random(c, 2)};
    struct fence_event start = {.kind = FENCE_EV_START};

    for (uint32_t i = 0; i < FENCES_MAX; i++) {
        if (n->fence_used[i])
            continue;
        n->fence_used[i] = true;
        fence_init(&n->fence[i], &args);
        nodes_fence_event(c, n, i, &start);
        return;
    }
    abort();
}

/* -- takeover -------------------------------------------------------------- */

static void ask_for_takeover(struct cluster *c, struct node *n,
                             const struct takeover_effect *fx,
                             enum command_kind kind)
{
    struct command *cmd = nodes_command(c, n, kind);

    cmd->asker = ASKER_TAKEOVER;
    cmd->ticket = fx->ticket;
    cmd->epoch = fx->epoch;
}

static void say(struct cluster *c, struct node *n,
                const struct takeover_effect *fx, enum takeover_event_kind kind)
{
    for (uint32_t to = 1; to <= c->node_count; to++) {
        struct message *m;

        if (to == n->number || (fx->run.node && fx->run.node != to))
            continue;
        m = send(c, n, to);
        m->kind = kind;
        m->event = (struct takeover_event){.kind = kind,
                                           .run = n->run,
                                           .epoch = fx->epoch,
                                           .view_id = fx->view_id,
                                           .opened = fx->opened,
                                           .to = fx->to};
        if (kind == TAKEOVER_EV_REPORTED && n->nexus.registered)
            m->event.key = nexus_key_in_use(&n->nexus);
    }
}

static void consent(struct cluster *c, struct node *n,
                    const struct takeover_effect *fx)
{
    struct nexus_event ev = {.kind = NEXUS_EV_CONSENTED, .turn = fx->turn};
    struct message *m;

    for (uint32_t i = 0; i < FENCES_MAX; i++)
        if (n->fence_used[i] &&
            lm_target_covers(&n->fence[i].args.target, fx->run, fx->turn - 1))
            return; /* first that ends */
    if (fx->run.node == n->number) {
        nodes_nexus_event(c, n, &ev);
        return;
    }
    m = send(c, n, fx->run.node);
    m->to_nexus = true;
    m->nexus_kind = NEXUS_EV_CONSENTED;
    m->turn = fx->turn;
}

static void tell_path_fenced(struct cluster *c, struct node *n,
                             const struct takeover_effect *fx)
{
    struct message *m = send(c, n, fx->run.node);

    m->to_life = (uint32_t)fx->run.incarnation;
    m->to_nexus = true;
    m->nexus_kind = NEXUS_EV_PATH_FENCED;
    m->turn = fx->turn;
}

static void tell_fenced(struct cluster *c, struct node *n, struct lm_run run)
{
    struct nexus_event ev = {.kind = NEXUS_EV_FENCED_ELSEWHERE};
    struct message *m;

    if (lm_run_eq(run, n->run)) {
        nodes_nexus_event(c, n, &ev);
        return;
    }
    m = send(c, n, run.node);
    m->to_life = (uint32_t)run.incarnation;
    m->to_nexus = true;
    m->nexus_kind = ev.kind;
}

static void tell_reserved(struct cluster *c, struct node *n)
{
    struct nexus_event ev = {.kind = NEXUS_EV_RESERVED};
    struct fence_event fence_ev = {.kind = FENCE_EV_RESERVED};

    nodes_nexus_event(c, n, &ev);
    for (uint32_t i = 0; i < FENCES_MAX; i++)
        if (n->fence_used[i])
            nodes_fence_event(c, n, i, &fence_ev);
    for (uint32_t to = 1; to <= c->node_count; to++) {
        struct message *m;

        if (to == n->number)
            continue;
        m = send(c, n, to);
        m->to_nexus = true;
        m->nexus_kind = NEXUS_EV_RESERVED;
    }
}

/* I4: who serves is the only one that has not released its claim and is not
 * fenced. */
static void check_serve(struct cluster *c, struct node *n)
{
    c->served++;
    for (uint32_t i = 0; i < c->node_count; i++) {
        struct node *other = &c->node[i];
        bool fenced = !other->alive;

        if (other == n || !takeover_may_grant(&other->takeover))
            continue;
        for (uint32_t k = 0; k < c->done_count; k++)
            fenced = fenced ||
                     lm_target_covers(&c->done[k], other->run, LM_TURN_ALL);
        if (!fenced)
            c->broken = "two serve, and neither is fenced (I4)";
    }
}

static void start_fence(struct cluster *c, struct node *n,
                        const struct lm_target *target)
{
    for (uint32_t i = 0; i < FENCES_MAX; i++) {
        const struct lm_target *at = &n->fence[i].args.target;

        if (n->fence_used[i] && at->foreign == target->foreign &&
            at->run.node == target->run.node && at->turn == target->turn &&
            at->run.incarnation == target->run.incarnation)
            return;
    }
    nodes_fence(c, n, *target);
}

static void carry_out_takeover(struct cluster *c, struct node *n,
                               const struct takeover_effect *fx);

void nodes_takeover_event(struct cluster *c, struct node *n,
                          const struct takeover_event *ev)
{
    struct takeover_effects *fx = malloc(sizeof *fx);

    ASSERT(fx);
    takeover_step(&n->takeover, ev, fx);
    for (uint32_t i = 0; i < fx->count; i++)
        carry_out_takeover(c, n, &fx->list[i]);
    free(fx);
}

static void carry_out_takeover_lun(struct cluster *c, struct node *n,
                                   const struct takeover_effect *fx)
{
    static const struct {
        enum takeover_effect_kind effect;
        enum command_kind command;
    } rows[] = {
        {TAKEOVER_DO_READ_BLOCKS,      COMMAND_READ_BLOCKS     },
        {TAKEOVER_DO_WRITE_CLAIM,      COMMAND_WRITE_BLOCK     },
        {TAKEOVER_DO_WRITE_RELEASE,    COMMAND_WRITE_BLOCK     },
        {TAKEOVER_DO_WRITE_DEAD,       COMMAND_WRITE_BLOCK     },
        {TAKEOVER_DO_READ_RESERVATION, COMMAND_READ_RESERVATION},
        {TAKEOVER_DO_RESERVE,          COMMAND_RESERVE         },
        {TAKEOVER_DO_READ_KEYS,        COMMAND_READ_KEYS       },
        {TAKEOVER_DO_WRITE_SUPER,      COMMAND_WRITE_SUPER     },
        {TAKEOVER_DO_OPEN,             COMMAND_OPEN            },
    };

    if (fx->kind == TAKEOVER_DO_WRITE_CLAIM)
        node_block_claim(&n->own, CLAIM_HELD, fx->epoch);
    else if (fx->kind == TAKEOVER_DO_WRITE_RELEASE)
        node_block_claim(&n->own, CLAIM_RELEASED, fx->epoch);
    else if (fx->kind == TAKEOVER_DO_WRITE_DEAD)
        node_block_name(&n->own, &fx->target, FENCING_DEAD);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].effect == fx->kind)
            ask_for_takeover(c, n, fx, rows[i].command);
}

static void carry_out_takeover(struct cluster *c, struct node *n,
                               const struct takeover_effect *fx)
{
    struct nexus_event conflict = {.kind = NEXUS_EV_CONFLICT};

    carry_out_takeover_lun(c, n, fx);
    if (fx->kind == TAKEOVER_DO_FENCE)
        start_fence(c, n, &fx->target);
    else if (fx->kind == TAKEOVER_DO_ANNOUNCE)
        say(c, n, fx, TAKEOVER_EV_ANNOUNCED);
    else if (fx->kind == TAKEOVER_DO_REPORT)
        say(c, n, fx, TAKEOVER_EV_REPORTED);
    else if (fx->kind == TAKEOVER_DO_CONFIRM)
        say(c, n, fx, TAKEOVER_EV_CONFIRM);
    else if (fx->kind == TAKEOVER_DO_ANSWER_CONFIRM)
        say(c, n, fx, TAKEOVER_EV_CONFIRMED);
    else if (fx->kind == TAKEOVER_DO_RESIGN)
        say(c, n, fx, TAKEOVER_EV_RESIGNED);
    else if (fx->kind == TAKEOVER_DO_CONSENT)
        consent(c, n, fx);
    else if (fx->kind == TAKEOVER_DO_TELL_PATH_FENCED)
        tell_path_fenced(c, n, fx);
    else if (fx->kind == TAKEOVER_DO_TELL_FENCED)
        tell_fenced(c, n, fx->run);
    else if (fx->kind == TAKEOVER_DO_TELL_RESERVED)
        tell_reserved(c, n);
    else if (fx->kind == TAKEOVER_DO_SERVE)
        check_serve(c, n);
    else if (fx->kind == TAKEOVER_DO_LOOK)
        nodes_nexus_event(c, n, &conflict);
    else if (fx->kind == TAKEOVER_DO_START_TIMER)
        n->timer = true;
    else if (fx->kind == TAKEOVER_DO_STOP_TIMER)
        n->timer = false;
    else if (fx->kind == TAKEOVER_DO_CLOSE) {
        n->closing = true;
        n->closing_ticket = fx->ticket;
    } else if (fx->kind == TAKEOVER_DO_ACCUSE) {
        c->accused |= UINT64_C(1) << (fx->run.node - 1);
        cluster_split(c, c->side);
    } else if (fx->kind == TAKEOVER_DO_ALARM &&
               n->takeover.state == TAKEOVER_AWAIT_DEAD) {
        struct message *m = send(c, n, n->number);

        m->kind = TAKEOVER_EV_CONFIRMED_DEAD;
        m->event.run = fx->run;
    }
}

/* -- what comes in --------------------------------------------------------- */

static void hear_for_nexus(struct cluster *c, struct node *n,
                           struct command *cmd)
{
    static const enum nexus_event_kind kinds[] = {
        [COMMAND_REGISTER] = NEXUS_EV_REGISTERED,
        [COMMAND_RECHECK] = NEXUS_EV_REGISTERED,
        [COMMAND_READ_BLOCKS] = NEXUS_EV_BLOCKS_READ,
        [COMMAND_WRITE_BLOCK] = NEXUS_EV_BLOCK_WRITTEN,
        [COMMAND_READ_KEYS] = NEXUS_EV_KEYS_READ,
        [COMMAND_READ_RESERVATION] = NEXUS_EV_RESERVATION_READ,
    };
    struct nexus_event ev = {
        .kind = kinds[cmd->kind],
        .ticket = cmd->ticket,
        .answer = cmd->answer,
        .blocks = cmd->blocks,
        .keys = {cmd->keys, cmd->key_count, cmd->key_count},
        .type = cmd->type,
    };

    if (cmd->kind == COMMAND_READ_BLOCKS && cmd->answer == LUN_OK &&
        !n->own_known) {
        n->own = cmd->blocks->node[n->number - 1];
        n->own_known = true;
    }
    nodes_nexus_event(c, n, &ev);
}

static void hear_for_fence(struct cluster *c, struct node *n,
                           struct command *cmd)
{
    static const enum fence_event_kind kinds[] = {
        [COMMAND_WRITE_BLOCK] = FENCE_EV_BLOCK_WRITTEN,
        [COMMAND_READ_KEYS] = FENCE_EV_KEYS_READ,
        [COMMAND_READ_RESERVATION] = FENCE_EV_RESERVATION_READ,
        [COMMAND_PREEMPT] = FENCE_EV_PREEMPTED,
        [COMMAND_PREEMPT_ABORT] = FENCE_EV_PREEMPTED,
        [COMMAND_RESET] = FENCE_EV_WAS_RESET,
        [COMMAND_FLUSH] = FENCE_EV_FLUSHED,
    };
    struct fence_event ev = {
        .kind = kinds[cmd->kind],
        .ticket = cmd->ticket,
        .answer = cmd->answer,
        .keys = {cmd->keys, cmd->key_count, cmd->key_count},
        .own_key = nexus_key(&n->nexus),
        .type = cmd->type,
    };

    if (n->fence_used[cmd->fence])
        nodes_fence_event(c, n, cmd->fence, &ev);
}

static void hear_for_takeover(struct cluster *c, struct node *n,
                              struct command *cmd)
{
    static const enum takeover_event_kind kinds[] = {
        [COMMAND_READ_BLOCKS] = TAKEOVER_EV_BLOCKS_READ,
        [COMMAND_WRITE_BLOCK] = TAKEOVER_EV_BLOCK_WRITTEN,
        [COMMAND_READ_KEYS] = TAKEOVER_EV_KEYS_READ,
        [COMMAND_READ_RESERVATION] = TAKEOVER_EV_RESERVATION_READ,
        [COMMAND_RESERVE] = TAKEOVER_EV_RESERVED,
        [COMMAND_WRITE_SUPER] = TAKEOVER_EV_SUPER_WRITTEN,
        [COMMAND_OPEN] = TAKEOVER_EV_OPENED,
    };
    struct takeover_event ev = {
        .kind = kinds[cmd->kind],
        .ticket = cmd->ticket,
        .answer = cmd->answer,
        .blocks = cmd->blocks,
        .super_epoch = cmd->super_epoch,
        .keys = {cmd->keys, cmd->key_count, cmd->key_count},
        .key = nexus_key(&n->nexus),
        .type = cmd->type,
    };

    nodes_takeover_event(c, n, &ev);
}

void nodes_hear(struct cluster *c, struct command *cmd)
{
    struct node *n = &c->node[cmd->node - 1];
    struct nexus_event conflict = {.kind = NEXUS_EV_CONFLICT};
    struct command answer = *cmd;

    cmd->state = COMMAND_FREE; /* its place may be used again meanwhile */
    cmd->blocks = NULL;
    if (n->alive && n->life == answer.life) {
        if (answer.answer == LUN_CONFLICT && answer.asker != ASKER_NEXUS)
            nodes_nexus_event(c, n, &conflict);
        if (answer.asker == ASKER_NEXUS)
            hear_for_nexus(c, n, &answer);
        else if (answer.asker == ASKER_FENCE)
            hear_for_fence(c, n, &answer);
        else if (answer.asker == ASKER_TAKEOVER)
            hear_for_takeover(c, n, &answer);
    }
    free(answer.blocks);
}

void nodes_deliver(struct cluster *c, struct message *m)
{
    struct node *n = &c->node[m->to - 1];
    struct message copy = *m;
    struct nexus_event ev = {.kind = copy.nexus_kind, .turn = copy.turn};
    struct fence_event reserved = {.kind = FENCE_EV_RESERVED};

    m->used = false;
    if (!n->alive || n->life != copy.to_life ||
        (copy.from != copy.to &&
         (!c->node[copy.from - 1].alive ||
          c->side[copy.from - 1] != c->side[copy.to - 1])))
        return;
    copy.event.kind = copy.kind;
    if (!copy.to_nexus) {
        nodes_takeover_event(c, n, &copy.event);
        return;
    }
    nodes_nexus_event(c, n, &ev);
    for (uint32_t i = 0; i < FENCES_MAX && copy.nexus_kind == NEXUS_EV_RESERVED;
         i++)
        if (n->fence_used[i])
            nodes_fence_event(c, n, i, &reserved);
}

void nodes_view(struct cluster *c, struct node *n)
{
    struct lm_view view = n->views[0];
    struct takeover_event ev = {.kind = TAKEOVER_EV_VIEW, .view = &view};
    struct fence_event quorum = {.kind = FENCE_EV_QUORUM, .yes = view.quorate};

    n->view_count--;
    for (uint32_t i = 0; i < n->view_count; i++)
        n->views[i] = n->views[i + 1];
    nodes_takeover_event(c, n, &ev);
    for (uint32_t i = 0; i < FENCES_MAX; i++)
        if (n->fence_used[i])
            nodes_fence_event(c, n, i, &quorum);
}

void nodes_attention(struct cluster *c, uint32_t but)
{
    struct nexus_event ev = {.kind = NEXUS_EV_ATTENTION};

    for (uint32_t i = 0; i < c->node_count; i++)
        if (c->node[i].alive && c->node[i].session && i + 1 != but)
            nodes_nexus_event(c, &c->node[i], &ev);
}
