/* tests/unit/base/wire.c - fixture: hosts that write down what they hear.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/base/wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct cluster_key wire_key = {
    {0x5a, 1, 2, 3}
};

PRINTF_LIKE(2, 3)
static void hear(struct wire_host *h, const char *fmt, ...)
{
    size_t used = strlen(h->heard);
    va_list args;

    va_start(args, fmt);
    vsnprintf(h->heard + used, sizeof h->heard - used, fmt, args);
    va_end(args);
    h->wire->changed = true;
}

static struct wire_host *host_of(struct transport_ear *ear)
{
    return container_of(ear, struct wire_host, ear);
}

static void check_message(struct wire_host *h, const void *bytes, size_t count)
{
    uint32_t number;

    if (h->numbers) {
        memcpy(&number, bytes, sizeof number);
        h->bad += number != h->messages;
    } else if (h->pattern_seed && count > 1000) {
        h->bad += pattern_check(bytes, count, h->pattern_seed, 0) != count;
    }
}

static void hear_message(struct transport_ear *ear, uint32_t from,
                         const void *bytes, size_t count)
{
    struct wire_host *h = host_of(ear);

    check_message(h, bytes, count);
    h->messages++;
    h->bytes += count;
    h->wire->changed = true;
    if (!h->quiet && count > 1000)
        hear(h, "%u:%zu %s ", from, count, h->bad ? "bad" : "good");
    else if (!h->quiet)
        hear(h, "%u:%.*s ", from, (int)count, (const char *)bytes);
    if (h->on_message)
        h->on_message(h);
}

static void hear_loss(struct transport_ear *ear, uint32_t from)
{
    host_of(ear)->losts++;
    hear(host_of(ear), "lost%u ", from);
}

static void hear_meeting(struct transport_ear *ear, uint32_t from,
                         uint64_t incarnation)
{
    host_of(ear)->mets++;
    hear(host_of(ear), "met%u.%llu ", from, (unsigned long long)incarnation);
}

static void hear_room(struct transport_ear *ear, uint32_t to)
{
    struct wire_host *h = host_of(ear);

    (void)to;
    h->writables++;
    h->wire->changed = true;
    if (h->on_writable)
        h->on_writable(h);
}

static void hear_line(struct transport_ear *ear, const char *line)
{
    struct wire_host *h = host_of(ear);
    size_t used = strlen(h->said);

    snprintf(h->said + used, sizeof h->said - used, "%s\n", line);
    h->says++;
    h->wire->changed = true;
}

void wire_init(struct wire *w, uint32_t hosts)
{
    static const char *const names[] = {"", "h1", "h2", "h3", "h4"};

    memset(w, 0, sizeof *w);
    world_init(&w->world);
    for (uint32_t node = 1; node <= WIRE_HOSTS; node++) {
        struct wire_host *h = &w->hosts[node];

        h->wire = w;
        h->ear = (struct transport_ear){hear_message, hear_loss, hear_meeting,
                                        hear_room};
        h->args = (struct transport_tls_args){
            .loop = w->world.loop,
            .ear = &h->ear,
            .node = node,
            .incarnation = 100 + node,
            .host = names[node],
            .cluster = "demo",
            .key = &wire_key,
            .listen = "127.0.0.1:0",
            .say = hear_line,
        };
    }
    for (uint32_t node = 1; node <= hosts; node++)
        wire_open(w, node);
}

void wire_fini(struct wire *w)
{
    for (uint32_t node = 1; node <= WIRE_HOSTS; node++)
        wire_close(w, node);
    loop_run_ready(w->world.loop);
    world_fini(&w->world);
}

struct transport_tls_args *wire_args(struct wire *w, uint32_t node)
{
    return &w->hosts[node].args;
}

void wire_open(struct wire *w, uint32_t node)
{
    struct diag why;

    if (transport_tls_open(&w->hosts[node].args, &why,
                           &w->hosts[node].transport)) {
        fprintf(stderr, "%s\n", why.text);
        abort();
    }
}

void wire_close(struct wire *w, uint32_t node)
{
    transport_close(TAKE(w->hosts[node].transport));
}

void wire_tell(struct wire *w, uint32_t whom, uint32_t of)
{
    char address[32];

    snprintf(address, sizeof address, "127.0.0.1:%u",
             transport_tls_port(w->hosts[of].transport));
    CHECK_OK(transport_tls_peer(w->hosts[whom].transport,
                                w->hosts[of].args.node, address, NULL));
}

void wire_announce(struct wire *w)
{
    for (uint32_t whom = 1; whom <= WIRE_HOSTS; whom++)
        for (uint32_t of = 1; of <= WIRE_HOSTS; of++)
            if (w->hosts[whom].transport && w->hosts[of].transport)
                wire_tell(w, whom, of);
}

void wire_connect(struct wire *w)
{
    unsigned open = 0;

    for (uint32_t node = 1; node <= WIRE_HOSTS; node++)
        open += w->hosts[node].transport != NULL;
    wire_announce(w);
    for (uint32_t node = 1; node <= WIRE_HOSTS; node++)
        if (w->hosts[node].transport)
            WIRE_UNTIL(w, w->hosts[node].mets == open - 1);
}

void wire_say(struct wire *w, uint32_t from, uint32_t to, const char *text)
{
    CHECK_OK(transport_send(w->hosts[from].transport, to, text, strlen(text)));
}

/* -- the raw peer ---------------------------------------------------------- */

