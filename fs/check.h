/* fs/check.h - the parts of a check share this.
 *   check.c        superblock copies, the database as such, the order of things
 *   check_names.c  inodes, entries, link counts, orphans, what hangs on inodes
 *   check_space.c  extents, chunks, free and pending space: each block once
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_CHECK_H
#define LUNAR_FS_CHECK_H

#include "fs/db.h"

struct check {
    const struct fs_check_args *args;
    struct fs_check_result *result;
    struct super super;
    struct db *db;
};

/* Report a finding; `mended` says that it was put right. */
void check_found(struct check *c, bool mended, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* A statement of the check's own, prepared for its one use. */
MUST_CHECK enum err check_prepare(struct check *c, const char *sql,
                                  sqlite3_stmt **ret_stmt);
/* Step; E_NODATA at the end.  Any end finalizes the statement. */
MUST_CHECK enum err check_step(struct check *c, sqlite3_stmt **stmt);
void check_end(sqlite3_stmt **stmt);
/* Run a statement that gives no rows. */
MUST_CHECK enum err check_exec(struct check *c, const char *sql);

/* All of it, in one transaction. */
MUST_CHECK enum err check_database(struct check *c);
MUST_CHECK enum err check_names(struct check *c);
MUST_CHECK enum err check_space(struct check *c);

#endif
