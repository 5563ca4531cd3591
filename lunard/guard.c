/* lunard/guard.c - the shell of lockmgr/takeover.c: views, messages, and what
 * its effects ask for.  Asks the LUN by guard_lun.c and guard_block.c only.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/guard_private.h"

#include "base/log.h"
#include "base/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* -- messages -------------------------------------------------------------- */

static void send_one(struct guard *g, uint32_t to,
                     const struct guard_message *m)
{
    struct guard_said *said = &g->said[to][m->word];

    if (to == g->args.me.node)
        return;
    *said = (struct guard_said){*m, g->view.incarnation[to - 1]};
    g->args.ops->send(g->args.user, to, m);
}

void guard_send(struct guard *g, uint32_t to, const struct guard_message *m)
{
    struct guard_message copy = *m;

    memcpy(copy.volume, g->args.uuid, sizeof copy.volume);
    if (to == g->args.me.node)
        guard_on_message(g, g->args.me, &copy);
    else
        send_one(g, to, &copy);
}

static void send_others(struct guard *g, const struct guard_message *m)
{
    struct guard_message copy = *m;

    memcpy(copy.volume, g->args.uuid, sizeof copy.volume);
    for (uint32_t to = 1; to <= LM_NODES_MAX; to++)
        if (g->view.members & (UINT64_C(1) << (to - 1)))
            send_one(g, to, &copy);
}

void guard_send_all(struct guard *g, const struct guard_message *m)
{
    send_others(g, m);
    guard_send(g, g->args.me.node, m);
}

/* What was said to an earlier run of that node is not for this one. */
void guard_on_met(struct guard *g, struct lm_run run)
{
    if (run.node < 1 || run.node > LM_NODES_MAX)
        return;
    for (uint32_t word = 1; word < GUARD_WORDS; word++) {
        const struct guard_said *said = &g->said[run.node][word];

        if (said->message.word && said->incarnation == run.incarnation)
            g->args.ops->send(g->args.user, run.node, &said->message);
    }
}

/* Messages that are events of takeover, as they are. */
static const struct {
    guard_word word;
    enum takeover_event_kind event;
} takeover_words[] = {
    {WORD_ANNOUNCED,     TAKEOVER_EV_ANNOUNCED    },
    {WORD_RESIGNED,      TAKEOVER_EV_RESIGNED     },
    {WORD_REPORTED,      TAKEOVER_EV_REPORTED     },
    {WORD_CONFIRM,       TAKEOVER_EV_CONFIRM      },
    {WORD_CONFIRMED,     TAKEOVER_EV_CONFIRMED    },
    {WORD_CONSENT_ASKED, TAKEOVER_EV_CONSENT_ASKED},
    {WORD_FENCE_ASKED,   TAKEOVER_EV_FENCE_ASKED  },
    {WORD_ARBITER_WON,   TAKEOVER_EV_ARBITER_WON  },
    {WORD_UNRESERVED,    TAKEOVER_EV_UNRESERVED   },
};

static void hear_takeover(struct guard *g, const struct guard_message *m)
{
    struct takeover_event event = {
        .run = {m->node, m->incarnation},
        .epoch = m->epoch,
        .view_id = m->view,
        .key = m->key,
        .turn = m->turn,
        .to = m->to,
        .opened = m->opened,
    };

    for (size_t i = 0; i < ARRAY_LEN(takeover_words); i++)
        if (takeover_words[i].word == m->word) {
            event.kind = takeover_words[i].event;
            guard_takeover(g, &event);
        }
}

void guard_on_message(struct guard *g, struct lm_run from,
                      const struct guard_message *m)
{
    struct lm_run run = {m->node, m->incarnation};

    (void)from;
    if (g->over)
        return;
    TRACE(guard_message, "word=%d node=%u epoch=%llu", (int)m->word, from.node,
          (unsigned long long)m->epoch);
    switch (m->word) {
    case WORD_CONSENTED:
        guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_CONSENTED,
                                             .turn = m->turn});
        break;
    case WORD_PATH_FENCED:
        if (lm_run_eq(run, g->args.me))
            guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_PATH_FENCED,
                                                 .turn = m->turn});
        break;
    case WORD_FENCED:
        if (lm_run_eq(run, g->args.me))
            guard_on_fenced(g);
        break;
    case WORD_RESERVED:
        guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_RESERVED});
        break;
    case WORD_ANNOUNCED:
    case WORD_RESIGNED:
    case WORD_REPORTED:
    case WORD_CONFIRM:
    case WORD_CONFIRMED:
    case WORD_CONSENT_ASKED:
    case WORD_FENCE_ASKED:
    case WORD_ARBITER_WON:
    case WORD_UNRESERVED: hear_takeover(g, m); break;
    }
}

