/* base/store_delay.c - a decorator whose completions come later.
 * Starts everything at once and never changes the order of equal delays.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/loop.h"
#include "base/store_decor.h"
#include "base/stores.h"

#include <stdatomic.h>

struct store_delay {
    struct decor decor;
    atomic_uint_least64_t delay_ms; /* any thread, atomic */
};

struct delay_io {
    struct decor_io child;
    struct timer timer;
    enum err result;
};

static struct store_delay *delay_of(struct store *s)
{
    return container_of(decor_of(s), struct store_delay, decor);
}

static void delay_over(struct timer *t)
{
    struct delay_io *dio = container_of(t, struct delay_io, timer);

    decor_io_end(&dio->child, dio->result);
}

static void delay_io_done(struct store_io *io, enum err e)
{
    struct decor_io *c = decor_io_of(io);
    struct delay_io *dio = container_of(c, struct delay_io, child);

    dio->result = e;
    dio->timer.fire = delay_over;
    loop_timer_set(loop_self(), &dio->timer,
                   atomic_load(&delay_of(&c->decor->base)->delay_ms));
}

static enum err delay_submit(struct store *s, struct store_io *io)
{
    struct delay_io *dio = calloc(1, sizeof *dio);

    if (!dio)
        return E_NOMEM;
    return decor_io_send(&dio->child, decor_of(s), io, delay_io_done);
}

static void delay_close(struct store *s)
{
    free(delay_of(s));
}

static const struct store_ops delay_ops = {"delay", delay_submit, delay_close};

enum err store_delay_new(struct store *below, uint64_t delay_ms,
                         struct store **ret_store)
{
    struct store_delay *d = calloc(1, sizeof *d);

    if (!d)
        return E_NOMEM;
    decor_init(&d->decor, &delay_ops, below);
    atomic_init(&d->delay_ms, delay_ms);
    *ret_store = &d->decor.base;
    return E_OK;
}

void store_delay_set(struct store *s, uint64_t delay_ms)
{
    ASSERT(s->ops == &delay_ops);
    atomic_store(&delay_of(s)->delay_ms, delay_ms);
}
