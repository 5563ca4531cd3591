/* fs/client.c - one volume on one host: its open files, and how an fs_io gets
 * about: from loop to loop, through the queues of a file, to its end.
 * Moves no data; see fs/client.h for the map.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

#include <semaphore.h>
#include <string.h>

/* -- the life of an io ----------------------------------------------------- */

static struct fs_io *io_of_task(struct task *task)
{
    return container_of(task, struct fs_io, task);
}

static void run_next(struct task *task)
{
    struct fs_io *io = io_of_task(task);

    io->next(io);
}

static void run_done(struct task *task)
{
    struct fs_io *io = io_of_task(task);

    io->done(io, io->error);
}

void fs_io_wake(struct fs_io *io)
{
    io->task.run = run_next;
    loop_post(io->loop, &io->task);
}

static void (*const start[FS_IO_OP_COUNT])(struct fs_io *) = {
    [FS_IO_OPEN] = fs_io_open,         [FS_IO_ADOPT] = fs_io_open,
    [FS_IO_CLOSE] = fs_io_close,       [FS_IO_READ] = fs_io_read,
    [FS_IO_WRITE] = fs_io_write,       [FS_IO_SYNC] = fs_io_sync,
    [FS_IO_SETATTR] = fs_io_setattr,   [FS_IO_SEEK] = fs_io_seek,
    [FS_IO_ALLOCATE] = fs_io_allocate, [FS_IO_RECALL] = fs_io_recall,
};

static void begin(struct fs_io *io)
{
    io->error = E_OK;
    io->inflight = 0;
    io->turn = io->stalled = io->flushed = false;
    fs_io_sets_out(io);
    start[io->op](io);
}

void fs_io_again(struct fs_io *io)
{
    if (io->turn)
        fs_io_turn_end(io);
    if (io->range.held)
        fs_io_unlock(io);
    begin(io);
}

void fs_io_submit(struct fs_client *client, struct fs_io *io)
{
    ASSERT(io->op < FS_IO_OP_COUNT);
    io->client = client;
    io->loop = loop_self();
    ASSERT(io->loop != NULL);
    io->redirected = NULL;
    io->path_link = (struct list){NULL, NULL};
    io->submitting = true;
    begin(io);
    io->submitting = false;
}

void fs_io_finish(struct fs_io *io, enum err e)
{
    if (fs_io_is_stranded(io, e))
        return;
    if (io->turn)
        fs_io_turn_end(io);
    if (io->range.held)
        fs_io_unlock(io);
    io->error = e;
    if (!io->submitting) {
        io->done(io, e);
        return;
    }
    io->task.run = run_done;
    loop_post(io->loop, &io->task);
}

/* -- queues of a file ------------------------------------------------------ */

void fs_io_turn(struct fs_io *io, void (*next)(struct fs_io *io))
{
    struct fs_file *f = io->file;
    bool mine;

    io->next = next;
    pthread_mutex_lock(&f->mutex);
    mine = !f->turn_busy;
    f->turn_busy = true;
    if (!mine)
        list_push_back(&f->turn_waiting, &io->link);
    io->turn = true;
    pthread_mutex_unlock(&f->mutex);
    if (mine)
        next(io);
}

void fs_io_turn_end(struct fs_io *io)
{
    struct fs_file *f = io->file;
    struct list *first;

    ASSERT(io->turn);
    io->turn = false;
    pthread_mutex_lock(&f->mutex);
    ASSERT(f->turn_busy);
    first = list_pop_front(&f->turn_waiting);
    f->turn_busy = first != NULL;
    pthread_mutex_unlock(&f->mutex);
    if (first)
        fs_io_wake(container_of(first, struct fs_io, link));
}

void fs_io_lock(struct fs_io *io, enum range_mode mode, uint64_t first,
                uint64_t end, void (*next)(struct fs_io *io))
{
    struct fs_file *f = io->file;
    bool held;

    io->next = next;
    io->range.mode = (uint8_t)mode;
    io->range.first = align_down(first, FS_BLOCK_BYTES);
    io->range.end = align_up(end, FS_BLOCK_BYTES);
    pthread_mutex_lock(&f->mutex);
    held = range_lock(&f->ranges, &io->range);
    pthread_mutex_unlock(&f->mutex);
    if (held)
        next(io);
}

