/* vhd/utf16.c - UTF-16, either order, from and to UTF-8.
 * Knows no locale and allocates nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/utf16.h"

#include "base/endian.h"

enum {
    SURROGATE_HIGH = 0xd800,
    SURROGATE_LOW = 0xdc00,
    SURROGATE_END = 0xe000,
    PLANE_1 = 0x10000,
    CODE_POINT_END = 0x110000
};

static uint32_t unit_load(enum utf16_order order, const uint8_t *p)
{
    return order == UTF16_BE ? be16_load(p) : le16_load(p);
}

static void unit_store(enum utf16_order order, uint8_t *p, uint32_t unit)
{
    if (order == UTF16_BE)
        be16_store(p, (uint16_t)unit);
    else
        le16_store(p, (uint16_t)unit);
}

/* Take one code point; returns the bytes it took, 0 if there is none. */
static size_t utf16_next(enum utf16_order order, const uint8_t *in,
                         size_t bytes, uint32_t *ret_point)
{
    uint32_t unit, low;

    if (bytes < 2)
        return 0;
    unit = unit_load(order, in);
    if (unit < SURROGATE_HIGH || unit >= SURROGATE_END) {
        *ret_point = unit;
        return 2;
    }
    if (unit >= SURROGATE_LOW || bytes < 4)
        return 0;
    low = unit_load(order, in + 2);
    if (low < SURROGATE_LOW || low >= SURROGATE_END)
        return 0;
    *ret_point =
        PLANE_1 + ((unit - SURROGATE_HIGH) << 10) + (low - SURROGATE_LOW);
    return 4;
}

/* Put one code point; returns the bytes it took. */
static size_t utf8_put(uint32_t point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < PLANE_1) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

enum err utf16_to_utf8(enum utf16_order order, const uint8_t *in, size_t bytes,
                       char *ret_text, size_t text_bytes)
{
    size_t used = 0;

    while (bytes >= 2 && !in[bytes - 1] && !in[bytes - 2])
        bytes -= 2;
    while (bytes) {
        uint32_t point;
        size_t took = utf16_next(order, in, bytes, &point);
        char utf8[4];
        size_t put;

        if (!took || !point)
            return E_INVAL;
        put = utf8_put(point, utf8);
        if (used + put >= text_bytes)
            return E_NAME_TOO_LONG;
        memcpy(ret_text + used, utf8, put);
        used += put;
        in += took;
        bytes -= took;
    }
    ret_text[used] = '\0';
    return E_OK;
}

/* Take one code point of UTF-8; returns the bytes it took, 0 if malformed. */
static size_t utf8_next(const uint8_t *in, uint32_t *ret_point)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least; /* below this the form is overlong */
    } rows[] = {
        {0x80, 0x00, 0      },
        {0xe0, 0xc0, 0x80   },
        {0xf0, 0xe0, 0x800  },
        {0xf8, 0xf0, PLANE_1},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t point = in[0] & (uint8_t)~rows[i].mask;

        if ((in[0] & rows[i].mask) != rows[i].lead)
            continue;
        for (size_t k = 1; k <= i; k++) {
            if ((in[k] & 0xc0) != 0x80)
                return 0;
            point = point << 6 | (in[k] & 0x3f);
        }
        if (point < rows[i].least || point >= CODE_POINT_END ||
            (point >= SURROGATE_HIGH && point < SURROGATE_END))
            return 0;
        *ret_point = point;
        return i + 1;
    }
    return 0;
}

enum err utf16_from_utf8(enum utf16_order order, const char *text,
                         uint8_t *ret_out, size_t out_bytes, size_t *ret_bytes)
{
    const uint8_t *in = (const uint8_t *)text;
    size_t used = 0;

    while (*in) {
        uint32_t point;
        size_t took = utf8_next(in, &point);

        if (!took)
            return E_INVAL;
        in += took;
        if (used + (point < PLANE_1 ? 2 : 4) > out_bytes)
            return E_NAME_TOO_LONG;
        if (point < PLANE_1) {
            unit_store(order, ret_out + used, point);
            used += 2;
            continue;
        }
        point -= PLANE_1;
        unit_store(order, ret_out + used, SURROGATE_HIGH + (point >> 10));
        unit_store(order, ret_out + used + 2, SURROGATE_LOW + (point & 0x3ff));
        used += 4;
    }
    *ret_bytes = used;
    return E_OK;
}
