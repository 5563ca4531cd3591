/* tests/unit/lunard/test_errand.c - questions from daemon to daemon: two of
 * them, whose messages the test carries.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/errand.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

/* -- two hosts on one reactor ---------------------------------------------- */

enum { ASKS = 1, ANSWERS = 2 };

/* A message on its way. */
struct letter {
    struct task task;
    uint32_t to, from;
    size_t count;
    char bytes[];
};

static struct reactor *reactor;
static struct errands *host[3]; /* by number */
static bool cut;                /* what is sent does not arrive */
static sem_t swallowed, may_answer;

static void arrive(struct task *task)
{
    struct letter *l = container_of(task, struct letter, task);

    CU_ASSERT_TRUE(errands_receive(host[l->to], l->from, l->bytes, l->count));
    free(l);
}

static enum err carry(void *user, uint32_t node, const struct iovec *iov,
                      int iov_count)
{
    uint32_t from = *(const uint32_t *)user;
    struct letter *l;
    size_t count = 0;

    if (node != ASKS && node != ANSWERS)
        return E_CLOSED;
    for (int i = 0; i < iov_count; i++)
        count += iov[i].iov_len;
    if (cut) {
        sem_post(&swallowed);
        return E_OK;
    }
    l = malloc(sizeof *l + count);
    ASSERT(l);
    *l = (struct letter){
        .task.run = arrive, .to = node, .from = from, .count = count};
    count = 0;
    for (int i = 0; i < iov_count; i++) {
        memcpy(l->bytes + count, iov[i].iov_base, iov[i].iov_len);
        count += iov[i].iov_len;
    }
    loop_post(reactor_loop(reactor), &l->task);
    return E_OK;
}

static enum err run_echo(struct control_call *call)
{
    call->result = json_pack("{s:s}", "text", control_text(call, "text"));
    return E_OK;
}

static enum err run_refuse(struct control_call *call)
{
    return diag_fail(&call->why, E_BUSY, "somebody uses it");
}

static enum err run_late(struct control_call *call)
{
    (void)call;
    sem_wait(&may_answer);
    return E_OK;
}

static const struct control_command commands[] = {
    {"echo",   run_echo,   {{"text", CONTROL_TEXT, true}}},
    {"refuse", run_refuse, {{.name = NULL}}              },
    {"late",   run_late,   {{.name = NULL}}              },
    {NULL,     NULL,       {{.name = NULL}}              },
};
static const struct control_args answers = {.commands = commands};

static void setup(void)
{
    static uint32_t numbers[] = {0, ASKS, ANSWERS};

    cut = false;
    sem_init(&may_answer, 0, 0);
    sem_init(&swallowed, 0, 0);
    CHECK_OK(reactor_start(&(struct loop_args){.name = "wire"}, &reactor));
    for (uint32_t i = ASKS; i <= ANSWERS; i++)
        CHECK_OK(
            errands_new(&(struct errands_args){.loop = reactor_loop(reactor),
                                               .answers = &answers,
                                               .send = carry,
                                               .user = &numbers[i]},
                        &host[i]));
}

static void teardown(void)
{
    errands_quit(host[ANSWERS]);
    errands_quit(host[ASKS]);
    reactor_stop(reactor);
    errands_free(host[ANSWERS]);
    errands_free(host[ASKS]);
    sem_destroy(&may_answer);
    sem_destroy(&swallowed);
}

static struct errand question(const char *command)
{
    return (struct errand){.node = ANSWERS, .command = command};
}

/* -- what comes of a question ---------------------------------------------- */

static void a_question_is_answered_with_a_result(void)
{
    struct errand list[] = {question("echo"), question("echo")};

    setup();
    list[0].args = json_pack("{s:s}", "text", "one");
    list[1].args = json_pack("{s:s}", "text", "two");
    errands_ask(host[ASKS], list, 2, 0);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(list[i].e);
        CHECK_STR(json_string_value(json_object_get(list[i].result, "text")),
                  i ? "two" : "one");
        json_decref(list[i].args);
        json_decref(list[i].result);
    }
    teardown();
}

static void a_refusal_comes_with_its_code_and_reason(void)
{
    struct errand e = question("refuse");

    setup();
    errands_ask(host[ASKS], &e, 1, 0);
    CHECK_ERR(e.e, E_BUSY);
    CHECK_STR(e.why.text, "somebody uses it");
    e = question("dance");
    errands_ask(host[ASKS], &e, 1, 0);
    CHECK_ERR(e.e, E_UNSUPPORTED);
    e = question("echo");
    e.node = 7;
    errands_ask(host[ASKS], &e, 1, 0);
    CHECK_ERR(e.e, E_CLOSED);
    teardown();
}

static void an_answer_that_does_not_come_is_waited_for_so_long(void)
{
    struct errand e = question("late"), again;

    setup();
    errands_ask(host[ASKS], &e, 1, 20);
    CHECK_ERR(e.e, E_TIMEOUT);
    sem_post(&may_answer); /* it comes, and nobody waits for it */
    again = question("refuse");
    errands_ask(host[ASKS], &again, 1, 0);
    CHECK_ERR(again.e, E_BUSY);
    CHECK_ERR(e.e, E_TIMEOUT);
    teardown();
}

/* -- connections and ends ---------------------------------------------------
 */

struct asking {
    pthread_t thread;
    struct errand errand;
};

static void *ask_main(void *arg)
{
    struct asking *a = arg;

    errands_ask(host[ASKS], &a->errand, 1, 0);
    return NULL;
}

static void lose(struct task *task)
{
    (void)task;
    errands_lost(host[ASKS], ANSWERS);
}

/* Until the question is out, and lost. */
static void let_it_ask(struct asking *a)
{
    a->errand = question("late");
    pthread_create(&a->thread, NULL, ask_main, a);
    sem_wait(&swallowed);
}

static void a_lost_connection_ends_the_wait(void)
{
    struct task task = {.run = lose};
    struct asking a;

    setup();
    cut = true;
    let_it_ask(&a);
    loop_post(reactor_loop(reactor), &task);
    pthread_join(a.thread, NULL);
    CHECK_ERR(a.errand.e, E_CLOSED);
    teardown();
}

static void who_quits_waits_no_more_and_asks_nothing(void)
{
    struct errand e = question("refuse");
    struct asking a;

    setup();
    cut = true;
    let_it_ask(&a);
    errands_quit(host[ASKS]);
    pthread_join(a.thread, NULL);
    CHECK_ERR(a.errand.e, E_CANCELED);
    errands_ask(host[ASKS], &e, 1, 0);
    CHECK_ERR(e.e, E_CANCELED);
    teardown();
}

static void what_is_no_message_is_told_so(void)
{
    static const char bytes[64] = {0, 0, 0, 9};

    setup();
    CU_ASSERT_FALSE(errands_receive(host[ASKS], ANSWERS, bytes, 5));
    CU_ASSERT_FALSE(errands_receive(host[ASKS], ANSWERS, bytes, 64));
    teardown();
}

static const struct test tests[] = {
    TEST(a_question_is_answered_with_a_result),
    TEST(a_refusal_comes_with_its_code_and_reason),
    TEST(an_answer_that_does_not_come_is_waited_for_so_long),
    TEST(a_lost_connection_ends_the_wait),
    TEST(who_quits_waits_no_more_and_asks_nothing),
    TEST(what_is_no_message_is_told_so),
};
TEST_SUITE("lunard/errand", tests);
