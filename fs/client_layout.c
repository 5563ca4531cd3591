/* fs/client_layout.c - leave to read and write a file's blocks: asking for it,
 * and giving it up when the coordinator recalls it (I5).  Moves no data.
 *
 * An io asks under its range and the file's turn.  A recall first takes the
 * whole file as its range, so that no io is under way, then the turn.  Who is
 * told E_TRY_LATER gives up both and begins anew, behind the recall.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

enum { BLOCK = FS_BLOCK_BYTES };

/* -- asking ---------------------------------------------------------------- */

bool fs_io_may(const struct fs_io *io, fs_iomode mode)
{
    struct fs_file *f = io->file;
    bool may;

    pthread_mutex_lock(&f->mutex);
    may = f->layout >= mode;
    pthread_mutex_unlock(&f->mutex);
    return may;
}

/* How far to ask for.  Blocks that are there already: all of them, it costs
 * nothing.  Holes: ahead of one who writes on and on, twice as far each time;
 * for one who jumps about, no more than needed. */
static uint64_t ahead_of(const struct fs_io *io, const struct map_run *run)
{
    const struct fs_file *f = io->file;
    uint64_t here = run->count * BLOCK, need = io->end - io->pos, ahead;

    if (io->end < f->size_bytes && f->run_bytes <= io->len_bytes)
        return min_u64(here, need);
    ahead = min_u64(max_u64(f->run_bytes, AHEAD_BYTES_MIN), AHEAD_BYTES_MAX);
    return min_u64(here, max_u64(need, ahead));
}

/* What was known before there was a layout is old news, but for a file that
 * was made here and has nothing yet.  lock: f->mutex */
static enum err learn(struct fs_file *f, const fs_layout *l, fs_iomode mode)
{
    if (f->layout == FS_IOMODE_NONE) {
        if (!f->fresh || l->size_bytes)
            fs_map_fini(&f->map);
        f->size_bytes = l->size_bytes;
        f->junk_end = 0; /* who had it before took all beyond the end */
    }
    f->fresh = false;
    f->grant = l->grant;
    if (f->layout < mode)
        f->layout = mode;
    return fs_map_insert(&f->map, l->extents.extents_val,
                         l->extents.extents_len, mode == FS_IOMODE_RW,
                         store_size(f->client->lun) / BLOCK);
}

static void replied(struct fs_io *io)
{
    struct fs_file *f = io->file;
    fs_iomode mode = f->call.request.args.fs_args_u.layoutget.iomode;
    enum err e = f->call.reply.error;

    if (!e) {
        pthread_mutex_lock(&f->mutex);
        e = learn(f, &f->call.reply.result.fs_result_u.layoutget, mode);
        if (!e &&
            !map_is_readable(fs_map_find(&f->map, io->pos / BLOCK, 1).state))
            e = E_PROTOCOL;
        pthread_mutex_unlock(&f->mutex);
    }
    fs_call_fini(&f->call);
    fs_io_turn_end(io);
    if (e == E_REDIRECT)
        fs_file_redirect(f);
    if (e == E_TRY_LATER || e == E_REDIRECT) {
        fs_io_again(io);
        return;
    }
    if (e)
        io->error = e;
    io->asked(io);
}

/* Under the turn.  A new layout comes with what is at io->pos, to the end of
 * the file; more of one that is there, for want of it. */
static void ask(struct fs_io *io, fs_iomode mode)
{
    struct fs_file *f = io->file;
    uint64_t block = io->pos / BLOCK, first = block * BLOCK, len;
    struct fs_call *call;
    struct map_run run;
    bool allocate;

    pthread_mutex_lock(&f->mutex);
    run = fs_map_find(&f->map, block, MAP_BLOCKS_MAX - block);
    allocate = mode == FS_IOMODE_RW && run.state == MAP_HOLE &&
               (f->layout || f->fresh) && io->end > io->pos;
    len = allocate ? ahead_of(io, &run) : FILE_BYTES_MAX - first;
    pthread_mutex_unlock(&f->mutex);
    len = align_up(max_u64(len, 1), BLOCK);
    call = fs_io_call(io, FS_OP_LAYOUTGET);
    call->request.args.fs_args_u.layoutget = (fs_layoutget_args){
        .ino = f->ino,
        .iomode = mode,
        .allocate = allocate,
        .off_bytes = first,
        .len_bytes = len,
        .min_bytes = min_u64(len, align_up(io->end, BLOCK) - first),
        .may_redirect = f->client->redirects && !io->append};
    fs_io_send(io, replied);
}

