/* hotplug/disk.c - from the name of a disk to the store that a guest sees.
 * Opens and closes; puts nothing on a bus.
 *
 * What is in a file is decided by its name first: *.vhd and *.avhd must be
 * VHDs, *.raw and *.img never are.  Other files are VHDs if they look like
 * one, but a differencing VHD must have the name: a guest that owns a raw
 * disk could else write a footer into it that names another's file as parent.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hotplug/private.h"

#include <string.h>
#include <strings.h>

/* -- names ----------------------------------------------------------------- */

bool disk_path_on_volume(const struct hotplug *h, const char *path)
{
    size_t len = strlen(h->args.root);

    return !strncmp(path, h->args.root, len) && path[len] == '/';
}

/* Squeeze "//" and "/./" out of an absolute path; false if it has "..". */
static bool normalize(const char *path, char *out)
{
    while (*path) {
        size_t len;

        path += strspn(path, "/");
        len = strcspn(path, "/");
        if (!len || (len == 1 && *path == '.')) {
            path += len;
            continue;
        }
        if (len == 2 && !memcmp(path, "..", 2))
            return false;
        *out++ = '/';
        memcpy(out, path, len);
        out += len;
        path += len;
    }
    *out = '\0';
    return true;
}

enum err disk_path_check(const struct hotplug *h, const char *path,
                         char ret_path[HOTPLUG_PATH_BYTES], struct diag *why)
{
    if (strlen(path) >= HOTPLUG_PATH_BYTES)
        return diag_fail(why, E_NAME_TOO_LONG, "%.40s…: longer than %d bytes",
                         path, HOTPLUG_PATH_BYTES - 1);
    if (*path != '/') {
        if (!strchr(path, ':'))
            return diag_fail(why, E_INVAL,
                             "%s: a disk is an absolute path below %s or a "
                             "LUN URL (file:, /dev/, iscsi://)",
                             path, h->args.root);
        memcpy(ret_path, path, strlen(path) + 1);
        return E_OK;
    }
    if (!normalize(path, ret_path))
        return diag_fail(why, E_INVAL, "%s: has \"..\" in it", path);
    if (!disk_path_on_volume(h, ret_path) && strncmp(ret_path, "/dev/", 5))
        return diag_fail(why, E_INVAL,
                         "%s: not below %s, and no LUN URL: for a file "
                         "elsewhere say file:%s",
                         path, h->args.root, path);
    return E_OK;
}

static bool has_suffix(const char *path, const char *suffix)
{
    size_t len = strlen(path), suffix_len = strlen(suffix);

    return len > suffix_len && !strcasecmp(path + len - suffix_len, suffix);
}

/* -- words ----------------------------------------------------------------- */

const char *disk_kind_name(enum disk_kind kind)
{
    static const char *const names[] = {"raw", "vhd", "pass-through"};

    return names[kind];
}

const char *disk_state_name(enum disk_state state)
{
    static const char *const names[] = {"attaching", "attached", "detaching",
                                        "closing", "failed"};

    return names[state];
}

/* -- parents --------------------------------------------------------------- */

/* The file of a parent as the store that a VHD closes by itself.  Read-only,
 * so its size is that of the file for good. */
struct parent {
    struct store base;
    struct hotplug_files *files;
    struct hotplug_file file;
};

static enum err parent_submit(struct store *s, struct store_io *io)
{
    return store_submit(container_of(s, struct parent, base)->file.store, io);
}

static void parent_close(struct store *s)
{
    struct parent *p = container_of(s, struct parent, base);

    /* Nothing was written, so there is nothing that could be lost. */
    (void)p->files->close(p->files, &p->file);
    free(p);
}

static const struct store_ops parent_ops = {
    .name = "parent", .submit = parent_submit, .close = parent_close};

/* The opener of parents: only files of volumes, only for reading. */
struct parents {
    struct vhd_opener opener;
    struct hotplug *h;
    const char *vm;
};

static enum err parent_open(struct vhd_opener *opener, const char *path,
                            struct diag *why, struct store **ret_file)
{
    struct parents *parents = container_of(opener, struct parents, opener);
    const struct hotplug_args *args = &parents->h->args;
    AUTO(freep) struct parent *p = calloc(1, sizeof *p);
    enum err e;

    if (!p)
        return diag_fail(why, E_NOMEM, "parent %s: out of memory", path);
    if (!disk_path_on_volume(parents->h, path))
        return diag_fail(why, E_NOENT, "parent %s: not below %s", path,
                         args->root);
    p->files = args->files;
    e = p->files->open(p->files, path, true, parents->vm, &p->file, why);
    if (e)
        return e;
    p->base = *p->file.store;
    p->base.ops = &parent_ops;
    *ret_file = &TAKE(p)->base;
    return E_OK;
}

