/* fs/client_range.h - who is busy where in a file.
 * A data structure: no I/O, no locks (the file's mutex is the caller's).
 *
 *            READ  WRITE MODIFY FREE
 *   READ      +     +      +     -     READ    direct read
 *   WRITE     +     +      -     -     WRITE   whole LUN blocks
 *   MODIFY    +     -      -     -     MODIFY  parts of a block: read, write
 *   FREE      -     -      -     -     FREE    blocks go away: drained first
 *
 * Grants are in order of asking among those that conflict.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_CLIENT_RANGE_H
#define LUNAR_FS_CLIENT_RANGE_H

#include "fs/fs.h"

enum range_mode { RANGE_READ, RANGE_WRITE, RANGE_MODIFY, RANGE_FREE };

struct range_locks {
    struct list held, waiting;
    unsigned strict; /* MODIFY or FREE among the held */
};

void range_locks_init(struct range_locks *locks);

/* True: it is held.  False: it waits and range_unlock() will tell. */
MUST_CHECK bool range_lock(struct range_locks *locks, struct fs_range *range);
/* Appends to `granted` what is held from now on. */
void range_unlock(struct range_locks *locks, struct fs_range *range,
                  struct list *granted);

#endif
