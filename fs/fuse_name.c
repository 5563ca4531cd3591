/* fs/fuse_name.c - names, links, attributes and extended attributes: each is
 * one call to the coordinator.  Permission is the kernel's job
 * (default_permissions); what a mode or an ACL becomes is the coordinator's.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fuse.h"

#include "base/log.h"

#include <string.h>

/* True if the call failed: then the op has been answered.  It must not look
 * at op->call afterwards either way but for the result. */
static bool failed(struct fuse_op *op)
{
    enum err e = op->call.reply.error;

    if (!e)
        return false;
    if (e == E_HANDLE_HELD)
        log_info("volume %s: inode %llu is held by %s", op->volume->name,
                 (unsigned long long)ino_of(op->node), op->call.reply.owner);
    fs_call_fini(&op->call);
    fuse_op_error(op, e);
    return true;
}

/* For what answers "done" and nothing else. */
static void answer_error(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);

    if (failed(op))
        return;
    fs_call_fini(call);
    fuse_op_error(op, E_OK);
}

/* Attributes are at the same place in all results that have them. */
#define RESULT(call) ((call)->reply.result.fs_result_u)

/* -- lookup ---------------------------------------------------------------- */

static void lookup_replied(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);
    fs_attr attr = RESULT(call).lookup;

    if (failed(op))
        return;
    fs_call_fini(call);
    fuse_op_entry(op, &attr);
}

/* The root's names are the volumes'; what is found is their root directory. */
static void lookup_volume(fuse_req_t req, const char *name)
{
    struct fuse_volume *v = fuse_volume_named(fuse_req_userdata(req), name);
    struct fuse_op *op;

    if (!v) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    op = fuse_op_begin(req, node_of(v, FUSE_ROOT_ID));
    if (!op)
        return;
    fuse_op_call(op, FS_OP_GETATTR)->fs_args_u.getattr = FUSE_ROOT_ID;
    fuse_op_send(op, lookup_replied);
}

/* libfuse's names are const, XDR's are not: nobody writes to them. */
static char *mutable(const char *name)
{
    return (char *)(uintptr_t)name;
}

static fs_name_args name_args(uint64_t parent, const char *name)
{
    return (fs_name_args){.parent = ino_of(parent), .name = mutable(name)};
}

static void handle_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_op *op;

    if (parent == FUSE_ROOT_ID) {
        lookup_volume(req, name);
        return;
    }
    op = fuse_op_begin(req, parent);
    if (!op)
        return;
    fuse_op_call(op, FS_OP_LOOKUP)->fs_args_u.lookup = name_args(parent, name);
    fuse_op_send(op, lookup_replied);
}

/* The root has no other names than the volumes': nobody makes or takes any. */
static struct fuse_op *begin_change(fuse_req_t req, uint64_t parent)
{
    if (parent != FUSE_ROOT_ID)
        return fuse_op_begin(req, parent);
    fuse_reply_err(req, EPERM);
    return NULL;
}

/* -- create ---------------------------------------------------------------- */

static fs_cred cred_of(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);

    return (fs_cred){.uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask};
}

static fs_create_args *create_call(struct fuse_op *op, const char *name,
                                   mode_t mode)
{
    fs_create_args *a = &fuse_op_call(op, FS_OP_CREATE)->fs_args_u.create;

    *a = (fs_create_args){.parent = ino_of(op->node),
                          .name = mutable(name),
                          .cred = cred_of(op->req),
                          .mode = mode,
                          .target = mutable("")};
    return a;
}

static void created(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);
    fs_attr attr = RESULT(call).create;

    if (failed(op))
        return;
    fs_call_fini(call);
    fuse_op_entry(op, &attr);
}

static void handle_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
                         mode_t mode, dev_t rdev)
{
    struct fuse_op *op = begin_change(req, parent);

    if (!op)
        return;
    create_call(op, name, mode)->rdev = (uint32_t)rdev;
    fuse_op_send_once(op, created);
}

static void handle_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
                         mode_t mode)
{
    struct fuse_op *op = begin_change(req, parent);

    if (!op)
        return;
    create_call(op, name, S_IFDIR | (mode & ~(mode_t)S_IFMT));
    fuse_op_send_once(op, created);
}

static void handle_symlink(fuse_req_t req, const char *target,
                           fuse_ino_t parent, const char *name)
{
    struct fuse_op *op = begin_change(req, parent);

    if (!op)
        return;
    create_call(op, name, S_IFLNK | ACCESSPERMS)->target = mutable(target);
    fuse_op_send_once(op, created);
}

static void opened_new(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);

    if (e)
        fuse_op_error(op, e);
    else
        fuse_create_reply(op);
}

/* The coordinator counts the new file as open: the client takes it over.  Of
 * a request that was resent only the fact is stored: then it is opened, unless
 * it was in the first try. */
