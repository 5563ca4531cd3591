/* lockmgr/nexus.c - may this I_T nexus carry I/O?  The rules of nexus.h.
 * Does not register, read or send by itself.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/nexus.h"

const char *nexus_state_name(enum nexus_state state)
{
    static const char *const names[] = {
#define X(s, text) #s,
        NEXUS_STATES(X)
#undef X
    };

    return names[state];
}

const char *nexus_event_name(enum nexus_event_kind kind)
{
    static const char *const names[] = {
#define X(event, text) #event,
        NEXUS_EVENTS(X)
#undef X
    };

    return names[kind];
}

const char *nexus_effect_name(enum nexus_effect_kind kind)
{
    static const char *const names[] = {
#define X(effect, text) #effect,
        NEXUS_EFFECTS(X)
#undef X
    };

    return names[kind];
}

void nexus_init(struct nexus *nexus, const struct nexus_args *args)
{
    ASSERT(args->type == LM_EXCLUSIVE_ACCESS_REGISTRANTS ||
           args->type == LM_WRITE_EXCLUSIVE_REGISTRANTS);
    *nexus = (struct nexus){
        .state = NEXUS_DOWN, .args = *args, .room = LM_KEYS_ROOM};
}

bool nexus_may_carry(const struct nexus *nexus)
{
    return nexus->state == NEXUS_OPEN;
}

bool nexus_is_admitted(const struct nexus *nexus)
{
    return nexus->state == NEXUS_OPEN || nexus->state == NEXUS_UNRESERVED;
}

uint64_t nexus_key(const struct nexus *nexus)
{
    return lm_key_make(nexus->args.cluster, nexus->args.me, nexus->args.turn);
}

uint64_t nexus_key_in_use(const struct nexus *nexus)
{
    return nexus->gave_up_key ? 0 : nexus_key(nexus);
}

bool nexus_wants_fence(const struct nexus *nexus)
{
    return nexus->state == NEXUS_RETIRED && nexus->gave_up_key &&
           !nexus->redirected;
}

/* -- steps ----------------------------------------------------------------- */

static struct nexus_effect *tell(struct nexus *n, struct nexus_effects *fx,
                                 enum nexus_effect_kind kind)
{
    struct nexus_effect *effect = &fx->list[fx->count];

    ASSERT(fx->count < NEXUS_EFFECTS_MAX);
    fx->count++;
    *effect = (struct nexus_effect){
        .kind = kind, .ticket = n->ticket, .run = n->args.me, .room = n->room};
    return effect;
}

/* Answers of questions that were out are not heard any more. */
static void enter(struct nexus *n, struct nexus_effects *fx,
                  enum nexus_state state)
{
    if (n->state == NEXUS_OPEN)
        tell(n, fx, NEXUS_DO_STOP);
    n->state = state;
    n->ticket++;
}

static void ask(struct nexus *n, struct nexus_effects *fx,
                enum nexus_state state, enum nexus_effect_kind question)
{
    enter(n, fx, state);
    tell(n, fx, question)->key = nexus_key(n);
}

static void look(struct nexus *n, struct nexus_effects *fx)
{
    ask(n, fx, NEXUS_LOOKING, NEXUS_DO_READ_KEYS);
}

static void end_run(struct nexus *n, struct nexus_effects *fx)
{
    enter(n, fx, NEXUS_FENCED);
    tell(n, fx, NEXUS_DO_FAIL);
}

static void ask_consent(struct nexus *n, struct nexus_effects *fx)
{
    if (n->args.turn == LM_TURN_MAX)
        end_run(n, fx); /* there is no further key for this run */
    else
        ask(n, fx, NEXUS_ASKING, NEXUS_DO_ASK_CONSENT);
}

/* The LUN does not do what it must, and says so: nothing runs until somebody
 * has mended it. */
static void give_up(struct nexus *n, struct nexus_effects *fx,
                    enum lun_answer answer)
{
    enter(n, fx, NEXUS_RETIRED);
    tell(n, fx, NEXUS_DO_ALARM)->answer = answer;
}

/* An answer that is not OK, where nothing better is known.  No answer: the
 * session is as good as gone, and LOST follows. */
static void bad_answer(struct nexus *n, struct nexus_effects *fx,
                       enum lun_answer answer)
{
    if (answer == LUN_GONE)
        enter(n, fx, NEXUS_DOWN);
    else if (answer == LUN_CONFLICT)
        look(n, fx);
    else
        give_up(n, fx, answer);
}

static void on_registered(struct nexus *n, const struct nexus_event *ev,
                          struct nexus_effects *fx)
{
    if (ev->answer != LUN_OK) {
        bad_answer(n, fx, ev->answer);
    } else if (n->state == NEXUS_RECHECKING) {
        ask(n, fx, NEXUS_CHECKING, NEXUS_DO_READ_RESERVATION);
    } else {
        n->registered = true;
        ask(n, fx, NEXUS_READING, NEXUS_DO_READ_BLOCKS);
    }
}

