/* base/cluster_key.c - reads, checks and makes the file of the cluster's key.
 * No digit of a key is ever in a message.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cluster_key.h"
#include "base/endian.h"

#include <ctype.h>
#include <fcntl.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    KEY_DIGITS = 2 * CLUSTER_KEY_BYTES,
    KEY_FILE_BYTES_MAX = 4096 /* what is longer is no key file */
};

void cluster_key_fini(struct cluster_key *key)
{
    explicit_bzero(key, sizeof *key);
}

uint64_t cluster_key_tag(const struct cluster_key *key)
{
    static const uint8_t of[] = "lunar cluster key";
    uint8_t mac[EVP_MAX_MD_SIZE] = {0};

    ASSERT(HMAC(EVP_sha256(), key->bytes, sizeof key->bytes, of, sizeof of, mac,
                NULL));
    return le64_load(mac);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum err cluster_key_parse(const char *text, size_t count,
                           struct cluster_key *ret_key, struct diag *why)
{
    AUTO(cluster_key_fini) struct cluster_key key = {{0}};

    for (size_t i = 0; i < KEY_DIGITS; i++) {
        int digit = i < count ? hex_digit(text[i]) : -1;

        if (digit < 0)
            return diag_fail(why, E_CONFIG,
                             "%zu hex digits, and then none; a key has %d", i,
                             KEY_DIGITS);
        key.bytes[i / 2] = (uint8_t)(key.bytes[i / 2] << 4 | digit);
    }
    for (size_t i = KEY_DIGITS; i < count; i++)
        if (!isspace((unsigned char)text[i]))
            return diag_fail(why, E_CONFIG,
                             "something follows the %d digits, at byte %zu",
                             KEY_DIGITS, i);
    *ret_key = key;
    return E_OK;
}

static enum err key_file_check(int fd, const char *path, struct diag *why)
{
    struct stat st;

    if (fstat(fd, &st))
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    if (!S_ISREG(st.st_mode))
        return diag_fail(why, E_PERM, "%s: not a regular file", path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return diag_fail(why, E_PERM, "%s: belongs to user %u: chown root %s",
                         path, st.st_uid, path);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return diag_fail(why, E_PERM,
                         "%s: mode %04o lets others at the key: "
                         "chmod 600 %s, and make a new key if they had it",
                         path, st.st_mode & 07777, path);
    return E_OK;
}

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static void wipe_text(char (*text)[KEY_FILE_BYTES_MAX])
{
    explicit_bzero(*text, sizeof *text);
}

enum err cluster_key_load(const char *path, struct cluster_key *ret_key,
                          struct diag *why)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    AUTO(wipe_text) char text[KEY_FILE_BYTES_MAX];
    ssize_t count;
    enum err e;

    if (fd < 0 && errno == ENOENT)
        return diag_fail(why, E_NOENT,
                         "%s: there is no such file: copy it from another "
                         "host, or make one for a new cluster",
                         path);
    if (fd < 0)
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    e = key_file_check(fd, path, why);
    if (e)
        return e;
    count = read(fd, text, sizeof text);
    if (count < 0)
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    e = cluster_key_parse(text, (size_t)count, ret_key, why);
    return e ? diag_prefix(why, e, "%s", path) : E_OK;
}

/* The directory has the new name after a crash, too. */
static bool sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    AUTO(freep) char *folder = NULL;
    AUTO(close_fd) int fd = -1;

    if (!slash)
        folder = strdup(".");
    else if (slash == path)
        folder = strdup("/");
    else
        folder = strndup(path, (size_t)(slash - path));
    if (folder)
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0;
}

enum err cluster_key_generate(const char *path, struct diag *why)
{
    AUTO(cluster_key_fini) struct cluster_key key;
    char text[KEY_DIGITS + 2];
    AUTO(close_fd) int fd = -1;
    bool written;

    if (getrandom(key.bytes, sizeof key.bytes, 0) != sizeof key.bytes)
        return diag_fail(why, E_IO, "getrandom: %s", strerror(errno));
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return diag_fail(why, E_EXIST,
                         "%s: there is a key already: hosts with another one "
                         "would be strangers; remove it to make a new one",
                         path);
    if (fd < 0)
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    for (size_t i = 0; i < CLUSTER_KEY_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", key.bytes[i]);
    text[KEY_DIGITS] = '\n';
    written = write(fd, text, KEY_DIGITS + 1) == KEY_DIGITS + 1 &&
              fsync(fd) == 0 && sync_directory_of(path);
    explicit_bzero(text, sizeof text);
    if (!written) {
        unlink(path);
        return diag_fail(why, E_IO, "%s: %s", path, strerror(errno));
    }
    return E_OK;
}
