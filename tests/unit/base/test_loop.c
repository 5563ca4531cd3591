/* tests/unit/base/test_loop.c - order, wake-ups and nesting of a loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* -- tasks ----------------------------------------------------------------- */

static char trail[64];

static void trail_add(char c)
{
    size_t n = strlen(trail);

    CU_ASSERT_TRUE_FATAL(n + 1 < sizeof trail);
    trail[n] = c;
    trail[n + 1] = '\0';
}

struct letter {
    struct task task;
    char c;
    struct letter *then; /* posted by this one */
    struct loop *loop;
};

static void letter_run(struct task *t)
{
    struct letter *l = container_of(t, struct letter, task);

    trail_add(l->c);
    if (l->then)
        loop_post(l->loop, &l->then->task);
}

static void tasks_run_in_order_of_posting(void)
{
    struct world w;
    struct letter l[3] = {{.c = 'a'}, {.c = 'b'}, {.c = 'c'}};

    world_init(&w);
    trail[0] = '\0';
    for (int i = 0; i < 3; i++) {
        l[i].task.run = letter_run;
        loop_post(w.loop, &l[i].task);
    }
    CHECK_STR(trail, "");
    loop_run_ready(w.loop);
    CHECK_STR(trail, "abc");
    world_fini(&w);
}

static void task_posted_by_a_task_runs_behind_its_batch(void)
{
    struct world w;
    struct letter c = {{.run = letter_run}, 'c', NULL, NULL};
    struct letter a = {{.run = letter_run}, 'a', &c, NULL};
    struct letter b = {{.run = letter_run}, 'b', NULL, NULL};

    world_init(&w);
    a.loop = w.loop;
    trail[0] = '\0';
    loop_post(w.loop, &a.task);
    loop_post(w.loop, &b.task);
    loop_run_ready(w.loop);
    CHECK_STR(trail, "abc");
    world_fini(&w);
}

struct nester {
    struct task task;
    struct letter inner;
    struct loop *loop;
    bool inner_ran;
};

static void nested_inner_run(struct task *t)
{
    struct letter *l = container_of(t, struct letter, task);
    struct nester *n = container_of(l, struct nester, inner);

    trail_add('i');
    n->inner_ran = true;
}

static void nester_run(struct task *t)
{
    struct nester *n = container_of(t, struct nester, task);

    trail_add('(');
    loop_run_until(n->loop, &n->inner_ran);
    trail_add(')');
}

static void nested_run_until_goes_on_with_the_same_batch(void)
{
    struct world w;
    struct nester n = {.task.run = nester_run,
                       .inner.task.run = nested_inner_run};

    world_init(&w);
    n.loop = w.loop;
    trail[0] = '\0';
    loop_post(w.loop, &n.task);
    loop_post(w.loop, &n.inner.task);
    loop_run_ready(w.loop);
    CHECK_STR(trail, "(i)");
    world_fini(&w);
}

/* -- threads --------------------------------------------------------------- */

enum { PING_PONGS = 3000, POSTERS = 3, POSTS_EACH = 3000 };

struct ping {
    struct task task;
    struct loop *here, *there;
    unsigned left;
    bool done;
};

static void ping_run(struct task *t)
{
    struct ping *p = container_of(t, struct ping, task);
    struct loop *next = loop_self() == p->here ? p->there : p->here;

    if (loop_self() == p->here && p->left-- == 0)
        p->done = true;
    else
        loop_post(next, t);
}

static void sleeping_loops_miss_no_post_of_each_other(void)
{
    struct world w;
    struct reactor *r;
    struct ping p = {.task.run = ping_run, .left = PING_PONGS};

    world_init(&w);
    CHECK_OK_FATAL(reactor_start(&(struct loop_args){.name = "far"}, &r));
    p.here = w.loop;
    p.there = reactor_loop(r);
    loop_post(w.loop, &p.task);
    world_run_until(&w, &p.done);
    CU_ASSERT_TRUE(p.done);
    reactor_stop(r);
    world_fini(&w);
}

struct poster {
    pthread_t thread;
    struct loop *loop;
    struct numbered {
        struct task task;
        unsigned number;
        struct poster *poster;
    } tasks[POSTS_EACH];
    unsigned next; /* loop's thread: the number that must come now */
    unsigned out_of_order;
    unsigned *total;
    bool *all;
};

