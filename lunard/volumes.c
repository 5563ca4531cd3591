/* lunard/volumes.c - the volumes of this host: add, remove, pause, use.
 * A volume that cannot be opened is a state with a reason, never the end of
 * the daemon.
 *
 *              add, start             pause         drained: Maintenance
 *   (nothing) ───────────> Direct ──────────────> Paused
 *       ▲         │ fails    │ ▲                     │
 *       │         ▼          │ └──── resume ─────────┤
 *       └──────── Offline <──┴───────────────────────┘
 *         remove
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/volume.h"

#include "base/jsontext.h"
#include "base/log.h"
#include "base/uuid.h"

#include <string.h>

static const char waiting_reason[] =
    "until this host is in its cluster: see corosync-quorumtool(8)";
static const char paused_reason[] =
    "by the administrator: \"lunar volume resume\" opens it";

/* -- find ------------------------------------------------------------------ */

struct volume *volumes_find_name(struct volumes *vols, const char *name)
{
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (!strcmp(v->name, name))
            return v;
    }
    return NULL;
}

struct volume *volumes_find_url(struct volumes *vols, const char *url)
{
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (!strcmp(v->url, url))
            return v;
    }
    return NULL;
}

struct volume *volumes_find_uuid(struct volumes *vols, const uint8_t uuid[16])
{
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (!memcmp(v->uuid, uuid, sizeof v->uuid))
            return v;
    }
    return NULL;
}

void volumes_enlist(struct volumes *vols, struct volume *v)
{
    pthread_mutex_lock(&vols->mutex);
    list_push_back(&vols->list, &v->link);
    vols->count++;
    pthread_mutex_unlock(&vols->mutex);
}

void volumes_delist(struct volumes *vols, struct volume *v)
{
    pthread_mutex_lock(&vols->mutex);
    list_remove(&v->link);
    vols->count--;
    pthread_mutex_unlock(&vols->mutex);
}

/* The lowest number from 1 that no volume has. */
static uint16_t free_number(struct volumes *vols)
{
    uint16_t number = 1;
    bool taken;

    do {
        taken = false;
        list_for_each (l, &vols->list)
            taken |= container_of(l, struct volume, link)->number == number;
        number += taken;
    } while (taken);
    return number;
}

void volumes_start_or_blame(struct volume *v)
{
    struct diag why = {0};
    enum err e = volume_start(v, &why);

    if (e)
        volume_set_state(v, VOLUME_OFFLINE, diag_text(&why, e));
    else
        volume_set_state(v, VOLUME_DIRECT, "");
}

enum err volumes_open(const struct volumes_args *args,
                      struct volumes **ret_volumes, struct diag *why)
{
    struct volumes *vols = calloc(1, sizeof *vols);
    enum err e;

    if (!vols)
        return diag_fail(why, E_NOMEM, "out of memory");
    vols->args = *args;
    list_init(&vols->list);
    pthread_mutex_init(&vols->admin, NULL);
    pthread_mutex_init(&vols->mutex, NULL);
    e = volumes_load(vols, why);
    if (e) {
        volumes_close(vols);
        return e;
    }
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        v->shared = volumes_are_shared(vols, v->url);
        if (v->state == VOLUME_PAUSED)
            volume_set_state(v, VOLUME_PAUSED, paused_reason);
        else if (v->shared)
            volume_set_state(v, VOLUME_OFFLINE, waiting_reason);
        else
            volumes_start_or_blame(v);
    }
    *ret_volumes = vols;
    return E_OK;
}

void volumes_close(struct volumes *vols)
{
    if (!vols)
        return;
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        ASSERT(!v->users);
        volume_shut(v);
        volume_ledger_end(v);
        list_remove(&v->link);
        volume_free(v);
    }
    pthread_mutex_destroy(&vols->admin);
    pthread_mutex_destroy(&vols->mutex);
    free(vols);
}

/* -- changes --------------------------------------------------------------- */

/* Context: admin is held. */
static enum err add_new(struct volumes *vols, const char *url,
                        struct volume **ret_volume, struct diag *why)
{
    struct volume *v = volume_new(vols);
    enum err e;

    if (!v)
        return diag_fail(why, E_NOMEM, "%s: out of memory", url);
    v->number = free_number(vols);
    memcpy(v->url, url, strlen(url) + 1);
    e = volume_start(v, why);
    if (e) {
        if (v->adopt) /* something may be promised in it */
            fs_ledger_free(TAKE(v->ledger));
        volume_ledger_end(v);
        volume_free(v);
        return e;
    }
    volumes_enlist(vols, v);
    volume_set_state(v, VOLUME_DIRECT, "");
    *ret_volume = v;
    return E_OK;
}

