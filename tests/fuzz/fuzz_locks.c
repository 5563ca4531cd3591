/* tests/fuzz/fuzz_locks.c - any messages, in any order, for the lock masters
 * and their nodes: what is no message is refused, and none stops the program.
 * The users of locks on the node itself keep the rules.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/base.h"
#include "lockmgr/lockmgr.h"

#include <string.h>

enum { USERS = 4, CALLS = 4, RESOURCES = 3, LOCKS = 4, MAX = 16 };

struct cursor {
    const uint8_t *at;
    size_t left;
};

struct world {
    struct lm_master_sink master_sink;
    struct lm_holder_sink holder_sink;
    struct lm_range_sink range_sink;
    struct lm_range_client_sink client_sink;
    struct lm_master *master;
    struct lm_holder *holder;
    struct lm_range_master *range_master;
    struct lm_range_client *client;
    struct lm_user users[USERS];
    enum { IDLE, WAITS, HAS } user_state[USERS];
    bool is_revoked[RESOURCES]; /* and not answered */
    struct lm_range_call calls[CALLS];
    bool is_called[CALLS];
};

/* The next byte, mostly small; 0 at the end. */
static unsigned byte(struct cursor *c, unsigned limit)
{
    if (!c->left)
        return 0;
    c->left--;
    return *c->at++ % limit;
}

static void drop_answer(struct lm_master_sink *sink, const struct lm_answer *a)
{
    (void)sink;
    ASSERT(lm_mode_is_valid(a->mode));
}

static void drop_range(struct lm_range_sink *sink,
                       const struct lm_range_answer *a)
{
    (void)sink;
    ASSERT(a->file);
}

static void note(struct lm_holder_sink *sink,
                 const struct lm_holder_effect *effect)
{
    struct world *w = container_of(sink, struct world, holder_sink);

    if (effect->type == LM_HOLDER_DONE)
        w->user_state[effect->user - w->users] = effect->error ? IDLE : HAS;
    else if (effect->type == LM_HOLDER_REVOKE)
        w->is_revoked[effect->resource.kind % RESOURCES] = true;
}

static void note_call(struct lm_range_client_sink *sink,
                      const struct lm_range_client_effect *effect)
{
    struct world *w = container_of(sink, struct world, client_sink);

    if (effect->type == LM_RANGE_RESULT)
        w->is_called[effect->call - w->calls] = false;
}

static struct lm_resource resource(struct cursor *c)
{
    return (struct lm_resource){.kind = byte(c, RESOURCES)};
}

static void to_master(struct world *w, struct cursor *c)
{
    const struct lm_peer peer = {byte(c, 3), byte(c, 3)};
    const struct lm_request q = {
        .op = (enum lm_request_op)byte(c, 5),
        .from = peer,
        .epoch = byte(c, 8) ? 1 : 2,
        .lock = byte(c, 4),
        .seq = byte(c, 16),
        .resource = resource(c),
        .mode = (enum lm_mode)byte(c, LM_MODE_COUNT + 1),
        .flags = byte(c, 4),
    };
    const struct lm_report p = {.from = peer,
                                .epoch = q.epoch,
                                .lock = q.lock,
                                .seq = q.seq,
                                .resource = q.resource,
                                .mode = q.mode};
    struct lm_master_event e = {
        .type = (enum lm_master_event_type)byte(c, LM_MASTER_STOP + 1)};
    struct diag why;

    if (e.type == LM_MASTER_REQUEST)
        e.request = &q;
    else if (e.type == LM_MASTER_REPORT)
        e.report = &p;
    else
        e.peer = peer;
    (void)!lm_master_step(w->master, &e, &w->master_sink, &why);
}

static void to_holder(struct world *w, struct cursor *c)
{
    unsigned i = byte(c, USERS);
    const struct lm_answer a = {
        .op = (enum lm_answer_op)byte(c, 5),
        .to = {1, byte(c, 8) ? 1 : 2},
        .epoch = 1,
        .lock = byte(c, 8),
        .seq = byte(c, 8),
        .resource = resource(c),
        .mode = (enum lm_mode)byte(c, LM_MODE_COUNT + 1),
        .error = (enum err)byte(c, ERR_COUNT),
    };
    struct lm_holder_event e = {
        .type = (enum lm_holder_event_type)byte(c, LM_HOLDER_CONFIRM + 1)};
    struct diag why;

    switch (e.type) {
    case LM_HOLDER_ACQUIRE:
        if (w->user_state[i] != IDLE)
            return;
        w->users[i] = (struct lm_user){
            .resource = a.resource,
            .mode = (enum lm_mode)(1 + byte(c, LM_EX)),
            .flags = byte(c, 8),
        };
        w->user_state[i] = WAITS;
        e.user = &w->users[i];
        break;
    case LM_HOLDER_RELEASE:
        if (w->user_state[i] != HAS)
            return;
        w->user_state[i] = IDLE;
        e.user = &w->users[i];
        break;
    case LM_HOLDER_CANCEL:
        if (w->user_state[i] == IDLE)
            return;
        e.user = &w->users[i];
        break;
    case LM_HOLDER_REVOKED:
        if (!w->is_revoked[a.resource.kind])
            return;
        w->is_revoked[a.resource.kind] = false;
        e.resource = a.resource;
        break;
    case LM_HOLDER_ANSWER: e.answer = &a; break;
    case LM_HOLDER_EPOCH: e.epoch = 1; break;
    case LM_HOLDER_RESEND:
    case LM_HOLDER_FREEZE:
    case LM_HOLDER_CONFIRM: break;
    }
    (void)!lm_holder_step(w->holder, &e, &w->holder_sink, &why);
}

