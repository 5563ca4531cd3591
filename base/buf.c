/* base/buf.c - text or bytes that grow by doubling.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ROOM_AT_FIRST = 128 };

void buf_fini(struct buf *b)
{
    free(b->bytes);
    *b = (struct buf){0};
}

/* Make room for `count` more and the terminator; false: no memory. */
static bool reserve(struct buf *b, size_t count)
{
    size_t room = b->room ? b->room : ROOM_AT_FIRST;
    char *bytes;

    if (b->failed || !range_ok(b->count, count, SIZE_MAX / 2)) {
        b->failed = true;
        return false;
    }
    if (b->bytes && b->count + count < b->room)
        return true;
    while (room <= b->count + count)
        room *= 2;
    bytes = realloc(b->bytes, room);
    if (!bytes) {
        b->failed = true;
        return false;
    }
    b->bytes = bytes;
    b->room = room;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t count)
{
    if (!reserve(b, count))
        return;
    memcpy(b->bytes + b->count, bytes, count);
    b->count += count;
    b->bytes[b->count] = '\0';
}

void buf_add_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    int need;

    va_start(args, fmt);
    need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(need >= 0);
    if (!reserve(b, (size_t)need))
        return;
    va_start(args, fmt);
    vsnprintf(b->bytes + b->count, (size_t)need + 1, fmt, args);
    va_end(args);
    b->count += (size_t)need;
}

char *buf_take(struct buf *b)
{
    char *bytes = NULL;

    if (reserve(b, 0)) {
        bytes = b->bytes;
        bytes[b->count] = '\0';
        *b = (struct buf){0};
    }
    return bytes;
}
