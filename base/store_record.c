/* base/store_record.c - a decorator that remembers every change and flush.
 * What failed is not remembered.  Decides nothing about what a crash may keep:
 * that is the test's, from the sequence numbers.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/store_decor.h"
#include "base/stores.h"

#include <pthread.h>

struct store_record {
    struct decor decor;
    pthread_mutex_t mutex;
    /* lock: mutex */
    uint64_t seq;
    struct store_record_entry **entries; /* by done_seq */
    size_t count, room;
    size_t in_flight; /* have a place in entries already */
};

enum { ENTRIES_AT_FIRST = 64 };

static struct store_record *record_of(struct store *s)
{
    return container_of(decor_of(s), struct store_record, decor);
}

/* Keep a place for one more entry, so that its completion cannot fail. */
static enum err reserve(struct store_record *r)
{
    size_t need = r->count + r->in_flight + 1;
    size_t room = r->room ? r->room * 2 : ENTRIES_AT_FIRST;
    struct store_record_entry **bigger;

    if (need > r->room) {
        bigger = realloc(r->entries, room * sizeof *bigger);
        if (!bigger)
            return E_NOMEM;
        r->entries = bigger;
        r->room = room;
    }
    r->in_flight++;
    return E_OK;
}

static void entry_free(struct store_record_entry *entry)
{
    union {
        const uint8_t *in;
        void *base;
    } data = {entry->data};

    free(data.base);
    free(entry);
}

struct change {
    struct decor_io child;
    struct store_record_entry *entry;
};

static void change_done(struct store_io *io, enum err e)
{
    struct decor_io *c = decor_io_of(io);
    struct store_record_entry *entry =
        container_of(c, struct change, child)->entry;
    struct store_record *r = record_of(&c->decor->base);

    pthread_mutex_lock(&r->mutex);
    r->in_flight--;
    entry->done_seq = ++r->seq;
    if (!e)
        r->entries[r->count++] = entry;
    pthread_mutex_unlock(&r->mutex);
    if (e)
        entry_free(entry);
    decor_io_end(c, e);
}

/* What the io will do; its bytes are copied now, as the store below takes
 * them now. */
static struct store_record_entry *entry_new(const struct store_io *io)
{
    AUTO(freep) struct store_record_entry *entry = calloc(1, sizeof *entry);
    uint8_t *data = NULL;

    if (!entry)
        return NULL;
    if (io->op == STORE_WRITE) {
        data = malloc(io->len_bytes);
        if (!data)
            return NULL;
        iov_to_buf(io->iov, io->iov_count, 0, data, io->len_bytes);
    }
    *entry = (struct store_record_entry){
        .op = io->op,
        .flags = io->flags,
        .off_bytes = io->off_bytes,
        .len_bytes = io->len_bytes,
        .data = data,
    };
    return TAKE(entry);
}

static void unreserve(struct store_record *r)
{
    pthread_mutex_lock(&r->mutex);
    r->in_flight--;
    pthread_mutex_unlock(&r->mutex);
}

static enum err record_submit(struct store *s, struct store_io *io)
{
    struct store_record *r = record_of(s);
    struct store_record_entry *entry;
    struct change *change;
    enum err e;

    if (io->op == STORE_READ)
        return store_submit(r->decor.below, io);
    entry = entry_new(io);
    if (!entry)
        return E_NOMEM;
    pthread_mutex_lock(&r->mutex);
    e = reserve(r);
    entry->submit_seq = ++r->seq;
    pthread_mutex_unlock(&r->mutex);
    if (e) {
        entry_free(entry);
        return e;
    }
    change = calloc(1, sizeof *change);
    if (change)
        change->entry = entry;
    e = decor_io_send(change ? &change->child : NULL, &r->decor, io,
                      change_done);
    if (e) {
        unreserve(r);
        entry_free(entry);
    }
    return e;
}

static void record_close(struct store *s)
{
    struct store_record *r = record_of(s);

    for (size_t i = 0; i < r->count; i++)
        entry_free(r->entries[i]);
    free(r->entries);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

static const struct store_ops record_ops = {"record", record_submit,
                                            record_close};

enum err store_record_new(struct store *below, struct store **ret_store)
{
    struct store_record *r = calloc(1, sizeof *r);

    if (!r)
        return E_NOMEM;
    decor_init(&r->decor, &record_ops, below);
    r->decor.base.caps |= STORE_VOLATILE;
    pthread_mutex_init(&r->mutex, NULL);
    *ret_store = &r->decor.base;
    return E_OK;
}

size_t store_record_count(struct store *s)
{
    struct store_record *r = record_of(s);
    size_t count;

    ASSERT(s->ops == &record_ops);
    pthread_mutex_lock(&r->mutex);
    count = r->count;
    pthread_mutex_unlock(&r->mutex);
    return count;
}

const struct store_record_entry *store_record_at(struct store *s, size_t i)
{
    struct store_record *r = record_of(s);
    const struct store_record_entry *entry;

    ASSERT(s->ops == &record_ops);
    pthread_mutex_lock(&r->mutex);
    ASSERT(i < r->count);
    entry = r->entries[i];
    pthread_mutex_unlock(&r->mutex);
    return entry;
}

enum err store_record_replay(struct store *s, size_t i, struct store *onto,
                             uint64_t torn_bytes)
{
    const struct store_record_entry *entry = store_record_at(s, i);
    uint64_t len = entry->len_bytes;

    if (torn_bytes)
        len = min_u64(len, torn_bytes);
    if (entry->op == STORE_WRITE)
        return store_write_sync(onto, entry->off_bytes, entry->data, len);
    if (entry->op == STORE_FLUSH)
        return store_flush_sync(onto);
    return store_range_sync(onto, entry->op, entry->off_bytes, len);
}
