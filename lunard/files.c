/* lunard/files.c - a path below the root becomes an open file and its handle.
 * Plugs volumes into hotplug, which knows of none.
 *
 * The handle (design: the ownership of a disk) is taken before anything is
 * read, so that what was read stays true: EX for a disk, PR for a parent and
 * a read-only disk.  The file is open for reading only: writing under the
 * handle needs no more, and "open for writing" is what a handle keeps others
 * from.
 *
 * A handle is that of a VM, which has one of a file: it is kept from itself
 * here, and a parent of several of its disks is held until the last lets go.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/files.h"

#include "fs/fs.h"
#include "lunard/volumes.h"

#include <stdio.h>
#include <string.h>

struct opened {
    struct list link; /* volume_disks->opened, while it has the handle */
    struct volume *volume;
    struct fs_file *file;
    fs_handle_args handle; /* as it was granted */
    char vm[HOTPLUG_NAME_BYTES];
};

static const struct fs_open_how open_how = {.write = false};

/* -- calls from a cold thread ---------------------------------------------- */

struct cold_call {
    struct fs_call call;
    bool done;
};

static void cold_call_done(struct fs_call *call)
{
    container_of(call, struct cold_call, call)->done = true;
}

static enum err cold_call_run(struct volume *v, struct cold_call *c)
{
    c->call.done = cold_call_done;
    c->done = false;
    fs_link_send(fs_client_link(volume_client(v)), &c->call);
    loop_run_until(loop_self(), &c->done);
    return (enum err)c->call.reply.error;
}

static enum err handle_get(struct opened *o, const char *path, struct diag *why)
{
    struct cold_call c;
    const fs_reply *reply = &c.call.reply;
    enum err e;

    fs_call_init(&c.call, FS_OP_HANDLE_GET);
    c.call.request.args.fs_args_u.handle_get = o->handle;
    e = cold_call_run(o->volume, &c);
    if (!e)
        o->handle.generation = reply->result.fs_result_u.generation;
    else if (e == E_HANDLE_HELD && reply->owner && *reply->owner)
        diag_fail(why, e, "%s: held by %s: detach it there first", path,
                  reply->owner);
    else
        diag_fail(why, e, "%s: %s", path, err_text(e));
    fs_call_fini(&c.call);
    return e;
}

static enum err handle_put(struct opened *o)
{
    struct cold_call c;
    enum err e;

    fs_call_init(&c.call, FS_OP_HANDLE_PUT);
    c.call.request.args.fs_args_u.handle_put = o->handle;
    e = cold_call_run(o->volume, &c);
    fs_call_fini(&c.call);
    return e;
}

/* Another one of the same file and VM; NULL: there is none.
 * Context: the mutex of the volume's disks is held. */
static struct opened *find_other(const struct opened *o)
{
    list_for_each (node, &volume_disks(o->volume)->opened) {
        struct opened *other = container_of(node, struct opened, link);

        if (other != o && other->handle.ino == o->handle.ino &&
            !strcmp(other->vm, o->vm))
            return other;
    }
    return NULL;
}

/* The handle, or a share of the one that the VM has for reading. */
static enum err hold(struct opened *o, const char *path, struct diag *why)
{
    struct volume_disks *disks = volume_disks(o->volume);
    const struct opened *other;
    enum err e = E_OK;

    pthread_mutex_lock(&disks->mutex);
    other = find_other(o);
    if (!other)
        e = handle_get(o, path, why);
    else if (other->handle.mode == FS_HANDLE_PR &&
             o->handle.mode == FS_HANDLE_PR)
        o->handle.generation = other->handle.generation;
    else
        e = diag_fail(why, E_HANDLE_HELD,
                      "%s: vm %s uses it, as a disk or as the parent of one: "
                      "detach that first",
                      path, o->vm);
    if (!e)
        list_push_back(&disks->opened, &o->link);
    pthread_mutex_unlock(&disks->mutex);
    return e;
}

static enum err let_go(struct opened *o)
{
    struct volume_disks *disks = volume_disks(o->volume);
    enum err e = E_OK;

