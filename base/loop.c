/* base/loop.c - one thread's turn: tasks, pollers, completions, timers, fds.
 * Knows nothing of what they do; its aio half is loop_aio.c.
 *
 * No wake-up is lost, because every path to a sleeping loop is "publish, then
 * look whether it sleeps" against "say that I sleep, then look what was
 * published", both sequentially consistent:
 *
 *   loop_post:  push task   ; asleep was true?  -> write the eventfd
 *   sleep:      asleep = true; queue not empty? -> do not sleep
 *
 * The eventfd is watched edge-triggered and never read: each signal is an edge
 * of its own, and an edge is consumed only by our own epoll_wait(), after
 * which a whole turn runs before the next sleep.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/loop_private.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    /* A busy loop looks at its fds this often; an idle one each turn. */
    TURNS_PER_FD_LOOK = 16,
    /* Queued aio that the kernel has no room for is tried again after this. */
    AIO_RETRY_MS = 1,
    /* Work within this many times spin_us makes spinning worth it again. */
    SPIN_GAPS_SOON = 4
};

static _Thread_local struct loop *this_loop;

struct loop *loop_self(void)
{
    return this_loop;
}

void loop_adopt(struct loop *loop)
{
    this_loop = loop;
}

struct clock *loop_clock(struct loop *loop)
{
    return loop->clock;
}

const char *loop_name(const struct loop *loop)
{
    return loop->name;
}

struct loop_stats loop_stats(const struct loop *loop)
{
    return loop->stats;
}

/* -- birth and death ------------------------------------------------------- */

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    /* A task may run, and be the end of this loop, before who posted it has
     * looked whether to wake us. */
    while (atomic_load(&loop->posters))
        sched_yield();
    loop_aio_fini(loop);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    free(loop);
}

static void loop_freep(struct loop **loop)
{
    loop_free(*loop);
}

static enum err open_fds(struct loop *loop)
{
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET};

    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return E_IO;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        return E_IO;
    /* data.ptr == NULL marks the eventfd */
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &wake))
        return E_IO;
    return E_OK;
}

enum err loop_new(const struct loop_args *args, struct loop **ret_loop)
{
    AUTO(loop_freep) struct loop *loop = calloc(1, sizeof *loop);
    enum err e;

    if (!loop)
        return E_NOMEM;
    loop->epoll_fd = loop->wake_fd = -1;
    snprintf(loop->name, sizeof loop->name, "%s",
             args->name ? args->name : "loop");
    loop->clock = args->clock ? args->clock : clock_system();
    loop->spin_max_ns = (uint64_t)args->spin_us * NS_PER_US;
    loop->spin_ns = loop->spin_max_ns;
    loop->ready_tail = &loop->ready;
    list_init(&loop->timers);
    list_init(&loop->due);
    list_init(&loop->pollers);
    e = open_fds(loop);
    if (!e)
        e = loop_aio_init(loop, args->aio_depth);
    if (e)
        return e;
    *ret_loop = TAKE(loop);
    return E_OK;
}

/* -- tasks ----------------------------------------------------------------- */

static void wake(struct loop *loop)
{
    const uint64_t one = 1;

    /* exchange: of several posters only the first pays for the write */
    if (atomic_load(&loop->asleep) && atomic_exchange(&loop->asleep, false))
        ASSERT(write(loop->wake_fd, &one, sizeof one) == sizeof one);
}

void loop_post(struct loop *loop, struct task *task)
{
    struct task *head =
        atomic_load_explicit(&loop->posted, memory_order_relaxed);

    atomic_fetch_add_explicit(&loop->posters, 1, memory_order_relaxed);
    do
        task->next = head;
    while (!atomic_compare_exchange_weak(&loop->posted, &head, task));
    /* The task may have run by now: it is not ours any more. */
    wake(loop);
    atomic_fetch_sub_explicit(&loop->posters, 1, memory_order_release);
}

/* Move what was posted, newest first, behind the ready tasks, oldest first. */
static void take_posted(struct loop *loop)
{
    struct task *newest, *oldest = NULL, **tail = NULL;

    if (!atomic_load_explicit(&loop->posted, memory_order_relaxed))
        return;
    newest = atomic_exchange(&loop->posted, NULL);
    while (newest) {
        struct task *older = newest->next;

        if (!oldest)
            tail = &newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = older;
        loop->ready_count++;
    }
    if (!oldest)
        return;
    *loop->ready_tail = oldest;
    loop->ready_tail = tail;
}

/* Tasks posted from here on wait for the next turn, so that a task which posts
 * itself again does not keep the others away. */
