/* tests/sim/node_takeover.c - the shell of lockmgr/takeover.c, and the
 * metadata of a volume: one block that its coordinator writes.
 * Plays the operator who confirms that a host is off; he does not lie.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/node.h"

#include <inttypes.h>

static void answer(struct ask *a, enum takeover_event_kind kind,
                   enum lun_answer answer_is)
{
    struct volume *v = a->volume;
    struct takeover_event event = {
        .kind = kind,
        .ticket = a->ticket,
        .answer = answer_is,
        .type = a->command.reserved_type,
        .key = nexus_key(&v->nexus),
        .keys = lun_keys(a, v->room),
    };

    if (kind == TAKEOVER_EV_RESERVATION_READ)
        event.key = a->command.keys[0];
    shell_takeover(v, &event);
}

static void on_blocks(struct ask *a, enum lun_answer answer_is)
{
    struct takeover_event event = {
        .kind = TAKEOVER_EV_BLOCKS_READ,
        .ticket = a->ticket,
        .answer = answer_is,
        .blocks = lun_blocks(a),
    };

    for (uint32_t i = 0; a->command.read && i < 2; i++) {
        const struct sim_read *r = &a->command.read[NODE_SUPER_AT + i];
        uint64_t epoch = 0;

        if (r->length == sizeof epoch)
            memcpy(&epoch, r->bytes, sizeof epoch);
        event.super_epoch = max_u64(event.super_epoch, epoch);
    }
    shell_takeover(a->volume, &event);
}

static void on_block_written(struct ask *a, enum lun_answer answer_is)
{
    answer(a, TAKEOVER_EV_BLOCK_WRITTEN, answer_is);
}

static void on_reservation(struct ask *a, enum lun_answer answer_is)
{
    answer(a, TAKEOVER_EV_RESERVATION_READ, answer_is);
}

static void on_reserved(struct ask *a, enum lun_answer answer_is)
{
    answer(a, TAKEOVER_EV_RESERVED, answer_is);
}

static void on_keys(struct ask *a, enum lun_answer answer_is)
{
    answer(a, TAKEOVER_EV_KEYS_READ, answer_is);
}

static void apply_claim(struct block_change *change, struct node_block *own)
{
    node_block_claim(own, change->claim, change->epoch);
}

static void apply_dead(struct block_change *change, struct node_block *own)
{
    node_block_name(own, &change->target, FENCING_DEAD);
}

/* -- the superblock: copy, flush, copy, flush ------------------------------ */

struct super_write {
    struct volume *volume;
    uint64_t epoch;
    uint32_t ticket, copy;
};

static void write_copy(struct super_write *w);

static void copy_flushed(struct ask *a, enum lun_answer answer_is)
{
    struct super_write *w = a->arg;

    if (answer_is == LUN_OK && ++w->copy < 2) {
        write_copy(w);
        return;
    }
    a->ticket = w->ticket;
    answer(a, TAKEOVER_EV_SUPER_WRITTEN, answer_is);
}

static void copy_written(struct ask *a, enum lun_answer answer_is)
{
    struct super_write *w = a->arg;

    if (answer_is == LUN_OK)
        lun_ask(w->volume,
                lun_ask_new(w->volume, SIM_SYNC_CACHE, 0, copy_flushed, w));
    else
        copy_flushed(a, answer_is);
}

static void write_copy(struct super_write *w)
{
    struct ask *a = lun_ask_new(w->volume, SIM_WRITE, 0, copy_written, w);

    a->command.block = NODE_SUPER_AT + w->copy;
    a->command.count = 1;
    a->command.bytes = &w->epoch;
    a->command.length = sizeof w->epoch;
    a->command.author.version = w->epoch;
    lun_ask(w->volume, a);
}

static void write_super(struct volume *v, const struct takeover_effect *fx)
{
    struct super_write *w = sim_alloc(v->node->host->sim, sizeof *w);

    *w = (struct super_write){
        .volume = v, .epoch = fx->epoch, .ticket = fx->ticket};
    write_copy(w);
}

