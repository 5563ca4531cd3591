/* fs/net_serve.c - a coordinator's end of the wire: each call that comes in is
 * handed to the coordinator, once while it runs, and its reply sent to where
 * its sender is now.  Decides nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/coord.h"
#include "fs/net.h"

#include "base/log.h"

#include <string.h>

enum { RETRY_MS = 5 }; /* a full connection is looked at again */

/* One run of a node, as long as it calls or has called over a connection. */
struct peer {
    struct net_serve *serve;
    struct list at;
    struct fs_sender who;
    struct fs_link *link; /* the coordinator's end */
    bool connected;
    struct list running;
};

struct served {
    struct fs_call call;
    struct peer *peer;
    struct list at;
    uint64_t tag;
    struct iovec iov; /* of the bytes behind call or reply; heap */
};

/* What the metadata thread has to say to a node, on its way. */
struct notice {
    struct task task;
    struct list at;
    struct net_serve *serve;
    struct fs_sender to;
    fs_message_body body;
};

struct net_serve {
    struct fs_net *net;
    struct net_volume *volume;
    struct fs_coord *coord;
    struct list peers;
    struct list unsent; /* replies that the connection has no room for … */
    struct list untold; /* … and notices */
    struct timer retry;
    struct task *leaving; /* told when nothing runs any more */
    struct task end;
};

/* -- peers ----------------------------------------------------------------- */

static struct peer *peer_of(struct list *node)
{
    return container_of(node, struct peer, at);
}

static struct peer *find(struct net_serve *s, const struct fs_sender *who)
{
    list_for_each (node, &s->peers) {
        struct peer *p = peer_of(node);

        if (fs_sender_is(&p->who, who))
            return p;
    }
    return NULL;
}

/* Whoever is not there is told again when it says HELLO.  A lock is nobody's
 * while we are held.  Errors: E_AGAIN - later. */
static enum err send_notice(const struct notice *n)
{
    const struct net_serve *s = n->serve;
    const struct peer *p = find(n->serve, &n->to);
    fs_message m = {.body = n->body};

    memcpy(m.volume, s->volume->uuid, sizeof m.volume);
    if (!p || !p->connected)
        return E_OK;
    if (n->body.kind == FS_MESSAGE_LOCK_ANSWER && coord_is_held(s->coord))
        return E_AGAIN;
    return net_send(s->net, p->who.node, &m, NULL) == E_AGAIN ? E_AGAIN : E_OK;
}

/* In order behind those that wait already. */
static void notice_came(struct task *task)
{
    struct notice *n = container_of(task, struct notice, task);
    struct net_serve *s = n->serve;

    if (list_empty(&s->untold) && !send_notice(n)) {
        free(n);
        return;
    }
    list_push_back(&s->untold, &n->at);
    loop_timer_set(s->net->loop, &s->retry, RETRY_MS);
}

/* On the metadata thread. */
static void give_notice(struct fs_link *link, const fs_message_body *body)
{
    const struct peer *p = link->user;
    struct notice *n = calloc(1, sizeof *n);

    ASSERT(n != NULL);
    *n = (struct notice){.task.run = notice_came,
                         .serve = p->serve,
                         .to = p->who,
                         .body = *body};
    loop_post(p->serve->net->loop, &n->task);
}

static void recall(struct fs_link *link, const fs_recall *recall)
{
    fs_message_body body = {.kind = FS_MESSAGE_RECALL};

    body.fs_message_body_u.recall = *recall;
    give_notice(link, &body);
}

static void lock_answered(struct fs_link *link, const fs_lock_answer *answer)
{
    fs_message_body body = {.kind = FS_MESSAGE_LOCK_ANSWER};

    body.fs_message_body_u.lock_answer = *answer;
    give_notice(link, &body);
}

static struct peer *peer_new(struct net_serve *s, const struct fs_sender *who)
{
    struct peer *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->serve = s;
    p->who = *who;
    list_init(&p->running);
    if (fs_coord_join(s->coord, who, &p->link)) {
        free(p);
        return NULL;
    }
    pthread_mutex_lock(&p->link->ear); /* what its node asked before may be */
    p->link->user = p;                 /* answered just now */
    p->link->recall = recall;
    p->link->lock_answered = lock_answered;
    pthread_mutex_unlock(&p->link->ear);
    list_push_back(&s->peers, &p->at);
    return p;
}

