/* fs/meta_xattr.c - extended attributes, and the ACLs among them.
 * Values are opaque but for the two ACLs, whose mode bits follow.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/acl.h"
#include "fs/meta.h"

#include <string.h>
#include <sys/stat.h>

/* Says who holds the disk; listed and read only. */
static const char handle_name[] = "user.lunar.handle";

static enum err check_name(const char *name)
{
    static const char *const prefixes[] = {"user.", "trusted.", "security."};
    size_t len = strlen(name);

    if (len == 0 || len > FS_NAME_MAX)
        return E_XATTR_SIZE;
    if (strcmp(name, XATTR_ACL_ACCESS) == 0 ||
        strcmp(name, XATTR_ACL_DEFAULT) == 0)
        return E_OK;
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        size_t n = strlen(prefixes[i]);

        if (strncmp(name, prefixes[i], n) == 0)
            return len > n ? E_OK : E_INVAL;
    }
    return E_UNSUPPORTED;
}

/* -- rows ------------------------------------------------------------------ */

/* Copy a value out.  E_NODATA: there is none. */
static enum err xattr_load(struct meta *m, fs_ino ino, const char *name,
                           char **ret_value, u_int *ret_len)
{
    const void *bytes;
    size_t len;
    char *copy;
    enum err e = db_first(m->db, SQL_XATTR_GET, DB_INT(ino),
                          DB_BYTES(name, strlen(name)));

    if (e)
        return e;
    bytes = db_bytes(m->db, SQL_XATTR_GET, 0, &len);
    copy = len <= FS_XATTR_MAX ? malloc(len + 1) : NULL;
    if (copy)
        memcpy(copy, bytes, len);
    db_end(m->db, SQL_XATTR_GET);
    if (!copy)
        return len > FS_XATTR_MAX ? E_CORRUPT : E_NOMEM;
    *ret_value = copy;
    *ret_len = (u_int)len;
    return E_OK;
}

static enum err xattr_store(struct meta *m, fs_ino ino, const char *name,
                            const void *value, size_t len)
{
    return db_run(m->db, SQL_XATTR_PUT, DB_INT(ino),
                  DB_BYTES(name, strlen(name)), DB_BYTES(value, len));
}

static enum err xattr_drop(struct meta *m, fs_ino ino, const char *name)
{
    return db_run(m->db, SQL_XATTR_DROP, DB_INT(ino),
                  DB_BYTES(name, strlen(name)));
}

/* -- ACLs ------------------------------------------------------------------ */

/* E_NODATA: the inode has no such list. */
static enum err acl_load(struct meta *m, fs_ino ino, const char *name,
                         struct acl *ret_acl)
{
    AUTO(freep) char *value = NULL;
    u_int len;
    enum err e = xattr_load(m, ino, name, &value, &len);

    if (e)
        return e;
    return acl_decode(value, len, ret_acl) ? E_CORRUPT : E_OK;
}

static enum err acl_store(struct meta *m, fs_ino ino, const char *name,
                          const struct acl *acl)
{
    AUTO(freep) void *value = malloc(acl_bytes(acl));

    if (!value)
        return E_NOMEM;
    return xattr_store(m, ino, name, value, acl_encode(acl, value));
}

enum err acl_chmod(struct meta *m, const struct inode *inode)
{
    struct acl acl;
    enum err e = acl_load(m, inode->attr.ino, XATTR_ACL_ACCESS, &acl);

    if (e)
        return e == E_NODATA ? E_OK : e;
    acl_set_mode(&acl, inode->attr.mode);
    return acl_store(m, inode->attr.ino, XATTR_ACL_ACCESS, &acl);
}

enum err acl_inherit(struct meta *m, fs_ino parent, uint32_t umask,
                     struct inode *inode)
{
    fs_ino ino = inode->attr.ino;
    struct acl acl;
    uint32_t bits;
    enum err e;

    if (inode_is(inode, S_IFLNK))
        return E_OK;
    e = acl_load(m, parent, XATTR_ACL_DEFAULT, &acl);
    if (e && e != E_NODATA)
        return e;
    if (e == E_NODATA) {
        if (!(inode->attr.mode & umask & 0777))
            return E_OK;
        inode->attr.mode &= ~(umask & 0777);
        return inode_put(m, inode);
    }
    if (inode_is(inode, S_IFDIR)) {
        e = acl_store(m, ino, XATTR_ACL_DEFAULT, &acl);
        if (e)
            return e;
    }
    bits = acl_narrow(&acl, inode->attr.mode & 0777);
    inode->attr.mode = (inode->attr.mode & ~(uint32_t)0777) | bits;
    if (!acl_is_minimal(&acl)) {
        e = acl_store(m, ino, XATTR_ACL_ACCESS, &acl);
        if (e)
            return e;
    }
    return inode_put(m, inode);
}

/* SET of a list: the mode follows; a list that says no more than the mode, or
 * nothing, is none.  *ret_store: it is to be stored. */
static enum err acl_set(const fs_xattr_args *args, struct inode *inode,
                        bool *ret_store)
{
    bool is_access = strcmp(args->name, XATTR_ACL_ACCESS) == 0;
    struct acl acl;
    enum err e = acl_decode(args->value.value_val, args->value.value_len, &acl);

    if (e)
        return e;
    if (inode_is(inode, S_IFLNK))
        return E_UNSUPPORTED;
    if (!is_access && !inode_is(inode, S_IFDIR))
        return acl.count ? E_ACCESS : E_OK;
    *ret_store = acl.count > 0;
    if (is_access && acl.count) {
        inode->attr.mode =
            (inode->attr.mode & ~(uint32_t)0777) | acl_mode(&acl);
        *ret_store = !acl_is_minimal(&acl);
    }
    return E_OK;
}