/* Somebody else may have asked in the meantime. */
static void asked_already(struct fs_io *io)
{
    fs_io_turn_end(io);
    io->asked(io);
}

static void acquire_turn(struct fs_io *io)
{
    if (fs_io_may(io, io->wants))
        asked_already(io);
    else
        ask(io, io->wants);
}

void fs_io_acquire(struct fs_io *io, fs_iomode mode,
                   void (*next)(struct fs_io *io))
{
    io->wants = mode;
    io->asked = next;
    io->pos = io->off_bytes;
    io->end = io->off_bytes + io->len_bytes;
    fs_io_turn(io, acquire_turn);
}

static void learn_turn(struct fs_io *io)
{
    struct fs_file *f = io->file;
    enum map_state state;

    pthread_mutex_lock(&f->mutex);
    state = fs_map_find(&f->map, io->pos / BLOCK, 1).state;
    pthread_mutex_unlock(&f->mutex);
    if (io->wants == FS_IOMODE_RW ? map_is_writable(state)
                                  : map_is_readable(state))
        asked_already(io);
    else
        ask(io, io->wants);
}

void fs_io_learn(struct fs_io *io, void (*next)(struct fs_io *io))
{
    io->wants = io->transfer == TRANSFER_READ ? FS_IOMODE_READ : FS_IOMODE_RW;
    io->asked = next;
    fs_io_turn(io, learn_turn);
}

/* -- giving up ------------------------------------------------------------- */

static void return_layout(struct fs_io *io, uint64_t grant, fs_iomode keep,
                          void (*next)(struct fs_io *io))
{
    struct fs_call *call = fs_io_call(io, FS_OP_LAYOUTRETURN);

    call->request.args.fs_args_u.layoutreturn = (fs_layoutreturn_args){
        .ino = io->file->ino, .grant = grant, .keep = keep};
    fs_io_send(io, next);
}

/* An error says that the coordinator has no such grant: all the same. */
static void returned(struct fs_io *io)
{
    struct fs_file *f = io->file;

    pthread_mutex_lock(&f->mutex);
    f->layout = io->wants;
    if (f->layout == FS_IOMODE_NONE)
        f->grant = 0;
    fs_map_fini(&f->map);
    pthread_mutex_unlock(&f->mutex);
    fs_call_fini(&f->call);
    if (io->wants == FS_IOMODE_NONE)
        fs_file_tell(f);
    fs_io_finish(io, E_OK);
}

/* What could not be committed is lost, and the next fsync says so; it reads as
 * it was before (I3). */
static void committed(struct fs_io *io)
{
    struct fs_file *f = io->file;

    pthread_mutex_lock(&f->mutex);
    if (io->error)
        f->lost = io->error;
    f->size_dirty = f->time_dirty = false;
    pthread_mutex_unlock(&f->mutex);
    return_layout(io, f->grant, io->wants, returned);
}

/* Blocks beyond the end that a write which failed has filled are part of no
 * file: nobody is to hear of them. */
static void drop_junk(struct fs_file *f)
{
    uint64_t end = div_round_up(f->size_bytes, BLOCK);

    pthread_mutex_lock(&f->mutex);
    if (f->junk_end > f->size_bytes &&
        fs_map_cut(&f->map, end, MAP_BLOCKS_MAX) == E_OK)
        fs_map_drop(&f->map, end, MAP_BLOCKS_MAX, MAP_UNKNOWN);
    f->junk_end = 0;
    pthread_mutex_unlock(&f->mutex);
}

static void nothing_to_return(struct fs_io *io)
{
    fs_call_fini(&io->file->call);
    fs_io_finish(io, E_OK);
}

/* It is answered in any case, with what is true when no conversation about the
 * file is open; or the coordinator would wait for ever. */
