/* base/transport_hub.c - messages between hosts that live in one process.
 * No network: a message is a task on the receiver's loop.
 *
 * A cut starts a new connection (a number per pair); a message of an older one
 * finds that out when it arrives and is dropped.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport.h"

#include <pthread.h>
#include <string.h>

struct hub_host {
    struct transport base;
    struct transport_hub *hub;
    uint32_t host;
    struct loop *loop; /* NULL: nobody there */
    struct transport_ear *ear;
};

struct transport_hub {
    pthread_mutex_t mutex;
    /* lock: mutex */
    struct hub_host hosts[TRANSPORT_HUB_HOSTS_MAX];
    uint64_t connection[TRANSPORT_HUB_HOSTS_MAX][TRANSPORT_HUB_HOSTS_MAX];
    bool cut[TRANSPORT_HUB_HOSTS_MAX][TRANSPORT_HUB_HOSTS_MAX];
};

struct message {
    struct task task;
    struct transport_hub *hub;
    uint32_t from, to;
    uint64_t connection;
    bool lost; /* not bytes but the news that the peer is lost */
    size_t count;
    uint8_t bytes[];
};

/* The ear, if the message's connection is still the one of its pair. */
static struct transport_ear *ear_for(const struct message *m)
{
    struct transport_hub *hub = m->hub;
    struct transport_ear *ear = NULL;

    pthread_mutex_lock(&hub->mutex);
    if (hub->hosts[m->to].loop &&
        hub->connection[m->from][m->to] == m->connection)
        ear = hub->hosts[m->to].ear;
    pthread_mutex_unlock(&hub->mutex);
    return ear;
}

static void message_arrives(struct task *t)
{
    struct message *m = container_of(t, struct message, task);
    struct transport_ear *ear = ear_for(m);

    if (ear && m->lost)
        ear->lost(ear, m->from);
    else if (ear)
        ear->receive(ear, m->from, m->bytes, m->count);
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
    m->connection = hub->connection[from][to];
    loop_post(hub->hosts[to].loop, &m->task);
}

static enum err hub_send(struct transport *t, uint32_t host, const void *bytes,
                         size_t count)
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
    m->count = count;
    memcpy(m->bytes, bytes, count);
    pthread_mutex_lock(&hub->mutex);
    if (hub->hosts[host].loop && !hub->cut[me->host][host]) {
        post(hub, TAKE(m), me->host, host);
        e = E_OK;
    }
    pthread_mutex_unlock(&hub->mutex);
    return e;
}

/* lock: mutex.  What was on its way dies, and `to` hears of the loss. */
static void break_pair(struct transport_hub *hub, uint32_t from, uint32_t to)
{
    struct message *m;

    hub->connection[from][to]++;
    if (!hub->hosts[to].loop || !hub->hosts[from].loop)
        return;
    m = calloc(1, sizeof *m);
    ASSERT(m);
    m->lost = true;
    post(hub, m, from, to);
}

static void hub_close(struct transport *t)
{
    struct hub_host *me = container_of(t, struct hub_host, base);
    struct transport_hub *hub = me->hub;

    pthread_mutex_lock(&hub->mutex);
    for (uint32_t other = 0; other < TRANSPORT_HUB_HOSTS_MAX; other++) {
        if (other != me->host)
            break_pair(hub, me->host, other);
        hub->connection[other][me->host]++;
    }
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
                            struct loop *loop, struct transport_ear *ear,
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
            .loop = loop,
            .ear = ear,
        };
        *ret_transport = &hub->hosts[host].base;
        e = E_OK;
    }
    pthread_mutex_unlock(&hub->mutex);
    return e;
}

void transport_hub_cut(struct transport_hub *hub, uint32_t a, uint32_t b)
{
    pthread_mutex_lock(&hub->mutex);
    if (!hub->cut[a][b]) {
        break_pair(hub, a, b);
        break_pair(hub, b, a);
    }
    hub->cut[a][b] = hub->cut[b][a] = true;
    pthread_mutex_unlock(&hub->mutex);
}

void transport_hub_heal(struct transport_hub *hub, uint32_t a, uint32_t b)
{
    pthread_mutex_lock(&hub->mutex);
    hub->cut[a][b] = hub->cut[b][a] = false;
    pthread_mutex_unlock(&hub->mutex);
}
