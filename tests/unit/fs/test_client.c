/* tests/unit/fs/test_client.c - files of a volume through the client, over a
 * real coordinator and a LUN in memory.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/client_world.h"

#include <string.h>
#include <sys/stat.h>

/* -- facts ----------------------------------------------------------------- */

static void what_was_written_is_read_before_and_after_a_sync(void)
{
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 1000, 100000));
    CHECK_EQ(cw_read_pattern(&f, 1000, 100000), 100000);
    CHECK_EQ(cw_file_size(&f), 101000);
    CHECK_OK(cw_sync_file(&f));
    CHECK_EQ(cw_read_pattern(&f, 1000, 100000), 100000);
    CHECK_EQ(cw_read_zeros(&f, 0, 1000), 1000);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void closing_commits_what_nobody_synced(void)
{
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 4000, 200));
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_restart(&f);
    CHECK_EQ(cw_file_size(&f), 4200);
    CHECK_EQ(cw_read_pattern(&f, 4000, 200), 200);
    CHECK_OK(fs_file_close(f.file, &cw_reopen));
    cw_fini(&f);
}

/* I3: what was on the LUN before is never seen. */
static void a_first_write_leaves_zeros_around_it(void)
{
    static uint8_t junk[1 << 20];
    struct fixture f;

    cw_init(&f);
    memset(junk, 0xaa, sizeof junk);
    for (uint64_t at = 64 * MIB; at < 192 * MIB; at += sizeof junk)
        store_mem_poke(f.v.lun, at, junk, sizeof junk);
    for (uint64_t at = 5; at < MIB; at += 8192)
        CHECK_OK(cw_write_pattern(&f, at, 10));
    for (uint64_t at = 5; at + 8192 < MIB; at += 8192) {
        CHECK_EQ(cw_read_pattern(&f, at, 10), 10);
        CHECK_EQ(cw_read_zeros(&f, at + 10, 8182), 8182);
    }
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void a_smaller_size_and_a_larger_one_again_leave_zeros(void)
{
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 0, 20000));
    CHECK_OK(cw_truncate_file(&f, 5000));
    CHECK_OK(cw_truncate_file(&f, 20000));
    CHECK_EQ(cw_read_pattern(&f, 0, 5000), 5000);
    CHECK_EQ(cw_read_zeros(&f, 5000, 15000), 15000);
    CHECK_OK(cw_truncate_file(&f, 5000));
    CHECK_OK(cw_write_pattern(&f, 19000, 1000));
    CHECK_EQ(cw_read_zeros(&f, 5000, 14000), 14000);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

/* A write allocates ahead of the file's end; a truncation to a larger size
 * gives that back.  Then the blocks may be another file's. */
static void growing_by_truncate_forgets_what_was_allocated_ahead(void)
{
    enum { PIECE = 64 << 10, PIECES = 64 };
    struct fixture f;
    struct fs_file *grown, *other;
    fs_attr attr;

    cw_init(&f);
    grown = f.file;
    CHECK_OK(cw_write_pattern(&f, 0, PIECE));
    CHECK_OK(cw_truncate_file(&f, PIECE + 4096));
    CHECK_OK_FATAL(fs_path_open(f.client, "other", &cw_create, &other, &attr));
    for (uint64_t i = 0; i < 2 * PIECES; i++) {
        f.file = i < PIECES ? other : grown;
        CHECK_OK(cw_write_pattern(&f, (i % PIECES + 1) * PIECE + i, PIECE / 2));
    }
    f.file = other;
    for (uint64_t i = 0; i < PIECES; i++)
        CHECK_EQ(cw_read_pattern(&f, (i + 1) * PIECE + i, PIECE / 2),
                 PIECE / 2);
    CHECK_OK(fs_file_close(grown, &cw_create));
    CHECK_OK(fs_file_close(other, &cw_create));
    cw_fini(&f);
}

