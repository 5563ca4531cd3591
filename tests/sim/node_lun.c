/* tests/sim/node_lun.c - a node's session with a LUN: what it asks, the one
 * writer of its node block, the shell of its nexus.
 * Decides nothing: lockmgr/nexus.h says when it may send.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/node.h"

static void login(struct volume *v, uint64_t delay_ns);

/* -- questions ------------------------------------------------------------- */

static enum lun_answer answer_of(enum sim_status status)
{
    switch (status) {
    case SIM_GOOD: return LUN_OK;
    case SIM_CONFLICT: return LUN_CONFLICT;
    case SIM_ILLEGAL: return LUN_UNSUPPORTED;
    case SIM_ATTENTION:
    case SIM_ABORTED:
    case SIM_NO_ANSWER: break;
    }
    return LUN_GONE;
}

static void session_lost(struct volume *v)
{
    if (sim_session_is_up(v->session) || !v->session)
        return;
    v->session = NULL;
    v->owes_drain = true;
    lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_LOST});
    login(v, sim_between(v->node->host->sim, 50 * SIM_MS, SIM_S));
}

/* Until a session is drained nothing is sent on it but what drains it (I13);
 * until its nexus is admitted, nothing but the nexus' own questions (F2). */
static bool may_send(const struct volume *v, const struct ask *a)
{
    if (!sim_session_is_up(v->session))
        return false;
    if (a->own && !v->drained)
        return a->command.op == SIM_LU_RESET ||
               a->command.op == SIM_TEST_UNIT_READY;
    return v->drained && (a->own || nexus_is_admitted(&v->nexus));
}

static void submit(struct volume *v, struct ask *a)
{
    v->in_flight++;
    sim_submit(v->session, &a->command);
}

static void ask_own(struct volume *v, struct ask *a)
{
    a->own = true;
    lun_ask(v, a);
}

/* REGISTER opens the way for all that this nexus has in the target, also for
 * what was sent before the key was preempted: so that is awaited first. */
static void register_if_idle(struct volume *v)
{
    struct ask *a = v->registering;

    if (!a || v->in_flight || v->node->over)
        return;
    v->registering = NULL;
    ask_own(v, a);
}

/* SAM-5: what met a unit attention or was aborted by another nexus was not
 * carried out: it is sent again. */
static void ask_done(struct sim_command *c)
{
    struct ask *a = container_of(c, struct ask, command);
    struct volume *v = a->volume;
    bool again = c->status == SIM_ATTENTION || c->status == SIM_ABORTED;

    if (v->node->over)
        return;
    v->in_flight--;
    if (c->status == SIM_ATTENTION && v->drained)
        lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_ATTENTION});
    if (c->status == SIM_NO_ANSWER)
        session_lost(v);
    if (again && a->tries == NODE_TRIES_MAX) { /* as good as gone */
        sim_session_break(v->node->host->sim, v->lun, v->node->me.node, 0);
        session_lost(v);
    }
    if (again && a->once)
        a->answered(a, LUN_FAILED);
    else if (again && ++a->tries < NODE_TRIES_MAX)
        lun_ask(v, a);
    else
        a->answered(a, answer_of(c->status));
    register_if_idle(v);
}

struct ask *lun_ask_new(struct volume *v, enum sim_op op, uint32_t ticket,
                        answered_fn *answered, void *arg)
{
    struct ask *a = sim_alloc(v->node->host->sim, sizeof *a);

    a->volume = v;
    a->command.op = op;
    a->command.author.host = v->node->me.node;
    a->command.author.incarnation = v->node->me.incarnation;
    a->command.key = nexus_key(&v->nexus);
    a->command.type = v->nexus.args.type;
    a->ticket = ticket;
    a->answered = answered;
    a->arg = arg;
    if (op == SIM_READ) {
        a->command.block = NODE_BLOCKS_AT;
        a->command.count = NODE_META_AT;
    }
    return a;
}

struct no_session {
    struct sim_event event;
    struct ask *ask;
};

static void fire_no_session(struct sim_event *event)
{
    struct ask *a = container_of(event, struct no_session, event)->ask;

    if (a->volume->node->over)
        return;
    session_lost(a->volume);
    a->answered(a, LUN_GONE);
}

/* Will the nexus be admitted, or something worse happen to it, soon? */
static bool is_on_its_way(const struct volume *v)
{
    return v->nexus.state != NEXUS_DOWN && v->nexus.state != NEXUS_ASKING &&
           v->nexus.state != NEXUS_RETIRED;
}

