/* fs/net.c - fs_messages as bytes, and whom they are for.
 * Knows no operation and keeps no call.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/net.h"

#include "base/log.h"
#include "base/store.h"

#include <string.h>

/* -- volumes --------------------------------------------------------------- */

struct net_volume *net_volume_find(struct fs_net *net, const uint8_t uuid[16])
{
    list_for_each (node, &net->volumes) {
        struct net_volume *v = container_of(node, struct net_volume, at);

        if (memcmp(v->uuid, uuid, sizeof v->uuid) == 0)
            return v;
    }
    return NULL;
}

enum err net_volume_get(struct fs_net *net, const uint8_t uuid[16],
                        struct net_volume **ret_volume)
{
    struct net_volume *v = net_volume_find(net, uuid);

    if (!v) {
        v = calloc(1, sizeof *v);
        if (!v)
            return E_NOMEM;
        memcpy(v->uuid, uuid, sizeof v->uuid);
        list_push_back(&net->volumes, &v->at);
    }
    *ret_volume = v;
    return E_OK;
}

void net_volume_put(struct net_volume *v)
{
    if (v->serve || v->remote)
        return;
    list_remove(&v->at);
    free(v);
}

/* -- sending --------------------------------------------------------------- */

/* A message to ourselves on its way. */
struct own_message {
    struct list at;
    size_t count;
    char bytes[];
};

static enum err send_own(struct fs_net *net, const struct iovec *iov,
                         int iov_count)
{
    size_t count = iov_bytes(iov, (uint32_t)iov_count);
    struct own_message *own = malloc(sizeof *own + count);

    if (!own)
        return E_NOMEM;
    own->at = (struct list){NULL, NULL};
    own->count = count;
    iov_to_buf(iov, (uint32_t)iov_count, 0, own->bytes, count);
    list_push_back(&net->own, &own->at);
    if (!net->own_posted)
        loop_post(net->loop, &net->own_task);
    net->own_posted = true;
    return E_OK;
}

static enum err send_pieces(struct fs_net *net, uint32_t node,
                            const struct iovec *iov, int iov_count)
{
    if (node == net->self.node)
        return send_own(net, iov, iov_count);
    return transport_sendv(net->transport, node, iov, iov_count);
}

/* The head and what is behind it; a long array is gathered first. */
static enum err send_with_bulk(struct fs_net *net, uint32_t node,
                               struct iovec head, const struct net_bulk *bulk)
{
    struct iovec iov[TRANSPORT_PIECES_MAX] = {head};
    AUTO(freep) char *gathered = NULL;
    uint64_t count = bulk->bytes;
    uint32_t n = iov_slice(bulk->iov, bulk->iov_count, bulk->skip, count,
                           iov + 1, TRANSPORT_PIECES_MAX - 1);

    if (iov_bytes(iov + 1, n) < count) {
        gathered = malloc(count);
        if (!gathered)
            return E_NOMEM;
        iov_to_buf(bulk->iov, bulk->iov_count, bulk->skip, gathered, count);
        iov[1] = (struct iovec){gathered, count};
        n = 1;
    }
    return send_pieces(net, node, iov, 1 + (int)n);
}

enum err net_send(struct fs_net *net, uint32_t node, fs_message *message,
                  const struct net_bulk *bulk)
{
    u_long bytes = xdr_sizeof((xdrproc_t)xdr_fs_message, message);
    AUTO(freep) char *buf = NULL;
    struct iovec head;
    bool encoded;
    XDR xdr;

    if (!bytes)
        return E_PROTOCOL;
    if (bytes > TRANSPORT_MESSAGE_BYTES_MAX)
        return E_TOO_BIG;
    buf = malloc(bytes);
    if (!buf)
        return E_NOMEM;
    xdrmem_create(&xdr, buf, (u_int)bytes, XDR_ENCODE);
    encoded = xdr_fs_message(&xdr, message);
    xdr_destroy(&xdr);
    if (!encoded)
        return E_PROTOCOL;
    head = (struct iovec){buf, bytes};
    if (bulk && bulk->bytes)
        return send_with_bulk(net, node, head, bulk);
    return send_pieces(net, node, &head, 1);
}

uint64_t net_bulk_bytes(const fs_message *message)
{
    const fs_message_body *body = &message->body;
    const fs_args *args = &body->fs_message_body_u.call.request.args;
    const fs_reply *reply = &body->fs_message_body_u.reply.reply;

    if (body->kind == FS_MESSAGE_CALL && args->op == FS_OP_WRITE)
        return args->fs_args_u.write.len_bytes;
    if (body->kind == FS_MESSAGE_REPLY && reply->result.op == FS_OP_READ)
        return reply->result.fs_result_u.read_bytes;
    return 0;
}

/* -- receiving ------------------------------------------------------------- */

