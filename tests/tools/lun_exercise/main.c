/* tests/tools/lun_exercise/main.c - drives a LUN by its URL, for system tests.
 *
 *   lun_exercise [OPTIONS] URL info
 *   lun_exercise [OPTIONS] URL churn SECONDS
 *   lun_exercise [OPTIONS] URL pr OPERATION[,KEY[,NEW-KEY[,TYPE]]]…
 *   lun_exercise [OPTIONS] URL write OFFSET SEED | verify OFFSET SEED
 *   lun_exercise [OPTIONS] URL share        orders on stdin: see share.c
 *
 * OPERATIONs of pr run in one session; write,OFFSET,SEED (hex) is one, too.
 *
 *   -r N   reactors, each with its session       -d N   ios in flight on each
 *   -g MS  give-up time                          -i IQN initiator name
 *   -e     ios may fail with E_LUN_GONE          -s     not exclusive
 *
 * churn writes patterns, zeros, discards and flushes at random into regions,
 * one io at a time in each, and reads back what was acknowledged last.  It
 * prints "N ios, N failed, N bad" and fails if any was bad, or if one failed
 * without -e.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/lun_exercise/exercise.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static struct options {
    unsigned reactors, depth;
    bool may_fail;
    struct lun_args lun;
} opt = {.reactors = 1, .depth = 8, .lun.exclusive = true};

void die(const char *what, enum err e, const struct diag *why)
{
    fprintf(stderr, "lun_exercise: %s: %s: %s\n", what, err_name(e),
            diag_text(why, e));
    exit(1);
}

/* -- the other commands ---------------------------------------------------- */

static bool timer_fired;

static int info(struct lun *lun)
{
    const struct lun_identity *id = lun_identity(lun);
    const struct store *s = lun_store(lun);

    printf("name %s\nsize %llu\nblock %u\nphysical %u\n", lun_name(lun),
           (unsigned long long)s->size_bytes, s->block_bytes,
           s->physical_bytes);
    printf("discard %d\nvolatile %d\nvendor %s\nproduct %s\nserial %s\n",
           !!(s->caps & STORE_CAN_DISCARD), !!(s->caps & STORE_VOLATILE),
           id->vendor, id->product, id->serial);
    printf("wwid %s\n", id->wwid);
    return 0;
}

static int one_block(struct lun *lun, bool write, uint64_t off, uint64_t seed)
{
    struct store *s = lun_store(lun);
    uint8_t *block = malloc(s->block_bytes);
    enum err e;
    bool good = true;

    pattern_fill(block, s->block_bytes, seed, off);
    if (write) {
        e = store_write_sync(s, off, block, s->block_bytes);
        if (!e)
            e = store_flush_sync(s);
    } else {
        e = store_read_sync(s, off, block, s->block_bytes);
        good = e || pattern_matches(block, s->block_bytes, seed, off);
    }
    free(block);
    printf("%s\n", e ? err_name(e) : good ? "ok" : "different");
    return e || !good;
}

static enum lun_pr_op pr_op(const char *name)
{
    static const char *const names[LUN_PR_READ] = {
        "keys",    "reservation", "register", "register-ignore", "reserve",
        "release", "clear",       "preempt",  "preempt-abort",   "reset"};
    unsigned i = 0;

    while (i < LUN_PR_READ && strcmp(name, names[i]) != 0)
        i++;
    return (enum lun_pr_op)i;
}

bool pr_parse(char *words, struct lun_pr *ret_pr, const char **ret_name)
{
    static uint64_t keys[KEYS_MAX];
    char *rest, *word;

    *ret_name = strtok_r(words, ",", &rest);
    *ret_pr = (struct lun_pr){
        .op = pr_op(*ret_name), .keys = keys, .keys_max = KEYS_MAX};
    if ((word = strtok_r(NULL, ",", &rest)))
        ret_pr->key = strtoull(word, NULL, 16);
    if (word && (word = strtok_r(NULL, ",", &rest)))
        ret_pr->new_key = strtoull(word, NULL, 16);
    if (word && (word = strtok_r(NULL, ",", &rest)))
        ret_pr->type = (uint8_t)strtoul(word, NULL, 10);
    return ret_pr->op < LUN_PR_READ;
}

/* One line for each operation: what it was, and what became of it. */
void pr_print(const struct lun_pr *pr, const char *name, enum err e)
{
    printf("%s: %s", name, e ? err_name(e) : "ok");
    if (!e && pr->op == LUN_PR_READ_RESERVATION)
        printf(" type %u key %llx", pr->type, (unsigned long long)pr->key);
    for (unsigned i = 0; !e && i < pr->key_count; i++)
        printf(" %llx", (unsigned long long)pr->keys[i]);
    printf("\n");
}

