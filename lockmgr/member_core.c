/* lockmgr/member_core.c - one event of cpg, quorum, time or owner -> effects.
 * Touches nothing outside of its arguments; the rules are in member_core.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member_core.h"

#include "lockmgr/member_settle.h"

#include <stdio.h>
#include <string.h>

enum { UNSETTLED_MAX = 4 }; /* incarnations of one node that wait for a fence */

const char *member_core_state_name(enum member_core_state state)
{
    static const char *const names[] = {
#define X(code, name) [code] = name,
        MEMBER_STATES(X)
#undef X
    };

    return (unsigned)state < ARRAY_LEN(names) ? names[state] : "?";
}

const char *member_event_name(enum member_event_type type)
{
    static const char *const names[] = {
#define X(code, name) [code] = name,
        MEMBER_EVENTS(X)
#undef X
    };

    return (unsigned)type < ARRAY_LEN(names) ? names[type] : "?";
}

void member_core_init(struct member_core *core,
                      const struct member_core_args *args)
{
    struct member_record me = {.id = args->me, .pid = args->pid};

    *core = (struct member_core){.args = *args};
    table_merge(&core->table, &me);
    core->view.version = args->me.version_max;
}

/* -- processes ------------------------------------------------------------- */

static bool names(const struct member_process *list, unsigned count,
                  struct member_process p)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i].node == p.node && list[i].pid == p.pid)
            return true;
    return false;
}

/* Those in `event` that were not there; keeps the others in their place. */
static bool add_processes(struct member_core *core,
                          const struct member_event *event)
{
    bool any = false;

    for (unsigned i = 0; i < event->process_count; i++) {
        struct member_process p = event->processes[i];

        if (core_find_process(core, p.node, p.pid) ||
            core->process_count == MEMBER_PROCESSES_MAX)
            continue;
        core->processes[core->process_count++] =
            (struct member_core_process){.p = p};
        any = true;
    }
    return any;
}

static void remove_processes(struct member_core *core,
                             const struct member_event *event)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < core->process_count; i++) {
        struct member_core_process *p = &core->processes[i];
        const struct member_record *r = core_record_of(core, p);

        p->heard = false;
        if (names(event->processes, event->process_count, p->p)) {
            core->processes[kept++] = *p;
            continue;
        }
        if (r && r->member &&
            !names(event->stopped, event->stopped_count, p->p))
            core->primary = false; /* its node went, perhaps we did */
    }
    core->process_count = kept;
}

/* The same for everybody who has these processes, in whatever order. */
static uint64_t hash_processes(const struct member_core *core)
{
    uint64_t sum = core->process_count;

    for (unsigned i = 0; i < core->process_count; i++) {
        struct member_process p = core->processes[i].p;
        uint64_t x = (uint64_t)p.node << 32 | p.pid;

        x ^= x >> 30; /* splitmix64, whose results may be added up */
        x *= UINT64_C(0xbf58476d1ce4e5b9);
        x ^= x >> 27;
        x *= UINT64_C(0x94d049bb133111eb);
        sum += x ^ x >> 31;
    }
    return sum;
}

/* Of no view any more, perhaps not for good.  All others must be heard anew. */
static void fall_out(struct member_core *core, enum member_core_state state)
{
    for (unsigned i = 0; i < core->table.count; i++)
        core->table.records[i].member = false;
    core->state = state;
    core->primary = false;
    core->announce_due = true;
}

static void cut(struct member_core *core)
{
    core->process_count = 0;
    fall_out(core, core->state == CORE_ENDED ? CORE_ENDED : CORE_AWAY);
    core->quorum = false;
    core->announce_flying = core->install_flying = core->beat_flying = false;
    core->ring = core->quorum_ring = (struct member_ring){0};
}

static void confchg(struct member_core *core, const struct member_event *event)
{
    const struct member_process me = {core->args.me.node, core->args.pid};
    bool joined;

    if (!names(event->processes, event->process_count, me)) {
        cut(core);
        return;
    }
    remove_processes(core, event);
    joined = add_processes(core, event);
    /* Perhaps two sides meet: only one that surely has quorum keeps its view;
     * of what libquorum says it may be told before or after this. */
    if (joined && core->state == CORE_IN &&
        !(core->primary && core->quorum &&
          core->quorum_ring.seq >= core->ring.seq))
        fall_out(core, CORE_JOINING);
    core->base = hash_processes(core);
    core->serial = 0;
    core->spoken = false;
    core->patience_ticks = 0;
    if (core->state == CORE_AWAY)
        core->state = CORE_JOINING;
    if (joined)
        core->open = true;
    if (joined || core->state == CORE_JOINING || core_any_foreign(core))
        core->announce_due = true;
    core_condemn_again(core);
}

