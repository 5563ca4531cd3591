/* tests/tools/crashload/ops.c - one operation: loosen, do, tighten.
 * Judges nothing; see crashload.h for the method.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/crashload/crashload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

uint64_t crash_random(struct crash_thread *t, uint64_t below)
{
    /* xorshift64*, so that a seed is the whole of the schedule */
    t->random ^= t->random >> 12;
    t->random ^= t->random << 25;
    t->random ^= t->random >> 27;
    return (t->random * UINT64_C(0x2545f4914f6cdd1d) >> 11) % below;
}

struct crash_stamp crash_stamp_make(const struct crash_thread *t,
                                    const struct crash_file *f, uint32_t sector,
                                    uint32_t version)
{
    struct crash_stamp s = {
        .magic = CRASH_MAGIC,
        .thread = t->index,
        .serial = f->serial,
        .sector = sector,
        .version = version,
    };

    s.sum = s.magic ^ ((uint64_t)s.thread << 48) ^ ((uint64_t)s.serial << 32) ^
            ((uint64_t)s.sector << 20) ^ s.version;
    return s;
}

static struct crash_file *pick(struct crash_thread *t, bool exists)
{
    unsigned start = (unsigned)crash_random(t, CRASH_FILES);

    for (unsigned i = 0; i < CRASH_FILES; i++) {
        struct crash_file *f = &t->files[(start + i) % CRASH_FILES];

        if (f->exists == exists)
            return f;
    }
    return NULL;
}

static int file_open(struct crash_thread *t, struct crash_file *f)
{
    int flags = O_RDWR | (crash_random(t, 2) ? O_DIRECT : 0);

    if (f->fd < 0)
        f->fd = openat(t->dir_fd, f->name, flags);
    return f->fd < 0 ? errno : 0;
}

static void file_close(struct crash_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* -- names ----------------------------------------------------------------- */

static int do_create(struct crash_thread *t)
{
    struct crash_file *f = pick(t, false);

    if (!f)
        return 0;
    memset(f, 0, sizeof *f);
    f->serial = ++t->next_serial;
    snprintf(f->name, sizeof f->name, "f%u", f->serial);
    for (uint32_t i = 0; i < CRASH_SECTORS; i++)
        f->sectors[i].zero_ok = true;
    f->mode[0] = f->mode[1] = 0644;
    f->exists = f->may_be_absent = true;
    f->fd = openat(t->dir_fd, f->name, O_RDWR | O_CREAT | O_EXCL, 0644);
    if (f->fd < 0)
        return errno;
    f->may_be_absent = false;
    return 0;
}

static int do_unlink(struct crash_thread *t)
{
    struct crash_file *f = pick(t, true);

    if (!f)
        return 0;
    f->may_be_absent = true;
    if (unlinkat(t->dir_fd, f->name, 0))
        return errno;
    file_close(f);
    f->exists = false;
    return 0;
}

/* To a fresh name, or over another file. */
static int do_rename(struct crash_thread *t)
{
    struct crash_file *f = pick(t, true);
    struct crash_file *over = crash_random(t, 3) ? NULL : pick(t, true);

    if (!f)
        return 0;
    if (over == f)
        over = NULL;
    if (over) {
        memcpy(f->name_to, over->name, sizeof f->name_to);
        over->may_be_absent = true;
    } else {
        snprintf(f->name_to, sizeof f->name_to, "r%u", ++t->next_serial);
    }
    if (renameat(t->dir_fd, f->name, t->dir_fd, f->name_to))
        return errno;
    memcpy(f->name, f->name_to, sizeof f->name);
    f->name_to[0] = '\0';
    if (over) {
        file_close(over);
        over->exists = false;
    }
    return 0;
}

/* -- attributes ------------------------------------------------------------ */

static int do_chmod(struct crash_thread *t)
{
    struct crash_file *f = pick(t, true);
    uint32_t mode = 0600 | (uint32_t)crash_random(t, 0100);

    if (!f)
        return 0;
    f->mode[1] = mode;
    if (fchmodat(t->dir_fd, f->name, mode, 0))
        return errno;
    f->mode[0] = mode;
    return 0;
}

static int do_setxattr(struct crash_thread *t)
{
    struct crash_file *f = pick(t, true);
    uint32_t note;

    if (!f)
        return 0;
    note = f->note[1] + 1;
    f->note[1] = note;
    if (file_open(t, f) || fsetxattr(f->fd, "user.note", &note, sizeof note, 0))
        return errno;
    f->note[0] = note;
    return 0;
}

/* -- data ------------------------------------------------------------------ */

static void fill(const struct crash_thread *t, const struct crash_file *f,
                 uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct crash_stamp s = crash_stamp_make(t, f, first + i, f->version);
        uint8_t *sector = t->buf + (size_t)i * CRASH_SECTOR_BYTES;

        for (size_t at = 0; at + sizeof s <= CRASH_SECTOR_BYTES; at += sizeof s)
            memcpy(sector + at, &s, sizeof s);
        memset(sector + CRASH_SECTOR_BYTES / sizeof s * sizeof s, 0,
               CRASH_SECTOR_BYTES % sizeof s);
    }
}

