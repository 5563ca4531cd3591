/* base/transport_frame.c - cuts a stream of bytes into frames.
 * Reads into one buffer, in which the frame stays: nothing is copied but the
 * beginning of a frame whose end is not there yet.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport_frame.h"

#include "base/endian.h"

#include <string.h>

struct frame_head {
    be32 count, kind;
};
_Static_assert(sizeof(struct frame_head) == FRAME_HEAD_BYTES, "on the wire");

void frame_head_encode(uint8_t out[FRAME_HEAD_BYTES], enum frame_kind kind,
                       size_t count)
{
    const struct frame_head head = {be32_make((uint32_t)count),
                                    be32_make((uint32_t)kind)};

    memcpy(out, &head, sizeof head);
}

void frame_reader_init(struct frame_reader *r, size_t body_max)
{
    *r = (struct frame_reader){.body_max = body_max};
}

void frame_reader_fini(struct frame_reader *r)
{
    free(r->bytes);
    *r = (struct frame_reader){.bytes = NULL};
}

static enum err head_check(const struct frame_reader *r,
                           const struct frame_head *head, struct diag *why)
{
    uint32_t count = be32_get(head->count), kind = be32_get(head->kind);

    if (kind < FRAME_HELLO || kind > FRAME_MESSAGE)
        return diag_fail(why, E_PROTOCOL, "frame of kind %u", kind);
    if (count > r->body_max)
        return diag_fail(why, E_PROTOCOL,
                         "frame of %u bytes, where at most %zu are allowed",
                         count, r->body_max);
    return E_OK;
}

enum err frame_reader_next(struct frame_reader *r, struct frame *ret_frame,
                           struct diag *why)
{
    size_t have = r->end - r->from, count;
    struct frame_head head;
    enum err e;

    if (have < sizeof head)
        return E_AGAIN;
    memcpy(&head, r->bytes + r->from, sizeof head);
    e = head_check(r, &head, why);
    if (e)
        return e;
    count = be32_get(head.count);
    if (have - sizeof head < count)
        return E_AGAIN;
    *ret_frame = (struct frame){
        .kind = (enum frame_kind)be32_get(head.kind),
        .bytes = r->bytes + r->from + sizeof head,
        .count = count,
    };
    r->from += sizeof head + count;
    if (sizeof head + count > FRAME_ROOM_BYTES)
        r->small_run = 0;
    else
        r->small_run++;
    return E_OK;
}

/* The room that the buffer should have now. */
static size_t room_wanted(const struct frame_reader *r)
{
    size_t have = r->end - r->from, need = 0;

    if (have >= FRAME_HEAD_BYTES)
        need = FRAME_HEAD_BYTES + be32_load(r->bytes + r->from);
    if (need <= r->room && r->room > FRAME_ROOM_BYTES &&
        (r->small_run < FRAME_SMALL_RUN || need > FRAME_ROOM_BYTES))
        return r->room; /* it will be wanted again */
    return max_u64(need,
                   min_u64(FRAME_ROOM_BYTES, FRAME_HEAD_BYTES + r->body_max));
}

enum err frame_reader_room(struct frame_reader *r, uint8_t **ret_at,
                           size_t *ret_bytes)
{
    size_t have = r->end - r->from, want = room_wanted(r);

    if (want != r->room) {
        uint8_t *bytes = malloc(want);

        if (!bytes)
            return E_NOMEM;
        if (have)
            memcpy(bytes, r->bytes + r->from, have);
        free(r->bytes);
        r->bytes = bytes;
        r->room = want;
    } else if (r->from && have) {
        memmove(r->bytes, r->bytes + r->from, have);
    }
    r->from = 0;
    r->end = have;
    *ret_at = r->bytes + have;
    *ret_bytes = r->room - have;
    ASSERT(*ret_bytes > 0);
    return E_OK;
}

void frame_reader_filled(struct frame_reader *r, size_t count)
{
    ASSERT(count <= r->room - r->end);
    r->end += count;
}
