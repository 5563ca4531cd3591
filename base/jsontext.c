/* base/jsontext.c - JSON strings of any bytes.  Knows no object.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/jsontext.h"

#include "base/base.h"

#include <string.h>

/* Characters of two to four bytes: their first byte, and the second's range
 * (RFC 3629, section 4).  Further bytes are 80 … BF. */
static const struct utf8_row {
    uint8_t first, last, low, high, bytes;
} utf8_rows[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2},
    {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3},
    {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4},
    {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* The length of the character at `at`; 0: there is none. */
static size_t utf8_bytes(const uint8_t *at)
{
    if (at[0] < 0x80)
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(utf8_rows); i++) {
        const struct utf8_row *row = &utf8_rows[i];
        size_t n = 2;

        if (at[0] < row->first || at[0] > row->last)
            continue;
        if (at[1] < row->low || at[1] > row->high)
            return 0;
        while (n < row->bytes && (at[n] & 0xc0) == 0x80)
            n++;
        return n == row->bytes ? n : 0;
    }
    return 0;
}

bool json_text_is_utf8(const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t n;

    for (; *at; at += n) {
        n = utf8_bytes(at);
        if (!n)
            return false;
    }
    return true;
}

json_t *json_text(const char *text)
{
    json_t *string = json_string(text);
    char *copy = string ? NULL : strdup(text);

    if (!copy)
        return string;
    for (uint8_t *at = (uint8_t *)copy; *at;) {
        size_t n = utf8_bytes(at);

        if (!n)
            *at = '?';
        at += n ? n : 1;
    }
    string = json_string(copy);
    free(copy);
    return string;
}
