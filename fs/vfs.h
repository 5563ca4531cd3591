/* fs/vfs.h - SQLite's files on a LUN: the database and its WAL, no others.
 *
 *   database  pages in the DB chunks.  Each carries, in its last eight bytes,
 *             the CRC-32 of its number and content: set on a copy when it is
 *             written, compared when it is read.
 *   WAL       mirrored in RAM: appends gather there and reach the LUN as one
 *             aligned write and one flush per commit; reads never touch the
 *             LUN, so there is nothing to check them against.
 *   wal-index heap memory: other hosts are kept out by the claim (I4).
 *
 * Never allocates space on the LUN: beyond its chunks a file is full.  After a
 * failed write or flush every later one fails too (F14: nothing is known).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_VFS_H
#define LUNAR_FS_VFS_H

#include "fs/super.h"

enum {
    VFS_PAGE_BYTES = 4096,
    VFS_RESERVED_BYTES = 8 /* of a page, at its end: le32 CRC, le32 zero */
};

struct vfs;

/* Make the chunks of `super` SQLite's files "db" and "db-wal".  Reads the
 * frames that are in the WAL.
 * Ownership: the LUN outlives the vfs; super is copied.
 * Context: a thread with a loop; blocks.  So do all of SQLite's calls. */
MUST_CHECK enum err vfs_new(struct store *lun, const struct super *super,
                            struct diag *why, struct vfs **ret_vfs);
void vfs_free(struct vfs *v); /* no file is open; NULL is fine */

/* The name to give to sqlite3_open_v2(). */
const char *vfs_name(const struct vfs *v);

/* The superblock has more chunks now (it only ever grows). */
void vfs_set_chunks(struct vfs *v, const struct super *super);

uint64_t vfs_db_pages_max(struct vfs *v); /* what the chunks hold */
uint64_t vfs_wal_bytes_max(struct vfs *v);
uint64_t vfs_wal_bytes(struct vfs *v); /* in use */

/* The first failed write or flush; E_OK while there was none. */
enum err vfs_failure(struct vfs *v);
/* The page whose checksum did not match last; 0 if none did. */
uint64_t vfs_bad_page(struct vfs *v);

/* Set and compare the checksum of a database page (1 is the first). */
void vfs_page_seal(uint8_t page[VFS_PAGE_BYTES], uint64_t number);
bool vfs_page_sound(const uint8_t page[VFS_PAGE_BYTES], uint64_t number);

/* Where byte `off` of a chunk file is on the LUN, and how many bytes follow
 * there in one piece; 0 beyond the last chunk. */
uint64_t chunk_map(const struct super *super, enum chunk_kind kind,
                   uint64_t off_bytes, uint64_t *ret_lun_bytes);

#endif
