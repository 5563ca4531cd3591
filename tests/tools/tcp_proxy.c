/* tests/tools/tcp_proxy.c - stands between an initiator and its target, breaks
 * the connection when told to, and says which PDUs went by.
 *
 *   tcp_proxy LISTEN-PORT TARGET-PORT      both on 127.0.0.1
 *
 * Commands, one per line on stdin:
 *   cut      reset all connections            refuse   accept no new ones
 *   mute     keep what the target answers     accept   accept again
 *   stall    keep both directions             resume   let all flow again
 *   swallow  drop the answers to commands (not to NOPs, logins, TMFs)
 *   lose N   drop the next N SCSI Responses, then print "all lost"
 *   mark X   print "mark X"
 * On stdout, for what the initiator sends: "login", "write", "read", "unmap",
 * "flush", "same", "pr" (PERSISTENT RESERVE OUT), "reset" (LOGICAL UNIT RESET),
 * "abort" (ABORT TASK).
 * Knows iSCSI (RFC 7143 11.2) well enough for that, without digests.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINKS_MAX = 64, BUFFER_BYTES = 1 << 18, HEADER_BYTES = 48 };

/* One direction of a link. */
struct flow {
    int from, to;
    size_t held;
    uint8_t bytes[BUFFER_BYTES];
    uint8_t header[HEADER_BYTES]; /* of the PDU that goes by now */
    size_t header_have, skip;
    bool drop;
};

struct link {
    bool used;
    struct flow up, down;
};

static struct link links[LINKS_MAX];
static bool muted, stalled, refusing, swallowing;
static long to_lose;
static struct sockaddr_in target;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void say(const char *what)
{
    puts(what);
    fflush(stdout);
}

/* -- what goes by ---------------------------------------------------------- */

static void name_command(uint8_t opcode)
{
    static const struct {
        uint8_t opcode;
        const char *name;
    } rows[] = {
        {0x8a, "write"},
        {0x88, "read" },
        {0x42, "unmap"},
        {0x91, "flush"},
        {0x93, "same" },
        {0x5f, "pr"   }
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].opcode == opcode)
            say(rows[i].name);
}

static void name_pdu(const uint8_t *h)
{
    uint8_t opcode = h[0] & 0x3f;

    if (opcode == 0x01)
        name_command(h[32]);
    else if (opcode == 0x02)
        say((h[1] & 0x7f) == 5 ? "reset" : "abort");
    else if (opcode == 0x03)
        say("login");
}

/* Is what begins with this byte kept from the initiator? */
static bool drops(uint8_t first)
{
    uint8_t opcode = first & 0x3f;

    if (opcode == 0x21 && to_lose) {
        if (--to_lose == 0)
            say("all lost");
        return true;
    }
    return swallowing && (opcode == 0x21 || opcode == 0x25);
}

/* A header is whole: say what it is, and skip what follows it. */
static void pass_header(struct flow *f, bool up)
{
    const uint8_t *h = f->header;
    size_t data = (size_t)h[5] << 16 | (size_t)h[6] << 8 | h[7];

    if (up)
        name_pdu(h);
    f->skip = h[4] * (size_t)4 + ((data + 3) & ~(size_t)3);
    f->header_have = 0;
}

/* Look at what came; returns how much of it is to go on. */
static size_t watch(struct flow *f, uint8_t *bytes, size_t count, bool up)
{
    uint8_t *const first = bytes;
    uint8_t *kept = bytes;

    while (count) {
        size_t piece = f->skip ? f->skip : HEADER_BYTES - f->header_have;

        if (piece > count)
            piece = count;
        if (f->skip) {
            f->skip -= piece;
        } else {
            if (!f->header_have)
                f->drop = !up && drops(*bytes);
            memcpy(f->header + f->header_have, bytes, piece);
            f->header_have += piece;
        }
        if (!f->drop) {
            memmove(kept, bytes, piece);
            kept += piece;
        }
        bytes += piece;
        count -= piece;
        if (f->header_have == HEADER_BYTES)
            pass_header(f, up);
    }
    return (size_t)(kept - first);
}

/* -- links ----------------------------------------------------------------- */

static void link_close(struct link *l)
{
    close(l->up.from);
    close(l->up.to);
    l->used = false;
}

static void link_open(int client)
{
    int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct link *l = NULL;

    for (int i = 0; i < LINKS_MAX && !l; i++)
        if (!links[i].used)
            l = &links[i];
    if (!l || refusing || server < 0 ||
        connect(server, (struct sockaddr *)&target, sizeof target)) {
        close(client);
        close(server);
        return;
    }
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    memset(l, 0, sizeof *l);
    l->used = true;
    l->up.from = l->down.to = client;
    l->up.to = l->down.from = server;
}