/* -- opening --------------------------------------------------------------- */

/* Is the file a VHD, by its name and its content? */
static enum err probe_vhd(const char *path, struct store *file, bool *ret_vhd,
                          struct diag *why)
{
    bool named = has_suffix(path, ".vhd") || has_suffix(path, ".avhd");
    struct vhd_info info;
    enum err e;

    *ret_vhd = false;
    if (has_suffix(path, ".raw") || has_suffix(path, ".img"))
        return E_OK;
    if (has_suffix(path, ".vhdx") || has_suffix(path, ".avhdx"))
        return diag_fail(why, E_UNSUPPORTED,
                         "%s: VHDX disks are not supported: convert it to VHD",
                         path);
    e = vhd_probe(file, why, &info);
    if (e == E_VHD_FOOTER && !named)
        return E_OK;
    if (e)
        return diag_prefix(why, e, "%s", path);
    if (info.type == VHD_DIFFERENCING && !named)
        return diag_fail(why, E_VHD_TYPE,
                         "%s: a differencing VHD must be named *.vhd or "
                         "*.avhd",
                         path);
    *ret_vhd = true;
    return E_OK;
}

static enum err open_vhd(struct hotplug *h, const struct disk *disk,
                         struct backing *b, struct diag *why)
{
    struct parents parents = {
        .opener.open = parent_open, .h = h, .vm = disk->controller->vm->name};
    struct vhd_open_args args = {
        .path = disk->path,
        .opener = &parents.opener,
        .read_only = disk->read_only,
        .firm = h->args.keep != NULL,
    };
    enum err e = vhd_open(b->file.store, &args, why, &b->vhd);

    if (e)
        return diag_prefix(why, e, "%s", disk->path);
    b->kind = DISK_VHD;
    b->disk = vhd_store(b->vhd);
    return E_OK;
}

static enum err open_file(struct hotplug *h, const struct disk *disk,
                          struct backing *b, struct diag *why)
{
    bool is_vhd;
    enum err e;

    e = h->args.files->open(h->args.files, disk->path, disk->read_only,
                            disk->controller->vm->name, &b->file, why);
    if (e)
        return e;
    memcpy(b->id, b->file.id, sizeof b->id);
    b->id_lasts = true;
    e = probe_vhd(disk->path, b->file.store, &is_vhd, why);
    if (e)
        return e;
    if (is_vhd)
        return open_vhd(h, disk, b, why);
    b->kind = DISK_RAW;
    b->disk = b->file.store;
    return E_OK;
}

static enum err open_lun(struct hotplug *h, const struct disk *disk,
                         struct backing *b, struct diag *why)
{
    struct lun_args args = {
        .read_only = disk->read_only,
        .exclusive = !disk->read_only,
        .loops = h->args.loops,
        .loop_count = h->args.loop_count,
    };
    enum err e = lun_open(disk->path, &args, why, &b->lun);

    if (e)
        return e;
    memcpy(b->id, lun_identity(b->lun)->uuid, sizeof b->id);
    /* "lunar.": it has none of its own; device numbers come and go. */
    b->id_lasts = strncmp(lun_identity(b->lun)->wwid, "lunar.", 6) != 0;
    b->kind = DISK_PASS_THROUGH;
    b->disk = lun_store(b->lun);
    return E_OK;
}

enum err backing_close(struct hotplug *h, struct backing *b)
{
    enum err e = b->vhd ? vhd_close(b->vhd) : E_OK, e_file = E_OK;

    if (b->file.store)
        e_file = h->args.files->close(h->args.files, &b->file);
    lun_close(b->lun);
    *b = (struct backing){0};
    return e ? e : e_file;
}

enum err backing_open(struct hotplug *h, const struct disk *disk,
                      struct backing *ret_backing, struct diag *why)
{
    struct backing b = {0};
    enum err e;

    if (disk_path_on_volume(h, disk->path))
        e = open_file(h, disk, &b, why);
    else
        e = open_lun(h, disk, &b, why);
    if (!e && b.disk->size_bytes < b.disk->block_bytes)
        e = diag_fail(why, E_INVAL, "%s: is empty: a disk has a size",
                      disk->path);
    if (e) {
        if (backing_close(h, &b))
            return diag_prefix(why, e, "closing it failed, too");
        return e;
    }
    *ret_backing = b;
    return E_OK;
}
