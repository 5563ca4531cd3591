/* lunard/guard_lun.c - what a guard asks the LUN, and the shell of its nexus.
 * Decides nothing: lockmgr/nexus.h says when what may be sent.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/guard_private.h"

#include "base/log.h"
#include "base/trace.h"

#include <inttypes.h>
#include <stdio.h>

/* -- questions ------------------------------------------------------------- */

static enum lun_answer answer_of(enum err e)
{
    static const struct {
        enum err e;
        enum lun_answer answer;
    } rows[] = {
        {E_OK,          LUN_OK         },
        {E_RESERVED,    LUN_CONFLICT   },
        {E_UNSUPPORTED, LUN_UNSUPPORTED},
        {E_LUN_GONE,    LUN_GONE       },
        {E_AGAIN,       LUN_GONE       },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].e == e)
            return rows[i].answer;
    return LUN_FAILED;
}

static void ask_free(struct ask *a)
{
    struct guard *g = a->guard;

    free(a->keys);
    free(a->bytes);
    free(a);
    if (!--g->asks && g->dying)
        free(g);
}

static void ask_end(struct ask *a, enum lun_answer answer)
{
    a->answered(a, answer);
    ask_free(a);
}

static void run_answer(struct task *task)
{
    struct ask *a = container_of(task, struct ask, task);

    ask_end(a, a->answer);
}

/* Nobody is answered from inside his question. */
static void answer_later(struct ask *a, enum lun_answer answer)
{
    a->answer = answer;
    a->task = (struct task){.run = run_answer};
    loop_post(a->guard->args.loop, &a->task);
}

static void ask_again(struct timer *t)
{
    struct ask *a = container_of(t, struct ask, again);

    guard_ask(a->guard, a);
}

/* SAM-5: what met a unit attention, or was aborted by another nexus, was not
 * carried out: it is sent again; so is what met BUSY, but not at once. */
static void ask_done(struct lun_pr *pr, enum err e)
{
    struct ask *a = container_of(pr, struct ask, pr);

    if (e != E_AGAIN || ++a->tries == GUARD_TRIES_MAX || a->guard->over) {
        ask_end(a, answer_of(e));
    } else if (a->tries < GUARD_TRIES_AT_ONCE) {
        guard_ask(a->guard, a);
    } else {
        a->again.fire = ask_again;
        loop_timer_set(a->guard->args.loop, &a->again, GUARD_AGAIN_MS);
    }
}

/* Will the nexus be admitted, or something worse happen to it, soon? */
static bool is_on_its_way(const struct guard *g)
{
    return g->session && g->nexus.state != NEXUS_DOWN &&
           g->nexus.state != NEXUS_ASKING && g->nexus.state != NEXUS_RETIRED;
}

void guard_ask(struct guard *g, struct ask *a)
{
    enum err e = E_LUN_GONE;

    if (g->over) {
        answer_later(a, LUN_GONE);
        return;
    }
    if (g->session && (a->own || nexus_is_admitted(&g->nexus))) {
        e = lun_pr_submit(g->lun, &a->pr);
    } else if (!a->own && is_on_its_way(g)) {
        list_push_back(&g->pending, &a->node);
        return;
    }
    if (e)
        answer_later(a, answer_of(e));
}

/* Questions of others wait while their nexus is looked after. */
static void send_pending(struct guard *g)
{
    struct list all, *node;

    if (!nexus_is_admitted(&g->nexus) && is_on_its_way(g))
        return;
    list_init(&all);
    while ((node = list_pop_front(&g->pending)))
        list_push_back(&all, node);
    while ((node = list_pop_front(&all)))
        guard_ask(g, container_of(node, struct ask, node));
}

bool guard_ask_cancel(struct ask *a)
{
    if (!a || !list_linked(&a->node))
        return false;
    list_remove(&a->node);
    ask_free(a);
    return true;
}

struct ask *guard_ask_new(struct guard *g, enum lun_pr_op op, uint32_t ticket,
                          answered_fn *answered, void *arg)
{
    struct ask *a = calloc(1, sizeof *a);

    ASSERT(a); /* no memory for what keeps two hosts apart: better none */
    g->asks++;
    a->guard = g;
    a->pr.op = op;
    a->pr.type = (uint8_t)g->nexus.args.type;
    a->pr.key = nexus_key(&g->nexus);
    a->pr.done = ask_done;
    a->ticket = ticket;
    a->answered = answered;
    a->arg = arg;
    return a;
}

struct ask *guard_ask_keys(struct guard *g, uint32_t room, uint32_t ticket,
                           answered_fn *answered, void *arg)
{
    struct ask *a = guard_ask_new(g, LUN_PR_READ_KEYS, ticket, answered, arg);

    a->keys = calloc(room, sizeof *a->keys);
    ASSERT(a->keys);
    a->pr.keys = a->keys;
    a->pr.keys_max = room;
    return a;
}

