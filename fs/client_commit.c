/* fs/client_commit.c - making writes last (I6): own writes are done, the LUN
 * is flushed, the coordinator is told and has it durably.  In this order, as
 * blocks that it believes written are read by everybody after a crash (I3).
 * Knows no cause: fsync, close, the timer and seeking all come here.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

static void commit_flushed(struct fs_io *io);

/* -- the flush gate --------------------------------------------------------
 * A flush covers what was written before it began, so those who come while
 * one runs share the next one. */

static void gate_lead(struct fs_io *io);

/* Tell those who shared the flush; the first who waits leads the next. */
static void gate_end(struct fs_io *leader)
{
    struct fs_client *c = leader->client;
    enum err e = leader->error;
    struct list flushed, *first;

    list_init(&flushed);
    pthread_mutex_lock(&c->gate_mutex);
    while ((first = list_pop_front(&c->gate_flushed)))
        list_push_back(&flushed, first);
    first = list_pop_front(&c->gate_waiting);
    c->gate_busy = first != NULL;
    pthread_mutex_unlock(&c->gate_mutex);
    if (first) {
        container_of(first, struct fs_io, link)->next = gate_lead;
        fs_io_wake(container_of(first, struct fs_io, link));
    }
    while ((first = list_pop_front(&flushed))) {
        struct fs_io *io = container_of(first, struct fs_io, link);

        io->error = e;
        io->next = commit_flushed;
        fs_io_wake(io);
    }
}

static void gate_flush(struct fs_io *io);

/* A flush by another path does as well: it is one cache. */
static void gate_done(struct store_io *s, enum err e)
{
    struct fs_io *io = container_of(s, struct fs_io, direct);

    io->error = e;
    if (fs_client_lost_path(io->client, e))
        fs_io_strand(io, gate_flush);
    else
        gate_end(io);
}

static void gate_flush(struct fs_io *io)
{
    enum err e;

    fs_io_sets_out(io);
    if (!fs_client_has_path(io->client)) {
        fs_redirect_flush(io, 0, gate_end);
        return;
    }
    io->direct = (struct store_io){.op = STORE_FLUSH, .done = gate_done};
    e = store_submit(io->client->lun, &io->direct);
    if (e)
        gate_done(&io->direct, e);
}

static void gate_lead(struct fs_io *io)
{
    struct fs_client *c = io->client;
    struct list *first;

    pthread_mutex_lock(&c->gate_mutex);
    list_push_back(&c->gate_flushed, &io->link);
    while ((first = list_pop_front(&c->gate_waiting)))
        list_push_back(&c->gate_flushed, first);
    pthread_mutex_unlock(&c->gate_mutex);
    gate_flush(io);
}

/* Goes on in commit_flushed(). */
static void gate_enter(struct fs_io *io)
{
    struct fs_client *c = io->client;
    bool lead;

    io->flushed = true;
    pthread_mutex_lock(&c->gate_mutex);
    lead = !c->gate_busy;
    c->gate_busy = true;
    if (!lead)
        list_push_back(&c->gate_waiting, &io->link);
    pthread_mutex_unlock(&c->gate_mutex);
    if (lead)
        gate_lead(io);
}

/* -- rounds of flush and LAYOUTCOMMIT -------------------------------------- */

bool fs_file_is_committed(struct fs_file *file)
{
    bool is;

    pthread_mutex_lock(&file->mutex);
    is = !file->turn_busy && !fs_file_needs_commit(file, false);
    pthread_mutex_unlock(&file->mutex);
    return is;
}

bool fs_file_needs_commit(const struct fs_file *file, bool times)
{
    return file->map.dirty_blocks || file->size_dirty ||
           (times && file->time_dirty);
}

/* Take what is to be committed off the file.  lock: f->mutex */
static enum err commit_take(struct fs_io *io)
{
    struct fs_file *f = io->file;

    io->batch = 0;
    io->took_size = io->took_time = false;
    if (!fs_file_needs_commit(f, !io->data_only))
        return E_OK;
    if (!f->written)
        f->written = calloc(FS_EXTENTS_MAX, sizeof *f->written);
    if (!f->written)
        return E_NOMEM;
    if (f->client->ledger && io->cursor == 0)
        ledger_take(f->client->ledger, &f->ledger);
    io->batch = (uint32_t)fs_map_collect(&f->map, &io->cursor, f->written,
                                         FS_EXTENTS_MAX);
    io->took_size = f->size_dirty;
    io->took_time = f->time_dirty;
    f->size_dirty = f->time_dirty = false;
    f->dirty_writes = 0;
    return E_OK;
}

