/* tests/unit/base/test_transport_frame.c - messages cut out of a stream.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport_frame.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#include <string.h>

enum { BODY_MAX = 4 << 20 };

/* Feed at most `step` bytes at a time; returns what is left of `count`, when
 * there is a frame or an error. */
static enum err feed(struct frame_reader *r, const uint8_t **bytes,
                     size_t *count, size_t step, struct frame *ret_frame,
                     struct diag *why)
{
    for (;;) {
        enum err e = frame_reader_next(r, ret_frame, why);
        uint8_t *at;
        size_t room;

        if (e != E_AGAIN || *count == 0)
            return e;
        CHECK_OK_FATAL(frame_reader_room(r, &at, &room));
        room = min_u64(min_u64(room, step), *count);
        memcpy(at, *bytes, room);
        frame_reader_filled(r, room);
        *bytes += room;
        *count -= room;
    }
}

/* Frames of these sizes in one stream, the first byte of each its number. */
static size_t make_stream(uint8_t *out, const size_t *sizes, size_t n)
{
    uint8_t *at = out;

    for (size_t i = 0; i < n; i++) {
        frame_head_encode(at, FRAME_MESSAGE, sizes[i]);
        at += FRAME_HEAD_BYTES;
        pattern_fill(at, sizes[i], i, 0);
        at += sizes[i];
    }
    return (size_t)(at - out);
}

static void frames_come_out_whole_however_the_bytes_come(void)
{
    static const size_t sizes[] = {0,     1,     7,        40000, 0,
                                   32760, 32761, 32 << 10, 3,     100000};
    static const size_t steps[] = {1, 7, 8, 9, 1000, 16384, SIZE_MAX};
    static uint8_t stream[400000];
    size_t total = make_stream(stream, sizes, ARRAY_LEN(sizes));

    for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
        const uint8_t *at = stream;
        size_t count = total;
        struct frame_reader r;
        struct frame f;

        frame_reader_init(&r, BODY_MAX);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            CHECK_OK(feed(&r, &at, &count, steps[s], &f, NULL));
            CHECK_EQ(f.kind, FRAME_MESSAGE);
            CHECK_EQ(f.count, sizes[i]);
            CHECK_EQ(pattern_check(f.bytes, f.count, i, 0), f.count);
        }
        CHECK_ERR(feed(&r, &at, &count, 1, &f, NULL), E_AGAIN);
        frame_reader_fini(&r);
    }
}

static enum err feed_head(uint32_t count, uint32_t kind, size_t body_max,
                          struct frame_reader *r, struct diag *why)
{
    uint8_t head[FRAME_HEAD_BYTES];
    const uint8_t *at = head;
    size_t left = sizeof head;
    struct frame f;

    frame_reader_init(r, body_max);
    frame_head_encode(head, (enum frame_kind)kind, count);
    return feed(r, &at, &left, SIZE_MAX, &f, why);
}

static void head_that_promises_too_much_is_refused_before_memory_is_spent(void)
{
    struct frame_reader r;
    struct diag why;

    CHECK_ERR(feed_head(513, FRAME_HELLO, 512, &r, &why), E_PROTOCOL);
    CHECK_STR(why.text, "frame of 513 bytes, where at most 512 are allowed");
    CHECK_EQ(r.room, FRAME_HEAD_BYTES + 512);
    frame_reader_fini(&r);
    CHECK_ERR(feed_head(UINT32_MAX, FRAME_MESSAGE, BODY_MAX, &r, &why),
              E_PROTOCOL);
    frame_reader_fini(&r);
    CHECK_ERR(feed_head(512, FRAME_HELLO, 512, &r, &why), E_AGAIN);
    frame_reader_fini(&r);
}

static void unknown_kinds_are_refused(void)
{
    static const uint32_t kinds[] = {0, FRAME_MESSAGE + 1, UINT32_MAX};
    struct frame_reader r;
    struct diag why;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        CHECK_ERR(feed_head(0, kinds[i], 512, &r, &why), E_PROTOCOL);
        CHECK_CONTAINS(why.text, "frame of kind ");
        frame_reader_fini(&r);
    }
}

static void buffer_grows_to_the_message_and_shrinks_again(void)
{
    static size_t sizes[1 + FRAME_SMALL_RUN + 1] = {1 << 20};
    static uint8_t stream[(1 << 20) + 4096];
    const uint8_t *at = stream;
    size_t left = make_stream(stream, sizes, ARRAY_LEN(sizes));
    struct frame_reader r;
    struct frame f;

    frame_reader_init(&r, BODY_MAX);
    CHECK_OK(feed(&r, &at, &left, 16384, &f, NULL));
    CHECK_EQ(r.room, FRAME_HEAD_BYTES + (1 << 20));
    for (unsigned i = 0; i < FRAME_SMALL_RUN; i++) {
        CHECK_EQ(r.room, FRAME_HEAD_BYTES + (1 << 20));
        CHECK_OK(feed(&r, &at, &left, 8, &f, NULL));
    }
    CHECK_OK(feed(&r, &at, &left, 8, &f, NULL));
    CHECK_EQ(r.room, FRAME_ROOM_BYTES);
    frame_reader_fini(&r);
}

static const struct test tests[] = {
    TEST(frames_come_out_whole_however_the_bytes_come),
    TEST(head_that_promises_too_much_is_refused_before_memory_is_spent),
    TEST(unknown_kinds_are_refused),
    TEST(buffer_grows_to_the_message_and_shrinks_again),
};
TEST_SUITE("base/transport_frame", tests);