static void numbered_run(struct task *t)
{
    struct numbered *n = container_of(t, struct numbered, task);
    struct poster *p = n->poster;

    if (n->number != p->next++)
        p->out_of_order++;
    if (++*p->total == POSTERS * POSTS_EACH)
        *p->all = true;
}

static void *poster_main(void *arg)
{
    struct poster *p = arg;

    for (unsigned i = 0; i < POSTS_EACH; i++) {
        p->tasks[i] = (struct numbered){{.run = numbered_run}, i, p};
        loop_post(p->loop, &p->tasks[i].task);
    }
    return NULL;
}

static void posts_of_many_threads_all_arrive_each_in_order(void)
{
    static struct poster posters[POSTERS];
    struct world w;
    unsigned total = 0;
    bool all = false;

    world_init(&w);
    for (int i = 0; i < POSTERS; i++) {
        posters[i].next = posters[i].out_of_order = 0;
        posters[i].loop = w.loop;
        posters[i].total = &total;
        posters[i].all = &all;
        CHECK_EQ(
            pthread_create(&posters[i].thread, NULL, poster_main, &posters[i]),
            0);
    }
    world_run_until(&w, &all);
    CHECK_EQ(total, POSTERS * POSTS_EACH);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        CHECK_EQ(posters[i].out_of_order, 0);
    }
    world_fini(&w);
}

/* -- timers ---------------------------------------------------------------- */

struct bell {
    struct timer timer;
    char c;
    struct loop *again; /* set itself to 0 ms once */
    struct timer *cancels;
    struct loop *loop;
};

static void bell_fire(struct timer *t)
{
    struct bell *b = container_of(t, struct bell, timer);
    struct loop *again = b->again;

    trail_add(b->c);
    b->again = NULL;
    if (again)
        loop_timer_set(again, t, 0);
    if (b->cancels)
        loop_timer_cancel(b->loop, b->cancels);
}

static void timers_fire_by_time_and_equals_in_order_of_setting(void)
{
    struct world w;
    struct bell b[4] = {{.c = 'x'}, {.c = 'a'}, {.c = 'b'}, {.c = 'c'}};

    world_init_manual_clock(&w);
    trail[0] = '\0';
    for (int i = 0; i < 4; i++) {
        b[i].timer.fire = bell_fire;
        loop_timer_set(w.loop, &b[i].timer, i ? 5 : 9);
    }
    w.clock.at_ns += 5 * NS_PER_MS - 1;
    loop_run_ready(w.loop);
    CHECK_STR(trail, "");
    w.clock.at_ns += 1;
    loop_run_ready(w.loop);
    CHECK_STR(trail, "abc");
    w.clock.at_ns += 4 * NS_PER_MS;
    loop_run_ready(w.loop);
    CHECK_STR(trail, "abcx");
    world_fini(&w);
}

static void timer_set_again_moves_and_canceled_timer_is_silent(void)
{
    struct world w;
    struct bell a = {.timer.fire = bell_fire, .c = 'a'};
    struct bell b = {.timer.fire = bell_fire, .c = 'b'};

    world_init_manual_clock(&w);
    trail[0] = '\0';
    loop_timer_set(w.loop, &a.timer, 1);
    loop_timer_set(w.loop, &b.timer, 2);
    loop_timer_set(w.loop, &a.timer, 3);
    loop_timer_set(w.loop, &a.timer, 4); /* the last of the list, again */
    loop_timer_set(w.loop, &a.timer, 3);
    loop_timer_cancel(w.loop, &b.timer);
    loop_timer_cancel(w.loop, &b.timer);
    w.clock.at_ns += 2 * NS_PER_MS;
    loop_run_ready(w.loop);
    CHECK_STR(trail, "");
    w.clock.at_ns += 1 * NS_PER_MS;
    loop_run_ready(w.loop);
    CHECK_STR(trail, "a");
    world_fini(&w);
}

static void timer_may_cancel_one_that_is_due_too(void)
{
    struct world w;
    struct bell b = {.timer.fire = bell_fire, .c = 'b'};
    struct bell a = {.timer.fire = bell_fire, .c = 'a', .cancels = &b.timer};

    world_init_manual_clock(&w);
    trail[0] = '\0';
    a.loop = w.loop;
    a.again = w.loop;
    loop_timer_set(w.loop, &a.timer, 1);
    loop_timer_set(w.loop, &b.timer, 1);
    w.clock.at_ns += NS_PER_MS;
    loop_run_ready(w.loop);
    CHECK_STR(trail, "aa");
    world_fini(&w);
}

