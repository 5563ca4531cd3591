/* lockmgr/member_settle.c - what an event has made necessary: announcing, a new
 * view, condemning, telling.
 * Looks at the state only; the events are member_core.c's.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member_settle.h"

#include <stdio.h>

#include "lockmgr/member_view.h"

enum { PATIENCE = 2 }; /* times suspect: then a joiner founds a view itself */

/* -- who is who ------------------------------------------------------------ */

bool core_ring_same(struct member_ring a, struct member_ring b)
{
    return a.node == b.node && a.seq == b.seq;
}

bool core_is_me(const struct member_core *core, const struct member_id *id)
{
    return id->node == core->args.me.node &&
           id->incarnation == core->args.me.incarnation;
}

struct member_record *core_my_record(struct member_core *core)
{
    return table_find(&core->table, core->args.me.node,
                      core->args.me.incarnation);
}

struct member_core_process *core_find_process(struct member_core *core,
                                              uint32_t node, uint32_t pid)
{
    for (unsigned i = 0; i < core->process_count; i++)
        if (core->processes[i].p.node == node &&
            core->processes[i].p.pid == pid)
            return &core->processes[i];
    return NULL;
}

/* The record of what a process announced; NULL: it has not. */
struct member_record *core_record_of(struct member_core *core,
                                     const struct member_core_process *p)
{
    return p->incarnation ? table_find(&core->table, p->p.node, p->incarnation)
                          : NULL;
}

/* Its process is there and announced it. */
static bool is_present(struct member_core *core, const struct member_record *r)
{
    const struct member_core_process *p =
        core_find_process(core, r->id.node, r->pid);

    return p && p->incarnation == r->id.incarnation;
}

/* Its process has gone; if it is there again it may still announce itself. */
bool core_is_gone(struct member_core *core, const struct member_record *r)
{
    const struct member_core_process *p =
        core_find_process(core, r->id.node, r->pid);

    return !p || (p->incarnation && p->incarnation != r->id.incarnation);
}

bool core_is_lost(struct member_core *core, const struct member_record *r)
{
    return r->state == RECORD_LIVE && !r->member && core_is_gone(core, r);
}

bool core_is_dead(const struct member_record *r)
{
    return r && r->state > RECORD_LIVE;
}

/* A process that is to be heard: not of our view, and not done with. */
bool core_is_foreign(struct member_core *core,
                     const struct member_core_process *p)
{
    const struct member_record *r = core_record_of(core, p);

    return !p->refused && !core_is_dead(r) && !(r && r->member);
}

bool core_any_foreign(struct member_core *core)
{
    for (unsigned i = 0; i < core->process_count; i++)
        if (core_is_foreign(core, &core->processes[i]))
            return true;
    return false;
}

bool core_has_quorum_here(const struct member_core *core)
{
    return core->quorum && core_ring_same(core->ring, core->quorum_ring);
}

/* May this node decide about others now? */
bool core_may_condemn(const struct member_core *core)
{
    return core->state == CORE_IN && core->primary &&
           core_has_quorum_here(core);
}

/* -- out ------------------------------------------------------------------- */

struct member_message *core_message(struct member_core *core,
                                    enum member_message_type type)
{
    struct member_message *m = &core->out;

    m->type = type;
    m->in_view = core->state == CORE_IN;
    m->from =
        (struct member_who){core->args.me.node, core->args.me.incarnation};
    m->serial = core->serial;
    m->base = core->base;
    m->number = core->number;
    m->ring = core->ring;
    return m;
}

void core_emit(struct member_effects *fx, const struct member_message *m)
{
    uint8_t *at = fx->room + fx->room_used;

    ASSERT(fx->send_count < MEMBER_SENDS_MAX);
    ASSERT(sizeof fx->room - fx->room_used >= MEMBER_WIRE_BYTES_MAX);
    fx->sends[fx->send_count].bytes = at;
    fx->sends[fx->send_count].count = member_encode(m, at);
    fx->room_used += fx->sends[fx->send_count++].count;
}