/* Pass on what there is; false: the link is over. */
static bool flow_move(struct link *l, struct flow *f, short events, bool hold)
{
    if ((events & (POLLIN | POLLHUP | POLLERR)) && f->held < BUFFER_BYTES) {
        ssize_t n = recv(f->from, f->bytes + f->held, BUFFER_BYTES - f->held,
                         MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN))
            return false;
        if (n > 0)
            f->held += watch(f, f->bytes + f->held, (size_t)n, f == &l->up);
    }
    if (f->held && !hold) {
        ssize_t n = send(f->to, f->bytes, f->held, MSG_NOSIGNAL);

        if (n < 0)
            return false;
        memmove(f->bytes, f->bytes + n, f->held - (size_t)n);
        f->held -= (size_t)n;
    }
    return true;
}

/* -- commands -------------------------------------------------------------- */

static void cut(void)
{
    struct linger reset = {1, 0};

    for (int i = 0; i < LINKS_MAX; i++) {
        if (!links[i].used)
            continue;
        setsockopt(links[i].up.from, SOL_SOCKET, SO_LINGER, &reset,
                   sizeof reset);
        link_close(&links[i]);
    }
}

static void obey(char *line)
{
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "cut") == 0)
        cut();
    else if (strcmp(line, "mute") == 0)
        muted = true;
    else if (strcmp(line, "stall") == 0)
        stalled = true;
    else if (strcmp(line, "resume") == 0)
        muted = stalled = swallowing = false;
    else if (strcmp(line, "swallow") == 0)
        swallowing = true;
    else if (strcmp(line, "refuse") == 0)
        refusing = true;
    else if (strcmp(line, "accept") == 0)
        refusing = false;
    else if (strncmp(line, "lose ", 5) == 0)
        to_lose = strtol(line + 5, NULL, 10);
    else if (strncmp(line, "mark ", 5) != 0)
        fprintf(stderr, "tcp_proxy: what is \"%s\"?\n", line);
    say(line);
}

static void obey_stdin(void)
{
    static char text[256];
    static size_t have;
    ssize_t n = read(0, text + have, sizeof text - 1 - have);
    char *end;

    if (n <= 0)
        exit(0);
    have += (size_t)n;
    text[have] = '\0';
    while ((end = strchr(text, '\n'))) {
        size_t line = (size_t)(end - text) + 1;

        *end = '\0';
        obey(text);
        memmove(text, text + line, have - line + 1);
        have -= line;
    }
}

static int listen_on(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 16))
        die("listen");
    return fd;
}

static void serve_once(int listener)
{
    struct pollfd fds[2 + 2 * LINKS_MAX] = {
        {0,        POLLIN, 0},
        {listener, POLLIN, 0}
    };

    for (int i = 0; i < LINKS_MAX; i++) {
        struct link *l = &links[i];
        bool quiet_up = stalled || l->up.held == BUFFER_BYTES;
        bool quiet_down = stalled || muted || l->down.held == BUFFER_BYTES;

        fds[2 + 2 * i] =
            (struct pollfd){l->used && !quiet_up ? l->up.from : -1, POLLIN, 0};
        fds[3 + 2 * i] = (struct pollfd){
            l->used && !quiet_down ? l->down.from : -1, POLLIN, 0};
    }
    if (poll(fds, 2 + 2 * LINKS_MAX, 20) < 0)
        die("poll");
    for (int i = 0; i < LINKS_MAX; i++) {
        struct link *l = &links[i];

        if (l->used &&
            (!flow_move(l, &l->up, fds[2 + 2 * i].revents, stalled) ||
             !flow_move(l, &l->down, fds[3 + 2 * i].revents, stalled || muted)))
            link_close(l);
    }
    if (fds[1].revents)
        link_open(accept(listener, NULL, NULL));
    if (fds[0].revents)
        obey_stdin();
}

int main(int argc, char **argv)
{
    int listener;

    if (argc != 3) {
        fprintf(stderr, "usage: tcp_proxy LISTEN-PORT TARGET-PORT\n");
        return 2;
    }
    target.sin_family = AF_INET;
    target.sin_port = htons((uint16_t)strtol(argv[2], NULL, 10));
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = listen_on((int)strtol(argv[1], NULL, 10));
    signal(SIGPIPE, SIG_IGN);
    say("listening");
    for (;;)
        serve_once(listener);
}
