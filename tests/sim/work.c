/* tests/sim/work.c - disks on the volumes: written, handed on; and the checks
 * of what all of it must keep.  The table of owners stands for the database:
 * it is durable, and only an open coordinator changes it.
 * The checks see everything; they believe no host.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/node.h"

#include <inttypes.h>
#include <stdio.h>

enum { EPOCHS_MAX = 4096, REGRANT_S = 3 };

struct disk { /* a row of the database, and what is promised of the disk */
    struct lm_run owner; /* node 0: nobody */
    uint64_t version;    /* of the last write to it */
    uint64_t granted_ns, written_ns;
};

struct work {
    struct world_options options;
    struct disk disk[SIM_LUNS_MAX][NODE_DISKS];
    uint64_t write_id;
    uint64_t epoch[SIM_LUNS_MAX]; /* the highest that was opened */
    uint64_t opens, releases, grants;
};

static struct work *work_of(struct sim *s)
{
    return s->world;
}

static uint64_t bit(uint32_t host)
{
    return UINT64_C(1) << (host - 1);
}

/* A node block says that a run is fenced: from where on others take it so. */
static void landed(struct sim *s, uint32_t lun, uint32_t block,
                   const void *bytes, size_t length)
{
    struct node_copy copy;

    if (block >= NODE_SUPER_AT || !lun_copy(bytes, length, &copy))
        return;
    for (uint32_t i = 0; i < s->host_count; i++) {
        const struct node_fencing *f = &copy.block.fencing[i];

        if (!f->run.node || f->state == FENCING_NAMED || f->turn != LM_TURN_ALL)
            continue;
        for (uint64_t k = 1; k <= f->run.incarnation; k++)
            sim_expect_fenced(s, lun, f->run.node, k);
    }
}

void work_init(struct sim *s, const struct world_options *o)
{
    struct work *w = sim_alloc(s, sizeof *w);

    w->options = *o;
    s->world = w;
    s->check = work_check;
    s->landed = landed;
}

/* -- writing --------------------------------------------------------------- */

static void send_write(struct work_write *w);

static void fire_write(struct sim_event *event)
{
    struct work_write *w = container_of(event, struct work_write, event);
    struct volume *v = w->volume;
    struct disk *d = &work_of(event->sim)->disk[v->lun][w->disk];

    if (v->node->over || !(v->holds >> w->disk & 1))
        return;
    w->id = ++work_of(event->sim)->write_id;
    w->version = ++d->version;
    w->block = NODE_DISKS_AT + w->disk * NODE_DISK_BLOCKS +
               sim_below(event->sim, NODE_DISK_BLOCKS);
    w->tried = false;
    send_write(w);
}

static void next_write(struct work_write *w)
{
    struct sim *s = w->volume->node->host->sim;

    sim_post(s, &w->event, sim_between(s, 50 * SIM_MS, 500 * SIM_MS),
             w->volume->node->me.node, fire_write);
}

void work_answered(struct work_write *w)
{
    struct volume *v = w->volume;
    struct sim *s = v->node->host->sim;

    work_of(s)->disk[v->lun][w->disk].written_ns = sim_now(s);
    sim_expect_version(s, v->lun, w->block, w->version);
    next_write(w);
}

static void written(struct ask *a, enum lun_answer answer)
{
    struct work_write *w = a->arg;
    struct volume *v = w->volume;

    if (answer == LUN_OK) {
        work_answered(w);
        return;
    }
    if (answer == LUN_CONFLICT)
        lun_look(v);
    if (v->node->over)
        return;
    if (v->redirected || (nexus_may_carry(&v->nexus) && answer == LUN_FAILED))
        send_write(w); /* not carried out: a unit attention, or aborted */
    else
        list_push_back(&v->waiting, &w->node);
}

/* Two owners: a write of one who is not in the table, and not fenced either. */
static void check_owner(struct work_write *w)
{
    struct volume *v = w->volume;
    struct sim *s = v->node->host->sim;
    const struct disk *d = &work_of(s)->disk[v->lun][w->disk];
    struct lm_run me = v->node->me;

    if (!lm_run_eq(d->owner, me) &&
        !sim_is_fenced(s, v->lun, me.node, me.incarnation))
        sim_fail(s, "I8",
                 "lun %u: h%u, incarnation %" PRIu64 ", writes disk %u, which "
                 "is h%u's, and is not fenced",
                 v->lun, me.node, me.incarnation, w->disk, d->owner.node);
}