    pthread_mutex_lock(&disks->mutex);
    list_remove(&o->link);
    if (!find_other(o))
        e = handle_put(o);
    pthread_mutex_unlock(&disks->mutex);
    return e;
}

/* -- open, close ----------------------------------------------------------- */

/* Split ROOT/VOLUME/PATH: the volume's name, and the rest with its slash. */
static enum err split_path(const struct daemon *d, const char *path,
                           char ret_name[FS_VOLUME_NAME_MAX + 1],
                           const char **ret_rest, struct diag *why)
{
    const char *name = path + strlen(d->config.root) + 1;
    size_t len = strcspn(name, "/");

    if (!len || len > FS_VOLUME_NAME_MAX || !name[len] || !name[len + 1])
        return diag_fail(why, E_INVAL, "%s: not a file: %s/VOLUME/FILE", path,
                         d->config.root);
    memcpy(ret_name, name, len);
    ret_name[len] = '\0';
    *ret_rest = name + len;
    return E_OK;
}

/* The volume and the inode make a file unique, everywhere and for ever. */
static void make_id(const struct opened *o, uint8_t ret_id[HOTPLUG_ID_BYTES])
{
    fs_ino ino = fs_file_ino(o->file);

    memcpy(ret_id, volume_uuid(o->volume), HOTPLUG_ID_BYTES);
    for (size_t i = 0; i < sizeof ino; i++)
        ret_id[HOTPLUG_ID_BYTES - 1 - i] ^= (uint8_t)(ino >> (8 * i));
}

static enum err open_file(struct opened *o, const char *path, const char *rest,
                          bool read_only, struct hotplug_file *ret_file,
                          struct diag *why)
{
    fs_attr attr;
    enum err e = fs_path_open(volume_client(o->volume), rest, &open_how,
                              &o->file, &attr);

    if (e)
        return diag_fail(why, e, "%s: %s", path, err_text(e));
    o->handle = (fs_handle_args){
        .ino = fs_file_ino(o->file),
        .vm = o->vm,
        .mode = read_only ? FS_HANDLE_PR : FS_HANDLE_EX,
    };
    e = hold(o, path, why);
    if (e)
        return e;
    e = fs_file_store(o->file, 0, &ret_file->store);
    if (e)
        return diag_fail(why, e, "%s: %s", path, err_text(e));
    fs_file_store_handle(ret_file->store, o->handle.generation);
    if (read_only)
        ret_file->store->caps |= STORE_READ_ONLY;
    make_id(o, ret_file->id);
    ret_file->generation = o->handle.generation;
    ret_file->opened = o;
    return E_OK;
}

/* Let go of all that open_file() got; returns the first error. */
static enum err release(struct opened *o)
{
    enum err e_file = E_OK, e_handle = E_OK;

    if (o->file)
        e_file = fs_file_close(o->file, &open_how);
    if (o->handle.generation)
        e_handle = let_go(o);
    volume_put(o->volume);
    free(o);
    return e_file ? e_file : e_handle;
}

static enum err files_open(struct hotplug_files *files, const char *path,
                           bool read_only, const char *vm,
                           struct hotplug_file *ret_file, struct diag *why)
{
    struct daemon *d = container_of(files, struct daemon, files);
    char name[FS_VOLUME_NAME_MAX + 1];
    const char *rest;
    struct opened *o;
    enum err e = split_path(d, path, name, &rest, why);

    if (e)
        return e;
    o = calloc(1, sizeof *o);
    if (!o)
        return diag_fail(why, E_NOMEM, "%s: out of memory", path);
    snprintf(o->vm, sizeof o->vm, "%s", vm);
    e = volume_get(d->volumes, name, &o->volume, why);
    if (e) {
        free(o);
        return diag_prefix(why, e, "%s", path);
    }
    e = open_file(o, path, rest, read_only, ret_file, why);
    if (e && release(o))
        return diag_prefix(why, e, "closing it failed, too");
    return e;
}

static enum err files_close(struct hotplug_files *files,
                            struct hotplug_file *file)
{
    (void)files;
    store_close(file->store);
    return release(file->opened);
}

void files_init(struct daemon *d)
{
    d->files = (struct hotplug_files){.open = files_open, .close = files_close};
}
