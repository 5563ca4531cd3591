/* lockmgr/range_client.c - a node's byte-range locks: decides alone where it
 * has the right, asks the range master elsewhere.
 * Sends nothing by itself, waits for nobody, asks no clock.
 *
 * Calls for a file queue in it and are taken in order: carried out here, or
 * sent, each in a slot of its own.  A right goes back when no request for the
 * file is under way, so that none is left that the master could carry out after
 * the locks have changed.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/hash.h"
#include "lockmgr/lockmgr.h"

#include <inttypes.h>

struct lm_range_file {
    struct lm_hash_node in_hash;
    uint64_t number;
    uint64_t right;    /* 0: the master decides */
    uint64_t recalled; /* a right that has not come, or never will */
    bool is_wanted;    /* the right has to go back */
    bool is_returning; /* it is under way */
    size_t sent_count; /* requests under way */
    struct list calls; /* struct lm_range_call, not taken yet */
};

struct sent {
    uint64_t seq;
    struct lm_range_file *file; /* NULL: the slot is free */
    struct lm_range_call *call; /* NULL: RETURN */
};

struct lm_range_client {
    struct lm_peer self;
    size_t max;
    uint64_t epoch;
    bool is_frozen;
    struct lm_ranges *own;
    struct lm_hash files;
    struct sent sent[LM_RANGE_SLOTS];
    size_t sent_count;
};

enum err lm_range_client_new(const struct lm_peer *self, size_t max,
                             struct lm_range_client **ret_client)
{
    struct lm_range_client *c = calloc(1, sizeof *c);

    if (!c)
        return E_NOMEM;
    c->self = *self;
    c->max = max;
    c->is_frozen = true;
    if (lm_hash_init(&c->files) || lm_ranges_new(SIZE_MAX, &c->own)) {
        lm_hash_fini(&c->files);
        free(c);
        return E_NOMEM;
    }
    *ret_client = c;
    return E_OK;
}

void lm_range_client_free(struct lm_range_client *c)
{
    if (!c)
        return;
    lm_hash_for_each (node, &c->files)
        free(container_of(node, struct lm_range_file, in_hash));
    lm_hash_fini(&c->files);
    lm_ranges_free(c->own);
    free(c);
}

const struct lm_ranges *lm_range_client_table(const struct lm_range_client *c)
{
    return c->own;
}

size_t lm_range_client_busy(const struct lm_range_client *c)
{
    return c->sent_count;
}

/* -- files ----------------------------------------------------------------- */

static struct lm_range_file *find_file(const struct lm_range_client *c,
                                       uint64_t number)
{
    uint64_t hash = lm_hash_mix(number, 0);
    struct lm_hash_node *node = lm_hash_first(&c->files, hash);

    for (; node; node = lm_hash_skip(node->next, hash)) {
        struct lm_range_file *f =
            container_of(node, struct lm_range_file, in_hash);

        if (f->number == number)
            return f;
    }
    return NULL;
}

static struct lm_range_file *get_file(struct lm_range_client *c,
                                      uint64_t number)
{
    struct lm_range_file *f = find_file(c, number);

    if (f)
        return f;
    f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->number = number;
    list_init(&f->calls);
    lm_hash_add(&c->files, &f->in_hash, lm_hash_mix(number, 0));
    return f;
}

static void put_file(struct lm_range_client *c, struct lm_range_file *f)
{
    if (f->right || f->sent_count || !list_empty(&f->calls))
        return;
    lm_hash_remove(&c->files, &f->in_hash);
    free(f);
}

/* -- what is told ---------------------------------------------------------- */

static void result(struct lm_range_call *call, enum err error,
                   const struct lm_range *other,
                   struct lm_range_client_sink *sink)
{
    sink->put(sink, &(struct lm_range_client_effect){.type = LM_RANGE_RESULT,
                                                     .call = call,
                                                     .error = error,
                                                     .other = other});
}

