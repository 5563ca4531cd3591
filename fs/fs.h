/* fs - a volume: a file system of many hosts on one shared LUN.
 *
 *   FUSE, VHD ──> client ── direct I/O under layouts ─────────────┐
 *                   │ fs_call (call.h, proto.x)                   │
 *                   ▼                                             ▼
 *   coord.c ── one metadata thread: batches, group commit    struct store:
 *     meta_*.c  what each operation does to the tables          the LUN
 *     space.c   free space, pending_free, metadata chunks         ▲
 *     db.c ──> SQLite ──> vfs.c  CRC per page, one flush/commit ──┘
 *   super.c   superblock and its copies      node.c   node blocks: the epoch
 *   format.c  a fresh volume                 check.c  is it sound; repair
 *
 * Start reading at coord.c, coord_batch().  On-disk format: docs/format.md;
 * invariants I1…: docs/invariants.md.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_FS_H
#define LUNAR_FS_FS_H

#include "base/clock.h"
#include "base/store.h"
#include "fs/call.h"

enum {
    FS_BLOCK_BYTES = 4096,
    FS_VOLUME_NAME_MAX = 63,  /* bytes; a directory under /ClusterStorage */
    FS_CLUSTER_NAME_MAX = 63, /* bytes */
    FS_HOST_NAME_MAX = 63,    /* bytes; what node blocks say of a host */
    FS_NODES_MAX = 64         /* node numbers are 1 … 64 */
};
#define FS_LUN_BYTES_MIN (UINT64_C(64) << 20) /* room for all the fixtures */

/* == the volume on the LUN: format, probe, check ========================== */

struct fs_format_args {
    const char *name; /* 1 … FS_VOLUME_NAME_MAX bytes, no '/', no control */
    const char *cluster; /* NULL: none */
    bool force;          /* write over a volume that is there */
    bool discard;        /* discard the data area first, if the LUN can */
    struct clock *clock; /* NULL: the system's */
};

/* Make an empty volume.
 * Errors: E_INVAL (name), E_LUN_SMALL, E_IS_VOLUME (without force), E_ALIGN
 * (LUN blocks above 4 KiB), or the LUN's own.
 * Context: a thread with a loop (store_*_sync); blocks. */
MUST_CHECK enum err fs_format(struct store *lun,
                              const struct fs_format_args *args,
                              struct diag *why);

/* What the superblock says. */
struct fs_super_info {
    char name[FS_VOLUME_NAME_MAX + 1];
    char cluster[FS_CLUSTER_NAME_MAX + 1];
    uint8_t uuid[16];
    uint64_t size_bytes; /* of the LUN that the volume uses */
    uint64_t epoch;
};

/* Is there a volume, and which?  Reads the superblock copies only.
 * Errors: E_NOT_VOLUME, E_VERSION (incompatible feature), E_LUN_SMALL (LUN
 * shorter than the volume), E_CORRUPT, or the LUN's own.
 * Context: a thread with a loop; blocks. */
MUST_CHECK enum err fs_super_probe(struct store *lun,
                                   struct fs_super_info *ret_info,
                                   struct diag *why);

struct fs_check_args {
    bool repair; /* mend what can be mended without losing data */
    /* One finding, one line; mended tells whether it was put right. */
    void (*report)(void *arg, const char *text, bool mended);
    void *arg;
};
struct fs_check_result {
    uint64_t found, mended;
    uint64_t inodes, files, dirs, extents;
    uint64_t used_blocks, free_blocks;
};

/* Verify a volume that nobody uses.  E_OK says that the check ran to its end;
 * ret_result->found - ret_result->mended says what is wrong.
 * Errors: as fs_super_probe(); E_CORRUPT if there is nothing to go by.
 * Context: a thread with a loop; blocks. */
MUST_CHECK enum err fs_check(struct store *lun,
                             const struct fs_check_args *args,
                             struct fs_check_result *ret_result,
                             struct diag *why);

/* Gather database and WAL into PATH and PATH-wal, which sqlite3 can read.
 * Works on damaged volumes as long as one superblock copy is valid.
 * Errors: as fs_super_probe(); E_IO … of the file.
 * Context: a thread with a loop; blocks. */
MUST_CHECK enum err fs_metadata_export(struct store *lun, const char *path,
                                       struct diag *why);

/* == the coordinator: the one who reads and writes the metadata =========== */

struct fs_coord;

struct fs_coord_args {
    uint32_t node;        /* 1 … FS_NODES_MAX */
    const char *host;     /* its name, for node blocks and messages */
    uint64_t incarnation; /* of this run; never used before by this node */
    /* The caller keeps every other host out (file lock, O_EXCL, reservation):
     * claims that others have not released count as fenced.  Without it such
     * a claim is E_LUN_BUSY. */
    bool sole;
    bool discard;        /* tell the LUN what is free */
    struct clock *clock; /* NULL: the system's */
};

/* Claim the volume (I4), recover it, and serve: starts the metadata thread.
 * Ownership: the LUN stays the caller's and outlives the coordinator.
 * Errors: as fs_super_probe(); E_LUN_BUSY, E_CHECKSUM, E_CORRUPT, E_NOMEM.
 * Context: any thread that may block; needs no loop. */
MUST_CHECK enum err fs_coord_start(struct store *lun,
                                   const struct fs_coord_args *args,
                                   struct diag *why,
                                   struct fs_coord **ret_coord);

/* Where to send calls: from any loop, until fs_coord_stop().  Every call that
 * was sent is answered. */
struct fs_link *fs_coord_link(struct fs_coord *coord);

/* Answer what was sent, reclaim, checkpoint, release the claim; NULL is fine.
 * No client sends any more.  Context: any thread that may block. */
void fs_coord_stop(struct fs_coord *coord);

struct fs_coord_info {
    struct fs_super_info super;
    uint64_t size_blocks, free_blocks, available_blocks;
    uint64_t inodes, opens, calls, commits;
    bool offline;       /* a metadata write failed: nobody is answered */
    struct diag reason; /* why it is offline */
};
/* A recent snapshot.  Any thread; does not block. */
void fs_coord_info(struct fs_coord *coord, struct fs_coord_info *ret_info);

/* Take into use what the LUN has grown by (lun->size_bytes says).
 * Errors: E_INVAL (it did not grow), E_VOL_OFFLINE, or the LUN's own.
 * Context: any thread that may block. */
MUST_CHECK enum err fs_coord_grow(struct fs_coord *coord, struct diag *why);

/* fs_check() of a live volume: reads a snapshot beside the running writer,
 * repairs nothing.  Context: a thread with a loop; blocks. */
MUST_CHECK enum err fs_coord_check(struct fs_coord *coord,
                                   const struct fs_check_args *args,
                                   struct fs_check_result *ret_result,
                                   struct diag *why);

/* == the client: files, layouts, FUSE ===================================== */

#endif