static void send_write(struct work_write *w)
{
    struct volume *v = w->volume;
    struct sim *s = v->node->host->sim;
    struct ask *a;

    if (!v->redirected && !nexus_may_carry(&v->nexus)) {
        list_push_back(&v->waiting, &w->node);
        return;
    }
    check_owner(w);
    if (v->redirected) {
        redirect_write(w);
        return;
    }
    if (w->tried && sim_can_land(s, v->lun, v->node->me.node, w->id))
        sim_fail(s, "I13",
                 "lun %u: h%u sends write %" PRIu64 " again while its first "
                 "try can still land",
                 v->lun, v->node->me.node, w->id);
    w->tried = true;
    a = lun_ask_new(v, SIM_WRITE, 0, written, w);
    a->once = true;
    a->command.block = w->block;
    a->command.count = 1;
    a->command.bytes = &w->version;
    a->command.length = sizeof w->version;
    a->command.author.id = w->id;
    a->command.author.version = w->version;
    lun_ask(v, a);
}

void work_open(struct volume *v)
{
    struct list all;
    struct list *node;

    list_init(&all);
    while ((node = list_pop_front(&v->waiting)))
        list_push_back(&all, node);
    while ((node = list_pop_front(&all)))
        send_write(container_of(node, struct work_write, node));
}

void work_start(struct volume *v)
{
    list_init(&v->waiting);
    redirect_start(v);
}

/* -- owners ---------------------------------------------------------------- */

void work_granted(struct volume *v, const struct node_message *m)
{
    struct sim *s = v->node->host->sim;
    struct work_write *w;

    if (!lm_run_eq(m->run, v->node->me) ||
        !takeover_may_hear(&v->takeover, m->epoch) || (v->holds >> m->disk & 1))
        return;
    v->holds |= 1U << m->disk;
    w = sim_alloc(s, sizeof *w);
    w->volume = v;
    w->disk = m->disk;
    next_write(w);
}

const struct world_options *work_options(const struct sim *s)
{
    return &((const struct work *)s->world)->options;
}

uint64_t work_grants(struct sim *s)
{
    return work_of(s)->grants;
}

/* Would the LUN take a commit of this coordinator? */
static bool commits(const struct volume *v)
{
    return v->open && nexus_may_carry(&v->nexus) &&
           !sim_is_fenced(v->node->host->sim, v->lun, v->node->me.node,
                          v->node->me.incarnation);
}

static void grant(struct volume *v, uint32_t disk, uint32_t host)
{
    struct sim *s = v->node->host->sim;
    struct disk *d = &work_of(s)->disk[v->lun][disk];
    struct node_message m = {
        .kind = MSG_GRANT,
        .epoch = v->takeover.epoch,
        .disk = disk,
        .run = {host, v->view.incarnation[host - 1]},
    };

    d->owner = (struct lm_run){host, v->view.incarnation[host - 1]};
    d->granted_ns = sim_now(s);
    work_of(s)->grants++;
    if (host == v->node->me.node)
        work_granted(v, &m);
    else
        node_send(v, host, m);
}

static void free_disk(struct volume *v, uint32_t disk)
{
    struct sim *s = v->node->host->sim;
    struct disk *d = &work_of(s)->disk[v->lun][disk];

    sim_trace(s, v->node->me.node, "lun %u: disk %u of h%u is free", v->lun,
              disk, d->owner.node);
    work_of(s)->releases++;
    d->owner.node = 0;
}

/* I10: whoever releases has the right to; and it is true. */
static void release_run(struct volume *v, struct lm_run run)
{
    struct sim *s = v->node->host->sim;

    for (uint32_t i = 0; i < NODE_DISKS; i++) {
        struct disk *d = &work_of(s)->disk[v->lun][i];

        if (d->owner.node != run.node || d->owner.incarnation > run.incarnation)
            continue;
        if (!sim_is_gone(s, v->lun, run.node, d->owner.incarnation))
            sim_fail(s, "I10",
                     "lun %u: h%u releases what h%u, incarnation %" PRIu64
                     ", has, which nobody has fenced",
                     v->lun, v->node->me.node, run.node, d->owner.incarnation);
        free_disk(v, i);
    }
}

