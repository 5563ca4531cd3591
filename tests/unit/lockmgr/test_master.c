/* tests/unit/lockmgr/test_master.c - each rule of the lock master, as a short
 * history: requests on one side, the answers as text on the other.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

enum { LOCKS_MAX = 3 };

struct desk {
    struct lm_master_sink sink;
    struct lm_master *m;
    char said[1024]; /* since it was read */
};

static void note(struct lm_master_sink *sink, const struct lm_answer *a)
{
    static const char *const ops[] = {"grant", "deny", "unlocked", "bast"};
    struct desk *d = container_of(sink, struct desk, sink);
    size_t used = strlen(d->said);

    snprintf(d->said + used, sizeof d->said - used, "%s%s %u.%llu %s%s%s",
             used ? ", " : "", ops[a->op], a->to.node,
             (unsigned long long)a->lock, lm_mode_name(a->mode),
             a->error ? " " : "", a->error ? err_name(a->error) : "");
}

static enum err step(struct desk *d, struct lm_master_event event)
{
    return lm_master_step(d->m, &event, &d->sink, NULL);
}

static void desk_init(struct desk *d)
{
    *d = (struct desk){.sink.put = note};
    CHECK_OK_FATAL(lm_master_new(7, LOCKS_MAX, &d->m));
}

static void desk_serves(struct desk *d)
{
    desk_init(d);
    CHECK_OK(step(d, (struct lm_master_event){.type = LM_MASTER_SERVE}));
}

/* One request on resource 1, and what it made the master say. */
static const char *ask(struct desk *d, enum lm_request_op op, uint32_t node,
                       uint64_t lock, uint64_t seq, enum lm_mode mode,
                       uint32_t flags)
{
    const struct lm_request r = {
        .op = op,
        .from = {node, 100   },
        .epoch = 7,
        .lock = lock,
        .seq = seq,
        .resource = {1,    {1, 0}},
        .mode = mode,
        .flags = flags,
    };

    d->said[0] = 0;
    CHECK_OK(step(
        d, (struct lm_master_event){.type = LM_MASTER_REQUEST, .request = &r}));
    return d->said;
}

static const char *say(struct desk *d, enum lm_master_event_type type,
                       uint32_t node)
{
    d->said[0] = 0;
    CHECK_OK(step(d, (struct lm_master_event){
                         .type = type, .peer = {node, 100}
    }));
    return d->said;
}

static enum err report(struct desk *d, uint32_t node, uint64_t lock,
                       enum lm_mode mode, struct diag *why)
{
    const struct lm_report r = {
        .from = {node, 100   },
        .epoch = 7,
        .lock = lock,
        .seq = 5,
        .resource = {1,    {1, 0}},
        .mode = mode
    };

    return lm_master_step(
        d->m, &(struct lm_master_event){.type = LM_MASTER_REPORT, .report = &r},
        &d->sink, why);
}

static void readers_share_and_a_writer_waits_for_all_of_them(void)
{
    struct desk d;

    desk_serves(&d);
    CHECK_STR(ask(&d, LM_LOCK, 1, 1, 1, LM_PR, 0), "grant 1.1 PR");
    CHECK_STR(ask(&d, LM_LOCK, 2, 1, 1, LM_PR, 0), "grant 2.1 PR");
    CHECK_STR(ask(&d, LM_LOCK, 3, 1, 1, LM_EX, 0), "bast 1.1 EX, bast 2.1 EX");
    CHECK_STR(ask(&d, LM_UNLOCK, 1, 1, 2, LM_NL, 0), "unlocked 1.1 NL");
    CHECK_STR(ask(&d, LM_UNLOCK, 2, 1, 2, LM_NL, 0),
              "unlocked 2.1 NL, grant 3.1 EX");
    lm_master_free(d.m);
}

static void who_came_first_is_served_first(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_EX, 0);
    ask(&d, LM_LOCK, 2, 1, 1, LM_EX, 0);
    CHECK_STR(ask(&d, LM_LOCK, 3, 1, 1, LM_PR, 0), ""); /* EX was said */
    CHECK_STR(ask(&d, LM_CONVERT, 1, 1, 2, LM_PR, 0),
              "grant 1.1 PR, bast 1.1 EX"); /* 3 does not pass 2 */
    CHECK_STR(ask(&d, LM_UNLOCK, 1, 1, 3, LM_NL, 0),
              "unlocked 1.1 NL, grant 2.1 EX, bast 2.1 PR");
    lm_master_free(d.m);
}

