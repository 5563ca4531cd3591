/* lunard/volumes_peers.c - what administrators of other hosts ask of the
 * volumes of this one: close them, hand them over, keep them closed. Sends
 * nothing: commands_cluster.c. SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/volume.h"

#include "base/log.h"
#include "base/uuid.h"

#include <stdio.h>
#include <string.h>

/* -- which and where ------------------------------------------------------- */

enum err volumes_place(struct volumes *vols, const char *name,
                       struct volume_place *ret_place, struct diag *why)
{
    struct volume_place place = {.here = true};
    struct seat *seat = NULL;
    uint8_t uuid[16] = {0};
    struct volume *v;

    pthread_mutex_lock(&vols->mutex);
    v = volumes_find_name(vols, name);
    if (v) {
        memcpy(uuid, v->uuid, sizeof uuid);
        place.shared = v->shared;
    }
    pthread_mutex_unlock(&vols->mutex);
    if (!v)
        return diag_fail(why, E_NOENT,
                         "volume %s: not known: see \"lunar volume list\"",
                         name);
    uuid_to_text(uuid, place.uuid);
    if (place.shared) {
        seat = cluster_get_seat(vols->args.cluster, uuid);
        place.node = seat ? seat_coordinator(seat) : 0;
        place.here = place.node == cluster_me(vols->args.cluster);
    }
    *ret_place = place;
    return E_OK;
}

enum err volumes_called(struct volumes *vols, const char *uuid,
                        char ret_name[FS_VOLUME_NAME_MAX + 1], struct diag *why)
{
    const struct volume *v = NULL;
    uint8_t bytes[16];

    if (uuid_from_text(uuid, bytes))
        return diag_fail(why, E_INVAL, "\"%.40s\" is no UUID", uuid);
    pthread_mutex_lock(&vols->mutex);
    v = volumes_find_uuid(vols, bytes);
    if (v && v->shared)
        memcpy(ret_name, v->name, sizeof v->name);
    else
        v = NULL;
    pthread_mutex_unlock(&vols->mutex);
    return v ? E_OK
             : diag_fail(why, E_NOENT, "volume %s: is not known here", uuid);
}

enum err volumes_rescan(struct volumes *vols, const char *name,
                        uint64_t *ret_bytes, struct diag *why)
{
    struct volume *v;
    enum err e = volume_get(vols, name, &v, why);

    if (e == E_VOL_OFFLINE) {
        *ret_bytes = 0; /* who opens it later sees the size of then */
        return E_OK;
    }
    if (e)
        return e;
    e = lun_rescan(volume_lun(v), why);
    if (!e)
        *ret_bytes = lun_store(volume_lun(v))->size_bytes;
    volume_put(v);
    return e;
}

/* -- another host removes it ----------------------------------------------- */

enum err volumes_let_go(struct volumes *vols, const char *name, const char *by,
                        struct diag *why)
{
    char reason[128];
    struct volume *v;
    enum err e = E_OK;

    snprintf(reason, sizeof reason, "is being removed by %s", by);
    pthread_mutex_lock(&vols->admin);
    v = volumes_find_name(vols, name);
    if (v && v->state == VOLUME_DIRECT) {
        e = volume_stop(v, why);
        if (!e)
            volume_set_state(v, VOLUME_OFFLINE, reason);
    }
    pthread_mutex_unlock(&vols->admin);
    return e;
}

/* -- drained --------------------------------------------------------------- */

void volume_maintain(struct volume *v)
{
    char reason[CONFIG_NAME_BYTES + 32];

    snprintf(reason, sizeof reason, "drained by %s", v->vols->drained_by);
    volume_set_state(v, VOLUME_MAINTENANCE, reason);
}

/* Context: admin is held. */
static void open_again(struct volumes *vols)
{
    *vols->drained_by = '\0';
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (v->state == VOLUME_MAINTENANCE)
            volume_set_state(v, VOLUME_OFFLINE, "is being opened again");
    }
    volumes_start_shared(vols);
}

/* Context: admin is held. */
static enum err close_all(struct volumes *vols, struct diag *why)
{
    enum err e = E_OK;

    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (e || !v->shared || v->state == VOLUME_PAUSED)
            continue;
        if (v->state == VOLUME_DIRECT)
            e = volume_stop(v, why);
        if (!e)
            volume_maintain(v);
    }
    return e;
}

enum err volumes_drain(struct volumes *vols, const char *by, struct diag *why)
{
    enum err e;

    pthread_mutex_lock(&vols->admin);
    snprintf(vols->drained_by, sizeof vols->drained_by, "%s", by);
    e = close_all(vols, why);
    if (!e)
        e = volumes_save(vols, why);
    if (e)
        open_again(vols);
    pthread_mutex_unlock(&vols->admin);
    return e;
}

enum err volumes_undrain(struct volumes *vols, struct diag *why)
{
    char by[sizeof vols->drained_by];
    enum err e = E_OK;

    pthread_mutex_lock(&vols->admin);
    memcpy(by, vols->drained_by, sizeof by);
    *vols->drained_by = '\0';
    e = volumes_save(vols, why);
    if (e)
        memcpy(vols->drained_by, by, sizeof by);
    else
        open_again(vols);
    pthread_mutex_unlock(&vols->admin);
    return e;
}

bool volumes_are_drained(struct volumes *vols)
{
    bool drained;

    pthread_mutex_lock(&vols->admin);
    drained = *vols->drained_by;
    pthread_mutex_unlock(&vols->admin);
    return drained;
}

/* A shared volume that this host has to do with still: its name; NULL: none. */
static struct volume *find_coordinated(struct volumes *vols, bool *ret_others)
{
    struct volume *found = NULL;

    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (!found && v->shared && v->state == VOLUME_DIRECT &&
            seat_is_here(v->seat, ret_others))
            found = v;
    }
    return found;
}

enum err volumes_hand_over(struct volumes *vols, struct diag *why)
{
    enum { TRIES = 200, PAUSE_MS = 100 };
    const struct timespec pause = {.tv_nsec = PAUSE_MS * NS_PER_MS};
    bool others = true;
    enum err e = E_OK;
    struct volume *v;

    pthread_mutex_lock(&vols->admin); /* none comes or goes meanwhile */
    v = find_coordinated(vols, &others);
    for (int i = 0; v && others && i < TRIES; i++) {
        nanosleep(&pause, NULL);
        v = find_coordinated(vols, &others);
    }
    if (v && !others)
        e = diag_fail(why, E_BUSY,
                      "volume %s: no other host could coordinate it: it would "
                      "stand still everywhere",
                      v->name);
    else if (v)
        e = diag_fail(why, E_TIMEOUT,
                      "volume %s: no other host has taken it over in time",
                      v->name);
    pthread_mutex_unlock(&vols->admin);
    return e;
}
