/* lunard/cluster.c - joins a cluster and leaves it; the channels of its wire:
 * volumes' messages, guards', and administrators' errands.
 * Knows no view: cluster_view.c.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cluster_private.h"

#include "base/clock.h"
#include "base/endian.h"
#include "base/jsonfile.h"
#include "base/log.h"
#include "base/transport_tls.h"
#include "lunard/holder.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* -- between threads ------------------------------------------------------- */

struct visit {
    struct task task;
    void (*run)(void *arg);
    void *arg;
    sem_t done;
};

static void visit_run(struct task *task)
{
    struct visit *visit = container_of(task, struct visit, task);

    visit->run(visit->arg);
    sem_post(&visit->done);
}

void cluster_run(struct cluster *c, void (*run)(void *arg), void *arg)
{
    struct visit visit = {.task.run = visit_run, .run = run, .arg = arg};

    ASSERT(loop_self() != c->args.loop);
    sem_init(&visit.done, 0, 0);
    loop_post(c->args.loop, &visit.task);
    while (sem_wait(&visit.done))
        ;
    sem_destroy(&visit.done);
}

void cluster_lock(struct cluster *c)
{
    pthread_mutex_lock(&c->mutex);
}

void cluster_unlock(struct cluster *c)
{
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->mutex);
}

bool cluster_wait(struct cluster *c, bool (*is)(void *arg), void *arg)
{
    uint64_t end_ns = clock_now_ns(clock_system()) + ADMIN_WAIT_S * NS_PER_S;
    const struct timespec end = {.tv_sec = (time_t)(end_ns / NS_PER_S),
                                 .tv_nsec = (long)(end_ns % NS_PER_S)};
    bool yes;

    pthread_mutex_lock(&c->mutex);
    while (!(yes = is(arg)))
        if (pthread_cond_timedwait(&c->changed, &c->mutex, &end))
            break;
    pthread_mutex_unlock(&c->mutex);
    return yes;
}

static bool is_joined(const struct cluster *c)
{
    return atomic_load(&c->joined);
}

/* Whatever this process has under way is fenced by others already, and users
 * must not be told that it was done: an end without any leave-taking. */
void cluster_end(struct cluster *c, const char *why)
{
    log_error("%s: incarnation %llu ends, a new one follows", why,
              (unsigned long long)c->args.incarnation);
    _exit(HOLDER_AGAIN);
}

/* -- the wire: channels ---------------------------------------------------- */

static enum err channel_send(struct cluster *c, enum channel channel,
                             uint32_t node, const struct iovec *iov,
                             int iov_count)
{
    be32 head = be32_make(channel);
    struct iovec pieces[TRANSPORT_PIECES_MAX] = {
        {&head, sizeof head}
    };

    if (iov_count >= TRANSPORT_PIECES_MAX)
        return E_TOO_BIG;
    memcpy(pieces + 1, iov, sizeof *iov * (size_t)iov_count);
    return transport_sendv(c->transport, node, pieces, iov_count + 1);
}

static enum err fs_channel_send(struct transport *t, uint32_t node,
                                const struct iovec *iov, int iov_count,
                                size_t count)
{
    struct fs_channel *channel = container_of(t, struct fs_channel, transport);

    (void)count;
    return channel_send(channel->cluster, CHANNEL_FS, node, iov, iov_count);
}

static void fs_channel_close(struct transport *t)
{
    (void)t; /* it ends with the wire */
}

static const struct transport_ops fs_channel_ops = {.send = fs_channel_send,
                                                    .close = fs_channel_close};

static enum err send_errand(void *user, uint32_t node, const struct iovec *iov,
                            int iov_count)
{
    struct cluster *c = user;

    if (!c->transport || node < 1 || node > LM_NODES_MAX || !c->connected[node])
        return E_CLOSED;
    return channel_send(c, CHANNEL_ERRAND, node, iov, iov_count);
}

void cluster_send(struct cluster *c, uint32_t node,
                  const struct guard_message *m)
{
    struct guard_message copy = *m; /* XDR knows no const */
    char bytes[256];
    struct iovec iov = {.iov_base = bytes};
    XDR xdr;

    if (!c->connected[node])
        return;
    xdrmem_create(&xdr, bytes, sizeof bytes, XDR_ENCODE);
    if (xdr_guard_message(&xdr, &copy)) {
        iov.iov_len = xdr_getpos(&xdr);
        (void)!channel_send(c, CHANNEL_GUARD, node, &iov, 1);
    }
    xdr_destroy(&xdr);
}

