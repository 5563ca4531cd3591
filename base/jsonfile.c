/* base/jsonfile.c - write a new file beside it, flush, rename, flush.
 * Decides nothing about what is inside.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/jsonfile.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, JSON_BYTES_MAX = 16 << 20 };

static enum err fail_errno(const char *path, struct diag *why)
{
    return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                     strerror(errno));
}

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Make the entry of `path` in its directory durable. */
static enum err sync_directory(const char *path, struct diag *why)
{
    char directory[PATH_BYTES];
    AUTO(close_fd) int fd = -1;

    snprintf(directory, sizeof directory, "%s", path);
    fd = open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        return fail_errno(path, why);
    return E_OK;
}

/* One text, few writes: json_dumpfd() makes a system call of each token. */
static enum err write_file(const char *path, const json_t *object,
                           struct diag *why)
{
    AUTO(freep) char *text = json_dumps(object, JSON_INDENT(2));
    AUTO(close_fd)
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t left = text ? strlen(text) : 0;

    if (!text)
        return diag_fail(why, E_NOMEM, "%s: out of memory", path);
    if (fd < 0)
        return fail_errno(path, why);
    for (const char *at = text; left;) {
        ssize_t n = write(fd, at, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(path, why);
        at += n;
        left -= (size_t)n;
    }
    return fsync(fd) ? fail_errno(path, why) : E_OK;
}

enum err jsonfile_save(const char *path, json_t *object, struct diag *why)
{
    char fresh[PATH_BYTES];
    enum err e;

    if (!object)
        return diag_fail(why, E_NOMEM, "%s: out of memory", path);
    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
        e = diag_fail(why, E_NAME_TOO_LONG, "%s: too long", path);
    else
        e = write_file(fresh, object, why);
    json_decref(object);
    if (!e && rename(fresh, path))
        e = fail_errno(path, why);
    if (e) {
        unlink(fresh); /* a full disk needs its room */
        return e;
    }
    return sync_directory(path, why);
}

enum err jsonfile_load(const char *path, json_t **ret_object, struct diag *why)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    json_error_t where;
    json_t *object;
    off_t size;

    if (fd < 0)
        return fail_errno(path, why);
    size = lseek(fd, 0, SEEK_END);
    if (size < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return fail_errno(path, why);
    if (size > JSON_BYTES_MAX)
        return diag_fail(why, E_CORRUPT, "%s: is larger than 16 MiB", path);
    object = json_loadfd(fd, JSON_REJECT_DUPLICATES, &where);
    if (!object)
        return diag_fail(why, E_CORRUPT, "%s:%d: %s: mend it, or move it away",
                         path, where.line, where.text);
    if (!json_is_object(object)) {
        json_decref(object);
        return diag_fail(why, E_CORRUPT,
                         "%s:1: not a JSON object: mend it, or move it away",
                         path);
    }
    *ret_object = object;
    return E_OK;
}
