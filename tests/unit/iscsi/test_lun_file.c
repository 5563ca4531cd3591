/* tests/unit/iscsi/test_lun_file.c - a regular file as a LUN.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_file.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 8 << 20 };

struct fixture {
    struct world w;
    char path[WORLD_PATH_BYTES], url[WORLD_PATH_BYTES + 8];
    struct lun *lun;
    struct store *s;
    struct diag why;
};

static void fixture_init(struct fixture *f, const struct lun_args *args)
{
    memset(f, 0, sizeof *f);
    world_init(&f->w);
    world_file(&f->w, "lun", SIZE, f->path);
    snprintf(f->url, sizeof f->url, "file:%s", f->path);
    CHECK_OK_FATAL(lun_open(f->url, args, &f->why, &f->lun));
    f->s = lun_store(f->lun);
}

static void fixture_fini(struct fixture *f)
{
    lun_close(f->lun);
    world_fini(&f->w);
}

static const struct lun_args plain = {.exclusive = true};

static void what_is_written_is_read_back_and_in_the_file(void)
{
    uint8_t *in = aligned_alloc(4096, 65536), *out = aligned_alloc(4096, 65536);
    struct fixture f;
    int fd;

    fixture_init(&f, &plain);
    CHECK_EQ(f.s->size_bytes, SIZE);
    CHECK_EQ(f.s->physical_bytes, 4096);
    pattern_fill(in, 65536, 1, 0);
    CHECK_OK(store_write_sync(f.s, 65536, in, 65536));
    CHECK_OK(store_flush_sync(f.s));
    CHECK_OK(store_read_sync(f.s, 65536, out, 65536));
    CHECK_MEM(out, in, 65536);
    memset(out, 0, 65536);
    fd = open(f.path, O_RDONLY);
    CHECK_EQ(pread(fd, out, 65536, 65536), 65536);
    CHECK_MEM(out, in, 65536);
    close(fd);
    fixture_fini(&f);
    free(in);
    free(out);
}

/* Memory that O_DIRECT cannot take: odd addresses, odd pieces. */
static void misaligned_memory_is_bounced(void)
{
    enum { LEN = 3 * BOUNCE_BYTES + 512 };
    char *in = malloc(LEN + 8), *out = calloc(1, LEN + 8);
    struct iovec iov[] = {
        {in + 1,    1000   },
        {in + 1001, 24     },
        {in + 1025, 1 << 17}
    };
    struct test_io t = {.done = false};
    struct fixture f;

    fixture_init(&f, &plain);
    pattern_fill(in + 1, LEN, 2, 512);
    CHECK_OK(store_write_sync(f.s, 512, in + 1, LEN));
    CHECK_OK(store_read_sync(f.s, 512, out + 3, LEN));
    CHECK_EQ(pattern_check(out + 3, LEN, 2, 512), LEN);

    CHECK_OK(test_io_submit(&t, f.s, STORE_READ, 0, NULL, 0, 0));
    world_run_until(&f.w, &t.done);
    t.done = false;
    t.io.iov = iov;
    t.io.iov_count = 3;
    t.io.len_bytes = iov_bytes(iov, 3);
    t.io.off_bytes = 1024;
    memset(in, 0, LEN);
    CHECK_OK(store_submit(f.s, &t.io));
    world_run_until(&f.w, &t.done);
    CHECK_OK(t.result);
    CHECK_EQ(pattern_check(in + 1, t.io.len_bytes, 2, 1024), t.io.len_bytes);
    fixture_fini(&f);
    free(in);
    free(out);
}

static void more_misaligned_ios_than_buffers_all_complete(void)
{
    enum { IOS = 3 * BOUNCES, LEN = 8192 };
    static struct test_io t[IOS];
    char *memory = malloc(IOS * LEN + 1);
    struct fixture f;

    fixture_init(&f, &plain);
    pattern_fill(memory + 1, IOS * LEN, 3, 0);
    for (unsigned i = 0; i < IOS; i++)
        CHECK_OK(test_io_submit(&t[i], f.s, STORE_WRITE, i * LEN,
                                memory + 1 + i * LEN, LEN,
                                i % 2 ? STORE_FUA : 0));
    for (unsigned i = 0; i < IOS; i++) {
        world_run_until(&f.w, &t[i].done);
        CHECK_OK(t[i].result);
        CHECK_EQ(t[i].done_count, 1);
    }
    memset(memory, 0, IOS * LEN);
    CHECK_OK(store_read_sync(f.s, 0, memory + 1, IOS * LEN));
    CHECK_EQ(pattern_check(memory + 1, IOS * LEN, 3, 0), IOS * LEN);
    fixture_fini(&f);
    free(memory);
}

