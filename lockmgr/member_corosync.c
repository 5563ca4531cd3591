/* lockmgr/member_corosync.c - libcpg and libquorum on a loop -> the core.
 * Has no thread and decides nothing; corosync may be away and come back.
 *
 * Both libraries are asked only when their descriptor is ready, and then for
 * all that is there.  A message that corosync does not take (its queue is
 * full, a ring forms) waits here, in order, and is offered again.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "lockmgr/member_shell.h"

#include <corosync/cpg.h>
#include <corosync/quorum.h>
#include <corosync/votequorum.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    HEARTBEAT_MS = 500,
    SUSPECT_MS = 5000,
    RECONNECT_MS = 200,         /* corosync is away */
    OFFER_MS = 2,               /* it took no message */
    WAITING_BYTES_MAX = 4 << 20 /* then member_send() says E_AGAIN */
};

struct waiting {
    struct list link;
    size_t count;
    uint8_t bytes[];
};

struct member_corosync {
    struct member base;
    struct cpg_name group;
    uint32_t node; /* 0: not known yet */
    bool connected;
    bool broken; /* found out inside of a callback */
    bool said_away;
    cpg_handle_t cpg;
    quorum_handle_t quorum;
    struct loop_fd cpg_fd, quorum_fd;
    struct timer connect, offer, tick;
    unsigned heartbeat_ms;
    struct list waiting;
    size_t waiting_bytes;
};

static struct member_corosync *of(struct member *m)
{
    return container_of(m, struct member_corosync, base);
}

/* -- out ------------------------------------------------------------------- */

static void drop_waiting(struct member_corosync *c)
{
    struct list *node;

    while ((node = list_pop_front(&c->waiting)))
        free(container_of(node, struct waiting, link));
    c->waiting_bytes = 0;
}

/* Returns whether corosync took it, or there is no use in trying again. */
static bool offer(struct member_corosync *c, const struct waiting *w)
{
    uint8_t *bytes = (uint8_t *)(uintptr_t)w->bytes; /* iovec is not const */
    const struct iovec iov = {bytes, w->count};
    cs_error_t error = cpg_mcast_joined(c->cpg, CPG_TYPE_AGREED, &iov, 1);

    if (error == CS_ERR_TRY_AGAIN)
        return false;
    if (error != CS_OK)
        c->broken = true; /* the descriptor will tell, too */
    return true;
}

static void offer_all(struct member_corosync *c)
{
    while (c->connected && !c->broken && !list_empty(&c->waiting)) {
        struct waiting *w = container_of(c->waiting.next, struct waiting, link);

        if (!offer(c, w)) {
            loop_timer_set(c->base.loop, &c->offer, OFFER_MS);
            return;
        }
        list_remove(&w->link);
        c->waiting_bytes -= w->count;
        free(w);
    }
}

static void offer_again(struct timer *t)
{
    offer_all(container_of(t, struct member_corosync, offer));
}

static void corosync_multicast(struct member *m, const void *bytes,
                               size_t count)
{
    struct member_corosync *c = of(m);
    bool first = list_empty(&c->waiting);
    struct waiting *w = malloc(sizeof *w + count);

    ASSERT(w); /* small, and there is no way to go on without it */
    *w = (struct waiting){.count = count};
    memcpy(w->bytes, bytes, count);
    list_push_back(&c->waiting, &w->link);
    c->waiting_bytes += count;
    if (first)
        offer_all(c);
}

static bool corosync_is_full(struct member *m)
{
    return of(m)->waiting_bytes > WAITING_BYTES_MAX;
}

/* -- in -------------------------------------------------------------------- */

static struct member_corosync *of_cpg(cpg_handle_t handle)
{
    void *context = NULL;

    ASSERT(cpg_context_get(handle, &context) == CS_OK && context);
    return context;
}

static void cpg_delivered(cpg_handle_t handle, const struct cpg_name *group,
                          uint32_t node, uint32_t pid, void *bytes,
                          size_t count)
{
    (void)group;
    member_feed(&of_cpg(handle)->base, &(struct member_event){
                                           .type = EVENT_MESSAGE,
                                           .from = {node, pid},
                                           .bytes = bytes,
                                           .count = count,
    });
}

static void cpg_changed(cpg_handle_t handle, const struct cpg_name *group,
                        const struct cpg_address *members, size_t member_count,
                        const struct cpg_address *left, size_t left_count,
                        const struct cpg_address *joined, size_t joined_count)
{
    struct member_process processes[MEMBER_PROCESSES_MAX];
    struct member_process stopped[MEMBER_PROCESSES_MAX];
    struct member_event event = {
        .type = EVENT_CONFCHG, .processes = processes, .stopped = stopped};

    (void)group;
    (void)joined; /* the list of all says it, and says it to all alike */
    (void)joined_count;
    for (size_t i = 0; i < member_count && i < MEMBER_PROCESSES_MAX; i++)
        processes[event.process_count++] =
            (struct member_process){members[i].nodeid, members[i].pid};
    for (size_t i = 0; i < left_count && i < MEMBER_PROCESSES_MAX; i++)
        if (left[i].reason == CPG_REASON_LEAVE ||
            left[i].reason == CPG_REASON_PROCDOWN)
            stopped[event.stopped_count++] =
                (struct member_process){left[i].nodeid, left[i].pid};
    member_feed(&of_cpg(handle)->base, &event);
}