void fs_io_unlock(struct fs_io *io)
{
    struct fs_file *f = io->file;
    struct list granted, *first;

    list_init(&granted);
    pthread_mutex_lock(&f->mutex);
    range_unlock(&f->ranges, &io->range, &granted);
    pthread_mutex_unlock(&f->mutex);
    while ((first = list_pop_front(&granted)))
        fs_io_wake(container_of(first, struct fs_io, range.granted));
}

/* -- calls under the turn -------------------------------------------------- */

struct fs_call *fs_io_call(struct fs_io *io, fs_op op)
{
    struct fs_call *call = &io->file->call;

    ASSERT(io->turn);
    fs_call_init(call, op);
    call->request.may_try_later = true;
    return call;
}

/* The holder of the turn is at the head of nothing: the call names the file,
 * and the file knows who holds its turn. */
static void call_done(struct fs_call *call)
{
    struct fs_file *f = container_of(call, struct fs_file, call);
    struct fs_io *io = f->talking;

    io->next(io);
}

void fs_io_send(struct fs_io *io, void (*next)(struct fs_io *io))
{
    struct fs_file *f = io->file;

    io->next = next;
    f->talking = io;
    f->call.done = call_done;
    fs_link_send(f->client->link, &f->call);
}

/* -- the table of open files ----------------------------------------------- */

static struct list *bucket_of(struct fs_client *c, fs_ino ino)
{
    return &c->files[ino & (FILE_BUCKETS - 1)];
}

static struct fs_file *find_locked(struct fs_client *c, fs_ino ino)
{
    list_for_each (at, bucket_of(c, ino)) {
        struct fs_file *f = container_of(at, struct fs_file, link);

        if (f->ino == ino)
            return f;
    }
    return NULL;
}

struct fs_file *fs_file_find(struct fs_client *client, fs_ino ino)
{
    struct fs_file *f;

    pthread_mutex_lock(&client->files_mutex);
    f = find_locked(client, ino);
    if (f)
        f->refs++;
    pthread_mutex_unlock(&client->files_mutex);
    return f;
}

static struct fs_file *file_new(struct fs_client *c, fs_ino ino)
{
    struct fs_file *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->client = c;
    f->ino = ino;
    f->refs = 1;
    pthread_mutex_init(&f->mutex, NULL);
    range_locks_init(&f->ranges);
    list_init(&f->turn_waiting);
    return f;
}

static void file_free(struct fs_file *f)
{
    ASSERT(!f->turn_busy);
    ASSERT(f->opens == 0);
    ASSERT(list_empty(&f->ranges.held));
    if (f->client->ledger)
        ledger_drop(f->client->ledger, &f->ledger);
    fs_map_fini(&f->map);
    pthread_mutex_destroy(&f->mutex);
    free(f->written);
    free(f);
}

static struct fs_file *find_or_make(struct fs_client *c, fs_ino ino)
{
    struct fs_file *f;

    pthread_mutex_lock(&c->files_mutex);
    f = find_locked(c, ino);
    if (f) {
        f->refs++;
    } else {
        f = file_new(c, ino);
        if (f) {
            list_push_front(bucket_of(c, ino), &f->link);
            c->file_count++;
        }
    }
    pthread_mutex_unlock(&c->files_mutex);
    return f;
}

void fs_file_get(struct fs_file *file)
{
    pthread_mutex_lock(&file->client->files_mutex);
    file->refs++;
    pthread_mutex_unlock(&file->client->files_mutex);
}

void fs_file_put(struct fs_file *file)
{
    struct fs_client *c = file->client;
    bool last;

    pthread_mutex_lock(&c->files_mutex);
    ASSERT(file->refs > 0);
    last = --file->refs == 0;
    if (last) {
        list_remove(&file->link);
        if (list_linked(&file->dirty_link))
            list_remove(&file->dirty_link);
        c->file_count--;
    }
    pthread_mutex_unlock(&c->files_mutex);
    if (last)
        file_free(file);
}

fs_ino fs_file_ino(const struct fs_file *file)
{
    return file->ino;
}

/* -- open ------------------------------------------------------------------ */

/* The first opener brings size and times, and knows nothing of the blocks;
 * of a file that was just created, all there is to know. */
