/* fs/super.c - superblock: encode, decode, choose among the copies, save.
 * Trusts no byte of a LUN; repairs nothing (check.c does).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/super.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

static const char super_magic[8] = {'L', 'U', 'N', 'A', 'R', 'V', 'O', 'L'};

static uint32_t block_crc(const void *block)
{
    return (uint32_t)crc32(0, block, FS_BLOCK_BYTES - sizeof(le32));
}

void super_encode(const struct super *super, struct super_disk *ret_disk)
{
    struct super_disk *d = ret_disk;

    ASSERT(super->chunk_count <= SUPER_CHUNKS_MAX);
    memset(d, 0, sizeof *d);
    memcpy(d->magic, super_magic, sizeof d->magic);
    d->version = le32_make(SUPER_VERSION);
    d->block_bytes = le32_make(FS_BLOCK_BYTES);
    d->compat = le64_make(super->compat);
    d->ro_compat = le64_make(super->ro_compat);
    d->incompat = le64_make(super->incompat);
    memcpy(d->uuid, super->uuid, sizeof d->uuid);
    memcpy(d->name, super->name, sizeof super->name);
    memcpy(d->cluster, super->cluster, sizeof super->cluster);
    d->size_blocks = le64_make(super->size_blocks);
    d->epoch = le64_make(super->epoch);
    d->sequence = le64_make(super->sequence);
    d->made_ns = le64_make(super->made_ns);
    d->reserve_blocks = le64_make(super->reserve_blocks);
    d->physical_bytes = le32_make(super->physical_bytes);
    d->chunk_count = le32_make(super->chunk_count);
    for (uint32_t i = 0; i < super->chunk_count; i++)
        d->chunks[i] = (struct super_disk_chunk){
            .lun_block = le64_make(super->chunks[i].lun_block),
            .blocks = le32_make(super->chunks[i].blocks),
            .kind = le32_make(super->chunks[i].kind),
        };
    d->crc = le32_make(block_crc(d));
}

static enum err check_chunk(const struct super *super, uint32_t i,
                            struct diag *why)
{
    const struct chunk *c = &super->chunks[i];

    if (c->kind != CHUNK_DB && c->kind != CHUNK_WAL)
        return diag_fail(why, E_CORRUPT, "superblock: chunk %u has kind %d", i,
                         (int)c->kind);
    if (c->blocks == 0 || c->lun_block < CHUNK0_AT / FS_BLOCK_BYTES ||
        !range_ok(c->lun_block, c->blocks, super->size_blocks - 1))
        return diag_fail(why, E_CORRUPT,
                         "superblock: chunk %u (block %" PRIu64
                         ", %u blocks) lies outside the volume",
                         i, c->lun_block, c->blocks);
    for (uint32_t k = 0; k < i; k++)
        if (c->lun_block <
                super->chunks[k].lun_block + super->chunks[k].blocks &&
            super->chunks[k].lun_block < c->lun_block + c->blocks)
            return diag_fail(why, E_CORRUPT,
                             "superblock: chunks %u and %u overlap", k, i);
    return E_OK;
}

static enum err check_super(const struct super *super, struct diag *why)
{
    enum err e;

    if (super->name[0] == 0)
        return diag_fail(why, E_CORRUPT, "superblock: no name");
    if (super->size_blocks < FS_LUN_BYTES_MIN / FS_BLOCK_BYTES ||
        super->size_blocks > UINT64_MAX / FS_BLOCK_BYTES)
        return diag_fail(why, E_CORRUPT,
                         "superblock: size of %" PRIu64 " blocks",
                         super->size_blocks);
    if (super->reserve_blocks > super->size_blocks)
        return diag_fail(why, E_CORRUPT,
                         "superblock: reserve of %" PRIu64 " blocks",
                         super->reserve_blocks);
    for (uint32_t i = 0; i < super->chunk_count; i++) {
        e = check_chunk(super, i, why);
        if (e)
            return e;
    }
    if (!super_chunk_blocks(super, CHUNK_DB) ||
        !super_chunk_blocks(super, CHUNK_WAL))
        return diag_fail(why, E_CORRUPT, "superblock: no metadata chunk");
    return E_OK;
}

/* What must hold before any field may be believed. */
static enum err check_frame(const struct super_disk *d, struct diag *why)
{
    if (memcmp(d->magic, super_magic, sizeof d->magic) != 0)
        return diag_fail(why, E_NOT_VOLUME, "no Lunar superblock");
    if (le32_get(d->crc) != block_crc(d))
        return diag_fail(why, E_CHECKSUM,
                         "superblock: checksum 0x%08x, but 0x%08x computed",
                         le32_get(d->crc), block_crc(d));
    if (le32_get(d->version) != SUPER_VERSION)
        return diag_fail(why, E_VERSION,
                         "superblock: format version %u, this program knows %u",
                         le32_get(d->version), SUPER_VERSION);
    if (le64_get(d->incompat) || le64_get(d->ro_compat))
        return diag_fail(why, E_VERSION,
                         "superblock: features 0x%" PRIx64 "/0x%" PRIx64
                         " need a newer program",
                         le64_get(d->incompat), le64_get(d->ro_compat));
    if (le32_get(d->block_bytes) != FS_BLOCK_BYTES)
        return diag_fail(why, E_VERSION, "superblock: blocks of %u bytes",
                         le32_get(d->block_bytes));
    if (le32_get(d->chunk_count) > SUPER_CHUNKS_MAX)
        return diag_fail(why, E_CORRUPT, "superblock: %u chunks",
                         le32_get(d->chunk_count));
    return E_OK;
}

