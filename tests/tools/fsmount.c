/* tests/tools/fsmount.c - a volume on a mount point and nothing else: for
 * tests and measurements of client and mount without a daemon around them.
 *
 *   fsmount [-f] [-s MIB] [-c CACHE_S] [-d MS] [-n NAME] URL MOUNTPOINT
 *       -f format first     -s make the file LUN, so large
 *       -d answers of the LUN to the client come so much later
 *
 * Prints "ready" and serves in the foreground until SIGTERM or SIGINT.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/stores.h"
#include "fs/fs.h"
#include "iscsi/lun.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { AIO_DEPTH = 512, SPIN_US = 50, CACHE_S_DEFAULT = 3600 };

struct options {
    bool format;
    uint64_t create_bytes, delay_ms;
    unsigned cache_s;
    const char *name, *url, *mountpoint;
};

static void usage(void)
{
    fprintf(stderr, "usage: fsmount [-f] [-s MIB] [-c CACHE_S] [-d MS] "
                    "[-n NAME] URL MOUNTPOINT\n");
    exit(2);
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.cache_s = CACHE_S_DEFAULT, .name = "v"};
    int c;

    while ((c = getopt(argc, argv, "fs:c:d:n:")) != -1) {
        if (c == 'f')
            o.format = true;
        else if (c == 's')
            o.create_bytes = strtoull(optarg, NULL, 10) << 20;
        else if (c == 'c')
            o.cache_s = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'd')
            o.delay_ms = strtoull(optarg, NULL, 10);
        else if (c == 'n')
            o.name = optarg;
        else
            usage();
    }
    if (argc - optind != 2)
        usage();
    o.url = argv[optind];
    o.mountpoint = argv[optind + 1];
    return o;
}

static void check(enum err e, const char *what, const struct diag *why)
{
    if (!e)
        return;
    fprintf(stderr, "fsmount: %s: %s\n", what, diag_text(why, e));
    exit(1);
}

/* Blocked in every thread, so that only sigwait() sees them. */
static sigset_t ends(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

static void serve(const struct options *o, struct store *lun)
{
    struct fs_coord_args coord_args = {
        .node = 1, .host = "fsmount", .incarnation = 1, .sole = true};
    struct loop_args loop_args = {
        .name = "mount", .spin_us = SPIN_US, .aio_depth = AIO_DEPTH};
    struct fs_fuse_args fuse_args = {.mountpoint = o->mountpoint,
                                     .fd = -1,
                                     .kept_fd = -1,
                                     .cache_s = o->cache_s};
    struct fs_client_args client_args = {0};
    struct store *slow;
    struct diag why = {0};
    struct fs_client *client;
    struct reactor *reactor;
    struct fs_coord *coord;
    struct fs_fuse *fuse;
    sigset_t set = ends();
    int sig;

    coord_args.incarnation = clock_wall_ns(clock_system());
    fuse_args.incarnation = coord_args.incarnation;
    check(fs_coord_start(lun, &coord_args, &why, &coord), "coordinator", &why);
    check(reactor_start(&loop_args, &reactor), "reactor", NULL);
    check(store_delay_new(lun, o->delay_ms, &slow), "delay", NULL);
    client_args.lun = o->delay_ms ? slow : lun;
    fuse_args.loop = client_args.loop = reactor_loop(reactor);
    client_args.link = fs_coord_link(coord);
    check(fs_client_new(&client_args, &client), "client", NULL);
    check(fs_fuse_start(&fuse_args, &why, &fuse), "mount", &why);
    check(fs_fuse_add_volume(fuse, o->name, 1, client), "add volume", NULL);
    puts("ready");
    fflush(stdout);
    sigwait(&set, &sig);
    fs_fuse_stop(fuse);
    fs_client_free(client);
    fs_coord_stop(coord);
    reactor_stop(reactor);
    store_close(slow);
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    struct lun_args lun_args = {.exclusive = true,
                                .create_bytes = o.create_bytes};
    struct loop_args loop_args = {.name = "main", .aio_depth = AIO_DEPTH};
    struct fs_format_args format = {.name = o.name, .force = true};
    struct diag why = {0};
    struct loop *loop;
    struct lun *lun;
    sigset_t set = ends();

    pthread_sigmask(SIG_BLOCK, &set, NULL);
    check(loop_new(&loop_args, &loop), "loop", NULL);
    loop_adopt(loop);
    check(lun_open(o.url, &lun_args, &why, &lun), "LUN", &why);
    if (o.format)
        check(fs_format(lun_store(lun), &format, &why), "format", &why);
    serve(&o, lun_store(lun));
    lun_close(lun);
    loop_adopt(NULL);
    loop_free(loop);
    return 0;
}