static void a_punched_hole_reads_zeros_to_the_byte(void)
{
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 0, 100000));
    CHECK_OK(cw_allocate(&f, FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE, 1001,
                         50000));
    CHECK_EQ(cw_read_pattern(&f, 0, 1001), 1001);
    CHECK_EQ(cw_read_zeros(&f, 1001, 50000), 50000);
    CHECK_EQ(cw_read_pattern(&f, 51001, 48999), 48999);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void a_zeroed_range_may_grow_the_file(void)
{
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 0, 10000));
    CHECK_OK(cw_allocate(&f, FS_FALLOC_ZERO_RANGE, 9000, 9001));
    CHECK_EQ(cw_file_size(&f), 18001);
    CHECK_EQ(cw_read_pattern(&f, 0, 9000), 9000);
    CHECK_EQ(cw_read_zeros(&f, 9000, 9001), 9001);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void seeking_sees_what_is_not_committed_yet(void)
{
    struct fixture f;
    struct waited_io w = {.io.op = FS_IO_SEEK};

    cw_init(&f);
    CHECK_OK(cw_truncate_file(&f, MIB));
    CHECK_OK(cw_write_pattern(&f, 512 * 1024, 4096));
    CHECK_OK(cw_run(&f, &w));
    CHECK_EQ(w.io.off_bytes, 512 * 1024);
    w = (struct waited_io){.io.op = FS_IO_SEEK, .io.off_bytes = 512 * 1024};
    w.io.hole = true;
    CHECK_OK(cw_run(&f, &w));
    CHECK_EQ(w.io.off_bytes, 512 * 1024 + 4096);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void times_that_were_set_are_not_undone_by_a_later_commit(void)
{
    struct fixture f;
    struct waited_io w = {.io.op = FS_IO_SETATTR};
    fs_attr attr;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 0, 4096));
    w.io.setattr.mask = FS_SET_MTIME;
    w.io.setattr.mtime.s = 12345;
    CHECK_OK(cw_run(&f, &w));
    CHECK_OK(cw_sync_file(&f));
    CHECK_OK(fs_file_close(f.file, &cw_create));
    CHECK_OK(fs_path_stat(f.client, "file", &attr));
    CHECK_EQ(attr.mtime.s, 12345);
    cw_fini(&f);
}

static void an_unlinked_file_lives_until_it_is_closed(void)
{
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 0, 100000));
    CHECK_OK(fs_path_unlink(f.client, "file"));
    CHECK_OK(cw_write_pattern(&f, 100000, 100000));
    CHECK_OK(cw_sync_file(&f));
    CHECK_EQ(cw_read_pattern(&f, 0, 200000), 200000);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

/* A VM may have the disk when its maker is gone, whoever reads it. */
static void who_creates_a_file_writes_it_until_it_is_closed(void)
{
    const struct fs_open_how to_read = {.write = false};
    struct fs_file *reader;
    uint64_t generation = 0;
    struct fixture f;
    fs_attr attr;

    cw_init(&f);
    CHECK_OK_FATAL(fs_path_open(f.client, "file", &to_read, &reader, &attr));
    CHECK_ERR(v_handle(&f.v, FS_OP_HANDLE_GET, attr.ino, "vm", FS_HANDLE_EX,
                       &generation),
              E_BUSY);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    CHECK_OK(v_handle(&f.v, FS_OP_HANDLE_GET, attr.ino, "vm", FS_HANDLE_EX,
                      &generation));
    CHECK_OK(v_handle(&f.v, FS_OP_HANDLE_PUT, attr.ino, "vm", FS_HANDLE_EX,
                      &generation));
    CHECK_OK(fs_file_close(reader, &to_read));
    cw_fini(&f);
}