static void give_up(const char *what)
{
    perror(what);
    abort();
}

void raw_dial(struct wire *w, struct raw *r, uint32_t to)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET,
        .sin_port = htons(transport_tls_port(w->hosts[to].transport)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };

    *r = (struct raw){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    if (connect(r->fd, (struct sockaddr *)&a, sizeof a) ||
        fcntl(r->fd, F_SETFL, O_NONBLOCK))
        give_up("connect");
}

void raw_wait(struct wire *w, const struct raw *r)
{
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    int rounds = 0;

    do {
        loop_run_ready(w->world.loop);
        if (++rounds > WORLD_LIMIT_MS)
            give_up("a raw peer waited too long");
    } while (poll(&p, 1, 1) == 0);
}

enum err raw_handshake(struct wire *w, struct raw *r,
                       const struct cluster_key *key, struct diag *why)
{
    enum err e, sent;

    if (tls_context_new(key, NULL, &r->context) ||
        tls_new(r->context, r->fd, TLS_DIALS, &r->tls))
        give_up("tls_new");
    for (;;) {
        e = tls_handshake(r->tls, why);
        sent = tls_flush(r->tls, SIZE_MAX);
        if (e != E_AGAIN || sent == E_CLOSED)
            return e;
        raw_wait(w, r);
    }
}

void raw_send(struct raw *r, const void *bytes, size_t count)
{
    union {
        const void *in;
        void *out;
    } p = {.in = bytes};
    const struct iovec iov = {p.out, count};

    if (tls_write(r->tls, &iov, 1) || tls_flush(r->tls, SIZE_MAX))
        give_up("tls_write");
}

void raw_send_frame(struct raw *r, enum frame_kind kind, const void *bytes,
                    size_t count)
{
    uint8_t head[FRAME_HEAD_BYTES];

    frame_head_encode(head, kind, count);
    raw_send(r, head, sizeof head);
    if (count)
        raw_send(r, bytes, count);
}

struct hello raw_hello(const struct wire *w, uint32_t node, uint64_t more)
{
    struct hello h = {
        .version_lowest = HELLO_VERSION,
        .version_highest = HELLO_VERSION,
        .node = node,
        .incarnation = 100 + more,
    };
    const char *cluster = w->hosts[1].args.cluster;

    snprintf(h.host, sizeof h.host, "h%u", node);
    SHA256((const unsigned char *)cluster, strlen(cluster), h.cluster);
    return h;
}

void raw_send_hello(struct raw *r, const struct hello *h)
{
    uint8_t body[HELLO_BODY_BYTES_MAX];

    raw_send_frame(r, FRAME_HELLO, body, hello_encode(h, body));
}

void raw_meet(struct wire *w, struct raw *r, uint32_t to, uint32_t node,
              uint64_t more)
{
    unsigned mets = w->hosts[to].mets;
    struct hello h = raw_hello(w, node, more);

    raw_dial(w, r, to);
    CHECK_OK(raw_handshake(w, r, &wire_key, NULL));
    raw_send_hello(r, &h);
    raw_send_frame(r, FRAME_WELCOME, NULL, 0);
    WIRE_UNTIL(w, w->hosts[to].mets == mets + 1);
}

enum refusal raw_until_closed(struct wire *w, struct raw *r, struct diag *why)
{
    enum refusal refusal = REFUSAL_NONE;
    struct frame_reader in;
    struct frame f;
    enum err e;

    frame_reader_init(&in, HELLO_BODY_BYTES_MAX);
    for (;;) {
        uint8_t *at;
        size_t room, count;

        if (frame_reader_room(&in, &at, &room))
            give_up("room");
        e = tls_read(r->tls, at, room, &count, NULL);
        if (e == E_AGAIN) {
            raw_wait(w, r);
            continue;
        }
        if (e)
            break;
        frame_reader_filled(&in, count);
        while (!frame_reader_next(&in, &f, NULL))
            if (f.kind == FRAME_REFUSE)
                CHECK_OK(refusal_decode(f.bytes, f.count, &refusal, why));
    }
    frame_reader_fini(&in);
    return refusal;
}

void raw_close(struct raw *r)
{
    tls_free(r->tls);
    tls_context_free(r->context);
    close(r->fd);
}