static void file_opened(struct fs_io *io, const fs_attr *attr, bool fresh)
{
    struct fs_file *f = io->file;

    pthread_mutex_lock(&f->mutex);
    f->writers += fresh || io->write; /* who creates may write */
    if (f->opens++ == 0) {
        fs_map_fini(&f->map);
        f->size_bytes = attr->size_bytes;
        f->junk_end = 0; /* the last close took all beyond the end */
        f->size_dirty = f->time_dirty = false;
        f->run_end = f->run_bytes = f->grant = 0;
        f->layout = FS_IOMODE_NONE;
        f->fresh = fresh && attr->size_bytes == 0;
        f->lost = E_OK;
        if (f->client->ledger)
            ledger_drop(f->client->ledger, &f->ledger);
        atomic_store(&f->foreign, false);
        if (f->fresh)
            fs_map_drop(&f->map, 0, MAP_BLOCKS_MAX, MAP_HOLE);
    }
    pthread_mutex_unlock(&f->mutex);
}

static void open_fail(struct fs_io *io, enum err e)
{
    struct fs_file *f = io->file;

    fs_io_turn_end(io);
    io->file = NULL;
    fs_file_put(f);
    fs_io_finish(io, e);
}

static void open_replied(struct fs_io *io)
{
    struct fs_file *f = io->file;
    enum err e = f->call.reply.error;

    if (!e)
        io->attr = f->call.reply.result.fs_result_u.open;
    fs_call_fini(&f->call);
    if (e) {
        open_fail(io, e);
        return;
    }
    file_opened(io, &io->attr, false);
    fs_io_turn_end(io);
    fs_client_overlay(io->client, &io->attr);
    fs_io_finish(io, E_OK);
}

static void open_turn(struct fs_io *io)
{
    struct fs_call *call;

    if (io->op == FS_IO_ADOPT) {
        file_opened(io, &io->attr, true);
        fs_io_finish(io, E_OK);
        return;
    }
    call = fs_io_call(io, FS_OP_OPEN);
    call->request.args.fs_args_u.open =
        (fs_open_args){.ino = io->ino, .write = io->write};
    fs_io_send(io, open_replied);
}

void fs_io_open(struct fs_io *io)
{
    io->file = find_or_make(io->client, io->ino);
    if (!io->file) {
        fs_io_finish(io, E_NOMEM);
        return;
    }
    fs_io_turn(io, open_turn);
}

/* -- close ----------------------------------------------------------------- */

static void close_end(struct fs_io *io, enum err e)
{
    struct fs_file *f = io->file;

    pthread_mutex_lock(&f->mutex);
    f->writers -= io->write;
    if (--f->opens == 0) {
        f->layout = FS_IOMODE_NONE;
        f->grant = 0;
    }
    pthread_mutex_unlock(&f->mutex);
    fs_io_turn_end(io);
    io->file = NULL;
    fs_file_put(f);
    fs_io_finish(io, io->error ? io->error : e);
}

static void close_replied(struct fs_io *io)
{
    struct fs_file *f = io->file;
    enum err e = f->call.reply.error;

    fs_call_fini(&f->call);
    close_end(io, e);
}

/* The last close, and that of the last writer, matter elsewhere. */
static void close_send(struct fs_io *io)
{
    struct fs_file *f = io->file;
    bool last_writer = io->write && f->writers == 1;
    struct fs_call *call;

    if (f->opens > 1 && !last_writer) {
        close_end(io, E_OK);
        return;
    }
    call = fs_io_call(io, FS_OP_CLOSE);
    call->request.args.fs_args_u.close =
        (fs_close_args){.ino = f->ino, .only_writing = f->opens > 1};
    fs_io_send(io, close_replied);
}

static void close_turn(struct fs_io *io)
{
    struct fs_file *f = io->file;

    ASSERT(f->opens > 0 && (!io->write || f->writers > 0));
    if (f->opens == 1 && fs_file_needs_commit(f, true))
        fs_io_commit(io, close_send);
    else
        close_send(io);
}

/* Not while anybody's io runs under this open: the last one finds no range
 * held. */
void fs_io_close(struct fs_io *io)
{
    fs_io_turn(io, close_turn);
}

/* -- attributes ------------------------------------------------------------ */

static bool time_after(const fs_time *a, const fs_time *b)
{
    return a->s > b->s || (a->s == b->s && a->ns > b->ns);
}

void fs_client_overlay(struct fs_client *client, struct fs_attr *attr)
{
    struct fs_file *f = fs_file_find(client, attr->ino);

    if (!f)
        return;
    pthread_mutex_lock(&f->mutex);
    if (f->layout == FS_IOMODE_RW) { /* nobody knows better */
        attr->size_bytes = f->size_bytes;
        if (f->time_dirty) {
            attr->mtime = f->mtime;
            if (time_after(&f->mtime, &attr->ctime))
                attr->ctime = f->mtime;
        }
    }
    pthread_mutex_unlock(&f->mutex);
    fs_file_put(f);
}

