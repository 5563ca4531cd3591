/* vhd/format.h - footer and dynamic header: on disk, in memory, and between.
 * Knows no file and no guest.  Layouts: "Virtual Hard Disk Image Format
 * Specification" 1.0; all integers big-endian, a sector is 512 bytes.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_VHD_FORMAT_H
#define LUNAR_VHD_FORMAT_H

#include "base/endian.h"
#include "vhd/vhd.h"

struct vhd_disk_footer {
    char cookie[8]; /* "conectix" */
    be32 features;
    be32 version;
    be64 data_offset; /* of the dynamic header; all ones: fixed */
    be32 timestamp;   /* s since 2000-01-01 UTC */
    char creator[4];
    be32 creator_version;
    char creator_os[4];
    be64 original_bytes;
    be64 current_bytes;
    be16 cylinders;
    uint8_t heads;
    uint8_t sectors_per_track;
    be32 type;
    be32 checksum;
    uint8_t uuid[VHD_UUID_BYTES];
    uint8_t saved_state;
    uint8_t reserved[427];
};
static_assert(sizeof(struct vhd_disk_footer) == 512, "one sector");
static_assert(offsetof(struct vhd_disk_footer, current_bytes) == 48, "spec");
static_assert(offsetof(struct vhd_disk_footer, checksum) == 64, "spec");
static_assert(offsetof(struct vhd_disk_footer, saved_state) == 84, "spec");

struct vhd_disk_locator {
    be32 code;
    be32 space;
    be32 length_bytes;
    be32 reserved;
    be64 offset;
};
static_assert(sizeof(struct vhd_disk_locator) == 24, "spec");

enum { VHD_LOCATORS = 8, VHD_PARENT_NAME_BYTES = 512 };

struct vhd_disk_header {
    char cookie[8];   /* "cxsparse" */
    be64 data_offset; /* unused, all ones */
    be64 table_offset;
    be32 version;
    be32 max_entries;
    be32 block_bytes;
    be32 checksum;
    uint8_t parent_uuid[VHD_UUID_BYTES];
    be32 parent_timestamp;
    be32 reserved;
    uint8_t parent_name[VHD_PARENT_NAME_BYTES]; /* UTF-16BE */
    struct vhd_disk_locator locators[VHD_LOCATORS];
    uint8_t reserved2[256];
};
static_assert(sizeof(struct vhd_disk_header) == 1024, "two sectors");
static_assert(offsetof(struct vhd_disk_header, checksum) == 36, "spec");
static_assert(offsetof(struct vhd_disk_header, locators) == 576, "spec");

enum {
    VHD_FOOTER_BYTES = sizeof(struct vhd_disk_footer),
    VHD_HEADER_BYTES = sizeof(struct vhd_disk_header),
    VHD_VERSION = 0x00010000,
    VHD_FEATURE_RESERVED = 2 /* "must be 1" */
};

struct vhd_geometry {
    uint16_t cylinders;
    uint8_t heads, sectors_per_track;
};

/* Fields that we never change but must keep travel as they are. */
struct vhd_footer {
    uint32_t features;
    uint64_t data_offset;
    uint32_t timestamp;
    char creator[4];
    uint32_t creator_version;
    char creator_os[4];
    uint64_t original_bytes, current_bytes;
    struct vhd_geometry geometry;
    enum vhd_type type;
    uint8_t uuid[VHD_UUID_BYTES];
    uint8_t saved_state;
    uint8_t reserved[427];
};

struct vhd_locator {
    uint32_t code; /* enum vhd_locator_code; 0: the slot is empty */
    uint32_t space;
    uint32_t length_bytes;
    uint64_t off_bytes;
};

struct vhd_header {
    uint64_t table_off_bytes;
    uint32_t max_entries;
    uint32_t block_bytes;
    uint8_t parent_uuid[VHD_UUID_BYTES];
    uint32_t parent_timestamp;
    uint8_t parent_name[VHD_PARENT_NAME_BYTES];
    struct vhd_locator locators[VHD_LOCATORS];
    uint8_t reserved2[256];
};

/* ~(sum of all bytes), `bytes` of them, four at `skip` taken as zero. */
uint32_t vhd_checksum(const void *p, size_t bytes, size_t skip);

/* Check the footer found at `at_bytes` of the file, then copy it.
 * Errors: E_VHD_FOOTER, E_VHD_TYPE; `why` has offset and field. */
MUST_CHECK enum err vhd_footer_decode(const void *sector, uint64_t at_bytes,
                                      struct diag *why,
                                      struct vhd_footer *ret_footer);
void vhd_footer_encode(const struct vhd_footer *footer,
                       struct vhd_disk_footer *out);
/* Are they the same on disk? */
bool vhd_footer_equal(const struct vhd_footer *a, const struct vhd_footer *b);

/* The same for the dynamic header.  What is checked stands on its own: that
 * the table lies in the file and covers the disk is for the layer to see.
 * Errors: E_VHD_HEADER, E_UNSUPPORTED (block size). */
MUST_CHECK enum err vhd_header_decode(const void *two_sectors,
                                      uint64_t at_bytes, struct diag *why,
                                      struct vhd_header *ret_header);
void vhd_header_encode(const struct vhd_header *header,
                       struct vhd_disk_header *out);

/* The geometry that the specification's appendix gives a disk this large. */
struct vhd_geometry vhd_geometry_of(uint64_t size_bytes);
uint64_t vhd_geometry_bytes(struct vhd_geometry g);

/* The size of the disk. */
uint64_t vhd_size_by_rule(const struct vhd_footer *footer,
                          enum vhd_size_rule rule);

/* Seconds since 2000 from and to Unix time, clamped to what fits. */
uint32_t vhd_timestamp_make(uint64_t unix_s);
uint64_t vhd_timestamp_unix_s(uint32_t timestamp);

/* The creator of our disks, "win ": every reader takes the current size of
 * such a disk as its size.  QEMU up to 9.2 computes it from the geometry for
 * creators that it does not know. */
void vhd_footer_set_creator(struct vhd_footer *footer);

/* A footer for a new disk, as current Windows would write it. */
void vhd_footer_init(struct vhd_footer *footer,
                     const struct vhd_create_args *args);

#endif
