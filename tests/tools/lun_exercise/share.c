/* tests/tools/lun_exercise/share.c - a LUN that many hosts use, by orders on
 * stdin, each answered by one line; "event X" is what the ear heard.
 *
 *   start | hold | carry | fail       of lun.h; it fails with E_FENCED
 *   OPERATION[,KEY[,NEW-KEY[,TYPE]]]  as of "pr", on the session's loop
 *   cancel,OPERATION…                 submitted and cancelled in one turn
 *   get OFFSET SEED | put OFFSET SEED LUN_PR_READ, LUN_PR_WRITE and FLUSH
 *   auto KEY                          from now on register, then carry, when
 *                                     something is heard; 0: not any more
 *   load                              churn begins
 *   progress                          200 more ios of it have ended
 *   rest                              it ends: ios, failed, bad, longest
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/lun_exercise/exercise.h"

#include <stdio.h>
#include <string.h>

enum { PROGRESS_IOS = 200, PROGRESS_MS = 8000, POLL_MS = 5 };

static struct share {
    struct lun_ear ear;
    struct lun *lun;
    struct loop *session_loop, *home;
    unsigned depth;
    struct churn churn;
    struct lun_pr admit; /* of auto, with key new_key */
    bool admitting, again;
    /* the order that is carried out */
    struct task task;
    char *words;
    struct lun_pr pr;
    const char *name;
    enum err result;
    uint8_t block[4096];
    bool answered;
} sh;

/* -- the ear, and who admits ----------------------------------------------- */

static void admit(void)
{
    if (!sh.admit.new_key)
        return;
    if (sh.admitting) {
        sh.again = true;
        return;
    }
    sh.admitting = true;
    sh.again = false;
    if (lun_pr_submit(sh.lun, &sh.admit))
        die("register", E_IO, NULL);
}

static void admit_done(struct lun_pr *pr, enum err e)
{
    (void)pr;
    sh.admitting = false;
    if (sh.again || e == E_AGAIN)
        admit();
    else if (!e)
        lun_carry(sh.lun);
}

static void heard(const char *what)
{
    printf("event %s\n", what);
    fflush(stdout);
}

static void heard_up(struct lun_ear *ear)
{
    (void)ear;
    heard("up");
    admit();
}

static void heard_lost(struct lun_ear *ear)
{
    (void)ear;
    heard("lost");
}

static void heard_conflict(struct lun_ear *ear)
{
    (void)ear;
    heard("conflict");
    admit();
}

static void heard_attention(struct lun_ear *ear)
{
    (void)ear;
    heard("attention");
    admit();
}

/* -- orders ---------------------------------------------------------------- */

static void order_returned(struct task *t)
{
    (void)t;
    sh.answered = true;
}

static void answer(enum err e)
{
    sh.result = e;
    sh.task.run = order_returned;
    loop_post(sh.home, &sh.task);
}

static void pr_done(struct lun_pr *pr, enum err e)
{
    if (!e && pr->op == LUN_PR_WRITE) {
        pr->op = LUN_PR_FLUSH;
        e = lun_pr_submit(sh.lun, pr);
        if (!e)
            return;
    }
    answer(e);
}

static void run_pr(struct task *t)
{
    enum err e;

    (void)t;
    sh.pr.done = pr_done;
    e = lun_pr_submit(sh.lun, &sh.pr);
    if (e)
        answer(e);
    else if (strncmp(sh.words, "cancel", 6) == 0)
        lun_pr_cancel(sh.lun, &sh.pr);
}

static void run_gate(struct task *t)
{
    (void)t;
    if (strcmp(sh.words, "start") == 0)
        lun_start(sh.lun);
    else if (strcmp(sh.words, "hold") == 0)
        lun_hold(sh.lun);
    else if (strcmp(sh.words, "carry") == 0)
        lun_carry(sh.lun);
    else if (strcmp(sh.words, "fail") == 0)
        lun_fail(sh.lun, E_FENCED);
    else
        sh.admit.new_key = strtoull(sh.words + strlen("auto"), NULL, 16);
    answer(E_OK);
}

static void on_session(void (*run)(struct task *))
{
    sh.answered = false;
    sh.task.run = run;
    loop_post(sh.session_loop, &sh.task);
    loop_run_until(sh.home, &sh.answered);
}