struct gathered {
    struct lm_range *locks;
    size_t count;
};

static void count_lock(void *arg, const struct lm_range *r)
{
    (void)r;
    ++*(size_t *)arg;
}

static void gather(void *arg, const struct lm_range *r)
{
    struct gathered *g = arg;

    g->locks[g->count++] = *r;
}

static void send_return(struct lm_range_client *c, struct lm_range_file *f,
                        struct lm_range_request *q,
                        struct lm_range_client_sink *sink)
{
    AUTO(freep) struct lm_range *locks = NULL;
    struct gathered g = {0};
    size_t count = 0;

    if (f->right)
        lm_ranges_each(c->own, f->number, count_lock, &count);
    locks = calloc(count + 1, sizeof *locks);
    if (!locks)
        return; /* RESEND tries again */
    g.locks = locks;
    if (f->right)
        lm_ranges_each(c->own, f->number, gather, &g);
    q->op = LM_RANGE_RETURN;
    q->range.file = f->number;
    q->right = f->right ? f->right : f->recalled;
    q->locks = locks;
    q->lock_count = count;
    sink->put(sink, &(struct lm_range_client_effect){.type = LM_RANGE_SEND,
                                                     .request = q});
}

/* What is in the slot; held back while we are frozen. */
static void send(struct lm_range_client *c, uint32_t slot,
                 struct lm_range_client_sink *sink)
{
    const struct sent *s = &c->sent[slot];
    struct lm_range_request q = {
        .from = c->self, .epoch = c->epoch, .slot = slot, .seq = s->seq};

    if (c->is_frozen)
        return;
    if (!s->call) {
        send_return(c, s->file, &q, sink);
        return;
    }
    q.op = s->call->op == LM_RANGE_CALL_TEST ? LM_RANGE_TEST : LM_RANGE_SET;
    q.range = s->call->range;
    q.waits = s->call->waits && !s->call->is_canceled;
    sink->put(sink, &(struct lm_range_client_effect){.type = LM_RANGE_SEND,
                                                     .request = &q});
}

/* Into a free slot.  False: there is none.  A flock that is converted is gone
 * from now on, whatever the answer. */
static bool ask(struct lm_range_client *c, struct lm_range_file *f,
                struct lm_range_call *call, struct lm_range_client_sink *sink)
{
    uint32_t slot = 0;

    while (slot < LM_RANGE_SLOTS && c->sent[slot].file)
        slot++;
    if (slot == LM_RANGE_SLOTS)
        return false;
    c->sent[slot].seq++;
    c->sent[slot].file = f;
    c->sent[slot].call = call;
    c->sent_count++;
    f->sent_count++;
    if (call)
        call->is_sent = true;
    if (call && call->op == LM_RANGE_CALL_SET &&
        call->range.owner.kind == LM_FLOCK)
        lm_ranges_weaken(c->own, &call->range);
    send(c, slot, sink);
    return true;
}

/* -- calls ----------------------------------------------------------------- */

/* Room in the master's table for this lock, whatever becomes of those under
 * way? */
static bool has_room(const struct lm_range_client *c)
{
    return lm_ranges_used(c->own, &c->self) +
               LM_RANGE_PIECES * (c->sent_count + 1) <=
           c->max;
}

/* Decide alone.  False: it has to wait, so that the master decides. */
static bool decide(struct lm_range_client *c, struct lm_range_file *f,
                   struct lm_range_call *call,
                   struct lm_range_client_sink *sink)
{
    struct lm_range other = {.type = LM_UNLCK};
    enum err e = E_OK;

    if (call->op == LM_RANGE_CALL_TEST) {
        if (!lm_ranges_test(c->own, &call->range, &other))
            other.type = LM_UNLCK;
    } else if (call->range.type != LM_UNLCK && !has_room(c)) {
        e = E_NOLCK;
    } else {
        e = lm_ranges_set(c->own, &call->range);
    }
    if (e == E_AGAIN && call->waits && !call->is_canceled) {
        f->is_wanted = true;
        return false;
    }
    result(call, e == E_AGAIN && call->is_canceled ? E_CANCELED : e, &other,
           sink);
    return true;
}