/* What it holds now stays. */
static void synced(struct crash_file *f)
{
    for (uint32_t i = 0; i < CRASH_SECTORS; i++) {
        f->sectors[i].min = f->sectors[i].max;
        f->sectors[i].zero_ok = f->sectors[i].max == 0;
    }
    f->size_min = f->size_max;
}

static int do_write(struct crash_thread *t)
{
    struct crash_file *f = pick(t, true);
    uint32_t count = 1 + (uint32_t)crash_random(t, CRASH_IO_SECTORS);
    uint32_t first = (uint32_t)crash_random(t, CRASH_SECTORS - count);
    uint64_t end = (uint64_t)(first + count) * CRASH_SECTOR_BYTES;
    ssize_t n;

    if (!f)
        return 0;
    if (file_open(t, f))
        return errno;
    f->version++;
    for (uint32_t i = first; i < first + count; i++) {
        /* min stays: a crash may take this write back */
        if (f->sectors[i].max == 0)
            f->sectors[i].min = f->version;
        f->sectors[i].max = f->version;
    }
    if (end > f->size_max)
        f->size_max = end;
    fill(t, f, first, count);
    n = pwrite(f->fd, t->buf, (size_t)count * CRASH_SECTOR_BYTES,
               (off_t)first * CRASH_SECTOR_BYTES);
    if (n < 0)
        return errno;
    if (n != (ssize_t)count * CRASH_SECTOR_BYTES)
        return EIO;
    if (t->firm)
        synced(f);
    return 0;
}

static int do_fsync(struct crash_thread *t)
{
    struct crash_file *f = pick(t, true);

    if (!f)
        return 0;
    if (file_open(t, f))
        return errno;
    if (crash_random(t, 2) ? fsync(f->fd) : fdatasync(f->fd))
        return errno;
    synced(f);
    return 0;
}

/* Sectors [first, end) may turn to zeros, or have done so. */
static void zero_begin(struct crash_file *f, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++)
        f->sectors[i].zero_ok = true;
}

static void zero_done(struct crash_file *f, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++)
        f->sectors[i] = (struct crash_sector){.zero_ok = true};
}

static int do_truncate(struct crash_thread *t)
{
    struct crash_file *f = pick(t, true);
    uint32_t sectors = (uint32_t)crash_random(t, CRASH_SECTORS + 1);
    uint64_t size = (uint64_t)sectors * CRASH_SECTOR_BYTES;

    if (!f)
        return 0;
    if (file_open(t, f))
        return errno;
    zero_begin(f, sectors, CRASH_SECTORS);
    if (size < f->size_min)
        f->size_min = size;
    if (size > f->size_max)
        f->size_max = size;
    if (ftruncate(f->fd, (off_t)size))
        return errno;
    zero_done(f, sectors, CRASH_SECTORS);
    f->size_min = f->size_max = size;
    return 0;
}

/* Whole 4 KiB blocks: these change by metadata alone. */
static int do_punch(struct crash_thread *t)
{
    struct crash_file *f = pick(t, true);
    uint32_t first = 8 * (uint32_t)crash_random(t, CRASH_SECTORS / 8 - 8);
    uint32_t count = 8 * (1 + (uint32_t)crash_random(t, 8));
    bool zero = crash_random(t, 2);

    if (!f)
        return 0;
    if (file_open(t, f))
        return errno;
    zero_begin(f, first, first + count);
    if (fallocate(f->fd,
                  (zero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE) |
                      FALLOC_FL_KEEP_SIZE,
                  (off_t)first * CRASH_SECTOR_BYTES,
                  (off_t)count * CRASH_SECTOR_BYTES))
        return errno;
    zero_done(f, first, first + count);
    return 0;
}

/* Directories and symbolic links come and go; what they leave is checked by
 * the volume's own check. */
static int do_mkdir(struct crash_thread *t)
{
    char name[CRASH_NAME_BYTES];

    snprintf(name, sizeof name, "d%u", (unsigned)crash_random(t, 4));
    if (crash_random(t, 2))
        return mkdirat(t->dir_fd, name, 0755) && errno != EEXIST ? errno : 0;
    return unlinkat(t->dir_fd, name, AT_REMOVEDIR) && errno != ENOENT ? errno
                                                                      : 0;
}

int crash_step(struct crash_thread *t)
{
    static const struct {
        unsigned weight;
        int (*run)(struct crash_thread *);
    } ops[] = {
        {10, do_create  },
        {4,  do_unlink  },
        {4,  do_rename  },
        {2,  do_chmod   },
        {2,  do_setxattr},
        {40, do_write   },
        {12, do_fsync   },
        {4,  do_truncate},
        {4,  do_punch   },
        {2,  do_mkdir   },
    };
    unsigned total = 0, at;

    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        total += ops[i].weight;
    at = (unsigned)crash_random(t, total);
    for (size_t i = 0;; i++) {
        if (at < ops[i].weight) {
            t->ops++;
            return ops[i].run(t);
        }
        at -= ops[i].weight;
    }
}

void crash_close(struct crash_thread *t)
{
    for (unsigned i = 0; i < CRASH_FILES; i++)
        if (t->files[i].exists)
            file_close(&t->files[i]);
    if (t->dir_fd >= 0)
        close(t->dir_fd);
    t->dir_fd = -1;
}
