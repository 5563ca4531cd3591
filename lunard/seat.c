/* lunard/seat.c - a volume of the cluster on this host: what its guard orders
 * is done by cold threads, one thing after the other; its link follows whoever
 * coordinates.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cluster_private.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

/* -- jobs: what blocks, one after the other -------------------------------- */

enum job_kind { JOB_OPEN, JOB_CLOSE, JOB_RELEASE };

struct job {
    struct list node; /* seat.jobs */
    struct work work;
    struct task left; /* CLOSE: no node's call runs any more */
    struct seat *seat;
    enum job_kind kind;
    uint32_t ticket;
    enum err e;
    struct diag why;
    struct fs_coord *coord; /* OPEN: it */
    uint64_t epoch;
    struct fs_sender who; /* RELEASE */
    struct fs_sender others[LM_NODES_MAX];
    unsigned other_count;
};

static void job_begin(struct seat *s);

static void job_add(struct seat *s, const struct job *args)
{
    struct job *j = malloc(sizeof *j);
    bool idle = list_empty(&s->jobs);

    ASSERT(j);
    *j = *args;
    j->seat = s;
    list_push_back(&s->jobs, &j->node);
    if (idle)
        job_begin(s);
}

static void job_end(struct job *j)
{
    struct seat *s = j->seat;

    list_remove(&j->node);
    free(j);
    if (!list_empty(&s->jobs))
        job_begin(s);
}

/* -- open ------------------------------------------------------------------ */

static void run_coord_failed(struct task *task)
{
    struct seat *s = container_of(task, struct seat, coord_failed);

    log_error("%s: a write of metadata failed: another host takes over",
              lun_name(s->lun));
    guard_on_failed(s->guard);
}

static void run_open(struct work *w)
{
    struct job *j = container_of(w, struct job, work);
    struct seat *s = j->seat;
    const struct fs_coord_args args = {
        .node = s->cluster->me.node,
        .host = s->cluster->args.config->host_name,
        .incarnation = s->cluster->me.incarnation,
        .discard = true,
        .others = j->others,
        .other_count = j->other_count,
        .epoch = j->epoch,
        .failed = &s->coord_failed,
        .loop = s->cluster->args.loop,
    };

    s->coord_failed = (struct task){.run = run_coord_failed};
    j->e = fs_coord_start(lun_store(s->lun), &args, &j->why, &j->coord);
}

/* Nothing is answered before takeover says so: but reports are heard. */
static void opened(struct work *w)
{
    struct job *j = container_of(w, struct job, work);
    struct seat *s = j->seat;
    struct cluster *c = s->cluster;
    uint32_t ticket = j->ticket;
    enum err e = j->e;

    if (e) {
        log_error("%s: %s", lun_name(s->lun), diag_text(&j->why, e));
    } else {
        fs_coord_hold(j->coord, true);
        e = fs_net_serve(c->net, s->uuid, j->coord);
        ASSERT(!e); /* nobody else serves it */
        cluster_lock(c);
        s->coord = j->coord;
        cluster_unlock(c);
        fs_net_aim(s->link, c->me.node);
    }
    job_end(j);
    guard_on_opened(s->guard, ticket, e);
}

static void guard_opens(void *user, uint64_t epoch,
                        const struct fs_sender *others, unsigned count,
                        uint32_t ticket)
{
    struct job j = {.kind = JOB_OPEN,
                    .ticket = ticket,
                    .epoch = epoch,
                    .other_count = count};

    memcpy(j.others, others, sizeof *others * count);
    job_add(user, &j);
}

/* -- close ----------------------------------------------------------------- */

