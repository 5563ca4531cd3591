/* tests/unit/lockmgr/test_holder.c - each rule of the lock holder, in every
 * order in which messages can cross.  The test plays the users, the layer that
 * caches, and the master.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/lockmgr.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

enum { LOCKS_MAX = 3 };

struct desk {
    struct lm_holder_sink sink;
    struct lm_holder *h;
    struct lm_request request; /* the last one sent */
    char said[1024];           /* by the last step */
};

static void note(struct lm_holder_sink *sink,
                 const struct lm_holder_effect *effect)
{
    static const char *const ops[] = {"lock", "convert", "unlock", "cancel"};
    struct desk *d = container_of(sink, struct desk, sink);
    size_t used = strlen(d->said);
    char *at = d->said + used;
    size_t room = sizeof d->said - used;

    if (used) {
        *at++ = ' ';
        room--;
    }
    switch (effect->type) {
    case LM_HOLDER_SEND:
        d->request = *effect->request;
        snprintf(at, room, "%s:%s", ops[d->request.op],
                 lm_mode_name(d->request.mode));
        return;
    case LM_HOLDER_REPORT:
        snprintf(at, room, "report:%s", lm_mode_name(effect->report->mode));
        return;
    case LM_HOLDER_DONE:
        snprintf(at, room, "%s:%s", effect->error ? "failed" : "has",
                 effect->error ? err_name(effect->error)
                               : lm_mode_name(effect->user->mode));
        return;
    case LM_HOLDER_REVOKE:
        snprintf(at, room, "revoke:%s", lm_mode_name(effect->mode));
        return;
    }
}

static const char *step(struct desk *d, struct lm_holder_event event)
{
    d->said[0] = 0;
    CHECK_OK(lm_holder_step(d->h, &event, &d->sink, NULL));
    return d->said;
}

static const char *say(struct desk *d, enum lm_holder_event_type type)
{
    return step(d, (struct lm_holder_event){.type = type});
}

static void desk_init(struct desk *d)
{
    *d = (struct desk){.sink.put = note};
    CHECK_OK_FATAL(lm_holder_new(&(struct lm_peer){1, 100}, LOCKS_MAX, &d->h));
    step(d, (struct lm_holder_event){.type = LM_HOLDER_EPOCH, .epoch = 7});
    say(d, LM_HOLDER_CONFIRM);
}

static struct lm_user user(uint64_t number, enum lm_mode mode, uint32_t flags)
{
    return (struct lm_user){
        .resource = {1, {number, 0}},
          .mode = mode, .flags = flags
    };
}

static const char *acquire(struct desk *d, struct lm_user *u)
{
    return step(d,
                (struct lm_holder_event){.type = LM_HOLDER_ACQUIRE, .user = u});
}

static const char *release(struct desk *d, struct lm_user *u)
{
    return step(d,
                (struct lm_holder_event){.type = LM_HOLDER_RELEASE, .user = u});
}

static const char *cancel(struct desk *d, struct lm_user *u)
{
    return step(d,
                (struct lm_holder_event){.type = LM_HOLDER_CANCEL, .user = u});
}

static const char *revoked(struct desk *d, uint64_t number)
{
    return step(d,
                (struct lm_holder_event){
                    .type = LM_HOLDER_REVOKED, .resource = {1, {number, 0}}
    });
}

/* The master's answer to `r`. */
static const char *answer(struct desk *d, const struct lm_request *r,
                          enum lm_answer_op op, enum lm_mode mode,
                          enum err error)
{
    const struct lm_answer a = {
        .op = op,
        .to = {1, 100},
        .epoch = r->epoch,
        .lock = r->lock,
        .seq = r->seq,
        .resource = r->resource,
        .mode = mode,
        .error = error,
    };

    return step(
        d, (struct lm_holder_event){.type = LM_HOLDER_ANSWER, .answer = &a});
}

