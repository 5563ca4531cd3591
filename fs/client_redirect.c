/* fs/client_redirect.c - I/O by way of the coordinator, while there is no path
 * to the LUN, or while hosts take turns with a file; and the way back.
 *
 * A redirected io holds neither range nor turn: the coordinator's end has
 * ranges of its own.  So it keeps no recall waiting, which it may be the cause
 * of: what this node has of the file is in its own way, too.
 *
 * I13: what is in flight when the path goes waits in the LUN layer until the
 * owner has had it fenced; until he says so, nothing that failed with the path
 * is sent another way.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

enum {
    CALLS_MAX = 8, /* in flight; of FS_DATA_MAX bytes at most */
    ASK_AGAIN_MS = 500
};

/* The call of an io. */
struct fs_redirected {
    struct fs_call call;
    struct fs_io *io;
    void (*next)(struct fs_io *io);
};

/* -- which way ------------------------------------------------------------- */

bool fs_client_has_path(struct fs_client *c)
{
    return atomic_load(&c->path);
}

bool fs_io_goes_redirected(struct fs_io *io)
{
    struct fs_client *c = io->client;

    if (!c->redirects)
        return false;
    return !fs_client_has_path(c) ||
           clock_now_ns(c->clock) < atomic_load(&io->file->redirect_until_ns);
}

void fs_file_redirect(struct fs_file *file)
{
    struct fs_client *c = file->client;
    uint64_t now = clock_now_ns(c->clock);
    uint64_t until = now + ASK_AGAIN_MS * NS_PER_MS;

    atomic_store(&file->redirect_until_ns, until);
    pthread_mutex_lock(&c->path_mutex);
    if (now >= c->turns_until_ns)
        c->turns_since_ns = clock_wall_ns(c->clock);
    c->turns_until_ns = until;
    pthread_mutex_unlock(&c->path_mutex);
}

/* -- the path goes and comes ----------------------------------------------- */

void fs_io_strand(struct fs_io *io, void (*next)(struct fs_io *io))
{
    struct fs_client *c = io->client;
    bool wait;

    io->next = next;
    pthread_mutex_lock(&c->path_mutex);
    wait = io->path_turn == c->path_turn;
    if (wait)
        list_push_back(&c->stranded, &io->path_link);
    pthread_mutex_unlock(&c->path_mutex);
    if (!wait)
        fs_io_wake(io); /* he has said since where to go */
}

void fs_io_sets_out(struct fs_io *io)
{
    struct fs_client *c = io->client;

    if (!c->redirects)
        return;
    pthread_mutex_lock(&c->path_mutex);
    io->path_turn = c->path_turn;
    pthread_mutex_unlock(&c->path_mutex);
}

bool fs_client_lost_path(const struct fs_client *c, enum err e)
{
    return c->redirects && (e == E_LUN_GONE || e == E_RESERVED);
}

bool fs_io_is_stranded(struct fs_io *io, enum err e)
{
    if (!fs_client_lost_path(io->client, e) ||
        (io->op != FS_IO_READ && io->op != FS_IO_WRITE &&
         io->op != FS_IO_SETATTR && io->op != FS_IO_ALLOCATE))
        return false;
    if (io->turn)
        fs_io_turn_end(io);
    if (io->range.held)
        fs_io_unlock(io);
    fs_io_strand(io, fs_io_again);
    return true;
}

void fs_client_set_path(struct fs_client *client, bool path)
{
    struct list stranded, *node;

    list_init(&stranded);
    pthread_mutex_lock(&client->path_mutex);
    if (atomic_exchange(&client->path, path) != path)
        client->path_since_ns = clock_wall_ns(client->clock);
    client->path_turn++;
    while ((node = list_pop_front(&client->stranded)))
        list_push_back(&stranded, node);
    pthread_mutex_unlock(&client->path_mutex);
    while ((node = list_pop_front(&stranded)))
        fs_io_wake(container_of(node, struct fs_io, path_link));
}

