/* tests/sim/redirect.c - writes of a host without a path to the LUN, by way of
 * the coordinator; and when a path counts as lost and as back.
 * Stands in for fs/redirect.c and lunard/guard_path.c: runs a write once, under
 * its author's name; a resend joins it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/node.h"

/* A write of another, at the coordinator.  The last of each disk stays. */
struct carried {
    struct list node; /* volume.carried */
    struct node_message what;
    uint64_t epoch;
    bool out, done;
};

/* -- the author ------------------------------------------------------------ */

static void send_away(struct work_write *w)
{
    struct volume *v = w->volume;
    uint32_t to = v->takeover.coordinator.node;
    struct node_message m = {
        .kind = MSG_WRITE,
        .run = v->node->me,
        .epoch = v->takeover.closed,
        .disk = w->disk,
        .block = w->block,
        .id = w->id,
        .version = w->version,
    };

    m.from = v->node->me;
    if (to == v->node->me.node)
        redirect_message(v, &m);
    else if (to)
        node_send(v, to, m);
}

void redirect_write(struct work_write *w)
{
    list_push_back(&w->volume->away, &w->node);
    send_away(w);
}

static void hear_written(struct volume *v, const struct node_message *m)
{
    list_for_each (node, &v->away) {
        struct work_write *w = container_of(node, struct work_write, node);

        if (w->disk != m->disk || w->id != m->id)
            continue;
        list_remove(node);
        work_answered(w);
        return;
    }
}

/* -- the coordinator ------------------------------------------------------- */

static struct carried *last_of(struct volume *v, const struct node_message *m)
{
    list_for_each (node, &v->carried) {
        struct carried *c = container_of(node, struct carried, node);

        if (lm_run_eq(c->what.run, m->run) && c->what.disk == m->disk)
            return c;
    }
    return NULL;
}

static void answer(struct volume *v, const struct carried *c)
{
    struct node_message m = {
        .kind = MSG_WRITTEN, .disk = c->what.disk, .id = c->what.id};

    if (lm_run_eq(c->what.run, v->node->me))
        hear_written(v, &m);
    else
        node_send(v, c->what.run.node, m);
}

static bool is_refused(const struct volume *v, struct lm_run run)
{
    return run.incarnation <= v->refused[run.node];
}

/* No answer, or a conflict: when the nexus is admitted anew (I13). */
static void written(struct ask *a, enum lun_answer answer_is)
{
    struct carried *c = a->arg;
    struct volume *v = a->volume;

    c->out = false;
    if (answer_is == LUN_CONFLICT)
        lun_look(v);
    if (v->node->over)
        return;
    if (answer_is == LUN_OK) {
        c->done = true;
        v->carried_out--;
        answer(v, c);
    } else if (is_refused(v, c->what.run)) {
        list_remove(&c->node);
        v->carried_out--;
    }
    shell_idle(v);
}

static void carry(struct volume *v, struct carried *c)
{
    struct ask *a = lun_ask_new(v, SIM_WRITE, 0, written, c);

    c->out = true;
    a->command.block = c->what.block;
    a->command.count = 1;
    a->command.bytes = &c->what.version;
    a->command.length = sizeof c->what.version;
    a->command.author.id = c->what.id;
    a->command.author.version = c->what.version;
    lun_ask(v, a);
}

static void hear_write(struct volume *v, const struct node_message *m)
{
    struct carried *c = last_of(v, m);

    if (!v->open || v->closing || !takeover_may_grant(&v->takeover) ||
        m->epoch != v->takeover.epoch ||
        !takeover_knows(&v->takeover, m->run) || is_refused(v, m->run))
        return; /* it asks again */
    if (c && c->epoch == m->epoch && m->id <= c->what.id) {
        if (c->done && m->id == c->what.id)
            answer(v, c);
        return;
    }
    if (c)
        list_remove(&c->node);
    c = sim_alloc(v->node->host->sim, sizeof *c);
    c->what = *m;
    c->epoch = m->epoch;
    list_push_back(&v->carried, &c->node);
    v->carried_out++;
    carry(v, c);
}

void redirect_message(struct volume *v, const struct node_message *m)
{
    if (m->kind == MSG_WRITE)
        hear_write(v, m);
    else
        hear_written(v, m);
}

void redirect_open(struct volume *v)
{
    list_for_each (node, &v->carried) {
        struct carried *c = container_of(node, struct carried, node);

        if (!c->out && !c->done)
            carry(v, c);
    }
}

uint32_t redirect_drop(struct volume *v)
{
    uint32_t dropped = 0;

    list_for_each (node, &v->carried) {
        struct carried *c = container_of(node, struct carried, node);

        if (c->out)
            continue;
        dropped += !c->done;
        list_remove(node);
    }
    return dropped;
}

bool redirect_refuse(struct volume *v, struct lm_run run)
{
    bool out = false;

    v->refused[run.node] = max_u64(v->refused[run.node], run.incarnation);
    list_for_each (node, &v->carried) {
        struct carried *c = container_of(node, struct carried, node);

        if (!is_refused(v, c->what.run))
            continue;
        if (c->out) {
            out = true;
        } else {
            v->carried_out -= !c->done;
            list_remove(node);
        }
    }
    return !out;
}

/* -- the path -------------------------------------------------------------- */

static bool is_silent(const struct volume *v, uint64_t ms)
{
    return sim_now(v->node->host->sim) >= v->heard_ns + ms * SIM_MS;
}

bool redirect_has_path(const struct volume *v)
{
    return v->path && v->admitted && v->nexus.state != NEXUS_RETIRED &&
           !is_silent(v, NODE_IO_SUSPECT_MS);
}

void redirect_ask_fence(struct volume *v)
{
    node_send_all(v, (struct node_message){.kind = MSG_FENCE_ASKED,
                                           .run = v->node->me,
                                           .turn = v->nexus.args.turn});
}

/* Others have a path, and know that this host has none. */
static bool is_cut_off(const struct volume *v)
{
    uint64_t me = UINT64_C(1) << (v->node->me.node - 1);
    enum nexus_state state = v->nexus.state;

    return v->admitted && v->view.quorate && v->view.paths &&
           !(v->view.paths & me) && !v->told_path &&
           sim_now(v->node->host->sim) >= v->told_ns + NODE_HINT_MS * SIM_MS &&
           is_silent(v, NODE_IO_SUSPECT_MS) && !v->redirected &&
           state != NEXUS_ASKING && state != NEXUS_RETIRED;
}

static bool is_back(const struct volume *v)
{
    return v->nexus.state == NEXUS_RETIRED && v->nexus.gave_up_key &&
           v->drained && sim_session_is_up(v->session) &&
           sim_now(v->node->host->sim) >= v->up_ns + NODE_PROOF_MS * SIM_MS;
}

void redirect_beat(struct volume *v)
{
    if (v->drained && sim_session_is_up(v->session) && !v->in_flight)
        v->heard_ns = sim_now(v->node->host->sim);
    if (v->admitted && redirect_has_path(v) != v->told_path)
        node_path(v);
    if (is_cut_off(v))
        lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_RETIRE});
    else if (is_back(v))
        lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_REPAIRED});
    else if (nexus_wants_fence(&v->nexus))
        redirect_ask_fence(v);
    if (v->node->over)
        return;
    list_for_each (node, &v->away)
        send_away(container_of(node, struct work_write, node));
}

void redirect_start(struct volume *v)
{
    list_init(&v->away);
    list_init(&v->carried);
    v->heard_ns = sim_now(v->node->host->sim);
}
