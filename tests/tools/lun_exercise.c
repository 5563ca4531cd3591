/* tests/tools/lun_exercise.c - drives a LUN by its URL, for system tests.
 *
 *   lun_exercise [OPTIONS] URL info
 *   lun_exercise [OPTIONS] URL churn SECONDS
 *   lun_exercise [OPTIONS] URL pr OPERATION[,KEY[,NEW-KEY[,TYPE]]]…
 *   lun_exercise [OPTIONS] URL write OFFSET SEED | verify OFFSET SEED
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
#include "iscsi/lun.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { REGION_BYTES = 256 << 10, DEPTH_MAX = 128, REACTORS_MAX = 8 };

static struct options {
    unsigned reactors, depth;
    bool may_fail;
    struct lun_args lun;
} opt = {.reactors = 1, .depth = 8, .lun.exclusive = true};

static void die(const char *what, enum err e, const struct diag *why)
{
    fprintf(stderr, "lun_exercise: %s: %s: %s\n", what, err_name(e),
            diag_text(why, e));
    exit(1);
}

/* -- patterns -------------------------------------------------------------- */

/* Each 8-byte word tells its place and its generation; 0: all zeros. */
static uint64_t word_at(uint64_t seed, uint64_t at)
{
    uint64_t x = (at + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ seed * 0x100000001b3;

    return seed ? x ^ x >> 29 : 0;
}

static void fill(uint8_t *buf, size_t bytes, uint64_t seed, uint64_t off)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = word_at(seed, off + i);

        memcpy(buf + i, &word, 8);
    }
}

static bool matches(const uint8_t *buf, size_t bytes, uint64_t seed,
                    uint64_t off)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = word_at(seed, off + i);

        if (memcmp(buf + i, &word, 8) != 0)
            return false;
    }
    return true;
}

/* -- churn ----------------------------------------------------------------- */

/* One io at a time, back to back, in a part of the LUN of its own. */
struct region {
    struct task task;
    struct store *store;
    struct loop *home;
    struct store_io io;
    struct iovec iov[3];
    uint8_t *memory;
    uint64_t off, random, generation;
    uint64_t seed; /* of what is there, as far as acknowledged */
    bool known;    /* seed counts: no write failed since */
    uint64_t ios, failed, bad;
};

static uint64_t churn_end_ns;
static unsigned running;
static bool all_ended;

static uint64_t next_random(struct region *r)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random;
}

static void region_ended(struct task *t)
{
    (void)t;
    if (--running == 0)
        all_ended = true;
}

static void judge(struct region *r, enum err e)
{
    const char *name = store_op_name(r->io.op);

    r->ios++;
    if (e) {
        r->failed++;
        if (e != E_LUN_GONE || !opt.may_fail)
            fprintf(stderr, "%s at %llu: %s\n", name,
                    (unsigned long long)r->off, err_name(e));
        if (r->io.op != STORE_READ && r->io.op != STORE_FLUSH)
            r->known = false;
    } else if (r->io.op == STORE_WRITE) {
        r->seed = r->generation;
        r->known = true;
    } else if (r->io.op == STORE_WRITE_ZEROES) {
        r->seed = 0;
        r->known = true;
    } else if (r->io.op == STORE_DISCARD) {
        r->known = false;
    } else if (r->io.op == STORE_READ && r->known &&
               !matches(r->memory, REGION_BYTES, r->seed, r->off)) {
        r->bad++;
        fprintf(stderr, "read at %llu: not what was written last\n",
                (unsigned long long)r->off);
    }
}

static void region_next(struct region *r);

static void region_done(struct store_io *io, enum err e)
{
    struct region *r = container_of(io, struct region, io);

    judge(r, e);
    if (clock_now_ns(clock_system()) >= churn_end_ns) {
        r->task.run = region_ended;
        loop_post(r->home, &r->task);
        return;
    }
    region_next(r);
}

static void region_next(struct region *r)
{
    static const enum store_op mix[] = {
        STORE_WRITE, STORE_READ, STORE_WRITE,        STORE_READ,
        STORE_FLUSH, STORE_READ, STORE_WRITE_ZEROES, STORE_DISCARD};
    enum store_op op = mix[next_random(r) % ARRAY_LEN(mix)];
    size_t cut = next_random(r) % 4096;
    enum err e;

    if (op == STORE_DISCARD && !(r->store->caps & STORE_CAN_DISCARD))
        op = STORE_WRITE;
    if (op == STORE_WRITE)
        fill(r->memory, REGION_BYTES, ++r->generation, r->off);
    r->iov[0] = (struct iovec){r->memory, cut};
    r->iov[1] = (struct iovec){r->memory + cut, 1};
    r->iov[2] = (struct iovec){r->memory + cut + 1, REGION_BYTES - cut - 1};
    r->io = (struct store_io){.op = op,
                              .flags = next_random(r) % 4 ? 0 : STORE_FUA,
                              .off_bytes = r->off,
                              .len_bytes = REGION_BYTES,
                              .iov = r->iov,
                              .iov_count = 3,
                              .done = region_done};
    e = store_submit(r->store, &r->io);
    if (e)
        die("submit", e, NULL);
}

