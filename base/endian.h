/* base/endian.h - integers of disks and wires as types of their own.
 * They cannot be used as numbers by mistake: get and make are the only doors.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_ENDIAN_H
#define LUNAR_BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* clang-format off */
#define ENDIAN_TYPE(type, bits, from, to)                                      \
    typedef struct { uint##bits##_t raw; } __attribute__((packed)) type;       \
    static inline uint##bits##_t type##_get(type x) { return from(x.raw); }    \
    static inline type type##_make(uint##bits##_t n)                           \
    { return (type){to(n)}; }                                                  \
    static inline uint##bits##_t type##_load(const void *p)                    \
    { type x; memcpy(&x, p, sizeof x); return type##_get(x); }                 \
    static inline void type##_store(void *p, uint##bits##_t n)                 \
    { type x = type##_make(n); memcpy(p, &x, sizeof x); }

ENDIAN_TYPE(be16, 16, be16toh, htobe16)
ENDIAN_TYPE(be32, 32, be32toh, htobe32)
ENDIAN_TYPE(be64, 64, be64toh, htobe64)
ENDIAN_TYPE(le16, 16, le16toh, htole16)
ENDIAN_TYPE(le32, 32, le32toh, htole32)
ENDIAN_TYPE(le64, 64, le64toh, htole64)
/* clang-format on */

#endif
