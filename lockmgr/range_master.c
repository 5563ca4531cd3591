/* lockmgr/range_master.c - the byte-range locks of all nodes, and the rights
 * to decide alone.  Sends nothing by itself, waits for nobody, asks no clock.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/list.h"
#include "lockmgr/hash.h"
#include "lockmgr/lockmgr.h"

#include <inttypes.h>

struct slot {
    uint64_t seq;
    enum { SLOT_FREE, SLOT_BUSY, SLOT_DONE } state;
    struct lm_range_request request; /* BUSY: without its locks */
    struct lm_range_answer answer;   /* DONE */
    struct peer *peer;
    struct list in_right; /* BUSY: until that right has come back */
};

/* One run of a node. */
struct peer {
    struct lm_peer name;
    struct list in_master;
    struct slot *slots; /* NULL: gone; the row refuses what comes late */
    size_t right_count;
};

/* A file that one node decides about alone, or whose right is on its way
 * back. */
struct right {
    struct lm_hash_node in_hash;
    uint64_t file;
    uint64_t number;
    struct peer *holder; /* NULL: fenced, while the master does not serve */
    bool is_recalled;
    struct list asked; /* struct slot, who wait for it */
};

struct lm_range_master {
    uint64_t epoch;
    size_t max;
    bool is_serving;
    uint64_t last_right;
    struct lm_ranges *table;
    struct lm_hash rights;
    struct list peers;
};

enum err lm_range_master_new(uint64_t epoch, size_t max,
                             struct lm_range_master **ret_master)
{
    struct lm_range_master *m = calloc(1, sizeof *m);

    if (!m)
        return E_NOMEM;
    m->epoch = epoch;
    m->max = max;
    list_init(&m->peers);
    if (lm_hash_init(&m->rights) || lm_ranges_new(max, &m->table)) {
        lm_hash_fini(&m->rights);
        free(m);
        return E_NOMEM;
    }
    *ret_master = m;
    return E_OK;
}

void lm_range_master_free(struct lm_range_master *m)
{
    if (!m)
        return;
    lm_hash_for_each (node, &m->rights)
        free(container_of(node, struct right, in_hash));
    list_for_each (node, &m->peers) {
        struct peer *p = container_of(node, struct peer, in_master);

        free(p->slots);
        free(p);
    }
    lm_hash_fini(&m->rights);
    lm_ranges_free(m->table);
    free(m);
}

const struct lm_ranges *lm_range_master_table(const struct lm_range_master *m)
{
    return m->table;
}

/* -- finding --------------------------------------------------------------- */

static struct peer *find_peer(const struct lm_range_master *m,
                              const struct lm_peer *name)
{
    list_for_each (node, &m->peers) {
        struct peer *p = container_of(node, struct peer, in_master);

        if (lm_same_peer(&p->name, name))
            return p;
    }
    return NULL;
}

static struct peer *get_peer(struct lm_range_master *m,
                             const struct lm_peer *name)
{
    struct peer *p = find_peer(m, name);

    if (p)
        return p;
    p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->slots = calloc(LM_RANGE_SLOTS, sizeof *p->slots);
    if (!p->slots) {
        free(p);
        return NULL;
    }
    for (unsigned i = 0; i < LM_RANGE_SLOTS; i++)
        p->slots[i].peer = p;
    p->name = *name;
    list_push_back(&m->peers, &p->in_master);
    return p;
}

static bool is_gone(const struct lm_range_master *m, const struct lm_peer *name)
{
    list_for_each (node, &m->peers) {
        struct peer *p = container_of(node, struct peer, in_master);

        if (!p->slots && p->name.node == name->node &&
            p->name.incarnation >= name->incarnation)
            return true;
    }
    return false;
}

static struct right *find_right(const struct lm_range_master *m, uint64_t file)
{
    uint64_t hash = lm_hash_mix(file, 0);
    struct lm_hash_node *node = lm_hash_first(&m->rights, hash);

    for (; node; node = lm_hash_skip(node->next, hash)) {
        struct right *r = container_of(node, struct right, in_hash);

        if (r->file == file)
            return r;
    }
    return NULL;
}

static struct right *new_right(struct lm_range_master *m, uint64_t file,
                               uint64_t number, struct peer *holder)
{
    struct right *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->file = file;
    r->number = number;
    r->holder = holder;
    holder->right_count++;
    list_init(&r->asked);
    lm_hash_add(&m->rights, &r->in_hash, lm_hash_mix(file, 0));
    return r;
}

/* -- answers --------------------------------------------------------------- */