enum err super_decode(const struct super_disk *disk, struct super *ret_super,
                      struct diag *why)
{
    struct super s = {0};
    enum err e = check_frame(disk, why);

    if (e)
        return e;
    s.compat = le64_get(disk->compat);
    memcpy(s.uuid, disk->uuid, sizeof s.uuid);
    memcpy(s.name, disk->name, FS_VOLUME_NAME_MAX);
    memcpy(s.cluster, disk->cluster, FS_CLUSTER_NAME_MAX);
    s.size_blocks = le64_get(disk->size_blocks);
    s.epoch = le64_get(disk->epoch);
    s.sequence = le64_get(disk->sequence);
    s.made_ns = le64_get(disk->made_ns);
    s.reserve_blocks = le64_get(disk->reserve_blocks);
    s.physical_bytes = le32_get(disk->physical_bytes);
    s.chunk_count = le32_get(disk->chunk_count);
    for (uint32_t i = 0; i < s.chunk_count; i++)
        s.chunks[i] = (struct chunk){
            .lun_block = le64_get(disk->chunks[i].lun_block),
            .blocks = le32_get(disk->chunks[i].blocks),
            .kind = (enum chunk_kind)le32_get(disk->chunks[i].kind),
        };
    e = check_super(&s, why);
    if (e)
        return e;
    *ret_super = s;
    return E_OK;
}

uint64_t super_chunk_blocks(const struct super *super, enum chunk_kind kind)
{
    uint64_t blocks = 0;

    for (uint32_t i = 0; i < super->chunk_count; i++)
        if (super->chunks[i].kind == kind)
            blocks += super->chunks[i].blocks;
    return blocks;
}

/* -- the copies ------------------------------------------------------------ */

static bool is_newer(const struct super *a, const struct super *b)
{
    if (a->epoch != b->epoch)
        return a->epoch > b->epoch;
    return a->sequence > b->sequence;
}

struct super_search {
    struct store *lun;
    struct super *best; /* epoch and sequence 0, size 0: none yet */
    struct super_copies copies;
    struct super found[SUPER_COPIES];
    enum err worst; /* the most telling failure so far */
    struct diag why;
};

/* Read copy i where copies.at[i] says, and keep it if it is the newest. */
static void search_copy(struct super_search *s, int i)
{
    struct super_disk disk;
    struct diag why = {{0}};
    enum err e;

    if (!range_ok(s->copies.at[i], sizeof disk, s->lun->size_bytes))
        return;
    e = store_read_sync(s->lun, s->copies.at[i], &disk, sizeof disk);
    if (e) { /* a bad sector: what the other copies are for */
        s->worst = diag_fail(&s->why, e, "superblock at byte %" PRIu64 ": %s",
                             s->copies.at[i], err_text(e));
        return;
    }
    e = super_decode(&disk, &s->found[i], &why);
    if (e) {
        if (s->worst == E_OK || s->worst == E_NOT_VOLUME) {
            s->worst = e;
            diag_fail(&s->why, e, "byte %" PRIu64 ": %s", s->copies.at[i],
                      why.text);
        }
        return;
    }
    s->copies.valid[i] = true;
    if (!s->best->size_blocks || is_newer(&s->found[i], s->best))
        *s->best = s->found[i];
}

static void search_copies(struct super_search *s)
{
    uint64_t blocks = s->lun->size_bytes / FS_BLOCK_BYTES;

    s->copies.at[0] = 0;
    s->copies.at[1] = SUPER_COPY_AT;
    for (int i = 0; i < 2; i++)
        search_copy(s, i);
    /* The third ends the volume, which may be shorter than the LUN. */
    if (s->best->size_blocks)
        blocks = s->best->size_blocks;
    s->copies.at[2] = blocks ? (blocks - 1) * FS_BLOCK_BYTES : 0;
    if (s->copies.at[2] > SUPER_COPY_AT)
        search_copy(s, 2);
}

enum err super_load(struct store *lun, struct super *ret_super,
                    struct super_copies *ret_copies, struct diag *why)
{
    AUTO(freep) struct super_search *s = calloc(1, sizeof *s);
    AUTO(freep) struct super *best = calloc(1, sizeof *best);
    enum err e;

