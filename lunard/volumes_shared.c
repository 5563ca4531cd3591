/* lunard/volumes_shared.c - volumes of the cluster: what its table says is what
 * this host has.
 * Decides nothing of who coordinates.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/volume.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool volumes_are_shared(const struct volumes *vols, const char *url)
{
    return vols->args.cluster && !strncmp(url, "iscsi://", 8);
}

/* -- which volume is it? --------------------------------------------------- */

/* The LUN is reserved.  By this cluster, which has forgotten it: then a key of
 * ours opens it.  Else by others, whose it is. */
static enum err get_in(struct volumes *vols, struct lun *lun, struct diag *why)
{
    uint64_t list[LM_KEYS_MAX];
    struct lun_pr pr = {
        .op = LUN_PR_READ_KEYS, .keys = list, .keys_max = ARRAY_LEN(list)};
    enum err e = lun_pr_sync(lun, &pr);

    for (unsigned i = 0; !e && i < pr.key_count && i < ARRAY_LEN(list); i++)
        if (!cluster_owns_key(vols->args.cluster, list[i]))
            return diag_fail(why, E_RESERVED,
                             "%s: is reserved, and key 0x%" PRIx64
                             " is none of this cluster's: another cluster or "
                             "program uses the LUN",
                             lun_name(lun), list[i]);
    pr = (struct lun_pr){.op = LUN_PR_REGISTER_IGNORE,
                         .aptpl = true,
                         .new_key = cluster_key_of(vols->args.cluster)};
    if (!e)
        e = lun_pr_sync(lun, &pr);
    if (e == E_UNSUPPORTED && pr.aptpl) {
        pr.aptpl = false;
        e = lun_pr_sync(lun, &pr);
    }
    return e ? diag_fail(why, e, "%s: reservations: %s", lun_name(lun),
                         err_text(e))
             : E_OK;
}

static enum err probe(struct volumes *vols, const char *url,
                      struct fs_super_info *ret_info, struct diag *why)
{
    const struct lun_args args = {.read_only = true};
    struct lun *lun;
    enum err e = lun_open(url, &args, why, &lun);

    if (e)
        return e;
    e = fs_super_probe(lun_store(lun), ret_info, why);
    if (e == E_RESERVED) {
        e = get_in(vols, lun, why);
        if (!e)
            e = fs_super_probe(lun_store(lun), ret_info, why);
    }
    lun_close(lun);
    return e ? diag_prefix(why, e, "%s", url) : E_OK;
}

static enum err check_cluster(struct volumes *vols, const char *url,
                              const struct fs_super_info *info,
                              struct diag *why)
{
    const char *mine = cluster_name(vols->args.cluster);

    if (!*info->cluster || !strcmp(info->cluster, mine))
        return E_OK;
    return diag_fail(why, E_LUN_BUSY,
                     "%s: volume %s belongs to cluster %s, and this is %s: no "
                     "volume can have two",
                     url, info->name, info->cluster, mine);
}

/* -- what the table says --------------------------------------------------- */

static struct volume *take(struct volumes *vols,
                           const struct table_entry *entry)
{
    struct volume *v = volumes_find_uuid(vols, entry->uuid);

    if (!v) {
        v = volume_new(vols);
        if (!v)
            return NULL;
        v->state = VOLUME_OFFLINE;
        memcpy(v->uuid, entry->uuid, sizeof v->uuid);
        snprintf(v->url, sizeof v->url, "%s", entry->url);
        snprintf(v->name, sizeof v->name, "%s", entry->name);
        v->number = entry->number;
        v->shared = true;
        volumes_enlist(vols, v);
    } else if (v->state != VOLUME_DIRECT) {
        pthread_mutex_lock(&vols->mutex);
        snprintf(v->url, sizeof v->url, "%s", entry->url);
        snprintf(v->name, sizeof v->name, "%s", entry->name);
        v->number = entry->number;
        v->shared = true;
        pthread_mutex_unlock(&vols->mutex);
    }
    return v;
}

static bool is_known(const struct table_entry *entries, size_t count,
                     const struct volume *v)
{
    for (size_t i = 0; i < count; i++)
        if (!memcmp(entries[i].uuid, v->uuid, sizeof v->uuid))
            return true;
    return false;
}