struct fs_link *fs_client_link(struct fs_client *client)
{
    return client->link;
}

/* -- birth and death ------------------------------------------------------- */

static void lock_answered(struct fs_link *link, const fs_lock_answer *answer)
{
    const struct fs_client *c = link->user;

    fs_locks_answered(c->locks, answer);
}

static void link_ready(struct fs_link *link)
{
    const struct fs_client *c = link->user;

    fs_locks_ready(c->locks);
}

static void link_lost(struct fs_link *link, enum err e)
{
    const struct fs_client *c = link->user;

    fs_locks_lost(c->locks, e);
}

void fs_client_hold(struct fs_client *client, bool held)
{
    fs_locks_hold(client->locks, held);
}

static void client_freep(struct fs_client **client)
{
    struct fs_client *c = *client;

    if (!c)
        return;
    fs_locks_free(c->locks);
    fs_pieces_fini(c);
    fs_client_path_fini(c);
    pthread_mutex_destroy(&c->files_mutex);
    pthread_mutex_destroy(&c->gate_mutex);
    free(c);
}

enum err fs_client_new(const struct fs_client_args *args,
                       struct fs_client **ret_client)
{
    AUTO(client_freep) struct fs_client *c = NULL;
    enum err e;

    if (args->lun->block_bytes > FS_BLOCK_BYTES)
        return E_ALIGN;
    c = calloc(1, sizeof *c);
    if (!c)
        return E_NOMEM;
    pthread_mutex_init(&c->files_mutex, NULL);
    pthread_mutex_init(&c->gate_mutex, NULL);
    c->lun = args->lun;
    c->link = args->link;
    c->loop = args->loop;
    c->ledger = args->ledger;
    c->clock = args->clock ? args->clock : clock_system();
    fs_client_path_init(c, args->redirect);
    c->commit_ms = args->commit_ms ? args->commit_ms : COMMIT_MS_DEFAULT;
    c->commit_timer.fire = fs_commit_timer;
    c->commit_task.run = fs_commit_start;
    c->urgent_task.run = fs_commit_urgent;
    list_init(&c->dirty);
    list_init(&c->gate_waiting);
    list_init(&c->gate_flushed);
    for (size_t i = 0; i < FILE_BUCKETS; i++)
        list_init(&c->files[i]);
    e = fs_pieces_init(c, args->pieces ? args->pieces : PIECES_DEFAULT);
    if (!e)
        e = fs_locks_new(c->link, c->loop, &c->locks);
    if (e)
        return e;
    pthread_mutex_lock(&c->link->ear);
    c->link->user = c;
    c->link->recall = fs_client_recalled;
    c->link->report = fs_client_report;
    c->link->lock_answered = lock_answered;
    c->link->ready = link_ready;
    c->link->lost = link_lost;
    pthread_mutex_unlock(&c->link->ear);
    *ret_client = TAKE(c);
    return E_OK;
}

/* The timer is the loop's thread's to cancel; a commit of what was closed
 * since may be under way yet, and so may be rights on their way back. */
struct farewell {
    struct task task, locks_task;
    struct fs_client *client;
    bool said;
    sem_t heard;
};

static void locks_left(struct task *task)
{
    struct farewell *f = container_of(task, struct farewell, locks_task);

    f->said = true;
    sem_post(&f->heard);
}

static void say_farewell(struct task *task)
{
    struct farewell *f = container_of(task, struct farewell, task);

    f->client->farewell = task;
    if (f->client->backgrounds)
        return; /* the last one posts it again */
    loop_timer_cancel(f->client->loop, &f->client->commit_timer);
    fs_locks_leave(f->client->locks, &f->locks_task);
}

void fs_client_free(struct fs_client *client)
{
    struct farewell f = {.task.run = say_farewell,
                         .locks_task.run = locks_left,
                         .client = client};

    if (!client)
        return;
    sem_init(&f.heard, 0, 0);
    loop_post(client->loop, &f.task);
    if (loop_self() == client->loop)
        loop_run_until(client->loop, &f.said);
    else
        while (sem_wait(&f.heard))
            ASSERT(errno == EINTR);
    sem_destroy(&f.heard);
    ASSERT(client->file_count == 0);
    fs_link_deafen(client->link);
    client_freep(&client);
}
