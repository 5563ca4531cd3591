/* base/keep.c - the daemon's end: what an earlier run left, what to leave.
 * Holds the descriptors that were inherited and not taken yet; nothing else.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/keep_wire.h"
#include "base/list.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct inherited {
    struct list link;
    char name[KEEP_NAME_BYTES];
    unsigned count;
    int fds[KEEP_FDS_MAX];
};

struct keep {
    int socket_fd;
    pthread_mutex_t lock; /* inherited */
    struct list inherited;
};

static void inherited_free(struct inherited *h)
{
    list_remove(&h->link);
    free(h);
}

static enum err inherit(struct keep *k, const struct keep_msg *msg,
                        const int *fds)
{
    struct inherited *h = calloc(1, sizeof *h);

    if (!h) {
        keep_close_all(fds, msg->count);
        return E_NOMEM;
    }
    memcpy(h->name, msg->name, sizeof h->name);
    h->count = msg->count;
    memcpy(h->fds, fds, msg->count * sizeof *fds);
    list_push_back(&k->inherited, &h->link);
    return E_OK;
}

static enum err inherit_all(struct keep *k)
{
    int fds[KEEP_FDS_MAX];
    struct keep_msg msg;
    enum err e = keep_receive(k->socket_fd, &msg, fds);

    while (!e && msg.verb == KEEP_PUT) {
        e = inherit(k, &msg, fds);
        if (!e)
            e = keep_receive(k->socket_fd, &msg, fds);
    }
    if (!e && msg.verb != KEEP_TOLD)
        return E_PROTOCOL;
    return e;
}

static void keep_freep(struct keep **k)
{
    keep_free(*k);
}

enum err keep_connect(int socket_fd, struct keep **ret_keep)
{
    AUTO(keep_freep) struct keep *k = calloc(1, sizeof *k);
    enum err e;

    if (!k) {
        close(socket_fd);
        return E_NOMEM;
    }
    k->socket_fd = socket_fd;
    pthread_mutex_init(&k->lock, NULL);
    list_init(&k->inherited);
    e = inherit_all(k);
    if (e)
        return e;
    *ret_keep = TAKE(k);
    return E_OK;
}

void keep_free(struct keep *k)
{
    if (!k)
        return;
    list_for_each (node, &k->inherited) {
        struct inherited *h = container_of(node, struct inherited, link);

        keep_close_all(h->fds, h->count);
        inherited_free(h);
    }
    close(k->socket_fd);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static enum err say(struct keep *k, enum keep_verb verb, const char *name,
                    const int *fds, unsigned count)
{
    struct keep_msg msg = {.verb = verb, .count = count};

    if (!keep_name_ok(name) || count > KEEP_FDS_MAX)
        return E_INVAL;
    snprintf(msg.name, sizeof msg.name, "%s", name);
    return keep_send(k->socket_fd, &msg, fds);
}

enum err keep_put(struct keep *k, const char *name, const int *fds,
                  unsigned count)
{
    return count ? say(k, KEEP_PUT, name, fds, count) : E_INVAL;
}

enum err keep_drop(struct keep *k, const char *name)
{
    return say(k, KEEP_DROP, name, NULL, 0);
}

unsigned keep_take(struct keep *k, const char *name, int fds[KEEP_FDS_MAX])
{
    unsigned count = 0;

    pthread_mutex_lock(&k->lock);
    list_for_each (node, &k->inherited) {
        struct inherited *h = container_of(node, struct inherited, link);

        if (strcmp(h->name, name) != 0)
            continue;
        count = h->count;
        memcpy(fds, h->fds, count * sizeof *fds);
        inherited_free(h);
        break;
    }
    pthread_mutex_unlock(&k->lock);
    return count;
}

const char *keep_name(const struct keep *k, unsigned i)
{
    list_for_each (node, &k->inherited) {
        if (i-- == 0)
            return container_of(node, struct inherited, link)->name;
    }
    return NULL;
}
