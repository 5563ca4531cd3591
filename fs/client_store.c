/* fs/client_store.c - an open file as a struct store, for VHD and raw disks.
 * Keeps a fixed number of ios; what comes beyond waits in line.  Opens and
 * closes nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

enum { SECTOR_BYTES = 512, IOS_DEFAULT = 256 };

struct slot {
    struct fs_io io;
    struct list link;
    struct file_store *store;
    struct store_io *request;
};

struct file_store {
    struct store base;
    struct fs_file *file;
    pthread_mutex_t mutex;
    struct list idle, waiting; /* lock: mutex */
    struct slot *slots;
    uint64_t handle; /* of the VM whose disk it is; 0: none */
};

/* A request without a slot: in its own room, until its turn on its loop. */
struct waiter {
    struct list link;
    struct task task;
    struct loop *loop;
    struct file_store *store;
    struct slot *slot;
};
static_assert(sizeof(struct waiter) <= STORE_ROOM_BYTES, "fits the room");

static struct file_store *file_store_of(struct store *s)
{
    return container_of(s, struct file_store, base);
}

static struct waiter *waiter_of(struct store_io *request)
{
    return (struct waiter *)(void *)request->room;
}

static struct store_io *request_of(struct waiter *w)
{
    return container_of((uint8_t(*)[STORE_ROOM_BYTES])(void *)w,
                        struct store_io, room);
}

/* -- slots ----------------------------------------------------------------- */

static struct slot *slot_get(struct file_store *fs, struct store_io *request)
{
    struct waiter *w = waiter_of(request);
    struct list *first;

    pthread_mutex_lock(&fs->mutex);
    first = list_pop_front(&fs->idle);
    if (!first) {
        *w = (struct waiter){.loop = loop_self(), .store = fs};
        list_push_back(&fs->waiting, &w->link);
    }
    pthread_mutex_unlock(&fs->mutex);
    return first ? container_of(first, struct slot, link) : NULL;
}

static void start(struct slot *slot, struct store_io *request);

static void wait_over(struct task *task)
{
    struct waiter *w = container_of(task, struct waiter, task);
    struct slot *slot = w->slot;

    start(slot, request_of(w));
}

/* To the next in line, or back. */
static void slot_put(struct slot *slot)
{
    struct file_store *fs = slot->store;
    struct list *first;
    struct waiter *w;

    pthread_mutex_lock(&fs->mutex);
    first = list_pop_front(&fs->waiting);
    if (!first)
        list_push_front(&fs->idle, &slot->link);
    pthread_mutex_unlock(&fs->mutex);
    if (!first)
        return;
    w = container_of(first, struct waiter, link);
    w->slot = slot;
    w->task.run = wait_over;
    loop_post(w->loop, &w->task);
}

/* -- requests -------------------------------------------------------------- */

static void request_done(struct fs_io *io, enum err e)
{
    struct slot *slot = container_of(io, struct slot, io);
    struct store_io *request = slot->request;

    slot_put(slot);
    request->done(request, e);
}

/* The file may end inside its last sector: the rest of that reads zeros. */
static void read_done(struct fs_io *io, enum err e)
{
    if (!e)
        iov_zero(io->iov, io->iov_count, io->count_bytes,
                 io->len_bytes - io->count_bytes);
    request_done(io, e);
}

static void resize_done(struct fs_io *io, enum err e)
{
    struct slot *slot = container_of(io, struct slot, io);

    if (!e)
        store_size_set(&slot->store->base, slot->request->off_bytes);
    request_done(io, e);
}

/* FUA: the write first, then all that a flush does. */
static void fua_written(struct fs_io *io, enum err e)
{
    struct fs_file *file = io->file;

    if (e) {
        request_done(io, e);
        return;
    }
    *io = (struct fs_io){.op = FS_IO_SYNC,
                         .file = file,
                         .data_only = true,
                         .done = request_done};
    fs_io_submit(file->client, io);
}

static uint32_t zero_mode(const struct store_io *request)
{
    if (request->op == STORE_WRITE_ZEROES && (request->flags & STORE_NO_UNMAP))
        return FS_FALLOC_ZERO_RANGE | FS_FALLOC_KEEP_SIZE;
    return FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE;
}

static void start(struct slot *slot, struct store_io *request)
{
    struct fs_io *io = &slot->io;
    bool fua = request->flags & STORE_FUA;

    slot->request = request;
    *io = (struct fs_io){.file = slot->store->file,
                         .off_bytes = request->off_bytes,
                         .len_bytes = request->len_bytes,
                         .iov = request->iov,
                         .iov_count = request->iov_count,
                         .done = fua ? fua_written : request_done};
    switch (request->op) {
    case STORE_READ:
        io->op = FS_IO_READ;
        io->done = read_done;
        break;
    case STORE_WRITE: io->op = FS_IO_WRITE; break;
    case STORE_FLUSH:
        io->op = FS_IO_SYNC;
        io->data_only = true;
        io->done = request_done;
        break;
    case STORE_DISCARD:
    case STORE_WRITE_ZEROES:
        io->op = FS_IO_ALLOCATE;
        io->mode = zero_mode(request);
        break;
    case STORE_RESIZE:
        io->op = FS_IO_SETATTR;
        io->setattr.mask = FS_SET_SIZE;
        io->setattr.size_bytes = request->off_bytes;
        io->setattr.handle = slot->store->handle;
        io->done = resize_done;
        break;
    case STORE_OP_COUNT: break;
    }
    fs_io_submit(io->file->client, io);
}

static enum err file_store_submit(struct store *s, struct store_io *request)
{
    struct slot *slot = slot_get(file_store_of(s), request);

    if (slot)
        start(slot, request);
    return E_OK;
}

static void file_store_close(struct store *s)
{
    struct file_store *fs = file_store_of(s);

    pthread_mutex_destroy(&fs->mutex);
    free(fs->slots);
    free(fs);
}

static const struct store_ops file_store_ops = {
    "volume file", file_store_submit, file_store_close};

void fs_file_store_handle(struct store *s, uint64_t generation)
{
    file_store_of(s)->handle = generation;
}

enum err fs_file_store(struct fs_file *file, unsigned ios,
                       struct store **ret_store)
{
    unsigned count = ios ? ios : IOS_DEFAULT;
    AUTO(freep) struct file_store *fs = calloc(1, sizeof *fs);

    if (!fs)
        return E_NOMEM;
    fs->slots = calloc(count, sizeof *fs->slots);
    if (!fs->slots)
        return E_NOMEM;
    pthread_mutex_init(&fs->mutex, NULL);
    list_init(&fs->idle);
    list_init(&fs->waiting);
    for (unsigned i = 0; i < count; i++) {
        fs->slots[i].store = fs;
        list_push_back(&fs->idle, &fs->slots[i].link);
    }
    fs->file = file;
    pthread_mutex_lock(&file->mutex);
    fs->base = (struct store){
        .ops = &file_store_ops,
        .size_bytes = align_up(file->size_bytes, SECTOR_BYTES),
        .block_bytes = SECTOR_BYTES,
        .physical_bytes = FS_BLOCK_BYTES,
        .caps = STORE_CAN_DISCARD | STORE_DISCARD_ZEROES | STORE_CAN_RESIZE |
                STORE_VOLATILE,
    };
    pthread_mutex_unlock(&file->mutex);
    *ret_store = &TAKE(fs)->base;
    return E_OK;
}
