/* tests/sim/node.c - runs of Lunar on hosts: views, messages, ends.
 * Stands in for membership (lockmgr/member_core.h), shorter: a view is what cpg
 * lists, without whom somebody with quorum accused.  When somebody has joined,
 * all say first who is out as far as they know; until all have spoken nobody
 * comes into the view.  Time may only start an accusation (I10).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/node.h"

#include <inttypes.h>

static const char *const message_names[] = {
    "ANNOUNCED",     "RESIGNED",    "REPORTED",    "CONFIRM",     "CONFIRMED",
    "CONSENT ASKED", "CONSENTED",   "RESERVED",    "ARBITER WON", "UNRESERVED",
    "FENCED",        "FENCE ASKED", "PATH FENCED", "WRITE",       "WRITTEN",
    "GRANT",         "BEAT",        "TABLE",       "ACCUSED",     "PATH",
};

struct node *world_node(struct sim *s, uint32_t host)
{
    struct node *n = s->host[host].up ? s->host[host].state : NULL;

    return n && !n->over ? n : NULL;
}

static uint64_t bit(uint32_t host)
{
    return UINT64_C(1) << (host - 1);
}

bool world_ends(const struct sim *s, uint32_t host)
{
    const struct node *n = s->host[host].state;

    return n && n->over;
}

/* -- messages -------------------------------------------------------------- */

static void sign(struct volume *v, struct node_message *m)
{
    m->lun = v->lun;
    m->from = v->node->me;
}

void node_send(struct volume *v, uint32_t to, struct node_message m)
{
    struct sim_host *h = v->node->host;

    sign(v, &m);
    if (m.kind <= MSG_LAST_REPEATED)
        v->sent[to][m.kind] = m;
    sim_trace(h->sim, h->number, "lun %u: sends %s to h%u", v->lun,
              message_names[m.kind], to);
    sim_send(h, to, &m, sizeof m);
}

void node_send_all(struct volume *v, struct node_message m)
{
    for (uint32_t to = 1; to <= v->node->host->sim->host_count; to++)
        if (to != v->node->me.node)
            node_send(v, to, m);
}

static void node_cpg(struct node *n, struct node_message m)
{
    m.from = n->me;
    m.base = n->base;
    sim_cpg_send(n->host, &m, sizeof m);
}

void node_accuse(struct node *n, struct lm_run run)
{
    if (n->accused[run.node] >= run.incarnation)
        return;
    sim_trace(n->host->sim, n->host->number,
              "accuses h%u, incarnation %" PRIu64, run.node, run.incarnation);
    node_cpg(n, (struct node_message){.kind = MSG_ACCUSED, .run = run});
}

void node_declare_fenced(struct node *n, struct lm_run run)
{
    if (n->accused[run.node] < run.incarnation)
        node_cpg(n, (struct node_message){.kind = MSG_FENCED, .run = run});
}

void node_path(struct volume *v)
{
    v->told_path = redirect_has_path(v);
    v->told_ns = sim_now(v->node->host->sim);
    node_cpg(v->node, (struct node_message){.kind = MSG_PATH,
                                            .lun = v->lun,
                                            .yes = v->told_path,
                                            .opened = v->path});
}

static void receive(struct sim_host *h, uint32_t from, const void *bytes,
                    size_t count)
{
    struct node *n = h->state;
    struct node_message m;

    (void)from;
    if (n->over)
        return;
    ASSERT(count == sizeof m);
    memcpy(&m, bytes, sizeof m);
    sim_trace(h->sim, h->number, "lun %u: %s of h%u", m.lun,
              message_names[m.kind], m.from.node);
    if (m.kind == MSG_GRANT)
        work_granted(&n->volume[m.lun], &m);
    else
        shell_message(&n->volume[m.lun], &m);
}

/* -- the view -------------------------------------------------------------- */

static int arbiter_of(struct node *n)
{
    struct takeover_volume volumes[SIM_LUNS_MAX] = {0};
    uint32_t luns = 0;

    for (; luns < SIM_LUNS_MAX && n->host->sim->target[luns]; luns++) {
        volumes[luns].uuid[15] = (uint8_t)(luns + 1);
        volumes[luns].paths = n->full_paths[luns];
    }
    return takeover_arbiter(volumes, luns, n->full_members);
}

