/* vhd/create.c - write a new, empty disk.  Opens none.
 *
 *   fixed                       dynamic, differencing
 *   0     the guest's bytes     0      copy of the footer, dynamic header
 *   size  footer                4096   parent locators (differencing), 4 KiB
 *                                      each
 *                               …      block table, whole pages, with room
 *                                      to grow
 *                               …      footer
 *
 * The footers come last, after a flush: without one it is no VHD.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/locator.h"
#include "vhd/table.h"

#include <string.h>

enum {
    HEAD_BYTES = 4096,    /* footer copy and header, padded */
    LOCATOR_BYTES = 4096, /* reserved for each */
    LOCATORS_WRITTEN = 3,
    TABLE_CHUNK_BYTES = 1 << 20 /* written at a time */
};
static_assert((int)VHD_LOCATOR_TEXT_BYTES <= (int)LOCATOR_BYTES, "it fits");

/* Room in the table when nobody says how far the disk will grow, here 64 GiB
 * in 128 KiB: a longer one can be made later, but it costs a move. */
enum { DEFAULT_ENTRIES = 32768 };

/* -- checks and sizes ------------------------------------------------------ */

static enum err check_args(const struct vhd_create_args *a, struct diag *why)
{
    static const uint8_t no_uuid[VHD_UUID_BYTES];

    if (!vhd_type_name(a->type))
        return diag_fail(why, E_VHD_TYPE, "%d is no type of VHD", a->type);
    if (!a->size_bytes || !is_aligned(a->size_bytes, VHD_SECTOR_BYTES))
        return diag_fail(why, E_INVAL,
                         "a disk of %llu bytes: the size must be a positive "
                         "multiple of 512",
                         (unsigned long long)a->size_bytes);
    if (a->size_bytes > INT64_MAX - VHD_FOOTER_BYTES ||
        (a->type != VHD_FIXED && a->size_bytes > VHD_SIZE_MAX_BYTES))
        return diag_fail(why, E_TOO_BIG,
                         "a disk of %llu bytes: the largest %s VHD has 2040 "
                         "GiB",
                         (unsigned long long)a->size_bytes,
                         vhd_type_name(a->type));
    if (!is_power_of_two(a->block_bytes) || a->block_bytes > VHD_BLOCK_BYTES ||
        a->block_bytes < VHD_PAGE_BYTES)
        return diag_fail(why, E_INVAL,
                         "blocks of %u bytes: a power of two from 4096 to %d",
                         a->block_bytes, VHD_BLOCK_BYTES);
    if (!memcmp(a->uuid, no_uuid, sizeof no_uuid))
        return diag_fail(why, E_INVAL, "a disk needs an identity");
    if (a->type == VHD_DIFFERENCING &&
        (!a->parent || !a->path || !a->parent_path || *a->path != '/' ||
         *a->parent_path != '/'))
        return diag_fail(why, E_INVAL,
                         "a differencing disk needs its parent, and the "
                         "absolute path of both");
    if (a->type == VHD_DIFFERENCING && a->size_bytes < a->parent->size_bytes)
        return diag_fail(why, E_INVAL,
                         "a disk of %llu bytes: smaller than its parent, "
                         "which has %llu",
                         (unsigned long long)a->size_bytes,
                         (unsigned long long)a->parent->size_bytes);
    return E_OK;
}

/* The caller's wishes with the defaults filled in. */
static struct vhd_create_args with_defaults(const struct vhd_create_args *args)
{
    struct vhd_create_args a = *args;

    if (!a.block_bytes)
        a.block_bytes = VHD_BLOCK_BYTES;
    if (a.type == VHD_DIFFERENCING && a.parent && !a.size_bytes)
        a.size_bytes = a.parent->size_bytes;
    if (!a.max_size_bytes)
        a.max_size_bytes = (uint64_t)DEFAULT_ENTRIES * a.block_bytes;
    a.max_size_bytes =
        min_u64(max_u64(a.max_size_bytes, a.size_bytes), VHD_SIZE_MAX_BYTES);
    return a;
}

/* -- the parts ------------------------------------------------------------- */

static enum err write_locator(struct store *file, uint32_t code,
                              const char *path, uint64_t off,
                              struct vhd_locator *ret_locator)
{
    uint8_t text[VHD_LOCATOR_TEXT_BYTES] = {0};
    size_t bytes = 0;
    enum err e = vhd_locator_encode(code, path, text, &bytes);

    if (e)
        return e;
    *ret_locator = (struct vhd_locator){.code = code,
                                        .space = LOCATOR_BYTES,
                                        .length_bytes = (uint32_t)bytes,
                                        .off_bytes = off};
    return store_write_sync(file, off, text, sizeof text);
}

/* Where the parent is, in three ways; and who it is. */
static enum err write_parent(struct store *file,
                             const struct vhd_create_args *a,
                             struct vhd_header *header, struct diag *why)
{
    char parent[VHD_PATH_BYTES], child[VHD_PATH_BYTES];
    char relative[VHD_PATH_BYTES];
    enum err e;