static const char *grant(struct desk *d)
{
    const struct lm_request r = d->request;

    return answer(d, &r, LM_GRANT, r.mode, E_OK);
}

static const char *bast(struct desk *d, const struct lm_request *granted,
                        enum lm_mode mode)
{
    return answer(d, granted, LM_BAST, mode, E_OK);
}

static void a_cached_lock_costs_no_message(void)
{
    struct lm_user a = user(1, LM_PR, 0), b = user(1, LM_CR, 0);
    struct desk d;

    desk_init(&d);
    CHECK_STR(acquire(&d, &a), "lock:PR");
    CHECK_STR(grant(&d), "has:PR");
    CHECK_STR(release(&d, &a), "");
    for (int i = 0; i < 1000; i++) {
        CHECK_STR(acquire(&d, &a), "has:PR");
        CHECK_STR(acquire(&d, &b), "has:CR");
        CHECK_STR(release(&d, &a), "");
        CHECK_STR(release(&d, &b), "");
    }
    lm_holder_free(d.h);
}

static void users_of_one_node_exclude_each_other(void)
{
    struct lm_user a = user(1, LM_EX, 0), b = user(1, LM_PR, 0);
    struct lm_user c = user(1, LM_PR, 0);
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    CHECK_STR(acquire(&d, &b), "");
    CHECK_STR(acquire(&d, &c), "");
    CHECK_STR(release(&d, &a), "has:PR has:PR");
    lm_holder_free(d.h);
}

static void a_bast_drops_the_cache_first_then_the_lock(void)
{
    struct lm_user a = user(1, LM_EX, 0);
    struct lm_request r;
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    r = d.request;
    release(&d, &a);
    CHECK_STR(bast(&d, &r, LM_PR), "revoke:PR");
    CHECK_EQ(lm_holder_mode(d.h, &a.resource), LM_EX);
    CHECK_STR(revoked(&d, 1), "convert:PR");
    CHECK_EQ(lm_holder_mode(d.h, &a.resource), LM_PR);
    CHECK_STR(grant(&d), "");
    r = d.request;
    CHECK_STR(bast(&d, &r, LM_EX), "revoke:NL");
    CHECK_STR(revoked(&d, 1), "unlock:NL");
    r = d.request;
    CHECK_STR(answer(&d, &r, LM_UNLOCKED, LM_NL, E_OK), "");
    CHECK_STR(acquire(&d, &a), "lock:EX");
    lm_holder_free(d.h);
}

static void a_bast_waits_for_users_and_later_ones_queue(void)
{
    struct lm_user a = user(1, LM_EX, 0), b[LM_HOLD_MIN + 1];
    struct lm_request r;
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    r = d.request;
    CHECK_STR(bast(&d, &r, LM_EX), "");
    for (int i = 0; i < LM_HOLD_MIN + 1; i++)
        b[i] = user(1, LM_PR, 0);
    for (int i = 0; i < LM_HOLD_MIN - 1; i++) /* the grant is good for some */
        CHECK_STR(acquire(&d, &b[i]), "");
    CHECK_STR(release(&d, &a), "has:PR has:PR has:PR");
    CHECK_STR(acquire(&d, &b[LM_HOLD_MIN - 1]), "");
    release(&d, &b[0]);
    release(&d, &b[1]);
    CHECK_STR(release(&d, &b[2]), "revoke:NL");
    CHECK_STR(revoked(&d, 1), "unlock:NL");
    r = d.request;
    CHECK_STR(answer(&d, &r, LM_UNLOCKED, LM_NL, E_OK), "lock:PR");
    CHECK_STR(grant(&d), "has:PR");
    lm_holder_free(d.h);
}

static void a_bast_before_its_grant_is_kept(void)
{
    struct lm_user a = user(1, LM_EX, 0);
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    CHECK_STR(bast(&d, &d.request, LM_PR), "");
    CHECK_STR(grant(&d), "has:EX");
    CHECK_STR(release(&d, &a), "revoke:PR");
    lm_holder_free(d.h);
}

