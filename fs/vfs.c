/* fs/vfs.c - sqlite3_vfs and the database file: pages with checksums.
 * The WAL is vfs_wal.c's, locks and the wal-index are vfs_shm.c's.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/vfs_priv.h"

#include "base/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>

/* -- page checksums -------------------------------------------------------- */

enum { PAGE_SUMMED_BYTES = VFS_PAGE_BYTES - VFS_RESERVED_BYTES };

static uint32_t page_crc(const uint8_t *page, uint64_t number)
{
    le64 n = le64_make(number);

    return (uint32_t)crc32(crc32(0, (const Bytef *)&n, sizeof n), page,
                           PAGE_SUMMED_BYTES);
}

void vfs_page_seal(uint8_t page[VFS_PAGE_BYTES], uint64_t number)
{
    le32_store(page + PAGE_SUMMED_BYTES, page_crc(page, number));
    le32_store(page + PAGE_SUMMED_BYTES + 4, 0);
}

bool vfs_page_sound(const uint8_t page[VFS_PAGE_BYTES], uint64_t number)
{
    return le32_load(page + PAGE_SUMMED_BYTES) == page_crc(page, number) &&
           le32_load(page + PAGE_SUMMED_BYTES + 4) == 0;
}

/* -- chunk files ----------------------------------------------------------- */

uint64_t chunk_map(const struct super *super, enum chunk_kind kind,
                   uint64_t off_bytes, uint64_t *ret_lun_bytes)
{
    for (uint32_t i = 0; i < super->chunk_count; i++) {
        const struct chunk *c = &super->chunks[i];
        uint64_t bytes = (uint64_t)c->blocks * FS_BLOCK_BYTES;

        if (c->kind != kind)
            continue;
        if (off_bytes < bytes) {
            *ret_lun_bytes = c->lun_block * FS_BLOCK_BYTES + off_bytes;
            return bytes - off_bytes;
        }
        off_bytes -= bytes;
    }
    return 0;
}

enum err vfs_chunk_read(struct vfs *v, enum chunk_kind kind, uint64_t off_bytes,
                        void *buf, uint64_t len_bytes)
{
    uint8_t *to = buf;

    while (len_bytes) {
        uint64_t at, run = chunk_map(&v->super, kind, off_bytes, &at);
        enum err e;

        run = min_u64(run, len_bytes);
        if (!run)
            return E_RANGE;
        e = store_read_sync(v->lun, at, to, run);
        if (e)
            return e;
        to += run;
        off_bytes += run;
        len_bytes -= run;
    }
    return E_OK;
}

enum err vfs_chunk_write(struct vfs *v, enum chunk_kind kind,
                         uint64_t off_bytes, const void *buf,
                         uint64_t len_bytes)
{
    const uint8_t *from = buf;

    while (len_bytes) {
        uint64_t at, run = chunk_map(&v->super, kind, off_bytes, &at);
        enum err e;

        run = min_u64(run, len_bytes);
        if (!run)
            return E_RANGE;
        e = store_write_sync(v->lun, at, from, run);
        if (e)
            return e;
        from += run;
        off_bytes += run;
        len_bytes -= run;
    }
    return E_OK;
}

enum err vfs_fail(struct vfs *v, enum err e)
{
    if (!v->failure)
        v->failure = e;
    return e;
}

/* -- runs: pages gathered into large writes, a few in flight --------------- */

static void run_done(struct store_io *io, enum err e)
{
    struct vfs_run *r = container_of(io, struct vfs_run, io);

    if (e)
        vfs_fail(r->vfs, e);
    r->pages = 0;
    r->idle = true;
}

static void run_submit(struct vfs_run *r)
{
    uint64_t bytes = (uint64_t)r->pages * VFS_PAGE_BYTES;
    enum err e;

    r->iov = (struct iovec){r->data, bytes};
    r->io = (struct store_io){
        .op = STORE_WRITE,
        .off_bytes = r->lun_bytes,
        .len_bytes = bytes,
        .iov = &r->iov,
        .iov_count = 1,
        .done = run_done,
    };
    r->idle = false;
    e = store_submit(r->vfs->lun, &r->io);
    if (e)
        run_done(&r->io, e);
}

static void run_wait(struct vfs_run *r)
{
    loop_run_until(loop_self(), &r->idle);
}