static struct lm_range range(struct cursor *c, const struct lm_peer *peer)
{
    return (struct lm_range){
        .file = byte(c, RESOURCES),
        .owner = {.kind = (enum lm_range_kind)byte(c, 4),
                  .peer = *peer,
                  .key = byte(c, 2)},
        .type = (enum lm_range_type)byte(c, 4),
        .first = byte(c, 16),
        .last = byte(c, 8) ? byte(c, 32) : LM_RANGE_LAST + byte(c, 2),
    };
}

static void to_range_master(struct world *w, struct cursor *c)
{
    const struct lm_peer peer = {byte(c, 3), byte(c, 3)};
    struct lm_range locks[LOCKS];
    const struct lm_range_request q = {
        .op = (enum lm_range_op)byte(c, 4),
        .from = peer,
        .epoch = 1,
        .slot = byte(c, 8) ? byte(c, 4) : LM_RANGE_SLOTS,
        .seq = byte(c, 16),
        .range = range(c, &peer),
        .waits = byte(c, 2),
        .right = byte(c, 8),
        .locks = locks,
        .lock_count = byte(c, LOCKS + 1),
    };
    const struct lm_range_report p = {
        .from = peer, .epoch = 1, .right = q.right, .range = q.range};
    struct lm_range_event e = {
        .type = (enum lm_range_event_type)byte(c, LM_RANGE_STOP + 1)};
    struct diag why;

    for (unsigned i = 0; i < q.lock_count; i++)
        locks[i] = range(c, &peer);
    if (e.type == LM_RANGE_REQUEST)
        e.request = &q;
    else if (e.type == LM_RANGE_REPORT)
        e.report = &p;
    else
        e.peer = peer;
    (void)!lm_range_master_step(w->range_master, &e, &w->range_sink, &why);
}

static void to_range_client(struct world *w, struct cursor *c)
{
    const struct lm_peer self = {1, 1};
    unsigned i = byte(c, CALLS);
    const struct lm_range_answer a = {
        .op = (enum lm_range_answer_op)byte(c, 4),
        .to = self,
        .epoch = 1,
        .slot = byte(c, 4),
        .seq = byte(c, 8),
        .file = byte(c, RESOURCES),
        .right = byte(c, 4),
        .error = (enum err)byte(c, ERR_COUNT),
    };
    struct lm_range r = range(c, &self);
    struct lm_range_client_event e = {
        .type = (enum lm_range_client_event_type)byte(c, LM_RANGE_CONFIRM + 1)};
    struct diag why;

    if (e.type == LM_RANGE_CALL) {
        if (w->is_called[i] || lm_range_check(&r, NULL))
            return;
        w->is_called[i] = true;
        w->calls[i] =
            (struct lm_range_call){.op = (enum lm_range_call_op)byte(c, 3),
                                   .range = r,
                                   .waits = byte(c, 2)};
        e.call = &w->calls[i];
    } else if (e.type == LM_RANGE_CANCEL) {
        if (!w->is_called[i])
            return;
        e.call = &w->calls[i];
    } else if (e.type == LM_RANGE_ANSWER) {
        e.answer = &a;
    } else if (e.type == LM_RANGE_EPOCH) {
        e.epoch = 1;
    } else {
        e.file = a.file;
    }
    (void)!lm_range_client_step(w->client, &e, &w->client_sink, &why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(struct world *, struct cursor *) = {
        to_master, to_holder, to_range_master, to_range_client};
    struct cursor c = {data, size};
    struct world w = {.master_sink.put = drop_answer,
                      .holder_sink.put = note,
                      .range_sink.put = drop_range,
                      .client_sink.put = note_call};

    if (lm_master_new(1, MAX, &w.master) ||
        lm_holder_new(&(struct lm_peer){1, 1}, MAX, &w.holder) ||
        lm_range_master_new(1, MAX, &w.range_master) ||
        lm_range_client_new(&(struct lm_peer){1, 1}, MAX, &w.client))
        abort();
    while (c.left)
        targets[byte(&c, ARRAY_LEN(targets))](&w, &c);
    lm_master_free(w.master);
    lm_holder_free(w.holder);
    lm_range_master_free(w.range_master);
    lm_range_client_free(w.client);
    return 0;
}