static void run_close(struct work *w)
{
    struct job *j = container_of(w, struct job, work);
    struct cluster *c = j->seat->cluster;

    pthread_mutex_lock(&c->mutex);
    while (j->seat->coord_users)
        pthread_cond_wait(&c->changed, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
    fs_coord_stop(j->coord);
}

static void closed(struct work *w)
{
    struct job *j = container_of(w, struct job, work);
    struct seat *s = j->seat;
    uint32_t ticket = j->ticket;

    job_end(j);
    guard_on_closed(s->guard, ticket);
}

static void close_left(struct task *task)
{
    struct job *j = container_of(task, struct job, left);

    j->work = (struct work){.run = run_close, .done = closed};
    work_submit(j->seat->cluster->cold, &j->work);
}

static void close_begin(struct job *j)
{
    struct seat *s = j->seat;
    struct cluster *c = s->cluster;

    cluster_lock(c);
    j->coord = TAKE(s->coord);
    cluster_unlock(c);
    j->left = (struct task){.run = close_left};
    if (j->coord)
        fs_net_leave(c->net, s->uuid, &j->left);
    else
        loop_post(c->args.loop, &j->left);
}

static void guard_closes(void *user, uint32_t ticket)
{
    job_add(user, &(struct job){.kind = JOB_CLOSE, .ticket = ticket});
}

/* -- release --------------------------------------------------------------- */

static void run_release(struct work *w)
{
    struct job *j = container_of(w, struct job, work);

    if (j->seat->coord)
        j->e = fs_coord_forget(j->seat->coord, &j->who);
}

static void released(struct work *w)
{
    struct job *j = container_of(w, struct job, work);
    struct seat *s = j->seat;

    if (j->e)
        log_warning("%s: what node %u had: %s", lun_name(s->lun), j->who.node,
                    err_text(j->e));
    job_end(j);
}

static void guard_releases(void *user, struct lm_run run)
{
    struct seat *s = user;
    notice n = {.kind = NOTICE_FENCED};

    job_add(s, &(struct job){
                   .kind = JOB_RELEASE, .who = {run.node, run.incarnation}
    });
    memcpy(n.notice_u.fenced.volume, s->uuid, sizeof s->uuid);
    n.notice_u.fenced.node = run.node;
    n.notice_u.fenced.incarnation = run.incarnation;
    cluster_announce(s->cluster, &n);
}

static void job_begin(struct seat *s)
{
    struct job *j = container_of(s->jobs.next, struct job, node);
    static const struct {
        void (*run)(struct work *);
        void (*done)(struct work *);
    } rows[] = {
        [JOB_OPEN] = {run_open,    opened  },
        [JOB_RELEASE] = {run_release, released},
    };

    if (j->kind == JOB_CLOSE) {
        close_begin(j);
        return;
    }
    j->work =
        (struct work){.run = rows[j->kind].run, .done = rows[j->kind].done};
    work_submit(s->cluster->cold, &j->work);
}

/* -- what else a guard says ------------------------------------------------ */

static void guard_holds(void *user, bool hold)
{
    struct seat *s = user;

    if (s->coord)
        fs_coord_hold(s->coord, hold);
}

static void guard_caches(void *user, bool may)
{
    struct seat *s = user;

    s->may_cache = may;
    if (s->client)
        fs_client_hold(s->client, !may);
}

static void guard_has_path_or_not(void *user, bool path)
{
    struct seat *s = user;

    s->path = path;
    if (s->client)
        fs_client_set_path(s->client, path);
}

static void guard_follows(void *user, uint32_t node)
{
    struct seat *s = user;

    fs_net_aim(s->link, node);
}

static void guard_sends(void *user, uint32_t node,
                        const struct guard_message *m)
{
    struct seat *s = user;

    cluster_send(s->cluster, node, m);
}

static void guard_announces(void *user, const notice *n)
{
    struct seat *s = user;

    cluster_announce(s->cluster, n);
}

static void guard_accuses(void *user, struct lm_run run)
{
    struct seat *s = user;
    const struct member_id *id = member_view_find(&s->cluster->view, run.node);

    if (!id || id->incarnation != run.incarnation)
        return;
    log_warning("host %s: owes an answer, or is fenced: it is to leave",
                id->name);
    (void)!member_accuse(s->cluster->member, run.node, run.incarnation);
}

static void guard_has_won(void *user, uint64_t view_id)
{
    struct seat *from = user;

    list_for_each (at, &from->cluster->seats) {
        struct seat *s = container_of(at, struct seat, node);

        if (s != from && s->guard)
            guard_on_won(s->guard, view_id);
    }
}

static void guard_alarms(void *user, const char *text)
{
    struct seat *s = user;

    if (*text && strcmp(text, s->alarm))
        log_error("%s: %s", lun_name(s->lun), text);
    cluster_lock(s->cluster);
    snprintf(s->alarm, sizeof s->alarm, "%s", text);
    cluster_unlock(s->cluster);
}

static bool guard_asks_agent(void *user, struct lm_run run, const char *host)
{
    struct seat *s = user;

    return cluster_run_agent(s->cluster, run, host);
}

static void guard_is_over(void *user, const char *why)
{
    struct seat *s = user;

    cluster_end(s->cluster, why);
}

static const struct guard_ops ops = {
    .open = guard_opens,
    .close = guard_closes,
    .hold = guard_holds,
    .cache = guard_caches,
    .path = guard_has_path_or_not,
    .follow = guard_follows,
    .release = guard_releases,
    .send = guard_sends,
    .announce = guard_announces,
    .accuse = guard_accuses,
    .won = guard_has_won,
    .alarm = guard_alarms,
    .agent = guard_asks_agent,
    .over = guard_is_over,
};

/* -- messages where there is no guard -------------------------------------- */

/* This host has nothing of the volume: that is its report, and its word. */
static void answer_for_none(struct seat *s, struct lm_run from,
                            const struct guard_message *m)
{
    struct cluster *c = s->cluster;
    struct guard_message answer = *m;

    answer.node = c->me.node;
    answer.incarnation = c->me.incarnation;
    answer.key = 0;
    answer.opened = false;
    if (m->word == WORD_ANNOUNCED && m->opened) {
        fs_net_aim(s->link, from.node);
        answer.word = WORD_REPORTED;
    } else if (m->word == WORD_CONFIRM) {
        answer.word = WORD_CONFIRMED;
    } else {
        return;
    }
    cluster_send(c, from.node, &answer);
}

void seat_hear(struct seat *s, struct lm_run from,
               const struct guard_message *m)
{
    s->heard[m->word] = (struct seat_heard){from, *m};
    if (s->guard)
        guard_on_message(s->guard, from, m);
    else
        answer_for_none(s, from, m);
}

void seat_on_beat(struct seat *s)
{
    if (s->guard)
        guard_on_beat(s->guard);
    seat_state_beat(s);
}

/* -- from cold threads ----------------------------------------------------- */

struct seating {
    struct seat *seat;
    struct guard *guard;
    struct lun *lun;
    struct fs_client *client;
    uint32_t to;
    bool yes;
};

/* A guard first, for its ear: then the LUN, then it begins. */
static enum err make_guard(struct seat *s, struct guard **ret_guard)
{
    struct cluster *c = s->cluster;
    struct guard_args args = {
        .ops = &ops,
        .user = s,
        .loop = c->args.loop,
        .me = c->me,
        .host = c->args.config->host_name,
        .cluster = c->tag,
        .suspect_ms = CLUSTER_SUSPECT_MS,
        .io_suspect_ms = CLUSTER_IO_SUSPECT_MS,
    };

    memcpy(args.uuid, s->uuid, sizeof args.uuid);
    return guard_new(&args, ret_guard);
}

static void set_open(struct seat *s, struct guard *g, struct lun *lun)
{
    cluster_lock(s->cluster);
    s->guard = g;
    s->lun = lun;
    s->alarm[0] = '\0';
    cluster_unlock(s->cluster);
}

/* Of those who are in still: who coordinates they said once, and do not say
 * again for a guard that is new here. */
static void tell_heard(struct seat *s)
{
    static const guard_word words[] = {WORD_ANNOUNCED, WORD_RESIGNED,
                                       WORD_CONFIRM, WORD_ARBITER_WON};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        const struct seat_heard heard = s->heard[words[i]];
        const struct member_id *id =
            member_view_find(&s->cluster->view, heard.from.node);

        if (heard.from.node && id && id->incarnation == heard.from.incarnation)
            guard_on_message(s->guard, heard.from, &heard.message);
    }
}

