/* tests/unit/fs/test_crash.c - power fails at every write of a recorded run.
 *
 * At each point what was flushed is there; of what was only written, nothing,
 * all, only the last, a random part, or all with the last write torn.  Then:
 * the check is clean without repair, the volume opens, and its tree is the one
 * after the last acknowledged operation, or after the one that was under way
 * (I1).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/volume.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum {
    OPS = 300,
    META_END = 16 << 20, /* metadata of a 64 MiB volume ends before */
    PAGE = 4096
};
#define LUN_BYTES (64 * MIB)

/* After operation i: how many writes were done, and what the tree was. */
struct ack {
    size_t entries;
    uint32_t tree;
};

struct run {
    struct volume v;
    struct store *disk, *recorder, *base;
    struct ack ack[OPS + 1];
    uint64_t random;
};

static unsigned pick(struct run *r, unsigned n)
{
    r->random = r->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(r->random >> 33) % n;
}

static struct store *copy_of(struct store *from)
{
    static const uint8_t zero[PAGE];
    uint8_t page[PAGE];
    struct store *to;

    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = LUN_BYTES}, &to));
    for (uint64_t at = 0; at < LUN_BYTES; at += PAGE) {
        if (at == META_END)
            at = LUN_BYTES - PAGE;
        store_mem_peek(from, at, page, PAGE);
        if (memcmp(page, zero, PAGE) != 0)
            store_mem_poke(to, at, page, PAGE);
    }
    return to;
}

/* The tree as a number: names, inodes, sizes, link counts. */
static uint32_t tree_of(struct volume *v, fs_ino dir)
{
    struct fs_call call;
    uint32_t sum = 0;

    fs_call_init(&call, FS_OP_READDIR);
    call.request.args.fs_args_u.readdir = (fs_readdir_args){dir, 0, 256};
    CHECK_OK(volume_call(v, &call));
    for (u_int i = 0;
         i < call.reply.result.fs_result_u.readdir.entries.entries_len; i++) {
        const fs_dirent *d =
            &call.reply.result.fs_result_u.readdir.entries.entries_val[i];
        char text[400];

        snprintf(text, sizeof text, "%llu %s %llu %o %llu %u",
                 (unsigned long long)dir, d->name, (unsigned long long)d->ino,
                 d->attr.mode, (unsigned long long)d->attr.size_bytes,
                 d->attr.nlink);
        sum = (uint32_t)crc32(sum, (const Bytef *)text, (uInt)strlen(text));
        if (S_ISDIR(d->attr.mode))
            sum ^= tree_of(v, d->ino);
    }
    fs_call_fini(&call);
    return sum;
}

/* Something that may or may not succeed; either is acknowledged. */
static void random_op(struct run *r)
{
    struct volume *v = &r->v;
    fs_attr attr;
    char a[16], b[16];

    snprintf(a, sizeof a, "n%u", pick(r, 40));
    snprintf(b, sizeof b, "n%u", pick(r, 40));
    switch (pick(r, 8)) {
    case 0:
    case 1: (void)!v_create(v, ROOT, a, S_IFREG | 0600, NULL); break;
    case 2: (void)!v_create(v, ROOT, a, S_IFDIR | 0700, NULL); break;
    case 3: (void)!v_unlink(v, ROOT, a); break;
    case 4: (void)!v_rename(v, ROOT, a, ROOT, b, 0); break;
    case 5:
        if (!v_lookup(v, ROOT, a, &attr) && S_ISREG(attr.mode))
            (void)!v_link(v, attr.ino, ROOT, b);
        break;
    case 6:
        if (!v_lookup(v, ROOT, a, &attr) && S_ISREG(attr.mode))
            (void)!v_truncate(v, attr.ino, pick(r, 100000));
        break;
    default:
        if (!v_lookup(v, ROOT, a, &attr) && S_ISREG(attr.mode) &&
            !v_open(v, attr.ino, true)) {
            (void)!v_write(v, attr.ino, 0, 1 + pick(r, 300000));
            (void)!v_close(v, attr.ino);
        }
        break;
    }
}

static void record(struct run *r)
{
    r->ack[0].tree = tree_of(&r->v, ROOT);
    r->ack[0].entries = store_record_count(r->recorder);
    for (int i = 1; i <= OPS; i++) {
        random_op(r);
        r->ack[i].tree = tree_of(&r->v, ROOT);
        r->ack[i].entries = store_record_count(r->recorder);
    }
}

/* -- crashes ----------------------------------------------------------------
 */

enum variant {
    KEEP_NONE,
    KEEP_ALL,
    KEEP_LAST, /* of what was not flushed: reordering at its worst */
    KEEP_SOME,
    TEAR_LAST,
    VARIANTS
};