static void cpg_ring_changed(cpg_handle_t handle, struct cpg_ring_id ring,
                             uint32_t count, const uint32_t *members)
{
    (void)count;
    (void)members;
    member_feed(&of_cpg(handle)->base,
                &(struct member_event){
                    .type = EVENT_RING, .ring = {ring.nodeid, ring.seq}
    });
}

/* Half of the votes and no more, as `node` counts them: two_node lets that be
 * quorum.  Where votes are not counted there is no such thing. */
static bool is_tie(uint32_t node)
{
    votequorum_callbacks_t none = {.votequorum_quorum_notify_fn = NULL};
    struct votequorum_info info;
    votequorum_handle_t handle;
    bool tie = false;

    if (votequorum_initialize(&handle, &none) != CS_OK)
        return false;
    if (votequorum_getinfo(handle, node, &info) == CS_OK)
        tie = info.flags & VOTEQUORUM_INFO_TWONODE &&
              2 * info.total_votes <= info.highest_expected;
    votequorum_finalize(handle);
    return tie;
}

static void quorum_changed(quorum_handle_t handle, uint32_t quorate,
                           struct quorum_ring_id ring, uint32_t count,
                           const uint32_t *members)
{
    const void *context = NULL;

    ASSERT(quorum_context_get(handle, &context) == CS_OK && context);
    member_feed(&((struct member_corosync *)(uintptr_t)context)->base,
                &(struct member_event){
                    .type = EVENT_QUORUM,
                    .ring = {ring.nodeid, ring.seq},
                    .quorate = quorate != 0,
                    .tie = quorate && count == 1 && is_tie(members[0])
    });
}

/* -- the connection -------------------------------------------------------- */

static void disconnect(struct member_corosync *c)
{
    if (!c->connected)
        return;
    loop_fd_remove(c->base.loop, &c->cpg_fd);
    loop_fd_remove(c->base.loop, &c->quorum_fd);
    cpg_finalize(c->cpg);
    quorum_finalize(c->quorum);
    loop_timer_cancel(c->base.loop, &c->offer);
    drop_waiting(c);
    c->connected = c->broken = false;
}

/* Our process has left the group in the eyes of the others. */
static void lose(struct member_corosync *c)
{
    disconnect(c);
    loop_timer_set(c->base.loop, &c->connect, RECONNECT_MS);
    member_feed(&c->base, &(struct member_event){.type = EVENT_CUT});
}

static void after_dispatch(struct member_corosync *c, cs_error_t error)
{
    if (error == CS_ERR_TRY_AGAIN)
        error = CS_OK; /* nothing there after all */
    if (error == CS_OK && !c->broken)
        return;
    log_warning("membership: corosync is gone (%s)",
                error == CS_OK ? "no message goes out" : cs_strerror(error));
    lose(c);
}

static void cpg_ready(struct loop_fd *f, uint32_t events)
{
    struct member_corosync *c = container_of(f, struct member_corosync, cpg_fd);

    (void)events;
    after_dispatch(c, cpg_dispatch(c->cpg, CS_DISPATCH_ALL));
}

static void quorum_ready(struct loop_fd *f, uint32_t events)
{
    struct member_corosync *c =
        container_of(f, struct member_corosync, quorum_fd);

    (void)events;
    after_dispatch(c, quorum_dispatch(c->quorum, CS_DISPATCH_ALL));
}

static cs_error_t open_quorum(struct member_corosync *c)
{
    quorum_model_v1_data_t model = {.model = QUORUM_MODEL_V1,
                                    .quorum_notify_fn = quorum_changed};
    uint32_t type;
    cs_error_t error = quorum_model_initialize(
        &c->quorum, QUORUM_MODEL_V1, (quorum_model_data_t *)&model, &type, c);

    if (error != CS_OK)
        return error;
    error = quorum_fd_get(c->quorum, &c->quorum_fd.fd);
    if (error == CS_OK)
        error =
            quorum_trackstart(c->quorum, CS_TRACK_CURRENT | CS_TRACK_CHANGES);
    if (error == CS_OK && loop_fd_add(c->base.loop, &c->quorum_fd))
        error = CS_ERR_LIBRARY;
    if (error != CS_OK)
        quorum_finalize(c->quorum);
    return error;
}