static void a_full_volume_is_said_and_what_was_written_stays(void)
{
    struct fixture f;
    uint64_t at = 0;
    enum err e;

    cw_init(&f);
    while (!(e = cw_write_pattern(&f, at, MIB)))
        at += MIB;
    CHECK_ERR(e, E_VOL_FULL);
    CHECK_EQ(at > 100 * MIB, true);
    CHECK_OK(cw_sync_file(&f));
    CHECK_EQ(cw_read_pattern(&f, at - MIB, MIB), MIB);
    CHECK_OK(cw_truncate_file(&f, 0));
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void reading_where_no_file_ends_finds_nothing(void)
{
    const uint64_t last = FILE_BYTES_MAX - 4096;
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_truncate_file(&f, last + 100));
    CHECK_EQ(cw_read_zeros(&f, last, 100), 100);
    for (uint64_t off = last + 100; off < last + 20000; off += 2000)
        CHECK_EQ(cw_read_bytes(&f, off, 6000), 0);
    CHECK_EQ(cw_read_bytes(&f, last + 1, 6000), 99);
    CHECK_EQ(cw_read_bytes(&f, INT64_MAX, 6000), 0);
    CHECK_OK(cw_truncate_file(&f, 0));
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

/* -- the LUN fails --------------------------------------------------------- */

static void a_lun_error_reaches_its_io_and_no_other(void)
{
    const struct store_fault_args fault = {
        .ops = 1 << STORE_WRITE, .nth = 1, .result = E_IO};
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 0, 8192));
    store_fault_arm(f.fault, &fault);
    CHECK_ERR(cw_write_pattern(&f, 8192, 8192), E_IO);
    CHECK_EQ(cw_file_size(&f), 8192);
    CHECK_EQ(cw_read_pattern(&f, 0, 8192), 8192);
    CHECK_OK(cw_write_pattern(&f, 8192, 8192));
    CHECK_OK(cw_sync_file(&f));
    CHECK_EQ(cw_read_pattern(&f, 0, 16384), 16384);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void a_failed_flush_is_told_and_commits_nothing_until_one_works(void)
{
    const struct store_fault_args fault = {
        .ops = 1 << STORE_FLUSH, .nth = 1, .result = E_IO};
    struct fixture f;
    fs_attr attr;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 0, 8192));
    store_fault_arm(f.fault, &fault);
    CHECK_ERR(cw_sync_file(&f), E_IO);
    CHECK_OK(v_lookup(&f.v, ROOT, "file", &attr));
    CHECK_EQ(attr.size_bytes, 0);
    CHECK_OK(cw_sync_file(&f));
    CHECK_OK(v_lookup(&f.v, ROOT, "file", &attr));
    CHECK_EQ(attr.size_bytes, 8192);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void a_lun_that_was_gone_and_is_back_has_lost_nothing(void)
{
    const struct store_fault_args gone = {
        .ops = UINT32_MAX, .nth = 1, .sticky = true, .result = E_IO};
    const struct store_fault_args back = {0};
    uint8_t byte;
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 0, 9000));
    store_fault_arm(f.fault, &gone);
    CHECK_ERR(cw_write_pattern(&f, 9000, 9000), E_IO);
    CHECK_ERR(cw_data(&f, FS_IO_READ, 0, &byte, 1), E_IO);
    CHECK_ERR(cw_sync_file(&f), E_IO);
    CHECK_ERR(cw_truncate_file(&f, 5000), E_IO);
    CHECK_ERR(
        cw_allocate(&f, FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE, 100, 200),
        E_IO);
    CHECK_EQ(cw_file_size(&f), 9000);
    store_fault_arm(f.fault, &back);
    CHECK_EQ(cw_read_pattern(&f, 0, 9000), 9000);
    CHECK_OK(cw_write_pattern(&f, 9000, 9000));
    CHECK_OK(cw_sync_file(&f));
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_restart(&f);
    CHECK_EQ(cw_read_pattern(&f, 0, 18000), 18000);
    CHECK_OK(fs_file_close(f.file, &cw_reopen));
    cw_fini(&f);
}

