/* tests/unit/fs/volume.c - see volume.h.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/fs/volume.h"

#include "fs/db.h"

#include <stdio.h>
#include <string.h>

struct waited_call {
    struct fs_call *call;
    bool done;
};
static struct waited_call *waited; /* the tests are one thread */

static void call_done(struct fs_call *call)
{
    if (waited && waited->call == call)
        waited->done = true;
}

enum err volume_call(struct volume *v, struct fs_call *call)
{
    struct waited_call w = {.call = call};

    waited = &w;
    call->done = call_done;
    fs_link_send(v->link, call);
    world_run_until(&v->world, &w.done);
    waited = NULL;
    return (enum err)call->reply.error;
}

void volume_start(struct volume *v)
{
    struct diag why = {{0}};
    const struct fs_coord_args args = {
        .node = 1,
        .host = "h1",
        .incarnation = ++v->incarnation,
        .sole = true,
        .discard = true,
        .metadata = v->metadata,
    };
    enum err e = fs_coord_start(v->lun, &args, &why, &v->coord);

    if (e)
        fprintf(stderr, "fs_coord_start: %s\n", why.text);
    CHECK_OK_FATAL(e);
    v->link = fs_coord_link(v->coord);
}

void volume_stop(struct volume *v)
{
    fs_coord_stop(v->coord);
    v->coord = NULL;
}

void volume_init(struct volume *v, uint64_t bytes)
{
    const struct fs_format_args args = {.name = "vol", .discard = true};
    struct diag why = {{0}};
    enum err e;

    memset(v, 0, sizeof *v);
    world_init(&v->world);
    CHECK_OK_FATAL(
        store_mem_new(&(struct store_mem_args){.size_bytes = bytes}, &v->lun));
    e = fs_format(v->lun, &args, &why);
    if (e)
        fprintf(stderr, "fs_format: %s\n", why.text);
    CHECK_OK_FATAL(e);
    volume_start(v);
}

void volume_fini(struct volume *v)
{
    volume_stop(v);
    store_close(v->lun);
    world_fini(&v->world);
}

static void print_finding(void *arg, const char *text, bool mended)
{
    (void)arg;
    fprintf(stderr, "check: %s%s\n", text, mended ? " (mended)" : "");
}

uint64_t check_lun(struct store *lun, struct fs_check_result *ret_result)
{
    const struct fs_check_args args = {.report = print_finding};
    struct diag why = {{0}};
    enum err e = fs_check(lun, &args, ret_result, &why);

    if (e)
        fprintf(stderr, "fs_check: %s\n", diag_text(&why, e));
    CHECK_OK(e);
    return e ? 1 : ret_result->found;
}

void volume_check_clean(struct volume *v)
{
    struct fs_check_result result;

    CHECK_EQ(check_lun(v->lun, &result), 0);
}

void volume_sql(struct volume *v, const char *sql)
{
    struct super super;
    struct vfs *vfs;
    struct db *db;
    int rc;

    CHECK_OK_FATAL(super_load(v->lun, &super, NULL, NULL));
    CHECK_OK_FATAL(vfs_new(v->lun, &super, NULL, &vfs));
    CHECK_OK_FATAL(db_open(vfs, NULL, &db));
    rc = sqlite3_exec(db->conn, sql, NULL, NULL, NULL);
    CHECK_EQ(rc, SQLITE_OK);
    db_close(db);
    vfs_free(vfs);
}

/* -- short forms ----------------------------------------------------------- */

#define CALL(op)                                                               \
    struct fs_call call;                                                       \
    enum err e;                                                                \
    fs_call_init(&call, op)
#define ARGS(member)   call.request.args.fs_args_u.member
#define RESULT(member) call.reply.result.fs_result_u.member
#define UNCONST(s)     ((char *)(uintptr_t)(s))