static enum err pr_one(struct lun *lun, char *words)
{
    struct lun_pr pr;
    const char *name;
    enum err e;

    if (!pr_parse(words, &pr, &name))
        exit(2);
    e = lun_pr_sync(lun, &pr);
    pr_print(&pr, name, e);
    return e;
}

static bool pr_write(struct lun *lun, const char *words)
{
    char *rest;
    uint64_t off = strtoull(words, &rest, 16);

    printf("write: ");
    return one_block(lun, true, off, strtoull(rest + (*rest == ','), NULL, 16));
}

static int pr(struct lun *lun, int argc, char **argv)
{
    bool failed = false;

    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "write,", 6))
            failed |= pr_write(lun, argv[i] + 6);
        else
            failed |= pr_one(lun, argv[i]) != E_OK;
    }
    return failed;
}

static void wake(struct timer *t)
{
    (void)t;
    timer_fired = true;
}

static int churn_for(struct lun *lun, double seconds)
{
    struct churn churn = {.lun = lun, .may_fail = opt.may_fail};
    struct timer end = {.fire = wake};

    churn_start(&churn, opt.lun.loops, opt.reactors, opt.depth);
    loop_timer_set(loop_self(), &end, (uint64_t)(seconds * 1000));
    loop_run_until(loop_self(), &timer_fired);
    churn_finish(&churn);
    printf("%llu ios, %llu failed, %llu bad\n", (unsigned long long)churn.ios,
           (unsigned long long)churn.failed, (unsigned long long)churn.bad);
    return churn.bad || (churn.failed && !opt.may_fail);
}

static int run(struct lun *lun, int argc, char **argv)
{
    if (argc == 1 && strcmp(argv[0], "info") == 0)
        return info(lun);
    if (argc == 2 && strcmp(argv[0], "churn") == 0)
        return churn_for(lun, strtod(argv[1], NULL));
    if (argc >= 2 && strcmp(argv[0], "pr") == 0)
        return pr(lun, argc - 1, argv + 1);
    if (argc == 3 &&
        (strcmp(argv[0], "write") == 0 || strcmp(argv[0], "verify") == 0))
        return one_block(lun, argv[0][0] == 'w', strtoull(argv[1], NULL, 0),
                         strtoull(argv[2], NULL, 0));
    return 2;
}

static void parse_options(int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "r:d:g:i:es")) != -1) {
        if (c == 'r')
            opt.reactors = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'd')
            opt.depth = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'g')
            opt.lun.give_up_ms = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'i')
            opt.lun.initiator = optarg;
        else if (c == 'e')
            opt.may_fail = true;
        else if (c == 's')
            opt.lun.exclusive = false;
        else
            exit(2);
    }
    if (argc - optind < 2 || !opt.reactors || opt.reactors > REACTORS_MAX ||
        !opt.depth || opt.depth > DEPTH_MAX)
        exit(2);
}

static int open_and_run(int argc, char **argv)
{
    const char *url = argv[0];
    struct diag why = {""};
    struct lun *lun;
    enum err e;
    int status;

    if (argc == 2 && strcmp(argv[1], "share") == 0)
        return share(url, &opt.lun, opt.depth);
    e = lun_open(url, &opt.lun, &why, &lun);
    if (e)
        die("open", e, &why);
    status = run(lun, argc - 1, argv + 1);
    lun_trouble(lun, &why);
    if (why.text[0])
        fprintf(stderr, "last trouble: %s\n", why.text);
    lun_close(lun);
    return status;
}

int main(int argc, char **argv)
{
    struct reactor *reactors[REACTORS_MAX];
    struct loop *loops[REACTORS_MAX], *own;
    enum err e;
    int status;

    parse_options(argc, argv);
    e = loop_new(&(struct loop_args){.name = "main", .aio_depth = 32}, &own);
    if (e)
        die("loop", e, NULL);
    loop_adopt(own);
    for (unsigned i = 0; i < opt.reactors; i++) {
        e = reactor_start(&(struct loop_args){.name = "reactor",
                                              .spin_us = 50,
                                              .aio_depth = 256},
                          &reactors[i]);
        if (e)
            die("reactor", e, NULL);
        loops[i] = reactor_loop(reactors[i]);
    }
    opt.lun.loops = loops;
    opt.lun.loop_count = opt.reactors;
    status = open_and_run(argc - optind, argv + optind);
    for (unsigned i = 0; i < opt.reactors; i++)
        reactor_stop(reactors[i]);
    loop_adopt(NULL);
    loop_free(own);
    return status;
}
