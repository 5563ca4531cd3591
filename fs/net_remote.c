/* fs/net_remote.c - a client's link to a coordinator on another node.
 *
 *   AIMLESS  nobody coordinates: calls wait
 *   GREETING connected or not, HELLO tells the epoch: calls wait
 *   READY    calls go out as they come
 *
 * A call has its tag and, for what changes tables, its slot and sequence from
 * the first try on (I7).  After a HELLO everything without an answer is sent
 * again, in the order of its first sending.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/net.h"

#include <string.h>

enum {
    SLOTS = FS_SLOTS_KEPT, /* calls in flight */
    GREET_MS = 200         /* a HELLO without an answer is said again */
};

struct net_remote {
    struct fs_link link;
    struct fs_net *net;
    struct net_volume *volume;
    enum { AIMLESS, GREETING, READY } state;
    uint32_t node; /* the coordinator's; 0: nobody */
    uint64_t epoch, last_tag, hello_tag;
    struct timer again;
    struct list waiting; /* not sent yet */
    struct list sent;    /* without an answer, in order */
    struct slot {
        bool busy;
        uint64_t seq;
    } slots[SLOTS];
};

static struct fs_call *call_of(struct list *node)
{
    return container_of(node, struct fs_call, link);
}

static void answer(struct task *task)
{
    struct fs_call *call = container_of(task, struct fs_call, task);

    call->done(call);
}

/* -- sending --------------------------------------------------------------- */

static void send_message(struct net_remote *r, uint64_t tag,
                         fs_request *request)
{
    fs_message m = {.body.kind = FS_MESSAGE_CALL};

    memcpy(m.volume, r->volume->uuid, sizeof m.volume);
    m.body.fs_message_body_u.call = (fs_call_message){tag, *request};
    /* Whatever fails: `met` or a HELLO makes us send it again. */
    (void)!net_send(r->net, r->node, &m);
}

/* What the link knows of a request, at each try. */
static void address(struct net_remote *r, fs_request *request)
{
    memcpy(request->volume, r->volume->uuid, sizeof request->volume);
    request->node = r->net->self.node;
    request->epoch = r->epoch;
}

static void send_call(struct net_remote *r, struct fs_call *call)
{
    address(r, &call->request);
    send_message(r, call->tag, &call->request);
}

/* Who numbers his requests himself has slots of his own (struct fs_once). */
static bool number(struct net_remote *r, struct fs_call *call)
{
    fs_request *request = &call->request;

    if (call->once.seq) {
        request->incarnation = call->once.incarnation;
        request->slot = call->once.slot;
        request->seq = call->once.seq;
        return true;
    }
    for (uint32_t i = 0; i < SLOTS; i++)
        if (!r->slots[i].busy) {
            r->slots[i].busy = true;
            request->incarnation = r->net->self.incarnation;
            request->slot = i;
            request->seq = ++r->slots[i].seq;
            return true;
        }
    return false;
}

static void send_waiting(struct net_remote *r)
{
    while (r->state == READY && !list_empty(&r->waiting)) {
        struct fs_call *call = call_of(r->waiting.next);

        if (!number(r, call))
            return; /* an answer makes room */
        list_remove(&call->link);
        list_push_back(&r->sent, &call->link);
        call->tag = ++r->last_tag;
        send_call(r, call);
    }
}

/* -- greeting -------------------------------------------------------------- */

static void greet(struct net_remote *r)
{
    fs_request hello = {.proto_version = FS_PROTO_VERSION,
                        .args.op = FS_OP_HELLO};

    loop_timer_cancel(r->net->loop, &r->again);
    if (!r->node) {
        r->state = AIMLESS;
        return;
    }
    r->state = GREETING;
    r->hello_tag = ++r->last_tag;
    address(r, &hello);
    hello.incarnation = r->net->self.incarnation;
    send_message(r, r->hello_tag, &hello);
    loop_timer_set(r->net->loop, &r->again, GREET_MS);
}

/* Not connected, or the volume is not served there yet. */
static void greet_again(struct timer *t)
{
    greet(container_of(t, struct net_remote, again));
}

