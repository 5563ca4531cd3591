/* tests/unit/fs/client_world.c - see client_world.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/client_world.h"

#include <string.h>

enum { FILE_MODE = 0644, PIECES = 3 };

/* -- a LUN that carries out what is in flight in any order ----------------- */

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

void shuffle_init(struct shuffle *s, struct store *below)
{
    *s = (struct shuffle){
        .base = *below, .below = below, .task.run = shuffle_one, .seed = 7};
    s->base.ops = &shuffle_ops;
}

const struct fs_open_how cw_create = {.create = true, .mode = FILE_MODE};
const struct fs_open_how cw_reopen = {.write = true};

static void cw_start_client(struct fixture *f)
{
    const struct fs_client_args args = {.lun = f->shuffled ? &f->shuffle.base
                                                           : f->fault,
                                        .link = f->v.link,
                                        .loop = f->v.world.loop,
                                        .pieces = PIECES};

    CHECK_OK_FATAL(fs_client_new(&args, &f->client));
}

void cw_init_with_blocks(struct fixture *f, uint32_t block_bytes)
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
    cw_start_client(f);
    CHECK_OK_FATAL(
        fs_path_open(f->client, "file", &cw_create, &f->file, &attr));
}

void cw_init(struct fixture *f)
{
    cw_init_with_blocks(f, 512);
}

void cw_fini(struct fixture *f)
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
void cw_restart(struct fixture *f)
{
    fs_attr attr;

    fs_client_free(f->client);
    volume_stop(&f->v);
    volume_start(&f->v);
    cw_start_client(f);
    CHECK_OK_FATAL(
        fs_path_open(f->client, "file", &cw_reopen, &f->file, &attr));
}

/* -- one io, waited for ---------------------------------------------------- */

static void io_done(struct fs_io *io, enum err e)
{
    struct waited_io *w = container_of(io, struct waited_io, io);

    CHECK_EQ(w->done, false);
    w->done = true;
    w->result = e;
}

void cw_submit(struct fixture *f, struct waited_io *w)
{
    w->done = false;
    w->io.file = f->file;
    w->io.done = io_done;
    fs_io_submit(f->client, &w->io);
    CHECK_EQ(w->done, false);
}

enum err cw_run(struct fixture *f, struct waited_io *w)
{
    cw_submit(f, w);
    world_run_until(&f->v.world, &w->done);
    return w->result;
}

enum err cw_data(struct fixture *f, enum fs_io_op op, uint64_t off, void *buf,
                 uint64_t len)
{
    struct waited_io w = {
        .iov = {.iov_base = buf, .iov_len = len}
    };

    w.io.op = op;
    w.io.off_bytes = off;
    w.io.len_bytes = len;
    w.io.iov = &w.iov;
    w.io.iov_count = 1;
    return cw_run(f, &w);
}

enum err cw_write_pattern(struct fixture *f, uint64_t off, uint64_t len)
{
    static uint8_t buf[1 << 20];

    pattern_fill(buf, len, 1, off);
    return cw_data(f, FS_IO_WRITE, off, buf, len);
}

/* How many bytes from `off` are the pattern's. */
uint64_t cw_read_pattern(struct fixture *f, uint64_t off, uint64_t len)
{
    static uint8_t buf[1 << 20];

    CHECK_OK(cw_data(f, FS_IO_READ, off, buf, len));
    return pattern_check(buf, len, 1, off);
}

uint64_t cw_read_zeros(struct fixture *f, uint64_t off, uint64_t len)
{
    static uint8_t buf[1 << 20];
    uint64_t n = 0;

    memset(buf, 0xee, len);
    CHECK_OK(cw_data(f, FS_IO_READ, off, buf, len));
    while (n < len && !buf[n])
        n++;
    return n;
}

uint64_t cw_read_bytes(struct fixture *f, uint64_t off, uint64_t len)
{
    static uint8_t buf[1 << 20];
    struct waited_io w = {
        .iov = {.iov_base = buf, .iov_len = len}
    };

    w.io.op = FS_IO_READ;
    w.io.off_bytes = off;
    w.io.len_bytes = len;
    w.io.iov = &w.iov;
    w.io.iov_count = 1;
    CHECK_OK(cw_run(f, &w));
    return w.io.count_bytes;
}

enum err cw_sync_file(struct fixture *f)
{
    struct waited_io w = {.io.op = FS_IO_SYNC};

    return cw_run(f, &w);
}

enum err cw_truncate_file(struct fixture *f, uint64_t size)
{
    struct waited_io w = {.io.op = FS_IO_SETATTR};

    w.io.setattr.mask = FS_SET_SIZE;
    w.io.setattr.size_bytes = size;
    return cw_run(f, &w);
}

enum err cw_allocate(struct fixture *f, uint32_t mode, uint64_t off,
                     uint64_t len)
{
    struct waited_io w = {.io.op = FS_IO_ALLOCATE};

    w.io.mode = mode;
    w.io.off_bytes = off;
    w.io.len_bytes = len;
    return cw_run(f, &w);
}

uint64_t cw_file_size(struct fixture *f)
{
    fs_attr attr = {0};

    CHECK_OK(fs_path_stat(f->client, "file", &attr));
    return attr.size_bytes;
}
