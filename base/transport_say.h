/* base/transport_say.h - what was said of whom, so that it is not said again.
 * Pure: the time is handed in, and nothing is written here.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_TRANSPORT_SAY_H
#define LUNAR_BASE_TRANSPORT_SAY_H

#include "base/address.h"

enum {
    SAID_MAX = 64,                 /* beyond it the oldest is forgotten */
    SAID_AGAIN_MS = 10 * 60 * 1000 /* a trouble that lasts is said again */
};

struct said {
    struct {
        bool used;
        unsigned topic;
        struct address address;
        uint64_t at_ns;
    } entries[SAID_MAX];
};

/* Whether to say it: the first time, and again after SAID_AGAIN_MS.  A peer is
 * an address without its port, for strangers take another one each time. */
bool said_first(struct said *s, unsigned topic, const struct address *address,
                uint64_t now_ns);
/* All is well with that peer: what comes next is news. */
void said_forget(struct said *s, const struct address *address);

#endif
