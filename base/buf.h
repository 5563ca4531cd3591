/* base/buf.h - text or bytes that grow.
 * Running out of memory is remembered, not reported at each step: ask once, at
 * the end, with buf_ok().
 *
 *   AUTO(buf_fini) struct buf b = {0};
 *
 *   buf_printf(&b, "%s: %u\n", name, count);
 *   if (!buf_ok(&b)) return E_NOMEM;
 *   puts(buf_text(&b));
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_BUF_H
#define LUNAR_BASE_BUF_H

#include "base/base.h"

struct buf {     /* zeroed: empty */
    char *bytes; /* terminated; NULL while empty */
    size_t count, room;
    bool failed;
};

void buf_fini(struct buf *b);
void buf_add(struct buf *b, const void *bytes, size_t count);
void buf_add_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Everything that was added is there. */
static inline bool buf_ok(const struct buf *b)
{
    return !b->failed;
}

/* Never NULL; what fitted, if memory ran out. */
static inline const char *buf_text(const struct buf *b)
{
    return b->bytes ? b->bytes : "";
}

/* The text becomes the caller's to free(); b is empty.  NULL: no memory. */
char *buf_take(struct buf *b);

#endif
