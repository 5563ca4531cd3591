/* lunard/volume.h - one volume as this host has it; for volume*.c only.
 *
 *   volume.c        open and shut: its LUN, coordinator, client, ledger
 *   volumes.c       all of them: add, remove, pause, resume, use
 *   volumes_list.c  the list in a file
 *   volumes_shared.c  what the cluster's table asks for
 *   volumes_peers.c   what other hosts' administrators ask for
 *
 * A volume is shared if its LUN is: then it has a seat in the cluster, which
 * has the LUN and the coordinator.  Else it is this host's alone.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_VOLUME_H
#define LUNAR_LUNARD_VOLUME_H

#include "lunard/seat.h"
#include "lunard/volumes.h"

#include "iscsi/iscsi.h"

struct volume {
    struct list link; /* volumes->list */
    struct volumes *vols;
    char url[VOLUME_URL_BYTES];
    char name[FS_VOLUME_NAME_MAX + 1];
    uint8_t uuid[16];
    uint16_t number; /* of st_ino: as long as the volume is known */
    bool shared;     /* with the hosts of the cluster: `seat` is valid */
    /* lock: volumes->mutex */
    /* Of this host's own will: never Redirected.  What the cluster and the LUN
     * make of Direct its seat knows. */
    enum volume_state state;
    char reason[DIAG_TEXT_BYTES]; /* of the state; "": none */
    uint64_t since_s;
    unsigned users; /* volume_get() */
    /* Valid while Direct; changed under admin with no users. */
    struct lun *lun; /* a shared one's is the seat's */
    /* What was promised and not committed; NULL without a holder.  It stays
     * over failed starts, until a clean end. */
    struct fs_ledger *ledger;
    bool adopt; /* the ledger is that of a process that was killed */
    struct fs_coord *coord;
    struct seat *seat;
    struct fs_client *client;
    struct volume_disks disks;
};

struct volumes {
    struct volumes_args args;
    pthread_mutex_t admin; /* one change at a time; taken before mutex */
    pthread_mutex_t mutex;
    struct list list; /* lock: mutex to read, both to change */
    unsigned count, next_loop;
    char drained_by[CONFIG_NAME_BYTES]; /* lock: admin; "": it is not */
};

/* -- volume.c -------------------------------------------------------------- */

struct volume *volume_new(struct volumes *vols); /* NULL: no memory */
void volume_free(struct volume *v);
void volume_set_state(struct volume *v, enum volume_state state,
                      const char *reason);
/* Open it; state and list are the caller's.  Context: admin is held. */
MUST_CHECK enum err volume_start(struct volume *v, struct diag *why);
/* Errors: E_BUSY: disks of VMs, open files. */
MUST_CHECK enum err volume_stop(struct volume *v, struct diag *why);
/* Undo volume_start(), as far as it came. */
void volume_shut(struct volume *v);
/* While it is Direct: where its bytes are. */
struct lun *volume_lun(struct volume *v);
/* While it is Direct: the coordinator, if it is here; NULL: elsewhere, as why
 * says.  Until volume_put_coord(). */
struct fs_coord *volume_get_coord(struct volume *v, struct diag *why);
void volume_put_coord(struct volume *v);
void volume_ledger_end(struct volume *v); /* all is committed */

/* -- volumes.c ------------------------------------------------------------- */

/* Context: admin or mutex is held. */
struct volume *volumes_find_name(struct volumes *vols, const char *name);
struct volume *volumes_find_url(struct volumes *vols, const char *url);
struct volume *volumes_find_uuid(struct volumes *vols, const uint8_t uuid[16]);
/* Context: admin is held. */
void volumes_enlist(struct volumes *vols, struct volume *v);
void volumes_delist(struct volumes *vols, struct volume *v);
/* Start it; if that fails it is Offline, with the reason. */
void volumes_start_or_blame(struct volume *v);

/* -- volumes_list.c -------------------------------------------------------- */

MUST_CHECK enum err volumes_load(struct volumes *vols, struct diag *why);
/* Context: admin is held. */
MUST_CHECK enum err volumes_save(struct volumes *vols, struct diag *why);

/* -- volumes_shared.c ------------------------------------------------------ */

/* Is a LUN of that URL one that the hosts of the cluster share? */
bool volumes_are_shared(const struct volumes *vols, const char *url);
/* Have the table say so, and open it here.  Context: admin is held. */
MUST_CHECK enum err volumes_add_shared(struct volumes *vols, const char *url,
                                       struct volume **ret_volume,
                                       struct diag *why);

/* Start what is Offline, or, where this host is drained, say so.  Context:
 * admin is held. */
void volumes_start_shared(struct volumes *vols);

/* -- volumes_peers.c ------------------------------------------------------- */

/* It is not open, and will not be while this host is drained.  Context: admin
 * is held. */
void volume_maintain(struct volume *v);

#endif