static void a_bast_of_an_earlier_grant_is_late(void)
{
    struct lm_user a = user(1, LM_PR, 0), b = user(1, LM_EX, 0);
    struct lm_request first;
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    first = d.request;
    release(&d, &a);
    CHECK_STR(acquire(&d, &b), "convert:EX");
    grant(&d);
    release(&d, &b);
    CHECK_STR(bast(&d, &first, LM_EX), "");
    CHECK_EQ(lm_holder_mode(d.h, &a.resource), LM_EX);
    lm_holder_free(d.h);
}

static void a_bast_during_a_conversion_waits_for_its_end(void)
{
    struct lm_user a = user(1, LM_PR, 0), b = user(1, LM_EX, 0);
    struct lm_request first;
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    first = d.request;
    release(&d, &a);
    acquire(&d, &b);
    CHECK_STR(bast(&d, &first, LM_EX), "");
    CHECK_STR(answer(&d, &d.request, LM_DENY, LM_PR, E_DEADLOCK), "revoke:NL");
    CHECK_STR(revoked(&d, 1), "unlock:NL");
    CHECK_STR(answer(&d, &d.request, LM_UNLOCKED, LM_NL, E_OK), "lock:EX");
    CHECK_STR(grant(&d), "has:EX");
    lm_holder_free(d.h);
}

static void reads_go_on_while_the_cache_is_dropped(void)
{
    struct lm_user a = user(1, LM_EX, 0);
    struct lm_user plain = user(1, LM_PR, 0);
    struct lm_user read = user(1, LM_PR, LM_WHILE_REVOKED);
    struct lm_user late = user(1, LM_PR, LM_WHILE_REVOKED);
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    release(&d, &a);
    CHECK_STR(bast(&d, &d.request, LM_EX), "revoke:NL");
    CHECK_STR(acquire(&d, &plain), "");
    CHECK_STR(acquire(&d, &read), "has:PR");
    CHECK_STR(revoked(&d, 1), ""); /* the read is not over */
    CHECK_STR(acquire(&d, &late), "");
    CHECK_STR(release(&d, &read), "unlock:NL");
    lm_holder_free(d.h);
}

static void a_cancel_that_crosses_the_grant_keeps_the_lock_cached(void)
{
    struct lm_user a = user(1, LM_EX, 0);
    struct lm_request first;
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    first = d.request;
    CHECK_STR(cancel(&d, &a), "failed:E_CANCELED cancel:NL");
    CHECK_STR(answer(&d, &first, LM_GRANT, LM_EX, E_OK), ""); /* crossed */
    CHECK_STR(answer(&d, &d.request, LM_GRANT, LM_EX, E_OK), "");
    CHECK_STR(acquire(&d, &a), "has:EX");
    CHECK_STR(cancel(&d, &a), ""); /* too late: he has it */
    lm_holder_free(d.h);
}

static void a_canceled_wait_leaves_nothing(void)
{
    struct lm_user a = user(1, LM_EX, 0), b = user(1, LM_PR, 0);
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    CHECK_STR(acquire(&d, &b), "");
    CHECK_STR(cancel(&d, &a), "failed:E_CANCELED cancel:NL");
    CHECK_STR(answer(&d, &d.request, LM_DENY, LM_NL, E_CANCELED), "lock:PR");
    lm_holder_free(d.h);
}

static void noqueue_fails_rather_than_waits(void)
{
    struct lm_user a = user(1, LM_PR, LM_NOQUEUE);
    struct lm_user b = user(1, LM_EX, LM_NOQUEUE);
    struct desk d;

    desk_init(&d);
    CHECK_STR(acquire(&d, &a), "lock:PR");
    CHECK_EQ(d.request.flags, LM_NOQUEUE);
    CHECK_STR(answer(&d, &d.request, LM_DENY, LM_NL, E_AGAIN),
              "failed:E_AGAIN");
    acquire(&d, &a);
    grant(&d);
    CHECK_STR(acquire(&d, &b), "failed:E_AGAIN"); /* our own reader */
    lm_holder_free(d.h);
}

