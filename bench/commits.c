/* bench/commits.c - a coordinator alone: creates and unlinks by its link, no
 * mount and no kernel between.  Formats the LUN; prints operations and commits
 * per second, which shows how many operations share a commit.
 *
 *   commits URL DEPTH COUNT
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "fs/fs.h"
#include "iscsi/lun.h"

#include <stdio.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 256, NAME_BYTES = 32, AIO_DEPTH = 128, SPIN_US = 50 };

struct bench {
    struct fs_link *link;
    fs_op op;
    uint64_t next, count;
    unsigned depth, inflight;
    enum err error;
    bool ended;
};

struct request {
    struct bench *bench;
    struct fs_call call;
    char name[NAME_BYTES];
};

static void check(enum err e, const char *what, const struct diag *why)
{
    static const struct diag none;

    if (!e)
        return;
    fprintf(stderr, "commits: %s: %s\n", what, diag_text(why ? why : &none, e));
    exit(1);
}

static void request_done(struct fs_call *call);

static void request_next(struct request *r)
{
    enum { ROOT = 1 };
    struct bench *b = r->bench;
    fs_args *args = &r->call.request.args;

    if (b->next == b->count || b->error) {
        b->ended = !b->inflight;
        return;
    }
    snprintf(r->name, sizeof r->name, "file-%08llu",
             (unsigned long long)b->next++);
    fs_call_init(&r->call, b->op);
    if (b->op == FS_OP_CREATE)
        args->fs_args_u.create = (fs_create_args){.parent = ROOT,
                                                  .name = r->name,
                                                  .mode = S_IFREG | 0644,
                                                  .target = r->name};
    else
        args->fs_args_u.unlink =
            (fs_name_args){.parent = ROOT, .name = r->name};
    r->call.done = request_done;
    b->inflight++;
    fs_link_send(b->link, &r->call);
}

static void request_done(struct fs_call *call)
{
    struct request *r = container_of(call, struct request, call);

    r->bench->inflight--;
    if (call->reply.error)
        r->bench->error = (enum err)call->reply.error;
    fs_call_fini(call);
    request_next(r);
}

static void phase(struct bench *b, struct fs_coord *coord, const char *name)
{
    static struct request requests[DEPTH_MAX];
    uint64_t start = clock_now_ns(clock_system());
    struct fs_coord_info before, after;
    double seconds;

    fs_coord_info(coord, &before);
    b->next = 0;
    b->ended = false;
    for (unsigned i = 0; i < b->depth; i++) {
        requests[i].bench = b;
        request_next(&requests[i]);
    }
    loop_run_until(loop_self(), &b->ended);
    check(b->error, name, NULL);
    seconds = (double)(clock_now_ns(clock_system()) - start) / 1e9;
    fs_coord_info(coord, &after);
    printf("%ss-%u %.0f\n", name, b->depth, (double)b->count / seconds);
    printf("%s-commits-%u %.0f\n", name, b->depth,
           (double)(after.commits - before.commits) / seconds);
}

static void run(struct store *lun, struct bench *b)
{
    const struct fs_format_args format = {.name = "bench", .force = true};
    const struct fs_coord_args args = {
        .node = 1, .host = "bench", .incarnation = 1, .sole = true};
    struct fs_coord *coord;
    struct diag why = {0};

    check(fs_format(lun, &format, &why), "format", &why);
    check(fs_coord_start(lun, &args, &why, &coord), "coordinator", &why);
    b->link = fs_coord_link(coord);
    b->op = FS_OP_CREATE;
    phase(b, coord, "create");
    b->op = FS_OP_UNLINK;
    phase(b, coord, "unlink");
    fs_coord_stop(coord);
}

int main(int argc, char **argv)
{
    struct loop_args loop_args = {
        .name = "commits", .spin_us = SPIN_US, .aio_depth = AIO_DEPTH};
    struct lun_args lun_args = {.exclusive = true};
    struct diag why = {0};
    struct bench b = {0};
    struct loop *loop;
    struct lun *lun;

    if (argc != 4) {
        fputs("usage: commits URL DEPTH COUNT\n", stderr);
        return 2;
    }
    b.depth = (unsigned)strtoul(argv[2], NULL, 10);
    b.count = strtoull(argv[3], NULL, 10);
    if (b.depth < 1 || b.depth > DEPTH_MAX)
        check(E_INVAL, "DEPTH", NULL);
    check(loop_new(&loop_args, &loop), "loop", NULL);
    loop_adopt(loop);
    check(lun_open(argv[1], &lun_args, &why, &lun), "LUN", &why);
    run(lun_store(lun), &b);
    lun_close(lun);
    loop_adopt(NULL);
    loop_free(loop);
    return 0;
}
