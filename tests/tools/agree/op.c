/* tests/tools/agree/op.c - one operation, as a worker carries it out in its
 * working directory.  Decides nothing by chance: what it is given says all.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/agree/agree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PAGE = 4096, NAMES_MAX = 512 };

void fill(uint8_t *buf, size_t bytes, uint64_t stamp)
{
    for (size_t i = 0; i < bytes; i++) {
        if (i % sizeof stamp == 0)
            stamp = stamp * 6364136223846793005U + 1442695040888963407U;
        buf[i] = (uint8_t)(stamp >> (i % sizeof stamp * 8));
    }
}

void hands_init(struct hands *h)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        h->fd[i] = -1;
        h->map[i] = MAP_FAILED;
    }
    h->buf = aligned_alloc(PAGE, BUF_BYTES);
    if (!h->buf)
        abort();
}

/* -- files ----------------------------------------------------------------- */

/* The end of an open file's locks is told just after close(2). */
static void close_slot(struct hands *h, unsigned slot)
{
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    if (h->map[slot] != MAP_FAILED)
        munmap(h->map[slot], MAP_BYTES);
    h->map[slot] = MAP_FAILED;
    if (h->fd[slot] < 0)
        return;
    fcntl(h->fd[slot], F_OFD_SETLK, &whole);
    flock(h->fd[slot], LOCK_UN);
    close(h->fd[slot]);
    h->fd[slot] = -1;
}

/* No directory: once removed, one is gone for who has it open
 * (docs/posix.md). */
static int64_t do_open(struct hands *h, const struct op *op)
{
    struct stat st;
    int fd;

    close_slot(h, op->slot);
    fd = open(op->path, op->flags | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return -1;
    if (!fstat(fd, &st) && S_ISDIR(st.st_mode)) {
        close(fd);
        errno = EISDIR;
        return -1;
    }
    h->fd[op->slot] = fd;
    return 0;
}

/* What O_DIRECT takes everywhere. */
static void straighten(int fd, int64_t *off, size_t *len)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || !(flags & O_DIRECT))
        return;
    *off = align_down(*off, PAGE);
    *len = align_up(*len, PAGE);
}

static int64_t do_pread(struct hands *h, const struct op *op, struct answer *a)
{
    int fd = h->fd[op->slot];
    int64_t off = op->off, got;
    size_t len = (size_t)op->len;

    straighten(fd, &off, &len);
    got = pread(fd, h->buf, len, off);
    if (got > 0) {
        memcpy(a->data, h->buf, (size_t)got);
        a->data_bytes = (size_t)got;
    }
    return got;
}

static int64_t do_pwrite(struct hands *h, const struct op *op)
{
    int fd = h->fd[op->slot];
    int64_t off = op->off;
    size_t len = (size_t)op->len;

    straighten(fd, &off, &len);
    fill(h->buf, len, op->stamp);
    return pwrite(fd, h->buf, len, off);
}

static int64_t do_copy(struct hands *h, const struct op *op)
{
    off_t from = op->off2, to = op->off;
    struct stat st; /* this kernel learns where the end is (docs/posix.md) */
    int in = fcntl(h->fd[op->other_slot], F_GETFL);
    int out = fcntl(h->fd[op->slot], F_GETFL);

    if (in >= 0 && out >= 0 && (in | out) & O_DIRECT)
        return 0; /* a local file system has rules of its own for it */
    (void)!fstat(h->fd[op->other_slot], &st);
    return copy_file_range(h->fd[op->other_slot], &from, h->fd[op->slot], &to,
                           (size_t)op->len, 0);
}

/* -- mappings: up to the end of the file only ------------------------------ */

/* Bytes of the operation that the file has; -1: none to be had. */
static int64_t within(int fd, const struct op *op)
{
    struct stat st;

    if (fstat(fd, &st))
        return -1;
    if (st.st_size <= op->off)
        return 0;
    return min_u64((uint64_t)op->len, (uint64_t)(st.st_size - op->off));
}

