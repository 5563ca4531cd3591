/* lunard/cluster_view.c - what membership says, as guards need it: views with
 * the nodes that reach a LUN, which volume is the arbiter, and who is fenced
 * on all volumes and so missed no more.
 * Fences nobody and waits for nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cluster_private.h"

#include "base/log.h"
#include "base/transport_tls.h"

#include <inttypes.h>
#include <string.h>

static uint64_t bit(uint32_t node)
{
    return UINT64_C(1) << (node - 1);
}

/* -- the view of a seat ---------------------------------------------------- */

static uint64_t members_of(const struct member_view *view)
{
    uint64_t members = 0;

    for (unsigned i = 0; i < view->member_count; i++)
        members |= bit(view->members[i].node);
    return members;
}

/* Does the cluster have that volume, or was it only asked about? */
static bool is_used(struct cluster *c, const struct seat *s)
{
    const struct table_record *r = table_lookup(&c->table, s->uuid);

    return r && r->used;
}

/* Where a split is raced: of the volumes that every node of the last full view
 * reached (F8).  If there is none, each volume is raced for by itself: who
 * loses one of them is out on all. */
static bool is_arbiter(struct cluster *c, const struct seat *seat)
{
    struct takeover_volume volumes[TABLE_VOLUMES_MAX];
    const struct seat *seats[TABLE_VOLUMES_MAX];
    size_t count = 0;
    int arbiter;

    list_for_each (at, &c->seats) {
        const struct seat *s = container_of(at, struct seat, node);

        if (count == TABLE_VOLUMES_MAX || !is_used(c, s))
            continue;
        memcpy(volumes[count].uuid, s->uuid, sizeof s->uuid);
        volumes[count].paths = s->peers.full_paths;
        seats[count++] = s;
    }
    arbiter = takeover_arbiter(volumes, count, c->full_members);
    return arbiter < 0 || seats[arbiter] == seat;
}

/* The number of a view is the same for all who are in it; notices of paths are
 * delivered in one order, so their count is, too. */
void cluster_tell_view(struct cluster *c, struct seat *s)
{
    const struct member_view *from = &c->view;
    struct guard *g = seat_guard(s);
    struct lm_view view = {
        .id = from->number << 24 | c->place,
        .quorate = from->quorate,
        .tie = from->tie,
        .members = members_of(from),
    };

    if (!g)
        return;
    for (unsigned i = 0; i < from->member_count; i++)
        view.incarnation[from->members[i].node - 1] =
            from->members[i].incarnation;
    view.arbiter = is_arbiter(c, s);
    view.paths = s->peers.paths & view.members;
    view.barred = c->barred & view.members;
    guard_on_view(g, &view);
}

static void tell_views(struct cluster *c)
{
    list_for_each (at, &c->seats)
        cluster_tell_view(c, container_of(at, struct seat, node));
}

/* -- who is fenced where --------------------------------------------------- */

static bool fenced_everywhere(struct cluster *c, const struct member_id *id)
{
    list_for_each (at, &c->seats) {
        const struct seat *s = container_of(at, struct seat, node);

        if (is_used(c, s) && s->peers.fenced[id->node - 1] < id->incarnation)
            return false;
    }
    return true;
}

/* One member says so for all: the first. */
static void miss_no_more(struct cluster *c)
{
    const struct member_view *view = &c->view;

    if (!view->quorate || !view->member_count ||
        view->members[0].node != c->me.node)
        return;
    for (unsigned i = 0; i < view->gone_count; i++) {
        const struct member_id *id = &view->gone[i].id;

        if (view->gone[i].state == MEMBER_MISSING && fenced_everywhere(c, id))
            (void)!member_fenced(c->member, id->node, id->incarnation);
    }
}

/* Whom everybody reached when last nobody was missing: of that both sides of a
 * split have the same memory. */
static void note_full_view(struct cluster *c)
{
    if (!c->view.quorate || c->view.gone_count)
        return;
    c->full_members = members_of(&c->view);
    list_for_each (at, &c->seats) {
        struct seat *s = container_of(at, struct seat, node);

        s->peers.full_paths = s->peers.paths & c->full_members;
    }
}

