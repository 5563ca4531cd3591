/* iscsi/lun_file_open.c - opens a file or block device, keeps others out, and
 * finds out what it is.  Does no I/O on what is in it, but for one probe read.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
    FILE_BLOCK_BYTES = 512,     /* what VHD and most guests count in */
    FILE_PHYSICAL_BYTES = 4096, /* below this a page is read and written */
    OWN_THREADS_MAX = 2
};

static enum err open_failed(struct lun_file *file, struct diag *why, int error,
                            const char *what)
{
    return diag_fail(why, err_from_errno(error), "%s: %s: %s", file->lun.name,
                     what, strerror(error));
}

/* -- who else has it ------------------------------------------------------- */

static bool same_object(const struct stat *a, const struct stat *b)
{
    if (S_ISBLK(a->st_mode))
        return S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev;
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Does process `pid` have the object open? */
static bool process_has(const char *pid, const struct stat *object)
{
    char dir_path[32], link[PATH_MAX];
    bool has = false;
    struct dirent *entry;
    struct stat st;
    DIR *dir;

    snprintf(dir_path, sizeof dir_path, "/proc/%.10s/fd", pid);
    dir = opendir(dir_path);
    if (!dir)
        return false;
    while (!has && (entry = readdir(dir))) {
        snprintf(link, sizeof link, "%s/%s", dir_path, entry->d_name);
        has = stat(link, &st) == 0 && same_object(object, &st);
    }
    closedir(dir);
    return has;
}

/* "pid 1234 (lunard)", or "" when nobody is found: the lock itself does not
 * tell, and the other may be in another container or on another host. */
static void describe_holder(const struct stat *object, char *out, size_t room)
{
    char path[32], comm[32] = "";
    struct dirent *entry;
    DIR *proc = opendir("/proc");
    FILE *f;

    out[0] = '\0';
    while (proc && !out[0] && (entry = readdir(proc))) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' ||
            strtol(entry->d_name, NULL, 10) == getpid() ||
            !process_has(entry->d_name, object))
            continue;
        snprintf(path, sizeof path, "/proc/%.10s/comm", entry->d_name);
        f = fopen(path, "re");
        if (f && fgets(comm, sizeof comm, f))
            comm[strcspn(comm, "\n")] = '\0';
        if (f)
            fclose(f);
        snprintf(out, room, "pid %.10s (%s)", entry->d_name, comm);
    }
    if (proc)
        closedir(proc);
}

static enum err in_use(struct lun_file *file, const struct stat *object,
                       struct diag *why)
{
    char holder[64];

    describe_holder(object, holder, sizeof holder);
    return diag_fail(why, E_LUN_BUSY, "%s: already in use by %s",
                     file->lun.name,
                     holder[0] ? holder
                               : "a volume or a VM here (see \"lunar status\") "
                                 "or in another container");
}

/* An OFD lock on the whole file: it goes with the last copy of the fd, also
 * after kill -9, and unlike F_SETLK not with the close of another fd. */
static enum err lock_file(struct lun_file *file, const struct lun_args *args,
                          const struct stat *object, struct diag *why)
{
    struct flock lock = {.l_type = args->read_only ? F_RDLCK : F_WRLCK};

    if (!args->exclusive || file->is_block) /* O_EXCL did it */
        return E_OK;
    if (fcntl(file->fd, F_OFD_SETLK, &lock) == 0) {
        file->lun.sole = !args->read_only;
        return E_OK;
    }
    if (errno == EAGAIN || errno == EACCES)
        return in_use(file, object, why);
    return open_failed(file, why, errno, "cannot lock");
}

/* -- opening --------------------------------------------------------------- */

static enum err create(struct lun_file *file, const char *path,
                       const struct lun_args *args, struct diag *why)
{
    if (!is_aligned(args->create_bytes, FILE_BLOCK_BYTES))
        return diag_fail(why, E_ALIGN, "%s: %llu bytes are no multiple of %u",
                         file->lun.name, (unsigned long long)args->create_bytes,
                         FILE_BLOCK_BYTES);
    file->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file->fd < 0)
        return open_failed(file, why, errno, "cannot create");
    if (ftruncate(file->fd, (off_t)args->create_bytes)) {
        int error = errno;

        unlink(path);
        return open_failed(file, why, error, "cannot set the size");
    }
    return E_OK;
}

