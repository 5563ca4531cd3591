/* vhd/format.c - footer and dynamic header: checks, decode, encode, geometry.
 * Does no I/O and trusts no byte.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vhd/format.h"

#include <string.h>

static const struct type_row {
    enum vhd_type type;
    const char *name;
} type_rows[] = {
    {VHD_FIXED,        "fixed"       },
    {VHD_DYNAMIC,      "dynamic"     },
    {VHD_DIFFERENCING, "differencing"},
};

const char *vhd_type_name(enum vhd_type type)
{
    for (size_t i = 0; i < ARRAY_LEN(type_rows); i++)
        if (type_rows[i].type == type)
            return type_rows[i].name;
    return NULL;
}

enum err vhd_type_from_name(const char *name, enum vhd_type *ret_type)
{
    for (size_t i = 0; i < ARRAY_LEN(type_rows); i++) {
        if (!strcmp(type_rows[i].name, name)) {
            *ret_type = type_rows[i].type;
            return E_OK;
        }
    }
    return E_VHD_TYPE;
}

uint32_t vhd_checksum(const void *p, size_t bytes, size_t skip)
{
    const uint8_t *b = p;
    uint32_t sum = 0;

    for (size_t i = 0; i < bytes; i++)
        if (i < skip || i >= skip + sizeof(be32))
            sum += b[i];
    return ~sum;
}

/* -- footer ---------------------------------------------------------------- */

static enum err footer_check(const struct vhd_disk_footer *d, uint64_t at,
                             struct diag *why)
{
    uint32_t found = be32_get(d->checksum), computed;

    if (memcmp(d->cookie, "conectix", sizeof d->cookie) != 0)
        return diag_fail(why, E_VHD_FOOTER,
                         "footer at %llu: cookie is not \"conectix\"",
                         (unsigned long long)at);
    computed = vhd_checksum(d, sizeof *d, offsetof(typeof(*d), checksum));
    if (found != computed)
        return diag_fail(why, E_VHD_FOOTER,
                         "footer at %llu: checksum is 0x%08x but its bytes "
                         "give 0x%08x",
                         (unsigned long long)at, found, computed);
    if (be32_get(d->version) >> 16 != VHD_VERSION >> 16)
        return diag_fail(why, E_VHD_FOOTER,
                         "footer at %llu: version 0x%08x is not 1.x",
                         (unsigned long long)at, be32_get(d->version));
    if (!vhd_type_name((enum vhd_type)be32_get(d->type)))
        return diag_fail(why, E_VHD_TYPE,
                         "footer at %llu: disk type %u is not fixed, dynamic "
                         "or differencing",
                         (unsigned long long)at, be32_get(d->type));
    if (!is_aligned(be64_get(d->current_bytes), VHD_SECTOR_BYTES) ||
        !be64_get(d->current_bytes) || be64_get(d->current_bytes) > INT64_MAX)
        return diag_fail(why, E_VHD_FOOTER,
                         "footer at %llu: current size %llu is not a positive "
                         "multiple of 512",
                         (unsigned long long)at,
                         (unsigned long long)be64_get(d->current_bytes));
    return E_OK;
}

enum err vhd_footer_decode(const void *sector, uint64_t at_bytes,
                           struct diag *why, struct vhd_footer *ret_footer)
{
    struct vhd_disk_footer d;
    enum err e;

    memcpy(&d, sector, sizeof d);
    e = footer_check(&d, at_bytes, why);
    if (e)
        return e;
    *ret_footer = (struct vhd_footer){
        .features = be32_get(d.features),
        .data_offset = be64_get(d.data_offset),
        .timestamp = be32_get(d.timestamp),
        .creator_version = be32_get(d.creator_version),
        .original_bytes = be64_get(d.original_bytes),
        .current_bytes = be64_get(d.current_bytes),
        .geometry = {be16_get(d.cylinders), d.heads, d.sectors_per_track},
        .type = (enum vhd_type)be32_get(d.type),
        .saved_state = d.saved_state,
    };
    memcpy(ret_footer->creator, d.creator, sizeof d.creator);
    memcpy(ret_footer->creator_os, d.creator_os, sizeof d.creator_os);
    memcpy(ret_footer->uuid, d.uuid, sizeof d.uuid);
    memcpy(ret_footer->reserved, d.reserved, sizeof d.reserved);
    return E_OK;
}

void vhd_footer_encode(const struct vhd_footer *footer,
                       struct vhd_disk_footer *out)
{
    *out = (struct vhd_disk_footer){
        .features = be32_make(footer->features),
        .version = be32_make(VHD_VERSION),
        .data_offset = be64_make(footer->data_offset),
        .timestamp = be32_make(footer->timestamp),
        .creator_version = be32_make(footer->creator_version),
        .original_bytes = be64_make(footer->original_bytes),
        .current_bytes = be64_make(footer->current_bytes),
        .cylinders = be16_make(footer->geometry.cylinders),
        .heads = footer->geometry.heads,
        .sectors_per_track = footer->geometry.sectors_per_track,
        .type = be32_make(footer->type),
        .saved_state = footer->saved_state,
    };
    memcpy(out->cookie, "conectix", sizeof out->cookie);
    memcpy(out->creator, footer->creator, sizeof out->creator);
    memcpy(out->creator_os, footer->creator_os, sizeof out->creator_os);
    memcpy(out->uuid, footer->uuid, sizeof out->uuid);
    memcpy(out->reserved, footer->reserved, sizeof out->reserved);
    out->checksum = be32_make(
        vhd_checksum(out, sizeof *out, offsetof(typeof(*out), checksum)));
}