/* Nothing of it runs, and it is not there or we are not. */
static void peer_put(struct peer *p)
{
    if ((p->connected && !p->serve->leaving) || !list_empty(&p->running))
        return;
    fs_coord_leave(p->link);
    list_remove(&p->at);
    free(p);
}

static void drop_untold(struct net_serve *s)
{
    struct list *node;

    while ((node = list_pop_front(&s->untold)))
        free(container_of(node, struct notice, at));
}

/* No session is left, so behind this task there is no notice any more. */
static void end(struct task *task)
{
    struct net_serve *s = container_of(task, struct net_serve, end);
    struct task *leaving = s->leaving;

    loop_timer_cancel(s->net->loop, &s->retry);
    drop_untold(s);
    s->volume->serve = NULL;
    net_volume_put(s->volume);
    free(s);
    leaving->run(leaving);
}

static void check_left(struct net_serve *s)
{
    if (!s->leaving || s->end.run || !list_empty(&s->peers))
        return;
    s->end.run = end;
    loop_post(s->net->loop, &s->end);
}

/* -- calls ----------------------------------------------------------------- */

/* XDR has no string that is not there, and no result beside an error. */
static fs_reply as_sent(const fs_reply *reply)
{
    static char none[] = "";
    fs_reply r = *reply;

    if (!r.owner)
        r.owner = none;
    if (r.error) {
        memset(&r.result, 0, sizeof r.result);
        r.result.op = FS_OP_RMDIR;
    }
    return r;
}

/* Errors: E_AGAIN - later, for its sender waits.  Everything else is as good as
 * sent: it asks again when it is back, or when another coordinates. */
static enum err send_reply(struct served *served)
{
    const struct peer *p = served->peer;
    const struct net_serve *s = p->serve;
    struct fs_net *net = s->net;
    struct net_bulk bulk = {&served->iov, 1, 0, 0};
    fs_message m = {.body.kind = FS_MESSAGE_REPLY};
    enum err e;

    memcpy(m.volume, s->volume->uuid, sizeof m.volume);
    m.body.fs_message_body_u.reply =
        (fs_reply_message){served->tag, as_sent(&served->call.reply)};
    if (!p->connected || served->call.reply.error == E_VOL_OFFLINE)
        return E_OK;
    bulk.bytes = net_bulk_bytes(&m);
    e = net_send(net, p->who.node, &m, &bulk);
    if (e == E_AGAIN)
        return s->leaving ? E_OK : e;
    if (e && e != E_CLOSED)
        log_warning("an answer to node %u is lost: %s", p->who.node,
                    err_text(e));
    return E_OK;
}

static void served_end(struct served *served)
{
    struct peer *p = served->peer;
    struct net_serve *s = p->serve;

    list_remove(&served->at);
    fs_call_fini(&served->call);
    xdr_free((xdrproc_t)xdr_fs_request, (char *)&served->call.request);
    free(served->iov.iov_base);
    free(served);
    peer_put(p);
    check_left(s);
}

/* False: it has no room yet. */
static bool send_untold(struct net_serve *s)
{
    while (!list_empty(&s->untold)) {
        struct notice *n = container_of(s->untold.next, struct notice, at);

        if (send_notice(n))
            return false;
        list_remove(&n->at);
        free(n);
    }
    return true;
}

static void send_unsent(struct timer *t)
{
    struct net_serve *s = container_of(t, struct net_serve, retry);

    if (!send_untold(s))
        loop_timer_set(s->net->loop, &s->retry, RETRY_MS);
    while (!list_empty(&s->unsent)) {
        struct served *served =
            container_of(s->unsent.next, struct served, call.link);

        if (coord_is_held(s->coord) || send_reply(served)) {
            loop_timer_set(s->net->loop, &s->retry, RETRY_MS);
            return;
        }
        list_remove(&served->call.link);
        served_end(served);
    }
}

/* Their senders ask the next coordinator. */
static void drop_unsent(struct net_serve *s)
{
    struct list *node;

    while ((node = list_pop_front(&s->unsent)))
        served_end(container_of(node, struct served, call.link));
}

/* In order behind those that wait already. */
static void served_done(struct fs_call *call)
{
    struct served *served = container_of(call, struct served, call);
    struct net_serve *s = served->peer->serve;

    if (list_empty(&s->unsent) && !send_reply(served)) {
        served_end(served);
        return;
    }
    list_push_back(&s->unsent, &call->link);
    loop_timer_set(s->net->loop, &s->retry, RETRY_MS);
}

