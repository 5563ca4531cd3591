/* base/uuid.h - 16 bytes that name a thing, and how people write them.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_UUID_H
#define LUNAR_BASE_UUID_H

#include "base/err.h"

enum { UUID_BYTES = 16, UUID_TEXT_BYTES = 37 };

/* 8-4-4-4-12 hex digits, with its zero. */
void uuid_to_text(const uint8_t uuid[UUID_BYTES],
                  char ret_text[UUID_TEXT_BYTES]);
/* Reads what uuid_to_text() wrote; digits of either case.  Errors: E_INVAL. */
MUST_CHECK enum err uuid_from_text(const char *text,
                                   uint8_t ret_uuid[UUID_BYTES]);
/* A random one (RFC 4122, version 4).  Errors: E_IO. */
MUST_CHECK enum err uuid_random(uint8_t ret_uuid[UUID_BYTES]);

#endif
