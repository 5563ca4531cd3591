/* tests/unit/lockmgr/cluster.c - what could happen next, and which of it does.
 * Carries out nothing itself but faults.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/lockmgr/cluster.h"

#include <stdlib.h>
#include <string.h>

enum {
    CLUSTER_NUMBER = 7,
    WRITES_MAX = 3 /* of a node, in flight */
};

uint32_t cluster_random(struct cluster *c, uint32_t below)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return (uint32_t)(c->random >> 11) % below;
}

void cluster_init(struct cluster *c, uint32_t node_count, uint64_t seed)
{
    *c = (struct cluster){
        .random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
        .node_count = node_count,
        .lun = {.can_abort = seed % 2, .can_preempt = true}
    };
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        c->node[i].number = i + 1;
    for (uint32_t i = 1; i <= node_count; i++)
        cluster_start(c, i);
}

void cluster_fini(struct cluster *c)
{
    for (int i = 0; i < COMMANDS_MAX; i++)
        free(c->command[i].blocks);
}

/* -- who sees whom --------------------------------------------------------- */

static void push_view(struct node *n, const struct lm_view *view)
{
    if (n->view_count == VIEWS_MAX)
        n->view_count--;
    n->views[n->view_count++] = *view;
}

void cluster_split(struct cluster *c, const uint32_t side[CLUSTER_NODES])
{
    memmove(c->side, side, sizeof c->side);
    c->view_id++;
    for (uint32_t s = 0; s < c->node_count; s++) {
        struct lm_view view = {.id = c->view_id, .arbiter = true};
        uint32_t count = 0;

        for (uint32_t i = 0; i < c->node_count; i++) {
            struct node *n = &c->node[i];

            if (!n->alive || c->side[i] != s || c->accused >> i & 1)
                continue;
            view.members |= UINT64_C(1) << i;
            view.incarnation[i] = n->run.incarnation;
            count++;
        }
        view.paths = view.members;
        view.quorate = c->node_count == 2 || 2 * count > c->node_count;
        for (uint32_t i = 0; i < c->node_count; i++)
            if (c->node[i].alive && c->side[i] == s)
                push_view(&c->node[i], &view);
    }
}

void cluster_heal(struct cluster *c)
{
    uint32_t together[CLUSTER_NODES] = {0};

    /* Who was apart and lived on must not come back as if nothing was. */
    for (uint32_t i = 0; i < c->node_count; i++)
        if (c->side[i])
            c->accused |= UINT64_C(1) << i;
    cluster_split(c, together);
}

void cluster_start(struct cluster *c, uint32_t node)
{
    struct node *n = &c->node[node - 1];
    struct lm_run run = {node, n->life + 1};
    struct nexus_args nexus_args = {.me = run,
                                    .cluster = CLUSTER_NUMBER,
                                    .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS};
    struct takeover_args args = {
        .me = run,
        .volume = {1, 2, 3},
        .cluster = CLUSTER_NUMBER,
        .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS
    };

    *n = (struct node){.alive = true,
                       .number = node,
                       .life = (uint32_t)run.incarnation,
                       .run = run};
    nexus_init(&n->nexus, &nexus_args);
    takeover_init(&n->takeover, &args);
    c->accused &= ~(UINT64_C(1) << (node - 1));
    c->side[node - 1] = 0;
    cluster_split(c, c->side);
}

void cluster_kill(struct cluster *c, uint32_t node)
{
    c->node[node - 1].alive = false;
    c->node[node - 1].session = 0;
    cluster_split(c, c->side);
}

/* -- faults ---------------------------------------------------------------- */

void cluster_drop_session(struct cluster *c, uint32_t node)
{
    struct node *n = &c->node[node - 1];
    struct nexus_event lost = {.kind = NEXUS_EV_LOST};

    if (!n->alive || !n->session)
        return;
    n->session = 0;
    nodes_nexus_event(c, n, &lost);
}

void cluster_restart_target(struct cluster *c)
{
    memset(c->lun.reg, 0, sizeof c->lun.reg);
    c->lun.type = LM_RESERVATION_NONE;
    target_abort(c, 0);
    nodes_attention(c, 0);
}

uint32_t cluster_server(const struct cluster *c)
{
    uint32_t server = 0;

    for (uint32_t i = 0; i < c->node_count; i++)
        if (c->node[i].alive && takeover_may_grant(&c->node[i].takeover))
            server = i + 1;
    return server;
}

void cluster_path_fence(struct cluster *c, uint32_t node)
{
    uint32_t server = cluster_server(c);
    struct node *n = &c->node[node - 1];
    struct lm_target target = {.run = n->run, .turn = n->nexus.args.turn};

    if (server && server != node && n->alive &&
        takeover_knows(&c->node[server - 1].takeover, n->run))
        nodes_fence(c, &c->node[server - 1], target);
}