/* Everything gathered is written (not flushed). */
static void runs_drain(struct vfs *v)
{
    if (v->run[v->run_at].pages && v->run[v->run_at].idle)
        run_submit(&v->run[v->run_at]);
    for (int i = 0; i < RUNS; i++)
        run_wait(&v->run[i]);
}

static void runs_add(struct vfs *v, uint64_t lun_bytes, const void *page,
                     uint64_t number)
{
    struct vfs_run *r = &v->run[v->run_at];
    uint8_t *slot;

    if (r->pages &&
        (r->pages == RUN_PAGES ||
         lun_bytes != r->lun_bytes + (uint64_t)r->pages * VFS_PAGE_BYTES)) {
        run_submit(r);
        v->run_at = (v->run_at + 1) % RUNS;
        r = &v->run[v->run_at];
    }
    run_wait(r);
    if (!r->pages)
        r->lun_bytes = lun_bytes;
    slot = r->data + (size_t)r->pages * VFS_PAGE_BYTES;
    memcpy(slot, page, VFS_PAGE_BYTES);
    vfs_page_seal(slot, number);
    r->pages++;
}

/* -- the database file ----------------------------------------------------- */

/* The size is what page 1 says; a blank region has none. */
static enum err db_load_size(struct vfs *v, struct diag *why)
{
    static const char magic[16] = "SQLite format 3";
    /* https://sqlite.org/fileformat2.html */
    enum { PAGE_BYTES_AT = 16, RESERVED_AT = 20, PAGE_COUNT_AT = 28 };
    uint8_t page[VFS_PAGE_BYTES];
    enum err e = vfs_chunk_read(v, CHUNK_DB, 0, page, sizeof page);

    if (e)
        return diag_fail(why, e, "metadata page 1: %s", err_text(e));
    if (memcmp(page, magic, sizeof magic) != 0)
        return E_OK;
    if (be16_load(page + PAGE_BYTES_AT) != VFS_PAGE_BYTES ||
        page[RESERVED_AT] != VFS_RESERVED_BYTES)
        return diag_fail(why, E_CORRUPT,
                         "metadata page 1: says pages of %u bytes with %u "
                         "reserved, not %d with %d",
                         be16_load(page + PAGE_BYTES_AT), page[RESERVED_AT],
                         VFS_PAGE_BYTES, VFS_RESERVED_BYTES);
    v->db_bytes = (uint64_t)be32_load(page + PAGE_COUNT_AT) * VFS_PAGE_BYTES;
    if (v->db_bytes > vfs_db_pages_max(v) * VFS_PAGE_BYTES)
        return diag_fail(why, E_CORRUPT,
                         "metadata page 1: %" PRIu64
                         " bytes of database, but its chunks hold %" PRIu64,
                         v->db_bytes, vfs_db_pages_max(v) * VFS_PAGE_BYTES);
    return E_OK;
}

static bool is_zero_page(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, VFS_PAGE_BYTES - 1) == 0;
}

/* A whole page is checked.  SQLite also reads pieces of page 1's header before
 * it knows the page size; those it reads again as part of the page. */
static int db_read(struct vfs *v, void *buf, uint64_t len, uint64_t off)
{
    uint8_t page[VFS_PAGE_BYTES];
    uint64_t in_page = off % VFS_PAGE_BYTES, number = off / VFS_PAGE_BYTES + 1;
    uint64_t at = 0;
    bool there;

    if (!range_ok(in_page, len, VFS_PAGE_BYTES))
        return SQLITE_CORRUPT; /* the file says that its pages are larger */
    pthread_mutex_lock(&v->lock);
    there = range_ok(off, len, v->db_bytes) &&
            chunk_map(&v->super, CHUNK_DB, off - in_page, &at);
    pthread_mutex_unlock(&v->lock);
    if (!there) {
        memset(buf, 0, len);
        return SQLITE_IOERR_SHORT_READ;
    }
    if (store_read_sync(v->lun, at, page, sizeof page))
        return SQLITE_IOERR_READ;
    if (len == VFS_PAGE_BYTES && !vfs_page_sound(page, number) &&
        !is_zero_page(page)) {
        pthread_mutex_lock(&v->lock);
        v->bad_page = number;
        pthread_mutex_unlock(&v->lock);
        return SQLITE_IOERR_DATA;
    }
    memcpy(buf, page + in_page, len);
    return SQLITE_OK;
}