/* F2: read after REGISTER was answered. */
static void on_blocks(struct nexus *n, const struct nexus_event *ev,
                      struct nexus_effects *fx)
{
    const struct node_block *own = &ev->blocks->node[n->args.me.node - 1];

    if (node_blocks_learn(ev->blocks, &n->fenced)) {
        ask(n, fx, n->state, NEXUS_DO_READ_BLOCKS);
        return;
    }
    switch (node_blocks_standing(ev->blocks, &n->fenced, n->args.me,
                                 n->args.turn)) {
    case STANDING_FENCED: end_run(n, fx); return;
    case STANDING_PATH_FENCED: ask_consent(n, fx); return;
    case STANDING_GOOD: break;
    }
    if (n->state == NEXUS_PEEKING)
        ask_consent(n, fx);
    else if (own->incarnation != n->args.me.incarnation ||
             own->reservation_key != nexus_key(n))
        ask(n, fx, NEXUS_WRITING, NEXUS_DO_WRITE_BLOCK);
    else
        ask(n, fx, NEXUS_CHECKING, NEXUS_DO_READ_RESERVATION);
}

static void on_blocks_read(struct nexus *n, const struct nexus_event *ev,
                           struct nexus_effects *fx)
{
    if (ev->answer == LUN_OK)
        on_blocks(n, ev, fx);
    else if (ev->answer == LUN_CONFLICT && n->state == NEXUS_PEEKING)
        ask_consent(n, fx); /* who is not registered may not read */
    else
        bad_answer(n, fx, ev->answer);
}

static void on_reservation(struct nexus *n, const struct nexus_event *ev,
                           struct nexus_effects *fx)
{
    if (ev->answer != LUN_OK) {
        bad_answer(n, fx, ev->answer);
    } else if (ev->type != n->args.type) {
        enter(n, fx, NEXUS_UNRESERVED);
        tell(n, fx, NEXUS_DO_TELL_UNRESERVED);
    } else {
        n->state = NEXUS_OPEN;
        n->ticket++;
        n->redirected = false;
        tell(n, fx, NEXUS_DO_OPEN);
    }
}

static void on_keys(struct nexus *n, const struct nexus_event *ev,
                    struct nexus_effects *fx)
{
    if (ev->answer != LUN_OK)
        bad_answer(n, fx, ev->answer);
    else if (lm_keys_have(&ev->keys, nexus_key(n)))
        ask(n, fx, NEXUS_REGISTERING, NEXUS_DO_REGISTER);
    else if (lm_keys_whole(&ev->keys))
        ask(n, fx, NEXUS_PEEKING, NEXUS_DO_READ_BLOCKS);
    else if (lm_keys_grow(&ev->keys, &n->room))
        look(n, fx); /* cut short is not gone (F24) */
    else
        give_up(n, fx, LUN_FAILED);
}

static void begin(struct nexus *n, struct nexus_effects *fx)
{
    if (n->registered)
        look(n, fx);
    else
        ask(n, fx, NEXUS_REGISTERING, NEXUS_DO_REGISTER);
}

static void on_up(struct nexus *n, struct nexus_effects *fx)
{
    if (n->state == NEXUS_RETIRED || n->state == NEXUS_ASKING)
        return; /* they wait for REPAIRED and CONSENTED */
    begin(n, fx);
}

static void on_lost(struct nexus *n, struct nexus_effects *fx)
{
    if (n->state != NEXUS_RETIRED && n->state != NEXUS_ASKING)
        enter(n, fx, NEXUS_DOWN);
}

static void on_consent(struct nexus *n, const struct nexus_event *ev,
                       struct nexus_effects *fx)
{
    if (ev->turn <= n->args.turn || ev->turn > LM_TURN_MAX)
        return; /* told twice, or no turn */
    if (n->state == NEXUS_RETIRED)
        return; /* of an earlier question: this key is to be fenced first */
    n->args.turn = ev->turn;
    n->registered = n->gave_up_key = false;
    if (n->state != NEXUS_DOWN)
        ask(n, fx, NEXUS_REGISTERING, NEXUS_DO_REGISTER);
}

/* I13: what is in flight is the path fence's from now on, and this key is not
 * used again. */
static void on_retire(struct nexus *n, struct nexus_effects *fx)
{
    enter(n, fx, NEXUS_RETIRED);
    n->gave_up_key = true;
    if (nexus_wants_fence(n))
        tell(n, fx, NEXUS_DO_ASK_FENCE)->key = nexus_key(n);
}

static void on_repaired(struct nexus *n, struct nexus_effects *fx)
{
    if (n->state != NEXUS_RETIRED)
        return;
    if (n->gave_up_key)
        ask_consent(n, fx);
    else
        begin(n, fx);
}