static bool run_tasks(struct loop *loop)
{
    size_t budget;

    take_posted(loop);
    budget = loop->ready_count;
    loop->stats.tasks += budget;
    for (size_t i = 0; i < budget && loop->ready; i++) {
        struct task *t = loop->ready;

        loop->ready = t->next;
        if (!loop->ready)
            loop->ready_tail = &loop->ready;
        loop->ready_count--;
        t->run(t);
    }
    return budget > 0;
}

/* -- timers ---------------------------------------------------------------- */

void loop_timer_set(struct loop *loop, struct timer *t, uint64_t in_ms)
{
    struct list *at;

    loop_timer_cancel(loop, t); /* first: it may be the last of the list */
    at = loop->timers.prev;
    t->at_ns = clock_now_ns(loop->clock) + in_ms * NS_PER_MS;
    /* From the back: most timers are set to fire after all others; behind
     * equals, so that they fire in the order in which they were set. */
    while (at != &loop->timers &&
           container_of(at, struct timer, link)->at_ns > t->at_ns)
        at = at->prev;
    list_insert_after(at, &t->link);
}

void loop_timer_cancel(struct loop *loop, struct timer *t)
{
    (void)loop;
    if (list_linked(&t->link))
        list_remove(&t->link);
}

/* What is due leaves the list first, so that a timer which sets itself to 0 ms
 * waits for the next turn. */
static bool run_timers(struct loop *loop)
{
    bool any = false;
    struct list *first;
    uint64_t now;

    if (list_empty(&loop->timers) && list_empty(&loop->due))
        return false;
    now = clock_now_ns(loop->clock);
    while (!list_empty(&loop->timers)) {
        struct timer *t = container_of(loop->timers.next, struct timer, link);

        if (t->at_ns > now)
            break;
        list_remove(&t->link);
        list_push_back(&loop->due, &t->link);
    }
    while ((first = list_pop_front(&loop->due))) {
        struct timer *t = container_of(first, struct timer, link);

        t->fire(t);
        any = true;
    }
    return any;
}

/* How long epoll may wait: -1 for ever, else rounded up to whole ms. */
static int ms_to_next_timer(struct loop *loop)
{
    uint64_t now, at;

    if (!list_empty(&loop->due))
        return 0;
    if (list_empty(&loop->timers))
        return -1;
    now = clock_now_ns(loop->clock);
    at = container_of(loop->timers.next, struct timer, link)->at_ns;
    if (at <= now)
        return 0;
    return (int)min_u64(div_round_up(at - now, NS_PER_MS), INT32_MAX);
}

/* -- file descriptors ------------------------------------------------------ */

enum err loop_fd_add(struct loop *loop, struct loop_fd *f)
{
    struct epoll_event ev = {.events = f->events, .data.ptr = f};

    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, f->fd, &ev))
        return err_from_errno(errno);
    return E_OK;
}

void loop_fd_set(struct loop *loop, struct loop_fd *f, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = f};

    if (f->events == events)
        return;
    f->events = events;
    ASSERT(epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, f->fd, &ev) == 0);
}

void loop_fd_remove(struct loop *loop, struct loop_fd *f)
{
    ASSERT(epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, f->fd, NULL) == 0);
    for (int i = loop->event_next; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == f)
            loop->events[i].events = 0;
}

/* Ask epoll, unless there is still something of the last answer. */
static void fetch_events(struct loop *loop, int timeout_ms)
{
    int n;

    if (loop->event_next < loop->event_count)
        return;
    n = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, timeout_ms);
    ASSERT(n >= 0 || errno == EINTR);
    loop->event_next = 0;
    loop->event_count = n > 0 ? n : 0;
}

/* Hand out what epoll reported.  The position is in the loop, so a nested turn
 * goes on where the outer one stopped. */
static bool run_events(struct loop *loop)
{
    bool any = false;

    while (loop->event_next < loop->event_count) {
        struct epoll_event *ev = &loop->events[loop->event_next++];
        struct loop_fd *f = ev->data.ptr;

        if (f && ev->events)
            f->ready(f, ev->events);
        any = true;
    }
    return any;
}

/* -- pollers --------------------------------------------------------------- */

void loop_poller_add(struct loop *loop, struct poller *p)
{
    list_push_back(&loop->pollers, &p->link);
}

void loop_poller_remove(struct loop *loop, struct poller *p)
{
    if (loop->poller_next == &p->link)
        loop->poller_next = p->link.next;
    list_remove(&p->link);
}

static bool run_pollers(struct loop *loop)
{
    bool any = false;

    loop->poller_next = loop->pollers.next;
    while (loop->poller_next != &loop->pollers) {
        struct list *at = loop->poller_next;
        struct poller *p = container_of(at, struct poller, link);

        loop->poller_next = at->next;
        any |= p->poll(p);
    }
    return any;
}