static enum err open_existing(struct lun_file *file, const char *path,
                              const struct lun_args *args, struct diag *why)
{
    int flags = (args->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
    struct stat st;

    if (stat(path, &st))
        return open_failed(file, why, errno, "cannot open");
    /* Look before opening: to open a tape rewinds it, a FIFO waits. */
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return diag_fail(why, E_INVAL,
                         "%s: neither a regular file nor a block device",
                         file->lun.name);
    if (S_ISBLK(st.st_mode) && args->exclusive)
        flags |= O_EXCL;
    file->fd = open(path, flags);
    if (file->fd < 0 && errno == EBUSY)
        return in_use(file, &st, why);
    if (file->fd < 0)
        return open_failed(file, why, errno, "cannot open");
    return E_OK;
}

static enum err open_and_lock(struct lun_file *file, const char *path,
                              const struct lun_args *args, struct diag *why)
{
    struct stat st;
    enum err e = args->create_bytes ? create(file, path, args, why)
                                    : open_existing(file, path, args, why);

    if (e)
        return e;
    if (fstat(file->fd, &st))
        return open_failed(file, why, errno, "cannot stat");
    file->is_block = S_ISBLK(st.st_mode);
    return lock_file(file, args, &st, why);
}

/* -- geometry -------------------------------------------------------------- */

static enum err read_size(struct lun_file *file, struct diag *why,
                          uint64_t *ret_bytes)
{
    struct stat st;

    if (file->is_block) {
        if (ioctl(file->fd, BLKGETSIZE64, ret_bytes))
            return open_failed(file, why, errno, "cannot read the size");
        return E_OK;
    }
    if (fstat(file->fd, &st))
        return open_failed(file, why, errno, "cannot stat");
    *ret_bytes = (uint64_t)st.st_size;
    return E_OK;
}

static bool set_direct(struct lun_file *file, bool on)
{
    int flags = fcntl(file->fd, F_GETFL);

    flags = on ? flags | O_DIRECT : flags & ~O_DIRECT;
    file->direct = on && fcntl(file->fd, F_SETFL, flags) == 0;
    if (!on)
        ASSERT(fcntl(file->fd, F_SETFL, flags) == 0);
    return file->direct;
}

/* May this file be read in blocks of 512? */
static bool direct_takes(struct lun_file *file, size_t bytes)
{
    return pread(file->fd, file->bounce_bytes, bytes, 0) >= 0 ||
           errno != EINVAL;
}

/* What O_DIRECT wants: of offsets and lengths, and of addresses. */
static void read_direct_alignment(struct lun_file *file, uint32_t *block)
{
    uint32_t logical = direct_takes(file, FILE_BLOCK_BYTES)
                           ? FILE_BLOCK_BYTES
                           : FILE_PHYSICAL_BYTES;
    uint32_t memory = 0;
    struct statx st;

    if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 &&
        (st.stx_mask & STATX_DIOALIGN)) {
        logical = (uint32_t)max_u64(st.stx_dio_offset_align, FILE_BLOCK_BYTES);
        memory = st.stx_dio_mem_align;
    }
    *block = logical;
    file->memory_align = is_power_of_two(memory) ? memory : logical;
}

static enum err block_geometry(struct lun_file *file, struct diag *why)
{
    struct store *s = &file->lun.store;
    unsigned physical = 0;
    uint32_t aligned;
    int logical = 0;

    if (ioctl(file->fd, BLKSSZGET, &logical) ||
        ioctl(file->fd, BLKPBSZGET, &physical))
        return open_failed(file, why, errno, "cannot read the block size");
    s->block_bytes = (uint32_t)logical;
    s->physical_bytes = (uint32_t)max_u64(physical, s->block_bytes);
    if (set_direct(file, true))
        read_direct_alignment(file, &aligned);
    return E_OK;
}