bool vhd_footer_equal(const struct vhd_footer *a, const struct vhd_footer *b)
{
    struct vhd_disk_footer da, db;

    vhd_footer_encode(a, &da);
    vhd_footer_encode(b, &db);
    return memcmp(&da, &db, sizeof da) == 0;
}

void vhd_footer_set_creator(struct vhd_footer *footer)
{
    memcpy(footer->creator, "win ", sizeof footer->creator);
    footer->creator_version = 0x000a0000; /* 10.0 */
    memcpy(footer->creator_os, "Wi2k", sizeof footer->creator_os);
}

void vhd_footer_init(struct vhd_footer *footer,
                     const struct vhd_create_args *args)
{
    *footer = (struct vhd_footer){
        .features = VHD_FEATURE_RESERVED,
        .data_offset =
            args->type == VHD_FIXED ? UINT64_MAX : (uint64_t)VHD_FOOTER_BYTES,
        .timestamp = vhd_timestamp_make(args->now_s),
        .original_bytes = args->size_bytes,
        .current_bytes = args->size_bytes,
        .geometry = vhd_geometry_of(args->size_bytes),
        .type = args->type,
    };
    memcpy(footer->uuid, args->uuid, sizeof footer->uuid);
    vhd_footer_set_creator(footer);
}

/* -- header ---------------------------------------------------------------- */

static enum err header_check(const struct vhd_disk_header *d, uint64_t at,
                             struct diag *why)
{
    uint32_t found = be32_get(d->checksum), computed;
    uint32_t block = be32_get(d->block_bytes);

    if (memcmp(d->cookie, "cxsparse", sizeof d->cookie) != 0)
        return diag_fail(why, E_VHD_HEADER,
                         "dynamic header at %llu: cookie is not \"cxsparse\"",
                         (unsigned long long)at);
    computed = vhd_checksum(d, sizeof *d, offsetof(typeof(*d), checksum));
    if (found != computed)
        return diag_fail(why, E_VHD_HEADER,
                         "dynamic header at %llu: checksum is 0x%08x but its "
                         "bytes give 0x%08x",
                         (unsigned long long)at, found, computed);
    if (be32_get(d->version) >> 16 != VHD_VERSION >> 16)
        return diag_fail(why, E_VHD_HEADER,
                         "dynamic header at %llu: version 0x%08x is not 1.x",
                         (unsigned long long)at, be32_get(d->version));
    if (!is_power_of_two(block) || block < VHD_SECTOR_BYTES)
        return diag_fail(why, E_VHD_HEADER,
                         "dynamic header at %llu: block size %u is not a "
                         "power of two of 512 and more",
                         (unsigned long long)at, block);
    if (block > VHD_BLOCK_BYTES)
        return diag_fail(why, E_UNSUPPORTED,
                         "dynamic header at %llu: blocks of %u bytes are "
                         "larger than the %u that are handled",
                         (unsigned long long)at, block, VHD_BLOCK_BYTES);
    if (!is_aligned(be64_get(d->table_offset), VHD_SECTOR_BYTES))
        return diag_fail(why, E_VHD_HEADER,
                         "dynamic header at %llu: table offset %llu is not a "
                         "multiple of 512",
                         (unsigned long long)at,
                         (unsigned long long)be64_get(d->table_offset));
    return E_OK;
}

enum err vhd_header_decode(const void *two_sectors, uint64_t at_bytes,
                           struct diag *why, struct vhd_header *ret_header)
{
    struct vhd_disk_header d;
    enum err e;

    memcpy(&d, two_sectors, sizeof d);
    e = header_check(&d, at_bytes, why);
    if (e)
        return e;
    *ret_header = (struct vhd_header){
        .table_off_bytes = be64_get(d.table_offset),
        .max_entries = be32_get(d.max_entries),
        .block_bytes = be32_get(d.block_bytes),
        .parent_timestamp = be32_get(d.parent_timestamp),
    };
    memcpy(ret_header->parent_uuid, d.parent_uuid, sizeof d.parent_uuid);
    memcpy(ret_header->parent_name, d.parent_name, sizeof d.parent_name);
    memcpy(ret_header->reserved2, d.reserved2, sizeof d.reserved2);
    for (size_t i = 0; i < VHD_LOCATORS; i++)
        ret_header->locators[i] = (struct vhd_locator){
            .code = be32_get(d.locators[i].code),
            .space = be32_get(d.locators[i].space),
            .length_bytes = be32_get(d.locators[i].length_bytes),
            .off_bytes = be64_get(d.locators[i].offset),
        };
    return E_OK;
}

