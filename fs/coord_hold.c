/* fs/coord_hold.c - answers on their way out, and what is kept back (I14).
 *
 * Held, a coordinator does not know whether it still is one.  What is not let
 * through below waits: on the metadata thread before it runs, or, having run,
 * in `kept`.  Nodes' answers are looked at once more where they leave.
 *
 * These run and are answered all the same, for they take nothing from anybody,
 * and say nothing that another coordinator could contradict:
 *   HELLO, REPORT   the way to us: without them no takeover would end
 *   LAYOUTCOMMIT    true once it is durable: our write landed, so nobody had
 *                   fenced us, and who follows recovers what it says
 *   LAYOUTRETURN    gives up: whoever coordinates, the holder has less
 * The last two are the metadata of a recall.  A node owes it, and is accused if
 * it is late (F9): it must not wait for our hold to end.  What they make room
 * for is granted only then.
 * An answer that says that nothing has been decided (E_EPOCH, E_VOL_OFFLINE)
 * goes out, too.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/coord.h"

#include <stdatomic.h>

static bool is_free(fs_op op)
{
    return op == FS_OP_HELLO || op == FS_OP_REPORT ||
           op == FS_OP_LAYOUTCOMMIT || op == FS_OP_LAYOUTRETURN;
}

static struct fs_call *call_of(struct list *node)
{
    return container_of(node, struct fs_call, link);
}

bool coord_is_held(struct fs_coord *c)
{
    bool held;

    pthread_mutex_lock(&c->lock);
    held = c->held;
    pthread_mutex_unlock(&c->lock);
    return held;
}

bool coord_is_held_up(struct fs_coord *c, const struct fs_call *call)
{
    const struct coord_session *s = coord_session_of(call);
    fs_op op = call->request.args.op;

    if (is_free(op) || (s->proxy && op == FS_OP_CLOSE))
        return false; /* the proxy's end does not wait for the hold's */
    return coord_is_held(c);
}

/* Keep the answer back if it has to be; who is cut off has no time. */
static bool keep(struct fs_coord *c, struct fs_call *call)
{
    bool held, cut;

    if (is_free(call->request.args.op) || call->reply.error == E_EPOCH ||
        call->reply.error == E_VOL_OFFLINE)
        return false;
    pthread_mutex_lock(&c->lock);
    held = c->held;
    cut = coord_session_of(call)->cut;
    if (held && !cut)
        list_push_back(&c->kept, &call->link);
    pthread_mutex_unlock(&c->lock);
    if (held && cut)
        coord_deny(call);
    return held && !cut;
}

/* A local call may outlive the coordinator here, a node's does not. */
static void leave(struct task *task)
{
    struct fs_call *call = container_of(task, struct fs_call, task);
    const struct coord_session *s = coord_session_of(call);

    if (call->remote && keep(s->coord, call))
        return;
    call->done(call);
}

static void send_off(struct fs_call *call)
{
    call->task.run = leave;
    loop_post(call->from, &call->task);
}

void coord_answer(struct fs_coord *c, struct fs_call *call)
{
    atomic_fetch_add(&c->calls, 1);
    call->remote = !coord_session_of(call)->local;
    if (!keep(c, call))
        send_off(call);
}

void coord_refuse_kept(struct fs_coord *c, const struct fs_link *via)
{
    struct list refused;

    list_init(&refused);
    pthread_mutex_lock(&c->lock);
    fs_calls_take(&c->kept, via, &refused);
    pthread_mutex_unlock(&c->lock);
    coord_refuse(c, &refused);
}

/* On the metadata thread, behind whatever ran when it was held. */
void coord_release(struct task *task)
{
    struct fs_coord *c = container_of(task, struct fs_coord, release_task);

    pthread_mutex_lock(&c->lock);
    c->releasing = false;
    pthread_mutex_unlock(&c->lock);
    coord_release_early(c);
    coord_wake(c);
}

void fs_coord_hold(struct fs_coord *coord, bool held)
{
    struct list *node, kept;
    bool post = false;

    list_init(&kept);
    pthread_mutex_lock(&coord->lock);
    coord->held = held;
    if (!held) {
        while ((node = list_pop_front(&coord->kept)))
            list_push_back(&kept, node);
        post = !coord->releasing;
        coord->releasing = true;
    }
    pthread_mutex_unlock(&coord->lock);
    while ((node = list_pop_front(&kept)))
        send_off(call_of(node));
    if (post)
        loop_post(coord->loop, &coord->release_task);
}
