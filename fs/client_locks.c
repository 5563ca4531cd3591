/* fs/client_locks.c - a node's byte-range locks: the range client and what it
 * has sent, told, answered.  Decides nothing.
 *
 * A step runs under the mutex and its effects are noted in an outbox; they are
 * carried out when the mutex is free again.  Two threads may so change the
 * order of what is sent: the cores do not mind.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client_locks.h"

#include "base/log.h"
#include "fs/lock_wire.h"

#include <pthread.h>
#include <string.h>

struct fs_locks {
    struct fs_link *link;
    struct loop *loop;
    struct lm_peer self;
    struct fs_call confirm;

    pthread_mutex_t mutex;        /* of all below */
    struct lm_range_client *core; /* NULL: refused, for good */
    enum err refusal;
    struct list calls; /* struct fs_lock_call, not ended */
    uint64_t epoch;
    bool is_used;       /* somebody has asked for a lock */
    bool is_held;       /* by our owner */
    bool is_confirming; /* CONFIRM is under way … */
    uint64_t asked;     /* … about this state of affairs */
    uint64_t doubts;    /* how often it was put in doubt */
    struct {
        fs_report_lock *locks;
        size_t count, room, given;
        bool failed;
    } told; /* for the report of this epoch */
    bool complained;
    struct task *leaving;
};

/* -- effects --------------------------------------------------------------- */

struct outbox {
    struct lm_range_client_sink sink;
    struct fs_locks *l;
    struct list notes, ended;
    bool confirm;
};

static void put_note(struct outbox *out, const struct lm_range_request *q)
{
    struct fs_lock_note *note = calloc(1, sizeof *note);

    ASSERT(note != NULL);
    if (lock_request_to_wire(q, &note->request))
        ASSERT(false);
    list_push_back(&out->notes, &note->link);
}

static void put_told(struct fs_locks *l, const struct lm_range_report *r)
{
    enum { ROOM_MIN = 64 };
    fs_report_lock *more;

    if (l->told.count == l->told.room) {
        size_t room = l->told.room ? 2 * l->told.room : ROOM_MIN;

        more = reallocarray(l->told.locks, room, sizeof *more);
        if (!more) {
            l->told.failed = true;
            return;
        }
        l->told.locks = more;
        l->told.room = room;
    }
    l->told.locks[l->told.count++] =
        (fs_report_lock){.right = r->right, .lock = lock_to_wire(&r->range)};
}

static void put_ended(struct outbox *out, struct fs_lock_call *call,
                      enum err error)
{
    call->error = error;
    call->has_ended = true;
    list_remove(&call->link);
    list_push_back(&out->ended, &call->link);
}

static void put(struct lm_range_client_sink *sink,
                const struct lm_range_client_effect *effect)
{
    struct outbox *out = container_of(sink, struct outbox, sink);
    struct fs_lock_call *call;

    switch (effect->type) {
    case LM_RANGE_SEND: put_note(out, effect->request); break;
    case LM_RANGE_TELL: put_told(out->l, effect->report); break;
    case LM_RANGE_RESULT:
        call = container_of(effect->call, struct fs_lock_call, core);
        call->other.type = LM_UNLCK;
        if (effect->other)
            call->other = *effect->other;
        put_ended(out, call, effect->error);
        break;
    }
}

static void begin(struct fs_locks *l, struct outbox *out)
{
    *out = (struct outbox){.sink.put = put, .l = l};
    list_init(&out->notes);
    list_init(&out->ended);
    pthread_mutex_lock(&l->mutex);
}

/* lock: l->mutex */
static void step(struct fs_locks *l, struct outbox *out,
                 const struct lm_range_client_event *event)
{
    struct diag why = {0};
    enum err e;

    if (!l->core)
        return;
    e = lm_range_client_step(l->core, event, &out->sink, &why);
    if (!e || e == E_EPOCH || e == E_FENCED || l->complained)
        return; /* an old answer */
    l->complained = true;
    log_warning("locks: %s", diag_text(&why, e));
}

/* lock: l->mutex */
static bool is_idle(const struct fs_locks *l)
{
    return !l->is_confirming && list_empty(&l->calls) &&
           (!l->core || !lm_range_client_busy(l->core));
}

