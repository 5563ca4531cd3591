/* hotplug/attach.c - a disk comes to a running guest, and goes.
 * Decides who may have a disk; the bus decides when the guest let go of it.
 *
 *   attach:  place in the list (the owner) -> open -> on the bus -> remember
 *   detach:  guest asked, flushed, off the bus -> closed -> forgotten
 *
 * A disk in the list is owned, whatever its state: that is what keeps a
 * second VM away while the first one is still opening it.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "hotplug/private.h"

#include <stdio.h>
#include <string.h>

static void disk_blame(struct disk *disk, const char *reason)
{
    snprintf(disk->reason, sizeof disk->reason, "%s", reason);
}

/* -- on and off the bus ---------------------------------------------------- */

struct on_bus {
    struct remote remote;
    struct disk *disk;
    int lun; /* wanted, or HOTPLUG_LUN_ANY; then the one it got */
    bool kept[SCSI_LUNS_MAX]; /* by disks that are not there now */
};

static void on_bus_run(struct remote *r)
{
    struct on_bus *on = container_of(r, struct on_bus, remote);
    struct scsi_bus *bus = on->disk->controller->bus;
    unsigned lun = (unsigned)on->lun;
    enum err e = E_OK;

    if (on->lun == HOTPLUG_LUN_ANY)
        e = scsi_bus_free_lun(bus, on->kept, &lun);
    if (!e)
        e = scsi_bus_attach(bus, lun, on->disk->lu);
    on->lun = (int)lun;
    remote_done(r, e);
}

/* A guest must not find another disk where its own was, and will be again. */
static void find_kept(struct hotplug *h, struct on_bus *on)
{
    const struct controller *c = on->disk->controller;

    pthread_mutex_lock(&h->mutex);
    list_for_each (d, &c->vm->disks) {
        const struct disk *disk = container_of(d, struct disk, link);

        if (disk->controller == c && disk->known)
            on->kept[disk->lun] = true;
    }
    pthread_mutex_unlock(&h->mutex);
}

static enum err explain_on_bus(const struct disk *disk, int lun, enum err e,
                               struct diag *why)
{
    const struct controller *c = disk->controller;

    if (e == E_BUSY && lun == HOTPLUG_LUN_ANY)
        return diag_fail(why, e,
                         "vm %s: controller %u has no free LUN: use another "
                         "controller",
                         c->vm->name, c->number);
    if (e == E_BUSY)
        return diag_fail(why, e,
                         "vm %s: the guest has not let go of the disk that "
                         "was LUN %d of controller %u: choose another LUN",
                         c->vm->name, lun, c->number);
    return diag_fail(why, e, "vm %s: LUN %d of controller %u: %s", c->vm->name,
                     lun, c->number, err_text(e));
}

/* Make the disk a SCSI device.  A pass-through disk keeps its own identity. */
static enum err disk_unit(struct disk *disk, struct diag *why)
{
    const struct backing *b = &disk->backing;
    struct scsi_lu_args args = {
        .store = b->disk,
        .read_only = disk->read_only,
        .thin = b->disk->caps & STORE_CAN_DISCARD,
    };
    enum err e;

    if (b->lun) {
        const struct lun_identity *id = lun_identity(b->lun);

        args.vendor = *id->vendor ? id->vendor : NULL;
        args.product = *id->product ? id->product : NULL;
        args.revision = *id->revision ? id->revision : NULL;
        args.serial = *id->serial ? id->serial : NULL;
    }
    memcpy(args.uuid, b->id, sizeof args.uuid);
    e = scsi_lu_new(&args, &disk->lu);
    if (e)
        return diag_fail(why, e, "%s: cannot be a SCSI disk: %s", disk->path,
                         err_text(e));
    return E_OK;
}

static enum err check_id(const struct disk *disk, struct diag *why)
{
    if (disk->any_id || !disk->has_id || !disk->backing.id_lasts ||
        !memcmp(disk->id, disk->backing.id, sizeof disk->id))
        return E_OK;
    return diag_fail(why, E_STALE,
                     "%s: is another disk than the one that was attached: put "
                     "that one back and resume the volume, or attach this one "
                     "with \"lunar attach\"",
                     disk->path);
}