static void more_pieces_than_the_kernel_takes_are_bounced(void)
{
    enum { PIECES = 1504 };
    struct iovec *iov = calloc(PIECES, sizeof *iov);
    uint8_t *memory = aligned_alloc(4096, PIECES * 512);
    struct test_io t = {.done = false};
    struct fixture f;

    fixture_init(&f, &plain);
    pattern_fill(memory, PIECES * 512, 4, 0);
    CHECK_OK(store_write_sync(f.s, 0, memory, PIECES * 512));
    memset(memory, 0, PIECES * 512);
    for (int i = 0; i < PIECES; i++)
        iov[i] = (struct iovec){memory + i * 512, 512};
    CHECK_OK(test_io_submit(&t, f.s, STORE_READ, 0, NULL, 0, 0));
    world_run_until(&f.w, &t.done);
    t.done = false;
    t.io.iov = iov;
    t.io.iov_count = PIECES;
    t.io.len_bytes = PIECES * 512;
    CHECK_OK(store_submit(f.s, &t.io));
    world_run_until(&f.w, &t.done);
    CHECK_OK(t.result);
    CHECK_EQ(pattern_check(memory, PIECES * 512, 4, 0), PIECES * 512);
    fixture_fini(&f);
    free(memory);
    free(iov);
}

static void zeroes_and_discard_read_as_zeros(void)
{
    static const uint32_t flags[] = {0, STORE_NO_UNMAP, STORE_FUA,
                                     STORE_FUA | STORE_NO_UNMAP};
    uint8_t *in = malloc(65536), *out = malloc(65536);
    struct test_io t;
    struct fixture f;

    fixture_init(&f, &plain);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        pattern_fill(in, 65536, i, 0);
        CHECK_OK(store_write_sync(f.s, 0, in, 65536));
        CHECK_OK(test_io_submit(&t, f.s, STORE_WRITE_ZEROES, 4096, NULL, 8192,
                                flags[i]));
        world_run_until(&f.w, &t.done);
        CHECK_OK(t.result);
        memset(in + 4096, 0, 8192);
        CHECK_OK(store_read_sync(f.s, 0, out, 65536));
        CHECK_MEM(out, in, 65536);
    }
    if (f.s->caps & STORE_CAN_DISCARD) {
        CU_ASSERT_TRUE(f.s->caps & STORE_DISCARD_ZEROES);
        CHECK_OK(store_range_sync(f.s, STORE_DISCARD, 16384, 4096));
        memset(in + 16384, 0, 4096);
        CHECK_OK(store_read_sync(f.s, 0, out, 65536));
        CHECK_MEM(out, in, 65536);
    }
    fixture_fini(&f);
    free(in);
    free(out);
}

static void resize_changes_the_file(void)
{
    struct fixture f;
    struct stat st;

    fixture_init(&f, &plain);
    CHECK_OK(store_range_sync(f.s, STORE_RESIZE, 2 * SIZE, 0));
    CHECK_EQ(f.s->size_bytes, 2 * SIZE);
    CHECK_EQ(stat(f.path, &st), 0);
    CHECK_EQ(st.st_size, 2 * SIZE);
    CHECK_OK(store_range_sync(f.s, STORE_WRITE_ZEROES, 2 * SIZE - 4096, 4096));
    fixture_fini(&f);
}

