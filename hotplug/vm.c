/* hotplug/vm.c - VMs and their controllers.
 * Knows nothing of disks but that a VM which has some cannot go.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "hotplug/private.h"

#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- names and numbers ----------------------------------------------------- */

/* It becomes a directory and a part of QEMU's options: no slash, no comma. */
bool vm_name_ok(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);

    return len && len < HOTPLUG_NAME_BYTES && *name != '.' && *name != '-' &&
           strspn(name, allowed) == len;
}

struct vm *vm_find(struct hotplug *h, const char *name)
{
    list_for_each (v, &h->vms) {
        struct vm *vm = container_of(v, struct vm, link);

        if (!strcmp(vm->name, name))
            return vm;
    }
    return NULL;
}

struct disk *disk_find_lun(struct vm *vm, unsigned controller, unsigned lun)
{
    list_for_each (d, &vm->disks) {
        struct disk *disk = container_of(d, struct disk, link);

        if (disk->controller->number == controller && disk->lun == lun &&
            (disk->known || disk->state != DISK_ATTACHING))
            return disk;
    }
    return NULL;
}

/* -- controllers ----------------------------------------------------------- */

struct door {
    struct remote remote;
    struct controller *controller;
    struct keep *keep;
    struct diag *why;
};

static void bus_new_run(struct remote *r)
{
    struct controller *c = container_of(r, struct door, remote)->controller;

    remote_done(r, scsi_bus_new(c->loop, &c->bus));
}

static void door_open_run(struct remote *r)
{
    struct door *d = container_of(r, struct door, remote);
    struct controller *c = d->controller;
    char label[HOTPLUG_NAME_BYTES + 32];
    struct vhost_scsi_args args = {
        .loop = c->loop,
        .bus = c->bus,
        .socket_path = c->socket,
        .name = c->nexus,
        .label = label,
        .keep = d->keep,
    };

    snprintf(label, sizeof label, "vm %s, controller %u", c->vm->name,
             c->number);
    remote_done(r, vhost_scsi_new(&args, d->why, &c->vhost));
}

static void door_closed(void *arg)
{
    struct door *d = arg;

    d->controller->vhost = NULL;
    remote_done(&d->remote, E_OK);
}

static void door_close_run(struct remote *r)
{
    struct door *d = container_of(r, struct door, remote);

    vhost_scsi_close(d->controller->vhost, door_closed, d);
}

static void bus_free_run(struct remote *r)
{
    struct door *d = container_of(r, struct door, remote);

    scsi_bus_free(TAKE(d->controller->bus));
    remote_done(r, E_OK);
}

/* Let the configured group use the socket, and nobody else. */
static enum err socket_permit(const struct hotplug *h, const char *path,
                              mode_t mode, struct diag *why)
{
    gid_t gid = (gid_t)-1;

    if (*h->args.socket_group) {
        const struct group *group = getgrnam(h->args.socket_group);

        if (!group)
            return diag_fail(why, E_CONFIG, "socket_group = %s: no such group",
                             h->args.socket_group);
        gid = group->gr_gid;
    }
    if (chown(path, (uid_t)-1, gid) || chmod(path, mode))
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    return E_OK;
}

/* Give the controller a loop and a bus: disks can be attached then. */
static enum err controller_start(struct hotplug *h, struct controller *c,
                                 struct diag *why)
{
    struct door door = {.remote.run = bus_new_run, .controller = c};
    char uuid[UUID_TEXT_BYTES];
    enum err e;
    int n;

    n = snprintf(c->socket, sizeof c->socket, "%s/%s/%u.sock", h->args.run_dir,
                 c->vm->name, c->number);
    if (n >= (int)sizeof c->socket)
        return diag_fail(why, E_NAME_TOO_LONG, "%s: too long", h->args.run_dir);
    uuid_to_text(c->vm->uuid, uuid);
    snprintf(c->nexus, sizeof c->nexus, "%s,%u", uuid, c->number);
    c->loop = h->args.loops[h->next_loop++ % h->args.loop_count];
    e = remote_run(c->loop, &door.remote);
    if (e)
        return diag_fail(why, e, "vm %s: controller %u: %s", c->vm->name,
                         c->number, err_text(e));
    return E_OK;
}

static enum err controller_open(struct hotplug *h, struct controller *c,
                                struct diag *why)
{
    struct door door = {.remote.run = door_open_run,
                        .controller = c,
                        .keep = h->args.keep,
                        .why = why};
    enum err e = remote_run(c->loop, &door.remote);

    if (e)
        return diag_prefix(why, e, "vm %s: controller %u", c->vm->name,
                           c->number);
    return socket_permit(h, c->socket, 0660, why);
}

static void vm_dir(const struct hotplug *h, const struct vm *vm,
                   char ret_path[HOTPLUG_PATH_BYTES])
{
    snprintf(ret_path, HOTPLUG_PATH_BYTES, "%s/%s", h->args.run_dir, vm->name);
}

