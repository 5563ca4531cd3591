/* tests/lib/world.c - fixtures: temporary directory, loop, ios, patterns.
 * Knows base/ only; the fixtures of a layer live with its tests.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/world.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REMOVE_FDS = 16 }; /* nftw() holds one per level of directories */

/* Not a failed test but a machine that cannot run it. */
NORETURN static void give_up(const char *what)
{
    perror(what);
    abort();
}

static void make_dir(struct world *w)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(w->dir, sizeof w->dir, "%s/lunar-unit.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(w->dir))
        give_up(w->dir);
}

static void make_loop(struct world *w, struct clock *clock)
{
    const struct loop_args args = {
        .name = "test", .clock = clock, .aio_depth = WORLD_AIO_DEPTH};

    if (loop_new(&args, &w->loop))
        give_up("loop_new");
    loop_adopt(w->loop);
}

void world_init(struct world *w)
{
    *w = (struct world){.loop = NULL};
    make_dir(w);
    make_loop(w, NULL);
}

void world_init_manual_clock(struct world *w)
{
    *w = (struct world){.loop = NULL};
    make_dir(w);
    clock_manual_init(&w->clock, NS_PER_S);
    make_loop(w, &w->clock.base);
}

static int remove_one(const char *path, const struct stat *st, int kind,
                      struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void world_fini(struct world *w)
{
    loop_adopt(NULL);
    loop_free(w->loop);
    if (nftw(w->dir, remove_one, REMOVE_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT))
        give_up(w->dir);
}

/* The flag never came: there is no way to leave the loop but this. */
static void waited_too_long(struct timer *t)
{
    (void)t;
    fprintf(stderr, "waited %d ms for the loop\n", WORLD_LIMIT_MS);
    abort();
}

void world_run_until(struct world *w, const bool *flag)
{
    struct timer limit = {.fire = waited_too_long};

    loop_timer_set(w->loop, &limit, WORLD_LIMIT_MS);
    loop_run_until(w->loop, flag);
    loop_timer_cancel(w->loop, &limit);
}

void world_file(struct world *w, const char *name, uint64_t bytes,
                char ret_path[WORLD_PATH_BYTES])
{
    char path[2 * WORLD_PATH_BYTES];
    int fd;

    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    if (strlen(path) >= WORLD_PATH_BYTES)
        give_up(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) || close(fd))
        give_up(path);
    memcpy(ret_path, path, strlen(path) + 1);
}

static void test_io_done(struct store_io *io, enum err e)
{
    struct test_io *t = container_of(io, struct test_io, io);

    t->result = e;
    t->done = true;
    t->done_count++;
}

enum err test_io_submit(struct test_io *t, struct store *s, enum store_op op,
                        uint64_t off_bytes, void *buf, uint64_t len_bytes,
                        uint32_t flags)
{
    *t = (struct test_io){
        .io = {.op = op,
               .flags = flags,
               .off_bytes = off_bytes,
               .len_bytes = len_bytes,
               .done = test_io_done},
        .iov = {.iov_base = buf, .iov_len = len_bytes},
    };
    if (buf) {
        t->io.iov = &t->iov;
        t->io.iov_count = 1;
    }
    return store_submit(s, &t->io);
}

/* splitmix64's mixing step: cheap, and every bit of the input matters. */
static uint64_t mix(uint64_t n)
{
    n = (n ^ (n >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ (n >> 27)) * UINT64_C(0x94d049bb133111eb);
    return n ^ (n >> 31);
}

static uint8_t pattern_byte(uint64_t seed, uint64_t off_bytes)
{
    uint64_t word = mix(mix(seed + 1) + off_bytes / 8);

    return (uint8_t)(word >> (off_bytes % 8 * 8));
}

void pattern_fill(void *buf, size_t bytes, uint64_t seed, uint64_t off_bytes)
{
    uint8_t *b = buf;

    for (size_t i = 0; i < bytes; i++)
        b[i] = pattern_byte(seed, off_bytes + i);
}

size_t pattern_check(const void *buf, size_t bytes, uint64_t seed,
                     uint64_t off_bytes)
{
    const uint8_t *b = buf;
    size_t i = 0;

    while (i < bytes && b[i] == pattern_byte(seed, off_bytes + i))
        i++;
    return i;
}