static void created_open(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);
    fs_attr attr = RESULT(call).create;
    bool stored = call->reply.stored;
    struct fs_io *io;

    /* Another node was faster: with this the kernel looks again, and opens it.
     */
    if (call->reply.error == E_EXIST && !(op->flags & O_EXCL))
        call->reply.error = E_STALE;
    if (failed(op))
        return;
    fs_call_fini(call);
    op->node = node_of(op->volume, attr.ino);
    io = fuse_op_io(op, stored ? FS_IO_OPEN : FS_IO_ADOPT, NULL);
    io->ino = attr.ino;
    io->write = true;
    io->attr = attr;
    if (stored && fuse_create_again(op))
        return;
    fuse_op_submit(op, opened_new);
}

static void handle_create(fuse_req_t req, fuse_ino_t parent, const char *name,
                          mode_t mode, struct fuse_file_info *fi)
{
    struct fuse_op *op = begin_change(req, parent);

    if (!op)
        return;
    op->flags = (uint32_t)fi->flags;
    create_call(op, name, S_IFREG | (mode & ~(mode_t)S_IFMT))->open = true;
    fuse_op_send_once(op, created_open);
}

/* -- unlink, rename, link, readlink ---------------------------------------- */

static void handle_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_op *op = begin_change(req, parent);

    if (!op)
        return;
    fuse_op_call(op, FS_OP_UNLINK)->fs_args_u.unlink = name_args(parent, name);
    fuse_op_send_once(op, answer_error);
}

static void handle_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_op *op = begin_change(req, parent);

    if (!op)
        return;
    fuse_op_call(op, FS_OP_RMDIR)->fs_args_u.rmdir = name_args(parent, name);
    fuse_op_send_once(op, answer_error);
}

static bool same_volume(uint64_t a, uint64_t b)
{
    return a >> FUSE_INO_BITS == b >> FUSE_INO_BITS;
}

static void handle_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
                          fuse_ino_t new_parent, const char *new_name,
                          unsigned int flags)
{
    struct fuse_op *op;

    if (!same_volume(parent, new_parent)) {
        fuse_reply_err(req, EXDEV);
        return;
    }
    op = begin_change(req, parent);
    if (!op)
        return;
    fuse_op_call(op, FS_OP_RENAME)->fs_args_u.rename =
        (fs_rename_args){.parent = ino_of(parent),
                         .name = mutable(name),
                         .new_parent = ino_of(new_parent),
                         .new_name = mutable(new_name),
                         .flags = flags};
    fuse_op_send_once(op, answer_error);
}

static void linked(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);
    fs_attr attr = RESULT(call).link;

    if (failed(op))
        return;
    fs_call_fini(call);
    fuse_op_entry(op, &attr);
}

static void handle_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent,
                        const char *name)
{
    struct fuse_op *op;

    if (!same_volume(node, parent)) {
        fuse_reply_err(req, EXDEV);
        return;
    }
    op = begin_change(req, parent);
    if (!op)
        return;
    fuse_op_call(op, FS_OP_LINK)->fs_args_u.link = (fs_link_args){
        .ino = ino_of(node), .parent = ino_of(parent), .name = mutable(name)};
    fuse_op_send_once(op, linked);
}

static void target_read(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);

    if (failed(op))
        return;
    fuse_reply_readlink(op->req, RESULT(call).target);
    fs_call_fini(call);
    fuse_op_end(op);
}

static void handle_readlink(fuse_req_t req, fuse_ino_t node)
{
    struct fuse_op *op = fuse_op_begin(req, node);

    if (!op)
        return;
    fuse_op_call(op, FS_OP_READLINK)->fs_args_u.readlink = ino_of(node);
    fuse_op_send(op, target_read);
}

/* -- attributes ------------------------------------------------------------ */

static void got_attr(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);
    fs_attr attr = RESULT(call).getattr;

    if (failed(op))
        return;
    fs_call_fini(call);
    fuse_op_attr(op, &attr);
}

static void reply_root_attr(fuse_req_t req)
{
    struct fs_fuse *fuse = fuse_req_userdata(req);
    struct stat st = {.st_ino = FUSE_ROOT_ID,
                      .st_mode = S_IFDIR | 0755,
                      .st_nlink = 2,
                      .st_blksize = FS_BLOCK_BYTES,
                      .st_atim.tv_sec = fuse->since_s,
                      .st_mtim.tv_sec = fuse->since_s,
                      .st_ctim.tv_sec = fuse->since_s};

    list_for_each (at, &fuse->volumes)
        st.st_nlink++;
    fuse_reply_attr(req, &st, fuse->cache_s);
}