/* -- messages -------------------------------------------------------------- */

static bool counts_now(const struct member_core *core)
{
    return core->in.base == core->base && core->in.serial == core->serial;
}

static bool versions_meet(const struct member_view *view,
                          const struct member_id *id)
{
    for (unsigned i = 0; i < view->member_count; i++)
        if (view->members[i].version_min > id->version_max ||
            view->members[i].version_max < id->version_min)
            return false;
    return true;
}

/* Whom that one cannot speak to over the wire: it would take the others for
 * silent, and accuse them.  NULL: nobody. */
static const struct member_id *other_key(const struct member_core *core,
                                         const struct member_id *id)
{
    for (unsigned i = 0; i < core->view.member_count; i++)
        if (core->view.members[i].key != id->key)
            return &core->view.members[i];
    return NULL;
}

/* May that one be in a view beside those who are known?  Else says why not. */
static bool may_enter(struct member_core *core, const struct member_id *id,
                      char ret_why[MEMBER_REFUSE_BYTES])
{
    const struct member_id *other;
    unsigned unsettled = 0;

    for (unsigned i = 0; i < core->table.count; i++) {
        const struct member_record *r = &core->table.records[i];
        bool same_host = memcmp(r->id.host, id->host, UUID_BYTES) == 0;

        if (r->id.node != id->node)
            continue;
        if (!same_host && r->state != RECORD_LEFT &&
            r->state != RECORD_FENCED) {
            snprintf(ret_why, MEMBER_REFUSE_BYTES,
                     "node %u is host %s already (%s): give this host a nodeid "
                     "of its own in corosync.conf",
                     id->node, r->id.name, record_state_name(r->state));
            return false;
        }
        if (r->id.incarnation > id->incarnation ||
            (r->id.incarnation == id->incarnation && !same_host)) {
            snprintf(ret_why, MEMBER_REFUSE_BYTES,
                     "node %u had a later incarnation than %llu: start again",
                     id->node, (unsigned long long)id->incarnation);
            return false;
        }
        if (r->id.incarnation < id->incarnation &&
            (r->state == RECORD_CONDEMNED || core_is_lost(core, r)))
            unsettled++;
    }
    if (unsettled >= UNSETTLED_MAX) {
        snprintf(ret_why, MEMBER_REFUSE_BYTES,
                 "%u earlier incarnations of node %u are not fenced: see to "
                 "that first",
                 unsettled, id->node);
        return false;
    }
    other = core->state == CORE_IN ? other_key(core, id) : NULL;
    if (other) {
        snprintf(ret_why, MEMBER_REFUSE_BYTES,
                 "its cluster key is not that of host %s: copy that one's "
                 "cluster.key to it",
                 other->name);
        return false;
    }
    if (core->state == CORE_IN && !versions_meet(&core->view, id)) {
        snprintf(ret_why, MEMBER_REFUSE_BYTES,
                 "no protocol version between %u and %u is spoken by all: "
                 "update the older hosts",
                 id->version_min, id->version_max);
        return false;
    }
    return true;
}

static void refuse(struct member_core *core, struct member_effects *fx,
                   struct member_core_process *p, const char *why)
{
    struct member_message *m;

    p->refused = true;
    if (core->state != CORE_IN)
        return;
    m = core_message(core, MSG_REFUSE);
    m->who[0] = core->in.from;
    m->pid = p->p.pid;
    snprintf(m->text, sizeof m->text, "%s", why);
    core_emit(fx, m);
}

static void merge(struct member_core *core)
{
    for (unsigned i = 0; i < core->in.table.count; i++)
        (void)table_merge(&core->table, &core->in.table.records[i]);
}

