/* fs/client_path.c - files of a volume by path, for threads that may block:
 * one lookup per component, from the root.  Follows no symbolic links.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/client.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOT_INO = 1 };

/* -- one call, one io, and the loop until it is answered ------------------- */

struct call_sync {
    struct fs_call call;
    bool done;
};

static void call_sync_done(struct fs_call *call)
{
    container_of(call, struct call_sync, call)->done = true;
}

static enum err call_sync(struct fs_client *client, struct call_sync *c)
{
    c->call.done = call_sync_done;
    fs_link_send(client->link, &c->call);
    loop_run_until(loop_self(), &c->done);
    return c->call.reply.error;
}

struct io_sync {
    struct fs_io io;
    bool done;
};

static void io_sync_done(struct fs_io *io, enum err e)
{
    io->error = e;
    container_of(io, struct io_sync, io)->done = true;
}

static enum err io_sync(struct fs_client *client, struct io_sync *s)
{
    s->io.done = io_sync_done;
    fs_io_submit(client, &s->io);
    loop_run_until(loop_self(), &s->done);
    return s->io.error;
}

/* -- walking --------------------------------------------------------------- */

typedef char component[FS_NAME_MAX + 1];

/* Cut the first name off *path.  False: there is none. */
static bool next_name(const char **path, component name, enum err *ret_e)
{
    size_t n;

    *path += strspn(*path, "/");
    n = strcspn(*path, "/");
    *ret_e = n > FS_NAME_MAX ? E_NAME_TOO_LONG : E_OK;
    if (!n || *ret_e)
        return false;
    snprintf(name, sizeof(component), "%.*s", (int)n, *path);
    *path += n;
    return true;
}

static enum err lookup(struct fs_client *client, fs_ino parent, char *name,
                       fs_attr *ret_attr)
{
    struct call_sync c = {0};
    enum err e;

    fs_call_init(&c.call, FS_OP_LOOKUP);
    c.call.request.args.fs_args_u.lookup =
        (fs_name_args){.parent = parent, .name = name};
    e = call_sync(client, &c);
    if (!e)
        *ret_attr = c.call.reply.result.fs_result_u.lookup;
    fs_call_fini(&c.call);
    return e;
}

/* The directory that holds the last name of `path`, and that name. */
static enum err walk(struct fs_client *client, const char *path,
                     fs_ino *ret_parent, component ret_name)
{
    fs_ino at = ROOT_INO;
    component name, next;
    fs_attr attr;
    enum err e;

    if (!next_name(&path, name, &e))
        return e ? e : E_INVAL;
    while (next_name(&path, next, &e)) {
        e = lookup(client, at, name, &attr);
        if (e)
            return e;
        if (!S_ISDIR(attr.mode))
            return E_NOTDIR;
        at = attr.ino;
        memcpy(name, next, sizeof name);
    }
    if (e)
        return e;
    *ret_parent = at;
    memcpy(ret_name, name, sizeof name);
    return E_OK;
}

enum err fs_path_stat(struct fs_client *client, const char *path,
                      fs_attr *ret_attr)
{
    component name;
    fs_ino parent;
    fs_attr attr;
    enum err e = walk(client, path, &parent, name);

    if (!e)
        e = lookup(client, parent, name, &attr);
    if (e)
        return e;
    fs_client_overlay(client, &attr);
    *ret_attr = attr;
    return E_OK;
}

enum err fs_path_unlink(struct fs_client *client, const char *path)
{
    struct call_sync c = {0};
    component name;
    fs_ino parent;
    enum err e = walk(client, path, &parent, name);

    if (e)
        return e;
    fs_call_init(&c.call, FS_OP_UNLINK);
    c.call.request.args.fs_args_u.unlink =
        (fs_name_args){.parent = parent, .name = name};
    e = call_sync(client, &c);
    fs_call_fini(&c.call);
    return e;
}

/* -- open and close -------------------------------------------------------- */

/* Make the file, open; the open reference is the coordinator's until adopted.
 */
static enum err create(struct fs_client *client, fs_ino parent, char *name,
                       uint32_t mode, struct io_sync *s)
{
    struct call_sync c = {0};
    char no_target[] = "";
    enum err e;

    fs_call_init(&c.call, FS_OP_CREATE);
    c.call.request.args.fs_args_u.create = (fs_create_args){
        .parent = parent,
        .name = name,
        .cred = {.uid = geteuid(), .gid = getegid()},
        .mode = S_IFREG | (mode & ALLPERMS),
        .target = no_target,
        .open = true
    };
    e = call_sync(client, &c);
    if (!e)
        s->io.attr = c.call.reply.result.fs_result_u.create;
    fs_call_fini(&c.call);
    s->io.op = FS_IO_ADOPT;
    s->io.ino = s->io.attr.ino;
    return e;
}

static enum err open_existing(struct fs_client *client, fs_ino parent,
                              char *name, struct io_sync *s)
{
    enum err e = lookup(client, parent, name, &s->io.attr);

    if (e)
        return e;
    if (S_ISDIR(s->io.attr.mode))
        return E_ISDIR;
    if (!S_ISREG(s->io.attr.mode))
        return E_INVAL;
    s->io.op = FS_IO_OPEN;
    s->io.ino = s->io.attr.ino;
    return E_OK;
}

enum err fs_path_open(struct fs_client *client, const char *path,
                      const struct fs_open_how *how, struct fs_file **ret_file,
                      fs_attr *ret_attr)
{
    struct io_sync s = {.io.write = how->write};
    component name;
    fs_ino parent;
    enum err e = walk(client, path, &parent, name);

    if (e)
        return e;
    if (how->create)
        e = create(client, parent, name, how->mode, &s);
    else
        e = open_existing(client, parent, name, &s);
    if (!e)
        e = io_sync(client, &s);
    if (e)
        return e;
    *ret_file = s.io.file;
    *ret_attr = s.io.attr;
    return E_OK;
}

enum err fs_file_close(struct fs_file *file, const struct fs_open_how *how)
{
    struct io_sync s = {
        .io = {.op = FS_IO_CLOSE,
               .file = file,
               .write = how->write || how->create}
    };

    return io_sync(file->client, &s);
}
