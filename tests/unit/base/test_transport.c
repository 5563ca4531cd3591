/* tests/unit/base/test_transport.c - messages between hosts of one process.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <stdio.h>
#include <string.h>

/* A host that writes down what it hears: "1:hello " or "1:lost ". */
struct host {
    struct transport_ear ear;
    struct transport *transport;
    char heard[256];
};

static void hear(struct transport_ear *ear, uint32_t from, const void *bytes,
                 size_t count)
{
    struct host *h = container_of(ear, struct host, ear);
    size_t used = strlen(h->heard);

    snprintf(h->heard + used, sizeof h->heard - used, "%u:%.*s ", from,
             (int)count, (const char *)bytes);
}

static void hear_loss(struct transport_ear *ear, uint32_t from)
{
    hear(ear, from, "lost", 4);
}

static void hear_meeting(struct transport_ear *ear, uint32_t from,
                         uint64_t incarnation)
{
    char text[32];

    snprintf(text, sizeof text, "met%llu", (unsigned long long)incarnation);
    hear(ear, from, text, strlen(text));
}

struct fixture {
    struct world w;
    struct transport_hub *hub;
    struct host hosts[3];
};

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    world_init(&f->w);
    CHECK_OK_FATAL(transport_hub_new(&f->hub));
    for (uint32_t i = 0; i < 3; i++) {
        f->hosts[i].ear = (struct transport_ear){
            .receive = hear, .lost = hear_loss, .met = hear_meeting};
        CHECK_OK_FATAL(transport_hub_join(f->hub, i, 10 + i, f->w.loop,
                                          &f->hosts[i].ear,
                                          &f->hosts[i].transport));
    }
    loop_run_ready(f->w.loop);
    CHECK_STR(f->hosts[0].heard, "1:met11 2:met12 ");
    for (uint32_t i = 0; i < 3; i++)
        f->hosts[i].heard[0] = '\0';
}

static void fixture_fini(struct fixture *f)
{
    for (int i = 0; i < 3; i++)
        transport_close(f->hosts[i].transport);
    loop_run_ready(f->w.loop);
    transport_hub_free(f->hub);
    world_fini(&f->w);
}

static enum err say(struct fixture *f, uint32_t from, uint32_t to,
                    const char *text)
{
    return transport_send(f->hosts[from].transport, to, text, strlen(text));
}

static void messages_arrive_in_order_and_never_inside_the_send(void)
{
    struct fixture f;

    fixture_init(&f);
    CHECK_OK(say(&f, 0, 1, "a"));
    CHECK_OK(say(&f, 2, 1, "b"));
    CHECK_OK(say(&f, 0, 1, "c"));
    CHECK_OK(say(&f, 1, 1, "self"));
    CHECK_STR(f.hosts[1].heard, "");
    loop_run_ready(f.w.loop);
    CHECK_STR(f.hosts[1].heard, "0:a 2:b 0:c 1:self ");
    CHECK_STR(f.hosts[0].heard, "");
    fixture_fini(&f);
}

static void cut_drops_what_is_on_its_way_and_tells_both(void)
{
    struct fixture f;

    fixture_init(&f);
    CHECK_OK(say(&f, 0, 1, "early"));
    CHECK_OK(say(&f, 2, 1, "other"));
    transport_hub_cut(f.hub, 0, 1);
    CHECK_ERR(say(&f, 0, 1, "late"), E_CLOSED);
    CHECK_ERR(say(&f, 1, 0, "late"), E_CLOSED);
    loop_run_ready(f.w.loop);
    CHECK_STR(f.hosts[1].heard, "2:other 0:lost ");
    CHECK_STR(f.hosts[0].heard, "1:lost ");
    transport_hub_heal(f.hub, 0, 1);
    CHECK_OK(say(&f, 0, 1, "again"));
    loop_run_ready(f.w.loop);
    CHECK_STR(f.hosts[1].heard, "2:other 0:lost 0:met10 0:again ");
    CHECK_STR(f.hosts[0].heard, "1:lost 1:met11 ");
    fixture_fini(&f);
}

static void host_that_leaves_is_lost_to_the_others_and_may_come_back(void)
{
    struct fixture f;

    fixture_init(&f);
    CHECK_OK(say(&f, 0, 1, "to the grave"));
    CHECK_OK(say(&f, 1, 0, "last words"));
    transport_close(f.hosts[1].transport);
    CHECK_ERR(say(&f, 0, 1, "anybody"), E_CLOSED);
    loop_run_ready(f.w.loop);
    CHECK_STR(f.hosts[1].heard, "");
    CHECK_STR(f.hosts[0].heard, "1:lost ");
    CHECK_STR(f.hosts[2].heard, "1:lost ");
    CHECK_OK(transport_hub_join(f.hub, 1, 21, f.w.loop, &f.hosts[1].ear,
                                &f.hosts[1].transport));
    CHECK_OK(say(&f, 0, 1, "hello"));
    loop_run_ready(f.w.loop);
    CHECK_STR(f.hosts[1].heard, "0:met10 2:met12 0:hello ");
    CHECK_STR(f.hosts[0].heard, "1:lost 1:met21 ");
    fixture_fini(&f);
}

