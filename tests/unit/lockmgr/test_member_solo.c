/* tests/unit/lockmgr/test_member_solo.c - the cluster of one.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <string.h>

struct owner {
    struct member_ear ear;
    struct member *member;
    unsigned views;
    char heard[64];
    bool ended;
    enum member_end end;
};

static void tell_view(struct member_ear *ear, const struct member_view *view)
{
    (void)view;
    container_of(ear, struct owner, ear)->views++;
}

/* Answers "ping" from inside of the ear. */
static void tell_message(struct member_ear *ear, uint32_t node,
                         uint64_t incarnation, const void *bytes, size_t count)
{
    struct owner *o = container_of(ear, struct owner, ear);

    CHECK_EQ(node, 7);
    CHECK_EQ(incarnation, 100);
    strncat(o->heard, bytes, count);
    if (count == 4 && memcmp(bytes, "ping", 4) == 0)
        CHECK_OK(member_send(o->member, " pong", 5));
}

static void tell_end(struct member_ear *ear, enum member_end end,
                     const char *why)
{
    struct owner *o = container_of(ear, struct owner, ear);

    (void)why;
    o->ended = true;
    o->end = end;
}

static void open_one(struct world *w, struct owner *o)
{
    struct member_args args = {
        .ear = &o->ear,
        .me = {.node = 7,
               .incarnation = 100,
               .name = "only",
               .version_min = 1,
               .version_max = 1},
    };

    world_init(w);
    args.loop = w->loop;
    *o = (struct owner){
        .ear = {tell_view, tell_message, tell_end}
    };
    CHECK_OK_FATAL(member_open_solo(&args, &o->member, NULL));
    CHECK_ERR(member_send(o->member, "early", 5), E_NO_QUORUM);
    loop_run_ready(w->loop);
}

static void close_one(struct world *w, struct owner *o)
{
    member_close(o->member);
    loop_run_ready(w->loop);
    world_fini(w);
}

static void one_is_quorate_by_itself(void)
{
    struct world w;
    struct owner o;

    open_one(&w, &o);
    CU_ASSERT_TRUE(o.views > 0);
    CU_ASSERT_TRUE(member_view(o.member)->quorate);
    CHECK_EQ(member_view(o.member)->member_count, 1);
    CHECK_STR(member_view(o.member)->members[0].name, "only");
    close_one(&w, &o);
}

static void what_it_sends_comes_back_later(void)
{
    struct world w;
    struct owner o;

    open_one(&w, &o);
    CHECK_OK(member_send(o.member, "ping", 4));
    CHECK_STR(o.heard, "");
    loop_run_ready(w.loop);
    CHECK_STR(o.heard, "ping pong");
    close_one(&w, &o);
}

static void it_leaves_when_it_is_asked_to(void)
{
    struct world w;
    struct owner o;

    open_one(&w, &o);
    member_leave(o.member);
    loop_run_ready(w.loop);
    CU_ASSERT_TRUE(o.ended);
    CHECK_EQ(o.end, MEMBER_LEFT);
    CU_ASSERT_FALSE(member_view(o.member)->joined);
    CHECK_ERR(member_send(o.member, "late", 4), E_NO_QUORUM);
    close_one(&w, &o);
}

static void closing_drops_what_is_under_way(void)
{
    struct world w;
    struct owner o;

    open_one(&w, &o);
    CHECK_OK(member_send(o.member, "lost", 4));
    close_one(&w, &o);
    CHECK_STR(o.heard, "");
}

static const struct test tests[] = {
    TEST(one_is_quorate_by_itself),
    TEST(what_it_sends_comes_back_later),
    TEST(it_leaves_when_it_is_asked_to),
    TEST(closing_drops_what_is_under_way),
};
TEST_SUITE("lockmgr/member_solo", tests);