static void from_readers_to_writers_the_cache_is_dropped_between(void)
{
    struct lm_user a = user(1, LM_PR, 0), b = user(1, LM_CW, 0);
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    release(&d, &a);
    CHECK_STR(acquire(&d, &b), "revoke:CR");
    CHECK_STR(revoked(&d, 1), "convert:CR");
    CHECK_STR(grant(&d), "convert:CW");
    CHECK_STR(grant(&d), "has:CW");
    lm_holder_free(d.h);
}

static void a_new_epoch_reports_what_is_held_and_drops_what_is_late(void)
{
    struct lm_user a = user(1, LM_PR, 0), b = user(2, LM_EX, 0);
    struct lm_request old;
    struct lm_answer late;
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    acquire(&d, &b);
    old = d.request;
    CHECK_STR(
        step(&d, (struct lm_holder_event){.type = LM_HOLDER_EPOCH, .epoch = 8}),
        "report:PR");
    late = (struct lm_answer){
        .op = LM_GRANT,
        .to = {1, 100},
        .epoch = 7,
        .lock = old.lock,
        .seq = old.seq,
        .resource = old.resource,
        .mode = LM_EX
    };
    CHECK_ERR(lm_holder_step(d.h,
                             &(struct lm_holder_event){.type = LM_HOLDER_ANSWER,
                                                       .answer = &late},
                             &d.sink, NULL),
              E_EPOCH);
    CHECK_EQ(lm_holder_mode(d.h, &b.resource), LM_NL);
    CHECK_STR(say(&d, LM_HOLDER_CONFIRM), "lock:EX"); /* asked again */
    CHECK_EQ(d.request.epoch, 8);
    CHECK_EQ(d.request.seq, old.seq);
    CHECK_STR(grant(&d), "has:EX");
    lm_holder_free(d.h);
}

static void a_frozen_node_serves_nothing_cached(void)
{
    struct lm_user a = user(1, LM_PR, 0), try = user(1, LM_PR, LM_NOQUEUE);
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    release(&d, &a);
    say(&d, LM_HOLDER_FREEZE);
    CHECK_STR(acquire(&d, &a), "");
    CHECK_STR(acquire(&d, &try), "failed:E_AGAIN");
    CHECK_STR(say(&d, LM_HOLDER_CONFIRM), "has:PR");
    lm_holder_free(d.h);
}

static void what_is_given_up_while_frozen_is_told_afterwards(void)
{
    struct lm_user a = user(1, LM_PR, 0);
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    grant(&d);
    CHECK_STR(bast(&d, &d.request, LM_EX), "");
    say(&d, LM_HOLDER_FREEZE);
    CHECK_STR(release(&d, &a), "revoke:NL");
    CHECK_STR(revoked(&d, 1), "");
    CHECK_STR(say(&d, LM_HOLDER_CONFIRM), "unlock:NL");
    lm_holder_free(d.h);
}

static void what_may_be_lost_is_sent_again_as_it_was(void)
{
    struct lm_user a = user(1, LM_PR, 0);
    struct lm_request first;
    struct desk d;

    desk_init(&d);
    acquire(&d, &a);
    first = d.request;
    CHECK_STR(say(&d, LM_HOLDER_RESEND), "lock:PR");
    CHECK_EQ(d.request.lock, first.lock);
    CHECK_EQ(d.request.seq, first.seq);
    grant(&d);
    CHECK_STR(say(&d, LM_HOLDER_RESEND), "");
    lm_holder_free(d.h);
}

