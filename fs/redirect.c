/* fs/redirect.c - see redirect.h.  Everything is on one loop but for the faces.
 * Knows no transport; decides neither who may ask nor what conflicts.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/redirect.h"

#include "fs/client.h"

#include <semaphore.h>
#include <string.h>

enum { BUCKETS = 256, PIECES = 64, IDLE_MS = 1000 };

/* A file that the proxy has open, or is about to open or to close. */
struct proxied {
    struct list at;
    struct fs_redirect *r;
    fs_ino ino;
    enum { OPENING, OPEN, CLOSING } state;
    unsigned users;
    bool used; /* since the timer looked */
    struct fs_io io;
    struct list waiting; /* of struct carried */
};

/* One run of a node that has called. */
struct author {
    struct list at;
    struct fs_sender who;
    bool refused;
    struct list running;
    struct {
        uint64_t seq;
        enum err error;
    } written[FS_SLOTS_KEPT]; /* the last WRITE of each slot that was done */
};

/* A call that is carried out. */
struct carried {
    struct fs_redirect *r;
    struct fs_call *call;
    struct author *author;
    struct proxied *file; /* NULL: of the LUN as a whole */
    struct list at, wait;
    struct fs_io io;
    struct store_io flush;
    bool draining; /* somebody waits until it has left the LUN */
};

/* Somebody on another thread, or this one, who waits. */
struct errand {
    struct task task;
    struct list at;
    struct fs_redirect *r;
    struct fs_sender author;
    unsigned awaited;
    bool done;
    sem_t heard;
};

struct fs_redirect {
    struct redirect_args args;
    struct fs_client *client;
    struct list files[BUCKETS];
    size_t file_count;
    struct list authors;
    struct list forgetting; /* of errands */
    struct errand *ending;
    struct timer idle;
};

/* -- errands --------------------------------------------------------------- */

static void errand_end(struct errand *errand)
{
    errand->done = true;
    sem_post(&errand->heard);
}

static void errand_run(struct fs_redirect *r, struct errand *errand,
                       void (*run)(struct task *task))
{
    errand->r = r;
    errand->task.run = run;
    sem_init(&errand->heard, 0, 0);
    loop_post(r->args.loop, &errand->task);
    if (loop_self() == r->args.loop)
        loop_run_until(r->args.loop, &errand->done);
    else
        while (sem_wait(&errand->heard))
            ASSERT(errno == EINTR);
    sem_destroy(&errand->heard);
}

/* -- files ----------------------------------------------------------------- */

static struct proxied *proxied_find(struct fs_redirect *r, fs_ino ino)
{
    list_for_each (node, &r->files[ino % BUCKETS]) {
        struct proxied *f = container_of(node, struct proxied, at);

        if (f->ino == ino)
            return f;
    }
    return NULL;
}

static void proxied_free(struct proxied *f)
{
    struct fs_redirect *r = f->r;

    list_remove(&f->at);
    free(f);
    if (!--r->file_count && r->ending)
        errand_end(r->ending);
}

static void carried_start(struct carried *c);
static void carried_end(struct carried *c, enum err e);
static void proxied_open(struct proxied *f);

static void opened(struct fs_io *io, enum err e)
{
    struct proxied *f = container_of(io, struct proxied, io);
    struct list waiting, *node;

    list_init(&waiting);
    while ((node = list_pop_front(&f->waiting)))
        list_push_back(&waiting, node);
    f->state = OPEN;
    f->users++; /* those who end here do not end it */
    while ((node = list_pop_front(&waiting))) {
        struct carried *c = container_of(node, struct carried, wait);

        if (e)
            carried_end(c, e);
        else
            carried_start(c);
    }
    f->users--;
    if (e)
        proxied_free(f);
}

static void closed(struct fs_io *io, enum err e)
{
    struct proxied *f = container_of(io, struct proxied, io);

    (void)e; /* what was answered is committed */
    if (list_empty(&f->waiting))
        proxied_free(f);
    else
        proxied_open(f);
}

static void proxied_open(struct proxied *f)
{
    f->state = OPENING;
    f->io = (struct fs_io){.op = FS_IO_OPEN, .ino = f->ino, .done = opened};
    fs_io_submit(f->r->client, &f->io);
}

static void proxied_close(struct proxied *f)
{
    struct fs_file *file = f->io.file;

    f->state = CLOSING;
    f->io = (struct fs_io){.op = FS_IO_CLOSE, .file = file, .done = closed};
    fs_io_submit(f->r->client, &f->io);
}

static struct proxied *proxied_get(struct fs_redirect *r, fs_ino ino)
{
    struct proxied *f = proxied_find(r, ino);

    if (f)
        return f;
    f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->r = r;
    f->ino = ino;
    list_init(&f->waiting);
    list_push_back(&r->files[ino % BUCKETS], &f->at);
    if (!r->file_count++)
        loop_timer_set(r->args.loop, &r->idle, IDLE_MS);
    proxied_open(f);
    return f;
}

