/* tests/unit/fs/test_ledger.c - what was answered but not synced outlives the
 * process.  The crash is a copy of LUN and ledger, taken while the first
 * process goes on: a second one starts from the copies.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"
#include "tests/unit/fs/volume.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LUN_BYTES (64 * MIB)
enum { BLOCK = FS_BLOCK_BYTES, FILE_MODE = 0644 };

struct side {
    struct volume v;
    struct fs_ledger *ledger;
    struct fs_client *client;
};

static const struct fs_open_how create = {.create = true, .mode = FILE_MODE};
static const struct fs_open_how to_read = {.create = false};

static void start_client(struct side *s)
{
    const struct fs_client_args args = {.lun = s->v.lun,
                                        .link = s->v.link,
                                        .loop = s->v.world.loop,
                                        .ledger = s->ledger};

    CHECK_OK_FATAL(fs_client_new(&args, &s->client));
}

static void init(struct side *s)
{
    volume_init(&s->v, LUN_BYTES);
    CHECK_OK_FATAL(fs_ledger_new(-1, &s->ledger));
    start_client(s);
}

static void fini(struct side *s)
{
    fs_client_free(s->client);
    fs_ledger_free(s->ledger);
    volume_fini(&s->v);
}

static struct store *copy_lun(struct store *from)
{
    const struct store_mem_args args = {.size_bytes = LUN_BYTES};
    struct store *to;
    uint8_t *piece = malloc(MIB);

    CHECK_OK_FATAL(store_mem_new(&args, &to));
    for (uint64_t at = 0; at < LUN_BYTES; at += MIB) {
        CHECK_OK(store_read_sync(from, at, piece, MIB));
        CHECK_OK(store_write_sync(to, at, piece, MIB));
    }
    free(piece);
    return to;
}

static struct fs_ledger *copy_ledger(const struct fs_ledger *from)
{
    struct fs_ledger *l;
    struct stat st;
    uint8_t *at;
    int fd = memfd_create("copy", MFD_CLOEXEC);

    CU_ASSERT_FATAL(fstat(fs_ledger_fd(from), &st) == 0);
    at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED,
              fs_ledger_fd(from), 0);
    CU_ASSERT_FATAL(at != MAP_FAILED);
    CU_ASSERT(write(fd, at, (size_t)st.st_size) == (ssize_t)st.st_size);
    munmap(at, (size_t)st.st_size);
    CHECK_OK_FATAL(fs_ledger_new(fd, &l));
    return l;
}

/* `s` is killed now; `after` is what starts next, on the same loop. */
static void crash(struct side *s, struct side *after)
{
    const struct fs_coord_args args = {.node = 1,
                                       .host = "h1",
                                       .incarnation = s->v.incarnation + 1,
                                       .sole = true,
                                       .adopt = true};
    struct diag why = {{0}};

    *after = (struct side){.v.world = s->v.world};
    after->v.lun = copy_lun(s->v.lun);
    after->ledger = copy_ledger(s->ledger);
    CHECK_OK_FATAL(fs_coord_start(after->v.lun, &args, &why, &after->v.coord));
    after->v.link = fs_coord_link(after->v.coord);
    start_client(after);
}

static void crash_fini(struct side *after)
{
    fs_client_free(after->client);
    fs_ledger_free(after->ledger);
    volume_stop(&after->v);
    volume_check_clean(&after->v);
    store_close(after->v.lun);
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

    w->done = true;
    w->result = e;
}

static enum err run(struct side *s, struct waited_io *w, enum fs_io_op op,
                    struct fs_file *file)
{
    w->io.op = op;
    w->io.file = file;
    w->io.done = io_done;
    fs_io_submit(s->client, &w->io);
    world_run_until(&s->v.world, &w->done);
    return w->result;
}

static void write_at(struct side *s, struct fs_file *file, uint64_t off,
                     uint64_t len, uint64_t seed)
{
    struct waited_io w = {.io.off_bytes = off, .io.len_bytes = len};

    w.iov = (struct iovec){.iov_base = malloc(len), .iov_len = len};
    w.io.iov = &w.iov;
    w.io.iov_count = 1;
    pattern_fill(w.iov.iov_base, len, seed, off);
    CHECK_OK(run(s, &w, FS_IO_WRITE, file));
    free(w.iov.iov_base);
}