/* As the core knows it: fences that blocks record, and runs that a later one
 * of the same host has replaced. */
static void release_fenced(struct volume *v)
{
    for (uint32_t h = 1; h <= v->node->host->sim->host_count; h++) {
        const struct takeover_peer *p = &v->takeover.peer[h - 1];
        const struct node_fencing *f = &p->recorded;
        struct lm_run run = {h, f->run.incarnation};

        if (!f->run.node || f->state == FENCING_NAMED)
            run.incarnation = 0;
        else if (f->turn != LM_TURN_ALL)
            run.incarnation--;
        if (p->block_incarnation)
            run.incarnation =
                max_u64(run.incarnation, p->block_incarnation - 1);
        release_run(v, run);
    }
}

void work_release(struct volume *v, const struct lm_target *target)
{
    if (!target->foreign && target->turn == LM_TURN_ALL)
        v->fenced[target->run.node] =
            max_u64(v->fenced[target->run.node], target->run.incarnation);
}

/* A row that a live incarnation does not report is released. */
void work_reported(struct volume *v, const struct node_message *m)
{
    struct sim *s = v->node->host->sim;

    if (!commits(v) || m->epoch != v->takeover.epoch)
        return;
    for (uint32_t i = 0; i < NODE_DISKS; i++)
        if (lm_run_eq(work_of(s)->disk[v->lun][i].owner, m->run) &&
            !(m->disks >> i & 1))
            free_disk(v, i);
}

static uint32_t someone(struct volume *v)
{
    struct sim *s = v->node->host->sim;
    uint32_t host, begin = sim_below(s, s->host_count);

    for (uint32_t i = 0; i < s->host_count; i++) {
        host = 1 + (begin + i) % s->host_count;
        if (host != v->node->me.node && !v->takeover.peer[host - 1].reported)
            continue; /* its report would take it away again */
        if (takeover_knows(
                &v->takeover,
                (struct lm_run){host, v->view.incarnation[host - 1]}))
            return host;
    }
    return 0;
}

/* The coordinator: free disks are given to somebody; a grant that was lost is
 * repeated. */
void work_beat(struct volume *v)
{
    struct sim *s = v->node->host->sim;

    if (!commits(v) || !takeover_may_grant(&v->takeover) ||
        !work_of(s)->options.work)
        return;
    release_fenced(v);
    for (uint32_t h = 1; h <= s->host_count; h++)
        if (v->fenced[h])
            release_run(v, (struct lm_run){h, v->fenced[h]});
    for (uint32_t i = 0; i < NODE_DISKS; i++) {
        struct disk *d = &work_of(s)->disk[v->lun][i];
        uint32_t host = d->owner.node ? 0 : someone(v);

        if (host)
            grant(v, i, host);
        else if (d->owner.node && d->owner.node != v->node->me.node &&
                 v->view.incarnation[d->owner.node - 1] != d->owner.incarnation)
            /* Left before this coordinator came, and has no key. */
            fence_begin(
                v, &(struct lm_target){.run = d->owner, .turn = LM_TURN_ALL});
        else if (d->owner.node &&
                 sim_now(s) > max_u64(d->granted_ns, d->written_ns) +
                                  REGRANT_S * SIM_S &&
                 takeover_knows(&v->takeover, d->owner))
            grant(v, i, d->owner.node);
    }
}

/* -- what must hold -------------------------------------------------------- */