/* Bytes beyond the end of a file that a failed write left on the LUN. */
static void a_failed_write_beyond_the_end_never_shows(void)
{
    const struct store_fault_args fault = {.ops = 1 << STORE_WRITE,
                                           .nth = 1,
                                           .after_effect = true,
                                           .result = E_IO};
    struct fixture f;

    cw_init(&f);
    CHECK_OK(cw_write_pattern(&f, 0, 1000));
    store_fault_arm(f.fault, &fault);
    CHECK_ERR(cw_write_pattern(&f, 1000, 2000), E_IO);
    CHECK_EQ(cw_file_size(&f), 1000);
    CHECK_OK(cw_write_pattern(&f, 3500, 100));
    CHECK_EQ(cw_read_zeros(&f, 1000, 2500), 2500);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

/* The same for whole blocks: of two requests of a write the second fails. */
static void blocks_of_a_failed_write_beyond_the_end_never_show(void)
{
    const struct store_fault_args fault = {
        .ops = 1 << STORE_WRITE, .nth = 2, .result = E_IO};
    struct fixture f;

    cw_init(&f);
    for (unsigned how = 0; how < 3; how++) {
        CHECK_OK(cw_truncate_file(&f, 0));
        CHECK_OK(cw_write_pattern(&f, 0, 4096));
        store_fault_arm(f.fault, &fault);
        CHECK_ERR(cw_write_pattern(&f, 4096, 6000), E_IO);
        CHECK_EQ(cw_file_size(&f), 4096);
        if (how == 0)
            CHECK_OK(cw_write_pattern(&f, 20000, 100));
        else if (how == 1)
            CHECK_OK(cw_truncate_file(&f, 20000));
        else
            CHECK_OK(cw_allocate(&f, 0, 9000, 11000));
        CHECK_EQ(cw_read_pattern(&f, 0, 4096), 4096);
        CHECK_EQ(cw_read_zeros(&f, 4096, 15904), 15904);
    }
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

/* Nothing is to be told any more, but the flush of the timer's is under way
 * when the last file is closed. */
static void a_client_ends_after_its_background_commits(void)
{
    const struct store_fault_args count = {.ops = 1 << STORE_FLUSH};
    struct fs_client_args args = {.commit_ms = 1};
    struct store *slow;
    struct fixture f;
    fs_attr attr;

    cw_init(&f);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    fs_client_free(f.client);
    CHECK_OK_FATAL(store_delay_new(f.fault, 0, &slow));
    args.lun = slow;
    args.link = f.v.link;
    args.loop = f.v.world.loop;
    CHECK_OK_FATAL(fs_client_new(&args, &f.client));
    CHECK_OK_FATAL(fs_path_open(f.client, "file", &cw_reopen, &f.file, &attr));
    CHECK_OK(cw_write_pattern(&f, 0, 4096));
    CHECK_OK(cw_sync_file(&f));
    store_delay_set(slow, 100);
    store_fault_arm(f.fault, &count);
    while (!store_fault_count(f.fault))
        loop_run_ready(f.v.world.loop);
    CHECK_OK(fs_file_close(f.file, &cw_reopen));
    fs_client_free(f.client);
    f.client = NULL;
    store_close(slow);
    cw_fini(&f);
}

/* -- several threads ------------------------------------------------------- */

enum { THREADS = 3, THREAD_IOS = 400, THREAD_BYTES = 512 };

/* One writer per thread: each has every third sector of the same blocks. */
struct writer {
    struct fs_io io;
    struct iovec iov;
    struct task begin;
    struct fixture *f;
    struct reactor *reactor;
    uint64_t next;
    uint8_t buf[THREAD_BYTES];
    enum err result;
    struct task report; /* on the test's loop */
    bool done;
};

static void write_next(struct writer *w)
{
    pattern_fill(w->buf, sizeof w->buf, 1, w->next);
    w->iov = (struct iovec){.iov_base = w->buf, .iov_len = sizeof w->buf};
    w->io.op = FS_IO_WRITE;
    w->io.file = w->f->file;
    w->io.off_bytes = w->next;
    w->io.len_bytes = sizeof w->buf;
    w->io.iov = &w->iov;
    w->io.iov_count = 1;
    fs_io_submit(w->f->client, &w->io);
}

static void writer_report(struct task *task)
{
    container_of(task, struct writer, report)->done = true;
}

static void one_written(struct fs_io *io, enum err e)
{
    struct writer *w = container_of(io, struct writer, io);

    w->next += THREADS * THREAD_BYTES;
    if (e)
        w->result = e;
    if (w->next < THREADS * THREAD_BYTES * THREAD_IOS) {
        write_next(w);
        return;
    }
    w->report.run = writer_report;
    loop_post(w->f->v.world.loop, &w->report);
}

static void writer_begin(struct task *task)
{
    write_next(container_of(task, struct writer, begin));
}

static void threads_that_share_blocks_lose_no_write(void)
{
    const struct loop_args args = {.name = "writer"};
    struct writer writers[THREADS] = {0};
    const uint64_t all = THREADS * THREAD_BYTES * THREAD_IOS;
    struct fixture f;

    cw_init(&f);
    for (unsigned i = 0; i < THREADS; i++) {
        struct writer *w = &writers[i];

        w->f = &f;
        w->next = i * THREAD_BYTES;
        w->io.done = one_written;
        w->begin.run = writer_begin;
        CHECK_OK_FATAL(reactor_start(&args, &w->reactor));
        loop_post(reactor_loop(w->reactor), &w->begin);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        world_run_until(&f.v.world, &writers[i].done);
        CHECK_OK(writers[i].result);
    }
    /* not before: they wake one another */
    for (unsigned i = 0; i < THREADS; i++)
        reactor_stop(writers[i].reactor);
    CHECK_EQ(cw_read_pattern(&f, 0, all), all);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

/* -- the file as a store --------------------------------------------------- */

static void a_file_is_a_store_that_grows_and_discards(void)
{
    static uint8_t buf[16384];
    struct store *s = NULL;
    struct fixture f;

    cw_init(&f);
    CHECK_OK_FATAL(fs_file_store(f.file, 2, &s));
    CHECK_EQ(s->size_bytes, 0);
    CHECK_OK(store_range_sync(s, STORE_RESIZE, MIB, 0));
    CHECK_EQ(s->size_bytes, MIB);
    pattern_fill(buf, sizeof buf, 1, 8192);
    CHECK_OK(store_write_sync(s, 8192, buf, sizeof buf));
    CHECK_OK(store_range_sync(s, STORE_DISCARD, 8192, 4096));
    CHECK_OK(store_range_sync(s, STORE_WRITE_ZEROES, 12288, 512));
    CHECK_OK(store_flush_sync(s));
    CHECK_EQ(cw_read_zeros(&f, 8192, 4608), 4608);
    CHECK_EQ(cw_read_pattern(&f, 12800, 11776), 11776);
    CHECK_ERR(store_read_sync(s, MIB, buf, 512), E_RANGE);
    store_close(s);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void a_store_takes_more_ios_than_it_has(void)
{
    enum { IOS = 40 };
    static uint8_t bufs[IOS][4096];
    static struct test_io ios[IOS];
    struct store *s = NULL;
    struct fixture f;

    cw_init(&f);
    CHECK_OK_FATAL(fs_file_store(f.file, 2, &s));
    CHECK_OK(store_range_sync(s, STORE_RESIZE, MIB, 0));
    for (unsigned i = 0; i < IOS; i++) {
        pattern_fill(bufs[i], sizeof bufs[i], 1, i * 4096);
        CHECK_OK(test_io_submit(&ios[i], s, STORE_WRITE, i * 4096, bufs[i],
                                sizeof bufs[i], i % 2 ? STORE_FUA : 0));
    }
    for (unsigned i = 0; i < IOS; i++) {
        world_run_until(&f.v.world, &ios[i].done);
        CHECK_OK(ios[i].result);
    }
    CHECK_EQ(cw_read_pattern(&f, 0, IOS * 4096), IOS * 4096);
    store_close(s);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static void paths_are_walked_and_refused(void)
{
    struct fixture f;
    struct fs_file *other;
    fs_attr attr;

    cw_init(&f);
    CHECK_OK(v_create(&f.v, ROOT, "dir", S_IFDIR | 0755, &attr));
    CHECK_OK(fs_path_open(f.client, "/dir//inner", &cw_create, &other, &attr));
    CHECK_OK(fs_file_close(other, &cw_create));
    CHECK_OK(fs_path_stat(f.client, "dir/inner", &attr));
    CHECK_ERR(fs_path_open(f.client, "dir/inner", &cw_create, &other, &attr),
              E_EXIST);
    CHECK_ERR(fs_path_open(f.client, "dir", &cw_reopen, &other, &attr),
              E_ISDIR);
    CHECK_ERR(fs_path_stat(f.client, "file/x", &attr), E_NOTDIR);
    CHECK_ERR(fs_path_stat(f.client, "none/x", &attr), E_NOENT);
    CHECK_ERR(fs_path_stat(f.client, "//", &attr), E_INVAL);
    CHECK_OK(fs_path_unlink(f.client, "dir/inner"));
    CHECK_ERR(fs_path_stat(f.client, "dir/inner", &attr), E_NOENT);
    CHECK_OK(fs_file_close(f.file, &cw_create));
    cw_fini(&f);
}

static const struct test tests[] = {
    TEST(what_was_written_is_read_before_and_after_a_sync),
    TEST(closing_commits_what_nobody_synced),
    TEST(a_first_write_leaves_zeros_around_it),
    TEST(a_smaller_size_and_a_larger_one_again_leave_zeros),
    TEST(growing_by_truncate_forgets_what_was_allocated_ahead),
    TEST(a_punched_hole_reads_zeros_to_the_byte),
    TEST(a_zeroed_range_may_grow_the_file),
    TEST(seeking_sees_what_is_not_committed_yet),
    TEST(times_that_were_set_are_not_undone_by_a_later_commit),
    TEST(an_unlinked_file_lives_until_it_is_closed),
    TEST(who_creates_a_file_writes_it_until_it_is_closed),
    TEST(a_full_volume_is_said_and_what_was_written_stays),
    TEST(reading_where_no_file_ends_finds_nothing),
    TEST(a_lun_error_reaches_its_io_and_no_other),
    TEST(a_failed_flush_is_told_and_commits_nothing_until_one_works),
    TEST(a_lun_that_was_gone_and_is_back_has_lost_nothing),
    TEST(a_failed_write_beyond_the_end_never_shows),
    TEST(blocks_of_a_failed_write_beyond_the_end_never_show),
    TEST(a_client_ends_after_its_background_commits),
    TEST(threads_that_share_blocks_lose_no_write),
    TEST(a_file_is_a_store_that_grows_and_discards),
    TEST(a_store_takes_more_ios_than_it_has),
    TEST(paths_are_walked_and_refused),
};
TEST_SUITE("fs/client", tests);
