/* bench/coordinator.c - metadata operations per second at the coordinator
 * alone: no FUSE, no client, a LUN URL.
 *
 *   coordinator URL DEPTH COUNT      formats the LUN
 *
 * Prints creates, lookups and unlinks per second with DEPTH calls in flight,
 * and how many calls one commit carried.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/loop.h"
#include "fs/fs.h"
#include "iscsi/iscsi.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 1024 };

struct bench {
    struct fs_link *link;
    fs_op op;
    uint64_t next, count, open;
    bool done;
};

struct flight {
    struct bench *bench;
    struct fs_call call;
    char name[32];
};

static void die(const char *what, enum err e, const struct diag *why)
{
    fprintf(stderr, "coordinator: %s: %s\n", what, diag_text(why, e));
    exit(1);
}

static void flight_done(struct fs_call *call);

static void flight_send(struct flight *f)
{
    struct bench *b = f->bench;

    snprintf(f->name, sizeof f->name, "file-%" PRIu64, b->next++);
    fs_call_init(&f->call, b->op);
    f->call.done = flight_done;
    if (b->op == FS_OP_CREATE)
        f->call.request.args.fs_args_u.create = (fs_create_args){
            .parent = 1, .name = f->name, .mode = S_IFREG | 0600};
    else
        f->call.request.args.fs_args_u.lookup =
            (fs_name_args){.parent = 1, .name = f->name};
    fs_link_send(b->link, &f->call);
}

static void flight_done(struct fs_call *call)
{
    struct flight *f = container_of(call, struct flight, call);
    struct bench *b = f->bench;

    if (call->reply.error)
        die("call", (enum err)call->reply.error, NULL);
    fs_call_fini(call);
    if (b->next < b->count)
        flight_send(f);
    else
        b->done = --b->open == 0;
}

static void measure(const char *what, fs_op op, struct fs_coord *coord,
                    uint64_t depth, uint64_t count)
{
    static struct flight flights[DEPTH_MAX];
    struct bench b = {fs_coord_link(coord), op, 0, count, depth, false};
    struct clock *clock = clock_system();
    struct fs_coord_info before, after;
    uint64_t start;
    double s;

    fs_coord_info(coord, &before);
    start = clock_now_ns(clock);
    for (uint64_t i = 0; i < depth; i++) {
        flights[i].bench = &b;
        flight_send(&flights[i]);
    }
    loop_run_until(loop_self(), &b.done);
    s = (double)(clock_now_ns(clock) - start) / 1e9;
    fs_coord_info(coord, &after);
    printf("%-8s %8.0f/s  %6.1f calls per commit\n", what, (double)count / s,
           (double)count / (double)max_u64(after.commits - before.commits, 1));
}

int main(int argc, char **argv)
{
    const struct loop_args loop_args = {
        .name = "bench", .spin_us = 50, .aio_depth = 64};
    const struct lun_args lun_args = {0};
    const struct fs_format_args format = {.name = "bench", .force = true};
    const struct fs_coord_args args = {
        .node = 1, .host = "bench", .incarnation = 1, .sole = true};
    uint64_t depth = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t count = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
    struct diag why = {{0}};
    struct fs_coord *coord = NULL;
    struct loop *loop;
    struct lun *lun;
    enum err e;

    if (!depth || depth > DEPTH_MAX || count < depth) {
        fprintf(stderr, "usage: coordinator URL DEPTH COUNT\n");
        return 2;
    }
    e = loop_new(&loop_args, &loop);
    if (e)
        die("loop", e, NULL);
    loop_adopt(loop);
    e = lun_open(argv[1], &lun_args, &why, &lun);
    if (!e)
        e = fs_format(lun_store(lun), &format, &why);
    if (!e)
        e = fs_coord_start(lun_store(lun), &args, &why, &coord);
    if (e)
        die(argv[1], e, &why);
    measure("creates", FS_OP_CREATE, coord, depth, count);
    measure("lookups", FS_OP_LOOKUP, coord, depth, count);
    measure("unlinks", FS_OP_UNLINK, coord, depth, count);
    fs_coord_stop(coord);
    lun_close(lun);
    loop_free(loop);
    return 0;
}
