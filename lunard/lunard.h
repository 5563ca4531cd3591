/* lunard - the daemon and the lunar command: wires the layers together.
 *
 *   main_lunard.c   arguments, signals
 *   holder.c        the parent that keeps guests while lunard is away
 *   config.c        lunar.conf
 *   host.c          host.json: which host, which run
 *   daemon.c        start and stop everything, in order
 *   volumes.c       the volumes this host knows: LUN + coordinator + client
 *   cluster.c       the other hosts, and the volumes that they share: cluster.h
 *   files.c         a path below the root -> an open file with its handle
 *   control.c       the control socket          commands.c  what it can do
 *   commands_cluster.c  what takes other hosts  commands_peer.c  for those
 *   sights.c        the volumes as all hosts see them
 *   users.c         who has files of a volume open
 *
 *   main_lunar.c    the command line: a table of commands
 *   cli_*.c         what they do: ask the daemon, or work on a LUN or a file
 *
 * Nothing here opens a path below the daemon's own mount: it would wait for
 * itself.  The lunar command, another process, may.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LUNARD_LUNARD_H
#define LUNAR_LUNARD_LUNARD_H

#include "base/loop.h"
#include "hotplug/hotplug.h"
#include "lunard/cluster.h"
#include "lunard/config.h"
#include "lunard/control.h"
#include "lunard/host.h"

#define LUNAR_VERSION "0.1"

struct keep;
struct volumes;

struct daemon {
    struct config config;
    struct reactor *reactors[CONFIG_REACTORS_MAX];
    struct loop *loops[CONFIG_REACTORS_MAX]; /* of the reactors */
    unsigned reactor_count;
    struct host host; /* this one, and this run of it */
    int lock_fd;      /* on the state directory: one daemon for each */
    char volumes_path[CONFIG_PATH_BYTES + 32]; /* state files */
    char vms_path[CONFIG_PATH_BYTES + 32];
    char cluster_path[CONFIG_PATH_BYTES + 32];
    struct keep *keep; /* our end of the holder; NULL: there is none */
    bool adopted;      /* the mount is that of a process that was killed */
    int flusher_errno, lock_errno; /* of guarding our memory; 0: done */
    struct cluster *cluster;       /* NULL: this host is alone */
    struct cluster_ear cluster_ear;
    struct control_args answers; /* to other hosts */
    struct sights *sights;       /* what they said last of the volumes */
    /* The table is carried out by one cold thread at a time; all these on
     * reactor 0, but for `resumed`. */
    struct work reconcile;
    bool reconciling, reconcile_again, reconcile_later, stopping;
    struct timer retry;
    bool resumed; /* what waited at the mount goes on; of `reconcile` only */
    struct fs_fuse *fuse;
    struct volumes *volumes;
    pthread_mutex_t draining; /* one order to drain or undrain at a time */
    struct hotplug_files files;
    struct hotplug *hotplug;
    struct control *control;
};

/* Start everything that the configuration says; d->config and d->keep are set,
 * the rest is zero.  What cannot be reached (a LUN, a disk) does not stop it.
 * Errors: another daemon (E_BUSY), the state directory, the mount; all that
 * was started is stopped again.  Context: a thread with a loop; blocks. */
MUST_CHECK enum err daemon_start(struct daemon *d, struct diag *why);
/* Drain, flush, close, unmount, remove the sockets. */
void daemon_stop(struct daemon *d);

/* The rows of the control socket, and those for other hosts; context is the
 * daemon. */
extern const struct control_command daemon_commands[];
extern const struct control_command peer_commands[];

#endif
