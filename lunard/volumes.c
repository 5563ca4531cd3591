/* lunard/volumes.c - open, close and remember volumes.
 * A volume that cannot be opened is a state with a reason, never the end of
 * the daemon.
 *
 *              add, start             pause
 *   (nothing) ───────────> Direct ──────────────> Paused
 *       ▲         │ fails    │ ▲                     │
 *       │         ▼          │ └──── resume ─────────┤
 *       └──────── Offline <──┴───────────────────────┘
 *         remove
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/volumes.h"

#include "base/clock.h"
#include "base/jsonfile.h"
#include "base/jsontext.h"
#include "base/list.h"
#include "base/log.h"
#include "base/uuid.h"
#include "iscsi/iscsi.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    STATE_VERSION = 1,
    SOLO_NODE = 1 /* this host's node number while it is alone */
};

enum volume_state { VOLUME_DIRECT, VOLUME_PAUSED, VOLUME_OFFLINE };
static const char *const state_names[] = {"Direct", "Paused", "Offline"};
static const char paused_reason[] =
    "by the administrator: \"lunar volume resume\" opens it";

struct volume {
    struct list link; /* volumes->list */
    struct volumes *vols;
    char url[VOLUME_URL_BYTES];
    char name[FS_VOLUME_NAME_MAX + 1];
    uint8_t uuid[16];
    uint16_t number; /* of st_ino: as long as the volume is known */
    /* lock: volumes->mutex */
    enum volume_state state;
    char reason[DIAG_TEXT_BYTES]; /* of the state; "": none */
    uint64_t since_s;
    unsigned users; /* volume_get() */
    /* Valid while Direct; changed under admin with no users. */
    struct lun *lun;
    /* What was promised and not committed; NULL without a holder.  It stays
     * over failed starts, until a clean end. */
    struct fs_ledger *ledger;
    bool adopt; /* the ledger is that of a process that was killed */
    struct fs_coord *coord;
    struct fs_client *client;
    struct volume_disks disks;
};

struct volumes {
    struct volumes_args args;
    pthread_mutex_t admin; /* one change at a time; taken before mutex */
    pthread_mutex_t mutex;
    struct list list; /* lock: mutex to read, both to change */
    unsigned count, next_loop;
};

static struct volume *volume_new(struct volumes *vols)
{
    struct volume *v = calloc(1, sizeof *v);

    if (!v)
        return NULL;
    v->vols = vols;
    pthread_mutex_init(&v->disks.mutex, NULL);
    list_init(&v->disks.opened);
    return v;
}

static void volume_free(struct volume *v)
{
    pthread_mutex_destroy(&v->disks.mutex);
    free(v);
}

/* -- open and close one ---------------------------------------------------- */

static void set_state(struct volume *v, enum volume_state state,
                      const char *reason)
{
    pthread_mutex_lock(&v->vols->mutex);
    v->state = state;
    snprintf(v->reason, sizeof v->reason, "%s", reason);
    v->since_s = clock_wall_ns(clock_system()) / NS_PER_S;
    pthread_mutex_unlock(&v->vols->mutex);
    log_line(state == VOLUME_OFFLINE ? LOG_ERROR : LOG_INFO,
             "volume %s: %s%s%s", *v->name ? v->name : v->url,
             state_names[state], *reason ? ": " : "", reason);
}

/* Undo volume_start(), as far as it came. */
static void volume_shut(struct volume *v)
{
    fs_client_free(TAKE(v->client));
    fs_coord_stop(TAKE(v->coord));
    lun_close(TAKE(v->lun));
}

/* -- ledgers --------------------------------------------------------------- */

enum { LEDGER_NAME_BYTES = UUID_TEXT_BYTES + 8 };

static void ledger_name(const struct volume *v,
                        char ret_name[LEDGER_NAME_BYTES])
{
    char uuid[UUID_TEXT_BYTES];

    uuid_to_text(v->uuid, uuid);
    snprintf(ret_name, LEDGER_NAME_BYTES, "ledger/%s", uuid);
}

/* The ledger of an earlier process, or a new one that the holder keeps. */
static enum err ledger_begin(struct volume *v, struct diag *why)
{
    struct keep *keep = v->vols->args.keep;
    int fds[KEEP_FDS_MAX] = {-1}, fd;
    char name[LEDGER_NAME_BYTES];
    enum err e;

