/* lunard/cluster_admin.c - what other threads ask of the cluster: volumes for
 * its table, nodes by name, the operator's word.  They wait, the loop does not.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cluster_private.h"

#include "base/jsonfile.h"
#include "base/jsontext.h"

#include <stdio.h>
#include <string.h>

const char *cluster_name(const struct cluster *c)
{
    return c->args.config->cluster_name;
}

bool cluster_owns_key(const struct cluster *c, uint64_t key)
{
    struct lm_run run;
    uint32_t turn;

    return lm_key_read(key, c->tag, &run, &turn);
}

uint64_t cluster_key_of(const struct cluster *c)
{
    return lm_key_make(c->tag, c->me, 0);
}

/* -- seats ----------------------------------------------------------------- */

struct seat_question {
    struct cluster *c;
    const uint8_t *uuid;
    struct seat *seat;
};

static void find_seat(void *arg)
{
    struct seat_question *q = arg;

    q->seat = cluster_seat(q->c, q->uuid);
}

struct seat *cluster_get_seat(struct cluster *c, const uint8_t uuid[16])
{
    struct seat_question q = {.c = c, .uuid = uuid};

    cluster_run(c, find_seat, &q);
    return q.seat;
}

/* -- the table ------------------------------------------------------------- */

size_t cluster_volumes(struct cluster *c, struct table_entry *ret_entries,
                       size_t max)
{
    size_t count = 0;

    pthread_mutex_lock(&c->mutex);
    for (unsigned i = 0; i < c->table.count && count < max; i++)
        if (c->table.records[i].used)
            ret_entries[count++] = c->table.records[i].entry;
    pthread_mutex_unlock(&c->mutex);
    return count;
}

bool cluster_was_removed(struct cluster *c, const uint8_t uuid[16])
{
    const struct table_record *r;
    bool removed;

    pthread_mutex_lock(&c->mutex);
    r = table_lookup(&c->table, uuid);
    removed = r && r->entry.removed;
    pthread_mutex_unlock(&c->mutex);
    return removed;
}

enum err cluster_save(struct cluster *c, struct diag *why)
{
    json_t *json;

    pthread_mutex_lock(&c->mutex);
    json = table_to_json(&c->table);
    pthread_mutex_unlock(&c->mutex);
    if (!json)
        return diag_fail(why, E_NOMEM, "%s: out of memory", c->args.state_path);
    return jsonfile_save(c->args.state_path, json, why);
}

struct order {
    struct cluster *c;
    struct table_entry *entry;
    struct diag *why;
    enum err e;
};

/* Errors: E_AGAIN - when the table is whole, or there is room to send. */
static void propose(void *arg)
{
    static uint8_t bytes[TABLE_MESSAGE_BYTES]; /* of the loop's thread */
    struct order *o = arg;
    struct cluster *c = o->c;
    notice n = {.kind = NOTICE_TABLE};

    if (!c->view.quorate) {
        o->e = diag_fail(o->why, E_NO_QUORUM,
                         "the cluster has no quorum: try again when more of "
                         "its hosts are up");
        return;
    }
    pthread_mutex_lock(&c->mutex);
    o->e = table_propose(&c->table, c->me.node, o->entry, o->why);
    c->order.entry = *o->entry;
    c->order.decided = false;
    pthread_mutex_unlock(&c->mutex);
    if (o->e)
        return;
    n.notice_u.table.table_val = (char *)bytes;
    n.notice_u.table.table_len = (u_int)table_say_new(o->entry, bytes);
    o->e = cluster_announce(c, &n);
}

/* Delivered: in one order, so what became of it here became of it there. */
static bool is_decided(void *arg)
{
    const struct order *o = arg;

    return o->c->order.decided;
}

static bool is_whole(void *arg)
{
    const struct order *o = arg;

    return table_whole(&o->c->table);
}

static enum err try_order(struct order *o, enum table_verdict *ret_verdict)
{
    struct cluster *c = o->c;

    cluster_run(c, propose, o);
    if (o->e == E_AGAIN && cluster_wait(c, is_whole, o))
        cluster_run(c, propose, o);
    if (o->e)
        return o->e;
    if (!cluster_wait(c, is_decided, o))
        return diag_fail(o->why, E_TIMEOUT,
                         "the cluster has not agreed in time: look at \"lunar "
                         "volume list\"");
    pthread_mutex_lock(&c->mutex);
    *ret_verdict = c->order.verdict;
    pthread_mutex_unlock(&c->mutex);
    return E_OK;
}

