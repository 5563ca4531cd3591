/* lockmgr/master.c - the lock master: queues, grants, blocking ASTs, recovery.
 * Sends nothing by itself, waits for nobody, asks no clock.
 *
 * A resource keeps a count per mode of what is held and of what is wanted, so
 * that whether a lock can be granted, and who is in the way, is a few bits.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/list.h"
#include "lockmgr/hash.h"
#include "lockmgr/lockmgr.h"

#include <inttypes.h>
#include <string.h>

/* One run of a node that has, or had, locks. */
struct owner {
    struct lm_peer peer;
    struct list in_master;
    struct list locks;
    size_t lock_count;
    bool is_gone; /* dropped: the row stays and refuses what comes late */
};

struct resource {
    struct lm_hash_node in_hash;
    struct lm_resource name;
    struct list granted, converting, waiting; /* struct lock */
    uint32_t held[LM_MODE_COUNT];             /* granted and converting */
    uint32_t wanted[LM_MODE_COUNT];           /* converting and waiting */
};

enum lock_state { LOCK_GRANTED, LOCK_CONVERTING, LOCK_WAITING };

struct lock {
    struct lm_hash_node in_hash;
    struct list in_queue; /* of the resource, by state */
    struct list in_owner;
    struct owner *owner;
    struct resource *resource;
    uint64_t id;
    uint64_t seq;       /* of the last request */
    uint64_t grant_seq; /* of the one by which `mode` is held */
    enum lock_state state;
    enum lm_mode mode;   /* held; NL while it waits */
    enum lm_mode wanted; /* converting, waiting */
    lm_modes told;       /* BASTs sent for this grant */
    enum err denied;     /* what became of request `seq` */
};

struct lm_master {
    uint64_t epoch;
    size_t locks_max; /* of each owner */
    bool is_serving;
    struct list owners;
    struct lm_hash resources, locks;
};

enum err lm_master_new(uint64_t epoch, size_t locks_max,
                       struct lm_master **ret_master)
{
    struct lm_master *m = calloc(1, sizeof *m);

    if (!m)
        return E_NOMEM;
    m->epoch = epoch;
    m->locks_max = locks_max;
    list_init(&m->owners);
    if (lm_hash_init(&m->resources) || lm_hash_init(&m->locks)) {
        lm_hash_fini(&m->resources);
        lm_hash_fini(&m->locks);
        free(m);
        return E_NOMEM;
    }
    *ret_master = m;
    return E_OK;
}

void lm_master_free(struct lm_master *m)
{
    if (!m)
        return;
    lm_hash_for_each (node, &m->locks)
        free(container_of(node, struct lock, in_hash));
    lm_hash_for_each (node, &m->resources)
        free(container_of(node, struct resource, in_hash));
    list_for_each (node, &m->owners)
        free(container_of(node, struct owner, in_master));
    lm_hash_fini(&m->locks);
    lm_hash_fini(&m->resources);
    free(m);
}

/* -- finding --------------------------------------------------------------- */

static struct owner *find_owner(const struct lm_master *m,
                                const struct lm_peer *peer)
{
    list_for_each (node, &m->owners) {
        struct owner *o = container_of(node, struct owner, in_master);

        if (lm_same_peer(&o->peer, peer))
            return o;
    }
    return NULL;
}

/* Is this incarnation, or a later one of its node, dropped? */
static bool is_gone(const struct lm_master *m, const struct lm_peer *peer)
{
    list_for_each (node, &m->owners) {
        struct owner *o = container_of(node, struct owner, in_master);

        if (o->is_gone && o->peer.node == peer->node &&
            o->peer.incarnation >= peer->incarnation)
            return true;
    }
    return false;
}

static struct owner *get_owner(struct lm_master *m, const struct lm_peer *peer)
{
    struct owner *o = find_owner(m, peer);

    if (o)
        return o;
    o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->peer = *peer;
    list_init(&o->locks);
    list_push_back(&m->owners, &o->in_master);
    return o;
}

static uint64_t lock_hash(const struct lm_peer *peer, uint64_t id)
{
    return lm_hash_mix(lm_hash_mix(peer->node, peer->incarnation), id);
}

static struct lock *find_lock(const struct lm_master *m,
                              const struct lm_peer *peer, uint64_t id)
{
    uint64_t hash = lock_hash(peer, id);
    struct lm_hash_node *node = lm_hash_first(&m->locks, hash);

    for (; node; node = lm_hash_skip(node->next, hash)) {
        struct lock *l = container_of(node, struct lock, in_hash);

        if (l->id == id && lm_same_peer(&l->owner->peer, peer))
            return l;
    }
    return NULL;
}

