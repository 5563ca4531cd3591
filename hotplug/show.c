/* hotplug/show.c - what there is, as JSON for the control socket.
 * Looks; changes nothing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hotplug/private.h"

#include "base/jsontext.h"

#include <stdio.h>

/* -- controllers ----------------------------------------------------------- */

struct look {
    struct remote remote;
    struct controller *controller;
    struct vhost_scsi_status status;
};

static void look_run(struct remote *r)
{
    struct look *l = container_of(r, struct look, remote);

    vhost_scsi_status(l->controller->vhost, &l->status);
    remote_done(r, E_OK);
}

static json_t *qemu_options(const struct controller *c)
{
    char chardev[HOTPLUG_PATH_BYTES + 64], device[128];

    snprintf(chardev, sizeof chardev, "socket,id=lunar%u,path=%s", c->number,
             c->socket);
    snprintf(device, sizeof device,
             "vhost-user-scsi-pci,id=lunar-scsi%u,chardev=lunar%u", c->number,
             c->number);
    return json_pack("[s, s, s, s]", "-chardev", chardev, "-device", device);
}

/* Context: vm_mutex, which keeps the controller where it is. */
static json_t *controller_to_json(struct controller *c)
{
    struct look look = {.remote.run = look_run, .controller = c};
    const struct vhost_scsi_status *s = &look.status;

    if (c->vhost && remote_run(c->loop, &look.remote))
        return json_null();
    return json_pack("{s:i, s:s, s:o, s:b, s:b, s:b, s:I, s:I, s:o}", "number",
                     (int)c->number, "socket", c->socket, "qemu",
                     qemu_options(c), "connected", s->connected, "running",
                     s->running, "hotplug", s->hotplug, "requests",
                     (json_int_t)s->requests, "in_flight",
                     (json_int_t)s->inflight, "fault", json_text(s->fault));
}

/* -- disks ----------------------------------------------------------------- */

static json_t *disk_to_json(const struct disk *disk)
{
    const struct controller *c = disk->controller;
    bool open = disk->state == DISK_ATTACHED || disk->state == DISK_DETACHING;
    json_t *json = json_pack(
        "{s:s, s:s, s:i, s:i, s:b, s:s, s:s}", "path", disk->path, "vm",
        c->vm->name, "controller", (int)c->number, "lun", (int)disk->lun,
        "read_only", disk->read_only, "state", disk_state_name(disk->state),
        "mode", disk->read_only ? "PR" : "EX");

    if (open) {
        char uuid[UUID_TEXT_BYTES];

        uuid_to_text(disk->backing.id, uuid);
        json_object_set_new(json, "kind",
                            json_string(disk_kind_name(disk->backing.kind)));
        json_object_set_new(
            json, "size",
            json_integer((json_int_t)store_size(disk->backing.disk)));
        json_object_set_new(json, "id", json_string(uuid));
        json_object_set_new(
            json, "generation",
            json_integer((json_int_t)disk->backing.file.generation));
    }
    if (*disk->reason)
        json_object_set_new(json, "reason", json_text(disk->reason));
    return json;
}

json_t *hotplug_disks_to_json(struct hotplug *h)
{
    json_t *disks = json_array();

    pthread_mutex_lock(&h->mutex);
    list_for_each (v, &h->vms) {
        struct vm *vm = container_of(v, struct vm, link);

        list_for_each (d, &vm->disks)
            json_array_append_new(
                disks, disk_to_json(container_of(d, struct disk, link)));
    }
    pthread_mutex_unlock(&h->mutex);
    return disks;
}

/* -- VMs ------------------------------------------------------------------- */

static json_t *vm_to_json(struct vm *vm)
{
    json_t *controllers = json_array();
    char uuid[UUID_TEXT_BYTES];
    json_t *json;

    for (unsigned i = 0; i < vm->controller_count; i++)
        json_array_append_new(controllers,
                              controller_to_json(&vm->controllers[i]));
    uuid_to_text(vm->uuid, uuid);
    json = json_pack("{s:s, s:s, s:o}", "name", vm->name, "uuid", uuid,
                     "controllers", controllers);
    if (*vm->reason)
        json_object_set_new(json, "reason", json_text(vm->reason));
    return json;
}

/* VMs come and go under vm_mutex: with it, the list may be walked while a
 * controller's loop is asked, without the mutex that attach needs. */
json_t *hotplug_vm_to_json(struct hotplug *h, const char *name)
{
    struct vm *vm;
    json_t *json;

    pthread_mutex_lock(&h->vm_mutex);
    vm = vm_find(h, name);
    json = vm ? vm_to_json(vm) : NULL;
    pthread_mutex_unlock(&h->vm_mutex);
    return json;
}

json_t *hotplug_vms_to_json(struct hotplug *h)
{
    json_t *vms = json_array();

    pthread_mutex_lock(&h->vm_mutex);
    list_for_each (v, &h->vms)
        json_array_append_new(vms,
                              vm_to_json(container_of(v, struct vm, link)));
    pthread_mutex_unlock(&h->vm_mutex);
    return vms;
}