static void a_lock_that_nobody_here_knows_is_unlocked(void)
{
    const struct lm_request ghost = {
        .epoch = 7, .lock = 99, .seq = 4, .resource = {1, {5, 0}}
    };
    struct desk d;

    desk_init(&d);
    CHECK_STR(answer(&d, &ghost, LM_GRANT, LM_EX, E_OK), "unlock:NL");
    CHECK_EQ(d.request.lock, 99);
    CHECK_EQ(d.request.seq, 5);
    CHECK_STR(answer(&d, &ghost, LM_DENY, LM_NL, E_AGAIN), "");
    lm_holder_free(d.h);
}

static void beyond_its_bound_the_longest_idle_lock_goes(void)
{
    struct lm_user u[LOCKS_MAX + 2];
    struct desk d;

    desk_init(&d);
    for (unsigned i = 0; i < LOCKS_MAX + 2; i++)
        u[i] = user(i, LM_PR, 0);
    for (unsigned i = 0; i < LOCKS_MAX; i++) {
        acquire(&d, &u[i]);
        grant(&d);
    }
    CHECK_STR(acquire(&d, &u[3]), "failed:E_NOLCK"); /* all are in use */
    release(&d, &u[1]);
    release(&d, &u[0]);
    CHECK_STR(acquire(&d, &u[3]), "revoke:NL lock:PR");
    CHECK_STR(revoked(&d, 1), "unlock:NL");
    lm_holder_free(d.h);
}

static void answers_that_no_master_gives_are_refused(void)
{
    struct lm_user a = user(1, LM_PR, 0);
    struct lm_answer bad;
    struct diag why;
    struct desk d;
    const struct lm_holder_event e = {.type = LM_HOLDER_ANSWER, .answer = &bad};

    desk_init(&d);
    acquire(&d, &a);
    bad = (struct lm_answer){
        .op = LM_GRANT,
        .to = {1, 100},
        .epoch = 7,
        .lock = d.request.lock,
        .seq = d.request.seq,
        .resource = d.request.resource,
        .mode = LM_EX
    };
    CHECK_ERR(lm_holder_step(d.h, &e, &d.sink, &why), E_PROTOCOL);
    CHECK_CONTAINS(why.text, "GRANT EX");
    bad.mode = (enum lm_mode)77;
    CHECK_ERR(lm_holder_step(d.h, &e, &d.sink, &why), E_PROTOCOL);
    bad.mode = LM_PR;
    bad.to.incarnation = 99;
    CHECK_ERR(lm_holder_step(d.h, &e, &d.sink, &why), E_FENCED);
    CHECK_EQ(lm_holder_mode(d.h, &a.resource), LM_NL);
    lm_holder_free(d.h);
}

static const struct test tests[] = {
    TEST(a_cached_lock_costs_no_message),
    TEST(users_of_one_node_exclude_each_other),
    TEST(a_bast_drops_the_cache_first_then_the_lock),
    TEST(a_bast_waits_for_users_and_later_ones_queue),
    TEST(a_bast_before_its_grant_is_kept),
    TEST(a_bast_of_an_earlier_grant_is_late),
    TEST(a_bast_during_a_conversion_waits_for_its_end),
    TEST(reads_go_on_while_the_cache_is_dropped),
    TEST(a_cancel_that_crosses_the_grant_keeps_the_lock_cached),
    TEST(a_canceled_wait_leaves_nothing),
    TEST(noqueue_fails_rather_than_waits),
    TEST(from_readers_to_writers_the_cache_is_dropped_between),
    TEST(a_new_epoch_reports_what_is_held_and_drops_what_is_late),
    TEST(a_frozen_node_serves_nothing_cached),
    TEST(what_is_given_up_while_frozen_is_told_afterwards),
    TEST(what_may_be_lost_is_sent_again_as_it_was),
    TEST(a_lock_that_nobody_here_knows_is_unlocked),
    TEST(beyond_its_bound_the_longest_idle_lock_goes),
    TEST(answers_that_no_master_gives_are_refused),
};
TEST_SUITE("lockmgr/holder", tests);
