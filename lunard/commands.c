/* lunard/commands.c - what the control socket can do: one row per command.
 * Each is a few lines between JSON and the layer that does the work.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/commands.h"

#include "base/jsontext.h"

#include <stdio.h>
#include <string.h>

enum { REPORT_LINES_MAX = 1000 }; /* of a check; the count goes on */

/* -- status ---------------------------------------------------------------- */

/* The disks that are attached here are this host's. */
static json_t *owned_disks(struct daemon *d)
{
    json_t *disks = hotplug_disks_to_json(d->hotplug), *disk;
    size_t i;

    json_array_foreach (disks, i, disk)
        json_object_set_new(disk, "owner", json_string(d->config.host_name));
    return disks;
}

static json_t *all_nodes(struct daemon *d)
{
    if (d->cluster)
        return cluster_to_json(d->cluster);
    return json_pack("[{s:s, s:s, s:I}]", "name", d->config.host_name, "state",
                     "up", "incarnation", (json_int_t)d->host.incarnation);
}

static enum err run_status(struct control_call *call)
{
    struct daemon *d = daemon_of(call);

    call->result = json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:b, s:o, s:o, s:o, s:o, s:[]}", "version",
        LUNAR_VERSION, "cluster", d->config.cluster_name, "host",
        d->config.host_name, "incarnation", (json_int_t)d->host.incarnation,
        "root", d->config.root, "quorum",
        !d->cluster || cluster_is_quorate(d->cluster), "nodes", all_nodes(d),
        "volumes", sights_of_volumes(d), "disks", owned_disks(d), "vms",
        hotplug_vms_to_json(d->hotplug), "migrations");
    return call->result ? E_OK : E_NOMEM;
}

/* -- volumes --------------------------------------------------------------- */

static enum err run_volume_add(struct control_call *call)
{
    struct daemon *d = daemon_of(call);
    char name[FS_VOLUME_NAME_MAX + 1];
    enum err e =
        volumes_add(d->volumes, control_text(call, "url"), name, &call->why);

    if (e)
        return e;
    hotplug_retry(d->hotplug);
    call->result = json_pack("{s:s, s:s+++}", "name", name, "path",
                             d->config.root, "/", name, "");
    return E_OK;
}

static enum err run_volume_list(struct control_call *call)
{
    call->result =
        json_pack("{s:o}", "volumes", sights_of_volumes(daemon_of(call)));
    return call->result ? E_OK : E_NOMEM;
}

/* Close a volume; if a disk is in the way, say which. */
static enum err close_volume(struct control_call *call, const char *name,
                             enum err (*close)(struct volumes *, const char *,
                                               struct diag *))
{
    struct daemon *d = daemon_of(call);
    char prefix[CONFIG_PATH_BYTES + FS_VOLUME_NAME_MAX + 2];
    struct diag user;
    enum err e = close(d->volumes, name, &call->why);

    if (e != E_BUSY)
        return e;
    snprintf(prefix, sizeof prefix, "%s/%s/", d->config.root, name);
    if (hotplug_uses(d->hotplug, prefix, &user))
        return diag_fail(&call->why, e, "volume %s: %s: detach it first", name,
                         user.text);
    return e;
}

enum err command_remove(struct control_call *call, const char *name)
{
    return close_volume(call, name, volumes_remove);
}

static enum err run_volume_pause(struct control_call *call)
{
    return close_volume(call, control_text(call, "name"), volumes_pause);
}

static enum err run_volume_resume(struct control_call *call)
{
    struct daemon *d = daemon_of(call);
    enum err e =
        volumes_resume(d->volumes, control_text(call, "name"), &call->why);

    if (!e)
        hotplug_retry(d->hotplug);
    return e;
}

enum err command_move(struct control_call *call, const char *name)
{
    struct daemon *d = daemon_of(call);
    const char *to = control_text(call, "to");
    uint32_t node = d->cluster ? cluster_node(d->cluster, to) : 0;

    if (!d->cluster)
        return diag_fail(&call->why, E_UNSUPPORTED,
                         "volume %s: this host is in no cluster", name);
    if (!node)
        return diag_fail(&call->why, E_NOENT,
                         "node %s: is not in the cluster: see \"lunar status\"",
                         to);
    if (cluster_is_drained(d->cluster, node))
        return diag_fail(&call->why, E_BUSY,
                         "node %s: is drained: \"lunar undrain %s\" first", to,
                         to);
    return volumes_move(d->volumes, name, node, &call->why);
}

static enum err run_confirm_dead(struct control_call *call)
{
    struct daemon *d = daemon_of(call);

    if (!d->cluster)
        return diag_fail(&call->why, E_UNSUPPORTED,
                         "this host is in no cluster: there is nobody to "
                         "confirm");
    return cluster_confirm_dead(d->cluster, control_text(call, "node"),
                                &call->why);
}

enum err command_grow(struct control_call *call, const char *name)
{
    return volumes_grow(daemon_of(call)->volumes, name, &call->why);
}

static void report_finding(void *arg, const char *text, bool mended)
{
    json_t *findings = arg;

    if (json_array_size(findings) < REPORT_LINES_MAX)
        json_array_append_new(
            findings,
            json_pack("{s:o, s:b}", "text", json_text(text), "mended", mended));
}

enum err command_check(struct control_call *call, const char *name)
{
    json_t *findings = json_array();
    struct fs_check_args args = {.report = report_finding, .arg = findings};
    struct fs_check_result r = {0};
    enum err e =
        volumes_check(daemon_of(call)->volumes, name, &args, &r, &call->why);