/* Removed by another host.  While something is open here it stays. */
static void drop(struct volume *v)
{
    struct volumes *vols = v->vols;
    struct diag why = {0};
    enum err e = v->state == VOLUME_DIRECT ? volume_stop(v, &why) : E_OK;

    if (e) {
        log_warning("removed by another host, but here still: %s",
                    diag_text(&why, e));
        return;
    }
    log_info("volume %s: removed by another host", v->name);
    volumes_delist(vols, v);
    volume_ledger_end(v);
    volume_free(v);
}

/* What this host had while it was alone, or before the table was lost. */
static void bring(struct volume *v)
{
    struct table_entry entry = {.number = v->number};
    struct diag why = {0};
    enum err e;

    memcpy(entry.uuid, v->uuid, sizeof entry.uuid);
    snprintf(entry.url, sizeof entry.url, "%s", v->url);
    snprintf(entry.name, sizeof entry.name, "%s", v->name);
    e = cluster_volume_add(v->vols->args.cluster, &entry, &why);
    if (e)
        volume_set_state(v, VOLUME_OFFLINE, diag_text(&why, e));
}

void volumes_start_shared(struct volumes *vols)
{
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (!v->shared || v->state != VOLUME_OFFLINE)
            continue;
        if (*vols->drained_by)
            volume_maintain(v);
        else
            volumes_start_or_blame(v);
    }
}

static bool all_are_open(const struct volumes *vols)
{
    list_for_each (l, &vols->list) {
        const struct volume *v = container_of(l, struct volume, link);

        if (v->shared && v->state == VOLUME_OFFLINE)
            return false;
    }
    return true;
}

bool volumes_reconcile(struct volumes *vols)
{
    struct table_entry *entries = calloc(TABLE_VOLUMES_MAX, sizeof *entries);
    struct diag why = {0};
    size_t count;
    enum err e;
    bool all;

    if (!entries)
        return false;
    pthread_mutex_lock(&vols->admin);
    count = cluster_volumes(vols->args.cluster, entries, TABLE_VOLUMES_MAX);
    for (size_t i = 0; i < count; i++)
        (void)take(vols, &entries[i]);
    list_for_each (l, &vols->list) {
        struct volume *v = container_of(l, struct volume, link);

        if (!v->shared || is_known(entries, count, v))
            continue;
        if (cluster_was_removed(vols->args.cluster, v->uuid))
            drop(v);
        else
            bring(v);
    }
    volumes_start_shared(vols);
    e = volumes_save(vols, &why);
    if (!e)
        e = cluster_save(vols->args.cluster, &why);
    all = all_are_open(vols);
    pthread_mutex_unlock(&vols->admin);
    if (e)
        log_error("%s", diag_text(&why, e));
    free(entries);
    vols->args.came(vols->args.came_arg);
    return all;
}

/* -- the administrator ----------------------------------------------------- */

enum err volumes_add_shared(struct volumes *vols, const char *url,
                            struct volume **ret_volume, struct diag *why)
{
    struct fs_super_info info;
    struct table_entry entry = {0};
    struct volume *v;
    enum err e = probe(vols, url, &info, why);

    if (e)
        return e;
    e = fs_volume_name_check(info.name, why);
    if (e)
        return diag_prefix(why, e, "%s", url);
    e = check_cluster(vols, url, &info, why);
    if (e)
        return e;
    memcpy(entry.uuid, info.uuid, sizeof entry.uuid);
    snprintf(entry.url, sizeof entry.url, "%s", url);
    snprintf(entry.name, sizeof entry.name, "%s", info.name);
    e = cluster_volume_add(vols->args.cluster, &entry, why);
    if (e)
        return e;
    v = take(vols, &entry);
    if (!v)
        return diag_fail(why, E_NOMEM, "%s: out of memory", url);
    if (*vols->drained_by) {
        volume_maintain(v);
    } else if (v->state != VOLUME_DIRECT) {
        e = volume_start(v, why);
        volume_set_state(v, e ? VOLUME_OFFLINE : VOLUME_DIRECT,
                         e ? diag_text(why, e) : "");
    }
    *ret_volume = v;
    return e ? e : volumes_save(vols, why);
}