/* -- answers --------------------------------------------------------------- */

static void answer(struct ask *a, enum takeover_event_kind kind,
                   enum lun_answer answer_is)
{
    struct guard *g = a->guard;
    struct takeover_event event = {
        .kind = kind,
        .ticket = a->ticket,
        .answer = answer_is,
        .key = nexus_key(&g->nexus),
    };

    if (kind == TAKEOVER_EV_RESERVATION_READ) {
        event.type = (enum lm_reservation)a->pr.type;
        event.key = a->pr.key;
    }
    if (kind == TAKEOVER_EV_KEYS_READ)
        event.keys = guard_keys(a);
    guard_takeover(g, &event);
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

/* Who is to be fenced is named to an agent. */
static void learn_hosts(struct guard *g, const struct node_blocks *blocks)
{
    for (uint32_t i = 0; i < LM_NODES_MAX; i++)
        memcpy(g->hosts[i], blocks->node[i].host, sizeof g->hosts[i]);
}

static void on_blocks(struct guard *g, uint32_t ticket,
                      enum lun_answer answer_is,
                      const struct node_blocks *blocks, uint64_t super_epoch)
{
    if (answer_is == LUN_OK)
        learn_hosts(g, blocks);
    guard_takeover(g, &(struct takeover_event){.kind = TAKEOVER_EV_BLOCKS_READ,
                                               .ticket = ticket,
                                               .answer = answer_is,
                                               .blocks = blocks,
                                               .super_epoch = super_epoch});
}

static void on_super(struct guard *g, uint32_t ticket,
                     enum lun_answer answer_is)
{
    guard_takeover(g,
                   &(struct takeover_event){.kind = TAKEOVER_EV_SUPER_WRITTEN,
                                            .ticket = ticket,
                                            .answer = answer_is});
}

void guard_on_opened(struct guard *g, uint32_t ticket, enum err e)
{
    guard_takeover(g,
                   &(struct takeover_event){.kind = TAKEOVER_EV_OPENED,
                                            .ticket = ticket,
                                            .answer = e ? LUN_FAILED : LUN_OK});
}

void guard_on_closed(struct guard *g, uint32_t ticket)
{
    guard_takeover(g, &(struct takeover_event){.kind = TAKEOVER_EV_CLOSED,
                                               .ticket = ticket});
}

void guard_on_failed(struct guard *g)
{
    guard_takeover(g, &(struct takeover_event){.kind = TAKEOVER_EV_FAILED});
}

/* -- effects --------------------------------------------------------------- */

static void fire_suspect(struct timer *t)
{
    struct guard *g = container_of(t, struct guard, suspect);

    guard_takeover(g, &(struct takeover_event){.kind = TAKEOVER_EV_SUSPECT});
}

static void apply_claim(const struct block_change *change,
                        struct node_block *own)
{
    node_block_claim(own, change->claim, change->epoch);
}

static void apply_dead(const struct block_change *change,
                       struct node_block *own)
{
    node_block_name(own, &change->target, FENCING_DEAD);
}

static void change_block(struct guard *g, const struct takeover_effect *fx,
                         void (*apply)(const struct block_change *,
                                       struct node_block *),
                         enum claim claim)
{
    guard_change_block(g, &(struct block_change){.apply = apply,
                                                 .claim = claim,
                                                 .epoch = fx->epoch,
                                                 .target = fx->target,
                                                 .ticket = fx->ticket,
                                                 .answered = on_block_written});
}

static void ask(struct guard *g, const struct takeover_effect *fx,
                enum lun_pr_op op, answered_fn *answered)
{
    guard_ask(g, guard_ask_new(g, op, fx->ticket, answered, NULL));
}

static void say(struct guard *g, const struct takeover_effect *fx,
                guard_word word, uint32_t to)
{
    bool of_another = word == WORD_FENCED || word == WORD_PATH_FENCED;
    struct lm_run run = of_another ? fx->run : g->args.me;
    const struct guard_message m = {
        .word = word,
        .node = run.node,
        .incarnation = run.incarnation,
        .epoch = fx->epoch,
        .view = fx->view_id,
        .key = nexus_key_in_use(&g->nexus),
        .turn = fx->turn,
        .to = fx->to,
        .opened = fx->opened,
    };

    if (to)
        guard_send(g, to, &m);
    else
        send_others(g, &m);
}

/* Every run in the view may have something of the volume, this one too. */
static void open_database(struct guard *g, const struct takeover_effect *fx)
{
    struct fs_sender others[LM_NODES_MAX];
    unsigned count = 0;

    for (uint32_t node = 1; node <= LM_NODES_MAX; node++)
        if (takeover_knows(
                &g->takeover,
                (struct lm_run){node, g->view.incarnation[node - 1]}))
            others[count++] =
                (struct fs_sender){node, g->view.incarnation[node - 1]};
    g->args.ops->open(g->args.user, g->takeover.epoch, others, count,
                      fx->ticket);
}

static void tell_reserved(struct guard *g)
{
    send_others(g, &(struct guard_message){.word = WORD_RESERVED});
    guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_RESERVED});
    guard_fence_tell(g, FENCE_EV_RESERVED);
}