/* Has the owner a request for the file under way?  Answers may come in another
 * order than the master decided in.  A wait of another thread is none; DROP
 * cancels it. */
static bool owner_is_busy(struct lm_range_client *c,
                          const struct lm_range_call *next,
                          struct lm_range_client_sink *sink)
{
    bool is_busy = false;

    for (uint32_t i = 0; i < LM_RANGE_SLOTS; i++) {
        struct lm_range_call *call = c->sent[i].call;

        if (!call || call->range.file != next->range.file ||
            call->range.owner.kind != next->range.owner.kind ||
            call->range.owner.key != next->range.owner.key)
            continue;
        if (!call->waits || call->is_canceled) {
            is_busy = true;
        } else if (next->op == LM_RANGE_CALL_DROP) {
            is_busy = call->is_canceled = true;
            send(c, i, sink);
        }
    }
    return is_busy;
}

/* Take the first call.  False: it cannot be taken now. */
static bool take(struct lm_range_client *c, struct lm_range_file *f,
                 struct lm_range_call *call, struct lm_range_client_sink *sink)
{
    if (f->sent_count && owner_is_busy(c, call, sink))
        return false;
    if (f->right && !f->is_wanted)
        return decide(c, f, call, sink);
    if (f->right)
        return false; /* it goes back first */
    if (call->op == LM_RANGE_CALL_SET && call->range.type != LM_UNLCK &&
        !has_room(c)) {
        result(call, E_NOLCK, NULL, sink);
        return true;
    }
    if (!ask(c, f, call, sink))
        result(call, E_NOLCK, NULL, sink);
    return true;
}

/* Do what can be done now.  The file may be gone afterwards. */
static void advance(struct lm_range_client *c, struct lm_range_file *f,
                    struct lm_range_client_sink *sink)
{
    while (!c->is_frozen && !f->is_returning && !list_empty(&f->calls)) {
        struct list *node = list_pop_front(&f->calls);
        struct lm_range_call *call =
            container_of(node, struct lm_range_call, in_file);

        if (take(c, f, call, sink))
            continue;
        list_push_front(&f->calls, node);
        break;
    }
    if (!f->sent_count && (f->right ? f->is_wanted : f->recalled != 0))
        f->is_returning = ask(c, f, NULL, sink);
    put_file(c, f);
}

static void call_begins(struct lm_range_client *c, struct lm_range_call *call,
                        struct lm_range_client_sink *sink)
{
    struct lm_range_file *f;

    call->range.owner.peer = c->self;
    if (call->op == LM_RANGE_CALL_DROP) {
        call->range.type = LM_UNLCK;
        call->range.first = 0;
        call->range.last = LM_RANGE_LAST;
    }
    f = get_file(c, call->range.file);
    if (!f) {
        result(call, E_NOMEM, NULL, sink);
        return;
    }
    call->file = f;
    call->is_sent = call->is_canceled = false;
    call->in_file = (struct list){0};
    list_push_back(&f->calls, &call->in_file);
    advance(c, f, sink);
}

static void cancel(struct lm_range_client *c, struct lm_range_call *call,
                   struct lm_range_client_sink *sink)
{
    if (!call->waits || call->is_canceled)
        return;
    call->is_canceled = true;
    for (uint32_t i = 0; call->is_sent && i < LM_RANGE_SLOTS; i++)
        if (c->sent[i].file && c->sent[i].call == call)
            send(c, i, sink);
    if (call->is_sent)
        return;
    list_remove(&call->in_file);
    result(call, E_CANCELED, NULL, sink);
    advance(c, call->file, sink);
}

/* -- answers --------------------------------------------------------------- */

