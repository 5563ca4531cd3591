/* fs/coord_locks.c - the byte-range locks of all nodes: the shell of the range
 * master.  Decides nothing, writes nothing: after a takeover the nodes report
 * what they hold.
 *
 * Until all have reported, and while held, requests wait and nobody is told
 * anything (I14).  What is on its way is looked at once more where it leaves
 * (net_serve.c).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/coord.h"
#include "fs/lock_wire.h"

#include "base/log.h"

/* -- what is told ---------------------------------------------------------- */

static void tell(struct fs_coord *c, const struct fs_sender *who,
                 const fs_lock_answer *answer)
{
    pthread_mutex_lock(&c->lock);
    list_for_each (node, &c->sessions) {
        struct coord_session *s = container_of(node, struct coord_session, at);

        if (fs_sender_is(&s->who, who))
            fs_link_lock_answered(&s->link, answer);
    }
    pthread_mutex_unlock(&c->lock);
}

struct outbox {
    struct lm_range_sink sink;
    struct fs_coord *coord;
};

/* What it makes anybody do comes here as a task. */
static void put(struct lm_range_sink *sink, const struct lm_range_answer *a)
{
    const struct outbox *out = container_of(sink, struct outbox, sink);
    const struct fs_sender who = {a->to.node, a->to.incarnation};
    const fs_lock_answer answer = lock_answer_to_wire(a);

    tell(out->coord, &who, &answer);
}

static enum err step(struct fs_coord *c, const struct lm_range_event *event,
                     struct diag *why)
{
    struct outbox out = {.sink.put = put, .coord = c};

    return lm_range_master_step(c->ranges, event, &out.sink, why);
}

/* -- requests -------------------------------------------------------------- */

/* Errors: E_NOMEM, those of lm_range_master_step(). */
static enum err run(struct fs_coord *c, const struct fs_lock_note *note,
                    struct diag *why)
{
    const struct lm_peer from = lock_peer(&note->from);
    AUTO(freep)
    struct lm_range *locks =
        calloc(note->request.locks.locks_len + 1, sizeof *locks);
    struct lm_range_request q;

    if (!locks)
        return E_NOMEM;
    q = lock_request_from_wire(&note->request, &from, locks);
    return step(
        c, &(struct lm_range_event){.type = LM_RANGE_REQUEST, .request = &q},
        why);
}

static void deny(struct fs_coord *c, const struct fs_lock_note *note,
                 enum err error)
{
    const fs_lock_request *q = &note->request;

    tell(c, &note->from,
         &(fs_lock_answer){.op = FS_LOCK_DONE,
                           .epoch = q->epoch,
                           .slot = q->slot,
                           .seq = q->seq,
                           .ino = q->lock.ino,
                           .error = error});
}

/* Who speaks in another epoch will hear of this one.  Where nobody coordinates
 * any more other nodes ask the next one. */
static void run_note(struct fs_coord *c, struct fs_lock_note *note)
{
    struct diag why = {0};
    enum err e = E_OK;

    if (!c->offline && c->ranges)
        e = run(c, note, &why);
    else if (note->local)
        deny(c, note, E_VOL_OFFLINE);
    if (e == E_FENCED)
        deny(c, note, e);
    fs_lock_note_free(note);
    if (!e || e == E_EPOCH || e == E_FENCED || c->ranges_complained)
        return;
    c->ranges_complained = true;
    log_warning("volume \"%s\": locks: %s", c->super.name, diag_text(&why, e));
}

static bool may_serve(struct fs_coord *c)
{
    return c->ranges && !c->meta->awaited_count && !coord_is_held(c);
}

/* What had to be said while nothing could be: recalls. */
static void remind_all(struct fs_coord *c)
{
    struct lm_peer peers[FS_NODES_MAX];
    size_t count = 0;

    pthread_mutex_lock(&c->lock);
    list_for_each (node, &c->sessions)
        if (count < ARRAY_LEN(peers))
            peers[count++] =
                lock_peer(&container_of(node, struct coord_session, at)->who);
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < count; i++)
        (void)!step(
            c,
            &(struct lm_range_event){.type = LM_RANGE_AGAIN, .peer = peers[i]},
            NULL);
}

void coord_locks_serve(struct fs_coord *c)
{
    struct list *node;

    if (!may_serve(c))
        return;
    if (!c->ranges_served) {
        c->ranges_served = true;
        (void)!step(c, &(struct lm_range_event){.type = LM_RANGE_SERVE}, NULL);
        remind_all(c);
    }
    while ((node = list_pop_front(&c->lock_notes)))
        run_note(c, container_of(node, struct fs_lock_note, link));
}

void coord_locks_receive(struct task *task)
{
    struct fs_lock_note *note = container_of(task, struct fs_lock_note, task);
    struct fs_coord *c = note->to;

    list_push_back(&c->lock_notes, &note->link);
    if (c->offline || !c->ranges) {
        list_remove(&note->link);
        run_note(c, note);
    }
    coord_locks_serve(c);
}

/* -- takeover, and the end of a node --------------------------------------- */

static enum err report(struct fs_coord *c, const struct fs_call *call)
{
    const fs_report_args *args = &call->request.args.fs_args_u.report;
    const struct lm_peer from = lock_peer(&call->sender);
    struct diag why = {0};
    enum err e = E_OK;

    for (u_int i = 0; i < args->locks.locks_len && !e; i++) {
        const fs_report_lock *l = &args->locks.locks_val[i];
        const struct lm_range_report r = {.from = from,
                                          .epoch = call->request.epoch,
                                          .right = l->right,
                                          .range =
                                              lock_from_wire(&l->lock, &from)};

        e = step(
            c, &(struct lm_range_event){.type = LM_RANGE_REPORT, .report = &r},
            &why);
    }
    if (e)
        log_error("volume \"%s\": what node %u reports: %s", c->super.name,
                  call->sender.node, diag_text(&why, e));
    return e;
}

enum err coord_locks_see(struct fs_coord *c, const struct fs_call *call)
{
    fs_op op = call->request.args.op;

    if (op == FS_OP_REPORT && share_is_awaited(c->meta, &call->sender))
        return report(c, call);
    if (op == FS_OP_HELLO)
        (void)!step(c,
                    &(struct lm_range_event){.type = LM_RANGE_AGAIN,
                                             .peer = lock_peer(&call->sender)},
                    NULL);
    return E_OK;
}

void coord_locks_forget(struct fs_coord *c, const struct fs_sender *who)
{
    const struct lm_range_event gone = {.type = LM_RANGE_GONE,
                                        .peer = lock_peer(who)};

    if (!may_serve(c) && c->ranges_served) {
        c->ranges_served = false;
        (void)!step(c, &(struct lm_range_event){.type = LM_RANGE_STOP}, NULL);
    }
    while (step(c, &gone, NULL))
        ; /* no memory now: it must not be passed over */
}

/* -- birth and death ------------------------------------------------------- */

enum err coord_locks_open(struct fs_coord *c)
{
    c->ranges_served = false;
    return lm_range_master_new(c->super.epoch, FS_LOCKS_MAX, &c->ranges);
}

void coord_locks_close(struct fs_coord *c)
{
    struct list *node;

    while ((node = list_pop_front(&c->lock_notes)))
        fs_lock_note_free(container_of(node, struct fs_lock_note, link));
    lm_range_master_free(TAKE(c->ranges));
}