static void every_meeting_has_its_loss_however_fast_they_change(void)
{
    struct fixture f;

    fixture_init(&f);
    transport_hub_cut(f.hub, 0, 1);
    transport_hub_cut(f.hub, 0, 1);
    transport_hub_heal(f.hub, 0, 1);
    transport_hub_heal(f.hub, 0, 1);
    transport_close(f.hosts[0].transport);
    CHECK_OK(transport_hub_join(f.hub, 0, 20, f.w.loop, &f.hosts[0].ear,
                                &f.hosts[0].transport));
    transport_hub_cut(f.hub, 0, 1);
    loop_run_ready(f.w.loop);
    CHECK_STR(f.hosts[1].heard, "0:lost 0:met10 0:lost 0:met20 0:lost ");
    CHECK_STR(f.hosts[0].heard, "1:met11 2:met12 1:lost ");
    transport_close(f.hosts[1].transport);
    loop_run_ready(f.w.loop);
    CHECK_STR(f.hosts[0].heard, "1:met11 2:met12 1:lost ");
    fixture_fini(&f);
}

static void pieces_are_one_message(void)
{
    struct fixture f;
    char a[] = "he", b[] = "llo";
    const struct iovec iov[] = {
        {a, 2},
        {b, 0},
        {b, 3}
    };

    fixture_init(&f);
    CHECK_OK(transport_sendv(f.hosts[0].transport, 1, iov, 3));
    loop_run_ready(f.w.loop);
    CHECK_STR(f.hosts[1].heard, "0:hello ");
    fixture_fini(&f);
}

static void what_cannot_be_sent_is_refused(void)
{
    struct transport *again = NULL;
    struct fixture f;

    fixture_init(&f);
    CHECK_ERR(say(&f, 0, 9, "nobody"), E_CLOSED);
    CHECK_ERR(say(&f, 0, 4711, "nowhere"), E_CLOSED);
    CHECK_ERR(transport_send(f.hosts[0].transport, 1, "",
                             TRANSPORT_MESSAGE_BYTES_MAX + 1),
              E_TOO_BIG);
    CHECK_ERR(
        transport_hub_join(f.hub, 1, 2, f.w.loop, &f.hosts[1].ear, &again),
        E_EXIST);
    CHECK_ERR(transport_hub_join(f.hub, TRANSPORT_HUB_HOSTS_MAX, 1, f.w.loop,
                                 &f.hosts[1].ear, &again),
              E_RANGE);
    fixture_fini(&f);
}

/* Two reactors throw a ball; each throw is a message. */
struct player {
    struct transport_ear ear;
    struct transport *transport;
    unsigned left;
    struct loop *home;
    struct task over;
};

static bool game_over;

static void player_over(struct task *t)
{
    (void)t;
    game_over = true;
}

static void player_catch(struct transport_ear *ear, uint32_t from,
                         const void *bytes, size_t count)
{
    struct player *p = container_of(ear, struct player, ear);

    if (p->left-- == 0 || transport_send(p->transport, from, bytes, count))
        loop_post(p->home, &p->over);
}

static void player_alone(struct transport_ear *ear, uint32_t from)
{
    (void)ear;
    (void)from;
}

static void hosts_on_two_reactors_talk(void)
{
    struct reactor *r[2];
    struct player p[2];
    struct transport_hub *hub;
    struct world w;

    world_init(&w);
    game_over = false;
    CHECK_OK_FATAL(transport_hub_new(&hub));
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_OK_FATAL(reactor_start(&(struct loop_args){.name = "t"}, &r[i]));
        p[i] = (struct player){
            .ear = {.receive = player_catch, .lost = player_alone},
            .left = 500,
            .home = w.loop,
            .over.run = player_over
        };
        CHECK_OK_FATAL(transport_hub_join(hub, i, 1, reactor_loop(r[i]),
                                          &p[i].ear, &p[i].transport));
    }
    CHECK_OK(transport_send(p[0].transport, 1, "ball", 4));
    world_run_until(&w, &game_over);
    for (int i = 0; i < 2; i++)
        reactor_stop(r[i]);
    transport_hub_free(hub);
    world_fini(&w);
}

static const struct test tests[] = {
    TEST(messages_arrive_in_order_and_never_inside_the_send),
    TEST(cut_drops_what_is_on_its_way_and_tells_both),
    TEST(host_that_leaves_is_lost_to_the_others_and_may_come_back),
    TEST(every_meeting_has_its_loss_however_fast_they_change),
    TEST(pieces_are_one_message),
    TEST(what_cannot_be_sent_is_refused),
    TEST(hosts_on_two_reactors_talk),
};
TEST_SUITE("base/transport", tests);