static void check_at(struct side *s, struct fs_file *file, uint64_t off,
                     uint64_t len, uint64_t seed)
{
    struct waited_io w = {.io.off_bytes = off, .io.len_bytes = len};

    w.iov = (struct iovec){.iov_base = malloc(len), .iov_len = len};
    w.io.iov = &w.iov;
    w.io.iov_count = 1;
    CHECK_OK(run(s, &w, FS_IO_READ, file));
    CHECK_EQ(w.io.count_bytes, len);
    CHECK_EQ(pattern_check(w.iov.iov_base, len, seed, off), len);
    free(w.iov.iov_base);
}

static void recover(struct side *s)
{
    struct diag why = {{0}};

    CHECK_OK(fs_client_recover(s->client, &why));
    fs_coord_settle(s->v.coord);
}

/* -- the tests ------------------------------------------------------------- */

static void an_answered_write_outlives_the_process(void)
{
    struct side s = {0}, after;
    struct fs_file *file, *again;
    fs_attr attr;

    init(&s);
    CHECK_OK_FATAL(fs_path_open(s.client, "f", &create, &file, &attr));
    write_at(&s, file, 0, 3 * BLOCK + 100, 1);
    write_at(&s, file, 90 * BLOCK, BLOCK, 1);
    crash(&s, &after);
    CHECK_OK(fs_path_stat(after.client, "f", &attr));
    CHECK_EQ(attr.size_bytes, 0); /* nobody has told the coordinator */
    recover(&after);
    CHECK_OK_FATAL(fs_path_open(after.client, "f", &to_read, &again, &attr));
    CHECK_EQ(attr.size_bytes, 91 * BLOCK);
    check_at(&after, again, 0, 3 * BLOCK + 100, 1);
    check_at(&after, again, 90 * BLOCK, BLOCK, 1);
    CHECK_OK(fs_file_close(again, &to_read));
    crash_fini(&after);
    CHECK_OK(fs_file_close(file, &create));
    fini(&s);
}

static void the_time_of_a_write_outlives_the_process(void)
{
    struct side s = {0}, after;
    struct fs_file *file;
    fs_attr attr, then;

    init(&s);
    CHECK_OK_FATAL(fs_path_open(s.client, "f", &create, &file, &attr));
    write_at(&s, file, 0, BLOCK, 1);
    CHECK_OK(fs_path_stat(s.client, "f", &attr));
    crash(&s, &after);
    recover(&after);
    CHECK_OK(fs_path_stat(after.client, "f", &then));
    CHECK_EQ(then.mtime.s, attr.mtime.s);
    CHECK_EQ(then.mtime.ns, attr.mtime.ns);
    crash_fini(&after);
    CHECK_OK(fs_file_close(file, &create));
    fini(&s);
}

static size_t entries(const struct side *s)
{
    struct ledger_entry *list;
    size_t count = 0, ranges = 0;

    CHECK_OK_FATAL(ledger_list(s->ledger, &list, &count));
    for (size_t i = 0; i < count; i++)
        ranges += list[i].count || list[i].size_bytes || list[i].mtime_ns;
    free(list);
    return ranges;
}

static void a_commit_empties_the_ledger(void)
{
    struct waited_io w = {0};
    struct side s = {0};
    struct fs_file *file;
    fs_attr attr;

    init(&s);
    CHECK_OK_FATAL(fs_path_open(s.client, "f", &create, &file, &attr));
    for (uint64_t i = 0; i < 1500; i++) /* three messages' worth */
        write_at(&s, file, 2 * i * BLOCK, BLOCK, 1);
    CHECK_EQ(entries(&s) > 0, true);
    CHECK_OK(run(&s, &w, FS_IO_SYNC, file));
    CHECK_EQ(entries(&s), 0);
    CHECK_OK(fs_file_close(file, &create));
    fini(&s);
}

static void a_truncated_file_does_not_grow_back(void)
{
    struct waited_io w = {0};
    struct side s = {0}, after;
    struct fs_file *file;
    fs_attr attr;

    init(&s);
    CHECK_OK_FATAL(fs_path_open(s.client, "f", &create, &file, &attr));
    write_at(&s, file, 0, 16 * BLOCK, 1);
    w.io.setattr.mask = FS_SET_SIZE;
    w.io.setattr.size_bytes = BLOCK;
    CHECK_OK(run(&s, &w, FS_IO_SETATTR, file));
    CHECK_EQ(entries(&s), 0);
    crash(&s, &after);
    recover(&after);
    CHECK_OK(fs_path_stat(after.client, "f", &attr));
    CHECK_EQ(attr.size_bytes, BLOCK);
    crash_fini(&after);
    CHECK_OK(fs_file_close(file, &create));
    fini(&s);
}