static enum err give_order(struct cluster *c, struct table_entry *entry,
                           struct diag *why)
{
    enum { TRIES = 5 };
    const struct table_entry wish = *entry;
    struct order o = {.c = c, .entry = entry, .why = why};
    enum table_verdict verdict = TABLE_UNSETTLED;
    enum err e = E_OK;

    pthread_mutex_lock(&c->ordering);
    for (int i = 0; i < TRIES && !e && table_verdict_retry(verdict); i++) {
        *entry = wish;
        e = try_order(&o, &verdict);
    }
    pthread_mutex_unlock(&c->ordering);
    if (e)
        return e;
    if (verdict != TABLE_ADDED && verdict != TABLE_CHANGED &&
        verdict != TABLE_REMOVED && verdict != TABLE_STALE)
        return diag_fail(why, E_EXIST, "volume %s: %s", wish.name,
                         table_verdict_text(verdict));
    return cluster_save(c, why);
}

enum err cluster_volume_add(struct cluster *c, struct table_entry *entry,
                            struct diag *why)
{
    return give_order(c, entry, why);
}

enum err cluster_volume_remove(struct cluster *c, const uint8_t uuid[16],
                               struct diag *why)
{
    struct table_entry entry = {.removed = true};

    memcpy(entry.uuid, uuid, sizeof entry.uuid);
    return give_order(c, &entry, why);
}

/* -- nodes ----------------------------------------------------------------- */

const char *cluster_host_name(struct cluster *c, uint32_t node,
                              char buf[MEMBER_NAME_BYTES])
{
    const struct member_id *id = member_view_find(&c->view, node);

    if (id)
        snprintf(buf, MEMBER_NAME_BYTES, "%s", id->name);
    else
        snprintf(buf, MEMBER_NAME_BYTES, "node %u", node);
    return buf;
}

/* By name or by number. */
static bool is_called(const struct member_id *id, const char *name)
{
    char number[16];

    snprintf(number, sizeof number, "%u", id->node);
    return !strcmp(id->name, name) || !strcmp(number, name);
}

struct node_question {
    struct cluster *c;
    struct cluster_host *hosts;
    bool others;
    const char *name;
    uint32_t node;
    struct lm_run gone;
    json_t *list;
};

static void find_node(void *arg)
{
    struct node_question *q = arg;
    const struct member_view *view = &q->c->view;

    for (unsigned i = 0; i < view->member_count; i++)
        if (is_called(&view->members[i], q->name))
            q->node = view->members[i].node;
}

uint32_t cluster_node(struct cluster *c, const char *name)
{
    struct node_question q = {.c = c, .name = name};

    cluster_run(c, find_node, &q);
    return q.node;
}

/* A run that this one never met has only a number here. */
static struct lm_run find_unmet(const struct node_question *q)
{
    list_for_each (at, &q->c->seats) {
        const struct guard *g = seat_guard(container_of(at, struct seat, node));
        struct member_id id = {.node = g ? guard_unmet(g).node : 0};

        if (id.node && is_called(&id, q->name))
            return guard_unmet(g);
    }
    return (struct lm_run){0, 0};
}

static void list_hosts(void *arg)
{
    struct node_question *q = arg;
    const struct member_view *view = &q->c->view;
    uint32_t count = 0;

    for (unsigned i = 0; i < view->member_count; i++) {
        const struct member_id *id = &view->members[i];

        if (q->others && id->node == q->c->me.node)
            continue;
        q->hosts[count].node = id->node;
        memcpy(q->hosts[count++].name, id->name, sizeof id->name);
    }
    q->node = count;
}

unsigned cluster_hosts(struct cluster *c, bool others,
                       struct cluster_host ret_hosts[LM_NODES_MAX])
{
    struct node_question q = {.c = c, .hosts = ret_hosts, .others = others};

    cluster_run(c, list_hosts, &q);
    return q.node;
}

uint32_t cluster_me(const struct cluster *c)
{
    return c->me.node;
}

void cluster_ask(struct cluster *c, struct errand *list, unsigned count,
                 unsigned limit_ms)
{
    errands_ask(c->errands, list, count, limit_ms);
}