enum err disk_bring_up(struct hotplug *h, struct disk *disk, int *lun,
                       struct diag *why)
{
    struct on_bus on = {.remote.run = on_bus_run, .disk = disk, .lun = *lun};
    const struct controller *c = disk->controller;
    struct backing *b = &disk->backing;
    enum err e;

    if (!c->bus)
        return diag_fail(why, E_BUSY, "vm %s: controller %u is not served: %s",
                         c->vm->name, c->number, c->vm->reason);
    e = backing_open(h, disk, b, why);
    if (e)
        return e;
    e = check_id(disk, why);
    if (!e)
        e = disk_unit(disk, why);
    if (e)
        goto close;
    find_kept(h, &on);
    e = remote_run(c->loop, &on.remote);
    if (e) {
        explain_on_bus(disk, *lun, e, why);
        scsi_lu_free(TAKE(disk->lu));
        goto close;
    }
    pthread_mutex_lock(&h->mutex);
    *lun = on.lun;
    disk->lun = (unsigned)on.lun;
    disk->has_id = b->id_lasts;
    memcpy(disk->id, b->id, sizeof disk->id);
    disk->state = DISK_ATTACHED;
    disk->reason[0] = '\0';
    log_info("vm %s: %s is LUN %u of controller %u%s", c->vm->name, disk->path,
             disk->lun, c->number, disk->read_only ? ", read-only" : "");
    pthread_mutex_unlock(&h->mutex);
    return E_OK;
close:
    if (backing_close(h, b))
        return diag_prefix(why, e, "not closed cleanly");
    return e;
}

struct off_bus {
    struct remote remote;
    struct disk *disk;
    struct scsi_detach detach;
};

static void off_bus_done(struct scsi_detach *d, enum err e)
{
    struct off_bus *off = container_of(d, struct off_bus, detach);

    remote_done(&off->remote, e);
}

static void off_bus_run(struct remote *r)
{
    struct off_bus *off = container_of(r, struct off_bus, remote);
    struct disk *disk = off->disk;
    enum err e;

    off->detach.done = off_bus_done;
    e = scsi_bus_detach(disk->controller->bus, disk->lun, &off->detach);
    if (e)
        remote_done(r, e);
}

/* Off the bus, asked or forced.  A forced one is off in any case; then the
 * error is that of the flush. */
static enum err disk_off_bus(struct disk *disk, bool force, struct diag *why)
{
    struct off_bus off = {
        .remote.run = off_bus_run, .disk = disk, .detach.force = force};
    const struct controller *c = disk->controller;
    enum err e = remote_run(c->loop, &off.remote);

    if (e == E_TIMEOUT)
        return diag_fail(why, e,
                         "vm %s: the guest did not let go of LUN %u (%s) in "
                         "%d s: unmount it there, or use --force",
                         c->vm->name, disk->lun, disk->path,
                         SCSI_DETACH_TIMEOUT_MS / 1000);
    if (e)
        return diag_fail(why, e, "vm %s: LUN %u (%s): %s", c->vm->name,
                         disk->lun, disk->path, err_text(e));
    return E_OK;
}

static enum err disk_close(struct hotplug *h, struct disk *disk,
                           struct diag *why)
{
    enum err e;

    scsi_lu_free(TAKE(disk->lu));
    e = backing_close(h, &disk->backing);
    if (e)
        return diag_fail(why, e, "%s: detached, but closing it failed: %s",
                         disk->path, err_text(e));
    return E_OK;
}

enum err disk_take_down(struct hotplug *h, struct disk *disk, struct diag *why)
{
    enum err e = disk_off_bus(disk, true, why);
    enum err e_close = disk_close(h, disk, e ? NULL : why);

    return e ? e : e_close;
}

/* -- attach ---------------------------------------------------------------- */

/* Another disk entry for the same path that stands in the way; NULL: none.
 * Readers may share. */