/* Close what nobody has used for a while: its space may be another's. */
static void close_idle(struct fs_redirect *r, bool all)
{
    for (int i = 0; i < BUCKETS; i++)
        list_for_each (node, &r->files[i]) {
            struct proxied *f = container_of(node, struct proxied, at);

            if (f->state == OPEN && !f->users && (all || !f->used))
                proxied_close(f);
            f->used = false;
        }
}

static void idle_fired(struct timer *t)
{
    struct fs_redirect *r = container_of(t, struct fs_redirect, idle);

    close_idle(r, false);
    if (r->file_count)
        loop_timer_set(r->args.loop, &r->idle, IDLE_MS);
}

/* -- authors --------------------------------------------------------------- */

static struct author *author_get(struct fs_redirect *r,
                                 const struct fs_sender *who)
{
    struct author *a;

    list_for_each (node, &r->authors) {
        a = container_of(node, struct author, at);
        if (fs_sender_is(&a->who, who))
            return a;
    }
    a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->who = *who;
    list_init(&a->running);
    list_push_back(&r->authors, &a->at);
    return a;
}

/* Before each step to the LUN (struct fs_io). */
static bool may(struct fs_io *io)
{
    return !container_of(io, struct carried, io)->author->refused;
}

static void left_the_lun(struct carried *c)
{
    if (!c->draining)
        return;
    list_for_each (node, &c->r->forgetting) {
        struct errand *errand = container_of(node, struct errand, at);

        if (fs_sender_is(&errand->author, &c->author->who) &&
            !--errand->awaited) {
            list_remove(node);
            errand_end(errand);
        }
    }
    c->draining = false;
}

static void forget(struct task *task)
{
    struct errand *errand = container_of(task, struct errand, task);
    struct author *a = author_get(errand->r, &errand->author);

    ASSERT(a != NULL);
    a->refused = true;
    list_for_each (node, &a->running) {
        struct carried *c = container_of(node, struct carried, at);

        if (!c->io.inflight)
            continue; /* and it never will be again */
        c->draining = true;
        errand->awaited++;
    }
    if (errand->awaited)
        list_push_back(&errand->r->forgetting, &errand->at);
    else
        errand_end(errand);
}

void redirect_forget(struct fs_redirect *r, const struct fs_sender *author)
{
    struct errand errand = {.author = *author};

    errand_run(r, &errand, forget);
}

/* -- one call -------------------------------------------------------------- */

static void reply(struct fs_redirect *r, struct fs_call *call, enum err e)
{
    call->reply.error = e;
    call->reply.result.op = call->request.args.op;
    r->args.answer(r->args.arg, call);
}

/* The LUN's word on us is none to the author: the next coordinator may reach
 * it. */
static enum err for_author(struct carried *c, enum err e)
{
    if (c->author->refused)
        return E_FENCED;
    if (e != E_LUN_GONE && e != E_FENCED && e != E_RESERVED)
        return e;
    c->r->args.lun_failed(c->r->args.arg, e);
    return E_VOL_OFFLINE;
}

static void carried_end(struct carried *c, enum err e)
{
    const fs_request *request = &c->call->request;
    struct proxied *f = c->file;

    e = for_author(c, e);
    left_the_lun(c);
    if (request->args.op == FS_OP_WRITE && request->slot < FS_SLOTS_KEPT &&
        e != E_VOL_OFFLINE) {
        c->author->written[request->slot].seq = request->seq;
        c->author->written[request->slot].error = e;
    }
    reply(c->r, c->call, e);
    list_remove(&c->at);
    free(c);
    if (!f)
        return;
    f->users--;
    f->used = true;
}

static void done(struct fs_io *io, enum err e)
{
    carried_end(container_of(io, struct carried, io), e);
}

static void read_done(struct fs_io *io, enum err e)
{
    struct carried *c = container_of(io, struct carried, io);

    c->call->reply.result.fs_result_u.read_bytes = (u_int)io->count_bytes;
    carried_end(c, e);
}

static void submit(struct carried *c, enum fs_io_op op,
                   void (*then)(struct fs_io *, enum err))
{
    c->io.op = op;
    c->io.file = c->file->io.file;
    c->io.done = then;
    fs_io_submit(c->r->client, &c->io);
}

/* The author keeps no copy: were we to die, what is not committed would be
 * lost without anybody having crashed that wrote it. */
static void written(struct fs_io *io, enum err e)
{
    struct carried *c = container_of(io, struct carried, io);

    left_the_lun(c);
    if (e || fs_file_is_committed(c->file->io.file)) {
        carried_end(c, e);
        return;
    }
    c->io = (struct fs_io){.data_only = true};
    submit(c, FS_IO_SYNC, done);
}

static void carry_data(struct carried *c)
{
    const fs_args *args = &c->call->request.args;
    const fs_data_args *data = &args->fs_args_u.read;
    bool write = args->op == FS_OP_WRITE;

    c->io = (struct fs_io){.off_bytes = data->off_bytes,
                           .len_bytes = data->len_bytes,
                           .iov = c->call->iov,
                           .iov_count = c->call->iov_count,
                           .may = may};
    submit(c, write ? FS_IO_WRITE : FS_IO_READ, write ? written : read_done);
}