    if (!keep || v->ledger)
        return E_OK;
    ledger_name(v, name);
    v->adopt = keep_take(keep, name, fds) == 1;
    e = fs_ledger_new(v->adopt ? fds[0] : -1, &v->ledger);
    if (!e && !v->adopt) {
        fd = fs_ledger_fd(v->ledger);
        e = keep_put(keep, name, &fd, 1);
    }
    if (!e)
        return E_OK;
    fs_ledger_free(TAKE(v->ledger));
    return diag_fail(why, e, "%s: ledger: %s", v->url, err_text(e));
}

/* All is committed. */
static void ledger_end(struct volume *v)
{
    char name[LEDGER_NAME_BYTES];

    if (!v->ledger)
        return;
    ledger_name(v, name);
    (void)!keep_drop(v->vols->args.keep, name); /* else it keeps an empty one */
    fs_ledger_free(TAKE(v->ledger));
}

/* Claim the volume on v->lun and make a client of it. */
static enum err start_on_lun(struct volume *v, struct diag *why)
{
    struct volumes *vols = v->vols;
    struct fs_coord_args coord = {
        .node = SOLO_NODE,
        .host = vols->args.host,
        .incarnation = vols->args.incarnation,
        .sole = lun_is_sole(v->lun),
        .adopt = v->adopt,
        .discard = true,
    };
    struct fs_client_args client = {
        .lun = lun_store(v->lun),
        .ledger = v->ledger,
        .loop = vols->args.loops[vols->next_loop++ % vols->args.loop_count],
    };
    enum err e = fs_coord_start(lun_store(v->lun), &coord, why, &v->coord);

    if (e)
        return diag_prefix(why, e, "%s", v->url);
    client.link = fs_coord_link(v->coord);
    e = fs_client_new(&client, &v->client);
    if (e)
        return diag_fail(why, e, "%s: %s", v->url, err_text(e));
    return v->adopt ? fs_client_recover(v->client, why) : E_OK;
}

static struct volume *find_name(struct volumes *vols, const char *name)
{
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (!strcmp(v->name, name))
            return v;
    }
    return NULL;
}

/* Is the volume on the LUN the one that the list says? */
static enum err check_identity(struct volume *v,
                               const struct fs_super_info *info,
                               struct diag *why)
{
    static const uint8_t unknown[sizeof v->uuid];
    const struct volume *other = find_name(v->vols, info->name);

    if (other && other != v)
        return diag_fail(why, E_EXIST,
                         "%s: a volume %s is known already, on %s: remove that "
                         "one first",
                         v->url, info->name, other->url);
    if (memcmp(v->uuid, unknown, sizeof unknown) &&
        memcmp(v->uuid, info->uuid, sizeof v->uuid))
        return diag_fail(why, E_NOT_VOLUME,
                         "%s: holds volume %s, but another one than was "
                         "added: remove it and add it again",
                         v->url, info->name);
    memcpy(v->uuid, info->uuid, sizeof v->uuid);
    memcpy(v->name, info->name, sizeof v->name);
    return E_OK;
}

static enum err volume_start(struct volume *v, struct diag *why)
{
    struct fs_super_info info;
    struct lun_args lun = {
        .exclusive = true,
        .loops = v->vols->args.loops,
        .loop_count = v->vols->args.loop_count,
    };
    enum err e = lun_open(v->url, &lun, why, &v->lun);

    if (e)
        return e;
    e = fs_super_probe(lun_store(v->lun), &info, why);
    if (e)
        diag_prefix(why, e, "%s", v->url);
    else
        e = check_identity(v, &info, why);
    if (!e)
        e = ledger_begin(v, why);
    if (!e)
        e = start_on_lun(v, why);
    if (!e) {
        e = fs_fuse_add_volume(v->vols->args.fuse, v->name, v->number,
                               v->client);
        if (e)
            diag_fail(why, e, "volume %s: cannot appear in the mount: %s",
                      v->name, err_text(e));
    }
    if (e) {
        volume_shut(v);
        return e;
    }
    fs_coord_settle(v->coord);
    v->adopt = false;
    return E_OK;
}

static enum err volume_stop(struct volume *v, struct diag *why)
{
    unsigned users;
    enum err e;

    pthread_mutex_lock(&v->vols->mutex);
    users = v->users;
    if (!users)
        v->state = VOLUME_OFFLINE; /* nobody gets it any more */
    pthread_mutex_unlock(&v->vols->mutex);
    if (users)
        return diag_fail(why, E_BUSY,
                         "volume %s: %u files on it are disks of VMs or "
                         "parents of them: detach those first",
                         v->name, users);
    e = fs_fuse_remove_volume(v->vols->args.fuse, v->number);
    if (e) {
        set_state(v, VOLUME_DIRECT, "");
        return diag_fail(why, e,
                         "volume %s: files on it are open: close them first",
                         v->name);
    }
    volume_shut(v);
    ledger_end(v);
    return E_OK;
}