    if (!s || !best)
        return E_NOMEM;
    s->lun = lun;
    s->best = best;
    search_copies(s);
    if (!best->size_blocks) {
        e = s->worst == E_OK ? E_NOT_VOLUME : s->worst;
        return diag_fail(why, e, "%s", diag_text(&s->why, e));
    }
    if (best->size_blocks > lun->size_bytes / FS_BLOCK_BYTES)
        return diag_fail(why, E_LUN_SMALL,
                         "the LUN has %" PRIu64 " bytes, but volume \"%s\" "
                         "needs %" PRIu64 ": the LUN was truncated, or this "
                         "is only a part of it",
                         lun->size_bytes, best->name,
                         best->size_blocks * FS_BLOCK_BYTES);
    for (int i = 0; i < SUPER_COPIES; i++)
        s->copies.current[i] = s->copies.valid[i] &&
                               s->found[i].epoch == best->epoch &&
                               s->found[i].sequence == best->sequence;
    if (ret_copies)
        *ret_copies = s->copies;
    *ret_super = *best;
    return E_OK;
}

/* -- the copies, read and written by others -------------------------------- */

void fs_super_places(uint64_t size_bytes, uint64_t ret_at[FS_SUPER_COPIES])
{
    ret_at[0] = 0;
    ret_at[1] = SUPER_COPY_AT;
    ret_at[2] = align_down(size_bytes, FS_BLOCK_BYTES) - FS_BLOCK_BYTES;
}

static enum err newest(const void *const copies[FS_SUPER_COPIES],
                       const uint8_t uuid[16], struct super *ret_super,
                       struct diag *why)
{
    enum err worst = diag_fail(why, E_NOT_VOLUME, "no copy of a superblock");
    bool found = false;
    struct super super;

    for (int i = 0; i < FS_SUPER_COPIES; i++) {
        struct diag inner = {{0}};
        enum err e =
            copies[i] ? super_decode(copies[i], &super, &inner) : E_NOT_VOLUME;

        if (!e && memcmp(super.uuid, uuid, sizeof super.uuid) != 0)
            continue; /* of a volume that was here before */
        if (e && e != E_NOT_VOLUME && worst == E_NOT_VOLUME)
            worst = diag_fail(why, e, "%s", inner.text);
        if (e || (found && !is_newer(&super, ret_super)))
            continue;
        *ret_super = super;
        found = true;
    }
    return found ? E_OK : worst;
}

enum err fs_super_newest(const void *const copies[FS_SUPER_COPIES],
                         const uint8_t uuid[16], struct fs_super_info *ret_info,
                         struct diag *why)
{
    struct super super;
    enum err e = newest(copies, uuid, &super, why);

    if (!e)
        super_info(&super, ret_info);
    return e;
}

enum err fs_super_next(const void *const copies[FS_SUPER_COPIES],
                       const uint8_t uuid[16], uint64_t epoch, void *ret_block,
                       struct diag *why)
{
    struct super super;
    enum err e = newest(copies, uuid, &super, why);

    if (e)
        return e;
    super.epoch = epoch;
    super.sequence++;
    super_encode(&super, ret_block);
    return E_OK;
}

enum err super_save(struct store *lun, struct super *super, struct diag *why)
{
    uint64_t at[SUPER_COPIES];
    struct super_disk disk;
    enum err e;

    fs_super_places(super->size_blocks * FS_BLOCK_BYTES, at);
    super->sequence++;
    super_encode(super, &disk);
    /* Copy by copy: a torn write costs one, and the others still agree. */
    for (int i = 0; i < SUPER_COPIES; i++) {
        e = store_write_sync(lun, at[i], &disk, sizeof disk);
        if (!e)
            e = store_flush_sync(lun);
        if (e)
            return diag_fail(why, e, "superblock at byte %" PRIu64 ": %s",
                             at[i], err_text(e));
    }
    return E_OK;
}

enum { ZERO_PIECE_BYTES = 1 << 20 };

static enum err zero_by_writing(struct store *lun, uint64_t off_bytes,
                                uint64_t len_bytes)
{
    AUTO(freep) uint8_t *zero = calloc(1, ZERO_PIECE_BYTES);

    if (!zero)
        return E_NOMEM;
    for (uint64_t done = 0; done < len_bytes; done += ZERO_PIECE_BYTES) {
        enum err e =
            store_write_sync(lun, off_bytes + done, zero,
                             min_u64(ZERO_PIECE_BYTES, len_bytes - done));

        if (e)
            return e;
    }
    return E_OK;
}

enum err lun_zero(struct store *lun, uint64_t off_bytes, uint64_t len_bytes)
{
    enum err e =
        store_range_sync(lun, STORE_WRITE_ZEROES, off_bytes, len_bytes);

    return e == E_UNSUPPORTED ? zero_by_writing(lun, off_bytes, len_bytes) : e;
}

enum err fs_super_probe(struct store *lun, struct fs_super_info *ret_info,
                        struct diag *why)
{
    struct super s;
    enum err e = super_load(lun, &s, NULL, why);

    if (e)
        return e;
    super_info(&s, ret_info);
    return E_OK;
}

void super_info(const struct super *super, struct fs_super_info *ret_info)
{
    *ret_info = (struct fs_super_info){
        .size_bytes = super->size_blocks * FS_BLOCK_BYTES,
        .epoch = super->epoch,
    };
    memcpy(ret_info->name, super->name, sizeof ret_info->name);
    memcpy(ret_info->cluster, super->cluster, sizeof ret_info->cluster);
    memcpy(ret_info->uuid, super->uuid, sizeof ret_info->uuid);
}
