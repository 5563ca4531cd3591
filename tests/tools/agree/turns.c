/* tests/tools/agree/turns.c - one operation at a time, on any host, and the
 * same one in a directory of a local file system: results, bytes and errors are
 * the same; and what one host sees after, the others see, too.
 * Each host has a process of its own on the local side, for open files and
 * locks.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/agree/agree.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HOSTS_MAX = 16,
    SURVEY_EVERY = 250, /* operations */
    LATER_MS = 20000,   /* generous; what comes later comes in a few */
    CENTURY = 946684800 /* s: times before were set, others come from a clock */
};

struct turns {
    const struct run *run;
    struct worker hosts[HOSTS_MAX], locals[HOSTS_MAX];
    uint64_t seed;
    unsigned long number; /* of the operation */
    unsigned host;
    struct op op;
    unsigned long later; /* answers that had to be asked again */
    unsigned long did[OP_KIND_COUNT], failed[OP_KIND_COUNT];
};

/* -- what is compared ------------------------------------------------------ */

static bool is_old(const struct stat *a)
{
    return a->st_mtim.tv_sec < CENTURY;
}

static const char *status_differs(const struct stat *a, const struct stat *b)
{
    if (a->st_mode != b->st_mode)
        return "modes differ";
    if (a->st_nlink != b->st_nlink)
        return "link counts differ";
    if (!S_ISDIR(a->st_mode) && a->st_size != b->st_size)
        return "sizes differ";
    if (is_old(a) != is_old(b) ||
        (is_old(a) && a->st_mtim.tv_sec != b->st_mtim.tv_sec))
        return "times of change differ";
    return NULL;
}

static bool is_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static const char *hosts_differ(const struct stat *a, const struct stat *b)
{
    if (a->st_ino != b->st_ino)
        return "inodes differ";
    if (a->st_mode != b->st_mode || a->st_nlink != b->st_nlink)
        return "modes or link counts differ";
    if (a->st_size != b->st_size)
        return "sizes differ";
    if (!is_time(&a->st_mtim, &b->st_mtim))
        return "times of change differ";
    if (!is_time(&a->st_ctim, &b->st_ctim))
        return "times of status change differ";
    if (!is_time(&a->st_atim, &b->st_atim))
        return "times of access differ";
    return NULL;
}

static const char *answers_differ(const struct answer *a,
                                  const struct answer *b, unsigned same)
{
    if (a->rc != b->rc || a->error != b->error)
        return "results differ";
    if (same & SAME_DATA && (a->data_bytes != b->data_bytes ||
                             memcmp(a->data, b->data, a->data_bytes)))
        return "bytes differ";
    if (same & SAME_STAT && a->has_status && b->has_status)
        return status_differs(&a->status, &b->status);
    return NULL;
}

/* -- what is said ---------------------------------------------------------- */

static void say_answer(const struct worker *w, const struct answer *other)
{
    const struct answer *a = w->answer;
    const struct stat *st = &a->status;
    size_t at = 0, end = min_u64(a->data_bytes, other->data_bytes);

    while (at < end && a->data[at] == other->data[at])
        at++;
    fprintf(stderr, "  %s: %lld %s, %zu bytes", w->dir, (long long)a->rc,
            a->error ? strerrorname_np(a->error) : "", a->data_bytes);
    if (at < a->data_bytes)
        fprintf(stderr, ", byte %zu is %#x", at, a->data[at]);
    if (a->has_status)
        fprintf(stderr,
                ", ino %llu mode %o links %lu size %lld blocks %lld"
                " mtime %lld.%09ld ctime %lld.%09ld atime %lld.%09ld",
                (unsigned long long)st->st_ino, st->st_mode,
                (unsigned long)st->st_nlink, (long long)st->st_size,
                (long long)st->st_blocks, (long long)st->st_mtim.tv_sec,
                st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec,
                st->st_ctim.tv_nsec, (long long)st->st_atim.tv_sec,
                st->st_atim.tv_nsec);
    fprintf(stderr, "\n");
}

static void say_line(const char *text, size_t bytes, size_t at)
{
    size_t first = at, end = at;

    while (first > 0 && text[first - 1] != '\n')
        first--;
    while (end < bytes && text[end] != '\n')
        end++;
    fprintf(stderr, "  %.*s\n", (int)(end - first), text + first);
}

/* The first line that is not the same. */
static void say_lines(const char *a, size_t a_bytes, const char *b,
                      size_t b_bytes)
{
    size_t at = 0;

    while (at < a_bytes && at < b_bytes && a[at] == b[at])
        at++;
    say_line(a, a_bytes, at);
    say_line(b, b_bytes, at);
}