static struct disk *find_rival(struct hotplug *h, const char *path,
                               bool read_only)
{
    list_for_each (v, &h->vms) {
        struct vm *vm = container_of(v, struct vm, link);

        list_for_each (d, &vm->disks) {
            struct disk *disk = container_of(d, struct disk, link);

            if (!strcmp(disk->path, path) && !(read_only && disk->read_only))
                return disk;
        }
    }
    return NULL;
}

static struct disk *find_own(struct vm *vm, unsigned controller,
                             const char *path)
{
    list_for_each (d, &vm->disks) {
        struct disk *disk = container_of(d, struct disk, link);

        if (disk->controller->number == controller && !strcmp(disk->path, path))
            return disk;
    }
    return NULL;
}

static void blame_user(const struct disk *disk, struct diag *why)
{
    const struct controller *c = disk->controller;

    (void)diag_fail(why, E_EXIST,
                    "vm %s: LUN %u of controller %u is in use by %s (%s): "
                    "choose another LUN",
                    c->vm->name, disk->lun, c->number, disk->path,
                    disk_state_name(disk->state));
}

/* The disk is in the VM's list: is it what was asked for? */
static enum err attach_again(struct disk *disk,
                             const struct hotplug_attach_args *args,
                             struct disk **ret_disk, struct diag *why)
{
    struct controller *c = disk->controller;

    if (disk->state == DISK_FAILED && !disk->detaches) {
        struct disk *other = args->lun < 0 ? disk
                                           : disk_find_lun(c->vm, c->number,
                                                           (unsigned)args->lun);

        if (other && other != disk) {
            blame_user(other, why);
            return E_EXIST;
        }
        disk->state = DISK_ATTACHING;
        disk->read_only = args->read_only;
        disk->any_id = true; /* whatever has that name now */
        *ret_disk = disk;
        return E_OK;
    }
    if (disk->state == DISK_ATTACHED && disk->read_only == args->read_only &&
        (args->lun == HOTPLUG_LUN_ANY || (unsigned)args->lun == disk->lun)) {
        *ret_disk = disk;
        return E_OK;
    }
    if (disk->state != DISK_ATTACHED)
        return diag_fail(why, E_BUSY, "%s: is %s at vm %s: try again",
                         disk->path, disk_state_name(disk->state), args->vm);
    return diag_fail(why, E_EXIST,
                     "%s: is LUN %u of controller %u of vm %s, "
                     "%s%s: detach it first",
                     disk->path, disk->lun, c->number, args->vm,
                     disk_state_name(disk->state),
                     disk->read_only ? ", read-only" : "");
}

/* Give the disk a place in the list, where it is owned.  Context: mutex. */
static enum err attach_claim(struct hotplug *h,
                             const struct hotplug_attach_args *args,
                             const char *path, struct disk **ret_disk,
                             struct diag *why)
{
    struct vm *vm = vm_find(h, args->vm);
    struct disk *disk;

    if (!vm)
        return diag_fail(why, E_NOENT,
                         "vm %s: not known: add it with \"lunar vm add\"",
                         args->vm);
    if (args->controller >= vm->controller_count)
        return diag_fail(why, E_NOENT, "vm %s: no controller %u: it has 0…%u",
                         vm->name, args->controller, vm->controller_count - 1);
    disk = find_own(vm, args->controller, path);
    if (disk)
        return attach_again(disk, args, ret_disk, why);
    disk = find_rival(h, path, args->read_only);
    if (disk)
        return diag_fail(why, E_HANDLE_HELD,
                         "%s: held by vm %s (controller %u, LUN %u, %s): "
                         "detach it there first",
                         path, disk->controller->vm->name,
                         disk->controller->number, disk->lun,
                         disk_state_name(disk->state));
    disk = args->lun < 0
               ? NULL
               : disk_find_lun(vm, args->controller, (unsigned)args->lun);
    if (disk) {
        blame_user(disk, why);
        return E_EXIST;
    }
    disk = calloc(1, sizeof *disk);
    if (!disk)
        return diag_fail(why, E_NOMEM, "%s: out of memory", path);
    memcpy(disk->path, path, strlen(path) + 1);
    disk->controller = &vm->controllers[args->controller];
    disk->read_only = args->read_only;
    disk->state = DISK_ATTACHING;
    list_push_back(&vm->disks, &disk->link);
    *ret_disk = disk;
    return E_OK;
}