static struct resource *get_resource(struct lm_master *m,
                                     const struct lm_resource *name)
{
    uint64_t hash =
        lm_hash_mix(lm_hash_mix(name->kind, name->number[0]), name->number[1]);
    struct lm_hash_node *node = lm_hash_first(&m->resources, hash);
    struct resource *r;

    for (; node; node = lm_hash_skip(node->next, hash)) {
        r = container_of(node, struct resource, in_hash);
        if (lm_same_resource(&r->name, name))
            return r;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->name = *name;
    list_init(&r->granted);
    list_init(&r->converting);
    list_init(&r->waiting);
    lm_hash_add(&m->resources, &r->in_hash, hash);
    return r;
}

static void put_resource(struct lm_master *m, struct resource *r)
{
    if (!list_empty(&r->granted) || !list_empty(&r->converting) ||
        !list_empty(&r->waiting))
        return;
    lm_hash_remove(&m->resources, &r->in_hash);
    free(r);
}

/* -- the queues ------------------------------------------------------------ */

static lm_modes modes_of(const uint32_t counts[LM_MODE_COUNT])
{
    lm_modes modes = 0;

    for (enum lm_mode mode = LM_NL; mode < LM_MODE_COUNT; mode++)
        if (counts[mode])
            modes |= (1u << mode);
    return modes;
}

/* Which modes of `counts` has somebody else than this one, who counts there
 * with `own`? */
static lm_modes others(const uint32_t counts[LM_MODE_COUNT], enum lm_mode own)
{
    lm_modes modes = modes_of(counts);

    return counts[own] > 1 ? modes : modes & ~(1u << own);
}

static struct list *queue_of(struct lock *l)
{
    switch (l->state) {
    case LOCK_GRANTED: return &l->resource->granted;
    case LOCK_CONVERTING: return &l->resource->converting;
    case LOCK_WAITING: return &l->resource->waiting;
    }
    ASSERT(false);
    return NULL;
}

/* Into the queue of its state, and into the counts. */
static void enqueue(struct lock *l)
{
    list_push_back(queue_of(l), &l->in_queue);
    if (l->state != LOCK_WAITING)
        l->resource->held[l->mode]++;
    if (l->state != LOCK_GRANTED)
        l->resource->wanted[l->wanted]++;
}

static void dequeue(struct lock *l)
{
    list_remove(&l->in_queue);
    if (l->state != LOCK_WAITING)
        l->resource->held[l->mode]--;
    if (l->state != LOCK_GRANTED)
        l->resource->wanted[l->wanted]--;
}

static void move(struct lock *l, enum lock_state state, enum lm_mode mode)
{
    dequeue(l);
    l->state = state;
    if (state == LOCK_GRANTED)
        l->mode = mode;
    else
        l->wanted = mode;
    enqueue(l);
}

static bool is_grantable(const struct lock *l, enum lm_mode mode)
{
    lm_modes held = l->state == LOCK_WAITING
                        ? modes_of(l->resource->held)
                        : others(l->resource->held, l->mode);

    return lm_compatible_with_all(mode, held);
}

/* -- telling --------------------------------------------------------------- */

static void answer(const struct lm_master *m, const struct lock *l,
                   enum lm_answer_op op, enum lm_mode mode, enum err error,
                   struct lm_master_sink *sink)
{
    const struct lm_answer a = {
        .op = op,
        .to = l->owner->peer,
        .epoch = m->epoch,
        .lock = l->id,
        .seq = op == LM_BAST ? l->grant_seq : l->seq,
        .resource = l->resource->name,
        .mode = mode,
        .error = error,
    };

    sink->put(sink, &a);
}

/* The answer to a request of which there is no lock (any more). */
static void answer_without_lock(const struct lm_request *r,
                                enum lm_answer_op op, enum err error,
                                struct lm_master_sink *sink)
{
    const struct lm_answer a = {
        .op = op,
        .to = r->from,
        .epoch = r->epoch,
        .lock = r->lock,
        .seq = r->seq,
        .resource = r->resource,
        .mode = LM_NL,
        .error = error,
    };

    sink->put(sink, &a);
}

static void grant(const struct lm_master *m, struct lock *l, enum lm_mode mode,
                  struct lm_master_sink *sink)
{
    move(l, LOCK_GRANTED, mode);
    l->grant_seq = l->seq;
    l->denied = E_OK;
    l->told = 0;
    answer(m, l, LM_GRANT, mode, E_OK, sink);
}

/* Tell one holder which of `wanted` he is in the way of. */
static void tell(const struct lm_master *m, struct lock *l, lm_modes wanted,
                 struct lm_master_sink *sink)
{
    for (enum lm_mode mode = LM_EX; mode > LM_NL; mode--) {
        if (!(wanted >> mode & 1) || lm_compatible(l->mode, mode))
            continue;
        if (!(l->told >> mode & 1))
            answer(m, l, LM_BAST, mode, E_OK, sink);
        for (enum lm_mode weak = LM_NL; weak <= mode; weak++)
            if (lm_covers(mode, weak))
                l->told |= (1u << weak);
    }
}

static void tell_holders(const struct lm_master *m, struct resource *r,
                         lm_modes wanted, struct lm_master_sink *sink)
{
    if (!wanted)
        return;
    list_for_each (node, &r->granted)
        tell(m, container_of(node, struct lock, in_queue), wanted, sink);
    list_for_each (node, &r->converting) {
        struct lock *l = container_of(node, struct lock, in_queue);

        /* His own wish is no reason to tell him. */
        tell(m, l, wanted & others(r->wanted, l->wanted), sink);
    }
}

/* After a change: grant what can be granted now, tell who is in the way, free
 * the resource if nobody is left. */
static void settle(struct lm_master *m, struct resource *r,
                   struct lm_master_sink *sink)
{
    struct list *head;

    if (m->is_serving) {
        while (head = list_empty(&r->converting) ? r->waiting.next
                                                 : r->converting.next,
               head != &r->waiting) {
            struct lock *l = container_of(head, struct lock, in_queue);

            if (!is_grantable(l, l->wanted))
                break;
            grant(m, l, l->wanted, sink);
        }
        tell_holders(m, r, modes_of(r->wanted), sink);
    }
    put_resource(m, r);
}

/* -- locks come and go ----------------------------------------------------- */

/* Errors: E_NOLCK, E_NOMEM. */
static enum err new_lock(struct lm_master *m, const struct lm_peer *peer,
                         uint64_t id, const struct lm_resource *name,
                         const struct lock *as, struct lock **ret_lock)
{
    struct owner *o = get_owner(m, peer);
    struct resource *r;
    struct lock *l;

    if (!o)
        return E_NOMEM;
    if (o->lock_count >= m->locks_max)
        return E_NOLCK;
    r = get_resource(m, name);
    if (!r)
        return E_NOMEM;
    l = calloc(1, sizeof *l);
    if (!l) {
        put_resource(m, r);
        return E_NOMEM;
    }
    *l = *as;
    l->owner = o;
    l->resource = r;
    l->id = id;
    o->lock_count++;
    list_push_back(&o->locks, &l->in_owner);
    lm_hash_add(&m->locks, &l->in_hash, lock_hash(peer, id));
    enqueue(l);
    *ret_lock = l;
    return E_OK;
}

/* The caller settles the resource, which is what is returned. */
static struct resource *free_lock(struct lm_master *m, struct lock *l)
{
    struct resource *r = l->resource;

    dequeue(l);
    l->owner->lock_count--;
    list_remove(&l->in_owner);
    lm_hash_remove(&m->locks, &l->in_hash);
    free(l);
    return r;
}

/* -- requests -------------------------------------------------------------- */

static void tell_if_asked(struct lm_master *m, struct resource *r,
                          const struct lm_request *q,
                          struct lm_master_sink *sink)
{
    if (q->flags & LM_NOQUEUEBAST)
        tell_holders(m, r, (1u << q->mode), sink);
}

static void lock(struct lm_master *m, const struct lm_request *q,
                 struct lm_master_sink *sink)
{
    const struct lock as = {
        .seq = q->seq, .state = LOCK_WAITING, .wanted = q->mode};
    struct resource *r;
    struct lock *l;
    enum err e = new_lock(m, &q->from, q->lock, &q->resource, &as, &l);

    if (e) {
        answer_without_lock(q, LM_DENY, e, sink);
        return;
    }
    r = l->resource;
    if (q->mode == LM_NL) {
        grant(m, l, LM_NL, sink);
    } else if ((q->flags & LM_NOQUEUE) &&
               (!list_empty(&r->converting) ||
                r->waiting.next != &l->in_queue || !is_grantable(l, q->mode))) {
        r = free_lock(m, l);
        answer_without_lock(q, LM_DENY, E_AGAIN, sink);
        tell_if_asked(m, r, q, sink);
    }
    settle(m, r, sink);
}

static void deny(struct lm_master *m, struct lock *l, enum err error,
                 struct lm_master_sink *sink)
{
    l->denied = error;
    answer(m, l, LM_DENY, l->mode, error, sink);
}

/* Does a conversion that waits already wait for what `l` holds? */
static bool is_waited_for(const struct lock *l)
{
    list_for_each (node, &l->resource->converting) {
        struct lock *ahead = container_of(node, struct lock, in_queue);

        if (!lm_compatible(ahead->wanted, l->mode))
            return true;
    }
    return false;
}

static void convert(struct lm_master *m, struct lock *l,
                    const struct lm_request *q, struct lm_master_sink *sink)
{
    struct resource *r = l->resource;

    if (l->state == LOCK_CONVERTING)
        move(l, LOCK_GRANTED, l->mode); /* the newer request counts */
    if (lm_covers(l->mode, q->mode) ||
        (list_empty(&r->converting) && is_grantable(l, q->mode))) {
        grant(m, l, q->mode, sink);
    } else if (q->flags & LM_NOQUEUE) {
        deny(m, l, E_AGAIN, sink);
        tell_if_asked(m, r, q, sink);
    } else if (is_waited_for(l)) {
        deny(m, l, E_DEADLOCK, sink);
    } else {
        move(l, LOCK_CONVERTING, q->mode);
    }
    settle(m, r, sink);
}

static void cancel(struct lm_master *m, struct lock *l,
                   const struct lm_request *q, struct lm_master_sink *sink)
{
    struct resource *r = l->resource;

    if (l->state == LOCK_WAITING) {
        r = free_lock(m, l);
        answer_without_lock(q, LM_DENY, E_CANCELED, sink);
    } else {
        grant(m, l, l->mode, sink);
    }
    settle(m, r, sink);
}

/* The same request again: how things stand. */
static void repeat(struct lm_master *m, struct lock *l,
                   struct lm_master_sink *sink)
{
    if (l->state != LOCK_GRANTED)
        return; /* it waits */
    if (l->denied)
        answer(m, l, LM_DENY, l->mode, l->denied, sink);
    else
        answer(m, l, LM_GRANT, l->mode, E_OK, sink);
}

static void request(struct lm_master *m, const struct lm_request *q,
                    struct lm_master_sink *sink)
{
    struct lock *l = find_lock(m, &q->from, q->lock);

    if (l && q->seq < l->seq)
        return; /* overtaken by a later one */
    if (l && q->seq == l->seq) {
        repeat(m, l, sink);
        return;
    }
    if (l) {
        l->seq = q->seq;
        l->denied = E_OK;
    }
    switch (q->op) {
    case LM_LOCK:
        if (!l)
            lock(m, q, sink);
        return;
    case LM_CONVERT:
        if (l && l->state != LOCK_WAITING)
            convert(m, l, q, sink);
        return;
    case LM_UNLOCK:
        answer_without_lock(q, LM_UNLOCKED, E_OK, sink);
        if (l)
            settle(m, free_lock(m, l), sink);
        return;
    case LM_CANCEL:
        if (l)
            cancel(m, l, q, sink);
        else
            answer_without_lock(q, LM_DENY, E_CANCELED, sink);
        return;
    }
}

/* -- recovery -------------------------------------------------------------- */

static enum err report(struct lm_master *m, const struct lm_report *p,
                       struct diag *why)
{
    const struct lock as = {.seq = p->seq,
                            .grant_seq = p->seq,
                            .state = LOCK_GRANTED,
                            .mode = p->mode};
    struct lock *l = find_lock(m, &p->from, p->lock);
    struct resource *r;
    enum err e;

    if (l && l->mode == p->mode && l->seq == p->seq &&
        lm_same_resource(&l->resource->name, &p->resource))
        return E_OK; /* the same report again */
    if (l)
        return diag_fail(why, E_PROTOCOL,
                         "node %" PRIu32 ": lock %" PRIu64
                         " is reported twice, as %s and as %s",
                         p->from.node, p->lock, lm_mode_name(l->mode),
                         lm_mode_name(p->mode));
    e = new_lock(m, &p->from, p->lock, &p->resource, &as, &l);
    if (e)
        return diag_fail(why, e, "node %" PRIu32 ": report of %zu locks",
                         p->from.node, m->locks_max);
    if (is_grantable(l, l->mode))
        return E_OK;
    r = free_lock(m, l);
    e = diag_fail(why, E_PROTOCOL,
                  "node %" PRIu32 ": lock %" PRIu64 " is reported in %s, "
                  "which others exclude",
                  p->from.node, p->lock, lm_mode_name(p->mode));
    put_resource(m, r);
    return e;
}

static void serve(struct lm_master *m, struct lm_master_sink *sink)
{
    m->is_serving = true;
    lm_hash_for_each (node, &m->resources)
        settle(m, container_of(node, struct resource, in_hash), sink);
}

static enum err drop(struct lm_master *m, const struct lm_peer *peer,
                     struct lm_master_sink *sink)
{
    struct owner *last = get_owner(m, peer);
    bool was_serving = m->is_serving;

    if (!last)
        return E_NOMEM;
    last->is_gone = true;
    m->is_serving = false; /* until all that was theirs is free */
    list_for_each (node, &m->owners) {
        struct owner *o = container_of(node, struct owner, in_master);

        if (o->peer.node != peer->node ||
            o->peer.incarnation > peer->incarnation)
            continue;
        list_for_each (at, &o->locks)
            settle(m, free_lock(m, container_of(at, struct lock, in_owner)),
                   sink);
        if (o == last)
            continue;
        list_remove(&o->in_master);
        free(o);
    }
    if (was_serving)
        serve(m, sink);
    return E_OK;
}

static void resend(struct lm_master *m, const struct lm_peer *peer,
                   struct lm_master_sink *sink)
{
    struct owner *o = find_owner(m, peer);

    if (!o || !m->is_serving)
        return;
    list_for_each (node, &o->locks) {
        struct lock *l = container_of(node, struct lock, in_owner);

        l->told = 0;
        settle(m, l->resource, sink);
    }
}

static enum err check_sender(const struct lm_master *m, uint64_t epoch,
                             const struct lm_peer *from, enum lm_mode mode,
                             struct diag *why)
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
    if (!lm_mode_is_valid(mode))
        return diag_fail(why, E_PROTOCOL, "node %" PRIu32 ": %d is no mode",
                         from->node, mode);
    return E_OK;
}

