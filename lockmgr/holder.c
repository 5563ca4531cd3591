/* lockmgr/holder.c - a node's locks: cached until somebody else wants them.
 * Sends nothing by itself, waits for nobody, asks no clock.
 *
 * A lock has at most one request under way.  Every event changes the fields of
 * one lock and then calls advance(), which does what can be done now; so an
 * order of events that nobody thought of ends in a state like any other.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/hash.h"
#include "lockmgr/lockmgr.h"

#include <inttypes.h>

enum asked {
    ASKED_NOTHING,
    ASKED_LOCK,   /* LOCK */
    ASKED_MORE,   /* CONVERT to a mode that `mode` does not cover */
    ASKED_LESS,   /* CONVERT to `mode`: given up already */
    ASKED_UNLOCK, /* UNLOCK: given up already */
    ASKED_CANCEL  /* CANCEL of LOCK or CONVERT */
};

struct lm_cached {
    struct lm_hash_node in_hash;
    struct list in_idle; /* linked while idle */
    struct lm_resource resource;
    uint64_t id;
    enum lm_mode mode; /* held */
    uint64_t seq;      /* of the request by which it is held */
    enum asked asked;
    struct lm_request request; /* the last one; .seq goes on */
    uint32_t users[LM_MODE_COUNT];
    lm_modes user_modes; /* those of which there are users */
    struct list waiters; /* struct lm_user */
    lm_modes bast;       /* what others want of what is held */
    lm_modes early_bast; /* … of what the request under way will bring */
    uint32_t served;     /* acquisitions since the grant */
    enum { KEEP, REVOKING, REVOKED } revoke;
    enum lm_mode revoke_to;
};

struct lm_holder {
    struct lm_peer self;
    size_t locks_max;
    uint64_t epoch;
    bool is_frozen;
    uint64_t last_id;
    struct lm_hash locks;
    struct list idle; /* the longest idle one first */
};

enum err lm_holder_new(const struct lm_peer *self, size_t locks_max,
                       struct lm_holder **ret_holder)
{
    struct lm_holder *h = calloc(1, sizeof *h);

    if (!h)
        return E_NOMEM;
    h->self = *self;
    h->locks_max = locks_max;
    h->is_frozen = true;
    list_init(&h->idle);
    if (lm_hash_init(&h->locks)) {
        free(h);
        return E_NOMEM;
    }
    *ret_holder = h;
    return E_OK;
}

void lm_holder_free(struct lm_holder *h)
{
    if (!h)
        return;
    lm_hash_for_each (node, &h->locks)
        free(container_of(node, struct lm_cached, in_hash));
    lm_hash_fini(&h->locks);
    free(h);
}

/* -- the table ------------------------------------------------------------- */

static uint64_t hash_of(const struct lm_resource *r)
{
    return lm_hash_mix(lm_hash_mix(r->kind, r->number[0]), r->number[1]);
}

static struct lm_cached *find(const struct lm_holder *h,
                              const struct lm_resource *r)
{
    uint64_t hash = hash_of(r);
    struct lm_hash_node *node = lm_hash_first(&h->locks, hash);

    for (; node; node = lm_hash_skip(node->next, hash)) {
        struct lm_cached *c = container_of(node, struct lm_cached, in_hash);

        if (lm_same_resource(&c->resource, r))
            return c;
    }
    return NULL;
}

static struct lm_cached *add(struct lm_holder *h, const struct lm_resource *r)
{
    struct lm_cached *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->resource = *r;
    list_init(&c->waiters);
    lm_hash_add(&h->locks, &c->in_hash, hash_of(r));
    return c;
}

/* -- what is told ---------------------------------------------------------- */

static void done(struct lm_user *u, enum err error, struct lm_holder_sink *sink)
{
    const struct lm_holder_effect effect = {
        .type = LM_HOLDER_DONE, .user = u, .error = error};

    sink->put(sink, &effect);
}

/* The request under way; held back while we are frozen. */
static void send(struct lm_holder *h, struct lm_cached *c,
                 struct lm_holder_sink *sink)
{
    const struct lm_holder_effect effect = {.type = LM_HOLDER_SEND,
                                            .request = &c->request};

    c->request.epoch = h->epoch;
    if (!h->is_frozen)
        sink->put(sink, &effect);
}

