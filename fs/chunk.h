/* fs/chunk.h - metadata chunks: how the database gets more of the LUN.
 * A chunk is owned in a transaction, while another is spare; then entered in
 * the superblock; then used.  SQLite itself never allocates (vfs.c).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_CHUNK_H
#define LUNAR_FS_CHUNK_H

#include "fs/meta.h"

struct chunk_world {
    struct store *lun;
    struct super *super;
    struct vfs *vfs;
    struct db *db;
};

/* After a crash: chunks that only the database knows are entered in the
 * superblock; one that only the superblock knows is damage.
 * Errors: E_CORRUPT, or the LUN's. */
MUST_CHECK enum err chunk_reconcile(const struct chunk_world *w,
                                    struct diag *why);

/* Pages that the database can still take. */
MUST_CHECK enum err chunk_pages_left(const struct chunk_world *w,
                                     uint64_t *ret_pages);

enum { CHUNK_PAGES_LOW = 512 }; /* below this: take another chunk */

/* Take another chunk of the data area.  Outside of a transaction.
 * Errors: E_VOL_FULL without a reason: nothing was changed.  With one it is
 * the LUN's, as others are, and nothing may be written any more. */
MUST_CHECK enum err chunk_grow(const struct chunk_world *w, struct meta *m,
                               struct diag *why);

#endif
