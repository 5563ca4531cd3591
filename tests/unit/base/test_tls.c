/* tests/unit/base/test_tls.c - two ends of TLS over a pair of sockets.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/tls.h"
#include "tests/lib/test.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const struct cluster_key key = {
    {9, 8, 7}
};

/* OpenSSL's idea of now: it has no clock to hand in, but it asks libc, and what
 * the program defines comes before that. */
static time_t shift_s;
time_t shifted_time(time_t *ret_time) __asm__("time");
time_t shifted_time(time_t *ret_time)
{
    struct timespec now;

    timespec_get(&now, TIME_UTC);
    if (ret_time)
        *ret_time = now.tv_sec + shift_s;
    return now.tv_sec + shift_s;
}

struct pair {
    int fds[2];
    struct tls_context *contexts[2];
    struct tls *ends[2]; /* dials, answers */
};

static void pair_init(struct pair *p)
{
    ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds));
    for (int i = 0; i < 2; i++)
        CHECK_OK_FATAL(tls_context_new(&key, NULL, &p->contexts[i]));
}

/* What the one that fails, or the second one that is ready, came to. */
static enum err pair_shake_hands(struct pair *p, struct diag *why)
{
    enum err e[2] = {E_AGAIN, E_AGAIN};

    CHECK_OK_FATAL(tls_new(p->contexts[0], p->fds[0], TLS_DIALS, &p->ends[0]));
    CHECK_OK_FATAL(
        tls_new(p->contexts[1], p->fds[1], TLS_ANSWERS, &p->ends[1]));
    for (int i = 0; e[0] || e[1]; i ^= 1) {
        if (e[i])
            e[i] = tls_handshake(p->ends[i], why);
        CHECK_OK(tls_flush(p->ends[i], SIZE_MAX));
        if (e[i] && e[i] != E_AGAIN)
            return e[i];
    }
    return E_OK;
}

static void pair_fini(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        tls_free(p->ends[i]);
        tls_context_free(p->contexts[i]);
        close(p->fds[i]);
    }
}

static void key_does_not_grow_old(void)
{
    static const int years[] = {0, 20, -20};
    struct diag why = {.text = ""};

    for (size_t i = 0; i < ARRAY_LEN(years); i++) {
        struct pair p;

        pair_init(&p);
        shift_s = (time_t)years[i] * 365 * 24 * 3600;
        CHECK_OK(pair_shake_hands(&p, &why));
        CHECK_STR(why.text, "");
        shift_s = 0;
        pair_fini(&p);
    }
}

static int bytes_waiting(const struct pair *p)
{
    int count;

    ASSERT(!ioctl(p->fds[1], FIONREAD, &count));
    return count;
}

/* A record of one byte is 23 bytes; where there are more, a new key was
 * announced. */
static void new_keys_are_made_after_so_many_records(void)
{
    char sent[] = "x";
    const struct iovec iov = {sent, 1};
    unsigned announced = 0;
    struct pair p;

    pair_init(&p);
    CHECK_OK(pair_shake_hands(&p, NULL));
    tls_rekey_after(p.ends[0], 10);
    for (unsigned i = 0; i < 100; i++) {
        char got = 0;
        size_t count;

        sent[0] = (char)i;
        CHECK_OK(tls_write(p.ends[0], &iov, 1));
        CHECK_OK(tls_flush(p.ends[0], SIZE_MAX));
        announced += bytes_waiting(&p) > 23;
        CHECK_OK(tls_read(p.ends[1], &got, 1, &count, NULL));
        CHECK_EQ(got, i);
    }
    CHECK_EQ(announced, 9);
    pair_fini(&p);
}

static void small_writes_share_a_record(void)
{
    char bytes[100] = "";
    const struct iovec iov = {bytes, sizeof bytes};
    struct pair p;

    pair_init(&p);
    CHECK_OK(pair_shake_hands(&p, NULL));
    for (int i = 0; i < 100; i++)
        CHECK_OK(tls_write(p.ends[0], &iov, 1));
    CHECK_EQ(bytes_waiting(&p), 0);
    CHECK_EQ(tls_unsent(p.ends[0]), 10000);
    CHECK_OK(tls_flush(p.ends[0], SIZE_MAX));
    CHECK_EQ(bytes_waiting(&p), 10022);
    CHECK_EQ(tls_unsent(p.ends[0]), 0);
    pair_fini(&p);
}

/* Else who sends until there is no room would never stop. */
static void writes_without_a_flush_fill_the_queue_however_the_peer_reads(void)
{
    enum { WRITES = 200, BYTES = 64 << 10 };
    static char bytes[BYTES], got[BYTES];
    const struct iovec iov = {bytes, sizeof bytes};
    size_t count, read = 0;
    struct pair p;

    pair_init(&p);
    CHECK_OK(pair_shake_hands(&p, NULL));
    for (int i = 0; i < WRITES; i++) {
        CHECK_OK(tls_write(p.ends[0], &iov, 1));
        while (!tls_read(p.ends[1], got, sizeof got, &count, NULL))
            read += count;
    }
    CU_ASSERT(read > 0); /* some was sent early */
    CU_ASSERT(tls_unsent(p.ends[0]) > WRITES * BYTES / 2);
    while (read < WRITES * BYTES) {
        tls_flush(p.ends[0], SIZE_MAX);
        while (!tls_read(p.ends[1], got, sizeof got, &count, NULL))
            read += count;
    }
    CHECK_EQ(tls_unsent(p.ends[0]), 0);
    pair_fini(&p);
}

static void changed_byte_on_the_wire_is_found(void)
{
    char bytes[100] = "", got[200];
    const struct iovec iov = {bytes, sizeof bytes};
    struct diag why;
    struct pair p;
    size_t count;

    pair_init(&p);
    CHECK_OK(pair_shake_hands(&p, NULL));
    CHECK_OK(tls_write(p.ends[0], &iov, 1));
    CHECK_OK(tls_flush(p.ends[0], SIZE_MAX));
    CHECK_EQ(recv(p.fds[1], got, sizeof got, 0), 122);
    got[60] ^= 1;
    CHECK_EQ(send(p.fds[0], got, 122, 0), 122);
    CHECK_ERR(tls_read(p.ends[1], got, sizeof got, &count, &why), E_PROTOCOL);
    CHECK_CONTAINS(why.text, "bad record mac");
    pair_fini(&p);
}

static const struct test tests[] = {
    TEST(key_does_not_grow_old),
    TEST(new_keys_are_made_after_so_many_records),
    TEST(small_writes_share_a_record),
    TEST(writes_without_a_flush_fill_the_queue_however_the_peer_reads),
    TEST(changed_byte_on_the_wire_is_found),
};
TEST_SUITE("base/tls", tests);