static bool is_durable(struct run *r, size_t i, size_t count)
{
    const struct store_record_entry *entry = store_record_at(r->recorder, i);

    for (size_t k = i + 1; k < count; k++) {
        const struct store_record_entry *later =
            store_record_at(r->recorder, k);

        if (later->op == STORE_FLUSH && later->submit_seq > entry->done_seq)
            return true;
    }
    return false;
}

static void replay(struct run *r, struct store *onto, size_t count,
                   enum variant variant)
{
    for (size_t i = 0; i < count; i++) {
        const struct store_record_entry *x = store_record_at(r->recorder, i);
        bool keep = variant == KEEP_ALL || variant == TEAR_LAST ||
                    (variant == KEEP_SOME && pick(r, 2)) ||
                    (variant == KEEP_LAST && i == count - 1);
        uint64_t torn = 0;

        if (x->op == STORE_FLUSH)
            continue;
        if (!keep && !is_durable(r, i, count))
            continue;
        if (variant == TEAR_LAST && i == count - 1 && x->op == STORE_WRITE &&
            x->len_bytes > 512)
            torn = 512 * (1 + pick(r, (unsigned)(x->len_bytes / 512 - 1)));
        CHECK_OK(store_record_replay(r->recorder, i, onto, torn));
    }
}

/* The trees that may be there: of the last acknowledged operation, and of the
 * one after it. */
static bool tree_is_right(const struct run *r, size_t count, uint32_t tree)
{
    int acked = 0;

    while (acked < OPS && r->ack[acked + 1].entries <= count)
        acked++;
    return tree == r->ack[acked].tree ||
           (acked < OPS && tree == r->ack[acked + 1].tree);
}

/* A copy of the superblock, or the own node block, that was being written is
 * no damage: the next open writes them. */
static void count_damage(void *arg, const char *text, bool mended)
{
    (void)mended;
    if (strncmp(text, "superblock copy", 15) == 0 ||
        strncmp(text, "node block 1:", 13) == 0)
        return;
    fprintf(stderr, "check: %s\n", text);
    ++*(int *)arg;
}

static void crash_at(struct run *r, size_t count, enum variant variant)
{
    struct volume v = {.world = r->v.world, .incarnation = 100};
    struct fs_check_result result;
    int damage = 0;
    const struct fs_check_args check = {.report = count_damage, .arg = &damage};
    uint32_t tree;

    v.lun = copy_of(r->base);
    replay(r, v.lun, count, variant);
    CHECK_OK(fs_check(v.lun, &check, &result, NULL));
    CHECK_EQ(damage, 0);
    volume_start(&v);
    tree = tree_of(&v, ROOT);
    if (!tree_is_right(r, count, tree))
        fprintf(stderr, "crash after %zu writes, variant %d\n", count,
                (int)variant);
    CU_ASSERT_TRUE(tree_is_right(r, count, tree));
    volume_stop(&v);
    CHECK_EQ(check_lun(v.lun, &result), 0);
    store_close(v.lun);
}

/* How many variants a point gets: all around checkpoints and
 * superblocks; between plain commits one point in 24 gets one. */
static unsigned variants_at(struct run *r, size_t count)
{
    enum { NEAR = 3, WAL_AT = 8 << 20 };

    for (size_t i = count < NEAR ? 0 : count - NEAR; i < count + NEAR; i++) {
        const struct store_record_entry *x;

        if (i >= store_record_count(r->recorder))
            break;
        x = store_record_at(r->recorder, i);
        if (x->op == STORE_WRITE && x->off_bytes < WAL_AT)
            return VARIANTS;
    }
    return count % 24 == 0;
}

static void nothing_acknowledged_is_lost(void)
{
    struct run *r = calloc(1, sizeof *r);
    size_t last;

    volume_init(&r->v, LUN_BYTES);
    volume_stop(&r->v);
    r->random = 42;
    r->disk = r->v.lun;
    r->base = copy_of(r->disk);
    CHECK_OK_FATAL(store_record_new(r->disk, &r->recorder));
    r->v.lun = r->recorder;
    volume_start(&r->v);
    record(r);
    volume_stop(&r->v);
    last = store_record_count(r->recorder);
    for (size_t count = 0; count <= last; count++)
        for (unsigned k = 0; k < variants_at(r, count); k++)
            crash_at(r, count, (enum variant)((count + k) % VARIANTS));
    store_close(r->base);
    store_close(r->recorder);
    store_close(r->disk);
    world_fini(&r->v.world);
    free(r);
}

static const struct test tests[] = {
    TEST(nothing_acknowledged_is_lost),
};
TEST_SUITE("fs/crash", tests);