/* Is there somebody who has to speak yet? */
static bool is_pending(const struct node *n)
{
    return n->cpg.members >> 1 & ~n->heard & ~n->silent;
}

static uint64_t members_of(const struct node *n)
{
    uint64_t members = 0;

    for (uint32_t h = 1; h <= n->host->sim->host_count; h++) {
        bool was_in = n->view.members & bit(h) &&
                      n->view.incarnation[h - 1] == n->cpg.run[h];

        if ((n->cpg.members >> h & 1) && n->cpg.run[h] > n->accused[h] &&
            (is_pending(n) ? was_in : !(n->silent & bit(h))))
            members |= bit(h);
    }
    return members;
}

/* Who was in and is not, or is another run. */
static void note_missing(struct node *n, uint64_t members)
{
    for (uint32_t h = 1; h <= n->host->sim->host_count; h++)
        if ((n->view.members & bit(h)) &&
            (!(members & bit(h)) ||
             n->cpg.run[h] != n->view.incarnation[h - 1]))
            n->missing[h] = n->view.incarnation[h - 1];
    for (uint32_t h = 1; h <= n->host->sim->host_count; h++)
        if ((members & bit(h)) && n->missing[h] == n->cpg.run[h])
            n->missing[h] = 0; /* back as it was: nobody had decided */
}

/* A node uses LUNs from when it is in a view with quorum. */
static void come_in(struct node *n)
{
    for (uint32_t lun = 0; lun < SIM_LUNS_MAX && !n->was_in; lun++)
        if (n->host->sim->target[lun])
            lun_login(&n->volume[lun]);
    n->was_in = true;
}

/* What cpg, quorum or an accusation changed: the same for all who heard it. */
static void new_view(struct node *n)
{
    uint32_t hosts = n->host->sim->host_count;
    uint64_t members = members_of(n);

    if (n->accused[n->me.node] >= n->me.incarnation)
        node_end(n, "out of the view");
    if (n->over || !((members | n->view.members) & bit(n->me.node)))
        return; /* not in it yet */
    note_missing(n, members);
    n->primary = n->quorate && (members & bit(n->me.node)) &&
                 (n->primary || !is_pending(n));
    n->view.id = n->host->place;
    n->view.members = members;
    n->view.quorate = n->primary;
    sim_trace(n->host->sim, n->me.node,
              "view %" PRIu64 ": members %#" PRIx64 "%s", n->view.id,
              members << 1, n->view.quorate ? ", quorate" : "");
    for (uint32_t h = 1; h <= hosts; h++)
        n->view.incarnation[h - 1] = n->cpg.run[h];
    if (n->view.quorate)
        come_in(n);
    if (members == (bit(hosts + 1) - 1)) {
        n->full_members = members;
        for (uint32_t lun = 0; lun < SIM_LUNS_MAX; lun++)
            n->full_paths[lun] = members & ~n->blind[lun];
    }
    for (uint32_t lun = 0; lun < SIM_LUNS_MAX && !n->over; lun++) {
        struct volume *v = &n->volume[lun];

        if (!n->host->sim->target[lun])
            break;
        n->view.arbiter = arbiter_of(n) < 0 || arbiter_of(n) == (int)lun;
        n->view.paths = n->paths[lun] & members;
        v->view = n->view;
        fence_tell(v, FENCE_EV_QUORUM);
        if (!n->over)
            shell_takeover(v, &(struct takeover_event){.kind = TAKEOVER_EV_VIEW,
                                                       .view = &v->view});
    }
}

/* All say again what they know of who is out. */
static void send_table(struct node *n)
{
    struct node_message m = {.kind = MSG_TABLE};

    n->base = n->host->place;
    n->heard = n->silent = 0;
    memcpy(m.accused, n->accused, sizeof m.accused);
    node_cpg(n, m);
}

static void table(struct node *n, const struct node_message *m)
{
    for (uint32_t i = 1; i <= n->host->sim->host_count; i++)
        n->accused[i] = max_u64(n->accused[i], m->accused[i]);
    n->heard |= bit(m->from.node);
    n->silent &= ~bit(m->from.node);
    new_view(n);
}