/* -- the metadata ---------------------------------------------------------- */

/* A write that had no answer does not hold it up: on a session that is not
 * drained the release has none either, and then I am fenced (I4). */
static void close_if_idle(struct volume *v)
{
    if (v->closing && TAKE(v->meta_waiting))
        v->meta_out--;
    if (v->closing)
        v->carried_out -= redirect_drop(v);
    if (!v->closing || v->meta_out || v->carried_out)
        return;
    v->closing = v->open = false;
    shell_takeover(v, &(struct takeover_event){.kind = TAKEOVER_EV_CLOSED,
                                               .ticket = v->close_ticket});
}

void shell_idle(struct volume *v)
{
    close_if_idle(v);
}

/* No answer, or a conflict: the nexus must be admitted anew, then the write is
 * sent again (I13). */
static void meta_written(struct ask *a, enum lun_answer answer_is)
{
    struct volume *v = a->volume;

    if (answer_is == LUN_CONFLICT)
        lun_look(v);
    if (v->node->over)
        return;
    if (answer_is == LUN_GONE || answer_is == LUN_CONFLICT) {
        v->meta_waiting = a;
        close_if_idle(v);
        return;
    }
    v->meta_out--;
    if (answer_is == LUN_OK)
        sim_expect_version(v->node->host->sim, v->lun, NODE_META_AT,
                           a->command.author.version);
    else
        shell_takeover(v, &(struct takeover_event){.kind = TAKEOVER_EV_FAILED});
    if (!v->node->over)
        close_if_idle(v);
}

void shell_open(struct volume *v)
{
    struct ask *a = TAKE(v->meta_waiting);

    if (a)
        lun_ask(v, a);
    redirect_open(v);
}

static void meta_write(struct volume *v, answered_fn *answered, uint32_t ticket)
{
    struct ask *a = lun_ask_new(v, SIM_WRITE, ticket, answered, NULL);

    a->command.block = NODE_META_AT;
    a->command.count = 1;
    a->command.bytes = &v->meta_version;
    a->command.length = sizeof v->meta_version;
    a->command.author.version = ++v->meta_version;
    v->meta_out++;
    lun_ask(v, a);
}

static void opened(struct ask *a, enum lun_answer answer_is)
{
    a->volume->open = answer_is == LUN_OK;
    a->volume->meta_out--;
    if (answer_is == LUN_OK)
        sim_expect_version(a->volume->node->host->sim, a->volume->lun,
                           NODE_META_AT, a->command.author.version);
    answer(a, TAKEOVER_EV_OPENED, answer_is);
    if (!a->volume->node->over)
        close_if_idle(a->volume);
}

/* Recovery is a write: of this epoch, over all earlier ones (I4). */
static void open_metadata(struct volume *v, const struct takeover_effect *fx)
{
    v->meta_version = v->takeover.epoch << 20;
    work_opens(v, v->takeover.epoch);
    meta_write(v, opened, fx->ticket);
}

/* Nobody coordinates, and all who could have passed in this view: a new one
 * lets them try again. */
static void stir(struct volume *v)
{
    struct sim *s = v->node->host->sim;

    if (v->takeover.state != TAKEOVER_FOLLOW || v->takeover.coordinator.node)
        v->idle_ns = sim_now(s);
    if (sim_now(s) < v->idle_ns + NODE_SUSPECT_MS * SIM_MS)
        return;
    v->idle_ns = sim_now(s);
    node_path(v);
}

void shell_beat(struct volume *v)
{
    stir(v);
    if (v->open && !v->closing && takeover_may_grant(&v->takeover) &&
        !v->meta_out)
        meta_write(v, meta_written, 0);
}

/* -- messages -------------------------------------------------------------- */

