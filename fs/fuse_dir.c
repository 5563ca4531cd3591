/* fs/fuse_dir.c - reading directories, the root among them; statfs.
 * A position is the coordinator's cookie + 2: 0 and 1 stand before "." and
 * "..".  Directories are not opened: they are read by number, and every
 * change is durable when it is answered (I1), so fsync has nothing to do.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/fuse.h"

#include <string.h>
#include <sys/statvfs.h>

enum {
    AFTER_DOT = 1,
    AFTER_DOTS = 2,
    /* What an entry takes in an answer, at least: asking for more than fits
     * would be thrown away. */
    ENTRY_BYTES = 32,
    ENTRY_PLUS_BYTES = 160
};

static void handle_opendir(fuse_req_t req, fuse_ino_t node,
                           struct fuse_file_info *fi)
{
    (void)node;
    fuse_reply_open(req, fi);
}

static void handle_fsyncdir(fuse_req_t req, fuse_ino_t node, int data_only,
                            struct fuse_file_info *fi)
{
    (void)node;
    (void)data_only;
    (void)fi;
    fuse_reply_err(req, 0);
}

/* -- filling an answer ----------------------------------------------------- */

struct answer {
    fuse_req_t req;
    char *at;
    size_t room, used;
    bool plus;
};

/* False: it does not fit any more. */
static bool add(struct answer *a, const char *name,
                const struct fuse_entry_param *entry, off_t next)
{
    char *at = a->at + a->used;
    size_t room = a->room - a->used, n;

    if (a->plus)
        n = fuse_add_direntry_plus(a->req, at, room, name, entry, next);
    else
        n = fuse_add_direntry(a->req, at, room, name, &entry->attr, next);
    if (n > room)
        return false;
    a->used += n;
    return true;
}

/* "." and ".." carry no attributes: the kernel has its own. */
static bool add_dot(struct answer *a, const char *name, uint64_t node,
                    off_t next)
{
    struct fuse_entry_param entry = {
        .attr = {.st_ino = node, .st_mode = S_IFDIR}
    };

    return add(a, name, &entry, next);
}

static bool add_dots(struct answer *a, uint64_t node, off_t *off)
{
    if (*off < AFTER_DOT) {
        if (!add_dot(a, ".", node, AFTER_DOT))
            return false;
        *off = AFTER_DOT;
    }
    if (*off < AFTER_DOTS) {
        if (!add_dot(a, "..", node, AFTER_DOTS))
            return false;
        *off = AFTER_DOTS;
    }
    return true;
}

/* -- the root -------------------------------------------------------------- */

/* Positions are volume numbers + 2, so that a volume that comes or goes moves
 * no other.  In READDIRPLUS a node id of 0 says: look it up yourself. */
static void read_root(fuse_req_t req, struct answer *a, off_t off)
{
    struct fs_fuse *fuse = fuse_req_userdata(req);

    if (!add_dots(a, FUSE_ROOT_ID, &off))
        return;
    list_for_each (at, &fuse->volumes) {
        struct fuse_volume *v = container_of(at, struct fuse_volume, link);
        struct fuse_entry_param entry = {
            .attr = {.st_ino = node_of(v, FUSE_ROOT_ID), .st_mode = S_IFDIR}
        };

        if (v->number + AFTER_DOTS <= off)
            continue;
        if (!add(a, v->name, &entry, v->number + AFTER_DOTS))
            return;
    }
}

static void reply_root(fuse_req_t req, off_t off, size_t size, bool plus)
{
    char entries[FUSE_PAGE];
    struct answer a = {.req = req,
                       .at = entries,
                       .room = min_u64(size, sizeof entries),
                       .plus = plus};

    read_root(req, &a, off);
    fuse_reply_buf(req, entries, a.used);
}

/* -- directories of a volume ----------------------------------------------- */

