/* tests/tools/fsnode.c - one node of a volume, and nothing else: client, mount
 * and the wire, without membership, fencing or a daemon around them.  Who
 * coordinates is told by an option and never changes.
 *
 *   fsnode -n NODE -c COORDINATOR -l ADDRESS -k KEYFILE [-p NODE=ADDRESS]…
 *          [-f] [-g MS] [-a FD,FD] URL MOUNTPOINT
 *          -f format first; -a take over a mount: /dev/fuse, what was kept;
 *          -g a LUN that does not answer for so long is gone
 *
 * SIGUSR1 says that the node's path to the LUN is fenced, SIGUSR2 that it is
 * back; either prints how many ios went which way.
 *
 * Prints "ready INCARNATION" and serves in the foreground until SIGTERM or
 * SIGINT.  SIGHUP: ends without a word, as a crash does; a successor takes over
 * the mount.  The coordinator reads "forget NODE INCARNATION" on its standard
 * input: that run is fenced.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport_tls.h"
#include "fs/fs.h"
#include "iscsi/lun.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { AIO_DEPTH = 512, SPIN_US = 50 };

struct options {
    bool format;
    int fuse_fd, kept_fd; /* -1: none */
    unsigned give_up_ms;
    uint32_t node, coordinator;
    const char *listen, *key_file, *url, *mountpoint;
    const char *peers[TRANSPORT_TLS_NODES_MAX + 1];
};

struct node {
    const struct options *o;
    struct lun *lun;
    struct fs_super_info super;
    uint64_t incarnation;
    struct reactor *reactor;
    struct fs_net *net;
    struct transport *transport;
    struct fs_coord *coord; /* NULL: it is elsewhere */
    struct fs_link *link;
    struct fs_client *client;
    struct fs_fuse *fuse;
};

static void usage(void)
{
    fprintf(stderr, "usage: fsnode -n NODE -c COORDINATOR -l ADDRESS -k "
                    "KEYFILE [-p NODE=ADDRESS]... [-f] [-g MS] [-a FD,FD] "
                    "URL MOUNTPOINT\n");
    exit(2);
}

static void parse_peer(struct options *o, char *text)
{
    char *end;
    unsigned long node = strtoul(text, &end, 10);

    if (node < 1 || node > TRANSPORT_TLS_NODES_MAX || *end != '=')
        usage();
    o->peers[node] = end + 1;
}

static void parse_fds(struct options *o, char *text)
{
    char *end;

    o->fuse_fd = (int)strtoul(text, &end, 10);
    if (*end != ',')
        usage();
    o->kept_fd = (int)strtoul(end + 1, NULL, 10);
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.fuse_fd = -1, .kept_fd = -1};
    int c;

    while ((c = getopt(argc, argv, "n:c:l:k:p:a:fg:")) != -1) {
        switch (c) {
        case 'n': o.node = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'c': o.coordinator = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'l': o.listen = optarg; break;
        case 'k': o.key_file = optarg; break;
        case 'p': parse_peer(&o, optarg); break;
        case 'a': parse_fds(&o, optarg); break;
        case 'f': o.format = true; break;
        case 'g': o.give_up_ms = (unsigned)strtoul(optarg, NULL, 10); break;
        default: usage();
        }
    }
    if (argc - optind != 2 || !o.node || !o.coordinator || !o.listen ||
        !o.key_file)
        usage();
    o.url = argv[optind];
    o.mountpoint = argv[optind + 1];
    return o;
}

static void check(enum err e, const char *what, const struct diag *why)
{
    if (!e)
        return;
    fprintf(stderr, "fsnode: %s: %s\n", what, diag_text(why, e));
    exit(1);
}

/* -- on the reactor, where the wire is ------------------------------------- */

struct errand {
    struct task task;
    struct node *n;
    void (*run)(struct node *n);
    sem_t done;
};

static void errand_run(struct task *task)
{
    struct errand *errand = container_of(task, struct errand, task);

    errand->run(errand->n);
    sem_post(&errand->done);
}

static void on_reactor(struct node *n, void (*run)(struct node *n))
{
    struct errand errand = {.task.run = errand_run, .n = n, .run = run};

    sem_init(&errand.done, 0, 0);
    loop_post(reactor_loop(n->reactor), &errand.task);
    while (sem_wait(&errand.done))
        ;
    sem_destroy(&errand.done);
}

static void wire_start(struct node *n)
{
    const struct fs_sender self = {n->o->node, n->incarnation};
    struct cluster_key key;
    struct transport_tls_args args = {.loop = reactor_loop(n->reactor),
                                      .node = self.node,
                                      .incarnation = self.incarnation,
                                      .host = "fsnode",
                                      .cluster = "fsnode",
                                      .key = &key,
                                      .listen = n->o->listen};
    struct diag why = {0};

    check(cluster_key_load(n->o->key_file, &key, &why), "key", &why);
    check(fs_net_new(args.loop, &self, &n->net), "net", NULL);
    args.ear = fs_net_ear(n->net);
    check(transport_tls_open(&args, &why, &n->transport), "wire", &why);
    fs_net_attach(n->net, n->transport);
    for (uint32_t i = 1; i <= TRANSPORT_TLS_NODES_MAX; i++)
        if (n->o->peers[i])
            check(transport_tls_peer(n->transport, i, n->o->peers[i], &why),
                  "peer", &why);
    if (n->coord)
        check(fs_net_serve(n->net, n->super.uuid, n->coord), "serve", NULL);
    check(fs_net_reach(n->net, n->super.uuid, n->o->coordinator, &n->link),
          "reach", NULL);
}

static void wire_stop(struct node *n)
{
    transport_close(n->transport);
    fs_net_forget(n->link);
    fs_net_free(n->net);
}