enum err v_create(struct volume *v, fs_ino parent, const char *name,
                  uint32_t mode, fs_attr *ret_attr)
{
    char target[] = "target";

    CALL(FS_OP_CREATE);
    ARGS(create) = (fs_create_args){.parent = parent,
                                    .name = UNCONST(name),
                                    .mode = mode,
                                    .target = target};
    e = volume_call(v, &call);
    if (!e && ret_attr)
        *ret_attr = RESULT(create);
    fs_call_fini(&call);
    return e;
}

enum err v_lookup(struct volume *v, fs_ino parent, const char *name,
                  fs_attr *ret_attr)
{
    CALL(FS_OP_LOOKUP);
    ARGS(lookup) = (fs_name_args){parent, UNCONST(name)};
    e = volume_call(v, &call);
    if (!e && ret_attr)
        *ret_attr = RESULT(lookup);
    fs_call_fini(&call);
    return e;
}

enum err v_getattr(struct volume *v, fs_ino ino, fs_attr *ret_attr)
{
    CALL(FS_OP_GETATTR);
    ARGS(getattr) = ino;
    e = volume_call(v, &call);
    if (!e)
        *ret_attr = RESULT(getattr);
    fs_call_fini(&call);
    return e;
}

static enum err v_name(struct volume *v, fs_op op, fs_ino parent,
                       const char *name)
{
    CALL(op);
    ARGS(unlink) = (fs_name_args){parent, UNCONST(name)};
    e = volume_call(v, &call);
    fs_call_fini(&call);
    return e;
}

enum err v_unlink(struct volume *v, fs_ino parent, const char *name)
{
    return v_name(v, FS_OP_UNLINK, parent, name);
}

enum err v_rmdir(struct volume *v, fs_ino parent, const char *name)
{
    return v_name(v, FS_OP_RMDIR, parent, name);
}

enum err v_link(struct volume *v, fs_ino ino, fs_ino parent, const char *name)
{
    CALL(FS_OP_LINK);
    ARGS(link) = (fs_link_args){ino, parent, UNCONST(name)};
    e = volume_call(v, &call);
    fs_call_fini(&call);
    return e;
}

enum err v_rename(struct volume *v, fs_ino parent, const char *name,
                  fs_ino new_parent, const char *new_name, unsigned flags)
{
    CALL(FS_OP_RENAME);
    ARGS(rename) = (fs_rename_args){parent, UNCONST(name), new_parent,
                                    UNCONST(new_name), flags};
    e = volume_call(v, &call);
    fs_call_fini(&call);
    return e;
}

enum err v_open(struct volume *v, fs_ino ino, bool write)
{
    CALL(FS_OP_OPEN);
    ARGS(open) = (fs_open_args){ino, write};
    e = volume_call(v, &call);
    fs_call_fini(&call);
    return e;
}

enum err v_close(struct volume *v, fs_ino ino)
{
    CALL(FS_OP_CLOSE);
    ARGS(close) = (fs_close_args){.ino = ino};
    e = volume_call(v, &call);
    fs_call_fini(&call);
    return e;
}

enum err v_truncate(struct volume *v, fs_ino ino, uint64_t size_bytes)
{
    CALL(FS_OP_SETATTR);
    ARGS(setattr) = (fs_setattr_args){
        .ino = ino, .mask = FS_SET_SIZE, .size_bytes = size_bytes};
    e = volume_call(v, &call);
    fs_call_fini(&call);
    return e;
}

enum err v_statfs(struct volume *v, fs_statfs *ret_statfs)
{
    CALL(FS_OP_STATFS);
    e = volume_call(v, &call);
    if (!e)
        *ret_statfs = RESULT(statfs);
    fs_call_fini(&call);
    return e;
}

