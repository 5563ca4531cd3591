/* tests/tools/lun_exercise/churn.c - ios of all kinds at random, in regions of
 * the LUN, one at a time in each; what is read is what was acknowledged last.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/lun_exercise/exercise.h"

#include <stdio.h>
#include <string.h>

enum { REGION_BYTES = 256 << 10 };

/* -- patterns -------------------------------------------------------------- */

/* Each 8-byte word tells its place and its generation; 0: all zeros. */
static uint64_t word_at(uint64_t seed, uint64_t at)
{
    uint64_t x = (at + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ seed * 0x100000001b3;

    return seed ? x ^ x >> 29 : 0;
}

void pattern_fill(uint8_t *buf, size_t bytes, uint64_t seed, uint64_t off)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = word_at(seed, off + i);

        memcpy(buf + i, &word, 8);
    }
}

bool pattern_matches(const uint8_t *buf, size_t bytes, uint64_t seed,
                     uint64_t off)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = word_at(seed, off + i);

        if (memcmp(buf + i, &word, 8) != 0)
            return false;
    }
    return true;
}

/* -- churn ----------------------------------------------------------------- */

/* One io at a time, back to back, in a part of the LUN of its own. */
struct region {
    struct task task;
    struct churn *churn;
    struct store *store;
    uint64_t submitted_ns;
    struct store_io io;
    struct iovec iov[3];
    uint8_t *memory;
    uint64_t off, random, generation;
    uint64_t seed; /* of what is there, as far as acknowledged */
    bool known;    /* seed counts: no write failed since */
    uint64_t ios, failed, bad, longest_ns;
};

static uint64_t next_random(struct region *r)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random;
}

static void region_ended(struct task *t)
{
    struct churn *churn = container_of(t, struct region, task)->churn;

    if (--churn->running == 0)
        churn->all_ended = true;
}

static void judge(struct region *r, enum err e)
{
    const char *name = store_op_name(r->io.op);

    r->ios++;
    if (e) {
        r->failed++;
        if (e != E_LUN_GONE || !r->churn->may_fail)
            fprintf(stderr, "%s at %llu: %s\n", name,
                    (unsigned long long)r->off, err_name(e));
        if (r->io.op != STORE_READ && r->io.op != STORE_FLUSH)
            r->known = false;
    } else if (r->io.op == STORE_WRITE) {
        r->seed = r->generation;
        r->known = true;
    } else if (r->io.op == STORE_WRITE_ZEROES) {
        r->seed = 0;
        r->known = true;
    } else if (r->io.op == STORE_DISCARD) {
        r->known = false;
    } else if (r->io.op == STORE_READ && r->known &&
               !pattern_matches(r->memory, REGION_BYTES, r->seed, r->off)) {
        r->bad++;
        fprintf(stderr, "read at %llu: not what was written last\n",
                (unsigned long long)r->off);
    }
}

static void region_next(struct region *r);

static void region_done(struct store_io *io, enum err e)
{
    struct region *r = container_of(io, struct region, io);

    judge(r, e);
    r->longest_ns =
        max_u64(r->longest_ns, clock_now_ns(clock_system()) - r->submitted_ns);
    atomic_fetch_add(&r->churn->ios_ended, 1);
    if (atomic_load(&r->churn->stop)) {
        r->task.run = region_ended;
        loop_post(r->churn->home, &r->task);
        return;
    }
    region_next(r);
}

static void region_next(struct region *r)
{
    static const enum store_op mix[] = {
        STORE_WRITE, STORE_READ, STORE_WRITE,        STORE_READ,
        STORE_FLUSH, STORE_READ, STORE_WRITE_ZEROES, STORE_DISCARD};
    enum store_op op = mix[next_random(r) % ARRAY_LEN(mix)];
    size_t cut = next_random(r) % 4096;
    enum err e;

    if (op == STORE_DISCARD && !(r->store->caps & STORE_CAN_DISCARD))
        op = STORE_WRITE;
    if (op == STORE_WRITE)
        pattern_fill(r->memory, REGION_BYTES, ++r->generation, r->off);
    r->iov[0] = (struct iovec){r->memory, cut};
    r->iov[1] = (struct iovec){r->memory + cut, 1};
    r->iov[2] = (struct iovec){r->memory + cut + 1, REGION_BYTES - cut - 1};
    r->io = (struct store_io){.op = op,
                              .flags = next_random(r) % 4 ? 0 : STORE_FUA,
                              .off_bytes = r->off,
                              .len_bytes = REGION_BYTES,
                              .iov = r->iov,
                              .iov_count = 3,
                              .done = region_done};
    r->submitted_ns = clock_now_ns(clock_system());
    e = store_submit(r->store, &r->io);
    if (e)
        die("submit", e, NULL);
}

static void region_start(struct task *t)
{
    region_next(container_of(t, struct region, task));
}

void churn_start(struct churn *churn, struct loop *const *loops, unsigned count,
                 unsigned depth)
{
    churn->home = loop_self();
    churn->count = churn->running = count * depth;
    churn->regions = calloc(churn->count, sizeof *churn->regions);
    for (unsigned i = 0; i < churn->count; i++) {
        struct region *r = &churn->regions[i];

        *r = (struct region){.task.run = region_start,
                             .churn = churn,
                             .store = lun_store(churn->lun),
                             .memory = malloc(REGION_BYTES),
                             .off = (uint64_t)i * REGION_BYTES,
                             .random = i + 1,
                             .generation = (uint64_t)i << 32};
        loop_post(loops[i % count], &r->task);
    }
}

void churn_finish(struct churn *churn)
{
    atomic_store(&churn->stop, true);
    loop_run_until(loop_self(), &churn->all_ended);
    for (unsigned i = 0; i < churn->count; i++) {
        const struct region *r = &churn->regions[i];

        churn->ios += r->ios;
        churn->failed += r->failed;
        churn->bad += r->bad;
        churn->longest_ns = max_u64(churn->longest_ns, r->longest_ns);
        free(r->memory);
    }
    free(churn->regions);
}