static void tell_alarm(struct guard *g, const struct takeover_effect *fx)
{
    char text[160];

    snprintf(text, sizeof text, "%s", fx->why);
    g->undead = fx->run;
    if (fx->run.node)
        snprintf(text, sizeof text,
                 "%s  Switch node %u off, then \"lunar confirm-dead %u\"",
                 fx->why, fx->run.node, fx->run.node);
    g->alarmed = true;
    g->args.ops->alarm(g->args.user, text);
}

/* All is well again. */
static void end_alarm(struct guard *g)
{
    if (g->alarmed)
        g->args.ops->alarm(g->args.user, "");
    g->alarmed = false;
}

static void serve(struct guard *g)
{
    end_alarm(g);
    g->args.ops->hold(g->args.user, false);
}

/* What speaks to the LUN. */
static bool carry_out_lun(struct guard *g, const struct takeover_effect *fx)
{
    switch ((int)fx->kind) {
    case TAKEOVER_DO_READ_BLOCKS:
        guard_read_blocks(g, false, fx->ticket, on_blocks);
        break;
    case TAKEOVER_DO_WRITE_CLAIM:
        change_block(g, fx, apply_claim, CLAIM_HELD);
        break;
    case TAKEOVER_DO_WRITE_RELEASE:
        change_block(g, fx, apply_claim, CLAIM_RELEASED);
        break;
    case TAKEOVER_DO_WRITE_DEAD:
        change_block(g, fx, apply_dead, CLAIM_NONE);
        break;
    case TAKEOVER_DO_READ_RESERVATION:
        ask(g, fx, LUN_PR_READ_RESERVATION, on_reservation);
        break;
    case TAKEOVER_DO_RESERVE: ask(g, fx, LUN_PR_RESERVE, on_reserved); break;
    case TAKEOVER_DO_READ_KEYS:
        guard_ask(g, guard_ask_keys(g, fx->room, fx->ticket, on_keys, NULL));
        break;
    case TAKEOVER_DO_FENCE: guard_fence_begin(g, &fx->target); break;
    case TAKEOVER_DO_WRITE_SUPER:
        guard_write_super(g, fx->epoch, fx->ticket, on_super);
        break;
    case TAKEOVER_DO_OPEN: open_database(g, fx); break;
    case TAKEOVER_DO_CLOSE: g->args.ops->close(g->args.user, fx->ticket); break;
    case TAKEOVER_DO_LOOK: guard_look(g); break;
    default: return false;
    }
    return true;
}

static void report(struct guard *g, const struct takeover_effect *fx)
{
    end_alarm(g); /* what it was about is another's now */
    say(g, fx, WORD_REPORTED, fx->run.node);
    g->args.ops->follow(g->args.user, fx->run.node);
}

