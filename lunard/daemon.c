/* lunard/daemon.c - starts and stops the parts, in order.
 *
 *   state directory (lock, host.json) -> reactors -> mount -> volumes
 *   -> VMs and disks -> control socket;  stopping goes the other way round
 *
 * A mount that is taken over is served from when its volumes are there again;
 * until then nothing here may touch a path on it (docs/holder.md).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/lunard.h"

#include "base/keep.h"
#include "base/log.h"
#include "fs/fs.h"
#include "lunard/commands.h"
#include "lunard/control.h"
#include "lunard/files.h"
#include "lunard/volumes.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RETRY_MS = 10000, /* to open a shared volume whose LUN was away */
    AIO_DEPTH = 512,  /* of a reactor: what its disks have in flight at once */
    CACHE_S = 60      /* the kernel may cache names: no other host is there */
};

/* -- memory ---------------------------------------------------------------- */

/* The I/O path must never wait for memory that can only be freed by I/O
 * through ourselves: allocations here do not recurse into file systems
 * (PR_SET_IO_FLUSHER, inherited by every thread), and pages stay in. */
static enum err guard_memory(struct daemon *d, struct diag *why)
{
    (void)why;
#ifdef PR_SET_IO_FLUSHER
    if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
        d->flusher_errno = errno;
#endif
    if (d->config.lock_memory &&
        mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
        d->lock_errno = errno;
    return E_OK;
}

/* What could not be had is no reason not to serve, but to be told. */
static void log_start(const struct daemon *d)
{
    if (d->flusher_errno)
        log_warning("PR_SET_IO_FLUSHER: %s", strerror(d->flusher_errno));
    if (d->lock_errno)
        log_warning("mlockall: %s: set LimitMEMLOCK=infinity, or "
                    "lock_memory = no",
                    strerror(d->lock_errno));
    log_info("lunard %s: host %s, incarnation %llu, %u reactors, %s",
             LUNAR_VERSION, d->config.host_name,
             (unsigned long long)d->host.incarnation, d->reactor_count,
             d->config.root);
}

/* -- directories ----------------------------------------------------------- */

/* mkdir -p */
static enum err make_directory(const char *path, mode_t mode, struct diag *why)
{
    char part[CONFIG_PATH_BYTES];
    struct stat st;

    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0755);
        *slash = '/';
    }
    if (mkdir(part, mode) && errno != EEXIST)
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    /* ENOTCONN: the dead mount of an earlier run, which the mount clears */
    if (stat(path, &st) ? errno != ENOTCONN : !S_ISDIR(st.st_mode))
        return diag_fail(why, E_NOTDIR, "%s: is not a directory", path);
    return E_OK;
}

static enum err make_parent(const char *path, struct diag *why)
{
    char parent[CONFIG_PATH_BYTES];
    char *slash;

    snprintf(parent, sizeof parent, "%s", path);
    slash = strrchr(parent, '/');
    if (slash == parent)
        return E_OK;
    *slash = '\0';
    return make_directory(parent, 0755, why);
}

static void state_path(const struct daemon *d, const char *name,
                       char ret_path[CONFIG_PATH_BYTES + 32])
{
    snprintf(ret_path, CONFIG_PATH_BYTES + 32, "%s/%s", d->config.state, name);
}

/* One daemon for a state directory, and a number for this run of it. */
static enum err claim_state(struct daemon *d, struct diag *why)
{
    char path[CONFIG_PATH_BYTES + 32];
    enum err e = make_directory(d->config.state, 0700, why);

    if (e)
        return e;
    state_path(d, "lock", path);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB))
        return diag_fail(why, E_BUSY,
                         "%s: another lunard uses it: stop it, or configure "
                         "another state directory",
                         d->config.state);
    return host_begin(d->config.state, &d->host, why);
}

/* -- parts ----------------------------------------------------------------- */

static enum err start_reactors(struct daemon *d, struct diag *why)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted = d->config.reactors;

    if (!wanted)
        wanted = cores < 1 ? 1 : (unsigned)cores;
    if (wanted > CONFIG_REACTORS_MAX)
        wanted = CONFIG_REACTORS_MAX;
    for (unsigned i = 0; i < wanted; i++) {
        char name[16];
        struct loop_args args = {
            .name = name, .spin_us = d->config.spin_us, .aio_depth = AIO_DEPTH};
        enum err e;

        snprintf(name, sizeof name, "reactor%u", i);
        e = reactor_start(&args, &d->reactors[i]);
        if (e)
            return diag_fail(why, e, "reactor %u: %s", i, err_text(e));
        d->loops[i] = reactor_loop(d->reactors[i]);
        d->reactor_count++;
    }
    return E_OK;
}

