/* fs/coord.c - the coordinator's thread, its link, and its public face.
 * What a batch is: coord_batch.c; what happens between two: coord_clean.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/coord.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct chunk_world coord_world(struct fs_coord *c)
{
    return (struct chunk_world){
        .lun = c->lun,
        .super = &c->super,
        .vfs = c->vfs,
        .db = c->db,
    };
}

enum err coord_fail(struct fs_coord *c, enum err e, const char *what)
{
    if (!c->offline && e == E_CHECKSUM)
        diag_fail(&c->reason, e,
                  "%s: metadata page %" PRIu64 ": %s: run lunar check", what,
                  vfs_bad_page(c->vfs), err_text(e));
    else if (!c->offline)
        diag_fail(&c->reason, e, "%s: %s", what, err_text(e));
    if (!c->offline && c->serving && c->args.failed)
        loop_post(c->args.loop, c->args.failed);
    c->offline = true;
    return e;
}

/* -- work ------------------------------------------------------------------ */

void coord_wake(struct fs_coord *c)
{
    if (c->work_posted)
        return;
    c->work_posted = true;
    loop_post(c->loop, &c->work);
}

void coord_publish(struct fs_coord *c)
{
    struct fs_coord_info info = {
        .calls = atomic_load(&c->calls),
        .commits = c->commits,
        .offline = c->offline,
        .reason = c->reason,
    };

    super_info(&c->super, &info.super);
    if (c->meta) {
        info.size_blocks = c->meta->size_blocks;
        info.free_blocks =
            c->meta->counts.free_blocks + c->meta->counts.pending_blocks;
        info.available_blocks = space_available(c->meta);
        info.inodes = c->meta->counts.inodes;
        info.opens = c->meta->opens;
    }
    pthread_mutex_lock(&c->lock);
    c->info = info;
    pthread_mutex_unlock(&c->lock);
}

