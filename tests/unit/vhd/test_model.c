/* tests/unit/vhd/test_model.c - random work on a disk against a flat array.
 * Many ios at a time, into the same blocks, finished in random order; closed
 * or abandoned and opened again in between; grown.  Seeded, so it repeats.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/vhd/disks.h"

#include <string.h>

enum {
    SECTOR = VHD_SECTOR_BYTES,
    BLOCK = 16 << 10,
    SIZE = 60 * BLOCK - 3 * SECTOR,
    GROWN_MAX = 200 * BLOCK,
    AT_ONCE = 12,
    LANE = 4 * BLOCK, /* the ios of a round start in lanes of their own … */
    LEN_MAX = 3 * BLOCK,
    ROUNDS = 150
};

struct model {
    struct disks d;
    struct dice dice;
    const char *path;
    struct store *file, *shuffled;
    struct vhd *vhd;
    uint8_t *bytes; /* what the guest must see; GROWN_MAX */
    uint64_t writes;
};

static void model_open(struct model *m)
{
    m->shuffled = shuffle_new(m->file, dice_roll(&m->dice, UINT32_MAX));
    m->vhd = disks_open(&m->d, m->path, m->shuffled);
}

static void model_reopen(struct model *m)
{
    /* What is not flushed may be lost when a disk is abandoned. */
    if (dice_roll(&m->dice, 2)) {
        CHECK_OK(store_flush_sync(vhd_store(m->vhd)));
        vhd_abandon(m->vhd);
    } else {
        CHECK_OK(vhd_close(m->vhd));
    }
    store_close(m->shuffled);
    disks_check_clean(m->file);
    model_open(m);
}

static void model_grow(struct model *m)
{
    struct store *disk = vhd_store(m->vhd);
    uint64_t more = dice_roll(&m->dice, 20 * BLOCK / SECTOR) * SECTOR;

    if (disk->size_bytes + more > GROWN_MAX)
        return;
    CHECK_OK(store_range_sync(disk, STORE_RESIZE, disk->size_bytes + more, 0));
}

struct op {
    struct test_io t;
    uint8_t *buf;
};

static enum store_op random_op(struct model *m)
{
    static const enum store_op ops[] = {
        STORE_READ,  STORE_READ,    STORE_WRITE,        STORE_WRITE,
        STORE_WRITE, STORE_DISCARD, STORE_WRITE_ZEROES, STORE_FLUSH};

    return ops[dice_roll(&m->dice, ARRAY_LEN(ops))];
}

/* Start an io inside of lane `lane`. */
static void op_start(struct model *m, struct op *op, uint64_t lane)
{
    struct store *disk = vhd_store(m->vhd);
    enum store_op kind = random_op(m);
    uint64_t len = (1 + dice_roll(&m->dice, LEN_MAX / SECTOR)) * SECTOR;
    uint64_t off =
        lane * LANE + dice_roll(&m->dice, (LANE - len) / SECTOR + 1) * SECTOR;
    uint32_t fua = dice_roll(&m->dice, 5) ? 0 : STORE_FUA;

    op->buf = NULL;
    if (off >= disk->size_bytes)
        kind = STORE_FLUSH;
    len = kind == STORE_FLUSH ? 0 : min_u64(len, disk->size_bytes - off);
    if (kind == STORE_READ || kind == STORE_WRITE)
        op->buf = malloc(len);
    if (kind == STORE_WRITE)
        pattern_fill(op->buf, len, ++m->writes, off);
    CHECK_OK_FATAL(test_io_submit(&op->t, disk, kind, off, op->buf, len, fua));
    CU_ASSERT_FALSE(op->t.done);
}

/* A discarded range: zeros, or as it was (a child whose parent shows). */
static void settle_discard(struct model *m, const struct store_io *io)
{
    uint8_t now[SECTOR];
    static const uint8_t zeros[SECTOR];

    for (uint64_t at = io->off_bytes; at < io->off_bytes + io->len_bytes;
         at += SECTOR) {
        CHECK_OK(store_read_sync(vhd_store(m->vhd), at, now, SECTOR));
        if (memcmp(now, m->bytes + at, SECTOR))
            CHECK_MEM(now, zeros, SECTOR);
        memcpy(m->bytes + at, now, SECTOR);
    }
}