static void disk_forget(struct hotplug *h, struct disk *disk)
{
    pthread_mutex_lock(&h->mutex);
    list_remove(&disk->link);
    pthread_mutex_unlock(&h->mutex);
    free(disk);
}

/* A disk that was failed before is so again; a new one never was. */
static void attach_failed(struct hotplug *h, struct disk *disk, bool known,
                          const char *reason)
{
    if (!known) {
        disk_forget(h, disk);
        return;
    }
    pthread_mutex_lock(&h->mutex);
    disk->state = DISK_FAILED;
    disk_blame(disk, reason);
    pthread_mutex_unlock(&h->mutex);
}

/* Remember the disks as they are now. */
static enum err remember(struct hotplug *h, struct diag *why)
{
    enum err e;

    pthread_mutex_lock(&h->mutex);
    e = save_state(h, why);
    pthread_mutex_unlock(&h->mutex);
    return e;
}

/* What cannot be remembered is not attached, unless it was remembered before
 * or somebody has it in hand already. */
static enum err not_remembered(struct hotplug *h, struct disk *disk, enum err e,
                               struct diag *why)
{
    bool mine;

    pthread_mutex_lock(&h->mutex);
    mine = !disk->known && disk->state == DISK_ATTACHED && !disk->resizing;
    if (mine)
        disk->state = DISK_CLOSING;
    pthread_mutex_unlock(&h->mutex);
    if (!mine)
        return diag_prefix(why, e, "attached, but after a restart as before");
    if (disk_take_down(h, disk, NULL))
        diag_prefix(why, e, "not closed cleanly");
    disk_forget(h, disk);
    return e;
}

enum err hotplug_attach(struct hotplug *h,
                        const struct hotplug_attach_args *args,
                        unsigned *ret_lun, struct diag *why)
{
    char path[HOTPLUG_PATH_BYTES];
    struct disk *disk;
    int lun = args->lun;
    bool there, known;
    enum err e;

    if (args->lun >= SCSI_LUNS_MAX)
        return diag_fail(why, E_RANGE, "LUN %d: must be 0…%d", args->lun,
                         SCSI_LUNS_MAX - 1);
    e = disk_path_check(h, args->disk, path, why);
    if (e)
        return e;
    pthread_mutex_lock(&h->mutex);
    e = attach_claim(h, args, path, &disk, why);
    there = !e && disk->state == DISK_ATTACHED;
    known = !e && disk->known;
    if (known && lun == HOTPLUG_LUN_ANY)
        lun = (int)disk->lun; /* where the guest had it */
    if (there)
        *ret_lun = disk->lun;
    pthread_mutex_unlock(&h->mutex);
    if (e || there)
        return e;

    e = disk_bring_up(h, disk, &lun, why);
    if (e) {
        attach_failed(h, disk, known, diag_text(why, e));
        return e;
    }
    e = remember(h, why);
    if (e)
        return not_remembered(h, disk, e, why);
    *ret_lun = (unsigned)lun;
    return E_OK;
}

/* -- detach ---------------------------------------------------------------- */

/* Find what is to go, and keep it from going under our feet. */
static enum err detach_claim(struct hotplug *h,
                             const struct hotplug_detach_args *args,
                             struct disk **ret_disk, struct diag *why)
{
    struct vm *vm = vm_find(h, args->vm);
    struct disk *disk;