/* Undo the arming of all pollers before `end`. */
static void disarm_pollers(struct loop *loop, const struct list *end)
{
    for (struct list *at = loop->pollers.next; at != end; at = at->next) {
        struct poller *p = container_of(at, struct poller, link);

        if (p->disarm)
            p->disarm(p);
    }
}

/* False if one of them has work: then none is armed. */
static bool arm_pollers(struct loop *loop)
{
    for (struct list *at = loop->pollers.next; at != &loop->pollers;
         at = at->next) {
        struct poller *p = container_of(at, struct poller, link);

        if (p->arm && p->arm(p)) {
            disarm_pollers(loop, at->next);
            return false;
        }
    }
    return true;
}

/* -- the turn -------------------------------------------------------------- */

static bool turn(struct loop *loop)
{
    bool any = run_tasks(loop);

    any |= run_pollers(loop);
    any |= loop_aio_reap(loop);
    any |= run_timers(loop);
    any |= loop_aio_submit(loop);
    if (++loop->stats.turns % TURNS_PER_FD_LOOK == 0 || !any) {
        fetch_events(loop, 0);
        any |= run_events(loop);
    }
    return any;
}

/* Anything that arrived without a system call since the last turn? */
static bool has_work(struct loop *loop)
{
    return atomic_load(&loop->posted) || loop->ready ||
           atomic_load(&loop->stopping) || loop_aio_ready(loop);
}

/* Wait in the kernel.  Returns at once if there is something to do. */
static void sleep_in_epoll(struct loop *loop)
{
    int timeout_ms = ms_to_next_timer(loop);

    if (loop_aio_starved(loop))
        timeout_ms = AIO_RETRY_MS;
    if (!arm_pollers(loop))
        return;
    atomic_store(&loop->asleep, true);
    if (has_work(loop))
        timeout_ms = 0;
    else
        loop->stats.sleeps++;
    fetch_events(loop, timeout_ms);
    atomic_store(&loop->asleep, false);
    disarm_pollers(loop, &loop->pollers);
    run_events(loop);
}

/* Spin while that pays.  When work came long after the spinning had ended,
 * spin half as long the next time; when it came soon after, for the full time
 * again.  (The gap includes the wake-up, tens of microseconds: hence "soon".)
 */
static void idle(struct loop *loop)
{
    struct clock *real = clock_system();
    uint64_t now = clock_now_ns(real);

    if (!loop->idle_since_ns)
        loop->idle_since_ns = now;
    if (now - loop->idle_since_ns < loop->spin_ns)
        return;
    sleep_in_epoll(loop);
    if (clock_now_ns(real) - loop->idle_since_ns <
        SPIN_GAPS_SOON * loop->spin_max_ns)
        loop->spin_ns = loop->spin_max_ns;
    else
        loop->spin_ns /= 2;
    loop->idle_since_ns = 0;
}

static void turn_or_idle(struct loop *loop)
{
    if (turn(loop))
        loop->idle_since_ns = 0;
    else
        idle(loop);
}

void loop_run(struct loop *loop)
{
    struct loop *outer = this_loop;

    this_loop = loop;
    while (!atomic_exchange(&loop->stopping, false))
        turn_or_idle(loop);
    this_loop = outer;
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopping, true);
    wake(loop);
}

void loop_run_until(struct loop *loop, const bool *flag)
{
    struct loop *outer = this_loop;

    this_loop = loop;
    while (!*flag)
        turn_or_idle(loop);
    this_loop = outer;
}

void loop_run_ready(struct loop *loop)
{
    struct loop *outer = this_loop;

    this_loop = loop;
    while (turn(loop))
        ;
    this_loop = outer;
}

/* -- a loop with a thread of its own --------------------------------------- */

struct reactor {
    struct loop *loop;
    pthread_t thread;
};

static void *reactor_main(void *arg)
{
    struct reactor *r = arg;

    pthread_setname_np(pthread_self(), r->loop->name);
    loop_run(r->loop);
    return NULL;
}

enum err reactor_start(const struct loop_args *args,
                       struct reactor **ret_reactor)
{
    AUTO(freep) struct reactor *r = calloc(1, sizeof *r);
    enum err e;
    int rc;

    if (!r)
        return E_NOMEM;
    e = loop_new(args, &r->loop);
    if (e)
        return e;
    rc = pthread_create(&r->thread, NULL, reactor_main, r);
    if (rc) {
        loop_free(r->loop);
        return err_from_errno(rc);
    }
    *ret_reactor = TAKE(r);
    return E_OK;
}

struct loop *reactor_loop(struct reactor *r)
{
    return r->loop;
}

void reactor_stop(struct reactor *r)
{
    ASSERT(loop_self() != r->loop);
    loop_stop(r->loop);
    ASSERT(pthread_join(r->thread, NULL) == 0);
    loop_free(r->loop);
    free(r);
}
