/* fs/export.c - copy the database of a volume into a file for sqlite3.
 * Believes nothing but a superblock: made for volumes that do not open.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 20 };

struct target {
    const char *path;
    int fd;
};

static void target_close(struct target *t)
{
    if (t->fd >= 0)
        close(t->fd);
}

static enum err write_all(const struct target *t, const uint8_t *bytes,
                          uint64_t len, uint64_t off, struct diag *why)
{
    while (len) {
        ssize_t n = pwrite(t->fd, bytes, len, (off_t)off);

        if (n < 0)
            return diag_fail(why, err_from_errno(errno), "%s: %s", t->path,
                             strerror(errno));
        bytes += n;
        off += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return E_OK;
}

/* Copy the first `bytes` of a chunk file. */
static enum err copy(struct store *lun, const struct super *super,
                     enum chunk_kind kind, uint64_t bytes,
                     const struct target *to, struct diag *why)
{
    AUTO(freep) uint8_t *piece = malloc(PIECE_BYTES);
    uint64_t off = 0;

    if (!piece)
        return E_NOMEM;
    while (off < bytes) {
        uint64_t at, run = chunk_map(super, kind, off, &at);
        enum err e;

        run = min_u64(min_u64(run, bytes - off), PIECE_BYTES);
        e = store_read_sync(lun, at, piece, run);
        if (e)
            return diag_fail(why, e, "LUN byte %" PRIu64 ": %s", at,
                             err_text(e));
        e = write_all(to, piece, run, off, why);
        if (e)
            return e;
        off += run;
    }
    return E_OK;
}

/* What page 1 says, if that can be. */
static enum err database_bytes(struct store *lun, const struct super *super,
                               uint64_t *ret_bytes)
{
    enum { PAGE_COUNT_AT = 28 };
    uint64_t max = super_chunk_blocks(super, CHUNK_DB) * FS_BLOCK_BYTES, at;
    uint8_t page[VFS_PAGE_BYTES];
    enum err e;

    chunk_map(super, CHUNK_DB, 0, &at);
    e = store_read_sync(lun, at, page, sizeof page);
    if (e)
        return e;
    *ret_bytes = (uint64_t)be32_load(page + PAGE_COUNT_AT) * VFS_PAGE_BYTES;
    if (!*ret_bytes || *ret_bytes > max)
        *ret_bytes = max;
    return E_OK;
}

static enum err wal_bytes(struct store *lun, const struct super *super,
                          uint64_t *ret_bytes)
{
    uint8_t block[FS_BLOCK_BYTES];
    uint64_t at;
    enum err e;

    chunk_map(super, CHUNK_WAL, 0, &at);
    e = store_read_sync(lun, at, block, sizeof block);
    if (e)
        return e;
    *ret_bytes = be32_load(block) == 0
                     ? 0
                     : super_chunk_blocks(super, CHUNK_WAL) * FS_BLOCK_BYTES;
    return E_OK;
}

static enum err export_file(struct store *lun, const struct super *super,
                            enum chunk_kind kind, const char *path,
                            struct diag *why)
{
    AUTO(target_close) struct target to = {.path = path, .fd = -1};
    uint64_t bytes;
    enum err e = kind == CHUNK_DB ? database_bytes(lun, super, &bytes)
                                  : wal_bytes(lun, super, &bytes);

    if (e)
        return diag_fail(why, e, "metadata: %s", err_text(e));
    to.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to.fd < 0)
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    return copy(lun, super, kind, bytes, &to, why);
}

enum err fs_metadata_export(struct store *lun, const char *path,
                            struct diag *why)
{
    AUTO(freep) char *wal = NULL;
    struct super super;
    enum err e = super_load(lun, &super, NULL, why);

    if (e)
        return e;
    if (asprintf(&wal, "%s-wal", path) < 0) {
        wal = NULL;
        return E_NOMEM;
    }
    /* The log first: an old one beside a new database would be replayed. */
    e = export_file(lun, &super, CHUNK_WAL, wal, why);
    return e ? e : export_file(lun, &super, CHUNK_DB, path, why);
}