/* -- calls ----------------------------------------------------------------- */

/* The call of the io, or NULL: it has ended for want of memory. */
static struct fs_redirected *prepare(struct fs_io *io, fs_op op,
                                     void (*next)(struct fs_io *io))
{
    struct fs_redirected *r = io->redirected;

    if (!r)
        r = io->redirected = malloc(sizeof *r);
    if (!r)
        return NULL;
    fs_call_init(&r->call, op);
    r->io = io;
    r->next = next;
    return r;
}

static void call_done(struct fs_call *call)
{
    struct fs_redirected *r = container_of(call, struct fs_redirected, call);

    r->next(r->io);
}

static void send_call(struct fs_io *io)
{
    struct fs_redirected *r = io->redirected;

    r->call.done = call_done;
    fs_link_send(io->client->link, &r->call);
}

/* Only data waits for its turn: a flush may be what others wait for. */
static void send_data(struct fs_io *io)
{
    struct fs_client *c = io->client;
    bool now;

    pthread_mutex_lock(&c->path_mutex);
    now = c->calls_busy < CALLS_MAX;
    if (now)
        c->calls_busy++;
    else
        list_push_back(&c->calls_waiting, &io->path_link);
    pthread_mutex_unlock(&c->path_mutex);
    if (now)
        send_call(io);
}

static void data_done(struct fs_client *c)
{
    struct list *first;
    struct fs_io *io;

    pthread_mutex_lock(&c->path_mutex);
    first = list_pop_front(&c->calls_waiting);
    if (!first)
        c->calls_busy--;
    pthread_mutex_unlock(&c->path_mutex);
    if (!first)
        return;
    io = container_of(first, struct fs_io, path_link);
    io->next = send_call;
    fs_io_wake(io);
}

/* What became of it. */
static enum err take_reply(struct fs_io *io, uint64_t *ret_bytes)
{
    struct fs_redirected *r = io->redirected;
    enum err e = r->call.reply.error;

    if (!e && r->call.reply.result.op == FS_OP_READ)
        *ret_bytes = r->call.reply.result.fs_result_u.read_bytes;
    fs_call_fini(&r->call);
    return e;
}

static void drop_call(struct fs_io *io)
{
    free(io->redirected);
    io->redirected = NULL;
}

static void finish(struct fs_io *io, enum err e)
{
    struct fs_client *c = io->client;

    drop_call(io);
    if (!e) {
        atomic_fetch_add(&c->redirected_ios, 1);
        atomic_fetch_add(&c->redirected_bytes, io->count_bytes);
    }
    fs_io_finish(io, e);
}

/* -- data ------------------------------------------------------------------ */

static void data_more(struct fs_io *io);

static void data_answered(struct fs_io *io)
{
    bool write = io->op == FS_IO_WRITE;
    uint64_t asked = io->redirected->call.request.args.fs_args_u.read.len_bytes;
    uint64_t bytes = asked;
    enum err e = take_reply(io, &bytes);

    data_done(io->client);
    if (e) {
        finish(io, e);
        return;
    }
    io->pos += bytes;
    io->count_bytes += bytes;
    if (bytes == asked && io->pos < io->end) {
        data_more(io);
        return;
    }
    if (write && !io->from_kernel)
        fs_file_tell(io->file);
    finish(io, E_OK);
}

static void data_more(struct fs_io *io)
{
    fs_op op = io->op == FS_IO_WRITE ? FS_OP_WRITE : FS_OP_READ;
    struct fs_redirected *r = prepare(io, op, data_answered);

    if (!r) {
        finish(io, E_NOMEM);
        return;
    }
    r->call.request.args.fs_args_u.read = (fs_data_args){
        .ino = io->file->ino,
        .off_bytes = io->pos,
        .len_bytes = (u_int)min_u64(io->end - io->pos, FS_DATA_MAX)};
    r->call.iov = io->iov;
    r->call.iov_count = io->iov_count;
    r->call.iov_skip_bytes = io->pos - io->off_bytes;
    send_data(io);
}

