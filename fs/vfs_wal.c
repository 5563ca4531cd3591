/* fs/vfs_wal.c - the write-ahead log: a mirror in RAM, one write per commit.
 * Reads the LUN only when the volume is opened; grows nothing.
 *
 *   xWrite    24-byte frame headers and pages land in the mirror, and widen
 *             the dirty range
 *   xSync     the dirty range, rounded to sectors, goes out as one write, then
 *             one flush.  What rounding adds is the mirror's own: frames that
 *             are there already, or bytes of no valid frame
 *
 * https://www.sqlite.org/fileformat2.html#walformat
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/vfs_priv.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

enum {
    WAL_HEADER_BYTES = 32,
    WAL_FRAME_HEADER_BYTES = 24,
    WAL_FRAME_BYTES = WAL_FRAME_HEADER_BYTES + VFS_PAGE_BYTES,
    WAL_SALT_AT = 16,      /* in the header: 8 bytes */
    WAL_FRAME_SALT_AT = 8, /* in a frame's header */
    WAL_LOAD_BYTES = 1 << 20
};

/* How much of mirror[0, loaded) is frames of this log: they repeat the salts
 * of its header.  SQLite compares the checksums itself. */
static uint64_t wal_frames_end(const struct vfs *v, uint64_t loaded)
{
    uint64_t at = WAL_HEADER_BYTES;

    while (range_ok(at, WAL_FRAME_BYTES, loaded) &&
           memcmp(v->wal + at + WAL_FRAME_SALT_AT, v->wal + WAL_SALT_AT, 8) ==
               0)
        at += WAL_FRAME_BYTES;
    return at;
}

static bool wal_is_blank(const struct vfs *v)
{
    static const uint8_t zero[WAL_HEADER_BYTES];

    return memcmp(v->wal, zero, sizeof zero) == 0;
}

enum err wal_load(struct vfs *v, struct diag *why)
{
    uint64_t loaded = 0, end = 0;
    enum err e;

    while (loaded < v->wal_max) {
        uint64_t piece = min_u64(WAL_LOAD_BYTES, v->wal_max - loaded);

        e = vfs_chunk_read(v, CHUNK_WAL, loaded, v->wal + loaded, piece);
        if (e)
            return diag_fail(why, e, "metadata log, byte %" PRIu64 ": %s",
                             loaded, err_text(e));
        loaded += piece;
        if (wal_is_blank(v))
            return E_OK;
        end = wal_frames_end(v, loaded);
        if (loaded - end >= WAL_FRAME_BYTES)
            break;
    }
    v->wal_bytes = end;
    return E_OK;
}

int wal_read(struct vfs *v, void *buf, uint64_t len, uint64_t off)
{
    uint64_t there = off < v->wal_bytes ? min_u64(len, v->wal_bytes - off) : 0;

    memcpy(buf, v->wal + (there ? off : 0), there);
    if (there == len)
        return SQLITE_OK;
    memset((uint8_t *)buf + there, 0, len - there);
    return SQLITE_IOERR_SHORT_READ;
}

/* Write the dirty range to the LUN, without a flush. */
static int wal_write_out(struct vfs *v)
{
    uint64_t from = align_down(v->dirty_from, v->sector_bytes);
    uint64_t to = align_up(v->dirty_to, v->sector_bytes);
    enum err e;

    if (v->dirty_from == v->dirty_to)
        return SQLITE_OK;
    if (v->failure)
        return SQLITE_IOERR_WRITE;
    to = min_u64(to, v->wal_max);
    e = vfs_chunk_write(v, CHUNK_WAL, from, v->wal + from, to - from);
    if (e) {
        vfs_fail(v, e);
        return SQLITE_IOERR_WRITE;
    }
    v->dirty_from = v->dirty_to = 0;
    return SQLITE_OK;
}

int wal_write(struct vfs *v, const void *buf, uint64_t len, uint64_t off)
{
    int rc;

    if (!range_ok(off, len, v->wal_max))
        return SQLITE_FULL;
    if (v->dirty_from != v->dirty_to &&
        (off > v->dirty_to || off + len < v->dirty_from)) {
        rc = wal_write_out(v); /* a log that starts over */
        if (rc)
            return rc;
    }
    memcpy(v->wal + off, buf, len);
    if (v->dirty_from == v->dirty_to)
        v->dirty_from = v->dirty_to = off;
    v->dirty_from = min_u64(v->dirty_from, off);
    v->dirty_to = max_u64(v->dirty_to, off + len);
    v->wal_bytes = max_u64(v->wal_bytes, off + len);
    return SQLITE_OK;
}

int wal_sync(struct vfs *v)
{
    int rc = wal_write_out(v);
    enum err e;

    if (rc)
        return rc;
    if (v->failure)
        return SQLITE_IOERR_FSYNC;
    e = store_flush_sync(v->lun);
    if (e) {
        vfs_fail(v, e);
        return SQLITE_IOERR_FSYNC;
    }
    return SQLITE_OK;
}

int wal_truncate(struct vfs *v, uint64_t size_bytes)
{
    v->wal_bytes = min_u64(v->wal_bytes, size_bytes);
    if (size_bytes)
        return SQLITE_OK;
    /* Its size is nowhere on the LUN: a blank header means empty. */
    v->dirty_from = 0;
    v->dirty_to = WAL_HEADER_BYTES;
    memset(v->wal, 0, v->sector_bytes);
    return wal_sync(v);
}