/* A guard first: it hears the others, and is the ear of the LUN. */
static void guard_comes(void *arg)
{
    struct seating *seating = arg;
    struct seat *s = seating->seat;
    struct cluster *c = s->cluster;

    set_open(s, seating->guard, NULL);
    s->path = true;
    cluster_tell_view(c, s);
    tell_heard(s);
    for (uint32_t node = 1; node <= LM_NODES_MAX; node++)
        if (c->connected[node])
            guard_on_met(s->guard, (struct lm_run){node, c->connected[node]});
}

static void guard_begins(void *arg)
{
    struct seating *seating = arg;
    struct seat *s = seating->seat;

    set_open(s, s->guard, seating->lun);
    guard_start(s->guard, s->lun);
}

static void guard_goes(void *arg)
{
    struct seating *seating = arg;
    struct guard *g = seating->seat->guard;

    guard_stop(g);
    seating->seat->may_cache = false;
    set_open(seating->seat, NULL, NULL);
    guard_free(g);
}

enum err seat_open(struct seat *s, const char *url, struct loop *const *loops,
                   unsigned loop_count, struct diag *why)
{
    struct seating seating = {.seat = s};
    struct lun_args args = {.loops = loops, .loop_count = loop_count};
    enum err e;

    if (s->guard)
        return diag_fail(why, E_BUSY, "%s: is open", url);
    e = make_guard(s, &seating.guard);
    if (e)
        return diag_fail(why, e, "%s: %s", url, err_text(e));
    cluster_run(s->cluster, guard_comes, &seating);
    args.ear = guard_ear(seating.guard);
    e = lun_open(url, &args, why, &seating.lun);
    cluster_run(s->cluster, e ? guard_goes : guard_begins, &seating);
    return e;
}