/* What speaks to others, or to what is above. */
static void carry_out(struct guard *g, const struct takeover_effect *fx)
{
    switch ((int)fx->kind) {
    case TAKEOVER_DO_ANNOUNCE: say(g, fx, WORD_ANNOUNCED, fx->run.node); break;
    case TAKEOVER_DO_REPORT: report(g, fx); break;
    case TAKEOVER_DO_CONFIRM: say(g, fx, WORD_CONFIRM, fx->run.node); break;
    case TAKEOVER_DO_ANSWER_CONFIRM:
        say(g, fx, WORD_CONFIRMED, fx->run.node);
        break;
    case TAKEOVER_DO_CONSENT: say(g, fx, WORD_CONSENTED, fx->run.node); break;
    case TAKEOVER_DO_TELL_PATH_FENCED:
        say(g, fx, WORD_PATH_FENCED, fx->run.node);
        break;
    case TAKEOVER_DO_TELL_FENCED:
        say(g, fx, WORD_FENCED, fx->run.node);
        g->args.ops->accuse(g->args.user, fx->run);
        break;
    case TAKEOVER_DO_TELL_RESERVED: tell_reserved(g); break;
    case TAKEOVER_DO_TELL_ARBITER:
        g->args.ops->won(g->args.user, fx->view_id);
        break;
    case TAKEOVER_DO_SERVE: serve(g); break;
    case TAKEOVER_DO_HOLD: g->args.ops->hold(g->args.user, true); break;
    case TAKEOVER_DO_RESIGN: say(g, fx, WORD_RESIGNED, 0); break;
    case TAKEOVER_DO_START_TIMER:
        loop_timer_set(g->args.loop, &g->suspect, g->args.suspect_ms);
        break;
    case TAKEOVER_DO_STOP_TIMER:
        loop_timer_cancel(g->args.loop, &g->suspect);
        break;
    case TAKEOVER_DO_ACCUSE: g->args.ops->accuse(g->args.user, fx->run); break;
    case TAKEOVER_DO_ALARM: tell_alarm(g, fx); break;
    case TAKEOVER_DO_STOP: guard_end_run(g, "this host was fenced"); break;
    default: ASSERT(false); /* a new effect of takeover */
    }
}

void guard_takeover(struct guard *g, const struct takeover_event *event)
{
    enum takeover_state before = g->takeover.state;
    bool cached = takeover_may_cache(&g->takeover);
    struct takeover_effects fx;

    if (g->over)
        return;
    takeover_step(&g->takeover, event, &fx);
    if (takeover_may_cache(&g->takeover) != cached)
        g->args.ops->cache(g->args.user, !cached);
    if (before != g->takeover.state)
        TRACE(guard_takeover, "%s -> %s by %s", takeover_state_name(before),
              takeover_state_name(g->takeover.state),
              takeover_event_name(event->kind));
    for (uint32_t i = 0; i < fx.count && !g->over; i++)
        if (!carry_out_lun(g, &fx.list[i]))
            carry_out(g, &fx.list[i]);
}

/* -- views, time ----------------------------------------------------------- */

void guard_on_view(struct guard *g, const struct lm_view *view)
{
    if (g->over)
        return;
    g->view = *view;
    if (view->quorate && !g->was_in) { /* before, it would be a stranger */
        g->was_in = true;
        if (g->session)
            guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_UP});
    }
    guard_fence_tell(g, FENCE_EV_QUORUM);
    guard_takeover(g, &(struct takeover_event){.kind = TAKEOVER_EV_VIEW,
                                               .view = &g->view});
}

void guard_tell_path(struct guard *g)
{
    notice n = {.kind = NOTICE_PATH};

    memcpy(n.notice_u.path.volume, g->args.uuid, sizeof g->args.uuid);
    g->told_path = guard_has_path(g);
    n.notice_u.path.reached = g->told_path;
    g->told_ns = guard_now_ns(g);
    g->args.ops->announce(g->args.user, &n);
}

/* Nobody coordinates, and all who could have passed in this view: a new one
 * lets them try again. */
static void stir(struct guard *g)
{
    if (g->takeover.state != TAKEOVER_FOLLOW || g->takeover.coordinator.node ||
        !g->idle_ns)
        g->idle_ns = guard_now_ns(g);
    if (guard_now_ns(g) < g->idle_ns + g->args.suspect_ms * NS_PER_MS)
        return;
    g->idle_ns = guard_now_ns(g);
    guard_tell_path(g);
}

/* It was to hand over (guard_path.c), and does not come to it: others can
 * serve, once this run is fenced. */
static bool is_in_the_way(const struct guard *g)
{
    uint64_t others = g->view.members & g->view.paths;

    others &= ~(UINT64_C(1) << (g->args.me.node - 1));
    return others && guard_coordinates(g) &&
           guard_is_silent(g, UINT64_C(4) * g->args.suspect_ms);
}

