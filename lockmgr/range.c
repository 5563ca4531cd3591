/* lockmgr/range.c - byte-range locks as Linux has them: POSIX, OFD and flock.
 * Sends nothing, knows no other node; a peer is a part of an owner's name.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/list.h"
#include "lockmgr/hash.h"
#include "lockmgr/lockmgr.h"

#include <inttypes.h>

/* A run of bytes that an owner holds. */
struct piece {
    struct list in_holder;
    uint64_t first, last;
    enum lm_range_type type;
    uint32_t pid;
};

/* What one owner holds of one file: disjoint, in order, neighbours of one type
 * joined. */
struct holder {
    struct list in_file;
    struct lm_range_owner owner;
    struct list pieces;
};

struct file {
    struct lm_hash_node in_hash;
    uint64_t number;
    struct list holders; /* the oldest first */
    size_t waiter_count;
};

/* What a peer has of the table's memory. */
struct account {
    struct list in_table;
    struct lm_peer peer;
    size_t used;
};

struct waiter {
    struct list in_table;
    struct file *file;
    struct account *account;
    struct lm_range range;
    uint64_t id;
    bool is_seen; /* by the search for a deadlock that is under way */
};

struct lm_ranges {
    size_t max;
    struct lm_hash files;
    struct list waiters; /* first come first */
    struct list accounts;
};

enum err lm_range_check(const struct lm_range *r, struct diag *why)
{
    if ((unsigned)r->owner.kind > LM_FLOCK)
        return diag_fail(why, E_INVAL, "%d is no kind of lock", r->owner.kind);
    if ((unsigned)r->type > LM_WRLCK)
        return diag_fail(why, E_INVAL, "%d is no type of lock", r->type);
    if (r->first > r->last || r->last > LM_RANGE_LAST)
        return diag_fail(why, E_INVAL,
                         "bytes %" PRIu64 " to %" PRIu64 " are no range",
                         r->first, r->last);
    if (r->owner.kind == LM_FLOCK && (r->first || r->last != LM_RANGE_LAST))
        return diag_fail(why, E_INVAL, "flock is for the whole file");
    if (!r->file)
        return diag_fail(why, E_INVAL, "file 0");
    return E_OK;
}

enum err lm_ranges_new(size_t max, struct lm_ranges **ret_table)
{
    struct lm_ranges *t = calloc(1, sizeof *t);

    if (!t)
        return E_NOMEM;
    t->max = max;
    list_init(&t->waiters);
    list_init(&t->accounts);
    if (lm_hash_init(&t->files)) {
        free(t);
        return E_NOMEM;
    }
    *ret_table = t;
    return E_OK;
}

/* -- files, holders, accounts ---------------------------------------------- */

static struct file *find_file(const struct lm_ranges *t, uint64_t number)
{
    uint64_t hash = lm_hash_mix(number, 0);
    struct lm_hash_node *node = lm_hash_first(&t->files, hash);

    for (; node; node = lm_hash_skip(node->next, hash)) {
        struct file *f = container_of(node, struct file, in_hash);

        if (f->number == number)
            return f;
    }
    return NULL;
}

static struct file *get_file(struct lm_ranges *t, uint64_t number)
{
    struct file *f = find_file(t, number);

    if (f)
        return f;
    f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->number = number;
    list_init(&f->holders);
    lm_hash_add(&t->files, &f->in_hash, lm_hash_mix(number, 0));
    return f;
}

static void put_file(struct lm_ranges *t, struct file *f)
{
    if (!list_empty(&f->holders) || f->waiter_count)
        return;
    lm_hash_remove(&t->files, &f->in_hash);
    free(f);
}

static bool same_owner(const struct lm_range_owner *a,
                       const struct lm_range_owner *b)
{
    return a->kind == b->kind && a->key == b->key &&
           lm_same_peer(&a->peer, &b->peer);
}

static struct holder *find_holder(const struct file *f,
                                  const struct lm_range_owner *owner)
{
    list_for_each (node, &f->holders) {
        struct holder *h = container_of(node, struct holder, in_file);

        if (same_owner(&h->owner, owner))
            return h;
    }
    return NULL;
}

static struct account *get_account(struct lm_ranges *t,
                                   const struct lm_peer *peer)
{
    struct account *a;

    list_for_each (node, &t->accounts) {
        a = container_of(node, struct account, in_table);
        if (lm_same_peer(&a->peer, peer))
            return a;
    }
    a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->peer = *peer;
    list_push_back(&t->accounts, &a->in_table);
    return a;
}

/* -- one owner's pieces ---------------------------------------------------- */

/* Memory for the pieces that one change may add. */
struct spares {
    struct piece *piece[LM_RANGE_PIECES];
    unsigned left;
};

