/* vhd/locator.c - parent locators: their text, and paths made of it.
 * Opens nothing; what a path may reach is decided by who opens it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/locator.h"

#include "vhd/utf16.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define FILE_URL "file://"

uint32_t vhd_locator_space_bytes(uint32_t space)
{
    if (space < VHD_SECTOR_BYTES)
        return space * VHD_SECTOR_BYTES;
    return is_aligned(space, VHD_SECTOR_BYTES) ? space : 0;
}

/* -- text to path ---------------------------------------------------------- */

static void replace_char(char *text, char from, char to)
{
    for (; *text; text++)
        if (*text == from)
            *text = to;
}

/* "C:\x" and "\\?\C:\x" name "/x": there are no drives here. */
static void drop_drive(char *path)
{
    char *from = path;

    if (!strncmp(from, "//?/", 4))
        from += 4;
    if (isalpha((unsigned char)from[0]) && from[1] == ':' && from[2] == '/')
        from += 2;
    memmove(path, from, strlen(from) + 1);
}

static enum err decode_windows(enum utf16_order order, const uint8_t *text,
                               size_t bytes, char ret_path[VHD_PATH_BYTES])
{
    if (utf16_to_utf8(order, text, bytes, ret_path, VHD_PATH_BYTES))
        return E_VHD_PARENT;
    replace_char(ret_path, '\\', '/');
    drop_drive(ret_path);
    return *ret_path ? E_OK : E_VHD_PARENT;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum err decode_url(const uint8_t *text, size_t bytes,
                           char ret_path[VHD_PATH_BYTES])
{
    const char *in = (const char *)text;
    size_t len = strnlen(in, bytes), used = 0;

    if (len <= strlen(FILE_URL) || strncmp(in, FILE_URL, strlen(FILE_URL)))
        return E_VHD_PARENT;
    for (size_t i = strlen(FILE_URL); i < len; i++) {
        char c = in[i];

        if (c == '%' && len - i > 2 && hex_digit(in[i + 1]) >= 0 &&
            hex_digit(in[i + 2]) >= 0) {
            c = (char)(hex_digit(in[i + 1]) << 4 | hex_digit(in[i + 2]));
            i += 2;
        }
        if (!c || used + 1 >= VHD_PATH_BYTES)
            return E_VHD_PARENT;
        ret_path[used++] = c;
    }
    ret_path[used] = '\0';
    return E_OK;
}

enum err vhd_locator_decode(uint32_t code, const uint8_t *text, size_t bytes,
                            char ret_path[VHD_PATH_BYTES])
{
    char path[VHD_PATH_BYTES];
    enum err e = E_VHD_PARENT;

    if (code == VHD_LOCATOR_W2RU || code == VHD_LOCATOR_W2KU)
        e = decode_windows(UTF16_LE, text, bytes, path);
    else if (code == VHD_LOCATOR_MACX)
        e = decode_url(text, bytes, path);
    if (e)
        return e;
    memcpy(ret_path, path, strlen(path) + 1);
    return E_OK;
}

enum err vhd_parent_name_decode(const uint8_t name[VHD_PARENT_NAME_BYTES],
                                char ret_path[VHD_PATH_BYTES])
{
    char path[VHD_PATH_BYTES];
    size_t bytes = 0;
    enum err e;

    while (bytes < VHD_PARENT_NAME_BYTES && (name[bytes] || name[bytes + 1]))
        bytes += 2;
    e = decode_windows(UTF16_BE, name, bytes, path);
    if (e)
        return e;
    memcpy(ret_path, path, strlen(path) + 1);
    return E_OK;
}

/* -- path to text ---------------------------------------------------------- */

static enum err encode_url(const char *path, uint8_t *ret_text,
                           size_t *ret_bytes)
{
    char *out = (char *)ret_text;
    size_t used = strlen(FILE_URL);

    memcpy(out, FILE_URL, used);
    for (; *path; path++) {
        bool plain = *path > ' ' && *path != '%' && *path < 0x7f;

        if (used + 4 > VHD_LOCATOR_TEXT_BYTES)
            return E_NAME_TOO_LONG;
        if (plain)
            out[used++] = *path;
        else
            used += (size_t)snprintf(out + used, 4, "%%%02X", (uint8_t)*path);
    }
    *ret_bytes = used;
    return E_OK;
}

static enum err encode_windows(enum utf16_order order, const char *path,
                               uint8_t *ret_out, size_t out_bytes,
                               size_t *ret_bytes)
{
    char windows[VHD_PATH_BYTES];

    if (strlen(path) >= sizeof windows)
        return E_NAME_TOO_LONG;
    memcpy(windows, path, strlen(path) + 1);
    replace_char(windows, '/', '\\');
    return utf16_from_utf8(order, windows, ret_out, out_bytes, ret_bytes);
}

enum err vhd_locator_encode(uint32_t code, const char *path,
                            uint8_t ret_text[VHD_LOCATOR_TEXT_BYTES],
                            size_t *ret_bytes)
{
    if (code == VHD_LOCATOR_MACX)
        return encode_url(path, ret_text, ret_bytes);
    ASSERT(code == VHD_LOCATOR_W2RU || code == VHD_LOCATOR_W2KU);
    return encode_windows(UTF16_LE, path, ret_text, VHD_LOCATOR_TEXT_BYTES,
                          ret_bytes);
}

enum err vhd_parent_name_encode(const char *path,
                                uint8_t ret_name[VHD_PARENT_NAME_BYTES])
{
    uint8_t name[VHD_PARENT_NAME_BYTES] = {0};
    size_t bytes;
    enum err e;

    /* The last two bytes stay NUL: some readers look for it. */
    e = encode_windows(UTF16_BE, path, name, sizeof name - 2, &bytes);
    if (e == E_NAME_TOO_LONG) {
        memset(name, 0, sizeof name);
        e = encode_windows(UTF16_BE, vhd_path_name(path), name, sizeof name - 2,
                           &bytes);
    }
    if (e)
        return e;
    memcpy(ret_name, name, sizeof name);
    return E_OK;
}

/* -- paths ----------------------------------------------------------------- */

const char *vhd_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Append the components of `path` to out, which is "" or "/a/b". */
static enum err append_components(const char *path, char out[VHD_PATH_BYTES])
{
    while (*path) {
        size_t len = strcspn(path, "/"), used = strlen(out);

        if (len == 2 && !strncmp(path, "..", 2)) {
            if (!used)
                return E_VHD_PARENT;
            *strrchr(out, '/') = '\0';
        } else if (len && !(len == 1 && *path == '.')) {
            if (used + 1 + len >= VHD_PATH_BYTES)
                return E_NAME_TOO_LONG;
            out[used] = '/';
            memcpy(out + used + 1, path, len);
            out[used + 1 + len] = '\0';
        }
        path += len;
        path += *path == '/';
    }
    return E_OK;
}

enum err vhd_path_resolve(const char *file, const char *path,
                          char ret_path[VHD_PATH_BYTES])
{
    char out[VHD_PATH_BYTES] = "";
    enum err e = E_OK;

    if (*path != '/')
        e = append_components(file, out);
    if (!e && *path != '/' && *out)
        *strrchr(out, '/') = '\0';
    if (!e)
        e = append_components(path, out);
    if (e)
        return e;
    if (!*out)
        return E_VHD_PARENT;
    memcpy(ret_path, out, strlen(out) + 1);
    return E_OK;
}

enum err vhd_path_relative(const char *file, const char *path,
                           char ret_path[VHD_PATH_BYTES])
{
    char out[VHD_PATH_BYTES] = "";
    size_t common = 0, used = 0;

    for (size_t i = 0; file[i] && file[i] == path[i]; i++)
        if (file[i] == '/')
            common = i + 1;
    for (const char *c = file + common; *c; c++) {
        if (*c != '/')
            continue;
        if (used + 3 >= sizeof out)
            return E_NAME_TOO_LONG;
        memcpy(out + used, "../", 4);
        used += 3;
    }
    if (!used) {
        memcpy(out, "./", 3);
        used = 2;
    }
    if (used + strlen(path + common) >= sizeof out)
        return E_NAME_TOO_LONG;
    memcpy(out + used, path + common, strlen(path + common) + 1);
    memcpy(ret_path, out, sizeof out);
    return E_OK;
}