/* Of one who is out counts what it knows of others who are gone. */
static void merge_of_the_dead(struct member_core *core)
{
    for (unsigned i = 0; i < core->in.table.count; i++) {
        const struct member_record *from = &core->in.table.records[i];
        const struct member_record *r =
            table_find(&core->table, from->id.node, from->id.incarnation);

        if (!r || core_is_gone(core, r))
            (void)table_merge(&core->table, from);
    }
}

/* Both sides had quorum and condemned each other: the first to say so counts.
 * Is that one the first, and are we among those whom it condemns? */
static bool were_condemned_first(struct member_core *core,
                                 const struct member_record *sender)
{
    const struct member_record *me = table_find(
        &core->in.table, core->args.me.node, core->args.me.incarnation);

    if (!me || me->state < RECORD_CONDEMNED)
        return false;
    return me->state == RECORD_FENCED ||
           (!core->spoken && sender->state != RECORD_FENCED);
}

/* A newer incarnation of the same host: the older ones left without a word.
 * Who is in no view does not know if they did. */
static void replace_older(struct member_core *core, const struct member_id *id)
{
    for (unsigned i = 0; i < core->process_count; i++)
        if (core->processes[i].p.node == id->node &&
            core->processes[i].incarnation &&
            core->processes[i].incarnation < id->incarnation)
            core->processes[i].refused = true;
    for (unsigned i = 0; core->state == CORE_IN && i < core->table.count; i++) {
        struct member_record *r = &core->table.records[i];

        if (r->id.node == id->node && r->id.incarnation < id->incarnation &&
            r->state <= RECORD_LIVE)
            r->state = r->state == RECORD_NEW ? RECORD_LEFT : RECORD_CONDEMNED;
    }
}

static void announced(struct member_core *core, struct member_effects *fx,
                      struct member_core_process *p)
{
    struct member_record *theirs =
        table_find(&core->in.table, p->p.node, core->in.from.incarnation);
    struct member_record *r =
        table_find(&core->table, p->p.node, core->in.from.incarnation);
    char why[MEMBER_REFUSE_BYTES];
    bool mine = core_is_me(core, &theirs->id);

    if (mine)
        core->announce_flying = false;
    if (!counts_now(core))
        return;
    if (mine)
        core->announce_due = false;
    if (core_is_dead(r)) {
        p->incarnation = core->in.from.incarnation;
        if (were_condemned_first(core, r))
            merge(core);
        else
            merge_of_the_dead(core);
        return;
    }
    if (!mine && !(r && r->member) && !may_enter(core, &theirs->id, why)) {
        refuse(core, fx, p, why);
        return;
    }
    merge(core);
    r = table_find(&core->table, p->p.node, core->in.from.incarnation);
    if (!r) /* the table is full of what waits for a fence */
        return;
    replace_older(core, &r->id);
    r = table_find(&core->table, p->p.node, core->in.from.incarnation);
    r->pid = p->p.pid;
    r->silent_beats = 0;
    p->incarnation = core->in.from.incarnation;
    p->heard = true;
    p->says_in = core->in.in_view;
    p->refused = p->silent = false;
    core->number_max = max_u64(core->number_max, core->in.number);
    if (r->member)
        core->spoken = true;
}

static void take_members(struct member_core *core)
{
    for (unsigned i = 0; i < core->table.count; i++) {
        struct member_record *r = &core->table.records[i];
        const struct member_record *theirs =
            table_find(&core->in.table, r->id.node, r->id.incarnation);
        struct member_core_process *p;

        r->member = false;
        if (!theirs || !theirs->member || r->state != RECORD_LIVE)
            continue;
        p = core_find_process(core, r->id.node, theirs->pid);
        if (!p)
            continue;
        p->incarnation = r->id.incarnation;
        p->refused = p->silent = false;
        r->pid = theirs->pid;
        r->silent_beats = 0;
        r->member = true;
    }
}

/* Who was in no view takes over what those in it hold: they have heard what it
 * knew, and knew better whose word does not count. */
static void adopt(struct member_core *core)
{
    for (unsigned i = 0; i < core->in.table.count; i++) {
        const struct member_record *theirs = &core->in.table.records[i];
        struct member_record *r =
            table_find(&core->table, theirs->id.node, theirs->id.incarnation);

        if (r)
            r->state = theirs->state;
    }
    take_members(core);
}