/* Questions of others wait while their nexus is looked after. */
static void send_pending(struct volume *v)
{
    struct list all;
    struct list *node;

    if (!nexus_is_admitted(&v->nexus) && is_on_its_way(v))
        return;
    list_init(&all);
    while ((node = list_pop_front(&v->pending)))
        list_push_back(&all, node);
    while ((node = list_pop_front(&all)))
        lun_ask(v, container_of(node, struct ask, node));
}

void lun_ask(struct volume *v, struct ask *a)
{
    struct sim *s = v->node->host->sim;
    struct no_session *no;

    a->command.done = ask_done;
    if (may_send(v, a)) {
        submit(v, a);
        return;
    }
    if (!a->own && sim_session_is_up(v->session) && is_on_its_way(v)) {
        list_push_back(&v->pending, &a->node);
        return;
    }
    no = sim_alloc(s, sizeof *no);
    no->ask = a;
    sim_post(s, &no->event, 0, v->node->host->number, fire_no_session);
}

struct node_blocks *lun_blocks(struct ask *a)
{
    struct sim *s = a->volume->node->host->sim;
    struct node_blocks *blocks = sim_alloc(s, sizeof *blocks);

    for (uint32_t h = 1; a->command.read && h <= s->host_count; h++) {
        const struct sim_read *r = &a->command.read[h];

        if (r->length == sizeof blocks->node[0])
            memcpy(&blocks->node[h - 1], r->bytes, sizeof blocks->node[0]);
    }
    return blocks;
}

struct lm_keys lun_keys(const struct ask *a, uint32_t room)
{
    uint32_t total = a->command.key_count;

    return (struct lm_keys){
        .list = a->command.keys,
        .count = (uint32_t)min_u64(min_u64(total, room), SIM_KEYS_MAX),
        .total = total,
    };
}

/* -- the node block: one writer -------------------------------------------- */

static void write_next(struct volume *v);

static void change_ends(struct volume *v, enum lun_answer answer)
{
    struct list *first = v->changes.next;
    struct block_change *change =
        container_of(first, struct block_change, node);
    struct ask a = {
        .volume = v,
        .ticket = change->ticket,
        .arg = change->arg,
    };

    list_remove(first);
    v->writing = false;
    change->answered(&a, answer);
    write_next(v);
}

static void block_flushed(struct ask *a, enum lun_answer answer)
{
    if (answer == LUN_OK)
        sim_expect_version(a->volume->node->host->sim, a->volume->lun,
                           NODE_BLOCKS_AT + a->volume->node->me.node,
                           a->volume->block_version);
    change_ends(a->volume, answer);
}

static void block_written(struct ask *a, enum lun_answer answer)
{
    struct ask *flush;

    if (answer != LUN_OK) {
        change_ends(a->volume, answer);
        return;
    }
    flush = lun_ask_new(a->volume, SIM_SYNC_CACHE, 0, block_flushed, NULL);
    flush->own = a->own;
    a->volume->block_ask = flush;
    lun_ask(a->volume, flush);
}

static void write_next(struct volume *v)
{
    struct block_change *change;
    struct ask *a;

    if (v->writing || list_empty(&v->changes))
        return;
    v->writing = true;
    change = container_of(v->changes.next, struct block_change, node);
    change->apply(change, &v->own);
    v->own.node = v->node->me.node;
    a = lun_ask_new(v, SIM_WRITE, 0, block_written, NULL);
    a->command.block = NODE_BLOCKS_AT + v->node->me.node;
    a->command.count = 1;
    a->command.bytes = &v->own;
    a->command.length = sizeof v->own;
    a->command.author.version = ++v->block_version;
    a->own = change->own;
    v->block_ask = a;
    lun_ask(v, a);
}

void lun_change_block(struct volume *v, const struct block_change *change)
{
    struct block_change *copy =
        sim_copy(v->node->host->sim, change, sizeof *change);

    if (!change->own) {
        list_push_back(&v->changes, &copy->node);
    } else {
        /* It lets the nexus in, which the others wait for. */
        if (v->writing && list_linked(&v->block_ask->node)) {
            list_remove(&v->block_ask->node);
            v->writing = false;
        }
        if (v->writing)
            list_insert_after(v->changes.next, &copy->node);
        else
            list_push_front(&v->changes, &copy->node);
    }
    write_next(v);
}

