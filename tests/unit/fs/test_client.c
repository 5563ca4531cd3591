/* tests/unit/fs/test_client.c - files of a volume through the client, over a
 * real coordinator and a LUN in memory.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"
#include "tests/unit/fs/volume.h"

#include <string.h>
#include <sys/stat.h>

enum { FILE_MODE = 0644, PIECES = 3 };

/* -- a LUN that carries out what is in flight in any order ----------------- */

enum { SHUFFLE_MAX = 256 };

struct shuffle {
    struct store base;
    struct store *below;
    struct store_io *queue[SHUFFLE_MAX];
    size_t count;
    struct task task;
    bool posted;
    uint64_t seed;
};

static void shuffle_kick(struct shuffle *s)
{
    if (s->posted || !s->count)
        return;
    s->posted = true;
    loop_post(loop_self(), &s->task);
}

/* One per turn, so that those that come later may overtake. */
static void shuffle_one(struct task *task)
{
    struct shuffle *s = container_of(task, struct shuffle, task);
    struct store_io *io;
    size_t i;
    enum err e;

    s->seed = s->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    i = (s->seed >> 33) % s->count;
    io = s->queue[i];
    s->queue[i] = s->queue[--s->count];
    s->posted = false;
    e = store_submit(s->below, io);
    if (e)
        io->done(io, e);
    shuffle_kick(s);
}

static enum err shuffle_submit(struct store *base, struct store_io *io)
{
    struct shuffle *s = container_of(base, struct shuffle, base);

    ASSERT(s->count < SHUFFLE_MAX);
    s->queue[s->count++] = io;
    shuffle_kick(s);
    return E_OK;
}

static const struct store_ops shuffle_ops = {"shuffle", shuffle_submit, NULL};

static void shuffle_init(struct shuffle *s, struct store *below)
{
    *s = (struct shuffle){
        .base = *below, .below = below, .task.run = shuffle_one, .seed = 7};
    s->base.ops = &shuffle_ops;
}

struct fixture {
    struct volume v;
    struct store *fault;
    struct shuffle shuffle;
    bool shuffled;
    struct fs_client *client;
    struct fs_file *file;
};

static const struct fs_open_how create = {.create = true, .mode = FILE_MODE};
static const struct fs_open_how reopen = {.write = true};

static void start_client(struct fixture *f)
{
    const struct fs_client_args args = {.lun = f->shuffled ? &f->shuffle.base
                                                           : f->fault,
                                        .link = f->v.link,
                                        .loop = f->v.world.loop,
                                        .pieces = PIECES};

    CHECK_OK_FATAL(fs_client_new(&args, &f->client));
}

static void init_with_blocks(struct fixture *f, uint32_t block_bytes)
{
    const struct store_mem_args mem = {.size_bytes = 256 * MIB,
                                       .block_bytes = block_bytes};
    const struct fs_format_args format = {.name = "vol"};
    fs_attr attr;

    memset(f, 0, sizeof *f);
    world_init(&f->v.world);
    CHECK_OK_FATAL(store_mem_new(&mem, &f->v.lun));
    CHECK_OK_FATAL(fs_format(f->v.lun, &format, NULL));
    volume_start(&f->v);
    CHECK_OK_FATAL(store_fault_new(f->v.lun, &f->fault));
    start_client(f);
    CHECK_OK_FATAL(fs_path_open(f->client, "file", &create, &f->file, &attr));
}

static void init(struct fixture *f)
{
    init_with_blocks(f, 512);
}

static void fini(struct fixture *f)
{
    fs_client_free(f->client);
    store_close(f->fault);
    volume_stop(&f->v);
    volume_check_clean(&f->v);
    store_close(f->v.lun);
    world_fini(&f->v.world);
}

/* Another client and another run of the coordinator: only what is on the LUN
 * is left. */
static void restart(struct fixture *f)
{
    fs_attr attr;

    fs_client_free(f->client);
    volume_stop(&f->v);
    volume_start(&f->v);
    start_client(f);
    CHECK_OK_FATAL(fs_path_open(f->client, "file", &reopen, &f->file, &attr));
}

