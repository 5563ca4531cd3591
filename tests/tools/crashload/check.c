/* tests/tools/crashload/check.c - what is there, against what may be there.
 * Changes nothing on the mount; afterwards the model is what was found.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/crashload/crashload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LINES_PER_FILE = 4 }; /* enough to see what it is; all are counted */

__attribute__((format(printf, 3, 4))) static unsigned differs(
    const struct crash_thread *t, const struct crash_file *f, const char *fmt,
    ...)
{
    static _Thread_local uint32_t last_serial, lines;
    va_list args;

    lines = f->serial == last_serial ? lines + 1 : 0;
    last_serial = f->serial;
    if (lines > LINES_PER_FILE)
        return 1;
    printf("  thread %u file %s (%u): ", t->index, f->name, f->serial);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    return 1;
}

static bool all_zero(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i])
            return false;
    return true;
}

/* Which version is in a sector; -1: none that this file can have had. */
static int64_t sector_version(const struct crash_thread *t,
                              const struct crash_file *f, uint32_t sector,
                              const uint8_t *p)
{
    struct crash_stamp found, right;

    if (all_zero(p, CRASH_SECTOR_BYTES))
        return 0;
    memcpy(&found, p, sizeof found);
    right = crash_stamp_make(t, f, sector, found.version);
    for (size_t at = 0; at + sizeof right <= CRASH_SECTOR_BYTES;
         at += sizeof right)
        if (memcmp(p + at, &right, sizeof right) != 0)
            return -1;
    return found.version;
}

/* Whose bytes these are, as far as the first stamp tells. */
static unsigned differs_foreign(const struct crash_thread *t,
                                const struct crash_file *f, uint32_t i,
                                const uint8_t *p)
{
    struct crash_stamp s;

    memcpy(&s, p, sizeof s);
    if (s.magic != CRASH_MAGIC)
        return differs(t, f, "sector %u holds foreign or torn bytes", i);
    return differs(t, f,
                   "sector %u holds bytes of thread %u file %u sector %u "
                   "version %u, or torn ones",
                   i, s.thread, s.serial, s.sector, s.version);
}

static unsigned check_sector(const struct crash_thread *t, struct crash_file *f,
                             uint32_t i, const uint8_t *p)
{
    struct crash_sector *s = &f->sectors[i];
    int64_t v = sector_version(t, f, i, p);
    unsigned bad = 0;

    if (v < 0)
        return differs_foreign(t, f, i, p);
    if (v == 0 && !s->zero_ok)
        bad = differs(t, f, "sector %u is zeros, versions %u to %u may be", i,
                      s->min, s->max);
    if (v > 0 && (v < s->min || v > s->max))
        bad = differs(t, f, "sector %u has version %u, %u to %u may be%s", i,
                      (unsigned)v, s->min, s->max,
                      s->zero_ok ? ", or zeros" : "");
    *s = (struct crash_sector){
        .min = (uint32_t)v, .max = (uint32_t)v, .zero_ok = v == 0};
    return bad;
}

static unsigned check_content(struct crash_thread *t, struct crash_file *f,
                              int fd, uint64_t size)
{
    ssize_t n = pread(fd, t->buf, CRASH_FILE_BYTES, 0);
    unsigned bad = 0;

    if (n < 0 || (uint64_t)n != size)
        return differs(t, f, "read %zd of %llu bytes: %s", n,
                       (unsigned long long)size, strerror(errno));
    memset(t->buf + n, 0, CRASH_FILE_BYTES - (size_t)n);
    for (uint32_t i = 0; i < CRASH_SECTORS; i++) {
        /* What lies beyond the end that the file has now is gone. */
        if ((uint64_t)i * CRASH_SECTOR_BYTES >= size)
            f->sectors[i] = (struct crash_sector){.zero_ok = true};
        else
            bad +=
                check_sector(t, f, i, t->buf + (size_t)i * CRASH_SECTOR_BYTES);
    }
    return bad;
}

