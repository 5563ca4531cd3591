/* vhd/utf16.h - UTF-16, either order, from and to UTF-8.
 * Strict: an unpaired surrogate, an overlong form or a NUL is an error.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_VHD_UTF16_H
#define LUNAR_VHD_UTF16_H

#include "base/err.h"

enum utf16_order { UTF16_LE, UTF16_BE };

/* NUL-terminated UTF-8 of `bytes` bytes of UTF-16; trailing NULs are dropped.
 * Errors: E_INVAL (not UTF-16), E_NAME_TOO_LONG. */
MUST_CHECK enum err utf16_to_utf8(enum utf16_order order, const uint8_t *in,
                                  size_t bytes, char *ret_text,
                                  size_t text_bytes);

/* The other way; no NUL is appended.
 * Errors: E_INVAL (not UTF-8), E_NAME_TOO_LONG. */
MUST_CHECK enum err utf16_from_utf8(enum utf16_order order, const char *text,
                                    uint8_t *ret_out, size_t out_bytes,
                                    size_t *ret_bytes);

#endif