void fs_redirect_data(struct fs_io *io)
{
    io->pos = io->off_bytes;
    io->end =
        io->off_bytes + min_u64(io->len_bytes, FILE_BYTES_MAX - io->off_bytes);
    io->count_bytes = 0;
    if (io->op == FS_IO_WRITE)
        atomic_store(&io->file->redirect_unsynced, true);
    if (io->pos == io->end)
        finish(io, E_OK);
    else
        data_more(io);
}

/* -- the rest -------------------------------------------------------------- */

static void rest_answered(struct fs_io *io)
{
    uint64_t none = 0;

    io->error = take_reply(io, &none);
    drop_call(io);
    io->asked(io);
}

static struct fs_redirected *prepare_rest(struct fs_io *io, fs_op op,
                                          void (*next)(struct fs_io *io))
{
    struct fs_redirected *r = prepare(io, op, rest_answered);

    io->asked = next;
    if (r)
        return r;
    io->error = E_NOMEM;
    next(io);
    return NULL;
}

void fs_redirect_edges(struct fs_io *io, void (*next)(struct fs_io *io))
{
    bool truncate = io->op == FS_IO_SETATTR;
    struct fs_redirected *r = prepare_rest(io, FS_OP_EDGES, next);

    if (!r)
        return;
    atomic_store(&io->file->redirect_unsynced, true);
    r->call.request.args.fs_args_u.edges = (fs_edges_args){
        .ino = io->file->ino,
        .truncate = truncate,
        .mode = truncate ? 0 : io->mode,
        .off_bytes = truncate ? io->setattr.size_bytes : io->off_bytes,
        .len_bytes = truncate ? 0 : io->len_bytes};
    send_call(io);
}

void fs_redirect_flush(struct fs_io *io, fs_ino ino,
                       void (*next)(struct fs_io *io))
{
    struct fs_redirected *r = prepare_rest(io, FS_OP_FLUSH, next);

    if (!r)
        return;
    r->call.request.args.fs_args_u.flush = ino;
    send_call(io);
}

/* -- what is told ---------------------------------------------------------- */

void fs_io_count_direct(struct fs_io *io)
{
    atomic_fetch_add_explicit(&io->client->direct_ios, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&io->client->direct_bytes, io->count_bytes,
                              memory_order_relaxed);
}

void fs_client_info(struct fs_client *client, struct fs_client_info *ret_info)
{
    struct fs_client *c = client;
    bool turns;

    *ret_info = (struct fs_client_info){
        .reason = "",
        .direct_ios = atomic_load(&c->direct_ios),
        .direct_bytes = atomic_load(&c->direct_bytes),
        .redirected_ios = atomic_load(&c->redirected_ios),
        .redirected_bytes = atomic_load(&c->redirected_bytes),
        .metadata_ops = atomic_load(&c->link->calls)};
    pthread_mutex_lock(&c->path_mutex);
    turns = clock_now_ns(c->clock) < c->turns_until_ns;
    ret_info->redirected = !atomic_load(&c->path) || turns;
    ret_info->since_ns = c->path_since_ns;
    if (!atomic_load(&c->path)) {
        ret_info->reason = "no path to the LUN";
    } else if (turns) {
        ret_info->reason = "hosts write a file in turns";
        ret_info->since_ns = c->turns_since_ns;
    }
    pthread_mutex_unlock(&c->path_mutex);
}

void fs_client_path_init(struct fs_client *c, bool redirects)
{
    pthread_mutex_init(&c->path_mutex, NULL);
    list_init(&c->stranded);
    list_init(&c->calls_waiting);
    atomic_store(&c->path, true);
    c->redirects = redirects;
    c->path_since_ns = clock_wall_ns(c->clock);
}

void fs_client_path_fini(struct fs_client *c)
{
    pthread_mutex_destroy(&c->path_mutex);
}