static void on_trouble(struct nexus *n, struct nexus_effects *fx);

/* Asked for, or not: whoever resigned without releasing its claim is fenced in
 * this way, too. */
static void on_path_fenced(struct nexus *n, const struct nexus_event *ev,
                           struct nexus_effects *fx)
{
    if (ev->turn < n->args.turn || n->redirected)
        return; /* of a key before this one, or told twice */
    on_trouble(n, fx);
    n->redirected = true;
    tell(n, fx, NEXUS_DO_REDIRECT);
}

/* Of an earlier question, or of none. */
static bool is_stale(const struct nexus *n, const struct nexus_event *ev)
{
    static const struct {
        enum nexus_event_kind kind;
        enum nexus_state state, or_state;
    } rows[] = {
        {NEXUS_EV_REGISTERED,       NEXUS_REGISTERING, NEXUS_RECHECKING},
        {NEXUS_EV_BLOCKS_READ,      NEXUS_READING,     NEXUS_PEEKING   },
        {NEXUS_EV_BLOCK_WRITTEN,    NEXUS_WRITING,     NEXUS_WRITING   },
        {NEXUS_EV_RESERVATION_READ, NEXUS_CHECKING,    NEXUS_CHECKING  },
        {NEXUS_EV_KEYS_READ,        NEXUS_LOOKING,     NEXUS_LOOKING   },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].kind == ev->kind)
            return ev->ticket != n->ticket ||
                   (n->state != rows[i].state && n->state != rows[i].or_state);
    return false;
}

static void on_trouble(struct nexus *n, struct nexus_effects *fx)
{
    switch (n->state) {
    case NEXUS_DOWN:
    case NEXUS_LOOKING:
    case NEXUS_PEEKING:
    case NEXUS_ASKING:
    case NEXUS_RETIRED:
    case NEXUS_FENCED: return;
    case NEXUS_REGISTERING:
    case NEXUS_READING:
    case NEXUS_WRITING: look(n, fx); return;
    case NEXUS_CHECKING:
    case NEXUS_UNRESERVED:
    case NEXUS_OPEN:
    case NEXUS_RECHECKING:
        ask(n, fx, NEXUS_RECHECKING, NEXUS_DO_RECHECK);
        return;
    case NEXUS_STATE_COUNT: ASSERT(false);
    }
}

/* What an open nexus hears of stops it; one that is looking looks already. */
static void on_reserved(struct nexus *n, struct nexus_effects *fx)
{
    if (n->state == NEXUS_UNRESERVED)
        ask(n, fx, NEXUS_CHECKING, NEXUS_DO_READ_RESERVATION);
    else
        on_trouble(n, fx);
}

static void on_written(struct nexus *n, const struct nexus_event *ev,
                       struct nexus_effects *fx)
{
    if (ev->answer == LUN_OK)
        ask(n, fx, NEXUS_CHECKING, NEXUS_DO_READ_RESERVATION);
    else
        bad_answer(n, fx, ev->answer);
}

void nexus_step(struct nexus *nexus, const struct nexus_event *event,
                struct nexus_effects *ret_effects)
{
    ret_effects->count = 0;
    if (nexus->state == NEXUS_FENCED || is_stale(nexus, event))
        return;
    switch (event->kind) {
    case NEXUS_EV_UP: on_up(nexus, ret_effects); break;
    case NEXUS_EV_LOST: on_lost(nexus, ret_effects); break;
    case NEXUS_EV_REGISTERED: on_registered(nexus, event, ret_effects); break;
    case NEXUS_EV_BLOCKS_READ: on_blocks_read(nexus, event, ret_effects); break;
    case NEXUS_EV_BLOCK_WRITTEN: on_written(nexus, event, ret_effects); break;
    case NEXUS_EV_RESERVATION_READ:
        on_reservation(nexus, event, ret_effects);
        break;
    case NEXUS_EV_KEYS_READ: on_keys(nexus, event, ret_effects); break;
    case NEXUS_EV_CONFLICT:
    case NEXUS_EV_ATTENTION: on_trouble(nexus, ret_effects); break;
    case NEXUS_EV_CONSENTED: on_consent(nexus, event, ret_effects); break;
    case NEXUS_EV_RESERVED: on_reserved(nexus, ret_effects); break;
    case NEXUS_EV_RETIRE: on_retire(nexus, ret_effects); break;
    case NEXUS_EV_PATH_FENCED: on_path_fenced(nexus, event, ret_effects); break;
    case NEXUS_EV_REPAIRED: on_repaired(nexus, ret_effects); break;
    case NEXUS_EV_FENCED_ELSEWHERE: end_run(nexus, ret_effects); break;
    case NEXUS_EVENT_COUNT: ASSERT(false); break;
    }
}