/* A file whose size is odd for the file system's direct I/O (a VHD of whole
 * 512-byte sectors on 4 KiB blocks) is read and written through the cache. */
static enum err regular_geometry(struct lun_file *file, uint64_t size,
                                 struct diag *why)
{
    struct store *s = &file->lun.store;

    s->block_bytes = FILE_BLOCK_BYTES;
    s->physical_bytes = FILE_PHYSICAL_BYTES;
    if (set_direct(file, true)) {
        read_direct_alignment(file, &s->block_bytes);
        s->physical_bytes =
            (uint32_t)max_u64(s->block_bytes, FILE_PHYSICAL_BYTES);
    }
    if (!is_aligned(size, s->block_bytes) &&
        s->block_bytes > FILE_BLOCK_BYTES) {
        set_direct(file, false);
        s->block_bytes = FILE_BLOCK_BYTES;
    }
    if (!is_aligned(size, s->block_bytes))
        return diag_fail(
            why, E_ALIGN, "%s: its size of %llu bytes is not a multiple of %u",
            file->lun.name, (unsigned long long)size, s->block_bytes);
    return E_OK;
}

/* Does the file system punch holes?  Tried behind the end, where none is. */
static bool can_punch(struct lun_file *file, uint64_t size)
{
    return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     (off_t)align_up(size, FILE_PHYSICAL_BYTES),
                     FILE_PHYSICAL_BYTES) == 0;
}

/* -- identity -------------------------------------------------------------- */

/* The first line of /sys/dev/block/M:m/NAME without blanks at its ends. */
static bool read_sysfs(dev_t device, const char *name, char *out, size_t room)
{
    char path[96], line[LUN_SERIAL_BYTES] = "";
    const char *text;
    size_t bytes;
    FILE *f;

    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%s", major(device),
             minor(device), name);
    f = fopen(path, "re");
    if (!f)
        return false;
    if (!fgets(line, sizeof line, f))
        line[0] = '\0';
    fclose(f);
    text = line + strspn(line, " \t");
    bytes = strcspn(text, "\n");
    while (bytes && text[bytes - 1] == ' ')
        bytes--;
    if (!bytes)
        return false;
    snprintf(out, room, "%.*s", (int)bytes, text);
    return true;
}

static bool can_discard(dev_t device)
{
    char bytes[32];

    /* A partition's queue is its disk's. */
    return (read_sysfs(device, "queue/discard_max_bytes", bytes,
                       sizeof bytes) ||
            read_sysfs(device, "../queue/discard_max_bytes", bytes,
                       sizeof bytes)) &&
           strcmp(bytes, "0") != 0;
}