static enum err spares_init(struct spares *s)
{
    *s = (struct spares){0};
    while (s->left < LM_RANGE_PIECES) {
        s->piece[s->left] = calloc(1, sizeof *s->piece[0]);
        if (!s->piece[s->left])
            break;
        s->left++;
    }
    return s->left == LM_RANGE_PIECES ? E_OK : E_NOMEM;
}

static void spares_fini(struct spares *s)
{
    while (s->left)
        free(s->piece[--s->left]);
}

static void put_after(struct list *at, struct spares *s, const struct piece *as)
{
    struct piece *p = s->piece[--s->left];

    *p = *as;
    p->in_holder = (struct list){0};
    list_insert_after(at, &p->in_holder);
}

static void remove_piece(struct piece *p, size_t *used)
{
    list_remove(&p->in_holder);
    free(p);
    --*used;
}

/* Make [first, last] free of pieces.  Returns the place where one would go. */
static struct list *cut(struct holder *h, uint64_t first, uint64_t last,
                        struct spares *s, size_t *used)
{
    struct list *at = &h->pieces;

    list_for_each (node, &h->pieces) {
        struct piece *p = container_of(node, struct piece, in_holder);
        struct piece rest = *p;

        if (p->first > last)
            break;
        if (p->first >= first && p->last <= last) {
            remove_piece(p, used);
            continue;
        }
        if (p->first >= first) { /* its end stays */
            p->first = last + 1;
            break;
        }
        at = node; /* its start stays */
        if (p->last < first)
            continue;
        p->last = first - 1;
        if (rest.last > last) {
            rest.first = last + 1;
            put_after(at, s, &rest);
            ++*used;
            break;
        }
    }
    return at;
}

/* Join the piece with those beside it that are of its type and adjacent. */
static void join(struct holder *h, struct piece *p, size_t *used)
{
    struct list *prev = p->in_holder.prev, *next = p->in_holder.next;

    if (prev != &h->pieces) {
        struct piece *q = container_of(prev, struct piece, in_holder);

        if (q->type == p->type && q->last + 1 == p->first) {
            p->first = q->first;
            remove_piece(q, used);
        }
    }
    if (next != &h->pieces) {
        struct piece *q = container_of(next, struct piece, in_holder);

        if (q->type == p->type && p->last + 1 == q->first) {
            p->last = q->last;
            remove_piece(q, used);
        }
    }
}

static void set(struct holder *h, const struct lm_range *r, struct spares *s,
                size_t *used)
{
    const struct piece as = {
        .first = r->first, .last = r->last, .type = r->type, .pid = r->pid};
    struct list *at = cut(h, r->first, r->last, s, used);

    if (r->type == LM_UNLCK)
        return;
    put_after(at, s, &as);
    ++*used;
    join(h, container_of(at->next, struct piece, in_holder), used);
}

static void put_holder(struct holder *h)
{
    if (!list_empty(&h->pieces))
        return;
    list_remove(&h->in_file);
    free(h);
}

/* -- conflicts ------------------------------------------------------------- */

static bool overlaps(const struct piece *p, const struct lm_range *r)
{
    return p->first <= r->last && r->first <= p->last;
}

/* Can a holder be in the way of this owner at all? */
static bool is_other(const struct holder *h, const struct lm_range_owner *owner)
{
    return (h->owner.kind == LM_FLOCK) == (owner->kind == LM_FLOCK) &&
           !same_owner(&h->owner, owner);
}

static struct piece *in_the_way(const struct holder *h,
                                const struct lm_range *r)
{
    if (r->type == LM_UNLCK || !is_other(h, &r->owner))
        return NULL;
    list_for_each (node, &h->pieces) {
        struct piece *p = container_of(node, struct piece, in_holder);

        if (overlaps(p, r) && (p->type == LM_WRLCK || r->type == LM_WRLCK))
            return p;
    }
    return NULL;
}

static bool has_conflict(const struct file *f, const struct lm_range *r)
{
    list_for_each (node, &f->holders)
        if (in_the_way(container_of(node, struct holder, in_file), r))
            return true;
    return false;
}

bool lm_ranges_test(const struct lm_ranges *t, const struct lm_range *r,
                    struct lm_range *ret_other)
{
    const struct file *f = find_file(t, r->file);

    if (!f)
        return false;
    list_for_each (node, &f->holders) {
        const struct holder *h = container_of(node, struct holder, in_file);
        const struct piece *p = in_the_way(h, r);

        if (!p)
            continue;
        *ret_other = (struct lm_range){.file = r->file,
                                       .owner = h->owner,
                                       .type = p->type,
                                       .first = p->first,
                                       .last = p->last,
                                       .pid = p->pid};
        return true;
    }
    return false;
}