static void confchg(struct sim_host *h, const struct sim_view *view)
{
    struct node *n = h->state;
    uint32_t joined = view->joined;

    if (n->over)
        return;
    n->cpg = *view;
    for (uint32_t i = 1; i <= h->sim->host_count; i++)
        if (joined >> i & 1) {
            n->heard_ns[i] = sim_now(h->sim);
            for (uint32_t lun = 0; lun < SIM_LUNS_MAX; lun++)
                if (i != n->me.node)
                    n->paths[lun] &= ~bit(i);
        }
    if (joined)
        send_table(n);
    for (uint32_t lun = 0; lun < SIM_LUNS_MAX && joined; lun++)
        if (h->sim->target[lun])
            node_path(&n->volume[lun]);
    new_view(n);
}

static void quorum(struct sim_host *h, bool quorate, bool tie)
{
    struct node *n = h->state;

    if (n->over)
        return;
    n->quorate = quorate;
    n->view.tie = tie;
    if (n->cpg.members)
        new_view(n);
}

static void put_out(struct node *n, struct lm_run run)
{
    n->accused[run.node] = max_u64(n->accused[run.node], run.incarnation);
    new_view(n);
}

/* Who has not spoken is not waited for; to be out somebody with quorum must say
 * so, when all know the same. */
static void accused(struct node *n, const struct node_message *m)
{
    if (!(n->heard & bit(m->run.node))) {
        n->silent |= bit(m->run.node);
        new_view(n);
        return;
    }
    /* Of two that accuse each other the first in the order counts. */
    if (is_pending(n) || !n->quorate ||
        n->accused[m->from.node] >= m->from.incarnation)
        return;
    sim_trace(n->host->sim, n->host->number, "h%u accused h%u: out of the view",
              m->from.node, m->run.node);
    put_out(n, m->run);
}

static void deliver(struct sim_host *h, uint32_t from, const void *bytes,
                    size_t count)
{
    struct node *n = h->state;
    struct node_message m;

    if (n->over)
        return;
    ASSERT(count == sizeof m);
    memcpy(&m, bytes, sizeof m);
    n->heard_ns[from] = sim_now(h->sim);
    if (m.kind == MSG_FENCED) {
        put_out(n, m.run);
    } else if (m.kind == MSG_ACCUSED && m.base == n->base) {
        accused(n, &m);
    } else if (m.kind == MSG_TABLE && m.base == n->base) {
        table(n, &m);
    } else if (m.kind == MSG_PATH) {
        n->paths[m.lun] &= ~bit(from);
        n->blind[m.lun] |= bit(from);
        if (m.yes)
            n->paths[m.lun] |= bit(from);
        if (m.opened)
            n->blind[m.lun] &= ~bit(from);
        new_view(n);
    }
}

/* -- time: it may start an accusation -------------------------------------- */

static void volume_beat(struct volume *v)
{
    shell_repeat(v);
    lun_beat(v);
    redirect_beat(v);
    fence_beat(v);
    shell_beat(v);
    work_beat(v);
}

static void fire_beat(struct sim_event *event)
{
    struct node *n = container_of(event, struct node, beat);
    struct sim *s = event->sim;

    if (n->over)
        return;
    node_cpg(n, (struct node_message){.kind = MSG_BEAT});
    for (uint32_t h = 1; h <= s->host_count; h++) {
        struct lm_run run = {h, n->cpg.run[h]};
        uint64_t silent_ns = sim_now(s) - n->heard_ns[h];

        if (h != n->me.node && (n->cpg.members >> h & 1) &&
            silent_ns > NODE_SUSPECT_MS * SIM_MS)
            node_accuse(n, run);
    }
    for (uint32_t lun = 0; lun < SIM_LUNS_MAX && s->target[lun]; lun++)
        volume_beat(&n->volume[lun]);
    n->lost = 0;
    if (!n->over)
        sim_post(s, &n->beat, NODE_BEAT_MS * SIM_MS, n->me.node, fire_beat);
}

/* A host that comes back to life has a clock that jumped: what it has not
 * heard meanwhile is in its queue, so it listens first. */
static void fire_end(struct sim_event *event)
{
    struct node *n = container_of(event, struct node, end);

    if (event->sim->host[n->me.node].state == n)
        sim_host_start(&event->sim->host[n->me.node]);
}