enum err vm_start(struct hotplug *h, struct vm *vm, struct diag *why)
{
    char path[HOTPLUG_PATH_BYTES];
    enum err e;

    vm_dir(h, vm, path);
    if (mkdir(path, 0750) && errno != EEXIST)
        return diag_fail(why, err_from_errno(errno), "%s: %s", path,
                         strerror(errno));
    e = socket_permit(h, path, 0750, why);
    for (unsigned i = 0; !e && i < vm->controller_count; i++)
        e = controller_start(h, &vm->controllers[i], why);
    return e;
}

enum err vm_open_doors(struct hotplug *h, struct vm *vm, struct diag *why)
{
    enum err e = E_OK;

    for (unsigned i = 0; !e && i < vm->controller_count; i++)
        e = controller_open(h, &vm->controllers[i], why);
    return e;
}

void vm_stop_doors(struct vm *vm)
{
    for (unsigned i = 0; i < vm->controller_count; i++) {
        struct controller *c = &vm->controllers[i];
        struct door door = {.remote.run = door_close_run, .controller = c};

        if (c->vhost && remote_run(c->loop, &door.remote))
            ASSERT(!c->vhost);
    }
}

void vm_free(struct hotplug *h, struct vm *vm)
{
    char path[HOTPLUG_PATH_BYTES];

    ASSERT(list_empty(&vm->disks));
    for (unsigned i = 0; i < vm->controller_count; i++) {
        struct controller *c = &vm->controllers[i];
        struct door door = {.remote.run = bus_free_run, .controller = c};

        if (c->bus && remote_run(c->loop, &door.remote))
            ASSERT(!c->bus);
        unlink(c->socket);
    }
    vm_dir(h, vm, path);
    rmdir(path);
    free(vm);
}

/* -- add, remove ----------------------------------------------------------- */

/* The VM is there: is it what is asked for? */
static enum err vm_add_again(const struct vm *vm,
                             const struct hotplug_vm_args *args,
                             struct diag *why)
{
    if (!args->controllers || vm->controller_count == args->controllers)
        return E_OK;
    return diag_fail(why, E_EXIST,
                     "vm %s: exists with %u controllers: remove it first",
                     vm->name, vm->controller_count);
}

enum err vm_new(const struct hotplug_vm_args *args, struct vm **ret_vm,
                struct diag *why)
{
    struct vm *vm = calloc(1, sizeof *vm);

    if (!vm || uuid_random(vm->uuid)) {
        free(vm);
        return diag_fail(why, E_NOMEM, "vm %s: out of memory", args->name);
    }
    snprintf(vm->name, sizeof vm->name, "%s", args->name);
    vm->controller_count = args->controllers ? args->controllers : 1;
    list_init(&vm->disks);
    for (unsigned i = 0; i < HOTPLUG_CONTROLLERS_MAX; i++)
        vm->controllers[i] = (struct controller){.vm = vm, .number = i};
    *ret_vm = vm;
    return E_OK;
}

/* Make it visible and remembered, or neither. */
static enum err vm_publish(struct hotplug *h, struct vm *vm, struct diag *why)
{
    enum err e;

    pthread_mutex_lock(&h->mutex);
    list_push_back(&h->vms, &vm->link);
    h->vm_count++;
    e = save_state(h, why);
    if (e) {
        list_remove(&vm->link);
        h->vm_count--;
    }
    pthread_mutex_unlock(&h->mutex);
    return e;
}

/* Context: vm_mutex is held. */
static enum err vm_add(struct hotplug *h, const struct hotplug_vm_args *args,
                       struct diag *why)
{
    struct vm *vm;
    enum err e;

    pthread_mutex_lock(&h->mutex);
    vm = vm_find(h, args->name);
    e = vm ? vm_add_again(vm, args, why) : E_OK;
    if (!vm && h->vm_count == HOTPLUG_VMS_MAX)
        e = diag_fail(why, E_BUSY, "vm %s: there are %d VMs already",
                      args->name, HOTPLUG_VMS_MAX);
    pthread_mutex_unlock(&h->mutex);
    if (e || vm)
        return e;
    e = vm_new(args, &vm, why);
    if (e)
        return e;
    e = vm_start(h, vm, why);
    if (!e)
        e = vm_open_doors(h, vm, why);
    if (!e)
        e = vm_publish(h, vm, why);
    if (!e)
        log_info("vm %s: added, %u controllers", vm->name,
                 vm->controller_count);
    if (e) {
        vm_stop_doors(vm);
        vm_free(h, vm);
    }
    return e;
}

enum err hotplug_vm_add(struct hotplug *h, const struct hotplug_vm_args *args,
                        struct diag *why)
{
    enum err e;

    if (!vm_name_ok(args->name))
        return diag_fail(why, E_INVAL,
                         "vm %.64s: a name has up to %d letters, digits and "
                         ". _ -",
                         args->name, HOTPLUG_NAME_BYTES - 1);
    if (args->controllers > HOTPLUG_CONTROLLERS_MAX)
        return diag_fail(why, E_INVAL, "vm %s: 1 to %d controllers, not %u",
                         args->name, HOTPLUG_CONTROLLERS_MAX,
                         args->controllers);
    pthread_mutex_lock(&h->vm_mutex);
    e = vm_add(h, args, why);
    pthread_mutex_unlock(&h->vm_mutex);
    return e;
}

