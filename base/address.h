/* base/address.h - the address and port of one end of a TCP connection.
 * Numbers only: a name would have to be looked up, which blocks.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_ADDRESS_H
#define LUNAR_BASE_ADDRESS_H

#include "base/err.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t bytes; /* of the member that holds */
};

enum { ADDRESS_TEXT_BYTES = INET6_ADDRSTRLEN + sizeof "[]:65535" };

/* "10.77.0.1:5678" or "[fd00::1]:5678".  Errors: E_CONFIG, with the cure. */
MUST_CHECK enum err address_parse(const char *text, struct address *ret_address,
                                  struct diag *why);
void address_to_text(const struct address *a,
                     char ret_text[ADDRESS_TEXT_BYTES]);
/* The same machine, whatever the ports. */
bool address_same_host(const struct address *a, const struct address *b);
/* The same port of it, too. */
bool address_same(const struct address *a, const struct address *b);

#endif