static void directory_read(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);
    const fs_readdir_result *r = &call->reply.result.fs_result_u.readdir;
    struct answer a = {.req = op->req,
                       .at = (char *)op->data,
                       .room = op->size,
                       .plus = op->plus};
    off_t off = (off_t)op->dots;
    enum err e = call->reply.error;

    if (!e && add_dots(&a, op->node, &off))
        for (uint32_t i = 0; i < r->entries.entries_len; i++) {
            fs_dirent *d = &r->entries.entries_val[i];
            struct fuse_entry_param entry;

            fuse_entry_fill(op->volume, &d->attr, &entry);
            if (d->is_written)
                entry.ino = 0; /* no attributes: the kernel looks it up */
            if (!add(&a, d->name, &entry, (off_t)d->cookie + AFTER_DOTS))
                break;
        }
    fs_call_fini(call);
    if (e) {
        fuse_op_error(op, e);
        return;
    }
    fuse_reply_buf(op->req, a.at, a.used);
    fuse_op_end(op);
}

static void read_directory(fuse_req_t req, uint64_t node, size_t size,
                           off_t off, bool plus)
{
    uint32_t each = plus ? ENTRY_PLUS_BYTES : ENTRY_BYTES;
    struct fuse_op *op = fuse_op_begin(req, node);
    fs_readdir_args *a;

    if (!op)
        return;
    op->size = min_u64(size, FUSE_DATA_BYTES);
    op->plus = plus;
    op->dots = (uint32_t)min_u64((uint64_t)off, AFTER_DOTS);
    a = &fuse_op_call(op, FS_OP_READDIR)->fs_args_u.readdir;
    a->ino = ino_of(node);
    a->cookie = off > AFTER_DOTS ? (uint64_t)off - AFTER_DOTS : 0;
    a->max = (uint32_t)min_u64(op->size / each + 1, FS_DIRENTS_MAX);
    fuse_op_send(op, directory_read);
}

static void handle_readdir(fuse_req_t req, fuse_ino_t node, size_t size,
                           off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    if (node == FUSE_ROOT_ID)
        reply_root(req, off, size, false);
    else
        read_directory(req, node, size, off, false);
}

static void handle_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size,
                               off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    if (node == FUSE_ROOT_ID)
        reply_root(req, off, size, true);
    else
        read_directory(req, node, size, off, true);
}

/* -- statfs ---------------------------------------------------------------- */

static void got_statfs(struct fs_call *call)
{
    struct fuse_op *op = fuse_op_of_call(call);
    fs_statfs s = call->reply.result.fs_result_u.statfs;
    enum err e = call->reply.error;
    struct statvfs out = {.f_bsize = FS_BLOCK_BYTES,
                          .f_frsize = FS_BLOCK_BYTES,
                          .f_blocks = s.blocks,
                          .f_bfree = s.free_blocks,
                          .f_bavail = s.available_blocks,
                          .f_files = s.inodes + s.available_blocks,
                          .f_ffree = s.available_blocks,
                          .f_favail = s.available_blocks,
                          .f_namemax = FS_NAME_MAX};

    fs_call_fini(call);
    if (e) {
        fuse_op_error(op, e);
        return;
    }
    fuse_reply_statfs(op->req, &out);
    fuse_op_end(op);
}

/* The root has no space of its own. */
static void handle_statfs(fuse_req_t req, fuse_ino_t node)
{
    const struct statvfs nothing = {.f_bsize = FS_BLOCK_BYTES,
                                    .f_frsize = FS_BLOCK_BYTES,
                                    .f_namemax = FS_VOLUME_NAME_MAX};
    struct fuse_op *op;

    if (node == FUSE_ROOT_ID) {
        fuse_reply_statfs(req, &nothing);
        return;
    }
    op = fuse_op_begin(req, node);
    if (!op)
        return;
    fuse_op_call(op, FS_OP_STATFS);
    fuse_op_send(op, got_statfs);
}

void fuse_dir_handlers(struct fuse_lowlevel_ops *ops)
{
    ops->opendir = handle_opendir;
    ops->fsyncdir = handle_fsyncdir;
    ops->readdir = handle_readdir;
    ops->readdirplus = handle_readdirplus;
    ops->statfs = handle_statfs;
}