    e = vhd_path_resolve("/", a->parent_path, parent);
    if (!e)
        e = vhd_path_resolve("/", a->path, child);
    if (!e)
        e = vhd_path_relative(child, parent, relative);
    if (!e)
        e = vhd_parent_name_encode(parent, header->parent_name);
    if (!e)
        e = write_locator(file, VHD_LOCATOR_W2KU, parent, HEAD_BYTES,
                          &header->locators[0]);
    if (!e)
        e = write_locator(file, VHD_LOCATOR_W2RU, relative,
                          HEAD_BYTES + LOCATOR_BYTES, &header->locators[1]);
    if (!e)
        e = write_locator(file, VHD_LOCATOR_MACX, parent,
                          HEAD_BYTES + 2 * LOCATOR_BYTES, &header->locators[2]);
    if (e)
        return diag_fail(why, e, "parent locators for %s: %s", a->parent_path,
                         err_text(e));
    memcpy(header->parent_uuid, a->parent->uuid, VHD_UUID_BYTES);
    header->parent_timestamp = vhd_timestamp_make(a->parent->created_s);
    return E_OK;
}

static enum err write_table(struct store *file, uint64_t off, uint64_t bytes)
{
    AUTO(freep) uint8_t *absent = malloc(TABLE_CHUNK_BYTES);
    enum err e = E_OK;

    if (!absent)
        return E_NOMEM;
    memset(absent, 0xff, TABLE_CHUNK_BYTES);
    for (uint64_t at = 0; at < bytes && !e; at += TABLE_CHUNK_BYTES)
        e = store_write_sync(file, off + at, absent,
                             min_u64(TABLE_CHUNK_BYTES, bytes - at));
    return e;
}

static enum err write_footers(struct store *file,
                              const struct vhd_create_args *a)
{
    struct vhd_footer footer;
    struct vhd_disk_footer disk;
    enum err e;

    vhd_footer_init(&footer, a);
    vhd_footer_encode(&footer, &disk);
    e = store_write_sync(file, file->size_bytes - sizeof disk, &disk,
                         sizeof disk);
    if (!e && a->type != VHD_FIXED)
        e = store_write_sync(file, 0, &disk, sizeof disk);
    return e ? e : store_flush_sync(file);
}

/* -- all of it ------------------------------------------------------------- */

/* What was in the file must not show through. */
static enum err make_room(struct store *file, uint64_t bytes)
{
    enum err e = store_range_sync(file, STORE_RESIZE, 0, 0);

    return e ? e : store_range_sync(file, STORE_RESIZE, bytes, 0);
}

static enum err create_fixed(struct store *file,
                             const struct vhd_create_args *a)
{
    enum err e = make_room(file, a->size_bytes + VHD_FOOTER_BYTES);

    if (!e)
        e = store_flush_sync(file);
    return e ? e : write_footers(file, a);
}

/* Each block must find its place, whatever the guest writes first. */
static enum err check_room(const struct vhd_create_args *a,
                           const struct vhd_header *h, struct diag *why)
{
    uint64_t head = h->table_off_bytes +
                    (uint64_t)h->max_entries * VHD_ENTRY_BYTES +
                    VHD_FOOTER_BYTES;
    uint64_t blocks = div_round_up(a->size_bytes, a->block_bytes);

    if (h->max_entries > VHD_ENTRIES_MAX)
        return diag_fail(why, E_TOO_BIG,
                         "%u blocks of %u bytes are more than can be handled: "
                         "use larger ones",
                         h->max_entries, a->block_bytes);
    if (head / VHD_SECTOR_BYTES + blocks * vhd_stride_sectors(a->block_bytes) >
        VHD_FILE_SECTORS_MAX)
        return diag_fail(why, E_TOO_BIG,
                         "%llu bytes in blocks of %u: the file would have to "
                         "become larger than 2 TiB: use larger blocks",
                         (unsigned long long)a->size_bytes, a->block_bytes);
    return E_OK;
}

static enum err create_sparse(struct store *file,
                              const struct vhd_create_args *a, struct diag *why)
{
    uint32_t locators = a->type == VHD_DIFFERENCING ? LOCATORS_WRITTEN : 0;
    struct vhd_header header = {
        .table_off_bytes = HEAD_BYTES + (uint64_t)locators * LOCATOR_BYTES,
        .max_entries = (uint32_t)align_up(
            div_round_up(a->max_size_bytes, a->block_bytes), VHD_PAGE_ENTRIES),
        .block_bytes = a->block_bytes,
    };
    uint64_t table_bytes = (uint64_t)header.max_entries * VHD_ENTRY_BYTES;
    struct vhd_disk_header disk;
    enum err e;

    e = check_room(a, &header, why);
    if (e)
        return e;
    e = make_room(file,
                  header.table_off_bytes + table_bytes + VHD_FOOTER_BYTES);
    if (!e && locators)
        e = write_parent(file, a, &header, why);
    if (!e)
        e = write_table(file, header.table_off_bytes, table_bytes);
    vhd_header_encode(&header, &disk);
    if (!e)
        e = store_write_sync(file, VHD_FOOTER_BYTES, &disk, sizeof disk);
    if (!e)
        e = store_flush_sync(file);
    return e ? e : write_footers(file, a);
}

enum err vhd_create(struct store *file, const struct vhd_create_args *args,
                    struct diag *why)
{
    struct vhd_create_args a = with_defaults(args);
    enum err e = check_args(&a, why);

    if (e)
        return e;
    if (!(file->caps & STORE_CAN_RESIZE))
        return diag_fail(why, E_UNSUPPORTED,
                         "a VHD is made in a file that can be resized");
    if (why)
        why->text[0] = '\0';
    e = a.type == VHD_FIXED ? create_fixed(file, &a)
                            : create_sparse(file, &a, why);
    if (e && why && !why->text[0])
        (void)diag_fail(why, e, "writing the new disk: %s", err_text(e));
    return e;
}