static void a_conversion_goes_before_a_new_lock(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_CR, 0);
    ask(&d, LM_LOCK, 2, 1, 1, LM_PW, 0);
    CHECK_STR(ask(&d, LM_LOCK, 3, 1, 1, LM_PR, 0), "bast 2.1 PR");
    CHECK_STR(ask(&d, LM_CONVERT, 1, 1, 2, LM_PW, 0), "bast 2.1 PW");
    CHECK_STR(ask(&d, LM_UNLOCK, 2, 1, 2, LM_NL, 0),
              "unlocked 2.1 NL, grant 1.1 PW, bast 1.1 PR");
    lm_master_free(d.m);
}

static void conversions_up_down_and_in_place(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_PR, 0);
    CHECK_STR(ask(&d, LM_CONVERT, 1, 1, 2, LM_EX, 0), "grant 1.1 EX");
    CHECK_STR(ask(&d, LM_CONVERT, 1, 1, 3, LM_EX, 0), "grant 1.1 EX");
    CHECK_STR(ask(&d, LM_CONVERT, 1, 1, 4, LM_CR, 0), "grant 1.1 CR");
    lm_master_free(d.m);
}

static void a_holder_is_told_once_for_each_mode_in_conflict(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_EX, 0);
    CHECK_STR(ask(&d, LM_LOCK, 2, 1, 1, LM_CR, 0), "bast 1.1 CR");
    CHECK_STR(ask(&d, LM_LOCK, 3, 1, 1, LM_CR, 0), "");
    CHECK_STR(ask(&d, LM_LOCK, 4, 1, 1, LM_PW, 0), "bast 1.1 PW");
    CHECK_STR(ask(&d, LM_LOCK, 5, 1, 1, LM_PR, 0), ""); /* PW stands for it */
    CHECK_STR(say(&d, LM_MASTER_RESEND, 1), "bast 1.1 PW");
    lm_master_free(d.m);
}

static void noqueue_fails_at_once_and_leaves_nothing(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_EX, 0);
    CHECK_STR(ask(&d, LM_LOCK, 2, 1, 1, LM_PR, LM_NOQUEUE),
              "deny 2.1 NL E_AGAIN");
    CHECK_STR(ask(&d, LM_LOCK, 2, 2, 1, LM_PR, LM_NOQUEUE | LM_NOQUEUEBAST),
              "deny 2.2 NL E_AGAIN, bast 1.1 PR");
    CHECK_EQ(lm_master_count(d.m, NULL), 1);
    CHECK_STR(ask(&d, LM_UNLOCK, 1, 1, 2, LM_NL, 0), "unlocked 1.1 NL");
    CHECK_STR(ask(&d, LM_LOCK, 2, 3, 1, LM_PR, LM_NOQUEUE), "grant 2.3 PR");
    lm_master_free(d.m);
}

static void a_noqueue_conversion_that_fails_keeps_what_it_had(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_PR, 0);
    ask(&d, LM_LOCK, 2, 1, 1, LM_PR, 0);
    CHECK_STR(ask(&d, LM_CONVERT, 2, 1, 2, LM_EX, LM_NOQUEUE),
              "deny 2.1 PR E_AGAIN");
    CHECK_STR(ask(&d, LM_CONVERT, 2, 1, 2, LM_EX, LM_NOQUEUE),
              "deny 2.1 PR E_AGAIN"); /* the same request again */
    lm_master_free(d.m);
}

static void two_readers_who_both_want_to_write_the_later_is_denied(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_PR, 0);
    ask(&d, LM_LOCK, 2, 1, 1, LM_PR, 0);
    CHECK_STR(ask(&d, LM_CONVERT, 1, 1, 2, LM_EX, 0), "bast 2.1 EX");
    CHECK_STR(ask(&d, LM_CONVERT, 2, 1, 2, LM_EX, 0), "deny 2.1 PR E_DEADLOCK");
    CHECK_STR(ask(&d, LM_UNLOCK, 2, 1, 3, LM_NL, 0),
              "unlocked 2.1 NL, grant 1.1 EX");
    lm_master_free(d.m);
}

static void a_canceled_lock_is_gone_a_canceled_conversion_is_as_before(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_PR, 0);
    ask(&d, LM_LOCK, 2, 1, 1, LM_PR, 0);
    ask(&d, LM_LOCK, 3, 1, 1, LM_EX, 0);
    CHECK_STR(ask(&d, LM_CANCEL, 3, 1, 2, LM_NL, 0), "deny 3.1 NL E_CANCELED");
    CHECK_STR(ask(&d, LM_LOCK, 4, 1, 1, LM_PR, 0), "grant 4.1 PR");
    ask(&d, LM_CONVERT, 1, 1, 2, LM_EX, 0);
    CHECK_STR(ask(&d, LM_CANCEL, 1, 1, 3, LM_NL, 0), "grant 1.1 PR");
    CHECK_STR(ask(&d, LM_LOCK, 3, 2, 1, LM_PR, 0), "grant 3.2 PR");
    lm_master_free(d.m);
}