static bool is_running(const struct peer *p, uint64_t tag)
{
    list_for_each (node, &p->running)
        if (container_of(node, struct served, at)->tag == tag)
            return true;
    return false;
}

/* Memory for what comes behind the call, or goes behind its reply. */
static enum err take_bytes(struct served *served, const void *bytes)
{
    const fs_args *args = &served->call.request.args;
    const fs_data_args *data = &args->fs_args_u.read;

    if (args->op != FS_OP_READ && args->op != FS_OP_WRITE)
        return E_OK;
    if (data->len_bytes < 1 || data->len_bytes > FS_DATA_MAX)
        return E_INVAL;
    served->iov = (struct iovec){malloc(data->len_bytes), data->len_bytes};
    if (!served->iov.iov_base)
        return E_NOMEM;
    if (args->op == FS_OP_WRITE)
        memcpy(served->iov.iov_base, bytes, data->len_bytes);
    served->call.iov = &served->iov;
    served->call.iov_count = 1;
    return E_OK;
}

/* What cannot be taken on is dropped: a call that is none, or for want of
 * memory. */
static struct served *served_new(struct peer *p, fs_call_message *call,
                                 const void *bytes)
{
    struct served *served = calloc(1, sizeof *served);

    if (!served)
        return NULL;
    fs_call_init(&served->call, call->request.args.op);
    served->call.request = call->request;
    if (take_bytes(served, bytes)) {
        free(served);
        return NULL;
    }
    memset(&call->request, 0, sizeof call->request); /* it is ours now */
    call->request.args.op = FS_OP_HELLO;
    served->call.done = served_done;
    served->peer = p;
    served->tag = call->tag;
    return served;
}

void net_serve_call(struct net_serve *s, const struct fs_sender *who,
                    fs_call_message *call, const void *bytes)
{
    struct peer *p = find(s, who);
    struct served *served;

    if (s->leaving || call->request.node != who->node)
        return; /* who comes next is told; who lies is not */
    if (!p)
        p = peer_new(s, who);
    if (!p)
        return;
    p->connected = true;
    if (is_running(p, call->tag))
        return; /* sent again: the one answer is for both */
    served = served_new(p, call, bytes);
    if (!served)
        return;
    list_push_back(&p->running, &served->at);
    fs_link_send(p->link, &served->call);
}

/* Nodes say HELLO first: who is not known has left. */
void net_serve_lock(struct net_serve *s, const struct fs_sender *who,
                    fs_lock_request *request)
{
    const struct peer *p = find(s, who);
    struct fs_lock_note *note = p ? calloc(1, sizeof *note) : NULL;

    if (!note)
        return;
    note->request = *request;
    memset(request, 0, sizeof *request); /* it is the note's now */
    p->link->ops->lock(p->link, note);
}

void net_serve_lost(struct net_serve *s, uint32_t node)
{
    list_for_each (at, &s->peers) {
        struct peer *p = peer_of(at);

        if (p->who.node != node)
            continue;
        p->connected = false;
        peer_put(p);
    }
}

/* -- birth and death ------------------------------------------------------- */

enum err fs_net_serve(struct fs_net *net, const uint8_t uuid[16],
                      struct fs_coord *coord)
{
    AUTO(freep) struct net_serve *s = calloc(1, sizeof *s);
    enum err e;

    if (!s)
        return E_NOMEM;
    s->net = net;
    s->coord = coord;
    list_init(&s->peers);
    list_init(&s->unsent);
    list_init(&s->untold);
    s->retry.fire = send_unsent;
    e = net_volume_get(net, uuid, &s->volume);
    if (e)
        return e;
    if (s->volume->serve)
        return E_EXIST;
    s->volume->serve = s;
    if (s->volume->remote)
        net_remote_met(s->volume->remote, net->self.node);
    TAKE(s);
    return E_OK;
}

void fs_net_leave(struct fs_net *net, const uint8_t uuid[16], struct task *done)
{
    struct net_volume *v = net_volume_find(net, uuid);
    struct net_serve *s = v ? v->serve : NULL;

    if (!s) {
        loop_post(net->loop, done);
        return;
    }
    s->leaving = done;
    drop_unsent(s);
    list_for_each (at, &s->peers) {
        if (!list_empty(&peer_of(at)->running))
            fs_coord_cut(peer_of(at)->link);
        peer_put(peer_of(at));
    }
    check_left(s);
}