void core_end(struct member_core *core, struct member_effects *fx,
              enum member_end how, const char *why)
{
    if (core->state == CORE_ENDED)
        return;
    core->state = CORE_ENDED;
    core->end = how;
    core->primary = false;
    fx->ended = true;
    (void)diag_fail(&fx->why, E_CLOSED, "%s", why);
}

/* The table; others that were never in a view are theirs to tell. */
static void fill_table(struct member_core *core, struct member_message *m,
                       bool (*keep)(struct member_core *,
                                    struct member_record *copy))
{
    m->table.count = 0;
    for (unsigned i = 0; i < core->table.count; i++) {
        struct member_record *copy = &m->table.records[m->table.count];

        *copy = core->table.records[i];
        if (keep(core, copy))
            m->table.count++;
    }
}

static bool announced_record(struct member_core *core,
                             struct member_record *copy)
{
    return copy->state != RECORD_NEW || core_is_me(core, &copy->id);
}

static void maybe_announce(struct member_core *core, struct member_effects *fx)
{
    struct member_message *m;

    if (!core->announce_due || core->announce_flying)
        return;
    m = core_message(core, MSG_ANNOUNCE);
    fill_table(core, m, announced_record);
    core_emit(fx, m);
    core->announce_flying = true;
}

/* -- views ----------------------------------------------------------------- */

/* Who would be in a view made now: who is in this one, and who was heard. */
static bool is_wanted(struct member_core *core, const struct member_record *r)
{
    const struct member_core_process *p =
        core_find_process(core, r->id.node, r->pid);

    return r->state <= RECORD_LIVE && p &&
           p->incarnation == r->id.incarnation && !p->refused &&
           (r->member || p->heard);
}

static bool installed_record(struct member_core *core,
                             struct member_record *copy)
{
    copy->member = is_wanted(core, copy);
    if (copy->member)
        copy->state = RECORD_LIVE;
    return copy->state != RECORD_NEW;
}

static bool is_waiting_for_a_word(struct member_core *core)
{
    for (unsigned i = 0; i < core->process_count; i++) {
        const struct member_core_process *p = &core->processes[i];

        if (core_is_foreign(core, p) && !p->heard && !p->silent)
            return true;
    }
    return false;
}

/* Someone who is in a view will propose to take us in. */
static bool someone_else_is_in(struct member_core *core)
{
    for (unsigned i = 0; i < core->process_count; i++)
        if (core->processes[i].heard && core->processes[i].says_in)
            return true;
    return false;
}

static bool view_should_change(struct member_core *core)
{
    if (core->state == CORE_JOINING)
        return is_wanted(core, core_my_record(core)) &&
               (!someone_else_is_in(core) ||
                core->patience_ticks >= PATIENCE * core->args.suspect_ticks);
    if (!core->primary && core_has_quorum_here(core))
        return true;
    for (unsigned i = 0; i < core->table.count; i++)
        if (is_wanted(core, &core->table.records[i]) &&
            !core->table.records[i].member)
            return true;
    return false;
}

static void maybe_install(struct member_core *core, struct member_effects *fx)
{
    struct member_message *m;

    if (core->install_flying || is_waiting_for_a_word(core) ||
        !view_should_change(core))
        return;
    m = core_message(core, MSG_INSTALL);
    m->number = max_u64(core->number, core->number_max) + 1;
    m->before = core->origin;
    fill_table(core, m, installed_record);
    core_emit(fx, m);
    core->install_flying = true;
}

static void send_condemn(struct member_core *core, struct member_effects *fx,
                         enum condemn_reason reason,
                         bool (*is_victim)(struct member_core *,
                                           const struct member_record *))
{
    struct member_message *m = core_message(core, MSG_CONDEMN);

    m->reason = reason;
    m->who_count = 0;
    for (unsigned i = 0; i < core->table.count; i++) {
        struct member_record *r = &core->table.records[i];

        if (r->condemn_sent || !is_victim(core, r))
            continue;
        r->condemn_sent = true;
        m->who[m->who_count++] =
            (struct member_who){r->id.node, r->id.incarnation};
    }
    if (m->who_count)
        core_emit(fx, m);
}