static void handle_getattr(fuse_req_t req, fuse_ino_t node,
                           struct fuse_file_info *fi)
{
    struct fuse_op *op;

    (void)fi;
    if (node == FUSE_ROOT_ID) {
        reply_root_attr(req);
        return;
    }
    op = fuse_op_begin(req, node);
    if (!op)
        return;
    fuse_op_call(op, FS_OP_GETATTR)->fs_args_u.getattr = ino_of(node);
    fuse_op_send(op, got_attr);
}

static const struct {
    int fuse;
    uint32_t fs;
} set_bits[] = {
    {FUSE_SET_ATTR_MODE,      FS_SET_MODE     },
    {FUSE_SET_ATTR_UID,       FS_SET_UID      },
    {FUSE_SET_ATTR_GID,       FS_SET_GID      },
    {FUSE_SET_ATTR_SIZE,      FS_SET_SIZE     },
    {FUSE_SET_ATTR_ATIME,     FS_SET_ATIME    },
    {FUSE_SET_ATTR_MTIME,     FS_SET_MTIME    },
    {FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME_NOW},
    {FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME_NOW},
    {FUSE_SET_ATTR_CTIME,     FS_SET_CTIME    },
};

static fs_time time_of(const struct timespec *t)
{
    return (fs_time){.s = t->tv_sec, .ns = (uint32_t)t->tv_nsec};
}

/* libfuse hides FATTR_KILL_SUIDGID, so the request itself is asked.  A change
 * of owner always clears the bits (FUSE_HANDLE_KILLPRIV_V2). */
static bool kills_privileges(const struct fuse_op *op, int to_set)
{
    const struct fuse_setattr_in *in =
        (const void *)(op->request + sizeof(struct fuse_in_header));

    return (in->valid & FATTR_KILL_SUIDGID) ||
           (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID));
}

static fs_setattr_args setattr_args(const struct fuse_op *op,
                                    const struct stat *st, int to_set)
{
    fs_setattr_args a = {.ino = ino_of(op->node),
                         .mode = st->st_mode & ALLPERMS,
                         .uid = st->st_uid,
                         .gid = st->st_gid,
                         .size_bytes = (uint64_t)st->st_size,
                         .atime = time_of(&st->st_atim),
                         .mtime = time_of(&st->st_mtim),
                         .ctime = time_of(&st->st_ctim)};

    for (size_t i = 0; i < ARRAY_LEN(set_bits); i++)
        if (to_set & set_bits[i].fuse)
            a.mask |= set_bits[i].fs;
    if (kills_privileges(op, to_set))
        a.mask |= FS_SET_KILL_PRIV;
    return a;
}

static void closed_after_set(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);

    if (op->error || e)
        fuse_op_error(op, op->error ? op->error : e);
    else
        fuse_op_attr(op, &op->call.reply.result.fs_result_u.setattr);
}

/* It was not open, so it is closed again. */
static void opened_was_set(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);
    struct fs_file *file = io->file;

    op->error = e;
    op->call.reply.result.fs_result_u.setattr = io->attr;
    fuse_op_io(op, FS_IO_CLOSE, file)->write = true;
    fuse_op_submit(op, closed_after_set);
}

static void opened_to_set(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);
    struct fs_file *file = io->file;

    if (e) {
        fuse_op_error(op, e);
        return;
    }
    fuse_op_io(op, FS_IO_SETATTR, file)->setattr =
        op->call.request.args.fs_args_u.setattr;
    fuse_op_submit(op, opened_was_set);
}

static void was_set(struct fs_io *io, enum err e)
{
    struct fuse_op *op = fuse_op_of_io(io);

    fs_file_put(io->file);
    if (op->file && !e)
        op->file->mode = io->attr.mode;
    if (op->file)
        fuse_file_unhold(op->file);
    if (e)
        fuse_op_error(op, e);
    else
        fuse_op_attr(op, &io->attr);
}

/* Through the open file if there is one: it may know better about size and
 * times.  A new size needs one that the kernel has open, or that is opened for
 * it; anything else is a plain call. */
static void handle_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st,
                           int to_set, struct fuse_file_info *fi)
{
    struct fuse_op *op;
    struct fs_file *file;
    fs_args *args;

    (void)fi;
    if (node == FUSE_ROOT_ID) {
        fuse_reply_err(req, EPERM);
        return;
    }
    op = fuse_op_begin(req, node);
    if (!op)
        return;
    op->file = fuse_file_find(op->fuse, node);
    args = fuse_op_call(op, FS_OP_SETATTR);
    args->fs_args_u.setattr = setattr_args(op, st, to_set);
    if ((to_set & FUSE_SET_ATTR_SIZE) && !op->file) {
        fuse_op_io(op, FS_IO_OPEN, NULL)->ino = ino_of(node);
        op->io.write = true;
        fuse_op_submit(op, opened_to_set);
        return;
    }
    if (op->file)
        fuse_file_hold(op->file);
    file = fs_file_find(op->volume->client, ino_of(node));
    if (file) {
        fuse_op_io(op, FS_IO_SETATTR, file)->setattr = args->fs_args_u.setattr;
        fuse_op_submit(op, was_set);
    } else {
        fuse_op_send_once(op, got_attr);
    }
}

