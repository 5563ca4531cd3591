/* tests/unit/fs/test_client_space.c - a file that changes its shape, through
 * client and coordinator: what the one frees the other must not write to.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/volume.h"

struct mounted {
    struct volume v;
    struct fs_client *client;
};

static void mounted_init(struct mounted *m)
{
    volume_init(&m->v, 256 * MIB);
    CHECK_OK_FATAL(fs_client_new(
        &(struct fs_client_args){
            .lun = m->v.lun, .link = m->v.link, .loop = m->v.world.loop},
        &m->client));
}

static void mounted_fini(struct mounted *m)
{
    fs_client_free(m->client);
    volume_check_clean(&m->v);
    volume_fini(&m->v);
}

static const struct fs_open_how create_rw = {
    .write = true, .create = true, .mode = 0644};

struct waited {
    struct fs_io io;
    bool done;
    enum err result;
};

static void waited_done(struct fs_io *io, enum err e)
{
    struct waited *w = container_of(io, struct waited, io);

    w->result = e;
    w->done = true;
}

static enum err io_run(struct mounted *m, struct waited *w)
{
    w->done = false;
    w->io.done = waited_done;
    fs_io_submit(m->client, &w->io);
    world_run_until(&m->v.world, &w->done);
    return w->result;
}

static enum err file_write(struct mounted *m, struct fs_file *f, uint64_t off,
                           void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    struct waited w = {
        .io = {.op = FS_IO_WRITE,
               .file = f,
               .off_bytes = off,
               .len_bytes = len,
               .iov = &iov,
               .iov_count = 1}
    };

    return io_run(m, &w);
}

static enum err file_read(struct mounted *m, struct fs_file *f, uint64_t off,
                          void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    struct waited w = {
        .io = {.op = FS_IO_READ,
               .file = f,
               .off_bytes = off,
               .len_bytes = len,
               .iov = &iov,
               .iov_count = 1}
    };

    return io_run(m, &w);
}

static enum err file_truncate(struct mounted *m, struct fs_file *f,
                              uint64_t size_bytes)
{
    struct waited w = {
        .io = {.op = FS_IO_SETATTR,
               .file = f,
               .setattr = {.mask = FS_SET_SIZE, .size_bytes = size_bytes}}
    };

    return io_run(m, &w);
}

/* A write allocates ahead of the file's end; a truncation to a larger size
 * gives that back.  Then the blocks may be another file's. */
static void growing_by_truncate_forgets_what_was_allocated_ahead(void)
{
    enum { PIECE = 64 << 10 };
    static uint8_t buf[PIECE];
    struct fs_file *grown, *other;
    struct mounted m;
    fs_attr attr;

    mounted_init(&m);
    CHECK_OK_FATAL(fs_path_open(m.client, "grown", &create_rw, &grown, &attr));
    CHECK_OK_FATAL(fs_path_open(m.client, "other", &create_rw, &other, &attr));
    pattern_fill(buf, PIECE, 1, 0);
    CHECK_OK(file_write(&m, grown, 0, buf, PIECE));
    CHECK_OK(file_truncate(&m, grown, PIECE + 4096));
    pattern_fill(buf, PIECE, 2, 0);
    for (uint64_t off = 0; off < 4 * MIB; off += PIECE)
        CHECK_OK(file_write(&m, other, off, buf, PIECE));
    pattern_fill(buf, PIECE, 3, 0);
    for (uint64_t off = PIECE; off < 4 * MIB; off += PIECE)
        CHECK_OK(file_write(&m, grown, off, buf, PIECE));
    for (uint64_t off = 0; off < 4 * MIB; off += PIECE) {
        CHECK_OK(file_read(&m, other, off, buf, PIECE));
        CHECK_EQ(pattern_check(buf, PIECE, 2, 0), PIECE);
    }
    CHECK_OK(fs_file_close(grown, &create_rw));
    CHECK_OK(fs_file_close(other, &create_rw));
    mounted_fini(&m);
}

static const struct test tests[] = {
    TEST(growing_by_truncate_forgets_what_was_allocated_ahead),
};
TEST_SUITE("fs/client_space", tests);