static bool is_silent(struct member_core *core, const struct member_record *r)
{
    return r->member && !core_is_me(core, &r->id) &&
           r->silent_beats >= core->args.suspect_ticks;
}

/* What was sent may not have counted: the ring or the view was another one. */
void core_condemn_again(struct member_core *core)
{
    for (unsigned i = 0; i < core->table.count; i++)
        core->table.records[i].condemn_sent = false;
}

/* Take out of the view who cannot be in it; a change that all members see.
 * One who was followed by another incarnation of its node is gone for good. */
static void sweep(struct member_core *core)
{
    bool dropped = false;
    uint32_t followed = 0; /* a node of which there is a later one */

    for (unsigned i = core->table.count; i-- > 0;) {
        struct member_record *r = &core->table.records[i];

        if (r->state == RECORD_LIVE && followed == r->id.node &&
            core->state == CORE_IN)
            r->state = RECORD_CONDEMNED;
        if (r->state != RECORD_NEW)
            followed = r->id.node;
        if (r->member && (r->state != RECORD_LIVE || !is_present(core, r))) {
            r->member = false;
            dropped = true;
        }
        if (r->state == RECORD_NEW && !core_is_me(core, &r->id) &&
            core_is_gone(core, r))
            table_remove(&core->table, r);
    }
    table_prune(&core->table);
    if (dropped && core->state == CORE_IN)
        core->number++;
}

static void tell_view(struct member_core *core, struct member_effects *fx)
{
    struct member_view *v = &core->next_view;

    *v = (struct member_view){
        .number = core->number,
        .joined = core->state == CORE_IN,
        .quorate = core->state == CORE_IN && core->primary && core->quorum,
        .tie = core->tie,
        .version = core->args.me.version_max,
    };
    for (unsigned i = 0; i < core->table.count; i++) {
        struct member_record *r = &core->table.records[i];

        if (r->member && v->joined)
            member_view_add(v, &r->id);
        else if (r->state == RECORD_CONDEMNED && !core_is_me(core, &r->id))
            v->gone[v->gone_count++] =
                (struct member_gone){r->id, MEMBER_MISSING};
        else if (core_is_lost(core, r) && !core_is_me(core, &r->id))
            v->gone[v->gone_count++] = (struct member_gone){r->id, MEMBER_LOST};
    }
    if (member_view_equal(v, &core->view))
        return;
    core->view = *v;
    fx->view_changed = true;
}

static void expel(struct member_core *core, struct member_effects *fx)
{
    char why[160];

    if (core->judge)
        snprintf(why, sizeof why,
                 "node %u has it that this incarnation is gone (%s): it must "
                 "stop, and may come back as a new one",
                 core->judge, condemn_reason_text(core->reason));
    else
        snprintf(why, sizeof why,
                 "the others hold this incarnation for gone: it must stop, and "
                 "may come back as a new one");
    core_end(core, fx, MEMBER_EXPELLED, why);
}

/* What every event may have made necessary. */
void core_settle(struct member_core *core, struct member_effects *fx)
{
    sweep(core); /* moves records */
    if (core->state != CORE_ENDED && core_is_dead(core_my_record(core)))
        expel(core, fx);
    if (core->state == CORE_JOINING || core->state == CORE_IN) {
        maybe_announce(core, fx);
        maybe_install(core, fx);
    }
    if (core_may_condemn(core)) {
        if (!core->grace_ticks)
            send_condemn(core, fx, CONDEMN_LOST, core_is_lost);
        send_condemn(core, fx, CONDEMN_SILENT, is_silent);
    }
    tell_view(core, fx);
}