static bool is_acl(const char *name)
{
    return strcmp(name, XATTR_ACL_ACCESS) == 0 ||
           strcmp(name, XATTR_ACL_DEFAULT) == 0;
}

/* -- operations ------------------------------------------------------------ */

enum err op_xattr_get(struct op *op)
{
    const fs_xattr_args *args = OP_ARGS(op, xattr_get);
    char text[FS_XATTR_MAX / 8];
    struct inode inode;
    enum err e = inode_get(op->m, args->ino, &inode);

    if (!e)
        e = check_name(args->name);
    if (e)
        return e;
    if (strcmp(args->name, handle_name) != 0)
        return xattr_load(op->m, args->ino, args->name,
                          &OP_RESULT(op, value)->value_val,
                          &OP_RESULT(op, value)->value_len);
    e = handle_text(op->m, args->ino, text, sizeof text);
    if (e)
        return e;
    OP_RESULT(op, value)->value_val = strdup(text);
    OP_RESULT(op, value)->value_len = (u_int)strlen(text);
    return OP_RESULT(op, value)->value_val ? E_OK : E_NOMEM;
}

/* Collect the names of an inode; all of them must fit one reply. */
static enum err xattr_names(struct meta *m, fs_ino ino, char *ret_names,
                            size_t *ret_len)
{
    size_t len = 0, n;
    enum err e = db_first(m->db, SQL_XATTR_LIST, DB_INT(ino));

    while (!e) {
        const void *name = db_bytes(m->db, SQL_XATTR_LIST, 0, &n);

        if (!n || n > FS_NAME_MAX || !range_ok(len, n + 1, FS_XATTR_MAX)) {
            db_end(m->db, SQL_XATTR_LIST);
            return E_CORRUPT;
        }
        memcpy(ret_names + len, name, n);
        ret_names[len + n] = 0;
        len += n + 1;
        e = db_next(m->db, SQL_XATTR_LIST);
    }
    *ret_len = len;
    return e == E_NODATA ? E_OK : e;
}

enum err op_xattr_list(struct op *op)
{
    fs_ino ino = *OP_ARGS(op, xattr_list);
    char who[FS_OWNER_MAX + 32];
    struct inode inode;
    size_t len = 0;
    char *names;
    enum err e = inode_get(op->m, ino, &inode);

    if (e)
        return e;
    names = malloc(FS_XATTR_MAX + sizeof handle_name);
    if (!names)
        return E_NOMEM;
    OP_RESULT(op, names)->names_val = names; /* the reply owns it now */
    e = xattr_names(op->m, ino, names, &len);
    if (e)
        return e;
    e = handle_text(op->m, ino, who, sizeof who);
    if (!e && range_ok(len, sizeof handle_name, FS_XATTR_MAX)) {
        memcpy(names + len, handle_name, sizeof handle_name);
        len += sizeof handle_name;
    }
    OP_RESULT(op, names)->names_len = (u_int)len;
    return e == E_NODATA ? E_OK : e;
}

/* XATTR_CREATE, XATTR_REPLACE, and room for the name in a list. */
static enum err check_set(struct op *op, const fs_xattr_args *args)
{
    AUTO(freep) char *names = malloc(FS_XATTR_MAX);
    AUTO(freep) char *old = NULL;
    size_t len;
    u_int n;
    enum err e;

    if (!names)
        return E_NOMEM;
    if (args->value.value_len > FS_XATTR_MAX)
        return E_TOO_BIG;
    e = xattr_load(op->m, args->ino, args->name, &old, &n);
    if (e && e != E_NODATA)
        return e;
    if (!e)
        return args->flags & FS_XATTR_CREATE ? E_EXIST : E_OK;
    if (args->flags & FS_XATTR_REPLACE)
        return E_NODATA;
    e = xattr_names(op->m, args->ino, names, &len);
    if (e)
        return e;
    return range_ok(len, strlen(args->name) + 1 + sizeof handle_name,
                    FS_XATTR_MAX)
               ? E_OK
               : E_VOL_FULL;
}

enum err op_xattr_set(struct op *op)
{
    const fs_xattr_args *args = OP_ARGS(op, xattr_set);
    struct inode inode;
    bool store = true;
    enum err e = inode_get(op->m, args->ino, &inode);

    if (!e)
        e = check_name(args->name);
    if (!e && strcmp(args->name, handle_name) == 0)
        e = E_PERM;
    if (!e)
        e = check_set(op, args);
    if (!e && is_acl(args->name))
        e = acl_set(args, &inode, &store);
    if (e)
        return e;
    if (store)
        e = xattr_store(op->m, args->ino, args->name, args->value.value_val,
                        args->value.value_len);
    else
        e = xattr_drop(op->m, args->ino, args->name);
    inode_changed(op, &inode);
    return e ? e : inode_put(op->m, &inode);
}

enum err op_xattr_remove(struct op *op)
{
    const fs_xattr_args *args = OP_ARGS(op, xattr_remove);
    AUTO(freep) char *old = NULL;
    struct inode inode;
    u_int len;
    enum err e = inode_get(op->m, args->ino, &inode);

    if (!e)
        e = check_name(args->name);
    if (!e && strcmp(args->name, handle_name) == 0)
        e = E_PERM;
    if (!e)
        e = xattr_load(op->m, args->ino, args->name, &old, &len);
    if (e == E_NODATA && is_acl(args->name))
        return E_OK; /* the mode says it all, as before */
    if (!e)
        e = xattr_drop(op->m, args->ino, args->name);
    if (e)
        return e;
    inode_changed(op, &inode);
    return inode_put(op->m, &inode);
}