static int db_write(struct vfs *v, const void *buf, uint64_t len, uint64_t off)
{
    uint64_t at;

    if (v->failure)
        return SQLITE_IOERR_WRITE;
    if (len != VFS_PAGE_BYTES || !is_aligned(off, VFS_PAGE_BYTES)) {
        vfs_fail(v, E_CORRUPT); /* the log says that pages are smaller */
        return SQLITE_IOERR_WRITE;
    }
    if (!chunk_map(&v->super, CHUNK_DB, off, &at))
        return SQLITE_FULL;
    runs_add(v, at, buf, off / VFS_PAGE_BYTES + 1);
    pthread_mutex_lock(&v->lock);
    v->db_bytes = max_u64(v->db_bytes, off + len);
    pthread_mutex_unlock(&v->lock);
    return v->failure ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int db_sync(struct vfs *v)
{
    enum err e;

    runs_drain(v);
    if (v->failure)
        return SQLITE_IOERR_FSYNC;
    e = store_flush_sync(v->lun);
    if (e)
        vfs_fail(v, e);
    return e ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

/* -- sqlite3_io_methods ---------------------------------------------------- */

static int file_close(sqlite3_file *f)
{
    file_unlock(f, SQLITE_LOCK_NONE);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *f, void *buf, int len, sqlite3_int64 off)
{
    struct vfs *v = vfs_file(f)->vfs;
    int rc;

    if (!vfs_file(f)->is_wal)
        return db_read(v, buf, (uint64_t)len, (uint64_t)off);
    pthread_mutex_lock(&v->lock);
    rc = wal_read(v, buf, (uint64_t)len, (uint64_t)off);
    pthread_mutex_unlock(&v->lock);
    return rc;
}

static int file_write(sqlite3_file *f, const void *buf, int len,
                      sqlite3_int64 off)
{
    struct vfs *v = vfs_file(f)->vfs;
    int rc;

    if (!vfs_file(f)->is_wal)
        return db_write(v, buf, (uint64_t)len, (uint64_t)off);
    pthread_mutex_lock(&v->lock);
    rc = wal_write(v, buf, (uint64_t)len, (uint64_t)off);
    pthread_mutex_unlock(&v->lock);
    return rc;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct vfs *v = vfs_file(f)->vfs;
    int rc = SQLITE_OK;

    pthread_mutex_lock(&v->lock);
    if (vfs_file(f)->is_wal)
        rc = wal_truncate(v, (uint64_t)size);
    else
        v->db_bytes = min_u64(v->db_bytes, (uint64_t)size);
    pthread_mutex_unlock(&v->lock);
    return rc;
}

static int file_sync(sqlite3_file *f, int flags)
{
    struct vfs *v = vfs_file(f)->vfs;
    int rc;

    (void)flags;
    if (!vfs_file(f)->is_wal)
        return db_sync(v);
    pthread_mutex_lock(&v->lock);
    rc = wal_sync(v);
    pthread_mutex_unlock(&v->lock);
    return rc;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret_size)
{
    struct vfs *v = vfs_file(f)->vfs;

    pthread_mutex_lock(&v->lock);
    *ret_size =
        (sqlite3_int64)(vfs_file(f)->is_wal ? v->wal_bytes : v->db_bytes);
    pthread_mutex_unlock(&v->lock);
    return SQLITE_OK;
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    (void)f;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *f)
{
    return (int)vfs_file(f)->vfs->sector_bytes;
}

/* None: a torn sector is possible, and appends are not atomic (F15). */
static int file_traits(sqlite3_file *f)
{
    (void)f;
    return 0;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_traits,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

/* -- sqlite3_vfs ----------------------------------------------------------- */

static struct vfs *vfs_of(sqlite3_vfs *base)
{
    return base->pAppData;
}

static bool is_wal_name(const char *name)
{
    return strcmp(name, "db-wal") == 0;
}

static int vfs_open(sqlite3_vfs *base, const char *name, sqlite3_file *f,
                    int flags, int *ret_flags)
{
    f->pMethods = NULL;
    if (!name || (strcmp(name, "db") != 0 && !is_wal_name(name)))
        return SQLITE_CANTOPEN;
    *vfs_file(f) = (struct vfs_file){
        .base = {&file_methods},
        .vfs = vfs_of(base),
        .is_wal = is_wal_name(name),
    };
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *base, const char *name, int sync_dir)
{
    struct vfs *v = vfs_of(base);
    int rc = SQLITE_OK;

    (void)sync_dir;
    if (!is_wal_name(name))
        return SQLITE_IOERR_DELETE_NOENT;
    pthread_mutex_lock(&v->lock);
    rc = wal_truncate(v, 0);
    pthread_mutex_unlock(&v->lock);
    return rc;
}

static int vfs_access(sqlite3_vfs *base, const char *name, int flags,
                      int *ret_there)
{
    struct vfs *v = vfs_of(base);

    (void)flags;
    pthread_mutex_lock(&v->lock);
    *ret_there = is_wal_name(name)         ? v->wal_bytes > 0
                 : strcmp(name, "db") == 0 ? v->db_bytes > 0
                                           : 0;
    pthread_mutex_unlock(&v->lock);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *base, const char *name, int len,
                         char *ret_path)
{
    (void)base;
    snprintf(ret_path, (size_t)len, "%s", name);
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *base, int len, char *ret_text)
{
    (void)base;
    (void)len;
    (void)ret_text;
    return 0;
}

/* Time and random numbers are the operating system's. */
static void vfs_methods(struct vfs *v)
{
    const sqlite3_vfs *os = sqlite3_vfs_find(NULL);

    v->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct vfs_file),
        .mxPathname = 64,
        .zName = v->name,
        .pAppData = v,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = os->xRandomness,
        .xSleep = os->xSleep,
        .xCurrentTime = os->xCurrentTime,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = os->xCurrentTimeInt64,
    };
}

static enum err vfs_setup(struct vfs *v, struct diag *why)
{
    enum err e;

    for (int i = 0; i < RUNS; i++) {
        v->run[i].vfs = v;
        v->run[i].idle = true;
        v->run[i].data = malloc(RUN_PAGES * VFS_PAGE_BYTES);
        if (!v->run[i].data)
            return E_NOMEM;
    }
    v->wal_max = super_chunk_blocks(&v->super, CHUNK_WAL) * FS_BLOCK_BYTES;
    v->wal = mmap(NULL, v->wal_max, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (v->wal == MAP_FAILED) {
        v->wal = NULL;
        return E_NOMEM;
    }
    e = wal_load(v, why);
    if (e)
        return e;
    return db_load_size(v, why);
}

static void vfs_freep(struct vfs **v)
{
    vfs_free(*v);
}

enum err vfs_new(struct store *lun, const struct super *super, struct diag *why,
                 struct vfs **ret_vfs)
{
    AUTO(vfs_freep) struct vfs *v = calloc(1, sizeof *v);
    enum err e;

    if (!v)
        return E_NOMEM;
    pthread_mutex_init(&v->lock, NULL);
    v->lun = lun;
    v->super = *super;
    v->sector_bytes =
        (uint32_t)min_u64(max_u64(lun->physical_bytes, 512), FS_BLOCK_BYTES);
    snprintf(v->name, sizeof v->name, "lunar-%p", (void *)v);
    e = vfs_setup(v, why);
    if (e)
        return e;
    vfs_methods(v);
    if (sqlite3_vfs_register(&v->base, 0) != SQLITE_OK)
        return E_NOMEM;
    *ret_vfs = TAKE(v);
    return E_OK;
}

void vfs_free(struct vfs *v)
{
    if (!v)
        return;
    if (v->base.zName)
        sqlite3_vfs_unregister(&v->base);
    for (int i = 0; i < RUNS; i++)
        free(v->run[i].data);
    if (v->wal)
        munmap(v->wal, v->wal_max);
    shm_free(&v->shm);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

const char *vfs_name(const struct vfs *v)
{
    return v->name;
}

void vfs_set_chunks(struct vfs *v, const struct super *super)
{
    pthread_mutex_lock(&v->lock);
    v->super = *super;
    pthread_mutex_unlock(&v->lock);
}

uint64_t vfs_db_pages_max(struct vfs *v)
{
    return super_chunk_blocks(&v->super, CHUNK_DB);
}

uint64_t vfs_wal_bytes_max(struct vfs *v)
{
    return v->wal_max;
}

uint64_t vfs_wal_bytes(struct vfs *v)
{
    uint64_t bytes;

    pthread_mutex_lock(&v->lock);
    bytes = v->wal_bytes;
    pthread_mutex_unlock(&v->lock);
    return bytes;
}

enum err vfs_failure(struct vfs *v)
{
    return v->failure;
}

uint64_t vfs_bad_page(struct vfs *v)
{
    uint64_t page;

    pthread_mutex_lock(&v->lock);
    page = v->bad_page;
    pthread_mutex_unlock(&v->lock);
    return page;
}