static enum err check_request(const struct lm_master *m,
                              const struct lm_request *q, struct diag *why)
{
    enum err e = check_sender(m, q->epoch, &q->from, q->mode, why);

    if (e)
        return e;
    if ((unsigned)q->op > LM_CANCEL)
        return diag_fail(why, E_PROTOCOL, "node %" PRIu32 ": %d is no request",
                         q->from.node, q->op);
    if (!m->is_serving)
        return diag_fail(why, E_AGAIN, "the lock master does not serve yet");
    return E_OK;
}

static enum err check_report(const struct lm_master *m,
                             const struct lm_report *p, struct diag *why)
{
    enum err e = check_sender(m, p->epoch, &p->from, p->mode, why);

    if (!e && m->is_serving)
        e = diag_fail(why, E_PROTOCOL,
                      "node %" PRIu32 ": a report after the master serves",
                      p->from.node);
    return e;
}

enum err lm_master_step(struct lm_master *m,
                        const struct lm_master_event *event,
                        struct lm_master_sink *sink, struct diag *why)
{
    enum err e;

    switch (event->type) {
    case LM_MASTER_REQUEST:
        e = check_request(m, event->request, why);
        if (!e)
            request(m, event->request, sink);
        return e;
    case LM_MASTER_REPORT:
        e = check_report(m, event->report, why);
        return e ? e : report(m, event->report, why);
    case LM_MASTER_DROP: return drop(m, &event->peer, sink);
    case LM_MASTER_RESEND: resend(m, &event->peer, sink); return E_OK;
    case LM_MASTER_SERVE: serve(m, sink); return E_OK;
    case LM_MASTER_STOP: m->is_serving = false; return E_OK;
    }
    ASSERT(false);
    return E_INVAL;
}

size_t lm_master_count(const struct lm_master *m, const struct lm_peer *peer)
{
    const struct owner *o;

    if (!peer)
        return m->locks.count;
    o = find_owner(m, peer);
    return o ? o->lock_count : 0;
}
