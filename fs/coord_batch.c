/* fs/coord_batch.c - group commit: many calls, one transaction, then answers.
 * Knows no operation; meta.c does.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/coord.h"

#include <string.h>

static_assert((int)META_SLOTS <= (int)FS_SLOTS_KEPT, "own slots");

/* Log frames that a call may write, generously: bounds a batch by the log. */
enum { FRAMES_PER_CALL = 24 };

static struct fs_call *call_of(struct list *node)
{
    return container_of(node, struct fs_call, link);
}

static void clear_reply(struct fs_call *call)
{
    fs_call_fini(call);
    call->reply.result.op = call->request.args.op;
}

void coord_deny(struct fs_call *call)
{
    clear_reply(call);
    call->reply.error = E_VOL_OFFLINE;
}

static void refuse(struct fs_coord *c, struct fs_call *call)
{
    coord_deny(call);
    coord_answer(c, call);
}

void coord_refuse(struct fs_coord *c, struct list *calls)
{
    struct list *node;

    while ((node = list_pop_front(calls)))
        refuse(c, call_of(node));
}

void coord_refuse_all(struct fs_coord *c, const struct fs_link *via)
{
    struct list calls;

    list_init(&calls);
    fs_calls_take(&c->inbox, via, &calls);
    fs_calls_take(&c->parked, via, &calls);
    fs_calls_take(&c->early, via, &calls);
    if (c->meta) {
        share_take_waiting(c->meta, via, &calls);
        fs_calls_take(&c->meta->sent_back, via, &calls);
    }
    coord_refuse(c, &calls);
    coord_refuse_kept(c, via);
}

void coord_receive(struct task *task)
{
    struct fs_call *call = container_of(task, struct fs_call, task);
    struct fs_coord *c = coord_session_of(call)->coord;

    if (coord_is_cut(call)) {
        refuse(c, call);
        return;
    }
    list_push_back(&c->inbox, &call->link);
    coord_wake(c);
}

/* -- one batch ------------------------------------------------------------- */

struct batch {
    struct list done;
    uint32_t calls;
    bool writes;
    int changes; /* of rows, by this connection, before it began */
};

static uint32_t batch_max(struct fs_coord *c)
{
    uint64_t frames = vfs_wal_bytes_max(c->vfs) / VFS_PAGE_BYTES;

    return (uint32_t)min_u64(max_u64(frames / 2 / FRAMES_PER_CALL, 1),
                             META_SLOTS);
}

/* Does any of the next calls write? */
static bool batch_writes(struct fs_coord *c, uint32_t max)
{
    list_for_each (node, &c->inbox) {
        if (max-- == 0)
            break;
        if (meta_op_writes(call_of(node)->request.args.op))
            return true;
    }
    return false;
}

/* This process's part of the header: one slot per call of the batch (I7). */
static void address(struct fs_coord *c, struct fs_call *call, uint32_t slot)
{
    struct fs_request *request = &call->request;
    const struct fs_once *once = &call->once;

    if (!coord_session_of(call)->local)
        return;
    memcpy(request->volume, c->super.uuid, sizeof request->volume);
    request->epoch = c->super.epoch;
    if (coord_session_of(call)->proxy)
        return; /* it makes no fact */
    request->node = c->args.node;
    request->incarnation = c->args.incarnation;
    request->slot = slot;
    request->seq = ++c->seq[slot];
    if (once->seq) {
        request->incarnation = once->incarnation;
        request->slot = once->slot;
        request->seq = once->seq;
    }
}

static enum err batch_begin(struct fs_coord *c, struct batch *b)
{
    b->changes = sqlite3_total_changes(c->db->conn);
    return db_run(c->db, b->writes ? SQL_BEGIN : SQL_BEGIN_READ);
}

static enum err batch_commit(struct fs_coord *c, const struct batch *b)
{
    c->commits += b->writes;
    return db_run(c->db, SQL_COMMIT);
}

/* Is there room in the database for what the call may add?  Errors:
 * E_AGAIN - after the database has grown; E_VOL_FULL - it cannot grow. */
static enum err check_room(struct fs_coord *c, const struct fs_call *call)
{
    const struct chunk_world w = coord_world(c);
    unsigned needed = meta_op_pages(call->request.args.op);
    uint64_t pages;
    enum err e;

    if (!needed)
        return E_OK;
    e = chunk_pages_left(&w, &pages);
    if (e)
        return coord_fail(c, e, "size of the database");
    if (pages >= needed)
        return E_OK;
    return c->cannot_grow ? E_VOL_FULL : E_AGAIN;
}

/* A call with many rows to change takes as many transactions as the log and
 * the database have room for. */
static enum err next_slice(struct fs_coord *c, struct batch *b)
{
    enum err e = batch_commit(c, b);

    if (!e)
        e = coord_make_room(c);
    return e ? e : batch_begin(c, b);
}

/* Run one call, slice by slice.  An error loses the whole transaction. */
static enum err batch_run(struct fs_coord *c, struct batch *b,
                          struct fs_call *call, enum meta_then *ret_then)
{
    enum err e = meta_run(c->meta, call, ret_then);