static void begin_to_leave(void *arg)
{
    struct seating *seating = arg;

    guard_leave(seating->seat->guard);
}

static void guard_ends(void *arg)
{
    struct seating *seating = arg;

    guard_stop(seating->seat->guard);
    lun_fail(seating->seat->lun, E_VOL_OFFLINE);
}

static void ask_coordinates(void *arg)
{
    struct seating *seating = arg;

    seating->yes = guard_coordinates(seating->seat->guard) ||
                   !list_empty(&seating->seat->jobs);
}

/* Poll: it changes on the loop, by many ways. */
static bool wait_until_left(struct seat *s)
{
    struct seating seating = {.seat = s, .yes = true};

    for (int i = 0; i < ADMIN_WAIT_S * 100 && seating.yes; i++) {
        const struct timespec pause = {.tv_nsec = 10 * NS_PER_MS};

        cluster_run(s->cluster, ask_coordinates, &seating);
        if (seating.yes)
            nanosleep(&pause, NULL);
    }
    return !seating.yes;
}

void seat_close(struct seat *s)
{
    struct seating seating = {.seat = s};

    if (!s->lun)
        return;
    cluster_run(s->cluster, begin_to_leave, &seating);
    if (!wait_until_left(s))
        log_warning("%s: cannot be handed over: this host will be fenced",
                    lun_name(s->lun));
    cluster_run(s->cluster, guard_ends, &seating);
    lun_close(s->lun);
    cluster_run(s->cluster, guard_goes, &seating);
}

static void take_client(void *arg)
{
    struct seating *seating = arg;
    struct seat *s = seating->seat;

    s->client = seating->client;
    if (!s->client)
        return;
    fs_client_hold(s->client, !s->may_cache);
    if (!s->path)
        fs_client_set_path(s->client, false);
}

void seat_set_client(struct seat *s, struct fs_client *client)
{
    struct seating seating = {.seat = s, .client = client};

    cluster_run(s->cluster, take_client, &seating);
}

struct lun *seat_lun(struct seat *s)
{
    return s->lun;
}

struct fs_link *seat_link(struct seat *s)
{
    return s->link;
}

static void order_move(void *arg)
{
    struct seating *seating = arg;

    seating->yes = guard_coordinates(seating->seat->guard);
    if (seating->yes)
        guard_move(seating->seat->guard, seating->to);
}

enum err seat_move(struct seat *s, uint32_t to, struct diag *why)
{
    struct seating seating = {.seat = s, .to = to};
    struct seat_info info;

    if (!s->guard)
        return diag_fail(why, E_VOL_OFFLINE, "it is not open on this host");
    cluster_run(s->cluster, order_move, &seating);
    seat_info(s, &info);
    if (!seating.yes)
        return diag_fail(why, E_NOENT, "it is coordinated by %s: say it there",
                         *info.coordinator ? info.coordinator : "nobody now");
    if (!wait_until_left(s))
        return diag_fail(why, E_TIMEOUT,
                         "asked for, but this host coordinates it still");
    return E_OK;
}

