/* tests/fuzz/fuzz_wire.c - any bytes as what a peer sends: frames, in pieces of
 * any size, and in them HELLO and REFUSE.  What decodes encodes to the same.
 * Byte 0 is the size of the pieces, byte 1 says whether the peer is met.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport_frame.h"
#include "base/transport_hello.h"
#include "base/transport_tls.h"

#include <string.h>

static const struct hello me = {.version_lowest = 1,
                                .version_highest = 1,
                                .node = 2,
                                .incarnation = 5,
                                .host = "h2"};

static void judge(const struct hello *peer)
{
    const struct hello_rules rules = {.me = &me,
                                      .nodes_max = TRANSPORT_TLS_NODES_MAX};
    struct hello_known known = {
        .seen = true, .here = peer->features & 1, .incarnation = 4};
    struct diag why = {.text = ""};
    enum refusal refusal;

    memcpy(known.host, "h1", sizeof "h1");
    refusal = hello_judge(&rules, &known, peer, &why);
    if (refusal)
        ASSERT(why.text[0]);
    else
        ASSERT(peer->node == 1 && peer->incarnation >= 4);
}

static void take_hello(const struct frame *f)
{
    uint8_t again[HELLO_BODY_BYTES_MAX];
    struct hello h;
    struct diag why;
    size_t count;

    if (hello_decode(f->bytes, f->count, &h, &why))
        return;
    count = hello_encode(&h, again);
    ASSERT(count <= f->count && memcmp(again, f->bytes, count) == 0);
    judge(&h);
}

static void take_refuse(const struct frame *f)
{
    enum refusal refusal;
    struct diag why;

    if (refusal_decode(f->bytes, f->count, &refusal, &why))
        return;
    ASSERT(refusal > REFUSAL_NONE && refusal <= REFUSAL_COUNT);
    ASSERT(strlen(why.text) <= f->count);
}

static void take_frames(struct frame_reader *r, enum err *e)
{
    struct frame f;
    struct diag why;

    while (!(*e = frame_reader_next(r, &f, &why))) {
        ASSERT(f.count <= r->body_max);
        if (f.kind == FRAME_HELLO)
            take_hello(&f);
        else if (f.kind == FRAME_REFUSE)
            take_refuse(&f);
    }
    ASSERT(*e == E_AGAIN || (*e == E_PROTOCOL && why.text[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_reader r;
    enum err e = E_AGAIN;
    size_t step;

    if (size < 2)
        return 0;
    step = data[0] ? data[0] : SIZE_MAX;
    frame_reader_init(&r, data[1] & 1 ? TRANSPORT_MESSAGE_BYTES_MAX
                                      : HELLO_BODY_BYTES_MAX);
    data += 2;
    size -= 2;
    while (size && e == E_AGAIN) {
        uint8_t *at;
        size_t room;

        ASSERT(!frame_reader_room(&r, &at, &room));
        ASSERT(r.room <= FRAME_HEAD_BYTES + r.body_max);
        room = min_u64(min_u64(room, step), size);
        memcpy(at, data, room);
        frame_reader_filled(&r, room);
        data += room;
        size -= room;
        take_frames(&r, &e);
    }
    frame_reader_fini(&r);
    return 0;
}
