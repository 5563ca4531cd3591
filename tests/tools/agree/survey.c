/* tests/tools/agree/survey.c - all that is in a tree, a line a name: what any
 * file system has alike, and what only hosts of one have alike.  Not st_blocks:
 * what was allocated ahead is given back after the last close.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/tools/agree/agree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PIECE = 1 << 16, DEPTH_MAX = 16 };

static __attribute__((format(printf, 3, 4))) void add(char *text, size_t *bytes,
                                                      const char *format, ...)
{
    va_list list;
    int more;

    va_start(list, format);
    more = vsnprintf(text + *bytes, DATA_BYTES - *bytes, format, list);
    va_end(list);
    if (more < 0 || *bytes + (size_t)more >= DATA_BYTES)
        abort(); /* grow DATA_BYTES */
    *bytes += (size_t)more;
}

static uint64_t hash(uint64_t h, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;

    while (count--)
        h = (h ^ *at++) * 0x100000001b3;
    return h;
}

static uint64_t hash_content(const char *path)
{
    static uint8_t buf[PIECE];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint64_t h = 0xcbf29ce484222325;
    ssize_t got;

    if (fd < 0)
        return (uint64_t)errno;
    while ((got = read(fd, buf, sizeof buf)) > 0)
        h = hash(h, buf, (size_t)got);
    close(fd);
    return got < 0 ? (uint64_t)errno : h;
}

/* In any order: the sum. */
static uint64_t hash_xattrs(const char *path)
{
    char names[PATH_BYTES], value[PATH_BYTES];
    ssize_t size = llistxattr(path, names, sizeof names), got;
    uint64_t sum = 0;

    for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1) {
        if (strncmp(names + at, "user.", 5))
            continue;
        got = lgetxattr(path, names + at, value, sizeof value);
        sum += hash(hash(7, names + at, strlen(names + at)), value,
                    got > 0 ? (size_t)got : 0);
    }
    return sum;
}

static void describe(struct answer *a, const char *path, const struct stat *st)
{
    char *text = (char *)a->data;

    add(text, &a->data_bytes, "%s mode %o links %lu xattrs %llx", path,
        st->st_mode, (unsigned long)st->st_nlink,
        (unsigned long long)hash_xattrs(path));
    if (S_ISREG(st->st_mode))
        add(text, &a->data_bytes, " size %lld content %llx",
            (long long)st->st_size, (unsigned long long)hash_content(path));
    if (S_ISLNK(st->st_mode)) {
        char target[PATH_BYTES];
        ssize_t got = readlink(path, target, sizeof target);

        add(text, &a->data_bytes, " target %.*s", got > 0 ? (int)got : 0,
            target);
    }
    add(text, &a->data_bytes, "\n");
    add(a->own, &a->own_bytes,
        "%s ino %llu size %lld mtime %lld.%09ld ctime %lld.%09ld\n", path,
        (unsigned long long)st->st_ino, (long long)st->st_size,
        (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
        (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

static void walk(struct answer *a, const char *path, unsigned depth)
{
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);

    if (count < 0)
        add((char *)a->data, &a->data_bytes, "%s: %s\n", path, strerror(errno));
    for (int i = 0; i < count; i++) {
        char *below;
        struct stat st;

        if (!strcmp(names[i]->d_name, ".") || !strcmp(names[i]->d_name, ".."))
            goto next;
        if (asprintf(&below, "%s/%s", path, names[i]->d_name) < 0)
            abort();
        if (lstat(below, &st))
            add((char *)a->data, &a->data_bytes, "%s: %s\n", below,
                strerror(errno));
        else {
            describe(a, below, &st);
            if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
                walk(a, below, depth + 1);
        }
        free(below);
    next:
        free(names[i]);
    }
    if (count >= 0)
        free(names);
}

void survey(struct answer *a)
{
    walk(a, ".", 0);
}
