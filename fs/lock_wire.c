/* fs/lock_wire.c - byte-range locks to and from their XDR structs.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/lock_wire.h"

/* The numbers are the same. */
static_assert((int)FS_LOCK_POSIX == (int)LM_POSIX, "kinds");
static_assert((int)FS_LOCK_OFD == (int)LM_OFD, "kinds");
static_assert((int)FS_LOCK_FLOCK == (int)LM_FLOCK, "kinds");
static_assert((int)FS_LOCK_NONE == (int)LM_UNLCK, "types");
static_assert((int)FS_LOCK_READ == (int)LM_RDLCK, "types");
static_assert((int)FS_LOCK_WRITE == (int)LM_WRLCK, "types");
static_assert((int)FS_LOCK_SET == (int)LM_RANGE_SET, "requests");
static_assert((int)FS_LOCK_TEST == (int)LM_RANGE_TEST, "requests");
static_assert((int)FS_LOCK_RETURN == (int)LM_RANGE_RETURN, "requests");
static_assert((int)FS_LOCK_DONE == (int)LM_RANGE_DONE, "answers");
static_assert((int)FS_LOCK_LOCAL == (int)LM_RANGE_LOCAL, "answers");
static_assert((int)FS_LOCK_RECALL == (int)LM_RANGE_RECALL, "answers");

struct lm_peer lock_peer(const struct fs_sender *who)
{
    return (struct lm_peer){who->node, who->incarnation};
}

fs_lock lock_to_wire(const struct lm_range *r)
{
    return (fs_lock){.ino = r->file,
                     .kind = (fs_lock_kind)r->owner.kind,
                     .type = (fs_lock_type)r->type,
                     .owner = r->owner.key,
                     .first = r->first,
                     .last = r->last,
                     .pid = r->pid};
}

struct lm_range lock_from_wire(const fs_lock *lock, const struct lm_peer *of)
{
    return (struct lm_range){
        .file = lock->ino,
        .owner = {.kind = (enum lm_range_kind)lock->kind,
                  .peer = *of,
                  .key = lock->owner},
        .type = (enum lm_range_type)lock->type,
        .first = lock->first,
        .last = lock->last,
        .pid = lock->pid
    };
}

enum err lock_request_to_wire(const struct lm_range_request *q,
                              fs_lock_request *ret_request)
{
    *ret_request = (fs_lock_request){.op = (fs_lock_op)q->op,
                                     .epoch = q->epoch,
                                     .slot = q->slot,
                                     .seq = q->seq,
                                     .waits = q->waits,
                                     .right = q->right,
                                     .lock = lock_to_wire(&q->range)};
    if (!q->lock_count)
        return E_OK;
    ASSERT(q->lock_count <= FS_LOCKS_MAX);
    ret_request->locks.locks_val = calloc(q->lock_count, sizeof(fs_lock));
    if (!ret_request->locks.locks_val)
        return E_NOMEM;
    ret_request->locks.locks_len = (u_int)q->lock_count;
    for (size_t i = 0; i < q->lock_count; i++)
        ret_request->locks.locks_val[i] = lock_to_wire(&q->locks[i]);
    return E_OK;
}

struct lm_range_request lock_request_from_wire(const fs_lock_request *request,
                                               const struct lm_peer *from,
                                               struct lm_range *locks)
{
    for (u_int i = 0; i < request->locks.locks_len; i++)
        locks[i] = lock_from_wire(&request->locks.locks_val[i], from);
    return (struct lm_range_request){
        .op = (enum lm_range_op)request->op,
        .from = *from,
        .epoch = request->epoch,
        .slot = request->slot,
        .seq = request->seq,
        .range = lock_from_wire(&request->lock, from),
        .waits = request->waits,
        .right = request->right,
        .locks = locks,
        .lock_count = request->locks.locks_len,
    };
}

fs_lock_answer lock_answer_to_wire(const struct lm_range_answer *a)
{
    return (fs_lock_answer){.op = (fs_lock_answer_op)a->op,
                            .epoch = a->epoch,
                            .slot = a->slot,
                            .seq = a->seq,
                            .ino = a->file,
                            .right = a->right,
                            .error = a->error,
                            .other = lock_to_wire(&a->other),
                            .node = a->other.owner.peer.node,
                            .incarnation = a->other.owner.peer.incarnation};
}

struct lm_range_answer lock_answer_from_wire(const fs_lock_answer *answer,
                                             const struct lm_peer *to)
{
    const struct lm_peer other = {answer->node, answer->incarnation};

    return (struct lm_range_answer){
        .op = (enum lm_range_answer_op)answer->op,
        .to = *to,
        .epoch = answer->epoch,
        .slot = answer->slot,
        .seq = answer->seq,
        .file = answer->ino,
        .right = answer->right,
        .error =
            answer->error < ERR_COUNT ? (enum err)answer->error : E_PROTOCOL,
        .other = lock_from_wire(&answer->other, &other)};
}
