/* tests/sim/target_media.c - the content of a LUN: who wrote what, and when.
 * Judges every write that lands; checks no reservation.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/sim/target_private.h"

#include <inttypes.h>

static struct media_block *block_at(const struct sim *s, uint32_t lun,
                                    uint32_t block)
{
    ASSERT(block < SIM_BLOCKS);
    return &s->target[lun]->block[block];
}

static void judge(struct sim_target *t, const struct media_block *b,
                  uint32_t at, const struct sim_author *a)
{
    if (sim_is_fenced(t->sim, t->lun, a->host, a->incarnation))
        sim_fail(t->sim, "I11",
                 "lun %u block %u: a write of h%u, incarnation %" PRIu64
                 ", landed after the fence of it was reported",
                 t->lun, at, a->host, a->incarnation);
    else if (a->version && a->version < b->promised)
        sim_fail(t->sim, "I13",
                 "lun %u block %u: version %" PRIu64 " (h%u, write %" PRIu64
                 ") landed over version %" PRIu64 ", which was answered",
                 t->lun, at, a->version, a->host, a->id, b->promised);
}

/* What a torn write leaves: sectors of the old and of the new. */
static const void *tear(struct sim *s, const struct media_block *b,
                        const struct sim_command *c)
{
    size_t length = max_u64(b->length, c->length);
    char *mixed = sim_alloc(s, length + !length);

    if (b->length)
        memcpy(mixed, b->bytes, b->length);
    for (size_t at = 0; at < c->length; at += 512)
        if (sim_chance(s, 500))
            memcpy(mixed + at, (const char *)c->bytes + at,
                   min_u64(512, c->length - at));
    return mixed;
}

void media_land(struct sim_target *t, const struct sim_command *c,
                uint32_t first, uint32_t count, bool torn)
{
    for (uint32_t i = first; i < first + count; i++) {
        struct media_block *b = block_at(t->sim, t->lun, i);

        judge(t, b, i, &c->author);
        if (t->options.volatile_cache && !b->dirty) {
            b->dirty = true;
            b->was_written = b->written;
            b->durable = b->last;
            b->durable_bytes = b->bytes;
            b->durable_length = b->length;
        }
        b->bytes = torn ? tear(t->sim, b, c) : c->bytes;
        b->length = torn ? max_u64(b->length, c->length) : c->length;
        b->written = true;
        b->last = (struct sim_landing){c->author, sim_now(t->sim), torn};
        if (t->sim->landed)
            t->sim->landed(t->sim, t->lun, i, b->bytes, b->length);
    }
}

void media_read(struct sim_target *t, struct sim_command *c, uint32_t first,
                uint32_t count)
{
    if (!c->read)
        c->read = sim_alloc(t->sim, c->count * sizeof *c->read);
    for (uint32_t i = first; i < first + count; i++) {
        struct media_block *b = block_at(t->sim, t->lun, c->block + i);

        c->read[i] = (struct sim_read){b->bytes, b->length};
    }
}

void media_sync(struct sim_target *t)
{
    for (uint32_t i = 0; i < SIM_BLOCKS; i++)
        t->block[i].dirty = false;
}

/* Each block of the cache was written back already, or is lost. */
void media_power_fails(struct sim_target *t)
{
    for (uint32_t i = 0; i < SIM_BLOCKS; i++) {
        struct media_block *b = &t->block[i];

        if (!b->dirty)
            continue;
        b->dirty = false;
        if (sim_chance(t->sim, 500))
            continue;
        b->written = b->was_written;
        b->last = b->durable;
        b->bytes = b->durable_bytes;
        b->length = b->durable_length;
    }
}

/* -- what nobody can see --------------------------------------------------- */

const struct sim_landing *sim_block_writer(const struct sim *s, uint32_t lun,
                                           uint32_t block)
{
    const struct media_block *b = block_at(s, lun, block);

    return b->written ? &b->last : NULL;
}

const void *sim_block_bytes(const struct sim *s, uint32_t lun, uint32_t block,
                            size_t *ret_length)
{
    const struct media_block *b = block_at(s, lun, block);

    *ret_length = b->length;
    return b->bytes;
}

void sim_expect_version(struct sim *s, uint32_t lun, uint32_t block,
                        uint64_t version)
{
    struct media_block *b = block_at(s, lun, block);

    b->promised = max_u64(b->promised, version);
}

bool sim_is_fenced(const struct sim *s, uint32_t lun, uint32_t host,
                   uint64_t incarnation)
{
    const struct sim_target *t = s->target[lun];

    for (uint32_t i = 0; i < t->fenced_count; i++)
        if (t->fenced[i].host == host &&
            t->fenced[i].incarnation == incarnation)
            return true;
    return false;
}

void sim_expect_fenced(struct sim *s, uint32_t lun, uint32_t host,
                       uint64_t incarnation)
{
    struct sim_target *t = s->target[lun];

    if (sim_is_fenced(s, lun, host, incarnation))
        return;
    ASSERT(t->fenced_count < FENCED_MAX);
    t->fenced[t->fenced_count++] = (struct fenced){host, incarnation};
}