static int differ(const struct turns *t, const char *how,
                  const struct worker *a, const struct worker *b)
{
    fprintf(stderr, "operation %lu of seed %llu, host %u: %s\n  ", t->number,
            (unsigned long long)t->run->seed, t->host + 1, how);
    op_print(stderr, &t->op);
    fprintf(stderr, "\n");
    say_answer(a, b->answer);
    say_answer(b, a->answer);
    return 1;
}

/* -- a turn ---------------------------------------------------------------- */

/* What one host sees of the name, or open file, at hand, another one sees. */
static int glance(struct turns *t)
{
    struct worker *here = &t->hosts[t->host];
    unsigned step = 1 + (unsigned)draw(&t->seed, t->run->hosts - 1);
    struct worker *there = &t->hosts[(t->host + step) % t->run->hosts];
    const char *how = NULL;
    struct op look = t->op;

    look.kind = OP_STAT;
    worker_ask(there, &look);
    worker_ask(here, &look);
    if (here->answer->rc != there->answer->rc ||
        here->answer->error != there->answer->error)
        how = "another host says something else";
    else if (here->answer->has_status)
        how = hosts_differ(&here->answer->status, &there->answer->status);
    return how ? differ(t, how, here, there) : 0;
}

/* By every process: to close a file ends the process's locks of it. */
static int survey_all(struct turns *t)
{
    const struct worker *first = &t->hosts[0];

    t->op = (struct op){.kind = OP_SURVEY};
    for (unsigned i = 0; i < t->run->hosts; i++) {
        const struct answer *a = t->hosts[i].answer;
        const struct answer *b = t->locals[i].answer;

        worker_ask(&t->hosts[i], &t->op);
        worker_ask(&t->locals[i], &t->op);
        t->host = i;
        if (answers_differ(a, b, SAME_DATA)) {
            say_lines((const char *)a->data, a->data_bytes,
                      (const char *)b->data, b->data_bytes);
            return differ(t, "a tree differs", &t->hosts[i], &t->locals[i]);
        }
        b = first->answer;
        if (a->own_bytes != b->own_bytes ||
            memcmp(a->own, b->own, a->own_bytes)) {
            say_lines(a->own, a->own_bytes, b->own, b->own_bytes);
            return differ(t, "hosts see different trees", &t->hosts[i], first);
        }
    }
    return 0;
}

/* What is mapped may be told after the fact: until it is the same. */
static const char *ask_again(struct turns *t, const char *how)
{
    const uint64_t end = clock_now_ns(clock_system()) + LATER_MS * NS_PER_MS;
    struct worker *w = &t->hosts[t->host];

    while (how && clock_now_ns(clock_system()) < end) {
        t->later++;
        usleep(1000);
        worker_ask(w, &t->op);
        how = answers_differ(w->answer, t->locals[t->host].answer,
                             op_same(t->op.kind));
    }
    return how;
}

static int turn(struct turns *t)
{
    struct worker *w, *local;
    const char *how;

    t->host = (unsigned)draw(&t->seed, t->run->hosts);
    w = &t->hosts[t->host];
    local = &t->locals[t->host];
    draw_op(&t->seed, t->run->maps, &t->op);
    worker_ask(local, &t->op);
    worker_ask(w, &t->op);
    if (getenv("AGREE_TRACE")) {
        printf("%lu h%u ", t->number, t->host + 1);
        op_print(stdout, &t->op);
        printf(" = %lld %d\n", (long long)w->answer->rc, w->answer->error);
    }
    t->did[t->op.kind]++;
    t->failed[t->op.kind] += local->answer->error != 0;
    how = answers_differ(w->answer, local->answer, op_same(t->op.kind));
    if (how && op_same(t->op.kind) & SAME_LATER)
        how = ask_again(t, how);
    if (how)
        return differ(t, how, w, local);
    return draw(&t->seed, 3) ? 0 : glance(t);
}

int turns(const struct run *run)
{
    struct turns *t = calloc(1, sizeof *t);
    int bad = 0;

    if (!t || run->hosts > HOSTS_MAX)
        abort();
    t->run = run;
    t->seed = run->seed;
    for (unsigned i = 0; i < run->hosts; i++) {
        worker_start(&t->hosts[i], run->dirs[i]);
        worker_start(&t->locals[i], run->local);
    }
    for (t->number = 1; !bad && t->number <= run->ops; t->number++) {
        bad = turn(t);
        if (!bad && t->number % SURVEY_EVERY == 0)
            bad = survey_all(t);
    }
    if (!bad)
        bad = survey_all(t);
    for (unsigned i = 0; i < run->hosts; i++) {
        worker_end(&t->hosts[i]);
        worker_end(&t->locals[i]);
    }
    if (!bad)
        printf("%lu operations in turns, %lu looks at a mapping came early\n",
               run->ops, t->later);
    free(t);
    return bad;
}