/* -- the list -------------------------------------------------------------- */

static json_t *volume_to_state(const struct volume *v)
{
    char uuid[UUID_TEXT_BYTES];

    uuid_to_text(v->uuid, uuid);
    return json_pack("{s:s, s:s, s:s, s:i, s:b}", "url", v->url, "name",
                     v->name, "uuid", uuid, "number", v->number, "paused",
                     v->state == VOLUME_PAUSED);
}

/* Context: admin is held. */
static enum err save_list(struct volumes *vols, struct diag *why)
{
    json_t *list = json_array();

    list_for_each (l, &vols->list)
        json_array_append_new(
            list, volume_to_state(container_of(l, struct volume, link)));
    return jsonfile_save(
        vols->args.state_path,
        json_pack("{s:i, s:o}", "version", STATE_VERSION, "volumes", list),
        why);
}

static void enlist(struct volumes *vols, struct volume *v)
{
    pthread_mutex_lock(&vols->mutex);
    list_push_back(&vols->list, &v->link);
    vols->count++;
    pthread_mutex_unlock(&vols->mutex);
}

static void delist(struct volumes *vols, struct volume *v)
{
    pthread_mutex_lock(&vols->mutex);
    list_remove(&v->link);
    vols->count--;
    pthread_mutex_unlock(&vols->mutex);
}

static struct volume *find_url(struct volumes *vols, const char *url)
{
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (!strcmp(v->url, url))
            return v;
    }
    return NULL;
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

/* -- read the list --------------------------------------------------------- */

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
    enlist(vols, v);
    return E_OK;
}

static enum err load_list(struct volumes *vols, struct diag *why)
{
    json_t *state, *list = NULL, *one;
    int version = 0;
    size_t i;
    enum err e = jsonfile_load(vols->args.state_path, &state, why);

    if (e == E_NOENT)
        return E_OK;
    if (e)
        return e;
    if (json_unpack(state, "{s:i, s:o}", "version", &version, "volumes",
                    &list) ||
        version != STATE_VERSION)
        e = bad_list(vols, "not a list of volumes of this version", why);
    json_array_foreach (list, i, one)
        e = e ? e : load_volume(vols, one, why);
    json_decref(state);
    return e;
}

static void start_or_blame(struct volume *v)
{
    struct diag why = {0};
    enum err e = volume_start(v, &why);

    if (e)
        set_state(v, VOLUME_OFFLINE, diag_text(&why, e));
    else
        set_state(v, VOLUME_DIRECT, "");
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
    e = load_list(vols, why);
    if (e) {
        volumes_close(vols);
        return e;
    }
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (v->state == VOLUME_PAUSED)
            set_state(v, VOLUME_PAUSED, paused_reason);
        else
            start_or_blame(v);
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
        ledger_end(v);
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
        ledger_end(v);
        volume_free(v);
        return e;
    }
    enlist(vols, v);
    set_state(v, VOLUME_DIRECT, "");
    *ret_volume = v;
    return E_OK;
}

/* It is known and open, but the list could not be written. */
static enum err undo_add(struct volumes *vols, struct volume *v, enum err e,
                         struct diag *why)
{
    if (volume_stop(v, NULL))
        return diag_prefix(why, e, "added until a restart only");
    delist(vols, v);
    volume_free(v);
    return e;
}

static enum err forget(struct volumes *vols, struct volume *v, struct diag *why)
{
    struct diag reason = {0};
    enum err e;

    delist(vols, v);
    e = save_list(vols, &reason);
    if (e) {
        enlist(vols, v);
        set_state(v, VOLUME_OFFLINE, diag_text(&reason, e));
        return diag_fail(why, e, "volume %s: closed, but not forgotten: %s",
                         v->name, diag_text(&reason, e));
    }
    ledger_end(v);
    volume_free(v);
    return E_OK;
}

static enum err add_locked(struct volumes *vols, const char *url,
                           struct volume **ret_volume, struct diag *why)
{
    struct volume *v = find_url(vols, url);
    enum err e;