void cluster_cut(struct cluster *c, uint32_t node)
{
    struct nexus_event retire = {.kind = NEXUS_EV_RETIRE};
    struct node *n = &c->node[node - 1];

    if (!n->alive || !nexus_may_carry(&n->nexus))
        return;
    cluster_drop_session(c, node);
    nodes_nexus_event(c, n, &retire);
}

static void split_at_random(struct cluster *c)
{
    uint32_t side[CLUSTER_NODES] = {0};

    for (uint32_t i = 0; i < c->node_count; i++)
        side[i] = cluster_random(c, 2);
    cluster_split(c, side);
}

static void do_fault(struct cluster *c)
{
    uint32_t node = cluster_random(c, c->node_count) + 1;
    struct node *n = &c->node[node - 1];
    struct takeover_event move = {.kind = TAKEOVER_EV_MOVE, .to = node};
    uint32_t server = cluster_server(c);

    switch (cluster_random(c, 16)) {
    case 0:
    case 1:
        if (n->alive)
            cluster_kill(c, node);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        if (cluster_random(c, 2))
            cluster_cut(c, node);
        else
            cluster_drop_session(c, node);
        break;
    case 6: split_at_random(c); break;
    case 7: cluster_heal(c); break;
    case 8:
    case 9: cluster_path_fence(c, node); break;
    case 10:
        if (cluster_random(c, 4) == 0)
            cluster_restart_target(c);
        break;
    case 11:
    case 12:
        if (server)
            nodes_takeover_event(c, &c->node[server - 1], &move);
        break;
    case 13:
    case 14:
    case 15:
        if (!n->alive)
            cluster_start(c, node);
        break;
    }
}

/* -- steps ----------------------------------------------------------------- */

static bool is_at_target(const struct command *cmd)
{
    return cmd->state == COMMAND_SENT || cmd->state == COMMAND_RUNNING ||
           cmd->state == COMMAND_RUN;
}

static bool has_write_out(const struct cluster *c, const struct node *n,
                          enum command_kind kind)
{
    for (int i = 0; i < COMMANDS_MAX; i++)
        if (c->command[i].kind == kind && c->command[i].node == n->number &&
            c->command[i].life == n->life &&
            c->command[i].state == COMMAND_SENT)
            return true;
    return false;
}

static bool has_anything_out(const struct cluster *c, const struct node *n)
{
    for (int i = 0; i < COMMANDS_MAX; i++)
        if (c->command[i].session == n->session &&
            (c->command[i].state == COMMAND_SENT ||
             c->command[i].state == COMMAND_RUNNING))
            return true;
    return false;
}

static bool send_command(struct cluster *c, struct command *cmd)
{
    struct node *n = &c->node[cmd->node - 1];
    bool open = n->nexus.state == NEXUS_OPEN;
    bool wants_open =
        cmd->kind == COMMAND_WRITE_SUPER || cmd->kind == COMMAND_OPEN;

    if (!n->alive || n->life != cmd->life || cmd->asker == ASKER_NOBODY) {
        cmd->state = COMMAND_FREE;
        return true;
    }
    if (cmd->asker == ASKER_NEXUS &&
        (!n->session || cmd->ticket != n->nexus.ticket)) {
        cmd->state = COMMAND_FREE;
        return true;
    }
    if (cmd->asker != ASKER_NEXUS &&
        (!nexus_is_admitted(&n->nexus) || (wants_open && !open)))
        return false;
    if (cmd->kind == COMMAND_REGISTER && has_anything_out(c, n))
        return false;
    if (cmd->kind == COMMAND_WRITE_BLOCK) {
        if (has_write_out(c, n, COMMAND_WRITE_BLOCK))
            return false;
        cmd->block = n->own;
    }
    cmd->session = n->session;
    cmd->turn = n->nexus.args.turn;
    cmd->state = COMMAND_SENT;
    return true;
}

static void hear_command(struct cluster *c, struct command *cmd)
{
    struct node *n = &c->node[cmd->node - 1];
    bool lost = n->alive && n->life == cmd->life && n->session != cmd->session;

    if (lost && (cmd->asker == ASKER_NEXUS || cmd->asker == ASKER_NOBODY)) {
        cmd->state = COMMAND_FREE;
    } else if (lost && cluster_random(c, 4)) {
        cmd->state = COMMAND_HELD;
    } else {
        if (lost)
            cmd->answer = LUN_GONE;
        nodes_hear(c, cmd);
    }
}

static bool step_command(struct cluster *c)
{
    uint32_t from = cluster_random(c, COMMANDS_MAX);

    for (uint32_t i = 0; i < COMMANDS_MAX; i++) {
        struct command *cmd = &c->command[(from + i) % COMMANDS_MAX];

        if (cmd->state == COMMAND_HELD && send_command(c, cmd))
            return true;
        if (cmd->state == COMMAND_SENT) {
            target_run(c, cmd);
            return true;
        }
        if (cmd->state == COMMAND_RUNNING) {
            target_land(c, cmd);
            return true;
        }
        if (cmd->state == COMMAND_RUN) {
            hear_command(c, cmd);
            return true;
        }
    }
    return false;
}