/* -- the nexus ------------------------------------------------------------- */

static void on_registered(struct ask *a, enum lun_answer answer)
{
    lun_nexus(a->volume, &(struct nexus_event){.kind = NEXUS_EV_REGISTERED,
                                               .ticket = a->ticket,
                                               .answer = answer});
}

/* The block of this node as the LUN has it: its last run's, at first. */
static void on_blocks(struct ask *a, enum lun_answer answer)
{
    struct volume *v = a->volume;
    struct node_blocks *blocks = lun_blocks(a);
    struct sim *s = v->node->host->sim;

    if (answer == LUN_OK && !v->own_known) {
        const struct sim_landing *last =
            sim_block_writer(s, v->lun, NODE_BLOCKS_AT + v->node->me.node);

        v->own_known = true;
        v->own = blocks->node[v->node->me.node - 1];
        v->block_version = last ? last->author.version : 0;
    }
    lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_BLOCKS_READ,
                                       .ticket = a->ticket,
                                       .answer = answer,
                                       .blocks = blocks});
}

/* Who joins has drained the LUN (F20): no earlier run of this host writes. */
static void on_block_written(struct ask *a, enum lun_answer answer)
{
    struct node *n = a->volume->node;

    for (uint64_t i = 1; answer == LUN_OK && i < n->me.incarnation; i++)
        sim_expect_fenced(n->host->sim, a->volume->lun, n->me.node, i);
    lun_nexus(a->volume, &(struct nexus_event){.kind = NEXUS_EV_BLOCK_WRITTEN,
                                               .ticket = a->ticket,
                                               .answer = answer});
}

static void on_reservation(struct ask *a, enum lun_answer answer)
{
    lun_nexus(a->volume,
              &(struct nexus_event){.kind = NEXUS_EV_RESERVATION_READ,
                                    .ticket = a->ticket,
                                    .answer = answer,
                                    .type = a->command.reserved_type});
}

static void on_keys(struct ask *a, enum lun_answer answer)
{
    lun_nexus(a->volume, &(struct nexus_event){
                             .kind = NEXUS_EV_KEYS_READ,
                             .ticket = a->ticket,
                             .answer = answer,
                             .keys = lun_keys(a, a->volume->nexus.room)});
}

static void apply_join(struct block_change *change, struct node_block *own)
{
    node_block_join(own, change->fenced, change->run, change->key);
}

static void do_register(struct volume *v, const struct nexus_effect *fx)
{
    struct ask *a =
        lun_ask_new(v, SIM_REGISTER_IGNORE, fx->ticket, on_registered, NULL);

    a->command.service_key = fx->key;
    v->registering = a;
    register_if_idle(v);
}

static void recheck(struct volume *v, const struct nexus_effect *fx)
{
    struct ask *a =
        lun_ask_new(v, SIM_REGISTER, fx->ticket, on_registered, NULL);

    a->command.key = a->command.service_key = fx->key;
    ask_own(v, a);
}

static void unreserved(struct volume *v)
{
    struct node_message m = {.kind = MSG_UNRESERVED};

    node_send_all(v, m);
    m.from = v->node->me;
    shell_message(v, &m);
}

static void ask_consent(struct volume *v, const struct nexus_effect *fx)
{
    struct node_message m = {
        .kind = MSG_CONSENT_ASKED,
        .run = fx->run,
        .turn = v->nexus.args.turn,
    };

    node_send_all(v, m);
    m.from = v->node->me;
    shell_message(v, &m);
}