enum err v_layout(struct volume *v, fs_ino ino, fs_iomode mode, uint64_t off,
                  uint64_t len, fs_layout *ret_layout)
{
    CALL(FS_OP_LAYOUTGET);
    ARGS(layoutget) = (fs_layoutget_args){.ino = ino,
                                          .iomode = mode,
                                          .allocate = mode == FS_IOMODE_RW,
                                          .off_bytes = off,
                                          .len_bytes = len,
                                          .min_bytes = len};
    e = volume_call(v, &call);
    if (!e) {
        *ret_layout = RESULT(layoutget);
        memset(&RESULT(layoutget), 0, sizeof RESULT(layoutget));
    }
    fs_call_fini(&call);
    return e;
}

enum err v_write(struct volume *v, fs_ino ino, uint64_t off, uint64_t len)
{
    fs_layout layout = {0};
    CALL(FS_OP_LAYOUTCOMMIT);
    e = v_layout(v, ino, FS_IOMODE_RW, off, len, &layout);
    if (e)
        return e;
    ARGS(layoutcommit) = (fs_layoutcommit_args){
        .ino = ino, .grant = layout.grant, .size_bytes = off + len};
    ARGS(layoutcommit).written.written_len = layout.extents.extents_len;
    ARGS(layoutcommit).written.written_val = layout.extents.extents_val;
    for (u_int i = 0; i < layout.extents.extents_len; i++) {
        fs_extent *x = &layout.extents.extents_val[i];
        uint64_t end = (off + len + FS_BLOCK_BYTES - 1) / FS_BLOCK_BYTES;

        if (x->file_block + x->count > end)
            x->count = end - x->file_block;
    }
    e = volume_call(v, &call);
    free(layout.extents.extents_val);
    fs_call_fini(&call);
    return e;
}

enum err v_fallocate(struct volume *v, fs_ino ino, unsigned mode, uint64_t off,
                     uint64_t len, fs_attr *ret_attr)
{
    CALL(FS_OP_FALLOCATE);
    ARGS(fallocate) = (fs_fallocate_args){ino, mode, off, len};
    e = volume_call(v, &call);
    if (!e && ret_attr)
        *ret_attr = RESULT(fallocate);
    fs_call_fini(&call);
    return e;
}

enum err v_seek(struct volume *v, fs_ino ino, uint64_t off, bool hole,
                uint64_t *ret_off)
{
    CALL(FS_OP_SEEK);
    ARGS(seek) = (fs_seek_args){ino, off, hole};
    e = volume_call(v, &call);
    if (!e)
        *ret_off = RESULT(seek_off_bytes);
    fs_call_fini(&call);
    return e;
}

enum err v_xattr_set(struct volume *v, fs_ino ino, const char *name,
                     const void *value, size_t len, unsigned flags)
{
    CALL(FS_OP_XATTR_SET);
    ARGS(xattr_set) = (fs_xattr_args){
        ino, UNCONST(name), {(u_int)len, UNCONST(value)},
          flags
    };
    e = volume_call(v, &call);
    fs_call_fini(&call);
    return e;
}

enum err v_xattr_get(struct volume *v, fs_ino ino, const char *name, void *buf,
                     size_t *len)
{
    CALL(FS_OP_XATTR_GET);
    ARGS(xattr_get) = (fs_xattr_args){.ino = ino, .name = UNCONST(name)};
    e = volume_call(v, &call);
    if (!e) {
        CU_ASSERT_TRUE_FATAL(RESULT(value).value_len <= *len);
        *len = RESULT(value).value_len;
        memcpy(buf, RESULT(value).value_val, *len);
    }
    fs_call_fini(&call);
    return e;
}

enum err v_handle(struct volume *v, fs_op op, fs_ino ino, const char *vm,
                  fs_handle_mode mode, uint64_t *generation)
{
    CALL(op);
    ARGS(handle_get) = (fs_handle_args){ino, UNCONST(vm), mode, *generation};
    e = volume_call(v, &call);
    if (!e && op == FS_OP_HANDLE_GET)
        *generation = RESULT(generation);
    fs_call_fini(&call);
    return e;
}
