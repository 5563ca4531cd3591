/* fs/format.c - make an empty volume on a LUN.
 * Asks nobody: what is on the LUN is gone, unless a volume is there and `force`
 * is not.
 *
 *   zero what could be taken for metadata, flush   (a stale WAL beside a fresh
 *                                                   database is replayed: M7)
 *   make the database in chunk 0, close it
 *   write the superblock                           (now it is a volume)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/db.h"
#include "fs/meta.h"

#include "base/jsontext.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static uint64_t clamp(uint64_t n, uint64_t low, uint64_t high)
{
    return max_u64(low, min_u64(n, high));
}

static enum err check_name(const char *what, const char *name, size_t max,
                           struct diag *why)
{
    size_t len = strlen(name);

    if (len == 0 || len > max)
        return diag_fail(why, E_INVAL, "%s \"%.80s\": must have 1 to %zu bytes",
                         what, name, max);
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return diag_fail(why, E_INVAL, "%s \"%s\" is reserved", what, name);
    for (size_t i = 0; i < len; i++)
        if (name[i] == '/' || (unsigned char)name[i] < ' ' || name[i] == 127)
            return diag_fail(why, E_INVAL,
                             "%s \"%s\": '/' and control characters are not "
                             "allowed",
                             what, name);
    if (!json_text_is_utf8(name))
        return diag_fail(why, E_INVAL, "%s \"%s\": is not UTF-8", what, name);
    return E_OK;
}

enum err fs_volume_name_check(const char *name, struct diag *why)
{
    return check_name("volume name", name, FS_VOLUME_NAME_MAX, why);
}

static enum err check_lun(struct store *lun, struct diag *why)
{
    if (lun->size_bytes < FS_LUN_BYTES_MIN)
        return diag_fail(why, E_LUN_SMALL,
                         "the LUN has %" PRIu64 " bytes, but a volume needs at "
                         "least %" PRIu64 " (64 MiB)",
                         lun->size_bytes, (uint64_t)FS_LUN_BYTES_MIN);
    if (lun->block_bytes > FS_BLOCK_BYTES)
        return diag_fail(why, E_ALIGN,
                         "the LUN has blocks of %u bytes; at most %d are "
                         "supported",
                         lun->block_bytes, FS_BLOCK_BYTES);
    if (lun->caps & STORE_READ_ONLY)
        return diag_fail(why, E_READ_ONLY, "the LUN is read-only");
    return E_OK;
}

/* Is there a volume?  Damaged ones count: somebody may still want to mend it.
 */
static enum err check_empty(struct store *lun, struct diag *why)
{
    struct super super;
    struct diag inner = {{0}};
    enum err e = super_load(lun, &super, NULL, &inner);

    if (e == E_NOT_VOLUME)
        return E_OK;
    if (!e)
        return diag_fail(why, E_IS_VOLUME,
                         "volume \"%s\" is on this LUN: --force destroys it",
                         super.name);
    if (e == E_CHECKSUM || e == E_CORRUPT || e == E_VERSION || e == E_LUN_SMALL)
        return diag_fail(why, E_IS_VOLUME,
                         "a volume is on this LUN (%s): --force destroys it",
                         diag_text(&inner, e));
    return diag_fail(why, e, "%s", diag_text(&inner, e));
}

/* -- zeroing --------------------------------------------------------------- */

/* Everything that a later open could believe: of this volume's lay-out and of
 * the volume that was here before, which may have had another size. */
static enum err zero_old(struct store *lun, const struct super *super,
                         struct diag *why)
{
    uint64_t last = (super->size_blocks - 1) * FS_BLOCK_BYTES;
    struct super old;
    enum err e = E_OK;

    if (super_load(lun, &old, NULL, NULL) == E_OK)
        e = lun_zero(lun, (old.size_blocks - 1) * FS_BLOCK_BYTES,
                     FS_BLOCK_BYTES);
    if (!e)
        e = lun_zero(lun, 0, CHUNK0_AT);
    if (!e)
        e = lun_zero(lun, last, FS_BLOCK_BYTES);
    for (uint32_t i = 0; i < super->chunk_count && !e; i++)
        e = lun_zero(lun, super->chunks[i].lun_block * FS_BLOCK_BYTES,
                     (uint64_t)super->chunks[i].blocks * FS_BLOCK_BYTES);
    if (!e)
        e = store_flush_sync(lun);
    if (e)
        return diag_fail(why, e, "zeroing old metadata: %s", err_text(e));
    return E_OK;
}

/* -- lay-out --------------------------------------------------------------- */

static void add_chunk(struct super *super, enum chunk_kind kind, uint64_t bytes)
{
    uint64_t at = CHUNK0_AT / FS_BLOCK_BYTES;

    if (super->chunk_count) {
        const struct chunk *last = &super->chunks[super->chunk_count - 1];

        at = last->lun_block + last->blocks;
    }
    super->chunks[super->chunk_count++] = (struct chunk){
        .lun_block = at,
        .blocks = (uint32_t)(bytes / FS_BLOCK_BYTES),
        .kind = kind,
    };
}

