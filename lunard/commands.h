/* lunard/commands.h - what the files with the control socket's commands share.
 *
 *   commands.c          the table; commands of this host alone
 *   commands_cluster.c  commands that take the other hosts
 *   commands_peer.c     the table of what other hosts may ask of this one
 *   users.c             who has files of a volume open
 *   sights.c            the volumes as all hosts see them
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_COMMANDS_H
#define LUNAR_LUNARD_COMMANDS_H

#include "lunard/control.h"
#include "lunard/lunard.h"
#include "lunard/volumes.h"

static inline struct daemon *daemon_of(const struct control_call *call)
{
    return call->context;
}

/* -- commands.c: here, whoever asks ---------------------------------------- */

/* Of a volume that is coordinated here.  Errors: E_VOL_OFFLINE: it is not. */
MUST_CHECK enum err command_check(struct control_call *call, const char *name);
MUST_CHECK enum err command_grow(struct control_call *call, const char *name);
MUST_CHECK enum err command_move(struct control_call *call, const char *name);
/* Close it and forget it; if a disk is in the way, say which. */
MUST_CHECK enum err command_remove(struct control_call *call, const char *name);

/* -- commands_cluster.c ---------------------------------------------------- */

enum err run_volume_check(struct control_call *call);
enum err run_volume_grow(struct control_call *call);
enum err run_volume_move(struct control_call *call);
enum err run_volume_remove(struct control_call *call);
enum err run_drain(struct control_call *call);
enum err run_undrain(struct control_call *call);
/* This very host, by order of that one.  Errors: E_BUSY (and who uses what),
 * E_NO_QUORUM, E_TIMEOUT; then it is as it was. */
MUST_CHECK enum err drain_here(struct daemon *d, const char *by,
                               struct diag *why);
MUST_CHECK enum err undrain_here(struct daemon *d, struct diag *why);

/* -- users.c --------------------------------------------------------------- */

enum { USERS_MAX = 20 }; /* more are counted only */

/* Who has what open of a volume on this host, as texts; NULL: of any shared or
 * other volume, and disks that are passed through, too. */
json_t *users_of(struct daemon *d, const char *volume);
/* Add texts to a line, each with the host, if it is to be named. */
void users_join(const json_t *users, const char *host, struct buf *to);

/* -- sights.c -------------------------------------------------------------- */

MUST_CHECK enum err sights_new(struct sights **ret_sights); /* E_NOMEM */
void sights_free(struct sights *sights);                    /* NULL is fine */
/* volumes_to_json(), and what the other hosts say within SIGHT_MS: their
 * states; sizes from whoever coordinates, else as they were last known. */
enum { SIGHT_MS = 1000 };
json_t *sights_of_volumes(struct daemon *d);

#endif