static void recall_turn(struct fs_io *io)
{
    struct fs_file *f = io->file;
    fs_iomode layout;
    uint64_t asked;

    pthread_mutex_lock(&f->mutex);
    asked = f->recall_grant;
    io->wants = f->recall_keep; /* another may come while we answer this one */
    layout = asked == f->grant ? f->layout : FS_IOMODE_NONE;
    pthread_mutex_unlock(&f->mutex);
    if (layout <= io->wants) {
        return_layout(io, asked, layout, nothing_to_return);
        return;
    }
    drop_junk(f);
    fs_io_commit(io, committed);
}

static void recall_drained(struct fs_io *io)
{
    fs_io_turn(io, recall_turn);
}

void fs_io_recall(struct fs_io *io)
{
    fs_io_lock(io, RANGE_FREE, 0, FILE_BYTES_MAX, recall_drained);
}

static void recall_submit(struct fs_file *f);

static void recall_done(struct fs_io *io, enum err e)
{
    struct fs_file *f = io->file;
    bool again;

    (void)e;
    pthread_mutex_lock(&f->mutex);
    again = f->recall_again;
    f->recall_busy = again;
    f->recall_again = false;
    pthread_mutex_unlock(&f->mutex);
    if (again)
        recall_submit(f);
    else
        fs_file_put(f);
}

static void recall_submit(struct fs_file *f)
{
    f->recall =
        (struct fs_io){.op = FS_IO_RECALL, .file = f, .done = recall_done};
    fs_io_submit(f->client, &f->recall);
}

static void recall_start(struct task *task)
{
    recall_submit(container_of(task, struct fs_file, recall_task));
}

/* -- reporting ------------------------------------------------------------- */

static void report_file(struct fs_file *f, fs_report_args *report)
{
    fs_report_file *r = &report->files.files_val[report->files.files_len];

    pthread_mutex_lock(&f->mutex);
    *r = (fs_report_file){.ino = f->ino,
                          .open = f->opens > 0,
                          .write = f->writers > 0,
                          .grant = f->grant,
                          .layout = f->layout};
    pthread_mutex_unlock(&f->mutex);
    report->files.files_len += r->open || r->grant;
}

/* As many whole buckets of the table as there is room for. */
static enum err report_files(struct fs_client *c, uint64_t *cursor,
                             fs_report_args *report)
{
    size_t max;

    pthread_mutex_lock(&c->files_mutex);
    max = min_u64(c->file_count, FS_REPORT_MAX);
    report->files.files_val = calloc(max + 1, sizeof(fs_report_file));
    if (!report->files.files_val) {
        pthread_mutex_unlock(&c->files_mutex);
        return E_NOMEM;
    }
    for (; *cursor < FILE_BUCKETS; ++*cursor) {
        u_int before = report->files.files_len;

        list_for_each (at, &c->files[*cursor]) {
            if (report->files.files_len == max) {
                report->files.files_len = before; /* with the next message */
                pthread_mutex_unlock(&c->files_mutex);
                return before ? E_OK : E_TOO_BIG;
            }
            report_file(container_of(at, struct fs_file, link), report);
        }
    }
    pthread_mutex_unlock(&c->files_mutex);
    report->last = true;
    return E_OK;
}

enum err fs_client_report(struct fs_link *link, uint64_t epoch,
                          uint64_t *cursor, fs_report_args *report)
{
    struct fs_client *c = link->user;
    bool last_lock = false;
    enum err e = *cursor ? E_OK : fs_locks_epoch(c->locks, epoch);

    if (!e)
        e = fs_locks_report(c->locks, report, &last_lock);
    if (!e)
        e = report_files(c, cursor, report);
    report->last &= last_lock;
    return e;
}

/* Noted, and seen to on the client's own loop.  The last word counts, as it is
 * about the layout that is there now. */
void fs_client_recalled(struct fs_link *link, const fs_recall *recall)
{
    struct fs_client *c = link->user;
    struct fs_file *f = fs_file_find(c, recall->ino);
    bool start;

    if (!f)
        return; /* closed: the layout is on its way back */
    pthread_mutex_lock(&f->mutex);
    f->recall_grant = recall->grant;
    f->recall_keep = recall->keep;
    start = !f->recall_busy;
    f->recall_again = !start;
    f->recall_busy = true;
    pthread_mutex_unlock(&f->mutex);
    if (!start) {
        fs_file_put(f);
        return;
    }
    f->recall_task.run = recall_start;
    loop_post(c->loop, &f->recall_task);
}