struct ask *guard_ask_bytes(struct guard *g, enum lun_pr_op op,
                            uint64_t off_bytes, uint32_t bytes,
                            answered_fn *answered, void *arg)
{
    struct ask *a = guard_ask_new(g, op, 0, answered, arg);

    a->bytes = calloc(1, bytes);
    ASSERT(a->bytes);
    a->pr.off_bytes = off_bytes;
    a->pr.buf = a->bytes;
    a->pr.bytes = bytes;
    return a;
}

struct lm_keys guard_keys(const struct ask *a)
{
    return (struct lm_keys){
        .list = a->keys,
        .count = (uint32_t)min_u64(a->pr.key_count, a->pr.keys_max),
        .total = a->pr.key_count,
    };
}

/* -- the nexus ------------------------------------------------------------- */

static void answer(struct ask *a, enum nexus_event_kind kind,
                   enum lun_answer answer_is)
{
    struct nexus_event event = {
        .kind = kind, .ticket = a->ticket, .answer = answer_is};

    if (kind == NEXUS_EV_RESERVATION_READ)
        event.type = (enum lm_reservation)a->pr.type;
    if (kind == NEXUS_EV_KEYS_READ)
        event.keys = guard_keys(a);
    guard_nexus(a->guard, &event);
}

static void do_register(struct guard *g, enum lun_pr_op op, uint64_t key,
                        uint32_t ticket);

/* APTPL, where the target has it: else a restart of it forgets who is fenced,
 * and the volume stops for that (F12). */
static void on_registered(struct ask *a, enum lun_answer answer_is)
{
    struct guard *g = a->guard;

    if (answer_is == LUN_UNSUPPORTED && a->pr.aptpl && !g->over) {
        g->no_aptpl = true;
        do_register(g, a->pr.op, a->pr.new_key, a->ticket);
        return;
    }
    answer(a, NEXUS_EV_REGISTERED, answer_is);
}

static void on_reservation(struct ask *a, enum lun_answer answer_is)
{
    answer(a, NEXUS_EV_RESERVATION_READ, answer_is);
}

static void on_keys(struct ask *a, enum lun_answer answer_is)
{
    answer(a, NEXUS_EV_KEYS_READ, answer_is);
}

static void on_block_written(struct ask *a, enum lun_answer answer_is)
{
    answer(a, NEXUS_EV_BLOCK_WRITTEN, answer_is);
}

static void on_blocks(struct guard *g, uint32_t ticket,
                      enum lun_answer answer_is,
                      const struct node_blocks *blocks, uint64_t super_epoch)
{
    (void)super_epoch;
    guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_BLOCKS_READ,
                                         .ticket = ticket,
                                         .answer = answer_is,
                                         .blocks = blocks});
}

static void ask_own(struct guard *g, struct ask *a)
{
    a->own = true;
    guard_ask(g, a);
}

static void do_register(struct guard *g, enum lun_pr_op op, uint64_t key,
                        uint32_t ticket)
{
    struct ask *a = guard_ask_new(g, op, ticket, on_registered, NULL);

    a->pr.key = a->pr.new_key = key;
    a->pr.aptpl = !g->no_aptpl;
    ask_own(g, a);
}

static void apply_join(const struct block_change *change,
                       struct node_block *own)
{
    const struct guard *g = change->arg;

    node_block_join(own, &g->nexus.fenced, change->run, change->key);
    snprintf(own->host, sizeof own->host, "%s", g->args.host);
}

static void write_block(struct guard *g, const struct nexus_effect *fx)
{
    guard_change_block(g, &(struct block_change){.apply = apply_join,
                                                 .own = true,
                                                 .run = fx->run,
                                                 .key = fx->key,
                                                 .ticket = fx->ticket,
                                                 .answered = on_block_written,
                                                 .arg = g});
}

/* Whoever coordinates: for a key after this turn's, or to fence those up to it.
 */
static void ask_coordinator(struct guard *g, guard_word word)
{
    guard_send_all(g, &(struct guard_message){
                          .word = word,
                          .node = g->args.me.node,
                          .incarnation = g->args.me.incarnation,
                          .turn = g->nexus.args.turn,
                      });
}

void guard_ask_consent(struct guard *g)
{
    ask_coordinator(g, WORD_CONSENT_ASKED);
}

void guard_ask_fence(struct guard *g)
{
    ask_coordinator(g, WORD_FENCE_ASKED);
}

/* What is out counts as in flight until the coordinator has fenced it. */
static void give_path_up(struct guard *g)
{
    lun_fail(g->lun, E_LUN_GONE);
    lun_drop(g->lun);
    guard_ask_fence(g);
}

static void redirect(struct guard *g)
{
    lun_fail(g->lun, E_LUN_GONE);
    g->args.ops->path(g->args.user, false);
}

static void open_nexus(struct guard *g)
{
    guard_path_opens(g);
    lun_carry(g->lun);
    g->args.ops->path(g->args.user, true);
}