struct alarm {
    struct timer timer;
    bool rang;
};

static void alarm_fire(struct timer *t)
{
    container_of(t, struct alarm, timer)->rang = true;
}

static void sleep_ends_when_a_timer_is_due(void)
{
    struct world w;
    struct alarm a = {.timer.fire = alarm_fire};
    uint64_t start = clock_now_ns(clock_system());
    uint64_t took;

    world_init(&w);
    loop_timer_set(w.loop, &a.timer, 20);
    world_run_until(&w, &a.rang);
    took = clock_now_ns(clock_system()) - start;
    CU_ASSERT_TRUE(took >= 20 * NS_PER_MS);
    CU_ASSERT_TRUE(took < 2 * NS_PER_S);
    CU_ASSERT_TRUE(loop_stats(w.loop).sleeps > 0);
    world_fini(&w);
}

/* -- file descriptors ------------------------------------------------------ */

struct watched {
    struct loop_fd fd;
    struct loop *loop;
    struct watched *removes;
    unsigned seen;
    bool done;
};

static void watched_ready(struct loop_fd *f, uint32_t events)
{
    struct watched *x = container_of(f, struct watched, fd);
    uint64_t n;

    CU_ASSERT_TRUE(events & EPOLLIN);
    CHECK_EQ(read(f->fd, &n, sizeof n), sizeof n);
    x->seen++;
    x->done = true;
    if (x->removes)
        loop_fd_remove(x->loop, &x->removes->fd);
}

static void watched_init(struct watched *x, struct loop *loop)
{
    *x = (struct watched){
        .fd = {eventfd(0, EFD_NONBLOCK), EPOLLIN, watched_ready},
          .loop = loop
    };
    CHECK_OK_FATAL(loop_fd_add(loop, &x->fd));
}

static void ready_fd_is_reported_until_it_is_drained(void)
{
    struct world w;
    struct watched x;
    uint64_t one = 1;

    world_init(&w);
    watched_init(&x, w.loop);
    loop_run_ready(w.loop);
    CHECK_EQ(x.seen, 0);
    CHECK_EQ(write(x.fd.fd, &one, sizeof one), sizeof one);
    world_run_until(&w, &x.done);
    loop_run_ready(w.loop);
    CHECK_EQ(x.seen, 1);
    loop_fd_set(w.loop, &x.fd, 0);
    CHECK_EQ(write(x.fd.fd, &one, sizeof one), sizeof one);
    loop_run_ready(w.loop);
    CHECK_EQ(x.seen, 1);
    loop_fd_remove(w.loop, &x.fd);
    close(x.fd.fd);
    world_fini(&w);
}

static void removed_fd_is_silent_even_in_the_same_turn(void)
{
    struct world w;
    struct watched a, b;
    uint64_t one = 1;

    world_init(&w);
    watched_init(&a, w.loop);
    watched_init(&b, w.loop);
    a.removes = &b;
    b.removes = &a;
    CHECK_EQ(write(a.fd.fd, &one, sizeof one), sizeof one);
    CHECK_EQ(write(b.fd.fd, &one, sizeof one), sizeof one);
    loop_run_ready(w.loop);
    CHECK_EQ(a.seen + b.seen, 1);
    loop_fd_remove(w.loop, a.seen ? &a.fd : &b.fd);
    close(a.fd.fd);
    close(b.fd.fd);
    world_fini(&w);
}

/* -- pollers --------------------------------------------------------------- */

struct ring {
    struct poller poller;
    struct loop_fd bell;
    atomic_uint filled; /* the producer's */
    atomic_bool armed;  /* the producer must ring */
    unsigned taken, arms, disarms;
    bool done;
};

enum { RING_ITEMS = 2000 };

static bool ring_poll(struct poller *p)
{
    struct ring *r = container_of(p, struct ring, poller);
    unsigned filled = atomic_load(&r->filled);

    if (filled == r->taken)
        return false;
    r->taken = filled;
    r->done = r->taken == RING_ITEMS;
    return true;
}

static bool ring_arm(struct poller *p)
{
    struct ring *r = container_of(p, struct ring, poller);

    r->arms++;
    atomic_store(&r->armed, true);
    return atomic_load(&r->filled) != r->taken;
}