static void ask(struct lm_holder *h, struct lm_cached *c, enum asked asked,
                enum lm_mode mode, uint32_t flags, struct lm_holder_sink *sink)
{
    static const enum lm_request_op ops[] = {[ASKED_LOCK] = LM_LOCK,
                                             [ASKED_MORE] = LM_CONVERT,
                                             [ASKED_LESS] = LM_CONVERT,
                                             [ASKED_UNLOCK] = LM_UNLOCK,
                                             [ASKED_CANCEL] = LM_CANCEL};

    if (asked == ASKED_LOCK)
        c->id = ++h->last_id;
    c->asked = asked;
    c->early_bast = 0;
    c->request = (struct lm_request){
        .op = ops[asked],
        .from = h->self,
        .lock = c->id,
        .seq = c->request.seq + 1,
        .resource = c->resource,
        .mode = mode,
        .flags = flags,
    };
    send(h, c, sink);
}

/* -- serving users --------------------------------------------------------- */

static bool is_wanted(const struct lm_cached *c)
{
    return !lm_compatible_with_all(c->mode, c->bast);
}

static bool may_serve(const struct lm_holder *h, const struct lm_cached *c,
                      const struct lm_user *u)
{
    if (h->is_frozen || !lm_covers(c->mode, u->mode) ||
        !lm_compatible_with_all(u->mode, c->user_modes))
        return false;
    switch (c->revoke) {
    case KEEP:
        return !is_wanted(c) || c->served < LM_HOLD_MIN ||
               lm_covers(lm_demoted(c->mode, c->bast), u->mode);
    case REVOKING:
        return (u->flags & LM_WHILE_REVOKED) ||
               lm_covers(c->revoke_to, u->mode);
    case REVOKED: return lm_covers(c->revoke_to, u->mode);
    }
    ASSERT(false);
    return false;
}

static void serve(struct lm_cached *c, struct lm_user *u,
                  struct lm_holder_sink *sink)
{
    c->users[u->mode]++;
    c->user_modes |= (1u << u->mode);
    c->served++;
    done(u, E_OK, sink);
}

/* First come, first served; but what a revocation waits for waits for
 * nobody. */
static void serve_waiters(struct lm_holder *h, struct lm_cached *c,
                          struct lm_holder_sink *sink)
{
    bool is_first = true;

    list_for_each (node, &c->waiters) {
        struct lm_user *u = container_of(node, struct lm_user, in_lock);
        bool jumps = c->revoke == REVOKING && (u->flags & LM_WHILE_REVOKED);

        if ((is_first || jumps) && may_serve(h, c, u)) {
            list_remove(&u->in_lock);
            serve(c, u, sink);
        } else {
            is_first = false;
        }
    }
}

static struct lm_user *first_waiter(const struct lm_cached *c)
{
    return list_empty(&c->waiters)
               ? NULL
               : container_of(c->waiters.next, struct lm_user, in_lock);
}

/* -- giving up, asking for more -------------------------------------------- */

/* What others want goes before what our next user wants. */
static void give_up(struct lm_holder *h, struct lm_cached *c,
                    struct lm_holder_sink *sink)
{
    if (c->revoke == KEEP) {
        c->revoke_to = lm_demoted(c->mode, c->bast);
        if (!lm_covers(c->revoke_to, lm_strongest(c->user_modes)))
            return; /* users first */
        c->revoke = REVOKING;
        sink->put(sink, &(struct lm_holder_effect){.type = LM_HOLDER_REVOKE,
                                                   .resource = c->resource,
                                                   .mode = c->revoke_to});
        serve_waiters(h, c, sink);
    }
    if (c->revoke == REVOKING ||
        !lm_covers(c->revoke_to, lm_strongest(c->user_modes)))
        return;
    c->revoke = KEEP;
    c->mode = c->revoke_to;
    c->bast = 0; /* what is still wanted of the new mode is told again */
    if (c->mode == LM_NL) {
        ask(h, c, ASKED_UNLOCK, LM_NL, 0, sink);
    } else {
        ask(h, c, ASKED_LESS, c->mode, 0, sink);
        c->seq = c->request.seq;
    }
    serve_waiters(h, c, sink);
}

