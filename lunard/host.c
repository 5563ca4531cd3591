/* lunard/host.c - host.json: a UUID that stays, a number that grows.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/host.h"

#include "base/clock.h"
#include "base/jsonfile.h"

#include <limits.h>
#include <stdio.h>

/* The first number of a host that has none yet: one that no other host on the
 * same LUN had, and not this one before it lost its state.  Of equal numbers
 * the volume would take the dead one's handles for ours. */
static enum err first_incarnation(uint64_t *ret_incarnation, struct diag *why)
{
    uint64_t now_s = clock_wall_ns(clock_system()) / NS_PER_S;

    if (now_s < 1 || now_s > UINT32_MAX)
        return diag_fail(why, E_CONFIG,
                         "the clock of this host is not set: set it");
    *ret_incarnation = now_s;
    return E_OK;
}

static enum err new_uuid(uint8_t ret_uuid[UUID_BYTES], struct diag *why)
{
    enum err e = uuid_random(ret_uuid);

    return e ? diag_fail(why, e, "a new UUID: no random bytes") : E_OK;
}

static enum err new_host(struct host *ret_host, struct diag *why)
{
    enum err e = first_incarnation(&ret_host->incarnation, why);

    return e ? e : new_uuid(ret_host->uuid, why);
}

/* The run after the one that left this.  Files of before hosts had UUIDs have
 * none. */
static enum err next_run(const char *path, json_t *json, struct host *ret_host,
                         struct diag *why)
{
    json_int_t last = 0;
    const char *uuid = NULL;

    if (json_unpack(json, "{s:I, s?s}", "incarnation", &last, "uuid", &uuid) ||
        last < 1 || last >= UINT32_MAX ||
        (uuid && uuid_from_text(uuid, ret_host->uuid)))
        return diag_fail(why, E_CORRUPT,
                         "%s: has not an incarnation from 1 to 4294967294 and "
                         "a UUID: correct it, or move it away: then this is "
                         "another host",
                         path);
    ret_host->incarnation = (uint64_t)last + 1;
    return uuid ? E_OK : new_uuid(ret_host->uuid, why);
}

enum err host_begin(const char *state_dir, struct host *ret_host,
                    struct diag *why)
{
    char path[PATH_MAX], uuid[UUID_TEXT_BYTES];
    struct host host;
    json_t *json = NULL;
    enum err e;

    snprintf(path, sizeof path, "%s/host.json", state_dir);
    e = jsonfile_load(path, &json, why);
    if (e == E_NOENT)
        e = new_host(&host, why);
    else if (!e)
        e = next_run(path, json, &host, why);
    json_decref(json);
    if (e)
        return e;
    uuid_to_text(host.uuid, uuid);
    e = jsonfile_save(path,
                      json_pack("{s:s, s:I}", "uuid", uuid, "incarnation",
                                (json_int_t)host.incarnation),
                      why);
    if (!e)
        *ret_host = host;
    return e;
}