/* -- the wire: what comes -------------------------------------------------- */

static void drop(struct cluster *c, uint32_t node)
{
    if (!c->garbage++)
        log_warning("node %u sends what is no message of this version of "
                    "Lunar; dropped",
                    node);
}

/* Whoever speaks of himself must be himself. */
static bool speaks_true(const struct guard_message *m, struct lm_run from)
{
    switch (m->word) {
    case WORD_ANNOUNCED:
    case WORD_RESIGNED:
    case WORD_REPORTED:
    case WORD_CONFIRM:
    case WORD_CONFIRMED:
    case WORD_CONSENT_ASKED:
    case WORD_FENCE_ASKED:
        return m->node == from.node && m->incarnation == from.incarnation;
    case WORD_CONSENTED:
    case WORD_RESERVED:
    case WORD_ARBITER_WON:
    case WORD_UNRESERVED:
    case WORD_FENCED:
    case WORD_PATH_FENCED: return true;
    }
    return false;
}

static void receive_guard(struct cluster *c, struct lm_run from,
                          const void *bytes, size_t count)
{
    union {
        const void *in;
        char *out;
    } p = {.in = bytes};
    struct guard_message m;
    struct seat *s;
    bool ok;
    XDR xdr;

    memset(&m, 0, sizeof m);
    xdrmem_create(&xdr, p.out, (u_int)count, XDR_DECODE);
    ok = xdr_guard_message(&xdr, &m) && xdr_getpos(&xdr) == count;
    xdr_destroy(&xdr);
    if (!ok || !speaks_true(&m, from)) {
        drop(c, from.node);
        return;
    }
    s = cluster_seat(c, (const uint8_t *)m.volume);
    if (s)
        seat_hear(s, from, &m);
}

static void receive(struct transport_ear *ear, uint32_t node, const void *bytes,
                    size_t count)
{
    struct cluster *c = container_of(ear, struct cluster, wire);
    struct transport_ear *fs = fs_net_ear(c->net);
    const uint8_t *b = bytes;
    struct lm_run from = {node, c->connected[node]};
    be32 head;

    if (count < sizeof head) {
        drop(c, node);
        return;
    }
    memcpy(&head, b, sizeof head);
    b += sizeof head;
    count -= sizeof head;
    switch (be32_get(head)) {
    case CHANNEL_FS: fs->receive(fs, node, b, count); break;
    case CHANNEL_GUARD: receive_guard(c, from, b, count); break;
    case CHANNEL_ERRAND:
        if (!errands_receive(c->errands, node, b, count))
            drop(c, node);
        break;
    default: drop(c, node);
    }
}

static void met(struct transport_ear *ear, uint32_t node, uint64_t incarnation)
{
    struct cluster *c = container_of(ear, struct cluster, wire);
    struct transport_ear *fs = fs_net_ear(c->net);

    if (node < 1 || node > LM_NODES_MAX)
        return;
    c->connected[node] = incarnation;
    list_for_each (at, &c->seats) {
        struct guard *g = seat_guard(container_of(at, struct seat, node));

        if (g)
            guard_on_met(g, (struct lm_run){node, incarnation});
    }
    fs->met(fs, node, incarnation);
}

static void lost(struct transport_ear *ear, uint32_t node)
{
    struct cluster *c = container_of(ear, struct cluster, wire);
    struct transport_ear *fs = fs_net_ear(c->net);

    if (node < 1 || node > LM_NODES_MAX)
        return;
    c->connected[node] = 0;
    errands_lost(c->errands, node);
    fs->lost(fs, node);
}

static void writable(struct transport_ear *ear, uint32_t node)
{
    struct cluster *c = container_of(ear, struct cluster, wire);
    struct transport_ear *fs = fs_net_ear(c->net);

    if (fs->writable)
        fs->writable(fs, node);
}

/* -- membership ------------------------------------------------------------ */

