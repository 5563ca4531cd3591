/* fs/net_remote.c - a client's link to a coordinator, wherever it is.
 *
 *   AIMLESS  nobody coordinates: calls wait
 *   GREETING connected or not, HELLO tells the epoch: calls wait
 *   GREETED  answers of the last epoch are being delivered
 *   READY    calls go out as they come
 *   REFUSED  the coordinator, or our owner, has given us up: calls fail, for
 *            good unless it was for its version
 *
 * To a new epoch the client reports what it has, before anything else (F5).
 * What was answered before is in its hands by then: `delivering` says so.
 *
 * A call has its tag and, for what changes tables, its slot and sequence from
 * the first try on (I7).  After a HELLO everything without an answer is sent
 * again, in the order of its first sending.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/net.h"

#include "base/log.h"
#include "base/store.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum {
    SLOTS = FS_SLOTS_KEPT, /* calls in flight */
    SLOTS_KEPT_BACK = 32,  /* of these, for what others wait for */
    GREET_MS = 200,        /* a HELLO without an answer is said again */
    DELIVER_MS = 1
};

struct net_remote {
    struct fs_link link;
    struct fs_net *net;
    struct net_volume *volume;
    enum { AIMLESS, GREETING, GREETED, READY, REFUSED } state;
    uint32_t node; /* the coordinator's; 0: nobody */
    uint64_t epoch, last_tag, hello_tag, report_tag;
    uint64_t reported_epoch; /* whose coordinator has our report */
    enum err refusal;
    atomic_uint delivering; /* answers on their way to who asked */
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

/* -- answering ------------------------------------------------------------- */

static void answer(struct task *task)
{
    struct fs_call *call = container_of(task, struct fs_call, task);
    struct net_remote *r = container_of(call->via, struct net_remote, link);

    call->done(call); /* it is gone, or sent again */
    atomic_fetch_sub(&r->delivering, 1);
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
    if (call->tag && !call->once.seq)
        r->slots[call->request.slot].busy = false;
    atomic_fetch_add(&r->delivering, 1);
    call->task.run = answer;
    loop_post(call->from, &call->task);
}

static void answer_here(struct net_remote *r, struct fs_call *call, enum err e)
{
    fs_reply reply = {.error = e};

    reply.result.op = call->request.args.op;
    finish(r, call, &reply);
}

/* -- sending --------------------------------------------------------------- */

/* Whatever fails: `met`, or the next HELLO, makes us send it again; E_AGAIN:
 * `writable`. */
static enum err send_message(struct net_remote *r, uint64_t tag,
                             fs_request *request, const struct net_bulk *bulk)
{
    fs_message m = {.body.kind = FS_MESSAGE_CALL};

    memcpy(m.volume, r->volume->uuid, sizeof m.volume);
    m.body.fs_message_body_u.call = (fs_call_message){tag, *request};
    return net_send(r->net, r->node, &m, bulk);
}

/* What the link knows of a request, at each try. */
static void address(struct net_remote *r, fs_request *request)
{
    memcpy(request->volume, r->volume->uuid, sizeof request->volume);
    request->node = r->net->self.node;
    request->epoch = r->epoch;
}

/* On the net's loop.  What is dropped is asked for again when the link is
 * ready. */
static void send_lock(struct task *task)
{
    struct fs_lock_note *note = container_of(task, struct fs_lock_note, task);
    struct net_remote *r = note->to;
    fs_message m = {.body.kind = FS_MESSAGE_LOCK};

    memcpy(m.volume, r->volume->uuid, sizeof m.volume);
    m.body.fs_message_body_u.lock = note->request;
    if (r->state == READY && net_send(r->net, r->node, &m, NULL) == E_AGAIN)
        loop_timer_set(r->net->loop, &r->again, GREET_MS);
    fs_lock_note_free(note);
}

/* What cannot be written down has a string that is too long: of all that comes
 * from the kernel a name only. */
static void send_call(struct net_remote *r, struct fs_call *call)
{
    const fs_args *args = &call->request.args;
    struct net_bulk bulk = {call->iov, call->iov_count, call->iov_skip_bytes,
                            0};
    enum err e;

    if (args->op == FS_OP_WRITE)
        bulk.bytes = args->fs_args_u.write.len_bytes;
    address(r, &call->request);
    e = send_message(r, call->tag, &call->request, &bulk);
    call->unsent = e == E_AGAIN;
    if (e == E_PROTOCOL)
        answer_here(r, call, E_NAME_TOO_LONG);
}

/* Is it of those by which a node gives up what others wait for?  They never
 * wait over there, nor may they here, behind what does. */
static bool gives_up(const struct fs_call *call)
{
    fs_op op = call->request.args.op;

    return op == FS_OP_LAYOUTCOMMIT || op == FS_OP_LAYOUTRETURN ||
           op == FS_OP_FLUSH;
}

/* Who numbers his requests himself has slots of his own (struct fs_once). */
static bool number(struct net_remote *r, struct fs_call *call)
{
    uint32_t slots = gives_up(call) ? SLOTS : SLOTS - SLOTS_KEPT_BACK;
    fs_request *request = &call->request;

    if (call->once.seq) {
        request->incarnation = call->once.incarnation;
        request->slot = call->once.slot;
        request->seq = call->once.seq;
        return true;
    }
    for (uint32_t i = 0; i < slots; i++)
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

/* -- the end of a link ------------------------------------------------------
 */

/* What we have is not ours any more: whoever asks for anything is told. */
static void give_up(struct net_remote *r, enum err e)
{
    loop_timer_cancel(r->net->loop, &r->again);
    r->state = REFUSED;
    r->refusal = e;
    fs_link_lost(&r->link, e == E_VERSION ? E_OK : e);
    while (!list_empty(&r->sent))
        answer_here(r, call_of(r->sent.next), e);
    while (!list_empty(&r->waiting))
        answer_here(r, call_of(r->waiting.next), e);
}

static void refused(struct net_remote *r, enum err e)
{
    log_error("node %u, which coordinates, refuses this run of node %u: %s",
              r->node, r->net->self.node, err_text(e));
    give_up(r, e);
}

/* -- greeting -------------------------------------------------------------- */

static void greet(struct net_remote *r)
{
    fs_request hello = {.proto_version = FS_PROTO_VERSION,
                        .args.op = FS_OP_HELLO};

    if (r->state == REFUSED && r->refusal != E_VERSION)
        return;
    loop_timer_cancel(r->net->loop, &r->again);
    if (r->state == READY)
        fs_link_lost(&r->link, E_OK);
    if (!r->node) {
        r->state = AIMLESS;
        return;
    }
    r->state = GREETING;
    r->hello_tag = ++r->last_tag;
    address(r, &hello);
    hello.incarnation = r->net->self.incarnation;
    (void)!send_message(r, r->hello_tag, &hello, NULL);
    loop_timer_set(r->net->loop, &r->again, GREET_MS);
}

static void report(struct net_remote *r)
{
    fs_request request = {.proto_version = FS_PROTO_VERSION,
                          .args.op = FS_OP_REPORT};
    fs_report_args *args = &request.args.fs_args_u.report;
    uint64_t cursor = 0;
    enum err e = E_OK;

    address(r, &request);
    request.incarnation = r->net->self.incarnation;
    do {
        memset(args, 0, sizeof *args);
        e = fs_link_report(&r->link, r->epoch, &cursor, args);
        r->report_tag = ++r->last_tag;
        if (!e && send_message(r, r->report_tag, &request, NULL) == E_AGAIN)
            loop_timer_set(r->net->loop, &r->again, GREET_MS);
        free(args->files.files_val);
        free(args->locks.locks_val);
    } while (!e && !args->last);
    if (e)
        log_error("volume: what is open here cannot be reported: %s",
                  err_text(e));
}

/* All that goes before the coordinator in order: what we have, what it may
 * have answered already, what is new. */
static void ready(struct net_remote *r)
{
    if (r->reported_epoch != r->epoch) {
        if (atomic_load(&r->delivering)) {
            loop_timer_set(r->net->loop, &r->again, DELIVER_MS);
            return;
        }
        report(r);
    }
    r->state = READY;
    list_for_each (node, &r->sent)
        send_call(r, call_of(node));
    send_waiting(r);
    fs_link_ready(&r->link);
}

static void greeted(struct net_remote *r, const fs_hello *hello)
{
    loop_timer_cancel(r->net->loop, &r->again);
    r->epoch = hello->epoch;
    r->state = GREETED;
    ready(r);
}

/* Not connected, or the volume is not served there yet; or it is our turn. */
static void go_on(struct timer *t)
{
    struct net_remote *r = container_of(t, struct net_remote, again);

    if (r->state == GREETED)
        ready(r);
    else
        greet(r);
}

static void reported(struct net_remote *r, enum err e)
{
    if (!e)
        r->reported_epoch = r->epoch;
    else if (e == E_EPOCH)
        greet(r);
    else
        refused(r, e);
}

static void hello_answered(struct net_remote *r, const fs_reply *reply)
{
    if (r->state != GREETING)
        return;
    if (reply->result.op == FS_OP_HELLO && !reply->error &&
        reply->result.fs_result_u.hello.epoch < r->epoch)
        return; /* it does not know yet that it was superseded (F5) */
    if (!reply->error && reply->result.op == FS_OP_HELLO)
        greeted(r, &reply->result.fs_result_u.hello);
    else if (reply->error == E_FENCED || reply->error == E_VERSION)
        refused(r, (enum err)reply->error);
}

/* -- what comes from the transport ----------------------------------------- */

void net_remote_met(struct net_remote *r, uint32_t node)
{
    if (node == r->node)
        greet(r);
}

void net_remote_lost(struct net_remote *r, uint32_t node)
{
    if (node == r->node && (r->state == GREETED || r->state == READY))
        greet(r);
}

/* What found no room, in its order. */
void net_remote_writable(struct net_remote *r, uint32_t node)
{
    if (node != r->node || r->state != READY)
        return;
    list_for_each (at, &r->sent)
        if (call_of(at)->unsent)
            send_call(r, call_of(at));
}

static struct fs_call *find_sent(struct net_remote *r, uint64_t tag)
{
    list_for_each (node, &r->sent)
        if (call_of(node)->tag == tag)
            return call_of(node);
    return NULL;
}

/* What was read goes to who asked; more than he asked for is no answer. */
static bool take_bytes(const struct fs_call *call, const fs_reply *reply,
                       const void *bytes)
{
    const fs_args *args = &call->request.args;
    uint32_t count = reply->result.fs_result_u.read_bytes;

    if (reply->error || reply->result.op != FS_OP_READ)
        return true;
    if (args->op != FS_OP_READ || count > args->fs_args_u.read.len_bytes)
        return false;
    iov_from_buf(call->iov, call->iov_count, call->iov_skip_bytes, bytes,
                 count);
    return true;
}

void net_remote_reply(struct net_remote *r, uint32_t node,
                      fs_reply_message *reply, const void *bytes)
{
    const fs_reply *answered = &reply->reply;
    struct fs_call *call;

    if (node != r->node)
        return; /* who coordinated before (F5) */
    if (reply->tag == r->hello_tag) {
        hello_answered(r, answered);
        return;
    }
    if (reply->tag == r->report_tag) {
        reported(r, (enum err)answered->error);
        return;
    }
    call = find_sent(r, reply->tag);
    if (!call)
        return; /* of a try before the last: answered */
    if (answered->error == E_EPOCH) {
        greet(r); /* and then everything again */
        return;
    }
    if (!take_bytes(call, answered, bytes))
        return;
    finish(r, call, &reply->reply);
    send_waiting(r);
}

void net_remote_recall(struct net_remote *r, uint32_t node,
                       const fs_recall *recall)
{
    if (node == r->node)
        fs_link_recall(&r->link, recall);
}

void net_remote_lock_answer(struct net_remote *r, uint32_t node,
                            const fs_lock_answer *answer)
{
    if (node == r->node)
        fs_link_lock_answered(&r->link, answer);
}

/* -- the link -------------------------------------------------------------- */

static void take(struct task *task)
{
    struct fs_call *call = container_of(task, struct fs_call, task);
    struct net_remote *r = container_of(call->via, struct net_remote, link);

    call->tag = 0;
    call->unsent = false;
    if (gives_up(call))
        list_push_front(&r->waiting, &call->link);
    else
        list_push_back(&r->waiting, &call->link);
    if (r->state == REFUSED)
        answer_here(r, call, r->refusal);
    else
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

static void link_lock(struct fs_link *link, struct fs_lock_note *note)
{
    struct net_remote *r = container_of(link, struct net_remote, link);

    note->to = r;
    note->task.run = send_lock;
    loop_post(r->net->loop, &note->task);
}

static const struct fs_link_ops link_ops = {.send = link_send,
                                            .lock = link_lock};

enum err fs_net_reach(struct fs_net *net, const uint8_t uuid[16], uint32_t node,
                      struct fs_link **ret_link)
{
    AUTO(freep) struct net_remote *r = calloc(1, sizeof *r);
    struct fs_link *link;
    enum err e;

    if (!r)
        return E_NOMEM;
    r->again.fire = go_on;
    r->net = net;
    list_init(&r->waiting);
    list_init(&r->sent);
    e = net_volume_get(net, uuid, &r->volume);
    if (e)
        return e;
    if (r->volume->remote)
        return E_EXIST;
    r->volume->remote = r;
    fs_link_init(&r->link, &link_ops, &net->self);
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

void fs_net_cut(struct fs_link *link, enum err e)
{
    give_up(container_of(link, struct net_remote, link), e);
}

void fs_net_forget(struct fs_link *link)
{
    struct net_remote *r = container_of(link, struct net_remote, link);

    ASSERT(list_empty(&r->sent) && list_empty(&r->waiting));
    while (atomic_load(&r->delivering))
        sched_yield();
    loop_timer_cancel(r->net->loop, &r->again);
    r->volume->remote = NULL;
    net_volume_put(r->volume);
    fs_link_fini(&r->link);
    free(r);
}