void shell_message(struct volume *v, const struct node_message *m)
{
    struct takeover_event event = {
        .run = m->run,
        .epoch = m->epoch,
        .view_id = m->view_id,
        .key = m->key,
        .turn = m->turn,
        .to = m->to,
        .opened = m->opened,
    };
    static const struct {
        enum node_message_kind message;
        enum takeover_event_kind event;
    } rows[] = {
        {MSG_ANNOUNCED,     TAKEOVER_EV_ANNOUNCED    },
        {MSG_RESIGNED,      TAKEOVER_EV_RESIGNED     },
        {MSG_REPORTED,      TAKEOVER_EV_REPORTED     },
        {MSG_CONFIRM,       TAKEOVER_EV_CONFIRM      },
        {MSG_CONFIRMED,     TAKEOVER_EV_CONFIRMED    },
        {MSG_CONSENT_ASKED, TAKEOVER_EV_CONSENT_ASKED},
        {MSG_FENCE_ASKED,   TAKEOVER_EV_FENCE_ASKED  },
        {MSG_ARBITER_WON,   TAKEOVER_EV_ARBITER_WON  },
        {MSG_UNRESERVED,    TAKEOVER_EV_UNRESERVED   },
    };

    if (m->kind == MSG_CONSENTED)
        lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_CONSENTED,
                                           .turn = m->turn});
    else if (m->kind == MSG_FENCED && lm_run_eq(m->run, v->node->me))
        lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_FENCED_ELSEWHERE});
    else if (m->kind == MSG_PATH_FENCED && lm_run_eq(m->run, v->node->me))
        lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_PATH_FENCED,
                                           .turn = m->turn});
    else if (m->kind == MSG_WRITE || m->kind == MSG_WRITTEN)
        redirect_message(v, m);
    else if (m->kind == MSG_RESERVED)
        lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_RESERVED});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].message == m->kind) {
            event.kind = rows[i].event;
            if (m->kind == MSG_REPORTED &&
                takeover_wants_report(&v->takeover, m->run, m->epoch,
                                      m->view_id))
                work_reported(v, m);
            shell_takeover(v, &event);
        }
}

void shell_lost(struct sim_host *h, uint32_t peer)
{
    struct node *n = h->state;

    n->lost |= 1U << peer;
}

/* What was sent last may be lost: it is sent again, of each kind the last. */
void shell_repeat(struct volume *v)
{
    for (uint32_t peer = 1; peer <= v->node->host->sim->host_count; peer++)
        for (uint32_t kind = 0; kind <= MSG_LAST_REPEATED; kind++) {
            struct node_message *m = &v->sent[peer][kind];

            if (!(v->node->lost >> peer & 1) || !m->from.node)
                continue;
            if (kind == MSG_REPORTED)
                m->disks = v->holds;
            node_send(v, peer, *m);
        }
}

/* -- effects --------------------------------------------------------------- */

static void fire_suspect(struct sim_event *event)
{
    struct volume *v = container_of(event, struct suspicion, event)->volume;

    if (container_of(event, struct suspicion, event)->life == v->timer_life)
        shell_takeover(v,
                       &(struct takeover_event){.kind = TAKEOVER_EV_SUSPECT});
}

static void start_timer(struct volume *v)
{
    struct sim *s = v->node->host->sim;
    struct suspicion *t = sim_alloc(s, sizeof *t);

    t->volume = v;
    t->life = ++v->timer_life;
    sim_post(s, &t->event, NODE_SUSPECT_MS * SIM_MS, v->node->me.node,
             fire_suspect);
}

static void fire_power_on(struct sim_event *event)
{
    struct suspicion *t = container_of(event, struct suspicion, event);
    struct sim_host *h = &event->sim->host[t->run.node];

    if (!h->up)
        sim_host_start(h);
}

/* The operator looks after it, if it is asked for still: off means off, until
 * it is confirmed. */
static void fire_operator(struct sim_event *event)
{
    struct suspicion *t = container_of(event, struct suspicion, event);
    struct sim_host *h = &event->sim->host[t->run.node];
    const struct takeover *core = &t->volume->takeover;

    if (core->state != TAKEOVER_AWAIT_DEAD && !lm_run_eq(core->unmet, t->run))
        return;
    if (h->up && h->run == t->run.incarnation) {
        sim_host_crash(h, true);
        sim_post(event->sim, &t->event, NODE_OPERATOR_S * SIM_S, 0,
                 fire_power_on);
    }
    shell_takeover(t->volume,
                   &(struct takeover_event){.kind = TAKEOVER_EV_CONFIRMED_DEAD,
                                            .run = t->run});
}