static void region_start(struct task *t)
{
    region_next(container_of(t, struct region, task));
}

static int churn(struct lun *lun, struct reactor **reactors, double seconds)
{
    static struct region regions[REACTORS_MAX * DEPTH_MAX];
    unsigned count = opt.reactors * opt.depth;
    uint64_t ios = 0, failed = 0, bad = 0;

    churn_end_ns =
        clock_now_ns(clock_system()) + (uint64_t)(seconds * (double)NS_PER_S);
    running = count;
    for (unsigned i = 0; i < count; i++) {
        struct region *r = &regions[i];

        *r = (struct region){.task.run = region_start,
                             .store = lun_store(lun),
                             .home = loop_self(),
                             .memory = malloc(REGION_BYTES),
                             .off = (uint64_t)i * REGION_BYTES,
                             .random = i + 1,
                             .generation = (uint64_t)i << 32};
        loop_post(reactor_loop(reactors[i % opt.reactors]), &r->task);
    }
    loop_run_until(loop_self(), &all_ended);
    for (unsigned i = 0; i < count; i++) {
        ios += regions[i].ios;
        failed += regions[i].failed;
        bad += regions[i].bad;
        free(regions[i].memory);
    }
    printf("%llu ios, %llu failed, %llu bad\n", (unsigned long long)ios,
           (unsigned long long)failed, (unsigned long long)bad);
    return bad || (failed && !opt.may_fail);
}

/* -- the other commands ---------------------------------------------------- */

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

    fill(block, s->block_bytes, seed, off);
    if (write) {
        e = store_write_sync(s, off, block, s->block_bytes);
        if (!e)
            e = store_flush_sync(s);
    } else {
        e = store_read_sync(s, off, block, s->block_bytes);
        good = e || matches(block, s->block_bytes, seed, off);
    }
    free(block);
    printf("%s\n", e ? err_name(e) : good ? "ok" : "different");
    return e || !good;
}

static enum lun_pr_op pr_op(const char *name)
{
    static const char *const names[LUN_PR_OP_COUNT] = {
        "keys",    "reservation", "register", "register-ignore", "reserve",
        "release", "clear",       "preempt",  "preempt-abort",   "reset"};
    unsigned i = 0;

    while (i < LUN_PR_OP_COUNT && strcmp(name, names[i]) != 0)
        i++;
    return (enum lun_pr_op)i;
}

/* One line for each operation: what it was, and what became of it. */
static enum err pr_one(struct lun *lun, char *words)
{
    uint64_t keys[64];
    struct lun_pr pr = {.keys = keys, .keys_max = ARRAY_LEN(keys)};
    char *rest;
    const char *name = strtok_r(words, ",", &rest), *word;
    enum err e;

    pr.op = pr_op(name);
    if (pr.op == LUN_PR_OP_COUNT)
        exit(2);
    if ((word = strtok_r(NULL, ",", &rest)))
        pr.key = strtoull(word, NULL, 16);
    if (word && (word = strtok_r(NULL, ",", &rest)))
        pr.new_key = strtoull(word, NULL, 16);
    if (word && (word = strtok_r(NULL, ",", &rest)))
        pr.type = (uint8_t)strtoul(word, NULL, 10);
    e = lun_pr_sync(lun, &pr);
    printf("%s: %s", name, e ? err_name(e) : "ok");
    if (!e && pr.op == LUN_PR_READ_RESERVATION)
        printf(" type %u key %llx", pr.type, (unsigned long long)pr.key);
    for (unsigned i = 0; !e && i < pr.key_count; i++)
        printf(" %llx", (unsigned long long)keys[i]);
    printf("\n");
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

static int run(struct lun *lun, struct reactor **reactors, int argc,
               char **argv)
{
    if (argc == 1 && strcmp(argv[0], "info") == 0)
        return info(lun);
    if (argc == 2 && strcmp(argv[0], "churn") == 0)
        return churn(lun, reactors, strtod(argv[1], NULL));
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

int main(int argc, char **argv)
{
    struct reactor *reactors[REACTORS_MAX];
    struct loop *loops[REACTORS_MAX], *own;
    struct diag why = {""};
    struct lun *lun;
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
    e = lun_open(argv[optind], &opt.lun, &why, &lun);
    if (e)
        die("open", e, &why);
    status = run(lun, reactors, argc - optind - 1, argv + optind + 1);
    lun_trouble(lun, &why);
    if (why.text[0])
        fprintf(stderr, "last trouble: %s\n", why.text);
    lun_close(lun);
    for (unsigned i = 0; i < opt.reactors; i++)
        reactor_stop(reactors[i]);
    loop_adopt(NULL);
    loop_free(own);
    return status;
}