static void take_again(struct lm_range_file *f, struct lm_range_call *call)
{
    call->is_sent = false;
    call->in_file = (struct list){0};
    list_push_front(&f->calls, &call->in_file);
}

static void is_decided(struct lm_range_client *c, struct lm_range_file *f,
                       struct lm_range_call *call,
                       const struct lm_range_answer *a,
                       struct lm_range_client_sink *sink)
{
    enum err e = a->error;

    if (!e && call->op != LM_RANGE_CALL_TEST &&
        lm_ranges_set(c->own, &call->range)) {
        take_again(f, call); /* no memory to note it: once more */
        return;
    }
    if (e == E_AGAIN && call->is_canceled)
        e = E_CANCELED;
    result(call, e, &a->other, sink);
}

/* The right has come: it is good for this call, even if it is wanted back. */
static void is_ours(struct lm_range_client *c, struct lm_range_file *f,
                    struct lm_range_call *call, const struct lm_range_answer *a,
                    struct lm_range_client_sink *sink)
{
    f->right = a->right;
    if (f->recalled == a->right)
        f->is_wanted = true;
    f->recalled = 0;
    if (c->is_frozen || !decide(c, f, call, sink))
        take_again(f, call);
}

static void answered(struct lm_range_client *c, struct sent *s,
                     const struct lm_range_answer *a,
                     struct lm_range_client_sink *sink)
{
    struct lm_range_file *f = s->file;
    struct lm_range_call *call = s->call;

    s->file = NULL;
    s->call = NULL;
    f->sent_count--;
    c->sent_count--;
    if (!call) {
        f->right = f->recalled = 0;
        f->is_wanted = f->is_returning = false;
    } else if (a->op == LM_RANGE_LOCAL) {
        is_ours(c, f, call, a, sink);
    } else {
        is_decided(c, f, call, a, sink);
    }
    advance(c, f, sink);
}

/* A right that we do not have comes with an answer that is still on its way;
 * if no request is under way it came with a late one, and goes back all the
 * same. */
static void recalled(struct lm_range_client *c, const struct lm_range_answer *a,
                     struct lm_range_client_sink *sink)
{
    struct lm_range_file *f = get_file(c, a->file);

    if (!f)
        return; /* it is recalled again */
    if (f->right == a->right)
        f->is_wanted = true;
    else if (!f->right)
        f->recalled = max_u64(f->recalled, a->right);
    advance(c, f, sink);
}

static enum err check_answer(const struct lm_range_client *c,
                             const struct lm_range_answer *a, struct diag *why)
{
    if (a->epoch != c->epoch)
        return diag_fail(why, E_EPOCH,
                         "answer of epoch %" PRIu64 ", this is %" PRIu64,
                         a->epoch, c->epoch);
    if (!lm_same_peer(&a->to, &c->self))
        return diag_fail(why, E_FENCED,
                         "answer for incarnation %" PRIu64 " of node %" PRIu32,
                         a->to.incarnation, a->to.node);
    if ((unsigned)a->op > LM_RANGE_RECALL || a->slot >= LM_RANGE_SLOTS ||
        !a->file || (a->op != LM_RANGE_DONE && !a->right))
        return diag_fail(why, E_PROTOCOL,
                         "answer %d in slot %" PRIu32 " for file %" PRIu64,
                         a->op, a->slot, a->file);
    return E_OK;
}

static enum err answer(struct lm_range_client *c,
                       const struct lm_range_answer *a,
                       struct lm_range_client_sink *sink, struct diag *why)
{
    enum err e = check_answer(c, a, why);
    struct sent *s;

    if (e)
        return e;
    if (a->op == LM_RANGE_RECALL) {
        recalled(c, a, sink);
        return E_OK;
    }
    s = &c->sent[a->slot];
    if (!s->file || s->seq != a->seq)
        return E_OK; /* late */
    if (s->file->number != a->file || (!s->call && a->op != LM_RANGE_DONE) ||
        (a->op == LM_RANGE_LOCAL && s->file->right &&
         s->file->right != a->right))
        return diag_fail(why, E_PROTOCOL,
                         "slot %" PRIu32 ": answer %d for file %" PRIu64,
                         a->slot, a->op, a->file);
    answered(c, s, a, sink);
    return E_OK;
}