/* I4: epochs are distinct, and who opens the database is alone in it. */
void work_opens(struct volume *v, uint64_t epoch)
{
    struct sim *s = v->node->host->sim;
    struct work *w = work_of(s);

    w->opens++;
    if (epoch < w->epoch[v->lun] &&
        sim_is_fenced(s, v->lun, v->node->me.node, v->node->me.incarnation))
        return; /* it does not know yet; nothing of it lands */
    if (epoch <= w->epoch[v->lun])
        sim_fail(s, "I4",
                 "lun %u: h%u opens the database under epoch %" PRIu64
                 ", which was opened before",
                 v->lun, v->node->me.node, epoch);
    w->epoch[v->lun] = epoch;
    for (uint32_t h = 1; h <= s->host_count; h++) {
        struct node *n = world_node(s, h);

        if (n && h != v->node->me.node && n->volume[v->lun].open &&
            !sim_is_fenced(s, v->lun, h, n->me.incarnation))
            sim_fail(s, "I4",
                     "lun %u: h%u opens the database, which h%u has open and "
                     "is not fenced",
                     v->lun, v->node->me.node, h);
    }
    sim_expect_version(s, v->lun, NODE_META_AT, epoch << 20);
}

void work_serves(struct volume *v)
{
    sim_trace(v->node->host->sim, v->node->me.node,
              "lun %u: serves, epoch %" PRIu64, v->lun, v->takeover.epoch);
}

/* I14: with a member gone and not fenced, or without quorum, as this very
 * node was told, it says nothing from memory. */
static void check_view(struct node *n, const struct volume *v)
{
    struct sim *s = n->host->sim;
    bool grants =
        takeover_may_grant(&v->takeover) || takeover_may_answer(&v->takeover);
    const char *does = grants ? "grants" : "serves from its cache";

    if (!grants && !takeover_may_cache(&v->takeover))
        return;
    if (!n->quorate)
        sim_fail(s, "I14", "lun %u: h%u %s without quorum", v->lun, n->me.node,
                 does);
    for (uint32_t h = 1; h <= s->host_count; h++)
        if (n->missing[h] && !sim_is_gone(s, v->lun, h, n->missing[h]))
            sim_fail(s, "I14",
                     "lun %u: h%u %s while h%u, incarnation %" PRIu64
                     ", has left and is not fenced",
                     v->lun, n->me.node, does, h, n->missing[h]);
}

void work_check(struct sim *s)
{
    for (uint32_t h = 1; h <= s->host_count; h++) {
        struct node *n = world_node(s, h);

        for (uint32_t lun = 0; n && lun < work_of(s)->options.luns; lun++)
            check_view(n, &n->volume[lun]);
    }
}

/* -- progress -------------------------------------------------------------- */

const char *work_unwritten(struct sim *s, uint32_t lun, uint64_t since_ns)
{
    static char why[160];

    for (uint32_t i = 0; work_of(s)->options.work && i < NODE_DISKS; i++) {
        const struct disk *d = &work_of(s)->disk[lun][i];

        if (d->written_ns > since_ns)
            continue;
        snprintf(why, sizeof why, "lun %u: disk %u of h%u is not written", lun,
                 i, d->owner.node);
        return why;
    }
    return NULL;
}

static const char *stuck(struct sim *s, uint32_t lun, uint64_t members,
                         uint64_t since_ns)
{
    static char why[160];
    uint32_t serving = 0;

    for (uint32_t h = 1; h <= s->host_count; h++) {
        struct node *n = world_node(s, h);
        const struct volume *v = n ? &n->volume[lun] : NULL;

        if (!(members & bit(h)))
            continue;
        if (!v || !nexus_may_carry(&v->nexus)) {
            snprintf(why, sizeof why, "lun %u: h%u is %s", lun, h,
                     v ? nexus_state_name(v->nexus.state) : "down");
            return why;
        }
        serving += takeover_may_grant(&v->takeover);
        if (takeover_may_cache(&v->takeover))
            continue;
        snprintf(why, sizeof why, "lun %u: h%u may not cache, in state %s", lun,
                 h, takeover_state_name(v->takeover.state));
        return why;
    }
    if (serving != 1) {
        snprintf(why, sizeof why, "lun %u: %u hosts serve", lun, serving);
        return why;
    }
    return work_unwritten(s, lun, since_ns);
}

bool work_gets_on(struct sim *s, uint64_t members, uint64_t since_ns,
                  const char **ret_why)
{
    for (uint32_t lun = 0; lun < work_of(s)->options.luns; lun++) {
        *ret_why = stuck(s, lun, members, since_ns);
        if (*ret_why)
            return false;
    }
    return true;
}