/* Hand it on; what is taken is zeroed here, and not freed below. */
static void dispatch(struct fs_net *net, uint32_t node, fs_message *m,
                     const char *bytes)
{
    const struct net_volume *v =
        net_volume_find(net, (const uint8_t *)m->volume);
    const struct fs_sender who = {node, net->incarnations[node]};
    fs_message_body *body = &m->body;

    if (!v)
        return; /* not, or not any more: the sender hears of it elsewhere */
    switch (body->kind) {
    case FS_MESSAGE_CALL:
        if (v->serve)
            net_serve_call(v->serve, &who, &body->fs_message_body_u.call,
                           bytes);
        break;
    case FS_MESSAGE_REPLY:
        if (v->remote)
            net_remote_reply(v->remote, node, &body->fs_message_body_u.reply,
                             bytes);
        break;
    case FS_MESSAGE_RECALL:
        if (v->remote)
            net_remote_recall(v->remote, node, &body->fs_message_body_u.recall);
        break;
    case FS_MESSAGE_LOCK:
        if (v->serve)
            net_serve_lock(v->serve, &who, &body->fs_message_body_u.lock);
        break;
    case FS_MESSAGE_LOCK_ANSWER:
        if (v->remote)
            net_remote_lock_answer(v->remote, node,
                                   &body->fs_message_body_u.lock_answer);
        break;
    }
}

/* What is behind the message must be what it says; NULL: it is no message. */
static const char *decode(const char *bytes, size_t count,
                          fs_message *ret_message)
{
    union { /* it is read only, but XDR knows no const */
        const void *in;
        char *out;
    } p = {.in = bytes};
    size_t head;
    bool ok;
    XDR xdr;

    if (count > TRANSPORT_MESSAGE_BYTES_MAX)
        return NULL;
    xdrmem_create(&xdr, p.out, (u_int)count, XDR_DECODE);
    ok = xdr_fs_message(&xdr, ret_message);
    head = xdr_getpos(&xdr);
    xdr_destroy(&xdr);
    if (!ok || count - head > FS_DATA_MAX ||
        count - head != net_bulk_bytes(ret_message))
        return NULL;
    return bytes + head;
}

static void receive(struct transport_ear *ear, uint32_t host, const void *bytes,
                    size_t count)
{
    struct fs_net *net = container_of(ear, struct fs_net, ear);
    const char *behind;
    fs_message message;

    if (host < 1 || host > FS_NODES_MAX)
        return;
    memset(&message, 0, sizeof message);
    behind = decode(bytes, count, &message);
    if (behind)
        dispatch(net, host, &message, behind);
    else if (!net->refused++)
        log_warning(
            "node %u sends what is no message of this version of Lunar; "
            "dropped",
            host);
    xdr_free((xdrproc_t)xdr_fs_message, (char *)&message);
}

static void met(struct transport_ear *ear, uint32_t host, uint64_t incarnation)
{
    struct fs_net *net = container_of(ear, struct fs_net, ear);

    if (host < 1 || host > FS_NODES_MAX)
        return;
    net->incarnations[host] = incarnation;
    list_for_each (node, &net->volumes) {
        struct net_volume *v = container_of(node, struct net_volume, at);

        if (v->remote)
            net_remote_met(v->remote, host);
    }
}

static void lost(struct transport_ear *ear, uint32_t host)
{
    struct fs_net *net = container_of(ear, struct fs_net, ear);

    if (host < 1 || host > FS_NODES_MAX)
        return;
    net->incarnations[host] = 0;
    list_for_each (node, &net->volumes) {
        struct net_volume *v = container_of(node, struct net_volume, at);

        if (v->remote)
            net_remote_lost(v->remote, host);
        if (v->serve)
            net_serve_lost(v->serve, host);
    }
}

static void writable(struct transport_ear *ear, uint32_t host)
{
    struct fs_net *net = container_of(ear, struct fs_net, ear);

    list_for_each (node, &net->volumes) {
        struct net_volume *v = container_of(node, struct net_volume, at);

        if (v->remote)
            net_remote_writable(v->remote, host);
    }
}

/* What we say to ourselves meanwhile waits for the next turn. */
static void receive_own(struct task *task)
{
    struct fs_net *net = container_of(task, struct fs_net, own_task);
    struct list now, *node;

    list_init(&now);
    while ((node = list_pop_front(&net->own)))
        list_push_back(&now, node);
    net->own_posted = false;
    while ((node = list_pop_front(&now))) {
        struct own_message *own = container_of(node, struct own_message, at);

        if (!net->over)
            receive(&net->ear, net->self.node, own->bytes, own->count);
        free(own);
    }
    if (net->over)
        free(net);
}

/* -- birth and death ------------------------------------------------------- */

enum err fs_net_new(struct loop *loop, const struct fs_sender *self,
                    struct fs_net **ret_net)
{
    struct fs_net *net = calloc(1, sizeof *net);

    if (!net)
        return E_NOMEM;
    net->loop = loop;
    net->self = *self;
    net->ear = (struct transport_ear){
        .receive = receive, .met = met, .lost = lost, .writable = writable};
    list_init(&net->volumes);
    list_init(&net->own);
    net->own_task.run = receive_own;
    net->incarnations[self->node] = self->incarnation; /* always connected */
    *ret_net = net;
    return E_OK;
}

struct transport_ear *fs_net_ear(struct fs_net *net)
{
    return &net->ear;
}

void fs_net_attach(struct fs_net *net, struct transport *transport)
{
    net->transport = transport;
}

void fs_net_free(struct fs_net *net)
{
    if (!net)
        return;
    ASSERT(list_empty(&net->volumes));
    net->over = true;
    if (!net->own_posted)
        receive_own(&net->own_task);
}
