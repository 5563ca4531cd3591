/* tests/tools/crashload/main.c - commands on stdin, one thread per directory.
 * Knows nothing of what is mounted.  See crashload.h for the method.
 *
 *   crashload DIR SEED [THREADS [firm]]
 *   start    threads begin; answer "started"
 *   stop     they end after the operation at hand; "stopped OPS ERRORS"
 *   wait     until each one met an error; "stopped OPS ERRORS"
 *   verify   compare with the mount; "verified N" (N differences)
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/crashload/crashload.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { THREADS_MAX = 16 };

static struct crash_load {
    const char *dir;
    unsigned threads;
    atomic_bool stop;
    atomic_uint errors;
    pthread_t ids[THREADS_MAX];
    struct crash_thread state[THREADS_MAX];
} load;

static int thread_attach(struct crash_thread *t)
{
    char path[4096];

    if (t->dir_fd >= 0)
        return 0;
    snprintf(path, sizeof path, "%s/t%u", load.dir, t->index);
    if (mkdir(path, 0755) && errno != EEXIST)
        return errno;
    t->dir_fd = open(path, O_RDONLY | O_DIRECTORY);
    return t->dir_fd < 0 ? errno : 0;
}

static void *thread_main(void *arg)
{
    struct crash_thread *t = arg;
    int rc = 0;

    while (!rc && !atomic_load(&load.stop))
        rc = crash_step(t);
    if (rc) {
        fprintf(stderr, "crashload: thread %u stops: %s\n", t->index,
                strerror(rc));
        atomic_fetch_add(&load.errors, 1);
    }
    crash_close(t);
    return NULL;
}

static bool start(void)
{
    atomic_store(&load.stop, false);
    atomic_store(&load.errors, 0);
    for (unsigned i = 0; i < load.threads; i++) {
        int rc = thread_attach(&load.state[i]);

        if (rc) {
            printf("failed %s\n", strerror(rc));
            return false;
        }
    }
    for (unsigned i = 0; i < load.threads; i++)
        if (pthread_create(&load.ids[i], NULL, thread_main, &load.state[i]))
            abort();
    printf("started\n");
    return true;
}

static void join(void)
{
    uint64_t ops = 0;

    for (unsigned i = 0; i < load.threads; i++) {
        pthread_join(load.ids[i], NULL);
        ops += load.state[i].ops;
    }
    printf("stopped %llu %u\n", (unsigned long long)ops,
           atomic_load(&load.errors));
}

static void verify(void)
{
    unsigned bad = 0;

    for (unsigned i = 0; i < load.threads; i++) {
        struct crash_thread *t = &load.state[i];
        int rc = thread_attach(t);

        if (rc) {
            printf("  thread %u: %s\n", i, strerror(rc));
            bad++;
            continue;
        }
        bad += crash_verify(t);
        crash_close(t);
    }
    printf("verified %u\n", bad);
}

static void command_loop(void)
{
    char line[64];
    bool running = false;

    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (!strcmp(line, "start") && !running) {
            running = start();
        } else if (!strcmp(line, "stop") && running) {
            atomic_store(&load.stop, true);
            join();
            running = false;
        } else if (!strcmp(line, "wait") && running) {
            join();
            running = false;
        } else if (!strcmp(line, "verify") && !running) {
            verify();
        } else {
            printf("unknown or out of turn: %s\n", line);
        }
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: crashload DIR SEED [THREADS [firm]]\n");
        return 2;
    }
    load.dir = argv[1];
    load.threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 4;
    if (load.threads < 1 || load.threads > THREADS_MAX) {
        fprintf(stderr, "crashload: 1 to %d threads\n", THREADS_MAX);
        return 2;
    }
    for (unsigned i = 0; i < load.threads; i++) {
        struct crash_thread *t = &load.state[i];

        t->index = i;
        t->random = strtoull(argv[2], NULL, 10) * 1000003 + i + 1;
        t->dir_fd = -1;
        t->firm = argc > 4 && !strcmp(argv[4], "firm");
        t->buf = aligned_alloc(4096, CRASH_FILE_BYTES);
        if (!t->buf)
            abort();
        for (unsigned k = 0; k < CRASH_FILES; k++)
            t->files[k].fd = -1;
    }
    command_loop();
    return 0;
}
