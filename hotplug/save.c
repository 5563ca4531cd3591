/* hotplug/save.c - VMs and disks in a file, so that a restart finds them.
 * Replaces the file as a whole and durably, or leaves the old one.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/jsonfile.h"
#include "hotplug/private.h"

#include <string.h>

enum { STATE_VERSION = 1 };

/* -- write ----------------------------------------------------------------- */

static json_t *disk_to_state(const struct disk *disk)
{
    char id[UUID_TEXT_BYTES];

    uuid_to_text(disk->id, id);
    return json_pack("{s:s, s:i, s:i, s:b, s:s*}", "disk", disk->path,
                     "controller", (int)disk->controller->number, "lun",
                     (int)disk->lun, "read_only", disk->read_only, "id",
                     disk->has_id ? id : NULL);
}

static json_t *vm_to_state(const struct vm *vm)
{
    json_t *disks = json_array();
    char uuid[UUID_TEXT_BYTES];

    list_for_each (d, &vm->disks) {
        const struct disk *disk = container_of(d, struct disk, link);

        if (disk->known || disk->state != DISK_ATTACHING)
            json_array_append_new(disks, disk_to_state(disk));
    }
    uuid_to_text(vm->uuid, uuid);
    return json_pack("{s:s, s:s, s:i, s:o}", "name", vm->name, "uuid", uuid,
                     "controllers", (int)vm->controller_count, "disks", disks);
}

enum err save_state(struct hotplug *h, struct diag *why)
{
    json_t *vms = json_array();

    list_for_each (v, &h->vms)
        json_array_append_new(vms,
                              vm_to_state(container_of(v, struct vm, link)));
    return jsonfile_save(
        h->args.state_path,
        json_pack("{s:i, s:o}", "version", STATE_VERSION, "vms", vms), why);
}

/* -- read ------------------------------------------------------------------ */

static enum err bad_state(const struct hotplug *h, const char *what,
                          struct diag *why)
{
    return diag_fail(why, E_CORRUPT,
                     "%s: %s: mend it, or remove it and add the VMs again",
                     h->args.state_path, what);
}

static enum err load_disk(struct hotplug *h, struct vm *vm, json_t *from,
                          struct diag *why)
{
    struct disk *disk;
    const char *path, *id = NULL;
    int controller, lun, read_only;

    if (json_unpack(from, "{s:s, s:i, s:i, s:b, s?s}", "disk", &path,
                    "controller", &controller, "lun", &lun, "read_only",
                    &read_only, "id", &id))
        return bad_state(h, "a disk without disk, controller, lun, read_only",
                         why);
    if (controller < 0 || (unsigned)controller >= vm->controller_count ||
        lun < 0 || lun >= SCSI_LUNS_MAX || strlen(path) >= HOTPLUG_PATH_BYTES)
        return bad_state(h, "a disk on a place that is not there", why);
    disk = calloc(1, sizeof *disk);
    if (!disk)
        return diag_fail(why, E_NOMEM, "out of memory");
    memcpy(disk->path, path, strlen(path) + 1);
    disk->controller = &vm->controllers[controller];
    disk->lun = (unsigned)lun;
    disk->read_only = read_only;
    disk->state = DISK_FAILED;
    disk->known = true;
    disk->has_id = id && !uuid_from_text(id, disk->id);
    list_push_back(&vm->disks, &disk->link);
    return E_OK;
}

static enum err load_vm(struct hotplug *h, json_t *from, struct diag *why)
{
    struct hotplug_vm_args args = {0};
    json_t *disks, *disk;
    const char *uuid;
    struct vm *vm;
    size_t i;
    int controllers;
    enum err e;

    if (json_unpack(from, "{s:s, s:s, s:i, s:o}", "name", &args.name, "uuid",
                    &uuid, "controllers", &controllers, "disks", &disks))
        return bad_state(h, "a VM without name, uuid, controllers, disks", why);
    args.controllers = (unsigned)controllers;
    if (!vm_name_ok(args.name) || controllers < 1 ||
        controllers > HOTPLUG_CONTROLLERS_MAX || vm_find(h, args.name) ||
        h->vm_count == HOTPLUG_VMS_MAX)
        return bad_state(h, "a VM with a wrong name or number of controllers",
                         why);
    e = vm_new(&args, &vm, why);
    if (e)
        return e;
    list_push_back(&h->vms, &vm->link);
    h->vm_count++;
    if (uuid_from_text(uuid, vm->uuid))
        return bad_state(h, "a VM with a wrong uuid", why);
    json_array_foreach (disks, i, disk) {
        e = load_disk(h, vm, disk, why);
        if (e)
            return e;
    }
    return E_OK;
}

enum err load_state(struct hotplug *h, struct diag *why)
{
    json_t *state, *vms = NULL, *vm;
    int version = 0;
    size_t i;
    enum err e = jsonfile_load(h->args.state_path, &state, why);

    if (e == E_NOENT)
        return E_OK;
    if (e)
        return e;
    if (json_unpack(state, "{s:i, s:o}", "version", &version, "vms", &vms) ||
        version != STATE_VERSION)
        e = bad_state(h, "not a list of VMs of this version", why);
    json_array_foreach (vms, i, vm) {
        e = e ? e : load_vm(h, vm, why);
    }
    json_decref(state);
    return e;
}
