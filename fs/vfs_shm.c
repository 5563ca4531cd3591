/* fs/vfs_shm.c - SQLite's locks and wal-index between two connections of one
 * process.  Keeps no other host out: the claim does (I4).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/vfs_priv.h"

int shm_map(sqlite3_file *f, int region, int bytes, int extend,
            void volatile **ret_at)
{
    struct vfs *v = vfs_file(f)->vfs;
    int rc = SQLITE_OK;

    *ret_at = NULL;
    if (region < 0 || region >= SHM_REGIONS_MAX)
        return SQLITE_FULL;
    pthread_mutex_lock(&v->lock);
    if (!v->shm.region[region] && extend) {
        v->shm.region[region] = calloc(1, (size_t)bytes);
        if (!v->shm.region[region])
            rc = SQLITE_NOMEM;
    }
    *ret_at = v->shm.region[region];
    pthread_mutex_unlock(&v->lock);
    return rc;
}

/* Take `mask` for one file, if nobody else's hold is in the way. */
static int shm_take(struct vfs *v, struct vfs_file *file, int first, int count,
                    bool exclusive)
{
    for (int i = first; i < first + count; i++) {
        unsigned mine = file->shm_shared >> i & 1;

        if (v->shm.lock[i].exclusive && !(file->shm_exclusive >> i & 1))
            return SQLITE_BUSY;
        if (exclusive && v->shm.lock[i].shared > mine)
            return SQLITE_BUSY;
    }
    for (int i = first; i < first + count; i++) {
        uint16_t bit = (uint16_t)(1u << i);

        if (exclusive) {
            v->shm.lock[i].exclusive = true;
            file->shm_exclusive |= bit;
        } else if (!(file->shm_shared & bit)) {
            v->shm.lock[i].shared++;
            file->shm_shared |= bit;
        }
    }
    return SQLITE_OK;
}

static void shm_drop(struct vfs *v, struct vfs_file *file, int first, int count)
{
    for (int i = first; i < first + count; i++) {
        uint16_t bit = (uint16_t)(1u << i);

        if (file->shm_exclusive & bit)
            v->shm.lock[i].exclusive = false;
        if (file->shm_shared & bit)
            v->shm.lock[i].shared--;
        file->shm_exclusive &= (uint16_t)~bit;
        file->shm_shared &= (uint16_t)~bit;
    }
}

int shm_lock(sqlite3_file *f, int first, int count, int flags)
{
    struct vfs_file *file = vfs_file(f);
    int rc = SQLITE_OK;

    ASSERT(range_ok((unsigned)first, (unsigned)count, SQLITE_SHM_NLOCK));
    pthread_mutex_lock(&file->vfs->lock);
    if (flags & SQLITE_SHM_UNLOCK)
        shm_drop(file->vfs, file, first, count);
    else
        rc = shm_take(file->vfs, file, first, count,
                      flags & SQLITE_SHM_EXCLUSIVE);
    pthread_mutex_unlock(&file->vfs->lock);
    return rc;
}

void shm_barrier(sqlite3_file *f)
{
    struct vfs *v = vfs_file(f)->vfs;

    pthread_mutex_lock(&v->lock);
    pthread_mutex_unlock(&v->lock);
}

int shm_unmap(sqlite3_file *f, int delete)
{
    (void)delete; /* the index lives as long as the vfs */
    return shm_lock(f, 0, SQLITE_SHM_NLOCK,
                    SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
}

void shm_free(struct vfs_shm *shm)
{
    for (int i = 0; i < SHM_REGIONS_MAX; i++)
        free(shm->region[i]);
}

/* -- the database file's lock: five levels, as sqlite3_io_methods says ------
 */

static int lock_raise(struct vfs *v, struct vfs_file *file, int level)
{
    bool others;

    if (v->lock_exclusive && v->lock_exclusive != file)
        return SQLITE_BUSY;
    if (level >= SQLITE_LOCK_SHARED && file->level < SQLITE_LOCK_SHARED)
        v->lock_shared++;
    if (level >= SQLITE_LOCK_RESERVED) {
        if (v->lock_reserved && v->lock_reserved != file)
            return SQLITE_BUSY;
        v->lock_reserved = file;
    }
    others = v->lock_shared > 1;
    if (level == SQLITE_LOCK_EXCLUSIVE) {
        if (others) {
            if (file->level < SQLITE_LOCK_RESERVED)
                v->lock_reserved = NULL;
            return SQLITE_BUSY;
        }
        v->lock_exclusive = file;
    }
    file->level = level;
    return SQLITE_OK;
}

int file_lock(sqlite3_file *f, int level)
{
    struct vfs_file *file = vfs_file(f);
    int rc = SQLITE_OK;

    pthread_mutex_lock(&file->vfs->lock);
    if (level > file->level)
        rc = lock_raise(file->vfs, file, level);
    pthread_mutex_unlock(&file->vfs->lock);
    return rc;
}

int file_unlock(sqlite3_file *f, int level)
{
    struct vfs_file *file = vfs_file(f);
    struct vfs *v = file->vfs;

    pthread_mutex_lock(&v->lock);
    if (level < file->level) {
        if (v->lock_exclusive == file)
            v->lock_exclusive = NULL;
        if (v->lock_reserved == file)
            v->lock_reserved = NULL;
        if (level < SQLITE_LOCK_SHARED && file->level >= SQLITE_LOCK_SHARED)
            v->lock_shared--;
        file->level = level;
    }
    pthread_mutex_unlock(&v->lock);
    return SQLITE_OK;
}

int file_reserved(sqlite3_file *f, int *ret_held)
{
    struct vfs *v = vfs_file(f)->vfs;

    pthread_mutex_lock(&v->lock);
    *ret_held = v->lock_reserved != NULL;
    pthread_mutex_unlock(&v->lock);
    return SQLITE_OK;
}