/* It is known and open, but the list could not be written. */
static enum err undo_add(struct volumes *vols, struct volume *v, enum err e,
                         struct diag *why)
{
    if (volume_stop(v, NULL))
        return diag_prefix(why, e, "added until a restart only");
    volumes_delist(vols, v);
    volume_free(v);
    return e;
}

static enum err forget(struct volumes *vols, struct volume *v, struct diag *why)
{
    struct diag reason = {0};
    enum err e;

    volumes_delist(vols, v);
    e = volumes_save(vols, &reason);
    if (e) {
        volumes_enlist(vols, v);
        volume_set_state(v, VOLUME_OFFLINE, diag_text(&reason, e));
        return diag_fail(why, e, "volume %s: closed, but not forgotten: %s",
                         v->name, diag_text(&reason, e));
    }
    volume_ledger_end(v);
    volume_free(v);
    return E_OK;
}

static enum err add_locked(struct volumes *vols, const char *url,
                           struct volume **ret_volume, struct diag *why)
{
    struct volume *v = volumes_find_url(vols, url);
    enum err e;

    if (v && v->state != VOLUME_OFFLINE) {
        *ret_volume = v;
        return E_OK;
    }
    if (v) {
        e = volume_start(v, why);
        if (!e)
            volume_set_state(v, VOLUME_DIRECT, "");
        *ret_volume = v;
        return e;
    }
    if (vols->count == VOLUMES_MAX)
        return diag_fail(why, E_BUSY, "%s: %d volumes are known already", url,
                         VOLUMES_MAX);
    if (volumes_are_shared(vols, url))
        return volumes_add_shared(vols, url, ret_volume, why);
    e = add_new(vols, url, ret_volume, why);
    if (e)
        return e;
    e = volumes_save(vols, why);
    return e ? undo_add(vols, *ret_volume, e, why) : E_OK;
}

enum err volumes_add(struct volumes *vols, const char *url,
                     char ret_name[FS_VOLUME_NAME_MAX + 1], struct diag *why)
{
    struct volume *v = NULL;
    enum err e;

    if (strlen(url) >= VOLUME_URL_BYTES)
        return diag_fail(why, E_NAME_TOO_LONG, "%.60s…: longer than %d bytes",
                         url, VOLUME_URL_BYTES - 1);
    pthread_mutex_lock(&vols->admin);
    e = add_locked(vols, url, &v, why);
    if (!e)
        memcpy(ret_name, v->name, sizeof v->name);
    pthread_mutex_unlock(&vols->admin);
    return e;
}

/* Run `change` on the volume with that name, one at a time. */
static enum err change_volume(struct volumes *vols, const char *name,
                              enum err (*change)(struct volume *,
                                                 struct diag *),
                              struct diag *why)
{
    struct volume *v;
    enum err e;

    pthread_mutex_lock(&vols->admin);
    v = volumes_find_name(vols, name);
    e = v ? change(v, why)
          : diag_fail(why, E_NOENT,
                      "volume %s: not known: see \"lunar volume list\"", name);
    pthread_mutex_unlock(&vols->admin);
    return e;
}

static enum err do_remove(struct volume *v, struct diag *why)
{
    struct volumes *vols = v->vols;
    enum err e = v->state == VOLUME_DIRECT ? volume_stop(v, why) : E_OK;

    if (!e && v->shared && !cluster_was_removed(vols->args.cluster, v->uuid)) {
        volume_set_state(v, VOLUME_OFFLINE, "being removed");
        e = cluster_volume_remove(vols->args.cluster, v->uuid, why);
    }
    return e ? e : forget(vols, v, why);
}

/* The change is made, whether or not it can be remembered. */
static enum err save_state(struct volume *v, struct diag *why)
{
    enum err e = volumes_save(v->vols, why);

    return e ? diag_prefix(
                   why, e,
                   "volume %s: is %s now, but after a restart as before",
                   v->name, volume_state_name(v->state))
             : E_OK;
}

static enum err do_pause(struct volume *v, struct diag *why)
{
    enum err e = v->state == VOLUME_DIRECT ? volume_stop(v, why) : E_OK;

    if (e)
        return e;
    if (v->state != VOLUME_PAUSED)
        volume_set_state(v, VOLUME_PAUSED, paused_reason);
    return save_state(v, why);
}

