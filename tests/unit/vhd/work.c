/* tests/unit/vhd/work.c - random work on a disk, and what may be there later.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vhd/work.h"

#include <string.h>

enum { LANES = 4, PARENT_SEED = 7777, NOW = NEVER - 1 };

/* -- the work -------------------------------------------------------------- */

static void op_done(struct store_io *io, enum err e)
{
    struct op *op = container_of(io, struct op, io);
    struct work *w = op->work;
    size_t now = w->record ? store_record_count(w->record) : 0;

    op->done = true;
    op->result = e;
    if (e)
        return;
    if (op->io.flags & STORE_FUA || op->kind == STORE_RESIZE)
        op->durable_from = now;
    if (op->kind != STORE_FLUSH)
        return;
    for (size_t i = 0; i < op->covers; i++)
        if (w->ops[i].durable_from == NEVER && !w->ops[i].result)
            w->ops[i].durable_from = now;
}

static void op_start(struct work *w, enum store_op kind, uint64_t off,
                     uint64_t len, uint32_t flags)
{
    struct op *op = &w->ops[w->count];
    enum err e;

    ASSERT(w->count < OPS_MAX);
    *op = (struct op){.work = w,
                      .kind = kind,
                      .off = off,
                      .len = len,
                      .durable_from = NEVER,
                      .covers = w->round_start};
    if (kind == STORE_WRITE) {
        op->buf = malloc(len);
        pattern_fill(op->buf, len, w->count, off);
    }
    op->iov = (struct iovec){op->buf, len};
    op->io = (struct store_io){.op = kind,
                               .flags = flags,
                               .off_bytes = off,
                               .len_bytes = len,
                               .iov = op->buf ? &op->iov : NULL,
                               .iov_count = op->buf ? 1 : 0,
                               .done = op_done};
    w->count++;
    e = store_submit(vhd_store(w->vhd), &op->io);
    CU_ASSERT_FALSE(op->done);
    if (e)
        op_done(&op->io, e);
}

static void random_op(struct work *w, uint64_t lane)
{
    static const enum store_op kinds[] = {STORE_WRITE,        STORE_WRITE,
                                          STORE_WRITE,        STORE_WRITE,
                                          STORE_WRITE_ZEROES, STORE_DISCARD};
    uint64_t size = vhd_store(w->vhd)->size_bytes;
    uint64_t width = align_down(size / LANES, SECTOR);
    uint64_t len = (1 + dice_roll(&w->dice, 2 * BLOCK / SECTOR)) * SECTOR;
    uint64_t off =
        lane * width + dice_roll(&w->dice, (width - len) / SECTOR + 1) * SECTOR;
    uint32_t fua = dice_roll(&w->dice, 6) ? 0 : STORE_FUA;

    if (dice_roll(&w->dice, 6) == 0)
        op_start(w, STORE_FLUSH, 0, 0, 0);
    else
        op_start(w, kinds[dice_roll(&w->dice, ARRAY_LEN(kinds))], off, len,
                 fua);
}

void work_do(struct work *w, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        for (uint64_t lane = 0; lane < LANES; lane++)
            random_op(w, lane);
        if (round == rounds / 3 || round == rounds * 2 / 3)
            op_start(w, STORE_RESIZE, vhd_store(w->vhd)->size_bytes + GROWTH, 0,
                     0);
        for (size_t i = w->round_start; i < w->count; i++)
            world_run_until(&w->d.world, &w->ops[i].done);
        w->round_start = w->count;
    }
}

/* -- what may be there ----------------------------------------------------- */

static bool sector_is(const uint8_t *sector, uint64_t seed, uint64_t off)
{
    return pattern_check(sector, SECTOR, seed, off) == SECTOR;
}

static bool sector_is_zero(const uint8_t *sector)
{
    static const uint8_t zeros[SECTOR];

    return !memcmp(sector, zeros, SECTOR);
}

static bool sector_is_initial(const struct work *w, const uint8_t *sector,
                              uint64_t off)
{
    if (w->type == VHD_DIFFERENCING && off < SIZE && off / BLOCK % 2 == 0)
        return sector_is(sector, PARENT_SEED, off);
    return sector_is_zero(sector);
}

/* Does nothing older show through this op at that moment? */
static bool is_settled(const struct op *op, size_t moment)
{
    if (op->kind == STORE_DISCARD || op->result)
        return false;
    return moment == NOW || op->durable_from <= moment;
}

/* The newest op that must be seen, or any later one. */
static bool sector_may_be(const struct work *w, size_t moment,
                          const uint8_t *sector, uint64_t off)
{
    for (size_t i = w->count; i--;) {
        const struct op *op = &w->ops[i];
        bool covers = off >= op->off && off - op->off < op->len;

        if (!covers || op->kind == STORE_FLUSH || op->kind == STORE_RESIZE)
            continue;
        if (op->kind == STORE_WRITE ? sector_is(sector, i, off)
                                    : sector_is_zero(sector))
            return true;
        if (is_settled(op, moment))
            return false;
    }
    return sector_is_initial(w, sector, off);
}

static bool size_may_be(const struct work *w, size_t moment, uint64_t size)
{
    uint64_t least = SIZE;
    bool known = size == SIZE;

    for (size_t i = 0; i < w->count; i++) {
        if (w->ops[i].kind != STORE_RESIZE)
            continue;
        known |= w->ops[i].off == size;
        if (is_settled(&w->ops[i], moment))
            least = w->ops[i].off;
    }
    return known && size >= least;
}

unsigned work_wrong_after(struct work *w, size_t moment, struct store *disk)
{
    uint8_t *all = disks_read_all(disk);
    unsigned wrong = !size_may_be(w, moment, disk->size_bytes);

    for (uint64_t off = 0; off < disk->size_bytes; off += SECTOR)
        wrong += !sector_may_be(w, moment, all + off, off);
    free(all);
    return wrong;
}

unsigned work_wrong_now(struct work *w, struct store *disk)
{
    return work_wrong_after(w, NOW, disk);
}

/* -- the disk -------------------------------------------------------------- */

static void make_parent(struct work *w)
{
    struct store *file =
        disks_create(&w->d, "/parent.vhd",
                     &(struct disks_spec){VHD_DYNAMIC, SIZE, 4096, 0, NULL});
    struct vhd *vhd = disks_open(&w->d, "/parent.vhd", file);

    for (uint64_t off = 0; off < SIZE; off += 2 * BLOCK) {
        uint8_t buf[BLOCK];
        uint64_t len = min_u64(BLOCK, SIZE - off);

        pattern_fill(buf, len, PARENT_SEED, off);
        CHECK_OK(store_write_sync(vhd_store(vhd), off, buf, len));
    }
    CHECK_OK(vhd_close(vhd));
}

struct work *work_new(enum vhd_type type, uint64_t seed)
{
    struct work *w = calloc(1, sizeof *w);

    ASSERT(w);
    w->dice.state = seed;
    w->type = type;
    disks_init(&w->d);
    if (type == VHD_DIFFERENCING)
        make_parent(w);
    w->file = disks_create(
        &w->d, "/disk.vhd",
        &(struct disks_spec){type, SIZE, type == VHD_FIXED ? 0 : BLOCK,
                             SIZE + BLOCK,
                             type == VHD_DIFFERENCING ? "/parent.vhd" : NULL});
    return w;
}

void work_free(struct work *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->ops[i].buf);
    disks_fini(&w->d);
    free(w);
}
