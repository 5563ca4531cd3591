/* base/store_fault.c - a decorator that fails the nth matching operation.
 * Never changes bytes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/store_decor.h"
#include "base/stores.h"

#include <pthread.h>

struct store_fault {
    struct decor decor;
    pthread_mutex_t mutex;
    /* lock: mutex */
    struct store_fault_args args;
    uint64_t count;
};

struct fault_io {
    struct decor_io child;
    enum err result; /* E_OK: whatever the one below says */
};

static struct store_fault *fault_of(struct store *s)
{
    return container_of(decor_of(s), struct store_fault, decor);
}

/* Count the operation; true if it is to fail, and how. */
static bool fires(struct store_fault *f, enum store_op op,
                  struct store_fault_args *ret_args)
{
    bool fire = false;

    pthread_mutex_lock(&f->mutex);
    if (f->args.ops & (UINT32_C(1) << op)) {
        f->count++;
        fire = f->args.nth && (f->args.sticky ? f->count >= f->args.nth
                                              : f->count == f->args.nth);
    }
    *ret_args = f->args;
    pthread_mutex_unlock(&f->mutex);
    return fire;
}

static void fault_io_done(struct store_io *io, enum err e)
{
    struct decor_io *c = decor_io_of(io);
    enum err forced = container_of(c, struct fault_io, child)->result;

    decor_io_end(c, forced ? forced : e);
}

static enum err fault_submit(struct store *s, struct store_io *io)
{
    struct store_fault *f = fault_of(s);
    struct store_fault_args args;
    bool fire = fires(f, io->op, &args);
    struct fault_io *fio;

    if (fire && !args.after_effect) {
        store_done_later(io, args.result);
        return E_OK;
    }
    if (!fire && io->op != STORE_RESIZE)
        return store_submit(f->decor.below, io);
    fio = calloc(1, sizeof *fio);
    if (!fio)
        return E_NOMEM;
    fio->result = fire ? args.result : E_OK;
    return decor_io_send(&fio->child, &f->decor, io, fault_io_done);
}

static void fault_close(struct store *s)
{
    struct store_fault *f = fault_of(s);

    pthread_mutex_destroy(&f->mutex);
    free(f);
}

static const struct store_ops fault_ops = {"fault", fault_submit, fault_close};

enum err store_fault_new(struct store *below, struct store **ret_store)
{
    struct store_fault *f = calloc(1, sizeof *f);

    if (!f)
        return E_NOMEM;
    decor_init(&f->decor, &fault_ops, below);
    pthread_mutex_init(&f->mutex, NULL);
    *ret_store = &f->decor.base;
    return E_OK;
}

void store_fault_arm(struct store *s, const struct store_fault_args *args)
{
    struct store_fault *f = fault_of(s);

    ASSERT(s->ops == &fault_ops);
    pthread_mutex_lock(&f->mutex);
    f->args = *args;
    f->count = 0;
    pthread_mutex_unlock(&f->mutex);
}

uint64_t store_fault_count(struct store *s)
{
    struct store_fault *f = fault_of(s);
    uint64_t count;

    ASSERT(s->ops == &fault_ops);
    pthread_mutex_lock(&f->mutex);
    count = f->count;
    pthread_mutex_unlock(&f->mutex);
    return count;
}
