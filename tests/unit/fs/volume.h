/* tests/unit/fs/volume.h - a fresh volume in memory with a coordinator, and
 * calls that wait for their answer.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_UNIT_FS_VOLUME_H
#define LUNAR_TESTS_UNIT_FS_VOLUME_H

#include "base/stores.h"
#include "fs/fs.h"
#include "tests/lib/test.h"
#include "tests/lib/world.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

enum { ROOT = 1 };

struct volume {
    struct world world;
    struct store *lun;
    struct fs_coord *coord;
    struct fs_link *link;
    uint64_t incarnation;
    struct loop *metadata; /* fs_coord_args.metadata */
};

/* Memory LUN of `bytes`, formatted and served. */
void volume_init(struct volume *v, uint64_t bytes);
void volume_fini(struct volume *v);
/* On a LUN of the caller's: format (if asked) and serve. */
void volume_start(struct volume *v);
void volume_stop(struct volume *v);
/* Check and expect it clean; prints what is not. */
void volume_check_clean(struct volume *v);
/* As volume_check_clean(), for any LUN; returns the findings. */
uint64_t check_lun(struct store *lun, struct fs_check_result *ret_result);

/* Run SQL on the database of a stopped volume, past all rules. */
void volume_sql(struct volume *v, const char *sql);

/* One call, waited for; the reply stays in the call until fs_call_fini(). */
enum err volume_call(struct volume *v, struct fs_call *call);

/* Short forms; each returns the answer's error. */
enum err v_create(struct volume *v, fs_ino parent, const char *name,
                  uint32_t mode, fs_attr *ret_attr);
enum err v_lookup(struct volume *v, fs_ino parent, const char *name,
                  fs_attr *ret_attr);
enum err v_getattr(struct volume *v, fs_ino ino, fs_attr *ret_attr);
enum err v_unlink(struct volume *v, fs_ino parent, const char *name);
enum err v_rmdir(struct volume *v, fs_ino parent, const char *name);
enum err v_link(struct volume *v, fs_ino ino, fs_ino parent, const char *name);
enum err v_rename(struct volume *v, fs_ino parent, const char *name,
                  fs_ino new_parent, const char *new_name, unsigned flags);
enum err v_open(struct volume *v, fs_ino ino, bool write);
enum err v_close(struct volume *v, fs_ino ino);
enum err v_truncate(struct volume *v, fs_ino ino, uint64_t size_bytes);
enum err v_statfs(struct volume *v, fs_statfs *ret_statfs);
enum err v_layout(struct volume *v, fs_ino ino, fs_iomode mode, uint64_t off,
                  uint64_t len, fs_layout *ret_layout); /* free extents_val */
/* Layout, commit all of it, size: the file has data now. */
enum err v_write(struct volume *v, fs_ino ino, uint64_t off, uint64_t len);
enum err v_fallocate(struct volume *v, fs_ino ino, unsigned mode, uint64_t off,
                     uint64_t len, fs_attr *ret_attr);
enum err v_seek(struct volume *v, fs_ino ino, uint64_t off, bool hole,
                uint64_t *ret_off);
enum err v_xattr_set(struct volume *v, fs_ino ino, const char *name,
                     const void *value, size_t len, unsigned flags);
enum err v_xattr_get(struct volume *v, fs_ino ino, const char *name, void *buf,
                     size_t *len);
enum err v_handle(struct volume *v, fs_op op, fs_ino ino, const char *vm,
                  fs_handle_mode mode, uint64_t *generation);

#endif