static void op_finish(struct model *m, struct op *op)
{
    const struct store_io *io = &op->t.io;
    uint8_t *model = m->bytes + io->off_bytes;

    CHECK_EQ(op->t.done_count, 1);
    CHECK_OK(op->t.result);
    if (io->op == STORE_READ)
        CHECK_MEM(op->buf, model, io->len_bytes);
    if (io->op == STORE_WRITE)
        memcpy(model, op->buf, io->len_bytes);
    if (io->op == STORE_WRITE_ZEROES)
        memset(model, 0, io->len_bytes);
    free(op->buf);
}

static void model_round(struct model *m)
{
    struct op ops[AT_ONCE];
    uint64_t first_lane = dice_roll(&m->dice, 4);

    for (size_t i = 0; i < AT_ONCE; i++)
        op_start(m, &ops[i], first_lane + i);
    for (size_t i = 0; i < AT_ONCE; i++)
        world_run_until(&m->d.world, &ops[i].t.done);
    for (size_t i = 0; i < AT_ONCE; i++)
        op_finish(m, &ops[i]);
    for (size_t i = 0; i < AT_ONCE; i++)
        if (ops[i].t.io.op == STORE_DISCARD)
            settle_discard(m, &ops[i].t.io);
}

static void model_compare(struct model *m)
{
    struct store *disk = vhd_store(m->vhd);
    uint8_t *all = disks_read_all(disk);

    CHECK_MEM(all, m->bytes, disk->size_bytes);
    free(all);
}

/* A parent with something in every third block, some of it zeros. */
static void make_parent(struct model *m)
{
    struct vhd *vhd;

    m->file =
        disks_create(&m->d, "/parent.vhd",
                     &(struct disks_spec){VHD_DYNAMIC, SIZE, BLOCK, 0, NULL});
    vhd = disks_open(&m->d, "/parent.vhd", m->file);
    for (uint64_t off = 0; off + BLOCK < SIZE; off += 3 * BLOCK) {
        pattern_fill(m->bytes + off, 9 * SECTOR, 77, off);
        CHECK_OK(
            store_write_sync(vhd_store(vhd), off, m->bytes + off, 9 * SECTOR));
    }
    CHECK_OK(vhd_close(vhd));
}

static void run_model(enum vhd_type type, uint64_t seed)
{
    struct model m = {.path = "/disk.vhd", .dice = {seed}};

    disks_init(&m.d);
    m.bytes = calloc(1, GROWN_MAX);
    if (type == VHD_DIFFERENCING)
        make_parent(&m);
    m.file = disks_create(
        &m.d, m.path,
        &(struct disks_spec){type, SIZE, type == VHD_FIXED ? 0 : BLOCK,
                             SIZE + 5 * BLOCK,
                             type == VHD_DIFFERENCING ? "/parent.vhd" : NULL});
    model_open(&m);
    for (int i = 0; i < ROUNDS; i++) {
        model_round(&m);
        if (dice_roll(&m.dice, 12) == 0)
            model_reopen(&m);
        if (dice_roll(&m.dice, 30) == 0)
            model_grow(&m);
        if (dice_roll(&m.dice, 10) == 0)
            model_compare(&m);
    }
    model_compare(&m);
    model_reopen(&m);
    model_compare(&m);
    CHECK_OK(vhd_close(m.vhd));
    store_close(m.shuffled);
    free(m.bytes);
    disks_fini(&m.d);
}

enum { SEEDS = 6 };

static void fixed_disk_does_what_a_flat_array_does(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_model(VHD_FIXED, seed);
}

static void dynamic_disk_does_what_a_flat_array_does(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_model(VHD_DYNAMIC, seed);
}

static void differencing_disk_does_what_a_flat_array_does(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_model(VHD_DIFFERENCING, seed);
}

static const struct test tests[] = {
    TEST(fixed_disk_does_what_a_flat_array_does),
    TEST(dynamic_disk_does_what_a_flat_array_does),
    TEST(differencing_disk_does_what_a_flat_array_does),
};
TEST_SUITE("vhd/model", tests);