    if (v && v->state != VOLUME_OFFLINE) {
        *ret_volume = v;
        return E_OK;
    }
    if (v) {
        e = volume_start(v, why);
        if (!e)
            set_state(v, VOLUME_DIRECT, "");
        *ret_volume = v;
        return e;
    }
    if (vols->count == VOLUMES_MAX)
        return diag_fail(why, E_BUSY, "%s: %d volumes are known already", url,
                         VOLUMES_MAX);
    e = add_new(vols, url, ret_volume, why);
    if (e)
        return e;
    e = save_list(vols, why);
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
    v = find_name(vols, name);
    e = v ? change(v, why)
          : diag_fail(why, E_NOENT,
                      "volume %s: not known: see \"lunar volume list\"", name);
    pthread_mutex_unlock(&vols->admin);
    return e;
}

static enum err do_remove(struct volume *v, struct diag *why)
{
    enum err e = v->state == VOLUME_DIRECT ? volume_stop(v, why) : E_OK;

    return e ? e : forget(v->vols, v, why);
}

/* The change is made, whether or not it can be remembered. */
static enum err save_state(struct volume *v, struct diag *why)
{
    enum err e = save_list(v->vols, why);

    return e ? diag_prefix(
                   why, e,
                   "volume %s: is %s now, but after a restart as before",
                   v->name, state_names[v->state])
             : E_OK;
}

static enum err do_pause(struct volume *v, struct diag *why)
{
    enum err e = v->state == VOLUME_DIRECT ? volume_stop(v, why) : E_OK;

    if (e)
        return e;
    if (v->state != VOLUME_PAUSED)
        set_state(v, VOLUME_PAUSED, paused_reason);
    return save_state(v, why);
}

/* A coordinator whose LUN failed answers nobody until it is started anew. */
static bool coordinator_works(const struct volume *v)
{
    struct fs_coord_info info;

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
    e = volume_start(v, why);
    set_state(v, e ? VOLUME_OFFLINE : VOLUME_DIRECT,
              e ? diag_text(why, e) : "");
    return e ? e : save_state(v, why);
}

static enum err not_direct(struct volume *v, struct diag *why)
{
    return diag_fail(why, E_VOL_OFFLINE, "volume %s: is %s: %s", v->name,
                     state_names[v->state], v->reason);
}

static enum err do_grow(struct volume *v, struct diag *why)
{
    enum err e;

    if (v->state != VOLUME_DIRECT)
        return not_direct(v, why);
    e = lun_rescan(v->lun, why);
    if (!e)
        e = fs_coord_grow(v->coord, why);
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

/* -- use ------------------------------------------------------------------- */

enum err volume_get(struct volumes *vols, const char *name,
                    struct volume **ret_volume, struct diag *why)
{
    struct volume *v;
    enum err e = E_OK;

    pthread_mutex_lock(&vols->mutex);
    v = find_name(vols, name);
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
    v = find_url(vols, url);
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
    struct volume *v;
    enum err e = volume_get(vols, name, &v, why);

    if (e)
        return e;
    e = fs_coord_check(v->coord, args, ret_result, why);
    volume_put(v);
    return e;
}

/* -- show ------------------------------------------------------------------ */

/* Context: mutex is held. */
static json_t *volume_to_json(struct volume *v)
{
    struct fs_coord_info info = {0};
    struct diag trouble = {0};
    const char *state = state_names[v->state], *reason = v->reason;
    char uuid[UUID_TEXT_BYTES];
    json_t *node;

    if (v->state == VOLUME_DIRECT) {
        fs_coord_info(v->coord, &info);
        lun_trouble(v->lun, &trouble);
    }
    if (info.offline) {
        state = state_names[VOLUME_OFFLINE];
        reason = info.reason.text;
    }
    uuid_to_text(v->uuid, uuid);
    node = json_pack("{s:s, s:s, s:o, s:I}", "node", v->vols->args.host,
                     "state", state, "reason", json_text(reason), "since",
                     (json_int_t)v->since_s);
    return json_pack(
        "{s:o, s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:[o]}",
        "name", json_text(v->name), "uuid", uuid, "url", v->url, "coordinator",
        v->state == VOLUME_DIRECT ? v->vols->args.host : NULL, "epoch",
        (json_int_t)info.super.epoch, "size",
        (json_int_t)(info.size_blocks * FS_BLOCK_BYTES), "free",
        (json_int_t)(info.free_blocks * FS_BLOCK_BYTES), "inodes",
        (json_int_t)info.inodes, "disks", (json_int_t)v->users, "state", state,
        "reason", json_text(reason), "lun_trouble", json_text(trouble.text),
        "nodes", node);
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
