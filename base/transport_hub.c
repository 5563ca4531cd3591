/* base/transport_hub.c - messages between hosts that live in one process.
 * No network: a message is a task on the receiver's loop.
 *
 * Each connection of a pair has a number.  Bytes of an older one find that out
 * when they arrive, and are dropped; news (met, lost) are told in order as long
 * as the receiver is the same run, so that each `met` has its `lost`.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport.h"

#include <pthread.h>
#include <string.h>

struct hub_host {
    struct transport base;
    struct transport_hub *hub;
    uint32_t host;
    uint64_t incarnation;
    struct loop *loop; /* NULL: nobody there */
    struct transport_ear *ear;
};

struct transport_hub {
    pthread_mutex_t mutex;
    /* lock: mutex */
    struct hub_host hosts[TRANSPORT_HUB_HOSTS_MAX];
    uint64_t lives[TRANSPORT_HUB_HOSTS_MAX]; /* joins and closings of a host */
    uint64_t connection[TRANSPORT_HUB_HOSTS_MAX][TRANSPORT_HUB_HOSTS_MAX];
    bool cut[TRANSPORT_HUB_HOSTS_MAX][TRANSPORT_HUB_HOSTS_MAX];
};

struct message {
    struct task task;
    struct transport_hub *hub;
    uint32_t from, to;
    uint64_t life; /* of the receiver */
    uint64_t connection;
    enum { BYTES, MET, LOST } what;
    uint64_t incarnation; /* with MET */
    size_t count;
    uint8_t bytes[];
};

/* The ear, if the message is still for it. */
static struct transport_ear *ear_for(const struct message *m)
{
    struct transport_hub *hub = m->hub;
    struct transport_ear *ear = NULL;

    pthread_mutex_lock(&hub->mutex);
    if (hub->lives[m->to] == m->life &&
        (m->what != BYTES || hub->connection[m->from][m->to] == m->connection))
        ear = hub->hosts[m->to].ear;
    pthread_mutex_unlock(&hub->mutex);
    return ear;
}

static void message_arrives(struct task *t)
{
    struct message *m = container_of(t, struct message, task);
    struct transport_ear *ear = ear_for(m);

    if (ear && m->what == LOST)
        ear->lost(ear, m->from);
    else if (ear && m->what == BYTES)
        ear->receive(ear, m->from, m->bytes, m->count);
    else if (ear && ear->met)
        ear->met(ear, m->from, m->incarnation);
    free(m);
}

/* lock: mutex */
static void post(struct transport_hub *hub, struct message *m, uint32_t from,
                 uint32_t to)
{
    m->task.run = message_arrives;
    m->hub = hub;
    m->from = from;
    m->to = to;
    m->life = hub->lives[to];
    m->connection = hub->connection[from][to];
    loop_post(hub->hosts[to].loop, &m->task);
}

/* lock: mutex */
static bool connected(const struct transport_hub *hub, uint32_t a, uint32_t b)
{
    return hub->hosts[a].loop && hub->hosts[b].loop && !hub->cut[a][b];
}

static enum err hub_send(struct transport *t, uint32_t host,
                         const struct iovec *iov, int iov_count, size_t count)
{
    struct hub_host *me = container_of(t, struct hub_host, base);
    struct transport_hub *hub = me->hub;
    AUTO(freep) struct message *m = NULL;
    enum err e = E_CLOSED;

    if (host >= TRANSPORT_HUB_HOSTS_MAX)
        return E_CLOSED;
    m = calloc(1, sizeof *m + count);
    if (!m)
        return E_NOMEM;
    for (int i = 0; i < iov_count; i++) {
        memcpy(m->bytes + m->count, iov[i].iov_base, iov[i].iov_len);
        m->count += iov[i].iov_len;
    }
    pthread_mutex_lock(&hub->mutex);
    if (connected(hub, me->host, host)) {
        post(hub, TAKE(m), me->host, host);
        e = E_OK;
    }
    pthread_mutex_unlock(&hub->mutex);
    return e;
}

/* lock: mutex.  `to` hears that `from` is there, or gone; what was on its way
 * from there dies. */
static void tell(struct transport_hub *hub, uint32_t from, uint32_t to,
                 bool there)
{
    struct message *m = calloc(1, sizeof *m);

    ASSERT(m);
    hub->connection[from][to]++;
    m->what = there ? MET : LOST;
    m->incarnation = hub->hosts[from].incarnation;
    post(hub, m, from, to);
}

/* lock: mutex */
static void tell_both(struct transport_hub *hub, uint32_t a, uint32_t b,
                      bool there)
{
    tell(hub, a, b, there);
    tell(hub, b, a, there);
}

static void hub_close(struct transport *t)
{
    struct hub_host *me = container_of(t, struct hub_host, base);
    struct transport_hub *hub = me->hub;

    pthread_mutex_lock(&hub->mutex);
    for (uint32_t other = 0; other < TRANSPORT_HUB_HOSTS_MAX; other++)
        if (other != me->host && connected(hub, me->host, other))
            tell(hub, me->host, other, false);
    hub->lives[me->host]++;
    me->loop = NULL;
    pthread_mutex_unlock(&hub->mutex);
}

static const struct transport_ops hub_ops = {hub_send, hub_close};

enum err transport_hub_new(struct transport_hub **ret_hub)
{
    struct transport_hub *hub = calloc(1, sizeof *hub);

    if (!hub)
        return E_NOMEM;
    pthread_mutex_init(&hub->mutex, NULL);
    *ret_hub = hub;
    return E_OK;
}

void transport_hub_free(struct transport_hub *hub)
{
    if (!hub)
        return;
    pthread_mutex_destroy(&hub->mutex);
    free(hub);
}

enum err transport_hub_join(struct transport_hub *hub, uint32_t host,
                            uint64_t incarnation, struct loop *loop,
                            struct transport_ear *ear,
                            struct transport **ret_transport)
{
    enum err e = E_EXIST;

    if (host >= TRANSPORT_HUB_HOSTS_MAX)
        return E_RANGE;
    pthread_mutex_lock(&hub->mutex);
    if (!hub->hosts[host].loop) {
        hub->hosts[host] = (struct hub_host){
            .base.ops = &hub_ops,
            .hub = hub,
            .host = host,
            .incarnation = incarnation,
            .loop = loop,
            .ear = ear,
        };
        hub->lives[host]++;
        for (uint32_t other = 0; other < TRANSPORT_HUB_HOSTS_MAX; other++)
            if (other != host && connected(hub, host, other))
                tell_both(hub, host, other, true);
        *ret_transport = &hub->hosts[host].base;
        e = E_OK;
    }
    pthread_mutex_unlock(&hub->mutex);
    return e;
}

void transport_hub_cut(struct transport_hub *hub, uint32_t a, uint32_t b)
{
    pthread_mutex_lock(&hub->mutex);
    if (connected(hub, a, b))
        tell_both(hub, a, b, false);
    hub->cut[a][b] = hub->cut[b][a] = true;
    pthread_mutex_unlock(&hub->mutex);
}

void transport_hub_heal(struct transport_hub *hub, uint32_t a, uint32_t b)
{
    pthread_mutex_lock(&hub->mutex);
    if (hub->cut[a][b]) {
        hub->cut[a][b] = hub->cut[b][a] = false;
        if (connected(hub, a, b))
            tell_both(hub, a, b, true);
    }
    pthread_mutex_unlock(&hub->mutex);
}
