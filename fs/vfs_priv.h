/* fs/vfs_priv.h - what the three files of the VFS share.
 * Only vfs.c, vfs_wal.c and vfs_shm.c include it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_VFS_PRIV_H
#define LUNAR_FS_VFS_PRIV_H

#include "fs/vfs.h"

#include <pthread.h>
#include <sqlite3.h>

/* Pages on their way to the LUN: checkpoints write hundreds, in order. */
enum { RUN_PAGES = 64, RUNS = 4 };
struct vfs_run {
    struct vfs *vfs;
    uint64_t lun_bytes; /* where it starts */
    uint32_t pages;
    bool idle;
    struct iovec iov;
    struct store_io io;
    uint8_t *data;
};

enum { SHM_REGIONS_MAX = 64 }; /* of 32 KiB: 64 × 4096 frames of WAL */

struct vfs_shm {
    void *region[SHM_REGIONS_MAX];
    struct {
        unsigned shared;
        bool exclusive;
    } lock[SQLITE_SHM_NLOCK];
};

struct vfs {
    sqlite3_vfs base;
    char name[32];
    struct store *lun;
    _Atomic(enum err) failure; /* any thread */
    struct super super;        /* for its chunk table */
    uint32_t sector_bytes;
    /* Two connections may be open: the writer's, and a live check's on a
     * thread of its own.  lock: all below. */
    pthread_mutex_t lock;
    uint64_t bad_page;
    uint64_t db_bytes;
    uint8_t *wal; /* the mirror, wal_max bytes */
    uint64_t wal_max, wal_bytes;
    uint64_t dirty_from, dirty_to; /* of the mirror; empty if equal */
    struct vfs_shm shm;
    unsigned lock_shared;
    struct vfs_file *lock_reserved, *lock_exclusive;
    /* The writer's thread only. */
    struct vfs_run run[RUNS];
    unsigned run_at; /* the one that is gathering */
};

struct vfs_file {
    sqlite3_file base;
    struct vfs *vfs;
    bool is_wal;
    int level; /* SQLITE_LOCK_* */
    uint16_t shm_shared, shm_exclusive;
};

static inline struct vfs_file *vfs_file(sqlite3_file *f)
{
    return (struct vfs_file *)(void *)f;
}

/* Read or write a range of a chunk file, piece by piece. */
MUST_CHECK enum err vfs_chunk_read(struct vfs *v, enum chunk_kind kind,
                                   uint64_t off_bytes, void *buf,
                                   uint64_t len_bytes);
MUST_CHECK enum err vfs_chunk_write(struct vfs *v, enum chunk_kind kind,
                                    uint64_t off_bytes, const void *buf,
                                    uint64_t len_bytes);
/* Remember the first failure; returns e. */
enum err vfs_fail(struct vfs *v, enum err e);

/* vfs_wal.c.  Called with the lock held. */
MUST_CHECK enum err wal_load(struct vfs *v, struct diag *why);
int wal_read(struct vfs *v, void *buf, uint64_t len, uint64_t off);
int wal_write(struct vfs *v, const void *buf, uint64_t len, uint64_t off);
int wal_truncate(struct vfs *v, uint64_t size_bytes);
int wal_sync(struct vfs *v);

/* vfs_shm.c. */
int shm_map(sqlite3_file *f, int region, int bytes, int extend,
            void volatile **ret_at);
int shm_lock(sqlite3_file *f, int first, int count, int flags);
void shm_barrier(sqlite3_file *f);
int shm_unmap(sqlite3_file *f, int delete);
void shm_free(struct vfs_shm *shm);
int file_lock(sqlite3_file *f, int level);
int file_unlock(sqlite3_file *f, int level);
int file_reserved(sqlite3_file *f, int *ret_held);

#endif