static void installed(struct member_core *core)
{
    const struct member_origin *before = &core->in.before;
    const struct member_record *me;
    bool was_in = core->state == CORE_IN;

    if (core->in.from.node == core->args.me.node &&
        core->in.from.incarnation == core->args.me.incarnation)
        core->install_flying = false;
    if (!counts_now(core) || !core_ring_same(core->in.ring, core->ring) ||
        core_is_dead(table_find(&core->table, core->in.from.node,
                                core->in.from.incarnation)))
        return;
    if (!core->open && (before->node != core->origin.node ||
                        before->incarnation != core->origin.incarnation ||
                        before->number != core->origin.number))
        return;
    merge(core);
    take_members(core);
    if (!was_in && core_my_record(core)->member)
        adopt(core);
    core->origin = (struct member_origin){
        core->in.from.node, core->in.from.incarnation, core->in.number};
    core->open = false;
    core->patience_ticks = 0;
    core->number_max = max_u64(core->number_max, core->in.number);
    me = core_my_record(core);
    if (me->member) {
        core->state = CORE_IN;
        core->number = core->in.number;
        core->primary = (was_in && core->primary) || core_has_quorum_here(core);
    } else {
        fall_out(core, CORE_JOINING);
    }
    core_condemn_again(core);
}

static void condemned(struct member_core *core)
{
    if (!core_ring_same(core->in.ring, core->ring))
        return;
    for (unsigned i = 0; i < core->in.who_count; i++) {
        struct member_record *r = table_find(&core->table, core->in.who[i].node,
                                             core->in.who[i].incarnation);

        if (!r || r->state != RECORD_LIVE)
            continue;
        if (core->in.reason == CONDEMN_LOST && !core_is_lost(core, r))
            continue; /* it came back before the word was out */
        r->state = RECORD_CONDEMNED;
        if (core_is_me(core, &r->id)) {
            core->judge = core->in.from.node;
            core->reason = core->in.reason;
        }
    }
}

static void declared_fenced(struct member_core *core)
{
    struct member_record *r = table_find(&core->table, core->in.who[0].node,
                                         core->in.who[0].incarnation);

    if (r && r->state == RECORD_CONDEMNED)
        r->state = RECORD_FENCED;
}

static void said_goodbye(struct member_core *core, struct member_effects *fx,
                         struct member_record *sender)
{
    sender->state = RECORD_LEFT;
    if (core_is_me(core, &sender->id))
        core_end(core, fx, MEMBER_LEFT, "left");
}

/* One of ours has come round: who sent nothing in the meantime? */
static void count_beat(struct member_core *core)
{
    for (unsigned i = 0; i < core->table.count; i++)
        core->table.records[i].silent_beats++;
}

/* What members say to each other; of others it says nothing here. */
static void member_said(struct member_core *core, struct member_effects *fx,
                        struct member_record *sender)
{
    switch (core->in.type) {
    case MSG_CONDEMN: condemned(core); break;
    case MSG_FENCED: declared_fenced(core); break;
    case MSG_GOODBYE: said_goodbye(core, fx, sender); break;
    case MSG_DATA:
        fx->deliver = true;
        fx->from = core->in.from;
        fx->data = core->in.data;
        fx->data_count = core->in.data_count;
        break;
    case MSG_BEAT:
        if (core_is_me(core, &sender->id))
            count_beat(core);
        break;
    case MSG_ANNOUNCE:
    case MSG_INSTALL:
    case MSG_REFUSE:
    case MSG_TYPE_COUNT: break;
    }
}

/* Everybody counts these, whoever sent them: see `base`. */
static bool is_counted(enum member_message_type type)
{
    return type == MSG_CONDEMN || type == MSG_FENCED || type == MSG_GOODBYE;
}

static void count_one(struct member_core *core)
{
    core->serial++;
    for (unsigned i = 0; i < core->process_count; i++)
        core->processes[i].heard = false;
    if (core->state != CORE_IN || core_any_foreign(core))
        core->announce_due = true;
}