/* A coordinator whose LUN failed answers nobody until it is started anew. */
static bool coordinator_works(const struct volume *v)
{
    struct fs_coord_info info;

    if (v->shared)
        return true; /* it hands over by itself */
    fs_coord_info(v->coord, &info);
    return !info.offline;
}

static enum err do_resume(struct volume *v, struct diag *why)
{
    enum err e = E_OK;

    if (v->state == VOLUME_DIRECT) {
        if (coordinator_works(v))
            return E_OK;
        e = volume_stop(v, why);
    }
    if (e)
        return e;
    if (v->shared && *v->vols->drained_by)
        return diag_fail(why, E_VOL_OFFLINE,
                         "volume %s: this host is drained: \"lunar undrain "
                         "%s\" first",
                         v->name, v->vols->args.host);
    e = volume_start(v, why);
    volume_set_state(v, e ? VOLUME_OFFLINE : VOLUME_DIRECT,
                     e ? diag_text(why, e) : "");
    return e ? e : save_state(v, why);
}

static enum err not_direct(struct volume *v, struct diag *why)
{
    return diag_fail(why, E_VOL_OFFLINE, "volume %s: is %s: %s", v->name,
                     volume_state_name(v->state), v->reason);
}

static enum err do_grow(struct volume *v, struct diag *why)
{
    struct fs_coord *coord;
    enum err e;

    if (v->state != VOLUME_DIRECT)
        return not_direct(v, why);
    coord = volume_get_coord(v, why);
    if (!coord)
        return diag_prefix(why, E_VOL_OFFLINE, "volume %s", v->name);
    e = lun_rescan(volume_lun(v), why);
    if (!e)
        e = fs_coord_grow(coord, why);
    volume_put_coord(v);
    return e ? diag_prefix(why, e, "volume %s", v->name) : E_OK;
}

enum err volumes_remove(struct volumes *vols, const char *name,
                        struct diag *why)
{
    return change_volume(vols, name, do_remove, why);
}

enum err volumes_pause(struct volumes *vols, const char *name, struct diag *why)
{
    return change_volume(vols, name, do_pause, why);
}

enum err volumes_resume(struct volumes *vols, const char *name,
                        struct diag *why)
{
    return change_volume(vols, name, do_resume, why);
}

enum err volumes_grow(struct volumes *vols, const char *name, struct diag *why)
{
    return change_volume(vols, name, do_grow, why);
}

enum err volumes_move(struct volumes *vols, const char *name, uint32_t to,
                      struct diag *why)
{
    struct volume *v;
    enum err e = volume_get(vols, name, &v, why);

    if (e)
        return e;
    e = seat_move(v->seat, to, why);
    volume_put(v);
    return e ? diag_prefix(why, e, "volume %s", name) : E_OK;
}

/* -- use ------------------------------------------------------------------- */

enum err volume_get(struct volumes *vols, const char *name,
                    struct volume **ret_volume, struct diag *why)
{
    struct volume *v;
    enum err e = E_OK;

    pthread_mutex_lock(&vols->mutex);
    v = volumes_find_name(vols, name);
    if (!v)
        e = diag_fail(why, E_NOENT,
                      "volume %s: not known: see \"lunar volume list\"", name);
    else if (v->state != VOLUME_DIRECT)
        e = not_direct(v, why);
    else
        v->users++;
    pthread_mutex_unlock(&vols->mutex);
    if (!e)
        *ret_volume = v;
    return e;
}

void volume_put(struct volume *v)
{
    pthread_mutex_lock(&v->vols->mutex);
    ASSERT(v->users);
    v->users--;
    pthread_mutex_unlock(&v->vols->mutex);
}

bool volumes_know(struct volumes *vols, const char *url,
                  char ret_name[FS_VOLUME_NAME_MAX + 1])
{
    const struct volume *v;

    pthread_mutex_lock(&vols->mutex);
    v = volumes_find_url(vols, url);
    if (v)
        memcpy(ret_name, v->name, sizeof v->name);
    pthread_mutex_unlock(&vols->mutex);
    return v;
}

struct fs_client *volume_client(struct volume *v)
{
    return v->client;
}

const uint8_t *volume_uuid(const struct volume *v)
{
    return v->uuid;
}

struct volume_disks *volume_disks(struct volume *v)
{
    return &v->disks;
}

enum err volumes_check(struct volumes *vols, const char *name,
                       const struct fs_check_args *args,
                       struct fs_check_result *ret_result, struct diag *why)
{
    struct fs_coord *coord;
    struct volume *v;
    enum err e = volume_get(vols, name, &v, why);