/* Without a view nobody hears: at the next one all is said again. */
enum err cluster_announce(struct cluster *c, const notice *n)
{
    notice copy = *n; /* XDR knows no const */
    u_long room = xdr_sizeof((xdrproc_t)xdr_notice, &copy);
    AUTO(freep) char *bytes = malloc(room);
    enum err e = E_NOMEM;
    XDR xdr;

    if (!bytes)
        return e;
    xdrmem_create(&xdr, bytes, (u_int)room, XDR_ENCODE);
    e = xdr_notice(&xdr, &copy)
            ? member_send(c->member, bytes, xdr_getpos(&xdr))
            : E_PROTOCOL;
    xdr_destroy(&xdr);
    return e;
}

static void ended(struct member_ear *ear, enum member_end end, const char *why)
{
    struct cluster *c = container_of(ear, struct cluster, member_ear);

    if (end == MEMBER_EXPELLED)
        cluster_end(c, why);
    if (end == MEMBER_REFUSED) {
        log_error("the cluster refuses this host: %s", why);
        _exit(EXIT_FAILURE);
    }
    cluster_lock(c);
    atomic_store(&c->joined, false);
    cluster_unlock(c);
}

static void fire_beat(struct timer *t)
{
    struct cluster *c = container_of(t, struct cluster, beat);

    list_for_each (at, &c->seats)
        seat_on_beat(container_of(at, struct seat, node));
    cluster_tell_table(c);
    cluster_tell_drain(c);
    loop_timer_set(c->args.loop, t, CLUSTER_BEAT_MS);
}

/* -- seats ----------------------------------------------------------------- */

struct seat *cluster_seat(struct cluster *c, const uint8_t uuid[16])
{
    struct seat *s;

    list_for_each (at, &c->seats) {
        s = container_of(at, struct seat, node);
        if (!memcmp(seat_uuid(s), uuid, 16))
            return s;
    }
    if (!c->net)
        return NULL;
    s = seat_new(c, uuid);
    if (s)
        list_push_back(&c->seats, &s->node);
    return s;
}

/* -- birth ----------------------------------------------------------------- */

struct beginning {
    struct cluster *c;
    struct diag *why;
    enum err e;
};

static void begin(void *arg)
{
    struct beginning *b = arg;
    struct cluster *c = b->c;
    const struct config *config = c->args.config;
    struct member_args args = {
        .loop = c->args.loop,
        .ear = &c->member_ear,
        .me = {.incarnation = c->args.incarnation,
               .version_min = 1,
               .version_max = 1,
               .key = cluster_key_tag(&c->key)},
        .cluster = config->cluster_name,
    };

    memcpy(args.me.host, c->args.uuid, sizeof args.me.host);
    snprintf(args.me.name, sizeof args.me.name, "%s", config->host_name);
    snprintf(args.me.address, sizeof args.me.address, "%s", config->listen);
    c->beat.fire = fire_beat;
    b->e = member_open_corosync(&args, &c->member, b->why);
    if (!b->e)
        loop_timer_set(c->args.loop, &c->beat, CLUSTER_BEAT_MS);
}

static enum err load(struct cluster *c, struct diag *why)
{
    json_t *json = NULL;
    enum err e = cluster_key_load(c->args.config->key, &c->key, why);

    if (e)
        return e;
    e = jsonfile_load(c->args.state_path, &json, why);
    if (e == E_NOENT)
        return E_OK;
    if (!e)
        e = table_from_json(&c->table, json, why);
    if (json && e)
        diag_prefix(why, e, "%s", c->args.state_path);
    json_decref(json);
    return e;
}

static struct cluster *cluster_new(const struct cluster_args *args)
{
    struct cluster *c = calloc(1, sizeof *c);
    const char *name = args->config->cluster_name;
    pthread_condattr_t attr;

    if (!c)
        return NULL;
    if (table_init(&c->table)) {
        free(c);
        return NULL;
    }
    c->args = *args;
    c->tag = (uint32_t)crc32(0, (const void *)name, (uInt)strlen(name));
    list_init(&c->seats);
    pthread_mutex_init(&c->mutex, NULL);
    pthread_mutex_init(&c->ordering, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attr);
    pthread_condattr_destroy(&attr);
    c->member_ear = (struct member_ear){.view = cluster_on_member_view,
                                        .deliver = cluster_on_notice,
                                        .ended = ended};
    c->wire = (struct transport_ear){
        .receive = receive, .met = met, .lost = lost, .writable = writable};
    c->fs_channel =
        (struct fs_channel){.transport.ops = &fs_channel_ops, .cluster = c};
    return c;
}

