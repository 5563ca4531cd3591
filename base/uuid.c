/* base/uuid.c - UUIDs to text and back, and fresh ones.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/uuid.h"

#include <string.h>
#include <sys/random.h>

static bool dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_to_text(const uint8_t uuid[UUID_BYTES],
                  char ret_text[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *at = ret_text;

    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (dash_before(i))
            *at++ = '-';
        *at++ = digits[uuid[i] >> 4];
        *at++ = digits[uuid[i] & 15];
    }
    *at = '\0';
}

/* -1: not a hex digit. */
static int digit_value(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;

    return !at                    ? -1
           : c >= 'A' && c <= 'F' ? (int)(at - digits) - 16
                                  : (int)(at - digits);
}

enum err uuid_from_text(const char *text, uint8_t ret_uuid[UUID_BYTES])
{
    uint8_t uuid[UUID_BYTES];

    if (strlen(text) != UUID_TEXT_BYTES - 1)
        return E_INVAL;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        int high, low;

        if (dash_before(i) && *text++ != '-')
            return E_INVAL;
        high = digit_value(*text++);
        low = digit_value(*text++);
        if (high < 0 || low < 0)
            return E_INVAL;
        uuid[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_uuid, uuid, sizeof uuid);
    return E_OK;
}

enum err uuid_random(uint8_t ret_uuid[UUID_BYTES])
{
    uint8_t uuid[UUID_BYTES];

    if (getrandom(uuid, sizeof uuid, 0) != sizeof uuid)
        return E_IO;
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    memcpy(ret_uuid, uuid, sizeof uuid);
    return E_OK;
}