/* -- setting --------------------------------------------------------------- */

static struct holder *get_holder(struct file *f,
                                 const struct lm_range_owner *owner)
{
    struct holder *h = find_holder(f, owner);

    if (h)
        return h;
    h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->owner = *owner;
    list_init(&h->pieces);
    list_push_back(&f->holders, &h->in_file);
    return h;
}

static enum err set_in(struct lm_ranges *t, struct file *f,
                       const struct lm_range *r)
{
    struct account *a = get_account(t, &r->owner.peer);
    AUTO(spares_fini) struct spares s = {0};
    struct holder *h;

    if (!a || spares_init(&s))
        return E_NOMEM;
    if (r->type != LM_UNLCK && a->used + LM_RANGE_PIECES > t->max)
        return E_NOLCK;
    h = get_holder(f, &r->owner);
    if (!h)
        return E_NOMEM;
    set(h, r, &s, &a->used);
    put_holder(h);
    return E_OK;
}

/* flock(2): converting removes what is held, then takes the new lock. */
static enum err drop_other_type(struct lm_ranges *t, struct file *f,
                                const struct lm_range *r)
{
    const struct holder *h =
        r->owner.kind == LM_FLOCK ? find_holder(f, &r->owner) : NULL;
    struct lm_range old = *r;

    old.type = LM_UNLCK;
    if (!h ||
        container_of(h->pieces.next, struct piece, in_holder)->type == r->type)
        return E_OK;
    return set_in(t, f, &old);
}

enum err lm_ranges_set(struct lm_ranges *t, const struct lm_range *r)
{
    struct file *f = get_file(t, r->file);
    enum err e;

    if (!f)
        return E_NOMEM;
    e = drop_other_type(t, f, r);
    if (!e)
        e = has_conflict(f, r) ? E_AGAIN : set_in(t, f, r);
    put_file(t, f);
    return e;
}

/* The first piece that is stronger than `r`, as far as it lies within. */
static bool find_stronger(const struct holder *h, const struct lm_range *r,
                          struct lm_range *ret_part)
{
    list_for_each (node, &h->pieces) {
        const struct piece *p = container_of(node, struct piece, in_holder);

        if (!overlaps(p, r) || p->type <= r->type)
            continue;
        *ret_part = *r;
        ret_part->first = max_u64(p->first, r->first);
        ret_part->last = min_u64(p->last, r->last);
        return true;
    }
    return false;
}

void lm_ranges_weaken(struct lm_ranges *t, const struct lm_range *r)
{
    struct file *f = find_file(t, r->file);
    enum err e = f ? drop_other_type(t, f, r) : E_OK;
    struct holder *h;
    struct lm_range part;

    if (!f)
        return;
    while (!e && (h = find_holder(f, &r->owner)) && find_stronger(h, r, &part))
        e = set_in(t, f, &part);
    put_file(t, f);
}

/* -- waiting --------------------------------------------------------------- */

static bool waits_for(struct lm_ranges *t, struct file *f,
                      const struct lm_range *r,
                      const struct lm_range_owner *owner);

/* Does the holder, by what he waits for himself, wait for `owner`? */
static bool holder_waits_for(struct lm_ranges *t, const struct holder *h,
                             const struct lm_range_owner *owner)
{
    list_for_each (node, &t->waiters) {
        struct waiter *w = container_of(node, struct waiter, in_table);

        if (w->is_seen || !same_owner(&w->range.owner, &h->owner))
            continue;
        w->is_seen = true;
        if (waits_for(t, w->file, &w->range, owner))
            return true;
    }
    return false;
}

static bool waits_for(struct lm_ranges *t, struct file *f,
                      const struct lm_range *r,
                      const struct lm_range_owner *owner)
{
    list_for_each (node, &f->holders) {
        struct holder *h = container_of(node, struct holder, in_file);

        if (h->owner.kind != LM_POSIX || !in_the_way(h, r))
            continue;
        if (same_owner(&h->owner, owner) || holder_waits_for(t, h, owner))
            return true;
    }
    return false;
}

static bool is_deadlock(struct lm_ranges *t, struct file *f,
                        const struct lm_range *r)
{
    if (r->owner.kind != LM_POSIX)
        return false;
    list_for_each (node, &t->waiters)
        container_of(node, struct waiter, in_table)->is_seen = false;
    return waits_for(t, f, r, &r->owner);
}