static void a_cancel_that_comes_after_the_grant_says_what_is_held(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_PW, 0);
    CHECK_STR(ask(&d, LM_CANCEL, 1, 1, 2, LM_NL, 0), "grant 1.1 PW");
    lm_master_free(d.m);
}

static void a_request_that_comes_twice_never_makes_a_second_lock(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_PR, 0);
    CHECK_STR(ask(&d, LM_LOCK, 1, 1, 1, LM_PR, 0), "grant 1.1 PR");
    CHECK_EQ(lm_master_count(d.m, NULL), 1);
    ask(&d, LM_LOCK, 2, 1, 1, LM_EX, 0);
    CHECK_STR(ask(&d, LM_LOCK, 2, 1, 1, LM_EX, 0), ""); /* it waits */
    CHECK_EQ(lm_master_count(d.m, NULL), 2);
    ask(&d, LM_UNLOCK, 1, 1, 2, LM_NL, 0);
    CHECK_STR(ask(&d, LM_UNLOCK, 1, 1, 2, LM_NL, 0), "unlocked 1.1 NL");
    CHECK_EQ(lm_master_count(d.m, NULL), 1);
    lm_master_free(d.m);
}

static void a_request_overtaken_by_a_later_one_does_nothing(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_PR, 0);
    ask(&d, LM_CONVERT, 1, 1, 3, LM_CR, 0);
    CHECK_STR(ask(&d, LM_CONVERT, 1, 1, 2, LM_EX, 0), "");
    CHECK_STR(ask(&d, LM_LOCK, 2, 1, 1, LM_PW, 0), "grant 2.1 PW");
    lm_master_free(d.m);
}

static void a_node_with_too_many_locks_is_told_so_the_others_are_not(void)
{
    struct desk d;

    desk_serves(&d);
    for (uint64_t i = 1; i <= LOCKS_MAX; i++)
        CHECK_CONTAINS(ask(&d, LM_LOCK, 1, i, 1, LM_NL, 0), "grant");
    CHECK_STR(ask(&d, LM_LOCK, 1, 9, 1, LM_NL, 0), "deny 1.9 NL E_NOLCK");
    CHECK_STR(ask(&d, LM_LOCK, 2, 1, 1, LM_NL, 0), "grant 2.1 NL");
    lm_master_free(d.m);
}

static void what_a_fenced_incarnation_had_is_free_and_it_is_refused(void)
{
    const struct lm_request late = {
        .op = LM_LOCK,
        .from = {1, 100   },
        .epoch = 7,
        .lock = 8,
        .seq = 1,
        .resource = {1, {1, 0}},
        .mode = LM_EX
    };
    struct lm_request next = late;
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_EX, 0);
    ask(&d, LM_LOCK, 2, 1, 1, LM_EX, 0);
    ask(&d, LM_LOCK, 1, 2, 1, LM_EX, 0);
    CHECK_STR(say(&d, LM_MASTER_DROP, 1), "grant 2.1 EX");
    CHECK_ERR(step(&d, (struct lm_master_event){.type = LM_MASTER_REQUEST,
                                                .request = &late}),
              E_FENCED);
    next.from.incarnation = 101;
    CHECK_OK(step(&d, (struct lm_master_event){.type = LM_MASTER_REQUEST,
                                               .request = &next}));
    CHECK_EQ(lm_master_count(d.m, NULL), 2);
    lm_master_free(d.m);
}

static void nothing_is_said_before_the_master_serves(void)
{
    const struct lm_request r = {
        .op = LM_LOCK,
        .from = {1, 100},
        .epoch = 7,
        .lock = 1,
        .seq = 1,
        .mode = LM_CR
    };
    const struct lm_master_event e = {.type = LM_MASTER_REQUEST, .request = &r};
    struct desk d;

    desk_init(&d);
    CHECK_ERR(step(&d, e), E_AGAIN);
    CHECK_OK(step(&d, (struct lm_master_event){.type = LM_MASTER_SERVE}));
    CHECK_STR(d.said, "");
    CHECK_OK(step(&d, e));
    CHECK_STR(d.said, "grant 1.1 CR");
    CHECK_OK(step(&d, (struct lm_master_event){.type = LM_MASTER_STOP}));
    CHECK_ERR(step(&d, e), E_AGAIN);
    lm_master_free(d.m);
}