static void tell_unreserved(struct guard *g)
{
    guard_send_all(g, &(struct guard_message){.word = WORD_UNRESERVED});
}

static void carry_out(struct guard *g, const struct nexus_effect *fx)
{
    switch (fx->kind) {
    case NEXUS_DO_STOP: lun_hold(g->lun); break;
    case NEXUS_DO_REGISTER:
        do_register(g, LUN_PR_REGISTER_IGNORE, fx->key, fx->ticket);
        break;
    case NEXUS_DO_RECHECK:
        do_register(g, LUN_PR_REGISTER, fx->key, fx->ticket);
        break;
    case NEXUS_DO_READ_BLOCKS:
        guard_read_blocks(g, true, fx->ticket, on_blocks);
        break;
    case NEXUS_DO_WRITE_BLOCK: write_block(g, fx); break;
    case NEXUS_DO_READ_RESERVATION:
        ask_own(g, guard_ask_new(g, LUN_PR_READ_RESERVATION, fx->ticket,
                                 on_reservation, NULL));
        break;
    case NEXUS_DO_READ_KEYS:
        ask_own(g, guard_ask_keys(g, fx->room, fx->ticket, on_keys, NULL));
        break;
    case NEXUS_DO_ASK_CONSENT: guard_ask_consent(g); break;
    case NEXUS_DO_TELL_UNRESERVED: tell_unreserved(g); break;
    case NEXUS_DO_ASK_FENCE: give_path_up(g); break;
    case NEXUS_DO_REDIRECT: redirect(g); break;
    case NEXUS_DO_OPEN: open_nexus(g); break;
    case NEXUS_DO_FAIL:
        guard_end_run(g, "this host was fenced from a LUN");
        break;
    case NEXUS_DO_ALARM:
        snprintf(g->trouble, sizeof g->trouble,
                 "the LUN does not do what it must: %s",
                 fx->answer == LUN_UNSUPPORTED
                     ? "it has no persistent reservations"
                     : "see the log");
        log_error("%s: %s", lun_name(g->lun), g->trouble);
        break;
    case NEXUS_EFFECT_COUNT: ASSERT(false); break;
    }
}

void guard_nexus(struct guard *g, const struct nexus_event *event)
{
    enum nexus_state before = g->nexus.state;
    bool admitted = nexus_is_admitted(&g->nexus);
    struct nexus_effects fx;

    if (g->over)
        return;
    nexus_step(&g->nexus, event, &fx);
    if (before != g->nexus.state)
        TRACE(guard_nexus, "%s -> %s by %s", nexus_state_name(before),
              nexus_state_name(g->nexus.state), nexus_event_name(event->kind));
    for (uint32_t i = 0; i < fx.count && !g->over; i++)
        carry_out(g, &fx.list[i]);
    if (g->over)
        return;
    if (!admitted && nexus_is_admitted(&g->nexus)) {
        bool first = !g->admitted;

        g->admitted = true;
        g->trouble[0] = '\0';
        if (first) /* each telling makes a view, in which nobody is heir */
            guard_tell_path(g);
        guard_fence_tell(g, FENCE_EV_ADMITTED);
        guard_takeover(g,
                       &(struct takeover_event){.kind = TAKEOVER_EV_ADMITTED});
    }
    send_pending(g);
}

void guard_look(struct guard *g)
{
    guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_CONFLICT});
}

/* -- the session ----------------------------------------------------------- */

static struct guard *guard_of(struct lun_ear *ear)
{
    return container_of(ear, struct guard, ear);
}

static void session_up(struct lun_ear *ear)
{
    struct guard *g = guard_of(ear);

    g->session = true;
    g->up_ns = guard_now_ns(g);
    g->down_ns = 0;
    if (g->admitted && guard_has_path(g) != g->told_path)
        guard_tell_path(g);
    if (g->was_in)
        guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_UP});
}

static void session_lost(struct lun_ear *ear)
{
    struct guard *g = guard_of(ear);

    g->session = false;
    if (!g->down_ns)
        g->down_ns = guard_now_ns(g);
    guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_LOST});
}

static void met_conflict(struct lun_ear *ear)
{
    guard_look(guard_of(ear));
}

static void met_attention(struct lun_ear *ear)
{
    guard_nexus(guard_of(ear),
                &(struct nexus_event){.kind = NEXUS_EV_ATTENTION});
}

void guard_lun_init(struct guard *g)
{
    list_init(&g->pending);
    g->ear = (struct lun_ear){.up = session_up,
                              .lost = session_lost,
                              .conflict = met_conflict,
                              .attention = met_attention};
    nexus_init(&g->nexus, &(struct nexus_args){
                              .me = g->args.me,
                              .cluster = g->args.cluster,
                              .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS,
                          });
}

void guard_lun_end(struct guard *g)
{
    struct list *node;

    while ((node = list_pop_front(&g->pending)))
        answer_later(container_of(node, struct ask, node), LUN_GONE);
}
