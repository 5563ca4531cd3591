/* tests/fuzz/fuzz_guard.c - any bytes as what other daemons say: messages to a
 * guard whose LUN is away, between views, and notices to all.  Each is behind
 * its length (u16).  What is no message is dropped; nothing else happens.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/endian.h"
#include "lunard/guard.h"

#include <string.h>

enum { ME = 2, NODES = 4, HEAD_BYTES = 3, SUSPECT_MS = 5000 };

static struct guard *guard;
static struct loop *loop;
static struct lm_view view;

/* -- what is around a guard ------------------------------------------------ */

static void open_database(void *user, uint64_t epoch,
                          const struct fs_sender *others, unsigned count,
                          uint32_t ticket)
{
    (void)user, (void)epoch, (void)others, (void)count;
    guard_on_opened(guard, ticket, E_IO);
}

static void close_database(void *user, uint32_t ticket)
{
    (void)user;
    guard_on_closed(guard, ticket);
}

static void say_yes_or_no(void *user, bool yes)
{
    (void)user, (void)yes;
}

static void follow(void *user, uint32_t node)
{
    (void)user;
    ASSERT(node >= 1 && node <= LM_NODES_MAX);
}

static void hear_of_run(void *user, struct lm_run run)
{
    (void)user;
    ASSERT(run.node >= 1 && run.node <= LM_NODES_MAX);
}

static void send_message(void *user, uint32_t node,
                         const struct guard_message *m)
{
    (void)user, (void)m;
    ASSERT(node <= LM_NODES_MAX);
}

static void announce(void *user, const notice *n)
{
    (void)user, (void)n;
}

static void hear_of_view(void *user, uint64_t view_id)
{
    (void)user, (void)view_id;
}

static void hear_text(void *user, const char *text)
{
    (void)user;
    ASSERT(text);
}

static bool have_no_agent(void *user, struct lm_run run, const char *host)
{
    hear_of_run(user, run);
    ASSERT(host);
    return false;
}

static const struct guard_ops ops = {
    .open = open_database,
    .close = close_database,
    .hold = say_yes_or_no,
    .cache = say_yes_or_no,
    .follow = follow,
    .release = hear_of_run,
    .send = send_message,
    .announce = announce,
    .accuse = hear_of_run,
    .won = hear_of_view,
    .alarm = hear_text,
    .agent = have_no_agent,
    .over = hear_text,
};

/* -- what is said ---------------------------------------------------------- */

static void begin(void)
{
    struct guard_args args = {
        .ops = &ops,
        .me = {ME, 1},
        .host = "fuzz",
        .cluster = 1,
        .suspect_ms = SUSPECT_MS
    };

    if (!loop)
        ASSERT(!loop_new(&(struct loop_args){.name = "fuzz"}, &loop));
    loop_adopt(loop);
    args.loop = loop;
    ASSERT(!guard_new(&args, &guard));
    memset(&view, 0, sizeof view);
}

static void take_view(uint8_t members)
{
    view.id++;
    view.quorate = members & 1;
    view.tie = members & 1 << 5;
    view.arbiter = members & 1 << 6;
    view.members = members >> 1 & 0xf;
    view.paths = view.members & ~(1u << (ME - 1));
    for (uint32_t i = 0; i < NODES; i++)
        view.incarnation[i] = 1;
    guard_on_view(guard, &view);
}

static bool_t decode(XDR *xdr, xdrproc_t proc, void *to, const uint8_t *bytes,
                     size_t count)
{
    union {
        const uint8_t *in;
        char *out;
    } p = {.in = bytes};

    xdrmem_create(xdr, p.out, (u_int)count, XDR_DECODE);
    return proc(xdr, to);
}

static void take_message(uint8_t from, const uint8_t *bytes, size_t count)
{
    struct guard_message m = {.word = 0};
    XDR xdr;

    if (decode(&xdr, (xdrproc_t)xdr_guard_message, &m, bytes, count))
        guard_on_message(guard, (struct lm_run){1 + from % NODES, 1}, &m);
    xdr_destroy(&xdr);
    xdr_free((xdrproc_t)xdr_guard_message, (char *)&m);
}

static void take_notice(const uint8_t *bytes, size_t count)
{
    notice n = {.kind = 0};
    XDR xdr;

    if (decode(&xdr, (xdrproc_t)xdr_notice, &n, bytes, count))
        ASSERT(n.kind);
    xdr_destroy(&xdr);
    xdr_free((xdrproc_t)xdr_notice, (char *)&n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    while (size >= HEAD_BYTES) {
        size_t count = le16_load(data + 1);
        uint8_t what = data[0];

        data += HEAD_BYTES;
        size -= HEAD_BYTES;
        count = count < size ? count : size;
        if (what & 0x80)
            take_view(what);
        else if (what & 0x40)
            take_notice(data, count);
        else
            take_message(what, data, count);
        loop_run_ready(loop);
        data += count;
        size -= count;
    }
    guard_stop(guard);
    loop_run_ready(loop);
    guard_free(guard);
    loop_adopt(NULL);
    return 0;
}
