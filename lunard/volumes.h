/* lunard/volumes.h - the volumes that this host knows, reached or not.
 * Every function may be called from any thread with a loop of its own, and
 * blocks; changes are made one at a time.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_VOLUMES_H
#define LUNAR_LUNARD_VOLUMES_H

#include "base/keep.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/uuid.h"
#include "fs/fs.h"

#include <jansson.h>
#include <pthread.h>

enum { VOLUME_URL_BYTES = 1024, VOLUMES_MAX = 256 };

struct volumes;
struct cluster;
struct volumes_args {
    const char *state_path; /* the list outlives the daemon */
    const char *host;
    uint64_t incarnation;
    struct loop *const *loops; /* clients are dealt out among them */
    unsigned loop_count;
    struct fs_fuse *fuse; /* where volumes appear */
    struct keep *keep;    /* where ledgers outlive us; NULL: none do */
    /* LUNs of targets are shared with its hosts; NULL: we are alone. */
    struct cluster *cluster;
    /* Shared volumes have come or gone: from a thread that may block. */
    void (*came)(void *arg);
    void *came_arg;
};

/* Read the list and open what can be opened; the rest is Offline, with the
 * reason.  Ownership: args' strings, loops and fuse outlive the volumes.
 * Errors: E_CORRUPT (the list), E_IO, E_NOMEM. */
MUST_CHECK enum err volumes_open(const struct volumes_args *args,
                                 struct volumes **ret_volumes,
                                 struct diag *why);
/* What the cluster's table says, and nothing else, is shared and open here.
 * False: not all of it could be opened; try again. */
bool volumes_reconcile(struct volumes *vols);
/* Close every volume; the mount is gone and no file is open.  NULL is fine. */
void volumes_close(struct volumes *vols);

/* Open the volume on a LUN, and from now on at every start.  One that is
 * there already is left alone, and that is success.
 * Errors: E_EXIST (another volume has the name), those of the LUN and of the
 * volume on it. */
MUST_CHECK enum err volumes_add(struct volumes *vols, const char *url,
                                char ret_name[FS_VOLUME_NAME_MAX + 1],
                                struct diag *why);
/* Close it and forget it.  Errors: E_NOENT, E_BUSY (files are open). */
MUST_CHECK enum err volumes_remove(struct volumes *vols, const char *name,
                                   struct diag *why);
/* Close it but keep it in the list, until resumed; also over restarts. */
MUST_CHECK enum err volumes_pause(struct volumes *vols, const char *name,
                                  struct diag *why);
/* Open a volume that is paused or Offline. */
MUST_CHECK enum err volumes_resume(struct volumes *vols, const char *name,
                                   struct diag *why);
/* A shared one that is coordinated here: have another node do it.
 * Errors: E_NOENT, E_VOL_OFFLINE, E_TIMEOUT. */
MUST_CHECK enum err volumes_move(struct volumes *vols, const char *name,
                                 uint32_t to, struct diag *why);
/* Use what the LUN has grown by. */
MUST_CHECK enum err volumes_grow(struct volumes *vols, const char *name,
                                 struct diag *why);
/* Check a volume in use, read-only.  Errors: E_NOENT, E_VOL_OFFLINE. */
MUST_CHECK enum err volumes_check(struct volumes *vols, const char *name,
                                  const struct fs_check_args *args,
                                  struct fs_check_result *ret_result,
                                  struct diag *why);

/* -- among hosts (volumes_peers.c) ----------------------------------------- */

/* Where a volume is coordinated, as far as is known here. */
struct volume_place {
    char uuid[UUID_TEXT_BYTES]; /* the same on all hosts; its name may differ */
    bool shared;                /* else it is this host's alone */
    bool here;
    uint32_t node; /* of a shared one; 0: nobody coordinates it now */
};
/* Errors: E_NOENT. */
MUST_CHECK enum err volumes_place(struct volumes *vols, const char *name,
                                  struct volume_place *ret_place,
                                  struct diag *why);
/* The shared volume that is meant: what it is called here.  Errors: E_NOENT. */
MUST_CHECK enum err volumes_called(struct volumes *vols, const char *uuid,
                                   char ret_name[FS_VOLUME_NAME_MAX + 1],
                                   struct diag *why);
/* Look how large its LUN is; ret_bytes: 0, if it is not open here.
 * Errors: E_NOENT, those of the LUN. */
MUST_CHECK enum err volumes_rescan(struct volumes *vols, const char *name,
                                   uint64_t *ret_bytes, struct diag *why);
/* Another host is about to remove it: closed, until it is gone from the table,
 * or volumes_reconcile() opens it again.  Errors: E_BUSY. */
MUST_CHECK enum err volumes_let_go(struct volumes *vols, const char *name,
                                   const char *by, struct diag *why);

/* This host takes no part for a while: shared volumes are closed, those that
 * come, too, also over restarts.  If one cannot be closed all are open again.
 * Errors: E_BUSY (files are open), those of the list. */
MUST_CHECK enum err volumes_drain(struct volumes *vols, const char *by,
                                  struct diag *why);
/* Errors: those of the list. */
MUST_CHECK enum err volumes_undrain(struct volumes *vols, struct diag *why);
bool volumes_are_drained(struct volumes *vols);
/* Wait until none of them is coordinated here.  Errors: E_TIMEOUT, E_BUSY (no
 * other host could do it instead). */
MUST_CHECK enum err volumes_hand_over(struct volumes *vols, struct diag *why);

/* Is there a volume on that LUN, open or not? */
bool volumes_know(struct volumes *vols, const char *url,
                  char ret_name[FS_VOLUME_NAME_MAX + 1]);

/* Use a volume: it stays open until volume_put().
 * Errors: E_NOENT, E_VOL_OFFLINE with the reason. */
struct volume;
MUST_CHECK enum err volume_get(struct volumes *vols, const char *name,
                               struct volume **ret_volume, struct diag *why);
void volume_put(struct volume *v);
struct fs_client *volume_client(struct volume *v);
const uint8_t *volume_uuid(const struct volume *v); /* 16 bytes */

/* Its files that are disks of VMs; kept by lunard/files.c. */
struct volume_disks {
    pthread_mutex_t mutex; /* held while a handle comes or goes */
    struct list opened;
};
struct volume_disks *volume_disks(struct volume *v);

/* All of them, as `lunar status` shows them. */
json_t *volumes_to_json(struct volumes *vols);

#endif