static void receive(struct member_core *core, struct member_effects *fx,
                    const struct member_event *event)
{
    struct member_core_process *p =
        core_find_process(core, event->from.node, event->from.pid);
    struct member_record *sender;

    if (!p) /* it left before it was heard */
        return;
    if (member_decode(event->bytes, event->count, &core->in, &fx->why) ||
        (core->in.from.node != event->from.node &&
         diag_fail(&fx->why, E_PROTOCOL, "it says that it comes from node %u",
                   core->in.from.node))) {
        fx->garbage = true;
        (void)diag_prefix(&fx->why, E_PROTOCOL, "a message of node %u",
                          event->from.node);
        return;
    }
    if (core->in.type == MSG_BEAT && core->in.from.node == core->args.me.node &&
        core->in.from.incarnation == core->args.me.incarnation)
        core->beat_flying = false; /* whether or not it finds us in a view */
    if (core->in.type == MSG_ANNOUNCE)
        announced(core, fx, p);
    if (core->in.type == MSG_INSTALL)
        installed(core);
    if (core->in.type == MSG_REFUSE && core->state == CORE_JOINING &&
        core->in.who[0].node == core->args.me.node &&
        core->in.who[0].incarnation == core->args.me.incarnation &&
        core->in.pid == core->args.pid)
        core_end(core, fx, MEMBER_REFUSED, core->in.text);
    sender = table_find(&core->table, p->p.node, core->in.from.incarnation);
    if (core->state == CORE_IN && sender && sender->member &&
        p->incarnation == core->in.from.incarnation) {
        sender->silent_beats = 0;
        member_said(core, fx, sender);
    }
    if (is_counted(core->in.type))
        count_one(core);
}

/* -- time and the owner ---------------------------------------------------- */

static void tick(struct member_core *core, struct member_effects *fx)
{
    /* one at a time: queued up they would count against the others at once */
    if (core->state == CORE_IN && !core->beat_flying) {
        core_emit(fx, core_message(core, MSG_BEAT));
        core->beat_flying = true;
    }
    if (core->state == CORE_JOINING)
        core->patience_ticks++;
    if (core->grace_ticks && core_may_condemn(core))
        core->grace_ticks--;
    for (unsigned i = 0; i < core->process_count; i++) {
        struct member_core_process *p = &core->processes[i];

        p->quiet_ticks = p->heard ? 0 : p->quiet_ticks + 1;
        if (core_is_foreign(core, p) &&
            p->quiet_ticks >= core->args.suspect_ticks)
            p->silent = true;
    }
}

static void ask(struct member_core *core, struct member_effects *fx,
                const struct member_event *event)
{
    struct member_message *m;

    if (core->state != CORE_IN) {
        if (event->type == EVENT_LEAVE)
            core_end(core, fx, MEMBER_LEFT,
                     "left without having been in a view");
        return;
    }
    m = core_message(core, event->type == EVENT_SEND     ? MSG_DATA
                           : event->type == EVENT_ACCUSE ? MSG_CONDEMN
                           : event->type == EVENT_FENCED ? MSG_FENCED
                                                         : MSG_GOODBYE);
    m->data = event->bytes;
    m->data_count = event->count;
    m->reason = CONDEMN_ACCUSED;
    m->who_count = 1;
    m->who[0] = event->who;
    if (event->type != EVENT_ACCUSE || core_may_condemn(core))
        core_emit(fx, m);
}

void member_step(struct member_core *core, const struct member_event *event,
                 struct member_effects *fx)
{
    fx->send_count = 0;
    fx->room_used = 0;
    fx->view_changed = fx->deliver = fx->garbage = fx->ended = false;
    fx->why.text[0] = '\0';
    if (core->state == CORE_ENDED)
        return;
    switch (event->type) {
    case EVENT_CONFCHG: confchg(core, event); break;
    case EVENT_RING:
        core->ring = event->ring;
        core_condemn_again(core);
        break;
    case EVENT_QUORUM:
        core->quorum_ring = event->ring;
        core->quorum = event->quorate;
        core->tie = event->tie;
        if (!event->quorate) {
            core->primary = false;
            core->grace_ticks = core->args.suspect_ticks;
        }
        break;
    case EVENT_MESSAGE: receive(core, fx, event); break;
    case EVENT_CUT: cut(core); break;
    case EVENT_TICK: tick(core, fx); break;
    case EVENT_SEND:
    case EVENT_ACCUSE:
    case EVENT_FENCED:
    case EVENT_LEAVE: ask(core, fx, event); break;
    }
    core_settle(core, fx);
}
