/* base/address.c - addresses with ports, as text and as the kernel wants them.
 * Looks nothing up.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

_Static_assert(offsetof(struct sockaddr_in, sin_port) ==
                   offsetof(struct sockaddr_in6, sin6_port),
               "address_same() compares either");

/* 0 … 65535, digits only; -1: something else. */
static int port_parse(const char *text)
{
    char *end;
    unsigned long port;

    if (!isdigit((unsigned char)*text))
        return -1;
    port = strtoul(text, &end, 10);
    return *end || end - text > 5 || port > UINT16_MAX ? -1 : (int)port;
}

enum err address_parse(const char *text, struct address *ret_address,
                       struct diag *why)
{
    const char *colon = strrchr(text, ':');
    int port = colon ? port_parse(colon + 1) : -1;
    struct address a = {.bytes = 0};
    char host[INET6_ADDRSTRLEN];
    size_t count;
    bool v6;

    if (port < 0)
        return diag_fail(why, E_CONFIG,
                         "\"%s\": no port; write it as 10.77.0.1:5678 or "
                         "[fd00::1]:5678",
                         text);
    count = (size_t)(colon - text);
    v6 = count >= 2 && text[0] == '[' && text[count - 1] == ']';
    if (v6) {
        text++;
        count -= 2;
    }
    snprintf(host, sizeof host, "%.*s", (int)min_u64(count, sizeof host), text);
    v6 = v6 && count < sizeof host; /* it is whole */
    if (v6 && inet_pton(AF_INET6, host, &a.v6.sin6_addr) == 1) {
        a.bytes = sizeof a.v6;
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons((uint16_t)port);
    } else if (!v6 && inet_pton(AF_INET, host, &a.v4.sin_addr) == 1) {
        a.bytes = sizeof a.v4;
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons((uint16_t)port);
    } else {
        return diag_fail(why, E_CONFIG,
                         "\"%s\": not the numbers of an address; names are "
                         "not looked up here",
                         host);
    }
    *ret_address = a;
    return E_OK;
}

void address_to_text(const struct address *a, char ret_text[ADDRESS_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (a->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof host);
        snprintf(ret_text, ADDRESS_TEXT_BYTES, "[%s]:%u", host,
                 ntohs(a->v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof host);
        snprintf(ret_text, ADDRESS_TEXT_BYTES, "%s:%u", host,
                 ntohs(a->v4.sin_port));
    }
}

bool address_same_host(const struct address *a, const struct address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET6)
        return !memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr,
                       sizeof a->v6.sin6_addr);
    return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

bool address_same(const struct address *a, const struct address *b)
{
    /* The port is at one place in both. */
    return address_same_host(a, b) && a->v4.sin_port == b->v4.sin_port;
}