static void a_full_ledger_makes_writers_commit(void)
{
    struct side s = {0}, after;
    struct fs_file *file, *again;
    struct ledger_file hog = {0};
    fs_attr attr;

    init(&s);
    for (uint64_t i = 0; i < LEDGER_RANGES; i++)
        ledger_add(s.ledger, &hog,
                   &(struct ledger_entry){.ino = UINT64_C(1) << 40,
                                          .file_block = 2 * i,
                                          .lun_block = 2 * i,
                                          .count = 1});
    CHECK_EQ(hog.lacking, false);
    CHECK_OK_FATAL(fs_path_open(s.client, "f", &create, &file, &attr));
    write_at(&s, file, 0, BLOCK, 1);
    crash(&s, &after);
    recover(&after); /* passes over a file that is gone */
    CHECK_EQ(entries(&after), 0);
    CHECK_OK_FATAL(fs_path_open(after.client, "f", &to_read, &again, &attr));
    check_at(&after, again, 0, BLOCK, 1);
    CHECK_OK(fs_file_close(again, &to_read));
    crash_fini(&after);
    ledger_drop(s.ledger, &hog);
    CHECK_OK(fs_file_close(file, &create));
    fini(&s);
}

static void an_unlinked_open_file_waits_for_its_users(void)
{
    struct side s = {0}, after;
    struct fs_file *file;
    fs_attr attr;

    init(&s);
    CHECK_OK_FATAL(fs_path_open(s.client, "f", &create, &file, &attr));
    write_at(&s, file, 0, BLOCK, 1);
    CHECK_OK(fs_path_unlink(s.client, "f"));
    crash(&s, &after);
    CHECK_OK(fs_client_recover(after.client, NULL));
    CHECK_OK(v_open(&after.v, attr.ino, true));
    fs_coord_settle(after.v.coord);
    CHECK_OK(v_getattr(&after.v, attr.ino, &attr));
    CHECK_EQ(attr.size_bytes, BLOCK);
    CHECK_OK(v_close(&after.v, attr.ino));
    crash_fini(&after);
    CHECK_OK(fs_file_close(file, &create));
    fini(&s);
}

/* A request of a sender that outlives its process. */
static enum err make_dir(struct side *s, const struct fs_once *once,
                         bool *ret_stored)
{
    static char name[] = "d";
    struct fs_call call;
    enum err e;

    fs_call_init(&call, FS_OP_CREATE);
    call.once = *once;
    call.request.args.fs_args_u.create =
        (fs_create_args){.parent = ROOT,
                         .name = name,
                         .mode = S_IFDIR | FILE_MODE,
                         .target = name + 1};
    e = volume_call(&s->v, &call);
    *ret_stored = call.reply.stored;
    fs_call_fini(&call);
    return e;
}

static void a_resent_request_is_known_after_the_crash(void)
{
    const struct fs_once first = {1, 1, FS_SLOTS_KEPT},
                         other = {2, 1, FS_SLOTS_KEPT};
    struct side s = {0}, after;
    bool stored;

    init(&s);
    CHECK_OK(make_dir(&s, &first, &stored));
    CHECK_EQ(stored, false);
    crash(&s, &after);
    CHECK_OK(make_dir(&after, &first, &stored));
    CHECK_EQ(stored, true);
    CHECK_ERR(make_dir(&after, &other, &stored), E_EXIST);
    recover(&after);
    crash_fini(&after);
    fini(&s);
}

static const struct test tests[] = {
    TEST(an_answered_write_outlives_the_process),
    TEST(the_time_of_a_write_outlives_the_process),
    TEST(a_commit_empties_the_ledger),
    TEST(a_truncated_file_does_not_grow_back),
    TEST(a_full_ledger_makes_writers_commit),
    TEST(an_unlinked_open_file_waits_for_its_users),
    TEST(a_resent_request_is_known_after_the_crash),
};
TEST_SUITE("fs/ledger", tests);