static void find_gone(void *arg)
{
    struct node_question *q = arg;
    const struct member_view *view = &q->c->view;

    for (unsigned i = 0; i < view->gone_count; i++) {
        const struct member_id *id = &view->gone[i].id;

        if (is_called(id, q->name) && id->incarnation > q->gone.incarnation)
            q->gone = (struct lm_run){id->node, id->incarnation};
    }
    if (!q->gone.node)
        q->gone = find_unmet(q);
    if (!q->gone.node)
        return;
    list_for_each (at, &q->c->seats) {
        struct guard *g = seat_guard(container_of(at, struct seat, node));

        if (g)
            guard_confirm_dead(g, q->gone);
    }
}

enum err cluster_confirm_dead(struct cluster *c, const char *node,
                              struct diag *why)
{
    struct node_question q = {.c = c, .name = node};

    if (cluster_node(c, node))
        return diag_fail(why, E_BUSY,
                         "%s: is in the cluster, and alive: nothing is done",
                         node);
    cluster_run(c, find_gone, &q);
    if (!q.gone.node)
        return diag_fail(why, E_NOENT,
                         "%s: nobody of that name or number is missed", node);
    return E_OK;
}

/* -- drained --------------------------------------------------------------- */

struct drain_order {
    struct cluster *c;
    drain_mark mark;
    bool quorate;
};

static void order_drain(void *arg)
{
    struct drain_order *o = arg;

    o->quorate = o->c->view.quorate;
    if (!o->quorate && o->mark == DRAIN_BEGUN)
        return; /* else it is told as soon as there is one */
    o->c->my_drain = o->mark;
    o->c->drain_owed = true;
    cluster_tell_drain(o->c);
}

bool cluster_is_drained(struct cluster *c, uint32_t node)
{
    bool drained;

    pthread_mutex_lock(&c->mutex);
    drained = c->drain[node] != DRAIN_NONE;
    pthread_mutex_unlock(&c->mutex);
    return drained;
}

static bool is_marked(void *arg)
{
    const struct drain_order *o = arg;

    return o->c->drain[o->c->me.node] == o->mark;
}

enum err cluster_drain(struct cluster *c, drain_mark mark, struct diag *why)
{
    struct drain_order o = {.c = c, .mark = mark};

    cluster_run(c, order_drain, &o);
    if (!o.quorate)
        return diag_fail(why, E_NO_QUORUM,
                         "the cluster has no quorum: try again when more of "
                         "its hosts are up");
    if (!cluster_wait(c, is_marked, &o))
        return diag_fail(why, E_TIMEOUT,
                         "the other hosts have not heard of "
                         "it in time");
    return E_OK;
}

static const char *state_of(const struct cluster *c, uint32_t node)
{
    static const char *const names[] = {
        [DRAIN_NONE] = "up",
        [DRAIN_BEGUN] = "draining",
        [DRAIN_DONE] = "drained",
    };

    return names[c->drain[node]];
}

static void list_nodes(void *arg)
{
    struct node_question *q = arg;
    const struct member_view *view = &q->c->view;

    for (unsigned i = 0; i < view->member_count; i++)
        json_array_append_new(
            q->list,
            json_pack("{s:o, s:i, s:s, s:I, s:s}", "name",
                      json_text(view->members[i].name), "node",
                      (int)view->members[i].node, "state",
                      state_of(q->c, view->members[i].node), "incarnation",
                      (json_int_t)view->members[i].incarnation, "address",
                      view->members[i].address));
    for (unsigned i = 0; i < view->gone_count; i++)
        json_array_append_new(
            q->list,
            json_pack("{s:o, s:i, s:s, s:I}", "name",
                      json_text(view->gone[i].id.name), "node",
                      (int)view->gone[i].id.node, "state",
                      member_gone_name(view->gone[i].state), "incarnation",
                      (json_int_t)view->gone[i].id.incarnation));
}

json_t *cluster_to_json(struct cluster *c)
{
    struct node_question q = {.c = c, .list = json_array()};

    cluster_run(c, list_nodes, &q);
    return q.list;
}

static void ask_quorum(void *arg)
{
    struct node_question *q = arg;

    q->node = q->c->view.quorate;
}

bool cluster_is_quorate(struct cluster *c)
{
    struct node_question q = {.c = c};

    cluster_run(c, ask_quorum, &q);
    return q.node;
}