struct fs_coord *seat_get_coord(struct seat *s, struct diag *why)
{
    struct fs_coord *coord;
    struct seat_info info;

    cluster_lock(s->cluster);
    coord = s->coord;
    s->coord_users += coord ? 1 : 0;
    cluster_unlock(s->cluster);
    if (coord)
        return coord;
    seat_info(s, &info);
    diag_fail(why, E_VOL_OFFLINE, "it is coordinated by %s: say it there",
              *info.coordinator ? info.coordinator : "nobody now");
    return NULL;
}

void seat_put_coord(struct seat *s)
{
    cluster_lock(s->cluster);
    s->coord_users--;
    cluster_unlock(s->cluster);
}

struct asking {
    struct seat *seat;
    struct seat_info *info;
    uint32_t coordinator;
};

/* Without a guard: as it was heard last. */
static struct lm_run coordinator_of(struct seat *s)
{
    const struct seat_heard *heard = &s->heard[WORD_ANNOUNCED];
    const struct member_id *id =
        member_view_find(&s->cluster->view, heard->from.node);

    if (s->guard)
        return guard_coordinator(s->guard);
    if (!id || id->incarnation != heard->from.incarnation ||
        s->heard[WORD_RESIGNED].message.epoch >= heard->message.epoch)
        return (struct lm_run){0, 0};
    return heard->from;
}

struct looking {
    struct seat *seat;
    bool here, others;
};

static void look_who_could(void *arg)
{
    struct looking *looking = arg;
    struct seat *s = looking->seat;
    struct cluster *c = s->cluster;
    uint64_t able = s->peers.paths & ~c->barred;

    looking->here = s->guard && guard_coordinates(s->guard);
    for (unsigned i = 0; i < c->view.member_count; i++)
        if (c->view.members[i].node != c->me.node)
            looking->others |= able & UINT64_C(1)
                                          << (c->view.members[i].node - 1);
}

bool seat_is_here(struct seat *s, bool *ret_others)
{
    struct looking looking = {.seat = s};

    cluster_run(s->cluster, look_who_could, &looking);
    *ret_others = looking.others;
    return looking.here;
}

static void ask_coordinator(void *arg)
{
    struct asking *asking = arg;

    asking->coordinator = coordinator_of(asking->seat).node;
}

uint32_t seat_coordinator(struct seat *s)
{
    struct asking asking = {.seat = s};

    cluster_run(s->cluster, ask_coordinator, &asking);
    return asking.coordinator;
}

static void ask_info(void *arg)
{
    struct asking *asking = arg;
    struct seat *s = asking->seat;
    struct seat_info *info = asking->info;
    struct lm_run run;
    char buf[MEMBER_NAME_BYTES];

    *info = (struct seat_info){.open = s->guard != NULL};
    run = coordinator_of(s);
    if (run.node)
        snprintf(info->coordinator, sizeof info->coordinator, "%s",
                 cluster_host_name(s->cluster, run.node, buf));
    if (!s->guard)
        return;
    info->epoch = guard_epoch(s->guard);
    info->direct = guard_carries(s->guard);
    seat_state_beat(s);
    info->state = s->state;
    snprintf(info->trouble, sizeof info->trouble, "%s",
             *s->alarm ? s->alarm : guard_trouble(s->guard));
}

void seat_info(struct seat *s, struct seat_info *ret_info)
{
    struct asking asking = {.seat = s, .info = ret_info};

    cluster_run(s->cluster, ask_info, &asking);
}

/* -- birth and death ------------------------------------------------------- */

struct seat *seat_new(struct cluster *c, const uint8_t uuid[16])
{
    struct seat *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->cluster = c;
    memcpy(s->uuid, uuid, sizeof s->uuid);
    list_init(&s->jobs);
    if (fs_net_reach(c->net, uuid, 0, &s->link)) {
        free(s);
        return NULL;
    }
    return s;
}

void seat_free(struct seat *s)
{
    ASSERT(!s->guard && list_empty(&s->jobs));
    fs_net_cut(s->link, E_VOL_OFFLINE);
    fs_net_forget(s->link);
    list_remove(&s->node);
    free(s);
}

const uint8_t *seat_uuid(const struct seat *s)
{
    return s->uuid;
}

struct guard *seat_guard(struct seat *s)
{
    return s->guard;
}