/* It did not become durable: it is still to be done. */
static void commit_give_back(struct fs_io *io)
{
    struct fs_file *f = io->file;

    pthread_mutex_lock(&f->mutex);
    fs_map_redirty(&f->map, f->written, io->batch);
    f->size_dirty |= io->took_size;
    f->time_dirty |= io->took_time;
    if (f->client->ledger)
        ledger_give_back(f->client->ledger, &f->ledger);
    pthread_mutex_unlock(&f->mutex);
    fs_file_dirty(f);
}

void fs_file_settle(struct fs_file *file)
{
    const struct fs_file *f = file;

    if (f->client->ledger)
        ledger_settle(
            f->client->ledger, &file->ledger, f->size_dirty ? f->size_bytes : 0,
            f->time_dirty ? f->mtime.s * (int64_t)NS_PER_S + f->mtime.ns : 0);
}

/* All that was taken in this round and those before it is durable. */
static void commit_settle(struct fs_io *io)
{
    struct fs_file *f = io->file;

    pthread_mutex_lock(&f->mutex);
    if (f->client->ledger)
        ledger_committed(f->client->ledger, &f->ledger);
    fs_file_settle(f);
    pthread_mutex_unlock(&f->mutex);
}

static void commit_round(struct fs_io *io);

static void commit_replied(struct fs_io *io)
{
    struct fs_file *f = io->file;

    io->error = f->call.reply.error;
    /* the array is the file's, not the call's */
    f->call.request.args.fs_args_u.layoutcommit.written.written_val = NULL;
    fs_call_fini(&f->call);
    if (io->error) {
        commit_give_back(io);
        io->then(io);
        return;
    }
    pthread_mutex_lock(&f->mutex);
    fs_map_committed(&f->map, f->written, io->batch);
    pthread_mutex_unlock(&f->mutex);
    if (io->batch == FS_EXTENTS_MAX) {
        commit_round(io);
        return;
    }
    commit_settle(io);
    io->then(io);
}

static void commit_send(struct fs_io *io)
{
    struct fs_file *f = io->file;
    struct fs_call *call = fs_io_call(io, FS_OP_LAYOUTCOMMIT);
    fs_layoutcommit_args *a = &call->request.args.fs_args_u.layoutcommit;

    a->ino = f->ino;
    a->grant = f->grant;
    a->written.written_val = f->written;
    a->written.written_len = io->batch;
    a->set_mtime = io->took_time;
    pthread_mutex_lock(&f->mutex);
    a->size_bytes = io->took_size ? f->size_bytes : 0;
    a->mtime = f->mtime;
    pthread_mutex_unlock(&f->mutex);
    fs_io_send(io, commit_replied);
}

static void commit_flushed(struct fs_io *io)
{
    bool any = io->batch || io->took_size || io->took_time;

    if (io->error && any)
        commit_give_back(io);
    if (io->error || !any)
        io->then(io);
    else
        commit_send(io);
}

/* SYNC flushes also when there is nothing to tell. */
static void commit_round(struct fs_io *io)
{
    struct fs_file *f = io->file;
    bool any;

    pthread_mutex_lock(&f->mutex);
    io->error = commit_take(io);
    any = io->batch || io->took_size || io->took_time;
    pthread_mutex_unlock(&f->mutex);
    if (!io->error && !any && io->cursor)
        commit_settle(io); /* the round before was the last */
    if (!io->error && (any || (io->op == FS_IO_SYNC && !io->flushed)))
        gate_enter(io);
    else
        io->then(io);
}

void fs_io_commit(struct fs_io *io, void (*then)(struct fs_io *io))
{
    ASSERT(io->turn);
    io->then = then;
    io->cursor = 0;
    commit_round(io);
}

void fs_io_commit_kept(struct fs_io *io, void (*then)(struct fs_io *io))
{
    struct fs_file *f = io->file;
    bool needed;

    pthread_mutex_lock(&f->mutex);
    needed = f->client->ledger && fs_file_needs_commit(f, true);
    pthread_mutex_unlock(&f->mutex);
    io->error = E_OK;
    io->data_only = false;
    if (needed)
        fs_io_commit(io, then);
    else
        then(io);
}

/* -- fsync ----------------------------------------------------------------- */

static void sync_done(struct fs_io *io)
{
    struct fs_file *f = io->file;
    enum err lost = E_OK;

    if (!io->background) {
        pthread_mutex_lock(&f->mutex);
        lost = f->lost;
        f->lost = E_OK;
        pthread_mutex_unlock(&f->mutex);
    }
    fs_io_finish(io, io->error ? io->error : lost);
}

static void sync_turn(struct fs_io *io)
{
    fs_io_commit(io, sync_done);
}