/* -- notices --------------------------------------------------------------- */

static void hear_path(struct cluster *c, uint32_t node, const path_notice *n)
{
    struct seat *s = cluster_seat(c, (const uint8_t *)n->volume);

    if (!s)
        return;
    s->peers.paths &= ~bit(node);
    if (n->reached)
        s->peers.paths |= bit(node);
    c->place++;
    note_full_view(c);
    tell_views(c);
}

static void hear_fenced(struct cluster *c, const fenced_notice *n)
{
    struct seat *s = cluster_seat(c, (const uint8_t *)n->volume);

    if (!s || n->node < 1 || n->node > LM_NODES_MAX)
        return;
    s->peers.fenced[n->node - 1] =
        max_u64(s->peers.fenced[n->node - 1], n->incarnation);
    miss_no_more(c);
}

static void hear_table(struct cluster *c, uint32_t node, const void *bytes,
                       size_t count)
{
    struct table_news news = {.changed = false};
    struct diag why = {0};
    enum err e;

    cluster_lock(c);
    e = table_deliver(&c->table, node, bytes, count, &news, &why);
    if (!e && news.decided && news.entry.node == c->me.node &&
        news.entry.stamp == c->order.entry.stamp &&
        !memcmp(news.entry.uuid, c->order.entry.uuid, sizeof news.entry.uuid)) {
        c->order.decided = true;
        c->order.verdict = news.verdict;
    }
    cluster_unlock(c);
    if (e)
        log_warning("volumes, as node %u tells them: %s", node,
                    diag_text(&why, e));
    if (!e && news.changed)
        c->args.ear->changed(c->args.ear);
}

static void set_drain(struct cluster *c, uint32_t node, drain_mark mark)
{
    c->drain[node] = mark;
    c->barred &= ~bit(node);
    if (mark != DRAIN_NONE)
        c->barred |= bit(node);
}

static void hear_drain(struct cluster *c, uint32_t node, drain_mark mark)
{
    if ((unsigned)mark > DRAIN_DONE) /* of a later version */
        return;
    cluster_lock(c);
    set_drain(c, node, mark);
    cluster_unlock(c);
    c->place++;
    tell_views(c);
}

void cluster_tell_drain(struct cluster *c)
{
    const notice n = {.kind = NOTICE_DRAIN, .notice_u.drain = c->my_drain};

    if (c->drain_owed && !cluster_announce(c, &n))
        c->drain_owed = false;
}

static bool decode(const void *bytes, size_t count, notice *ret_notice)
{
    union {
        const void *in;
        char *out;
    } p = {.in = bytes};
    bool ok;
    XDR xdr;

    memset(ret_notice, 0, sizeof *ret_notice);
    xdrmem_create(&xdr, p.out, (u_int)count, XDR_DECODE);
    ok = xdr_notice(&xdr, ret_notice) && xdr_getpos(&xdr) == count;
    xdr_destroy(&xdr);
    return ok;
}

void cluster_on_notice(struct member_ear *ear, uint32_t node,
                       uint64_t incarnation, const void *bytes, size_t count)
{
    struct cluster *c = container_of(ear, struct cluster, member_ear);
    notice n;

    (void)incarnation;
    if (!decode(bytes, count, &n)) {
        if (!c->garbage++)
            log_warning("node %u tells the cluster what is no notice of this "
                        "version of Lunar; dropped",
                        node);
    } else if (n.kind == NOTICE_PATH) {
        hear_path(c, node, &n.notice_u.path);
    } else if (n.kind == NOTICE_FENCED) {
        hear_fenced(c, &n.notice_u.fenced);
    } else if (n.kind == NOTICE_DRAIN) {
        hear_drain(c, node, n.notice_u.drain);
    } else {
        hear_table(c, node, n.notice_u.table.table_val,
                   n.notice_u.table.table_len);
    }
    xdr_free((xdrproc_t)xdr_notice, (char *)&n);
}