static void carry_edges(struct carried *c)
{
    const fs_edges_args *a = &c->call->request.args.fs_args_u.edges;

    c->io = (struct fs_io){.edges_only = true, .may = may};
    if (a->truncate) {
        c->io.setattr =
            (fs_setattr_args){.mask = FS_SET_SIZE, .size_bytes = a->off_bytes};
        submit(c, FS_IO_SETATTR, done);
        return;
    }
    c->io.mode = a->mode;
    c->io.off_bytes = a->off_bytes;
    c->io.len_bytes = a->len_bytes;
    submit(c, FS_IO_ALLOCATE, done);
}

static void carried_start(struct carried *c)
{
    fs_op op = c->call->request.args.op;

    if (op == FS_OP_READ || op == FS_OP_WRITE) {
        carry_data(c);
    } else if (op == FS_OP_EDGES) {
        carry_edges(c);
    } else {
        c->io = (struct fs_io){.data_only = false};
        submit(c, FS_IO_SYNC, done);
    }
}

static void flushed(struct store_io *io, enum err e)
{
    carried_end(container_of(io, struct carried, flush), e);
}

static void flush_lun(struct carried *c)
{
    enum err e;

    c->flush = (struct store_io){.op = STORE_FLUSH, .done = flushed};
    e = store_submit(c->r->args.lun, &c->flush);
    if (e)
        carried_end(c, e);
}

static fs_ino ino_of(const fs_args *args)
{
    if (args->op == FS_OP_FLUSH)
        return args->fs_args_u.flush;
    if (args->op == FS_OP_EDGES)
        return args->fs_args_u.edges.ino;
    return args->fs_args_u.read.ino;
}

/* Is it a resend of what was carried out? */
static bool is_done(const struct author *a, const fs_request *request,
                    enum err *ret_e)
{
    if (request->args.op != FS_OP_WRITE || request->slot >= FS_SLOTS_KEPT ||
        request->seq > a->written[request->slot].seq)
        return false;
    *ret_e = request->seq == a->written[request->slot].seq
                 ? a->written[request->slot].error
                 : E_PROTOCOL;
    return true;
}

static void carry(struct fs_redirect *r, struct author *a, struct fs_call *call)
{
    struct carried *c = calloc(1, sizeof *c);
    fs_ino ino = ino_of(&call->request.args);

    if (!c) {
        reply(r, call, E_NOMEM);
        return;
    }
    c->r = r;
    c->call = call;
    c->author = a;
    list_push_back(&a->running, &c->at);
    if (!ino) {
        flush_lun(c);
        return;
    }
    c->file = proxied_get(r, ino);
    if (!c->file) {
        carried_end(c, E_NOMEM);
        return;
    }
    c->file->users++;
    if (c->file->state == OPEN)
        carried_start(c);
    else
        list_push_back(&c->file->waiting, &c->wait);
}

static void receive(struct task *task)
{
    struct fs_call *call = container_of(task, struct fs_call, task);
    struct fs_redirect *r = call->carrier;
    struct author *a = author_get(r, &call->sender);
    enum err e;

    if (!a)
        reply(r, call, E_NOMEM);
    else if (a->refused)
        reply(r, call, E_FENCED);
    else if (is_done(a, &call->request, &e))
        reply(r, call, e);
    else
        carry(r, a, call);
}

void redirect_take(struct fs_redirect *r, struct fs_call *call)
{
    call->carrier = r;
    call->task.run = receive;
    loop_post(r->args.loop, &call->task);
}

/* -- birth and death ------------------------------------------------------- */

enum err redirect_new(const struct redirect_args *args,
                      struct fs_redirect **ret_redirect)
{
    AUTO(freep) struct fs_redirect *r = calloc(1, sizeof *r);
    const struct fs_client_args client = {.lun = args->lun,
                                          .link = args->link,
                                          .loop = args->loop,
                                          .clock = args->clock,
                                          .pieces = PIECES};
    enum err e;

    if (!r)
        return E_NOMEM;
    r->args = *args;
    r->idle.fire = idle_fired;
    list_init(&r->authors);
    list_init(&r->forgetting);
    for (int i = 0; i < BUCKETS; i++)
        list_init(&r->files[i]);
    e = fs_client_new(&client, &r->client);
    if (e)
        return e;
    *ret_redirect = TAKE(r);
    return E_OK;
}

static void end(struct task *task)
{
    struct errand *errand = container_of(task, struct errand, task);
    struct fs_redirect *r = errand->r;

    loop_timer_cancel(r->args.loop, &r->idle);
    if (!r->file_count) {
        errand_end(errand);
        return;
    }
    r->ending = errand;
    close_idle(r, true); /* those that open or close now end by themselves */
}

void redirect_free(struct fs_redirect *r)
{
    struct errand errand = {.done = false};
    struct list *node;

    if (!r)
        return;
    errand_run(r, &errand, end);
    fs_client_free(r->client);
    while ((node = list_pop_front(&r->authors)))
        free(container_of(node, struct author, at));
    free(r);
}