static void call_done(struct task *task)
{
    struct fs_lock_call *call = container_of(task, struct fs_lock_call, task);

    call->done(call);
}

static void end_call(struct fs_lock_call *call)
{
    call->task.run = call_done;
    if (call->loop == loop_self())
        call->done(call);
    else
        loop_post(call->loop, &call->task);
}

static void confirmed(struct fs_call *call);

/* Carry it all out; the last of it may be the end of `l`. */
static void end(struct fs_locks *l, struct outbox *out)
{
    struct fs_link *link = l->link;
    struct loop *loop = l->loop;
    struct task *leaving = NULL;
    struct list *node;

    if (l->leaving && is_idle(l))
        leaving = TAKE(l->leaving);
    pthread_mutex_unlock(&l->mutex);
    if (out->confirm) {
        fs_call_init(&l->confirm, FS_OP_CONFIRM);
        l->confirm.done = confirmed;
        fs_link_send(link, &l->confirm);
    }
    while ((node = list_pop_front(&out->notes)))
        link->ops->lock(link, container_of(node, struct fs_lock_note, link));
    while ((node = list_pop_front(&out->ended)))
        end_call(container_of(node, struct fs_lock_call, link));
    if (leaving)
        loop_post(loop, leaving);
}

/* -- confirmation ---------------------------------------------------------- */

/* lock: l->mutex */
static void ask(struct fs_locks *l, struct outbox *out)
{
    if (!l->core || !l->is_used || l->is_held || l->is_confirming)
        return;
    l->is_confirming = out->confirm = true;
    l->asked = l->doubts;
}

/* lock: l->mutex */
static void doubt(struct fs_locks *l, struct outbox *out)
{
    l->doubts++;
    step(l, out, &(struct lm_range_client_event){.type = LM_RANGE_FREEZE});
}

/* lock: l->mutex */
static void refuse(struct fs_locks *l, struct outbox *out, enum err e)
{
    lm_range_client_free(TAKE(l->core));
    l->refusal = e;
    list_for_each (node, &l->calls)
        put_ended(out, container_of(node, struct fs_lock_call, link), e);
}

/* lock: l->mutex */
static void enter_epoch(struct fs_locks *l, struct outbox *out, uint64_t epoch)
{
    l->told.count = l->told.given = 0;
    l->told.failed = false;
    l->epoch = epoch;
    step(l, out,
         &(struct lm_range_client_event){.type = LM_RANGE_EPOCH,
                                         .epoch = epoch});
}

/* A link that ends in this process reports nothing: its epoch is new to us, and
 * we have nothing. */
static void confirmed(struct fs_call *call)
{
    struct fs_locks *l = container_of(call, struct fs_locks, confirm);
    enum err e = (enum err)call->reply.error;
    uint64_t epoch = call->reply.epoch;
    struct outbox out;

    fs_call_fini(call);
    begin(l, &out);
    l->is_confirming = false;
    if (e && e != E_VERSION) { /* that may be mended: `ready` will tell */
        refuse(l, &out, e);
    } else if (e) {
        doubt(l, &out);
    } else if (l->asked != l->doubts) {
        ask(l, &out);
    } else {
        if (epoch != l->epoch)
            enter_epoch(l, &out, epoch);
        step(l, &out,
             &(struct lm_range_client_event){.type = LM_RANGE_CONFIRM});
    }
    end(l, &out);
}

void fs_locks_ready(struct fs_locks *l)
{
    struct outbox out;

    begin(l, &out);
    ask(l, &out);
    end(l, &out);
}

void fs_locks_lost(struct fs_locks *l, enum err e)
{
    struct outbox out;

    begin(l, &out);
    doubt(l, &out);
    if (e && l->core)
        refuse(l, &out, e);
    end(l, &out);
}

void fs_locks_hold(struct fs_locks *l, bool held)
{
    struct outbox out;

    begin(l, &out);
    l->is_held = held;
    doubt(l, &out);
    ask(l, &out);
    end(l, &out);
}

/* -- reports and answers --------------------------------------------------- */

enum err fs_locks_epoch(struct fs_locks *l, uint64_t epoch)
{
    struct outbox out;
    enum err e;