    if (e)
        return e;
    coord = volume_get_coord(v, why);
    if (coord) {
        e = fs_coord_check(coord, args, ret_result, why);
        volume_put_coord(v);
    } else {
        e = diag_prefix(why, E_VOL_OFFLINE, "volume %s", name);
    }
    volume_put(v);
    return e;
}

/* -- show ------------------------------------------------------------------ */

/* What is known of a volume, and by whom. */
struct volume_view {
    struct fs_coord_info info;
    struct seat_info seat;
    struct diag trouble;
    const char *state, *reason, *coordinator;
    uint64_t since_s;
};

static void look_at(struct volume *v, struct volume_view *ret_view)
{
    struct volume_view *view = ret_view;
    struct fs_coord *coord = NULL;
    struct seat *seat;

    *view = (struct volume_view){.state = volume_state_name(v->state),
                                 .reason = v->reason,
                                 .since_s = v->since_s};
    if (v->shared && v->state != VOLUME_DIRECT &&
        (seat = cluster_get_seat(v->vols->args.cluster, v->uuid))) {
        seat_info(seat, &view->seat);
        view->coordinator =
            *view->seat.coordinator ? view->seat.coordinator : NULL;
    }
    if (v->state != VOLUME_DIRECT)
        return;
    coord = volume_get_coord(v, NULL);
    if (coord) {
        fs_coord_info(coord, &view->info);
        volume_put_coord(v);
    }
    lun_trouble(volume_lun(v), &view->trouble);
    view->coordinator = v->vols->args.host;
    if (v->shared) {
        seat_info(v->seat, &view->seat);
        view->coordinator =
            *view->seat.coordinator ? view->seat.coordinator : NULL;
        view->info.super.epoch = view->seat.epoch;
        view->reason = view->seat.trouble;
        if (view->seat.state.since_s) {
            view->state = volume_state_name(view->seat.state.state);
            view->since_s = view->seat.state.since_s;
            if (!*view->reason)
                view->reason = view->seat.state.reason;
        }
    }
    if (view->info.offline) {
        view->state = volume_state_name(VOLUME_OFFLINE);
        view->reason = view->info.reason.text;
    }
}

/* How often what went which way, since this run began. */
static void add_counters(struct volume *v, json_t *node)
{
    struct fs_client_info info;
    json_t *counters;

    if (v->state != VOLUME_DIRECT)
        return;
    fs_client_info(v->client, &info);
    counters = json_pack("{s:I, s:I, s:I, s:I, s:I}", "direct_ios",
                         (json_int_t)info.direct_ios, "direct_bytes",
                         (json_int_t)info.direct_bytes, "redirected_ios",
                         (json_int_t)info.redirected_ios, "redirected_bytes",
                         (json_int_t)info.redirected_bytes, "metadata_ops",
                         (json_int_t)info.metadata_ops);
    json_object_update(node, counters);
    json_decref(counters);
}

/* Context: mutex is held. */
static json_t *volume_to_json(struct volume *v)
{
    struct volume_view view;
    char uuid[UUID_TEXT_BYTES];
    json_t *node;

    look_at(v, &view);
    uuid_to_text(v->uuid, uuid);
    node = json_pack("{s:s, s:s, s:o, s:I}", "node", v->vols->args.host,
                     "state", view.state, "reason", json_text(view.reason),
                     "since", (json_int_t)view.since_s);
    add_counters(v, node);
    return json_pack(
        "{s:o, s:s, s:b, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:o, "
        "s:[o]}",
        "name", json_text(v->name), "uuid", uuid, "shared", v->shared, "url",
        v->url, "coordinator", view.coordinator, "epoch",
        (json_int_t)view.info.super.epoch, "size",
        (json_int_t)(view.info.size_blocks * FS_BLOCK_BYTES), "free",
        (json_int_t)(view.info.free_blocks * FS_BLOCK_BYTES), "inodes",
        (json_int_t)view.info.inodes, "disks", (json_int_t)v->users, "state",
        view.state, "reason", json_text(view.reason), "lun_trouble",
        json_text(view.trouble.text), "nodes", node);
}

json_t *volumes_to_json(struct volumes *vols)
{
    json_t *list = json_array();

    pthread_mutex_lock(&vols->mutex);
    list_for_each (l, &vols->list)
        json_array_append_new(
            list, volume_to_json(container_of(l, struct volume, link)));
    pthread_mutex_unlock(&vols->mutex);
    return list;
}