    if (e) {
        json_decref(findings);
        return e;
    }
    call->result = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "found", (json_int_t)r.found,
        "mended", (json_int_t)r.mended, "files", (json_int_t)r.files, "dirs",
        (json_int_t)r.dirs, "used", (json_int_t)r.used_blocks * FS_BLOCK_BYTES,
        "free", (json_int_t)r.free_blocks * FS_BLOCK_BYTES, "findings",
        findings);
    return call->result ? E_OK : E_NOMEM;
}

/* -- VMs and disks --------------------------------------------------------- */

static enum err run_vm_add(struct control_call *call)
{
    struct daemon *d = daemon_of(call);
    struct hotplug_vm_args args = {
        .name = control_text(call, "vm"),
        .controllers = (unsigned)min_u64(control_number(call, "controllers", 0),
                                         UINT32_MAX),
    };
    enum err e = hotplug_vm_add(d->hotplug, &args, &call->why);

    if (!e)
        call->result = hotplug_vm_to_json(d->hotplug, args.name);
    return e;
}

static enum err run_vm_remove(struct control_call *call)
{
    return hotplug_vm_remove(daemon_of(call)->hotplug, control_text(call, "vm"),
                             &call->why);
}

static enum err run_vm_list(struct control_call *call)
{
    call->result = json_pack("{s:o}", "vms",
                             hotplug_vms_to_json(daemon_of(call)->hotplug));
    return call->result ? E_OK : E_NOMEM;
}

/* A number that is used as unsigned; what is too large stays too large. */
static unsigned small_number(const struct control_call *call, const char *name)
{
    return (unsigned)min_u64(control_number(call, name, 0), INT32_MAX);
}

static enum err run_attach(struct control_call *call)
{
    struct hotplug_attach_args args = {
        .vm = control_text(call, "vm"),
        .disk = control_text(call, "disk"),
        .controller = small_number(call, "controller"),
        .lun = json_object_get(call->args, "lun")
                   ? (int)small_number(call, "lun")
                   : HOTPLUG_LUN_ANY,
        .read_only = control_flag(call, "read_only"),
    };
    char volume[FS_VOLUME_NAME_MAX + 1];
    unsigned lun;
    enum err e;

    if (volumes_know(daemon_of(call)->volumes, args.disk, volume))
        return diag_fail(&call->why, E_LUN_BUSY,
                         "%s: is the LUN of volume %s, which the guest would "
                         "destroy: remove the volume first",
                         args.disk, volume);
    e = hotplug_attach(daemon_of(call)->hotplug, &args, &lun, &call->why);
    if (!e)
        call->result =
            json_pack("{s:s, s:s, s:i, s:i}", "vm", args.vm, "disk", args.disk,
                      "controller", (int)args.controller, "lun", (int)lun);
    return e;
}

static enum err run_detach(struct control_call *call)
{
    struct hotplug_detach_args args = {
        .vm = control_text(call, "vm"),
        .controller = small_number(call, "controller"),
        .lun = small_number(call, "lun"),
        .force = control_flag(call, "force"),
    };

    control_progress(call, 0, "waiting for the guest to let go …");
    return hotplug_detach(daemon_of(call)->hotplug, &args, &call->why);
}

static enum err run_disk_resize(struct control_call *call)
{
    return hotplug_resize(daemon_of(call)->hotplug, control_text(call, "path"),
                          control_number(call, "size", 0), &call->why);
}

/* -- the table ------------------------------------------------------------- */

/* clang-format off */
#define TEXT(name)   {name, CONTROL_TEXT, true}
#define NUMBER(name) {name, CONTROL_NUMBER, true}
#define OPTION(name) {name, CONTROL_NUMBER, false}
#define FLAG(name)   {name, CONTROL_FLAG, false}
#define NOTHING      {{.name = NULL}}

const struct control_command daemon_commands[] = {
    {"status",        run_status,        NOTHING},
    {"volume add",    run_volume_add,    {TEXT("url")}},
    {"volume list",   run_volume_list,   NOTHING},
    {"volume remove", run_volume_remove, {TEXT("name")}},
    {"volume pause",  run_volume_pause,  {TEXT("name")}},
    {"volume resume", run_volume_resume, {TEXT("name")}},
    {"volume move",   run_volume_move,   {TEXT("name"), TEXT("to")}},
    {"volume grow",   run_volume_grow,   {TEXT("name")}},
    {"volume check",  run_volume_check,  {TEXT("name")}},
    {"confirm-dead",  run_confirm_dead,  {TEXT("node")}},
    {"drain",         run_drain,         {TEXT("node")}},
    {"undrain",       run_undrain,       {TEXT("node")}},
    {"vm add",        run_vm_add,        {TEXT("vm"), OPTION("controllers")}},
    {"vm remove",     run_vm_remove,     {TEXT("vm")}},
    {"vm list",       run_vm_list,       NOTHING},
    {"attach",        run_attach,        {TEXT("vm"), TEXT("disk"),
                                          OPTION("controller"), OPTION("lun"),
                                          FLAG("read_only")}},
    {"detach",        run_detach,        {TEXT("vm"), NUMBER("lun"),
                                          OPTION("controller"), FLAG("force")}},
    {"disk resize",   run_disk_resize,   {TEXT("path"), NUMBER("size")}},
    {NULL,            NULL,              NOTHING},
};
/* clang-format on */
