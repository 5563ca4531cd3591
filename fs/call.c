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

void fs_lock_note_free(struct fs_lock_note *note)
{
    xdr_free((xdrproc_t)xdr_fs_lock_request, (char *)&note->request);
    free(note);
}

/* -- links ----------------------------------------------------------------- */

void fs_link_init(struct fs_link *link, const struct fs_link_ops *ops,
                  const struct fs_sender *self)
{
    link->ops = ops;
    link->self = *self;
    atomic_init(&link->calls, 0);
    pthread_mutex_init(&link->ear, NULL);
}

void fs_link_fini(struct fs_link *link)
{
    pthread_mutex_destroy(&link->ear);
}

void fs_link_recall(struct fs_link *link, const fs_recall *recall)
{
    pthread_mutex_lock(&link->ear);
    if (link->recall)
        link->recall(link, recall);
    pthread_mutex_unlock(&link->ear);
}

enum err fs_link_report(struct fs_link *link, uint64_t epoch, uint64_t *cursor,
                        fs_report_args *report)
{
    enum err e = E_OK;

    pthread_mutex_lock(&link->ear);
    report->last = true;
    if (link->report) {
        report->last = false;
        e = link->report(link, epoch, cursor, report);
    }
    pthread_mutex_unlock(&link->ear);
    return e;
}

void fs_link_lock_answered(struct fs_link *link, const fs_lock_answer *answer)
{
    pthread_mutex_lock(&link->ear);
    if (link->lock_answered)
        link->lock_answered(link, answer);
    pthread_mutex_unlock(&link->ear);
}

void fs_link_ready(struct fs_link *link)
{
    pthread_mutex_lock(&link->ear);
    if (link->ready)
        link->ready(link);
    pthread_mutex_unlock(&link->ear);
}

void fs_link_lost(struct fs_link *link, enum err e)
{
    pthread_mutex_lock(&link->ear);
    if (link->lost)
        link->lost(link, e);
    pthread_mutex_unlock(&link->ear);
}

void fs_link_deafen(struct fs_link *link)
{
    pthread_mutex_lock(&link->ear);
    link->recall = NULL;
    link->report = NULL;
    link->lock_answered = NULL;
    link->ready = NULL;
    link->lost = NULL;
    pthread_mutex_unlock(&link->ear);
}

void fs_link_send(struct fs_link *link, struct fs_call *call)
{
    fs_op op = call->request.args.op;

    ASSERT(loop_self() != NULL);
    ASSERT(call->done != NULL);
    if (op != FS_OP_READ && op != FS_OP_WRITE)
        atomic_fetch_add_explicit(&link->calls, 1, memory_order_relaxed);
    link->ops->send(link, call);
}
