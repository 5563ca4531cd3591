/* bench/locks.c - nanoseconds per operation of the lock manager's pure cores.
 * Prints "ROW NS"; messages are handed over in memory, no network is measured.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/base.h"
#include "base/clock.h"
#include "lockmgr/lockmgr.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NODES = 2, QUEUE = 64, LOCKS_MAX = 100000 };

struct node {
    struct lm_holder_sink sink;
    struct bench *bench;
    struct lm_holder *holder;
    struct lm_user user;
    struct lm_resource revoke;
    bool has_revoke;
};

/* A master, two nodes, and the messages between them. */
struct bench {
    struct lm_master_sink sink;
    struct lm_master *master;
    struct node nodes[NODES];
    struct lm_request requests[QUEUE];
    struct lm_answer answers[QUEUE];
    unsigned request_count, answer_count;
    unsigned messages;
};

static void from_master(struct lm_master_sink *sink, const struct lm_answer *a)
{
    struct bench *b = container_of(sink, struct bench, sink);

    ASSERT(b->answer_count < QUEUE);
    b->answers[b->answer_count++] = *a;
}

static void from_holder(struct lm_holder_sink *sink,
                        const struct lm_holder_effect *effect)
{
    struct node *n = container_of(sink, struct node, sink);
    struct bench *b = n->bench;

    if (effect->type == LM_HOLDER_SEND) {
        ASSERT(b->request_count < QUEUE);
        b->requests[b->request_count++] = *effect->request;
    } else if (effect->type == LM_HOLDER_REVOKE) {
        n->revoke = effect->resource;
        n->has_revoke = true;
    }
}

static void holder_step(struct node *n, struct lm_holder_event event)
{
    if (lm_holder_step(n->holder, &event, &n->sink, NULL))
        abort();
}

static void master_step(struct bench *b, struct lm_master_event event)
{
    if (lm_master_step(b->master, &event, &b->sink, NULL))
        abort();
}

/* Hand messages over until there are none. */
static void settle(struct bench *b)
{
    while (b->request_count || b->answer_count || b->nodes[0].has_revoke ||
           b->nodes[1].has_revoke) {
        while (b->request_count) {
            struct lm_request r = b->requests[--b->request_count];

            b->messages++;
            master_step(b, (struct lm_master_event){.type = LM_MASTER_REQUEST,
                                                    .request = &r});
        }
        while (b->answer_count) {
            struct lm_answer a = b->answers[--b->answer_count];

            b->messages++;
            holder_step(&b->nodes[a.to.node],
                        (struct lm_holder_event){.type = LM_HOLDER_ANSWER,
                                                 .answer = &a});
        }
        for (unsigned i = 0; i < NODES; i++) {
            if (!b->nodes[i].has_revoke)
                continue;
            b->nodes[i].has_revoke = false;
            holder_step(&b->nodes[i], (struct lm_holder_event){
                                          .type = LM_HOLDER_REVOKED,
                                          .resource = b->nodes[i].revoke});
        }
    }
}

static void acquire_release(struct bench *b, unsigned node, uint64_t file)
{
    struct node *n = &b->nodes[node];

    n->user = (struct lm_user){
        .resource = {1, {file, 0}},
          .mode = LM_EX
    };
    holder_step(n, (struct lm_holder_event){.type = LM_HOLDER_ACQUIRE,
                                            .user = &n->user});
    settle(b);
    holder_step(n, (struct lm_holder_event){.type = LM_HOLDER_RELEASE,
                                            .user = &n->user});
    settle(b);
}

static void bench_init(struct bench *b)
{
    *b = (struct bench){.sink.put = from_master};
    if (lm_master_new(1, LOCKS_MAX, &b->master))
        abort();
    master_step(b, (struct lm_master_event){.type = LM_MASTER_SERVE});
    for (unsigned i = 0; i < NODES; i++) {
        b->nodes[i].bench = b;
        b->nodes[i].sink.put = from_holder;
        if (lm_holder_new(&(struct lm_peer){i, 1}, LOCKS_MAX,
                          &b->nodes[i].holder))
            abort();
        holder_step(&b->nodes[i], (struct lm_holder_event){
                                      .type = LM_HOLDER_EPOCH, .epoch = 1});
        holder_step(&b->nodes[i],
                    (struct lm_holder_event){.type = LM_HOLDER_CONFIRM});
    }
}

