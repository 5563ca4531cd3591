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

void lun_drop(struct volume *v)
{
    sim_session_break(v->node->host->sim, v->lun, v->node->me.node, 0);
    session_lost(v);
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

/* -- node blocks, two copies of each --------------------------------------- */

static uint64_t sum_of(const struct node_copy *copy)
{
    const uint8_t *bytes = (const uint8_t *)copy;
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < offsetof(struct node_copy, sum); i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

bool lun_copy(const void *bytes, size_t length, struct node_copy *ret_copy)
{
    if (length != sizeof *ret_copy)
        return false;
    memcpy(ret_copy, bytes, sizeof *ret_copy);
    return ret_copy->sum == sum_of(ret_copy);
}

static uint32_t copy_at(uint32_t host, uint64_t sequence)
{
    return NODE_BLOCKS_AT + (uint32_t)(sequence % 2) * 16 + host;
}

enum copies { COPIES_WHOLE, COPIES_TORN, COPIES_LOST };

static enum copies read_copies(const struct ask *a, uint32_t host,
                               struct node_copy *ret_copy)
{
    enum copies how = COPIES_WHOLE;
    struct node_copy copy;

    memset(ret_copy, 0, sizeof *ret_copy);
    for (uint64_t i = 0; i < 2; i++) {
        const struct sim_read *r = &a->command.read[copy_at(host, i)];

        if (!r->length)
            continue;
        if (!lun_copy(r->bytes, r->length, &copy))
            how = COPIES_TORN;
        else if (copy.sequence > ret_copy->sequence)
            *ret_copy = copy;
    }
    /* The second copy is written first: nothing was said before. */
    return how == COPIES_TORN && !ret_copy->sequence &&
                   a->command.read[copy_at(host, 0)].length
               ? COPIES_LOST
               : how;
}

static enum copies worst_of(const struct ask *a)
{
    enum copies worst = COPIES_WHOLE;
    struct node_copy copy;

    for (uint32_t h = 1; h <= a->volume->node->host->sim->host_count; h++) {
        enum copies how = read_copies(a, h, &copy);

        worst = how > worst ? how : worst;
    }
    return worst;
}

/* A torn copy may be one that is being written, and hide that the other one is
 * not the last but one any more: all are read once more (fs_nodes_decode()). */
static bool reads_again(struct ask *a)
{
    if (a->command.op != SIM_READ || a->command.status != SIM_GOOD ||
        a->reread || worst_of(a) == COPIES_WHOLE)
        return false;
    a->reread = true;
    a->command.read = NULL;
    lun_ask(a->volume, a);
    return true;
}

static enum lun_answer judge(const struct ask *a)
{
    if (a->command.op == SIM_READ && a->command.status == SIM_GOOD &&
        worst_of(a) == COPIES_LOST)
        return LUN_FAILED;
    return answer_of(a->command.status);
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
    if (c->status != SIM_NO_ANSWER)
        v->heard_ns = sim_now(v->node->host->sim);
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
    else if (!reads_again(a))
        a->answered(a, judge(a));
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
    struct node_copy copy;

    for (uint32_t h = 1; a->command.read && h <= s->host_count; h++)
        if (read_copies(a, h, &copy) != COPIES_LOST)
            blocks->node[h - 1] = copy.block;
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
    struct volume *v = a->volume;
    uint64_t sequence = v->copy.sequence;

    if (answer == LUN_OK) {
        v->sequence = sequence;
        sim_expect_version(v->node->host->sim, v->lun,
                           copy_at(v->node->me.node, sequence), sequence);
    }
    change_ends(v, answer);
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
    v->copy.sequence = v->sequence + 1;
    v->copy.block = v->own;
    v->copy.sum = sum_of(&v->copy);
    a = lun_ask_new(v, SIM_WRITE, 0, block_written, NULL);
    a->command.block = copy_at(v->node->me.node, v->copy.sequence);
    a->command.count = 1;
    a->command.bytes = &v->copy;
    a->command.length = sizeof v->copy;
    a->command.author.version = v->copy.sequence;
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
    struct node_copy copy;

    if (answer == LUN_OK && !v->own_known) {
        (void)read_copies(a, v->node->me.node, &copy);
        v->own_known = true;
        v->own = copy.block;
        v->sequence = copy.sequence;
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
    case NEXUS_DO_ASK_FENCE:
        lun_drop(v);
        redirect_ask_fence(v);
        break;
    case NEXUS_DO_REDIRECT:
        v->redirected = true;
        work_open(v);
        break;
    case NEXUS_DO_OPEN:
        v->redirected = false;
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
        shell_takeover(v,
                       &(struct takeover_event){.kind = TAKEOVER_EV_ADMITTED});
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
    v->heard_ns = v->up_ns = sim_now(v->node->host->sim);
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
