/* fs/client_map.h - what a client knows about where a file's blocks are.
 * A data structure: no I/O, no locks (the file's mutex is the caller's).
 *
 * Extents in file order; what lies between them is not known.  An extent that
 * was allocated but never written carries two bits per block, so that random
 * first writes into a preallocated file of 40 GiB cost 2.5 MiB and no
 * splitting:   written   this client wrote it: it reads what was written
 *              dirty     … and the coordinator has not been told
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_CLIENT_MAP_H
#define LUNAR_FS_CLIENT_MAP_H

#include "base/err.h"
#include "fs/proto.h"

enum map_state {
    MAP_UNKNOWN, /* ask the coordinator */
    MAP_HOLE,    /* reads zeros; writing needs a layout */
    MAP_READ,    /* readable data; writing needs a layout */
    MAP_INVALID, /* ours to write; reads zeros until then (I3) */
    MAP_DATA     /* ours to read and write */
};

static inline bool map_is_readable(enum map_state state)
{
    return state != MAP_UNKNOWN;
}

static inline bool map_is_writable(enum map_state state)
{
    return state == MAP_INVALID || state == MAP_DATA;
}

enum { MAP_BLOCK_BYTES = 4096 };
/* No file is longer: its last block still has an off_t. */
#define MAP_BLOCKS_MAX ((UINT64_C(1) << 51) - 1)

struct map_extent {
    uint64_t first, count; /* blocks; a hole may reach to MAP_BLOCKS_MAX */
    uint64_t lun;          /* of DATA, READ, INVALID */
    uint64_t *bits;        /* INVALID: written, then dirty; NULL: none set */
    enum map_state state;
};

struct fs_map {
    struct map_extent *at;
    size_t count, room;
    uint64_t dirty_blocks;
};

void fs_map_fini(struct fs_map *map);

/* What is at `block`, and for how many of the next `max` blocks. */
struct map_run {
    enum map_state state;
    uint64_t lun, count;
};
struct map_run fs_map_find(const struct fs_map *map, uint64_t block,
                           uint64_t max);

/* Learn a reply to LAYOUTGET.  What is ours to write already stays as it is:
 * the coordinator does not know yet what was written to it.
 * Errors: E_PROTOCOL (out of order, outside file or LUN), E_NOMEM. */
MUST_CHECK enum err fs_map_insert(struct fs_map *map, const fs_extent *extents,
                                  size_t count, bool rw, uint64_t lun_blocks);

/* Make room for fs_map_written() of these blocks; E_NOMEM. */
MUST_CHECK enum err fs_map_prepare(struct fs_map *map, uint64_t block,
                                   uint64_t count);
/* Whole blocks that were INVALID_DATA now hold what was written. */
void fs_map_written(struct fs_map *map, uint64_t block, uint64_t count);

/* Forget a range, which may reach beyond everything, in two steps: cut, which
 * may fail (E_NOMEM), before the coordinator is asked; drop, which may not,
 * when it has agreed.  HOLE: nothing is there now; else UNKNOWN. */
MUST_CHECK enum err fs_map_cut(struct fs_map *map, uint64_t block,
                               uint64_t count);
void fs_map_drop(struct fs_map *map, uint64_t block, uint64_t count,
                 enum map_state state);
/* Forget what is not ours to write: it may have been allocated. */
void fs_map_forget(struct fs_map *map, uint64_t block, uint64_t count);

/* Take up to `max` dirty ranges from *cursor (a block) on; they count as clean
 * from now.  Returns how many; *cursor is where to go on. */
size_t fs_map_collect(struct fs_map *map, uint64_t *cursor, fs_extent *out,
                      size_t max);
/* The coordinator has them durably … or has not. */
void fs_map_committed(struct fs_map *map, const fs_extent *out, size_t count);
void fs_map_redirty(struct fs_map *map, const fs_extent *out, size_t count);

#endif
