/* lockmgr/member_solo.c - a cluster of one: what is sent comes back by a task.
 * Reaches no other host.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lockmgr/member_shell.h"

#include <string.h>

enum {
    WAITING_MAX = 256,     /* messages that come back this turn */
    SUSPECT_TICKS_NONE = 1 /* nobody ticks */
};

struct message {
    struct list link;
    size_t count;
    uint8_t bytes[];
};

struct member_solo {
    struct member base;
    struct task task;
    bool posted, closed;
    struct list waiting;
    unsigned waiting_count;
    bool begun;
};

static void post(struct member_solo *s)
{
    if (!s->posted)
        loop_post(s->base.loop, &s->task);
    s->posted = true;
}

static void solo_multicast(struct member *m, const void *bytes, size_t count)
{
    struct member_solo *s = container_of(m, struct member_solo, base);
    struct message *msg = malloc(sizeof *msg + count);

    ASSERT(msg); /* small, and there is no way to go on without it */
    *msg = (struct message){.count = count};
    memcpy(msg->bytes, bytes, count);
    list_push_back(&s->waiting, &msg->link);
    s->waiting_count++;
    post(s);
}

static bool solo_is_full(struct member *m)
{
    return container_of(m, struct member_solo, base)->waiting_count >=
           WAITING_MAX;
}

/* What corosync would say of a cluster of one. */
static void begin(struct member_solo *s)
{
    const struct member_process me = {s->base.core.args.me.node,
                                      s->base.core.args.pid};
    const struct member_ring ring = {me.node, 1};

    member_feed(&s->base, &(struct member_event){.type = EVENT_QUORUM,
                                                 .ring = ring,
                                                 .quorate = true});
    member_feed(&s->base,
                &(struct member_event){.type = EVENT_RING, .ring = ring});
    member_feed(&s->base, &(struct member_event){.type = EVENT_CONFCHG,
                                                 .processes = &me,
                                                 .process_count = 1});
}

static void solo_free(struct member_solo *s)
{
    struct list *node;

    while ((node = list_pop_front(&s->waiting)))
        free(container_of(node, struct message, link));
    free(s);
}

static void run(struct task *task)
{
    struct member_solo *s = container_of(task, struct member_solo, task);
    struct list *node;

    s->posted = false;
    if (s->closed) {
        solo_free(s);
        return;
    }
    if (!s->begun) {
        s->begun = true;
        begin(s);
        return;
    }
    node = list_pop_front(&s->waiting);
    if (!node)
        return;
    s->waiting_count--;
    if (s->waiting_count)
        post(s);
    struct message *msg = container_of(node, struct message, link);
    member_feed(&s->base,
                &(struct member_event){
                    .type = EVENT_MESSAGE,
                    .from = {s->base.core.args.me.node, s->base.core.args.pid},
                    .bytes = msg->bytes,
                    .count = msg->count,
    });
    free(msg);
}

static void solo_close(struct member *m)
{
    struct member_solo *s = container_of(m, struct member_solo, base);

    s->closed = true;
    if (!s->posted)
        solo_free(s);
}

enum err member_open_solo(const struct member_args *args,
                          struct member **ret_member, struct diag *why)
{
    static const struct member_shell_ops ops = {solo_multicast, solo_is_full,
                                                solo_close};
    struct member_solo *s = calloc(1, sizeof *s);
    enum err e;

    if (!s)
        return diag_fail(why, E_NOMEM, "membership: %s", err_text(E_NOMEM));
    list_init(&s->waiting);
    s->task.run = run;
    e = member_shell_init(&s->base, &ops, args, SUSPECT_TICKS_NONE, why);
    if (e) {
        free(s);
        return e;
    }
    post(s);
    *ret_member = &s->base;
    return E_OK;
}