/* The holder's name for /dev/fuse and what belongs to it. */
static const char mount_name[] = "mount";
enum { MOUNT_FUSE, MOUNT_KEPT, MOUNT_FDS };

/* The mount of a process that was killed.  If it cannot be had its users get
 * ENOTCONN, and a new one takes its place. */
static void adopt_mount(struct daemon *d, struct fs_fuse_args args)
{
    struct diag why = {0};
    int fds[KEEP_FDS_MAX];
    enum err e;

    if (!d->keep || keep_take(d->keep, mount_name, fds) != MOUNT_FDS)
        return;
    args.fd = fds[MOUNT_FUSE];
    args.kept_fd = fds[MOUNT_KEPT];
    e = fs_fuse_start(&args, &why, &d->fuse);
    d->adopted = e == E_OK;
    if (d->adopted)
        return;
    log_error("%s: cannot be taken over: %s", args.mountpoint,
              diag_text(&why, e));
    umount2(args.mountpoint, MNT_DETACH);
    (void)!keep_drop(d->keep, mount_name);
}

static enum err keep_mount(struct daemon *d, struct diag *why)
{
    int fds[MOUNT_FDS];
    enum err e;

    if (!d->keep)
        return E_OK;
    fds[MOUNT_FUSE] = fs_fuse_fd(d->fuse);
    fds[MOUNT_KEPT] = fs_fuse_kept_fd(d->fuse);
    e = keep_put(d->keep, mount_name, fds, MOUNT_FDS);
    return e ? diag_fail(why, e, "the holder: %s", err_text(e)) : E_OK;
}

static enum err start_mount(struct daemon *d, struct diag *why)
{
    struct fs_fuse_args args = {
        .loop = d->loops[0],
        .mountpoint = d->config.root,
        .incarnation = d->host.incarnation,
        .fd = -1,
        .kept_fd = -1,
        .cache_s = d->config.corosync ? 0 : CACHE_S,
        .locks = d->config.corosync,
    };
    enum err e;

    adopt_mount(d, args);
    if (d->adopted)
        return E_OK;
    e = make_directory(d->config.root, 0755, why);
    if (!e)
        e = fs_fuse_start(&args, why, &d->fuse);
    return e ? e : keep_mount(d, why);
}

static enum err resume(struct daemon *d, struct diag *why)
{
    enum err e = d->adopted ? fs_fuse_resume(d->fuse) : E_OK;

    if (e == E_UNSUPPORTED) {
        log_warning("%s: this kernel cannot send requests again: who waits "
                    "for an answer of the process before goes on waiting",
                    d->config.root);
        return E_OK;
    }
    return e ? diag_fail(why, e, "%s: %s", d->config.root, err_text(e)) : E_OK;
}

/* Of a cluster its files are opened anew when this host is in it. */
static enum err resume_mount(struct daemon *d, struct diag *why)
{
    return d->cluster ? E_OK : resume(d, why);
}

static enum err open_cluster(struct daemon *d, struct diag *why)
{
    struct cluster_args args = {
        .config = &d->config,
        .loop = d->loops[0],
        .incarnation = d->host.incarnation,
        .state_path = d->cluster_path,
        .ear = &d->cluster_ear,
        .answers = &d->answers,
    };

    if (!d->config.corosync)
        return E_OK;
    d->answers = (struct control_args){.commands = peer_commands, .context = d};
    state_path(d, "cluster.json", d->cluster_path);
    memcpy(args.uuid, d->host.uuid, sizeof args.uuid);
    if (sights_new(&d->sights))
        return diag_fail(why, E_NOMEM, "out of memory");
    return cluster_open(&args, &d->cluster, why);
}

/* Shared volumes are there, or are not any more. */
static void volumes_came(void *arg)
{
    struct daemon *d = arg;
    struct diag why = {0};
    bool first = d->adopted && !d->resumed;
    enum err e = E_OK;

    d->resumed = true;
    if (first)
        e = resume(d, &why);
    if (e)
        log_error("%s", diag_text(&why, e));
    hotplug_retry(d->hotplug);
}

static void run_reconcile(struct work *work)
{
    struct daemon *d = container_of(work, struct daemon, reconcile);

    d->reconcile_later = !volumes_reconcile(d->volumes);
}

static void reconcile(struct daemon *d);

static void reconciled(struct work *work)
{
    struct daemon *d = container_of(work, struct daemon, reconcile);

    d->reconciling = false;
    if (d->stopping)
        return;
    if (d->reconcile_again)
        reconcile(d);
    else if (d->reconcile_later) /* a LUN is away, perhaps */
        loop_timer_set(d->loops[0], &d->retry, RETRY_MS);
}

