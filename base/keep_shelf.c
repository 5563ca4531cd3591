/* base/keep_shelf.c - the holder's end: names and their descriptors.
 * Never looks at what a descriptor is, never starts or ends a process.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/keep_wire.h"
#include "base/list.h"

#include <string.h>

struct kept {
    struct list link;
    struct keep_msg put; /* what is said to the next daemon */
    int fds[KEEP_FDS_MAX];
};

struct keep_shelf {
    struct list kept;
    unsigned count;
};

enum err keep_shelf_new(struct keep_shelf **ret_shelf)
{
    struct keep_shelf *s = calloc(1, sizeof *s);

    if (!s)
        return E_NOMEM;
    list_init(&s->kept);
    *ret_shelf = s;
    return E_OK;
}

unsigned keep_shelf_count(const struct keep_shelf *s)
{
    return s->count;
}

static struct kept *find(const struct keep_shelf *s, const char *name)
{
    list_for_each (node, &s->kept) {
        struct kept *k = container_of(node, struct kept, link);

        if (strcmp(k->put.name, name) == 0)
            return k;
    }
    return NULL;
}

static void forget(struct keep_shelf *s, struct kept *k)
{
    keep_close_all(k->fds, k->put.count);
    list_remove(&k->link);
    s->count--;
    free(k);
}

void keep_shelf_free(struct keep_shelf *s)
{
    if (!s)
        return;
    list_for_each (node, &s->kept) {
        forget(s, container_of(node, struct kept, link));
    }
    free(s);
}

enum err keep_shelf_tell(const struct keep_shelf *s, int socket_fd)
{
    const struct keep_msg told = {.verb = KEEP_TOLD};

    list_for_each (node, &s->kept) {
        const struct kept *k = container_of(node, struct kept, link);
        enum err e = keep_send(socket_fd, &k->put, k->fds);

        if (e)
            return e;
    }
    return keep_send(socket_fd, &told, NULL);
}

/* Ownership: takes the descriptors, also when it fails. */
static enum err put(struct keep_shelf *s, const struct keep_msg *msg,
                    const int *fds)
{
    struct kept *old = find(s, msg->name);
    struct kept *k =
        old || s->count < KEEP_NAMES_MAX ? calloc(1, sizeof *k) : NULL;

    if (!k) {
        keep_close_all(fds, msg->count);
        return E_BUSY;
    }
    if (old)
        forget(s, old);
    k->put = *msg;
    memcpy(k->fds, fds, msg->count * sizeof *fds);
    list_push_back(&s->kept, &k->link);
    s->count++;
    return E_OK;
}

enum err keep_shelf_receive(struct keep_shelf *s, int socket_fd)
{
    int fds[KEEP_FDS_MAX];
    struct keep_msg msg;
    struct kept *old;
    enum err e = keep_receive(socket_fd, &msg, fds);

    if (e)
        return e;
    if (msg.verb == KEEP_PUT)
        return put(s, &msg, fds);
    if (msg.verb != KEEP_DROP)
        return E_PROTOCOL;
    old = find(s, msg.name);
    if (old)
        forget(s, old);
    return E_OK;
}