static void lay_out(struct super *super, struct store *lun,
                    const struct fs_format_args *args)
{
    struct clock *clock = args->clock ? args->clock : clock_system();
    uint64_t bytes = align_down(lun->size_bytes, FS_BLOCK_BYTES);

    *super = (struct super){
        .size_blocks = bytes / FS_BLOCK_BYTES,
        .made_ns = clock_wall_ns(clock),
        .physical_bytes = lun->physical_bytes,
        /* Enough to delete everything on a full volume. */
        .reserve_blocks =
            clamp(bytes / 100, min_u64(64 * MIB, bytes / 16), 4 * GIB) /
            FS_BLOCK_BYTES,
    };
    snprintf(super->name, sizeof super->name, "%s", args->name);
    snprintf(super->cluster, sizeof super->cluster, "%s",
             args->cluster ? args->cluster : "");
    add_chunk(super, CHUNK_DB, clamp(bytes / 16, 4 * MIB, 32 * MIB));
    add_chunk(super, CHUNK_WAL, clamp(bytes / 16, 8 * MIB, 32 * MIB));
}

/* -- first rows ------------------------------------------------------------ */

static enum err make_root(struct db *db, uint64_t now_ns)
{
    return db_run(db, SQL_INODE_NEW, DB_INT(S_IFDIR | 0755), DB_INT(2),
                  DB_INT(0), DB_INT(0), DB_INT(0), DB_INT(0), DB_INT(0),
                  DB_INT(1), DB_INT(now_ns), DB_INT(now_ns), DB_INT(now_ns),
                  DB_INT(now_ns), DB_INT(FS_INO_ROOT), DB_INT(0),
                  DB_INT(FS_INO_ROOT));
}

static enum err fill(struct db *db, const struct super *super)
{
    const struct chunk *last = &super->chunks[super->chunk_count - 1];
    uint64_t data = last->lun_block + last->blocks;
    enum err e = db_run(db, SQL_BEGIN);

    if (!e)
        e = db_run(db, SQL_VOLUME_PUT, DB_TEXT("uuid"),
                   DB_BYTES(super->uuid, sizeof super->uuid));
    if (!e)
        e = db_run(db, SQL_VOLUME_PUT, DB_TEXT("next_ino"),
                   DB_INT(FS_INO_ROOT + 1));
    if (!e)
        e = db_run(db, SQL_VOLUME_PUT, DB_TEXT("size_blocks"),
                   DB_INT(super->size_blocks));
    for (uint32_t i = 0; i < super->chunk_count && !e; i++)
        e = db_run(db, SQL_CHUNK_NEW, DB_INT(super->chunks[i].lun_block),
                   DB_INT(super->chunks[i].blocks),
                   DB_INT(super->chunks[i].kind));
    if (!e)
        e = db_run(db, SQL_FREE_PUT, DB_INT(data),
                   DB_INT(super->size_blocks - 1 - data));
    if (!e)
        e = make_root(db, super->made_ns);
    return e ? e : db_run(db, SQL_COMMIT);
}

static void vfs_freep(struct vfs **v)
{
    vfs_free(*v);
}

static enum err make_database(struct store *lun, const struct super *super,
                              struct diag *why)
{
    AUTO(vfs_freep) struct vfs *vfs = NULL;
    struct db *db;
    enum err e = vfs_new(lun, super, why, &vfs);

    if (!e)
        e = db_create(vfs, why, &db);
    if (e)
        return e;
    e = fill(db, super);
    if (!e)
        e = db_checkpoint(db, true);
    db_close(db);
    if (!e)
        e = vfs_failure(vfs);
    if (e)
        return diag_fail(why, e, "making the database: %s", err_text(e));
    return E_OK;
}

enum err fs_format(struct store *lun, const struct fs_format_args *args,
                   struct diag *why)
{
    struct super super;
    enum err e = fs_volume_name_check(args->name, why);

    if (!e && args->cluster)
        e = check_name("cluster name", args->cluster, FS_CLUSTER_NAME_MAX, why);
    if (!e)
        e = check_lun(lun, why);
    if (!e && !args->force)
        e = check_empty(lun, why);
    if (e)
        return e;
    lay_out(&super, lun, args);
    if (getrandom(super.uuid, sizeof super.uuid, 0) != sizeof super.uuid)
        return diag_fail(why, E_IO, "no random numbers for the volume's UUID");
    if (args->discard && lun->caps & STORE_CAN_DISCARD)
        /* A hint: a LUN that refuses it is as good. */
        (void)!store_range_sync(lun, STORE_DISCARD, CHUNK0_AT,
                                (super.size_blocks - 1) * FS_BLOCK_BYTES -
                                    CHUNK0_AT);
    e = zero_old(lun, &super, why);
    if (e)
        return e;
    e = make_database(lun, &super, why);
    return e ? e : super_save(lun, &super, why);
}
