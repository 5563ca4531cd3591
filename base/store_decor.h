/* base/store_decor.h - what the decorators share; for base/store_*.c only.
 * A decorator that wants to see the result hands a child io down; it
 * allocates per io, which is fine for tests and not for the I/O path.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_STORE_DECOR_H
#define LUNAR_BASE_STORE_DECOR_H

#include "base/store.h"

struct decor {
    struct store base;
    struct store *below;
};

static inline struct decor *decor_of(struct store *s)
{
    return container_of(s, struct decor, base);
}

/* Show the size and blocks of what is below. */
static inline void decor_refresh(struct decor *d)
{
    store_size_set(&d->base, store_size(d->below));
    d->base.block_bytes = d->below->block_bytes;
    d->base.physical_bytes = d->below->physical_bytes;
}

static inline void decor_init(struct decor *d, const struct store_ops *ops,
                              struct store *below)
{
    d->below = below;
    d->base.ops = ops;
    d->base.caps = below->caps;
    decor_refresh(d);
}

struct decor_io {
    struct store_io io; /* goes down */
    struct store_io *parent;
    struct decor *decor;
};

static inline struct decor_io *decor_io_of(struct store_io *io)
{
    return container_of(io, struct decor_io, io);
}

/* Send a copy of the parent down; its end comes to `done`.
 * Ownership: c is a heap object that begins with the decor_io; freed on
 * error, else by decor_io_end(). */
MUST_CHECK static inline enum err decor_io_send(
    struct decor_io *c, struct decor *d, struct store_io *parent,
    void (*done)(struct store_io *, enum err))
{
    enum err e;

    if (!c)
        return E_NOMEM;
    c->parent = parent;
    c->decor = d;
    c->io = *parent;
    c->io.done = done;
    e = store_submit(d->below, &c->io);
    if (e)
        free(c);
    return e;
}

/* Report to the parent and free c. */
static inline void decor_io_end(struct decor_io *c, enum err e)
{
    struct store_io *parent = c->parent;

    if (parent->op == STORE_RESIZE)
        decor_refresh(c->decor);
    free(c);
    parent->done(parent, e);
}

#endif