static void a_drop_during_silence_grants_when_the_master_serves_again(void)
{
    struct desk d;

    desk_serves(&d);
    ask(&d, LM_LOCK, 1, 1, 1, LM_EX, 0);
    ask(&d, LM_LOCK, 2, 1, 1, LM_EX, 0);
    say(&d, LM_MASTER_STOP, 0);
    CHECK_STR(say(&d, LM_MASTER_DROP, 1), "");
    CHECK_STR(say(&d, LM_MASTER_SERVE, 0), "grant 2.1 EX");
    lm_master_free(d.m);
}

static void reported_locks_are_held_under_the_new_master(void)
{
    struct desk d;

    desk_init(&d);
    CHECK_OK(report(&d, 1, 4, LM_PR, NULL));
    CHECK_OK(report(&d, 2, 4, LM_PR, NULL));
    CHECK_OK(report(&d, 2, 4, LM_PR, NULL)); /* sent twice */
    CHECK_EQ(lm_master_count(d.m, NULL), 2);
    say(&d, LM_MASTER_SERVE, 0);
    CHECK_STR(ask(&d, LM_LOCK, 3, 1, 1, LM_PW, 0), "bast 1.4 PW, bast 2.4 PW");
    CHECK_STR(ask(&d, LM_CONVERT, 1, 4, 6, LM_CR, 0), "grant 1.4 CR");
    lm_master_free(d.m);
}

static void a_report_that_contradicts_another_is_refused(void)
{
    struct desk d;
    struct diag why;

    desk_init(&d);
    CHECK_OK(report(&d, 1, 4, LM_EX, NULL));
    CHECK_ERR(report(&d, 2, 9, LM_PR, &why), E_PROTOCOL);
    CHECK_CONTAINS(why.text, "node 2: lock 9");
    CHECK_ERR(report(&d, 1, 4, LM_PR, &why), E_PROTOCOL);
    CHECK_EQ(lm_master_count(d.m, NULL), 1);
    say(&d, LM_MASTER_SERVE, 0);
    CHECK_ERR(report(&d, 3, 1, LM_CR, &why), E_PROTOCOL);
    lm_master_free(d.m);
}

static void messages_that_no_node_sends_are_refused(void)
{
    struct lm_request r = {
        .op = LM_LOCK,
        .from = {1, 100},
        .epoch = 6,
        .lock = 1,
        .seq = 1,
        .mode = LM_CR
    };
    const struct lm_master_event e = {.type = LM_MASTER_REQUEST, .request = &r};
    struct desk d;

    desk_serves(&d);
    CHECK_ERR(step(&d, e), E_EPOCH);
    r.epoch = 7;
    r.mode = LM_MODE_COUNT;
    CHECK_ERR(step(&d, e), E_PROTOCOL);
    r.mode = LM_CR;
    r.op = (enum lm_request_op)9;
    CHECK_ERR(step(&d, e), E_PROTOCOL);
    CHECK_EQ(lm_master_count(d.m, NULL), 0);
    lm_master_free(d.m);
}

static const struct test tests[] = {
    TEST(readers_share_and_a_writer_waits_for_all_of_them),
    TEST(who_came_first_is_served_first),
    TEST(a_conversion_goes_before_a_new_lock),
    TEST(conversions_up_down_and_in_place),
    TEST(a_holder_is_told_once_for_each_mode_in_conflict),
    TEST(noqueue_fails_at_once_and_leaves_nothing),
    TEST(a_noqueue_conversion_that_fails_keeps_what_it_had),
    TEST(two_readers_who_both_want_to_write_the_later_is_denied),
    TEST(a_canceled_lock_is_gone_a_canceled_conversion_is_as_before),
    TEST(a_cancel_that_comes_after_the_grant_says_what_is_held),
    TEST(a_request_that_comes_twice_never_makes_a_second_lock),
    TEST(a_request_overtaken_by_a_later_one_does_nothing),
    TEST(a_node_with_too_many_locks_is_told_so_the_others_are_not),
    TEST(what_a_fenced_incarnation_had_is_free_and_it_is_refused),
    TEST(nothing_is_said_before_the_master_serves),
    TEST(a_drop_during_silence_grants_when_the_master_serves_again),
    TEST(reported_locks_are_held_under_the_new_master),
    TEST(a_report_that_contradicts_another_is_refused),
    TEST(messages_that_no_node_sends_are_refused),
};
TEST_SUITE("lockmgr/master", tests);
