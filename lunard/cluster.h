/* lunard/cluster.h - this run of this host among the others: membership, the
 * wire, and the volumes that all of them have.
 *
 *   cluster.c       birth and death; the wire's two channels
 *   cluster_view.c  what membership says: views, notices, who is fenced where
 *   cluster_agent.c runs the fence agent       agent.h  … which is a program
 *   seat.h          a volume of the cluster: its guard, its link, and its
 *                   coordinator while that is here
 *   guard.h         may a LUN be written, who coordinates
 *   errand.h        what administrators ask of other hosts
 *   table.h         which volumes there are
 *   wire.x          what daemons say to each other
 *
 * All of it runs on one loop, reactor 0, where membership beats: a host whose
 * reactor 0 stands still is accused by the others.  What blocks is done by
 * `cold` threads.  Functions that may block say so.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_CLUSTER_H
#define LUNAR_LUNARD_CLUSTER_H

#include "base/cluster_key.h"
#include "base/transport.h"
#include "base/worker.h"
#include "fs/fs.h"
#include "lockmgr/lockmgr.h"
#include "lunard/config.h"
#include "lunard/table.h"
#include "lunard/wire.h"

#include <jansson.h>

struct seat;
struct control_args;
struct errand;

enum { CLUSTER_BEAT_MS = 500 };

/* Who keeps the volumes: the table says something new, or for the first time
 * anything.  On the loop. */
struct cluster_ear {
    void (*changed)(struct cluster_ear *ear);
};

struct cluster_args {
    const struct config *config; /* outlives the cluster */
    struct loop *loop;
    uint8_t uuid[16]; /* of this installation */
    uint64_t incarnation;
    struct cluster_ear *ear;            /* outlives the cluster */
    const char *state_path;             /* the table outlives the daemon */
    const struct control_args *answers; /* what other hosts may ask of this */
};

struct cluster;
/* What it was, and the secret.  Errors: E_CONFIG, those of the key file and of
 * the table's.  Context: blocks; not the loop's thread. */
MUST_CHECK enum err cluster_open(const struct cluster_args *args,
                                 struct cluster **ret_cluster,
                                 struct diag *why);
/* Join, in the background; `drained`: as one that does not coordinate.
 * Errors: those of membership.  Context: as above. */
MUST_CHECK enum err cluster_join(struct cluster *c, bool drained,
                                 struct diag *why);
/* The operator ends this host's part: what waits for a coordinator is given up
 * soon, if there is none; other hosts are asked and answered nothing any more,
 * nor switched off.
 * Context: as above. */
void cluster_quit(struct cluster *c);
/* Leave, with a goodbye.  Context: as above; all seats are closed. */
void cluster_close(struct cluster *c);

/* Run `run` on the loop, and wait for it.  Context: as above. */
void cluster_run(struct cluster *c, void (*run)(void *arg), void *arg);
/* What blocks, on a cold thread.  On the loop. */
void cluster_work(struct cluster *c, struct work *work);

/* -- what the volumes need; any thread but the loop's, may wait for it ------
 */

const char *cluster_name(const struct cluster *c);
/* Is that reservation key one of this cluster's, and which is this run's? */
bool cluster_owns_key(const struct cluster *c, uint64_t key);
uint64_t cluster_key_of(const struct cluster *c);
/* The seat of a volume, made at the first question.  NULL: this host is not in,
 * or no memory. */
struct seat *cluster_get_seat(struct cluster *c, const uint8_t uuid[16]);

/* The volumes in use, as far as is known; returns the count. */
size_t cluster_volumes(struct cluster *c, struct table_entry *ret_entries,
                       size_t max);
/* By an administrator, on any host. */
bool cluster_was_removed(struct cluster *c, const uint8_t uuid[16]);
/* Make a volume known to all, or no more: waits until all who are in have been
 * told.  Fills in its number.
 * Errors: E_NO_QUORUM, E_EXIST (name, URL), E_TIMEOUT, those of the file. */
MUST_CHECK enum err cluster_volume_add(struct cluster *c,
                                       struct table_entry *entry,
                                       struct diag *why);
MUST_CHECK enum err cluster_volume_remove(struct cluster *c,
                                          const uint8_t uuid[16],
                                          struct diag *why);

/* Write the table to its file.  Errors: the file's. */
MUST_CHECK enum err cluster_save(struct cluster *c, struct diag *why);

/* A member, by name or number; 0: there is none. */
uint32_t cluster_node(struct cluster *c, const char *name);
/* The members: all, or all but this one. */
struct cluster_host {
    uint32_t node;
    char name[MEMBER_NAME_BYTES];
};
unsigned cluster_hosts(struct cluster *c, bool others,
                       struct cluster_host ret_hosts[LM_NODES_MAX]);
uint32_t cluster_me(const struct cluster *c);
bool cluster_is_drained(struct cluster *c, uint32_t node);
/* errands_ask(), of other members. */
void cluster_ask(struct cluster *c, struct errand *list, unsigned count,
                 unsigned limit_ms);
bool cluster_is_quorate(struct cluster *c);
/* This host coordinates no more, for now or until further notice; or again.
 * Waits until all who are in know.  Errors: E_NO_QUORUM, E_TIMEOUT. */
MUST_CHECK enum err cluster_drain(struct cluster *c, drain_mark mark,
                                  struct diag *why);
/* The operator's word: that host is off.  Errors: E_BUSY - it is a member;
 * E_NOENT - nobody misses it. */
MUST_CHECK enum err cluster_confirm_dead(struct cluster *c, const char *node,
                                         struct diag *why);
/* Nodes, as `lunar status` shows them. */
json_t *cluster_to_json(struct cluster *c);

#endif