static void carry_out(struct volume *v, const struct nexus_effect *fx)
{
    struct node *n = v->node;

    switch (fx->kind) {
    case NEXUS_DO_STOP: break; /* the workload asks nexus_may_carry() */
    case NEXUS_DO_REGISTER: do_register(v, fx); break;
    case NEXUS_DO_RECHECK: recheck(v, fx); break;
    case NEXUS_DO_READ_BLOCKS:
        ask_own(v, lun_ask_new(v, SIM_READ, fx->ticket, on_blocks, NULL));
        break;
    case NEXUS_DO_WRITE_BLOCK:
        lun_change_block(v,
                         &(struct block_change){.apply = apply_join,
                                                .own = true,
                                                .fenced = &v->nexus.fenced,
                                                .run = fx->run,
                                                .key = fx->key,
                                                .ticket = fx->ticket,
                                                .answered = on_block_written});
        break;
    case NEXUS_DO_READ_RESERVATION:
        ask_own(v, lun_ask_new(v, SIM_READ_RESERVATION, fx->ticket,
                               on_reservation, NULL));
        break;
    case NEXUS_DO_READ_KEYS:
        ask_own(v, lun_ask_new(v, SIM_READ_KEYS, fx->ticket, on_keys, NULL));
        break;
    case NEXUS_DO_ASK_CONSENT: ask_consent(v, fx); break;
    case NEXUS_DO_TELL_UNRESERVED: unreserved(v); break;
    case NEXUS_DO_OPEN:
        shell_open(v);
        work_open(v);
        break;
    case NEXUS_DO_FAIL: node_end(n, "fenced: this run is over"); break;
    case NEXUS_DO_ALARM:
        sim_trace(n->host->sim, n->host->number, "lun %u: ALARM of the nexus",
                  v->lun);
        v->alarmed = true;
        break;
    case NEXUS_EFFECT_COUNT: break;
    }
}

void lun_nexus(struct volume *v, const struct nexus_event *event)
{
    struct node *n = v->node;
    enum nexus_state before = v->nexus.state;
    bool admitted = nexus_is_admitted(&v->nexus);
    struct nexus_effects fx;

    if (n->over)
        return;
    nexus_step(&v->nexus, event, &fx);
    if (before != v->nexus.state)
        sim_trace(n->host->sim, n->host->number, "lun %u: nexus %s -> %s",
                  v->lun, nexus_state_name(before),
                  nexus_state_name(v->nexus.state));
    for (uint32_t i = 0; i < fx.count && !n->over; i++)
        carry_out(v, &fx.list[i]);
    if (n->over)
        return;
    if (!admitted && nexus_is_admitted(&v->nexus)) {
        v->admitted = true;
        node_path(v);
        fence_tell(v, FENCE_EV_ADMITTED);
    }
    send_pending(v);
}

void lun_look(struct volume *v)
{
    lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_CONFLICT});
}

/* -- the session ----------------------------------------------------------- */

static void ready(struct ask *a, enum lun_answer answer)
{
    struct volume *v = a->volume;

    if (answer != LUN_OK)
        return; /* lost again */
    v->drained = true;
    v->owes_drain = false;
    lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_UP});
}

/* I13: what another session, or another run, had in flight can no longer land
 * after a LOGICAL UNIT RESET. */
static void drained(struct ask *a, enum lun_answer answer)
{
    struct volume *v = a->volume;

    if (answer == LUN_OK)
        ask_own(v, lun_ask_new(v, SIM_TEST_UNIT_READY, 0, ready, NULL));
}

static void fire_login(struct sim_event *event)
{
    struct volume *v = container_of(event, struct volume, login);

    if (v->node->over || sim_session_is_up(v->session))
        return;
    v->drained = false;
    v->session = sim_login(v->node->host, v->lun, 0);
    if (!sim_session_is_up(v->session)) {
        v->session = NULL;
        login(v, sim_between(event->sim, 100 * SIM_MS, SIM_S));
        return;
    }
    if (v->owes_drain)
        ask_own(v, lun_ask_new(v, SIM_LU_RESET, 0, drained, NULL));
    else
        ask_own(v, lun_ask_new(v, SIM_TEST_UNIT_READY, 0, ready, NULL));
}

/* Requests are repeated until they are granted. */
void lun_beat(struct volume *v)
{
    struct nexus_effect fx = {.run = v->node->me};

    session_lost(v);
    if (v->nexus.state == NEXUS_ASKING)
        ask_consent(v, &fx);
    else if (v->nexus.state == NEXUS_UNRESERVED) /* is it still? */
        lun_nexus(v, &(struct nexus_event){.kind = NEXUS_EV_RESERVED});
}

static void login(struct volume *v, uint64_t delay_ns)
{
    sim_post(v->node->host->sim, &v->login, delay_ns, v->node->host->number,
             fire_login);
}

void lun_start(struct volume *v)
{
    list_init(&v->changes);
    list_init(&v->pending);
    v->owes_drain = true;
    nexus_init(&v->nexus, &(struct nexus_args){
                              .me = v->node->me,
                              .cluster = NODE_CLUSTER,
                              .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS,
                          });
}

void lun_login(struct volume *v)
{
    login(v, sim_between(v->node->host->sim, 1, 50 * SIM_MS));
}