/* What was sent before it between the same two. */
static struct message *first_like(struct cluster *c, struct message *m)
{
    for (int i = 0; i < MESSAGES_MAX; i++) {
        struct message *other = &c->message[i];

        if (other->used && other->from == m->from && other->to == m->to &&
            other->number < m->number)
            m = other;
    }
    return m;
}

static bool step_message(struct cluster *c)
{
    uint32_t from = cluster_random(c, MESSAGES_MAX);

    for (uint32_t i = 0; i < MESSAGES_MAX; i++) {
        struct message *m = &c->message[(from + i) % MESSAGES_MAX];

        if (!m->used)
            continue;
        nodes_deliver(c, first_like(c, m));
        return true;
    }
    return false;
}

static void log_in(struct cluster *c, struct node *n)
{
    struct nexus_event up = {.kind = NEXUS_EV_UP};

    target_abort(c, 0); /* I13: drained before anything else */
    nodes_attention(c, n->number);
    n->session = ++c->sessions;
    nodes_nexus_event(c, n, &up);
}

static bool try_to_close(struct cluster *c, struct node *n)
{
    struct takeover_event closed = {.kind = TAKEOVER_EV_CLOSED,
                                    .ticket = n->closing_ticket};

    for (int i = 0; i < COMMANDS_MAX; i++) {
        struct command *cmd = &c->command[i];

        if (cmd->node != n->number || cmd->life != n->life ||
            (cmd->kind != COMMAND_META && cmd->kind != COMMAND_OPEN &&
             cmd->kind != COMMAND_WRITE_SUPER))
            continue;
        if (is_at_target(cmd))
            return false;
        cmd->state = COMMAND_FREE;
    }
    n->closing = false;
    nodes_takeover_event(c, n, &closed);
    return true;
}

static bool step_node(struct cluster *c, struct node *n)
{
    struct nexus_event repaired = {.kind = NEXUS_EV_REPAIRED};
    struct takeover_event ask = {.kind = TAKEOVER_EV_CONSENT_ASKED,
                                 .run = n->run,
                                 .turn = n->nexus.args.turn};

    if (!n->alive)
        return false;
    if (n->view_count) {
        nodes_view(c, n);
    } else if (n->nexus.state == NEXUS_FENCED ||
               c->accused >> (n->number - 1) & 1) {
        cluster_kill(c, n->number);
        cluster_start(c, n->number);
    } else if (!n->session) {
        log_in(c, n);
    } else if (n->nexus.state == NEXUS_DOWN) {
        cluster_drop_session(c, n->number);
    } else if (n->closing) {
        return try_to_close(c, n);
    } else if (n->nexus.state == NEXUS_RETIRED) {
        nodes_nexus_event(c, n, &repaired);
    } else if (n->nexus.state == NEXUS_ASKING) {
        uint32_t server = cluster_server(c);

        if (server && c->side[server - 1] == c->side[n->number - 1])
            nodes_takeover_event(c, &c->node[server - 1], &ask);
        nodes_takeover_event(c, n, &ask);
        return n->nexus.state != NEXUS_ASKING;
    } else {
        return false;
    }
    return true;
}

static void write_something(struct cluster *c, struct node *n)
{
    bool meta = cluster_random(c, 2) && n->takeover.opened &&
                n->takeover.state >= TAKEOVER_REPORTING &&
                n->takeover.state < TAKEOVER_CLOSING;
    uint32_t out = 0;
    struct command *cmd;

    for (int i = 0; i < COMMANDS_MAX; i++)
        if (is_at_target(&c->command[i]) && c->command[i].node == n->number)
            out++;
    if (!n->alive || !nexus_may_carry(&n->nexus) || out > WRITES_MAX)
        return;
    cmd = nodes_command(c, n, meta ? COMMAND_META : COMMAND_DATA);
    cmd->state = COMMAND_SENT;
    cmd->session = n->session;
    cmd->epoch = n->takeover.epoch;
    cmd->turn = n->nexus.args.turn;
}

static void do_timer(struct cluster *c, struct node *n)
{
    struct takeover_event suspect = {.kind = TAKEOVER_EV_SUSPECT};

    if (n->alive && n->timer)
        nodes_takeover_event(c, n, &suspect);
}

bool cluster_step(struct cluster *c)
{
    struct node *n = &c->node[cluster_random(c, c->node_count)];
    uint32_t dice = cluster_random(c, 1000);

    if (!c->quiet && dice < 15)
        do_fault(c);
    else if (!c->quiet && dice < 18)
        do_timer(c, n);
    else if (dice < 200)
        write_something(c, n);
    else if (dice < 600 && step_command(c))
        return true;
    else if (dice < 800 && step_message(c))
        return true;
    else if (step_node(c, n))
        return true;
    else if (!step_command(c) && !step_message(c)) {
        for (uint32_t i = 0; i < c->node_count; i++)
            if (step_node(c, &c->node[i]))
                return true;
        return false;
    }
    return true;
}