    if (!vm)
        return diag_fail(why, E_NOENT,
                         "vm %s: not known: see \"lunar vm list\"", args->vm);
    disk = disk_find_lun(vm, args->controller, args->lun);
    if (!disk)
        return diag_fail(why, E_NOENT,
                         "vm %s: no LUN %u on controller %u: see "
                         "\"lunar status\"",
                         vm->name, args->lun, args->controller);
    if (disk->resizing || disk->state == DISK_ATTACHING ||
        disk->state == DISK_CLOSING)
        return diag_fail(why, E_BUSY, "%s: is %s: try again", disk->path,
                         disk->resizing ? "being resized"
                                        : disk_state_name(disk->state));
    if (disk->state == DISK_DETACHING && !args->force)
        return diag_fail(why, E_BUSY,
                         "%s: is being detached: wait, or use --force",
                         disk->path);
    if (disk->state == DISK_ATTACHED)
        disk->state = DISK_DETACHING;
    disk->detaches++;
    *ret_disk = disk;
    return E_OK;
}

/* One call's attempt ended with `e`; the last of several that came off the bus
 * puts the disk away.  From then on it is closing, and its own. */
static enum err detach_finish(struct hotplug *h, struct disk *disk, enum err e,
                              bool force, struct diag *why)
{
    bool off_bus, last;
    enum err e_close = E_OK;

    pthread_mutex_lock(&h->mutex);
    disk->off_bus |= !e || force;
    off_bus = disk->off_bus;
    last = --disk->detaches == 0;
    if (last && !off_bus) {
        disk->state = DISK_ATTACHED;
        disk_blame(disk, diag_text(why, e));
    }
    if (last && off_bus)
        disk->state = DISK_CLOSING;
    pthread_mutex_unlock(&h->mutex);
    if (!last || !off_bus)
        return e;
    if (disk->lu)
        e_close = disk_close(h, disk, e ? NULL : why);
    if (e || e_close)
        log_error("vm %s: %s is detached, and writes may be lost: %s",
                  disk->controller->vm->name, disk->path,
                  err_text(e ? e : e_close));
    else
        log_info("vm %s: %s is detached", disk->controller->vm->name,
                 disk->path);
    disk_forget(h, disk);
    return e ? e : e_close;
}

enum err hotplug_detach(struct hotplug *h,
                        const struct hotplug_detach_args *args,
                        struct diag *why)
{
    struct disk *disk;
    enum err e, e_save;
    bool failed;

    pthread_mutex_lock(&h->mutex);
    e = detach_claim(h, args, &disk, why);
    failed = !e && disk->state == DISK_FAILED;
    pthread_mutex_unlock(&h->mutex);
    if (e)
        return e;
    if (!failed)
        e = disk_off_bus(disk, args->force, why);
    if (e == E_NOENT) /* another call was faster */
        e = E_OK;
    e = detach_finish(h, disk, e, args->force, why);
    e_save = remember(h, e ? NULL : why);
    if (e || !e_save)
        return e;
    return diag_prefix(why, e_save, "detached, but after a restart as before");
}

/* -- resize ---------------------------------------------------------------- */

struct grow {
    struct remote remote;
    struct disk *disk;
    struct store_io io;
    struct diag why; /* "" if the code says it all */
};

static void grow_done(struct store_io *io, enum err e)
{
    struct grow *g = container_of(io, struct grow, io);

    if (!e)
        scsi_bus_capacity_changed(g->disk->controller->bus, g->disk->lun);
    remote_done(&g->remote, e);
}

static void grow_run(struct remote *r)
{
    struct grow *g = container_of(r, struct grow, remote);
    const struct backing *b = &g->disk->backing;
    enum err e = E_OK;

    g->io.done = grow_done;
    if (b->vhd)
        e = vhd_resize_check(b->vhd, g->io.off_bytes, &g->why);
    if (!e)
        e = store_submit(b->disk, &g->io);
    if (e)
        remote_done(r, e);
}

static enum err resize_claim(struct hotplug *h, const char *path,
                             uint64_t size_bytes, struct disk **ret_disk,
                             struct diag *why)
{
    struct disk *disk = find_rival(h, path, false);