static void answer(struct lm_range_master *m, struct slot *s,
                   enum lm_range_answer_op op, enum err error,
                   struct lm_range_sink *sink)
{
    s->state = SLOT_DONE;
    s->answer.op = op;
    s->answer.to = s->peer->name;
    s->answer.epoch = m->epoch;
    s->answer.slot = s->request.slot;
    s->answer.seq = s->seq;
    s->answer.file = s->request.range.file;
    s->answer.error = error;
    sink->put(sink, &s->answer);
}

static void done(struct lm_range_master *m, struct slot *s, enum err error,
                 struct lm_range_sink *sink)
{
    answer(m, s, LM_RANGE_DONE, error, sink);
}

static void recall(struct lm_range_master *m, struct right *r,
                   struct lm_range_sink *sink)
{
    r->is_recalled = true;
    sink->put(sink, &(struct lm_range_answer){.op = LM_RANGE_RECALL,
                                              .to = r->holder->name,
                                              .epoch = m->epoch,
                                              .file = r->file,
                                              .right = r->number});
}

/* Those who waited for what is free now. */
static void serve_waiters(struct lm_range_master *m, uint64_t file,
                          struct lm_range_sink *sink)
{
    struct lm_peer name;
    uint64_t id;

    while (lm_ranges_serve(m->table, file, &name, &id)) {
        struct peer *p = find_peer(m, &name);

        ASSERT(p);
        ASSERT(p->slots);
        done(m, &p->slots[id], E_OK, sink);
    }
}

/* -- requests -------------------------------------------------------------- */

static void set(struct lm_range_master *m, struct slot *s,
                struct lm_range_sink *sink)
{
    const struct lm_range_request *q = &s->request;
    enum err e = lm_ranges_set(m->table, &q->range);

    if (e == E_AGAIN && q->waits) {
        e = lm_ranges_wait(m->table, &q->range, q->slot);
        if (!e)
            return;
    }
    done(m, s, e, sink);
    serve_waiters(m, q->range.file, sink);
}

static bool may_decide_alone(const struct lm_range_master *m,
                             const struct slot *s)
{
    return s->request.range.type != LM_UNLCK &&
           lm_ranges_is_free(m->table, s->request.range.file) &&
           s->peer->right_count < m->max;
}

static void run(struct lm_range_master *m, struct slot *s,
                struct lm_range_sink *sink)
{
    const struct lm_range_request *q = &s->request;
    struct right *r = find_right(m, q->range.file);

    if (!r && may_decide_alone(m, s))
        r = new_right(m, q->range.file, ++m->last_right, s->peer);
    if (r && r->holder == s->peer) {
        s->answer.right = r->number;
        answer(m, s, LM_RANGE_LOCAL, E_OK, sink);
        return;
    }
    if (r) {
        list_push_back(&r->asked, &s->in_right);
        if (!r->is_recalled)
            recall(m, r, sink);
        return;
    }
    if (q->op == LM_RANGE_SET) {
        set(m, s, sink);
        return;
    }
    if (!lm_ranges_test(m->table, &q->range, &s->answer.other))
        s->answer.other.type = LM_UNLCK;
    done(m, s, E_OK, sink);
}

/* Nobody has the right any more: who asked is served, in order. */
static void end_right(struct lm_range_master *m, struct right *r,
                      struct lm_range_sink *sink)
{
    struct list asked, *node;

    list_init(&asked);
    while ((node = list_pop_front(&r->asked)))
        list_push_back(&asked, node);
    if (r->holder)
        r->holder->right_count--;
    lm_hash_remove(&m->rights, &r->in_hash);
    free(r);
    while ((node = list_pop_front(&asked)))
        run(m, container_of(node, struct slot, in_right), sink);
}

static enum err check_returned(const struct lm_range_request *q,
                               struct diag *why)
{
    for (size_t i = 0; i < q->lock_count; i++) {
        const struct lm_range *lock = &q->locks[i];
        enum err e = lm_range_check(lock, why);

        if (!e && (lock->file != q->range.file || lock->type == LM_UNLCK ||
                   !lm_same_peer(&lock->owner.peer, &q->from)))
            e = diag_fail(why, E_INVAL, "it is another's");
        if (e) {
            (void)diag_prefix(why, e, "node %" PRIu32 ": returned lock %zu",
                              q->from.node, i);
            return E_PROTOCOL;
        }
    }
    return E_OK;
}

static enum err take_returned(struct lm_range_master *m,
                              const struct lm_range_request *q,
                              struct diag *why)
{
    enum err e = E_OK;
    size_t i;