enum err lm_ranges_wait(struct lm_ranges *t, const struct lm_range *r,
                        uint64_t id)
{
    struct account *a = get_account(t, &r->owner.peer);
    struct file *f;
    struct waiter *w;

    if (!a)
        return E_NOMEM;
    if (a->used >= t->max)
        return E_NOLCK;
    f = get_file(t, r->file);
    if (!f)
        return E_NOMEM;
    if (is_deadlock(t, f, r)) {
        put_file(t, f);
        return E_DEADLOCK;
    }
    w = calloc(1, sizeof *w);
    if (!w) {
        put_file(t, f);
        return E_NOMEM;
    }
    w->file = f;
    w->account = a;
    w->range = *r;
    w->id = id;
    list_push_back(&t->waiters, &w->in_table);
    f->waiter_count++;
    a->used++;
    return E_OK;
}

static void free_waiter(struct lm_ranges *t, struct waiter *w)
{
    w->file->waiter_count--;
    put_file(t, w->file);
    list_remove(&w->in_table);
    w->account->used--;
    free(w);
}

bool lm_ranges_serve(struct lm_ranges *t, uint64_t file,
                     struct lm_peer *ret_peer, uint64_t *ret_id)
{
    list_for_each (node, &t->waiters) {
        struct waiter *w = container_of(node, struct waiter, in_table);

        if ((file && w->range.file != file) || has_conflict(w->file, &w->range))
            continue;
        if (set_in(t, w->file, &w->range))
            continue; /* no memory now: it goes on waiting */
        *ret_peer = w->range.owner.peer;
        *ret_id = w->id;
        free_waiter(t, w);
        return true;
    }
    return false;
}

bool lm_ranges_cancel(struct lm_ranges *t, const struct lm_peer *peer,
                      uint64_t id)
{
    list_for_each (node, &t->waiters) {
        struct waiter *w = container_of(node, struct waiter, in_table);

        if (w->id != id || !lm_same_peer(&w->range.owner.peer, peer))
            continue;
        free_waiter(t, w);
        return true;
    }
    return false;
}

/* -- all of a peer, all of a file ------------------------------------------ */

static void free_holder(struct holder *h)
{
    list_for_each (node, &h->pieces)
        free(container_of(node, struct piece, in_holder));
    list_remove(&h->in_file);
    free(h);
}

void lm_ranges_drop(struct lm_ranges *t, const struct lm_peer *peer)
{
    list_for_each (node, &t->waiters) {
        struct waiter *w = container_of(node, struct waiter, in_table);

        if (lm_same_peer(&w->range.owner.peer, peer))
            free_waiter(t, w);
    }
    lm_hash_for_each (at, &t->files) {
        struct file *f = container_of(at, struct file, in_hash);

        list_for_each (node, &f->holders) {
            struct holder *h = container_of(node, struct holder, in_file);

            if (lm_same_peer(&h->owner.peer, peer))
                free_holder(h);
        }
        put_file(t, f);
    }
    list_for_each (node, &t->accounts) {
        struct account *a = container_of(node, struct account, in_table);

        if (!lm_same_peer(&a->peer, peer))
            continue;
        list_remove(&a->in_table);
        free(a);
    }
}

void lm_ranges_free(struct lm_ranges *t)
{
    if (!t)
        return;
    list_for_each (node, &t->waiters)
        free(container_of(node, struct waiter, in_table));
    lm_hash_for_each (at, &t->files) {
        struct file *f = container_of(at, struct file, in_hash);

        list_for_each (node, &f->holders)
            free_holder(container_of(node, struct holder, in_file));
        free(f);
    }
    list_for_each (node, &t->accounts)
        free(container_of(node, struct account, in_table));
    lm_hash_fini(&t->files);
    free(t);
}

size_t lm_ranges_used(const struct lm_ranges *t, const struct lm_peer *peer)
{
    list_for_each (node, &t->accounts) {
        const struct account *a = container_of(node, struct account, in_table);

        if (lm_same_peer(&a->peer, peer))
            return a->used;
    }
    return 0;
}

bool lm_ranges_is_free(const struct lm_ranges *t, uint64_t file)
{
    return !find_file(t, file);
}

static void each_of(const struct file *f, lm_ranges_fn *fn, void *arg)
{
    list_for_each (node, &f->holders) {
        const struct holder *h = container_of(node, struct holder, in_file);

        list_for_each (at, &h->pieces) {
            const struct piece *p = container_of(at, struct piece, in_holder);

            fn(arg, &(struct lm_range){.file = f->number,
                                       .owner = h->owner,
                                       .type = p->type,
                                       .first = p->first,
                                       .last = p->last,
                                       .pid = p->pid});
        }
    }
}

void lm_ranges_each(const struct lm_ranges *t, uint64_t file, lm_ranges_fn *fn,
                    void *arg)
{
    if (file) {
        const struct file *f = find_file(t, file);

        if (f)
            each_of(f, fn, arg);
        return;
    }
    lm_hash_for_each (node, &t->files)
        each_of(container_of(node, struct file, in_hash), fn, arg);
}