static unsigned check_attributes(const struct crash_thread *t,
                                 struct crash_file *f, int fd,
                                 const struct stat *st)
{
    uint32_t mode = st->st_mode & 07777, note = 0;
    unsigned bad = 0;

    if (mode != f->mode[0] && mode != f->mode[1])
        bad += differs(t, f, "mode %o, %o or %o may be", mode, f->mode[0],
                       f->mode[1]);
    if (fgetxattr(fd, "user.note", &note, sizeof note) < 0 && errno != ENODATA)
        bad += differs(t, f, "user.note: %s", strerror(errno));
    if (note != f->note[0] && note != f->note[1])
        bad += differs(t, f, "user.note is %u, %u or %u may be", note,
                       f->note[0], f->note[1]);
    f->mode[0] = f->mode[1] = mode;
    f->note[0] = f->note[1] = note;
    if ((uint64_t)st->st_size < f->size_min ||
        (uint64_t)st->st_size > f->size_max)
        bad += differs(t, f, "%llu bytes, %llu to %llu may be",
                       (unsigned long long)st->st_size,
                       (unsigned long long)f->size_min,
                       (unsigned long long)f->size_max);
    f->size_min = f->size_max = (uint64_t)st->st_size;
    return bad;
}

/* A rename without an answer: the file is at one of its two names. */
static void settle_name(struct crash_thread *t, struct crash_file *f)
{
    struct stat st;

    if (!f->name_to[0])
        return;
    if (fstatat(t->dir_fd, f->name, &st, AT_SYMLINK_NOFOLLOW) &&
        errno == ENOENT) {
        for (unsigned i = 0; i < CRASH_FILES; i++) {
            struct crash_file *over = &t->files[i];

            if (over != f && over->exists &&
                strcmp(over->name, f->name_to) == 0)
                over->exists = false;
        }
        memcpy(f->name, f->name_to, sizeof f->name);
    }
    f->name_to[0] = '\0';
}

static unsigned check_file(struct crash_thread *t, struct crash_file *f)
{
    int fd = openat(t->dir_fd, f->name, O_RDONLY);
    bool may_be_absent = f->may_be_absent;
    struct stat st;
    unsigned bad;

    f->may_be_absent = false;
    if (fd < 0 && errno == ENOENT && may_be_absent) {
        f->exists = false;
        return 0;
    }
    if (fd < 0 || fstat(fd, &st)) {
        bad = differs(t, f, "%s", strerror(errno));
        f->exists = false;
    } else {
        bad = check_attributes(t, f, fd, &st);
        bad += check_content(t, f, fd, (uint64_t)st.st_size);
    }
    if (fd >= 0)
        close(fd);
    return bad;
}

static bool known(const struct crash_thread *t, const char *name)
{
    for (unsigned i = 0; i < CRASH_FILES; i++)
        if (t->files[i].exists && strcmp(t->files[i].name, name) == 0)
            return true;
    return name[0] == '.' || name[0] == 'd';
}

/* Nothing came back that was removed with an answer. */
static unsigned check_strangers(const struct crash_thread *t)
{
    int fd = openat(t->dir_fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *d;
    unsigned bad = 0;

    if (!dir) {
        printf("  thread %u: its directory: %s\n", t->index, strerror(errno));
        return 1;
    }
    while ((d = readdir(dir)))
        if (!known(t, d->d_name)) {
            printf("  thread %u: %s is there and should not be\n", t->index,
                   d->d_name);
            bad++;
        }
    closedir(dir);
    return bad;
}

unsigned crash_verify(struct crash_thread *t)
{
    unsigned bad = 0;

    for (unsigned i = 0; i < CRASH_FILES; i++)
        if (t->files[i].exists)
            settle_name(t, &t->files[i]);
    for (unsigned i = 0; i < CRASH_FILES; i++)
        if (t->files[i].exists)
            bad += check_file(t, &t->files[i]);
    return bad + check_strangers(t);
}