static void alarm_operator(struct volume *v, const struct takeover_effect *fx)
{
    struct sim *s = v->node->host->sim;
    struct suspicion *t = sim_alloc(s, sizeof *t);

    sim_trace(s, v->node->me.node, "lun %u: ALARM: %s", v->lun, fx->why);
    if (!fx->run.node)
        return;
    t->volume = v;
    t->run = fx->run;
    sim_post(s, &t->event, NODE_OPERATOR_S * SIM_S, v->node->me.node,
             fire_operator);
}

static void tell_reserved(struct volume *v)
{
    node_send_all(v, (struct node_message){.kind = MSG_RESERVED});
    lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_RESERVED});
    fence_tell(v, FENCE_EV_RESERVED);
}

static void tell_arbiter(struct volume *v, uint64_t view_id)
{
    struct node *n = v->node;

    for (uint32_t lun = 0; lun < SIM_LUNS_MAX && !n->over; lun++) {
        struct volume *other = &n->volume[lun];

        if (other == v || !n->host->sim->target[lun])
            continue;
        node_send_all(other, (struct node_message){.kind = MSG_ARBITER_WON,
                                                   .view_id = view_id});
        shell_takeover(other,
                       &(struct takeover_event){.kind = TAKEOVER_EV_ARBITER_WON,
                                                .view_id = view_id});
    }
}

static void consent(struct volume *v, const struct takeover_effect *fx)
{
    struct node_message m = {.kind = MSG_CONSENTED, .turn = fx->turn};

    if (fx->run.node == v->node->me.node)
        shell_message(v, &m);
    else
        node_send(v, fx->run.node, m);
}

static void change_claim(struct volume *v, const struct takeover_effect *fx,
                         enum claim claim)
{
    lun_change_block(v, &(struct block_change){.apply = apply_claim,
                                               .claim = claim,
                                               .epoch = fx->epoch,
                                               .ticket = fx->ticket,
                                               .answered = on_block_written});
}

static void ask(struct volume *v, const struct takeover_effect *fx,
                enum sim_op op, answered_fn *answered)
{
    v->room = fx->room;
    lun_ask(v, lun_ask_new(v, op, fx->ticket, answered, NULL));
}

static void say(struct volume *v, const struct takeover_effect *fx,
                enum node_message_kind kind, uint32_t to)
{
    struct node_message m = {
        .kind = kind,
        .run = v->node->me,
        .epoch = fx->epoch,
        .view_id = fx->view_id,
        .key = nexus_key_in_use(&v->nexus),
        .turn = fx->turn,
        .to = fx->to,
        .opened = fx->opened,
        .disks = v->holds,
    };

    if (kind == MSG_FENCED || kind == MSG_PATH_FENCED)
        m.run = fx->run;
    if (to)
        node_send(v, to, m);
    else
        node_send_all(v, m);
}

/* What speaks to a LUN. */
static bool carry_out_lun(struct volume *v, const struct takeover_effect *fx)
{
    switch ((int)fx->kind) {
    case TAKEOVER_DO_READ_BLOCKS: ask(v, fx, SIM_READ, on_blocks); break;
    case TAKEOVER_DO_WRITE_CLAIM: change_claim(v, fx, CLAIM_HELD); break;
    case TAKEOVER_DO_WRITE_RELEASE: change_claim(v, fx, CLAIM_RELEASED); break;
    case TAKEOVER_DO_WRITE_DEAD:
        lun_change_block(v,
                         &(struct block_change){.apply = apply_dead,
                                                .target = fx->target,
                                                .ticket = fx->ticket,
                                                .answered = on_block_written});
        break;
    case TAKEOVER_DO_READ_RESERVATION:
        ask(v, fx, SIM_READ_RESERVATION, on_reservation);
        break;
    case TAKEOVER_DO_RESERVE: ask(v, fx, SIM_RESERVE, on_reserved); break;
    case TAKEOVER_DO_READ_KEYS: ask(v, fx, SIM_READ_KEYS, on_keys); break;
    case TAKEOVER_DO_FENCE: fence_begin(v, &fx->target); break;
    case TAKEOVER_DO_WRITE_SUPER: write_super(v, fx); break;
    case TAKEOVER_DO_OPEN: open_metadata(v, fx); break;
    case TAKEOVER_DO_LOOK: lun_look(v); break;
    default: return false;
    }
    return true;
}

