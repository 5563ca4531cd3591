/* lunard/volume.c - open and shut one volume: LUN, coordinator, client, ledger.
 * Knows no list and no administrator.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/volume.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"

#include <stdio.h>
#include <string.h>

enum { SOLO_NODE = 1 /* this host's node number where it is alone */ };

struct volume *volume_new(struct volumes *vols)
{
    struct volume *v = calloc(1, sizeof *v);

    if (!v)
        return NULL;
    v->vols = vols;
    pthread_mutex_init(&v->disks.mutex, NULL);
    list_init(&v->disks.opened);
    return v;
}

void volume_free(struct volume *v)
{
    pthread_mutex_destroy(&v->disks.mutex);
    free(v);
}

void volume_set_state(struct volume *v, enum volume_state state,
                      const char *reason)
{
    bool same;

    pthread_mutex_lock(&v->vols->mutex);
    same = v->state == state && v->since_s && !strcmp(v->reason, reason);
    if (!same) {
        v->state = state;
        snprintf(v->reason, sizeof v->reason, "%s", reason);
        v->since_s = clock_wall_ns(clock_system()) / NS_PER_S;
    }
    pthread_mutex_unlock(&v->vols->mutex);
    if (same)
        return;
    if (v->seat && state == VOLUME_DIRECT)
        return; /* it says itself what has become of that */
    log_line(state == VOLUME_OFFLINE ? LOG_ERROR : LOG_INFO,
             "volume %s: %s%s%s", *v->name ? v->name : v->url,
             volume_state_name(state), *reason ? ": " : "", reason);
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

void volume_ledger_end(struct volume *v)
{
    char name[LEDGER_NAME_BYTES];

    if (!v->ledger)
        return;
    ledger_name(v, name);
    (void)!keep_drop(v->vols->args.keep, name); /* else it keeps an empty one */
    fs_ledger_free(TAKE(v->ledger));
}

/* -- open and close -------------------------------------------------------- */

struct lun *volume_lun(struct volume *v)
{
    return v->shared ? seat_lun(v->seat) : v->lun;
}

struct fs_coord *volume_get_coord(struct volume *v, struct diag *why)
{
    return v->shared ? seat_get_coord(v->seat, why) : v->coord;
}

void volume_put_coord(struct volume *v)
{
    if (v->shared)
        seat_put_coord(v->seat);
}

static enum err make_client(struct volume *v, struct fs_link *link,
                            struct diag *why)
{
    struct volumes *vols = v->vols;
    const struct fs_client_args client = {
        .lun = lun_store(volume_lun(v)),
        .link = link,
        .ledger = v->ledger,
        .redirect = v->shared,
        .loop = vols->args.loops[vols->next_loop++ % vols->args.loop_count],
    };
    enum err e = fs_client_new(&client, &v->client);

    return e ? diag_fail(why, e, "%s: %s", v->url, err_text(e)) : E_OK;
}

/* Claim the volume on v->lun and make a client of it. */
static enum err start_on_lun(struct volume *v, struct diag *why)
{
    const struct fs_coord_args coord = {
        .node = SOLO_NODE,
        .host = v->vols->args.host,
        .incarnation = v->vols->args.incarnation,
        .sole = lun_is_sole(v->lun),
        .adopt = v->adopt,
        .discard = true,
    };
    enum err e = fs_coord_start(lun_store(v->lun), &coord, why, &v->coord);

    if (e)
        return diag_prefix(why, e, "%s", v->url);
    e = make_client(v, fs_coord_link(v->coord), why);
    if (e)
        return e;
    return v->adopt ? fs_client_recover(v->client, why) : E_OK;
}

/* Is the volume on the LUN the one that the list says? */
static enum err check_identity(struct volume *v,
                               const struct fs_super_info *info,
                               struct diag *why)
{
    static const uint8_t unknown[sizeof v->uuid];
    const struct volume *other = volumes_find_name(v->vols, info->name);
    enum err e = fs_volume_name_check(info->name, why);

    if (e)
        return diag_prefix(why, e, "%s", v->url);
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

/* A volume of this host alone. */
static enum err start_sole(struct volume *v, struct diag *why)
{
    struct fs_super_info info;
    const struct lun_args lun = {
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
    return e ? e : start_on_lun(v, why);
}

/* What the process before this one had promised.  Others may have changed the
 * files since it was fenced: then that is lost, as with a host that dies. */
static enum err recover_shared(struct volume *v, struct diag *why)
{
    struct diag reason = {0};
    enum err e = fs_client_recover(v->client, &reason);

    if (!e)
        return E_OK;
    log_error("volume %s: what was written before the crash and not synced is "
              "lost: %s",
              v->name, diag_text(&reason, e));
    fs_client_free(TAKE(v->client));
    volume_ledger_end(v);
    v->adopt = false;
    e = ledger_begin(v, why);
    return e ? e : make_client(v, seat_link(v->seat), why);
}

/* One of the cluster: who coordinates it is decided there; what is asked of it
 * until then waits. */
static enum err start_shared(struct volume *v, struct diag *why)
{
    const struct volumes_args *args = &v->vols->args;
    enum err e;

    v->seat = cluster_get_seat(args->cluster, v->uuid);
    if (!v->seat)
        return diag_fail(why, E_NO_QUORUM, "%s: this host is in no cluster yet",
                         v->url);
    e = seat_open(v->seat, v->url, args->loops, args->loop_count, why);
    if (!e)
        e = ledger_begin(v, why);
    if (!e)
        e = make_client(v, seat_link(v->seat), why);
    if (!e && v->adopt)
        e = recover_shared(v, why);
    if (!e)
        seat_set_client(v->seat, v->client);
    return e;
}

enum err volume_start(struct volume *v, struct diag *why)
{
    enum err e = v->shared ? start_shared(v, why) : start_sole(v, why);

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
    if (v->coord)
        fs_coord_settle(v->coord);
    v->adopt = false;
    return E_OK;
}

void volume_shut(struct volume *v)
{
    if (v->seat)
        seat_set_client(v->seat, NULL);
    fs_client_free(TAKE(v->client));
    fs_coord_stop(TAKE(v->coord));
    if (v->seat)
        seat_close(v->seat);
    lun_close(TAKE(v->lun));
}

enum err volume_stop(struct volume *v, struct diag *why)
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
        volume_set_state(v, VOLUME_DIRECT, "");
        return diag_fail(why, e,
                         "volume %s: files on it are open: close them first",
                         v->name);
    }
    volume_shut(v);
    volume_ledger_end(v);
    return E_OK;
}
