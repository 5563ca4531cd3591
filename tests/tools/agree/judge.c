/* tests/tools/agree/judge.c - is what hosts saw while all were at work the
 * result of one file system, and do they see the same when all is quiet?
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/agree/race.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN = 3 }; /* events of a host around the one without a reason */

/* -- registers ------------------------------------------------------------- */

static bool apply_register(struct state *s, const struct event *e, int way)
{
    if (way)
        return false;
    if (e->error)
        return e->error == EILSEQ; /* judge_torn() */
    if (e->kind == SET)
        s->words[0] = e->value;
    return s->words[0] == e->value;
}

/* -- names ----------------------------------------------------------------- */

static bool exists(const struct state *s, uint64_t ino)
{
    for (unsigned i = 0; i < NAMES; i++)
        if (s->words[i] == ino)
            return true;
    return false;
}

/* What the errno would be; 0: it is done. */
static int rename_error(const struct state *s, const struct event *e)
{
    uint64_t a = s->words[e->a], b = s->words[e->b];

    if (!a || (e->other == RENAME_EXCHANGE && !b))
        return ENOENT;
    if (e->other == RENAME_NOREPLACE && b)
        return EEXIST;
    if (e->other == RENAME_EXCHANGE || !b || e->a == e->b)
        return 0;
    if (a == IS_DIR && b != IS_DIR)
        return ENOTDIR;
    return a != IS_DIR && b == IS_DIR ? EISDIR : 0;
}

/* A kernel looks both names up, one after the other, and says by itself that
 * it knows them for one file, or for a file and a directory, or that the second
 * is there: `way` 1. */
static bool apply_rename(struct state *s, const struct event *e, int way)
{
    uint64_t a = s->words[e->a], b = s->words[e->b];

    if (way)
        return e->error == EISDIR || e->error == ENOTDIR ||
               (e->error == EEXIST && e->other == RENAME_NOREPLACE) ||
               (!e->error && b && e->other != RENAME_NOREPLACE);
    if (e->error || rename_error(s, e))
        return e->error == rename_error(s, e);
    if (e->a == e->b || (a == b && a != IS_DIR))
        return true;
    s->words[e->b] = a;
    s->words[e->a] = e->other == RENAME_EXCHANGE ? b : 0;
    return true;
}

static bool apply_new(struct state *s, const struct event *e, uint64_t what)
{
    if (e->error || s->words[e->a])
        return e->error == (s->words[e->a] ? EEXIST : 0);
    s->words[e->a] = what;
    return true;
}

static bool apply_removal(struct state *s, const struct event *e)
{
    uint64_t *a = &s->words[e->a];
    bool of_dir = e->kind == RMDIR;
    int error = !*a                        ? ENOENT
                : of_dir == (*a == IS_DIR) ? 0
                : of_dir                   ? ENOTDIR
                                           : EISDIR;

    if (!error && !e->error)
        *a = 0;
    return e->error == error;
}

static bool apply_link(struct state *s, const struct event *e)
{
    int error = s->words[e->b] ? EEXIST : !exists(s, e->value) ? ENOENT : 0;

    if (e->error || error)
        return e->error == error;
    s->words[e->b] = e->value;
    return true;
}

static bool apply_name(struct state *s, const struct event *e, int way)
{
    if (e->kind == RENAME)
        return apply_rename(s, e, way);
    if (way)
        return false;
    switch ((unsigned)e->kind) {
    case CREATE: return apply_new(s, e, e->value);
    case MKDIR: return apply_new(s, e, IS_DIR);
    case UNLINK:
    case RMDIR: return apply_removal(s, e);
    case LINK: return apply_link(s, e);
    default: /* LOOK */
        return e->error ? e->error == ENOENT && !s->words[e->a]
                        : e->value == s->words[e->a];
    }
}

/* -- histories ------------------------------------------------------------- */

static void show(unsigned host, const struct event *e, bool unexplained)
{
    static const char *const kinds[] = {"set",    "get",    "create",
                                        "mkdir",  "unlink", "rmdir",
                                        "rename", "link",   "look"};

    fprintf(stderr, "  %c host %u %llu.%06llu-%llu.%06llu %s",
            unexplained ? '>' : ' ', host + 1,
            (unsigned long long)(e->begin_ns / 1000000000),
            (unsigned long long)(e->begin_ns / 1000 % 1000000),
            (unsigned long long)(e->end_ns / 1000000000),
            (unsigned long long)(e->end_ns / 1000 % 1000000), kinds[e->kind]);
    if (e->object == OBJECT_NAMES)
        fprintf(stderr, " %u %u flags %llu", e->a, e->b,
                (unsigned long long)e->other);
    fprintf(stderr, " value %llu %s\n", (unsigned long long)e->value,
            e->error ? strerrorname_np(e->error) : "");
}

static int judge_object(const struct run *run, struct racer *const *racers,
                        unsigned object)
{
    struct history hosts[HISTORY_HOSTS_MAX] = {0};
    size_t at[HISTORY_HOSTS_MAX] = {0};
    bool holds;

    for (unsigned i = 0; i < run->hosts; i++) {
        const struct racer *r = racers[i];

        hosts[i].events = calloc(r->event_count + 1, sizeof(struct event *));
        if (!hosts[i].events)
            abort();
        for (size_t k = 0; k < r->event_count; k++)
            if (r->events[k].object == object)
                hosts[i].events[hosts[i].count++] = &r->events[k];
    }
    holds =
        history_holds(hosts, run->hosts,
                      object == OBJECT_NAMES ? apply_name : apply_register, at);
    if (!holds) {
        fprintf(stderr, "seed %llu: object %u: no order explains this:\n",
                (unsigned long long)run->seed, object);
        for (unsigned i = 0; i < run->hosts; i++)
            for (size_t k = at[i] > SHOWN ? at[i] - SHOWN : 0;
                 k < at[i] + SHOWN && k < hosts[i].count; k++)
                show(i, hosts[i].events[k], k == at[i]);
    }
    for (unsigned i = 0; i < run->hosts; i++)
        free(hosts[i].events);
    return !holds;
}