    begin(l, &out);
    doubt(l, &out);
    enter_epoch(l, &out, epoch);
    e = l->told.failed ? E_NOMEM : E_OK;
    end(l, &out);
    return e;
}

enum err fs_locks_report(struct fs_locks *l, fs_report_args *report,
                         bool *ret_last)
{
    fs_report_lock *locks;
    size_t count;

    pthread_mutex_lock(&l->mutex);
    count = min_u64(l->told.count - l->told.given, FS_REPORT_LOCKS_MAX);
    locks = calloc(count + 1, sizeof *locks);
    if (locks && count)
        memcpy(locks, l->told.locks + l->told.given, count * sizeof *locks);
    if (locks)
        l->told.given += count;
    *ret_last = l->told.given == l->told.count;
    pthread_mutex_unlock(&l->mutex);
    report->locks.locks_val = locks;
    report->locks.locks_len = locks ? (u_int)count : 0;
    return locks ? E_OK : E_NOMEM;
}

void fs_locks_answered(struct fs_locks *l, const fs_lock_answer *answer)
{
    const struct lm_range_answer a = lock_answer_from_wire(answer, &l->self);
    struct outbox out;

    begin(l, &out);
    step(
        l, &out,
        &(struct lm_range_client_event){.type = LM_RANGE_ANSWER, .answer = &a});
    end(l, &out);
}

/* -- calls ----------------------------------------------------------------- */

void fs_locks_submit(struct fs_locks *l, struct fs_lock_call *call)
{
    struct outbox out;

    call->loop = loop_self();
    ASSERT(call->loop != NULL);
    call->link = (struct list){0};
    call->has_ended = false;
    begin(l, &out);
    list_push_back(&l->calls, &call->link);
    if (!l->core) {
        put_ended(&out, call, l->refusal);
    } else {
        if (!l->is_used) {
            l->is_used = true;
            ask(l, &out);
        }
        step(l, &out,
             &(struct lm_range_client_event){.type = LM_RANGE_CALL,
                                             .call = &call->core});
    }
    end(l, &out);
}

void fs_locks_cancel(struct fs_locks *l, struct fs_lock_call *call)
{
    struct outbox out;

    begin(l, &out);
    if (l->core && !call->has_ended) /* its task may be on its way here */
        step(l, &out,
             &(struct lm_range_client_event){.type = LM_RANGE_CANCEL,
                                             .call = &call->core});
    end(l, &out);
}

void fs_locks_forget(struct fs_locks *l, fs_ino ino)
{
    struct outbox out;

    begin(l, &out);
    step(l, &out,
         &(struct lm_range_client_event){.type = LM_RANGE_FORGET, .file = ino});
    end(l, &out);
}

void fs_locks_each(struct fs_locks *l, fs_ino ino, lm_ranges_fn *fn, void *arg)
{
    pthread_mutex_lock(&l->mutex);
    if (l->core)
        lm_ranges_each(lm_range_client_table(l->core), ino, fn, arg);
    pthread_mutex_unlock(&l->mutex);
}

bool fs_locks_is_own(const struct fs_locks *l, const struct lm_peer *peer)
{
    return lm_same_peer(&l->self, peer);
}

/* -- birth and death ------------------------------------------------------- */

enum err fs_locks_new(struct fs_link *link, struct loop *loop,
                      struct fs_locks **ret_locks)
{
    AUTO(freep) struct fs_locks *l = calloc(1, sizeof *l);
    enum err e;

    if (!l)
        return E_NOMEM;
    l->link = link;
    l->loop = loop;
    l->self = lock_peer(&link->self);
    list_init(&l->calls);
    e = lm_range_client_new(&l->self, FS_LOCKS_MAX, &l->core);
    if (e)
        return e;
    pthread_mutex_init(&l->mutex, NULL);
    *ret_locks = TAKE(l);
    return E_OK;
}

void fs_locks_leave(struct fs_locks *l, struct task *task)
{
    struct outbox out;

    begin(l, &out);
    l->leaving = task;
    end(l, &out);
}

void fs_locks_free(struct fs_locks *l)
{
    if (!l)
        return;
    ASSERT(list_empty(&l->calls));
    lm_range_client_free(l->core);
    pthread_mutex_destroy(&l->mutex);
    free(l->told.locks);
    free(l);
}
