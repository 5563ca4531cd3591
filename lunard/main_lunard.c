/* lunard/main_lunard.c - the daemon's arguments and signals.
 * Runs in the foreground; who wants it elsewhere asks systemd.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/lunard.h"

#include "base/cluster_key.h"
#include "base/keep.h"
#include "base/log.h"
#include "lunard/holder.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static const char usage[] =
    "usage: lunard [--config FILE] [--holder | --check-config]\n"
    "\n"
    "  --config FILE    instead of " CONFIG_PATH "\n"
    "  --holder         run lunard as a child, and again if it dies: guests\n"
    "                   and users of the mount wait meanwhile\n"
    "  --check-config   only say whether the configuration is right\n"
    "  --version\n"
    "\n"
    "SIGTERM and SIGINT end it: disks are flushed, volumes closed, the mount\n"
    "goes away.  See lunard(8), lunar.conf(5).\n";

struct options {
    const char *config; /* NULL: the default, which need not be there */
    bool check_only;
    bool holder;
    int keep_fd; /* our end of the holder's socket; -1: there is none */
};

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *ret_options)
{
    static const struct option longs[] = {
        {"config",       required_argument, NULL, 'c'},
        {"check-config", no_argument,       NULL, 'n'},
        {"holder",       no_argument,       NULL, 'H'},
        {"keep-fd",      required_argument, NULL, 'k'}, /* HOLDER_OPTION */
        {"version",      no_argument,       NULL, 'v'},
        {"help",         no_argument,       NULL, 'h'},
        {NULL,           0,                 NULL, 0  },
    };
    int c;

    while ((c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
        if (c == 'c') {
            ret_options->config = optarg;
        } else if (c == 'n') {
            ret_options->check_only = true;
        } else if (c == 'H') {
            ret_options->holder = true;
        } else if (c == 'k') {
            ret_options->keep_fd = (int)strtoul(optarg, NULL, 10);
        } else if (c == 'v') {
            puts("lunard " LUNAR_VERSION);
            return EXIT_SUCCESS;
        } else {
            fputs(usage, c == 'h' ? stdout : stderr);
            return c == 'h' ? EXIT_SUCCESS : EXIT_USAGE;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "lunard: %s: no arguments are taken\n", argv[optind]);
    return EXIT_USAGE;
}

/* The default file need not exist; one that was named must.  And a cluster's
 * secret must be there, and a secret. */
static enum err read_config(const struct options *options,
                            struct config *ret_config, struct diag *why)
{
    AUTO(cluster_key_fini) struct cluster_key key;
    enum err e = config_load(options->config ? options->config : CONFIG_PATH,
                             ret_config, why);

    if (e == E_NOENT && !options->config) {
        config_default(ret_config);
        return E_OK;
    }
    if (!e && ret_config->corosync)
        e = cluster_key_load(ret_config->key, &key, why);
    return e;
}

/* Block what ends us before a thread is made, so that all inherit it. */
static void block_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ret_set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void wait_for_end(const sigset_t *set)
{
    int sig;

    do {
        if (sigwait(set, &sig))
            sig = 0;
        if (sig == SIGHUP)
            log_info("SIGHUP: the configuration is read at the start only");
    } while (sig != SIGTERM && sig != SIGINT);
    log_info("%s: stopping", sig == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* Tell a service manager that waits for it (sd_notify(3), READY=1). */
static void notify(const char *state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    socklen_t len;
    int fd;

    if (!path || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (*path == '@')
        to.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL,
               (const struct sockaddr *)&to, len) < 0)
        log_warning("%s: %s", path, strerror(errno));
    close(fd);
}

static int serve(struct daemon *d)
{
    struct diag why = {0};
    struct loop *loop;
    sigset_t set;
    enum err e;

    block_signals(&set);
    e = loop_new(&(struct loop_args){.name = "main", .aio_depth = 64}, &loop);
    if (e) {
        log_error("lunard: no loop: %s", err_text(e));
        return EXIT_FAILURE;
    }
    loop_adopt(loop);
    e = daemon_start(d, &why);
    if (e) {
        log_error("lunard: %s", diag_text(&why, e));
    } else {
        notify("READY=1");
        wait_for_end(&set);
        notify("STOPPING=1");
        daemon_stop(d);
        log_info("stopped");
    }
    loop_adopt(NULL);
    loop_free(loop);
    return e ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void holder_event(void *arg, const char *text)
{
    (void)arg;
    log_info("%s", text);
}

/* Be the parent; the child gets our words but for --holder. */
static int hold(int argc, char **argv)
{
    char **words = calloc((size_t)argc + 1, sizeof *words);
    char program[PATH_MAX] = ""; /* by name: an upgrade puts another there */
    struct holder_args args = {
        .program = program, .argv = words, .event = holder_event};
    size_t n = 0;
    int status;

    if (!words || readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        return EXIT_FAILURE;
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--holder"))
            words[n++] = argv[i];
    status = holder_run(&args);
    free(words);
    return status;
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    struct options options = {.keep_fd = -1};
    struct diag why = {0};
    enum err e;
    int status = parse_options(argc, argv, &options);

    if (status >= 0)
        return status;
    e = read_config(&options, &daemon.config, &why);
    if (e) {
        fprintf(stderr, "lunard: %s\n", diag_text(&why, e));
        return EXIT_FAILURE;
    }
    if (options.check_only)
        return EXIT_SUCCESS;
    if (options.holder)
        return hold(argc, argv);
    if (options.keep_fd >= 0) {
        e = keep_connect(options.keep_fd, &daemon.keep);
        if (e) {
            log_error("lunard: no holder at descriptor %d: %s", options.keep_fd,
                      err_text(e));
            return EXIT_FAILURE;
        }
    }
    return serve(&daemon);
}
