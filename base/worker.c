/* base/worker.c - a queue, and threads that take from it.
 * Does not know what the work is.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/worker.h"

#include <pthread.h>

struct worker {
    pthread_t thread;
    struct loop *loop;
    struct workers *pool;
};

struct workers {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    /* lock: mutex */
    struct task *first, **last; /* of struct work, linked by their tasks */
    bool stopping;
    /* constant after the start */
    unsigned thread_count;
    struct worker threads[];
};

static struct work *work_of(struct task *t)
{
    return container_of(t, struct work, task);
}

static void report_done(struct task *t)
{
    struct work *work = work_of(t);

    work->done(work);
}

void work_submit(struct workers *w, struct work *work)
{
    ASSERT(loop_self());
    work->from = loop_self();
    work->task = (struct task){.run = report_done};
    pthread_mutex_lock(&w->mutex);
    ASSERT(!w->stopping);
    *w->last = &work->task;
    w->last = &work->task.next;
    pthread_cond_signal(&w->filled);
    pthread_mutex_unlock(&w->mutex);
}

/* Wait for work; NULL when the pool stops and nothing is left. */
static struct work *take_work(struct workers *w)
{
    struct task *t;

    pthread_mutex_lock(&w->mutex);
    while (!w->first && !w->stopping)
        pthread_cond_wait(&w->filled, &w->mutex);
    t = w->first;
    if (t) {
        w->first = t->next;
        if (!w->first)
            w->last = &w->first;
    }
    pthread_mutex_unlock(&w->mutex);
    return t ? work_of(t) : NULL;
}

static void *worker_main(void *arg)
{
    struct worker *me = arg;
    struct work *work;

    pthread_setname_np(pthread_self(), loop_name(me->loop));
    loop_adopt(me->loop);
    while ((work = take_work(me->pool))) {
        work->run(work);
        loop_post(work->from, &work->task);
    }
    return NULL;
}

static enum err worker_start(struct workers *w, const struct workers_args *args)
{
    struct worker *me = &w->threads[w->thread_count];
    enum err e;
    int rc;

    me->pool = w;
    e = loop_new(&(struct loop_args){.name = args->name ? args->name : "worker",
                                     .aio_depth = args->aio_depth},
                 &me->loop);
    if (e)
        return e;
    rc = pthread_create(&me->thread, NULL, worker_main, me);
    if (rc) {
        loop_free(me->loop);
        return err_from_errno(rc);
    }
    w->thread_count++;
    return E_OK;
}

enum err workers_start(const struct workers_args *args,
                       struct workers **ret_workers)
{
    unsigned threads = args->threads ? args->threads : 1;
    struct workers *w = calloc(1, sizeof *w + threads * sizeof w->threads[0]);
    enum err e;

    if (!w)
        return E_NOMEM;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->filled, NULL);
    w->last = &w->first;
    for (unsigned i = 0; i < threads; i++) {
        e = worker_start(w, args);
        if (e) {
            workers_stop(w);
            return e;
        }
    }
    *ret_workers = w;
    return E_OK;
}

void workers_stop(struct workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_broadcast(&w->filled);
    pthread_mutex_unlock(&w->mutex);
    for (unsigned i = 0; i < w->thread_count; i++) {
        ASSERT(pthread_join(w->threads[i].thread, NULL) == 0);
        loop_free(w->threads[i].loop);
    }
    pthread_cond_destroy(&w->filled);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}