static sem_t left;

static void has_left(struct task *task)
{
    (void)task;
    sem_post(&left);
}

static void serve_stop(struct node *n)
{
    static struct task task = {.run = has_left};

    fs_net_leave(n->net, n->super.uuid, &task);
}

/* -- life ------------------------------------------------------------------ */

static void coordinate(struct node *n)
{
    const struct fs_coord_args args = {.node = n->o->node,
                                       .host = "fsnode",
                                       .incarnation = n->incarnation,
                                       .sole = true,
                                       .loop = reactor_loop(n->reactor)};
    struct diag why = {0};

    check(fs_coord_start(lun_store(n->lun), &args, &why, &n->coord),
          "coordinator", &why);
}

static void start(struct node *n)
{
    struct fs_fuse_args fuse = {.mountpoint = n->o->mountpoint,
                                .incarnation = n->incarnation,
                                .fd = n->o->fuse_fd,
                                .kept_fd = n->o->kept_fd,
                                .locks = true};
    struct fs_client_args client = {.lun = lun_store(n->lun), .redirect = true};
    struct diag why = {0};

    check(fs_super_probe(lun_store(n->lun), &n->super, &why), "volume", &why);
    if (n->o->node == n->o->coordinator)
        coordinate(n);
    on_reactor(n, wire_start);
    fuse.loop = client.loop = reactor_loop(n->reactor);
    client.link = n->link;
    check(fs_client_new(&client, &n->client), "client", NULL);
    check(fs_fuse_start(&fuse, &why, &n->fuse), "mount", &why);
    check(fs_fuse_add_volume(n->fuse, "v", 1, n->client), "add volume", NULL);
    if (n->o->fuse_fd >= 0)
        check(fs_fuse_resume(n->fuse), "resume", NULL);
}

/* What a fence would say: to the end of the input. */
static void *obey(void *arg)
{
    struct node *n = arg;
    static const char forget[] = "forget ";
    struct fs_sender who;
    char line[80], *end;

    while (fgets(line, sizeof line, stdin)) {
        if (strncmp(line, forget, sizeof forget - 1) != 0)
            continue;
        who.node = (uint32_t)strtoul(line + sizeof forget - 1, &end, 10);
        who.incarnation = strtoull(end, NULL, 10);
        check(fs_coord_forget(n->coord, &who), "forget", NULL);
    }
    return NULL;
}

/* As if killed, and started anew by one who kept the mount. */
static void succeed(const struct node *n, int argc, char **argv)
{
    int fds[] = {fs_fuse_fd(n->fuse), fs_fuse_kept_fd(n->fuse)};
    char kept[32];
    char **args = calloc((size_t)argc + 3, sizeof *args);
    char adopt[] = "-a";
    int count = 0;

    check(args ? E_OK : E_NOMEM, "exec", NULL);
    snprintf(kept, sizeof kept, "%d,%d", fds[0], fds[1]);
    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fcntl(fds[i], F_SETFD, 0);
    args[count++] = argv[0];
    args[count++] = adopt;
    args[count++] = kept;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "-f") != 0)
            args[count++] = argv[i];
    execv("/proc/self/exe", args);
    check(err_from_errno(errno), "exec", NULL);
}

static void stop(struct node *n)
{
    fs_fuse_stop(n->fuse);
    fs_client_free(n->client);
    if (n->coord) {
        sem_init(&left, 0, 0);
        on_reactor(n, serve_stop);
        while (sem_wait(&left))
            ;
    }
    on_reactor(n, wire_stop);
    fs_coord_stop(n->coord);
}

static void turn(struct node *n, bool path)
{
    struct fs_client_info info;

    fs_client_set_path(n->client, path);
    fs_client_info(n->client, &info);
    printf("path %d direct %" PRIu64 " redirected %" PRIu64 "\n", path,
           info.direct_ios, info.redirected_ios);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    const struct loop_args main_args = {.name = "main", .aio_depth = AIO_DEPTH};
    const struct loop_args node_args = {
        .name = "node", .spin_us = SPIN_US, .aio_depth = AIO_DEPTH};
    struct lun_args lun_args = {.loop_count = 1};
    const struct fs_format_args format = {.name = "v", .force = true};
    struct node n = {.o = &o, .incarnation = clock_wall_ns(clock_system())};
    struct diag why = {0};
    struct loop *loop, *lun_loop;
    pthread_t orders;
    sigset_t set;
    int sig;

    sigemptyset(&set); /* blocked in every thread: only sigwait() sees them */
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    check(loop_new(&main_args, &loop), "loop", NULL);
    loop_adopt(loop);
    check(reactor_start(&node_args, &n.reactor), "reactor", NULL);
    lun_loop = reactor_loop(n.reactor);
    lun_args.loops = &lun_loop;
    lun_args.give_up_ms = o.give_up_ms;
    check(lun_open(o.url, &lun_args, &why, &n.lun), "LUN", &why);
    if (o.format)
        check(fs_format(lun_store(n.lun), &format, &why), "format", &why);
    start(&n);
    printf("ready %" PRIu64 "\n", n.incarnation);
    fflush(stdout);
    if (n.coord && pthread_create(&orders, NULL, obey, &n))
        check(E_NOMEM, "orders", NULL);
    while (!sigwait(&set, &sig) && (sig == SIGUSR1 || sig == SIGUSR2))
        turn(&n, sig == SIGUSR2);
    if (sig == SIGHUP)
        succeed(&n, argc, argv);
    stop(&n);
    lun_close(n.lun);
    reactor_stop(n.reactor);
    loop_adopt(NULL);
    loop_free(loop);
    return 0;
}
