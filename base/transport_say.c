/* base/transport_say.c - a small table of (topic, peer, when).
 * Forgets the oldest when it is full: then something is said once too often.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/transport_say.h"

#include "base/clock.h"

bool said_first(struct said *s, unsigned topic, const struct address *address,
                uint64_t now_ns)
{
    size_t oldest = 0;

    for (size_t i = 0; i < SAID_MAX; i++) {
        if (!s->entries[i].used) {
            oldest = i;
            break;
        }
        if (s->entries[i].topic == topic &&
            address_same_host(&s->entries[i].address, address)) {
            if (now_ns - s->entries[i].at_ns < SAID_AGAIN_MS * NS_PER_MS)
                return false;
            s->entries[i].at_ns = now_ns;
            return true;
        }
        if (s->entries[i].at_ns < s->entries[oldest].at_ns)
            oldest = i;
    }
    s->entries[oldest].used = true;
    s->entries[oldest].topic = topic;
    s->entries[oldest].address = *address;
    s->entries[oldest].at_ns = now_ns;
    return true;
}

void said_forget(struct said *s, const struct address *address)
{
    size_t kept = 0;

    for (size_t i = 0; i < SAID_MAX; i++)
        if (s->entries[i].used &&
            !address_same_host(&s->entries[i].address, address))
            s->entries[kept++] = s->entries[i];
    while (kept < SAID_MAX)
        s->entries[kept++].used = false;
}