/* They go by a worker; the fault comes back from there, too. */
static void large_transfers_side_by_side_move_every_byte(void)
{
    enum { IOS = 4, LEN = 1 << 20 };
    uint8_t *memory = aligned_alloc(4096, IOS * LEN);
    static struct test_io t[IOS];
    struct fixture f;

    fixture_init(&f, &plain);
    for (int round = 0; round < 2; round++) {
        memset(memory, 0, IOS * LEN);
        if (!round)
            pattern_fill(memory, IOS * LEN, 5, 0);
        for (unsigned i = 0; i < IOS; i++)
            CHECK_OK(test_io_submit(
                &t[i], f.s, round ? STORE_READ : STORE_WRITE, i * LEN,
                memory + i * LEN, LEN, i % 2 && !round ? STORE_FUA : 0));
        for (unsigned i = 0; i < IOS; i++) {
            world_run_until(&f.w, &t[i].done);
            CHECK_OK(t[i].result);
            CHECK_EQ(t[i].done_count, 1);
        }
    }
    CHECK_EQ(pattern_check(memory, IOS * LEN, 5, 0), IOS * LEN);
    CHECK_EQ(truncate(f.path, LEN / 2), 0);
    CHECK_ERR(store_read_sync(f.s, 0, memory, LEN), E_IO);
    fixture_fini(&f);
    free(memory);
}

static void file_truncated_by_somebody_is_an_error_with_a_reason(void)
{
    uint8_t *out = aligned_alloc(4096, 65536);
    struct fixture f;
    struct diag why;

    fixture_init(&f, &plain);
    lun_trouble(f.lun, &why);
    CHECK_STR(why.text, "");
    CHECK_EQ(truncate(f.path, SIZE / 2), 0);
    CHECK_OK(store_read_sync(f.s, 0, out, 65536));
    CHECK_ERR(store_read_sync(f.s, SIZE / 2, out, 4096), E_IO);
    CHECK_ERR(store_read_sync(f.s, SIZE / 2 - 4096, out, 65536), E_IO);
    lun_trouble(f.lun, &why);
    CHECK_CONTAINS(why.text, f.path);
    CHECK_CONTAINS(why.text, "ends at 4194304");
    CHECK_CONTAINS(why.text, "truncated");
    CHECK_ERR(lun_rescan(f.lun, &why), E_LUN_SMALL);
    CHECK_EQ(truncate(f.path, 2 * SIZE), 0);
    CHECK_OK(lun_rescan(f.lun, &why));
    CHECK_EQ(f.s->size_bytes, 2 * SIZE);
    fixture_fini(&f);
    free(out);
}