/* -- views ----------------------------------------------------------------- */

struct teller {
    struct lm_range_client *c;
    struct lm_range_client_sink *sink;
};

static void tell(void *arg, const struct lm_range *r)
{
    struct teller *t = arg;
    const struct lm_range_file *f = find_file(t->c, r->file);
    const struct lm_range_report report = {
        .from = t->c->self, .epoch = t->c->epoch, .range = *r};

    if (!f || !f->right)
        t->sink->put(t->sink, &(struct lm_range_client_effect){
                                  .type = LM_RANGE_TELL, .report = &report});
}

/* What a request under way gives up may be given up already, and others may
 * have it: we claim it no more. */
static void weaken(struct lm_range_client *c)
{
    for (uint32_t i = 0; i < LM_RANGE_SLOTS; i++) {
        const struct lm_range_call *call = c->sent[i].call;

        if (call && call->op != LM_RANGE_CALL_TEST)
            lm_ranges_weaken(c->own, &call->range);
        else if (c->sent[i].file && !call) /* RETURN */
            c->sent[i].file->right = 0;
    }
}

static void epoch(struct lm_range_client *c, uint64_t number,
                  struct lm_range_client_sink *sink)
{
    struct teller t = {c, sink};

    c->epoch = number;
    c->is_frozen = true;
    weaken(c);
    lm_ranges_each(c->own, 0, tell, &t);
    lm_hash_for_each (node, &c->files) {
        struct lm_range_file *f =
            container_of(node, struct lm_range_file, in_hash);
        const struct lm_range_report report = {.from = c->self,
                                               .epoch = number,
                                               .right = f->right,
                                               .range = {.file = f->number}};

        f->recalled = 0;
        if (f->right)
            sink->put(sink, &(struct lm_range_client_effect){
                                .type = LM_RANGE_TELL, .report = &report});
    }
}

static void resend(struct lm_range_client *c, struct lm_range_client_sink *sink)
{
    for (uint32_t i = 0; i < LM_RANGE_SLOTS; i++)
        if (c->sent[i].file)
            send(c, i, sink);
}

static void confirm(struct lm_range_client *c,
                    struct lm_range_client_sink *sink)
{
    c->is_frozen = false;
    resend(c, sink);
    lm_hash_for_each (node, &c->files)
        advance(c, container_of(node, struct lm_range_file, in_hash), sink);
}

static void forget(struct lm_range_client *c, uint64_t number,
                   struct lm_range_client_sink *sink)
{
    struct lm_range_file *f = find_file(c, number);

    if (!f || !f->right)
        return;
    f->is_wanted = true;
    advance(c, f, sink);
}

enum err lm_range_client_step(struct lm_range_client *c,
                              const struct lm_range_client_event *event,
                              struct lm_range_client_sink *sink,
                              struct diag *why)
{
    switch (event->type) {
    case LM_RANGE_CALL: call_begins(c, event->call, sink); return E_OK;
    case LM_RANGE_CANCEL: cancel(c, event->call, sink); return E_OK;
    case LM_RANGE_FORGET: forget(c, event->file, sink); return E_OK;
    case LM_RANGE_ANSWER: return answer(c, event->answer, sink, why);
    case LM_RANGE_RESEND: resend(c, sink); return E_OK;
    case LM_RANGE_FREEZE: c->is_frozen = true; return E_OK;
    case LM_RANGE_EPOCH: epoch(c, event->epoch, sink); return E_OK;
    case LM_RANGE_CONFIRM: confirm(c, sink); return E_OK;
    }
    ASSERT(false);
    return E_INVAL;
}