/* -- extended attributes --------------------------------------------------- */

static fs_xattr_args xattr_args(const struct fuse_op *op, const char *name)
{
    return (fs_xattr_args){.ino = ino_of(op->node), .name = mutable(name)};
}

/* The root has none, and takes none. */
static struct fuse_op *begin_xattr(fuse_req_t req, uint64_t node, int none)
{
    if (node != FUSE_ROOT_ID)
        return fuse_op_begin(req, node);
    fuse_reply_err(req, none);
    return NULL;
}

static void handle_setxattr(fuse_req_t req, fuse_ino_t node, const char *name,
                            const char *value, size_t size, int flags)
{
    struct fuse_op *op = begin_xattr(req, node, EPERM);
    fs_xattr_args a;

    if (!op)
        return;
    a = xattr_args(op, name);
    a.value.value_val = mutable(value);
    a.value.value_len = (uint32_t)size;
    a.flags = (uint32_t)flags;
    fuse_op_call(op, FS_OP_XATTR_SET)->fs_args_u.xattr_set = a;
    fuse_op_send_once(op, answer_error);
}

/* Size 0 asks how much there is. */
static void answer_bytes(struct fuse_op *op, const char *bytes, size_t count)
{
    if (!op->size)
        fuse_reply_xattr(op->req, count);
    else if (count > op->size)
        fuse_reply_err(op->req, ERANGE);
    else
        fuse_reply_buf(op->req, bytes, count);
    fs_call_fini(&op->call);
    fuse_op_end(op);
}

static void got_xattr(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);

    if (!failed(op))
        answer_bytes(op, RESULT(call).value.value_val,
                     RESULT(call).value.value_len);
}

static void handle_getxattr(fuse_req_t req, fuse_ino_t node, const char *name,
                            size_t size)
{
    struct fuse_op *op = begin_xattr(req, node, ENODATA);

    if (!op)
        return;
    op->size = size;
    fuse_op_call(op, FS_OP_XATTR_GET)->fs_args_u.xattr_get =
        xattr_args(op, name);
    fuse_op_send(op, got_xattr);
}

/* Names "trusted.…" are root's to see, as they are root's to read. */
static size_t hide_trusted(char *names, size_t count)
{
    static const char hidden[] = "trusted.";
    size_t kept = 0;

    for (size_t at = 0, n; at < count; at += n) {
        n = strnlen(names + at, count - at - 1) + 1;
        if (!strncmp(names + at, hidden, strlen(hidden)))
            continue;
        memmove(names + kept, names + at, n);
        kept += n;
    }
    return kept;
}

static void got_names(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);
    char *names = RESULT(call).names.names_val;
    size_t count = RESULT(call).names.names_len;

    if (failed(op))
        return;
    if (fuse_req_ctx(op->req)->uid)
        count = hide_trusted(names, count);
    answer_bytes(op, names, count);
}

static void handle_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
    struct fuse_op *op = begin_xattr(req, node, ENODATA);

    if (!op)
        return;
    op->size = size;
    fuse_op_call(op, FS_OP_XATTR_LIST)->fs_args_u.xattr_list = ino_of(node);
    fuse_op_send(op, got_names);
}

static void handle_removexattr(fuse_req_t req, fuse_ino_t node,
                               const char *name)
{
    struct fuse_op *op = begin_xattr(req, node, ENODATA);

    if (!op)
        return;
    fuse_op_call(op, FS_OP_XATTR_REMOVE)->fs_args_u.xattr_remove =
        xattr_args(op, name);
    fuse_op_send_once(op, answer_error);
}

void fuse_name_handlers(struct fuse_lowlevel_ops *ops)
{
    ops->lookup = handle_lookup;
    ops->getattr = handle_getattr;
    ops->setattr = handle_setattr;
    ops->readlink = handle_readlink;
    ops->mknod = handle_mknod;
    ops->mkdir = handle_mkdir;
    ops->create = handle_create;
    ops->unlink = handle_unlink;
    ops->rmdir = handle_rmdir;
    ops->symlink = handle_symlink;
    ops->rename = handle_rename;
    ops->link = handle_link;
    ops->setxattr = handle_setxattr;
    ops->getxattr = handle_getxattr;
    ops->listxattr = handle_listxattr;
    ops->removexattr = handle_removexattr;
}