/* -- one io, waited for ---------------------------------------------------- */

struct waited_io {
    struct fs_io io;
    struct iovec iov;
    bool done;
    enum err result;
};

static void io_done(struct fs_io *io, enum err e)
{
    struct waited_io *w = container_of(io, struct waited_io, io);

    CHECK_EQ(w->done, false);
    w->done = true;
    w->result = e;
}

static void submit(struct fixture *f, struct waited_io *w)
{
    w->done = false;
    w->io.file = f->file;
    w->io.done = io_done;
    fs_io_submit(f->client, &w->io);
    CHECK_EQ(w->done, false);
}

static enum err run(struct fixture *f, struct waited_io *w)
{
    submit(f, w);
    world_run_until(&f->v.world, &w->done);
    return w->result;
}

static enum err data(struct fixture *f, enum fs_io_op op, uint64_t off,
                     void *buf, uint64_t len)
{
    struct waited_io w = {
        .iov = {.iov_base = buf, .iov_len = len}
    };

    w.io.op = op;
    w.io.off_bytes = off;
    w.io.len_bytes = len;
    w.io.iov = &w.iov;
    w.io.iov_count = 1;
    return run(f, &w);
}

static enum err write_pattern(struct fixture *f, uint64_t off, uint64_t len)
{
    static uint8_t buf[1 << 20];

    pattern_fill(buf, len, 1, off);
    return data(f, FS_IO_WRITE, off, buf, len);
}

/* How many bytes from `off` are the pattern's. */
static uint64_t read_pattern(struct fixture *f, uint64_t off, uint64_t len)
{
    static uint8_t buf[1 << 20];

    CHECK_OK(data(f, FS_IO_READ, off, buf, len));
    return pattern_check(buf, len, 1, off);
}

static uint64_t read_zeros(struct fixture *f, uint64_t off, uint64_t len)
{
    static uint8_t buf[1 << 20];
    uint64_t n = 0;

    memset(buf, 0xee, len);
    CHECK_OK(data(f, FS_IO_READ, off, buf, len));
    while (n < len && !buf[n])
        n++;
    return n;
}

static enum err sync_file(struct fixture *f)
{
    struct waited_io w = {.io.op = FS_IO_SYNC};

    return run(f, &w);
}

static enum err truncate_file(struct fixture *f, uint64_t size)
{
    struct waited_io w = {.io.op = FS_IO_SETATTR};

    w.io.setattr.mask = FS_SET_SIZE;
    w.io.setattr.size_bytes = size;
    return run(f, &w);
}

static enum err allocate(struct fixture *f, uint32_t mode, uint64_t off,
                         uint64_t len)
{
    struct waited_io w = {.io.op = FS_IO_ALLOCATE};

    w.io.mode = mode;
    w.io.off_bytes = off;
    w.io.len_bytes = len;
    return run(f, &w);
}

static uint64_t file_size(struct fixture *f)
{
    fs_attr attr = {0};

    CHECK_OK(fs_path_stat(f->client, "file", &attr));
    return attr.size_bytes;
}

/* -- facts ----------------------------------------------------------------- */

