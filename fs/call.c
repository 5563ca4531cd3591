/* fs/call.c - the life of a call and its hand-over to a link.
 * Frees replies by the XDR description itself; knows no operation.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/call.h"

#include <string.h>

void fs_call_init(struct fs_call *call, fs_op op)
{
    memset(call, 0, sizeof *call);
    call->request.proto_version = FS_PROTO_VERSION;
    call->request.args.op = op;
    call->reply.result.op = op;
}

void fs_call_fini(struct fs_call *call)
{
    xdr_free((xdrproc_t)xdr_fs_reply, (char *)&call->reply);
    memset(&call->reply, 0, sizeof call->reply);
}

void fs_calls_take(struct list *from, const struct fs_link *via,
                   struct list *to)
{
    list_for_each (node, from)
        if (!via || container_of(node, struct fs_call, link)->via == via) {
            list_remove(node);
            list_push_back(to, node);
        }
}

void fs_link_send(struct fs_link *link, struct fs_call *call)
{
    ASSERT(loop_self() != NULL);
    ASSERT(call->done != NULL);
    link->ops->send(link, call);
}