/* corosync says which node we are: once. */
static cs_error_t take_node(struct member_corosync *c)
{
    struct member_core_args args = c->base.core.args;
    unsigned node = 0;
    cs_error_t error = cpg_local_get(c->cpg, &node);

    if (error != CS_OK || node == c->node)
        return error;
    args.me.node = node;
    if (c->node || member_id_check(&args.me, NULL)) {
        log_error("membership: corosync has nodeid %u for this host; it is 1 "
                  "to %d, and stays: mend corosync.conf",
                  node, MEMBER_NODES_MAX);
        return CS_ERR_INVALID_PARAM;
    }
    c->node = node;
    member_core_init(&c->base.core, &args);
    return CS_OK;
}

static cs_error_t open_cpg(struct member_corosync *c)
{
    cpg_model_v1_data_t model = {
        .model = CPG_MODEL_V1,
        .cpg_deliver_fn = cpg_delivered,
        .cpg_confchg_fn = cpg_changed,
        .cpg_totem_confchg_fn = cpg_ring_changed,
        .flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
    };
    cs_error_t error = cpg_model_initialize(&c->cpg, CPG_MODEL_V1,
                                            (cpg_model_data_t *)&model, c);

    if (error != CS_OK)
        return error;
    error = take_node(c);
    if (error == CS_OK)
        error = cpg_fd_get(c->cpg, &c->cpg_fd.fd);
    if (error == CS_OK)
        error = cpg_join(c->cpg, &c->group);
    if (error == CS_OK && loop_fd_add(c->base.loop, &c->cpg_fd))
        error = CS_ERR_LIBRARY;
    if (error != CS_OK)
        cpg_finalize(c->cpg);
    return error;
}

static void try_to_connect(struct timer *t)
{
    struct member_corosync *c =
        container_of(t, struct member_corosync, connect);
    cs_error_t error;

    if (c->base.core.state == CORE_ENDED)
        return;
    error = open_quorum(c);
    if (error == CS_OK) {
        error = open_cpg(c);
        if (error != CS_OK) {
            loop_fd_remove(c->base.loop, &c->quorum_fd);
            quorum_finalize(c->quorum);
        }
    }
    if (error != CS_OK) {
        if (!c->said_away)
            log_warning("membership: no corosync yet (%s)", cs_strerror(error));
        c->said_away = true;
        loop_timer_set(c->base.loop, &c->connect, RECONNECT_MS);
        return;
    }
    c->said_away = false;
    c->connected = true;
}

static void beat(struct timer *t)
{
    struct member_corosync *c = container_of(t, struct member_corosync, tick);

    loop_timer_set(c->base.loop, &c->tick, c->heartbeat_ms);
    member_feed(&c->base, &(struct member_event){.type = EVENT_TICK});
    if (c->broken)
        after_dispatch(c, CS_OK);
}

/* -- open, close ----------------------------------------------------------- */

static void corosync_close(struct member *m)
{
    struct member_corosync *c = of(m);

    disconnect(c);
    loop_timer_cancel(c->base.loop, &c->connect);
    loop_timer_cancel(c->base.loop, &c->tick);
    drop_waiting(c);
    free(c);
}

static enum err set_group(struct member_corosync *c, const char *cluster,
                          struct diag *why)
{
    int count = snprintf(c->group.value, sizeof c->group.value, "lunar:%s",
                         cluster ? cluster : "");

    if (!cluster || !*cluster || count >= (int)sizeof c->group.value)
        return diag_fail(why, E_INVAL, "a cluster name has 1 to %zu bytes",
                         sizeof c->group.value - sizeof "lunar:");
    c->group.length = (uint32_t)count;
    return E_OK;
}

enum err member_open_corosync(const struct member_args *args,
                              struct member **ret_member, struct diag *why)
{
    static const struct member_shell_ops ops = {
        corosync_multicast, corosync_is_full, corosync_close};
    unsigned suspect_ms = args->suspect_ms ? args->suspect_ms : SUSPECT_MS;
    struct member_args own = *args;
    struct member_corosync *c = calloc(1, sizeof *c);
    enum err e;

    if (!c)
        return diag_fail(why, E_NOMEM, "membership: %s", err_text(E_NOMEM));
    c->heartbeat_ms = args->heartbeat_ms ? args->heartbeat_ms : HEARTBEAT_MS;
    list_init(&c->waiting);
    c->cpg_fd.events = c->quorum_fd.events = EPOLLIN;
    c->cpg_fd.ready = cpg_ready;
    c->quorum_fd.ready = quorum_ready;
    c->connect.fire = try_to_connect;
    c->offer.fire = offer_again;
    c->tick.fire = beat;
    own.me.node = 1; /* until corosync is there */
    e = set_group(c, args->cluster, why);
    if (!e)
        e = member_shell_init(
            &c->base, &ops, &own,
            (unsigned)div_round_up(suspect_ms, c->heartbeat_ms), why);
    if (e) {
        free(c);
        return e;
    }
    loop_timer_set(c->base.loop, &c->connect, 0);
    loop_timer_set(c->base.loop, &c->tick, c->heartbeat_ms);
    *ret_member = &c->base;
    return E_OK;
}
