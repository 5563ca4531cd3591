/* lunard/seat_state.c - how this host has a volume of the cluster while it is
 * open, since when and why; a line in the log for each change.
 * Decides nothing: the guard knows.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/cluster_private.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

const char *volume_state_name(enum volume_state state)
{
    static const char *const names[] = {
        [VOLUME_DIRECT] = "Direct",
        [VOLUME_REDIRECTED] = "Redirected",
        [VOLUME_PAUSED] = "Paused",
        [VOLUME_OFFLINE] = "Offline",
        [VOLUME_MAINTENANCE] = "Maintenance",
    };

    return names[state];
}

static void take(struct seat *s, enum volume_state state, const char *reason)
{
    const struct table_record *r = table_lookup(&s->cluster->table, s->uuid);
    bool same = s->state.since_s && state == s->state.state;

    snprintf(s->state.reason, sizeof s->state.reason, "%s", reason);
    if (same)
        return;
    s->state.state = state;
    s->state.since_s = clock_wall_ns(clock_system()) / NS_PER_S;
    log_line(state == VOLUME_DIRECT ? LOG_INFO : LOG_WARNING,
             "volume %s: %s%s%s", r ? r->entry.name : "of the cluster",
             volume_state_name(state), *reason ? ": " : "", reason);
}

/* What lasts for less than a beat is not worth a word: a look at the keys, a
 * view in which nobody coordinates yet. */
void seat_state_beat(struct seat *s)
{
    enum volume_state state;
    const char *reason = "";

    if (!s->client || !s->guard) {
        s->state.since_s = 0;
        return;
    }
    state = guard_state(s->guard, &reason);
    if (state == VOLUME_PAUSED && s->state.state != VOLUME_PAUSED &&
        s->state.since_s && !s->doubted) {
        s->doubted = true;
        return;
    }
    s->doubted = false;
    take(s, state, reason);
}