void node_end(struct node *n, const char *why)
{
    struct sim *s = n->host->sim;

    if (n->over)
        return;
    sim_trace(s, n->me.node, "incarnation %" PRIu64 " ends: %s",
              n->me.incarnation, why);
    n->over = true;
    sim_host_crash(n->host, false);
    sim_post(s, &n->end, sim_between(s, 100 * SIM_MS, SIM_S), 0, fire_end);
}

void world_path(struct sim *s, uint32_t lun, uint32_t host, bool there)
{
    struct node *n = world_node(s, host);

    sim_target_path(s, lun, host, there);
    if (n) {
        n->volume[lun].path = there;
        node_path(&n->volume[lun]);
    }
}

/* -- a run begins ---------------------------------------------------------- */

static void start(struct sim_host *h)
{
    struct sim *s = h->sim;
    struct node *n = sim_alloc(s, sizeof *n);

    h->state = n;
    n->host = h;
    n->me = (struct lm_run){h->number, h->run};
    for (uint32_t i = 1; i <= s->host_count; i++)
        n->heard_ns[i] = sim_now(s);
    for (uint32_t lun = 0; lun < SIM_LUNS_MAX && s->target[lun]; lun++) {
        struct volume *v = &n->volume[lun];

        v->node = n;
        v->lun = lun;
        v->path = true;
        n->full_paths[lun] = bit(s->host_count + 1) - 1;
        shell_start(v);
        lun_start(v);
        work_start(v);
    }
    n->full_members = bit(s->host_count + 1) - 1;
    if (work_options(s)->eager)
        come_in(n);
    sim_cpg_join(h);
    sim_post(s, &n->beat, sim_between(s, 1, NODE_BEAT_MS * SIM_MS), h->number,
             fire_beat);
}

static const struct sim_host_ops node_ops = {
    .start = start,
    .receive = receive,
    .lost = shell_lost,
    .confchg = confchg,
    .deliver = deliver,
    .quorum = quorum,
};

void world_init(struct sim *s, const struct world_options *o)
{
    sim_hosts_init(s, o->hosts, &node_ops);
    sim_net_init(s, &o->net);
    sim_cpg_init(s, &o->cpg);
    for (uint32_t lun = 0; lun < o->luns; lun++)
        sim_target_init(s, lun, &o->target);
    work_init(s, o);
    for (uint32_t h = 1; h <= o->hosts; h++)
        sim_host_start(&s->host[h]);
}

/* -- the end of all faults ------------------------------------------------- */

static void end_faults(struct sim *s)
{
    sim_trace(s, 0, "faults end");
    sim_net_heal_all(s);
    for (uint32_t lun = 0; lun < SIM_LUNS_MAX && s->target[lun]; lun++) {
        sim_target_let_go(s, lun);
        for (uint32_t h = 1; h <= s->host_count; h++) {
            sim_target_hang(s, lun, h, false);
            world_path(s, lun, h, true);
        }
    }
    for (uint32_t h = 1; h <= s->host_count; h++) {
        sim_host_continue(&s->host[h]);
        if (!s->host[h].up && !world_ends(s, h))
            sim_host_start(&s->host[h]);
    }
}

void world_expect(struct sim *s, uint64_t members, uint64_t limit_ns)
{
    uint64_t begin = sim_now(s);
    const char *why = "";

    while (sim_now(s) < begin + limit_ns && !s->verdict.failed) {
        sim_run_until(s, sim_now(s) + SIM_S);
        if (work_gets_on(s, members, begin, &why))
            return;
    }
    sim_fail(s, "progress", "%.0f s later: %s", (double)limit_ns / 1e9, why);
}

void world_serves(struct sim *s, uint32_t host, uint64_t limit_ns)
{
    uint64_t begin = sim_now(s);
    const char *why = "";

    while (sim_now(s) < begin + limit_ns && !s->verdict.failed) {
        struct node *n = world_node(s, host);

        if (!n || !takeover_may_grant(&n->volume[0].takeover))
            why = "who alone has a path does not serve";
        else
            why = work_unwritten(s, 0, begin);
        if (!why)
            return;
        sim_run_until(s, sim_now(s) + SIM_S);
    }
    sim_fail(s, "progress", "%.0f s later: h%u: %s", (double)limit_ns / 1e9,
             host, why);
}

void world_settle(struct sim *s, uint64_t limit_ns)
{
    if (s->verdict.failed)
        return;
    end_faults(s);
    world_expect(s, bit(s->host_count + 1) - 1, limit_ns);
}