/* Readers want all 64 bits of the unused data offset set, although the
 * specification prints 32. */
void vhd_header_encode(const struct vhd_header *header,
                       struct vhd_disk_header *out)
{
    *out = (struct vhd_disk_header){
        .data_offset = be64_make(UINT64_MAX),
        .table_offset = be64_make(header->table_off_bytes),
        .version = be32_make(VHD_VERSION),
        .max_entries = be32_make(header->max_entries),
        .block_bytes = be32_make(header->block_bytes),
        .parent_timestamp = be32_make(header->parent_timestamp),
    };
    memcpy(out->cookie, "cxsparse", sizeof out->cookie);
    memcpy(out->parent_uuid, header->parent_uuid, sizeof out->parent_uuid);
    memcpy(out->parent_name, header->parent_name, sizeof out->parent_name);
    memcpy(out->reserved2, header->reserved2, sizeof out->reserved2);
    for (size_t i = 0; i < VHD_LOCATORS; i++)
        out->locators[i] = (struct vhd_disk_locator){
            .code = be32_make(header->locators[i].code),
            .space = be32_make(header->locators[i].space),
            .length_bytes = be32_make(header->locators[i].length_bytes),
            .offset = be64_make(header->locators[i].off_bytes),
        };
    out->checksum = be32_make(
        vhd_checksum(out, sizeof *out, offsetof(typeof(*out), checksum)));
}

/* -- geometry and size ----------------------------------------------------- */

enum { CHS_CYLINDERS_MAX = 65535, CHS_HEADS_MAX = 16, CHS_SECTORS_MAX = 255 };

/* "CHS Calculation" in the specification's appendix. */
struct vhd_geometry vhd_geometry_of(uint64_t size_bytes)
{
    uint64_t sectors =
        min_u64(div_round_up(size_bytes, VHD_SECTOR_BYTES),
                (uint64_t)CHS_CYLINDERS_MAX * CHS_HEADS_MAX * CHS_SECTORS_MAX);
    uint64_t tracks, heads, per_track;

    if (sectors >= (uint64_t)CHS_CYLINDERS_MAX * CHS_HEADS_MAX * 63) {
        per_track = CHS_SECTORS_MAX;
        heads = CHS_HEADS_MAX;
        tracks = sectors / per_track;
    } else {
        per_track = 17;
        tracks = sectors / per_track;
        heads = max_u64(4, (tracks + 1023) / 1024);
        if (tracks >= heads * 1024 || heads > CHS_HEADS_MAX) {
            per_track = 31;
            heads = CHS_HEADS_MAX;
            tracks = sectors / per_track;
        }
        if (tracks >= heads * 1024) {
            per_track = 63;
            heads = CHS_HEADS_MAX;
            tracks = sectors / per_track;
        }
    }
    return (struct vhd_geometry){(uint16_t)(tracks / heads), (uint8_t)heads,
                                 (uint8_t)per_track};
}

uint64_t vhd_geometry_bytes(struct vhd_geometry g)
{
    return (uint64_t)g.cylinders * g.heads * g.sectors_per_track *
           VHD_SECTOR_BYTES;
}

static bool creator_is(const struct vhd_footer *f, const char name[4])
{
    return memcmp(f->creator, name, sizeof f->creator) == 0;
}

/* Virtual PC and old QEMU showed their guests the geometry; a geometry at its
 * maximum says nothing, and one of zero even less. */
static bool size_is_geometry(const struct vhd_footer *f)
{
    uint64_t max_bytes = (uint64_t)CHS_CYLINDERS_MAX * CHS_HEADS_MAX *
                         CHS_SECTORS_MAX * VHD_SECTOR_BYTES;
    uint64_t bytes = vhd_geometry_bytes(f->geometry);

    return (creator_is(f, "vpc ") || creator_is(f, "qemu")) && bytes &&
           bytes < max_bytes;
}

uint64_t vhd_size_by_rule(const struct vhd_footer *footer,
                          enum vhd_size_rule rule)
{
    switch (rule) {
    case VHD_SIZE_CURRENT: return footer->current_bytes;
    case VHD_SIZE_GEOMETRY: return vhd_geometry_bytes(footer->geometry);
    case VHD_SIZE_BY_CREATOR: break;
    }
    return size_is_geometry(footer) ? vhd_geometry_bytes(footer->geometry)
                                    : footer->current_bytes;
}

/* -- time ------------------------------------------------------------------ */

#define VHD_EPOCH_UNIX_S UINT64_C(946684800) /* 2000-01-01 00:00:00 UTC */

uint32_t vhd_timestamp_make(uint64_t unix_s)
{
    if (unix_s < VHD_EPOCH_UNIX_S)
        return 0;
    return (uint32_t)min_u64(unix_s - VHD_EPOCH_UNIX_S, UINT32_MAX);
}

uint64_t vhd_timestamp_unix_s(uint32_t timestamp)
{
    return VHD_EPOCH_UNIX_S + timestamp;
}