static void run_job(struct fs_coord *c, struct coord_job *job)
{
    enum err e = job->run(c, job);

    coord_publish(c);
    pthread_mutex_lock(&c->lock);
    job->result = e;
    job->done = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static bool is_idle(const struct fs_coord *c)
{
    return list_empty(&c->inbox) && list_empty(&c->jobs);
}

/* One job or batch, then one step of cleaning.  Blocking I/O in here runs the
 * loop's other tasks: what comes in meanwhile waits for the next round. */
static void work(struct fs_coord *c)
{
    struct list *job = list_pop_front(&c->jobs);
    bool more = false;

    if (job)
        run_job(c, container_of(job, struct coord_job, link));
    else if (!c->offline && !list_empty(&c->inbox))
        coord_batch(c);
    if (c->meta && !c->offline)
        more = coord_clean(c);
    if (c->offline)
        coord_refuse_all(c, NULL);
    coord_publish(c);
    if (more || !is_idle(c))
        coord_wake(c);
}

static void coord_work(struct task *task)
{
    struct fs_coord *c = container_of(task, struct fs_coord, work);

    c->work_posted = false;
    if (c->working)
        return; /* from inside a store_*_sync(): work() looks again */
    c->working = true;
    work(c);
    c->working = false;
}

/* -- jobs: from other threads, and they wait ------------------------------- */

static void receive_job(struct task *task)
{
    struct coord_job *job = container_of(task, struct coord_job, task);

    list_push_back(&job->coord->jobs, &job->link);
    coord_wake(job->coord);
}

static enum err run_on_thread(struct fs_coord *c,
                              enum err (*run)(struct fs_coord *,
                                              struct coord_job *),
                              void *args, struct diag *why)
{
    struct coord_job job = {.coord = c, .run = run, .args = args, .why = why};

    job.task.run = receive_job;
    loop_post(c->loop, &job.task);
    if (!c->reactor) {
        loop_run_until(c->loop, &job.done);
        return job.result;
    }
    pthread_mutex_lock(&c->lock);
    while (!job.done)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
    return job.result;
}

static enum err job_open(struct fs_coord *c, struct coord_job *job)
{
    enum err e = coord_open(c, job->why);

    c->serving = e == E_OK;
    return e;
}

static enum err job_grow(struct fs_coord *c, struct coord_job *job)
{
    return coord_grow(c, job->why);
}

static enum err job_forget(struct fs_coord *c, struct coord_job *job)
{
    const struct fs_sender *who = job->args;
    enum err e = c->offline ? E_VOL_OFFLINE : db_run(c->db, SQL_BEGIN);

    if (c->offline)
        return e;
    if (!e)
        e = coord_forget(c, who);
    if (!e)
        e = db_run(c->db, SQL_COMMIT);
    if (e) {
        coord_fail(c, e, "forgetting a node");
        return E_VOL_OFFLINE;
    }
    share_forget(c->meta, who);
    coord_locks_forget(c, who);
    coord_share(c);
    return E_OK;
}

static enum err job_settle(struct fs_coord *c, struct coord_job *job)
{
    (void)job;
    c->meta->reap_held = false;
    return E_OK;
}

static enum err job_snapshot(struct fs_coord *c, struct coord_job *job)
{
    struct super *ret_super = job->args;

    if (c->offline)
        return diag_fail(job->why, E_VOL_OFFLINE,
                         "volume \"%s\" is offline: "
                         "%s",
                         c->super.name, c->reason.text);
    *ret_super = c->super;
    return E_OK;
}

enum err coord_snapshot(struct fs_coord *c, struct super *ret_super,
                        struct diag *why)
{
    return run_on_thread(c, job_snapshot, ret_super, why);
}

/* Nobody sends any more; what was sent is answered and reclaimed first. */
static enum err job_stop(struct fs_coord *c, struct coord_job *job)
{
    (void)job;
    c->serving = false;
    while (!c->offline && !list_empty(&c->inbox))
        coord_batch(c);
    while (!c->offline &&
           (coord_clean(c) || c->discards || !list_empty(&c->inbox))) {
        while (!c->offline && !list_empty(&c->inbox))
            coord_batch(c);
        loop_run_until(c->loop, &c->discards_idle);
    }
    loop_run_until(c->loop, &c->discards_idle);
    coord_refuse_all(c, NULL);
    coord_close(c);
    return E_OK;
}

/* -- the public face ------------------------------------------------------- */

static void link_send(struct fs_link *link, struct fs_call *call)
{
    struct coord_session *s = container_of(link, struct coord_session, link);

    call->via = link;
    call->from = loop_self();
    call->task.run = coord_receive;
    loop_post(s->coord->loop, &call->task);
}

static void link_lock(struct fs_link *link, struct fs_lock_note *note)
{
    struct coord_session *s = container_of(link, struct coord_session, link);

    note->to = s->coord;
    note->from = s->who;
    note->local = s->local;
    note->task.run = coord_locks_receive;
    loop_post(s->coord->loop, &note->task);
}

static const struct fs_link_ops link_ops = {.send = link_send,
                                            .lock = link_lock};

static void session_cut(struct task *task)
{
    struct coord_session *s =
        container_of(task, struct coord_session, cut_task);

    pthread_mutex_lock(&s->coord->lock);
    s->cut = true;
    pthread_mutex_unlock(&s->coord->lock);
    coord_refuse_all(s->coord, &s->link);
    coord_proxy_cut(s->coord); /* what it asks for is for nodes' calls */
}

/* Behind its cut. */
static void session_free(struct task *task)
{
    struct coord_session *s =
        container_of(task, struct coord_session, leave_task);

    fs_link_fini(&s->link);
    free(s);
}

void coord_session_enter(struct fs_coord *c, struct coord_session *s,
                         const struct fs_sender *who)
{
    fs_link_init(&s->link, &link_ops, who);
    s->cut_task.run = session_cut;
    s->leave_task.run = session_free;
    s->coord = c;
    s->who = *who;
    pthread_mutex_lock(&c->lock);
    list_push_back(&c->sessions, &s->at);
    pthread_mutex_unlock(&c->lock);
}

struct last_task {
    struct task task;
    bool ran;
};

static void last_task_run(struct task *task)
{
    container_of(task, struct last_task, task)->ran = true;
}

/* What was posted has run, and nobody posts any more.  A reactor is gone with
 * what it had; a loop of the caller's goes on. */
static void stop_thread(struct fs_coord *c)
{
    struct last_task last = {.task.run = last_task_run};

    if (c->reactor) {
        reactor_stop(c->reactor);
        return;
    }
    loop_post(c->loop, &last.task);
    loop_run_until(c->loop, &last.ran);
}

static void coord_free(struct fs_coord *c)
{
    stop_thread(c);
    fs_link_fini(&c->local.link);
    if (c->proxy.proxy)
        fs_link_fini(&c->proxy.link);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}

/* Who waits for the metadata thread came over another (the mount's reactor, a
 * command's thread): with a core for each of the three it may spin for what
 * comes next; with fewer it would keep one from those who are to send it. */
static unsigned spin_us(void)
{
    enum { CORES_MIN = 3, SPIN_US = 20 };

    return sysconf(_SC_NPROCESSORS_ONLN) >= CORES_MIN ? SPIN_US : 0;
}

static enum err start_thread(struct fs_coord *c)
{
    const struct loop_args args = {
        .name = "metadata", .spin_us = spin_us(), .aio_depth = 128};
    enum err e;

    c->loop = c->args.metadata;
    if (c->loop)
        return E_OK;
    e = reactor_start(&args, &c->reactor);
    if (!e)
        c->loop = reactor_loop(c->reactor);
    return e;
}

static enum err coord_new(struct store *lun, const struct fs_coord_args *args,
                          struct fs_coord **ret_coord)
{
    struct fs_coord *c = calloc(1, sizeof *c);
    enum err e;

    if (!c)
        return E_NOMEM;
    list_init(&c->sessions);
    c->lun = lun;
    c->args = *args;
    if (!c->args.clock)
        c->args.clock = clock_system();
    snprintf(c->host, sizeof c->host, "%s", args->host ? args->host : "");
    c->claim = (struct claim_args){
        .node = args->node,
        .host = c->host,
        .incarnation = args->incarnation,
        .sole = args->sole,
    };
    c->work.run = coord_work;
    c->release_task.run = coord_release;
    c->discards_idle = true;
    list_init(&c->inbox);
    list_init(&c->parked);
    list_init(&c->early);
    list_init(&c->lock_notes);
    list_init(&c->jobs);
    list_init(&c->kept);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->local.local = true;
    coord_session_enter(c, &c->local,
                        &(struct fs_sender){args->node, args->incarnation});
    e = start_thread(c);
    if (e) {
        free(c);
        return e;
    }
    *ret_coord = c;
    return E_OK;
}

enum err fs_coord_start(struct store *lun, const struct fs_coord_args *args,
                        struct diag *why, struct fs_coord **ret_coord)
{
    struct fs_coord *c;
    enum err e = coord_new(lun, args, &c);

    if (e)
        return diag_fail(why, e, "metadata thread: %s", err_text(e));
    e = run_on_thread(c, job_open, NULL, why);
    if (e) {
        coord_free(c);
        return e;
    }
    e = coord_proxy_start(c);
    if (e) {
        fs_coord_stop(c);
        return diag_fail(why, e, "redirected I/O: %s", err_text(e));
    }
    *ret_coord = c;
    return E_OK;
}

enum err fs_coord_forget(struct fs_coord *coord, const struct fs_sender *who)
{
    struct fs_sender args = *who;

    if (coord->redirect)
        redirect_forget(coord->redirect, who);
    return run_on_thread(coord, job_forget, &args, NULL);
}

void fs_coord_settle(struct fs_coord *coord)
{
    (void)!run_on_thread(coord, job_settle, NULL, NULL);
}

struct fs_link *fs_coord_link(struct fs_coord *coord)
{
    return &coord->local.link;
}

enum err fs_coord_join(struct fs_coord *coord, const struct fs_sender *who,
                       struct fs_link **ret_link)
{
    struct coord_session *s = calloc(1, sizeof *s);

    if (!s)
        return E_NOMEM;
    coord_session_enter(coord, s, who);
    *ret_link = &s->link;
    return E_OK;
}

void fs_coord_cut(struct fs_link *link)
{
    struct coord_session *s = container_of(link, struct coord_session, link);

    loop_post(s->coord->loop, &s->cut_task);
}

void fs_coord_leave(struct fs_link *link)
{
    struct coord_session *s = container_of(link, struct coord_session, link);

    pthread_mutex_lock(&s->coord->lock);
    list_remove(&s->at);
    pthread_mutex_unlock(&s->coord->lock);
    loop_post(s->coord->loop, &s->leave_task);
}

void fs_coord_stop(struct fs_coord *coord)
{
    if (!coord)
        return;
    coord_proxy_stop(coord);
    (void)!run_on_thread(coord, job_stop, NULL, NULL);
    coord_free(coord);
}

void fs_coord_info(struct fs_coord *coord, struct fs_coord_info *ret_info)
{
    pthread_mutex_lock(&coord->lock);
    *ret_info = coord->info;
    pthread_mutex_unlock(&coord->lock);
}

enum err fs_coord_grow(struct fs_coord *coord, struct diag *why)
{
    return run_on_thread(coord, job_grow, NULL, why);
}