static void ask_for(struct lm_holder *h, struct lm_cached *c,
                    const struct lm_user *u, struct lm_holder_sink *sink)
{
    uint32_t flags = u->flags & (LM_NOQUEUE | LM_NOQUEUEBAST);

    if (!lm_compatible_with_all(u->mode, c->user_modes))
        return; /* our own users first */
    if (c->mode == LM_NL)
        ask(h, c, ASKED_LOCK, u->mode, flags, sink);
    else
        ask(h, c, ASKED_MORE, u->mode, flags, sink);
}

static void set_idle(struct lm_holder *h, struct lm_cached *c, bool is_idle)
{
    if (is_idle == list_linked(&c->in_idle))
        return;
    if (is_idle)
        list_push_back(&h->idle, &c->in_idle);
    else
        list_remove(&c->in_idle);
}

/* Do what can be done now.  The lock may be gone afterwards. */
static void advance(struct lm_holder *h, struct lm_cached *c,
                    struct lm_holder_sink *sink)
{
    struct lm_user *first;

    serve_waiters(h, c, sink);
    first = first_waiter(c);
    if (!c->asked && c->mode != LM_NL) {
        /* PR for CW or the other way: others may have CW as soon as we are
         * granted it, so that what PR let us cache must go before. */
        if (first && !lm_covers(c->mode, first->mode) &&
            !lm_covers(first->mode, c->mode))
            c->bast |= (1u << first->mode);
        if (c->revoke != KEEP || is_wanted(c))
            give_up(h, c, sink);
        first = first_waiter(c);
    }
    if (!c->asked && c->revoke == KEEP && !is_wanted(c) && first &&
        !lm_covers(c->mode, first->mode))
        ask_for(h, c, first, sink);
    if (!c->asked && c->mode == LM_NL && !first) {
        set_idle(h, c, false);
        lm_hash_remove(&h->locks, &c->in_hash);
        free(c);
        return;
    }
    set_idle(h, c, !c->asked && !c->user_modes && !first && !c->revoke);
}

/* -- events of users ------------------------------------------------------- */

/* Room for one more: the longest idle lock goes.  False: none is idle. */
static bool make_room(struct lm_holder *h, struct lm_holder_sink *sink)
{
    struct lm_cached *c;

    if (h->locks.count < h->locks_max)
        return true;
    if (list_empty(&h->idle))
        return false;
    c = container_of(h->idle.next, struct lm_cached, in_idle);
    c->bast |= 1u << LM_EX;
    advance(h, c, sink);
    return true;
}

/* Would a user who does not wait be asked for, or is he refused at once? */
static bool may_try(const struct lm_holder *h, const struct lm_cached *c,
                    const struct lm_user *u)
{
    return !h->is_frozen && !c->asked && c->revoke == KEEP && !is_wanted(c) &&
           list_empty(&c->waiters) && !lm_covers(c->mode, u->mode) &&
           lm_compatible_with_all(u->mode, c->user_modes);
}

static void acquire(struct lm_holder *h, struct lm_user *u,
                    struct lm_holder_sink *sink)
{
    struct lm_cached *c = find(h, &u->resource);
    bool jumps;

    ASSERT(u->mode > LM_NL && lm_mode_is_valid(u->mode));
    if (!c) {
        bool has_room = make_room(h, sink);

        c = has_room ? add(h, &u->resource) : NULL;
        if (!c) {
            done(u, has_room ? E_NOMEM : E_NOLCK, sink);
            return;
        }
    }
    u->lock = c;
    jumps = c->revoke == REVOKING && (u->flags & LM_WHILE_REVOKED);
    if ((jumps || list_empty(&c->waiters)) && may_serve(h, c, u)) {
        set_idle(h, c, false);
        serve(c, u, sink);
        return;
    }
    if ((u->flags & LM_NOQUEUE) && !may_try(h, c, u)) {
        done(u, E_AGAIN, sink);
    } else {
        u->in_lock = (struct list){0};
        list_push_back(&c->waiters, &u->in_lock);
    }
    advance(h, c, sink);
}

static void release(struct lm_holder *h, struct lm_user *u,
                    struct lm_holder_sink *sink)
{
    struct lm_cached *c = u->lock;

    ASSERT(c->users[u->mode] > 0);
    if (--c->users[u->mode] == 0)
        c->user_modes &= ~(1u << u->mode);
    advance(h, c, sink);
}