static void identify(struct lun_file *file, const struct stat *st)
{
    struct lun_identity *id = &file->lun.identity;

    snprintf(id->vendor, sizeof id->vendor, "LUNAR");
    snprintf(id->product, sizeof id->product, "%s",
             file->is_block ? "BLOCK DEVICE" : "FILE");
    snprintf(id->revision, sizeof id->revision, "1");
    snprintf(id->wwid, sizeof id->wwid, "lunar.file-%llx-%llx",
             (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
    if (file->is_block) {
        snprintf(id->wwid, sizeof id->wwid, "lunar.block-%u-%u",
                 major(st->st_rdev), minor(st->st_rdev));
        read_sysfs(st->st_rdev, "device/vendor", id->vendor, sizeof id->vendor);
        read_sysfs(st->st_rdev, "device/model", id->product,
                   sizeof id->product);
        read_sysfs(st->st_rdev, "device/rev", id->revision,
                   sizeof id->revision);
        if (!read_sysfs(st->st_rdev, "wwid", id->wwid, sizeof id->wwid))
            read_sysfs(st->st_rdev, "device/wwid", id->wwid, sizeof id->wwid);
        if (!read_sysfs(st->st_rdev, "serial", id->serial, sizeof id->serial))
            read_sysfs(st->st_rdev, "device/serial", id->serial,
                       sizeof id->serial);
    }
    if (!id->serial[0])
        snprintf(id->serial, sizeof id->serial, "%s", id->wwid);
    lun_identity_seal(id);
}

/* -- all together ---------------------------------------------------------- */

static enum err inspect(struct lun_file *file, const struct lun_args *args,
                        struct diag *why)
{
    struct store *s = &file->lun.store;
    uint64_t size;
    struct stat st;
    enum err e = read_size(file, why, &size);

    if (!e && fstat(file->fd, &st))
        e = open_failed(file, why, errno, "cannot stat");
    if (!e)
        e = file->is_block ? block_geometry(file, why)
                           : regular_geometry(file, size, why);
    if (e)
        return e;
    s->caps = STORE_VOLATILE;
    if (args->read_only)
        s->caps |= STORE_READ_ONLY;
    else if (file->is_block)
        s->caps |= can_discard(st.st_rdev) ? STORE_CAN_DISCARD : 0;
    else
        s->caps |=
            STORE_CAN_RESIZE |
            (can_punch(file, size) ? STORE_CAN_DISCARD | STORE_DISCARD_ZEROES
                                   : 0);
    store_size_set(s, size);
    identify(file, &st);
    return E_OK;
}

static enum err make_bounces(struct lun_file *file)
{
    pthread_mutex_init(&file->bounce_mutex, NULL);
    list_init(&file->bounce_free);
    list_init(&file->bounce_waits);
    file->bounce_bytes =
        mmap(NULL, (size_t)BOUNCES * BOUNCE_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (file->bounce_bytes == MAP_FAILED)
        return E_NOMEM;
    for (size_t i = 0; i < BOUNCES; i++) {
        file->bounces[i].bytes = file->bounce_bytes + i * BOUNCE_BYTES;
        list_push_back(&file->bounce_free, &file->bounces[i].link);
    }
    return E_OK;
}

static void lun_file_close(struct lun *lun)
{
    struct lun_file *file = lun_file_of(lun);

    workers_stop(file->own_workers);
    if (file->bounce_bytes != MAP_FAILED)
        munmap(file->bounce_bytes, (size_t)BOUNCES * BOUNCE_BYTES);
    pthread_mutex_destroy(&file->bounce_mutex);
    if (file->fd >= 0)
        close(file->fd);
    lun_fini(lun);
    free(file);
}

static void lun_file_closep(struct lun_file **file)
{
    if (*file)
        lun_file_close(&(*file)->lun);
}

static enum err lun_file_rescan(struct lun *lun, struct diag *why)
{
    uint64_t size;
    enum err e = read_size(lun_file_of(lun), why, &size);

    return e ? e : lun_resized(lun, size, why);
}

static const struct lun_ops lun_file_ops = {
    .rescan = lun_file_rescan,
    .close = lun_file_close,
};

/* The reactor that hands the work over copies too, so a core is left to it
 * (docs/performance.md). */
static unsigned own_threads(void)
{
    long others = sysconf(_SC_NPROCESSORS_ONLN) - 1;

    return others < OWN_THREADS_MAX ? 1 : OWN_THREADS_MAX;
}

static enum err find_workers(struct lun_file *file, const struct lun_args *args)
{
    file->workers = args->workers;
    if (file->workers)
        return E_OK;
    if (workers_start(&(struct workers_args){.name = "lun-file",
                                             .threads = own_threads()},
                      &file->own_workers))
        return E_AGAIN;
    file->workers = file->own_workers;
    return E_OK;
}

enum err lun_file_open(const struct lun_url *url, const struct lun_args *args,
                       struct diag *why, struct lun **ret_lun)
{
    AUTO(lun_file_closep) struct lun_file *file = calloc(1, sizeof *file);
    enum err e;

    if (!file)
        return E_NOMEM;
    file->fd = -1;
    e = make_bounces(file);
    if (!e)
        e = lun_init(&file->lun, &lun_file_ops, url);
    if (!e)
        e = find_workers(file, args);
    if (!e)
        e = open_and_lock(file, url->path, args, why);
    if (!e)
        e = inspect(file, args, why);
    if (e)
        return e;
    file->lun.store.ops = &lun_file_store_ops;
    *ret_lun = &TAKE(file)->lun;
    return E_OK;
}