static void order_pr(char *words)
{
    if (!pr_parse(words, &sh.pr, &sh.name)) {
        printf("what is \"%s\"?\n", words);
        return;
    }
    on_session(run_pr);
    pr_print(&sh.pr, sh.name, sh.result);
}

static void order_block(enum lun_pr_op op)
{
    char *rest;
    uint64_t off = strtoull(sh.words + 4, &rest, 0);
    uint64_t seed = strtoull(rest, NULL, 0);
    bool good = true;

    sh.pr = (struct lun_pr){
        .op = op, .off_bytes = off, .bytes = sizeof sh.block, .buf = sh.block};
    if (op == LUN_PR_WRITE)
        pattern_fill(sh.block, sizeof sh.block, seed, off);
    on_session(run_pr);
    if (op == LUN_PR_READ && !sh.result)
        good = pattern_matches(sh.block, sizeof sh.block, seed, off);
    printf("%s\n", sh.result ? err_name(sh.result) : good ? "ok" : "different");
}

/* -- load ------------------------------------------------------------------ */

static void order_load(void)
{
    sh.churn = (struct churn){.lun = sh.lun};
    churn_start(&sh.churn, &sh.session_loop, 1, sh.depth);
    printf("ok\n");
}

static void wake(struct timer *t)
{
    (void)t;
    sh.answered = true;
}

static void order_progress(void)
{
    unsigned start = atomic_load(&sh.churn.ios_ended), ms = 0;
    struct timer poll = {.fire = wake};

    while (atomic_load(&sh.churn.ios_ended) - start < PROGRESS_IOS &&
           ms < PROGRESS_MS) {
        sh.answered = false;
        loop_timer_set(sh.home, &poll, POLL_MS);
        loop_run_until(sh.home, &sh.answered);
        ms += POLL_MS;
    }
    printf("%s\n", ms < PROGRESS_MS ? "ok" : "stuck");
}

static void order_rest(void)
{
    churn_finish(&sh.churn);
    printf("%llu ios, %llu failed, %llu bad, longest %llu ms\n",
           (unsigned long long)sh.churn.ios,
           (unsigned long long)sh.churn.failed,
           (unsigned long long)sh.churn.bad,
           (unsigned long long)(sh.churn.longest_ns / NS_PER_MS));
}

/* -- all together ---------------------------------------------------------- */

static bool is_gate(const char *words)
{
    return strcmp(words, "start") == 0 || strcmp(words, "hold") == 0 ||
           strcmp(words, "carry") == 0 || strcmp(words, "fail") == 0 ||
           strncmp(words, "auto ", 5) == 0;
}

static void obey(char *words)
{
    sh.words = words;
    if (is_gate(words)) {
        on_session(run_gate);
        printf("ok\n");
    } else if (strcmp(words, "load") == 0) {
        order_load();
    } else if (strcmp(words, "progress") == 0) {
        order_progress();
    } else if (strcmp(words, "rest") == 0) {
        order_rest();
    } else if (strncmp(words, "get ", 4) == 0) {
        order_block(LUN_PR_READ);
    } else if (strncmp(words, "put ", 4) == 0) {
        order_block(LUN_PR_WRITE);
    } else if (strncmp(words, "cancel,", 7) == 0) {
        order_pr(words + 7);
    } else {
        order_pr(words);
    }
    fflush(stdout);
}

int share(const char *url, const struct lun_args *args, unsigned depth)
{
    struct lun_args shared = *args;
    struct diag why = {""};
    char line[128];
    enum err e;

    sh.ear = (struct lun_ear){.up = heard_up,
                              .lost = heard_lost,
                              .conflict = heard_conflict,
                              .attention = heard_attention};
    sh.admit =
        (struct lun_pr){.op = LUN_PR_REGISTER_IGNORE, .done = admit_done};
    sh.session_loop = args->loops[0];
    sh.home = loop_self();
    sh.depth = depth;
    shared.exclusive = false; /* an ear is enough */
    shared.ear = &sh.ear;
    e = lun_open(url, &shared, &why, &sh.lun);
    if (e)
        die("open", e, &why);
    printf("open\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        obey(line);
    }
    lun_trouble(sh.lun, &why);
    if (why.text[0])
        fprintf(stderr, "last trouble: %s\n", why.text);
    lun_close(sh.lun);
    return 0;
}