void cluster_work(struct cluster *c, struct work *work)
{
    work_submit(c->cold, work);
}

enum err cluster_open(const struct cluster_args *args,
                      struct cluster **ret_cluster, struct diag *why)
{
    static const struct workers_args cold = {
        .name = "cold", .threads = COLD_THREADS, .aio_depth = COLD_AIO_DEPTH};
    struct cluster *c = cluster_new(args);
    const struct errands_args errands = {.loop = args->loop,
                                         .answers = args->answers,
                                         .send = send_errand,
                                         .user = c};
    enum err e;

    if (!c)
        return diag_fail(why, E_NOMEM, "out of memory");
    e = load(c, why);
    if (!e)
        e = workers_start(&cold, &c->cold);
    if (!e)
        e = cluster_agents_start(c);
    if (!e)
        e = errands_new(&errands, &c->errands);
    if (e) {
        cluster_close(c);
        return e;
    }
    *ret_cluster = c;
    return E_OK;
}

enum err cluster_join(struct cluster *c, bool drained, struct diag *why)
{
    struct beginning b = {.c = c, .why = why};

    c->my_drain = drained ? DRAIN_DONE : DRAIN_NONE;
    cluster_run(c, begin, &b);
    return b.e;
}

/* The node number is known with the first view only. */
enum err cluster_start_wire(struct cluster *c, struct diag *why)
{
    const struct fs_sender self = {c->me.node, c->me.incarnation};
    const struct config *config = c->args.config;
    const struct transport_tls_args args = {
        .loop = c->args.loop,
        .ear = &c->wire,
        .node = c->me.node,
        .incarnation = c->me.incarnation,
        .host = config->host_name,
        .cluster = config->cluster_name,
        .key = &c->key,
        .listen = config->listen,
    };
    enum err e = fs_net_new(c->args.loop, &self, &c->net);

    if (e)
        return diag_fail(why, e, "%s", err_text(e));
    fs_net_attach(c->net, &c->fs_channel.transport);
    return transport_tls_open(&args, why, &c->transport);
}

/* -- death ----------------------------------------------------------------- */

static void leave(void *arg)
{
    struct cluster *c = arg;

    loop_timer_cancel(c->args.loop, &c->beat);
    loop_timer_cancel(c->args.loop, &c->quit);
    if (c->member)
        member_leave(c->member);
}

/* No coordinator came in this time: what waits for one is told so. */
static void fire_quit(struct timer *t)
{
    struct cluster *c = container_of(t, struct cluster, quit);

    list_for_each (at, &c->seats) {
        struct seat *s = container_of(at, struct seat, node);

        fs_net_cut(seat_link(s), E_VOL_OFFLINE);
    }
}

static void begin_to_quit(void *arg)
{
    struct cluster *c = arg;

    c->quit.fire = fire_quit;
    loop_timer_set(c->args.loop, &c->quit, QUIT_MS);
}

void cluster_quit(struct cluster *c)
{
    cluster_run(c, begin_to_quit, c);
    errands_quit(c->errands);
    cluster_agents_stop(c);
}

static bool has_left(void *arg)
{
    struct cluster *c = arg;

    return !is_joined(c);
}

static void end(void *arg)
{
    struct cluster *c = arg;

    list_for_each (at, &c->seats)
        seat_free(container_of(at, struct seat, node));
    transport_close(TAKE(c->transport));
    fs_net_free(TAKE(c->net));
    if (c->member)
        member_close(TAKE(c->member));
}

void cluster_close(struct cluster *c)
{
    if (!c)
        return;
    cluster_agents_stop(c); /* of a start that failed */
    cluster_run(c, leave, c);
    if (!cluster_wait(c, has_left, c))
        log_warning("corosync does not take our goodbye: the others will miss "
                    "this host, and fence it");
    cluster_run(c, end, c);
    workers_stop(c->cold);
    errands_free(c->errands);
    cluster_key_fini(&c->key);
    table_fini(&c->table);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->ordering);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}
