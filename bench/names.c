/* bench/names.c - creates, stats and unlinks files, as fast as threads can.
 * Prints operations per second; measures names only, writes no data.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/base.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS_MAX = 64, PATH_BYTES = 4096 };

struct work {
    pthread_t thread;
    const char *dir;
    unsigned number, files;
    bool (*step)(const char *path);
    int error; /* errno of the first failure */
};

static bool make(const char *path)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

    return fd >= 0 && !close(fd);
}

static bool look(const char *path)
{
    struct stat st;

    return !stat(path, &st);
}

static bool drop(const char *path)
{
    return !unlink(path);
}

static void *run(void *arg)
{
    struct work *w = arg;
    char path[PATH_BYTES];

    for (unsigned i = 0; i < w->files && !w->error; i++) {
        snprintf(path, sizeof path, "%s/%u/file-%08u", w->dir, w->number, i);
        if (!w->step(path))
            w->error = errno;
    }
    return NULL;
}

/* All threads do one thing; returns operations per second, 0 on error. */
static double phase(struct work *work, unsigned threads,
                    bool (*step)(const char *path))
{
    uint64_t start = clock_now_ns(clock_system());
    bool failed = false;

    for (unsigned i = 0; i < threads; i++) {
        work[i].step = step;
        if (pthread_create(&work[i].thread, NULL, run, &work[i]))
            return 0;
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(work[i].thread, NULL);
        if (work[i].error) {
            fprintf(stderr, "names: %s\n", strerror(work[i].error));
            failed = true;
        }
    }
    return failed ? 0
                  : (double)threads * work[0].files * 1e9 /
                        (double)(clock_now_ns(clock_system()) - start);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        bool (*step)(const char *path);
    } phases[] = {
        {"create", make},
        {"stat",   look},
        {"unlink", drop},
    };
    struct work work[THREADS_MAX] = {0};
    unsigned threads = argc == 4 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    char path[PATH_BYTES];

    if (threads < 1 || threads > THREADS_MAX) {
        fputs("usage: names DIR THREADS FILES\n", stderr);
        return 2;
    }
    for (unsigned i = 0; i < threads; i++) {
        work[i].dir = argv[1];
        work[i].number = i;
        work[i].files = (unsigned)strtoul(argv[3], NULL, 10);
        snprintf(path, sizeof path, "%s/%u", argv[1], i);
        if (mkdir(path, 0755)) {
            perror(path);
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        double rate = phase(work, threads, phases[i].step);

        if (rate <= 0)
            return 1;
        printf("%s-%u %.0f\n", phases[i].name, threads, rate);
    }
    return 0;
}