/* Overwriting needs no word with the coordinator: the flush is all.  While
 * somebody has the turn he may be committing what we wrote, so we wait. */
static void sync_own(struct fs_io *io)
{
    struct fs_file *f = io->file;
    bool flush_only;

    pthread_mutex_lock(&f->mutex);
    flush_only = !f->turn_busy && !fs_file_needs_commit(f, !io->data_only);
    pthread_mutex_unlock(&f->mutex);
    io->batch = 0;
    io->took_size = io->took_time = false;
    io->then = sync_done;
    if (flush_only)
        gate_enter(io);
    else
        fs_io_turn(io, sync_turn);
}

static void sync_redirected(struct fs_io *io)
{
    if (!io->error) {
        sync_own(io);
        return;
    }
    atomic_store(&io->file->redirect_unsynced, true);
    sync_done(io);
}

/* First what the coordinator has of it: its times, and its writes on the LUN.
 */
void fs_io_sync(struct fs_io *io)
{
    if (atomic_exchange(&io->file->redirect_unsynced, false))
        fs_redirect_flush(io, io->file->ino, sync_redirected);
    else
        sync_own(io);
}

/* -- in the background ----------------------------------------------------- */

void fs_file_dirty(struct fs_file *file)
{
    struct fs_client *c = file->client;
    bool urgent, start = false;

    pthread_mutex_lock(&file->mutex);
    urgent = file->map.dirty_blocks > DIRTY_BLOCKS_MAX ||
             file->dirty_writes > DIRTY_WRITES_MAX;
    pthread_mutex_unlock(&file->mutex);
    if (atomic_load(&file->dirty_listed) && !urgent)
        return;
    pthread_mutex_lock(&c->files_mutex);
    if (!atomic_exchange(&file->dirty_listed, true))
        list_push_back(&c->dirty, &file->dirty_link);
    if (!c->commit_due)
        start = c->commit_due = true;
    if (urgent && !file->background_busy && !c->commit_urgent)
        c->commit_urgent = true;
    else
        urgent = false;
    pthread_mutex_unlock(&c->files_mutex);
    if (start)
        loop_post(c->loop, &c->commit_task);
    if (urgent)
        loop_post(c->loop, &c->urgent_task);
}

void fs_commit_start(struct task *task)
{
    struct fs_client *c = container_of(task, struct fs_client, commit_task);

    loop_timer_set(c->loop, &c->commit_timer, c->commit_ms);
}

static void background_done(struct fs_io *io, enum err e)
{
    struct fs_file *f = io->file;
    struct fs_client *c = io->client;

    pthread_mutex_lock(&f->mutex);
    if (e)
        f->lost = e;
    pthread_mutex_unlock(&f->mutex);
    pthread_mutex_lock(&c->files_mutex);
    f->background_busy = false;
    pthread_mutex_unlock(&c->files_mutex);
    fs_file_put(f);
    if (!--c->backgrounds && c->farewell)
        loop_post(c->loop, c->farewell);
}

static void background_sync(struct fs_file *f)
{
    f->background = (struct fs_io){.op = FS_IO_SYNC,
                                   .file = f,
                                   .background = true,
                                   .done = background_done};
    f->client->backgrounds++;
    fs_io_submit(f->client, &f->background);
}

/* Commit every file that has something to commit.  Those that are at it get
 * back on the list by their next write, or when they fail. */
static void commit_all(struct fs_client *c)
{
    struct list due, *first;

    list_init(&due);
    pthread_mutex_lock(&c->files_mutex);
    while ((first = list_pop_front(&c->dirty))) {
        struct fs_file *f = container_of(first, struct fs_file, dirty_link);

        atomic_store(&f->dirty_listed, false);
        if (f->background_busy)
            continue;
        f->background_busy = true;
        f->refs++;
        list_push_back(&due, &f->background.link);
    }
    pthread_mutex_unlock(&c->files_mutex);
    while ((first = list_pop_front(&due)))
        background_sync(container_of(first, struct fs_file, background.link));
}

void fs_commit_urgent(struct task *task)
{
    struct fs_client *c = container_of(task, struct fs_client, urgent_task);

    pthread_mutex_lock(&c->files_mutex);
    c->commit_urgent = false;
    pthread_mutex_unlock(&c->files_mutex);
    commit_all(c);
}

void fs_commit_timer(struct timer *timer)
{
    struct fs_client *c = container_of(timer, struct fs_client, commit_timer);

    pthread_mutex_lock(&c->files_mutex);
    c->commit_due = false;
    pthread_mutex_unlock(&c->files_mutex);
    commit_all(c);
}