static void what_was_written_is_read_before_and_after_a_sync(void)
{
    struct fixture f;

    init(&f);
    CHECK_OK(write_pattern(&f, 1000, 100000));
    CHECK_EQ(read_pattern(&f, 1000, 100000), 100000);
    CHECK_EQ(file_size(&f), 101000);
    CHECK_OK(sync_file(&f));
    CHECK_EQ(read_pattern(&f, 1000, 100000), 100000);
    CHECK_EQ(read_zeros(&f, 0, 1000), 1000);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void closing_commits_what_nobody_synced(void)
{
    struct fixture f;

    init(&f);
    CHECK_OK(write_pattern(&f, 4000, 200));
    CHECK_OK(fs_file_close(f.file, &create));
    restart(&f);
    CHECK_EQ(file_size(&f), 4200);
    CHECK_EQ(read_pattern(&f, 4000, 200), 200);
    CHECK_OK(fs_file_close(f.file, &reopen));
    fini(&f);
}

/* I3: what was on the LUN before is never seen. */
static void a_first_write_leaves_zeros_around_it(void)
{
    static uint8_t junk[1 << 20];
    struct fixture f;

    init(&f);
    memset(junk, 0xaa, sizeof junk);
    for (uint64_t at = 64 * MIB; at < 192 * MIB; at += sizeof junk)
        store_mem_poke(f.v.lun, at, junk, sizeof junk);
    for (uint64_t at = 5; at < MIB; at += 8192)
        CHECK_OK(write_pattern(&f, at, 10));
    for (uint64_t at = 5; at + 8192 < MIB; at += 8192) {
        CHECK_EQ(read_pattern(&f, at, 10), 10);
        CHECK_EQ(read_zeros(&f, at + 10, 8182), 8182);
    }
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void a_smaller_size_and_a_larger_one_again_leave_zeros(void)
{
    struct fixture f;

    init(&f);
    CHECK_OK(write_pattern(&f, 0, 20000));
    CHECK_OK(truncate_file(&f, 5000));
    CHECK_OK(truncate_file(&f, 20000));
    CHECK_EQ(read_pattern(&f, 0, 5000), 5000);
    CHECK_EQ(read_zeros(&f, 5000, 15000), 15000);
    CHECK_OK(truncate_file(&f, 5000));
    CHECK_OK(write_pattern(&f, 19000, 1000));
    CHECK_EQ(read_zeros(&f, 5000, 14000), 14000);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void a_punched_hole_reads_zeros_to_the_byte(void)
{
    struct fixture f;

    init(&f);
    CHECK_OK(write_pattern(&f, 0, 100000));
    CHECK_OK(
        allocate(&f, FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE, 1001, 50000));
    CHECK_EQ(read_pattern(&f, 0, 1001), 1001);
    CHECK_EQ(read_zeros(&f, 1001, 50000), 50000);
    CHECK_EQ(read_pattern(&f, 51001, 48999), 48999);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void a_zeroed_range_may_grow_the_file(void)
{
    struct fixture f;

    init(&f);
    CHECK_OK(write_pattern(&f, 0, 10000));
    CHECK_OK(allocate(&f, FS_FALLOC_ZERO_RANGE, 9000, 9001));
    CHECK_EQ(file_size(&f), 18001);
    CHECK_EQ(read_pattern(&f, 0, 9000), 9000);
    CHECK_EQ(read_zeros(&f, 9000, 9001), 9001);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void seeking_sees_what_is_not_committed_yet(void)
{
    struct fixture f;
    struct waited_io w = {.io.op = FS_IO_SEEK};

    init(&f);
    CHECK_OK(truncate_file(&f, MIB));
    CHECK_OK(write_pattern(&f, 512 * 1024, 4096));
    CHECK_OK(run(&f, &w));
    CHECK_EQ(w.io.off_bytes, 512 * 1024);
    w = (struct waited_io){.io.op = FS_IO_SEEK, .io.off_bytes = 512 * 1024};
    w.io.hole = true;
    CHECK_OK(run(&f, &w));
    CHECK_EQ(w.io.off_bytes, 512 * 1024 + 4096);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void times_that_were_set_are_not_undone_by_a_later_commit(void)
{
    struct fixture f;
    struct waited_io w = {.io.op = FS_IO_SETATTR};
    fs_attr attr;

    init(&f);
    CHECK_OK(write_pattern(&f, 0, 4096));
    w.io.setattr.mask = FS_SET_MTIME;
    w.io.setattr.mtime.s = 12345;
    CHECK_OK(run(&f, &w));
    CHECK_OK(sync_file(&f));
    CHECK_OK(fs_file_close(f.file, &create));
    CHECK_OK(fs_path_stat(f.client, "file", &attr));
    CHECK_EQ(attr.mtime.s, 12345);
    fini(&f);
}

static void an_unlinked_file_lives_until_it_is_closed(void)
{
    struct fixture f;

    init(&f);
    CHECK_OK(write_pattern(&f, 0, 100000));
    CHECK_OK(fs_path_unlink(f.client, "file"));
    CHECK_OK(write_pattern(&f, 100000, 100000));
    CHECK_OK(sync_file(&f));
    CHECK_EQ(read_pattern(&f, 0, 200000), 200000);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void a_full_volume_is_said_and_what_was_written_stays(void)
{
    struct fixture f;
    uint64_t at = 0;
    enum err e;

    init(&f);
    while (!(e = write_pattern(&f, at, MIB)))
        at += MIB;
    CHECK_ERR(e, E_VOL_FULL);
    CHECK_EQ(at > 100 * MIB, true);
    CHECK_OK(sync_file(&f));
    CHECK_EQ(read_pattern(&f, at - MIB, MIB), MIB);
    CHECK_OK(truncate_file(&f, 0));
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

/* -- the LUN fails --------------------------------------------------------- */

static void a_lun_error_reaches_its_io_and_no_other(void)
{
    const struct store_fault_args fault = {
        .ops = 1 << STORE_WRITE, .nth = 1, .result = E_IO};
    struct fixture f;

    init(&f);
    CHECK_OK(write_pattern(&f, 0, 8192));
    store_fault_arm(f.fault, &fault);
    CHECK_ERR(write_pattern(&f, 8192, 8192), E_IO);
    CHECK_EQ(file_size(&f), 8192);
    CHECK_EQ(read_pattern(&f, 0, 8192), 8192);
    CHECK_OK(write_pattern(&f, 8192, 8192));
    CHECK_OK(sync_file(&f));
    CHECK_EQ(read_pattern(&f, 0, 16384), 16384);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void a_failed_flush_is_told_and_commits_nothing_until_one_works(void)
{
    const struct store_fault_args fault = {
        .ops = 1 << STORE_FLUSH, .nth = 1, .result = E_IO};
    struct fixture f;
    fs_attr attr;

    init(&f);
    CHECK_OK(write_pattern(&f, 0, 8192));
    store_fault_arm(f.fault, &fault);
    CHECK_ERR(sync_file(&f), E_IO);
    CHECK_OK(v_lookup(&f.v, ROOT, "file", &attr));
    CHECK_EQ(attr.size_bytes, 0);
    CHECK_OK(sync_file(&f));
    CHECK_OK(v_lookup(&f.v, ROOT, "file", &attr));
    CHECK_EQ(attr.size_bytes, 8192);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

/* Bytes beyond the end of a file that a failed write left on the LUN. */
static void a_failed_write_beyond_the_end_never_shows(void)
{
    const struct store_fault_args fault = {.ops = 1 << STORE_WRITE,
                                           .nth = 1,
                                           .after_effect = true,
                                           .result = E_IO};
    struct fixture f;

    init(&f);
    CHECK_OK(write_pattern(&f, 0, 1000));
    store_fault_arm(f.fault, &fault);
    CHECK_ERR(write_pattern(&f, 1000, 2000), E_IO);
    CHECK_EQ(file_size(&f), 1000);
    CHECK_OK(write_pattern(&f, 3500, 100));
    CHECK_EQ(read_zeros(&f, 1000, 2500), 2500);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

/* -- random histories against a flat model, several ios at a time ---------- */

enum {
    MODEL_BYTES = 3 << 20,
    MODEL_IO_MAX = 200 << 10,
    MODEL_FLIGHT = 12,
    MODEL_STEPS = 3000,
    MODEL_IOVS = 7
};

struct flight {
    struct waited_io w;
    struct iovec iov[MODEL_IOVS];
    bool used;
    uint64_t first, end; /* what it may change, or reads */
    bool changes;
    uint8_t buf[MODEL_IO_MAX], expect[MODEL_IO_MAX];
};

struct model {
    struct fixture f;
    uint64_t seed, size;
    uint8_t bytes[MODEL_BYTES];
    struct flight flights[MODEL_FLIGHT];
    uint8_t stamp;
};

static uint64_t random_below(struct model *m, uint64_t n)
{
    m->seed = m->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (m->seed >> 20) % n;
}

static void land(struct model *m, struct flight *x)
{
    world_run_until(&m->f.v.world, &x->w.done);
    CHECK_OK(x->w.result);
    x->used = false;
    if (x->w.io.op == FS_IO_READ) {
        CHECK_EQ(x->w.io.count_bytes, x->w.io.len_bytes);
        CHECK_MEM(x->buf, x->expect, x->w.io.len_bytes);
    }
}

/* Wait for those whose bytes meet [first, end): their order would be open. */
static void land_conflicts(struct model *m, uint64_t first, uint64_t end,
                           bool changes)
{
    for (size_t i = 0; i < MODEL_FLIGHT; i++) {
        struct flight *x = &m->flights[i];

        if (x->used && (x->changes || changes) && x->first < end &&
            first < x->end)
            land(m, x);
    }
}

static struct flight *take_off(struct model *m, uint64_t first, uint64_t end,
                               bool changes)
{
    struct flight *x = &m->flights[random_below(m, MODEL_FLIGHT)];

    if (x->used)
        land(m, x);
    land_conflicts(m, first, end, changes);
    x->w = (struct waited_io){0};
    x->used = true;
    x->first = first;
    x->end = end;
    x->changes = changes;
    return x;
}

/* The buffer as a few pieces of any size. */
static void scatter(struct model *m, struct flight *x, uint64_t len)
{
    uint64_t at = 0;
    uint32_t n = 0;

    while (at < len && n < MODEL_IOVS - 1) {
        uint64_t part = 1 + random_below(m, len - at);

        x->iov[n++] = (struct iovec){.iov_base = x->buf + at, .iov_len = part};
        at += part;
    }
    if (at < len)
        x->iov[n++] =
            (struct iovec){.iov_base = x->buf + at, .iov_len = len - at};
    x->w.io.iov = x->iov;
    x->w.io.iov_count = n;
}

/* Bytes, sectors or blocks. */
static uint64_t random_place(struct model *m, uint64_t n)
{
    static const uint64_t units[] = {1, 512, 4096};

    return align_down(random_below(m, n), units[random_below(m, 3)]);
}

static void step_write(struct model *m)
{
    uint64_t first = random_place(m, MODEL_BYTES - MODEL_IO_MAX);
    uint64_t len = 1 + random_place(m, MODEL_IO_MAX - 1), end = first + len;
    bool grows = end > m->size;
    struct flight *x = take_off(m, grows ? min_u64(first, m->size) : first,
                                grows ? MODEL_BYTES : end, true);

    memset(x->buf, ++m->stamp, len);
    x->buf[0] ^= 0x80;
    x->w.io.op = FS_IO_WRITE;
    x->w.io.off_bytes = first;
    x->w.io.len_bytes = len;
    scatter(m, x, len);
    memcpy(m->bytes + first, x->buf, len);
    m->size = max_u64(m->size, end);
    submit(&m->f, &x->w);
}

static void step_read(struct model *m)
{
    uint64_t first, len;
    struct flight *x;

    if (m->size < 2)
        return;
    first = random_place(m, m->size - 1);
    len = min_u64(m->size - first, 1 + random_place(m, MODEL_IO_MAX - 1));
    x = take_off(m, first, first + len, false);
    x->w.io.op = FS_IO_READ;
    x->w.io.off_bytes = first;
    x->w.io.len_bytes = len;
    memset(x->buf, 0x5a, len);
    memcpy(x->expect, m->bytes + first, len);
    scatter(m, x, len);
    submit(&m->f, &x->w);
}

static void step_truncate(struct model *m)
{
    uint64_t size = random_place(m, MODEL_BYTES - MODEL_IO_MAX);
    struct flight *x = take_off(m, min_u64(size, m->size), MODEL_BYTES, true);

    x->w.io.op = FS_IO_SETATTR;
    x->w.io.setattr.mask = FS_SET_SIZE;
    x->w.io.setattr.size_bytes = size;
    if (size < m->size)
        memset(m->bytes + size, 0, m->size - size);
    m->size = size;
    submit(&m->f, &x->w);
}

static void step_allocate(struct model *m)
{
    static const uint32_t modes[] = {
        0, FS_FALLOC_KEEP_SIZE, FS_FALLOC_ZERO_RANGE,
        FS_FALLOC_ZERO_RANGE | FS_FALLOC_KEEP_SIZE,
        FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE};
    uint32_t mode = modes[random_below(m, ARRAY_LEN(modes))];
    uint64_t first = random_place(m, MODEL_BYTES - MODEL_IO_MAX);
    uint64_t len = 1 + random_place(m, MODEL_IO_MAX - 1), end = first + len;
    bool grows = !(mode & FS_FALLOC_KEEP_SIZE) && end > m->size;
    struct flight *x = take_off(m, grows ? min_u64(first, m->size) : first,
                                grows ? MODEL_BYTES : end, true);

    x->w.io.op = FS_IO_ALLOCATE;
    x->w.io.mode = mode;
    x->w.io.off_bytes = first;
    x->w.io.len_bytes = len;
    if (mode & (FS_FALLOC_ZERO_RANGE | FS_FALLOC_PUNCH_HOLE))
        memset(m->bytes + first, 0, len);
    if (grows)
        m->size = end;
    submit(&m->f, &x->w);
}

static void step_sync(struct model *m)
{
    struct flight *x = take_off(m, 0, 0, false);

    x->w.io.op = FS_IO_SYNC;
    x->w.io.data_only = random_below(m, 2);
    submit(&m->f, &x->w);
}

static void step(struct model *m)
{
    uint64_t what = random_below(m, 100);

    if (what < 45)
        step_write(m);
    else if (what < 80)
        step_read(m);
    else if (what < 85)
        step_truncate(m);
    else if (what < 95)
        step_allocate(m);
    else
        step_sync(m);
}

static void check_all(struct model *m)
{
    static uint8_t buf[MODEL_BYTES];

    land_conflicts(m, 0, MODEL_BYTES, true);
    for (size_t i = 0; i < MODEL_FLIGHT; i++)
        if (m->flights[i].used)
            land(m, &m->flights[i]);
    CHECK_EQ(file_size(&m->f), m->size);
    CHECK_OK(data(&m->f, FS_IO_READ, 0, buf, m->size));
    CHECK_MEM(buf, m->bytes, m->size);
}

static void random_history(uint32_t block_bytes, uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);

    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    init_with_blocks(&m->f, block_bytes);
    CHECK_OK(fs_file_close(m->f.file, &create));
    shuffle_init(&m->f.shuffle, m->f.fault);
    m->f.shuffled = true;
    restart(&m->f);
    m->seed = seed;
    for (int i = 0; i < MODEL_STEPS; i++)
        step(m);
    check_all(m);
    CHECK_OK(fs_file_close(m->f.file, &reopen));
    restart(&m->f);
    check_all(m);
    CHECK_OK(fs_file_close(m->f.file, &reopen));
    fini(&m->f);
    free(m);
}

static void random_histories_agree_with_a_flat_model(void)
{
    random_history(512, 1);
    random_history(512, 2);
}

static void random_histories_agree_on_a_lun_of_4k_blocks(void)
{
    random_history(4096, 3);
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

    init(&f);
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
        reactor_stop(writers[i].reactor);
    }
    CHECK_EQ(read_pattern(&f, 0, all), all);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

/* -- the file as a store --------------------------------------------------- */

static void a_file_is_a_store_that_grows_and_discards(void)
{
    static uint8_t buf[16384];
    struct store *s = NULL;
    struct fixture f;

    init(&f);
    CHECK_OK_FATAL(fs_file_store(f.file, 2, &s));
    CHECK_EQ(s->size_bytes, 0);
    CHECK_OK(store_range_sync(s, STORE_RESIZE, MIB, 0));
    CHECK_EQ(s->size_bytes, MIB);
    pattern_fill(buf, sizeof buf, 1, 8192);
    CHECK_OK(store_write_sync(s, 8192, buf, sizeof buf));
    CHECK_OK(store_range_sync(s, STORE_DISCARD, 8192, 4096));
    CHECK_OK(store_range_sync(s, STORE_WRITE_ZEROES, 12288, 512));
    CHECK_OK(store_flush_sync(s));
    CHECK_EQ(read_zeros(&f, 8192, 4608), 4608);
    CHECK_EQ(read_pattern(&f, 12800, 11776), 11776);
    CHECK_ERR(store_read_sync(s, MIB, buf, 512), E_RANGE);
    store_close(s);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void a_store_takes_more_ios_than_it_has(void)
{
    enum { IOS = 40 };
    static uint8_t bufs[IOS][4096];
    static struct test_io ios[IOS];
    struct store *s = NULL;
    struct fixture f;

    init(&f);
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
    CHECK_EQ(read_pattern(&f, 0, IOS * 4096), IOS * 4096);
    store_close(s);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static void paths_are_walked_and_refused(void)
{
    struct fixture f;
    struct fs_file *other;
    fs_attr attr;

    init(&f);
    CHECK_OK(v_create(&f.v, ROOT, "dir", S_IFDIR | 0755, &attr));
    CHECK_OK(fs_path_open(f.client, "/dir//inner", &create, &other, &attr));
    CHECK_OK(fs_file_close(other, &create));
    CHECK_OK(fs_path_stat(f.client, "dir/inner", &attr));
    CHECK_ERR(fs_path_open(f.client, "dir/inner", &create, &other, &attr),
              E_EXIST);
    CHECK_ERR(fs_path_open(f.client, "dir", &reopen, &other, &attr), E_ISDIR);
    CHECK_ERR(fs_path_stat(f.client, "file/x", &attr), E_NOTDIR);
    CHECK_ERR(fs_path_stat(f.client, "none/x", &attr), E_NOENT);
    CHECK_ERR(fs_path_stat(f.client, "//", &attr), E_INVAL);
    CHECK_OK(fs_path_unlink(f.client, "dir/inner"));
    CHECK_ERR(fs_path_stat(f.client, "dir/inner", &attr), E_NOENT);
    CHECK_OK(fs_file_close(f.file, &create));
    fini(&f);
}

static const struct test tests[] = {
    TEST(what_was_written_is_read_before_and_after_a_sync),
    TEST(closing_commits_what_nobody_synced),
    TEST(a_first_write_leaves_zeros_around_it),
    TEST(a_smaller_size_and_a_larger_one_again_leave_zeros),
    TEST(a_punched_hole_reads_zeros_to_the_byte),
    TEST(a_zeroed_range_may_grow_the_file),
    TEST(seeking_sees_what_is_not_committed_yet),
    TEST(times_that_were_set_are_not_undone_by_a_later_commit),
    TEST(an_unlinked_file_lives_until_it_is_closed),
    TEST(a_full_volume_is_said_and_what_was_written_stays),
    TEST(a_lun_error_reaches_its_io_and_no_other),
    TEST(a_failed_flush_is_told_and_commits_nothing_until_one_works),
    TEST(a_failed_write_beyond_the_end_never_shows),
    TEST(random_histories_agree_with_a_flat_model),
    TEST(random_histories_agree_on_a_lun_of_4k_blocks),
    TEST(threads_that_share_blocks_lose_no_write),
    TEST(a_file_is_a_store_that_grows_and_discards),
    TEST(a_store_takes_more_ios_than_it_has),
    TEST(paths_are_walked_and_refused),
};
TEST_SUITE("fs/client", tests);