/* What speaks to others, or to what is above. */
static void carry_out(struct volume *v, const struct takeover_effect *fx)
{
    switch ((int)fx->kind) {
    case TAKEOVER_DO_ANNOUNCE: say(v, fx, MSG_ANNOUNCED, fx->run.node); break;
    case TAKEOVER_DO_REPORT: say(v, fx, MSG_REPORTED, fx->run.node); break;
    case TAKEOVER_DO_CONFIRM: say(v, fx, MSG_CONFIRM, fx->run.node); break;
    case TAKEOVER_DO_ANSWER_CONFIRM:
        say(v, fx, MSG_CONFIRMED, fx->run.node);
        break;
    case TAKEOVER_DO_CONSENT: consent(v, fx); break;
    case TAKEOVER_DO_TELL_PATH_FENCED:
        say(v, fx, MSG_PATH_FENCED, fx->run.node);
        break;
    case TAKEOVER_DO_TELL_FENCED:
        say(v, fx, MSG_FENCED, fx->run.node);
        node_declare_fenced(v->node, fx->run);
        break;
    case TAKEOVER_DO_TELL_RESERVED: tell_reserved(v); break;
    case TAKEOVER_DO_TELL_ARBITER: tell_arbiter(v, fx->view_id); break;
    case TAKEOVER_DO_SERVE: work_serves(v); break;
    case TAKEOVER_DO_HOLD: break; /* takeover_may_…() says it */
    case TAKEOVER_DO_CLOSE:
        v->closing = true;
        v->close_ticket = fx->ticket;
        close_if_idle(v);
        break;
    case TAKEOVER_DO_RESIGN: say(v, fx, MSG_RESIGNED, 0); break;
    case TAKEOVER_DO_START_TIMER: start_timer(v); break;
    case TAKEOVER_DO_STOP_TIMER: v->timer_life++; break;
    case TAKEOVER_DO_ACCUSE: node_accuse(v->node, fx->run); break;
    case TAKEOVER_DO_ALARM: alarm_operator(v, fx); break;
    case TAKEOVER_DO_STOP: node_end(v->node, "takeover: fenced"); break;
    default: ASSERT(false); /* a new effect of takeover */
    }
}

void shell_takeover(struct volume *v, const struct takeover_event *event)
{
    struct node *n = v->node;
    enum takeover_state before = v->takeover.state;
    struct takeover_effects fx;

    if (n->over)
        return;
    takeover_step(&v->takeover, event, &fx);
    if (before != v->takeover.state)
        sim_trace(n->host->sim, n->me.node, "lun %u: takeover %s -> %s, by %s",
                  v->lun, takeover_state_name(before),
                  takeover_state_name(v->takeover.state),
                  takeover_event_name(event->kind));
    for (uint32_t i = 0; i < fx.count && !n->over; i++)
        if (!carry_out_lun(v, &fx.list[i]))
            carry_out(v, &fx.list[i]);
    if (event->kind == TAKEOVER_EV_TARGET_FENCED)
        work_release(v, &event->target);
}

void shell_start(struct volume *v)
{
    struct takeover_args args = {
        .me = v->node->me,
        .volume = {[15] = (uint8_t)(v->lun + 1)},
        .cluster = NODE_CLUSTER,
        .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS,
    };

    takeover_init(&v->takeover, &args);
}
