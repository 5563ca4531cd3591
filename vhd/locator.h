/* vhd/locator.h - where a differencing disk says that its parent is.
 * Text only: converts and joins names, opens nothing.
 *
 * Inside Lunar a path is UTF-8, absolute, separated by '/'.  In a file it is
 * UTF-16, separated by '\\', and may start with a drive ("C:\\…"), which
 * means nothing here and is dropped.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_VHD_LOCATOR_H
#define LUNAR_VHD_LOCATOR_H

#include "vhd/format.h"

enum vhd_locator_code {
    VHD_LOCATOR_W2RU = 0x57327275, /* relative path, UTF-16LE */
    VHD_LOCATOR_W2KU = 0x57326b75, /* absolute path, UTF-16LE */
    VHD_LOCATOR_MACX = 0x4d616358, /* file URL, UTF-8 */
};

enum { VHD_LOCATOR_TEXT_BYTES = 2 * VHD_PATH_BYTES };

/* Bytes reserved for a locator's text: the specification counts `space` in
 * sectors, Windows and others write bytes.  0: neither makes sense. */
uint32_t vhd_locator_space_bytes(uint32_t space);

/* The path in the text of a locator of ours or of anybody's: relative or
 * absolute, with '/'.  Errors: E_VHD_PARENT - no text, or not a path. */
MUST_CHECK enum err vhd_locator_decode(uint32_t code, const uint8_t *text,
                                       size_t bytes,
                                       char ret_path[VHD_PATH_BYTES]);

/* The text of a locator for an absolute or relative path.
 * Errors: E_INVAL (not UTF-8), E_NAME_TOO_LONG. */
MUST_CHECK enum err vhd_locator_encode(uint32_t code, const char *path,
                                       uint8_t ret_text[VHD_LOCATOR_TEXT_BYTES],
                                       size_t *ret_bytes);

/* The parent name of the header (UTF-16BE), both ways; a longer path keeps
 * its end.  Errors of decode: E_VHD_PARENT. */
MUST_CHECK enum err vhd_parent_name_decode(
    const uint8_t name[VHD_PARENT_NAME_BYTES], char ret_path[VHD_PATH_BYTES]);
MUST_CHECK enum err vhd_parent_name_encode(
    const char *path, uint8_t ret_name[VHD_PARENT_NAME_BYTES]);

/* `path` as seen from the folder of the absolute path `file`, with "." and
 * ".." resolved by name alone.  Errors: E_VHD_PARENT - it climbs above '/' or
 * names no file; E_NAME_TOO_LONG. */
MUST_CHECK enum err vhd_path_resolve(const char *file, const char *path,
                                     char ret_path[VHD_PATH_BYTES]);

/* The way from the folder of `file` to `path`, both absolute and resolved:
 * "./b.vhd", "../x/b.vhd".  Errors: E_NAME_TOO_LONG. */
MUST_CHECK enum err vhd_path_relative(const char *file, const char *path,
                                      char ret_path[VHD_PATH_BYTES]);

/* The last component: of "/a/b.vhd", "b.vhd". */
const char *vhd_path_name(const char *path);

#endif
