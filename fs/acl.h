/* fs/acl.h - POSIX access control lists as Linux stores them in attributes.
 * Arithmetic between a list and the nine mode bits; stores nothing.
 * Format: linux/posix_acl_xattr.h, version 2; meaning: acl(5).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_FS_ACL_H
#define LUNAR_FS_ACL_H

#include "base/endian.h"
#include "base/err.h"

enum acl_tag {
    ACL_USER_OBJ = 1,
    ACL_USER = 2,
    ACL_GROUP_OBJ = 4,
    ACL_GROUP = 8,
    ACL_MASK = 16,
    ACL_OTHER = 32
};

struct acl_disk_entry {
    le16 tag, perm;
    le32 id;
};
struct acl_disk_header {
    le32 version;
};
static_assert(sizeof(struct acl_disk_entry) == 8, "posix_acl_xattr.h");

struct acl_entry {
    uint16_t tag, perm;
    uint32_t id;
};

enum { ACL_ENTRIES_MAX = 1024 }; /* 8 KiB: more than any file system takes */

struct acl {
    uint32_t count;
    struct acl_entry entry[ACL_ENTRIES_MAX];
};

/* Errors: E_INVAL (shape, order, a missing or doubled entry), E_TOO_BIG. */
MUST_CHECK enum err acl_decode(const void *value, size_t len_bytes,
                               struct acl *ret_acl);
/* Returns the bytes; `ret_value` has room for acl_bytes(). */
size_t acl_encode(const struct acl *acl, void *ret_value);
size_t acl_bytes(const struct acl *acl);

/* The nine bits that the list stands for. */
uint32_t acl_mode(const struct acl *acl);
/* It says no more than nine bits can. */
bool acl_is_minimal(const struct acl *acl);
/* chmod: the list follows the nine bits. */
void acl_set_mode(struct acl *acl, uint32_t mode);
/* A new object's list from its directory's default list: both are narrowed to
 * each other.  Returns the mode bits that result. */
uint32_t acl_narrow(struct acl *acl, uint32_t mode);

#endif