/* What is under way is for the first waiter: is he still there? */
static void cancel_unwanted(struct lm_holder *h, struct lm_cached *c,
                            struct lm_holder_sink *sink)
{
    const struct lm_user *first = first_waiter(c);

    if ((c->asked == ASKED_LOCK || c->asked == ASKED_MORE) &&
        (!first || first->mode != c->request.mode))
        ask(h, c, ASKED_CANCEL, LM_NL, 0, sink);
}

static void cancel(struct lm_holder *h, struct lm_user *u,
                   struct lm_holder_sink *sink)
{
    struct lm_cached *c = u->lock;

    if (!list_linked(&u->in_lock))
        return;
    list_remove(&u->in_lock);
    done(u, E_CANCELED, sink);
    cancel_unwanted(h, c, sink);
    advance(h, c, sink);
}

static void revoked(struct lm_holder *h, const struct lm_resource *r,
                    struct lm_holder_sink *sink)
{
    struct lm_cached *c = find(h, r);

    ASSERT(c && c->revoke == REVOKING);
    c->revoke = REVOKED;
    advance(h, c, sink);
}

/* -- events of the master -------------------------------------------------- */

/* Of a lock that we do not have: a request that was late, or came twice, made
 * it after its end. */
static void disown(struct lm_holder *h, const struct lm_answer *a,
                   struct lm_holder_sink *sink)
{
    const struct lm_request r = {
        .op = LM_UNLOCK,
        .from = h->self,
        .epoch = h->epoch,
        .lock = a->lock,
        .seq = a->seq + 1,
        .resource = a->resource,
    };

    if (a->op == LM_GRANT || a->op == LM_BAST)
        sink->put(sink, &(struct lm_holder_effect){.type = LM_HOLDER_SEND,
                                                   .request = &r});
}

static void granted(struct lm_cached *c, const struct lm_answer *a)
{
    if (c->asked != ASKED_LESS) {
        c->bast = c->early_bast;
        c->served = 0;
    }
    c->mode = a->mode;
    c->seq = a->seq;
}

static void denied(struct lm_cached *c, const struct lm_answer *a,
                   struct lm_holder_sink *sink)
{
    struct lm_user *first = first_waiter(c);

    if (a->error == E_DEADLOCK) {
        /* Somebody else waits for what we hold: give it up, ask anew. */
        c->bast |= 1u << LM_EX;
    } else if (first && c->asked != ASKED_CANCEL) {
        list_remove(&first->in_lock);
        done(first, a->error, sink);
    }
}

static void answered(struct lm_cached *c, const struct lm_answer *a,
                     struct lm_holder_sink *sink)
{
    if (a->op == LM_GRANT)
        granted(c, a);
    else if (a->op == LM_DENY)
        denied(c, a, sink);
    c->asked = ASKED_NOTHING;
    c->early_bast = 0;
}

static void bast(struct lm_cached *c, const struct lm_answer *a)
{
    lm_modes mode = (1u << a->mode);

    if (c->mode != LM_NL && a->seq == c->seq)
        c->bast |= mode;
    else if (c->asked && a->seq == c->request.seq)
        c->early_bast |= mode;
}

static const char *op_name(enum lm_answer_op op)
{
    static const char *const names[] = {"GRANT", "DENY", "UNLOCKED", "BAST"};

    return (unsigned)op < ARRAY_LEN(names) ? names[op] : "?";
}

/* Can a master say this to what is under way? */
static bool fits(const struct lm_cached *c, const struct lm_answer *a)
{
    switch (a->op) {
    case LM_GRANT:
        return c->asked == ASKED_CANCEL
                   ? a->mode != LM_NL && lm_covers(a->mode, c->mode)
                   : c->asked != ASKED_UNLOCK && a->mode == c->request.mode;
    case LM_DENY:
        return c->asked != ASKED_UNLOCK && c->asked != ASKED_LESS &&
               a->error != E_OK;
    case LM_UNLOCKED: return c->asked == ASKED_UNLOCK;
    case LM_BAST: return true;
    }
    return false;
}