    for (i = 0; !e && i < q->lock_count; i++)
        e = lm_ranges_set(m->table, &q->locks[i]);
    if (!e)
        return E_OK;
    while (i-- > 0) { /* there were none before, so that none stay */
        struct lm_range undo = q->locks[i];

        undo.type = LM_UNLCK;
        (void)!lm_ranges_set(m->table, &undo);
    }
    if (e == E_AGAIN)
        return diag_fail(why, E_PROTOCOL,
                         "node %" PRIu32 ": the locks of file %" PRIu64
                         " exclude each other",
                         q->from.node, q->range.file);
    return diag_fail(why, e, "node %" PRIu32 ": %zu locks of file %" PRIu64,
                     q->from.node, q->lock_count, q->range.file);
}

/* A right that is not the present one has come back before. */
static enum err take_back(struct lm_range_master *m, struct slot *s,
                          const struct lm_range_request *q,
                          struct lm_range_sink *sink, struct diag *why)
{
    struct right *r = find_right(m, q->range.file);
    bool is_present = r && r->holder == s->peer && r->number == q->right;
    enum err e = is_present ? take_returned(m, q, why) : E_OK;

    if (e)
        return e;
    s->seq = q->seq;
    s->request = *q;
    s->request.locks = NULL;
    done(m, s, E_OK, sink);
    if (is_present)
        end_right(m, r, sink);
    return E_OK;
}

/* The same request again. */
static void repeat(struct lm_range_master *m, struct slot *s,
                   const struct lm_range_request *q, struct lm_range_sink *sink)
{
    if (s->state == SLOT_DONE) {
        sink->put(sink, &s->answer);
        return;
    }
    if (!s->request.waits || q->waits)
        return;
    s->request.waits = false;
    if (lm_ranges_cancel(m->table, &s->peer->name, q->slot))
        run(m, s, sink);
}

static enum err request(struct lm_range_master *m,
                        const struct lm_range_request *q,
                        struct lm_range_sink *sink, struct diag *why)
{
    struct peer *p = get_peer(m, &q->from);
    struct slot *s = p ? &p->slots[q->slot] : NULL;

    if (!s)
        return diag_fail(why, E_NOMEM, "node %" PRIu32, q->from.node);
    if (q->seq < s->seq)
        return E_OK; /* overtaken by a later one */
    if (q->seq == s->seq && s->state != SLOT_FREE) {
        repeat(m, s, q, sink);
        return E_OK;
    }
    if (s->state == SLOT_BUSY)
        return diag_fail(why, E_PROTOCOL,
                         "node %" PRIu32 ": slot %" PRIu32 " is in use",
                         q->from.node, q->slot);
    if (q->op == LM_RANGE_RETURN)
        return take_back(m, s, q, sink, why);
    s->seq = q->seq;
    s->state = SLOT_BUSY;
    s->request = *q;
    s->request.locks = NULL;
    run(m, s, sink);
    return E_OK;
}

/* -- recovery -------------------------------------------------------------- */

static enum err report(struct lm_range_master *m,
                       const struct lm_range_report *p, struct diag *why)
{
    struct peer *peer = get_peer(m, &p->from);
    struct right *r = find_right(m, p->range.file);
    enum err e = E_OK;

    if (!peer)
        return diag_fail(why, E_NOMEM, "node %" PRIu32, p->from.node);
    if (p->right && r && r->holder == peer && r->number == p->right)
        return E_OK; /* the same report again */
    if (r || (p->right && !lm_ranges_is_free(m->table, p->range.file)))
        e = E_AGAIN;
    else if (p->right)
        e = new_right(m, p->range.file, p->right, peer) ? E_OK : E_NOMEM;
    else
        e = lm_ranges_set(m->table, &p->range);
    if (e == E_AGAIN)
        return diag_fail(why, E_PROTOCOL,
                         "node %" PRIu32 ": what is reported of file %" PRIu64
                         " is another's",
                         p->from.node, p->range.file);
    if (e)
        return diag_fail(why, e, "node %" PRIu32 ": file %" PRIu64,
                         p->from.node, p->range.file);
    m->last_right = max_u64(m->last_right, p->right);
    return E_OK;
}

/* What one incarnation had or asked for is gone. */
static void forget(struct lm_range_master *m, struct peer *p)
{
    lm_ranges_drop(m->table, &p->name);
    for (unsigned i = 0; p->slots && i < LM_RANGE_SLOTS; i++)
        if (list_linked(&p->slots[i].in_right))
            list_remove(&p->slots[i].in_right);
    lm_hash_for_each (node, &m->rights) {
        struct right *r = container_of(node, struct right, in_hash);

        if (r->holder == p)
            r->holder = NULL;
    }
    free(p->slots);
    p->slots = NULL;
}

/* One right without a holder; they change while they end. */
static struct right *find_ownerless(const struct lm_range_master *m)
{
    lm_hash_for_each (node, &m->rights) {
        struct right *r = container_of(node, struct right, in_hash);

        if (!r->holder)
            return r;
    }
    return NULL;
}