static void second_opener_is_refused_and_told_who_has_it(void)
{
    struct fixture f;
    struct lun *second = NULL;
    pid_t child;
    char pid[32];
    int ready[2], status;

    fixture_init(&f, &plain);
    CHECK_ERR(lun_open(f.url, &plain, &f.why, &second), E_LUN_BUSY);
    CHECK_CONTAINS(f.why.text, "already in use");
    /* Whoever does not ask for exclusion may look. */
    CHECK_OK(lun_open(f.url, &(struct lun_args){.read_only = true}, &f.why,
                      &second));
    lun_close(second);
    lun_close(f.lun);

    CHECK_EQ(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        int fd = open(f.path, O_RDWR);
        struct flock lock = {.l_type = F_WRLCK};

        if (fcntl(fd, F_OFD_SETLK, &lock) || write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    CHECK_EQ(read(ready[0], pid, 1), 1);
    CHECK_ERR(lun_open(f.url, &plain, &f.why, &second), E_LUN_BUSY);
    snprintf(pid, sizeof pid, "pid %d", child);
    CHECK_CONTAINS(f.why.text, pid);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    /* kill -9 leaves no lock behind. */
    CHECK_OK(lun_open(f.url, &plain, &f.why, &f.lun));
    close(ready[0]);
    close(ready[1]);
    fixture_fini(&f);
}

static void read_only_lun_refuses_writes(void)
{
    uint8_t block[4096] = {0};
    struct fixture f;

    fixture_init(&f, &(struct lun_args){.read_only = true, .exclusive = true});
    CHECK_ERR(store_write_sync(f.s, 0, block, 4096), E_READ_ONLY);
    CHECK_OK(store_read_sync(f.s, 0, block, 4096));
    CHECK_OK(store_flush_sync(f.s));
    fixture_fini(&f);
}

static void create_makes_a_sparse_file_and_spares_an_existing_one(void)
{
    const struct lun_args args = {.exclusive = true,
                                  .create_bytes = UINT64_C(1) << 40};
    struct world w;
    struct lun *lun = NULL, *again = NULL;
    struct diag why;
    char url[WORLD_PATH_BYTES + 16];

    world_init(&w);
    snprintf(url, sizeof url, "file:%s/new", w.dir);
    CHECK_OK_FATAL(lun_open(url, &args, &why, &lun));
    CHECK_EQ(lun_store(lun)->size_bytes, UINT64_C(1) << 40);
    CHECK_ERR(lun_open(url, &args, &why, &again), E_EXIST);
    CHECK_CONTAINS(why.text, "cannot create");
    lun_close(lun);
    snprintf(url, sizeof url, "file:%s/odd", w.dir);
    CHECK_ERR(
        lun_open(url, &(struct lun_args){.create_bytes = 513}, &why, &again),
        E_ALIGN);
    CHECK_EQ(access(url + 5, F_OK), -1);
    world_fini(&w);
}

static void what_is_no_lun_is_refused(void)
{
    const struct {
        const char *name;
        enum err expect;
        const char *part;
    } rows[] = {
        {"missing", E_NOENT, "cannot open"                              },
        {"fifo",    E_INVAL, "neither a regular file nor a block device"},
        {".",       E_INVAL, "neither a regular file nor a block device"},
        {"odd",     E_ALIGN, "multiple of 512"                          },
    };
    char path[WORLD_PATH_BYTES], url[WORLD_PATH_BYTES + 16];
    struct lun *lun = NULL;
    struct world w;
    struct diag why;

    world_init(&w);
    world_file(&w, "odd", 1000, path);
    snprintf(path, sizeof path, "%.200s/fifo", w.dir);
    CHECK_EQ(mkfifo(path, 0600), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(url, sizeof url, "file:%s/%s", w.dir, rows[i].name);
        CHECK_ERR(lun_open(url, &plain, &why, &lun), rows[i].expect);
        CHECK_CONTAINS(why.text, rows[i].part);
        CHECK_CONTAINS(why.text, rows[i].name);
    }
    CU_ASSERT_PTR_NULL(lun);
    world_fini(&w);
}

/* Who could tell when another host's writes have landed? */
static void file_is_not_shared_with_other_hosts(void)
{
    struct lun_ear ear = {.up = NULL};
    struct lun_args args = {.ear = &ear, .create_bytes = 1 << 20};
    struct diag why = {""};
    char url[WORLD_PATH_BYTES + 16];
    struct lun *lun;
    struct world w;

    world_init(&w);
    snprintf(url, sizeof url, "file:%s/lun", w.dir);
    CHECK_ERR(lun_open(url, &args, &why, &lun), E_UNSUPPORTED);
    CHECK_CONTAINS(why.text, url);
    CHECK_CONTAINS(why.text, "shared");
    CHECK_EQ(access(url + strlen("file:"), F_OK), -1);
    world_fini(&w);
}

static void file_has_an_identity_and_no_reservations(void)
{
    struct lun_pr pr = {.op = LUN_PR_READ_KEYS};
    const struct lun_identity *id;
    struct fixture f;

    fixture_init(&f, &plain);
    id = lun_identity(f.lun);
    CHECK_STR(id->vendor, "LUNAR");
    CHECK_STR(id->product, "FILE");
    CHECK_CONTAINS(id->wwid, "lunar.file-");
    CHECK_EQ(id->uuid[6] >> 4, 8);
    CHECK_EQ(id->uuid[8] >> 6, 2);
    CHECK_ERR(lun_pr_sync(f.lun, &pr), E_UNSUPPORTED);
    CHECK_CONTAINS(lun_name(f.lun), f.path);
    fixture_fini(&f);
}

static const struct test tests[] = {
    TEST(what_is_written_is_read_back_and_in_the_file),
    TEST(misaligned_memory_is_bounced),
    TEST(more_misaligned_ios_than_buffers_all_complete),
    TEST(more_pieces_than_the_kernel_takes_are_bounced),
    TEST(zeroes_and_discard_read_as_zeros),
    TEST(resize_changes_the_file),
    TEST(large_transfers_side_by_side_move_every_byte),
    TEST(file_truncated_by_somebody_is_an_error_with_a_reason),
    TEST(second_opener_is_refused_and_told_who_has_it),
    TEST(read_only_lun_refuses_writes),
    TEST(create_makes_a_sparse_file_and_spares_an_existing_one),
    TEST(what_is_no_lun_is_refused),
    TEST(file_is_not_shared_with_other_hosts),
    TEST(file_has_an_identity_and_no_reservations),
};
TEST_SUITE("iscsi/lun_file", tests);
