/* lunard/host.h - which host this is, and which run of it: host.json.
 * Nobody else's: a state directory that is copied to another host takes this
 * file's identity along, and the cluster would take two hosts for one.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_HOST_H
#define LUNAR_LUNARD_HOST_H

#include "base/uuid.h"

struct host {
    uint8_t uuid[UUID_BYTES]; /* of this installation, made once */
    uint64_t incarnation; /* 1 … UINT32_MAX: a reservation key has room for
                           * that (lockmgr/key.h); this run's alone */
};

/* Begin a run: the UUID that is kept, or a new one, and the next incarnation,
 * both durable before this returns.  The caller has the state directory for
 * itself.
 * Errors: E_CORRUPT - host.json is damaged or its incarnations are used up;
 * E_CONFIG - the clock, of which the first incarnation is made, is not set;
 * E_IO …  Context: blocks. */
MUST_CHECK enum err host_begin(const char *state_dir, struct host *ret_host,
                               struct diag *why);

#endif