static void bench_fini(struct bench *b)
{
    for (unsigned i = 0; i < NODES; i++)
        lm_holder_free(b->nodes[i].holder);
    lm_master_free(b->master);
}

/* -- rows ------------------------------------------------------------------ */

static void cached(struct bench *b, uint64_t i)
{
    acquire_release(b, 0, i % 1000);
}

static void at_the_master(struct bench *b, uint64_t i)
{
    struct lm_request r = {
        .op = LM_LOCK,
        .from = {0, 1            },
        .epoch = 1,
        .lock = i + 1,
        .seq = 1,
        .resource = {2, {i % 1000, 0}},
        .mode = LM_EX
    };

    master_step(
        b, (struct lm_master_event){.type = LM_MASTER_REQUEST, .request = &r});
    r.op = LM_UNLOCK;
    r.seq = 2;
    master_step(
        b, (struct lm_master_event){.type = LM_MASTER_REQUEST, .request = &r});
    b->answer_count = 0;
}

/* Each time the other node: BAST, revocation, unlock, grant. */
static void contended(struct bench *b, uint64_t i)
{
    acquire_release(b, i % NODES, 0);
}

static struct lm_ranges *table;
static int fd;

static struct lm_range range(uint64_t i)
{
    return (struct lm_range){
        .file = 1,
        .owner = {.kind = LM_OFD, .key = 1},
        .type = LM_WRLCK,
        .first = i % 100 * 10,
        .last = i % 100 * 10
    };
}

static void range_lock(struct bench *b, uint64_t i)
{
    struct lm_range r = range(i);

    (void)b;
    if (lm_ranges_set(table, &r))
        abort();
    r.type = LM_UNLCK;
    if (lm_ranges_set(table, &r))
        abort();
}

static void range_lock_kernel(struct bench *b, uint64_t i)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_start = (off_t)(i % 100 * 10), .l_len = 1};

    (void)b;
    if (fcntl(fd, F_OFD_SETLK, &lock))
        abort();
    lock.l_type = F_UNLCK;
    if (fcntl(fd, F_OFD_SETLK, &lock))
        abort();
}

/* Lock, waiting if need be, and unlock one byte of a file, for so long. */
static int through_the_mount(const char *path, uint64_t ms)
{
    struct flock lock = {.l_type = F_WRLCK, .l_len = 1};
    uint64_t start = clock_now_ns(clock_system()), turns = 0, ns;

    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        perror(path);
        return 1;
    }
    do {
        lock.l_type = F_WRLCK;
        if (fcntl(fd, F_SETLKW, &lock))
            abort();
        lock.l_type = F_UNLCK;
        if (fcntl(fd, F_SETLK, &lock))
            abort();
        turns++;
        ns = clock_now_ns(clock_system()) - start;
    } while (ns < ms * NS_PER_MS);
    printf("%.0f\n", (double)ns / (double)turns);
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*step)(struct bench *b, uint64_t i);
        unsigned divisor; /* slower ones are done less often */
    } rows[] = {
        {"cached",        cached,            1 },
        {"at-the-master", at_the_master,     4 },
        {"contended",     contended,         16},
        {"range",         range_lock,        4 },
        {"range-kernel",  range_lock_kernel, 16},
    };
    uint64_t count = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
    struct bench b;

    if (argc == 4 && strcmp(argv[1], "-m") == 0)
        return through_the_mount(argv[3], strtoull(argv[2], NULL, 10));
    if (!count) {
        fputs("usage: locks COUNT FILE\n       locks -m MS FILE\n", stderr);
        return 2;
    }
    fd = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || lm_ranges_new(1000, &table)) {
        perror(argv[2]);
        return 1;
    }
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        uint64_t start, turns = count / rows[k].divisor;

        bench_init(&b);
        for (uint64_t i = 0; i < 1000; i++)
            rows[k].step(&b, i);
        start = clock_now_ns(clock_system());
        for (uint64_t i = 1000; i < 1000 + turns; i++)
            rows[k].step(&b, i);
        printf("%s %.1f\n", rows[k].name,
               (double)(clock_now_ns(clock_system()) - start) / (double)turns);
        bench_fini(&b);
    }
    lm_ranges_free(table);
    close(fd);
    return 0;
}