static void ring_disarm(struct poller *p)
{
    struct ring *r = container_of(p, struct ring, poller);

    atomic_store(&r->armed, false);
    r->disarms++;
}

static void ring_bell(struct loop_fd *f, uint32_t events)
{
    uint64_t n;

    (void)events;
    if (read(f->fd, &n, sizeof n) < 0)
        CHECK_EQ(errno, EAGAIN);
}

static void *ring_producer(void *arg)
{
    struct ring *r = arg;
    uint64_t one = 1;

    for (unsigned i = 0; i < RING_ITEMS; i++) {
        atomic_fetch_add(&r->filled, 1);
        if (atomic_load(&r->armed) &&
            write(r->bell.fd, &one, sizeof one) != sizeof one)
            abort();
        if (i % 3 == 0)
            usleep(20);
    }
    return NULL;
}

static void armed_poller_wakes_a_sleeping_loop(void)
{
    struct world w;
    struct ring r = {
        .poller = {.poll = ring_poll, .arm = ring_arm, .disarm = ring_disarm},
    };
    pthread_t producer;

    world_init(&w);
    r.bell = (struct loop_fd){.events = EPOLLIN, .ready = ring_bell};
    r.bell.fd = eventfd(0, EFD_NONBLOCK);
    CHECK_OK_FATAL(loop_fd_add(w.loop, &r.bell));
    loop_poller_add(w.loop, &r.poller);
    CHECK_EQ(pthread_create(&producer, NULL, ring_producer, &r), 0);
    world_run_until(&w, &r.done);
    pthread_join(producer, NULL);
    CHECK_EQ(r.taken, RING_ITEMS);
    CHECK_EQ(r.arms, r.disarms);
    loop_poller_remove(w.loop, &r.poller);
    loop_fd_remove(w.loop, &r.bell);
    close(r.bell.fd);
    world_fini(&w);
}

/* -- stop ------------------------------------------------------------------ */

struct errand {
    struct task there, back;
    struct loop *home;
    bool done;
};

static void errand_came_back(struct task *task)
{
    container_of(task, struct errand, back)->done = true;
}

static void errand_arrived(struct task *task)
{
    struct errand *e = container_of(task, struct errand, there);

    loop_post(e->home, &e->back);
}

/* The answer is the end of the loop that it comes to, while who sent it may
 * still be about to wake that loop: it must not do so in freed memory, nor
 * write into a descriptor that is another's now.  TSan sees it at once. */
static void loop_may_end_with_the_task_that_came_last(void)
{
    struct reactor *r;

    CHECK_OK_FATAL(reactor_start(&(struct loop_args){.name = "far"}, &r));
    for (int i = 0; i < 200; i++) {
        struct errand e = {.there.run = errand_arrived,
                           .back.run = errand_came_back};

        CHECK_OK_FATAL(loop_new(
            &(struct loop_args){.name = "brief", .spin_us = 50}, &e.home));
        loop_post(reactor_loop(r), &e.there);
        loop_run_until(e.home, &e.done);
        loop_free(e.home);
    }
    reactor_stop(r);
}

static void stop_wakes_a_sleeping_reactor(void)
{
    struct reactor *r;

    for (int i = 0; i < 200; i++) {
        CHECK_OK_FATAL(reactor_start(
            &(struct loop_args){.name = "r", .spin_us = i % 2 ? 50 : 0}, &r));
        if (i % 3 == 0)
            usleep(100);
        reactor_stop(r);
    }
}

static const struct test tests[] = {
    TEST(tasks_run_in_order_of_posting),
    TEST(task_posted_by_a_task_runs_behind_its_batch),
    TEST(nested_run_until_goes_on_with_the_same_batch),
    TEST(sleeping_loops_miss_no_post_of_each_other),
    TEST(posts_of_many_threads_all_arrive_each_in_order),
    TEST(timers_fire_by_time_and_equals_in_order_of_setting),
    TEST(timer_set_again_moves_and_canceled_timer_is_silent),
    TEST(timer_may_cancel_one_that_is_due_too),
    TEST(sleep_ends_when_a_timer_is_due),
    TEST(ready_fd_is_reported_until_it_is_drained),
    TEST(removed_fd_is_silent_even_in_the_same_turn),
    TEST(armed_poller_wakes_a_sleeping_loop),
    TEST(loop_may_end_with_the_task_that_came_last),
    TEST(stop_wakes_a_sleeping_reactor),
};
TEST_SUITE("base/loop", tests);