static void serve(struct lm_range_master *m, struct lm_range_sink *sink)
{
    struct right *r;

    m->is_serving = true;
    while ((r = find_ownerless(m)))
        end_right(m, r, sink);
    serve_waiters(m, 0, sink);
}

static enum err gone(struct lm_range_master *m, const struct lm_peer *name,
                     struct lm_range_sink *sink)
{
    struct peer *last = get_peer(m, name);

    if (!last)
        return E_NOMEM;
    list_for_each (node, &m->peers) {
        struct peer *p = container_of(node, struct peer, in_master);

        if (p->name.node != name->node ||
            p->name.incarnation > name->incarnation)
            continue;
        forget(m, p);
        if (p == last)
            continue;
        list_remove(&p->in_master);
        free(p);
    }
    if (m->is_serving)
        serve(m, sink);
    return E_OK;
}

static void recall_again(struct lm_range_master *m, const struct lm_peer *name,
                         struct lm_range_sink *sink)
{
    lm_hash_for_each (node, &m->rights) {
        struct right *r = container_of(node, struct right, in_hash);

        if (r->is_recalled && r->holder && lm_same_peer(&r->holder->name, name))
            recall(m, r, sink);
    }
}

/* -- events ---------------------------------------------------------------- */

static enum err check_sender(const struct lm_range_master *m, uint64_t epoch,
                             const struct lm_peer *from, struct diag *why)
{
    if (epoch != m->epoch)
        return diag_fail(why, E_EPOCH,
                         "node %" PRIu32 " speaks in epoch %" PRIu64
                         ", this is %" PRIu64,
                         from->node, epoch, m->epoch);
    if (is_gone(m, from))
        return diag_fail(why, E_FENCED,
                         "node %" PRIu32 ", incarnation %" PRIu64 " is gone",
                         from->node, from->incarnation);
    return E_OK;
}

static enum err check_lock(const struct lm_range *r, const struct lm_peer *from,
                           struct diag *why)
{
    enum err e = lm_range_check(r, why);

    if (!e && !lm_same_peer(&r->owner.peer, from))
        e = diag_fail(why, E_INVAL, "a lock of node %" PRIu32,
                      r->owner.peer.node);
    if (!e)
        return E_OK;
    (void)diag_prefix(why, e, "node %" PRIu32, from->node);
    return E_PROTOCOL;
}

static enum err check_request(const struct lm_range_master *m,
                              const struct lm_range_request *q,
                              struct diag *why)
{
    enum err e = check_sender(m, q->epoch, &q->from, why);

    if (e)
        return e;
    if (!m->is_serving)
        return diag_fail(why, E_AGAIN, "the lock master does not serve yet");
    if ((unsigned)q->op > LM_RANGE_RETURN || q->slot >= LM_RANGE_SLOTS ||
        !q->range.file)
        return diag_fail(why, E_PROTOCOL,
                         "node %" PRIu32 ": request %d in slot %" PRIu32
                         " for file %" PRIu64,
                         q->from.node, q->op, q->slot, q->range.file);
    if (q->op == LM_RANGE_RETURN)
        return check_returned(q, why);
    return check_lock(&q->range, &q->from, why);
}

static enum err check_report(const struct lm_range_master *m,
                             const struct lm_range_report *p, struct diag *why)
{
    enum err e = check_sender(m, p->epoch, &p->from, why);

    if (e)
        return e;
    if (m->is_serving)
        return diag_fail(why, E_PROTOCOL,
                         "node %" PRIu32 ": a report after the master serves",
                         p->from.node);
    if (!p->right)
        return check_lock(&p->range, &p->from, why);
    return p->range.file ? E_OK
                         : diag_fail(why, E_PROTOCOL, "a right to file 0");
}

enum err lm_range_master_step(struct lm_range_master *m,
                              const struct lm_range_event *event,
                              struct lm_range_sink *sink, struct diag *why)
{
    enum err e;

    switch (event->type) {
    case LM_RANGE_REQUEST:
        e = check_request(m, event->request, why);
        return e ? e : request(m, event->request, sink, why);
    case LM_RANGE_REPORT:
        e = check_report(m, event->report, why);
        return e ? e : report(m, event->report, why);
    case LM_RANGE_GONE: return gone(m, &event->peer, sink);
    case LM_RANGE_AGAIN:
        if (m->is_serving)
            recall_again(m, &event->peer, sink);
        return E_OK;
    case LM_RANGE_SERVE: serve(m, sink); return E_OK;
    case LM_RANGE_STOP: m->is_serving = false; return E_OK;
    }
    ASSERT(false);
    return E_INVAL;
}