static int64_t do_map(struct hands *h, const struct op *op, struct answer *a)
{
    bool write = op->kind == OP_MAP_WRITE;
    int fd = h->fd[op->slot];
    int64_t count = within(fd, op);
    uint8_t *at;

    if (count <= 0)
        return count;
    at = mmap(NULL, MAP_BYTES, write ? PROT_READ | PROT_WRITE : PROT_READ,
              MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -1;
    if (write) {
        fill(at + op->off, (size_t)count, op->stamp);
        if (msync(at, MAP_BYTES, MS_SYNC))
            count = -1;
    } else {
        memcpy(a->data, at + op->off, (size_t)count);
        a->data_bytes = (size_t)count;
    }
    munmap(at, MAP_BYTES);
    return count;
}

/* One that stays while others change the file. */
static int64_t do_map_kept(struct hands *h, const struct op *op,
                           struct answer *a)
{
    int fd = h->fd[op->slot];
    int64_t count = within(fd, op);

    if (h->map[op->slot] == MAP_FAILED)
        h->map[op->slot] = mmap(NULL, MAP_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (h->map[op->slot] == MAP_FAILED)
        return -1;
    if (count <= 0)
        return count;
    memcpy(a->data, h->map[op->slot] + op->off, (size_t)count);
    a->data_bytes = (size_t)count;
    return count;
}

/* Holes differ between file systems; that what is called one reads as zeros,
 * does not. */
static bool is_zero(int fd, uint8_t *buf, int64_t from, int64_t to)
{
    static const uint8_t zeros[PAGE];
    int64_t count;

    for (int64_t at = from; at < to; at += count) {
        count = pread(fd, buf, min_u64(PAGE, (uint64_t)(to - at)), at);
        if (count <= 0 || memcmp(buf, zeros, (size_t)count))
            return false;
    }
    return true;
}

static int64_t do_seek(struct hands *h, const struct op *op)
{
    int64_t end = 0, data;
    int fd = h->fd[op->slot];

    if (fcntl(fd, F_GETFL) < 0 || fcntl(fd, F_GETFL) & (O_WRONLY | O_DIRECT))
        return 0;
    while (end >= 0 && (data = lseek(fd, end, SEEK_DATA)) >= 0) {
        if (!is_zero(fd, h->buf, end, data)) {
            errno = EILSEQ;
            return -1;
        }
        end = lseek(fd, data, SEEK_HOLE);
    }
    return errno == ENXIO ? 0 : -1;
}

/* -- names ----------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int64_t do_readdir(const struct op *op, struct answer *a)
{
    char *names[NAMES_MAX];
    unsigned count = 0;
    struct dirent *e;
    DIR *d = opendir(op->path);

    if (!d)
        return -1;
    while ((e = readdir(d)) && count < NAMES_MAX)
        if (asprintf(&names[count++], "%s %d", e->d_name, e->d_type) < 0)
            abort();
    closedir(d);
    qsort(names, count, sizeof *names, compare);
    for (unsigned i = 0; i < count; i++) {
        a->data_bytes +=
            (size_t)snprintf((char *)a->data + a->data_bytes,
                             DATA_BYTES - a->data_bytes, "%s\n", names[i]);
        free(names[i]);
    }
    return count;
}

static int64_t do_status(struct hands *h, const struct op *op, struct answer *a)
{
    int rc = op->kind == OP_FSTAT ? fstat(h->fd[op->slot], &a->status)
                                  : lstat(op->path, &a->status);

    a->has_status = !rc;
    return rc;
}

/* A kernel may find only now that another host has moved a directory, and
 * cannot move its own entry amid a rename (docs/posix.md): looked at, it is
 * there. */
static int64_t do_rename(const struct op *op)
{
    unsigned flags = (unsigned)op->flags;
    struct stat st;
    int64_t rc;

    rc = renameat2(AT_FDCWD, op->path, AT_FDCWD, op->path2, flags);
    if (rc == 0 || errno != ESTALE)
        return rc;
    (void)!lstat(op->path, &st);
    (void)!lstat(op->path2, &st);
    return renameat2(AT_FDCWD, op->path, AT_FDCWD, op->path2, flags);
}

static int64_t do_utimens(const struct op *op)
{
    const struct timespec times[2] = {
        {.tv_sec = op->len, .tv_nsec = 7},
        {.tv_sec = op->len, .tv_nsec = 9}
    };

    return utimensat(AT_FDCWD, op->path, times, AT_SYMLINK_NOFOLLOW);
}

static int64_t do_name(const struct op *op, struct answer *a)
{
    switch ((unsigned)op->kind) {
    case OP_MKDIR: return mkdir(op->path, 0755);
    case OP_RMDIR: return rmdir(op->path);
    case OP_UNLINK: return unlink(op->path);
    case OP_RENAME: return do_rename(op);
    case OP_LINK: return link(op->path, op->path2);
    case OP_SYMLINK: return symlink(op->path2, op->path);
    case OP_READLINK: {
        int64_t rc = readlink(op->path, (char *)a->data, PATH_BYTES);

        a->data_bytes = rc > 0 ? (size_t)rc : 0;
        return rc;
    }
    case OP_READDIR: return do_readdir(op, a);
    case OP_CHMOD: return chmod(op->path, (mode_t)op->flags);
    case OP_UTIMENS: return do_utimens(op);
    case OP_TRUNCATE: return truncate(op->path, op->off);
    default: abort();
    }
}

static int64_t do_xattr(const struct op *op, struct answer *a)
{
    char value[64];
    int64_t rc;

    switch ((unsigned)op->kind) {
    case OP_SETXATTR:
        snprintf(value, sizeof value, "%llx", (unsigned long long)op->stamp);
        return lsetxattr(op->path, op->path2, value, strlen(value), op->flags);
    case OP_GETXATTR:
        rc = lgetxattr(op->path, op->path2, a->data, PATH_BYTES);
        a->data_bytes = rc > 0 ? (size_t)rc : 0;
        return rc;
    default: return lremovexattr(op->path, op->path2);
    }
}

/* -- locks: nobody waits --------------------------------------------------- */

static int64_t do_lock(struct hands *h, const struct op *op)
{
    struct flock range = {.l_type = (short)op->flags,
                          .l_whence = SEEK_SET,
                          .l_start = op->off,
                          .l_len = op->len};
    int fd = h->fd[op->slot];

    switch ((unsigned)op->kind) {
    case OP_FLOCK:
        return flock(fd, (op->flags == F_RDLCK   ? LOCK_SH
                          : op->flags == F_WRLCK ? LOCK_EX
                                                 : LOCK_UN) |
                             LOCK_NB);
    case OP_SETLK: return fcntl(fd, F_SETLK, &range);
    case OP_OFD_SETLK: return fcntl(fd, F_OFD_SETLK, &range);
    default: /* of several locks in the way any may be told */
        return fcntl(fd, F_GETLK, &range) ? -1 : range.l_type != F_UNLCK;
    }
}

/* -- all ------------------------------------------------------------------- */

static int64_t do_file(struct hands *h, const struct op *op, struct answer *a)
{
    int fd = h->fd[op->slot];

    switch ((unsigned)op->kind) {
    case OP_OPEN: return do_open(h, op);
    case OP_CLOSE: close_slot(h, op->slot); return 0;
    case OP_FTRUNCATE: return ftruncate(fd, op->off);
    case OP_PREAD: return do_pread(h, op, a);
    case OP_PWRITE: return do_pwrite(h, op);
    case OP_FALLOCATE: return fallocate(fd, op->flags, op->off, op->len);
    case OP_COPY: return do_copy(h, op);
    case OP_FSYNC: return op->flags ? fdatasync(fd) : fsync(fd);
    case OP_MAP_READ:
    case OP_MAP_WRITE: return do_map(h, op, a);
    case OP_MAP_KEPT: return do_map_kept(h, op, a);
    case OP_SEEK: return do_seek(h, op);
    default: abort();
    }
}

void op_do(struct hands *h, const struct op *op, struct answer *a)
{
    a->rc = 0;
    a->error = 0;
    a->has_status = false;
    a->data_bytes = a->own_bytes = 0;
    errno = 0;
    if (op->kind == OP_SURVEY)
        survey(a);
    else if (op->kind == OP_STAT || op->kind == OP_FSTAT)
        a->rc = do_status(h, op, a);
    else if (op->kind >= OP_MKDIR && op->kind <= OP_TRUNCATE)
        a->rc = do_name(op, a);
    else if (op->kind >= OP_SETXATTR && op->kind <= OP_REMOVEXATTR)
        a->rc = do_xattr(op, a);
    else if (op->kind >= OP_FLOCK && op->kind <= OP_GETLK)
        a->rc = do_lock(h, op);
    else
        a->rc = do_file(h, op, a);
    if (a->rc < 0)
        a->error = errno;
}

static const struct {
    const char *name;
    unsigned same;
} kinds[] = {
#define X(name, same) {#name, same},
    OP_KINDS(X)
#undef X
};

unsigned op_same(enum op_kind kind)
{
    return kinds[kind].same;
}

void op_print(FILE *to, const struct op *op)
{
    fprintf(to, "%s slot %u,%u flags %#x off %lld len %lld off2 %lld",
            kinds[op->kind].name, op->slot, op->other_slot, op->flags,
            (long long)op->off, (long long)op->len, (long long)op->off2);
    fprintf(to, " %.40s %.40s", op->path, op->path2);
}
