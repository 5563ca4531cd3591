/* base/transport_frame.h - frames: how messages stand in a stream of bytes.
 * Pure: is fed bytes, knows no socket and no TLS.
 *
 *   be32 count | be32 kind | count bytes
 *
 * All that comes in is judged before memory is spent on it: a head that
 * promises more than `body_max` is an error, not an allocation.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_TRANSPORT_FRAME_H
#define LUNAR_BASE_TRANSPORT_FRAME_H

#include "base/err.h"

enum {
    FRAME_HEAD_BYTES = 8,
    /* The buffer of a reader that has no larger frame to hold: two records of
     * TLS, for the end of one frame is read together with the next. */
    FRAME_ROOM_BYTES = 32 << 10,
    /* So many frames in a row that fit it, and a larger one is given back. */
    FRAME_SMALL_RUN = 64
};

enum frame_kind {
    FRAME_HELLO = 1, /* who I am (transport_hello.h); the first, once */
    FRAME_WELCOME,   /* I take you, too: messages may follow; empty, once */
    FRAME_REFUSE,    /* why I do not take you; the last */
    FRAME_MESSAGE    /* the owner's bytes */
};

void frame_head_encode(uint8_t out[FRAME_HEAD_BYTES], enum frame_kind kind,
                       size_t count);

struct frame {
    enum frame_kind kind;
    const uint8_t *bytes; /* the reader's, until it is asked for anything */
    size_t count;
};

struct frame_reader {
    uint8_t *bytes;
    size_t room, from, end; /* what is unread is [from, end) of bytes */
    size_t body_max;        /* largest count allowed; may change at any time */
    unsigned small_run;     /* frames in a row that fitted FRAME_ROOM_BYTES */
};

void frame_reader_init(struct frame_reader *r, size_t body_max);
void frame_reader_fini(struct frame_reader *r);

/* Where to put what comes next, and how much of it.  It is enough for the
 * frame whose head has been read.  Call after frame_reader_next() had nothing.
 * Errors: E_NOMEM. */
MUST_CHECK enum err frame_reader_room(struct frame_reader *r, uint8_t **ret_at,
                                      size_t *ret_bytes);
/* So many bytes were put there. */
void frame_reader_filled(struct frame_reader *r, size_t count);

/* The next whole frame.  Errors: E_AGAIN - there is none yet; E_PROTOCOL -
 * no frame at all, with the reason; nothing more can be read. */
MUST_CHECK enum err frame_reader_next(struct frame_reader *r,
                                      struct frame *ret_frame,
                                      struct diag *why);

#endif