/* -- views ----------------------------------------------------------------- */

void cluster_tell_table(struct cluster *c)
{
    static uint8_t bytes[TABLE_MESSAGE_BYTES]; /* of the loop's thread */

    while (c->telling) {
        unsigned at = c->told;
        size_t count = table_say_known(&c->table, &at, bytes);
        notice n = {.kind = NOTICE_TABLE};

        n.notice_u.table.table_val = (char *)bytes;
        n.notice_u.table.table_len = (u_int)count;
        if (count && cluster_announce(c, &n) == E_AGAIN)
            return; /* the next beat goes on */
        c->told = at;
        c->telling = count > 0;
    }
}

/* Who is new knows nothing of us, nor we of it. */
static void welcome(struct cluster *c, const struct member_view *old)
{
    const struct member_view *view = &c->view;
    uint64_t news = 0;

    for (unsigned i = 0; i < view->member_count; i++) {
        const struct member_id *id = &view->members[i];
        const struct member_id *was = member_view_find(old, id->node);

        if (!was || was->incarnation != id->incarnation) {
            news |= bit(id->node);
            set_drain(c, id->node, DRAIN_NONE); /* until it says so */
        }
    }
    if (!news)
        return;
    c->drain_owed = c->my_drain != DRAIN_NONE;
    cluster_tell_drain(c);
    list_for_each (at, &c->seats) {
        struct seat *s = container_of(at, struct seat, node);

        s->peers.paths &= ~(news & ~bit(c->me.node));
        if (seat_guard(s))
            guard_tell_path(seat_guard(s));
    }
}

static void dial(struct cluster *c, const struct member_view *old)
{
    const struct member_view *view = &c->view;
    struct diag why = {0};

    for (unsigned i = 0; i < view->member_count; i++) {
        const struct member_id *id = &view->members[i];
        enum err e = E_OK;

        if (id->node != c->me.node)
            e = transport_tls_peer(c->transport, id->node, id->address, &why);
        if (e)
            log_warning("host %s: %s", id->name, diag_text(&why, e));
    }
    for (unsigned i = 0; i < old->member_count; i++)
        if (!member_view_find(view, old->members[i].node))
            transport_tls_forget(c->transport, old->members[i].node);
}

/* The first view: this host has a number now. */
static void get_in(struct cluster *c)
{
    struct diag why = {0};
    enum err e;

    for (unsigned i = 0; i < c->view.member_count; i++)
        if (c->view.members[i].incarnation == c->args.incarnation &&
            !memcmp(c->view.members[i].host, c->args.uuid, 16))
            c->me =
                (struct lm_run){c->view.members[i].node, c->args.incarnation};
    ASSERT(c->me.node);
    e = cluster_start_wire(c, &why);
    if (e)
        cluster_end(c, diag_text(&why, e));
}

static void log_view(const struct member_view *view)
{
    struct buf b = {0};

    member_view_to_text(&b, view);
    log_info("%s", buf_text(&b));
    buf_fini(&b);
}

void cluster_on_member_view(struct member_ear *ear,
                            const struct member_view *view)
{
    struct cluster *c = container_of(ear, struct cluster, member_ear);
    struct member_view *old = malloc(sizeof *old);
    bool first = view->joined && !c->me.node;

    ASSERT(old);
    *old = c->view;
    cluster_lock(c);
    c->place = view->number == old->number ? c->place : 0;
    if (view->tie != old->tie)
        c->place++; /* where there is a tie this host is alone in its view */
    c->view = *view;
    table_view(&c->table, view->number, view->joined ? members_of(view) : 0,
               view->quorate);
    if (first)
        get_in(c);
    if (view->joined)
        atomic_store(&c->joined, true);
    cluster_unlock(c);
    c->told = 0;
    c->telling = view->joined;
    log_view(view);
    if (!c->net) {
        free(old);
        return;
    }
    if (view->joined) {
        dial(c, old);
        welcome(c, old);
        note_full_view(c);
        miss_no_more(c);
    }
    tell_views(c);
    cluster_tell_table(c);
    free(old);
}