/* Take the VM out of the list; it is then nobody's but ours. */
static enum err vm_claim(struct hotplug *h, const char *name,
                         struct vm **ret_vm, struct diag *why)
{
    struct vm *vm = vm_find(h, name);
    enum err e;

    if (!vm)
        return diag_fail(why, E_NOENT, "vm %s: not known", name);
    if (!list_empty(&vm->disks)) {
        const struct disk *disk =
            container_of(vm->disks.next, struct disk, link);

        return diag_fail(why, E_BUSY,
                         "vm %s: has disks (%s): detach them "
                         "first",
                         name, disk->path);
    }
    list_remove(&vm->link);
    h->vm_count--;
    e = save_state(h, why);
    if (e) {
        list_push_back(&h->vms, &vm->link);
        h->vm_count++;
        return e;
    }
    *ret_vm = vm;
    return E_OK;
}

enum err hotplug_vm_remove(struct hotplug *h, const char *name,
                           struct diag *why)
{
    struct vm *vm;
    enum err e;

    pthread_mutex_lock(&h->vm_mutex);
    pthread_mutex_lock(&h->mutex);
    e = vm_claim(h, name, &vm, why);
    pthread_mutex_unlock(&h->mutex);
    if (!e) {
        vm_stop_doors(vm);
        log_info("vm %s: removed", vm->name);
        vm_free(h, vm);
    }
    pthread_mutex_unlock(&h->vm_mutex);
    return e;
}

/* -- the whole ------------------------------------------------------------- */

static enum err copy_args(struct hotplug *h, const struct hotplug_args *args)
{
    const char **fields[] = {&h->args.root, &h->args.run_dir,
                             &h->args.socket_group, &h->args.state_path};

    static_assert(ARRAY_LEN(fields) == ARRAY_LEN(h->strings), "all of them");
    h->args = *args;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        h->strings[i] = strdup(*fields[i]);
        if (!h->strings[i])
            return E_NOMEM;
        *fields[i] = h->strings[i];
    }
    return E_OK;
}

/* Do something with each VM; what fails is the VM's reason. */
static void for_each_vm(struct hotplug *h,
                        enum err (*act)(struct hotplug *, struct vm *,
                                        struct diag *))
{
    list_for_each (v, &h->vms) {
        struct vm *vm = container_of(v, struct vm, link);
        struct diag why = {0};
        enum err e = *vm->reason ? E_OK : act(h, vm, &why);

        if (!e)
            continue;
        snprintf(vm->reason, sizeof vm->reason, "%s", diag_text(&why, e));
        log_error("vm %s: is not served: %s", vm->name, vm->reason);
    }
}

/* Disks come before the doors: a guest that is taken over from an earlier
 * process goes on with its requests at once. */
static void start_all(struct hotplug *h)
{
    for_each_vm(h, vm_start);
    hotplug_retry(h);
    for_each_vm(h, vm_open_doors);
}

enum err hotplug_open(const struct hotplug_args *args,
                      struct hotplug **ret_hotplug, struct diag *why)
{
    struct hotplug *h = calloc(1, sizeof *h);
    enum err e;

    if (!h)
        return diag_fail(why, E_NOMEM, "out of memory");
    list_init(&h->vms);
    pthread_mutex_init(&h->mutex, NULL);
    pthread_mutex_init(&h->vm_mutex, NULL);
    e = copy_args(h, args);
    if (!e)
        e = load_state(h, why);
    if (e) {
        ASSERT(!hotplug_close(h, NULL)); /* nothing is open yet */
        return e;
    }
    start_all(h);
    *ret_hotplug = h;
    return E_OK;
}

static enum err close_vm(struct hotplug *h, struct vm *vm, struct diag *why)
{
    enum err first = E_OK;

    vm_stop_doors(vm);
    list_for_each (d, &vm->disks) {
        struct disk *disk = container_of(d, struct disk, link);
        enum err e = E_OK;

        if (disk->lu)
            e = disk_take_down(h, disk, first ? NULL : why);
        first = first ? first : e;
        list_remove(&disk->link);
        free(disk);
    }
    list_remove(&vm->link);
    vm_free(h, vm);
    return first;
}

enum err hotplug_close(struct hotplug *h, struct diag *why)
{
    enum err first = E_OK;

    if (!h)
        return E_OK;
    list_for_each (v, &h->vms) {
        enum err e =
            close_vm(h, container_of(v, struct vm, link), first ? NULL : why);

        first = first ? first : e;
    }
    pthread_mutex_destroy(&h->mutex);
    pthread_mutex_destroy(&h->vm_mutex);
    for (size_t i = 0; i < ARRAY_LEN(h->strings); i++)
        free(h->strings[i]);
    free(h);
    return first;
}