/* Who reads a block while it is written may see a part of either: neither disks
 * nor Linux' file systems promise more.  But nobody else may. */
static bool is_being_written(const struct run *run, struct racer *const *racers,
                             const struct event *get)
{
    for (unsigned i = 0; i < run->hosts; i++)
        for (size_t k = 0; k < racers[i]->event_count; k++) {
            const struct event *e = &racers[i]->events[k];

            if (e->kind == SET && e->object == get->object &&
                (e->value == get->value || e->value == get->other) &&
                e->begin_ns < get->end_ns && get->begin_ns < e->end_ns)
                return true;
        }
    return false;
}

static int judge_torn(const struct run *run, struct racer *const *racers)
{
    int bad = 0;

    for (unsigned i = 0; i < run->hosts; i++)
        for (size_t k = 0; k < racers[i]->event_count; k++) {
            const struct event *e = &racers[i]->events[k];

            if (e->error != EILSEQ || is_being_written(run, racers, e))
                continue;
            fprintf(stderr, "half of %llu, half of %llu, and nobody writes:\n",
                    (unsigned long long)e->value, (unsigned long long)e->other);
            show(i, e, true);
            bad++;
        }
    return bad;
}

/* -- what is there after --------------------------------------------------- */

static int judge_records(const struct run *run, struct racer *const *racers)
{
    uint64_t next[HISTORY_HOSTS_MAX] = {0};
    struct record r;
    char path[PATH_BYTES];
    off_t at = 0;
    int fd, bad = 0;

    snprintf(path, sizeof path, "%s/records", run->dirs[0]);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    for (; pread(fd, &r, sizeof r, at) == sizeof r && !bad; at += sizeof r) {
        /* Who was killed meanwhile may have appended it twice: docs/posix.md */
        if (run->firm && r.host < run->hosts && next[r.host] &&
            r.number + 1 == next[r.host])
            continue;
        bad = r.host >= run->hosts || r.number != next[r.host];
        if (bad)
            fprintf(stderr, "records, byte %lld: host %llu, number %llu\n",
                    (long long)at, (unsigned long long)r.host,
                    (unsigned long long)r.number);
        else
            next[r.host]++;
    }
    close(fd);
    for (unsigned i = 0; i < run->hosts && !bad; i++) {
        bad = next[i] != racers[i]->records;
        if (bad)
            fprintf(stderr, "host %u appended %llu records, %llu are there\n",
                    i + 1, (unsigned long long)racers[i]->records,
                    (unsigned long long)next[i]);
    }
    return bad;
}

static int judge_counter(const struct run *run, struct racer *const *racers,
                         enum lock kind)
{
    static const char *const names[LOCKS] = {"flock", "ofd", "posix"};
    uint64_t sum = 0, value = 0;
    char path[PATH_BYTES];
    int fd;

    for (unsigned i = 0; i < run->hosts; i++)
        sum += racers[i]->counted[kind];
    snprintf(path, sizeof path, "%s/%s", run->dirs[0], names[kind]);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (pread(fd, &value, sizeof value, 0) != sizeof value)
        fprintf(stderr, "%s cannot be read\n", path);
    close(fd);
    if (value != sum)
        fprintf(stderr, "counted %llu times under %s, the counter has %llu\n",
                (unsigned long long)sum, names[kind],
                (unsigned long long)value);
    return value != sum;
}

/* All hosts see one tree. */
static int judge_trees(const struct run *run)
{
    const struct op look = {.kind = OP_SURVEY};
    struct worker first, other;
    int bad = 0;

    worker_start(&first, run->dirs[0]);
    worker_ask(&first, &look);
    for (unsigned i = 1; i < run->hosts && !bad; i++) {
        const struct answer *a = first.answer, *b;

        worker_start(&other, run->dirs[i]);
        worker_ask(&other, &look);
        b = other.answer;
        bad = a->data_bytes != b->data_bytes || a->own_bytes != b->own_bytes ||
              memcmp(a->data, b->data, a->data_bytes) ||
              memcmp(a->own, b->own, a->own_bytes);
        if (bad)
            fprintf(stderr, "host 1 sees\n%.*s%.*shost %u sees\n%.*s%.*s",
                    (int)a->data_bytes, (const char *)a->data,
                    (int)a->own_bytes, a->own, i + 1, (int)b->data_bytes,
                    (const char *)b->data, (int)b->own_bytes, b->own);
        worker_end(&other);
    }
    worker_end(&first);
    return bad;
}

int judge(const struct run *run, struct racer *const *racers)
{
    int bad = 0;

    for (unsigned object = 0; object < OBJECTS; object++)
        bad += judge_object(run, racers, object);
    bad += judge_torn(run, racers);
    bad += judge_records(run, racers);
    for (enum lock kind = LOCK_FLOCK; kind < LOCKS; kind++)
        bad += judge_counter(run, racers, kind);
    return bad + judge_trees(run);
}