/* On reactor 0: the table says something new. */
static void reconcile(struct daemon *d)
{
    d->reconcile_again = d->reconciling;
    if (d->reconciling || d->stopping)
        return;
    d->reconciling = true;
    d->reconcile = (struct work){.run = run_reconcile, .done = reconciled};
    cluster_work(d->cluster, &d->reconcile);
}

static void fire_retry(struct timer *t)
{
    reconcile(container_of(t, struct daemon, retry));
}

static void stop_reconciling(void *arg)
{
    struct daemon *d = arg;

    loop_timer_cancel(d->loops[0], &d->retry);
    d->stopping = true;
    d->reconcile_again = d->reconciling;
}

/* No volume comes or goes by itself any more; and what would wait for a
 * coordinator for ever is given up. */
static void quiet_cluster(struct daemon *d)
{
    const struct timespec pause = {.tv_nsec = 10 * NS_PER_MS};

    cluster_quit(d->cluster);
    for (;;) {
        cluster_run(d->cluster, stop_reconciling, d);
        if (!d->reconcile_again)
            return;
        nanosleep(&pause, NULL);
    }
}

static void cluster_changed(struct cluster_ear *ear)
{
    reconcile(container_of(ear, struct daemon, cluster_ear));
}

/* When everything that may be asked for volumes is there. */
static enum err join_cluster(struct daemon *d, struct diag *why)
{
    if (!d->cluster)
        return E_OK;
    return cluster_join(d->cluster, volumes_are_drained(d->volumes), why);
}

static enum err start_volumes(struct daemon *d, struct diag *why)
{
    struct volumes_args args = {
        .state_path = d->volumes_path,
        .host = d->config.host_name,
        .incarnation = d->host.incarnation,
        .loops = d->loops,
        .loop_count = d->reactor_count,
        .fuse = d->fuse,
        .keep = d->keep,
        .cluster = d->cluster,
        .came = volumes_came,
        .came_arg = d,
    };

    state_path(d, "volumes.json", d->volumes_path);
    return volumes_open(&args, &d->volumes, why);
}

static enum err start_hotplug(struct daemon *d, struct diag *why)
{
    struct hotplug_args args = {
        .loops = d->loops,
        .loop_count = d->reactor_count,
        .root = d->config.root,
        .run_dir = d->config.run,
        .socket_group = d->config.socket_group,
        .state_path = d->vms_path,
        .files = &d->files,
        .keep = d->keep,
    };
    enum err e = make_directory(d->config.run, 0755, why);

    files_init(d);
    state_path(d, "vms.json", d->vms_path);
    return e ? e : hotplug_open(&args, &d->hotplug, why);
}

static enum err start_control(struct daemon *d, struct diag *why)
{
    struct control_args args = {
        .path = d->config.control, .commands = daemon_commands, .context = d};
    enum err e = make_parent(d->config.control, why);

    return e ? e : control_start(&args, &d->control, why);
}

enum err daemon_start(struct daemon *d, struct diag *why)
{
    static enum err (*const starts[])(struct daemon *, struct diag *) = {
        claim_state,   guard_memory,  start_reactors, open_cluster,
        start_mount,   start_volumes, resume_mount,   start_hotplug,
        start_control, join_cluster};
    enum err e = E_OK;

    d->lock_fd = -1;
    d->cluster_ear.changed = cluster_changed;
    d->retry.fire = fire_retry;
    pthread_mutex_init(&d->draining, NULL);
    for (size_t i = 0; !e && i < ARRAY_LEN(starts); i++)
        e = starts[i](d, why);
    if (e) {
        daemon_stop(d);
        return e;
    }
    log_start(d);
    return E_OK;
}

void daemon_stop(struct daemon *d)
{
    struct diag why = {0};
    enum err e;

    control_stop(TAKE(d->control));
    if (d->cluster)
        quiet_cluster(d);
    e = hotplug_close(TAKE(d->hotplug), &why);
    if (e)
        log_error("%s", diag_text(&why, e));
    if (d->fuse && d->keep)
        (void)!keep_drop(d->keep, mount_name); /* or it ends with the holder */
    if (d->fuse)
        fs_fuse_stop(TAKE(d->fuse));
    volumes_close(TAKE(d->volumes));
    cluster_close(TAKE(d->cluster));
    sights_free(TAKE(d->sights));
    while (d->reactor_count)
        reactor_stop(d->reactors[--d->reactor_count]);
    keep_free(TAKE(d->keep));
    if (d->lock_fd >= 0)
        close(d->lock_fd);
}