    if (!disk)
        return diag_fail(why, E_NOENT, "%s: not attached on this host", path);
    if (disk->state != DISK_ATTACHED || disk->resizing)
        return diag_fail(why, E_BUSY, "%s: is %s: try again", path,
                         disk->resizing ? "being resized"
                                        : disk_state_name(disk->state));
    if (disk->read_only)
        return diag_fail(why, E_READ_ONLY, "%s: is attached read-only", path);
    if (size_bytes < store_size(disk->backing.disk))
        return diag_fail(
            why, E_INVAL, "%s: is %llu bytes long: a disk in use only grows",
            path, (unsigned long long)store_size(disk->backing.disk));
    disk->resizing = true;
    *ret_disk = disk;
    return E_OK;
}

enum err hotplug_resize(struct hotplug *h, const char *path,
                        uint64_t size_bytes, struct diag *why)
{
    struct grow g = {
        .remote.run = grow_run,
        .io = {.op = STORE_RESIZE, .off_bytes = size_bytes}
    };
    char normal[HOTPLUG_PATH_BYTES];
    enum err e = disk_path_check(h, path, normal, why);

    if (e) /* what cannot be attached is not attached */
        return diag_fail(why, E_NOENT, "%s: not attached on this host", path);
    pthread_mutex_lock(&h->mutex);
    e = resize_claim(h, normal, size_bytes, &g.disk, why);
    pthread_mutex_unlock(&h->mutex);
    if (e)
        return e;
    e = remote_run(g.disk->controller->loop, &g.remote);
    if (e)
        diag_fail(why, e, "%s: cannot grow to %llu bytes: %s", normal,
                  (unsigned long long)size_bytes, diag_text(&g.why, e));
    pthread_mutex_lock(&h->mutex);
    g.disk->resizing = false;
    pthread_mutex_unlock(&h->mutex);
    return e;
}

/* -- again, and who ------------------------------------------------------- */

/* A failed disk, now ours to bring up; NULL: none is left after `seen`. */
static struct disk *next_failed(struct hotplug *h, unsigned *round)
{
    unsigned n = 0;

    list_for_each (v, &h->vms) {
        struct vm *vm = container_of(v, struct vm, link);

        list_for_each (d, &vm->disks) {
            struct disk *disk = container_of(d, struct disk, link);

            if (n++ < *round || disk->state != DISK_FAILED || disk->detaches)
                continue;
            *round = n;
            disk->state = DISK_ATTACHING;
            disk->any_id = false;
            return disk;
        }
    }
    return NULL;
}

void hotplug_retry(struct hotplug *h)
{
    unsigned round = 0;
    struct disk *disk;

    for (;;) {
        struct diag why = {0};
        int lun;
        enum err e;

        pthread_mutex_lock(&h->mutex);
        disk = next_failed(h, &round);
        pthread_mutex_unlock(&h->mutex);
        if (!disk)
            return;
        lun = (int)disk->lun;
        e = disk_bring_up(h, disk, &lun, &why);
        if (!e)
            continue;
        log_error("vm %s: LUN %u of controller %u: %s",
                  disk->controller->vm->name, disk->lun,
                  disk->controller->number, diag_text(&why, e));
        pthread_mutex_lock(&h->mutex);
        disk->state = DISK_FAILED;
        disk_blame(disk, diag_text(&why, e));
        pthread_mutex_unlock(&h->mutex);
    }
}

bool hotplug_uses(struct hotplug *h, const char *prefix, struct diag *ret_user)
{
    bool uses = false;

    pthread_mutex_lock(&h->mutex);
    list_for_each (v, &h->vms) {
        struct vm *vm = container_of(v, struct vm, link);

        list_for_each (d, &vm->disks) {
            struct disk *disk = container_of(d, struct disk, link);

            if (strncmp(disk->path, prefix, strlen(prefix)) ||
                disk->state == DISK_FAILED)
                continue;
            (void)diag_fail(ret_user, E_BUSY, "%s is attached to vm %s",
                            disk->path, vm->name);
            uses = true;
        }
    }
    pthread_mutex_unlock(&h->mutex);
    return uses;
}