    while (!e && *ret_then == META_MORE) {
        e = next_slice(c, b);
        clear_reply(call);
        if (e)
            break;
        if (check_room(c, call)) {
            call->reply.error = E_VOL_FULL;
            *ret_then = META_ANSWER;
            break;
        }
        e = meta_run(c->meta, call, ret_then);
    }
    return e;
}

/* Before all have reported, and while held, nobody is answered from what this
 * coordinator knows (I14); but who does not know of its epoch hears of it. */
static bool is_early(struct fs_coord *c, const struct fs_call *call)
{
    fs_op op = call->request.args.op;

    if (!coord_session_of(call)->local && call->request.epoch != c->super.epoch)
        return false;
    return coord_is_held_up(c, call) ||
           (c->meta->awaited_count && op != FS_OP_HELLO && op != FS_OP_REPORT);
}

/* A call that met a full volume waits while freed space is on its way. */
static bool batch_park(struct fs_coord *c, struct fs_call *call)
{
    if (call->reply.error != E_VOL_FULL || !coord_is_reclaiming(c))
        return false;
    clear_reply(call);
    list_push_back(&c->parked, &call->link);
    return true;
}

/* Rows changed so far: what the commit will write, at two or three pages for
 * each at worst, is to fit the log beside what is in it. */
static bool batch_is_long(struct fs_coord *c, const struct batch *b)
{
    uint64_t frames = vfs_wal_bytes_max(c->vfs) / VFS_PAGE_BYTES;
    int changes = sqlite3_total_changes(c->db->conn);

    return (unsigned)(changes - b->changes) > frames / 8;
}

static void carry(struct fs_coord *c, struct batch *b, struct fs_call *call)
{
    if (c->redirect) {
        redirect_take(c->redirect, call);
        return;
    }
    call->reply.error = E_UNSUPPORTED;
    list_push_back(&b->done, &call->link);
}

static enum err batch_calls(struct fs_coord *c, struct batch *b, uint32_t max)
{
    while (b->calls < max && !list_empty(&c->inbox) && !batch_is_long(c, b)) {
        struct fs_call *call = call_of(c->inbox.next);
        enum meta_then then = META_ANSWER;
        enum err e = check_room(c, call);

        if (c->offline)
            return e;
        if (e == E_AGAIN)
            return E_OK;
        list_remove(&call->link);
        call->sender = coord_session_of(call)->who;
        if (is_early(c, call)) {
            list_push_back(&c->early, &call->link);
            continue;
        }
        address(c, call, b->calls++);
        if (!e)
            e = coord_locks_see(c, call);
        call->reply.error = e;
        if (!e)
            e = batch_run(c, b, call, &then);
        else
            e = E_OK;
        if (!e && then == META_CARRY)
            carry(c, b, call);
        else if (e || (then == META_ANSWER && !batch_park(c, call)))
            list_push_back(&b->done, &call->link);
        if (e)
            return e;
    }
    return E_OK;
}

static void tell(struct fs_coord *c, const struct fs_sender *who,
                 const fs_recall *recall)
{
    pthread_mutex_lock(&c->lock);
    list_for_each (node, &c->sessions) {
        struct coord_session *s = container_of(node, struct coord_session, at);

        if (fs_sender_is(&s->who, who))
            fs_link_recall(&s->link, recall);
    }
    pthread_mutex_unlock(&c->lock);
}

void coord_release_early(struct fs_coord *c)
{
    struct list *node;

    if (!c->meta || c->meta->awaited_count || coord_is_held(c))
        return;
    while (!list_empty(&c->early)) {
        node = c->early.prev;
        list_remove(node);
        list_push_front(&c->inbox, node);
    }
    coord_locks_serve(c);
}

void coord_share(struct fs_coord *c)
{
    struct fs_sender who;
    struct list *node;
    fs_recall recall;

    while (share_next_recall(c->meta, &who, &recall))
        tell(c, &who, &recall);
    while ((node = list_pop_front(&c->meta->sent_back)))
        coord_answer(c, call_of(node));
    while (!list_empty(&c->meta->ready)) {
        node = c->meta->ready.prev;
        list_remove(node);
        list_push_front(&c->inbox, node);
    }
    if (!c->meta->awaited_count && !c->args.adopt)
        c->meta->reap_held = false;
    coord_release_early(c);
}

void coord_batch(struct fs_coord *c)
{
    uint32_t max = batch_max(c);
    struct batch b = {.writes = batch_writes(c, max)};
    struct list *node;
    enum err e;

    list_init(&b.done);
    e = batch_begin(c, &b);
    if (!e)
        e = batch_calls(c, &b, max);
    if (!e)
        e = batch_commit(c, &b);
    if (e)
        coord_fail(c, e, "commit");
    coord_publish(c);
    if (e) {
        coord_refuse(c, &b.done);
        return;
    }
    while ((node = list_pop_front(&b.done)))
        coord_answer(c, call_of(node));
    coord_share(c);
}
