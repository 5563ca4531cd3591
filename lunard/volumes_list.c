/* lunard/volumes_list.c - the volumes that this host knows, in a file.
 * Opens none.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/volume.h"

#include "base/jsonfile.h"
#include "base/uuid.h"

#include <string.h>

enum { STATE_VERSION = 1 };

/* -- write ----------------------------------------------------------------- */

static json_t *volume_to_state(const struct volume *v)
{
    char uuid[UUID_TEXT_BYTES];

    uuid_to_text(v->uuid, uuid);
    return json_pack("{s:s, s:s, s:s, s:i, s:b}", "url", v->url, "name",
                     v->name, "uuid", uuid, "number", v->number, "paused",
                     v->state == VOLUME_PAUSED);
}

enum err volumes_save(struct volumes *vols, struct diag *why)
{
    json_t *list = json_array();
    const char *drained = *vols->drained_by ? vols->drained_by : NULL;

    list_for_each (l, &vols->list)
        json_array_append_new(
            list, volume_to_state(container_of(l, struct volume, link)));
    return jsonfile_save(vols->args.state_path,
                         json_pack("{s:i, s:o, s:s*}", "version", STATE_VERSION,
                                   "volumes", list, "drained", drained),
                         why);
}

/* -- read ------------------------------------------------------------------ */

static enum err bad_list(struct volumes *vols, const char *what,
                         struct diag *why)
{
    return diag_fail(why, E_CORRUPT,
                     "%s: %s: mend it, or remove it and add the volumes again",
                     vols->args.state_path, what);
}

static enum err load_volume(struct volumes *vols, json_t *from,
                            struct diag *why)
{
    const char *url, *name, *uuid;
    int number, paused;
    struct volume *v;

    if (json_unpack(from, "{s:s, s:s, s:s, s:i, s:b}", "url", &url, "name",
                    &name, "uuid", &uuid, "number", &number, "paused",
                    &paused) ||
        strlen(url) >= sizeof v->url || strlen(name) >= sizeof v->name ||
        number < 1 || number > UINT16_MAX || vols->count == VOLUMES_MAX)
        return bad_list(vols, "a volume that is none", why);
    v = volume_new(vols);
    if (!v)
        return diag_fail(why, E_NOMEM, "out of memory");
    memcpy(v->url, url, strlen(url) + 1);
    memcpy(v->name, name, strlen(name) + 1);
    v->number = (uint16_t)number;
    v->state = paused ? VOLUME_PAUSED : VOLUME_OFFLINE;
    if (uuid_from_text(uuid, v->uuid)) {
        volume_free(v);
        return bad_list(vols, "a volume with a wrong uuid", why);
    }
    volumes_enlist(vols, v);
    return E_OK;
}

enum err volumes_load(struct volumes *vols, struct diag *why)
{
    json_t *state, *list = NULL, *one;
    const char *drained = "";
    int version = 0;
    size_t i;
    enum err e = jsonfile_load(vols->args.state_path, &state, why);

    if (e == E_NOENT)
        return E_OK;
    if (e)
        return e;
    if (json_unpack(state, "{s:i, s:o, s?s}", "version", &version, "volumes",
                    &list, "drained", &drained) ||
        version != STATE_VERSION || strlen(drained) >= sizeof vols->drained_by)
        e = bad_list(vols, "not a list of volumes of this version", why);
    json_array_foreach (list, i, one)
        e = e ? e : load_volume(vols, one, why);
    if (!e)
        memcpy(vols->drained_by, drained, strlen(drained) + 1);
    json_decref(state);
    return e;
}