/* Requests are repeated until they are granted. */
void guard_on_beat(struct guard *g)
{
    if (g->over || !g->lun)
        return;
    if (is_in_the_way(g)) {
        guard_end_run(g, "this host coordinates, and does not reach the LUN");
        return;
    }
    stir(g);
    guard_path_beat(g);
    guard_fence_beat(g);
    if (g->takeover.state == TAKEOVER_AWAIT_DEAD && g->undead.node)
        (void)g->args.ops->agent(g->args.user, g->undead,
                                 g->hosts[g->undead.node - 1]);
    if (g->nexus.state == NEXUS_ASKING)
        guard_ask_consent(g);
    else if (g->nexus.state == NEXUS_UNRESERVED) /* is it still? */
        guard_nexus(g, &(struct nexus_event){.kind = NEXUS_EV_RESERVED});
}

void guard_on_won(struct guard *g, uint64_t view_id)
{
    send_others(
        g, &(struct guard_message){.word = WORD_ARBITER_WON, .view = view_id});
    guard_takeover(g, &(struct takeover_event){.kind = TAKEOVER_EV_ARBITER_WON,
                                               .view_id = view_id});
}

/* -- the end of the run ---------------------------------------------------- */

static void run_over(struct task *task)
{
    struct guard *g = container_of(task, struct guard, over_task);

    g->args.ops->over(g->args.user, g->over_why);
}

/* No I/O from this moment on; who is around hears of it from the loop. */
void guard_end_run(struct guard *g, const char *why)
{
    if (g->over)
        return;
    g->over = true;
    g->over_why = why;
    if (g->lun)
        lun_fail(g->lun, E_FENCED);
    g->over_task = (struct task){.run = run_over};
    loop_post(g->args.loop, &g->over_task);
}

void guard_on_fenced(struct guard *g)
{
    guard_end_run(g, "this host was fenced");
}

void guard_leave(struct guard *g)
{
    g->leaving = true;
    guard_tell_path(g);
    guard_on_failed(g);
}

/* -- orders, questions ----------------------------------------------------- */

void guard_move(struct guard *g, uint32_t to)
{
    guard_takeover(
        g, &(struct takeover_event){.kind = TAKEOVER_EV_MOVE, .to = to});
}

void guard_confirm_dead(struct guard *g, struct lm_run run)
{
    guard_fence_confirm_dead(g, run);
    guard_takeover(g, &(struct takeover_event){
                          .kind = TAKEOVER_EV_CONFIRMED_DEAD, .run = run});
}

struct lm_run guard_unmet(const struct guard *g)
{
    return g->takeover.unmet;
}

void guard_on_agent(struct guard *g, struct lm_run run, bool off)
{
    guard_fence_on_agent(g, run, off);
    if (off)
        guard_takeover(g, &(struct takeover_event){
                              .kind = TAKEOVER_EV_CONFIRMED_DEAD, .run = run});
}

struct lm_run guard_coordinator(const struct guard *g)
{
    return g->takeover.coordinator;
}

uint64_t guard_epoch(const struct guard *g)
{
    return g->takeover.announced;
}

bool guard_coordinates(const struct guard *g)
{
    return g->takeover.state > TAKEOVER_ARBITER &&
           g->takeover.state < TAKEOVER_FENCED;
}

bool guard_carries(const struct guard *g)
{
    return nexus_may_carry(&g->nexus);
}

const char *guard_trouble(const struct guard *g)
{
    return g->trouble;
}

/* -- birth and death ------------------------------------------------------- */

enum err guard_new(const struct guard_args *args, struct guard **ret_guard)
{
    struct guard *g = calloc(1, sizeof *g);
    struct takeover_args takeover = {
        .me = args->me,
        .cluster = args->cluster,
        .type = LM_EXCLUSIVE_ACCESS_REGISTRANTS,
    };

    if (!g)
        return E_NOMEM;
    g->args = *args;
    g->suspect.fire = fire_suspect;
    list_init(&g->fences);
    list_init(&g->changes);
    memcpy(takeover.volume, args->uuid, sizeof takeover.volume);
    takeover_init(&g->takeover, &takeover);
    guard_lun_init(g);
    *ret_guard = g;
    return E_OK;
}

struct lun_ear *guard_ear(struct guard *g)
{
    return &g->ear;
}

void guard_start(struct guard *g, struct lun *lun)
{
    g->lun = lun;
    lun_start(lun);
}

void guard_stop(struct guard *g)
{
    if (g->over)
        return;
    g->over = true;
    loop_timer_cancel(g->args.loop, &g->suspect);
    guard_lun_end(g);
    guard_fences_end(g);
}

void guard_free(struct guard *g)
{
    free(g);
}
