/* fs/acl.c - POSIX access control lists against mode bits.
 * Permission checks are the kernel's; this only keeps list and mode agreeing.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/acl.h"

enum { ACL_VERSION = 2, ACL_ALL = 7 };

static bool is_named(uint16_t tag)
{
    return tag == ACL_USER || tag == ACL_GROUP;
}

/* acl_check(3): one each of the three classes, a mask if there are names, in
 * the order of their tags. */
static enum err acl_verify(const struct acl *acl)
{
    unsigned seen = 0;
    bool named = false;

    for (uint32_t i = 0; i < acl->count; i++) {
        const struct acl_entry *a = &acl->entry[i];

        if (a->tag == 0 || a->tag > ACL_OTHER || (a->tag & (a->tag - 1)))
            return E_INVAL;
        if (a->perm > ACL_ALL)
            return E_INVAL;
        if (i && a->tag < acl->entry[i - 1].tag)
            return E_INVAL;
        if (is_named(a->tag))
            named = true;
        else if (seen & a->tag)
            return E_INVAL;
        seen |= a->tag;
    }
    if (acl->count == 0)
        return E_OK;
    if (!(seen & ACL_USER_OBJ) || !(seen & ACL_GROUP_OBJ) ||
        !(seen & ACL_OTHER))
        return E_INVAL;
    return named && !(seen & ACL_MASK) ? E_INVAL : E_OK;
}

enum err acl_decode(const void *value, size_t len_bytes, struct acl *ret_acl)
{
    const uint8_t *at = value;
    size_t body = len_bytes - sizeof(struct acl_disk_header);

    if (len_bytes < sizeof(struct acl_disk_header) ||
        body % sizeof(struct acl_disk_entry) != 0)
        return E_INVAL;
    if (le32_load(at) != ACL_VERSION)
        return E_UNSUPPORTED;
    if (body / sizeof(struct acl_disk_entry) > ACL_ENTRIES_MAX)
        return E_TOO_BIG;
    at += sizeof(struct acl_disk_header);
    ret_acl->count = (uint32_t)(body / sizeof(struct acl_disk_entry));
    for (uint32_t i = 0; i < ret_acl->count; i++, at += 8)
        ret_acl->entry[i] = (struct acl_entry){
            .tag = le16_load(at),
            .perm = le16_load(at + 2),
            .id = le32_load(at + 4),
        };
    return acl_verify(ret_acl);
}

size_t acl_bytes(const struct acl *acl)
{
    return sizeof(struct acl_disk_header) +
           acl->count * sizeof(struct acl_disk_entry);
}

size_t acl_encode(const struct acl *acl, void *ret_value)
{
    uint8_t *at = ret_value;

    le32_store(at, ACL_VERSION);
    at += sizeof(struct acl_disk_header);
    for (uint32_t i = 0; i < acl->count; i++, at += 8) {
        le16_store(at, acl->entry[i].tag);
        le16_store(at + 2, acl->entry[i].perm);
        le32_store(at + 4, acl->entry[i].id);
    }
    return acl_bytes(acl);
}

uint32_t acl_mode(const struct acl *acl)
{
    uint32_t user = 0, group = 0, mask = ACL_ALL + 1, other = 0;

    for (uint32_t i = 0; i < acl->count; i++) {
        const struct acl_entry *a = &acl->entry[i];

        if (a->tag == ACL_USER_OBJ)
            user = a->perm;
        if (a->tag == ACL_GROUP_OBJ)
            group = a->perm;
        if (a->tag == ACL_MASK)
            mask = a->perm;
        if (a->tag == ACL_OTHER)
            other = a->perm;
    }
    return user << 6 | (mask <= ACL_ALL ? mask : group) << 3 | other;
}

bool acl_is_minimal(const struct acl *acl)
{
    return acl->count <= 3;
}

void acl_set_mode(struct acl *acl, uint32_t mode)
{
    /* The mask stands for the group bits, if there is one. */
    uint16_t group = ACL_GROUP_OBJ;

    for (uint32_t i = 0; i < acl->count; i++)
        if (acl->entry[i].tag == ACL_MASK)
            group = ACL_MASK;
    for (uint32_t i = 0; i < acl->count; i++) {
        struct acl_entry *a = &acl->entry[i];

        if (a->tag == ACL_USER_OBJ)
            a->perm = mode >> 6 & ACL_ALL;
        if (a->tag == group)
            a->perm = mode >> 3 & ACL_ALL;
        if (a->tag == ACL_OTHER)
            a->perm = mode & ACL_ALL;
    }
}

uint32_t acl_narrow(struct acl *acl, uint32_t mode)
{
    uint32_t both = mode & acl_mode(acl);

    acl_set_mode(acl, both);
    return both;
}