static enum err check_answer(const struct lm_holder *h,
                             const struct lm_answer *a, struct diag *why)
{
    if (a->epoch != h->epoch)
        return diag_fail(why, E_EPOCH,
                         "answer of epoch %" PRIu64 ", this is %" PRIu64,
                         a->epoch, h->epoch);
    if (!lm_same_peer(&a->to, &h->self))
        return diag_fail(why, E_FENCED,
                         "answer for incarnation %" PRIu64 " of node %" PRIu32,
                         a->to.incarnation, a->to.node);
    if ((unsigned)a->op > LM_BAST || !lm_mode_is_valid(a->mode))
        return diag_fail(why, E_PROTOCOL, "answer %d in mode %d", a->op,
                         a->mode);
    return E_OK;
}

static enum err answer(struct lm_holder *h, const struct lm_answer *a,
                       struct lm_holder_sink *sink, struct diag *why)
{
    struct lm_cached *c = find(h, &a->resource);
    enum err e = check_answer(h, a, why);

    if (e)
        return e;
    if (!c || a->lock != c->id) {
        disown(h, a, sink);
        return E_OK;
    }
    if (a->op == LM_BAST) {
        bast(c, a);
    } else {
        if (!c->asked || a->seq != c->request.seq)
            return E_OK; /* late */
        if (!fits(c, a))
            return diag_fail(
                why, E_PROTOCOL, "lock %" PRIu64 ": %s %s for request %d",
                c->id, op_name(a->op), lm_mode_name(a->mode), c->request.op);
        answered(c, a, sink);
    }
    advance(h, c, sink);
    return E_OK;
}

/* -- views ----------------------------------------------------------------- */

/* The master of the new epoch learns what is held.  A request under way is
 * sent again when we are confirmed: one that gives up is answered then, too. */
static void report(struct lm_holder *h, struct lm_cached *c,
                   struct lm_holder_sink *sink)
{
    const struct lm_report r = {
        .from = h->self,
        .epoch = h->epoch,
        .lock = c->id,
        .seq = c->seq,
        .resource = c->resource,
        .mode = c->mode,
    };

    if (c->revoke == KEEP)
        c->bast = 0; /* the new master says it again */
    c->early_bast = 0;
    if (c->mode != LM_NL)
        sink->put(sink, &(struct lm_holder_effect){.type = LM_HOLDER_REPORT,
                                                   .report = &r});
}

static void epoch(struct lm_holder *h, uint64_t number,
                  struct lm_holder_sink *sink)
{
    h->epoch = number;
    h->is_frozen = true;
    lm_hash_for_each (node, &h->locks)
        report(h, container_of(node, struct lm_cached, in_hash), sink);
}

static void resend(struct lm_holder *h, struct lm_holder_sink *sink)
{
    lm_hash_for_each (node, &h->locks) {
        struct lm_cached *c = container_of(node, struct lm_cached, in_hash);

        if (c->asked)
            send(h, c, sink);
    }
}

static void confirm(struct lm_holder *h, struct lm_holder_sink *sink)
{
    h->is_frozen = false;
    resend(h, sink);
    lm_hash_for_each (node, &h->locks)
        advance(h, container_of(node, struct lm_cached, in_hash), sink);
}

enum err lm_holder_step(struct lm_holder *h,
                        const struct lm_holder_event *event,
                        struct lm_holder_sink *sink, struct diag *why)
{
    switch (event->type) {
    case LM_HOLDER_ACQUIRE: acquire(h, event->user, sink); return E_OK;
    case LM_HOLDER_RELEASE: release(h, event->user, sink); return E_OK;
    case LM_HOLDER_CANCEL: cancel(h, event->user, sink); return E_OK;
    case LM_HOLDER_REVOKED: revoked(h, &event->resource, sink); return E_OK;
    case LM_HOLDER_ANSWER: return answer(h, event->answer, sink, why);
    case LM_HOLDER_RESEND: resend(h, sink); return E_OK;
    case LM_HOLDER_FREEZE: h->is_frozen = true; return E_OK;
    case LM_HOLDER_EPOCH: epoch(h, event->epoch, sink); return E_OK;
    case LM_HOLDER_CONFIRM: confirm(h, sink); return E_OK;
    }
    ASSERT(false);
    return E_INVAL;
}

enum lm_mode lm_holder_mode(const struct lm_holder *h,
                            const struct lm_resource *resource)
{
    const struct lm_cached *c = find(h, resource);

    return c ? c->mode : LM_NL;
}