static void greeted(struct net_remote *r, const fs_hello *hello)
{
    loop_timer_cancel(r->net->loop, &r->again);
    r->epoch = hello->epoch;
    r->state = READY;
    list_for_each (node, &r->sent)
        send_call(r, call_of(node));
    send_waiting(r);
}

/* -- what comes from the transport ----------------------------------------- */

void net_remote_met(struct net_remote *r, uint32_t node)
{
    if (node == r->node)
        greet(r);
}

void net_remote_lost(struct net_remote *r, uint32_t node)
{
    if (node == r->node && r->state == READY)
        greet(r);
}

static struct fs_call *find_sent(struct net_remote *r, uint64_t tag)
{
    list_for_each (node, &r->sent)
        if (call_of(node)->tag == tag)
            return call_of(node);
    return NULL;
}

static void finish(struct net_remote *r, struct fs_call *call, fs_reply *reply)
{
    call->reply = *reply;
    memset(reply, 0, sizeof *reply); /* it is the caller's now */
    if (call->reply.owner && !call->reply.owner[0]) {
        free(call->reply.owner);
        call->reply.owner = NULL;
    }
    list_remove(&call->link);
    if (!call->once.seq)
        r->slots[call->request.slot].busy = false;
    call->task.run = answer;
    loop_post(call->from, &call->task);
}

void net_remote_reply(struct net_remote *r, uint32_t node,
                      fs_reply_message *reply)
{
    const fs_reply *answered = &reply->reply;
    struct fs_call *call;

    if (node != r->node)
        return; /* who coordinated before (F5) */
    if (reply->tag == r->hello_tag && r->state == GREETING) {
        if (answered->result.op == FS_OP_HELLO && !answered->error)
            greeted(r, &answered->result.fs_result_u.hello);
        return;
    }
    call = find_sent(r, reply->tag);
    if (!call)
        return; /* of a try before the last: answered */
    if (answered->error == E_EPOCH) {
        greet(r); /* and then everything again */
        return;
    }
    finish(r, call, &reply->reply);
    send_waiting(r);
}

void net_remote_recall(struct net_remote *r, uint32_t node,
                       const fs_recall *recall)
{
    if (node == r->node && r->link.recall)
        r->link.recall(&r->link, recall);
}

/* -- the link -------------------------------------------------------------- */

static void take(struct task *task)
{
    struct fs_call *call = container_of(task, struct fs_call, task);
    struct net_remote *r = container_of(call->via, struct net_remote, link);

    list_push_back(&r->waiting, &call->link);
    send_waiting(r);
}

static void link_send(struct fs_link *link, struct fs_call *call)
{
    struct net_remote *r = container_of(link, struct net_remote, link);

    call->via = link;
    call->from = loop_self();
    call->task.run = take;
    loop_post(r->net->loop, &call->task);
}

static const struct fs_link_ops link_ops = {.send = link_send};

enum err fs_net_reach(struct fs_net *net, const uint8_t uuid[16], uint32_t node,
                      struct fs_link **ret_link)
{
    AUTO(freep) struct net_remote *r = calloc(1, sizeof *r);
    struct fs_link *link;
    enum err e;

    if (!r)
        return E_NOMEM;
    r->link.ops = &link_ops;
    r->again.fire = greet_again;
    r->net = net;
    list_init(&r->waiting);
    list_init(&r->sent);
    e = net_volume_new(net, uuid, &r->volume);
    if (e)
        return e;
    r->volume->remote = r;
    link = &TAKE(r)->link;
    fs_net_aim(link, node);
    *ret_link = link;
    return E_OK;
}

void fs_net_aim(struct fs_link *link, uint32_t node)
{
    struct net_remote *r = container_of(link, struct net_remote, link);

    r->node = node;
    greet(r);
}

void fs_net_forget(struct fs_link *link)
{
    struct net_remote *r = container_of(link, struct net_remote, link);

    ASSERT(list_empty(&r->sent) && list_empty(&r->waiting));
    loop_timer_cancel(r->net->loop, &r->again);
    net_volume_free(r->volume);
    free(r);
}
